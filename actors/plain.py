"""What may be sent to another process as JSON and arrives as it was: plain values, nothing that would turn into one.

Encoders are obliging: bytes become a text, `nan` becomes `None`, a number that is a key becomes a text. Here that is
refused, with the place. Owns that judgement. Refuses to know what is sent to whom.
"""

from __future__ import annotations

from collections.abc import Iterator
from reprlib import Repr
from typing import Final

import msgspec

PLAIN: Final = "dicts with texts as keys, lists, texts, numbers, booleans, None"
"""What plain values are."""

_SHORT: Final = Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 80


class NotPlainError(ValueError):
    """A value that would not arrive as it was sent; the text names it and its place."""


def encode(value: object) -> bytes:
    """Return a value as JSON.

    A tuple arrives as a list, a member of an enum of texts or numbers as its value.

    Raises:
        NotPlainError: It is no plain value, or holds one that is none.
    """
    try:
        data = msgspec.json.encode(value)
        # By far the cheapest way: all of it happens in C, and what differs is looked for only then.
        if msgspec.json.decode(data) == value:
            return data
    except (TypeError, ValueError, RecursionError) as error:
        _refuse(value)
        raise NotPlainError(str(error)) from error
    _refuse(value)
    return data


def _refuse(value: object) -> None:
    try:
        found = next(_faults(value, ""), None)
    except RecursionError:
        raise NotPlainError("it holds itself, or is nested too deeply") from None
    if found is not None:
        place, fault = found
        raise NotPlainError(f"{place + ': ' if place else ''}{fault}")


def _faults(value: object, place: str) -> Iterator[tuple[str, str]]:
    match value:
        case None | bool() | str():
            pass
        case int():
            if not -(1 << 63) <= value < 1 << 64:
                yield place, f"{_SHORT.repr(value)} has more than 64 bits"
        case float():
            if value != value or value in {float("inf"), float("-inf")}:  # noqa: PLR0124 - nan alone differs from itself
                yield place, f"{value} has no form in JSON"
        case list() | tuple():
            for number, one in enumerate(value):
                yield from _faults(one, f"{place}[{number}]")
        case dict():
            for key, one in value.items():
                if not isinstance(key, str):
                    yield place, f"the key {_SHORT.repr(key)} is {_kind(key)}, and keys must be texts"
                yield from _faults(one, f"{place}[{_SHORT.repr(key)}]")
        case _:
            yield place, f"{_SHORT.repr(value)} is {_kind(value)}"


def _kind(value: object) -> str:
    return f"of type {type(value).__qualname__}"
