"""The keys of a configuration file: where they stand, what they may hold, and which setting each becomes.

Owns the tables of keys at the end of this module and the forms of their values, each wrong one noted with its
place. Refuses to know which files there are and which has the last word (:mod:`supervisor.config`).
"""

from __future__ import annotations

import enum
import os
import re
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import attrs

from actors import fields
from actors.events import AgentRunner
from actors.limits import Limits
from actors.model import Containment, Isolation, Overflow
from actors.problems import Names, Notes, Problem, quoted
from actors.scan import Mapping as Fields
from actors.scan import Scalar
from supervisor.config_limits import read_limits
from supervisor.log_sinks import Console
from supervisor.metrics_address import parse_address

MOST_PARALLEL: Final = 1_000
"""The largest value of ``max_parallel``."""

_PROMPT: Final = "{prompt}"
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_REMOTE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]*")
_ENVIRONMENT_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_FLAGS: Final = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


class LogLevel(enum.Enum):
    """How much the logs of milestoned itself say."""

    TRACE = "trace"
    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class Prompt(enum.Enum):
    """How an agent runner gets the task."""

    STDIN = "stdin"
    ARGUMENT = "argument"


@attrs.define
class Layer:
    """What one file says, while it is read.

    Attributes:
        path: The file.
        project: The project directory, where relative paths start.
        notes: What is wrong with it.
        values: By the names of :class:`actors.events.Settings`; only what the file sets.
        runners: Agent runners by name.
        log_level: ``None`` when the file does not say.
        log: By the names of :class:`supervisor.log_sinks.LogSettings`; only what the file sets.
        metrics: Where Prometheus is answered; ``None`` when the file does not say.
        default_at: Where it names the default agent runner.
        unread: Why it could not even be read.
    """

    path: Path
    project: Path
    notes: Notes
    values: dict[str, Any] = attrs.Factory(dict)
    runners: dict[str, AgentRunner] = attrs.Factory(dict)
    log_level: LogLevel | None = None
    log: dict[str, Any] = attrs.Factory(dict)
    metrics: str | None = None
    default_at: int = 0
    unread: tuple[Problem, ...] = ()

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Everything that is wrong with the file."""
        return self.unread + self.notes.problems()


_Take = Callable[[Fields, str, "Layer"], None]


def _take(held: Fields, prefix: str, keys: Mapping[str, _Take], layer: Layer) -> None:
    """Hand each key of a map to what reads it; note those that nobody reads."""
    known = Names(keys)
    for name, node in held.entries.items():
        take = keys.get(name)
        if take is None:
            where = f" in {prefix.removesuffix('.')!r}" if prefix else ""
            suggestion = known.closest(name)
            choices = "" if suggestion else f"; known: {', '.join(keys)}"
            layer.notes.error(node.key, f"unknown key {quoted(name)}{where}{choices}", suggestion)
        elif fields.given(held, name) is not None:
            take(held, name, layer)


@attrs.frozen
class _Section:
    """A key that holds a map of keys."""

    prefix: str
    keys: Mapping[str, _Take]

    def __call__(self, held: Fields, name: str, layer: Layer) -> None:
        node = held.entries[name]
        if isinstance(node, Fields):
            _take(node, self.prefix, self.keys, layer)
        else:
            layer.notes.error(node.key, f"{quoted(name)} must be a map with the keys {', '.join(self.keys)}")


@attrs.frozen
class _Value:
    """A key that becomes a setting; its reader notes a wrong value and returns ``None``."""

    setting: str
    read: Callable[[Fields, str, Layer], object]

    def __call__(self, held: Fields, name: str, layer: Layer) -> None:
        value = self.read(held, name, layer)
        if value is not None:
            layer.values[self.setting] = value


@attrs.frozen
class _OfTheLog:
    """A key that says where a daemon's log goes."""

    read: Callable[[Fields, str, Layer], object]

    def __call__(self, held: Fields, name: str, layer: Layer) -> None:
        value = self.read(held, name, layer)
        if value is not None:
            layer.log[name] = value


def known_keys() -> dict[str, str]:
    """Return every key, with its sections and dots before it, and the setting that it becomes (or ``""``)."""
    found: dict[str, str] = {}

    def walk(prefix: str, keys: Mapping[str, _Take]) -> None:
        for name, take in keys.items():
            if isinstance(take, _Section):
                walk(f"{prefix}{name}.", take.keys)
            else:
                found[prefix + name] = take.setting if isinstance(take, _Value) else ""

    walk("", _KEYS)
    return found


def _whole(least: int, most: int) -> Callable[[Fields, str, Layer], int | None]:
    def read(held: Fields, name: str, layer: Layer) -> int | None:
        value = fields.whole(held, name, layer.notes)
        if value is not None and not least <= value <= most:
            layer.notes.error(_start(held, name), f"{quoted(name)} must be {least} to {most}, not {value}")
            return None
        return value

    return read


def _duration(*, zero: bool = False) -> Callable[[Fields, str, Layer], float | None]:
    return lambda held, name, layer: fields.duration(held, name, layer.notes, zero=zero)


def _size(held: Fields, name: str, layer: Layer) -> int | None:
    return fields.size(held, name, layer.notes)


def _flag(held: Fields, name: str, layer: Layer) -> bool | None:
    found = fields.scalar(held, name, layer.notes)
    if found is None:
        return None
    value = _FLAGS.get(found.text.lower())
    if value is None:
        layer.notes.error(found.start, f"{quoted(name)} must be true or false, not {quoted(found.text)}")
    return value


def _percent(held: Fields, name: str, layer: Layer) -> float | None:
    value = fields.number(held, name, layer.notes)
    if value is not None and not 0 < value <= 100:  # noqa: PLR2004 - a percentage
        layer.notes.error(_start(held, name), f"{quoted(name)} must be more than 0 and at most 100, not {value:g}")
        return None
    return value


def _matching(pattern: re.Pattern[str], what: str) -> Callable[[Fields, str, Layer], str | None]:
    """Return a reader of names; the empty one takes back what another file says."""

    def read(held: Fields, name: str, layer: Layer) -> str | None:
        found = fields.scalar(held, name, layer.notes)
        if found is None:
            return None
        if found.text and pattern.fullmatch(found.text) is None:
            layer.notes.error(found.start, f"{quoted(name)} must be {what}, not {quoted(found.text)}")
            return None
        return found.text

    return read


def _path(held: Fields, name: str, layer: Layer) -> str | None:
    found = fields.scalar(held, name, layer.notes)
    if found is None or not found.text:
        return None if found is None else ""
    if "\0" in found.text:
        layer.notes.error(found.start, f"{quoted(name)} holds a NUL character; remove it")
        return None
    try:
        return str(layer.project / Path(found.text).expanduser())
    except RuntimeError:
        layer.notes.error(found.start, f"{quoted(name)} begins with the home directory of nobody known here")
        return None


def _slots_directory(held: Fields, name: str, layer: Layer) -> str | None:
    found = _path(held, name, layer)
    # Not Path.resolve: it raises where links make a circle, which is the run's to say.
    if found and Path(os.path.realpath(found)).is_relative_to(os.path.realpath(layer.project)):
        what = "leads into the project itself, where the slots would be taken for its files; give one outside"
        layer.notes.error(_start(held, name), f"{quoted(name)} {what}")
        return None
    return found


def _argv(held: Fields, name: str, layer: Layer) -> tuple[str, ...] | None:
    node = held.entries[name]
    if not isinstance(node, Scalar | Fields) and not node.items:
        return ()
    command = fields.command(held, name, layer.notes)
    return ("/bin/sh", "-c", command) if isinstance(command, str) else command


def _shell_lines(held: Fields, name: str, layer: Layer) -> tuple[str, ...]:
    commands = fields.commands(held, name, layer.notes)
    return tuple(command if isinstance(command, str) else shlex.join(command) for command in commands)


def _variables(held: Fields, name: str, layer: Layer) -> tuple[str, ...]:
    found = fields.names(held, name, layer.notes)
    for variable in found:
        if _ENVIRONMENT_NAME.fullmatch(variable.text) is None:
            # Not repeated in the message: it may be the secret itself.
            what = "is no name of an environment variable; names stand here, never values"
            layer.notes.error(variable.start, f"this entry of {quoted(name)} {what}")
    return tuple(dict.fromkeys(variable.text for variable in found))


def _passed(held: Fields, name: str, layer: Layer) -> tuple[str, ...]:
    found = fields.names(held, name, layer.notes)
    for variable in found:
        if _ENVIRONMENT_NAME.fullmatch(variable.text.removesuffix("*") or "A") is None:
            what = "is no name of an environment variable, nor the beginning of one with a '*' after it"
            layer.notes.error(variable.start, f"this entry of {quoted(name)} {what}")
    return tuple(dict.fromkeys(variable.text for variable in found))


def _url(held: Fields, name: str, layer: Layer) -> str | None:
    found = fields.scalar(held, name, layer.notes)
    if found is None:
        return None
    if found.text and not _names_a_host(found.text):
        layer.notes.error(found.start, f"{quoted(name)} must begin with http:// or https:// and name a host")
        return None
    return found.text


def _names_a_host(url: str) -> bool:
    try:
        host = urlsplit(url).hostname
    except ValueError:  # as of "http://["
        return False
    return bool(host) and re.fullmatch(r"https?://[^\s/]\S*", url) is not None


def _limits(held: Fields, name: str, layer: Layer) -> Limits | None:
    return read_limits(held, name, layer.notes)


def _default_agent(held: Fields, name: str, layer: Layer) -> str | None:
    layer.default_at = _start(held, name)
    return _matching(_NAME, "the name of an agent runner")(held, name, layer)


def _log_level(held: Fields, name: str, layer: Layer) -> None:
    layer.log_level = fields.choice(held, name, layer.notes, LogLevel)


def _listen(held: Fields, name: str, layer: Layer) -> None:
    found = fields.scalar(held, name, layer.notes)
    if found is None:
        return
    try:
        if found.text:
            parse_address(found.text)
    except ValueError as error:
        layer.notes.error(found.start, str(error))
    else:
        layer.metrics = found.text


def _runners(held: Fields, name: str, layer: Layer) -> None:
    node = held.entries[name]
    if not isinstance(node, Fields):
        layer.notes.error(node.key, f"{quoted(name)} must be a map of names to agent runners")
        return
    for runner, keys in node.entries.items():
        if _NAME.fullmatch(runner) is None:
            layer.notes.error(keys.key, f"{quoted(runner)} is no name for an agent runner (letters, digits, '.-_')")
        elif not isinstance(keys, Fields):
            layer.notes.error(keys.key, f"the agent runner {quoted(runner)} must be a map with a 'command'")
        else:
            _runner(runner, keys, layer)


def _runner(name: str, held: Fields, layer: Layer) -> None:
    own = Layer(layer.path, layer.project, layer.notes)
    _take(held, f"agents.runners.{name}.", _RUNNER_KEYS, own)
    command: tuple[str, ...] | None = own.values.get("command")
    if not command:
        if fields.given(held, "command") is None or command == ():
            layer.notes.error(held.key, f"the agent runner {quoted(name)} has no 'command'")
        return
    prompt: Prompt = own.values.get("prompt", Prompt.STDIN)
    at = _start(held, "command")
    if prompt is Prompt.ARGUMENT and _PROMPT not in command:
        what = f"'prompt: argument' needs a command given as a list in which one word is {_PROMPT}"
        layer.notes.error(at, f"{what}: a prompt is never made part of a line for the shell")
    elif prompt is Prompt.STDIN and any(_PROMPT in word for word in command):
        what = f"{_PROMPT} stands in the command, but the prompt goes to its standard input"
        layer.notes.error(at, f"{what}; say 'prompt: argument'")
    else:
        layer.runners[name] = AgentRunner(name, command, prompt.value, own.values.get("timeout"))


def _start(held: Fields, name: str) -> int:
    return held.entries[name].start


def take_keys(root: Fields, layer: Layer) -> None:
    """Read every key of a file into its layer, and note what is wrong."""
    _take(root, "", _KEYS, layer)


_NEVER_MANY: Final = 1_000_000

_RUNNER_KEYS: Final[dict[str, _Take]] = {
    "command": _Value("command", _argv),
    "prompt": _Value("prompt", lambda held, name, layer: fields.choice(held, name, layer.notes, Prompt)),
    "timeout": _Value("timeout", _duration()),
}

_KEYS: Final[dict[str, _Take]] = {
    "max_parallel": _Value("max_parallel", _whole(1, MOST_PARALLEL)),
    "isolation": _Value("isolation", lambda held, name, layer: fields.choice(held, name, layer.notes, Isolation)),
    "fail_fast": _Value("fail_fast", _flag),
    "stop_grace": _Value("stop_grace", _duration(zero=True)),
    "conflict_reruns": _Value("conflict_reruns", _whole(0, _NEVER_MANY)),
    "limits": _Value("task_limits", _limits),
    "secrets": _Value("secrets", _variables),
    "environment": _Value("environment", _passed),
    "output_limit": _Value("output_limit", _size),
    "output_overflow": _Value(
        "output_overflow", lambda held, name, layer: fields.choice(held, name, layer.notes, Overflow)
    ),
    "containment": _Value("containment", lambda held, name, layer: fields.choice(held, name, layer.notes, Containment)),
    "log_level": _log_level,
    "log": _Section(
        "log.",
        {
            "console": _OfTheLog(lambda held, name, layer: fields.choice(held, name, layer.notes, Console)),
            "file": _OfTheLog(_path),
            "json": _OfTheLog(_flag),
            "rotation": _OfTheLog(_size),
            "retention": _OfTheLog(_whole(0, _NEVER_MANY)),
            "compress": _OfTheLog(_flag),
        },
    ),
    "metrics": _Section("metrics.", {"listen": _listen}),
    "roles": _Section("roles.", {"limits": _Value("role_limits", _limits)}),
    "agents": _Section("agents.", {"default": _Value("default_agent", _default_agent), "runners": _runners}),
    "git": _Section(
        "git.",
        {
            "remote": _Value("remote", _matching(_REMOTE, "the name of a git remote")),
            "push_every": _Value("push_every", _whole(1, _NEVER_MANY)),
            "uncommitted_interval": _Value("uncommitted_interval", _duration()),
        },
    ),
    "worktree": _Section(
        "worktree.",
        {
            "copy": _Value("worktree_copy", lambda held, name, layer: fields.paths(held, name, layer.notes)),
            "setup": _Value("worktree_setup", _shell_lines),
            "directory": _Value("slots_directory", _slots_directory),
            "keep_for": _Value("keep_for", _duration()),
        },
    ),
    "progress": _Section(
        "progress.",
        {
            "interval": _Value("progress_interval", _duration()),
            "stall_after": _Value("stall_after", _duration()),
        },
    ),
    "blockers": _Section(
        "blockers.",
        {
            "no_progress_after": _Value("no_progress_after", _duration()),
            "pressure_percent": _Value("pressure_percent", _percent),
            "rules": _Value("rules", _path),
            "hook": _Section(
                "blockers.hook.",
                {"command": _Value("hook_command", _argv), "url": _Value("hook_url", _url)},
            ),
        },
    ),
}
