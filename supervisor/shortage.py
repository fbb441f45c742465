"""What the system refuses for want of something, and what a person can do about it.

Owns the wording, and that a thread which is refused is an error of the system like any other. Refuses to know who
wanted what.
"""

from __future__ import annotations

import contextlib
import errno
import os
import traceback
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_CURES: Final = {
    errno.EAGAIN: "too many processes and threads of this user: end some, or raise the limit"
    " (ulimit -u, TasksMax= of the unit, pids.max of the container)",
    errno.ENOMEM: "end something, or raise the limit (MemoryMax= of the unit)",
    errno.EMFILE: "raise the limit of this process (ulimit -n, LimitNOFILE= of the unit)",
    errno.ENFILE: "end something on this machine, or raise fs.file-max",
}


OF_CHILD: Final = (
    "the system refused it threads, files or memory: end some processes, or raise the limits"
    " (ulimit -u and -n, TasksMax= and MemoryMax= of the unit)"
)
"""What is said of a child of which only that is known."""


def cure(error: OSError) -> str:
    """Return what can be done about a resource that the system refused, ``""`` when that was not the matter."""
    return _CURES.get(error.errno or 0, "")


def refusal(error: OSError) -> str:
    """Return in one line what the system refused, and what can be done about it."""
    return ": ".join(filter(None, (error.strerror or str(error), cure(error))))


def shortage_of(error: BaseException) -> OSError | None:
    """Return the resource that the system refused as the error of the system that it is; ``None`` for all else."""
    if isinstance(error, OSError):
        return error if cure(error) else None
    if isinstance(error, RuntimeError) and "start new thread" in str(error):  # Python has no type of its own for it
        return OSError(errno.EAGAIN, f"no thread can be started: {os.strerror(errno.EAGAIN)}")
    return None


@contextlib.contextmanager
def starting_threads() -> Iterator[None]:
    """Start threads within this; that one cannot be started is raised as the error of the system that it is.

    Raises:
        OSError: With ``EAGAIN``, as for a process that cannot be forked.
    """
    try:
        yield
    except RuntimeError as error:
        shortage = shortage_of(error)
        if shortage is None:
            raise
        raise shortage from error


def failure_of(error: Exception) -> str:
    """Say why nothing can go on: what the system refused, or a bug of ours with its traceback."""
    refused = error if isinstance(error, OSError) else shortage_of(error)
    if refused is not None:
        return f"the system refused what supervision needs: {refusal(refused)}"
    return f"broken invariant: {type(error).__name__}: {error}\n{traceback.format_exc()}"
