"""The file that fork server and children print to: a crash's last words as a rule, and never more than so much.

Children write to it directly, so nothing that they print can block them. Because all of them append, it can be cut
under their hands: when it has grown beyond its bound, its end is kept and the rest given up. Between two looks it may
grow beyond that, by as much as the disk takes meanwhile; and what is printed in the very moment of cutting is lost.

Owns the file and its bound. Refuses to read what stands in it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

MOST_BYTES: Final = 8 * 1024**2
"""Size beyond which it is cut."""

_KEPT_SHARE: Final = 8
"""The part of the bound that is kept, one in so many."""


class Printout:
    """The file, open as long as this object.

    Args:
        path: Where; made if it is not there, readable by its owner alone.
        most: Bytes beyond which it is cut.

    Raises:
        OSError: It cannot be opened.
    """

    def __init__(self, path: Path, most: int = MOST_BYTES) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        self.descriptor = os.open(path, flags, 0o600)
        self._most = most

    def is_empty(self) -> bool:
        """Tell whether nothing was printed so far."""
        return os.fstat(self.descriptor).st_size == 0

    def cut(self) -> int:
        """Cut the file if it has grown beyond its bound; return how many bytes were given up.

        Raises:
            OSError: The system refuses it.
        """
        size = os.fstat(self.descriptor).st_size
        if size <= self._most:
            return 0
        kept = os.pread(self.descriptor, self._most // _KEPT_SHARE, size - self._most // _KEPT_SHARE)
        kept = kept.partition(b"\n")[2] or kept
        os.ftruncate(self.descriptor, 0)
        given_up = size - len(kept)
        os.write(self.descriptor, b"milestoned: %d bytes were left out here\n" % given_up + kept)
        return given_up

    def close(self) -> None:
        """Close it; the descriptor must not be used any more."""
        os.close(self.descriptor)
