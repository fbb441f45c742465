"""Whether the kernel has killed something for want of memory.

A task that was killed so looks like any other that got SIGKILL. The kernel counts such kills, for the whole
machine: so what is said is that it happened meanwhile, not that it was this one.
"""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Final

_COUNTERS: Final = Path("/proc/vmstat")
_NAME: Final = b"\noom_kill "

KILLED: Final = frozenset({-signal.SIGKILL, 128 + signal.SIGKILL})
"""Exit statuses of a program that got SIGKILL, and of a shell whose program did."""


class MemoryKills:
    """Notices that the count has grown.

    Args:
        counters: The kernel's counters, ``name value`` lines.
    """

    def __init__(self, counters: Path = _COUNTERS) -> None:
        self._counters = counters
        self._seen = self._count()

    def happened(self) -> bool:
        """Tell whether there was one since the last call."""
        before, self._seen = self._seen, self._count()
        return self._seen > before

    def _count(self) -> int:
        try:
            text = b"\n" + self._counters.read_bytes()
        except OSError:
            return 0
        place = text.find(_NAME)
        return 0 if place < 0 else int(text[place + len(_NAME) :].split(b"\n", 1)[0])
