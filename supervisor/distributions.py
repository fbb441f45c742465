"""Which version of a distribution is installed, told by the name of its metadata folder.

`importlib.metadata` reads what stands in the folder, and loads the standard library's e-mail, zip and temporary files
for it: 1.2 MB that a daemon would hold for one word, and most of the time that a command takes to start. It is asked
where the name alone does not tell.

Owns the looking up. Refuses to know which distributions matter, and which versions will do.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def installed(name: str) -> str | None:
    """Return the version of a distribution that this interpreter finds, ``None`` without it.

    Args:
        name: Of letters and digits alone.
    """
    entries = tuple(_entries())
    wheel = re.compile(rf"{name}-([^-]+)\.dist-info", re.IGNORECASE)
    found = next(filter(None, map(wheel.fullmatch, entries)), None)
    if found is not None:
        return found[1]
    anyhow = re.compile(rf"{name}(-.*)?\.(dist-info|egg-info|egg|egg-link)", re.IGNORECASE)
    return _as_told(name) if any(map(anyhow.fullmatch, entries)) else None


def own_version() -> str:
    """Return the version of milestoned; ``"unknown"`` for a source tree that was never installed."""
    return installed("milestoned") or "unknown"


def _entries() -> Iterator[str]:
    for place in sys.path:
        with contextlib.suppress(OSError):  # not there, no directory, or not for us to read
            yield from sorted(entry.name for entry in Path(place or os.curdir).iterdir())


def _as_told(name: str) -> str | None:
    from importlib import metadata  # noqa: PLC0415 - see above

    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
