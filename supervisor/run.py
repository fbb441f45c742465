"""A milestone's run: from a project directory and an id to a session under supervision.

:func:`open_run` decides what there is to do (a new session, or the unfinished one taken up again), takes the
project's lock and the journal, and journals the beginning. :class:`MilestoneRun` then owns the hub, the session's
supervisor and the queue of notices that whoever embeds it reads. It takes no signal handlers and configures no
logging.

Refuses to know terminals and command lines: refusals are raised as :class:`RunRefusedError` with the lines for
people and the exit code that a command line gives.
"""

from __future__ import annotations

import contextlib
import os
import queue
import time
from datetime import datetime
from typing import TYPE_CHECKING, Final, assert_never

import attrs
import pykka

from actors.events import (
    Event,
    MilestoneUpdated,
    SessionEnded,
    SessionPaused,
    SessionResumed,
    SessionStarted,
    SessionStatus,
    SessionUnpaused,
    StopRequested,
    encode_event,
)
from actors.execution import missing_agents
from actors.files import read_milestone_file
from actors.model import FileStatus, Isolation, Milestone, Task
from actors.paths import ProjectPaths, new_session_id
from actors.state import Phase, SessionState, decode_state, encode_state
from supervisor import core_events as told
from supervisor.conduct import FLAGS, PRELOAD, ChildView, Conduct, HubPort, session_specs
from supervisor.core_effects import EndCause, Ended
from supervisor.environment import SESSION_MARK
from supervisor.fleet import SWEEP_SECONDS
from supervisor.hub import DISK_FULL, Escalated, Hub, Notice, Recorded, Refused
from supervisor.journal import Journal, JournalBrokenError, JournalError, JournalFullError
from supervisor.ledger import Ledger
from supervisor.linux import boot_id, find_marked, kill_until_gone
from supervisor.lock import LockHeldError, ProjectLock
from supervisor.projection import seen_by
from supervisor.supervisor_actor import SupervisorActor, stop_now
from supervisor.watch import Sampled, Watch

if TYPE_CHECKING:
    from pathlib import Path

    from actors.events import Settings

FAILED, USAGE, BROKEN, IO_ERROR, HELD, CONFIGURATION = 1, 2, 70, 74, 75, 78
"""Exit codes of refusals (design, section 7)."""

EXIT_CODES: Final = {
    SessionStatus.COMPLETED: 0,
    SessionStatus.FAILED: FAILED,
    SessionStatus.BLOCKED: FAILED,
    SessionStatus.CANCELLED: FAILED,
    SessionStatus.PAUSED: FAILED,
    SessionStatus.INTERRUPTED: 130,
    SessionStatus.RUNNING: BROKEN,
}
"""Exit code of a run by what became of its session."""

RESUMABLE: Final = frozenset({SessionStatus.RUNNING, SessionStatus.PAUSED, SessionStatus.INTERRUPTED})


class RunRefusedError(Exception):
    """The run cannot start.

    Attributes:
        lines: For people: what is wrong, where, and what to do.
        code: Exit code for a command line.
    """

    def __init__(self, code: int, *lines: str) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines
        self.code = code


@attrs.frozen
class Over:
    """The run has ended; the last notice.

    Attributes:
        status: What the session is now.
        reason: Why, one line; ``""`` when there is nothing to say.
        code: Exit code for a command line.
    """

    status: SessionStatus
    reason: str
    code: int


RunNotice = Notice | Sampled | ChildView | Over


@attrs.frozen
class Opening:
    """What :func:`open_run` decided.

    Attributes:
        paths: Of the project.
        lock: Held.
        journal: Open for writing, the session's beginning journaled.
        session: Session id.
        resumed: Whether an unfinished session was taken up.
        updated: Whether it executes a newer snapshot from here on.
        ledger: The session's fold.
    """

    paths: ProjectPaths
    lock: ProjectLock
    journal: Journal
    session: str
    resumed: bool
    updated: bool
    ledger: Ledger


def read_milestone(paths: ProjectPaths, milestone_id: str) -> Milestone:
    """Read the active milestone file of this id.

    Raises:
        RunRefusedError: It is not there (1), already completed (1) or not valid (2).
    """
    try:
        path = paths.file(milestone_id)
    except ValueError as error:
        raise RunRefusedError(USAGE, f"no milestone id: {error}") from error
    if not path.exists():
        if (paths.completed / f"{milestone_id}.yaml").exists():
            line = (
                f"milestone {milestone_id} is completed already: {paths.completed / f'{milestone_id}.yaml'}"
            )
            raise RunRefusedError(FAILED, line)
        known = sorted(item.stem for item in paths.active.glob("*.yaml")) if paths.active.is_dir() else []
        hint = (
            f"active milestones here: {', '.join(known)}" if known else "there is none yet: milestonectl init"
        )
        raise RunRefusedError(FAILED, f"milestone not found: {path}", hint)
    reading = read_milestone_file(path)
    if reading.milestone is None:
        raise RunRefusedError(USAGE, *(str(problem) for problem in reading.problems))
    return reading.milestone


def _definition(milestone: Milestone) -> Milestone:
    """Strip what a run itself changes in the file: what is left is the author's."""
    tasks = tuple(attrs.evolve(task, status=FileStatus.PENDING) for task in milestone.tasks)
    return attrs.evolve(milestone, tasks=tasks, status="", declared_percentage=None)


def _changed_completed(state: SessionState, milestone: Milestone) -> list[str]:
    """List completed tasks that a newer snapshot defines differently or no longer has."""
    plain = attrs.evolve

    def same(one: Task, other: Task | None) -> bool:
        return other is not None and plain(one, status=FileStatus.PENDING) == plain(
            other, status=FileStatus.PENDING
        )

    return [
        key
        for key, task in state.tasks.items()
        if task.phase is Phase.COMPLETED and not same(state.milestone.by_id[key], milestone.by_id.get(key))
    ]


def _update(state: SessionState, milestone: Milestone, *, as_journaled: bool) -> tuple[Event, ...]:
    if as_journaled or _definition(state.milestone) == _definition(milestone):
        return ()
    changed = _changed_completed(state, milestone)
    if changed:
        raise RunRefusedError(
            USAGE,
            f"{milestone.id} was edited: completed tasks of the unfinished session changed: {', '.join(changed)}",
            f"undo the edit, or go on with what session {state.session} began with: "
            f"milestonectl run {milestone.id} --as-journaled",
        )
    return (MilestoneUpdated(milestone),)


def _same_isolation(ledger: Ledger, wanted: Isolation | None) -> Isolation:
    began = ledger.state.settings.isolation
    if wanted is not None and wanted is not began:
        raise RunRefusedError(
            USAGE,
            f"session {ledger.session} began with isolation {began.value}, and its unfinished work is there",
            f"go on without --isolation: milestonectl run {ledger.state.milestone.id}",
        )
    return began


def _unfinished(journal: Journal, milestone_id: str) -> Ledger | None:
    for summary in reversed(journal.sessions()):
        if summary.milestone_id == milestone_id:
            ledger = Ledger(summary.id, journal.records(summary.id))
            return ledger if ledger.state.status in RESUMABLE else None
    return None


def open_run(
    project: Path,
    milestone_id: str,
    settings: Settings,
    *,
    what: str,
    isolation: Isolation | None = None,
    as_journaled: bool = False,
) -> Opening:
    """Take the project and journal the beginning of a session, or of its next life.

    Args:
        project: Directory that holds ``.milestones``.
        milestone_id: Which milestone.
        settings: How to run.
        isolation: Where attempts run, over ``settings``; a resumed session goes on as it began, and is refused
            with another.
        what: What takes the lock, for who finds it held (``milestonectl run milestone-001``).
        as_journaled: Go on with the journaled snapshot although the file was edited.

    Raises:
        RunRefusedError: It cannot start; nothing was changed.
    """
    paths = ProjectPaths(project.resolve())
    milestone = read_milestone(paths, milestone_id)
    missing = missing_agents(milestone, settings)
    if missing:
        raise RunRefusedError(CONFIGURATION, *missing)
    try:
        lock = ProjectLock.acquire(paths, what)
    except LockHeldError as error:
        raise RunRefusedError(HELD, str(error)) from error
    except OSError as error:
        raise RunRefusedError(IO_ERROR, f"{paths.milestones} cannot be used: {error}") from error
    try:
        return _open_locked(paths, lock, milestone, settings, isolation, as_journaled=as_journaled)
    except BaseException as error:
        lock.close()
        if isinstance(error, JournalFullError | JournalBrokenError | OSError):
            raise RunRefusedError(IO_ERROR, str(error)) from error
        if isinstance(error, JournalError):
            raise RunRefusedError(CONFIGURATION, str(error)) from error
        raise


def _sweep(journal: Journal) -> None:
    """Kill what tasks of former sessions left: nobody supervises it, since the project's lock is ours."""
    marks = frozenset(summary.id for summary in journal.sessions())
    left = kill_until_gone(lambda: find_marked(SESSION_MARK, marks), SWEEP_SECONDS)
    if left:
        pids = ", ".join(map(str, left))
        raise RunRefusedError(
            HELD, f"processes of a former session cannot be killed: {pids}", "end them, then run again"
        )


def _open_locked(
    paths: ProjectPaths,
    lock: ProjectLock,
    milestone: Milestone,
    settings: Settings,
    isolation: Isolation | None,
    *,
    as_journaled: bool,
) -> Opening:
    paths.write_gitignore()
    journal = Journal.open(paths.state_db, seen=seen_by(paths))
    try:
        _sweep(journal)
        ledger = _unfinished(journal, milestone.id)
        events: tuple[Event, ...]
        if ledger is None:
            settings = attrs.evolve(settings, isolation=isolation or settings.isolation)
            session = new_session_id(milestone.id, datetime.now(), os.urandom(4).hex())  # noqa: DTZ005 - local, for people
            ledger = Ledger(session)
            path = paths.file(milestone.id).relative_to(paths.project)
            project = str(paths.project)
            events = (SessionStarted(milestone, str(path), project, settings, boot_id(), os.getpid()),)
            resumed = False
        else:
            settings = attrs.evolve(settings, isolation=_same_isolation(ledger, isolation))
            update = _update(ledger.state, milestone, as_journaled=as_journaled)
            events = (SessionResumed(settings, boot_id(), os.getpid()), *update)
            resumed = True
        facts = tuple((ledger.session, encode_event(event)) for event in events)
        wall = time.time()  # noqa: TID251 - stored with the records
        for record in journal.append(facts, wall, time.monotonic()):
            ledger.state.apply(record)
    except BaseException:
        journal.close()
        raise
    return Opening(paths, lock, journal, ledger.session, resumed, len(events) > 1, ledger)


class MilestoneRun:
    """A session under supervision, in this process.

    Args:
        opening: What :func:`open_run` returned; this object owns its lock and journal from here on.
    """

    def __init__(self, opening: Opening) -> None:
        self.session = opening.session
        self.paths = opening.paths
        self.resumed = opening.resumed
        self.updated = opening.updated
        self.initial_state = decode_state(encode_state(opening.ledger.state))
        self.milestone = opening.ledger.state.milestone
        self.settings = opening.ledger.state.settings
        self.notices: queue.SimpleQueue[RunNotice] = queue.SimpleQueue()
        self._lock = opening.lock
        self.paths.prepare_session(self.session)
        # What a child prints (a crash, as a rule) is for who looks after it, not for the terminal.
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        self._output = os.open(self.paths.logs(self.session) / "children.log", flags, 0o600)
        self._hub = Hub(opening.journal, PRELOAD, self._output)
        logs = str(self.paths.logs(self.session))
        self._specs = session_specs(self.session, str(self.paths.project), logs, self.settings)
        self._watch = Watch(self.paths, self.session, opening.ledger.state, self.notices.put)
        conduct = Conduct(self._hub, self.session, self._shown, self._ended)
        self._port = HubPort(self._hub, self.session, self._specs)
        self._supervisor = SupervisorActor.start(FLAGS, self._specs, self._port, conduct)
        self._ledger = opening.ledger
        self._end: SessionEnded | None = None
        self._children_gone = False
        self._reason = ""
        self._over = False
        self._disk_full = False
        self._stopping = False
        self._closed = False

    def start(self) -> None:
        """Start the hub, the fork server and the children; returns at once."""
        self._watch.start()
        self._hub.start()
        self._hub.open_session(self._ledger, self, self._observe)
        self._supervisor.tell(told.Begin(at=time.monotonic()))

    def request_stop(self, reason: str, *, final: bool = False) -> None:
        """Ask for an orderly end: running attempts are ended, the session stays resumable unless ``final``."""
        self._hub.state(self.session, StopRequested(reason, final))

    def stop_now(self) -> None:
        """End all children at once, in reverse start order."""
        with contextlib.suppress(pykka.ActorDeadError):  # it has ended already
            self._supervisor.tell(stop_now())

    def kill_now(self) -> None:
        """End all children at once; tasks are killed without the grace that a stop gives them."""
        self._port.hurry()
        self.stop_now()

    def close(self) -> None:
        """Give everything back: processes, threads, journal, lock; closing twice does nothing."""
        if self._closed:
            return
        self._closed = True
        self.stop_now()
        self._hub.close()
        # With the hub closed nobody tells it any more that its children are gone, which they are.
        self._supervisor.stop()
        self._watch.stop()
        self._lock.close()
        os.close(self._output)

    @property
    def fork_server_pid(self) -> int:
        """Process id of the fork server, 0 before it runs."""
        return self._hub.fork_server_pid

    # --- called in the hub's thread ------------------------------------------------------------------------------

    def tell(self, message: told.Event) -> None:
        """Pass on what happened to a child; the hub's :class:`~supervisor.hub.Teller`."""
        if isinstance(message, told.Beat):
            self._watch.beaten(message)
        with contextlib.suppress(pykka.ActorDeadError):  # it has ended, and so have all that it looked after
            self._supervisor.tell(message)

    def _observe(self, notice: Notice) -> None:
        self.notices.put(notice)
        match notice:
            case Recorded(items=items):
                self._watch.recorded(items)
                for _, event in items:
                    self._heed(event)
            case Escalated(fatal=True, reason=reason, broken=broken):
                self._put_over(Over(SessionStatus.INTERRUPTED, reason, BROKEN if broken else IO_ERROR))
            case Escalated(reason=reason):
                self._reason = reason
                self.stop_now()
            case Refused():
                pass
            case _:
                assert_never(notice)

    def _heed(self, event: Event) -> None:
        match event:
            case SessionEnded():
                self._end = event
                self._conclude()
                self.stop_now()
            case SessionPaused(reason=reason):
                self._disk_full = reason == DISK_FULL
            case SessionUnpaused():
                self._disk_full = False
            case StopRequested():
                self._stopping = True
            case _:
                return
        if self._disk_full and self._stopping:
            # The roles cannot settle a session of which nothing can be journaled: whoever stops it does not wait.
            self.stop_now()

    def _conclude(self) -> None:
        """Say that the run is over once the children are gone *and* the journal has the session's end."""
        if not self._children_gone:
            return
        if self._end is None:
            status = SessionStatus.PAUSED if self._reason else SessionStatus.INTERRUPTED
            self._hub.state(self.session, SessionEnded(status, self._reason))
            return
        self._put_over(Over(self._end.status, self._end.reason, EXIT_CODES[self._end.status]))

    def _children_are_gone(self, reason: str) -> None:
        self._children_gone = True
        self._reason = self._reason or reason
        self._conclude()

    def _put_over(self, over: Over) -> None:
        if not self._over:
            self._over = True
            self.notices.put(over)

    # --- called in the supervisor's thread -----------------------------------------------------------------------

    def _shown(self, view: ChildView) -> None:
        self._watch.shown(view)
        self.notices.put(view)

    def _ended(self, end: Ended) -> None:
        reason = ""
        match end.cause:
            case EndCause.INTENSITY:
                reason = (
                    f"the roles kept failing: more than {FLAGS.intensity} restarts in {FLAGS.period:.0f} s"
                )
            case EndCause.START_FAILED:
                reason = str(end.reason)
            case EndCause.ASKED | EndCause.AUTO_SHUTDOWN:
                pass
            case _:
                assert_never(end.cause)
        self._hub.call(lambda: self._children_are_gone(reason))
