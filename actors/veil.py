"""Values that stay between milestoned and the tasks: hidden in what is written, found in what may not hold them.

``secrets:`` names variables. What a task prints is its own and kept as it is, closed to others; what milestoned writes
by its own hand (facts, reports, logs, evidence) shows ``***`` in the place of a value. A value of several lines is
hidden line by line as well, because output is read in lines. One that is very short is not hidden: it would be in
everything.

What has to stay as it is, because it is executed or named by others (a milestone, the settings), cannot be rewritten:
of that it can be told whether it holds a value, so that it is refused before it is journaled.

Owns the comparison. Refuses to know where values come from, and where texts go.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, TypeVar

import attrs
import msgspec

S = TypeVar("S", bound=msgspec.Struct)

SHORTEST: Final = 4
"""Characters of the shortest value, or line of a value, that is hidden."""

PROSE: Final = frozenset(
    {
        "cure",
        "detail",
        "evidence",
        "facts",
        "headline",
        "how",
        "paths",
        "problems",
        "proposal",
        "reason",
        "summary",
        "target",
        "text",
        "warnings",
        "what",
    }
)
"""Fields of facts that are written for people. All others are names, places and numbers that are acted on."""

_INSTEAD: Final = "***"


@attrs.frozen
class Veil:
    """Hides the values of secrets.

    Attributes:
        values: What must not be shown, longest first.
    """

    values: tuple[str, ...] = attrs.field(default=(), repr=False)

    @classmethod
    def over(cls, values: Iterable[str]) -> Veil:
        """Return a veil over values; of those with several lines also over each line."""
        pieces = {piece for value in values for piece in (value, *value.splitlines())}
        return cls(tuple(sorted((piece for piece in pieces if len(piece.strip()) >= SHORTEST), key=_order)))

    @classmethod
    def of(cls, environment: Mapping[str, str], names: Iterable[str]) -> Veil:
        """Return a veil over the values that these variables have, where they have one."""
        return cls.over(environment[name] for name in names if name in environment)

    def hide(self, text: str, *, was_cut: bool = False) -> str:
        """Return a text without the values, and if it was cut also without the beginning of one there."""
        for value in self.values:
            text = text.replace(value, _INSTEAD)
        for value in self.values if was_cut else ():
            for length in range(min(len(value) - 1, len(text)), 0, -1):
                if text.endswith(value[:length]):
                    text = text[:-length] + _INSTEAD
                    break
        return text

    def hide_rest(self, text: str) -> str:
        """Return a text without the end of a value at its beginning: it was cut out of a longer one there."""
        for value in self.values:
            for length in range(min(len(value) - 1, len(text)), 0, -1):
                if text.startswith(value[-length:]):
                    return _INSTEAD + text[length:]
        return text

    def hide_anywhere(self, text: str) -> str:
        """Return a text without the values, also where they stand in it as a JSON text does."""
        return functools.reduce(lambda shown, form: shown.replace(form, _INSTEAD), _forms(self.values), text)

    def covers(self, plain: object) -> bool:
        """Say whether a value stands in any text of what is built of maps, lists and texts."""
        return any(value in text for text in _texts(plain) for value in self.values)

    def hide_in(self, event: S) -> S:
        """Return a fact whose texts for people do not hold the values."""
        changes = {
            name: hidden
            for name in PROSE.intersection(event.__struct_fields__)
            if (hidden := self._hidden(getattr(event, name))) != getattr(event, name)
        }
        return msgspec.structs.replace(event, **changes) if changes else event

    def _hidden(self, prose: Any) -> Any:  # noqa: ANN401 - a text, or several
        if isinstance(prose, tuple):
            return tuple(map(self._hidden, prose))
        return self.hide(prose) if isinstance(prose, str) else prose


def _order(value: str) -> tuple[int, str]:
    return -len(value), value


@functools.lru_cache(maxsize=4)
def _forms(values: tuple[str, ...]) -> tuple[str, ...]:
    escaped = {json.dumps(value, ensure_ascii=ascii_)[1:-1] for value in values for ascii_ in (True, False)}
    return tuple(sorted(escaped.union(values), key=_order))


def _texts(plain: object) -> Iterator[str]:
    match plain:
        case str():
            yield plain
        case Mapping():
            for key, value in plain.items():
                yield from _texts(key)
                yield from _texts(value)
        case list() | tuple():
            for value in plain:
                yield from _texts(value)
        case _:
            return
