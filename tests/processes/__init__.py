"""Real processes: the fork server, its client, and what they ask of Linux."""
