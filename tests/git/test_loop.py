"""The git role's loop waits for no disk: what flushes and what walks is done beside it."""

import importlib
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import pytest

from actors.git.flows import Landed, SlotReady, archive, prepare_slot
from actors.git.plumbing import flush
from actors.programs import Finished, Program, beside
from tests.git.driver import BESIDE, drive, execute
from tests.git.project import Project, write


def test_what_is_done_beside_the_loop_returns_and_raises_where_it_was_asked_for() -> None:
    def broken() -> None:
        raise OSError(5, "broken")

    assert drive(beside(lambda: threading.current_thread().name)) == BESIDE
    with pytest.raises(OSError, match="broken"):
        drive(beside(broken))


@pytest.fixture
def in_the_loop(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return what is done in the loop's thread of the calls that may take long."""
    found: list[str] = []

    def watched(name: str, really: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **more: Any) -> Any:  # noqa: ANN401 - whatever the call takes
            if threading.current_thread().name != BESIDE:
                found.append(f"{name} {arguments}")
            return really(*arguments, **more)

        return call

    for name in ("fsync", "scandir"):
        monkeypatch.setattr(os, name, watched(name, getattr(os, name)))
    return found


@pytest.mark.parametrize("moved_on", [False, True])
def test_no_flush_is_the_loop_s(project: Project, in_the_loop: list[str], moved_on: bool) -> None:
    ready = [project.slot(number, project.base) for number in range(3)]
    for number, slot in enumerate(ready):
        write(slot.path, f"deep/{number}/made.txt", "x\n")
    if moved_on:
        assert isinstance(project.land("task-0", 0, base=project.base), Landed)
    assert isinstance(project.land("task-1", 1, base=project.base), Landed)
    drive(archive(project.repo, 2))
    assert [call for call in in_the_loop if call.startswith("fsync")] == []


def test_a_walk_through_a_big_tree_is_not_the_loop_s(
    project: Project, in_the_loop: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ready = project.slot()
    in_the_loop.clear()
    assert isinstance(drive(prepare_slot(project.repo, 0, project.base)), SlotReady)
    assert any(ready.path in call for call in in_the_loop), "a small one is"
    in_the_loop.clear()
    monkeypatch.setattr(importlib.import_module("actors.git.slots"), "_MANY", 0)
    assert isinstance(drive(prepare_slot(project.repo, 0, project.base)), SlotReady)
    assert not any(ready.path in call for call in in_the_loop)


def test_many_files_are_flushed_by_programs_that_can_be_given_their_names(tmp_path: Path) -> None:
    folder = tmp_path / ("long name " * 20)
    folder.mkdir()
    paths = tuple(f"{folder}/{number}" for number in range(20_000))
    ran: list[int] = []

    def counted(program: Program) -> Finished:
        ran.append(len(program.argv) - 2)
        return execute(Program(("/bin/true", *program.argv[1:]), program.cwd, program.env))

    assert drive(flush(paths), counted) is None
    assert sum(ran) == len(paths)


def test_a_look_through_a_slot_ends_where_it_is_known_that_it_must_be_cleaned(project: Project) -> None:
    ready = project.slot()
    for number in range(300):
        (Path(ready.path) / f"file-{number}").touch()
    seen: list[int] = []

    class _Counted:
        def __init__(self, path: str) -> None:
            self._inside = really(path)

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None:
            self._inside.close()

        def __iter__(self) -> Self:
            return self

        def __next__(self) -> "os.DirEntry[str]":
            seen.append(1)
            return next(self._inside)

    really = os.scandir
    with pytest.MonkeyPatch.context() as context:
        context.setattr(os, "scandir", _Counted)
        assert isinstance(drive(prepare_slot(project.repo, 0, project.base)), SlotReady)
    assert len(seen) < 100
