"""Fixtures of the runner's tests."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.runner.harness import Stage

MakeStage = Callable[..., Stage]


@pytest.fixture
def make_stage(tmp_path: Path) -> Iterator[MakeStage]:
    """Return a function that makes a session without a runner; all are ended afterwards."""
    made: list[Stage] = []

    def make(**wishes: object) -> Stage:
        made.append(Stage(tmp_path, **wishes))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for stage in made:
        stage.close()


@pytest.fixture
def stage(make_stage: MakeStage) -> Stage:
    """Return a session of one task `t`, in place, whose runner is ready."""
    made = make_stage()
    made.start()
    return made
