"""The Task Executor: grants attempts, completes and fails tasks, and writes their statuses back.

The decisions are :mod:`actors.execution`'s, the splicing is :mod:`actors.editor`'s; this role carries facts between
them, the journal and the milestone file. It alone writes the milestone file, and it alone moves it to
``completed/``.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import ClassVar, Final

from actors.editor import EditError, set_statuses
from actors.events import Event, MilestoneUpdated, Record, SessionStatus, WriteBackFailed, task_of
from actors.execution import Execution
from actors.files import FileChangedError, move_file, read_milestone_file, update_file
from actors.preflight import without_statuses
from actors.role import RoleActor
from actors.state import Phase, TaskState

WRITE_SECONDS: Final = 0.25
"""Shortest time between two writings of the milestone file."""

WRITE_SHARE: Final = 50.0
"""After a writing that took t seconds the next one waits t times this, so that a huge file never starves grants."""

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
    if task.before or cancelled_there or (task.phase is Phase.PENDING and not task.attempts):
        return None
    return _WORDS[task.phase]


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

    def observe(self, record: Record, event: Event) -> None:  # noqa: ARG002 - the hook's signature
        """Let the decisions know, and remember which status changed."""
        self._execution.observe(event)
        if isinstance(event, MilestoneUpdated):
            self._unwritten = set(self.state.tasks)
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
        if not at_once and self.mono < self._next_write:
            self.host.wake_at(self._next_write)
            return
        began = time.monotonic()
        others = self._edited()
        if others is not None:
            milestone = None
        words = {key: _word(self.state.tasks[key]) for key in self._unwritten if key not in (others or ())}
        statuses = {key: known for key, known in words.items() if known is not None}
        if statuses or milestone is not None:
            self._splice(statuses, milestone)
        else:
            self._unwritten.clear()
        self._next_write = self.mono + max(WRITE_SECONDS, (time.monotonic() - began) * WRITE_SHARE)

    def _splice(self, statuses: dict[str, str], milestone: str | None) -> None:
        try:
            update_file(
                self._path,
                lambda data: set_statuses(data, milestone=milestone, tasks=statuses, path=str(self._path)),
            )
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
        if milestone is not None:
            self._milestone_word = milestone

    def _edited(self) -> frozenset[str] | None:
        """Return the tasks that the file defines otherwise than this session executes them.

        ``None`` when the file's tasks are as they were. Such a task's status is the file's own: what was executed is
        not what stands there, and what stands there was not executed.
        """
        if not any(claim.startswith("edited:") for claim in self.state.alerts):
            return None
        found = read_milestone_file(self._path).milestone
        own = self.state.milestone
        if found is None:
            return None
        now, then = (without_statuses(milestone).by_id for milestone in (found, own))
        if now == then:
            return None
        return frozenset(key for key in then if now.get(key) != then[key])

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
        if self._edited() is not None:
            self._note = "the file was edited meanwhile: it stays active, and the next run takes it in"
            return
        source, target = self._path, self._target
        try:
            move_file(source, target)
        except OSError as error:
            self._complaint = f"{source}: not moved to {target.parent}: {error.strerror}"

    def _summary(self) -> str:
        total = len(self.state.tasks)
        done = sum(task.phase is Phase.COMPLETED for task in self.state.tasks.values())
        text = f"{done} of {total} tasks completed"
        return "; ".join(filter(None, (text, self._note, self._complaint)))
