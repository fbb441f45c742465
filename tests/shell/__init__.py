"""The supervising process's shell: links, hub, role hosts, roles on a bench, and whole runs."""
