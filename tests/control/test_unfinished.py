"""Which sessions a daemon takes up, by the journal alone."""

import pytest

from actors.events import (
    Event,
    Record,
    SessionEnded,
    SessionPaused,
    SessionResumed,
    SessionStarted,
    SessionStatus,
    SessionUnpaused,
    Settings,
    StopRequested,
    encode_event,
)
from actors.model import Milestone
from supervisor.unfinished import Unfinished

FOREGROUND = SessionResumed(Settings(), "boot", 1)
DAEMON = SessionResumed(Settings(), "boot", 1, daemon=True)
STOPPED = StopRequested("by a person")
SHUT_DOWN = StopRequested("SIGTERM", shutdown=True)
PAUSED = SessionPaused("by a person", by_hand=True)
UNPAUSED = SessionUnpaused()
INTERRUPTED = SessionEnded(SessionStatus.INTERRUPTED)


def left(*events: Event, daemon: bool = True) -> tuple[str, ...]:
    started = SessionStarted(Milestone("m1", "One"), "m1.yaml", "/p", Settings(), "boot", 1, daemon)
    unfinished = Unfinished()
    for seq, event in enumerate((started, *events), 1):
        fact = encode_event(event)
        unfinished.tell(Record(seq, "s1", 1e9, 1.0, fact.kind, fact.body))
    return unfinished.milestones()


@pytest.mark.parametrize(
    "events",
    [
        (),
        (SHUT_DOWN, INTERRUPTED),
        (INTERRUPTED,),
        (STOPPED, INTERRUPTED, DAEMON),
        (PAUSED, UNPAUSED),
        (SessionPaused("disk"),),
    ],
    ids=["killed", "shut down", "ended at once", "started again", "resumed", "a full disk"],
)
def test_a_session_that_nobody_ended_is_taken_up(events: tuple[Event, ...]) -> None:
    assert left(*events) == ("m1",)


@pytest.mark.parametrize(
    "events",
    [
        (STOPPED,),
        (STOPPED, INTERRUPTED),
        (STOPPED, SHUT_DOWN, INTERRUPTED),
        (StopRequested("by a person", final=True), SessionEnded(SessionStatus.CANCELLED)),
        (PAUSED,),
        (PAUSED, SHUT_DOWN, INTERRUPTED),
        (SessionEnded(SessionStatus.COMPLETED),),
        (SessionEnded(SessionStatus.FAILED),),
        (SessionEnded(SessionStatus.PAUSED, "the roles kept failing"),),
        (FOREGROUND,),
    ],
    ids=str,
)
def test_what_somebody_ended_paused_or_ran_in_the_foreground_is_left(events: tuple[Event, ...]) -> None:
    assert left(*events) == ()


def test_a_session_of_a_run_is_left_to_who_runs_it() -> None:
    assert left(daemon=False) == ()
