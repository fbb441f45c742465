"""Containment by control groups: one group per slot, below a group of the session.

A process cannot leave its group by forking, by setsid or by shedding its environment, and ``cgroup.kill``
ends a whole group at once: so not even a forker that doubles itself gets away, and whose a stray is needs no
guessing. The rest (leaders, strays, reaping) is as in :mod:`supervisor.containment`.

A group is used only where it was handed to us: named to the runner, or marked by systemd as delegated.
A slot's group is made once and used again, which is an order of magnitude cheaper than a group for each
attempt.

Owns the groups below the delegated one. Refuses to enable controllers.
"""

from __future__ import annotations

import contextlib
import os
import select
import time
from pathlib import Path
from typing import Final

from supervisor.containment import Trees

_ENTER: Final = 'echo 0 > "$0" || echo "milestoned: this task could not enter its control group" >&2; exec "$@"'
"""Shell line that enters the group whose ``cgroup.procs`` is ``$0`` and then is the program."""

_DELEGATE_MARKS: Final = ("user.delegate", "trusted.delegate")
_EMPTY_SECONDS: Final = 2.0


class CgroupTrees(Trees):
    """Process trees that are held by control groups as well.

    Args:
        session: Session id; names our group.
        parent: The delegated group's directory, writable.

    Raises:
        OSError: No group can be made there.
    """

    name = "cgroup"

    def __init__(self, session: str, parent: Path) -> None:
        self._root = parent / f"milestoned-{session}"
        self._slots: dict[str, Path] = {}
        self._root.mkdir(exist_ok=True)
        if not (self._root / "cgroup.kill").exists():
            self._root.rmdir()
            raise OSError(f"{parent} has no cgroup.kill (Linux 5.14 or later)")
        super().__init__(session)
        self._sweep()

    def enter(self, attempt: str, slot: int) -> tuple[str, ...]:
        """Take up an attempt; its programs enter the group of their slot before they are executed."""
        super().enter(attempt, slot)
        group = self._root / f"slot-{slot}"
        with contextlib.suppress(FileExistsError):
            group.mkdir()
        self._slots[attempt] = group
        return ("/bin/sh", "-c", _ENTER, str(group / "cgroup.procs"))

    def kill(self, attempt: str, leader: int, *, leader_exited: bool) -> None:
        """Kill the slot's whole group before anything is looked for."""
        _kill_group(self._slots[attempt])
        super().kill(attempt, leader, leader_exited=leader_exited)

    def hunt(self, attempt: str) -> None:
        """Kill the slot's whole group, then see to strays as everywhere."""
        _kill_group(self._slots[attempt])
        super().hunt(attempt)

    def forget(self, attempt: str) -> None:
        """Forget which slot an attempt had."""
        self._slots.pop(attempt, None)

    def close(self) -> None:
        """Remove our groups; one that still holds something stays for the next incarnation to empty."""
        super().close()
        with contextlib.suppress(OSError):
            for group in self._root.glob("slot-*"):
                group.rmdir()
            self._root.rmdir()

    def owner_of(self, pid: int) -> str:
        """Return the attempt whose group a process is in, ``""`` for none."""
        group = group_of(pid)
        if not group:  # of every path the end
            return ""
        return next((attempt for attempt, path in self._slots.items() if str(path).endswith(group)), "")

    def _sweep(self) -> None:
        """Kill what a former incarnation left in our groups."""
        _kill_group(self._root)
        events = self._root / "cgroup.events"
        give_up_at = time.monotonic() + _EMPTY_SECONDS
        with events.open("rb") as stream:
            poller = select.poll()
            poller.register(stream, select.POLLPRI)
            while b"populated 1" in events.read_bytes() and time.monotonic() < give_up_at:
                poller.poll(max(0.0, give_up_at - time.monotonic()) * 1000)


def delegated_group() -> Path | None:
    """Return the directory of this process's own group, if that was delegated to us."""
    mount, own = _mount_point(), group_of(os.getpid())
    if mount is None or not own:
        return None
    group = mount / own.lstrip("/")
    if not (group / "cgroup.kill").exists():  # Linux before 5.14, or the root of all groups
        return None
    if os.access(group, os.W_OK) and os.access(group / "cgroup.procs", os.W_OK) and _is_marked(group):
        return group
    return None


def group_of(pid: int) -> str:
    """Return the path of a process's v2 group below the mount point, ``""`` when it cannot be told."""
    try:
        lines = Path("/proc", str(pid), "cgroup").read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return ""
    return next((line[3:] for line in lines.splitlines() if line.startswith("0::")), "")


def _mount_point() -> Path | None:
    try:
        lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return None
    for line in lines.splitlines():
        before, _, after = line.partition(" - ")
        if after.startswith("cgroup2 "):
            return Path(before.split()[4])
    return None


def _is_marked(group: Path) -> bool:
    for name in _DELEGATE_MARKS:
        with contextlib.suppress(OSError):
            if os.getxattr(group, name) == b"1":
                return True
    return False


def _kill_group(group: Path) -> None:
    with contextlib.suppress(OSError):  # it has gone: then so has what was in it
        (group / "cgroup.kill").write_bytes(b"1")
