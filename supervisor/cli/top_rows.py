"""Who is measured by ``milestonectl top``, and the table of it.

Tasks are found below their runner, by the attempt that their environment names: whatever a task has started counts as
its own. Owns the measuring and the rows. Refuses to know terminals.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import attrs

from actors.wording import size_text
from supervisor.environment import ATTEMPT_MARK
from supervisor.linux import children_of, read_proc
from supervisor.usage import Meter

if TYPE_CHECKING:
    from pathlib import Path

    from supervisor.limits import Sample

_HEAD: Final = ("name", "pid", "cpu", "rss", "fds", "threads", "procs")


class Measured:
    """What everybody uses, from one look to the next.

    Args:
        project: The project directory.

    Attributes:
        document: The latest look.
    """

    def __init__(self, project: Path) -> None:
        self._project = str(project)
        self._meters: dict[tuple[str, int], Meter] = {}
        self.document: dict[str, Any] = {}

    def measure(self, status: dict[str, Any], now: float) -> None:
        """Measure everybody whom a document of ``status`` names.

        Args:
            status: The document.
            now: Monotonic seconds.
        """
        former, self._meters = self._meters, {}
        holder = status["supervisor"]
        sessions = [
            {
                "id": session["id"],
                "milestone_id": session["milestone_id"],
                "status": session["status"],
                "percentage": session["percentage"],
                "roles": [
                    {"role": role["role"], "state": role["state"], **self._one(role["pid"], former, now)}
                    for role in session["roles"]
                ],
                "tasks": self._tasks(session, former, now),
            }
            for session in status["sessions"]
            if session["supervised"]
        ]
        supervisor = {"what": holder["what"], **self._one(holder["pid"], former, now)}
        self.document = {
            "project": self._project,
            "supervisor": supervisor,
            "sessions": sessions,
            "unknown": status["unknown"],
        }

    def _one(self, pid: int | None, former: dict[tuple[str, int], Meter], now: float) -> dict[str, Any]:
        """Measure one process alone."""
        key = ("", pid or 0)
        meter = former.get(key) or Meter(below=False, descriptors=True)
        self._meters[key] = meter
        return {"pid": pid, **_sample(meter.measure((pid,), now) if pid else None)}

    def _tasks(self, session: dict[str, Any], former: dict[tuple[str, int], Meter], now: float) -> list[dict[str, Any]]:
        runner = next((role["pid"] for role in session["roles"] if role["role"] == "runner"), None)
        found: dict[str, list[int]] = {}
        for pid in children_of(runner) if runner else ():
            if attempt := _attempt_of(pid):
                found.setdefault(attempt, []).append(pid)
        rows = []
        for attempt, pids in found.items():
            key = (attempt, pids[0])
            meter = former.get(key) or Meter(descriptors=True)
            self._meters[key] = meter
            rows.append({"attempt": attempt, "pid": pids[0], **_sample(meter.measure(pids, now))})
        return rows


def _attempt_of(pid: int) -> str:
    prefix = f"{ATTEMPT_MARK}=".encode()
    for entry in (read_proc(pid, "environ") or b"").split(b"\0"):
        if entry.startswith(prefix):
            return entry.removeprefix(prefix).decode(errors="replace")
    return ""


def _sample(sample: Sample | None) -> dict[str, Any]:
    names = ("cpu_percent", "rss_bytes", "descriptors", "threads", "processes")
    if sample is None:
        return dict.fromkeys(names)
    known = attrs.asdict(sample)
    return {name: round(known[name], 1) if name == "cpu_percent" else known[name] for name in names}


def table(document: dict[str, Any]) -> list[str]:
    """Write a look down as rows under a head.

    Args:
        document: As :attr:`Measured.document`.
    """
    supervisor = document["supervisor"]
    rows = [_HEAD, _cells(supervisor["what"] or "supervisor", supervisor)]
    for session in document["sessions"]:
        rows.append((f"{session['id']}  {session['status']}, {session['percentage']}%",))
        rows += [_cells(f"  {one['role']}", one, one["state"]) for one in session["roles"]]
        rows += [_cells(f"  > {one['attempt']}", one) for one in session["tasks"]]
    width = max(len(row[0]) for row in rows if len(row) > 1)
    widths = (8, 7, 10, 5, 8, 6)
    return [
        f"{row[0]:{width}}" + "".join(f"{cell:>{wide}}" for cell, wide in zip(row[1:], widths, strict=False))
        for row in rows
    ]


def _cells(name: str, one: dict[str, Any], state: str = "RUNNING") -> tuple[str, ...]:
    if one["cpu_percent"] is None:
        return (name, str(one["pid"] or state.lower()), "", "", "", "", "")
    descriptors = "" if one["descriptors"] is None else str(one["descriptors"])
    processor = f"{one['cpu_percent']:.1f}%"
    counts = (descriptors, str(one["threads"]), str(one["processes"]))
    return (name, str(one["pid"]), processor, size_text(one["rss_bytes"]), *counts)
