"""Taking over the sockets of a socket unit: real descriptors, at the numbers of systemd, in a process of its own."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from supervisor.activation import Activated, listener_for, take_listeners

PROGRAM = """
import json, os, sys
os.environ["LISTEN_PID"] = sys.argv[1] or str(os.getpid())
from supervisor.activation import ActivationError, take_listeners
try:
    taken = take_listeners(os.environ)
except ActivationError as error:
    taken, problem = (), str(error)
else:
    problem = ""
left = sorted(name for name in os.environ if name.startswith("LISTEN_"))
answers = []
for one in taken:
    client, _ = one.sock.accept()
    with client:
        client.sendall(b"here")
    answers.append([str(one.path), one.name, one.sock.getblocking(), os.get_inheritable(one.sock.fileno())])
opened = [number for number in range(3, 3 + int(sys.argv[2])) if os.path.exists(f"/proc/self/fd/{number}")]
print(json.dumps({"taken": answers, "problem": problem, "left": left, "open": opened if problem else []}))
"""


def listening(path: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.bind(str(path))
    sock.listen(4)
    return sock


def activate(numbers: list[int], *, names: str = "", pid: str = "", count: str | None = None) -> dict[str, Any]:
    """Start the program with descriptors from 3 on, as systemd does, and return what it says."""
    moves = " ".join(f"{3 + place}<&{number}" for place, number in enumerate(numbers))
    command = f'exec "$0" -c "$1" "$2" "$3" {moves}'
    done = subprocess.run(
        ["bash", "-c", command, sys.executable, PROGRAM, pid, str(len(numbers))],
        env={**os.environ, "LISTEN_FDS": count or str(len(numbers)), "LISTEN_FDNAMES": names},
        pass_fds=numbers,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_listening_sockets_are_taken_with_path_and_name_and_answer_who_came_before(tmp_path: Path) -> None:
    first, second = tmp_path / "a.sock", tmp_path / "b.sock"
    with listening(first) as one, listening(second) as two:
        clients = []
        for path in (first, second):
            client = socket.socket(socket.AF_UNIX)
            client.connect(str(path))
            clients.append(client)
        found = activate([one.fileno(), two.fileno()], names="control:other")
        assert found["taken"] == [[str(first), "control", False, False], [str(second), "other", False, False]]
        assert (found["problem"], found["left"]) == ("", [])
        for client in clients:
            assert client.recv(16) == b"here"
            client.close()


@pytest.mark.parametrize("pid", ["1", "soon"])
def test_sockets_for_another_process_are_left_alone(tmp_path: Path, pid: str) -> None:
    with listening(tmp_path / "a.sock") as one:
        found = activate([one.fileno()], pid=pid)
    assert (found["taken"], found["problem"], found["left"]) == ([], "", [])


def test_what_is_no_control_socket_is_refused_with_what_to_do_and_everything_is_closed(tmp_path: Path) -> None:
    connected, other = socket.socketpair()
    datagram = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    datagram.bind(str(tmp_path / "d.sock"))
    abstract = socket.socket(socket.AF_UNIX)
    abstract.bind(f"\0milestoned-{os.getpid()}")
    abstract.listen()
    network = socket.create_server(("127.0.0.1", 0))
    with (
        connected,
        other,
        datagram,
        abstract,
        network,
        (tmp_path / "file").open("w") as file,
        listening(tmp_path / "a") as good,
    ):
        cases = [
            (connected.fileno(), "does not listen"),
            (datagram.fileno(), "no stream socket"),
            (abstract.fileno(), "has no path"),
            (network.fileno(), "no stream socket"),
            (file.fileno(), "is no socket"),
        ]
        for number, problem in cases:
            found = activate([good.fileno(), number], names="control:odd")
            assert problem in found["problem"]
            assert "descriptor 4 (odd)" in found["problem"]
            assert (found["taken"], found["open"]) == ([], [])


def test_a_descriptor_that_is_not_open_is_named(tmp_path: Path) -> None:
    with listening(tmp_path / "a") as good:
        assert "descriptor 4 of the socket unit is not open" in activate([good.fileno()], count="2")["problem"]


@pytest.mark.parametrize("environ", [{}, {"LISTEN_FDS": "1"}, {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "x"}])
def test_without_a_socket_unit_nothing_is_taken(environ: dict[str, str]) -> None:
    assert take_listeners(environ) == ()
    assert environ == {}


def test_a_listener_is_found_by_its_path_however_that_is_spelled(tmp_path: Path) -> None:
    (tmp_path / "project").mkdir()
    (tmp_path / "link").symlink_to("project")
    with listening(tmp_path / "project" / "control.sock") as sock:
        listener = Activated(tmp_path / "link" / "control.sock", "control", sock)
        assert listener_for(tmp_path / "project" / "control.sock", (listener,)) is listener
        assert listener_for(tmp_path / "other.sock", (listener,)) is None
