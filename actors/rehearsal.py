"""A session rehearsed in memory, before any process is forked.

Every role decodes, folds and decides with the same code. What the interpreter writes into that code when it first
runs (specialised instructions, caches, counters) would be written again in each forked process, page by page, in the
very moment in which somebody waits for a replacement. Run once in the fork server, most of it is there, and shared.

Pure: no file, no thread, no clock. Owns nothing; refuses to know who forks.
"""

from __future__ import annotations

from typing import Final

from actors.editor import set_statuses
from actors.events import (
    AttemptEnded,
    AttemptGranted,
    AttemptStarted,
    Event,
    GitIdle,
    Outcome,
    PreflightPassed,
    Record,
    SessionStarted,
    Settings,
    TaskCompleted,
    encode_event,
)
from actors.execution import Execution
from actors.frames import Beat, Deliver, FrameReader, Hello, Propose, Ready, Welcome, encode_frame
from actors.log_lines import FILES, lines_of
from actors.model import Isolation, Milestone
from actors.plan import Plan
from actors.progress import completion, report, should_report
from actors.reader import read
from actors.state import SessionState, decode_state, encode_state

ROUNDS: Final = 3
"""The interpreter specialises what has run eight times or so; each round has a dozen tasks."""

TASKS: Final = 12

_FILE: Final = "id: rehearsal\ntitle: Rehearsal\ntasks:\n" + "".join(
    f"  - id: t{number}\n    title: Task\n    status: pending\n    run: 'true'\n    depends_on: [{needed}]\n"
    for number, needed in ((number, f"t{number - 3}" if number > 2 else "") for number in range(TASKS))  # noqa: PLR2004
)


def rehearse() -> None:
    """Execute a small milestone to its end, without executing anything."""
    for _ in range(ROUNDS):
        milestone = read(_FILE.encode(), "rehearsal.yaml").milestone
        if milestone is not None:
            _Rehearsal(milestone).run()


class _Rehearsal:
    def __init__(self, milestone: Milestone) -> None:
        self._state = SessionState()
        self._execution = Execution(self._state)
        self._frames = FrameReader()
        settings = Settings(isolation=Isolation.NONE)
        self._record(
            SessionStarted(milestone, "rehearsal.yaml", "/", settings, "", 0), PreflightPassed(), GitIdle("a rehearsal")
        )

    def run(self) -> None:
        for _ in range(2 * TASKS):  # every turn but the last completes or grants something
            events = self._execution.decide(0.0).events
            self._record(*events)
            for event in events:
                if isinstance(event, AttemptGranted):
                    self._record(AttemptStarted(event.attempt, 1))
                    self._record(AttemptEnded(event.attempt, Outcome.OK, "run", seconds=1.0))
                elif isinstance(event, TaskCompleted):
                    set_statuses(_FILE.encode(), milestone=None, tasks={event.task: "completed"})
        for frame in (Hello("", 1, 1, 0), Ready(), Beat(0.0), Propose(1, (encode_event(PreflightPassed()),))):
            self._frames.feed(encode_frame(frame))
        state = encode_state(self._state)
        for frame in self._frames.feed(encode_frame(Welcome("", state, self._state.seq, ()))):
            if isinstance(frame, Welcome):
                decode_state(frame.state)
        plan = Plan.of(self._state.milestone)
        should_report(self._state, 0.0, 1.0)
        self._record(report(self._state, plan, 1.0), completion(self._state, 1.0))

    def _record(self, *events: Event) -> None:
        facts = [encode_event(event) for event in events]
        seq = self._state.seq + 1
        records = tuple(Record(seq + at, "", 0.0, 0.0, fact.kind, fact.body) for at, fact in enumerate(facts))
        for frame in self._frames.feed(encode_frame(Deliver(records))):
            for record in frame.records if isinstance(frame, Deliver) else ():
                event = self._state.apply(record)
                self._execution.observe(event)
                for role in FILES:
                    tuple(lines_of([(record, event)], "rehearsal", role))
