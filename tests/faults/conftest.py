"""Fixtures of the tests of faults: those of the end-to-end tests."""

from tests.e2e.conftest import folder, place, project, swept

__all__ = ["folder", "place", "project", "swept"]
