"""What the tests of containment have in common: whether this machine has PID namespaces, and inner numbers.

Refuses to know sessions: what is here looks at processes only.
"""

import functools
import os
from pathlib import Path

import pytest

from actors.model import Containment
from supervisor import linux
from supervisor.ladder import refusal
from tests.isolation import MARK
from tests.waiting import wait_until


@functools.cache
def _why_not() -> str:
    return " ".join(refusal(Containment.PID_NAMESPACE))


def require_namespaces() -> None:
    """Skip the test where no PID namespace can be made."""
    if why := _why_not():
        pytest.skip(why)


def outside(inner: int) -> int:
    """Return the number outside of a process of this test, given the one that it has in its own PID namespace."""
    mark = os.environ[MARK].encode()

    def found() -> int:
        for pid in linux.all_pids():
            if _inner(pid) == inner and linux.environment_of(pid).get(MARK.encode()) == mark and linux.is_alive(pid):
                return pid
        return 0

    return wait_until(found, 60.0, f"a process with the inner number {inner}")


def namespace_of(pid: int) -> str:
    """Return the name of the PID namespace that a process is in, ``""`` when it is not there."""
    try:
        return str(Path("/proc", str(pid), "ns", "pid").readlink())
    except OSError:
        return ""


def members_of(namespace: str) -> list[int]:
    """Return the living processes of a PID namespace."""
    return [pid for pid in linux.all_pids() if namespace_of(pid) == namespace and linux.is_alive(pid)]


def _inner(pid: int) -> int:
    try:
        status = Path("/proc", str(pid), "status").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0
    numbers = next((line.split()[1:] for line in status.splitlines() if line.startswith("NSpid:")), [])
    return int(numbers[-1]) if len(numbers) > 1 else 0
