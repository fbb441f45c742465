"""The examples do what they say, by the commands in their own first lines, and leave the process as it was."""

import ast
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Final
from urllib.error import HTTPError

import attrs
import pytest

from supervisor import AsyncSupervisor, ChildSpec, Supervisor, SupervisorFlags

CHECKOUT: Final = Path(__file__).parents[2]
SECONDS: Final = 100.0

TASKS: Final = [f"task-{number:03}" for number in range(1, 17)]

OUTPUT: Final = {
    "embed_script": [
        "total: 5",
        "clock: N s; you said 'hello'",
        "counter ended: crashed (exit code 70): ValueError: what is {'add': 'a text'}?",
        "counter runs again",
        "total: 0",
        "it knows: True",
        "nothing is left",
    ],
    "embed_asyncio": [
        "  squares runs, incarnation 1",
        "  fragile runs, incarnation 1",
        "squares: [0, 1, 4, 9, 16]",
        "  fragile ended unexpectedly",
        "no answer: child 'fragile' ended before it answered: crashed (exit code 1)",
        "  fragile runs, incarnation 2",
        "it works again: GOOD MORNING",
        "nothing is left",
    ],
}


def timeless(lines: list[str]) -> list[str]:
    """Return what an example says, but for how long it took."""
    return [re.sub(r"clock: \d+ s", "clock: N s", line).removesuffix(", within a second") for line in lines]


# Runs a script as the interpreter would, and looks at the process before and after.
LOOKING: Final = """
import logging, os, runpy, signal, sys, threading
import psutil

def look():
    handlers = {number: signal.getsignal(number) for number in signal.valid_signals()}
    loggers = {name: [one.level, list(one.handlers)] for name, one in logging.Logger.manager.loggerDict.items()
               if isinstance(one, logging.Logger) and name.split(".")[0] not in {"pykka", "asyncio", "concurrent"}}
    return [handlers, loggers, logging.root.handlers, logging.root.level, threading.enumerate(),
            psutil.Process().children(recursive=True), len(os.listdir("/proc/self/fd")), os.getcwd(), dict(os.environ)]

before, code = look(), 0
del sys.argv[0]
script = os.path.abspath(sys.argv[0])  # as the interpreter has it
try:
    runpy.run_path(script, run_name="__main__")
except SystemExit as end:
    code = end.code
after = look()
assert after == before, (after, before)
sys.exit(code)
"""


INSTALLING: Final = "python -m pip install --quiet "
"""How the first command of each example begins; a test installs nothing, and uses what is there."""


def commands(name: str) -> list[str]:
    """Return the commands in the first lines of an example, without the one that installs milestoned."""
    text = ast.get_docstring(ast.parse((CHECKOUT / "examples" / f"{name}.py").read_text(encoding="utf-8")))
    first, *rest = [line.removeprefix("    $ ") for line in f"{text}".splitlines() if line.startswith("    $ ")]
    assert first.startswith((f"{INSTALLING}. ", f"{INSTALLING}'.[")) or first == f"{INSTALLING}."
    return rest


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return what looks like the checkout to whoever stands in it, but may be written to."""
    (tmp_path / "examples").symlink_to(CHECKOUT / "examples")
    return tmp_path


def environment() -> dict[str, str]:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {**os.environ, "PYTHONPATH": str(CHECKOUT), "PATH": path, "LOOKING": LOOKING}


def typed(lines: list[str], folder: Path) -> list[str]:
    """Type commands one after the other; a `python` looks at its process before and after. Return what they print."""
    script = ["set -e", 'python() { command python -c "$LOOKING" "$@"; }', *lines]
    done = subprocess.run(
        ["bash", "-c", "\n".join(script)],
        cwd=folder,
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


def test_each_example_says_how_it_is_run() -> None:
    for example in sorted((CHECKOUT / "examples").glob("embed_*.py")):
        assert any(f"examples/{example.name}" in line for line in commands(example.stem)), example.name


@pytest.mark.parametrize("name", sorted(OUTPUT))
def test_an_example_does_what_it_says_and_leaves_the_process_as_it_was(name: str, checkout: Path) -> None:
    lines = timeless(typed(commands(name), checkout))
    # What is watched and what is asked for are two stories; each is told in its order.
    for mark in (True, False):
        wanted = [line for line in OUTPUT[name] if line.startswith("  ") is mark]
        assert [line for line in lines if line.startswith("  ") is mark] == wanted


@pytest.mark.parametrize("name", ["embed_milestone", "embed_milestone_asyncio"])
def test_an_example_executes_a_milestone_and_leaves_the_process_as_it_was(name: str, checkout: Path) -> None:
    *preparing, last = commands(name)
    lines = typed([*preparing, last, last], checkout)
    assert sorted(line.split()[-1] for line in lines if "completed: " in line and "task-" in line) == TASKS
    ends = [line for line in lines if line.startswith("milestone-001: completed")]
    assert [line.strip() for line in ends][-2] == "milestone-001: completed"
    assert "is completed already" in ends[-1]


def test_an_example_of_a_milestone_says_why_it_cannot_begin(checkout: Path) -> None:
    for name in ("embed_milestone", "embed_milestone_asyncio"):
        lines = typed([f"python examples/{name}.py . m1 2>&1 || echo code $?"], checkout)
        assert "no project" in "\n".join(lines)
        assert re.fullmatch(r"code [1-9]\d*", lines[-1])


def test_the_fixture_for_pytest_keeps_its_server_alive(checkout: Path) -> None:
    lines = typed([f"{line} -p no:cacheprovider --basetemp=kept" for line in commands("embed_pytest")], checkout)
    assert "configfile: pytest.ini" in lines  # not ours, which asks for plugins that nobody else has
    assert "2 passed" in lines[-1]


@attrs.frozen
class Served:
    """The service of an example, running.

    Attributes:
        url: Where it listens.
        curls: The commands that are typed beside it.
    """

    url: str
    curls: list[str]

    def ask(self, line: str, **headers: str) -> str:
        """Do what a curl command would, and return the answer."""
        words = iter(shlex.split(line))
        assert next(words) == "curl"
        method, target = "GET", ""
        for word in words:
            match word:
                case "--silent" | "--no-buffer":
                    pass
                case "--request":
                    method = next(words)
                case "--header":
                    name, _, value = next(words).partition(": ")
                    headers = {name: value, **headers}
                case _:
                    assert word.startswith("http://127.0.0.1:8000/")
                    target = word.removeprefix("http://127.0.0.1:8000")
        request = urllib.request.Request(self.url + target, method=method, headers=headers)  # noqa: S310
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:  # noqa: S310 - loopback, as above
            text: str = answer.read().decode()
        return text

    def ask_and_leave(self, line: str) -> None:
        """Ask as a curl command would, and go away when the answer has begun."""
        host, _, port = self.url.removeprefix("http://").partition(":")
        path = line.rpartition(":8000")[2]
        with socket.create_connection((host, int(port)), timeout=SECONDS) as reader:
            reader.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            assert reader.recv(100).startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.fixture
def served(checkout: Path) -> Iterator[Served]:
    """Start the service as its first lines say, but install nothing, and at a free port; end it as Ctrl-C does."""
    *preparing, serving = [line for line in commands("embed_fastapi") if not line.startswith("curl ")]
    typed(preparing, checkout)
    assert serving.endswith(" --port 8000")
    with subprocess.Popen(
        [sys.executable, *shlex.split(serving.replace("8000", "0"))[1:]],
        cwd=checkout,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    ) as server:
        assert server.stderr is not None
        told: list[str] = []
        try:
            for line in server.stderr:
                told.append(line)
                if found := re.search(r"running on (http://127\.0\.0\.1:\d+)", line):
                    break
            else:
                pytest.fail("".join(told))
            yield Served(found[1], [line for line in commands("embed_fastapi") if line.startswith("curl ")])
            server.send_signal(signal.SIGINT)
            told += server.stderr.readlines()
            assert server.wait(SECONDS) in {0, 130, -signal.SIGINT}, told
            assert not any("Traceback" in line for line in told), told
        finally:
            server.kill()


def seqs(stream: str) -> list[int]:
    return [int(found) for found in re.findall(r"^id: (\d+)$", stream, re.MULTILINE)]


@pytest.mark.skipif(not (find_spec("fastapi") and find_spec("uvicorn")), reason="needs FastAPI and uvicorn")
def test_the_service_starts_a_milestone_and_streams_its_events_from_wherever_its_reader_was(served: Served) -> None:
    post, events, rest, status, delete = served.curls
    for early in (events, status, delete):
        with pytest.raises(HTTPError, match="404"):
            served.ask(early)
    assert "/runs/milestone-001/events" in served.ask(post)
    every = served.ask(events)
    assert re.findall(r"^event: (\w+)$", every, re.MULTILINE)[-2:] == ["SessionEnded", "end"]
    assert '"status":"completed"' in every
    assert len(re.findall(r"^event: TaskCompleted$", every, re.MULTILINE)) == len(TASKS)
    assert seqs(every) == sorted(set(seqs(every)))
    for _ in range(20):
        served.ask_and_leave(events)
    assert seqs(served.ask(rest)) == [seq for seq in seqs(every) if seq > 20]
    assert '"percentage":100' in served.ask(status)
    assert '"status":"completed"' in served.ask(delete)


def test_two_supervisors_run_in_one_process_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    example = import_module("examples.embed_script")
    threads = [threading.Thread(target=example.main) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(timeless(capsys.readouterr().out.splitlines())) == sorted(OUTPUT["embed_script"] * 2)


def blocks() -> list[str]:
    text = (CHECKOUT / "docs" / "embedding.md").read_text(encoding="utf-8")
    return re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def test_the_first_example_of_the_documentation_is_a_program(tmp_path: Path) -> None:
    script = tmp_path / "service.py"
    script.write_text(blocks()[0], encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(script)],
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("hello, Bob: I am Ann\n", "")


def test_the_documentation_names_what_there_is() -> None:
    text = (CHECKOUT / "docs" / "embedding.md").read_text(encoding="utf-8")
    for kind in (ChildSpec, SupervisorFlags):
        names = [field.name for field in attrs.fields(kind)]
        assert [name for name in names if not re.search(rf"\b{name}\b", text)] == []
    verbs = [name for name in vars(Supervisor) if not name.startswith("_")]
    assert [name for name in verbs if f"{name}" not in text and name != "fork_server_pid"] == []
    assert [name for name in verbs if not hasattr(AsyncSupervisor, name)] == []
