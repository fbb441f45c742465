"""Loose objects, read and written without a program.

Owns the oldest and simplest of git's formats: a file per object, ``<kind> <size> NUL <content>`` deflated,
named by the hash of what was deflated. Whatever is stored otherwise (packs, alternates, SHA-256, a file that
is damaged) is answered with ``None``: then git is asked. Refuses to know what the objects are for.

The rule that keeps a redo safe: an object gets its name only after its content is on the disk. git takes a
file with the name for the object, even if a power cut left the file empty.
"""

from __future__ import annotations

import os
import re
import stat
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import attrs

from actors.digests import sha1
from actors.failpoints import at

FOLDER: Final = b"040000"
GITLINK: Final = b"160000"
NOTHING: Final = b"000000"
"""The mode of a side on which there is no entry."""

_SHA1: Final = re.compile(r"[0-9a-f]{40}")
_SHA1_BYTES: Final = 20
_TREE_LINE: Final = re.compile(rb"tree ([0-9a-f]{40})\n")
# git cuts some characters off the ends of names, and others out of them.
_CLEAN_NAME: Final = re.compile(r"""[^\0-\x20.,:;<>"\\'](?:[^\0-\x1f<>]*[^\0-\x20.,:;<>"\\'])?""")
# What git does not take for UTF-8: it would read the whole commit as Latin-1.
_NO_CHARACTERS: Final = "".join(chr(plane << 16 | last) for plane in range(17) for last in (0xFFFE, 0xFFFF))
_NOT_TEXT: Final = re.compile(f"[\0\ud800-\udfff\ufdd0-\ufdef{_NO_CHARACTERS}]")
_SHORTEST_DATE: Final = 100_000_000
"""git reads fewer digits as a day or a year."""

_PREFIX: Final = "tmp_obj_"  # git's own: `git gc` removes what a kill leaves
_RANDOM_BYTES: Final = 8
_LEVEL: Final = zlib.Z_BEST_SPEED  # as git


@attrs.frozen
class Change:
    """An entry that differs between two trees.

    Attributes:
        old_mode: Mode before, :data:`NOTHING` when there was none.
        new_mode: Mode after, :data:`NOTHING` when there is none.
        name: Name of the object after, ``""`` when there is none.
        path: From the top.
    """

    old_mode: bytes
    new_mode: bytes
    name: str
    path: bytes


class _NotLoose(Exception):  # noqa: N818 - no error: git has it in another form
    """An object has no sound file of its own, or reading on would take long."""


@attrs.define
class _Reader:
    """Reads loose objects, as many as take a few milliseconds.

    Attributes:
        common_dir: The git directory.
        files: How many more files may be read.
        size: How many more bytes may be read.
    """

    common_dir: str
    files: int = 100
    size: int = 1 << 20

    def tree_of(self, name: str) -> str:
        """Return the tree of a commit; a tree is its own."""
        kind, content = self._read(name)
        found = _TREE_LINE.match(content)
        return found[1].decode() if kind == b"commit" and found else name

    def tree(self, name: str) -> bytes:
        """Return the content of a tree."""
        kind, content = self._read(name)
        if kind != b"tree":
            raise _NotLoose
        return content

    def _read(self, name: str) -> tuple[bytes, bytes]:
        file = Path(self.common_dir, "objects", name[:2], name[2:])
        try:
            self.size -= file.stat().st_size
            self.files -= 1
            if self.size < 0 or self.files < 0:
                raise _NotLoose
            raw = zlib.decompress(file.read_bytes())
        except (OSError, zlib.error) as error:
            raise _NotLoose from error
        header, _, content = raw.partition(b"\0")
        kind, _, size = header.partition(b" ")
        if size != b"%d" % len(content):
            raise _NotLoose
        return kind, content


@attrs.frozen
class _Entry:
    mode: bytes
    name: str


_NO_ENTRY: Final = _Entry(NOTHING, "")


def commit_content(tree: str, parent: str, message: str, *, when: int, name: str, email: str) -> bytes | None:
    """Return the commit that ``git commit-tree`` would make, byte for byte; pure.

    ``None`` where git would alter, guess or refuse something, or store it in another way: that is git's.
    """
    if not is_sha1(tree) or not is_sha1(parent) or when < _SHORTEST_DATE:
        return None
    if not is_clean(name) or not is_clean(email) or _NOT_TEXT.search(message):
        return None
    who = f"{name} <{email}> {when} +0000"
    return f"tree {tree}\nparent {parent}\nauthor {who}\ncommitter {who}\n\n{message}".encode()


def is_sha1(name: str) -> bool:
    """Whether it is the full name of an object in a SHA-1 repository."""
    return _SHA1.fullmatch(name) is not None


def is_clean(name: str) -> bool:
    """Whether git stores a person's name or address as it is given."""
    return _CLEAN_NAME.fullmatch(name) is not None and _NOT_TEXT.search(name) is None


def loose_object(kind: str, content: bytes) -> tuple[str, bytes]:
    """Return the name of an object and what its file holds before it is deflated; pure."""
    whole = b"%b %d\0%b" % (kind.encode(), len(content), content)
    return sha1(whole).hexdigest(), whole


def write_objects(common_dir: str, objects: Sequence[tuple[str, bytes]]) -> None:
    """Store objects; their content is on the disk then, the folders' lists not yet.

    A file that is there already is replaced by an equal one, which mends it if it was damaged. Modes are
    those that git would give: who may read the folder of the objects may read the object, whatever
    ``core.sharedRepository`` and the umask were when that was made.

    Args:
        common_dir: The git directory of a SHA-1 repository.
        objects: Names and contents as :func:`loose_object` gives them; some dozens at most.

    Raises:
        OSError: The disk did not take them; those that have their names are sound.
    """
    top = f"{common_dir}/objects"
    mode = stat.S_IMODE(Path(top).stat().st_mode)
    fresh: list[tuple[int, str, str]] = []
    try:
        for name, whole in objects:
            fresh.append((*_begin(f"{top}/{name[:2]}", mode), f"{top}/{name[:2]}/{name[2:]}"))
            _fill(fresh[-1][0], zlib.compress(whole, _LEVEL), mode & 0o444)
        at("git.objects.written")
        for descriptor, _, _ in fresh:
            os.fsync(descriptor)
        at("git.objects.synced")
        for _, path, target in fresh:
            os.replace(path, target)  # noqa: PTH105 - called for each of many
        at("git.objects.named")
    except BaseException:
        for _, path, _ in fresh:
            Path(path).unlink(missing_ok=True)
        raise
    finally:
        for descriptor, _, _ in fresh:
            os.close(descriptor)


def _begin(folder: str, mode: int) -> tuple[int, str]:
    if not os.path.isdir(folder):  # noqa: PTH112 - called for each of many
        Path(folder).mkdir(exist_ok=True)
        Path(folder).chmod(mode)
    # Not by tempfile, for the sake of all that it imports.
    path = f"{folder}/{_PREFIX}{os.urandom(_RANDOM_BYTES).hex()}"
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600), path


def _fill(descriptor: int, content: bytes, mode: int) -> None:
    while content:
        content = content[os.write(descriptor, content) :]
    os.fchmod(descriptor, mode)
    # Starts the writing, so that the first flush of several takes the others' content along.
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)


def is_stored(common_dir: str, name: str, whole: bytes) -> bool:
    """Whether the object has a file of its own that holds what it should. It need not be on the disk yet."""
    try:
        return zlib.decompress(Path(common_dir, "objects", name[:2], name[2:]).read_bytes()) == whole
    except (OSError, zlib.error):
        return False


def tree_changes(common_dir: str, before: str, after: str) -> tuple[Change, ...] | None:
    """Compare two trees as ``git diff-tree -r -t`` does, in its order.

    Args:
        common_dir: The git directory.
        before: Name of a commit or tree.
        after: Name of a tree.

    Returns:
        What differs; ``None`` when one of the objects that are needed for this is not loose.
    """
    if not is_sha1(before) or not is_sha1(after):
        return None
    reader = _Reader(common_dir)
    try:
        return tuple(_compare(reader, reader.tree_of(before), after, b""))
    except _NotLoose:
        return None


def _compare(reader: _Reader, before: str, after: str, prefix: bytes) -> Iterator[Change]:
    """Walk down where the two differ; a name of ``""`` is an empty tree."""
    if before == after:
        return
    old, new = (_entries(reader.tree(name)) if name else {} for name in (before, after))
    for key in sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key)):
        was, is_ = old.get(key, _NO_ENTRY), new.get(key, _NO_ENTRY)
        path = prefix + key.removesuffix(b"/")
        yield Change(was.mode, is_.mode, is_.name, path)
        if key.endswith(b"/"):
            yield from _compare(reader, was.name, is_.name, path + b"/")


def _entries(raw: bytes) -> dict[bytes, _Entry]:
    """Return a tree's entries; a folder's name has a slash at its end, which is also how git sorts it."""
    entries: dict[bytes, _Entry] = {}
    at = 0
    while at < len(raw):
        name_at = raw.index(b"\0", at) + 1
        mode, _, name = raw[at : name_at - 1].partition(b" ")
        at = name_at + _SHA1_BYTES
        canonical = _canonical(mode)
        key = name + b"/" if canonical == FOLDER else name
        entries[key] = _Entry(canonical, raw[name_at:at].hex())
    return entries


def _canonical(mode: bytes) -> bytes:
    """Return a mode as git compares it: of a file's bits only the owner's right to run it counts."""
    number = int(mode, 8)
    if stat.S_ISREG(number):
        return b"100755" if number & stat.S_IXUSR else b"100644"
    return b"%06o" % stat.S_IFMT(number)
