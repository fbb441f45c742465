"""SHA-1 and SHA-256 for processes that hash little: by the interpreter's own modules, where it has them.

`hashlib` loads OpenSSL, 4 MB in the processes of a session at rest, to hash a few hundred bytes now and then. The
interpreter's own implementations take three times as long for a byte, and no memory; `random` of the standard library
does without OpenSSL in the same way. An interpreter that was built without them has `hashlib`'s.

Owns the choice. Refuses to know what is hashed. Who hashes much imports `hashlib` where it does.
"""

from __future__ import annotations

import contextlib
from importlib import import_module
from typing import TYPE_CHECKING, Final, Protocol, cast

if TYPE_CHECKING:
    from collections.abc import Callable


class Digest(Protocol):
    """What a hash function returns."""

    def digest(self) -> bytes:
        """Return the hash."""

    def hexdigest(self) -> str:
        """Return the hash as hexadecimal digits."""


def _first(name: str, *modules: str) -> Callable[[bytes], Digest]:
    for module in modules:
        with contextlib.suppress(ImportError):
            return cast("Callable[[bytes], Digest]", getattr(import_module(module), name))
    raise ImportError(f"this Python has no {name}")


sha1: Final = _first("sha1", "_sha1", "hashlib")
sha256: Final = _first("sha256", "_sha2", "_sha256", "hashlib")  # Python 3.12 has the first, 3.11 the second
