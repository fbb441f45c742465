"""Facts and sessions for the tests of the journal and what is projected from it."""

from typing import Final

from actors.events import (
    AttemptEnded,
    AttemptGranted,
    AttemptStarted,
    Event,
    Fact,
    Outcome,
    ProgressReported,
    Record,
    SessionStarted,
    Settings,
    Step,
    TaskCompleted,
    encode_event,
)
from actors.model import Milestone, Task
from actors.state import SessionState

SESSION: Final = "exec-m1-20261122_101500-0badcafe"
MILESTONE: Final = Milestone(
    id="m1", title="One", tasks=(Task("a", "A", run="true"), Task("b", "B", depends_on=("a",), run="true"))
)
STARTED: Final = SessionStarted(MILESTONE, ".milestones/active/m1.yaml", "/project", Settings(), "boot", 4711)


def granted(task: str, number: int = 1) -> AttemptGranted:
    return AttemptGranted(f"{task}.{number}", task, number, 0, (Step("run", "true"),), (("TOKEN", "s3cr3t"),), None)


def life_of(task: str) -> tuple[Event, ...]:
    """Return what is journaled of a task that runs in place and succeeds."""
    attempt = f"{task}.1"
    return (
        granted(task),
        AttemptStarted(attempt, 4712),
        AttemptEnded(attempt, Outcome.OK, "run", 0, "", 1.5),
        TaskCompleted(task, attempt),
    )


def stated(*events: Event, session: str = SESSION) -> list[tuple[str, Fact]]:
    return [(session, encode_event(event)) for event in events]


def many(count: int, session: str = SESSION) -> list[tuple[str, Fact]]:
    """Return that many facts of the kinds that fill a journal, the session's beginning first."""
    report = ProgressReported(50, None, 1, 2, 1, 0, 12.5, 3.0, "#" * 10)
    facts = stated(STARTED, session=session)
    while len(facts) < count:
        facts += stated(*life_of("a"), report, session=session)
    return facts[:count]


def folded(*events: Event, wall: float = 1_795_000_000.0) -> SessionState:
    """Fold facts as the records of one session."""
    state = SessionState()
    for seq, event in enumerate(events, 1):
        fact = encode_event(event)
        state.apply(Record(seq, SESSION, wall + seq, float(seq), fact.kind, fact.body), event)
    return state
