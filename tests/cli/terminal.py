"""A terminal for tests: a program behind a pty, what it drew, and keys typed into it.

Owns the pty and the reader of what comes out of it. Refuses to interpret escape sequences beyond leaving them out.
"""

import contextlib
import fcntl
import os
import re
import select
import struct
import subprocess
import termios
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from tests.waiting import wait_until

_ESCAPES: Final = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]|\x1b[()][A-Z0-9]|\r")


def without_escapes(raw: bytes) -> str:
    """Return what was drawn as text."""
    return _ESCAPES.sub(b"", raw).decode(errors="replace")


class Terminal:
    """A program on a terminal of its own."""

    def __init__(self, process: subprocess.Popen[bytes], master: int) -> None:
        self.process = process
        self._master = master
        self.raw = b""

    def text(self) -> str:
        """Return all that was drawn so far, without escape sequences."""
        with contextlib.suppress(OSError):  # the other side is closed: EIO
            while select.select([self._master], [], [], 0)[0]:
                if not (chunk := os.read(self._master, 1 << 16)):
                    break
                self.raw += chunk
        return without_escapes(self.raw)

    def wait_for(self, words: str, timeout: float = 60.0) -> str:
        """Wait until this was drawn, and return everything that was."""
        wait_until(lambda: words in self.text() or self.process.poll() is not None, timeout, f"{words!r} on the screen")
        assert words in self.text(), self.text()
        return self.text()

    def resize(self, rows: int, columns: int) -> None:
        """Make the terminal larger or smaller."""
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def echoes(self) -> bool:
        """Tell whether what is typed is echoed now."""
        return bool(termios.tcgetattr(self._master)[3] & termios.ECHO)

    def type(self, keys: bytes) -> None:
        """Type keys."""
        os.write(self._master, keys)

    def wait(self, timeout: float = 60.0) -> int:
        """Wait for the end of the program, reading on, and return its exit code."""
        wait_until(lambda: self.text() is not None and self.process.poll() is not None, timeout, "the program's end")
        self.text()
        return self.process.returncode


def _take_the_terminal() -> None:
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


@contextlib.contextmanager
def on_terminal(
    command: Sequence[str], cwd: Path, env: Mapping[str, str] | None = None, size: tuple[int, int] = (40, 110)
) -> Iterator[Terminal]:
    """Start a program on a new terminal of so many rows and columns; end it when it is left."""
    master, slave = os.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))
    process = subprocess.Popen(
        command,
        cwd=cwd,
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env={**os.environ, "TERM": "xterm-256color", **(env or {})},
        # The new session's first terminal becomes its controlling one, so that Ctrl-C makes a signal.
        preexec_fn=_take_the_terminal,  # noqa: PLW1509 - it makes two system calls
    )
    os.close(slave)
    try:
        yield Terminal(process, master)
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(30)
        os.close(master)
