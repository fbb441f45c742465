"""The line by which a program says that it is ready: an expression, and the search for it in what is printed.

The search is bounded: each byte is looked at once, a line that is longer than :data:`LONGEST_LINE` is searched up to
there, and nothing is kept but the line that is incomplete. Owns that. Refuses to know where the output comes from, and
where it goes.
"""

from __future__ import annotations

import re
from typing import Final

LONGEST_LINE: Final = 4096
"""Bytes of a line that are searched; what follows in it is passed over."""


def fault_of(expression: str) -> str:
    """Return what is wrong with a regular expression, ``""`` when nothing is."""
    try:
        re.compile(expression)
    except (re.error, OverflowError, RecursionError) as error:
        return str(error) or type(error).__name__
    return ""


class LineFinder:
    """Looks for the first line that an expression is found in; for one stream of output.

    Args:
        expression: Regular expression, searched for in each line without its line break.
    """

    def __init__(self, expression: str) -> None:
        self._expression = re.compile(expression)
        self._line = bytearray()
        self._passing_over = False

    def feed(self, data: bytes) -> object:
        """Take in what was printed.

        Returns:
            ``None`` as long as the line has not come; then the named groups of the expression by their names or, where
            it has none, the line.
        """
        *complete, rest = data.split(b"\n")
        for part in complete:
            found = self._take(part, ended=True)
            if found is not None:
                return found
        return self._take(rest, ended=False)

    def _take(self, part: bytes, *, ended: bool) -> object:
        if self._passing_over:
            self._passing_over = not ended
            return None
        self._line += part[: LONGEST_LINE - len(self._line)]
        full = len(self._line) == LONGEST_LINE
        if not ended and not full:
            return None
        self._passing_over = not ended
        found = self._search()
        self._line.clear()
        return found

    def _search(self) -> object:
        line = self._line.decode(errors="replace").removesuffix("\r")
        match = self._expression.search(line)
        return None if match is None else match.groupdict() or line
