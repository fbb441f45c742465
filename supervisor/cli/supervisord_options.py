"""The values of a section of supervisord, each of its kind, as supervisord reads them.

Owns kinds: texts, whole numbers, flags, signals, names, files for what is printed. Refuses to know what becomes of
them.
"""

from __future__ import annotations

import os
import signal
from typing import Final, NoReturn

from actors.problems import Problem
from supervisor.cli.foreign import ForeignError
from supervisor.cli.supervisord_conf import Section, expanded, pairs

TRUE: Final = frozenset({"true", "on", "yes", "1"})
FALSE: Final = frozenset({"false", "off", "no", "0"})
NOWHERE: Final = frozenset({"none", "off"})
"""Files for what a program prints that stand for none."""

DEFAULT: Final = frozenset({"", "auto"})
"""Those that stand for one that supervisord makes."""

STREAMS: Final = {f"/{place}{name}" for place in ("dev/fd/", "proc/self/fd/") for name in "12"} | {
    "/dev/stdout",
    "/dev/stderr",
}
_MOST: Final = 10**15
"""Of a whole number: it is computed with as a float."""


def checked_name(section: Section, name: str) -> str:
    """Return the name of a program or group, as supervisord takes it.

    Raises:
        ForeignError: It holds what a name may not hold.
    """
    name = name.strip()
    if not name or any(character in name for character in " :/"):
        message = f"[{section.name}]: the name {name!r} must hold no blank, colon or slash"
        raise ForeignError([Problem(section.path, section.line, 1, message)])
    return name


class Options:
    """The values of a section, of their kinds; one that is wrong is refused with :class:`ForeignError`, in its line.

    Args:
        section: The section.
        expansions: What may stand in its values.
    """

    def __init__(self, section: Section, expansions: dict[str, object]) -> None:
        self.section = section
        self.expansions = expansions

    def line(self) -> tuple[str, int]:
        """Return where the section begins."""
        return self.section.path, self.section.line

    def text(self, name: str, default: str = "") -> str:
        """Return a text, expanded."""
        value = self.section.values.get(name)
        return default if value is None else expanded(value, self.expansions)

    def pairs(self, name: str) -> dict[str, str]:
        """Return the variables of a list; none where there is no such option."""
        value = self.section.values.get(name)
        return {} if value is None else pairs(value, expanded(value, self.expansions))

    def file(self, name: str, directory: str | None) -> str | None:
        """Return the path of a file for what is printed; ``None`` for standard error of who supervises.

        Args:
            name: Of the option.
            directory: Where a relative path begins; ``None`` for where the supervising process stands.
        """
        path = self.text(name)
        if path.lower() in NOWHERE:
            return os.devnull
        if path.lower() in DEFAULT | {"syslog"} or path in STREAMS:
            return None
        return os.path.join(directory or "", os.path.expanduser(path))  # noqa: PTH111, PTH118 - stays as it is written

    def whole(self, name: str, default: int) -> int:
        """Return a whole number."""
        return self._number(name, self.text(name, str(default)))

    def codes(self) -> list[int]:
        """Return ``exitcodes``."""
        text = self.text("exitcodes", "0")
        codes = [self._number("exitcodes", word) for word in text.split(",")] if text else []
        if any(not 0 <= code <= 255 for code in codes):  # noqa: PLR2004 - a byte
            self.refuse("exitcodes", "must be numbers 0 to 255")
        return codes

    def _number(self, name: str, word: str) -> int:
        try:
            number = int(word)
        except ValueError:
            self.refuse(name, f"must be a whole number: {word!r}")
        if abs(number) > _MOST:
            self.refuse(name, f"must be at most {_MOST:,}")
        return number

    def flag(self, name: str, *, yes: bool) -> bool:
        """Tell what a flag is; where there is none, whether it is one by default."""
        word = self.text(name, "true" if yes else "false").lower()
        if word not in TRUE | FALSE:
            self.refuse(name, f"must be true or false: {word!r}")
        return word in TRUE

    def restart(self) -> str:
        """Return ``autorestart``: true, false or unexpected."""
        word = self.text("autorestart", "unexpected").lower()
        return word if word == "unexpected" else str(self.flag("autorestart", yes=True)).lower()

    def signal(self) -> signal.Signals:
        """Return ``stopsignal``."""
        word = self.text("stopsignal", "TERM").upper()
        try:
            if word.isdecimal():
                return signal.Signals(int(word))
            return signal.Signals[word if word.startswith("SIG") else f"SIG{word}"]
        except (KeyError, ValueError):
            self.refuse("stopsignal", f"is no signal: {word!r}")

    def refuse(self, name: str, why: str) -> NoReturn:
        """Raise a problem with an option."""
        value = self.section.values.get(name)
        path, line = self.line() if value is None else (value.path, value.line)
        raise ForeignError([Problem(path, line, 1, f"[{self.section.name}]: {name} {why}")])
