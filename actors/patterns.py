"""Regular expressions that a user may hand us, without the ones that can run for hours.

The role that matches them answers heartbeats from the same loop, so a search must end. Lines are cut to a
length, and a pattern is refused when backtracking could grow beyond a small power of that length: what is
repeated may hold neither another repetition nor alternatives, nothing refers back, and the number of choices
is bounded.

Owns that judgement. Refuses to know rules and files.
"""

from __future__ import annotations

import re
import warnings
from typing import Final

import attrs

MOST_CHARACTERS: Final = 500
"""Length of a pattern."""

MOST_REPETITIONS: Final = 2
"""Repetitions of no fixed count in one alternative: each multiplies the cost by the length of the line."""

MOST_OPTIONAL: Final = 6
"""Optional pieces (``?``) in one alternative: each doubles the cost."""

MOST_CHOICES: Final = 4
"""Groups with alternatives in one alternative of the whole."""

MOST_TIMES: Final = 100
"""Largest count in braces: ``{1,100}``."""

_BACK_REFERENCE: Final = re.compile(r"(?<!\\)(?:\\\\)*\\[1-9]|\(\?P=|\(\?\(")
_OPENING: Final = r"\((?:\?(?:P<\w+>|<?[=!]|[aiLmsux-]+:?|[:>]))?"
_PIECE: Final = re.compile(
    rf"({_OPENING}|\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|.)"  # what is matched
    r"((?:[*+?]|\{\d+(?:,\d*)?\}|\{,\d+\})[?+]?)?",  # how often
    re.DOTALL,
)
_NO_LITERAL: Final = re.compile(r"\\[A-Za-z0-9]|\[|[.^$]")
_COUNTS: Final = re.compile(r"\d+")


@attrs.define
class _Group:
    """An open group: what it holds that must not be repeated."""

    varies: bool = False
    chooses: bool = False


@attrs.frozen
class Unfit:
    """Why a pattern is not used.

    Attributes:
        index: Where in the pattern, in characters from 0.
        reason: What is wrong and what to do, for people.
    """

    index: int
    reason: str


def unfit(pattern: str) -> Unfit | None:
    """Return why a pattern cannot be used, ``None`` when it can."""
    if not pattern:
        return Unfit(0, "the pattern is empty; it would match every line")
    if len(pattern) > MOST_CHARACTERS:
        return Unfit(0, f"the pattern has more than {MOST_CHARACTERS} characters; write two rules")
    try:
        with warnings.catch_warnings():
            # What a later Python will read in another way is not what its author can rely on.
            warnings.simplefilter("error")
            compiled = re.compile(pattern)
    except Warning as warning:
        return Unfit(0, f"{warning}; put a backslash before what is meant as it stands".lower())
    except (re.error, OverflowError, RecursionError) as error:
        index = getattr(error, "pos", None) or 0
        return Unfit(index, f"not a regular expression: {getattr(error, 'msg', error)}")
    if compiled.flags & re.VERBOSE:
        return Unfit(0, "a verbose pattern, (?x), is not supported; write it in one line")
    if found := _BACK_REFERENCE.search(pattern):
        return Unfit(found.start(), "a pattern that refers back to a group can take for ever; do without")
    walk = _Walk(pattern)
    try:
        walk.to_the_end()
    except _Refused as refused:
        return Unfit(*refused.args)
    if compiled.search("") is not None:
        return Unfit(0, "the pattern matches the empty line, and so every line; make a part of it obligatory")
    return None


def needles(pattern: str) -> tuple[str, ...]:
    """Return texts in lower case of which each matching line holds at least one; empty when none can be told.

    They are looked for in whole blocks of output first, which is many times cheaper than the pattern on each
    line.

    Args:
        pattern: A pattern that is not :func:`unfit`.
    """
    longest, run, depth = [""], "", 0
    for piece in _PIECE.finditer(pattern):
        atom, times = piece[1], piece[2] or ""
        at_top = depth == 0
        depth += (atom[0] == "(") - (atom == ")")
        if not at_top or atom[0] == "(" or atom == "|" or _NO_LITERAL.match(atom) or times[:1] in set("*?{"):
            run = ""
            if atom == "|" and at_top:
                longest.append("")
            continue
        run += atom[-1]
        longest[-1] = max(longest[-1], run, key=len)
        run = "" if times else run
    return tuple(text.lower() for text in longest) if all(longest) else ()


class _Refused(Exception):  # noqa: N818 - never leaves this module
    """Position and reason."""


class _Walk:
    """Goes once over a pattern that compiles, and counts what backtracking could multiply."""

    def __init__(self, pattern: str) -> None:
        self._pattern: Final = pattern
        self._groups = [_Group()]
        self._closed: _Group | None = None
        self._counts = {"repetitions": 0, "optional pieces": 0, "groups with alternatives": 0}

    def to_the_end(self) -> None:
        """Walk.

        Raises:
            _Refused: The pattern could take too long.
        """
        for piece in _PIECE.finditer(self._pattern):
            self._atom(piece.start(), piece[1])
            if piece[2]:
                self._quantified(piece.start(2), piece[2])

    def _atom(self, index: int, atom: str) -> None:
        if atom == ")":
            self._closed = self._groups.pop()
            self._groups[-1].varies |= self._closed.varies
            self._groups[-1].chooses |= self._closed.chooses
            return
        self._closed = None
        if atom[0] == "(":
            self._groups.append(_Group())
        elif atom == "|" and len(self._groups) == 1:
            self._counts = dict.fromkeys(self._counts, 0)
        elif atom == "|" and not self._groups[-1].chooses:
            self._groups[-1].chooses = True
            self._count(index, "groups with alternatives", MOST_CHOICES)

    def _quantified(self, index: int, quantifier: str) -> None:
        counts = [int(count) for count in _COUNTS.findall(quantifier)]
        if counts and max(counts) > MOST_TIMES:
            raise _Refused(index, f"a repetition of more than {MOST_TIMES} times; use '*' or '+'")
        if quantifier[0] == "?":
            self._count(index, "optional pieces", MOST_OPTIONAL)
            self._groups[-1].varies = True
            return
        if self._closed is not None and (self._closed.varies or self._closed.chooses):
            raise _Refused(
                index,
                "a repeated group that holds a repetition, '?' or '|' can take for ever; write it without",
            )
        if quantifier[0] in "*+" or "," in quantifier:
            self._count(index, "repetitions", MOST_REPETITIONS)
            self._groups[-1].varies = True

    def _count(self, index: int, what: str, most: int) -> None:
        self._counts[what] += 1
        if self._counts[what] > most:
            raise _Refused(index, f"more than {most} {what} can take for ever; write two rules")
