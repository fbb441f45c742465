"""Fixtures of the end-to-end tests."""

from pathlib import Path

import pytest

from tests.e2e.stage import Project
from tests.repositories import MakeRepository


@pytest.fixture
def project(git_repo: MakeRepository) -> Project:
    """Return a project in a scratch repository with one commit."""
    return Project(git_repo())


@pytest.fixture
def folder(tmp_path: Path) -> Project:
    """Return a project in a plain folder, without git."""
    (tmp_path / "plain").mkdir()
    return Project(tmp_path / "plain")
