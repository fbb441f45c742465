"""The living processes of a session or of a process group, as the kernel has them.

Owns that look. Refuses to know whose they are.
"""

import os
from collections.abc import Callable

from supervisor.linux import all_pids, is_alive


def members_of_session(session: int) -> tuple[int, ...]:
    """Name the living processes of a session."""
    return tuple(pid for pid in all_pids() if _is(os.getsid, pid, session))


def members_of_group(group: int) -> tuple[int, ...]:
    """Name the living processes of a process group."""
    return tuple(pid for pid in all_pids() if _is(os.getpgid, pid, group))


def _is(look: Callable[[int], int], pid: int, wanted: int) -> bool:
    try:
        return look(pid) == wanted and is_alive(pid)
    except ProcessLookupError:
        return False
