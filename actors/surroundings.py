"""What roles and supervising process both have to know of the machine around them.

Owns the oldest git that serves and the name of this boot. Refuses to know what follows from either.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

OLDEST_GIT: Final = (2, 38)
"""The first git with ``merge-tree --write-tree``."""


def boot_id() -> str:
    """Name this boot of the machine.

    Process ids, start times and files that were never flushed mean nothing in another one.
    """
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
