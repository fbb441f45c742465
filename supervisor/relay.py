"""What a program prints, on its way: passed on as it comes, and searched for the line that says that it is ready.

The program writes to a pipe, a thread reads it and writes on to where the output goes (a file, or where the supervising
process prints). So neither a program that prints without end, nor a reader that does not read, holds up anything but
this program: as it would without the thread. Once the line is found nothing is searched any more. When the program has
ended, what it has printed is still passed on.

Owns the pipe and the thread. Refuses to know what follows from the line.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
from collections.abc import Callable
from typing import Final

from supervisor.ready_line import LineFinder
from supervisor.shortage import starting_threads

_CHUNK: Final = 1 << 16
_SURE: Final = select.PIPE_BUF  # so much goes into a pipe that says that it can be written to
_LAST_SECONDS: Final = 1.0


class Relay:
    """One pipe, and the thread that empties it.

    Args:
        name: Of the thread.
        expression: Of the line that is looked for.
        destination: Descriptor to write to; it is duplicated.
        found: Is called once in the thread, when the line has come, with what it says (see :class:`LineFinder`).

    Attributes:
        writing: The end for the program; to be closed by :meth:`handed_over`.
        thread: The thread.

    Raises:
        OSError: The system refused descriptors or the thread.
    """

    def __init__(self, name: str, expression: str, destination: int, found: Callable[[object], None]) -> None:
        self._finder: LineFinder | None = LineFinder(expression)
        self._found = found
        with contextlib.ExitStack() as opened:
            self._destination = os.dup(destination)
            opened.callback(os.close, self._destination)
            self._reading, self.writing = os.pipe2(os.O_CLOEXEC)
            opened.callback(os.close, self._reading)
            opened.callback(os.close, self.writing)
            os.set_blocking(self._reading, False)
            self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            opened.callback(os.close, self._wake)
            self._lock = threading.Lock()  # of the number above, which may be somebody else's once the thread has ended
            self._ending = False
            self.thread = threading.Thread(target=self._run, name=name, daemon=True)
            with starting_threads():
                self.thread.start()
            opened.pop_all()

    @property
    def has_found(self) -> bool:
        """Whether the line has come; from any thread."""
        return self._finder is None

    def handed_over(self) -> None:
        """Close our copy of the program's end: its end is seen by that."""
        os.close(self.writing)

    def end(self) -> None:
        """Have the thread end when it has passed on what is in the pipe now, whoever still holds the other end."""
        with self._lock:
            self._ending = True
            if self._wake >= 0:
                os.eventfd_write(self._wake, 1)

    # --- in the thread -------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while data := self._next():
                if self._finder is not None and (said := self._finder.feed(data)) is not None:
                    self._finder = None
                    self._found(said)
                self._pass_on(data)
        finally:
            with self._lock:
                wake, self._wake = self._wake, -1
            for descriptor in (wake, self._reading, self._destination):
                os.close(descriptor)

    def _next(self) -> bytes:
        """Wait for what is printed; nothing at the end."""
        while True:
            ending = self._ending
            try:
                return os.read(self._reading, _CHUNK)
            except BlockingIOError:
                if ending:
                    return b""
            self._wait(self._reading, select.POLLIN, None)

    def _pass_on(self, data: bytes) -> None:
        """Write it all, waiting for who reads; what cannot be written is lost, as it is to who prints it."""
        left = memoryview(data)
        while left and self._writable():
            try:
                left = left[os.write(self._destination, left[:_SURE]) :]
            except BlockingIOError:  # whoever shares the descriptor has made it so, and was quicker
                continue
            except OSError:
                return

    def _writable(self) -> bool:
        """Wait until more can be written; no longer than a moment once the program has ended."""
        while not self._ending:
            if self._wait(self._destination, select.POLLOUT, None):
                return True
        return self._wait(self._destination, select.POLLOUT, _LAST_SECONDS)

    def _wait(self, descriptor: int, event: int, seconds: float | None) -> bool:
        """Wait for a descriptor or, without a limit of time, for the wake-up; tell whether it was the descriptor."""
        poller = select.poll()
        poller.register(descriptor, event)
        if seconds is None:
            poller.register(self._wake, select.POLLIN)
        ready = poller.poll(None if seconds is None else seconds * 1000)
        return any(number == descriptor for number, _ in ready)
