"""Makes single threads of a process hang, as no signal can: ptrace(2) stops them until the process is killed."""

import contextlib
import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.waiting import wait_until

_SEIZE: Final = 0x4206
_INTERRUPT: Final = 0x4207
_ALL: Final = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


@contextmanager
def hanging(threads: list[int]) -> Iterator[None]:
    """Stop threads; the process must be killed before this ends, and its threads are waited for."""
    for thread in threads:
        _ptrace(_SEIZE, thread)
        _ptrace(_INTERRUPT, thread)
        os.waitpid(thread, _ALL)
    yield
    for thread in threads:
        os.waitpid(thread, _ALL)


def loops_of(pid: int) -> list[int]:
    """Name the threads beside the main one that wait in epoll, by the system call that they are in; waits for one."""
    return wait_until(lambda: [thread for thread in _in_epoll(pid) if thread != pid], message="a loop waits")


def _in_epoll(pid: int) -> list[int]:
    calls = {"232", "281", "22"}  # epoll_wait and epoll_pwait of x86-64, epoll_pwait of others
    found = []
    for task in Path("/proc", str(pid), "task").iterdir():
        with contextlib.suppress(OSError):  # it has ended
            found += [int(task.name)] if (task / "syscall").read_text().split()[0] in calls else []
    return found


def _ptrace(request: int, thread: int) -> None:
    if _libc.ptrace(request, thread, None, None) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
