"""Fixtures of the tests that kill at named steps."""

import pytest

pytest.register_assert_rewrite("tests.steps.shape", "tests.e2e.stage")

from tests.e2e.conftest import place, project  # noqa: E402 - what they import is rewritten

__all__ = ["place", "project"]
