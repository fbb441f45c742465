"""Fixtures of the attacks."""

from tests.cli.conftest import ctl
from tests.e2e.conftest import place, project

__all__ = ["ctl", "place", "project"]
