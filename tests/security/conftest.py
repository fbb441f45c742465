"""Fixtures of the attacks."""

from tests.cli.conftest import ctl, journal, project
from tests.e2e.conftest import place

__all__ = ["ctl", "journal", "place", "project"]
