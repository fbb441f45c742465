"""Kills at every named step of a task and of a session."""
