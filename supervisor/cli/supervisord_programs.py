"""What supervisord's sections mean in our words: programs and groups as children.

Owns the meaning of sections and options, as of supervisord 4.3. Refuses to know files, and what is lost
(:mod:`supervisor.cli.supervisord_losses`).
"""

from __future__ import annotations

import functools
import math
import os
import shlex
import signal
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs

from actors.problems import Problem, closest
from supervisor.cli.foreign import Foreign, ForeignChild, ForeignError, Loss
from supervisor.cli.supervisord_conf import Section, Sections, Value, expanded
from supervisor.cli.supervisord_losses import losses_of_program, losses_of_sections
from supervisor.cli.supervisord_options import Options, checked_name
from supervisor.spec import Backoff, SupervisorFlags, check_specs, parse_child
from supervisor.spec_checks import SpecError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_LAST: Final = 999
_MOST_PROCESSES: Final = 1000
_REMARKS: Final = (
    "Unlike under supervisord: children are started one after the other. Every restart counts, also that of a",
    "program that had run for 'startsecs': beyond 'intensity' restarts within 'period' seconds a child alone is given",
    "up (FATAL) until somebody starts it. One that ends with a code of 'exitcodes' has ended well, however soon that",
    "was. All that a program has started is asked to end, and ended, with it. What it prints goes to 'output', else to",
    "standard error of the supervising process. Variables SUPERVISOR_* are not set.",
)


def carry_over(read: Sections, here: Path, expansions: Mapping[str, object]) -> Foreign:
    """Return the children of a supervisord.

    Args:
        read: Its sections.
        here: Directory of the first file.
        expansions: ``here`` and ``ENV_X`` with their values.

    Raises:
        ForeignError: Something in them is wrong; all of it.
    """
    return _Carrier(read, {"host_node_name": socket.gethostname(), **expansions, "here": str(here)}).carry()


@attrs.frozen
class _Made:
    """A program or group, with what its supervisor has to know."""

    child: ForeignChild
    priority: int
    retries: int
    healthy: float


class _Carrier:
    def __init__(self, read: Sections, expansions: dict[str, object]) -> None:
        self._read = read
        self._expansions = expansions
        self._problems: list[Problem] = []
        self._directory: str | None = None
        self._shared: dict[str, str] = {}
        self._umask: Value | None = None
        self._empty: list[Loss] = []

    def carry(self) -> Foreign:
        """Return everything."""
        self._share()
        programs = {name.partition(":")[2]: one for name, one in self._read.sections.items() if _is(name, "program")}
        grouped: set[str] = set()
        made: list[_Made] = []
        for name, section in self._read.sections.items():
            if _is(name, "group"):
                made += self._tried(functools.partial(self._group, section, programs, grouped))
        for name, section in programs.items():
            if name not in grouped:
                made += self._tried(functools.partial(self._alone, name, section))
        if not made and not self._problems:
            first = self._read.files[0]
            self._problems.append(Problem(str(first), 1, 1, "there is no [program:...] in it"))
        if self._problems:
            raise ForeignError(sorted(set(self._problems), key=lambda one: (one.path, one.line)))
        children = _in_order(made)
        self._check(children)
        losses = (*losses_of_sections(self._read), *self._empty)
        return Foreign("supervisord", self._read.files, _flags(made), children, losses, _REMARKS)

    def _tried(self, make: Callable[[], list[_Made]]) -> list[_Made]:
        try:
            return make()
        except ForeignError as error:
            self._problems += error.problems
            return []

    @property
    def _is_placed(self) -> bool:
        """Whether it is known where relative paths begin: else that is where somebody started supervisord."""
        return self._directory is not None and Path(self._directory).is_absolute()

    def _share(self) -> None:
        """Take what [supervisord] gives to every program."""
        section = self._read.sections.get("supervisord")
        if section is None:
            return
        self._umask = section.values.get("umask")
        options = Options(section, self._expansions)
        try:
            if not options.flag("nodaemon", yes=False):
                self._directory = os.path.expanduser(options.text("directory")) or None  # noqa: PTH111 - may be none
            self._shared = options.pairs("environment")
        except ForeignError as error:
            self._problems += error.problems
        self._expansions |= {f"ENV_{name}": value for name, value in self._shared.items()}

    # --- groups ------------------------------------------------------------------------------------------------------

    def _group(self, section: Section, programs: Mapping[str, Section], grouped: set[str]) -> list[_Made]:
        name = checked_name(section, section.name.partition(":")[2])
        value = section.values.get("programs")
        if value is None:
            raise ForeignError([Problem(section.path, section.line, 1, f"[{section.name}] has no 'programs'")])
        words = [word.strip() for word in expanded(value, self._expansions).split(",")]
        grouped.update(words)
        made: list[_Made] = []
        for program in words:
            if program in programs:
                made += self._processes(program, programs[program], name)
            elif f"fcgi-program:{program}" not in self._read.sections:  # of which it is told that it is lost
                guess = closest(program, list(programs))
                message = f"there is no [program:{program}]" + (f"; did you mean {guess!r}?" if guess else "")
                raise ForeignError([Problem(value.path, value.line, 1, message)])
        priority = Options(section, self._expansions).whole("priority", _LAST)
        return [self._together(name, section, made, priority)] if made else []

    def _alone(self, name: str, section: Section) -> list[_Made]:
        name = checked_name(section, name)
        made = self._processes(name, section, name)
        if len(made) == 1:
            only = made[0]
            fields = {**only.child.fields, "id": name}
            return [attrs.evolve(only, child=attrs.evolve(only.child, fields=fields))]
        return [self._together(name, section, made, made[0].priority)] if made else []

    def _together(self, name: str, section: Section, made: list[_Made], priority: int) -> _Made:
        fields = {"id": name, "type": "supervisor", "quarantine": True, "flags": _flags(made)}
        place = f"{section.path}:{section.line}: [{section.name}]"
        child = ForeignChild(fields, place, children=_in_order(made))
        self._check((child,), (section.path, section.line))
        return _Made(child, priority, max(one.retries for one in made), max(one.healthy for one in made))

    # --- programs ----------------------------------------------------------------------------------------------------

    def _processes(self, name: str, section: Section, group: str) -> list[_Made]:
        options = Options(section, {**self._expansions, "program_name": name, "group_name": group, "process_num": 0})
        count, first = options.whole("numprocs", 1), options.whole("numprocs_start", 0)
        if not 0 <= count <= _MOST_PROCESSES:
            options.refuse("numprocs", f"must be 0 to {_MOST_PROCESSES}")
        if count == 0:
            value = section.values["numprocs"]
            cure = "supervisord starts nothing of it either; import again when it is to be started"
            self._empty.append(Loss(value.path, value.line, name, f"numprocs = {value.text}", cure))
        template = section.values.get("process_name")
        if count > 1 and (template is None or "%(process_num)" not in template.text):
            options.refuse("process_name", "must hold %(process_num)s where numprocs is more than 1")
        made = []
        for number in range(first, first + count):
            numbered = Options(section, {**options.expansions, "process_num": number, "numprocs": count})
            variables = numbered.pairs("environment")
            named = Options(section, numbered.expansions | {f"ENV_{key}": value for key, value in variables.items()})
            known = frozenset({*self._shared, *variables})
            losses = tuple(losses_of_program(name, named, known, is_placed=self._is_placed)) if number == first else ()
            made.append(self._process(named, {**self._shared, **variables}, losses))
        return made

    def _process(self, options: Options, variables: Mapping[str, str], losses: tuple[Loss, ...]) -> _Made:
        section = options.section
        name = checked_name(section, options.text("process_name", str(options.expansions["program_name"])))
        retries, healthy = options.whole("startretries", 3), float(options.whole("startsecs", 1))
        restart = {"true": "permanent", "false": "temporary", "unexpected": "transient"}[options.restart()]
        backoff = {"initial": 1, "maximum": max(1, retries), "healthy_after": max(1, int(healthy))}
        seconds, number = options.whole("stopwaitsecs", 10), options.signal()
        fields: dict[str, object] = {
            "id": name,
            "restart": restart,
            "shutdown": "brutal_kill" if number is signal.SIGKILL or seconds <= 0 else seconds,
            "quarantine": True,
            "backoff": backoff,
            "program": self._program(options, variables),
        }
        child = ForeignChild(
            fields, f"{section.path}:{section.line}: [{section.name}]", losses, not options.flag("autostart", yes=True)
        )
        self._check((child,), options.line())
        return _Made(child, options.whole("priority", _LAST), retries, healthy)

    def _program(self, options: Options, variables: Mapping[str, str]) -> dict[str, object]:
        program: dict[str, object] = {"argv": self._argv(options)}
        directory = options.text("directory") or self._directory
        if directory:
            program["cwd"] = str(Path(self._directory or "", directory))
        if variables:
            program["env"] = variables
        if output := options.file("stdout_logfile", self._directory):
            program["output"] = output
        codes = options.codes()
        if codes != [0]:
            program["success_codes"] = codes
        return program

    def _argv(self, options: Options) -> list[str]:
        command = options.text("command")
        try:
            words = shlex.split(command)
        except ValueError as error:
            options.refuse("command", f"cannot be parted into words: {str(error).lower()}")
        if not words:
            options.refuse("command", "is missing")
        umask = options.section.values.get("umask") or self._umask
        if umask is None:
            return words
        try:
            mask = int(umask.text, 8)
        except ValueError:
            raise ForeignError([Problem(umask.path, umask.line, 1, "umask must be an octal number")]) from None
        return ["/bin/sh", "-c", f'umask {mask:03o}; exec "$@"', "sh", *words]

    def _check(self, children: tuple[ForeignChild, ...], at: tuple[str, int] | None = None) -> None:
        """Make sure that what is written can be read.

        Raises:
            ForeignError: A child is none.
        """
        path, line = at or (str(self._read.files[0]), 1)
        try:
            check_specs(SupervisorFlags(), [parse_child(_plain(child)) for child in children])
        except SpecError as error:
            value = "" if error.value is None else f" = {error.value!r}"
            message = f"{error.owner}: {error.field}{value}: {error.why}"
            raise ForeignError([Problem(path, line, 1, message)]) from error


def _flags(made: list[_Made]) -> dict[str, object]:
    """Return flags with which nobody is given up earlier than supervisord does it while a program fails to start."""
    intensity = max([1, *(one.retries for one in made)])
    healthy = max([1.0, *(one.healthy for one in made)])
    backoff = Backoff(initial=1, maximum=intensity, healthy_after=healthy)
    rising = min(intensity + 1, intensity.bit_length() + 2)  # from then on each wait is the longest
    waits = sum(backoff.delay(failures, 0.0) for failures in range(1, rising + 1))
    waits += (intensity + 1 - rising) * backoff.maximum
    return {"strategy": "one_for_one", "intensity": intensity, "period": math.ceil(waits + (intensity + 1) * healthy)}


def _in_order(made: list[_Made]) -> tuple[ForeignChild, ...]:
    """Return the children as supervisord starts them: by priority, and those of one by name."""
    return tuple(one.child for one in sorted(made, key=lambda one: (one.priority, str(one.child.fields["id"]))))


def _is(name: str, kind: str) -> bool:
    return name.startswith(f"{kind}:")


def _plain(child: ForeignChild) -> dict[str, object]:
    fields = dict(child.fields)
    return {**fields, "children": [_plain(one) for one in child.children]} if "type" in fields else fields
