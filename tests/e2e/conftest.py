"""Fixtures of the end-to-end tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.config import VARIABLE
from tests.e2e.stage import Project
from tests.isolation import World
from tests.repositories import MakeRepository


@pytest.fixture
def swept(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every run use the weakest containment: the pids that tasks write down are then those seen from here."""
    config = world.home / "sweep.yaml"
    config.write_text("containment: sweep\n", encoding="utf-8")
    monkeypatch.setenv(VARIABLE, str(config))


@pytest.fixture
def project(git_repo: MakeRepository) -> Iterator[Project]:
    """Yield a project in a scratch repository with one commit."""
    made = Project(git_repo())
    yield made
    made.end_all()


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """Yield a project in a plain folder, without git, whose path leaves room for that of a socket below it."""
    made = Project(tmp_path_factory.mktemp("plain"))
    yield made
    made.end_all()


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Return a folder outside the project where tasks leave their pids and find their gates."""
    made = tmp_path / "place"
    made.mkdir()
    return made
