"""The notify protocol, on real sockets; and what a task sees of it."""

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from supervisor.environment import is_denied
from supervisor.notify import LONGEST_STATUS, Notifier


@pytest.fixture
def manager(world: object, tmp_path: Path) -> Iterator[socket.socket]:
    """Yield a bound socket in the place of the service manager's."""
    del world
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
        sock.bind(str(tmp_path / "notify"))
        yield sock


@pytest.fixture
def notifier(manager: socket.socket) -> Iterator[Notifier]:
    made = Notifier(manager.getsockname(), watchdog=1000.0)
    yield made
    made.close()


def heard(manager: socket.socket) -> list[str]:
    """Return the messages that have arrived, in order."""
    found = []
    while True:
        try:
            found.append(manager.recv(4096).decode())
        except BlockingIOError:
            return found


def test_the_messages_of_a_life_arrive_in_their_order(notifier: Notifier, manager: socket.socket) -> None:
    notifier.ready("2 sessions")
    notifier.beat()
    notifier.status("3 sessions")
    notifier.extend(2.5)
    notifier.stopping("ending tasks")
    assert heard(manager) == [
        "READY=1\nSTATUS=2 sessions",
        "WATCHDOG=1",
        "STATUS=3 sessions",
        "EXTEND_TIMEOUT_USEC=2500000",
        "STOPPING=1\nSTATUS=ending tasks",
    ]
    assert notifier.trouble == ""


def test_a_reload_carries_the_monotonic_time_at_which_it_began(notifier: Notifier, manager: socket.socket) -> None:
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    notifier.reloading()
    after = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    notifier.ready("configuration read")
    began, done = heard(manager)
    first, usec = began.split("\nMONOTONIC_USEC=")
    assert first == "RELOADING=1"
    assert before <= int(usec) <= after
    assert done.startswith("READY=1\n")


def test_an_abstract_socket_is_told_as_well() -> None:
    name = f"milestoned-{uuid4().hex}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as manager:
        manager.bind(f"\0{name}")
        notifier = Notifier(f"@{name}")
        notifier.ready("")
        notifier.close()
        assert heard(manager) == ["READY=1\nSTATUS="]


@pytest.mark.row("F22")
def test_a_status_cannot_forge_a_field_and_has_a_bound(notifier: Notifier, manager: socket.socket) -> None:
    notifier.status("fine\nMAINPID=1\r\u2028x")
    notifier.status("é" * 10_000)
    notifier.status("a\udcffb")
    first, second, third = heard(manager)
    assert first == "STATUS=fine MAINPID=1 x"
    assert second == "STATUS=" + "é" * LONGEST_STATUS
    assert third == "STATUS=a?b"


@pytest.mark.row("F27")
def test_a_manager_that_never_reads_stops_nothing_and_misses_no_change(
    notifier: Notifier, manager: socket.socket
) -> None:
    began = time.monotonic()
    for number in range(2000):
        notifier.status(str(number))
    assert "cannot be told" in notifier.trouble
    notifier.ready("up")
    notifier.status("lost")
    notifier.stopping("down")
    assert time.monotonic() - began < 60
    queued = heard(manager)
    assert queued == [f"STATUS={number}" for number in range(len(queued))]
    notifier.status("later")
    assert heard(manager) == ["READY=1\nSTATUS=up", "STOPPING=1\nSTATUS=down", "STATUS=later"]
    while not notifier.trouble:
        notifier.status("many")
    notifier.beat()
    notifier.status("the latest")
    heard(manager)
    notifier.beat()
    assert heard(manager) == ["STATUS=the latest", "WATCHDOG=1"]
    assert notifier.trouble == ""


@pytest.mark.row("F27")
def test_a_manager_that_went_away_stops_nothing(notifier: Notifier, manager: socket.socket, tmp_path: Path) -> None:
    manager.close()
    notifier.ready("up")
    assert "Connection refused" in notifier.trouble
    (tmp_path / "notify").unlink()
    notifier.status("up")
    assert "No such file" in notifier.trouble
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as another:
        another.bind(str(tmp_path / "notify"))
        notifier.status("found again")
        assert heard(another) == ["READY=1\nSTATUS=up", "STATUS=found again"]


def test_signs_of_life_are_given_only_if_they_are_wanted(manager: socket.socket) -> None:
    unwatched, watched = Notifier(manager.getsockname()), Notifier(manager.getsockname(), watchdog=1000.0)
    unwatched.beat()
    watched.beat()
    unwatched.close()
    watched.close()
    assert heard(manager) == ["WATCHDOG=1"]


@pytest.mark.row("F27")
def test_without_a_manager_nothing_is_said_and_nothing_fails() -> None:
    environ = {"PATH": "/bin"}
    notifier = Notifier.from_environment(environ)
    notifier.ready("up")
    notifier.beat()
    notifier.stopping("down")
    notifier.close()
    assert (notifier.is_heard, notifier.trouble, environ) == (False, "", {"PATH": "/bin"})


@pytest.mark.parametrize("address", ["relative", "vsock:2:1234"])
def test_an_address_of_an_unknown_kind_is_named(address: str) -> None:
    notifier = Notifier(address)
    notifier.ready("up")
    assert not notifier.is_heard
    assert repr(address) in notifier.trouble


def test_the_variables_are_taken_out_of_the_environment(manager: socket.socket) -> None:
    environ = {
        "NOTIFY_SOCKET": manager.getsockname(),
        "WATCHDOG_USEC": "30000000",
        "WATCHDOG_PID": str(os.getpid()),
        "PATH": "/bin",
    }
    notifier = Notifier.from_environment(environ)
    notifier.close()
    assert (notifier.watchdog, environ) == (30.0, {"PATH": "/bin"})


@pytest.mark.parametrize(
    ("usec", "pid", "expected"),
    [("2000000", "", 2.0), ("2000000", "1", 0.0), ("soon", "", 0.0), ("", "", 0.0), ("0", "", 0.0), ("-5", "", 0.0)],
)
def test_the_watchdog_is_heeded_only_if_it_watches_this_process(usec: str, pid: str, expected: float) -> None:
    notifier = Notifier.from_environment({"WATCHDOG_USEC": usec, "WATCHDOG_PID": pid})
    assert notifier.watchdog == expected


@pytest.mark.parametrize(
    "name",
    ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "MAINPID"],
)
def test_a_task_would_not_see_the_variables_even_if_they_were_left(name: str) -> None:
    assert is_denied(name)
