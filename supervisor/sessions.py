"""Sessions as their journal, their projections and the project lock show them; nothing is written and nobody is asked.

What is true comes from the journal. The projections in ``agents/`` add what is never journaled: the states between two
facts and samples. Whether somebody supervises comes from the kernel's lock, so a process id that was used again
deceives nobody. The process that supervises has its sessions in memory, and hands those in (:class:`InMemory`): what is
concluded from them is the same.

Owns reading and concluding. Refuses to know how it is printed.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

import attrs
import msgspec

from actors.events import AttemptEnded, Outcome, SessionStatus, task_of
from actors.files import read_bytes
from actors.plan import Plan
from actors.progress import eta_seconds, percentage
from actors.standing import ChildState
from actors.standstill import Wait, held_up, waits
from actors.state import ROLES, RUNNER, Phase, SessionState
from supervisor.journal_errors import RECOVER, JournalError, JournalMissingError
from supervisor.journal_reader import JournalReader
from supervisor.leases import left_behind
from supervisor.lock import read_holder
from supervisor.projection import status_now

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, MutableMapping, Sequence
    from pathlib import Path

    from actors.events import Record
    from actors.paths import ProjectPaths
    from supervisor.journal_verify import SessionSummary
    from supervisor.lock import Holder

MOST_FORMER: Final = 5
"""How many former sessions are searched for measured durations."""

_TROUBLED: Final = frozenset({"BACKOFF", "FATAL", "UNKNOWN"})
_UNFINISHED: Final = frozenset(
    {SessionStatus.INTERRUPTED, SessionStatus.PAUSED, SessionStatus.FAILED, SessionStatus.BLOCKED}
)


class HistoryGoneError(JournalError):
    """There is no journal, although a file tells of sessions."""

    def __init__(self, path: Path, left: Path) -> None:
        super().__init__(path, f"the journal is gone, but {left} says that there were sessions", RECOVER)


@attrs.frozen
class Shown:
    """What is known of a role beside the journal.

    Attributes:
        state: As Supervisor names it, ``""`` when it is not known.
        pid: The process that the samples are of.
        cpu_percent: Of one core, ``None`` when it is not known.
        rss_bytes: Resident set, ``None`` as above.
    """

    state: str = ""
    pid: int | None = None
    cpu_percent: float | None = None
    rss_bytes: int | None = None


@attrs.frozen
class InMemory:
    """A session that the asking process supervises itself.

    Attributes:
        state: Its fold; nobody changes it.
        shown: What is known of its roles and its runner.
    """

    state: SessionState
    shown: Mapping[str, Shown]


@attrs.frozen
class RoleView:
    """A role or the runner of a session.

    Attributes:
        role: Its id.
        state: As Supervisor names it.
        pid: Its process, ``None`` without one.
        since_wall: When the state began, epoch seconds; 0 when it is not known.
        restarts: In the session's present life.
        last_exit: Why the former incarnation ended, ``""`` for none.
        cpu_percent: Of one core, ``None`` when it is not known.
        rss_bytes: Resident set, ``None`` as above.
    """

    role: str
    state: str
    pid: int | None = None
    since_wall: float = 0.0
    restarts: int = 0
    last_exit: str = ""
    cpu_percent: float | None = None
    rss_bytes: int | None = None

    @property
    def is_troubled(self) -> bool:
        """Whether it should run and does not."""
        return self.state in _TROUBLED


@attrs.frozen
class SessionView:
    """A session as it is now.

    Attributes:
        state: The fold of its journal.
        status: What it is now: *running* without a process that supervises it is *interrupted*.
        lives: Whether a process supervises it.
        plan: Of what it executes.
        roles: The five, then the runner.
        unreachable: Tasks that cannot run any more, in the file's order.
        left: Processes of its tasks and roles that outlived everything that supervised them.
    """

    state: SessionState
    status: SessionStatus
    lives: bool
    plan: Plan
    roles: tuple[RoleView, ...]
    unreachable: tuple[str, ...]
    left: tuple[int, ...] = ()

    @property
    def id(self) -> str:
        """Session id."""
        return self.state.session

    @property
    def needs_attention(self) -> bool:
        """Whether something that should run does not."""
        stands_still = any(one.is_troubled for one in self.roles) or bool(held_up(self.state))
        return self.status in _UNFINISHED or (self.lives and stands_still)

    @property
    def waits(self) -> tuple[Wait, ...]:
        """What it waits for; nothing where nobody supervises it."""
        return waits(self.state) if self.lives else ()

    def counts(self) -> dict[Phase, int]:
        """Return how many tasks are in each phase."""
        found = dict.fromkeys(Phase, 0)
        for task in self.state.tasks.values():
            found[task.phase] += 1
        return found

    def percentage(self) -> int:
        """Return how much is done, by the tasks' weights; cancelled ones do not count."""
        return percentage(self.state)

    @property
    def declared(self) -> int | None:
        """What the file claimed, where that differs from what is computed; ``None`` otherwise."""
        declared = self.state.milestone.declared_percentage
        return None if declared == self.percentage() else declared

    def eta(self, wall: float) -> float | None:
        """Return the expected seconds to the end, ``None`` when nobody works on it or nothing is known."""
        return eta_seconds(self.state, self.plan, wall) if self.lives else None


@attrs.frozen
class Overview:
    """Everything that is known of a project's sessions.

    Attributes:
        holder: Who supervises the project now, ``None`` for nobody.
        latest: The latest session of each milestone that is of interest; those that run first, then the newest first.
        summaries: All sessions, in the order in which they began.
        not_started: Ids of active milestones that no session has executed.
        gone: The latest sessions of milestones whose file is neither active nor completed, and that nobody supervises;
            empty when they are of interest.
    """

    holder: Holder | None
    latest: tuple[SessionView, ...]
    summaries: tuple[SessionSummary, ...]
    not_started: tuple[str, ...]
    gone: tuple[SessionView, ...]


class Sessions:
    """The sessions of a project, read when they are asked for.

    Args:
        paths: The project.
        journal: Open; ``None`` where there is none yet.
        memory: Sessions that this process supervises, by id.
        ended: Keeps what was concluded of sessions that are over, for who asks again: by id and last event.
    """

    def __init__(
        self,
        paths: ProjectPaths,
        journal: JournalReader | None,
        memory: Mapping[str, InMemory] | None = None,
        ended: MutableMapping[tuple[str, int], SessionView] | None = None,
    ) -> None:
        self._paths = paths
        self._journal = journal
        self._memory = {} if memory is None else memory
        self._ended = {} if ended is None else ended
        self._seen: dict[str, SessionView] = {}
        self.holder = read_holder(paths)
        self.summaries = () if journal is None else journal.sessions()
        self._last = {one.id: one.last_seq for one in self.summaries}

    def view(self, session: str) -> SessionView:
        """Fold a session and conclude what it is now."""
        if session not in self._seen:
            key = (session, self._last.get(session, 0))
            view = self._ended.get(key) or self._view(session)
            if view.state.ended_wall:
                self._ended[key] = view
            self._seen[session] = view
        return self._seen[session]

    def records(self, session: str | None, since: int) -> Iterator[Record]:
        """Yield journaled records after a seq, of one session or of all."""
        return iter(()) if self._journal is None else self._journal.records(session, since)

    def by_name(self) -> dict[str, str]:
        """Return the sessions by what they may be called: their own ids, and for its latest one a milestone's."""
        by_milestone = {one.milestone_id: one.id for one in self.summaries}
        return by_milestone | {one.id: one.id for one in self.summaries}

    def latest(self) -> list[str]:
        """Return the id of the latest session of each milestone, the newest first."""
        by_milestone = {one.milestone_id: one.id for one in self.summaries}
        latest = set(by_milestone.values())
        return [one.id for one in reversed(self.summaries) if one.id in latest]

    def overview(self, active: Sequence[str], completed: Sequence[str] = (), *, everything: bool = True) -> Overview:
        """Look at the latest session of each milestone.

        Args:
            active: Ids of the active milestones.
            completed: Ids of the completed ones.
            everything: Whether sessions of milestones without a file are of interest too.
        """
        views = sorted((self.view(session) for session in self.latest()), key=lambda view: not view.lives)
        there = {*active, *completed}
        gone = [view for view in views if not (everything or view.lives or view.state.milestone.id in there)]
        started = {one.milestone_id for one in self.summaries}
        return Overview(
            self.holder,
            tuple(view for view in views if view not in gone),
            self.summaries,
            tuple(one for one in active if one not in started),
            tuple(gone),
        )

    def _view(self, session: str) -> SessionView:
        known = self._memory.get(session)
        state = self._fold(session) if known is None else known.state
        running = state.status in {SessionStatus.RUNNING, SessionStatus.PAUSED} and not state.ended_wall
        lives = running and self.holder is not None and self.holder.pid in {0, state.pid}
        status = status_now(state.status, state.pid, lambda _: lives)
        plan = Plan.of(state.milestone)
        lost = [key for key, one in state.tasks.items() if one.phase in {Phase.FAILED, Phase.SKIPPED}]
        gone = plan.unreachable(lost)
        unreachable = (key for key, one in state.tasks.items() if key in gone and one.phase is Phase.PENDING)
        roles = []
        for role in (*ROLES, RUNNER):
            shown = known.shown.get(role, Shown()) if known is not None else self._sheet(session, role, lives=lives)
            roles.append(_role_view(state, role, shown) if lives else _left_role_view(state, role))
        left = left_behind({session}, str(self._paths.project)) if running and not lives else ()
        return SessionView(state, status, lives, plan, tuple(roles), tuple(unreachable), left)

    def _fold(self, session: str) -> SessionState:
        assert self._journal is not None  # noqa: S101 - without a journal there is no session to ask for
        state = SessionState()
        for record in self._journal.records(session):
            state.apply(record)
        return state

    def _sheet(self, session: str, role: str, *, lives: bool) -> Shown:
        """Read what the supervising process last wrote about a role; nothing of one that has none."""
        if lives:
            with contextlib.suppress(OSError, msgspec.MsgspecError, UnicodeDecodeError):
                return msgspec.json.decode(read_bytes(self._paths.agent_json(session, role)), type=Shown)
        return Shown()


def _left_role_view(state: SessionState, role: str) -> RoleView:
    """Return a role of a session that nobody supervises."""
    child = state.children.get(role)
    if child is None:
        return RoleView(role, "STOPPED")
    # Ended in order, or gone with the process that supervised it.
    word = "FATAL" if child.fatal else ("STOPPED" if state.ended_wall else "EXITED")
    return RoleView(role, word, None, state.ended_wall or state.wall, child.restarts, child.last_exit)


def _role_view(state: SessionState, role: str, shown: Shown) -> RoleView:
    child = state.children.get(role, ChildState())
    if role in state.held:
        word = "STOPPED"
    elif child.fatal:
        word = "FATAL"
    elif child.ready:
        word = "RUNNING"
    else:
        word = "STARTING" if shown.state in {"", "RUNNING"} else shown.state
    runs = word == "RUNNING"
    pid = child.pid if runs else None
    since = child.ready_wall if runs else state.wall
    samples = (shown.cpu_percent, shown.rss_bytes) if shown.pid == pid else (None, None)
    return RoleView(role, word, pid, since, child.restarts, child.last_exit, *samples)


def open_journal(paths: ProjectPaths) -> JournalReader | None:
    """Open the journal of a project for reading; ``None`` where nothing was ever journaled.

    Raises:
        JournalError: It cannot be read.
        HistoryGoneError: It is gone although there were sessions.
    """
    try:
        return JournalReader.open(paths.state_db)
    except JournalMissingError as error:
        left = next(iter(sorted(paths.sessions.glob("*/session.json"))), None)
        if left is not None:
            raise HistoryGoneError(paths.state_db, left) from error
        return None


def measured_seconds(paths: ProjectPaths, milestone_id: str) -> dict[str, float]:
    """Return how long each task's latest successful attempt took, by task id; nothing where there is no journal.

    Raises:
        JournalError: It cannot be read.
    """
    found: dict[str, float] = {}
    try:
        with JournalReader.open(paths.state_db) as journal:
            former = [one.id for one in journal.sessions() if one.milestone_id == milestone_id]
            for session in former[-MOST_FORMER:]:
                for record in journal.records(session):
                    if record.kind != AttemptEnded.__name__:
                        continue
                    event = record.event()
                    if isinstance(event, AttemptEnded) and event.outcome is Outcome.OK:
                        found[task_of(event.attempt)] = event.seconds
    except JournalMissingError:
        return {}
    return found
