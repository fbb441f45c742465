"""What is asked of Linux itself: process control by prctl, pidfd and namespaces, and who is there by reading /proc.

Owns the few calls that Python has no function for, and looking at processes. Every function that looks is
tolerant: a process that vanishes meanwhile is simply not there. Refuses to know what the processes are for,
and decides nothing about them.

A process id alone is a poor name, because numbers are used again. Three things help, in this order: the id of
an own child is safe until it was waited for; a pidfd is safe for ever; a pid together with its start time is
safe as long as the number does not come round within one clock tick (reference, finding 12).
"""

import ctypes
import functools
import os
import select
import signal
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import Final

import attrs

_SYS_CLOSE_RANGE: Final = 436  # on every architecture
LAST_DESCRIPTOR: Final = 0x7FFFFFFF
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_NAME: Final = 15
_PR_SET_CHILD_SUBREAPER: Final = 36

NEW_PIDS: Final = 0x20000000
"""CLONE_NEWPID: a namespace of process ids."""

NEW_MOUNTS: Final = 0x00020000
"""CLONE_NEWNS: a namespace of mounts."""

_MS_NOSUID_NODEV_NOEXEC: Final = 2 | 4 | 8
_MS_REC_SLAVE: Final = 0x4000 | 0x80000
_CAP_SYS_ADMIN: Final = 21

_KEEP_SIZE_PUNCH_HOLE: Final = 1 | 2

_ENDED: Final = "ZXx"
"""States of /proc/PID/stat in which nothing runs any more."""

_ROUND_SECONDS: Final = 0.05
_READ_BYTES: Final = 1 << 16

SWEEP_SECONDS: Final = 2.0
"""Most seconds spent on killing what bears the mark of something that nobody supervises any more."""


@attrs.frozen
class Stat:
    """One line of /proc/PID/stat, as far as it is used here.

    Attributes:
        pid: Process id.
        state: One letter; ``Z`` is a zombie.
        parent: Its parent's process id.
        group: Process group id.
        session: Session id.
        start_ticks: When it started, in clock ticks since boot.
    """

    pid: int
    state: str
    parent: int
    group: int
    session: int
    start_ticks: int

    @property
    def alive(self) -> bool:
        """Whether it can still do anything: it is no zombie."""
        return self.state not in _ENDED


# --- prctl -----------------------------------------------------------------------------------------------


@functools.cache
def _libc() -> ctypes.CDLL:
    library = ctypes.CDLL(None, use_errno=True)
    library.prctl.argtypes = [ctypes.c_int, *(ctypes.c_ulong,) * 4]
    library.prctl.restype = ctypes.c_int
    return library


@functools.cache
def _name_setter() -> Callable[[int, bytes], int]:
    setter = _libc()["prctl"]  # a function object of its own, with types of its own
    setter.argtypes = [ctypes.c_int, ctypes.c_char_p]
    setter.restype = ctypes.c_int
    return setter


@functools.cache
def _range_closer() -> Callable[[int, int, int, int], int]:
    closer = _libc()["syscall"]
    closer.argtypes = [ctypes.c_long] * 4
    closer.restype = ctypes.c_long
    return closer


def close_range(first: int, last: int) -> None:
    """Close the descriptors of this process from the first to the last of these numbers, where they are open.

    Not by `os.closerange`: where Python was built against an old C library, that tries every number there is.

    Raises:
        OSError: The kernel refuses.
    """
    _check(_range_closer()(_SYS_CLOSE_RANGE, first, last, 0), f"close_range({first}, {last})")


def _prctl(option: int, value: int) -> None:
    _check(_libc().prctl(option, value, 0, 0, 0), f"prctl({option}, {value})")


def _check(result: int, call: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{call}: {os.strerror(number)}")


def set_child_subreaper() -> None:
    """Adopt the orphans among this process's descendants; children do not inherit that.

    Raises:
        OSError: The kernel refuses.
    """
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def set_parent_death_signal(sig: int) -> None:
    """Get a signal when the *thread* that forked this process ends.

    Only of use below a single-threaded parent, and only with a look at `os.getppid` afterwards: the parent
    may have died before. Children do not inherit it.

    Raises:
        OSError: The kernel refuses.
    """
    _prctl(_PR_SET_PDEATHSIG, int(sig))


def set_process_name(name: str) -> None:
    """Set what `ps -o comm` and `top` show for the calling process's main thread; the kernel keeps 15 bytes.

    Raises:
        OSError: The kernel refuses.
    """
    _check(_name_setter()(_PR_SET_NAME, name.encode()[:15]), "prctl(PR_SET_NAME)")


# --- namespaces and capabilities ---------------------------------------------------------------------------


def unshare(kinds: int) -> None:
    """Give the calling process (for :data:`NEW_PIDS`: its next children) namespaces of their own.

    Args:
        kinds: :data:`NEW_PIDS`, :data:`NEW_MOUNTS`.

    Raises:
        OSError: The kernel refuses.
    """
    _check(_libc().unshare(kinds), f"unshare({kinds:#x})")


def enter_namespace(descriptor: int, kind: int) -> None:
    """Enter a namespace; for :data:`NEW_PIDS` that holds for the children forked from now on.

    Args:
        descriptor: Of a file in ``/proc/PID/ns``.
        kind: Its kind.

    Raises:
        OSError: The kernel refuses.
    """
    _check(_libc().setns(descriptor, kind), f"setns({kind:#x})")


def mount_own_proc() -> None:
    """Show this process's namespace of process ids in /proc, to the calling process's namespace of mounts alone.

    What is mounted outside later still appears here; nothing that is mounted here appears outside.

    Raises:
        OSError: The kernel refuses.
    """
    mount = _libc()["mount"]
    mount.argtypes = [ctypes.c_char_p] * 3 + [ctypes.c_ulong, ctypes.c_char_p]
    mount.restype = ctypes.c_int
    _check(mount(None, b"/", None, _MS_REC_SLAVE, None), "mount(/, slave)")
    _check(mount(b"proc", b"/proc", b"proc", _MS_NOSUID_NODEV_NOEXEC, None), "mount(/proc)")


def can_administer() -> bool:
    """Tell whether the calling process has the effective capability CAP_SYS_ADMIN."""
    for line in (read_proc("self", "status") or b"").splitlines():
        if line.startswith(b"CapEff:"):
            return bool(int(line.split()[1], 16) >> _CAP_SYS_ADMIN & 1)
    return False


# --- pidfd -----------------------------------------------------------------------------------------------


def forget_bytes(descriptor: int, offset: int, length: int) -> None:
    """Have a file system forget a part of a file, which then takes no space and reads as NUL bytes; its length stays.

    Raises:
        OSError: It does not take that.
    """
    where = (ctypes.c_int64(offset), ctypes.c_int64(length))
    _check(_libc().fallocate(descriptor, _KEEP_SIZE_PUNCH_HOLE, *where), "fallocate")


def pidfd_open(pid: int) -> int | None:
    """Open a descriptor (close-on-exec) that stands for a process and becomes readable when it ends.

    Returns:
        The descriptor, the caller's to close; ``None`` when there is no such process.

    Raises:
        OSError: No descriptor is left.
    """
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        return None


def kill_by_pidfd(pid: int, start_ticks: int, sig: int) -> bool:
    """Send a signal to exactly the process that started at that time.

    Returns:
        Whether it was sent; ``False`` when that process has ended (or is not ours to signal).
    """
    descriptor = pidfd_open(pid)
    if descriptor is None:
        return False
    try:
        found = stat_of(pid)
        if found is None or found.start_ticks != start_ticks:
            return False
        return _send(descriptor, sig)
    finally:
        os.close(descriptor)


def _send(descriptor: int, sig: int) -> bool:
    try:
        signal.pidfd_send_signal(descriptor, sig)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def kill_until_gone(find: Callable[[], Iterable[int]], seconds: float) -> tuple[int, ...]:
    """Send SIGKILL to what `find` names, again and again, until it names nothing.

    A number is signalled only when `find` names it before and after its pidfd was opened: so it cannot have
    come to stand for somebody else between. Waits for pidfds, not for time. Blocks the calling thread.

    Args:
        find: Names living processes, for example with `find_marked`.
        seconds: Longest time to spend.

    Returns:
        The processes that are left, none of them when all went well.
    """
    give_up_at = time.monotonic() + seconds
    while found := tuple(find()):
        if time.monotonic() >= give_up_at:
            return found
        opened = {pid: descriptor for pid in found if (descriptor := pidfd_open(pid)) is not None}
        try:
            still = set(find())
            killed = [fd for pid, fd in opened.items() if pid in still and _send(fd, signal.SIGKILL)]
            _wait_for_ends(killed or list(opened.values()), min(give_up_at, time.monotonic() + _ROUND_SECONDS))
        finally:
            for descriptor in opened.values():
                os.close(descriptor)
    return ()


def _wait_for_ends(descriptors: list[int], give_up_at: float) -> None:
    waiting = set(descriptors)
    poller = select.poll()
    for descriptor in waiting:
        poller.register(descriptor, select.POLLIN)
    while waiting and (left := give_up_at - time.monotonic()) > 0:
        for descriptor, _ in poller.poll(left * 1000):
            poller.unregister(descriptor)
            waiting.discard(descriptor)


# --- /proc -----------------------------------------------------------------------------------------------


def read_proc(pid: int | str, name: str) -> bytes | None:
    """Read a file of /proc/PID; ``None`` when it is not there or cannot be read."""
    # Plain system calls: this is what crash-to-ready waits for, and half as long as through a file object.
    try:
        descriptor = os.open(f"/proc/{pid}/{name}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        content = b""
        while part := os.read(descriptor, _READ_BYTES):
            content += part
    except OSError:  # it ended between the two
        return None
    else:
        return content
    finally:
        os.close(descriptor)


def stat_of(pid: int) -> Stat | None:
    """Read what the kernel says about a process, zombies included; ``None`` when it is not there."""
    line = read_proc(pid, "stat")
    if not line:
        return None
    # The name stands in parentheses and may hold anything, parentheses and spaces too: count from its end.
    fields = line[line.rindex(b")") + 2 :].split()
    return Stat(
        pid=pid,
        state=fields[0].decode(),
        parent=int(fields[1]),
        group=int(fields[2]),
        session=int(fields[3]),
        start_ticks=int(fields[19]),
    )


def start_ticks(pid: int) -> int | None:
    """Say when a process started, in clock ticks since boot; ``None`` when it is not there."""
    found = stat_of(pid)
    return None if found is None else found.start_ticks


def is_alive(pid: int) -> bool:
    """Tell whether a process is there and no zombie."""
    found = stat_of(pid)
    return found is not None and found.alive


def all_pids() -> Iterator[int]:
    """Name every process that this one may see, zombies included."""
    with os.scandir("/proc") as listing:
        for entry in listing:
            if entry.name.isdigit():
                yield int(entry.name)


@functools.cache
def _lists_children() -> bool:
    # The kernel may be built without it (CONFIG_PROC_CHILDREN).
    return Path("/proc/thread-self/children").exists()


def children_of(pid: int) -> tuple[int, ...]:
    """Name the children of a process, zombies included.

    Complete for the calling process when only this thread waits for children. For another process one may be
    missing while its neighbours end: look again before believing that there is none.
    """
    if not _lists_children():
        return tuple(one for one in all_pids() if (found := stat_of(one)) is not None and found.parent == pid)
    try:
        with os.scandir(f"/proc/{pid}/task") as listing:
            threads = [entry.name for entry in listing]
    except OSError:
        return ()
    lists = (read_proc(pid, f"task/{thread}/children") for thread in threads)
    return tuple(int(number) for one in lists if one for number in one.split())


def descendants(pid: int) -> tuple[int, ...]:
    """Name the living processes below one, parents before their children."""
    found: list[int] = []
    waiting = [pid]
    seen = {pid}
    for parent in waiting:
        for child in children_of(parent):
            if child not in seen:
                seen.add(child)
                waiting.append(child)
                if is_alive(child):
                    found.append(child)
    return tuple(found)


def environment_of(pid: int) -> dict[bytes, bytes]:
    """Read the environment that a process was exec'd with; empty when it cannot be read.

    What a process changed since, and what a forked child set without exec, does not show.
    """
    block = read_proc(pid, "environ") or b""
    entries = (entry.partition(b"=") for entry in block.split(b"\0") if b"=" in entry)
    return {name: value for name, _, value in entries}


def is_in_between(pid: int) -> bool:
    """Tell whether a process shows no environment because it ends, or executes another program, at this very moment.

    It says nothing of itself then, and will: it is a zombie, or the other program, an instant later. False for one that
    may not be looked at, and for one that was given an empty environment.
    """
    size = read_proc(pid, "statm")
    if size is not None and size.startswith(b"0 "):
        return True  # it has given its memory back
    block = read_proc(pid, "environ")
    if block is None or block:
        return block is not None  # whatever it did, it is done: what it says can be read
    line = read_proc(pid, "stat")
    # env_end, 0 until the kernel has laid out the new program's memory (proc_pid_stat(5), field 51)
    return line is not None and line[line.rindex(b")") + 2 :].split()[48] == b"0"


def find_marked(name: str, values: str | Collection[str]) -> tuple[int, ...]:
    """Name the living processes that were exec'd with this variable set to a value, this one left out.

    Args:
        name: The variable.
        values: The value, or those of which one is looked for.
    """
    wanted = {value.encode() for value in ((values,) if isinstance(values, str) else values)}
    key = f"{name}=".encode()
    return tuple(pid for pid in all_pids() if pid != os.getpid() and _has_entry(pid, key, wanted) and is_alive(pid))


def _has_entry(pid: int, key: bytes, wanted: Collection[bytes]) -> bool:
    block = read_proc(pid, "environ")
    if block is None or key not in block:
        return False
    return any(entry.startswith(key) and entry[len(key) :] in wanted for entry in block.split(b"\0"))
