"""What the daemon tells a service manager, and in which order; and the socket that it takes over from one."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import dropwhile
from pathlib import Path
from time import monotonic

import pytest

from actors.events import AttemptStarted, SessionResumed, TaskCompleted
from supervisor.client import Client
from tests.e2e.stage import Done, Project, Running, facts, milestone_of, waits_for
from tests.systemd.threads import hanging
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
        wait_until(lambda: field in self.listen(), 60.0, field)

    def listen_until(self, predicate: Callable[[], object], what: str) -> None:
        """Wait and read meanwhile: what finds no room in the queue is not sent."""
        wait_until(lambda: self.listen() is not None and predicate(), 60.0, what)

    def wait_for_silence(self, field: str, seconds: float) -> None:
        """Wait until a field has not come for so long, as a manager with a watchdog of so many seconds would."""
        last = [monotonic(), self.listen().count(field)]

        def is_silent() -> bool:
            count = self.listen().count(field)
            if count != last[1]:
                last[:] = [monotonic(), count]
            return monotonic() - last[0] > seconds

        wait_until(is_silent, 60, f"no {field} any more")

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
        for refused in (folder.ctl("run", "m1"), folder.daemon()):
            code = refused.code if isinstance(refused, Done) else refused.wait()
            said = refused.err if isinstance(refused, Done) else refused.text()
            assert (code, "is listened on by a service manager" in said) == (75, True)
            assert control.exists()
    done = folder.ctl("run", "m1")
    assert done.code == 0, "what nobody listens on is replaced"


def begin(folder: Project, manager: Manager, gate: Path) -> Running:
    """Start a daemon and a session whose only task waits for the gate; return when it runs and the daemon is petted."""
    folder.write("m1", milestone_of({"id": "a", "run": waits_for(gate)}))
    daemon = folder.daemon()
    manager.wait_for("READY=1")
    assert folder.ctl("start", "m1").code == 0
    manager.listen_until(lambda: facts(folder, AttemptStarted), "the task runs")
    beats = manager.listen().count("WATCHDOG=1")
    manager.listen_until(lambda: manager.listen().count("WATCHDOG=1") > beats, "signs of life")
    return daemon


def assert_comes_back(folder: Project, gate: Path, manager: Manager) -> None:
    """Assert that a daemon that is started after the end of the former one finishes the session."""
    gate.touch()
    ready = manager.listen().count("READY=1")
    again = folder.daemon()
    manager.listen_until(lambda: manager.listen().count("READY=1") > ready, "it is ready")
    manager.listen_until(lambda: facts(folder, TaskCompleted), "the task is completed")
    assert len(facts(folder, SessionResumed)) == 1
    again.process.send_signal(signal.SIGTERM)
    assert manager.listen_to_the_end(again) == 0


def test_a_stopped_daemon_gives_no_sign_of_life_and_the_next_one_goes_on(
    folder: Project, place: Path, manager: Manager
) -> None:
    daemon = begin(folder, manager, place / "gate")
    daemon.process.send_signal(signal.SIGSTOP)
    manager.wait_for_silence("WATCHDOG=1", 2.0)
    daemon.kill()
    assert_comes_back(folder, place / "gate", manager)


def test_a_daemon_whose_supervisors_hang_gives_no_sign_of_life_and_names_them(
    folder: Project, place: Path, manager: Manager
) -> None:
    """The main thread goes on, and that is not enough."""
    daemon = begin(folder, manager, place / "gate")
    pid = daemon.process.pid
    threads = [int(task.name) for task in Path(f"/proc/{pid}/task").iterdir() if task.name != str(pid)]
    expected = (f"supervisor of {folder.session()}", f"journal of {folder.path}", f"control server of {folder.path}")
    try:
        with hanging(threads):
            manager.wait_for_silence("WATCHDOG=1", 2.0)
            wait_until(
                lambda: any(all(name in line for name in expected) for line in daemon.text().splitlines()),
                60.0,
                "all that hang are named",
            )
            daemon.process.send_signal(signal.SIGKILL)
    except PermissionError:
        pytest.skip("threads of other processes cannot be traced here (ptrace)")
    daemon.process.wait(30)
    assert "did not answer" in daemon.text()
    assert_comes_back(folder, place / "gate", manager)


def test_why_a_daemon_does_not_start_is_its_status(folder: Project, manager: Manager) -> None:
    folder.write("m1", milestone_of({"id": "a", "run": "true"}))
    folder.configure("max_parallel: many\n")
    assert manager.listen_to_the_end(folder.daemon()) == 78
    (said,) = [field for field in manager.listen() if field.startswith("STATUS=")]
    assert said.startswith("STATUS=refused: the configuration cannot be used: ")
    assert ".milestones/config/milestoned.yaml:1:15: " in said


def test_the_holder_of_a_project_is_in_the_status_of_who_was_refused(folder: Project, manager: Manager) -> None:
    folder.write("m1", milestone_of({"id": "a", "run": "true"}))
    first = folder.daemon()
    manager.wait_for("READY=1")
    assert manager.listen_to_the_end(folder.daemon()) == 75
    (said,) = [field for field in manager.listen() if field.startswith("STATUS=refused: ")]
    assert f"held by process {first.process.pid} (milestoned)" in said
    first.process.send_signal(signal.SIGTERM)
    assert manager.listen_to_the_end(first) == 0


def test_the_last_status_of_a_daemon_that_had_to_end_says_why(folder: Project, manager: Manager) -> None:
    folder.write("m1", milestone_of({"id": "a", "run": "true"}))
    daemon = folder.daemon()
    manager.wait_for("READY=1")
    (folder.path / ".milestones" / "lock").unlink()
    assert manager.listen_to_the_end(daemon) == 75
    last = [field for field in manager.listen() if field.startswith("STATUS=")][-1]
    assert last.startswith("STATUS=ended: ")
    assert "was removed or replaced" in last


def test_a_reload_of_a_daemon_that_ends_is_refused_and_nothing_is_said_of_readiness(
    folder: Project, manager: Manager
) -> None:
    folder.configure("stop_grace: 60s\n")
    folder.write("m1", milestone_of({"id": "a", "run": "trap '' TERM; while :; do sleep 0.1; done"}))
    daemon = folder.daemon()
    manager.wait_for("READY=1")
    assert folder.ctl("start", "m1").code == 0
    manager.listen_until(lambda: facts(folder, AttemptStarted), "the task runs")
    daemon.process.send_signal(signal.SIGTERM)
    manager.wait_for("STOPPING=1")
    refused = folder.ctl("reload")
    assert (refused.code, "the daemon is ending" in refused.err) == (7, True)
    daemon.process.send_signal(signal.SIGTERM)
    assert manager.listen_to_the_end(daemon) == 0
    every = manager.listen()
    assert {"READY=1", "RELOADING=1"} & set(every[every.index("STOPPING=1") :]) == set()
