"""``milestonectl service``: install milestoned as a service of systemd, take it away again, show how it is.

Owns the conversation: what is written where, what is said, what systemd is asked to do. What the units hold is
:mod:`supervisor.units`'s; how the files get there is :mod:`supervisor.unit_directory`'s.
"""

from __future__ import annotations

import os
import shlex
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs
import click

from supervisor.cli.output import FAILED, INVALID, CommandError, print_json, require_project
from supervisor.cli.verbs import json_option
from supervisor.finding import shown
from supervisor.unit_directory import Fate, Systemd, UnitDirectory, git_directories, names_of
from supervisor.units import LONGEST_NAME, LONGEST_SOCKET, Wanted, unit_files

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NOT_ACTIVE: Final = 3
NOT_INSTALLED: Final = 4

_SHOWN: Final = ("ActiveState", "SubState", "UnitFileState", "MainPID", "StatusText", "NRestarts", "Result")
_FOR: Final = {
    "force": ("install", "uninstall"),
    "hardened": ("install",),
    "now": ("install",),
}
"""Which actions an option belongs to."""


@attrs.frozen
class Order:
    """What was typed.

    Attributes:
        wanted: The service.
        directory: Where its units stand.
        manager: The systemd to be asked; ``None`` when none runs here, or when files are all that was asked for.
        as_json: Whether the answer is JSON.
    """

    wanted: Wanted
    directory: UnitDirectory
    manager: Systemd | None
    as_json: bool

    @property
    def systemctl(self) -> str:
        """How one types the command that speaks to that systemd."""
        return "systemctl --user" if self.wanted.is_user else "systemctl"

    def fail(self, code: int, *lines: str) -> CommandError:
        """Return a failure in the form that was asked for."""
        return CommandError(code, *lines, as_json=self.as_json)


@click.command(
    "service",
    epilog="Example: milestonectl service install --user --now",
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.argument("action", type=click.Choice(["install", "uninstall", "status"]))
@click.argument("project", nargs=-1, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--user", "is_user", is_flag=True, help="Your own systemd instead of the machine's; needs no root.")
@click.option("--now", is_flag=True, help="Enable the service and start it as well.")
@click.option("--together", is_flag=True, help="One process for all the projects: milestoned.service.")
@click.option("--hardened", is_flag=True, help="In a sandbox (hardened.conf); for the machine's systemd.")
@click.option("--force", is_flag=True, help="Overwrite or remove units that were edited, too.")
@click.option(
    "--root",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Work on the files below this directory, such as an image's, and ask no systemd.",
)
@json_option
@click.pass_context
def command(ctx: click.Context, /, *, action: str, project: tuple[Path, ...], as_json: bool, **options: Any) -> int:  # noqa: ANN401 - click's
    """Install milestoned as a service of systemd, uninstall it, or show its status.

    PROJECT is a directory with .milestones (the current one). Each project has a service of its own, an instance of the
    template milestoned@.service; with --together one process serves them all. Edited units are shown, not overwritten.

    Exit codes: 0 done, or active; 1 failed, edited units in the way, root needed; 2 usage; 3 not active; 4 not
    installed; 74 a file cannot be written.
    """
    for option, actions in _FOR.items():
        if options[option] and action not in actions:
            raise CommandError(INVALID, f"--{option} belongs to: {', '.join(actions)}", as_json=as_json)
    order = _order(ctx, project, options, as_json=as_json)
    match action:
        case "install":
            return _install(order, now=options["now"], force=options["force"])
        case "uninstall":
            return _uninstall(order, force=options["force"])
        case _:
            return _status(order)


def _order(ctx: click.Context, named: Sequence[Path], options: Mapping[str, Any], *, as_json: bool) -> Order:
    is_user, together, hardened, root = (options[name] for name in ("is_user", "together", "hardened", "root"))
    projects = tuple(one.resolve() for one in named) or (require_project(ctx, as_json=as_json),)
    _check_projects(projects, together=together, as_json=as_json)
    if hardened and is_user:
        line = "--hardened is for the machine's systemd: a user's may not take away what the sandbox takes away"
        raise CommandError(INVALID, line, as_json=as_json)
    owners = {(one.stat().st_uid, one.stat().st_gid) for one in projects}
    if len({uid for uid, _ in owners}) > 1:
        line = "the projects belong to different users: install one service for each (without --together)"
        raise CommandError(INVALID, line, as_json=as_json)
    uid, gid = owners.pop()
    owner, group = names_of(uid, gid)
    writable = tuple(dict.fromkeys(path for one in projects for path in (one, *git_directories(one))))
    wanted = Wanted(
        program=program_path(),
        projects=projects,
        together=together,
        is_user=is_user,
        owner=owner,
        group=group,
        hardened=hardened,
        writable=writable,
    )
    manager = None if root is not None else Systemd.running(is_user=is_user)
    return Order(wanted, UnitDirectory.of(is_user=is_user, root=root), manager, as_json)


def _check_projects(projects: tuple[Path, ...], *, together: bool, as_json: bool) -> None:
    if len(projects) > 1 and not together:
        line = "several projects: install one service for each, one after the other, or one for all: --together"
        raise CommandError(INVALID, line, as_json=as_json)
    for one in projects:
        try:
            str(one).encode()
        except UnicodeEncodeError as error:
            line = f"{one!r} is not UTF-8, and systemd takes nothing else"
            raise CommandError(INVALID, line, "rename the directory", as_json=as_json) from error
        if any(ord(letter) < ord(" ") or letter == "\x7f" for letter in str(one)):
            # A socket unit has no way to escape the end of a line, and what follows would be a setting of its own.
            line = f"{str(one)!r} has a control character in it, which a unit cannot say"
            raise CommandError(INVALID, line, "rename the directory", as_json=as_json)
        if not (one / ".milestones").is_dir():
            cure = f"make one with: milestonectl -C {shlex.quote(str(one))} init"
            raise CommandError(FAILED, f"there is no .milestones directory in {one}", cure, as_json=as_json)


def program_path() -> Path:
    """Return the milestoned that belongs to this milestonectl: that of its environment."""
    beside = Path(sys.executable).parent / "milestoned"
    return beside if beside.exists() else Path(sysconfig.get_path("scripts")) / "milestoned"


# --- install --------------------------------------------------------------------------------------------------


def _install(order: Order, *, now: bool, force: bool) -> int:
    wanted = order.wanted
    _require_root(order, "install")
    if len(wanted.service) > LONGEST_NAME:
        line = f"the name of the unit would have {len(wanted.service)} characters, and may have {LONGEST_NAME}"
        raise order.fail(INVALID, line, "serve it as milestoned.service: --together")
    if not os.access(wanted.program, os.X_OK):
        raise order.fail(FAILED, f"{wanted.program} is missing or no program: install milestoned anew, then try again")
    if now and order.manager is None:
        raise order.fail(FAILED, "--now needs a systemd that runs, and none is to be asked here; leave it out")
    files = unit_files(wanted)
    edited = [one for one in files if order.directory.fate(one) is Fate.EDITED]
    if edited and not force:
        differences = [line for one in edited for line in order.directory.difference(one)]
        names = ", ".join(str(order.directory.path / one.name) for one in edited)
        cure = "overwrite with --force; to keep a change over upgrades, put it into a drop-in (systemctl edit)"
        raise order.fail(FAILED, f"edited, or not written by us, and left as it is: {names}", *differences, cure)
    fates = {one.name: order.directory.fate(one) for one in files}
    for one in files:
        order.directory.write(one)
    if not wanted.is_user:
        _make_runtime_directories(wanted.projects)
    following = _after_install(order, now=now)
    too_long = _too_long(wanted)
    if order.as_json:
        written = [{"path": str(order.directory.path / name), "was": fate.value} for name, fate in fates.items()]
        answer = {"unit": wanted.service, "program": str(wanted.program), "files": written, "started": now}
        print_json({**answer, "socket_path_too_long": too_long, "next": following})
        return 0
    for name, fate in fates.items():
        word = {Fate.MISSING: "wrote", Fate.SAME: "is there", Fate.OLDER: "updated", Fate.EDITED: "overwrote"}[fate]
        click.echo(f"{word:<10}{order.directory.path / name}")
    if too_long:
        click.echo("The path of the control socket is too long for systemd: use the service, not the socket unit.")
    if now:
        click.echo(f"{wanted.service} is enabled and runs.")
    click.echo("Next: " + following[0] if len(following) == 1 else "Next:\n  " + "\n  ".join(following))
    return 0


def _after_install(order: Order, *, now: bool) -> list[str]:
    """Have systemd read the units, and start the service if that was asked for; return what to type next."""
    service = shlex.quote(order.wanted.service)
    look = f"milestonectl service status{' --user' if order.wanted.is_user else ''}"
    linger = ["loginctl enable-linger  (so that it runs while you are not logged in)"] if order.wanted.is_user else []
    if order.manager is None:
        return [f"{order.systemctl} daemon-reload", f"{order.systemctl} enable --now {service}", *linger]
    _ask(order, order.manager, "daemon-reload")
    if not now:
        return [f"{order.systemctl} enable --now {service}", *linger]
    _ask(order, order.manager, "enable", "--now", order.wanted.service)
    return [look, *linger]


def _ask(order: Order, manager: Systemd, *words: str) -> None:
    """Have systemctl do something.

    Raises:
        CommandError: It failed; with what it said.
    """
    said = manager.systemctl(*words)
    if said is not None:
        unit = shlex.quote(order.wanted.service)
        log = f"see: journalctl {'--user ' if order.wanted.is_user else ''}-u {unit}"
        raise order.fail(FAILED, f"{order.systemctl} {shlex.join(words)} failed:", *said, log)


def _make_runtime_directories(projects: Sequence[Path]) -> None:
    """Make the control sockets' directories as their owner's: systemd would make them root's, closed to the owner."""
    for project in projects:
        run = project / ".milestones" / "run"
        if not run.exists():
            found = project.stat()
            run.mkdir(mode=0o700)
            os.chown(run, found.st_uid, found.st_gid)


def _too_long(wanted: Wanted) -> bool:
    return any(len(bytes(one / ".milestones/run/control.sock")) > LONGEST_SOCKET for one in wanted.projects)


def _require_root(order: Order, action: str) -> None:
    if order.wanted.is_user or order.directory.is_elsewhere or os.geteuid() == 0:
        return
    typed = shlex.join(
        [str(program_path().with_name("milestonectl")), "service", action, str(order.wanted.projects[0])]
    )
    raise order.fail(FAILED, "the machine's services are root's", f"sudo {typed}", "or as a service of yours: --user")


# --- uninstall ------------------------------------------------------------------------------------------------


def _uninstall(order: Order, *, force: bool) -> int:
    wanted = order.wanted
    _require_root(order, "uninstall")
    names = order.directory.names_of(wanted.base)
    if not any((order.directory.path / name).exists() for name in names):
        raise order.fail(FAILED, f"{wanted.service} is not installed in {order.directory.path}")
    if order.manager is not None:
        kinds = {
            name.rpartition(".")[2] for name in names if "/" not in name and (order.directory.path / name).exists()
        }
        _ask(order, order.manager, "disable", "--now", *(f"{wanted.base}.{kind}" for kind in sorted(kinds)))
    order.directory.unlink_wants(wanted.base)
    others = [] if wanted.together else order.directory.other_instances(wanted.base)
    removed: list[str] = []
    kept: list[str] = []
    for name in names:
        if others and "/" not in name:
            continue
        (removed if order.directory.remove(name, force=force) else kept).append(name)
    if order.manager is not None:
        _ask(order, order.manager, "daemon-reload")
    paths = {
        "removed": [str(order.directory.path / name) for name in removed],
        "kept": [str(order.directory.path / name) for name in kept],
    }
    if order.as_json:
        print_json({"unit": wanted.service, **paths, "other_instances": others})
    else:
        for path in paths["removed"]:
            click.echo(f"removed   {path}")
        for path in paths["kept"]:
            click.echo(f"left      {path}  (edited, or not written by us; --force removes it)")
        if others:
            click.echo(f"The template stays for {', '.join(others)}.")
    return 0


# --- status ---------------------------------------------------------------------------------------------------


def _status(order: Order) -> int:
    wanted = order.wanted
    stem_files = [one for one in unit_files(wanted) if one.name.endswith(".service")]
    fate = order.directory.fate(stem_files[0])
    is_installed = fate is not Fate.MISSING and (wanted.together or order.directory.is_instance(wanted.base))
    properties = order.manager.properties(wanted.service, _SHOWN) if order.manager is not None and is_installed else {}
    is_active = properties.get("ActiveState") in {"active", "reloading"}
    code = NOT_INSTALLED if not is_installed else 0 if is_active or order.manager is None else NOT_ACTIVE
    path = order.directory.path / stem_files[0].name
    if order.as_json:
        answer = {"unit": wanted.service, "path": str(path), "installed": is_installed, "file": fate.value}
        print_json({**answer, "systemd": properties or None, "exit_code": code})
        return code
    if not is_installed:
        click.echo(f"{wanted.service} is not installed in {shown(order.directory.path)}")
        return code
    notes = {Fate.SAME: "", Fate.OLDER: "  (of another version; install again)", Fate.EDITED: "  (edited)"}
    click.echo(f"{wanted.service}  {path}{notes[fate]}")
    if order.manager is None:
        click.echo("No systemd runs here, or none was to be asked.")
        return code
    pid = properties.get("MainPID", "0")
    told = properties.get("StatusText", "")
    state = f"{properties.get('ActiveState', 'unknown')} ({properties.get('SubState', 'unknown')})"
    enabled = properties.get("UnitFileState") or "disabled"
    click.echo(f"{state}, {enabled}{f', pid {pid}' if pid != '0' else ''}, {properties.get('NRestarts', '0')} restarts")
    if told:
        click.echo(told)
    if properties.get("Result", "success") != "success":
        click.echo(f"It ended with: {properties['Result']}; see: journalctl -u {shlex.quote(wanted.service)}")
    return code
