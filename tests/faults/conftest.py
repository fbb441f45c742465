"""Fixtures of the tests of faults: those of the end-to-end tests, and a project of another user."""

from tests.e2e.conftest import folder, place, project, swept
from tests.faults.strangers import strangers_project

__all__ = ["folder", "place", "project", "strangers_project", "swept"]
