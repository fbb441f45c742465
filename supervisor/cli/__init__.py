"""``milestonectl``: the command line.

Owns the command tree; each command is a module of its own, imported when it is used, so that a quick command stays
quick. Only this module ends the process.
"""

from __future__ import annotations

import importlib
import sys
from typing import Final

import click

from supervisor.cli.output import CommandError

COMMANDS: Final = {
    "init": "Make a .milestones directory here",
    "validate": "Check milestone files",
    "plan": "Show waves, critical path and predicted time",
    "run": "Execute a milestone",
    "status": "Show sessions, roles and tasks",
    "version": "Show versions",
}
"""Name and short help of every command; each is the module and the function of its name."""


class LazyGroup(click.Group):
    """A group that imports a command only when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the names in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import a command; ``None`` for an unknown one."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"supervisor.cli.{cmd_name}")
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Add a suggestion to the error for an unknown command."""
        from actors.problems import closest  # noqa: PLC0415

        name = args[0]
        if not name.startswith("-") and name not in COMMANDS:
            guess = closest(name, list(COMMANDS))
            ctx.fail(f"there is no command {name!r}" + (f"; did you mean {guess!r}?" if guess else ""))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """List the commands from the table, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Example: milestonectl run milestone-001",
)
@click.option(
    "-C",
    "--directory",
    type=click.Path(exists=True, file_okay=False),
    help="Work in this directory instead of the current one.",
)
@click.version_option(package_name="milestoned", prog_name="milestonectl")
@click.pass_context
def milestonectl(ctx: click.Context, directory: str | None) -> None:
    """Execute milestones: YAML files of tasks in a git repository, run under supervision."""
    ctx.obj = directory


def main() -> None:
    """Run the command line and end the process with its exit code."""
    try:
        code = milestonectl.main(standalone_mode=False)
    except CommandError as error:
        error.show()
        sys.exit(error.code)
    except click.exceptions.Exit as error:
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        sys.exit(130)
    except BrokenPipeError:
        # Whoever read our output has gone; Python would complain again while flushing at exit.
        sys.stdout = None
        sys.exit(141)
    sys.exit(code if isinstance(code, int) else 0)
