"""The service: what its manager is told, the units, and the daemon under a really booted systemd."""
