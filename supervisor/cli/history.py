"""What was typed into the interactive shell before: a file of lines in the user's state directory, theirs alone.

Owns the file: its place, its mode, its length. A line is appended as soon as it was typed, so that two shells at once,
and one that is killed, lose nothing. Refuses to know the keyboard.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_LINES: Final = 1000
"""Lines that are kept; the file has up to twice as many."""

MOST_CHARACTERS: Final = 4096
"""Of a line; a longer one was pasted by mistake, and is not kept."""


def history_path() -> Path:
    """Return where the history of this user is: below ``XDG_STATE_HOME``, or ``~/.local/state``.

    Raises:
        RuntimeError: The user has no home.
    """
    state = os.environ.get("XDG_STATE_HOME", "")
    place = Path(state) if Path(state).is_absolute() else Path.home() / ".local" / "state"
    return place / "milestoned" / "history"


@attrs.frozen
class History:
    """The file of lines.

    Args:
        path: Of the file; made with its directory when the first line is added.
    """

    path: Path

    def lines(self) -> list[str]:
        """Return the latest lines, the oldest first; none where there is no file.

        Raises:
            OSError: It cannot be read.
        """
        try:
            with _opened(self.path, os.O_RDONLY) as descriptor, open(descriptor, "rb", closefd=False) as file:
                found = file.read().decode("utf-8", "surrogateescape").split("\n")
        except FileNotFoundError:
            return []
        kept = [line for line in found if line]
        if len(kept) > 2 * MOST_LINES:
            self._write(kept[-MOST_LINES:])
        return kept[-MOST_LINES:]

    def add(self, line: str) -> None:
        """Append a line; one that is too long, or begins with a space, is not for keeping.

        Raises:
            OSError: It cannot be written.
        """
        if len(line) > MOST_CHARACTERS or not line.strip() or line[0].isspace():
            return
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        data = (line.replace("\n", " ") + "\n").encode("utf-8", "surrogateescape")
        with _opened(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT) as descriptor:
            os.write(descriptor, data)

    def _write(self, lines: list[str]) -> None:
        """Have these lines and no others."""
        aside = self.path.with_name(f"{self.path.name}.{os.getpid()}")
        try:
            with _opened(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL) as descriptor:
                data = "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape")
                while data:
                    data = data[os.write(descriptor, data) :]
            aside.replace(self.path)
        finally:
            aside.unlink(missing_ok=True)


@contextlib.contextmanager
def _opened(path: Path, flags: int) -> Iterator[int]:
    """Open a regular file, no other one and not by a link, for its owner alone."""
    descriptor = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "is no regular file", str(path))
        if stat.S_IMODE(found.st_mode) != 0o600:  # noqa: PLR2004 - the mode of a private file
            os.fchmod(descriptor, 0o600)
        yield descriptor
    finally:
        os.close(descriptor)
