"""A child that its SIGKILL does not end: it is told of, nobody waits for it in vain, and no second copy is started.

The child is a real process that cannot die: traced with `PTRACE_O_TRACEEXIT`, it stands still within its own exit,
until who traces it lets it go. To a supervisor it looks like a process that waits for a device that does not answer.
"""

import contextlib
import ctypes
import errno
import os
import threading
from collections.abc import Iterator
from typing import Final

import pytest

from supervisor import (
    BRUTAL_KILL,
    ChildExited,
    ChildUnkillable,
    EndCause,
    Refusal,
    RefusedError,
    Shutdown,
    Supervisor,
    SupervisorStopped,
    Unkillable,
)
from supervisor.linux import is_alive, stat_of
from tests.api.stage import MANY, TIMEOUT, echo, expect, who
from tests.waiting import wait_until

SEIZE: Final = 0x4206
DETACH: Final = 17
TRACE_EXIT: Final = 0x40
WALL: Final = 0x40000000


def ptrace(request: int, pid: int, options: int) -> int:
    """Make a request to the kernel; return its error, 0 for none."""
    call = ctypes.CDLL(None, use_errno=True).ptrace
    call.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    call.restype = ctypes.c_long
    return 0 if call(request, pid, None, options) == 0 else ctypes.get_errno()


@contextlib.contextmanager
def undying(pid: int) -> Iterator[None]:
    """Keep a process from ending meanwhile; for one kill, and in the thread that asks for it."""
    refused = ptrace(SEIZE, pid, TRACE_EXIT)
    if refused in {errno.EPERM, errno.ENOSYS}:
        pytest.skip("this machine lets nobody trace a process")
    assert not refused
    try:
        yield
    finally:
        with contextlib.suppress(ChildProcessError):  # it has ended all the same
            os.waitpid(pid, WALL)
            ptrace(DETACH, pid, 0)


@pytest.fixture
def _little_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("lifecycle", "sequencer"):
        monkeypatch.setattr(f"supervisor.{module}.UNKILLABLE_SECONDS", 0.5)


@pytest.mark.row("P15")
@pytest.mark.usefixtures("_little_patience")
def test_a_child_that_cannot_be_killed_is_told_of_and_never_started_a_second_time() -> None:
    with Supervisor([echo("before"), echo("stuck", shutdown=BRUTAL_KILL), echo("after")], MANY) as supervisor:
        stuck = who(supervisor, "stuck")["pid"]
        with undying(stuck):
            with pytest.raises(TimeoutError):
                supervisor.terminate_child("stuck", timeout=0.0)
            told = expect(supervisor, ChildUnkillable)
            assert (told.child, told.incarnation, told.pid, told.after) == ("stuck", 1, stuck, 0.5)
            row = supervisor.which_child("stuck")
            assert (row.state, row.pid, row.incarnation) == ("STOPPING", stuck, 1)
            assert (stat_of(stuck) or pytest.fail("it is there")).state == "t"
            assert who(supervisor, "before")["incarnation"] == 1
            assert who(supervisor, "after")["incarnation"] == 1
        expect(supervisor, ChildExited, lambda one: one.child == "stuck")
        assert supervisor.restart_child("stuck", timeout=TIMEOUT).incarnation == 2
        with pytest.raises(RefusedError) as refused:
            supervisor.start_child(echo("stuck"))
        assert refused.value.why is Refusal.ALREADY_STARTED


@pytest.mark.row("P15")
@pytest.mark.usefixtures("_little_patience")
def test_an_end_goes_on_without_a_child_that_cannot_be_killed_and_ends_the_others_in_order() -> None:
    supervisor = Supervisor([echo("before"), echo("stuck", shutdown=BRUTAL_KILL), echo("after")], MANY)
    supervisor.start()
    pids = {child: who(supervisor, child)["pid"] for child in ("before", "stuck", "after")}
    ending = threading.Thread(target=supervisor.stop)
    with undying(pids["stuck"]):
        ending.start()
        assert expect(supervisor, SupervisorStopped).cause is EndCause.ASKED
        assert is_alive(pids["stuck"])
        assert not is_alive(pids["before"])
    ending.join(30.0)
    assert supervisor.wait(TIMEOUT).cause is EndCause.ASKED
    ends = [(one.child, one.reason) for one in supervisor.events() if isinstance(one, ChildExited)]
    assert ends == [("after", Shutdown()), ("stuck", Unkillable(0.5)), ("before", Shutdown())]
    for pid in pids.values():
        wait_until(lambda pid=pid: not is_alive(pid), 60.0, "nothing is left")  # type: ignore[misc]
