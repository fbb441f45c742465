"""Sentences about what happened."""

import msgspec
import pytest

from actors import events as facts
from actors.events import Event, Record, SessionStarted, Settings
from actors.model import Milestone, Task
from actors.plan import Plan
from actors.state import SessionState
from supervisor.cli.narration import narrate, refusal_text


@pytest.mark.parametrize(
    ("child", "who"), [("task_executor", "Task Executor"), ("runner", "Task Runner"), ("", "Super")]
)
def test_a_fact_that_was_not_journaled_is_said_with_what_it_means_and_what_to_do(child: str, who: str) -> None:
    text = refusal_text(child, "AttemptGranted: the session is paused")
    assert text.startswith(who)
    assert "was left out (AttemptGranted: the session is paused). The session goes on" in text
    assert text.endswith("report it with the session's supervisor.log")


def told(*happened: Event) -> list[str]:
    """Return what is said of the facts of a session of one task."""
    milestone = Milestone(id="m", title="M", tasks=(Task(id="a", title="A"),))
    state, plan = SessionState(), Plan.of(milestone)
    said = []
    for seq, event in enumerate((SessionStarted(milestone, "m.yaml", "/p", Settings(), "b", 1), *happened), 1):
        record = Record(seq, "s", 0.0, 0.0, type(event).__name__, msgspec.Raw(b"{}"))
        state.apply(record, event)
        said += [line.text for line in narrate(record, event, state, plan)]
    return said


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        (
            "ended for an unknown reason: nobody reported it",
            "Task Runner ended for an unknown reason: nobody reported it",
        ),
        ("ended normally (exit code 0)", "Task Runner ended normally (exit code 0)"),
        ("crashed (SIGSEGV)", "Task Runner ended: crashed (SIGSEGV)"),
    ],
)
def test_the_end_of_a_child_is_said_once(reason: str, text: str) -> None:
    assert told(facts.ChildGone("runner", 1, reason)) == [text]


def test_a_task_that_failed_has_one_line_unless_there_is_more_to_say() -> None:
    begin = (
        facts.AttemptGranted("a.1", "a", 1, 0, (facts.Step("run", "x"),)),
        facts.SlotPrepared("a.1", "/p", ""),
        facts.AttemptStarted("a.1", 1),
        facts.AttemptEnded("a.1", facts.Outcome.FAILED, "run", 3, seconds=0.1),
    )
    attempt = told(*begin)[-1]
    assert attempt == "a failed after 0.1s: run exited with 3"
    assert told(*begin, facts.TaskFailed("a", "a.1", "run exited with 3"))[-1] == attempt
    assert told(*begin, facts.TaskFailed("a", "a.1", "no disk"))[-2:] == [attempt, "Failed a: no disk"]


def test_a_role_that_is_stopped_is_said_with_what_starts_it_and_what_does_not_go_on_meanwhile() -> None:
    idle = "Progress Monitor is stopped until somebody starts it; to go on: milestonectl start m:progress_monitor"
    assert told(facts.ChildHeld("progress_monitor")) == [idle]
    (needed,) = told(facts.ChildHeld("task_executor"))
    assert needed.startswith("Task Executor is stopped until somebody starts it; meanwhile no task is granted")
    assert needed.endswith("; to go on: milestonectl start m:task_executor")


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("paused by a person", "Paused: paused by a person; to go on: milestonectl resume m"),
        ("disk", "Paused: the disk that holds .milestones is full; free some space, and it goes on by itself"),
        ("landing has to wait: x", "Paused: landing has to wait: x; it goes on by itself when that has passed"),
    ],
)
def test_a_pause_is_said_with_the_way_on(reason: str, said: str) -> None:
    assert told(facts.SessionPaused(reason)) == [said]
