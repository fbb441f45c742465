"""``milestonectl run``: execute a milestone in the foreground."""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Final

import click

from actors.model import Isolation
from supervisor.cli.output import CommandError, find_project
from supervisor.cli.view import JsonView, PlainView, View, live_view
from supervisor.config import ConfigError, load_config, merge_options
from supervisor.run import MilestoneRun, Over, RunNotice, RunRefusedError, open_run

if TYPE_CHECKING:
    from actors.events import Settings

SIGNAL_CODES: Final = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}
"""Exit codes of a run that a signal interrupted: 128 + the signal's number."""


WAIT_SECONDS: Final = 0.1
"""Longest time between two drawings of a view, and until a signal is heeded."""

GATHER_SECONDS: Final = 0.03
"""Seconds in which notices are gathered before they are shown."""


class _Signals:
    """Counts the signals that ask the run to end; the first is orderly, the second is not."""

    def __init__(self) -> None:
        self.first: signal.Signals | None = None
        self.count = 0

    def install(self) -> None:
        for number in SIGNAL_CODES:
            signal.signal(number, self._seen)

    def _seen(self, number: int, _: FrameType | None) -> None:
        self.count += 1
        if self.first is None:
            self.first = signal.Signals(number)


@click.command(
    "run",
    epilog="Example: milestonectl run milestone-001 --max-parallel 4",
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.argument("milestone")
@click.option("-j", "--max-parallel", type=click.IntRange(1, 512), help="How many tasks may run at once.")
@click.option(
    "--isolation",
    type=click.Choice(["worktree", "none"]),
    help="Run each task in a git worktree of its own (the default), or in place without commits.",
)
@click.option("--fail-fast/--keep-going", default=None, help="Start nothing new once a task has failed.")
@click.option(
    "--as-journaled", is_flag=True, help="Resume with the tasks as they were, although the file was edited."
)
@click.option("--config", type=click.Path(exists=True, dir_okay=False), help="Configuration file to use.")
@click.option("--plain", is_flag=True, help="Plain lines, even on a terminal.")
@click.option(
    "--json", "as_json", is_flag=True, help="One JSON object per journaled event on standard output."
)
@click.pass_context
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
    """Execute MILESTONE until every task is completed, failed, or cannot run.

    An unfinished session of the milestone is taken up again; completed tasks are never run twice. Ctrl-C ends the
    running tasks in order and leaves a session that the next run resumes.

    Exit codes: 0 completed; 1 failed, blocked or not found; 2 invalid file; 75 another process runs here;
    78 configuration or journal; 130 and 143 interrupted, resumable.
    """
    project = find_project(ctx)
    settings = merge_options(
        _settings(project, config, as_json=as_json),
        max_parallel=max_parallel,
        fail_fast=fail_fast,
    )
    what = f"milestonectl run {milestone}"
    try:
        opening = open_run(
            project,
            milestone,
            settings,
            what=what,
            isolation=None if isolation is None else Isolation(isolation),
            as_journaled=as_journaled,
        )
    except RunRefusedError as error:
        raise CommandError(error.code, *error.lines, as_json=as_json) from error
    run = MilestoneRun(opening)
    view: View
    if as_json:
        view = JsonView(run)
    elif plain or not sys.stdout.isatty() or os.environ.get("TERM") == "dumb":
        view = PlainView(run)
    else:
        view = live_view(run)
    return _conduct(run, view)


def _settings(project: Path, config: str | None, *, as_json: bool) -> Settings:
    try:
        return load_config(project, os.environ, Path(config) if config else None).settings
    except ConfigError as error:
        raise CommandError(78, *(str(problem) for problem in error.problems), as_json=as_json) from error


def _conduct(run: MilestoneRun, view: View) -> int:
    signals = _Signals()
    signals.install()
    with view:
        try:
            run.start()
            over = _follow(run, view, signals)
        finally:
            run.close()
        view.over(over)
    if over.code == SIGNAL_CODES[signal.SIGINT] and signals.first is not None:
        return SIGNAL_CODES[signals.first]
    return over.code


def _next_notices(run: MilestoneRun) -> list[RunNotice]:
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


def _follow(run: MilestoneRun, view: View, signals: _Signals) -> Over:
    asked = 0
    while True:
        for notice in _next_notices(run):
            if isinstance(notice, Over):
                return notice
            view.show(notice)
        view.refresh()
        if signals.count > asked:
            asked = signals.count
            if asked == 1 and signals.first is not None:
                run.request_stop(f"{signals.first.name} received; running tasks are ended")
            else:
                run.stop_now()
