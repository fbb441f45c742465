"""Output of programs made safe for a terminal: colours pass, whatever else has power over it is shown escaped.

Text comes in pieces, so a sequence that a piece cuts in two is kept until its rest is there. Pure.
"""

from __future__ import annotations

import codecs
import re
from typing import Final

_PASSING: Final = re.compile(r"(\x1b\[[0-9;:]*m|\r\n)")
_UNSURE: Final = re.compile(r"(?:\x1b(?:\[[0-9;:]{0,64})?|\r)\Z")
_POWERFUL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_RESETS: Final = frozenset({"\x1b[m", "\x1b[0m"})


class TerminalText:
    """What one program printed, piece by piece.

    Args:
        colours: Whether colours pass; without they are left out.
    """

    def __init__(self, *, colours: bool = True) -> None:
        self._colours = colours
        self._decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
        self._held = ""
        self._coloured = False

    def feed(self, data: bytes) -> str:
        """Return what can be shown now that this was printed too."""
        text = self._held + self._decoder.decode(data)
        unsure = _UNSURE.search(text)
        border = unsure.start() if unsure else len(text)
        self._held = text[border:]
        return self._safe(text[:border])

    def finish(self) -> str:
        """Return the rest, and what takes a colour back that was left on."""
        text = self._held + self._decoder.decode(b"", final=True)
        self._held = ""
        safe = self._safe(text)
        return safe + "\x1b[0m" if self._coloured else safe

    def _safe(self, text: str) -> str:
        return "".join(map(self._part, _PASSING.split(text)))

    def _part(self, part: str) -> str:
        if part == "\r\n":
            return part
        if _PASSING.fullmatch(part):
            self._coloured = self._colours and part not in _RESETS
            return part if self._colours else ""
        return _POWERFUL.sub(lambda found: ascii(found[0])[1:-1], part)
