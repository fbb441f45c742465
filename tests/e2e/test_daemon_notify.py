"""What the daemon tells a service manager, and in which order; and the socket that it takes over from one."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import dropwhile
from pathlib import Path

import pytest

from actors.events import AttemptStarted
from supervisor.client import Client
from tests.e2e.stage import Project, Running, facts, milestone_of, waits_for
from tests.waiting import wait_until


class Manager:
    """A service manager's socket, and what arrived there."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.heard: list[str] = []

    def listen(self) -> list[str]:
        """Return the fields of all messages so far; a status counts by its name and value."""
        while True:
            try:
                self.heard += self._sock.recv(4096).decode().split("\n")
            except BlockingIOError:
                return self.heard

    def wait_for(self, field: str) -> None:
        wait_until(lambda: field in self.listen(), 30, field)

    def listen_until(self, predicate: Callable[[], object], what: str) -> None:
        """Wait and read meanwhile: what finds no room in the queue is not sent."""
        wait_until(lambda: self.listen() is not None and predicate(), 30, what)

    def listen_to_the_end(self, running: Running) -> int:
        """Read until the daemon has ended; return its exit code."""
        self.listen_until(lambda: running.process.poll() is not None, "it has ended")
        return running.wait()


@pytest.fixture
def manager(world: object, place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Manager]:
    """Yield a service manager whose variables the daemon gets."""
    del world
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
        sock.bind(str(place / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(place / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "800000")
        yield Manager(sock)


def test_the_messages_of_a_daemons_life_come_in_their_order(folder: Project, place: Path, manager: Manager) -> None:
    folder.write("m1", milestone_of({"id": "a", "run": f"env >{place}/variables; {waits_for(place / 'gate')}"}))
    daemon = folder.daemon()
    manager.wait_for("READY=1")
    assert folder.ctl("start", "m1").code == 0
    manager.wait_for("STATUS=1 session: m1")
    manager.listen_until(lambda: facts(folder, AttemptStarted), "the task runs")
    daemon.process.send_signal(signal.SIGHUP)
    manager.wait_for("RELOADING=1")
    daemon.process.send_signal(signal.SIGTERM)
    assert manager.listen_to_the_end(daemon) == 0
    every = manager.listen()
    named = [field for field in every if field.partition("=")[0] not in {"WATCHDOG", "MONOTONIC_USEC"}]
    unrepeated = [field for number, field in enumerate(named) if named[number - 1 : number] != [field]]
    assert unrepeated[:8] == [
        "EXTEND_TIMEOUT_USEC=90000000",
        "READY=1",
        "STATUS=no session",
        "STATUS=1 session: m1",
        "RELOADING=1",
        "READY=1",
        "STATUS=1 session: m1",
        "STOPPING=1",
    ]
    assert every[every.index("RELOADING=1") + 1].startswith("MONOTONIC_USEC=")
    assert "WATCHDOG=1" in list(dropwhile(lambda field: field != "READY=1", every))
    assert "WATCHDOG=1" not in every[: every.index("READY=1")]
    variables = {line.partition("=")[0] for line in (place / "variables").read_text().splitlines()}
    assert variables & {"NOTIFY_SOCKET", "WATCHDOG_USEC"} == set()


def test_an_end_that_takes_its_time_asks_for_more(folder: Project, manager: Manager) -> None:
    folder.configure("stop_grace: 1s\n")
    folder.write("m1", milestone_of({"id": "a", "run": "trap '' TERM; while :; do sleep 0.1; done"}))
    daemon = folder.daemon()
    manager.wait_for("READY=1")
    assert folder.ctl("start", "m1").code == 0
    manager.listen_until(lambda: facts(folder, AttemptStarted), "the task runs")
    daemon.process.send_signal(signal.SIGTERM)
    assert manager.listen_to_the_end(daemon) == 0
    every = manager.listen()
    assert "EXTEND_TIMEOUT_USEC=30000000" in every[every.index("STOPPING=1") :]


def test_a_socket_that_was_handed_over_is_served_and_left_in_its_place(folder: Project, place: Path) -> None:
    folder.write("m1", milestone_of({"id": "a", "run": "true"}))
    control = folder.path / ".milestones" / "run" / "control.sock"
    control.parent.mkdir(mode=0o700, exist_ok=True)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(control))
        listener.listen()
        number = listener.fileno()
        program = f'LISTEN_PID=$$ LISTEN_FDS=1 exec "$0" -m supervisor.daemon "$1" 3<&{number}'
        with (place / "output").open("wb") as output:
            process = subprocess.Popen(
                ["bash", "-c", program, sys.executable, str(folder.path)],
                env=dict(os.environ),
                pass_fds=[number],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        try:
            client = Client(control, 30.0)
            assert client.ask("status")["pid"] == process.pid
            client.close()
            assert folder.ctl("shutdown").code == 0
            assert process.wait(30) == 0
        finally:
            process.kill()
            process.wait()
        assert control.exists()
