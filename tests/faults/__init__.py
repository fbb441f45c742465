"""The fault model: what no test of a part shows, injected into whole runs. The table: docs/reliability.md."""
