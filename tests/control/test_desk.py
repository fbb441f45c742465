"""Who waits for an end is told of it when it has come, and that it has not when it cannot come."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import attrs
import pytest

from actors.events import SessionStatus
from actors.paths import ProjectPaths
from supervisor.control import RefusedCallError, Ticket
from supervisor.desk import House, ProjectDesk
from supervisor.protocol import Named, Reply, Request, Retry, Shutdown, Skip, Stop, Update
from supervisor.session_run import Over


@attrs.define(eq=False)
class Living:
    """A session that lives."""

    session: str
    milestone: SimpleNamespace


def desk_with(project: Path, *, living: Iterator[bool] | None = None) -> ProjectDesk:
    """Return the desk of a house in which the session `m` lives; it takes every order and does nothing.

    Args:
        project: Its directory.
        living: Whether the session lives, each time that the house is asked.
    """
    over = Over(SessionStatus.CANCELLED, "", 1)
    milestone = SimpleNamespace(id="m")
    run = SimpleNamespace(session="exec-m", milestone=milestone, over=over, request_stop=lambda *_, **__: None)
    lives = living or itertools.repeat(object=True)
    house = SimpleNamespace(
        paths=ProjectPaths(project), live=lambda: (run,) if next(lives) else (), shut_down=lambda _: None
    )
    return ProjectDesk(cast("House", house), "0")


def test_who_waits_for_a_session_that_hangs_is_told_so_and_not_that_it_was_stopped(tmp_path: Path) -> None:
    desk = desk_with(tmp_path)
    replies: list[Reply] = []
    desk.answer(Stop(("m",)), Ticket(1, replies.append))
    desk.answer(Shutdown(), Ticket(2, replies.append))
    assert replies == []
    desk.hangs("a thread hangs")
    desk.closed()
    assert replies == [
        Reply(1, ok=True, result=(Named("m", 1, "a thread hangs"),)),
        Reply(2, ok=False, code=1, lines=("a thread hangs",)),
    ]


def test_who_waits_for_a_session_that_ends_is_told_how(tmp_path: Path) -> None:
    desk = desk_with(tmp_path)
    replies: list[Reply] = []
    desk.answer(Stop(("m",)), Ticket(1, replies.append))
    desk.ended("exec-m", Over(SessionStatus.INTERRUPTED, "", 130))
    assert replies == [Reply(1, ok=True, result=(Named("m", 0, "stopped"),))]
    desk.closed()


def test_who_asks_for_the_end_of_a_session_that_ends_at_that_moment_is_told_how_it_ended(tmp_path: Path) -> None:
    desk = desk_with(tmp_path, living=iter((True, False)))
    replies: list[Reply] = []
    desk.answer(Stop(("m",)), Ticket(1, replies.append))
    assert replies == [Reply(1, ok=True, result=(Named("m", 0, "cancelled"),))]
    desk.closed()


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (Stop(()), "several sessions live: name one of m, n, or all"),
        (Retry(), "several sessions live: say which with --session, one of m, n"),
        (Retry(("a",), "all"), "several sessions live: say which with --session, one of m, n"),
        (Skip(("a",)), "several sessions live: say which with --session, one of m, n"),
        (Update("all"), "several sessions live: name one of m, n"),
    ],
)
def test_where_several_sessions_live_it_is_said_how_this_verb_names_one(
    tmp_path: Path, request_: Request, said: str
) -> None:
    runs = tuple(Living(f"exec-{name}", SimpleNamespace(id=name)) for name in "mn")
    house = SimpleNamespace(paths=ProjectPaths(tmp_path), live=lambda: runs)
    desk = ProjectDesk(cast("House", house), "0")
    with pytest.raises(RefusedCallError) as refusal:
        desk.answer(request_, Ticket(1, lambda _: None))
    assert (refusal.value.code, refusal.value.lines) == (2, (said,))
    desk.closed()
