"""``milestonectl run``: execute a milestone in the foreground."""

from __future__ import annotations

import contextlib
import errno
import functools
import math
import os
import queue
import signal
import threading
import time
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

import click

from actors.events import SessionStatus
from actors.log import open_log_late
from actors.model import Isolation
from actors.paths import ProjectPaths
from supervisor.beginning import AlreadyCompletedError, RunRefusedError
from supervisor.cli import completing
from supervisor.cli.fitness import refuse_unfit
from supervisor.cli.logbook import log_notice
from supervisor.cli.milestones import check_name
from supervisor.cli.output import (
    PIPE_CODE,
    CommandError,
    can_draw,
    configuration_error,
    escaped,
    print_json,
    require_project,
)
from supervisor.cli.verbs import OBJECT_PER_EVENT, verb
from supervisor.cli.view import JsonView, PlainView, View, live_view
from supervisor.config import ConfigError, load_config, merge_options
from supervisor.desk import HANGS
from supervisor.distributions import own_version
from supervisor.finding import shown
from supervisor.opening import open_run
from supervisor.run_control import RunControl
from supervisor.session_run import Over, RunNotice
from supervisor.sole_run import SoleRun

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from supervisor.config import Config

SIGNAL_CODES: Final = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}
"""Exit codes of a run that a signal interrupted: 128 + the signal's number."""


WAIT_SECONDS: Final = 0.25
"""Longest time between two drawings of a view, and until a signal is heeded."""

GATHER_SECONDS: Final = 0.03
"""Seconds in which notices are gathered before they are shown."""

LAST_RESORT_SECONDS: Final = 15.0
"""Seconds after the second signal at which we no longer wait for anybody."""

_ENOUGH: Final = 3
_GIVEN_UP: Final = "not everything has ended as it was told to; what is left is killed, and the next run looks again"

_HINTS: Final = {signal.SIGINT: "Ctrl-C again ends everything at once"}
_OTHER_HINT: Final = "signal again to end everything at once"

_NOBODY_READS: Final = frozenset({errno.EPIPE, errno.EIO})
"""Errors of writing to a pipe without a reader, and to a terminal that is gone."""


class _Signals:
    """Counts the signals that ask the run to end: the first is orderly, the second is not, the third waits no more."""

    def __init__(self) -> None:
        self.first: signal.Signals | None = None
        self.count = 0
        self._former: dict[signal.Signals, Any] = {}

    def install(self) -> None:
        """Have signals counted from here on."""
        self._former = {number: signal.signal(number, self._seen) for number in SIGNAL_CODES}

    def restore(self) -> None:
        """Let signals do what they did before: there is nothing to be ended in order."""
        for number, former in self._former.items():
            signal.signal(number, former)

    def refuse(self) -> None:
        """Let nothing begin once a signal has come.

        Raises:
            RunRefusedError: One has.
        """
        if self.first is not None:
            raise RunRefusedError(SIGNAL_CODES[self.first], f"{self.first.name} received before anything had begun")

    def _seen(self, number: int, _: FrameType | None) -> None:
        self.count += 1
        if self.first is None:
            self.first = signal.Signals(number)


@verb("run", "milestonectl run milestone-001 --max-parallel 4", json=OBJECT_PER_EVENT)
@click.argument("milestone", metavar="ID", shell_complete=completing.milestones)
@click.option("-j", "--max-parallel", type=click.IntRange(1, 1000), metavar="N", help="Tasks that may run at once.")
@click.option(
    "--isolation",
    type=click.Choice(["worktree", "none"]),
    help="Run each task in a git worktree of its own (the default), or in place without commits.",
)
@click.option(
    "--fail-fast/--keep-going", default=None, help="Start nothing new once a task has failed, or what can still run."
)
@click.option("--as-journaled", is_flag=True, help="Resume with the tasks as they were, although the file was edited.")
@click.option(
    "--config", type=click.Path(exists=True, dir_okay=False), help="Configuration file to use before the others."
)
@click.option("--plain", is_flag=True, help="Plain lines, even on a terminal.")
def command(  # noqa: PLR0913 - one parameter per option
    ctx: click.Context,
    milestone: str,
    *,
    max_parallel: int | None,
    isolation: str | None,
    fail_fast: bool | None,
    as_journaled: bool,
    config: str | None,
    plain: bool,
    as_json: bool,
) -> int:
    """Execute the milestone ID until every task is completed, failed, or cannot run.

    An unfinished session of the milestone is taken up again; completed tasks are never run twice. Ctrl-C ends the
    running tasks in order and leaves a session that the next run resumes.

    Exit codes: 0 completed; 1 failed, blocked or not found; 2 invalid file; 75 another process runs here;
    78 configuration or journal; 129, 130 and 143 interrupted by HUP, INT or TERM, resumable; 130 also by `stop` and
    `shutdown`; 141 nobody reads the output any more, resumable.
    """
    refuse_unfit(needs_git=isolation != "none", as_json=as_json)
    project = require_project(ctx, as_json=as_json)
    check_name(ProjectPaths(project), milestone, as_json=as_json, completed_too=True)
    loaded = _configuration(project, config, as_json=as_json)
    settings = merge_options(
        loaded.settings,
        max_parallel=max_parallel,
        fail_fast=fail_fast,
    )
    what = f"milestonectl run {milestone}"
    signals = _Signals()
    signals.install()  # a session that has begun ends in order
    try:
        opening = open_run(
            project,
            milestone,
            settings,
            what=what,
            isolation=None if isolation is None else Isolation(isolation),
            as_journaled=as_journaled,
            may_begin=signals.refuse,
        )
    except AlreadyCompletedError as error:
        signals.restore()
        return _nothing_to_do(error, as_json=as_json)
    except RunRefusedError as error:
        signals.restore()
        lines = (_typed(line, project) for line in error.lines)
        raise CommandError(error.code, *lines, as_json=as_json) from error
    run = SoleRun(opening)
    open_log_late(run.paths.logs(run.session) / "supervisor.log", loaded.log_level.value.upper())
    return _conduct(run, what, _view_of(run, plain=plain, as_json=as_json), signals)


def _view_of(run: SoleRun, *, plain: bool, as_json: bool) -> View:
    if as_json:
        return JsonView(run)
    if plain or not can_draw():
        return PlainView(run)
    return live_view(run)


def _typed(line: str, project: Path) -> str:
    """Return a line about a file of the project with its path as one types it from here."""
    path, colon, rest = line.partition(":")
    return f"{shown(path)}{colon}{rest}" if colon and path.startswith(f"{project}{os.sep}") else line


def _nothing_to_do(error: AlreadyCompletedError, *, as_json: bool) -> int:
    """Say that the milestone is completed: the same last object as at the end of a run, or lines."""
    if as_json:
        print_json({"session": None, "status": "completed", "reason": error.lines[0], "code": error.code})
    else:
        for line in error.lines:
            click.echo(escaped(line))
    return error.code


def _configuration(project: Path, config: str | None, *, as_json: bool) -> Config:
    try:
        return load_config(project, os.environ, Path(config) if config else None)
    except ConfigError as error:
        raise configuration_error(error, as_json=as_json) from error


class _Audience:
    """Shows a view as long as somebody reads it.

    Args:
        view: Not entered yet.
    """

    def __init__(self, view: View) -> None:
        self.view = view
        self.is_gone = False

    def tell(self, show: Callable[[], object]) -> None:
        """Show something, and notice when nobody reads it."""
        if self.is_gone:
            return
        try:
            show()
        except OSError as error:
            if error.errno not in _NOBODY_READS:
                raise
            self.is_gone = True


def _conduct(run: SoleRun, what: str, view: View, signals: _Signals) -> int:
    audience = _Audience(view)
    with contextlib.ExitStack() as stack:
        control = _control(run, what)
        if control is not None:
            stack.enter_context(control)
        stack.callback(_close, run, control)
        if control is not None:
            stack.callback(control.withdraw)
        run.start()
        audience.tell(view.__enter__)
        stack.callback(audience.tell, lambda: view.__exit__(None, None, None))
        over = _follow(run, audience, signals)
        if control is not None:
            control.ended(over)
    audience.tell(lambda: view.over(over))
    if over.code == SIGNAL_CODES[signal.SIGINT] and signals.first is not None:
        return SIGNAL_CODES[signals.first]
    if audience.is_gone:
        return PIPE_CODE
    return over.code


def _control(run: SoleRun, what: str) -> RunControl | None:
    try:
        return RunControl(run, what, own_version())
    except OSError as error:
        line = f"no control socket, so stop, pause and the like cannot reach this run: {run.paths.control}: "
        click.echo(f"milestonectl: {line}{error.strerror or error}", err=True)
        return None


def _close(run: SoleRun, control: RunControl | None) -> None:
    if run.close():
        return
    click.echo(f"milestonectl: {HANGS}", err=True)
    if control is not None:
        control.hangs()


def _next_notices(run: SoleRun) -> list[RunNotice]:
    """Wait a moment for something to show, then a little more for what comes with it.

    A view that woke for every notice would keep the hub's thread waiting for the interpreter's lock.
    """
    try:
        notices = [run.notices.get(timeout=WAIT_SECONDS)]
    except queue.Empty:
        return []
    threading.Event().wait(GATHER_SECONDS)
    while not run.notices.empty():
        notices.append(run.notices.get())
    return notices


def _follow(run: SoleRun, audience: _Audience, signals: _Signals) -> Over:
    asked = 0
    stopped = False
    give_up_at = math.inf
    while True:
        if signals.count > asked:
            asked = signals.count
            if asked == 1 and signals.first is not None:
                run.request_stop(f"{signals.first.name} received; running tasks are ended")
                audience.tell(functools.partial(audience.view.stopping, _HINTS.get(signals.first, _OTHER_HINT)))
            else:
                give_up_at = min(give_up_at, time.monotonic() + LAST_RESORT_SECONDS)
                run.kill_now()
        if asked >= _ENOUGH or time.monotonic() >= give_up_at:
            return Over(SessionStatus.INTERRUPTED, _GIVEN_UP, SIGNAL_CODES[signal.SIGINT])
        notices = _next_notices(run)
        audience.tell(functools.partial(_show, audience.view, notices))
        for notice in notices:
            log_notice(notice)
            if isinstance(notice, Over):
                return notice
        if audience.is_gone and not stopped:
            stopped = True
            run.request_stop("nobody reads the output any more; running tasks are ended")


def _show(view: View, notices: Sequence[RunNotice]) -> None:
    for notice in notices:
        if not isinstance(notice, Over):
            view.show(notice)
    view.refresh()
