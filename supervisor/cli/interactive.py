"""``milestonectl`` without a verb: a shell on a terminal, and otherwise the lines that it is given to read.

A line is the words of a command line, parted as a shell parts them, and is executed by a process of its own: the same
program with these words behind its own. So each verb is what it is on the command line, finds whoever supervises the
project at that moment, and takes nothing with it when it fails. While it runs, the signals of the keyboard are for it
alone; the shell heeds them while a line is typed.

Owns reading, and what is no verb: help, exit, quit. Refuses to know verbs, and what is offered behind them
(:mod:`supervisor.cli.offering`).
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import stat
import subprocess
import sys
import termios
from typing import TYPE_CHECKING, Final

import click

from supervisor.cli.history import History, history_path
from supervisor.cli.output import INVALID, escaped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PROMPT: Final = "milestonectl> "
ENDS: Final = ("exit", "quit")
OWN: Final = ("help", *ENDS)
_PROGRAM: Final = "milestonectl"
_OWN_HELP: Final = """
In this shell a command is typed without the program's name. Besides there are:
  help [COMMAND]  This list, or what a command does
  exit, quit      End the shell, as Ctrl-D does
Tab completes, the arrows bring back what was typed before, and Ctrl-C abandons a line or ends what a command shows.
"""


def is_terminal() -> bool:
    """Tell whether somebody sits there: both what is typed and what is shown are on a terminal."""
    return all(not stream.closed and stream.isatty() for stream in (sys.stdin, sys.stdout))


def is_fed() -> bool:
    """Tell whether standard input is something that holds lines for us: a file, a pipe or a socket."""
    try:
        mode = os.fstat(sys.stdin.fileno()).st_mode
    except (AttributeError, OSError, ValueError):  # closed, or none of the system's
        return False
    return stat.S_ISREG(mode) or stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


def follow_lines(ctx: click.Context) -> int:
    """Execute each line of standard input, also after one that failed.

    Args:
        ctx: Of the program.

    Returns:
        The exit code of the last line that failed, 0 when none did.
    """
    shell = Shell(ctx, stdin=subprocess.DEVNULL)  # what a command reads of it would be missing here
    code = 0
    for number, line in enumerate(sys.stdin, 1):
        answered = shell.execute(line)
        if answered is None:
            break
        if answered:
            click.echo(f"{_PROGRAM}: line {number}: exit code {answered}", err=True)
            code = answered
    return code


def converse(ctx: click.Context) -> int:
    """Read lines from the terminal and execute them until the user ends that; return 0.

    Args:
        ctx: Of the program.
    """
    shell = Shell(ctx)
    keep = _editing(ctx)
    click.echo("Type help for the commands, exit to end. Tab completes.")
    while True:
        try:
            line = input(PROMPT)
            keep(line)
            code = shell.execute(line)
        except KeyboardInterrupt:
            click.echo()
            continue
        except EOFError:
            click.echo()
            return 0
        if code is None:
            return 0
        if code:
            click.secho(f"exit code {code}", fg="yellow", err=True, color=ctx.color)


class Shell:
    """Executes lines.

    Args:
        ctx: Of the program.
        stdin: Where commands read; ``None`` for where the shell does.
    """

    def __init__(self, ctx: click.Context, *, stdin: int | None = None) -> None:
        self._ctx = ctx
        self._stdin = stdin

    def execute(self, line: str) -> int | None:
        """Execute a line and return its exit code; ``None`` when it ends the shell."""
        if line.lstrip().startswith("#"):
            return 0
        try:
            words = shlex.split(line)
        except ValueError as error:
            click.echo(f"{_PROGRAM}: the line is not complete: {str(error).lower()}", err=True)
            return INVALID
        if words[:1] == [_PROGRAM]:  # typed by habit
            words = words[1:]
        match words:
            case []:
                return 0
            case [word, *_] if word in ENDS:
                return None
            case ["help", *named]:
                return self._help(named)
            case _:
                return self._call(words)

    def _help(self, named: list[str]) -> int:
        """Show the help of the program, or of a command, or of what is no command of the program."""
        is_own = named[:1] in [[], *([word] for word in OWN)]
        code = 0 if is_own and named else self._call([*named, "--help"])
        if is_own:
            click.echo(_OWN_HELP, nl=False)
        return code

    def _call(self, words: list[str]) -> int:
        """Have a process of its own execute the words; return its exit code, as shells count it."""
        own = ["-C", self._ctx.obj] if self._ctx.obj else []
        command = [*_program(), *own, *words]
        sys.stdout.flush()
        with _keeping_terminal(), _deaf():
            try:
                with subprocess.Popen(command, stdin=self._stdin) as process:  # this program again
                    code = _end_of(process)
            except (OSError, ValueError) as error:  # no more processes, a word too long, a word with a NUL
                click.echo(escaped(f"{_PROGRAM}: the command cannot be started: {error}"), err=True)
                return os.EX_OSERR
        return code if code >= 0 else 128 - code


def _end_of(process: subprocess.Popen[bytes]) -> int:
    """Wait for the end of a process; when Ctrl-Z has stopped it, stop too, after what it had to put in order."""
    while os.waitid(os.P_PID, process.pid, os.WEXITED | os.WSTOPPED | os.WNOWAIT).si_code == os.CLD_STOPPED:  # type: ignore[union-attr]
        os.waitid(os.P_PID, process.pid, os.WSTOPPED)
        former = signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        signal.raise_signal(signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, former)
    return process.wait()


def _program() -> list[str]:
    """Return the words by which this program was started, without its arguments."""
    own = len(sys.orig_argv) - len(sys.argv) + 1
    return [sys.executable, *sys.orig_argv[1:own]]


@contextlib.contextmanager
def _deaf() -> Iterator[None]:
    """Leave the keyboard's signals to the process that is waited for: to be ignored they would be ignored there too."""
    numbers = (signal.SIGINT, signal.SIGQUIT, signal.SIGTSTP)
    former = [signal.signal(number, lambda *_: None) for number in numbers]
    try:
        yield
    finally:
        for number, one in zip(numbers, former, strict=True):
            signal.signal(number, one)


@contextlib.contextmanager
def _keeping_terminal() -> Iterator[None]:
    """Give the terminal the mode back that it had: a command that was killed could not."""
    try:
        former = termios.tcgetattr(sys.stdin.fileno())
    except (termios.error, OSError, ValueError):
        yield
        return
    try:
        yield
    finally:
        with contextlib.suppress(termios.error, OSError):
            termios.tcsetattr(sys.stdin.fileno(), termios.TCSADRAIN, former)


def _editing(ctx: click.Context) -> Callable[[str], None]:
    """Have lines edited, completed and remembered, and return what remembers one; without readline nothing does."""
    try:
        import readline  # noqa: PLC0415
    except ImportError:
        return lambda _line: None
    from supervisor.cli.offering import Offering  # noqa: PLC0415

    readline.set_completer(Offering(ctx).offer)
    readline.set_completer_delims(" \t\n")  # a session and its role are one word
    is_editline = "libedit" in (readline.__doc__ or "")
    readline.parse_and_bind("bind ^I rl_complete" if is_editline else "tab: complete")
    readline.set_auto_history(False)
    history: History | None = None
    try:
        history = History(history_path())
        for line in history.lines():
            readline.add_history(line)
    except (OSError, RuntimeError) as error:
        _complain(error)
        history = None

    def keep(line: str) -> None:
        nonlocal history
        line = line.rstrip()
        last = readline.get_history_item(readline.get_current_history_length())
        if not line or line[0].isspace() or line == last:
            return
        readline.add_history(line)
        try:
            if history is not None:
                history.add(line)
        except OSError as error:
            _complain(error)
            history = None

    return keep


def _complain(error: Exception) -> None:
    click.echo(escaped(f"{_PROGRAM}: what is typed is not kept for later: {error}"), err=True)
