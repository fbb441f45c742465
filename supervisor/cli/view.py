"""How a run looks: plain lines, JSON lines, or a live table over the lines.

A view folds the records itself, so nothing is shared with the threads that run the session. Refuses to know what a
fact means to people (that is :mod:`supervisor.cli.narration`).
"""

from __future__ import annotations

import time
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

import click
import msgspec

from actors.events import SessionStatus
from actors.plan import Plan
from actors.standstill import held_up
from actors.state import Phase
from supervisor.cli.narration import TITLES, Line, Tone, narrate, refusal_text
from supervisor.cli.output import count, print_json, visible
from supervisor.finding import shown
from supervisor.notices import Escalated, FactRefused, Recorded, Troubled

if TYPE_CHECKING:
    from supervisor.session_run import Over, RunNotice
    from supervisor.sole_run import SoleRun

MOST_FAILURES: Final = 10
"""Failed tasks that are listed at the end."""

COLOURS: Final = {Tone.PLAIN: None, Tone.GOOD: "green", Tone.WARNING: "yellow", Tone.BAD: "red"}


def clock(wall: float) -> str:
    """Write a moment as local time of day."""
    return datetime.fromtimestamp(wall).strftime("%H:%M:%S")  # noqa: DTZ006 - local time, for people


def line_text(line: Line) -> str:
    """Write a line as the convention has it: ``[HH:MM:SS] Task Executor: Starting task-001``."""
    return f"[{clock(line.wall)}] {TITLES.get(line.speaker, line.speaker)}: {visible(line.text)}"


class View:
    """The base of the three: folds, and knows the header and the last line.

    Args:
        run: Not started yet.
    """

    def __init__(self, run: SoleRun) -> None:
        self.run = run
        self.state = run.initial_state
        self.plan = Plan.of(run.milestone)

    def __enter__(self) -> Self:
        """Show the header."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the terminal back."""

    def show(self, notice: RunNotice) -> None:
        """Take a notice."""
        match notice:
            case Recorded(items=items):
                for record, event in items:
                    self.state.apply(record, event)
                    for line in narrate(record, event, self.state, self.plan):
                        self.line(line)
            case FactRefused(child=child, reason=reason):
                self.say(refusal_text(child, reason), Tone.WARNING)
            case Troubled(reason=reason):
                self.say(reason, Tone.WARNING)
            case Escalated(reason=reason):
                self.say(reason, Tone.BAD)
            case _:
                pass

    def say(self, text: str, tone: Tone) -> None:
        """Show a line of the supervisor that no journal holds."""
        self.line(Line(time.time(), "supervisor", text, tone))  # noqa: TID251 - shown to people

    def line(self, line: Line) -> None:
        """Show one line."""

    def stopping(self, hint: str) -> None:
        """Tell whoever asked for the end, which takes a moment, what they can do meanwhile."""
        self.say(hint, Tone.WARNING)

    def refresh(self) -> None:
        """Nothing has happened for a moment."""

    def over(self, over: Over) -> None:
        """Show how it ended."""

    def header(self) -> tuple[str, ...]:
        """Return the lines before everything else."""
        milestone = self.run.milestone
        verb = "Resuming" if self.run.resumed else "Executing"
        lines = [
            f"{verb} milestone {milestone.id}: {milestone.title}",
            f"Session {self.run.session}",
        ]
        done = sum(task.phase is Phase.COMPLETED for task in self.state.tasks.values())
        if self.run.resumed and done:
            lines.append(f"{done} of {count(len(self.state.tasks), 'task')} completed before: they are not run again")
        if self.run.updated:
            lines.append("The file was edited since: the session goes on with the edited tasks")
        lines += [f"Warning: {TITLES.get(one.role, one.role)} {one.text}" for one in held_up(self.state)]
        return (*lines, *(f"Warning: {warning}" for warning in self.run.warnings))

    def closing(self, over: Over) -> tuple[str, ...]:
        """Return the lines after everything else."""
        alert = self.state.completion
        return (*self._outcome(over), *(() if alert is None else (alert.text,)))

    def _outcome(self, over: Over) -> tuple[str, ...]:
        milestone = self.run.milestone.id
        logs = self.run.paths.logs(self.run.session)
        match over.status:
            case SessionStatus.COMPLETED:
                branch = self.state.git.ready.branch if self.state.git.ready is not None else ""
                done = [f"Milestone {milestone} completed"]
                if branch and self.state.git.landed:
                    done.append(f"{count(self.state.git.landed, 'commit')} on {branch}: git log {branch}")
                return tuple(done)
            case SessionStatus.INTERRUPTED | SessionStatus.PAUSED:
                reason = f": {over.reason}" if over.reason else ""
                return (f"Session {over.status.value}{reason}", f"Go on with: milestonectl run {milestone}")
            case SessionStatus.CANCELLED:
                return (
                    f"Milestone {milestone} {over.reason if over.reason.startswith('cancelled ') else 'cancelled'}",
                    *self._failures(),
                    f"What is completed stays so; a new session begins with the rest: milestonectl run {milestone}",
                )
            case _:
                reason = f": {over.reason}" if over.reason else ""
                return (
                    f"Milestone {milestone} {over.status.value}{reason}",
                    *self._failures(),
                    f"Output of the tasks: {shown(logs)}/tasks/",
                    f"Mend it, then: milestonectl run {milestone}",
                )

    def _failures(self) -> tuple[str, ...]:
        """Say of each failed task why, and which file of the tasks' output is its."""
        failed = [(key, task) for key, task in self.state.tasks.items() if task.phase is Phase.FAILED]
        width = max((len(key) for key, _ in failed[:MOST_FAILURES]), default=0)
        lines = [
            f"  {key:{width}}  {task.reason}" + (f" ({task.attempt.id}.log)" if task.attempt is not None else "")
            for key, task in failed[:MOST_FAILURES]
        ]
        hidden = len(failed) - len(lines)
        more = f"  and {hidden} more: milestonectl status {self.run.milestone.id}"
        return (*lines, *([more] if hidden else []))


class PlainView(View):
    """Lines, one after the other; what a pipe gets."""

    def __init__(self, run: SoleRun) -> None:
        super().__init__(run)
        self._lines: list[str] = []

    def __enter__(self) -> Self:
        """Print the header."""
        for text in self.header():
            click.echo(visible(text))
        return self

    def line(self, line: Line) -> None:
        """Keep the line until the next :meth:`refresh`."""
        self._lines.append(click.style(line_text(line), fg=COLOURS[line.tone]))

    def refresh(self) -> None:
        """Print what was kept, at once."""
        if self._lines:
            click.echo("\n".join(self._lines))
            self._lines.clear()

    def over(self, over: Over) -> None:
        """Print how it ended."""
        self.refresh()
        for text in self.closing(over):
            click.echo(visible(text))


class JsonView(View):
    """One JSON object per journaled event."""

    def show(self, notice: RunNotice) -> None:
        """Print the record."""
        if isinstance(notice, Recorded):
            for record, event in notice.items:
                self.state.apply(record, event)
                print_json(
                    {
                        "seq": record.seq,
                        "timestamp": record.wall,
                        "session": record.session,
                        "event": record.kind,
                        "details": msgspec.json.decode(record.body),
                    }
                )

    def over(self, over: Over) -> None:
        """Print the result as the last object."""
        print_json(
            {
                "session": self.run.session,
                "status": over.status.value,
                "reason": over.reason,
                "code": over.code,
            }
        )


def live_view(run: SoleRun) -> View:
    """Make the view for a terminal; imports rich, which nobody else pays for."""
    from supervisor.cli.live import LiveView  # noqa: PLC0415

    return LiveView(run)
