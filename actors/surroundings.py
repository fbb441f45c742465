"""What roles and supervising process both have to know of the machine around them.

Owns the oldest git that serves, the name of this boot, and where worktree slots are. Refuses to know what follows from
that.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from actors.digests import sha256

OLDEST_GIT: Final = (2, 38)
"""The first git with ``merge-tree --write-tree``."""


def boot_id() -> str:
    """Name this boot of the machine.

    Process ids, start times and files that were never flushed mean nothing in another one.
    """
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def slots_directory(project: str, configured: str) -> str:
    """Return where a project's worktree slots are: as configured, or in the user's cache directory."""
    if configured:
        return configured
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    name = sha256(os.fsencode(project)).hexdigest()[:16]
    return str(Path(cache) / "milestoned" / name)
