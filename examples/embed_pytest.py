"""A pytest fixture that keeps a real server running while tests use it, whatever they do to it.

From the checkout, in an environment of your own:

    $ python -m pip install --quiet . 'pytest>=9'
    $ pytest examples/embed_pytest.py

The server is Python's own `http.server`, on a port that the kernel chooses. It is ready once it has printed that port;
a test that kills it gets the next one, and nothing is left when the tests are over.
"""

import os
import signal
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from supervisor import ChildFatal, ChildRow, ChildRunning, ChildSpec, ProgramSpec, Supervisor, SupervisorFlags, describe

SERVER = (sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1")
"""`-u`: without it the line would be kept back, because it does not go to a terminal."""


@attrs.frozen
class Web:
    """The server, whichever incarnation of it runs."""

    supervisor: Supervisor

    @property
    def row(self) -> ChildRow:
        """What the supervisor knows of it: `pid`, `incarnation`, and the groups of its line in `info`."""
        return self.supervisor.which_child("web")

    def get(self, path: str) -> str:
        """Return what it answers."""
        info = self.row.info
        assert isinstance(info, dict)
        with urllib.request.urlopen(f"http://127.0.0.1:{info['port']}/{path}", timeout=30) as answer:
            text: str = answer.read().decode()
        return text

    def wait_for(self, incarnation: int) -> None:
        """Wait until this start of it is ready."""
        for event in self.supervisor.events(timeout=60):
            match event:
                case ChildRunning() if event.incarnation == incarnation:
                    return
                case ChildFatal(reason=reason):
                    raise AssertionError(f"it was given up: {describe(reason)}")
                case _:
                    pass
        raise AssertionError(f"incarnation {incarnation} did not run")


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    """Serve a directory: the test begins when the server is ready, and it is gone when the test is over."""
    (tmp_path / "hello.txt").write_text("good morning", encoding="utf-8")
    program = ProgramSpec(SERVER, cwd=str(tmp_path), ready_line=r"Serving HTTP on .* port (?P<port>\d+)")
    children = [ChildSpec("web", program=program, start_timeout=60, quarantine=True)]
    with Supervisor(children, SupervisorFlags(intensity=3, period=60)) as supervisor:
        yield Web(supervisor)


def test_the_server_is_ready_when_the_test_begins(web: Web) -> None:
    """No waiting and no retrying: it has said that it listens."""
    assert web.get("hello.txt") == "good morning"


def test_a_server_that_was_killed_comes_back(web: Web) -> None:
    """A test may do its worst: the next incarnation has a process, and a port, of its own."""
    former = web.row.pid
    assert former is not None
    os.kill(former, signal.SIGKILL)
    web.wait_for(incarnation=2)
    assert web.row.pid != former
    assert web.get("hello.txt") == "good morning"
