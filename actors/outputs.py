"""What the output of an attempt says: cut into lines, cleaned for people, searched by the rules.

Output is bytes of any kind and any amount. A line is searched up to :data:`MOST_CHARACTERS`, what is no UTF-8
is shown as its bytes, and whatever moves a cursor or colours a terminal is taken out before it can become
evidence. The values of secrets never get into evidence, not even the first half of one at the end of a line
that was cut.

Owns lines, matches and evidence. Refuses to open files and to decide what a match amounts to.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from typing import Final

import attrs

from actors.headlines import SPEAKING, headline, is_hollow
from actors.patterns import needles
from actors.rules import Rule
from actors.veil import Veil

MOST_CHARACTERS: Final = 500
"""Characters of a line that are searched."""

MOST_BYTES: Final = 4 * MOST_CHARACTERS
"""Bytes of a line that are looked at."""

MOST_EVIDENCE: Final = 240
"""Characters of a line that are shown."""

MOST_MATCHES: Final = 3
"""Rules that may match in the output of one attempt; more say the same again."""

SHOWN_LINES: Final = 5
"""Lines of evidence."""

_HEADER: Final = re.compile(rb"\$ (?:run|agent|verify \d+): ")
"""How the runner announces a step in the log: the command that follows is nothing that anybody printed."""

_ESCAPES: Final = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|.)")
_CONTROLS: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")

_CONTINUATION: Final = bytes(range(0x80, 0xC0))
_UNFINISHED: Final = re.compile(rb"[\xc0-\xff][\x80-\xbf]{0,2}\Z")
"""What may be the beginning of a character, at the end of what was cut."""


@attrs.frozen
class Match:
    """A line that a rule explains.

    Attributes:
        rule: The rule.
        attempt: Whose output it is.
        line: Its number from 1; 0 when output before it was skipped.
        text: The line, clean.
    """

    rule: Rule
    attempt: str
    line: int
    text: str

    def __str__(self) -> str:
        place = f", line {self.line}" if self.line else ""
        return f"{self.rule.category}: {self.text} ({self.attempt}.log{place}; rule {self.rule.id})"


def clean(line: str) -> str:
    """Return a line without escape sequences and control characters, as it was last overwritten."""
    line = _ESCAPES.sub("", line).rstrip("\r")
    return _CONTROLS.sub("", line[line.rfind("\r") + 1 :].replace("\t", " "))


def shorten(line: str, most: int = MOST_EVIDENCE) -> str:
    """Return a line of at most so many characters."""
    return line if len(line) <= most else line[: most - 3] + "..."


class RuleBook:
    """Rules in the form in which they are applied: with the texts that rule them out for whole blocks."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.rules: Final = tuple(rules)
        self._entries: Final = [(rule, rule.regex, needles(rule.pattern)) for rule in rules]

    def explain(self, lines: Sequence[str], *, but: Collection[str] = ()) -> list[tuple[int, Rule]]:
        """Return the index of each line that a rule explains, with the first such rule.

        Args:
            lines: Clean lines of at most :data:`MOST_CHARACTERS`.
            but: Ids of rules that need not be looked for any more.
        """
        block = "\n".join(lines).lower()
        candidates = [
            (rule, regex) for rule, regex, texts in self._entries if not texts or any(text in block for text in texts)
        ]
        found: list[tuple[int, Rule]] = []
        done = set(but)
        for index, line in enumerate(lines if candidates else ()):
            first = next((rule for rule, regex in candidates if regex.search(line)), None)
            if first is not None and first.id not in done:
                done.add(first.id)
                found.append((index, first))
        return found


class Output:
    """The output of one attempt, read from its beginning or from somewhere near its end.

    Attributes:
        attempt: Attempt id.
        task: Task id.
        offset: Bytes taken in, or skipped.
        matches: What was found, in the order of the output; at most :data:`MOST_MATCHES`.
    """

    def __init__(self, attempt: str, task: str) -> None:
        self.attempt: Final = attempt
        self.task: Final = task
        self.offset = 0
        self.matches: list[Match] = []
        self._rest = b""
        self._line = 1
        self._numbered = True
        self._is_inside = False

    def skip_to(self, offset: int) -> None:
        """Go on at another place: there is more output than can be read."""
        self.offset, self._rest, self._numbered, self._is_inside = offset, b"", False, True

    def feed(self, data: bytes, book: RuleBook, veil: Veil, *, is_last: bool = False) -> list[Match]:
        """Take in bytes at :attr:`offset` and search the lines that they complete.

        Args:
            data: The bytes.
            book: The rules.
            veil: The secrets.
            is_last: Whether nothing follows, so that the last line is complete without a line break.

        Returns:
            The new matches.
        """
        self.offset += len(data)
        if self._is_inside:  # a line of which the beginning was skipped may begin with half of a secret
            _, line_end, data = data.partition(b"\n")
            self._is_inside = not line_end
        pieces = (self._rest + data).split(b"\n")
        # Of a line without end only the beginning is kept: nothing behind it would be searched anyway.
        self._rest = b"" if is_last else pieces.pop()[:MOST_BYTES]
        lines = _decoded(pieces)
        known = {match.rule.id for match in self.matches}
        found = [
            Match(rule, self.attempt, self._line + at if self._numbered else 0, _shown(lines[at], pieces[at], veil))
            for at, rule in book.explain(lines, but=known)
        ]
        self._line += len(pieces)
        found = found[: MOST_MATCHES - len(self.matches)]
        self.matches += found
        return found


@attrs.frozen
class Tail:
    """The end of an output, as far as it is worth showing.

    Attributes:
        lines: Clean lines, at most :data:`SHOWN_LINES`.
        headline: The one of them that says most, ``""`` without any.
    """

    lines: tuple[str, ...] = ()
    headline: str = ""


def telling_lines(data: bytes, veil: Veil, *, is_cut: bool = False) -> Tail:
    """Return the lines at the end of an output that say most about why it ended.

    Only those of the last step are looked at: the steps before it went well, whatever they printed.

    Args:
        data: The end of the output.
        veil: The secrets.
        is_cut: Whether there is more before it, so that it begins in the middle of a line.
    """
    pieces = data.split(b"\n")
    begin = max((index for index, piece in enumerate(pieces) if _HEADER.match(piece)), default=-1) + 1
    first = pieces[0] = pieces[0].lstrip(_CONTINUATION) if is_cut and begin == 0 else pieces[0]
    pieces = [piece for piece in pieces[begin:] if _line(piece).strip()]
    lines = [_line(piece) for piece in pieces]
    if is_cut and lines and pieces[0] is first:
        lines[0] = veil.hide_rest(lines[0])
    best = headline(lines)
    if best is None:
        return Tail()
    telling = [index for index, line in enumerate(lines) if SPEAKING.search(line) and not is_hollow(line)]
    chosen = dict.fromkeys((best, *telling[: -SHOWN_LINES + 1 : -1], *range(len(lines) - 1, -1, -1)))
    said = {index: _shown(lines[index], pieces[index], veil) for index in sorted(list(chosen)[:SHOWN_LINES])}
    return Tail(tuple(said.values()), said[best])


def _decoded(pieces: Iterable[bytes]) -> list[str]:
    return ["" if _HEADER.match(piece) else _line(piece) for piece in pieces]


def _line(piece: bytes) -> str:
    # Four bytes are the most that a character has: cutting before decoding keeps huge lines cheap.
    if len(piece) >= MOST_BYTES:
        piece = _UNFINISHED.sub(b"", piece[:MOST_BYTES])
    return clean(piece.decode(errors="backslashreplace"))[:MOST_CHARACTERS]


def _shown(line: str, piece: bytes, veil: Veil) -> str:
    """Return a line as evidence; with the bytes that it was made of, which tell whether it was cut."""
    was_cut = len(piece) >= MOST_BYTES or len(line) >= MOST_CHARACTERS
    return shorten(veil.hide(line.strip(), was_cut=was_cut))
