"""Whatever holds up a session that lives is named, with what makes it go on."""

import msgspec
import pytest

from actors.events import (
    ChildHeld,
    ChildReady,
    ChildReleased,
    Event,
    GitIdle,
    GitReady,
    PreflightPassed,
    Record,
    RoleFinished,
    SessionEnded,
    SessionPaused,
    SessionSettled,
    SessionStarted,
    SessionStatus,
    SessionUnpaused,
    Settings,
    StopRequested,
)
from actors.git_integration import GitIntegration
from actors.model import Milestone, Task
from actors.standing import ROLES
from actors.standstill import DISK_FULL, LANDING_HELD, LANDING_WAITS, ROLE_WAITS, SLOT_WAITS, TASKS_WAIT, Wait, waits
from actors.state import RUNNER, SessionState

READY: tuple[Event, ...] = tuple(ChildReady(role, 4000 + number, 1, 0) for number, role in enumerate((*ROLES, RUNNER)))
OPEN: tuple[Event, ...] = (*READY, PreflightPassed(), GitReady("milestone/m", "0" * 40, created=True, uncommitted=0))
SETTLED = SessionSettled(SessionStatus.COMPLETED)


def folded(*happened: Event) -> SessionState:
    """Return the fold of a session of one task."""
    milestone = Milestone(id="m", title="M", tasks=(Task(id="a", title="A"),))
    state = SessionState()
    for seq, event in enumerate((SessionStarted(milestone, "m.yaml", "/p", Settings(), "b", 1), *happened), 1):
        state.apply(Record(seq, "s", 1.0, 1.0, type(event).__name__, msgspec.Raw(b"{}")), event)
    return state


def test_a_session_in_which_everybody_works_waits_for_nothing() -> None:
    assert waits(folded(*OPEN)) == ()
    assert waits(folded()) == (), "its roles are being started"


@pytest.mark.parametrize("child", ["task_executor", "git_integration", "runner"])
def test_a_child_that_an_operator_stopped_is_named_with_the_command_that_starts_it(child: str) -> None:
    (wait,) = waits(folded(*OPEN, ChildHeld(child)))
    assert (wait.role, wait.command) == (child, f"milestonectl start m:{child}")
    assert wait.why.startswith("is stopped until somebody starts it; meanwhile ")
    assert waits(folded(*OPEN, ChildHeld(child), ChildReleased(child))) == ()


@pytest.mark.parametrize("child", ["progress_monitor", "blocker_detector", "dependency_validator"])
def test_a_child_without_which_the_session_goes_on_is_not_waited_for(child: str) -> None:
    assert waits(folded(*OPEN, ChildHeld(child))) == ()


def test_what_a_session_needs_at_its_beginning_only_is_waited_for_then() -> None:
    assert [wait.role for wait in waits(folded(*READY, ChildHeld("dependency_validator")))] == [
        "dependency_validator",
        "git_integration",
    ]
    assert [wait.command for wait in waits(folded(*READY, ChildHeld("dependency_validator")))] == [
        "milestonectl start m:dependency_validator",
        "",
    ]
    in_place: tuple[Event, ...] = (*READY, PreflightPassed(), GitIdle("isolation is none"))
    assert waits(folded(*in_place, ChildHeld("git_integration"))) == ()
    assert [wait.role for wait in waits(folded(*READY, ChildHeld("git_integration"), PreflightPassed()))] == [
        "git_integration"
    ]


@pytest.mark.parametrize("reason", ["paused by a person, with milestonectl", f"{LANDING_HELD}the disk did not take it"])
def test_a_pause_that_somebody_has_to_end_has_the_command_that_ends_it(reason: str) -> None:
    assert waits(folded(*OPEN, SessionPaused(reason))) == (Wait("", reason, "milestonectl resume m"),)
    assert waits(folded(*OPEN, SessionPaused(reason), SessionUnpaused())) == ()


@pytest.mark.parametrize(
    "reason",
    [
        f"{LANDING_WAITS}milestone/m is checked out in /p",
        f"{SLOT_WAITS}the disk is full",
        f"{TASKS_WAIT}too many processes",
        ROLE_WAITS.format(role=GitIntegration.role) + "too many open files",
        DISK_FULL,
    ],
)
def test_a_pause_that_ends_by_itself_says_so(reason: str) -> None:
    (wait,) = waits(folded(*OPEN, SessionPaused(reason)))
    assert wait.command == ""
    assert "it goes on by itself" in wait.text


def test_all_that_is_waited_for_is_named() -> None:
    found = waits(folded(*OPEN, SessionPaused("by a person"), ChildHeld("task_executor"), ChildHeld("git_integration")))
    assert [wait.role for wait in found] == ["", "task_executor", "git_integration"]


def test_a_session_that_ends_names_what_it_still_waits_for() -> None:
    assert "it is being stopped (by a person)" in waits(folded(*OPEN, StopRequested("by a person")))[0].text
    finished: tuple[Event, ...] = tuple(RoleFinished(role, "") for role in ROLES if role != "git_integration")
    assert waits(folded(*OPEN, SETTLED, *finished)) == (Wait("git_integration", "has not finished its work yet"),)
    assert waits(folded(*OPEN, ChildHeld("git_integration"), SETTLED, *finished)) == (), "nobody waits for that"
    assert waits(folded(*OPEN, SETTLED, SessionEnded(SessionStatus.COMPLETED))) == ()
