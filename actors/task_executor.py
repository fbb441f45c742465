"""The Task Executor: grants attempts, completes and fails tasks, and writes their statuses back.

The decisions are :mod:`actors.execution`'s, the splicing is :mod:`actors.editor`'s; this role carries facts between
them, the journal and the milestone file. It alone writes the milestone file, and it alone moves it to
``completed/``.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import ClassVar, Final

import attrs

from actors.digests import sha256
from actors.editor import EditError, set_statuses
from actors.events import DependencyAlert, Event, MilestoneUpdated, Record, SessionStatus, WriteBackFailed, task_of
from actors.execution import Execution
from actors.files import FileChangedError, move_file, read_bytes, update_file
from actors.model import FileStatus, Milestone, Task
from actors.reader import read
from actors.role import RoleActor
from actors.set_by_hand import CLAIM, alert_of, set_by_hand
from actors.state import Phase, TaskState

WRITE_SECONDS: Final = 0.25
"""Shortest time between two writings of the milestone file."""

WRITE_SHARE: Final = 50.0
"""After a writing that took t seconds the next one waits t times this, so that a huge file never starves grants."""

LOOK_SECONDS: Final = 2.0
"""Seconds between two looks whether a person has saved the milestone file."""

_WORDS: Final = {
    Phase.PENDING: "pending",
    Phase.PREPARING: "in_progress",
    Phase.RUNNING: "in_progress",
    Phase.LANDING: "in_progress",
    Phase.COMPLETED: "completed",
    Phase.FAILED: "blocked",
    Phase.SKIPPED: "cancelled",
}

_MILESTONE_WORDS: Final = {
    SessionStatus.COMPLETED: "completed",
    SessionStatus.FAILED: "blocked",
    SessionStatus.BLOCKED: "blocked",
    SessionStatus.CANCELLED: "cancelled",
    SessionStatus.INTERRUPTED: "in_progress",
    SessionStatus.PAUSED: "in_progress",
    SessionStatus.RUNNING: "in_progress",
}


def _word(task: TaskState) -> str | None:
    """Return the convention's word for a task; ``None`` when the file's own word stands."""
    cancelled_there = task.phase is Phase.SKIPPED and not task.reason
    untouched = task.phase is Phase.PENDING and not (task.attempts or task.retried)
    if task.before or cancelled_there or untouched:
        return None
    return _WORDS[task.phase]


def _edited(own: Milestone, found: Milestone | None) -> frozenset[str] | None:
    """Return the tasks that the file defines otherwise than the session executes them, or not at all.

    ``None`` when the file's tasks are as they were, or cannot be read.
    """
    if found is None:
        return None
    now = found.by_id
    other = frozenset(key for key, task in own.by_id.items() if not _is_same(task, now.get(key)))
    return other if other or now.keys() != own.by_id.keys() else None


def _is_same(task: Task, found: Task | None) -> bool:
    return found is not None and (task == found or task == attrs.evolve(found, status=task.status))


class TaskExecutor(RoleActor):
    """The first of the five roles."""

    role: ClassVar[str] = "task_executor"

    def rebuilt(self) -> None:
        """Rebuild the decisions from the fold; every status may have to be written."""
        self._execution = Execution(self.state)
        self._unwritten = set(self.state.tasks)
        self._milestone_word = ""
        self._begun = False
        self._next_write = 0.0
        self._complaint = ""
        self._note = ""
        self._is_edited = False
        self._left_out: frozenset[str] = frozenset()
        self._left_as = b""
        self._next_look = self.mono + LOOK_SECONDS
        self._seen_as: tuple[int, int, int] | None = None
        self._by_hand: dict[str, FileStatus] = {}
        self._is_told = True

    def observe(self, record: Record, event: Event) -> None:  # noqa: ARG002 - the hook's signature
        """Let the decisions know, and remember which status changed."""
        self._execution.observe(event)
        if isinstance(event, MilestoneUpdated):
            self._unwritten = set(self.state.tasks)
            self._seen_as, self._left_as = None, b""
            # What was left out may be no task any more, and the milestone's word may have been left out as well.
            self._left_out, self._milestone_word = frozenset(), ""
        attempt = getattr(event, "attempt", "")
        task = getattr(event, "task", "") or task_of(attempt)
        if task in self.state.tasks:
            self._unwritten.add(task)

    def reconcile(self) -> None:
        """Decide, write back, and finish when the session has settled."""
        decision = self._execution.decide(self.wall)
        self.wake_at_wall(decision.wake_wall)
        self.propose(*decision.events)
        settled = self.state.settled is not None and not decision.events
        self._write_back(at_once=settled)
        self._look_at_file()
        self._tell_by_hand()
        if settled and self.context.role not in self.state.finished:
            self._archive()
            if self._complaint and not self.state.unwritten:
                self.propose(WriteBackFailed(self._complaint))
            else:
                self.finish(self._summary())

    # --- the milestone file --------------------------------------------------------------------------------------

    @property
    def _path(self) -> Path:
        started = self.state.started
        return Path(self.context.project) / (started.path if started is not None else "")

    def _write_back(self, *, at_once: bool) -> None:
        status = SessionStatus.RUNNING if self.state.settled is None else self.state.settled.status
        word = _MILESTONE_WORDS[status]
        # A session that never granted anything has not begun as far as the file is concerned.
        self._begun = self._begun or word != "in_progress" or any(task.attempts for task in self.state.tasks.values())
        milestone = word if self._begun and word != self._milestone_word else None
        if not self._unwritten and milestone is None:
            return
        due = self._unwritten | self._left_out
        if not at_once and self.mono < self._next_write:
            self.host.wake_at(self._next_write)
            return
        began = time.monotonic()
        words = {key: _word(self.state.tasks[key]) for key in due}
        statuses = {key: known for key, known in words.items() if known is not None}
        if statuses or milestone is not None:
            self._splice(statuses, milestone)
        else:
            self._unwritten.clear()
        self._next_write = self.mono + max(WRITE_SECONDS, (time.monotonic() - began) * WRITE_SHARE)

    def _splice(self, statuses: dict[str, str], milestone: str | None) -> None:
        try:
            update_file(self._path, lambda data: self._with_statuses(data, statuses, milestone))
        except (EditError, FileChangedError, OSError) as error:
            if isinstance(error, FileNotFoundError) and self._was_moved():
                self._complaint = ""
                self._unwritten.clear()
                self._milestone_word = milestone or self._milestone_word
                return
            # The person's edit comes first: the file is left alone, and written when it can be read again.
            self._complaint = str(error)
            return
        self._complaint = ""
        self._unwritten.clear()
        self._milestone_word = milestone or self._milestone_word

    def _with_statuses(self, data: bytes, statuses: dict[str, str], milestone: str | None) -> bytes:
        """Return the file with the statuses of what is executed as it stands there.

        Of a task that a person defines otherwise by now, or whose status a person has set, the status is the file's
        own, and so is the milestone's: what was executed is not what stands there, and what stands there was not
        executed.
        """
        reading = read(data, str(self._path))
        edited = _edited(self.state.milestone, reading.milestone)
        self._find_by_hand(reading.milestone)
        self._is_edited = edited is not None or bool(self._by_hand)
        others = (edited or frozenset()) | self._by_hand.keys()
        self._left_out = others.intersection(statuses)
        if self._is_edited:
            milestone, statuses = None, {key: word for key, word in statuses.items() if key not in others}
        left = set_statuses(data, milestone=milestone, tasks=statuses, path=str(self._path), reading=reading)
        self._left_as = sha256(left).digest()
        return left

    @property
    def _target(self) -> Path:
        return self._path.parent.parent / "completed" / self._path.name

    def _was_moved(self) -> bool:
        """Whether a former incarnation has written the last status and moved the file, and died before it said so."""
        settled = self.state.settled
        return settled is not None and settled.status is SessionStatus.COMPLETED and self._target.exists()

    def _archive(self) -> None:
        settled = self.state.settled
        if settled is None or settled.status is not SessionStatus.COMPLETED or self._complaint:
            return
        source, target = self._path, self._target
        try:
            if self._is_edited or self._is_written_since() or not move_file(source, target):
                self._note = "the file was edited meanwhile: it stays active, and the next run takes it in"
        except OSError as error:
            self._complaint = f"{source}: not moved to {target.parent}: {error.strerror}"

    def _is_written_since(self) -> bool:
        """Whether a person has saved other tasks, or what does not read, since the last status was written."""
        try:
            data = read_bytes(self._path)
        except FileNotFoundError:  # as when a former incarnation has moved it
            return False
        if sha256(data).digest() == self._left_as:
            return False
        found = read(data, str(self._path)).milestone
        return found is None or _edited(self.state.milestone, found) is not None or bool(set_by_hand(self.state, found))

    # --- what a person sets there --------------------------------------------------------------------------------

    def _look_at_file(self) -> None:
        """Read the file again once somebody else has saved it: a person's word is not to wait for our next one."""
        if self.mono < self._next_look or self.state.settled is not None:
            return
        self._next_look = self.mono + LOOK_SECONDS
        began = time.monotonic()
        try:
            found = self._path.lstat()
            seen = (found.st_ino, found.st_mtime_ns, found.st_size)
            if seen == self._seen_as:
                return
            data = read_bytes(self._path)
        except OSError:  # the Dependency Validator says so
            return
        self._seen_as = seen
        if sha256(data).digest() != self._left_as:
            self._find_by_hand(read(data, str(self._path)).milestone)
            self._next_look += (time.monotonic() - began) * WRITE_SHARE

    def _find_by_hand(self, found: Milestone | None) -> None:
        if found is not None:
            self._by_hand, self._is_told = set_by_hand(self.state, found), False

    def _tell_by_hand(self) -> None:
        """Alert what a person has set, once; resolve what is not so any more."""
        if self._is_told:
            return
        self._is_told = True
        path = self.state.started.path if self.state.started is not None else ""
        alert = alert_of(path, self.state.milestone.id, self._by_hand)
        known = {claim: detail for claim, detail in self.state.alerts.items() if claim.startswith(CLAIM)}
        if alert is not None and alert.claim not in known:
            self.propose(alert)
        self.propose(
            *(
                DependencyAlert(claim, "resolved", f"no longer so: {detail}")
                for claim, detail in known.items()
                if alert is None or claim != alert.claim
            )
        )

    def _summary(self) -> str:
        total = len(self.state.tasks)
        done = sum(task.phase is Phase.COMPLETED for task in self.state.tasks.values())
        text = f"{done} of {total} tasks completed"
        return "; ".join(filter(None, (text, self._note, self._complaint)))
