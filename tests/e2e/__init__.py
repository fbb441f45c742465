"""End-to-end tests: the command line in processes of its own."""
