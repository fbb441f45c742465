"""Whose a process is that a former life may have left: judged by the marks in its environment, never by its number.

A task's process has its session, its attempt and its project in its environment, a program of a role the mark of that
role's incarnation, which begins with who forked it: number and start time of the fork server in this boot. So neither
a number that is used again nor a later fork server can be taken for a former one.

Left behind is

- what a task of one of the sessions started, unless it names another project that is still there: a project that was
  copied has the sessions of the first in its journal, and that one may be at work;
- what a role of one of the sessions started, and whose fork server is gone: one that lives ends its own.

Where a runner and its fork server died together, what the runner's last heartbeat named as below it counts too, by pid
and start time, whatever has become of its environment.

Owns the judgement. Refuses to know when it is passed, and to kill.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from supervisor import linux
from supervisor.environment import PROJECT_MARK, SESSION_MARK
from supervisor.forked import MARK

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

_OURS = b"MILESTONED_"


def left_behind(sessions: Collection[str], project: str) -> tuple[int, ...]:
    """Name the living processes that former lives of sessions have left, this one left out.

    Args:
        sessions: Ids of sessions that nobody supervises.
        project: Absolute path of their project.
    """
    known = {session.encode() for session in sessions}
    return tuple(
        pid for pid in linux.all_pids() if pid != os.getpid() and _is_left(pid, known, project) and linux.is_alive(pid)
    )


def still_below(tops: Collection[tuple[int, int]]) -> set[int]:
    """Name the living processes at and below those that a dead parent has named, whatever their environment says.

    Args:
        tops: Pid and start time (clock ticks) of each.
    """
    living = [pid for pid, ticks in tops if linux.start_ticks(pid) == ticks]
    return {one for pid in living for one in (pid, *linux.descendants(pid)) if linux.is_alive(one)}


def _is_left(pid: int, sessions: Collection[bytes], project: str) -> bool:
    block = linux.read_proc(pid, "environ")
    if block is None or _OURS not in block:
        return False
    variables = linux.environment_of(pid)
    if variables.get(SESSION_MARK.encode()) in sessions:
        return _is_of(variables, project)
    server, _, child = variables.get(MARK.encode(), b"").partition(b":")
    return child.partition(b"/")[0] in sessions and not _lives(server)


def _is_of(variables: Mapping[bytes, bytes], project: str) -> bool:
    """Whether a task's process is of this project, or of none that is still there."""
    named = variables.get(PROJECT_MARK.encode(), b"")
    if named in {b"", os.fsencode(project)}:
        return True
    return not Path(os.fsdecode(named), ".milestones", "state.db").exists()


def _lives(server: bytes) -> bool:
    """Whether the fork server of this name, ``<pid>.<start time>``, lives."""
    pid, _, ticks = server.partition(b".")
    if not pid.isdigit() or not ticks.isdigit():
        return False
    return linux.start_ticks(int(pid)) == int(ticks) and linux.is_alive(int(pid))
