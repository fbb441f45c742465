"""Names as people type them, and what they stand for; sessions that live are only looked at."""

from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from actors.paths import ProjectPaths
from supervisor.absent import why_absent
from supervisor.addressees import CHILDREN, find_addressees, place_of, roles_of
from supervisor.role_orders import signal_number


def session(milestone_id: str) -> Any:  # noqa: ANN401 - stands for a session: only its names are read
    return SimpleNamespace(
        session=f"exec-{milestone_id}-1", milestone=SimpleNamespace(id=milestone_id, by_id={"build": None})
    )


LIVE = (session("m1"), session("m2"))


def found(*names: str) -> list[str]:
    return [
        f"{addressee.name}={addressee.run.milestone.id}/{addressee.role}"
        for addressee in find_addressees(names, LIVE)[0]
    ]


def test_a_name_is_a_milestone_a_session_a_role_all_roles_or_all_sessions() -> None:
    assert found("m1", "exec-m2-1") == ["m1=m1/", "exec-m2-1=m2/"]
    assert found("m1:runner") == ["m1:runner=m1/runner"]
    assert found("m2:*") == [f"m2:{child}=m2/{child}" for child in CHILDREN]
    assert found("all") == ["m1=m1/", "m2=m2/"]
    assert found("all", "m1", "m1") == ["m1=m1/", "m2=m2/"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("exce-m1-1", "no such session; did you mean 'exec-m1-1'?"),
        ("nosuch:*", "no such group"),
        ("nosuch:runner", "no such process"),
        ("m1:runer", "no such process; did you mean 'runner'?"),
        ("m1:build", "no such process: a task is its session's to run; see skip and retry"),
    ],
)
def test_a_name_that_stands_for_nothing_is_told_as_supervisorctl_does(name: str, text: str) -> None:
    addressees, others = find_addressees((name,), LIVE)
    assert addressees == ()
    assert [(one.name, one.code, one.text) for one in others] == [(name, 1, text)]


def test_a_session_or_milestone_of_which_nothing_lives_is_told_apart_from_what_is_not_there(tmp_path: Path) -> None:
    paths = ProjectPaths(tmp_path)
    for folder in (paths.active, paths.completed, paths.session_dir("exec-idle-20260101_000000-0123abcd")):
        folder.mkdir(parents=True)
    paths.file("idle").touch()
    paths.completed_file("done").touch()
    begin = "not running; start it with: milestonectl start idle"
    expected = {
        "idle": (7, begin),
        "idle:runner": (7, begin),
        "exec-idle-20260101_000000-0123abcd": (7, begin),
        "done": (7, "not running"),
        "exec-idle-20260101_000000-0123abce": (1, "no such session"),
        "../idle": (1, "no such session"),
    }
    _, others = find_addressees(tuple(expected), LIVE, partial(why_absent, paths))
    assert {one.name: (one.code, one.text) for one in others} == expected


def test_a_session_stands_for_all_its_children_where_children_are_wanted() -> None:
    addressees, _ = find_addressees(("m1", "m2:runner"), LIVE)
    names = [addressee.name for addressee in roles_of(addressees)]
    assert names == [*(f"m1:{child}" for child in CHILDREN), "m2:runner"]


@pytest.mark.parametrize(
    ("name", "number"),
    [
        *(("HUP", 1), ("sighup", 1), ("9", 9), ("09", 9), ("USR1", 10)),
        *(("NOPE", None), ("0", None), ("99", None), ("9" * 5000, None)),
    ],
)
def test_a_signal_is_named_with_or_without_its_prefix_or_by_its_number(name: str, number: int | None) -> None:
    assert signal_number(name) == number


@pytest.mark.parametrize(
    ("typed", "answered"),
    [
        (("b", "nosuch", "a"), ["b", "nosuch", "a"]),
        (("b:*", "nosuch", "a:runner", "a"), ["b:runner", "b:task_executor", "nosuch", "a:runner", "a"]),
        (("nosuch", "all"), ["nosuch", "a", "b:runner"]),
        ((), ["b", "a"]),
    ],
)
def test_answers_come_in_the_order_of_what_was_typed(typed: tuple[str, ...], answered: list[str]) -> None:
    known_first = sorted(answered, key=lambda name: name != "nosuch")
    assert sorted(known_first, key=lambda name: place_of(name, typed)) == answered
