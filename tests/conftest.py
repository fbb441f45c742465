"""Fixtures for every test: a world of its own, nothing left behind, scratch repositories."""

import gc
import os
import signal
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tests.isolation import _homes, world
from tests.leaks import _no_leaks
from tests.repositories import MakeRepository, make_repository

__all__ = ["_homes", "_no_leaks", "git_repo", "world"]

# No deadline: a shared machine's pauses are not the code's. A failure prints how to repeat it. Whoever runs the tests
# here explores; a gate asks the same of every change.
settings.register_profile("local", deadline=None, print_blob=True)
settings.register_profile("ci", parent=settings.get_profile("local"), database=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "local")

# What is started in the background of a script, or with nohup, ignores these, and so would all that tests start.
for _number in (signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, signal.default_int_handler if _number is signal.SIGINT else signal.SIG_DFL)


@pytest.fixture
def git_repo(tmp_path: Path) -> MakeRepository:
    """Return a function that makes a repository with one commit below `tmp_path`."""

    def make(name: str = "project", *, files: Mapping[str, str] | None = None) -> Path:
        return make_repository(tmp_path / name, files)

    return make


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """Have the garbage collector leave thousands of tests alone: looking through them takes it half a second."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_report_to_serializable() -> Generator[None, dict[str, Any] | None, dict[str, Any] | None]:
    """Escape what is no text in a report: a worker that runs tests beside others can only send text."""
    report = yield
    return None if report is None else {_as_text(key): _as_text(value) for key, value in report.items()}


def _as_text(value: Any) -> Any:  # noqa: ANN401 - whatever a report holds
    match value:
        case str():
            return value.encode("utf-8", "backslashreplace").decode("utf-8")
        case dict():
            return {_as_text(key): _as_text(item) for key, item in value.items()}
        case list() | tuple():
            return type(value)(map(_as_text, value))
        case _:
            return value
