"""What the system refuses for want of something, and what a person can do about it.

Owns the wording, and that a thread which is refused is an error of the system like any other. Refuses to know who
wanted what.
"""

from __future__ import annotations

import contextlib
import errno
import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_CURES: Final = {
    errno.EAGAIN: "too many processes and threads of this user: end some, or raise the limit"
    " (ulimit -u, TasksMax= of the unit, pids.max of the container)",
    errno.ENOMEM: "there is no memory left: end something, or raise the limit (MemoryMax= of the unit)",
    errno.EMFILE: "too many open files of this process: raise the limit (ulimit -n, LimitNOFILE= of the unit)",
    errno.ENFILE: "too many open files on this machine: end something, or raise fs.file-max",
}


def cure(error: OSError) -> str:
    """Return what can be done about a resource that the system refused, ``""`` when that was not the matter."""
    return _CURES.get(error.errno or 0, "")


def refusal(error: OSError) -> str:
    """Return in one line what the system refused, and what can be done about it."""
    return ": ".join(filter(None, (error.strerror or str(error), cure(error))))


@contextlib.contextmanager
def starting_threads() -> Iterator[None]:
    """Start threads within this; that one cannot be started is raised as the error of the system that it is.

    Raises:
        OSError: With ``EAGAIN``, as for a process that cannot be forked.
    """
    try:
        yield
    except RuntimeError as error:  # Python has no type of its own for it
        if "start new thread" not in str(error):
            raise
        raise OSError(errno.EAGAIN, f"no thread can be started: {os.strerror(errno.EAGAIN)}") from error
