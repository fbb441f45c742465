"""The end of a file that may grow, be cut, or be put aside while it is read.

Owns where reading goes on. Refuses to know what the bytes are and where they go.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BLOCK: Final = 1 << 16
_FLAGS: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


class LogFile:
    """A file that is read from near its end. It need not exist yet.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self.path: Final = path
        self._file = -1
        self._at = 0
        self._open()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; closing twice does nothing."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    @property
    def exists(self) -> bool:
        """Whether there was a file so far."""
        return self._file >= 0

    def skip_to_last_lines(self, count: int) -> None:
        """Go on reading with the last lines; an unfinished one counts as a line."""
        end = self._at = self._size()
        missing = count
        while self._at > 0 and missing:
            start = max(0, self._at - BLOCK)
            block = os.pread(self._file, self._at - start, start)
            border = len(block) - 1 if self._at == end and block.endswith(b"\n") else len(block)
            while missing and (border := block.rfind(b"\n", 0, border)) >= 0:
                missing -= 1
            if not missing:
                self._at = start + border + 1
                return
            self._at = start

    def skip_to_last_bytes(self, count: int) -> None:
        """Go on reading with the last bytes."""
        self._at = max(0, self._size() - count)

    def more(self) -> Iterator[bytes]:
        """Yield what is there and was not read yet, in pieces.

        A file that became shorter is read from its beginning, and so is another one in its place, after the rest of
        the former one.

        Raises:
            OSError: It cannot be read.
        """
        if self._file < 0:
            self._open()
        if self._file < 0:
            return
        if self._size() < self._at:
            self._at = 0
        yield from self._rest()
        if self._is_replaced():
            yield from self._rest()  # written between our reading and its being put aside
            self.close()
            self._at = 0
            self._open()
            if self._file >= 0:
                yield from self._rest()

    def _rest(self) -> Iterator[bytes]:
        while piece := os.pread(self._file, BLOCK, self._at):
            self._at += len(piece)
            yield piece

    def _open(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._file = os.open(self.path, _FLAGS)

    def _size(self) -> int:
        return os.fstat(self._file).st_size if self._file >= 0 else 0

    def _is_replaced(self) -> bool:
        try:
            return not os.path.samestat(self.path.lstat(), os.fstat(self._file))
        except FileNotFoundError:
            return False
