"""A child that is the first process of a PID namespace: whatever it starts dies with it, at once, by the kernel.

The fork server is single-threaded, so it can have its *next* child begin a namespace and then go on as before: it
unshares, forks, and enters its own namespace again. The child takes a namespace of mounts as well, in which /proc
shows the processes that it sees, for programs look at ``/proc/<own pid>``. It reports through a pipe whether that went
well before it does anything else; where any step is refused (a container, a filter of system calls) it ends, and
whoever asked decides what to do without.

Inside, processes have numbers of their own; outside, each of them has the number that people see. A descriptor of the
outer /proc, opened before the inner one covered it, translates (:class:`OuterNumbers`).

No user namespace is ever made: in one, sudo and rootless containers of a task would not work. So all this needs the
capability CAP_SYS_ADMIN.

Owns making the namespace and translating numbers. Refuses to know what the child is for.
"""

import contextlib
import io
import os
from typing import Final, Self

import attrs

from supervisor import linux

_REFUSED: Final = 1
_MADE: Final = b"+"
_READ_BYTES: Final = 4096


class NamespaceRefusedError(OSError):
    """No namespace could be made; nothing was started, and the message says why."""


@attrs.frozen
class Born:
    """What became of a wish for a namespace, as an entry finds it in ``args["namespace"]``.

    Attributes:
        outer_proc: Descriptor of the /proc that shows the outer numbers; -1 when there is no namespace.
        refused: Why there is none, ``""`` when there is one.
    """

    outer_proc: int = -1
    refused: str = ""

    @classmethod
    def of(cls, value: object) -> Self | None:
        """Read what :meth:`plain` made; ``None`` when no namespace was wished for."""
        if not isinstance(value, dict):
            return None
        return cls(int(value["outer_proc"]), str(value["refused"]))

    def plain(self) -> dict[str, object]:
        """Return it as JSON has it."""
        return attrs.asdict(self)


def fork_inside() -> tuple[int, Born]:
    """Fork a child that is the first process of a new PID namespace; the caller has a single thread.

    Returns:
        In the parent the child's process id, as it is outside; in the child 0.

    Raises:
        NamespaceRefusedError: There is none, and no child.
        OSError: The process cannot fork, or has no descriptor left.
    """
    reading, writing = os.pipe2(os.O_CLOEXEC)
    with open(reading, "rb", 0) as heard, open(writing, "wb", 0) as said:  # noqa: PTH123 - descriptors
        pid = _fork_into_new()
        if pid == 0:
            return 0, _settle(said)
        said.close()
        answer = heard.read()
    if answer == _MADE:
        return pid, Born()
    os.waitpid(pid, 0)
    raise NamespaceRefusedError(answer.decode(errors="replace") or "the first process of the namespace was killed")


def _fork_into_new() -> int:
    """Fork a child into a new PID namespace; children forked later are where they were before."""
    try:
        own = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise NamespaceRefusedError(f"/proc/self/ns/pid: {error.strerror}") from error
    try:
        linux.enter_namespace(own, linux.NEW_PIDS)  # where this is refused, there would be no way back
        linux.unshare(linux.NEW_PIDS)
    except OSError as error:
        os.close(own)
        raise NamespaceRefusedError(_words(error)) from error
    try:
        pid = os.fork()
    except OSError:
        linux.enter_namespace(own, linux.NEW_PIDS)
        raise
    else:
        if pid:
            linux.enter_namespace(own, linux.NEW_PIDS)
        return pid
    finally:
        os.close(own)


def _settle(said: io.FileIO) -> Born:
    """Show the new namespace in /proc, and tell the parent; runs in the child, which ends when that is refused."""
    try:
        outer = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        linux.unshare(linux.NEW_MOUNTS)
        linux.mount_own_proc()
    except OSError as error:
        said.write(_words(error).encode())
        os._exit(_REFUSED)
    said.write(_MADE)
    return Born(outer)


def _words(error: OSError) -> str:
    return error.strerror or str(error)


def refusal() -> str:
    """Try to make a namespace; return why that is impossible, ``""`` when it went well.

    Forks: for a process of its own (:func:`main`) or one with a single thread.
    """
    if not linux.can_administer():
        return "the capability CAP_SYS_ADMIN is missing"
    try:
        pid, _ = fork_inside()
    except OSError as error:
        return str(error)
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return ""


def main() -> None:
    """Print what :func:`refusal` returns."""
    print(refusal())  # noqa: T201 - the only thing that this process is for


class OuterNumbers:
    """The process ids that people see outside, for those inside.

    Args:
        proc: Descriptor of the outer /proc; this object owns it.
    """

    def __init__(self, proc: int) -> None:
        self._proc = proc

    def of(self, pid: int) -> int:
        """Return the outer number of an own child that was not waited for; its inner one if it cannot be told."""
        with contextlib.suppress(OSError):
            process = os.pidfd_open(pid)
            try:
                # What the kernel says of a pidfd has the numbers of the /proc that it is read from.
                info = os.open(f"self/fdinfo/{process}", os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._proc)
                try:
                    lines = os.read(info, _READ_BYTES).splitlines()
                finally:
                    os.close(info)
            finally:
                os.close(process)
            return next((int(line[4:]) for line in lines if line.startswith(b"Pid:")), pid)
        return pid

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self._proc)


if __name__ == "__main__":
    main()
