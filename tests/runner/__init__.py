"""Tests of the task runner, each against a real process."""
