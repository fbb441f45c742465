"""The live view of a run on a terminal: lines above, a table of roles and a progress bar below."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from actors.progress import duration_text, percentage
from actors.state import Phase, Stage
from supervisor.cli.narration import TITLES, Line, Tone, roles_in_order
from supervisor.cli.view import View, line_text
from supervisor.conduct import ChildView
from supervisor.watch import Sample, Sampled

if TYPE_CHECKING:
    from supervisor.run import MilestoneRun, Over, RunNotice

STYLES: Final = {Tone.PLAIN: "", Tone.GOOD: "green", Tone.WARNING: "yellow", Tone.BAD: "bold red"}

STATE_STYLES: Final = {"RUNNING": "green", "STARTING": "yellow", "BACKOFF": "yellow", "FATAL": "bold red"}

MOST_TASKS: Final = 8
"""Running tasks that are listed."""

REFRESH_SECONDS: Final = 0.1
"""Shortest time between two drawings of the table."""


class LiveView(View):
    """A table of roles and a bar that stay below the lines.

    Args:
        run: Not started yet.
    """

    def __init__(self, run: MilestoneRun) -> None:
        super().__init__(run)
        self._console = Console(highlight=False, soft_wrap=False)
        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        self._views: dict[str, ChildView] = {}
        self._samples: dict[str, Sample] = {}
        self._drawn = 0.0

    def __enter__(self) -> Self:
        """Print the header and begin to draw."""
        for text in self.header():
            self._console.print(Text(text, style="bold"))
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the terminal back."""
        self._live.__exit__(kind, error, trace)

    def show(self, notice: RunNotice) -> None:
        """Take a notice."""
        match notice:
            case ChildView(child=child):
                self._views[child] = notice
            case Sampled(samples=samples):
                self._samples = samples
            case _:
                super().show(notice)
        self.refresh()

    def line(self, line: Line) -> None:
        """Print a line above the table."""
        self._console.print(Text(line_text(line), style=STYLES[line.tone]))

    def refresh(self) -> None:
        """Draw the table if it is time."""
        now = time.monotonic()
        if now - self._drawn >= REFRESH_SECONDS:
            self._drawn = now
            self._live.update(Group(self._table(), self._tasks(), self._bar()), refresh=True)

    def over(self, over: Over) -> None:
        """Print how it ended, below everything."""
        style = "bold green" if over.code == 0 else "bold yellow"
        for text in self.closing(over):
            self._console.print(Text(text, style=style))

    def _table(self) -> Table:
        table = Table(box=None, pad_edge=False, header_style="bold dim")
        table.add_column("role", min_width=20)
        table.add_column("state", min_width=8)
        for name in ("pid", "cpu", "rss", "restarts"):
            table.add_column(name, justify="right", min_width=7)
        for child in roles_in_order():
            view = self._views.get(child, ChildView(child, "STOPPED"))
            sample = self._samples.get(child)
            table.add_row(
                TITLES[child],
                Text(view.state, style=STATE_STYLES.get(view.state, "dim")),
                str(view.pid or ""),
                "" if sample is None else f"{sample.cpu_percent:.0f} %",
                "" if sample is None else f"{sample.rss_bytes / 1e6:.0f} MB",
                str(view.restarts),
            )
        return table

    def _tasks(self) -> Table:
        """List the tasks that run now and for how long, the longest first."""
        now = time.time()  # noqa: TID251 - shown to people
        running = [
            (attempt.started_wall, task_id)
            for task_id in self.state.live.values()
            if (attempt := self.state.tasks[task_id].attempt) is not None and attempt.stage is Stage.STARTED
        ]
        grid = Table.grid(padding=(0, 2))
        for began, task_id in sorted(running)[:MOST_TASKS]:
            title = Text(self.state.milestone.by_id[task_id].title, overflow="ellipsis", no_wrap=True)
            grid.add_row(Text(f"> {task_id}", style="cyan"), duration_text(max(0.0, now - began)), title)
        if len(running) > MOST_TASKS:
            grid.add_row(f"  and {len(running) - MOST_TASKS} more")
        return grid

    def _bar(self) -> Table:
        counts = dict.fromkeys(Phase, 0)
        for task in self.state.tasks.values():
            counts[task.phase] += 1
        running = counts[Phase.RUNNING] + counts[Phase.PREPARING] + counts[Phase.LANDING]
        total = len(self.state.tasks) - counts[Phase.SKIPPED]
        percent = percentage(self.state)
        elapsed = duration_text(self.state.active_seconds(time.time()))  # noqa: TID251 - shown to people
        failed = f", {counts[Phase.FAILED]} failed" if counts[Phase.FAILED] else ""
        text = f"{percent:3d}%  {counts[Phase.COMPLETED]}/{total} tasks, {running} running{failed}  {elapsed}"
        grid = Table.grid(padding=(0, 2))
        grid.add_row(ProgressBar(total=100, completed=percent, width=40), Text(text))
        return grid
