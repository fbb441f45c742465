"""A role's log of a session: one JSON object a line, rebuilt from the journal whenever it is behind.

Each role writes one file, and nobody else writes it. Lines go out in order of ``seq`` and none twice: after a
crash the file says how far it came (:meth:`Jsonl.last_seq`), a torn last line is cut off, and the journal has
the rest. Nothing here is synced, because nothing here is the only copy.

Owns the files. Refuses to know what stands in a line (:mod:`actors.log_lines`) and who delivers the records.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final, Self

import attrs
import msgspec

from actors.failpoints import at
from actors.log_lines import KINDS, holds, line_for, lines_of
from actors.paths import ProjectPaths

__all__ = ["KINDS", "Jsonl", "holds", "last_seq_in", "line_for", "lines_of"]

_APPENDING: Final = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
_FIRST_BLOCK: Final = 4 * 1024
_BLOCK: Final = 64 * 1024


@attrs.frozen
class _Line:
    seq: int


_LINE: Final = msgspec.json.Decoder(_Line)


class Jsonl:
    """A role's file, open for appending. Belongs to the one process that has the role.

    Args:
        path: The file; its directory is made when it is missing.

    Raises:
        OSError: It cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path: Final = path
        try:
            self._file = os.open(path, _APPENDING, 0o600)
        except FileNotFoundError:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file = os.open(path, _APPENDING, 0o600)
        self._last, whole = _tail(self._file)
        if whole < os.fstat(self._file).st_size:
            os.ftruncate(self._file, whole)

    @classmethod
    def of_role(cls, project: str, session: str, role: str) -> Self:
        """Open the file of a role in a session of the project in a directory."""
        return cls(ProjectPaths(Path(project)).jsonl(session, role))

    def last_seq(self) -> int:
        """Return the seq of the last whole line; 0 for none."""
        return self._last

    def append(self, lines: Iterable[tuple[int, bytes]]) -> int:
        """Write lines in one go, without those that the file has already.

        Args:
            lines: Seq and line, in order of seq.

        Returns:
            How many were written.

        Raises:
            OSError: They could not all be written; then none of them was.
        """
        fresh: list[bytes] = []
        last = self._last
        for seq, line in lines:
            if seq > last:
                fresh.append(line)
                last = seq
        if fresh:
            at("log.appending")
            self._write(b"".join(fresh))
            self._last = last
        return len(fresh)

    def _write(self, data: bytes) -> None:
        before = os.fstat(self._file).st_size
        written = 0
        try:
            while written < len(data):
                count = os.write(self._file, data[written:])
                written += count
        except OSError:
            # A disk that fills up takes a part first: a torn line must not stand before the next one.
            os.ftruncate(self._file, before)
            raise

    def close(self) -> None:
        """Close the file; closing twice does nothing."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def last_seq_in(path: Path) -> int:
    """Return the seq of the last whole line of a role's file, which is left as it is; 0 for none.

    Raises:
        OSError: It cannot be read.
    """
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return 0
    try:
        return _tail(file)[0]
    finally:
        os.close(file)


def _tail(file: int) -> tuple[int, int]:
    """Return the seq of the last line that has one, and where the file's whole lines end."""
    end = os.fstat(file).st_size
    rest = b""
    whole = -1
    block = _FIRST_BLOCK  # as a rule that is enough, and memory that is not touched costs a restart nothing
    while end > 0:
        start, block = max(0, end - block), _BLOCK
        rest = os.pread(file, end - start, start) + rest
        if whole < 0 and (found := rest.rfind(b"\n")) >= 0:
            whole = start + found + 1
            rest = rest[: found + 1]
        if whole >= 0:
            # The first piece is cut off unless the block begins with the file: keep it for the block before.
            first = 0 if start == 0 else rest.find(b"\n") + 1
            for line in reversed(rest[first:].splitlines()):
                try:
                    return _LINE.decode(line).seq, whole
                except msgspec.MsgspecError:
                    continue
            rest = rest[:first]
        end = start
    return 0, max(whole, 0)
