"""``milestonectl tail``: the end of what a task, a role or the supervising process wrote, and what comes.

Nobody is asked: files are read, and with ``--follow`` the journal tells when there is nothing more to wait for. The
default is the last 10 lines, as of tail(1); ``supervisorctl`` shows 1600 bytes, which begin within a line.

Owns the order of reading. Which file it is says :mod:`supervisor.cli.logs`.
"""

from __future__ import annotations

import json
import select
import sys
from typing import TYPE_CHECKING, Final, Self

import click

from actors.paths import ProjectPaths
from actors.state import Phase, SessionState
from supervisor.cli import completing
from supervisor.cli.journaled import open_sessions
from supervisor.cli.log_file import LogFile
from supervisor.cli.logs import Log, UnknownLogError, attempt_log, find_log
from supervisor.cli.output import FAILED, CommandError, escaped, require_project
from supervisor.cli.process_log import ProcessLog
from supervisor.cli.terminal_text import TerminalText
from supervisor.cli.verbs import OBJECT_PER_LINE, verb
from supervisor.finding import shown
from supervisor.lock import read_holder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from supervisor.sessions import Sessions

LINES: Final = 10
_LOOK_MILLISECONDS: Final = 200
_OVER: Final = frozenset({Phase.COMPLETED, Phase.FAILED, Phase.SKIPPED})


@verb("tail", "milestonectl tail -f task-003", json=OBJECT_PER_LINE)
@click.argument("name", metavar="NAME", shell_complete=completing.logs)
@click.option("-f", "--follow", is_flag=True, help="Go on with what is written, until the attempt or session ends.")
@click.option("-n", "--lines", type=click.IntRange(min=0), metavar="LINES", help="Begin with so many lines (10).")
@click.option("-c", "--bytes", "size", type=click.IntRange(min=0), metavar="BYTES", help="Begin with so many bytes.")
def command(ctx: click.Context, name: str, *, follow: bool, lines: int | None, size: int | None, as_json: bool) -> int:
    """Show the end of a log. NAME is a task (its latest attempt), TASK.N, SESSION:ROLE, SESSION:TASK or supervisor.

    A milestone stands for its latest session. Without SESSION the one that lives is meant, else the latest that has
    the task. Nobody needs to supervise the project.

    Exit codes: 0 shown; 1 unknown name; 78 the journal cannot be read; 130 Ctrl-C; 141 nobody reads any more.
    """
    if lines is not None and size is not None:
        raise click.UsageError("either --lines or --bytes, not both", ctx)
    paths = ProjectPaths(require_project(ctx, as_json=as_json))
    with open_sessions(paths, as_json=as_json) as sessions:
        try:
            log = find_log(name, paths, sessions)
        except UnknownLogError as error:
            raise CommandError(FAILED, *error.lines, as_json=as_json) from error
        show = _Show(log, as_json=as_json, colours=ctx.color is not False)
        with _Tail(paths, sessions, log) as tail:
            try:
                tail.begin(LINES if lines is None else lines, size)
                for piece in tail.follow() if follow else tail.rest():
                    show(tail.log, piece)
            finally:
                show.finish()
            if not tail.found:
                click.echo(escaped(_nothing(tail.log)), err=True)
    return 0


def _nothing(log: Log) -> str:
    place = f"{log.name}: nothing was logged so far ({shown(log.path)} is not there)"
    return place + "; milestoned's own log goes where `log` of its configuration says" * (log.name == "supervisor")


class _Show:
    """Where pieces go: line by line as JSON, or, a process's log made readable, to where they are made safe if need be.

    Into a pipe or file what a task printed goes as it is. Each log is finished before the next one is shown.
    """

    def __init__(self, log: Log, *, as_json: bool, colours: bool) -> None:
        self._log = log
        self._as_json = as_json
        self._colours = colours
        self._is_terminal = sys.stdout.isatty() and not as_json
        self._rest = b""
        self._text = TerminalText(colours=colours)
        self._process = ProcessLog()

    def __call__(self, log: Log, piece: bytes) -> None:
        if log.path != self._log.path:
            self.finish()
            click.echo(escaped(f"==> {log.name} <=="), err=True)
        self._log = log
        if self._as_json:
            *whole, self._rest = (self._rest + piece).split(b"\n")
            for line in whole:
                self._object(log, line)
        else:
            self._print(piece if log.task else self._process.feed(piece))
        sys.stdout.flush()

    def finish(self) -> None:
        """Show what was held back."""
        self._print(self._process.finish())
        if self._is_terminal:
            sys.stdout.write(self._text.finish())
        if self._rest:
            self._object(self._log, self._rest)
        sys.stdout.flush()
        self._rest = b""
        self._text = TerminalText(colours=self._colours)

    def _print(self, piece: bytes) -> None:
        if self._is_terminal:
            sys.stdout.write(self._text.feed(piece))
        else:
            sys.stdout.buffer.write(piece)

    def _object(self, log: Log, line: bytes) -> None:
        text = line.decode("utf-8", "backslashreplace")
        click.echo(json.dumps({"name": log.name, "session_id": log.session, "log": str(log.path), "line": text}))


class _Tail:
    """One log, and then those of the task's later attempts."""

    def __init__(self, paths: ProjectPaths, sessions: Sessions, log: Log) -> None:
        self.log = log
        self.found = False
        self._paths = paths
        self._sessions = sessions
        self._state = SessionState()
        self._file = LogFile(log.path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def begin(self, lines: int, size: int | None) -> None:
        """Go to where showing begins."""
        if size is None:
            self._file.skip_to_last_lines(lines)
        else:
            self._file.skip_to_last_bytes(size)

    def rest(self) -> Iterator[bytes]:
        """Yield what is there."""
        yield from self._file.more()
        self.found = self.found or self._file.exists

    def follow(self) -> Iterator[bytes]:
        """Yield what is there and what comes, until the attempt or the session is over.

        Raises:
            BrokenPipeError: Nobody reads standard output any more.
        """
        wait = _waiting()
        while True:
            # The journal before the file: what was written before the end was journaled is then read.
            over, newer = self._look()
            yield from self.rest()
            if newer:
                self._go_on()
                yield b""  # that it is another log now is worth knowing before it has something
            elif over:
                return
            else:
                wait()

    def _look(self) -> tuple[bool, bool]:
        """Return whether nothing more will be written to this log, and whether there is a later attempt."""
        holder = read_holder(self._paths)
        state, log = self._state, self.log
        for record in self._sessions.records(log.session, state.seq):
            state.apply(record)
        lives = not state.ended_wall and holder is not None and holder.pid in {0, state.pid}
        if not log.task:
            return not lives, False
        task = state.tasks[log.task]
        newer = task.attempts > log.number
        if log.pinned:
            ended = task.attempt is not None and task.attempt.outcome is not None
            return newer or ended or not lives, False
        return task.phase in _OVER or not lives, newer

    def _go_on(self) -> None:
        """Turn to the task's next attempt."""
        self._file.close()
        self.log = attempt_log(self._paths, self.log.session, self.log.task, self.log.number + 1)
        self._file = LogFile(self.log.path)


def _waiting() -> Callable[[], None]:
    """Return what waits for a moment, and raises when the reader of standard output has gone."""
    poll = select.poll()
    poll.register(1, 0)

    def wait() -> None:
        if poll.poll(_LOOK_MILLISECONDS):
            raise BrokenPipeError

    return wait
