"""Fixtures for the tests of the git plumbing."""

from tests.git.project import make_project, project

__all__ = ["make_project", "project"]
