"""Tests of the journal, the project lock, the paths and what is projected from the journal."""
