"""The configuration: which files are read, in which order, and what they make of the settings.

A key is taken from the first of these that has it: the file given with ``--config``, the file that
``$MILESTONED_CONFIG`` names, the project's ``.milestones/config/milestoned.yaml``,
``/etc/milestoned/milestoned.yaml``, the defaults. ``configs/milestoned.yaml`` documents every key and says
the defaults; a test keeps it true. A key that says nothing (``remote:``) counts as absent; an empty value
(``remote: ""``, ``copy: []``) takes the key back.

All problems of all files are reported at once, each with its place.

Owns the order of the files and the merging. Refuses to know what each key may hold
(:mod:`supervisor.config_keys`) and who uses the settings.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TypedDict, Unpack

import attrs

from actors.events import AgentRunner, Settings
from actors.files import FileTooLargeError, read_bytes
from actors.model import Isolation
from actors.paths import ProjectPaths
from actors.problems import Names, Notes, Problem, quoted
from actors.scan import Mapping as Fields
from actors.scan import Scalar, scan
from supervisor.config_keys import MOST_PARALLEL, Layer, LogLevel, take_keys
from supervisor.log_sinks import LogSettings

VARIABLE: Final = "MILESTONED_CONFIG"
"""Environment variable that names a configuration file."""

SYSTEM_CONFIG: Final = Path("/etc/milestoned/milestoned.yaml")

_MOST_BYTES: Final = 1_000_000


@attrs.frozen
class Config:
    """The whole configuration.

    Attributes:
        settings: How sessions run.
        log_level: How much the logs of milestoned itself say.
        log: Where that of a daemon goes.
        metrics: Where Prometheus is answered, ``""`` for nowhere.
        sources: The files that were read, the one with the most say first.
    """

    settings: Settings = Settings()
    log_level: LogLevel = LogLevel.INFO
    log: LogSettings = LogSettings()
    metrics: str = ""
    sources: tuple[Path, ...] = ()


class ConfigError(Exception):
    """The configuration cannot be used.

    Attributes:
        problems: Everything that is wrong, file by file.
    """

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


class Options(TypedDict, total=False):
    """What the command line may override; ``None`` stands for *not given*."""

    max_parallel: int | None
    isolation: Isolation | None
    fail_fast: bool | None
    default_agent: str | None
    remote: str | None
    push_every: int | None
    progress_interval: float | None
    stop_grace: float | None


def load_config(
    project: Path,
    env: Mapping[str, str],
    explicit: Path | None = None,
    *,
    system: Path = SYSTEM_CONFIG,
) -> Config:
    """Read the configuration of a project.

    Args:
        project: Absolute path of the project directory; relative paths in the files start there.
        env: The environment, for ``$MILESTONED_CONFIG``.
        explicit: The file given with ``--config``; it must exist.
        system: The machine's own file.

    Raises:
        ConfigError: A file that was asked for is not there, cannot be read, or holds something wrong.
    """
    wanted: list[tuple[Path, str]] = []
    if explicit is not None:
        wanted.append((explicit, "--config"))
    if env.get(VARIABLE):
        wanted.append((Path(env[VARIABLE]), f"${VARIABLE}"))
    usual = [(ProjectPaths(project).config, ""), (system, "")]
    found = [_read(path, by, project) for path, by in [*wanted, *usual]]
    layers = [layer for layer in found if layer is not None]
    problems = [problem for layer in layers for problem in layer.problems]
    if not problems:
        problems += _unknown_default(layers)
    if problems:
        raise ConfigError(tuple(problems))
    return _merged(layers)


def merge_options(settings: Settings, **options: Unpack[Options]) -> Settings:
    """Return the settings with what the command line says over them.

    Args:
        settings: As configured.
        **options: Values of the command line; those that are ``None`` change nothing.

    Raises:
        ValueError: A value is out of its range; the message is for people.
    """
    given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    merged = attrs.evolve(settings, **given)
    if not 1 <= merged.max_parallel <= MOST_PARALLEL:
        raise ValueError(f"max_parallel must be 1 to {MOST_PARALLEL}, not {merged.max_parallel}")
    if merged.push_every < 1:
        raise ValueError(f"push_every must be 1 or more, not {merged.push_every}")
    if merged.progress_interval <= 0 or merged.stop_grace < 0:
        raise ValueError("intervals must be more than 0 seconds, and the grace no less than 0")
    runners = [runner.name for runner in merged.agents]
    if merged.default_agent and merged.default_agent not in runners:
        known = ", ".join(runners) or "none"
        raise ValueError(f"there is no agent runner {merged.default_agent!r}; configured: {known}")
    return merged


# --- layers -------------------------------------------------------------------------------------------------


def _read(path: Path, by: str, project: Path) -> Layer | None:
    """Read one file; ``None`` when nobody asked for it and it is not there."""
    named = f" (named by {by})" if by else ""
    try:
        # The project's own is what a repository brings along; what a person named, or the machine's, may be a link.
        data = read_bytes(path, _MOST_BYTES, follow=path != ProjectPaths(project).config)
        text = data.decode("utf-8-sig")
    except FileTooLargeError:
        return _unread(path, project, f"is larger than {_MOST_BYTES:,} bytes{named}: is it the right file?")
    except OSError as error:
        if not by and isinstance(error, FileNotFoundError | NotADirectoryError):
            return None
        return _unread(path, project, f"cannot be read{named}: {error.strerror or error}")
    except UnicodeDecodeError as error:
        return _unread(path, project, f"is not UTF-8{named}: byte {error.start} is no character")
    layer = Layer(path, project, Notes(str(path), text))
    root = scan(text, layer.notes)
    if isinstance(root, Fields):
        take_keys(root, layer)
    elif root is not None and not (isinstance(root, Scalar) and root.is_null):
        layer.notes.error(root.start, "a configuration is a map of keys, such as 'max_parallel: 4'")
    return layer


def _unread(path: Path, project: Path, message: str) -> Layer:
    return Layer(path, project, Notes(str(path), ""), unread=(Problem(str(path), 1, 1, message),))


def _merged(layers: list[Layer]) -> Config:
    values: dict[str, Any] = {}
    runners: dict[str, AgentRunner] = {}
    log: dict[str, Any] = {}
    level, metrics = LogLevel.INFO, ""
    for layer in reversed(layers):
        values |= layer.values
        runners |= layer.runners
        log |= layer.log
        level = layer.log_level or level
        metrics = metrics if layer.metrics is None else layer.metrics
    settings = attrs.evolve(Settings(), **values, agents=tuple(runners.values()))
    return Config(settings, level, LogSettings(**log), metrics, tuple(layer.path for layer in layers))


def _unknown_default(layers: list[Layer]) -> list[Problem]:
    runners = [name for layer in layers for name in layer.runners]
    for layer in layers:
        default = layer.values.get("default_agent")
        if default is not None:
            if default and default not in runners:
                what = f"there is no agent runner {quoted(default)} under agents.runners"
                layer.notes.error(layer.default_at, what, Names(runners).closest(default))
                return [problem for problem in layer.notes.problems() if problem.message.startswith(what)]
            return []
    return []
