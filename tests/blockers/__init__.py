"""Tests of the blocker detector: its rules, its judgement in virtual time, its hooks."""
