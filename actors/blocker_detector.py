"""The Blocker Detector: says what keeps the milestone from going on, with evidence and a proposal.

What it says is decided by :mod:`actors.blockers`; this role supplies what that needs: the output of attempts
as it grows, samples of the machine, falls of children, the user's rules. It tells the hooks of what is
critical as soon as that is in the journal. It ends nothing and retries nothing.

A session of thousands of tasks that go well costs it nothing but the fold: only tasks with which something
went wrong are looked at, and only output of attempts that still run or failed is read, a bounded piece a
second.
"""

from __future__ import annotations

import functools
import os
import time
from pathlib import Path
from typing import ClassVar, Final

from actors.blockers import changes, due_for_hooks
from actors.builtin_rules import BUILTIN_RULES
from actors.events import (
    AttemptEnded,
    AttemptOverLimit,
    AttemptStarted,
    BlockerRaised,
    BlockerResolved,
    ChildGone,
    ChildQuarantined,
    DependencyAlert,
    Event,
    GitRefused,
    HookRan,
    LandConflicted,
    LandFailed,
    MilestoneUpdated,
    Outcome,
    PreflightFailed,
    PushRefused,
    Record,
    SlotFailed,
    TaskCompleted,
    TaskFailed,
    task_of,
)
from actors.hooks import tell
from actors.machine import Machine, modified_wall, read_from, signature, size_of
from actors.observations import SAMPLE_SECONDS, Falls, Gauge, View, sampled
from actors.outputs import Match, Output, RuleBook, Tail, clean, telling_lines
from actors.paths import ProjectPaths
from actors.role import RoleActor, UnderWay
from actors.rules import Where
from actors.rules_file import read_rules_file
from actors.state import Phase, Stage
from actors.veil import Veil

LOOK_SECONDS: Final = 1.0
"""Seconds between two looks when nothing happens."""

LOOK_SHARE: Final = 10.0
"""After a look that took t seconds the next one waits t times this: a huge session is looked at less often."""

READ_BYTES: Final = 256 * 1024
"""Bytes of output searched in one look, of all attempts together."""

PIECE_BYTES: Final = 64 * 1024
"""Bytes read from one log before it is the next one's turn."""

BACKLOG_BYTES: Final = 1024 * 1024
"""What an attempt may be ahead of us before the middle of its output is skipped."""

TAIL_BYTES: Final = 128 * 1024
"""What is searched of an attempt's output when its middle is skipped."""

TELLING_BYTES: Final = 16 * 1024
"""What is read of the output of a failed task for evidence."""

MOST_HOOKS: Final = 4
"""Blockers of which hooks are told at the same time."""

_BUILTIN: Final = RuleBook(BUILTIN_RULES)
_ENDED_BADLY: Final = frozenset({Outcome.FAILED, Outcome.TIMEOUT})


class BlockerDetector(RoleActor):
    """The fifth of the five roles."""

    role: ClassVar[str] = "blocker_detector"

    def rebuilt(self) -> None:
        """Find the tasks with which something went wrong, and the output that has still to be read."""
        state = self.state
        self._machine = Machine(self.context.project)
        self._book = _BUILTIN
        self._rules_signature: tuple[int, ...] | None = ()
        self._rules_problem = ""
        self._veil = self._secrets()
        self._suspects: set[str] = set()
        self._running: dict[str, Output] = {}
        self._ended: dict[str, Output] = {}
        self._matches: dict[str, list[Match]] = {}
        self._telling: dict[str, UnderWay] = {}
        self._said = 0
        self._next_look = self._not_before = 0.0
        self._next_sample = self.mono + SAMPLE_SECONDS
        self._gauges = {
            claim.partition(":")[2]: Gauge(pressed=True) for claim in state.blockers if claim.startswith("pressure:")
        }
        self._falls = {
            claim.partition(":")[2]: Falls((known.since_wall,), ("",), stormy=True)
            for claim, known in state.blockers.items()
            if claim.startswith("storm:")
        }
        for task_id, task in state.tasks.items():
            if task.phase is Phase.FAILED or task.failures or task.conflicts or task.slot_failures:
                self._suspects.add(task_id)
            attempt = task.attempt
            if attempt is None or task.phase is Phase.COMPLETED:
                continue
            if attempt.over_limit and attempt.stage is Stage.STARTED:
                self._suspects.add(task_id)
            if attempt.stage is Stage.STARTED:
                self._running[attempt.id] = Output(attempt.id, task_id)
            elif attempt.outcome in _ENDED_BADLY and f"failed:{task_id}" not in state.blockers:
                self._ended[attempt.id] = Output(attempt.id, task_id)
        self._suspects.update(known.raised.task for known in state.blockers.values() if known.raised.task)

    def observe(self, record: Record, event: Event) -> None:
        """Note which attempt's output is worth reading, which task is worth a look, and which child fell."""
        match event:
            case AttemptStarted(attempt=attempt):
                self._running[attempt] = Output(attempt, task_of(attempt))
            case AttemptEnded(attempt=attempt, outcome=outcome):
                output = self._running.pop(attempt, None) or Output(attempt, task_of(attempt))
                if outcome in _ENDED_BADLY:
                    self._ended[attempt] = output
                    self._suspect(output.task)
            case SlotFailed(attempt=attempt) | LandConflicted(attempt=attempt) | LandFailed(attempt=attempt):
                self._suspect(task_of(attempt))
            case AttemptOverLimit(attempt=attempt):
                self._suspect(task_of(attempt))
            case TaskFailed(task=task):
                self._suspect(task)
            case TaskCompleted(task=task) if task in self._suspects:
                self._look_soon()
            case ChildGone(child=child, reason=reason):
                self._falls[child] = self._falls.get(child, Falls()).fell(record.wall, reason)
                self._look_soon()
            case PreflightFailed() | GitRefused() | PushRefused() | DependencyAlert() | ChildQuarantined():
                self._look_soon()
            case MilestoneUpdated():
                self._veil = self._secrets()
            case BlockerRaised():
                self._said += 1
            case _:
                pass

    def reconcile(self) -> None:
        """Look, when a second has passed or something went wrong; tell hooks; finish when the session is settled."""
        if self.state.started is None or self.context.role in self.state.finished:
            return
        settled = self.state.settled is not None
        if settled or self.mono >= self._next_look:
            began = time.monotonic()
            facts = self._look()
            self._not_before = self.mono + (time.monotonic() - began) * LOOK_SHARE
            unread = bool(self._ended)
            self._next_look = self._not_before if unread else max(self._not_before, self.mono + LOOK_SECONDS)
            self.propose(*facts)
            if unread:
                # At the end nothing is put off: what ended and is not yet read is read now, piece by piece.
                self.host.wake_at(self._next_look)
            if facts or unread:
                return
        if settled and self.state.stop is not None:
            self._give_hooks_up()
        else:
            self._tell_hooks()
        if settled and not self._telling and self._git_has_finished():
            self.finish(self._summary())

    # --- looking --------------------------------------------------------------------------------------------

    def _look(self) -> tuple[Event, ...]:
        self._refresh_rules()
        self._read_outputs()
        if self.mono >= self._next_sample:
            self._next_sample = self.mono + SAMPLE_SECONDS
            self._gauges = sampled(self._gauges, self._machine.sample(), self.state.settings.pressure_percent)
        facts = changes(self.state, self._view())
        for fact in facts:
            if isinstance(fact, BlockerResolved) and fact.claim.startswith("pattern:"):
                self._forget(self.state.blockers[fact.claim].raised.task)
        return facts

    def _view(self) -> View:
        order = [task for task in self.state.tasks if task in self._suspects] if self._suspects else []
        return View(
            wall=self.wall,
            suspects=order,
            matches=self._matches,
            tails=self._tails(order),
            gauges=self._gauges,
            falls=self._falls,
            quiet=self._quiet(),
            rules_problem=self._rules_problem,
            rules_path=self.state.settings.rules,
        )

    def _tails(self, suspects: list[str]) -> dict[str, Tail]:
        """Return the telling last lines of tasks whose failure is about to be stated."""
        tails = {}
        for task_id in suspects:
            task = self.state.tasks[task_id]
            if task.phase is not Phase.FAILED or task.attempt is None or f"failed:{task_id}" in self.state.blockers:
                continue
            log = self._log(task.attempt.id)
            begin = max(0, size_of(log) - TELLING_BYTES)
            data = read_from(log, begin, TELLING_BYTES)
            tails[task_id] = telling_lines(data, self._veil, is_cut=begin > 0)
        return tails

    def _quiet(self) -> dict[str, float]:
        if self.wall - self.state.progress_wall <= self.state.settings.no_progress_after:
            return {}
        found = {attempt: modified_wall(self._log(attempt)) for attempt in self._running}
        return {attempt: max(0.0, self.wall - wall) for attempt, wall in found.items() if wall is not None}

    # --- output ---------------------------------------------------------------------------------------------

    def _read_outputs(self) -> None:
        left = READ_BYTES
        for attempt, output in list(self._ended.items()):
            left = self._read_to_the_end(output, left)
            if left <= 0:
                return
            del self._ended[attempt]
            self._count(output, ended=True)
        # The one that was read last goes to the end of the queue, so that each has its turn.
        for attempt, output in list(self._running.items()):
            if left <= 0:
                return
            log = self._log(attempt)
            size = size_of(log)
            if size > output.offset:
                if size - output.offset > BACKLOG_BYTES:
                    output.skip_to(size - TAIL_BYTES)
                data = read_from(log, output.offset, PIECE_BYTES)
                output.feed(data, self._book, self._veil)
                self._count(output, ended=False)
                left -= len(data)
                self._running[attempt] = self._running.pop(attempt)

    def _read_to_the_end(self, output: Output, left: int) -> int:
        log = self._log(output.attempt)
        size = size_of(log)
        if size - output.offset > BACKLOG_BYTES:
            output.skip_to(size - TAIL_BYTES)
        while output.offset < size and left > 0:
            data = read_from(log, output.offset, min(PIECE_BYTES, size - output.offset))
            if not data:
                break
            left -= len(data)
            output.feed(data, self._book, self._veil, is_last=output.offset + len(data) >= size)
        return left

    def _count(self, output: Output, *, ended: bool) -> None:
        """Let the matches count that say something by now: most rules speak of attempts that failed."""
        known = self._matches.setdefault(output.task, []) if output.matches else []
        fresh = [match for match in output.matches if (ended or match.rule.where is Where.ANY) and match not in known]
        if fresh:
            self._suspects.add(output.task)
            known += fresh
        if output.matches and not known:
            del self._matches[output.task]

    def _forget(self, task: str) -> None:
        self._matches.pop(task, None)

    # --- rules and secrets ----------------------------------------------------------------------------------

    def _refresh_rules(self) -> None:
        name = self.state.settings.rules
        if not name:
            return
        path = Path(self.context.project, name)
        now = signature(path)
        if now == self._rules_signature:
            return
        self._rules_signature, self._book = now, _BUILTIN
        reading = read_rules_file(Path(self.context.project), name)
        self._rules_problem = "\n".join(map(str, reading.problems))
        if not reading.problems:
            self._book = RuleBook(reading.rules)

    def _secrets(self) -> Veil:
        names = set(self.state.settings.secrets)
        values = [os.environ[name] for name in names if os.environ.get(name)]
        if names:
            values += [value for task in self.state.milestone.tasks for name, value in task.env if name in names]
        return Veil.over([*values, *map(clean, values)])  # as they are printed, and as output is shown

    # --- hooks ----------------------------------------------------------------------------------------------

    def _tell_hooks(self) -> None:
        settings = self.state.settings
        if not settings.hook_command and not settings.hook_url:
            return
        for blocker in due_for_hooks(self.state):
            claim = blocker.raised.claim
            if len(self._telling) >= MOST_HOOKS:
                return
            if claim not in self._telling:
                told = functools.partial(self._told, claim)
                under_way = self.run_flow(tell(self.state, blocker, self.context.project), told)
                if under_way.token:
                    self._telling[claim] = under_way

    def _told(self, claim: str, answers: tuple[HookRan, ...]) -> None:
        self._telling.pop(claim, None)
        self.propose(*answers)

    def _give_hooks_up(self) -> None:
        """Keep nobody waiting who has stopped the session: its next life tells the hooks of what still holds then."""
        for claim, under_way in tuple(self._telling.items()):
            self.give_up(under_way, functools.partial(self._telling.pop, claim, None))

    # --- small ----------------------------------------------------------------------------------------------

    def _suspect(self, task: str) -> None:
        self._suspects.add(task)
        self._look_soon()

    def _look_soon(self) -> None:
        # At once, which is within milliseconds unless the last look at a huge session took long.
        self._next_look = self._not_before
        if self._not_before > self.mono:
            self.host.wake_at(self._not_before)

    def _log(self, attempt: str) -> Path:
        return ProjectPaths(Path(self.context.project)).task_log(self.context.session, attempt)

    def _git_has_finished(self) -> bool:
        """Whether the last push, which may be refused, lies behind us."""
        role = "git_integration"
        return role in self.state.finished or role not in self.state.children or self.state.is_absent(role)

    def _summary(self) -> str:
        open_ones = len(self.state.blockers)
        raised = "1 blocker" if self._said == 1 else f"{self._said} blockers"
        return f"{raised} raised, {open_ones} unresolved"
