"""A thread's loop: one selector, calls from other threads, and alarms.

Owns waiting and the wake-up. Refuses to know what is waited for: whoever owns the thread registers descriptors with
the selector and decides, turn by turn, in which order things are done.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import Final

_MAX_WAIT: Final = 60.0

_WAKEUPS: Final = 4096
"""Bytes of wake-ups that are taken at once, more than ever wait."""


class Loop:
    """What a thread waits with.

    ``call`` and ``call_at`` may be called from any thread and from signal handlers, ``together`` from any thread, and
    everything else only from the loop's own.

    Attributes:
        selector: For descriptors; ``None`` as a key's data is the loop's own.
    """

    def __init__(self) -> None:
        self.selector = selectors.DefaultSelector()
        # Of the two below, which other threads reach too; and a signal handler, that interrupts whoever holds it.
        self._lock = threading.RLock()
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._calls: deque[Callable[[], None]] = deque()
        self._together = threading.Lock()
        self._alarms: dict[Hashable, tuple[float, Callable[[], None]]] = {}
        self._signal_pipe: tuple[int, ...] = ()
        self.selector.register(self._wake, selectors.EVENT_READ)

    # --- from other threads --------------------------------------------------------------------------------------

    def call(self, function: Callable[[], None]) -> bool:
        """Have a function run in the loop's thread, soon; never blocks.

        Returns:
            Whether it was taken; a closed loop does nothing.
        """
        with self._lock:  # or the wake-up could be closed meanwhile, and its number be somebody else's
            if self._wake < 0:
                return False
            self._calls.append(function)
            os.eventfd_write(self._wake, 1)
            return True

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Have what is called meanwhile, by whomever, run in one turn; nothing in between may wait for the loop."""
        with self._together:
            yield

    def call_at(self, mono: float, function: Callable[[], None]) -> None:
        """Have a function run in the loop's thread at a moment of the monotonic clock."""
        self.call(lambda: self.set_alarm(object(), mono, function))

    # --- in the loop's thread ------------------------------------------------------------------------------------

    def set_alarm(self, name: Hashable, mono: float, function: Callable[[], None]) -> None:
        """Have a function run at a moment of the monotonic clock, instead of the alarm of this name before."""
        self._alarms[name] = (mono, function)

    def heed_signals(self) -> None:
        """Return from :meth:`wait` for signals too, whichever thread they meet; only in the process's main thread.

        Handlers run in the main thread alone, but a system call of it is interrupted only if the system has picked it.
        Of two signals at once the second goes to another thread: its handler would run whenever something else comes.
        """
        reading, writing = self._signal_pipe = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self.selector.register(reading, selectors.EVENT_READ)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)

    def wait(self, due: float) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait until something is ready, somebody calls, an alarm is due, or a moment has come.

        Args:
            due: The moment, in seconds of the monotonic clock; infinite for none.

        Returns:
            What the selector found, without the loop's own wake-ups.
        """
        moment = min([due, *(mono for mono, _ in self._alarms.values())])
        # What is left of a turn that an error cut short has no wake-up of its own any more.
        timeout = 0.0 if self._calls else min(max(0.0, moment - time.monotonic()), _MAX_WAIT)
        found = self.selector.select(timeout)
        for key, _ in found:
            if key.data is None:
                os.read(key.fd, _WAKEUPS)
        return [(key, events) for key, events in found if key.data is not None]

    def run_calls(self) -> None:
        """Run what other threads have asked for by now, in order; what they ask for meanwhile has its turn after."""
        with self._together:
            count = len(self._calls)
        for _ in range(count):
            self._calls.popleft()()

    def ring(self) -> None:
        """Run the alarms that are due."""
        now = time.monotonic()
        due = [name for name, (mono, _) in self._alarms.items() if now >= mono]
        for function in [self._alarms.pop(name)[1] for name in due]:
            function()

    def disown(self, also: Iterable[int] = ()) -> None:
        """Let go of everything that is waited for, in a process that was forked from the loop's.

        Sockets that a second process holds would hide that the first has ended. Their numbers stay taken, so that
        nobody who still knows them closes what is somebody else's.

        Args:
            also: Descriptors that are not waited for here, now.
        """
        if self._wake < 0:
            return
        nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        for number in (self.selector.fileno(), *(key.fd for key in self.selector.get_map().values()), *also):
            os.dup2(nothing, number, inheritable=False)
        os.close(nothing)

    def close(self) -> tuple[Callable[[], None], ...]:
        """Give the descriptors back.

        Returns:
            What was called and has not run yet: it never will.
        """
        self.selector.close()
        if self._signal_pipe:
            signal.set_wakeup_fd(-1)
        for descriptor in self._signal_pipe:
            os.close(descriptor)
        with self._lock:
            wake, self._wake = self._wake, -1
            os.close(wake)
            left = tuple(self._calls)
            self._calls.clear()
        return left
