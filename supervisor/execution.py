"""The execution of a milestone in a host program, for whoever waits in whatever way: every request returns a future.

:class:`~supervisor.milestone_run.MilestoneRun` waits in threads, :class:`~supervisor.milestone_run_async.
AsyncMilestoneRun` in an event loop; both stand on this. Owns what is asked of a session, and how it ended. Refuses to
wait.
"""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs

from actors.events import Event, SessionPaused, SessionStatus, SessionUnpaused, TaskRetried, TaskSkipped
from actors.model import Isolation
from actors.paths import ProjectPaths
from actors.state import Phase
from supervisor.api_errors import NotRunningError, RequestRefusedError, SupervisionError
from supervisor.beginning import CONFIGURATION, FAILED, IO_ERROR, AlreadyCompletedError, RunRefusedError, Wish
from supervisor.branch import settle
from supervisor.config import ConfigError, load_config, merge_options
from supervisor.journal_errors import JournalError
from supervisor.journal_reader import JournalReader
from supervisor.news import News
from supervisor.shared_project import SharedProject
from supervisor.shortage import refusal
from supervisor.spec_checks import require

if TYPE_CHECKING:
    from actors.state import SessionState
    from supervisor.session_report import SessionReport
    from supervisor.session_run import Over, SessionRun

PAGE: Final = 500
"""Events that are read from the journal together."""

BY_PROGRAM: Final = "by the program that runs it"
"""Who it was that paused, skipped or stopped, for people who read it later."""


@attrs.frozen
class MilestoneEvent:
    """What happened in a session, as the journal has it.

    Attributes:
        seq: Its place in the project's journal: where :meth:`MilestoneRun.events` goes on after it.
        wall: Seconds since the epoch.
        event: What happened: one of the classes in :mod:`actors.events`.
    """

    seq: int
    wall: float
    event: Event


@attrs.frozen
class MilestoneOutcome:
    """How a run ended.

    Attributes:
        status: What the session is now; an interrupted or paused one is taken up by the next run.
        reason: Why, one line; ``""`` when there is nothing to say.
        session: Its id; ``""`` when the milestone was completed before, and there was nothing to do.
        code: What the command line would exit with.
    """

    status: SessionStatus
    reason: str
    session: str
    code: int

    @property
    def is_completed(self) -> bool:
        """Whether every task of the milestone is done."""
        return self.status is SessionStatus.COMPLETED


def _as_config(value: str | os.PathLike[str]) -> Path:
    fit = isinstance(value, str | os.PathLike)
    require("milestone run", "config", value, ok=fit, why="must be the path of a configuration file, or None")
    return Path(value)


@attrs.frozen(kw_only=True)
class Options:
    """How a milestone is run; what is ``None`` is as the project's configuration says.

    Attributes:
        max_parallel: Tasks at once, 1 to 1000.
        fail_fast: Whether nothing new is started once a task has failed.
        isolation: ``"worktree"`` or ``"none"``.
        as_journaled: Go on with the tasks as they were, although the file was edited.
        config: Configuration file over the usual ones.
    """

    max_parallel: int | None = None
    fail_fast: bool | None = None
    isolation: str | None = None
    as_journaled: bool = False
    config: Path | None = attrs.field(default=None, converter=attrs.converters.optional(_as_config))


class Execution:
    """A milestone, executed once; the :class:`supervisor.shared_project.Client` of its project.

    Args:
        project: Directory that holds ``.milestones``.
        milestone_id: Which milestone.
        options: How.

    Attributes:
        news: Of its events.
        begun: Is done when its beginning is journaled, or fails with :class:`RunRefusedError`.
        over: Is done when nothing of it is left.
    """

    def __init__(self, project: str | os.PathLike[str], milestone_id: str, options: Options) -> None:
        _check_kinds(project, milestone_id, options)
        self.news = News()
        self.begun: Future[None] = Future()
        self.over: Future[MilestoneOutcome] = Future()
        self._paths = ProjectPaths(Path(project).resolve())
        self._milestone_id = milestone_id
        self._options = options
        self._pid = os.getpid()
        self._lock = threading.Lock()  # of what is below, which the threads of the project reach too
        self._project: SharedProject | None = None
        self._run: SessionRun | None = None
        self._asking: set[Future[None]] = set()
        self._is_over = False
        self._why_no_session = ""

    # --- life ----------------------------------------------------------------------------------------------------

    def begin(self, environment: Mapping[str, str]) -> Future[None]:
        """Begin; the future is :attr:`begun`.

        Args:
            environment: For ``$MILESTONED_CONFIG``.

        Raises:
            RunRefusedError: The configuration is wrong, or there is no project.
            NotRunningError: It was begun before.
        """
        self.check_process()
        wish = self._wish(environment)
        with self._lock:
            if self._project is not None:
                raise NotRunningError("a run is started once; make another one")
            try:
                self._project = SharedProject.join_in(self._paths)
            except OSError as error:
                raise RunRefusedError(IO_ERROR, f"no thread for the project: {refusal(error)}") from error
        self._project.begin_session(wish, self)
        return self.begun

    def _wish(self, environment: Mapping[str, str]) -> Wish:
        options = self._options
        if not self._paths.milestones.is_dir():
            raise RunRefusedError(
                FAILED,
                f"{self._paths.project} is no project: it has no directory .milestones",
                f"make one with: milestonectl -C {self._paths.project} init",
            )
        try:
            loaded = load_config(self._paths.project, environment, options.config)
            settings = merge_options(loaded.settings, max_parallel=options.max_parallel, fail_fast=options.fail_fast)
        except (ConfigError, ValueError) as error:
            raise RunRefusedError(CONFIGURATION, str(error)) from error
        isolation = None if options.isolation is None else _isolation(options.isolation)
        return Wish(self._milestone_id, settings, isolation, options.as_journaled)

    def request_stop(self, *, final: bool) -> Future[MilestoneOutcome] | None:
        """Ask for an orderly end; ``None`` when there is nothing to end, or it is not ours.

        Returns:
            :attr:`over`.
        """
        if os.getpid() != self._pid or self._project is None:
            return None
        what = f"{'cancelled' if final else 'stopped'} {BY_PROGRAM}"
        self.begun.add_done_callback(lambda _: self._request_stop(what, final=final))
        return self.over

    def _request_stop(self, reason: str, *, final: bool) -> None:
        if self._run is not None and not self.over.done():
            self._run.request_stop(reason, final=final)

    def kill(self) -> None:
        """End everything at once; the next run takes the session up."""
        if os.getpid() == self._pid:
            self.begun.add_done_callback(lambda _: self._kill())

    def _kill(self) -> None:
        if self._run is not None and not self.over.done():
            self._run.kill_now()

    def join(self, timeout: float | None = None) -> None:
        """Wait for the project's thread, if it was given back: it does nothing more.

        Args:
            timeout: Seconds at most; ``None`` for as long as it takes.
        """
        project = self._project
        if os.getpid() == self._pid and project is not None and project.is_left:
            project.join(timeout)

    def check_process(self) -> None:
        """Refuse to act in a process that was forked from the one that runs the milestone.

        Raises:
            NotRunningError: This is such a process.
        """
        if os.getpid() != self._pid:
            raise NotRunningError(f"this run belongs to process {self._pid}, from which this one was forked")

    def check_waiting(self) -> None:
        """Refuse to wait for the end of what was never begun: nobody would tell it.

        Raises:
            NotRunningError: It was not started, or its start was refused at once; or this is a forked process.
        """
        self.check_process()
        if self._project is None and not self.over.done():
            raise NotRunningError("the milestone has not begun")

    # --- requests ------------------------------------------------------------------------------------------------

    def pause(self) -> Future[None]:
        """Start nothing new."""
        return self._state(SessionPaused(f"paused {BY_PROGRAM}", by_hand=True))

    def resume(self) -> Future[None]:
        """Go on."""
        return self._state(SessionUnpaused())

    def retry(self, tasks: Sequence[str]) -> Future[None]:
        """Attempt tasks again; none stands for all that have failed."""
        if tasks:
            return self._state(*map(TaskRetried, _named(tasks)))
        answer, run = self._asked()

        def look(state: SessionState) -> None:
            failed = [key for key, task in state.tasks.items() if task.phase is Phase.FAILED]
            run.state(*map(TaskRetried, failed), told=partial(self._answer, answer))

        run.look(look)
        return answer

    def skip(self, tasks: Sequence[str]) -> Future[None]:
        """Leave tasks out."""
        return self._state(*(TaskSkipped(task, f"skipped {BY_PROGRAM}") for task in _named(tasks)))

    def report(self) -> SessionReport:
        """Return what the session is now, or was at its end.

        Raises:
            NotRunningError: There is no session: it has not begun, could not, or the milestone was completed before.
        """
        if self._run is None:
            raise NotRunningError(self._why_no_session or "the milestone has not begun")
        return self._run.report()

    def page(self, after: int) -> tuple[list[MilestoneEvent], bool]:
        """Read the next events of the session from the journal; blocks.

        Args:
            after: Seq of the last one that was read, 0 for none.

        Returns:
            The events, and whether no other will come after them.

        Raises:
            SupervisionError: The journal cannot be read.
        """
        if self._run is None:
            return [], True
        is_closed = self.news.is_closed
        try:
            with JournalReader.open(self._paths.state_db) as reader:
                records = list(itertools.islice(reader.records(self._run.session, after), PAGE))
        except JournalError as error:
            raise SupervisionError(str(error)) from error
        return [MilestoneEvent(one.seq, one.wall, one.event()) for one in records], is_closed and len(records) < PAGE

    def _state(self, *events: Event) -> Future[None]:
        answer, run = self._asked()
        run.state(*events, told=partial(self._answer, answer))
        return answer

    def _asked(self) -> tuple[Future[None], SessionRun]:
        self.check_process()
        answer: Future[None] = Future()
        with self._lock:
            run = self._run
            if run is None or self._is_over:
                raise NotRunningError("the milestone does not run")
            self._asking.add(answer)
        return answer, run

    def _answer(self, answer: Future[None], refusals: Sequence[str]) -> None:
        with self._lock:
            if answer not in self._asking:
                return  # it was told that the session has ended
            self._asking.discard(answer)
        lines = tuple(line.partition(": ")[2] or line for line in refusals)  # without the kind of the fact
        settle(answer, error=RequestRefusedError(lines) if lines else None)

    # --- called in the threads of the project --------------------------------------------------------------------

    def started(self, run: SessionRun) -> None:
        """Take notice that the session's beginning is journaled."""
        self._run = run
        settle(self.begun)

    def refused(self, error: RunRefusedError) -> None:
        """Take notice that it cannot begin, or that there is nothing to do."""
        self.news.close()
        nothing = "there was nothing to do, and no session was begun" if not error.code else "it could not begin"
        self._why_no_session = f"{nothing}: {error.lines[0]}"
        if isinstance(error, AlreadyCompletedError):
            settle(self.begun)
            settle(self.over, MilestoneOutcome(SessionStatus.COMPLETED, error.lines[0], "", error.code))
        else:
            settle(self.begun, error=error)
            settle(self.over, error=error)

    def recorded(self, seq: int) -> None:
        """Take notice that events were journaled, up to this one."""
        self.news.put(seq)

    def ended(self, over: Over) -> None:
        """Take notice that it has ended; nothing of it lives."""
        with self._lock:
            self._is_over = True
            asking, self._asking = self._asking, set()
        for answer in asking:
            settle(answer, error=NotRunningError("the milestone ended before that was done"))
        self.news.close()
        session = "" if self._run is None else self._run.session
        settle(self.over, MilestoneOutcome(over.status, over.reason, session, over.code))


def _check_kinds(project: object, milestone_id: object, options: Options) -> None:
    """Refuse arguments of another kind than what they say.

    Raises:
        SpecError: There is one.
    """
    owner = "milestone run"
    path = isinstance(project, str | os.PathLike) and "\0" not in os.fspath(project)
    require(owner, "project", project, ok=path, why="must be the path of the directory that holds .milestones")
    named = isinstance(milestone_id, str) and bool(milestone_id)
    require(owner, "milestone", milestone_id, ok=named, why="must be the id of a milestone, a text")
    most = options.max_parallel
    require(owner, "max_parallel", most, ok=most is None or type(most) is int, why="must be a number, or None")
    for field, value in (("fail_fast", options.fail_fast), ("as_journaled", options.as_journaled)):
        fit = isinstance(value, bool) or (value is None and field == "fail_fast")
        require(owner, field, value, ok=fit, why="must be true or false")


def _named(tasks: Sequence[str]) -> Sequence[str]:
    """Refuse what is no id.

    Raises:
        SpecError: There is such.
    """
    for task in tasks:
        require("milestone run", "task", task, ok=isinstance(task, str), why="must be the id of a task, a text")
    return tasks


def _isolation(word: str) -> Isolation:
    """Read how tasks are kept apart.

    Raises:
        RunRefusedError: There is no such way.
    """
    try:
        return Isolation(word)
    except ValueError:
        allowed = ", ".join(one.value for one in Isolation)
        raise RunRefusedError(CONFIGURATION, f"isolation must be one of {allowed}, not {word!r}") from None
