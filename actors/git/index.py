"""An index becomes trees without a program.

Owns the reading of git's index (version 2: entries in the order of their paths, then a cache of the trees
that are known to exist) and the making of the trees that the cache does not know. What is stored otherwise,
what cannot be a tree, and what would take long is answered with ``None``: then git is asked. Refuses to know
what the index is for.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import attrs

from actors.digests import sha1
from actors.git.objects import loose_object

_HEAD: Final = struct.Struct(">4sII")  # signature, version, number of entries
_FLAGS: Final = struct.Struct(">H")
_MODE: Final = struct.Struct(">I")
_EXTENSION: Final = struct.Struct(">4sI")  # name, size
_MODE_AT, _NAME_OF_OBJECT_AT, _FLAGS_AT, _PATH_AT = 24, 40, 60, 62
_STAGE_OR_EXTENDED: Final = 0x7000
_LENGTH: Final = 0x0FFF
_HASH: Final = 20
_NOT_HASHED: Final = bytes(_HASH)
_LARGEST: Final = 1 << 18
_MOST_TREES: Final = 32


class _ForGit(Exception):  # noqa: N818 - no error: git knows more
    """The index is not of the simple kind."""


@attrs.frozen
class Trees:
    """The content of an index as trees.

    Attributes:
        top: Name of the tree of all.
        made: The trees that were not known to exist, as (name, loose object), inner ones first.
    """

    top: str
    made: tuple[tuple[str, bytes], ...]


@attrs.frozen
class _Cached:
    """What the index knows of a folder's tree.

    Attributes:
        entries: How many entries are below it; -1 when they changed since.
        name: Of the tree, as bytes.
        below: The folders in it.
    """

    entries: int = -1
    name: bytes = b""
    below: dict[bytes, _Cached] = attrs.Factory(dict)


def count_entries(index: str) -> int | None:
    """Return how many entries an index has, each one file; ``None`` for what is no index."""
    with Path(index).open("rb") as file:
        head = file.read(_HEAD.size)
    if len(head) < _HEAD.size:
        return None
    signature, _, entries = _HEAD.unpack(head)
    return int(entries) if signature == b"DIRC" else None


def trees_of(index: str) -> Trees | None:
    """Return the trees that ``git write-tree`` would make of an index, or ``None``: then git is asked."""
    file = Path(index)
    try:
        if file.stat().st_size > _LARGEST:
            return None
        raw = file.read_bytes()
        body, checksum = raw[:-_HASH], raw[-_HASH:]
        if checksum not in {_NOT_HASHED, sha1(body).digest()}:
            return None
        return _Builder(body).build()
    except (OSError, ValueError, IndexError, struct.error, _ForGit):
        return None


class _Builder:
    """Makes the trees of one index.

    Args:
        body: The index without its checksum.

    Raises:
        _ForGit: It is not of the simple kind.
    """

    def __init__(self, body: bytes) -> None:
        self._body = body
        signature, version, entries = _HEAD.unpack_from(body)
        if (signature, version) != (b"DIRC", 2):
            raise _ForGit
        self._starts, end = _starts(body, entries)
        self._cached = _Cached()
        for name, content in _extensions(body, end):
            if name == b"TREE":
                self._cached, _, _ = _cached_tree(content, 0)
            elif not name[:1].isupper():
                raise _ForGit
        self._made: list[tuple[str, bytes]] = []

    def build(self) -> Trees:
        """Return the trees."""
        if self._cached.entries >= 0:
            return Trees(self._cached.name.hex(), ())
        top, end = self._tree(self._cached, b"", 0)
        if end != len(self._starts):
            raise _ForGit
        return Trees(top.hex(), tuple(self._made))

    def _tree(self, cached: _Cached, prefix: bytes, number: int) -> tuple[bytes, int]:
        """Make the tree of the folder whose first entry is that; return its name and the entry after it."""
        content: list[bytes] = []
        while number < len(self._starts):
            path, mode, name = self._entry(number)
            if not path.startswith(prefix):
                break
            here, folder, _ = path[len(prefix) :].partition(b"/")
            if folder:
                known = cached.below.get(here, _Cached())
                mode = b"40000"
                if known.entries > 0:
                    name, number = known.name, number + known.entries
                else:
                    name, number = self._tree(known, prefix + here + b"/", number)
            else:
                number += 1
            content.append(b"%b %b\0%b" % (mode, here, name))
        made, whole = loose_object("tree", b"".join(content))
        self._made.append((made, whole))
        if len(self._made) > _MOST_TREES:
            raise _ForGit
        return bytes.fromhex(made), number

    def _entry(self, number: int) -> tuple[bytes, bytes, bytes]:
        at = self._starts[number]
        body = self._body
        path = body[at + _PATH_AT : body.index(b"\0", at + _PATH_AT)]
        (mode,) = _MODE.unpack_from(body, at + _MODE_AT)
        return path, b"%o" % mode, body[at + _NAME_OF_OBJECT_AT : at + _FLAGS_AT]


def _starts(body: bytes, entries: int) -> tuple[list[int], int]:
    """Return where each entry starts and where the last one ends."""
    starts, at = [], _HEAD.size
    flags_of = _FLAGS.unpack_from
    for _ in range(entries):
        (flags,) = flags_of(body, at + _FLAGS_AT)
        length = flags & _LENGTH
        if flags & _STAGE_OR_EXTENDED or length == _LENGTH:
            raise _ForGit
        starts.append(at)
        # An entry ends with one to eight NULs, at a multiple of eight.
        at += (_PATH_AT + length + 8) & ~7
    return starts, at


def _extensions(body: bytes, at: int) -> Iterator[tuple[bytes, bytes]]:
    while at < len(body):
        name, size = _EXTENSION.unpack_from(body, at)
        at += _EXTENSION.size
        yield name, body[at : at + size]
        at += size


def _cached_tree(content: bytes, at: int) -> tuple[_Cached, bytes, int]:
    """Read a folder: ``<name> NUL <entries> SP <folders> LF``, its tree if that is known, its folders."""
    name_end = content.index(b"\0", at)
    line_end = content.index(b"\n", name_end)
    entries, folders = map(int, content[name_end + 1 : line_end].split(b" "))
    name, at = content[at:name_end], line_end + 1
    tree = b""
    if entries >= 0:
        tree, at = content[at : at + _HASH], at + _HASH
    below = {}
    for _ in range(folders):
        inner, inner_name, at = _cached_tree(content, at)
        below[inner_name] = inner
    return _Cached(entries, tree, below), name, at
