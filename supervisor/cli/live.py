"""The live view of a run on a terminal: lines above, a table of roles and a progress bar below."""

from __future__ import annotations

import contextlib
import time
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from rich.console import Console, Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from actors.events import ProgressReported
from actors.progress import percentage
from actors.state import Phase, Stage
from actors.wording import duration_text
from supervisor.cli.board import Board
from supervisor.cli.keyboard import Keyboard
from supervisor.cli.narration import TITLES, Line, Tone, roles_in_order
from supervisor.cli.output import visible
from supervisor.cli.view import View, line_text
from supervisor.conduct import ChildView
from supervisor.limits import Sample
from supervisor.notices import Recorded
from supervisor.watch import Sampled

if TYPE_CHECKING:
    from supervisor.session_run import Over, RunNotice
    from supervisor.sole_run import SoleRun

STYLES: Final = {Tone.PLAIN: "", Tone.GOOD: "green", Tone.WARNING: "yellow", Tone.BAD: "bold red"}

STATE_STYLES: Final = {"RUNNING": "green", "STARTING": "yellow", "BACKOFF": "yellow", "FATAL": "bold red"}

COLUMNS: Final = (
    (66, (("pid", 7), ("cpu", 5), ("rss", 6), ("restarts", 8))),
    (52, (("pid", 7), ("restarts", 8))),
    (0, ()),
)
"""From so many columns of the terminal on, what the table shows of a role beside its state, and how wide at least."""

ROLE_ROWS: Final = len(roles_in_order()) + 1
"""Rows of the table of roles, with its head."""

MOST_BAR: Final = 40
LEAST_BAR: Final = 8
"""Columns of the progress bar; where there is no room for the least there is none."""

MOST_NAME: Final = 32
"""Columns of a task's id."""

TENTHS_BELOW: Final = 60
"""Seconds below which a duration is written without minutes."""

REFRESH_SECONDS: Final = 0.1
"""Shortest time between two drawings of the table."""


class LiveView(View):
    """A table of roles, the running tasks and a bar that stay below the lines.

    The board takes two thirds of the terminal at the most: a table of roles where there is room for it, else one row
    that names those in trouble; then as many tasks as fit.

    Args:
        run: Not started yet.
    """

    def __init__(self, run: SoleRun) -> None:
        super().__init__(run)
        self._console = Console(highlight=False)
        self._board = Board(self._console)
        self._lines: list[Text] = []
        self._views: dict[str, ChildView] = {}
        self._samples: dict[str, Sample] = {}
        self._drawn = 0.0
        self._end_wall: float | None = None
        self._hint = ""
        self._keyboard = Keyboard(self._leave)
        self._terminal = contextlib.ExitStack()

    def __enter__(self) -> Self:
        """Print the header."""
        self._terminal.enter_context(self._keyboard)
        for text in self.header():
            self._console.print(Text(visible(text), style="bold"), soft_wrap=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Print what is left, and give the terminal back."""
        with self._terminal:
            self._leave()

    def show(self, notice: RunNotice) -> None:
        """Take a notice."""
        match notice:
            case ChildView(child=child):
                self._views[child] = notice
            case Sampled(samples=samples):
                self._samples = samples
            case _:
                super().show(notice)
        if isinstance(notice, Recorded):
            for record, event in notice.items:
                if isinstance(event, ProgressReported):
                    self._end_wall = None if event.eta_seconds is None else record.wall + event.eta_seconds

    def line(self, line: Line) -> None:
        """Keep the line until the next drawing."""
        self._lines.append(Text(line_text(line), style=STYLES[line.tone]))

    def stopping(self, hint: str) -> None:
        """Keep the hint in sight."""
        super().stopping(hint)
        self._hint = hint

    def refresh(self) -> None:
        """Draw if it is time."""
        if time.monotonic() - self._drawn >= REFRESH_SECONDS:
            width, height = self._console.size
            self._draw(self._contents(width, height) if self._keyboard.is_ours() else None)

    def over(self, over: Over) -> None:
        """Print how it ended, below everything."""
        style = "bold green" if over.code == 0 else "bold yellow"
        for text in self.closing(over):
            self._console.print(Text(visible(text), style=style), soft_wrap=True)

    def _leave(self) -> None:
        """Take the board away; the lines stay."""
        self._draw(None)

    def _draw(self, board: RenderableType | None) -> None:
        lines, self._lines = self._lines, []
        self._drawn = time.monotonic()
        self._board.draw(lines, board)

    def _contents(self, width: int, height: int) -> Group:
        room = height * 2 // 3
        bar = [self._bar(width), *([Text(self._hint, style="yellow")] if self._hint else [])]
        room -= len(bar)
        # A table without room for a task below it is worth less than the tasks.
        roles = self._table(width) if room > ROLE_ROWS + 1 else self._summary()
        room -= ROLE_ROWS if isinstance(roles, Table) else 1
        return Group(roles, self._tasks(max(0, room)), *bar)

    def _table(self, width: int) -> Table:
        table = Table(box=None, pad_edge=False, header_style="bold dim")
        table.add_column("role", min_width=20, no_wrap=True)
        table.add_column("state", min_width=8, no_wrap=True)
        columns = next(columns for least, columns in COLUMNS if width >= least)
        for name, wide in columns:
            table.add_column(name, justify="right", min_width=wide, no_wrap=True)
        for child in roles_in_order():
            view = self._views.get(child, ChildView(child, "STOPPED"))
            sample = self._samples.get(child)
            cells = {
                "pid": str(view.pid or ""),
                "cpu": "" if sample is None else f"{sample.cpu_percent:.0f} %",
                "rss": "" if sample is None else f"{sample.rss_bytes / 1e6:.0f} MB",
                "restarts": str(view.restarts),
            }
            state = Text(view.state, style=STATE_STYLES.get(view.state, "dim"))
            table.add_row(TITLES[child], state, *(cells[name] for name, _ in columns))
        return table

    def _summary(self) -> Text:
        """Say in one row how the roles are."""
        states = {child: self._views.get(child, ChildView(child, "STOPPED")).state for child in roles_in_order()}
        running = sum(state == "RUNNING" for state in states.values())
        said = Text(f"{running} of {len(states)} roles running", no_wrap=True, overflow="ellipsis")
        for child, state in states.items():
            if state not in {"RUNNING", "STOPPED"}:
                said.append(f", {TITLES[child]} {state}", STATE_STYLES.get(state, "dim"))
        return said

    def _tasks(self, room: int) -> Group:
        """List the tasks that run now and for how long, the longest first, in so many rows at the most."""
        now = time.time()  # noqa: TID251 - shown to people
        running = [
            (attempt.started_wall, task_id)
            for task_id in self.state.live.values()
            if (attempt := self.state.tasks[task_id].attempt) is not None and attempt.stage is Stage.STARTED
        ]
        shown = len(running) if len(running) <= room else max(0, room - 1)
        longest = min(MOST_NAME, max((len(task_id) for _, task_id in running), default=0))
        rows = []
        for began, task_id in sorted(running)[:shown]:
            row = Text(f"> {task_id:{longest}}", style="cyan", no_wrap=True, overflow="ellipsis")
            title = visible(self.state.milestone.by_id[task_id].title)
            rows.append(row.append(f"  {whole_seconds(now - began):>4}  {title}", "default"))
        if shown < len(running) and room:
            rows.append(Text(f"  and {len(running) - shown} more", no_wrap=True))
        return Group(*rows)

    def _bar(self, width: int) -> RenderableType:
        counts = dict.fromkeys(Phase, 0)
        for task in self.state.tasks.values():
            counts[task.phase] += 1
        now = time.time()  # noqa: TID251 - shown to people
        running = counts[Phase.RUNNING] + counts[Phase.PREPARING] + counts[Phase.LANDING]
        total = len(self.state.tasks) - counts[Phase.SKIPPED]
        percent = percentage(self.state)
        said = f"{percent:3d}%  {counts[Phase.COMPLETED]}/{total} tasks, {running} running"
        said += f", {counts[Phase.FAILED]} failed" if counts[Phase.FAILED] else ""
        said += f"  {whole_seconds(self.state.active_seconds(now))}"
        seconds = 0.0 if self._end_wall is None or not running else self._end_wall - now
        left = f", about {whole_seconds(seconds)} left" if seconds >= 1 else ""  # else it has outrun what was expected
        said += left if len(said) + len(left) + LEAST_BAR < width else ""
        text = Text(said, no_wrap=True, overflow="ellipsis")
        room = min(MOST_BAR, width - 1 - len(said) - 2)
        if room < LEAST_BAR:
            return text
        grid = Table.grid(padding=(0, 2))
        grid.add_row(ProgressBar(total=100, completed=percent, width=room), text)
        return grid


def whole_seconds(seconds: float) -> str:
    """Write a duration without tenths, which would change with every drawing."""
    whole = int(max(0.0, seconds))
    return f"{whole}s" if whole < TENTHS_BELOW else duration_text(whole)
