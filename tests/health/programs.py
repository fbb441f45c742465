"""Programs that use things up, one line at a time as a test tells them, and never by themselves.

Owns starting them and waiting for their answers. Refuses to measure.
"""

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from typing import Final

from attrs import frozen

_PROGRAM: Final = """
import os, subprocess, sys, threading
held = []
print("ready", flush=True)
for line in sys.stdin:
    verb, _, amount = line.strip().partition(" ")
    number = int(amount) if amount.isdigit() else 0
    if verb == "memory":
        held.append(b"x" * number)
    elif verb == "files":
        held += [os.open(os.devnull, os.O_RDONLY) for _ in range(number)]
    elif verb == "threads":
        for _ in range(number):
            threading.Thread(target=threading.Event().wait, daemon=True).start()
    elif verb == "ticks":
        start = sum(os.times()[:2])
        while sum(os.times()[:2]) < start + number / 100:
            pass
    elif verb == "child":
        child = subprocess.Popen([sys.executable, "-c", sys.argv[1], sys.argv[1]], stdin=subprocess.PIPE,
                                 stdout=subprocess.PIPE, text=True, bufsize=1)
        child.stdout.readline()
        held.append(child)
    elif verb == "tell":
        child.stdin.write(amount + "\\n")
        child.stdout.readline()
    elif verb == "reap":
        child.stdin.close()
        child.wait()
    print("done", flush=True)
"""


@frozen
class Glutton:
    """A running program."""

    process: subprocess.Popen[str]

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    def tell(self, line: str) -> None:
        """Have it do something, and wait until it has.

        Args:
            line: ``memory BYTES``, ``files N``, ``threads N``, ``ticks N`` (hundredths of a second of processor
                time), ``child``, ``tell LINE`` (to the last child), or ``reap``.
        """
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "done\n"


@contextlib.contextmanager
def glutton() -> Iterator[Glutton]:
    """Start a program; it ends with the block."""
    command = [sys.executable, "-c", _PROGRAM, _PROGRAM]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield Glutton(process)
        finally:
            assert process.stdin is not None
            process.stdin.close()
