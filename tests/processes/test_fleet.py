"""The fleet with a real fork server and real children, driven by hand: what it holds, and what it tells."""

import contextlib
import math
import os
import resource
import selectors
import signal
import time
from collections.abc import Iterator
from typing import TypeVar

import pytest

from actors.dialogue import DIALOGUE, Word
from supervisor.core_events import Event, Exited, Spawned
from supervisor.exits import Crashed, ExitReason
from supervisor.fleet import PRELOAD_SECONDS, Child, Fleet
from supervisor.linux import is_alive
from tests.waiting import wait_until

E = TypeVar("E", bound=Event)

CHILD = "one"


class Watched:
    """A fleet and the loop that drives it; the fleet's owner, which keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[Event] = []
        self.latest = 0
        self.selector = selectors.DefaultSelector()
        self.fleet: Fleet[Word] = Fleet(self.selector, DIALOGUE, ("actors.child", "tests.api.cast"), self)
        self.fleet.start_server()

    def spawn(self, incarnation: int) -> None:
        """Have the child forked: a function that waits to be killed."""
        self.latest = incarnation
        args: dict[str, object] = {"target": "tests.api.cast:never_ready", "args": {}, "beat_seconds": None}
        given = {**args, "incarnation": incarnation, "last_exit": ""}
        self.fleet.spawn("", CHILD, incarnation, "actors.child:main", given, role=True)

    def turn(self) -> None:
        """Do what is there to be done."""
        for key, events in self.selector.select(0.01):
            self.fleet.ready(key, events)

    def wait_for(self, kind: type[E], incarnation: int) -> E:
        """Go on until something was told."""

        def found() -> E | None:
            self.turn()
            mine = (one for one in self.told if isinstance(one, kind))
            return next((one for one in mine if getattr(one, "incarnation", 0) == incarnation), None)

        told = wait_until(found, 60.0, f"{kind.__name__} of incarnation {incarnation}")
        assert told is not None
        return told

    def child(self, incarnation: int) -> Child[Word]:
        """Return what the fleet knows of an incarnation."""
        found = self.fleet.find("", CHILD, incarnation)
        assert found is not None
        return found

    # --- the owner ---------------------------------------------------------------------------------------------------

    def tell(self, session: str, message: Event) -> None:
        assert not session
        self.told.append(message)

    def received(self, child: Child[Word], frame: Word) -> None: ...

    def hung_up(self, child: Child[Word]) -> None: ...

    def orphaned(self, child: Child[Word]) -> None: ...

    def server_lost(self, reason: str) -> None:
        raise AssertionError(reason)

    def standby(self, name: str, pid: int, ended: ExitReason | None) -> None: ...


@pytest.fixture
def watched() -> Iterator[Watched]:
    made = Watched()
    yield made
    made.fleet.kill(made.fleet.find("", CHILD, made.latest))
    made.fleet.release()
    made.selector.close()


@contextlib.contextmanager
def no_descriptor() -> Iterator[None]:
    """Leave this process no further descriptor meanwhile."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def spawn_without_pidfd(watched: Watched) -> Child[Word]:
    """Have a child of whose process no descriptor could be taken."""
    with contextlib.ExitStack() as short:
        # The fork server is stopped until our last descriptor is gone.
        os.kill(watched.fleet.server_pid, signal.SIGSTOP)
        watched.spawn(1)
        short.enter_context(no_descriptor())
        os.kill(watched.fleet.server_pid, signal.SIGCONT)
        watched.wait_for(Spawned, 1)
    child = watched.child(1)
    assert (child.pid > 0, child.pidfd) == (True, -1)
    return child


@pytest.mark.row("F10")
def test_a_child_of_which_no_descriptor_could_be_had_is_killed_all_the_same(watched: Watched) -> None:
    watched.fleet.kill(spawn_without_pidfd(watched))
    assert watched.wait_for(Exited, 1).reason == Crashed(signal=signal.SIGKILL)


@pytest.mark.row("F10")
def test_a_child_of_which_no_descriptor_could_be_had_has_ended_when_its_fork_server_has(watched: Watched) -> None:
    pid = spawn_without_pidfd(watched).pid
    os.kill(watched.fleet.server_pid, signal.SIGKILL)
    watched.wait_for(Exited, 1)
    wait_until(lambda: not is_alive(pid), 60.0, "the child dies with the fork server")


def test_an_incarnation_that_nobody_waits_for_any_more_holds_nothing(watched: Watched) -> None:
    """It could not be killed, and its supervisor ended without it: its place is another's now."""
    watched.spawn(1)
    watched.wait_for(Spawned, 1)
    pid, held = watched.child(1).pid, len(watched.selector.get_map())
    watched.spawn(2)
    watched.wait_for(Spawned, 2)
    assert len(watched.selector.get_map()) == held
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not is_alive(pid), 60.0, "the former incarnation ends")
    watched.fleet.kill(watched.child(2))
    watched.wait_for(Exited, 2)
    assert [one for one in watched.told if isinstance(one, Exited) and one.incarnation == 1] == []


@pytest.mark.row("F15")
def test_a_fork_server_is_not_blamed_for_the_time_in_which_we_did_not_run(watched: Watched) -> None:
    server = watched.fleet.server_pid
    os.kill(server, signal.SIGSTOP)
    watched.spawn(1)
    watched.child(1).awaited_since = time.monotonic() - PRELOAD_SECONDS - 60.0  # as after a stop of the whole machine
    watched.fleet.look()
    os.kill(server, signal.SIGCONT)
    watched.wait_for(Spawned, 1)
    assert watched.fleet.server_pid == server
    assert watched.fleet.due == math.inf
