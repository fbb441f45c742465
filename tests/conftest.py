"""Fixtures for every test: a world of its own, nothing left behind, scratch repositories."""

import os
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import settings

from tests.isolation import _homes, world
from tests.leaks import _no_leaks
from tests.repositories import MakeRepository, make_repository

__all__ = ["_homes", "_no_leaks", "git_repo", "world"]

# No deadline: a shared machine's pauses are not the code's. A failure prints how to repeat it.
settings.register_profile("local", deadline=None, print_blob=True)
settings.register_profile("ci", parent=settings.get_profile("local"), database=None)
settings.load_profile("ci" if os.environ.get("CI") else "local")


@pytest.fixture
def git_repo(tmp_path: Path) -> MakeRepository:
    """Return a function that makes a repository with one commit below `tmp_path`."""

    def make(name: str = "project", *, files: Mapping[str, str] | None = None) -> Path:
        return make_repository(tmp_path / name, files)

    return make
