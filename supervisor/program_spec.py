"""A child that is a program: what is executed, where, and how one sees that it is ready.

Owns the words and what makes them invalid. It refuses to know how a program is started and watched.
"""

from collections.abc import Iterable, Mapping
from pathlib import PurePath
from typing import Any, Final

import attrs

from supervisor.ready_line import fault_of
from supervisor.spec_checks import SpecError, is_number, require

SUCCESS_CODES: Final = frozenset({0})
"""Exit codes that are a normal end when nothing else is said."""


def _as_argv(value: Iterable[str | PurePath]) -> tuple[str, ...]:
    words = (value,) if isinstance(value, str | PurePath) else value
    require("program", "argv", value, ok=isinstance(words, Iterable), why="must be a list of texts, the program first")
    return tuple(_as_path(word) for word in words)  # type: ignore[misc]  # of texts, as is checked with all the rest


def _as_path(value: str | PurePath | None) -> str | None:
    return str(value) if isinstance(value, PurePath) else value


def _as_env(value: Mapping[str, str | None]) -> Mapping[str, str | None]:
    require("program", "env", value, ok=isinstance(value, Mapping), why="must be a dict: values by names")
    return dict(value)


def _as_codes(value: Iterable[int]) -> frozenset[int]:
    is_listed = isinstance(value, Iterable) and not isinstance(value, str)
    require("program", "success_codes", value, ok=is_listed, why="must be a list of numbers, 0 to 255")
    return frozenset(value)


@attrs.frozen
class ProgramSpec:
    """A program to execute, in a session and process group of its own, with nothing to read on its input.

    Args:
        argv: the program and its arguments; no shell has a look at them.
        cwd: directory to start in; None: that of the supervising process when the supervisor was started.
        env: variables to set, or with None to unset, over those that the supervising process had then.
        output: file that standard output and error are appended to (made with mode 0600); None:
            those of the supervising process's standard error.
        success_codes: exit codes that are a normal end.
        start_seconds: seconds that it must have run to be called ready; 0: as soon as it is executed.
        notify: whether it says itself that it is ready, and alive, by systemd's notify protocol
            (`NOTIFY_SOCKET`, `READY=1`, `WATCHDOG=1`); a heartbeat_timeout needs it.
        ready_line: regular expression: the program is ready once it has printed a line in which this is found; None:
            its output says nothing. What it prints passes through the supervising process then, to where it goes.

    Raises:
        SpecError: a value is not allowed.
    """

    argv: tuple[str, ...] = attrs.field(converter=_as_argv)
    cwd: str | None = attrs.field(default=None, converter=_as_path, kw_only=True)
    env: Mapping[str, str | None] = attrs.field(factory=dict, converter=_as_env, hash=False, kw_only=True)
    output: str | None = attrs.field(default=None, converter=_as_path, kw_only=True)
    success_codes: frozenset[int] = attrs.field(default=SUCCESS_CODES, converter=_as_codes, kw_only=True)
    start_seconds: float = attrs.field(default=0.0, kw_only=True)
    notify: bool = attrs.field(default=False, kw_only=True)
    ready_line: str | None = attrs.field(default=None, kw_only=True)

    def __attrs_post_init__(self) -> None:
        """Refuse what cannot be executed."""
        owner = "program"
        words = bool(self.argv) and all(isinstance(word, str) and "\0" not in word for word in self.argv)
        why = "must be a list of texts, the program first"
        require(owner, "argv", self.argv, ok=words and bool(self.argv[0]), why=why)
        for field in ("cwd", "output"):
            value = getattr(self, field)
            require(owner, field, value, ok=value is None or isinstance(value, str), why="must be a path or nothing")
        named = all(isinstance(name, str) and name and "=" not in name for name in self.env)
        valued = all(value is None or isinstance(value, str) for value in self.env.values())
        require(owner, "env", dict(self.env), ok=named and valued, why="must be names with a text, or with nothing")
        codes = all(isinstance(code, int) and 0 <= code <= 255 for code in self.success_codes)  # noqa: PLR2004  a byte
        require(owner, "success_codes", sorted(self.success_codes, key=str), ok=codes, why="must be numbers 0 to 255")
        timed = is_number(self.start_seconds) and self.start_seconds >= 0
        require(owner, "start_seconds", self.start_seconds, ok=timed, why="must be seconds, 0 or more")
        require(owner, "notify", self.notify, ok=isinstance(self.notify, bool), why="must be true or false")
        said = self.notify or self.ready_line is not None
        once = not (said and self.start_seconds)
        require(owner, "start_seconds", self.start_seconds, ok=once, why="must be 0 for one that says it is ready")
        self._check_ready_line(owner)

    def _check_ready_line(self, owner: str) -> None:
        line = self.ready_line
        if line is None:
            return
        texted = isinstance(line, str) and bool(line)
        require(owner, "ready_line", line, ok=texted, why="must be a regular expression, or nothing")
        fault = fault_of(line)
        require(owner, "ready_line", line, ok=not fault, why=f"is no regular expression: {fault}")
        why = "says that it is ready, and so does notify: choose one"
        require(owner, "ready_line", line, ok=not self.notify, why=why)


def as_program(value: ProgramSpec | Iterable[str] | Mapping[str, Any] | None) -> ProgramSpec | None:
    """Take a program as it is written in a spec: a ProgramSpec, its argv list, or its fields by name.

    Raises:
        SpecError: it is none of these, or a field of it is not allowed.
    """
    owner = "child"
    match value:
        case None | ProgramSpec():
            return value
        case list() | tuple():
            return ProgramSpec(value)
        case Mapping():
            fields = [field.name for field in attrs.fields(ProgramSpec)]
            unknown = [name for name in value if name not in fields]  # OTP, which passes over such, has no programs
            why = f"there is no field {', '.join(map(repr, unknown))}; there are: {', '.join(fields)}"
            require(owner, "program", value, ok=not unknown, why=why)
            require(owner, "program", None, ok="argv" in value, why="argv is missing")
            return ProgramSpec(**value)
        case _:
            raise SpecError(owner, "program", value, "must be a list: the program and its arguments")
