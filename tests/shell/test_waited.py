"""Programs that are waited for: one that cannot be started is named, with the reason, as a role's host says it."""

from pathlib import Path

import pytest

from actors.programs import NOT_STARTED, Program
from supervisor.waited import run


@pytest.mark.parametrize(
    ("argv", "folder", "words"),
    [
        (("/nowhere/tool", "x"), ".", "/nowhere/tool: No such file or directory"),
        (("true",), "absent", "{folder}: No such file or directory"),
        (("tr\0ue",), ".", "tr\0ue: embedded null byte"),
    ],
    ids=["program", "directory", "NUL"],
)
def test_what_cannot_be_started_is_named_with_the_reason(
    tmp_path: Path, argv: tuple[str, ...], folder: str, words: str
) -> None:
    place = tmp_path / folder
    done = run(Program(argv, str(place)))
    assert (done.code, done.stderr.decode()) == (NOT_STARTED, words.format(folder=place))


def test_what_takes_too_long_is_killed_and_it_is_said(tmp_path: Path) -> None:
    done = run(Program(("sleep", "600"), str(tmp_path), timeout=0.05))
    assert (done.was_killed, done.stderr) == (True, b"not done after 0.05 s")
