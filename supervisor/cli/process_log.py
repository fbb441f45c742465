"""The log of a process of ours (:mod:`actors.log`), line by line, as people read it.

Owns the wording. Refuses to know where lines come from; one that is none of ours passes as it is.
"""

from __future__ import annotations

import json
from typing import Any


class ProcessLog:
    """Makes readable lines of pieces of such a log."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, piece: bytes) -> bytes:
        """Return the lines that are whole now."""
        *whole, self._rest = (self._rest + piece).split(b"\n")
        return b"".join(_readable(line) + b"\n" for line in whole)

    def finish(self) -> bytes:
        """Return what was held back: a line without its end."""
        rest, self._rest = self._rest, b""
        return _readable(rest)


def _readable(line: bytes) -> bytes:
    """Return ``2026-01-31 12:00:00.123 INFO message key=value``, and below it the story of an exception."""
    try:
        document = json.loads(line)
        record, text = document["record"], document["text"]
        moment, level = str(record["time"]["repr"])[:23], str(record["level"]["name"])
        fields = (f"{name}={_shown(value)}" for name, value in record["extra"].items() if name != "line")
        head = " ".join((moment, level, str(record["message"]), *fields))
        _, _, story = str(text).rstrip("\n").partition("\n")
    except (ValueError, KeyError, TypeError, AttributeError):
        return line
    return "\n".join((head, *story.splitlines())).encode("utf-8", "backslashreplace")


def _shown(value: Any) -> str:  # noqa: ANN401 - whatever was logged
    if isinstance(value, str) and value and value.isprintable() and not any(letter in value for letter in ' "='):
        return value
    return json.dumps(value, ensure_ascii=False)
