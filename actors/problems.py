"""Problems of a file: located, worded for people, all of them at once.

Owns the class that every reader of user files reports with, the collector that a reader writes into, the
translation of text positions into lines and columns, and the search for the word that was probably meant.
Refuses to know YAML and milestones.
"""

from __future__ import annotations

import difflib
import enum
import re
from bisect import bisect_right
from collections.abc import Iterable
from typing import Final

import attrs

_LINE_BREAK: Final = re.compile(r"\r\n|\n|\r")
_SEPARATORS: Final = re.compile(r"[-_. ]+")
_LEADING_ZEROS: Final = re.compile(r"(?<!\d)0+(?=\d)")
_DIGITS: Final = re.compile(r"\d+")

_SIMILAR: Final = 0.6
_MOST_FUZZY_SEARCHES: Final = 200
_MOST_COMPARISONS: Final = 40_000
"""Together they bound what suggestions cost in a file of unknown words to a fraction of a second."""


class Severity(enum.Enum):
    """Whether a problem keeps the file from being used."""

    ERROR = "error"
    WARNING = "warning"


@attrs.frozen
class Problem:
    """One problem of one file.

    Attributes:
        path: The file, as the user named it.
        line: Line of the offending text, from 1.
        column: Column of the offending text in characters, from 1.
        message: What is wrong, why where it helps, and what to do; ends with the suggestion where there is
            one.
        severity: Whether the file can be used in spite of it.
        suggestion: The word that was probably meant, alone; ``""`` without one.
    """

    path: str
    line: int
    column: int
    message: str
    severity: Severity = Severity.ERROR
    suggestion: str = ""

    def __str__(self) -> str:
        return f"{self.path}:{self.line}:{self.column}: {self.message}"

    @property
    def is_error(self) -> bool:
        """Whether the file cannot be used."""
        return self.severity is Severity.ERROR


class Lines:
    """Translates positions in a text into lines and columns; computes nothing before the first question."""

    def __init__(self, text: str) -> None:
        self.text: Final = text
        self._starts: list[int] | None = None

    def place(self, index: int) -> tuple[int, int]:
        """Return line and column, both from 1, of a position counted in characters."""
        if self._starts is None:
            self._starts = [0, *(found.end() for found in _LINE_BREAK.finditer(self.text))]
        line = bisect_right(self._starts, index)
        return line, index - self._starts[line - 1] + 1

    def line_at(self, index: int) -> str:
        """Return the line that holds this position, without its break."""
        _, column = self.place(index)
        start = index - column + 1
        following = _LINE_BREAK.search(self.text, start)
        return self.text[start : following.start() if following else len(self.text)]


class Notes:
    """Collects the problems of one file while it is read, by position in its text."""

    def __init__(self, path: str, text: str) -> None:
        self.path: Final = path
        self.lines: Final = Lines(text)
        self._noted: list[tuple[int, Severity, str, str]] = []
        self._has_errors = False
        self._names: dict[tuple[str, ...], Names] = {}

    @property
    def has_errors(self) -> bool:
        """Whether an error was noted so far."""
        return self._has_errors

    def error(self, index: int, message: str, suggestion: str | None = None) -> None:
        """Note an error at a position of the text."""
        self._has_errors = True
        self._noted.append((index, Severity.ERROR, message, suggestion or ""))

    def warning(self, index: int, message: str, suggestion: str | None = None) -> None:
        """Note a warning at a position of the text."""
        self._noted.append((index, Severity.WARNING, message, suggestion or ""))

    def closest(self, word: str, choices: tuple[str, ...], similar: float = _SIMILAR) -> str | None:
        """Return the choice that was probably meant (see :func:`closest`), at a cost bounded for the file."""
        names = self._names.get(choices)
        if names is None:
            names = self._names[choices] = Names(choices)
        return names.closest(word, similar)

    def problems(self) -> tuple[Problem, ...]:
        """Return what was noted, in the order of the file."""
        return tuple(self._problem(*noted) for noted in sorted(dict.fromkeys(self._noted), key=lambda noted: noted[0]))

    def _problem(self, index: int, severity: Severity, message: str, suggestion: str) -> Problem:
        line, column = self.lines.place(index)
        return Problem(self.path, line, column, message + did_you_mean(suggestion), severity, suggestion)


class Names:
    """The words that are known in one place, to find the one that was meant by an unknown word.

    A file may hold thousands of unknown words beside thousands of known ones, so only the first searches
    compare letter by letter; the later ones find words that differ in case, separators and leading zeros
    alone.
    """

    def __init__(self, choices: Iterable[str]) -> None:
        self._choices = list(choices)
        self._folded: dict[str, str] | None = None
        self._found: dict[tuple[str, float], str | None] = {}
        affordable = _MOST_COMPARISONS // max(1, len(self._choices))
        self._fuzzy_searches_left = min(_MOST_FUZZY_SEARCHES, affordable)

    def closest(self, word: str, similar: float = _SIMILAR) -> str | None:
        """Return the known word that was probably meant, if any comes near.

        Args:
            word: The unknown word.
            similar: How much of the letters must agree, from 0 to 1.
        """
        if self._folded is None:
            self._folded = {_fold(choice): choice for choice in reversed(self._choices)}
        folded = _fold(word)
        if folded in self._folded:
            return self._folded[folded]
        if (word, similar) in self._found:
            return self._found[word, similar]
        if not self._fuzzy_searches_left:
            return None
        self._fuzzy_searches_left -= 1
        found = self._found[word, similar] = self._nearest(folded, similar)
        return found

    def _nearest(self, folded: str, similar: float) -> str | None:
        without_digits = _DIGITS.sub("#", folded)
        known = self._folded or {}
        for near in difflib.get_close_matches(folded, known, n=5, cutoff=similar):
            # task-7 is not a misspelt task-8: words that differ in their numbers alone are different names.
            if _DIGITS.sub("#", near) != without_digits:
                return known[near]
        return None


def closest(word: str, choices: Iterable[str], similar: float = _SIMILAR) -> str | None:
    """Return the choice that was probably meant by a word, or ``None`` when none comes near.

    A choice that differs only in case, separators or leading zeros wins over one with similar letters.

    Args:
        word: The unknown word.
        choices: The known ones.
        similar: How much of the letters must agree, from 0 to 1.
    """
    return Names(choices).closest(word, similar)


def did_you_mean(suggestion: str | None) -> str:
    """Return the end of a message that names a suggestion; empty without one."""
    return f"; did you mean {quoted(suggestion)}?" if suggestion else ""


def quoted(word: str, most: int = 60) -> str:
    """Return a word of a file in quotes, for a message: shortened, and free of what moves a cursor."""
    return repr(word if len(word) <= most else word[: most - 3] + "...")


def _fold(word: str) -> str:
    return _LEADING_ZEROS.sub("", _SEPARATORS.sub("", _LEADING_ZEROS.sub("", word.casefold())))
