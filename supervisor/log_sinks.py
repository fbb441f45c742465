"""Where a daemon's log goes: its standard error, in one of several forms, and a file that is put aside when it is long.

What concerns a session stands beside that in a file of the session, in the form in which a run has it there: so who
asks for the log of the supervising process finds it in the same place, whichever process that was.

One process writes one file: several would lose lines when it is put aside. Everything is written at once (no queue that
a kill would empty), data stand in bound fields, frames are never shown with their values, files are closed to others.

Owns the sinks. Refuses to know what is logged. loguru is imported here only when a sink is opened.
"""

from __future__ import annotations

import contextlib
import enum
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs

from actors.log import LogFile, without_secrets

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from loguru import FormatFunction, Record

JOURNAL_STREAM: Final = "JOURNAL_STREAM"
"""Environment variable that says that standard error is systemd's journal (systemd.exec(5))."""

_PRIORITIES: Final = ((40, 3), (30, 4), (20, 6))
"""Lowest number of a level, and the priority that the journal knows it by (sd-daemon(3)); 7 below."""

_OF_LOGURU: Final = 0
"""Number of the sink that loguru opens by itself."""

_OPEN: Final[list[int]] = []
"""What loguru calls the sinks of the process as a whole; those of sessions stay when these are opened anew."""


class Console(enum.Enum):
    """What standard error gets."""

    AUTO = "auto"
    TEXT = "text"
    JSON = "json"
    JOURNAL = "journal"
    NONE = "none"


@attrs.frozen
class LogSettings:
    """Where a daemon's log goes.

    Attributes:
        console: Form of the lines on standard error.
        file: Absolute path of a file; ``""`` for none.
        json: Whether the file's lines are JSON.
        rotation: Bytes beyond which the file is put aside.
        retention: Files put aside that are kept.
        compress: Whether those are compressed.
    """

    console: Console = Console.AUTO
    file: str = ""
    json: bool = False
    rotation: int = 10_000_000
    retention: int = 5
    compress: bool = False


def open_sinks(settings: LogSettings, level: str, env: Mapping[str, str]) -> None:
    """Send what this process logs there, and nowhere else; may be called again.

    Args:
        settings: Where.
        level: Lowest level that is written, as loguru names it.
        env: The environment.

    Raises:
        OSError: The file cannot be made; what was open stays so.
    """
    from loguru import logger  # noqa: PLC0415 - it and what it imports take five megabytes

    if settings.file:
        Path(settings.file).parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(settings.file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600))
    for number in (_OF_LOGURU, *_OPEN):
        with contextlib.suppress(ValueError):  # it is closed already
            logger.remove(number)
    _OPEN.clear()
    form = _console_form(settings.console, env)
    if form is not None:
        _OPEN.append(logger.add(_write, level=level, format=form, diagnose=False, backtrace=False, catch=True))
    if settings.file:
        _OPEN.append(
            logger.add(
                settings.file,
                level=level,
                format=_as_json if settings.json else _as_text,
                rotation=settings.rotation,
                retention=settings.retention,
                compression=_compress if settings.compress else None,
                opener=_open_private,
                diagnose=False,
                backtrace=False,
                catch=True,
            )
        )


def open_session_log(path: Path, session: str, level: str) -> Callable[[], None]:
    """Have what concerns a session, or nobody in particular, written to a file of the session as well.

    Args:
        path: The file, ``supervisor.log``; made by the first line.
        session: Session id.
        level: Lowest level that is written, as loguru names it.

    Returns:
        What closes it; closing twice does nothing.
    """
    from loguru import logger  # noqa: PLC0415 - as above

    def is_ours(record: Record) -> bool:
        return bool(record["extra"].get("session", session) == session)

    sink = LogFile(path)
    number = logger.add(sink, level=level, filter=is_ours, serialize=True, diagnose=False, backtrace=False, catch=True)

    def close() -> None:
        with contextlib.suppress(ValueError):  # it is closed already
            logger.remove(number)

    return close


def _console_form(console: Console, env: Mapping[str, str]) -> FormatFunction | None:
    match console:
        case Console.AUTO:
            return _for_journal if env.get(JOURNAL_STREAM) else _as_text
        case Console.TEXT:
            return _as_text
        case Console.JSON:
            return _as_json
        case Console.JOURNAL:
            return _for_journal
        case Console.NONE:
            return None


def _write(line: str) -> None:
    # What nobody reads any more, or a full disk refuses, is left out.
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(line)
        sys.stderr.flush()


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o600)


def _compress(path: str) -> None:
    """Replace a file that was put aside by a compressed one; called by loguru."""
    import gzip  # noqa: PLC0415 - these two with what they load, for the log that has become too long
    import shutil  # noqa: PLC0415

    number = _open_private(f"{path}.gz", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    with (
        Path(path).open("rb") as source,
        os.fdopen(number, "wb") as target,
        gzip.GzipFile(filename="", mode="wb", fileobj=target, mtime=0) as packed,
    ):
        shutil.copyfileobj(source, packed)
    Path(path).unlink()


# loguru formats what these return once more, and knows braces: so the line goes in as a field.


def _as_text(record: Record) -> str:
    fields = " ".join(f"{name}={_shown(value)}" for name, value in record["extra"].items() if name != "line")
    moment = record["time"].strftime("%Y-%m-%dT%H:%M:%S.%f%z")
    return _line(record, f"{moment} {record['level'].name} {record['message']}" + (f" {fields}" if fields else ""))


def _for_journal(record: Record) -> str:
    number = record["level"].no
    priority = next((priority for lowest, priority in _PRIORITIES if number >= lowest), 7)
    fields = " ".join(f"{name}={_shown(value)}" for name, value in record["extra"].items() if name != "line")
    return _line(record, f"<{priority}>{record['message']}" + (f" {fields}" if fields else ""))


def _as_json(record: Record) -> str:
    extra = {name: value for name, value in record["extra"].items() if name != "line"}
    document = {
        "timestamp": record["time"].isoformat(),
        "level": record["level"].name.lower(),
        "message": record["message"],
        **{name: value for name, value in extra.items() if name not in {"timestamp", "level", "message"}},
    }
    return _line(record, json.dumps(document, default=str))


def _shown(value: object) -> str:
    """Return a value as one word, or as a JSON text of one line."""
    text = value.value if isinstance(value, enum.Enum) else value
    if isinstance(text, str) and text and text.isprintable() and not any(letter in text for letter in ' "='):
        return text
    return json.dumps(text, default=str)


def _line(record: Record, text: str) -> str:
    record["extra"]["line"] = without_secrets(text)
    return "{extra[line]}\n"
