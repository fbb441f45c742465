"""Values that must turn up nowhere, and the search for them in every byte that a run left.

Owns the search: raw, as JSON and Python write a text, in base64 (at each of the three alignments) and base32, in
percent encoding and hexadecimal; in files of any size, in gzip files and in all objects of git repositories. Refuses to
know who was to keep the values back.

    find([b"s3cr3t"], [Path("project")]) -> [Hit("s3cr3t", "raw", Path("project/a.log"), 17)]
"""

import base64
import gzip
import json
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, Final, cast
from urllib.parse import quote, quote_plus

from attrs import frozen

CHUNK: Final = 1 << 20
"""Bytes of a file that are looked at together."""

_SHORTEST: Final = 6


@frozen
class Hit:
    """A canary that sings.

    Attributes:
        canary: The value, as text.
        form: In which form it was found.
        path: The file, or the git directory whose object it is.
        offset: Where in the file it begins; in the output of ``git cat-file --batch`` for a git directory.
    """

    canary: str
    form: str
    path: Path
    offset: int


def find(canaries: Iterable[bytes | str], roots: Iterable[Path], *, but: Iterable[Path] = ()) -> list[Hit]:
    """Search files for values that must not be there.

    Args:
        canaries: The values, each of at least six bytes, or what is found would mean nothing.
        roots: Files, and directories that are searched to their bottom; what is no regular file is passed over.
        but: Files and directories that may hold them.
    """
    wanted = {form: owner for canary in canaries for form, owner in _forms(canary).items()}
    allowed = {path.resolve() for path in but}
    hits: list[Hit] = []
    for path in _files(roots, allowed):
        with path.open("rb") as stream:
            hits += _search(stream, wanted, path)
        if path.suffix == ".gz":
            with gzip.open(path, "rb") as packed:
                hits += _search(cast("BinaryIO", packed), wanted, path)
    for folder in _git_directories(roots):
        hits += _search_objects(folder, wanted)
    return hits


def find_in(canaries: Iterable[bytes | str], data: bytes) -> list[tuple[str, str]]:
    """Return which values stand in some bytes, each with its form."""
    wanted = {form: owner for canary in canaries for form, owner in _forms(canary).items()}
    return [owner for form, owner in wanted.items() if form in data]


def _forms(canary: bytes | str) -> dict[bytes, tuple[str, str]]:
    raw = canary.encode() if isinstance(canary, str) else canary
    assert len(raw) >= _SHORTEST, f"{canary!r} is too short to mean anything where it is found"
    name = raw.decode(errors="backslashreplace")
    forms = {
        raw: "raw",
        json.dumps(name)[1:-1].encode(): "json",
        json.dumps(name, ensure_ascii=False)[1:-1].encode(): "json",
        repr(name)[1:-1].encode(): "repr",
        quote(raw, safe="").encode(): "percent",
        quote_plus(raw).encode(): "percent",
        raw.hex().encode(): "hex",
        raw.hex().upper().encode(): "hex",
        base64.b32encode(raw).rstrip(b"=")[:-1]: "base32",
    }
    for shift in range(3):
        # Only the characters that depend on nothing that stands before or after.
        first, stop = (0, 2, 3)[shift], -1 if (len(raw) + shift) % 3 else None
        padded = bytes(shift) + raw
        for encoded in (base64.b64encode(padded), base64.urlsafe_b64encode(padded)):
            forms.setdefault(encoded.rstrip(b"=")[first:stop], "base64")
    return {form: (name, kind) for form, kind in reversed(forms.items())}


def _files(roots: Iterable[Path], allowed: set[Path]) -> Iterator[Path]:
    waiting = list(roots)
    while waiting:
        path = waiting.pop()
        if path.resolve() in allowed or path.is_symlink():
            continue
        if path.is_dir():
            waiting += path.iterdir()
        elif path.is_file():
            yield path


def _search(stream: BinaryIO, wanted: Mapping[bytes, tuple[str, str]], path: Path) -> Iterator[Hit]:
    overlap = max(map(len, wanted), default=1) - 1
    kept, offset, seen = b"", 0, set[bytes]()
    while data := stream.read(CHUNK):
        window = kept + data
        for form, (canary, kind) in wanted.items():
            at = -1 if form in seen else window.find(form)
            if at >= 0:
                seen.add(form)
                yield Hit(canary, kind, path, offset - len(kept) + at)
        kept = window[len(window) - overlap :] if overlap < len(window) else window
        offset += len(data)


def _git_directories(roots: Iterable[Path]) -> Iterator[Path]:
    for root in roots:
        for head in root.rglob("HEAD") if root.is_dir() else ():
            if (head.parent / "objects").is_dir() and (head.parent / "refs").is_dir():
                yield head.parent


def _search_objects(folder: Path, wanted: Mapping[bytes, tuple[str, str]]) -> list[Hit]:
    """Search all objects, loose and packed, reachable or not: what is compressed hides from the search of files."""
    command = ["git", "--git-dir", str(folder), "cat-file", "--batch-all-objects", "--unordered", "--batch"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        hits = list(_search(cast("BinaryIO", process.stdout), wanted, folder))
    assert process.returncode == 0, f"git cannot read the objects of {folder}"
    return hits
