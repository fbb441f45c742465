"""Sessions as their journal, their projections and the project lock show them; nothing is written and nobody is asked.

What is true comes from the journal. The projections in ``agents/`` add what is never journaled: the states between two
facts and samples. Whether somebody supervises comes from the kernel's lock, so a process id that was used again
deceives nobody.

Owns reading and concluding. Refuses to know how it is printed.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final

import attrs
import msgspec

from actors.events import AttemptEnded, ChildReady, Outcome, SessionStatus, task_of
from actors.files import read_bytes
from actors.plan import Plan
from actors.progress import eta_seconds, percentage
from actors.state import ROLES, RUNNER, Phase, SessionState
from supervisor.cli.output import CONFIGURATION, CommandError
from supervisor.environment import SESSION_MARK
from supervisor.journal_errors import RECOVER, JournalError, JournalMissingError
from supervisor.journal_reader import JournalReader
from supervisor.linux import find_marked
from supervisor.lock import read_holder
from supervisor.projection import status_now

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

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
        left: Processes of its tasks that outlived everything that supervised them.
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
        return self.status in _UNFINISHED or (self.lives and any(one.is_troubled for one in self.roles))

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
    """

    def __init__(self, paths: ProjectPaths, journal: JournalReader | None) -> None:
        self._paths = paths
        self._journal = journal
        self._seen: dict[str, SessionView] = {}
        self.holder = read_holder(paths)
        self.summaries = () if journal is None else journal.sessions()

    def view(self, session: str) -> SessionView:
        """Fold a session and conclude what it is now."""
        if session not in self._seen:
            self._seen[session] = self._view(session)
        return self._seen[session]

    def records(self, session: str | None, since: int) -> Iterator[Record]:
        """Yield journaled records after a seq, of one session or of all."""
        return iter(()) if self._journal is None else self._journal.records(session, since)

    def latest(self) -> list[str]:
        """Return the id of the latest session of each milestone, the newest first."""
        by_milestone = {one.milestone_id: one.id for one in self.summaries}
        newest_first = (one.id for one in reversed(self.summaries))
        return [session for session in newest_first if session in set(by_milestone.values())]

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
        assert self._journal is not None  # noqa: S101 - without a journal there is no session to ask for
        state = SessionState()
        ready: dict[str, float] = {}
        for record in self._journal.records(session):
            event = state.apply(record)
            if isinstance(event, ChildReady):
                ready[event.child] = record.wall
        running = state.status in {SessionStatus.RUNNING, SessionStatus.PAUSED} and not state.ended_wall
        lives = running and self.holder is not None and self.holder.pid in {0, state.pid}
        status = status_now(state.status, state.pid, lambda _: lives)
        plan = Plan.of(state.milestone)
        lost = [key for key, one in state.tasks.items() if one.phase in {Phase.FAILED, Phase.SKIPPED}]
        gone = plan.unreachable(lost)
        unreachable = (key for key, one in state.tasks.items() if key in gone and one.phase is Phase.PENDING)
        roles = tuple(self._role(state, role, ready.get(role, 0.0), lives=lives) for role in (*ROLES, RUNNER))
        left = find_marked(SESSION_MARK, session) if running and not lives else ()
        return SessionView(state, status, lives, plan, roles, tuple(unreachable), left)

    def _role(self, state: SessionState, role: str, ready_wall: float, *, lives: bool) -> RoleView:
        child = state.children.get(role)
        if not lives:
            ended = state.ended_wall or state.wall
            if child is None:
                return RoleView(role, "STOPPED")
            # Ended in order, or gone with the process that supervised it.
            word = "FATAL" if child.fatal else ("STOPPED" if state.ended_wall else "EXITED")
            return RoleView(role, word, None, ended, child.restarts, child.last_exit)
        sheet = self._sheet(state.session, role)
        if role in state.held:
            word = "STOPPED"
        elif child is not None and child.fatal:
            word = "FATAL"
        elif child is not None and child.ready:
            word = "RUNNING"
        else:
            shown = str(sheet.get("state") or "STARTING")
            word = "STARTING" if shown == "RUNNING" else shown
        pid = child.pid if child is not None and word == "RUNNING" else None
        return RoleView(
            role,
            word,
            pid,
            ready_wall if word == "RUNNING" else state.wall,
            child.restarts if child is not None else 0,
            child.last_exit if child is not None else "",
            sheet.get("cpu_percent") if sheet.get("pid") == pid else None,
            sheet.get("rss_bytes") if sheet.get("pid") == pid else None,
        )

    def _sheet(self, session: str, role: str) -> dict[str, Any]:
        with contextlib.suppress(OSError, msgspec.MsgspecError):
            sheet = msgspec.json.decode(read_bytes(self._paths.agent_json(session, role)))
            if isinstance(sheet, dict):
                return sheet
        return {}


@contextlib.contextmanager
def open_sessions(paths: ProjectPaths, *, as_json: bool) -> Iterator[Sessions]:
    """Open the sessions of a project for reading.

    Raises:
        CommandError: The journal cannot be read, or it is gone although there were sessions (78).
    """
    try:
        with contextlib.ExitStack() as stack:
            journal: JournalReader | None = None
            try:
                journal = stack.enter_context(JournalReader.open(paths.state_db))
            except JournalMissingError as error:
                left = next(iter(sorted(paths.sessions.glob("*/session.json"))), None)
                if left is not None:
                    line = f"{paths.state_db}: the journal is gone, but {left} says that there were sessions"
                    raise CommandError(CONFIGURATION, line, RECOVER, as_json=as_json) from error
            yield Sessions(paths, journal)
    except JournalError as error:
        raise CommandError(CONFIGURATION, str(error), as_json=as_json) from error


def measured_seconds(paths: ProjectPaths, milestone_id: str, *, as_json: bool) -> dict[str, float]:
    """Return how long each task's latest successful attempt took, by task id.

    Raises:
        CommandError: As :func:`open_sessions`.
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
    except JournalError as error:
        raise CommandError(CONFIGURATION, str(error), as_json=as_json) from error
    return found
