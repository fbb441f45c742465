"""Fixtures of the tests that kill at named steps."""

from tests.e2e.conftest import place, project

__all__ = ["place", "project"]
