"""The Progress Monitor: says how far the session is, which task has gone quiet, and how it ended.

What it says is computed by :mod:`actors.progress`; this role supplies the time, the last signs of life of running
attempts (their output's modification time) and the journal.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Final

from actors.events import (
    AttemptEnded,
    AttemptStarted,
    Event,
    Landed,
    MilestoneUpdated,
    Record,
    TaskCompleted,
    TaskFailed,
)
from actors.paths import ProjectPaths
from actors.plan import Plan
from actors.progress import CHANGE_INTERVAL, completion, report, should_report, stalled
from actors.role import RoleActor
from actors.state import Stage

_MOVES: Final = (AttemptStarted, AttemptEnded, Landed, TaskCompleted, TaskFailed)
"""Facts after which the report is another."""


class ProgressMonitor(RoleActor):
    """The second of the five roles."""

    role: ClassVar[str] = "progress_monitor"

    def rebuilt(self) -> None:
        """Rebuild the plan from the snapshot."""
        self._plan = Plan.of(self.state.milestone)
        self._reported_wall = 0.0
        self._moved = False

    def observe(self, record: Record, event: Event) -> None:  # noqa: ARG002 - the hook's signature
        """Take in a newer snapshot, and notice that something moved."""
        if isinstance(event, MilestoneUpdated):
            self._plan = Plan.of(self.state.milestone)
        # Not by comparing times: what moves while a report is on its way carries a time before that report's.
        self._moved = self._moved or isinstance(event, _MOVES)

    def reconcile(self) -> None:
        """Report when it is due or something changed; alert on the session's end."""
        if self.state.started is None or self.context.role in self.state.finished:
            return
        settled = self.state.settled is not None
        if settled and self.state.completion is None:
            self.propose(report(self.state, self._plan, self.wall), completion(self.state, self.wall))
        elif settled:
            self.finish("")
        elif self.state.git_known and self._is_due():
            self._reported_wall, self._moved = self.wall, False
            self.propose(report(self.state, self._plan, self.wall))
        else:
            self.propose(*stalled(self.state, self.wall, self._last_signs()))

    def _is_due(self) -> bool:
        changed = self._moved and self.wall >= self._reported_wall + CHANGE_INTERVAL
        return changed or should_report(self.state, self._reported_wall, self.wall)

    def _last_signs(self) -> dict[str, float]:
        """Return, for each running attempt, when its output last grew (epoch seconds)."""
        paths = ProjectPaths(Path(self.context.project))
        signs: dict[str, float] = {}
        for task_id in self.state.live.values():
            attempt = self.state.tasks[task_id].attempt
            if attempt is None or attempt.stage is not Stage.STARTED or attempt.id in self.state.stalled:
                continue
            log = paths.task_log(self.context.session, attempt.id)
            try:
                signs[attempt.id] = max(attempt.started_wall, log.stat().st_mtime)
            except OSError:
                signs[attempt.id] = attempt.started_wall
        return signs
