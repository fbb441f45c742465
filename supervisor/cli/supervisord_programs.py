"""What supervisord's sections mean in our words: programs and groups as children, and what is lost of them.

Owns the meaning of sections and options, after supervisord's documentation of 4.2. Refuses to know files.
"""

from __future__ import annotations

import functools
import math
import shlex
import signal
import socket
from typing import TYPE_CHECKING, Final, NoReturn

import attrs

from actors.problems import Problem, closest
from supervisor.cli.foreign import Foreign, ForeignChild, ForeignError, Loss
from supervisor.cli.supervisord_conf import Section, Sections, Value, expanded, pairs
from supervisor.spec import Backoff, SupervisorFlags, check_specs, parse_child
from supervisor.spec_checks import SpecError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

_LAST: Final = 999
_TRUE: Final = frozenset({"true", "on", "yes", "1"})
_FALSE: Final = frozenset({"false", "off", "no", "0"})
_REMARKS: Final = (
    "Unlike under supervisord: children are started one after the other. Every restart counts, also that of a",
    "program that had run for 'startsecs': beyond 'intensity' restarts within 'period' seconds a child alone is given",
    "up (FATAL) until somebody starts it. One that ends with a code of 'exitcodes' has ended well, however soon that",
    "was. All that a program has started is asked to end, and ended, with it.",
)
_CARRIED: Final = frozenset(
    {
        "command",
        "process_name",
        "numprocs",
        "numprocs_start",
        "priority",
        "autostart",
        "autorestart",
        "startsecs",
        "startretries",
        "exitcodes",
        "stopsignal",
        "stopwaitsecs",
        "stopasgroup",
        "killasgroup",
        "user",
        "redirect_stderr",
        "stdout_logfile",
        "stderr_logfile",
        "environment",
        "directory",
        "umask",
        "stdout_logfile_maxbytes",
        "stdout_logfile_backups",
        "stderr_logfile_maxbytes",
        "stderr_logfile_backups",
        "serverurl",
    }
)
_LOST: Final = {
    "stdout_capture_maxbytes": "read what it prints where it goes, or have it send events itself",
    "stderr_capture_maxbytes": "read what it prints where it goes, or have it send events itself",
    "stdout_events_enabled": "read what it prints where it goes",
    "stderr_events_enabled": "read what it prints where it goes",
    "stdout_syslog": "pipe it through logger(1) in 'argv'",
    "stderr_syslog": "pipe it through logger(1) in 'argv'",
}
_STREAMS: Final = {f"/{place}{name}" for place in ("dev/fd/", "proc/self/fd/") for name in "12"} | {
    "/dev/stdout",
    "/dev/stderr",
}
_OTHERS: Final = {
    "fcgi-program": "let the program, or systemd's socket activation, make the socket",
    "eventlistener": "listen to Supervisor(on_event=...) in a program of yours",
    "inet_http_server": "there is no port: use the methods of Supervisor",
    "rpcinterface": "use the methods of Supervisor",
}
_OWN: Final = frozenset({"supervisord", "supervisorctl", "unix_http_server", "include", "program", "group"})


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
    def __init__(self, read: Sections, expansions: Mapping[str, object]) -> None:
        self._read = read
        self._expansions = expansions
        self._problems: list[Problem] = []
        self._shared: dict[str, str] = {}
        self._umask: Value | None = None

    def carry(self) -> Foreign:
        """Return everything."""
        losses = tuple(self._others())
        self._share()
        named = {name.partition(":")[2]: one for name, one in self._read.sections.items() if _is(name, "program")}
        made: list[_Made] = []
        for name, section in self._read.sections.items():
            if _is(name, "group"):
                made += self._tried(functools.partial(self._group, section, named))
        for name, section in named.items():
            made += self._tried(functools.partial(self._alone, name, section))
        made.sort(key=lambda one: one.priority)
        if not made and not self._problems:
            first = self._read.files[0]
            self._problems.append(Problem(str(first), 1, 1, "there is no [program:...] in it"))
        if self._problems:
            raise ForeignError(sorted(self._problems, key=lambda one: (one.path, one.line)))
        children = tuple(one.child for one in made)
        self._check(children)
        return Foreign("supervisord", self._read.files, _flags(made), children, losses, _REMARKS)

    def _tried(self, make: Callable[[], list[_Made]]) -> list[_Made]:
        try:
            return make()
        except ForeignError as error:
            self._problems += error.problems
            return []

    def _share(self) -> None:
        """Take what [supervisord] gives to every program."""
        section = self._read.sections.get("supervisord")
        if section is None:
            return
        self._umask = section.values.get("umask")
        given = section.values.get("environment")
        if given is not None:
            try:
                self._shared = pairs(given, expanded(given, self._expansions))
            except ForeignError as error:
                self._problems += error.problems

    def _others(self) -> Iterator[Loss]:
        for value in self._read.unmatched:
            what = f"[include] files = {value.text} is no file at present"
            yield Loss(value.path, value.line, "", what, "import again when it is")
        for name, section in self._read.sections.items():
            kind = name.partition(":")[0]
            if kind in _OTHERS:
                yield Loss(section.path, section.line, "", f"[{name}]", _OTHERS[kind])
            elif kind not in _OWN:
                guess = closest(kind, ("program", "group", "include"))
                cure = "supervisord passes it over too" + (f"; did you mean {guess!r}?" if guess else "")
                yield Loss(section.path, section.line, "", f"[{name}] is no section of supervisord", cure)
            if kind == "supervisord" and (user := section.values.get("user")) is not None:
                yield Loss(user.path, user.line, "", f"user = {user.text}", "run the supervising process as that user")

    # --- groups ------------------------------------------------------------------------------------------------------

    def _group(self, section: Section, named: dict[str, Section]) -> list[_Made]:
        name = section.name.partition(":")[2]
        value = section.values.get("programs")
        if value is None:
            raise ForeignError([Problem(section.path, section.line, 1, f"[{section.name}] has no 'programs'")])
        made: list[_Made] = []
        for program in (word.strip() for word in expanded(value, self._expansions).split(",")):
            if program not in named:
                guess = closest(program, list(named))
                message = f"there is no [program:{program}]" + (f"; did you mean {guess!r}?" if guess else "")
                raise ForeignError([Problem(value.path, value.line, 1, message)])
            made += self._processes(program, named[program], name)
        for program in {word.strip() for word in value.text.split(",")} & named.keys():
            del named[program]
        made.sort(key=lambda one: one.priority)
        return [self._together(name, section, made, _Options(section, self._expansions).whole("priority", _LAST))]

    def _alone(self, name: str, section: Section) -> list[_Made]:
        made = self._processes(name, section, name)
        if len(made) == 1:
            only = made[0]
            fields = {**only.child.fields, "id": name}
            return [attrs.evolve(only, child=attrs.evolve(only.child, fields=fields))]
        return [self._together(name, section, made, made[0].priority)] if made else []

    def _together(self, name: str, section: Section, made: list[_Made], priority: int) -> _Made:
        fields = {"id": name, "type": "supervisor", "quarantine": True, "flags": _flags(made)}
        children = tuple(one.child for one in made)
        child = ForeignChild(fields, f"{section.path}:{section.line}: [{section.name}]", children=children)
        return _Made(child, priority, max(one.retries for one in made), max(one.healthy for one in made))

    # --- programs ----------------------------------------------------------------------------------------------------

    def _processes(self, name: str, section: Section, group: str) -> list[_Made]:
        options = _Options(section, {**self._expansions, "program_name": name, "group_name": group, "process_num": 0})
        count, first = options.whole("numprocs", 1), options.whole("numprocs_start", 0)
        if not 1 <= count <= 1000:  # noqa: PLR2004 - beyond that it is a slip
            options.refuse("numprocs", "must be 1 to 1000")
        template = section.values.get("process_name")
        if count > 1 and (template is None or "process_num" not in template.text):
            options.refuse("process_name", "must hold %(process_num)s where numprocs is more than 1")
        made = []
        for number in range(first, first + count):
            expansions = {**options.expansions, "process_num": number, "numprocs": count}
            numbered = _Options(section, expansions)
            losses = tuple(self._losses(name, numbered)) if number == first else ()
            made.append(self._process(numbered, section, numbered.text("process_name", name), losses))
        return made

    def _process(self, options: _Options, section: Section, name: str, losses: tuple[Loss, ...]) -> _Made:
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
            "program": self._program(options),
        }
        child = ForeignChild(
            fields, f"{section.path}:{section.line}: [{section.name}]", losses, not options.flag("autostart", yes=True)
        )
        self._check((child,), options.line())
        return _Made(child, options.whole("priority", _LAST), retries, healthy)

    def _program(self, options: _Options) -> dict[str, object]:
        program: dict[str, object] = {"argv": self._argv(options)}
        if directory := options.text("directory"):
            program["cwd"] = directory
        given = options.section.values.get("environment")
        env = {**self._shared, **(pairs(given, expanded(given, options.expansions)) if given else {})}
        if env:
            program["env"] = env
        output = options.text("stdout_logfile")
        if output.upper() == "NONE":
            program["output"] = "/dev/null"
        elif output and output.upper() not in {"AUTO", "SYSLOG"} and output not in _STREAMS:
            program["output"] = output
        codes = [options.number("exitcodes", word) for word in options.text("exitcodes", "0").split(",")]
        if codes != [0]:
            program["success_codes"] = codes
        return program

    def _argv(self, options: _Options) -> list[str]:
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

    def _losses(self, name: str, options: _Options) -> Iterator[Loss]:
        """Yield what is lost of a program."""
        for key, value in options.section.values.items():
            why = _lost(key, value, options)
            if why is not None:
                yield Loss(value.path, value.line, name, *why)
            for variable in {word.partition(")")[0] for word in value.text.split("%(ENV_")[1:]}:
                cure = "the value of now was written; change it where another is meant"
                yield Loss(value.path, value.line, name, f"{key}: %(ENV_{variable})s", cure)

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


class _Options:
    """The values of a section, of their kinds.

    Args:
        section: The section.
        expansions: What may stand in its values.
    """

    def __init__(self, section: Section, expansions: Mapping[str, object]) -> None:
        self.section = section
        self.expansions = expansions

    def line(self) -> tuple[str, int]:
        """Return where the section begins."""
        return self.section.path, self.section.line

    def text(self, name: str, default: str = "") -> str:
        value = self.section.values.get(name)
        return default if value is None else expanded(value, self.expansions)

    def whole(self, name: str, default: int) -> int:
        return self.number(name, self.text(name, str(default)))

    def number(self, name: str, word: str) -> int:
        try:
            return int(word)
        except ValueError:
            self.refuse(name, f"must be a whole number: {word!r}")

    def flag(self, name: str, *, yes: bool) -> bool:
        word = self.text(name, "true" if yes else "false").lower()
        if word not in _TRUE | _FALSE:
            self.refuse(name, f"must be true or false: {word!r}")
        return word in _TRUE

    def restart(self) -> str:
        """Return ``autorestart``: true, false or unexpected."""
        word = self.text("autorestart", "unexpected").lower()
        return word if word == "unexpected" else str(self.flag("autorestart", yes=True)).lower()

    def signal(self) -> signal.Signals:
        word = self.text("stopsignal", "TERM").upper()
        try:
            if word.isdecimal():
                return signal.Signals(int(word))
            return signal.Signals[word if word.startswith("SIG") else f"SIG{word}"]
        except (KeyError, ValueError):
            self.refuse("stopsignal", f"is no signal: {word!r}")

    def refuse(self, name: str, why: str) -> NoReturn:
        """Raise a problem with an option."""
        value = self.section.values.get(name)
        path, line = self.line() if value is None else (value.path, value.line)
        raise ForeignError([Problem(path, line, 1, f"[{self.section.name}]: {name} {why}")])


def _lost(key: str, value: Value, options: _Options) -> tuple[str, str] | None:
    """Return what is lost of an option, and what to do; ``None`` for nothing."""
    shown = f"{key} = {value.text}"
    if key in _LOST:
        return None if value.text.lower() in _FALSE else (shown, _LOST[key])
    match key:
        case "autostart" if not options.flag(key, yes=True):
            return shown, "it stands here as a comment; start it with start_child"
        case "stopsignal" if options.signal() not in {signal.SIGTERM, signal.SIGKILL}:
            return shown, "it is asked to end with TERM: have it take that, or wrap it in a script that passes it on"
        case "user":
            cure = "run the supervising process as that user, or put setpriv(1) or runuser(1) before 'argv'"
            return shown, f"it runs as who supervises: {cure}"
        case "killasgroup" if not options.flag(key, yes=False):
            return shown, "what it has started always ends with it; nothing to do unless something is to stay"
        case "startretries" if options.whole(key, 3) < 1:
            return shown, "one restart is allowed within the period; set intensity: 0 where none is"
        case "serverurl" if value.text.upper() != "AUTO":
            return shown, "there is no such server"
        case "stderr_logfile" if not options.flag("redirect_stderr", yes=False):
            same = {"AUTO", "", options.text("stdout_logfile").upper()}
            return None if value.text.upper() in same else (shown, "errors go where 'output' goes")
        case "stdout_logfile" if value.text.upper() not in {"NONE", "AUTO", "/DEV/NULL", ""}:
            if value.text.upper() == "SYSLOG":
                return shown, _LOST["stdout_syslog"]
            if value.text in _STREAMS:
                return shown, "what it prints goes to standard error of the supervising process"
            if options.text("stdout_logfile_maxbytes", "50MB") != "0":
                return "the rotation of stdout_logfile", "have logrotate(8) do it, with copytruncate"
        case _ if key not in _CARRIED:
            guess = closest(key, sorted(_CARRIED))
            cure = "supervisord passes it over too" + (f"; did you mean {guess!r}?" if guess else "")
            return f"{key} is no option of a program", cure
        case _:
            pass
    return None


def _flags(made: list[_Made]) -> dict[str, object]:
    """Return flags with which nobody is given up earlier than supervisord does it while a program fails to start."""
    intensity = max([1, *(one.retries for one in made)])
    healthy = max([1.0, *(one.healthy for one in made)])
    backoff = Backoff(initial=1, maximum=intensity, healthy_after=healthy)
    waits = sum(backoff.delay(failures, 0.0) for failures in range(1, intensity + 2))
    return {"strategy": "one_for_one", "intensity": intensity, "period": math.ceil(waits + (intensity + 1) * healthy)}


def _is(name: str, kind: str) -> bool:
    return name.startswith(f"{kind}:")


def _plain(child: ForeignChild) -> dict[str, object]:
    fields = dict(child.fields)
    return {**fields, "children": [_plain(one) for one in child.children]} if "type" in fields else fields
