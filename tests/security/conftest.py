"""Fixtures of the attacks."""

from tests.cli.conftest import ctl, journal, project
from tests.e2e.conftest import place
from tests.git.project import make_project

__all__ = ["ctl", "journal", "make_project", "place", "project"]
