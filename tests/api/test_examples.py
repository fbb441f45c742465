"""The examples do what they say, as programs of their own, and leave the process as it was."""

import os
import re
import subprocess
import sys
import threading
from importlib import import_module
from pathlib import Path
from typing import Final

import attrs
import pytest

from supervisor import AsyncSupervisor, ChildSpec, Supervisor, SupervisorFlags

CHECKOUT: Final = Path(__file__).parents[2]

OUTPUT: Final = {
    "embed_script": [
        "total: 5",
        "clock: 0 s; you said 'hello'",
        "counter ended: crashed (exit code 70): ValueError: what is {'add': 'a text'}?",
        "counter runs again, within a second",
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

before = look()
runpy.run_path(sys.argv[1], run_name="__main__")
after = look()
assert after == before, (after, before)
"""


@pytest.mark.parametrize("name", sorted(OUTPUT))
def test_an_example_does_what_it_says_and_leaves_the_process_as_it_was(name: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOOKING, str(CHECKOUT / "examples" / f"{name}.py")],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    # What is watched and what is asked for are two stories; each is told in its order.
    for mark in (True, False):
        wanted = [line for line in OUTPUT[name] if line.startswith("  ") is mark]
        assert [line for line in lines if line.startswith("  ") is mark] == wanted


def test_two_supervisors_run_in_one_process_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    example = import_module("examples.embed_script")
    threads = [threading.Thread(target=example.main) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(capsys.readouterr().out.splitlines()) == sorted(OUTPUT["embed_script"] * 2)


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
