"""``milestonectl``: the command line.

Owns the command tree; each command is a module of its own, imported when it is used, so that a quick command stays
quick. Only this module ends the process, and only here a failure that nobody foresaw is caught: a user gets a line
that says so, never a traceback.
"""

from __future__ import annotations

import errno
import gc
import importlib
import os
import sys
from typing import TYPE_CHECKING, Any, Final

import click

from supervisor.cli.output import (
    BROKEN,
    CONFIGURATION,
    INVALID,
    IO_ERROR,
    OLDEST_PYTHON,
    PIPE_CODE,
    CommandError,
    escaped,
)
from supervisor.standard_streams import open_closed_streams

if TYPE_CHECKING:
    from collections.abc import Sequence

    from click.shell_completion import CompletionItem

COMMANDS: Final = {
    "init": "Make a .milestones directory here",
    "validate": "Check milestone files",
    "plan": "Show waves, critical path and predicted time",
    "run": "Execute a milestone",
    "start": "Begin sessions under milestoned",
    "status": "Show sessions, roles and tasks",
    "sessions": "List all sessions",
    "blockers": "List what stands in the way",
    "top": "Show what processes use",
    "report": "Tell what happened in a session",
    "stop": "End a session in order; it stays resumable",
    "restart": "Stop and start again",
    "signal": "Send a signal to roles",
    "pid": "Print process ids",
    "pause": "Start nothing new; what runs finishes",
    "resume": "Go on with a paused session",
    "cancel": "End a session for good",
    "retry": "Attempt failed tasks again",
    "skip": "Leave tasks out",
    "update": "Take in an edit of a milestone file",
    "tail": "Show the end of a log, and what comes",
    "events": "Print what the journal holds, as it happens",
    "reload": "Have milestoned read its configuration again",
    "shutdown": "End milestoned, or a run, in order",
    "recover": "Repair a damaged journal",
    "service": "Install as a service of systemd",
    "import": "Turn a supervisord.conf or a Procfile into specs",
    "doctor": "Look for what is wrong, and say the cure",
    "completion": "Print the completion script of a shell",
    "version": "Show versions",
}
"""Name and short help of every command; each is a module of its name, but for those below."""

MODULES: Final = {"import": "importing"}
"""Commands whose name is none for a module."""

ELSEWHERE: Final = {
    "add": "a milestone file in .milestones/active/ is enough; begin it with: milestonectl start ID",
    "avail": "what could be started is in: milestonectl status",
    "clear": "each attempt has a log of its own, and long ones are put aside by themselves",
    "fg": "follow what is printed with: milestonectl tail -f NAME",
    "help": "the commands are listed by --help, and one is shown by: milestonectl status --help",
    "maintail": "the log of what supervises is shown by: milestonectl tail -f supervisor",
    "open": "one process supervises a project; go there, or name it with: milestonectl -C DIRECTORY",
    "remove": "end a session for good with: milestonectl cancel NAME",
    "reread": "the difference to a milestone file is shown by: milestonectl update SESSION",
}
"""Verbs of ``supervisorctl`` that are none here, with what does it (reference: supervisorctl, section 1)."""

COMPLETE_VARIABLE: Final = "_MILESTONECTL_COMPLETE"
"""Environment variable by which a shell's script asks for completions."""

TRACEBACK_VARIABLE: Final = "MILESTONED_TRACEBACK"
"""Environment variable that asks for the traceback of a defect."""


class LazyGroup(click.Group):
    """A group that imports a command only when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the names in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import a command; ``None`` for an unknown one."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"supervisor.cli.{MODULES.get(cmd_name, cmd_name)}")
        _collect_garbage()
        command: click.Command = module.command
        return command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Say of an option of a command that stands before it where it belongs; a reader as of :meth:`invoke`."""
        typed = list(args)
        try:
            return super().parse_args(ctx, args)
        except BrokenPipeError as error:  # of the help
            raise click.exceptions.Exit(PIPE_CODE) from error
        except click.NoSuchOption as error:
            name = next((word for word in typed if word in COMMANDS), "COMMAND")
            command = self.get_command(ctx, name)
            known = {"--json"} if command is None else {option for one in command.params for option in one.opts}
            if error.option_name in known:
                line = f"{error.option_name} stands behind the command: milestonectl {name} {error.option_name}"
                raise click.UsageError(line, ctx) from error
            raise

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Add a suggestion to the error for an unknown command."""
        name = args[0]
        if not name.startswith("-") and name not in COMMANDS:
            from actors.problems import closest  # noqa: PLC0415

            if name in ELSEWHERE:
                ctx.fail(f"there is no command {name!r} as in supervisorctl: {ELSEWHERE[name]}")
            guess = closest(name, list(COMMANDS))
            ctx.fail(f"there is no command {name!r}" + (f"; did you mean {guess!r}?" if guess else ""))
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - click's signature
        """Run the command; a reader that went away is told apart from other errors before click sees it."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise click.exceptions.Exit(PIPE_CODE) from error

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem[str]]:
        """Offer commands from the table, without importing them, and options."""
        from click.shell_completion import CompletionItem  # noqa: PLC0415

        found = [CompletionItem(name, help=text) for name, text in COMMANDS.items() if name.startswith(incomplete)]
        return [*found, *click.Command.shell_complete(self, ctx, incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """List the commands from the table, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Example: milestonectl run milestone-001",
    invoke_without_command=True,
)
@click.option(
    "-C",
    "--directory",
    type=click.Path(exists=True, file_okay=False),
    help="Work in this directory instead of the current one.",
)
@click.version_option(package_name="milestoned", prog_name="milestonectl")
@click.pass_context
def milestonectl(ctx: click.Context, directory: str | None) -> int:
    """Execute milestones: YAML files of tasks in a git repository, run under supervision.

    Without a command: a shell on a terminal; else the commands that standard input holds, one a line.
    """
    ctx.obj = directory
    if os.environ.get("NO_COLOR"):
        ctx.color = False
    if ctx.invoked_subcommand is not None:
        return 0
    from supervisor.cli import interactive  # noqa: PLC0415

    _collect_garbage()
    if interactive.is_terminal():
        return interactive.converse(ctx)
    if interactive.is_fed():
        return interactive.follow_lines(ctx)
    click.echo(ctx.get_help(), err=True)
    return INVALID


def _collect_garbage() -> None:
    """Have garbage collected, as `main` has it not until here; nothing of what is loaded by now ever becomes any."""
    if not gc.isenabled():
        gc.freeze()
        gc.enable()


def run_command(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; whatever happens, it has been said.

    Args:
        arguments: The words after the program's name; ``None`` takes those of this process.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if sys.version_info[:2] < OLDEST_PYTHON:
        # Said here already: with an older one most modules cannot even be imported.
        line = f"Python {sys.version.split()[0]} is too old: {'.'.join(map(str, OLDEST_PYTHON))} or later is needed"
        CommandError(CONFIGURATION, line, as_json="--json" in words).show()
        return CONFIGURATION
    try:
        if os.environ.get(COMPLETE_VARIABLE):
            from supervisor.cli.shells import answer  # noqa: PLC0415

            return answer(milestonectl, COMPLETE_VARIABLE)
        return _run(words)
    except BrokenPipeError:
        return PIPE_CODE
    except OSError:  # not even the failure could be printed
        return IO_ERROR


def _run(words: list[str]) -> int:
    as_json = "--json" in words
    try:
        code = milestonectl.main(words, prog_name="milestonectl", standalone_mode=False)
    except CommandError as error:
        error.show()
        return error.code
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        # Its message is the whole help, which is no error to be quoted.
        click.echo(error.format_message(), err=True)
        return error.exit_code
    except click.ClickException as error:
        if as_json:
            CommandError(error.exit_code, error.format_message(), as_json=True).show()
        else:
            # It may quote what was typed, which need not be text.
            shown = "\n".join(map(escaped, error.format_message().split("\n")))
            click.UsageError(shown, getattr(error, "ctx", None)).show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return 130
    except BrokenPipeError:
        return PIPE_CODE
    except OSError as error:
        from supervisor.shortage import cure  # noqa: PLC0415

        where = f"{error.filename}: " if error.filename else ""
        lines = filter(None, (f"{where}{error.strerror or error}", cure(error)))
        CommandError(IO_ERROR, *lines, as_json=as_json).show()
        return IO_ERROR
    except Exception as error:  # noqa: BLE001 - the last place before the user
        _defect(error, as_json=as_json).show()
        return BROKEN
    return code if isinstance(code, int) else 0


def _defect(error: Exception, *, as_json: bool) -> CommandError:
    if os.environ.get(TRACEBACK_VARIABLE):
        import traceback  # noqa: PLC0415

        traceback.print_exception(error)
    message = f"a defect of milestoned: {type(error).__name__}: {error}"
    return CommandError(BROKEN, message, f"please report it with the output of {TRACEBACK_VARIABLE}=1", as_json=as_json)


def main() -> None:
    """Run the command line and end the process with its exit code."""
    gc.disable()  # until the command is loaded: looking for garbage in it would be a sixth of a short run's work
    open_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        # A name that the terminal's encoding cannot show is shown with a question mark, not as an error.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace" if stream is sys.stdout else "backslashreplace")
    if hasattr(sys.stdin, "reconfigure"):
        sys.stdin.reconfigure(errors="surrogateescape")  # a line for the shell is read as the words of arguments are
    code = run_command()
    is_gone = False
    try:
        sys.stdout.flush()
    except OSError as error:  # a pipe without a reader, a terminal that is gone, a full disk
        code = code or (PIPE_CODE if error.errno in {errno.EPIPE, errno.EIO} else IO_ERROR)
        is_gone = True
    if is_gone or code == PIPE_CODE:
        # Whoever read our output has gone; Python would complain of it again while flushing at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.exit(code)
