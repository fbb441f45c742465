"""Looking at the processes of a project from outside, by /proc alone.

Owns telling which processes are a project's, and who they are below a supervising process. Refuses to believe what the
journal or the supervising process says about them. What vanishes while it is looked at is not there.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from time import CLOCK_BOOTTIME, clock_gettime
from typing import Final

from supervisor.linux import all_pids, children_of, kill_by_pidfd, read_proc, stat_of
from tests.chaos.history import Look, Process
from tests.waiting import wait_until

_COMM: Final = 15
"""Most characters of a process's own name."""


def now() -> float:
    """Return the seconds of the boot clock, which no fault moves."""
    return clock_gettime(CLOCK_BOOTTIME)


def name_of(pid: int) -> str:
    """Return the name that a process has given itself, ``""`` when it is gone."""
    return (read_proc(pid, "comm") or b"").decode(errors="replace").strip()


def below(supervisor: int) -> dict[str, list[int]]:
    """Return the live processes of ours below a supervising process: ``fork_server``, ``runner`` and roles -> pids."""
    found: dict[str, list[int]] = {}
    for server in children_of(supervisor):
        if name_of(server) != "fork-server":
            continue
        found.setdefault("fork_server", []).append(server)
        for child in children_of(server):
            found.setdefault(name_of(child), []).append(child)
            # In a namespace of its own the runner may stand one step lower.
            for lower in children_of(child):
                if name_of(lower) == "runner":
                    found.setdefault("runner", []).append(lower)
    return found


def victims(supervisor: int, who: str) -> list[int]:
    """Return the live processes of one name: ``supervisor``, ``fork_server``, ``runner`` or a role id."""
    if who == "supervisor" or not supervisor:
        return [supervisor] if supervisor else []
    return below(supervisor).get(who[:_COMM], [])


def programs_of(supervisor: int, role: str) -> list[int]:
    """Return the programs that a role runs just now (git)."""
    return [program for pid in victims(supervisor, role) for program in children_of(pid)]


def kill(pids: list[int]) -> list[int]:
    """Kill processes, all of them before looking at any, and wait until each is dead.

    Returns:
        Those that the kill reached: they lived until then.
    """
    stats = {pid: stat_of(pid) for pid in pids}
    hit = [
        pid
        for pid, stat in stats.items()
        if stat is not None and stat.alive and kill_by_pidfd(pid, stat.start_ticks, signal.SIGKILL)
    ]

    def dead(pid: int) -> bool:
        stat = stat_of(pid)
        return stat is None or not stat.alive or stat.start_ticks != stats[pid].start_ticks  # type: ignore[union-attr]

    for pid in hit:
        wait_until(lambda pid=pid: dead(pid), 60.0, f"process {pid} is dead")  # type: ignore[misc]
    return hit


def stopped(pid: int) -> bool:
    """Whether a process stands still after SIGSTOP."""
    stat = stat_of(pid)
    return stat is not None and stat.state == "T"


def look(base: Path, since: float, supervisors: tuple[int, ...]) -> Look:
    """Look at every process that belongs to a project.

    Args:
        base: Directory below which all of the project stands: its home, its folders. Who names it in its environment,
            works in it or has a file of it open belongs to the project, whatever else it has shed.
        since: When processes of ours were killed last.
        supervisors: The live supervising processes.
    """
    at = now()
    found = [process for pid in all_pids() if pid != os.getpid() and (process := _process(pid, base)) is not None]
    return Look(at, since, supervisors, tuple(found))


def _process(pid: int, base: Path) -> Process | None:
    trace = f"{base}/"
    environment = read_proc(pid, "environ") or b""
    place = Path("/proc", str(pid))
    opened = list(_links(place / "fd"))
    if trace.encode() not in environment and not any(
        f"{target}/".startswith(trace) for target in [*(target for _, target in opened), _target(place / "cwd")]
    ):
        return None
    stat = stat_of(pid)
    if stat is None or not stat.alive:
        return None
    command = (read_proc(pid, "cmdline") or b"").replace(b"\0", b" ").decode(errors="replace").strip()
    writes = any(target.endswith("/state.db") and _writes(place, number) for number, target in opened)
    return Process(pid, stat.parent, f"{name_of(pid)}: {command[:200]}", writes)


def _links(folder: Path) -> Iterator[tuple[str, str]]:
    with contextlib.suppress(OSError):
        for link in folder.iterdir():
            yield link.name, _target(link)


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except OSError:
        return ""


def _writes(place: Path, number: str) -> bool:
    with contextlib.suppress(OSError, StopIteration):
        lines = (place / "fdinfo" / number).read_text(encoding="ascii").splitlines()
        flags = next(line for line in lines if line.startswith("flags:"))
        return bool(int(flags.split()[1], 8) & (os.O_WRONLY | os.O_RDWR))
    return False
