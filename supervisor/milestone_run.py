"""A milestone, executed by a program of yours, under supervision in the program's own process.

    with MilestoneRun("path/to/project", "milestone-001", max_parallel=4) as run:
        for happened in run.events():
            print(happened.seq, happened.event)
        print(run.wait().status)

It takes no signal handlers, configures no logging, and changes nothing of the process. There may be any number of runs,
of the same project too; every method may be called from any thread. While one lives, `milestonectl` reaches the project
as ever. Owns waiting in threads. Refuses to know how anything is done.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import TimeoutError as FutureTimeoutError
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self

from supervisor.beginning import IO_ERROR, RunRefusedError
from supervisor.callback import call_with_each, check_callback
from supervisor.execution import Execution, MilestoneEvent, MilestoneOutcome, Options
from supervisor.shortage import refusal, starting_threads

if TYPE_CHECKING:
    from supervisor.session_report import SessionReport


class MilestoneRun:
    """A milestone's execution, as :command:`milestonectl run` does it.

    An unfinished session of the milestone is taken up again; completed tasks are never run twice.

    Args:
        project: Directory that holds ``.milestones``.
        milestone: Its id.
        max_parallel: Tasks at once; as the project's configuration says when not given, as with what follows.
        fail_fast: Whether nothing new is started once a task has failed.
        isolation: ``"worktree"``, or ``"none"`` to run tasks in place and without commits.
        as_journaled: Go on with the tasks as they were, although the file was edited.
        config: Configuration file over the usual ones.
        on_event: Is called with each event, one after the other, in a thread of its own; :meth:`wait` and :meth:`stop`
            wait until it has returned from the last one. What it raises goes to ``threading.excepthook`` (which passes
            over a ``SystemExit``) and ends nothing.

    Raises:
        SpecError: An argument is of another kind than what it says; nothing has begun.
    """

    def __init__(  # noqa: PLR0913 - one parameter for each option of the command
        self,
        project: str | os.PathLike[str],
        milestone: str,
        *,
        max_parallel: int | None = None,
        fail_fast: bool | None = None,
        isolation: Literal["worktree", "none"] | None = None,
        as_journaled: bool = False,
        config: str | os.PathLike[str] | None = None,
        on_event: Callable[[MilestoneEvent], object] | None = None,
    ) -> None:
        check_callback("milestone run", on_event)
        options = Options(
            max_parallel=max_parallel,
            fail_fast=fail_fast,
            isolation=isolation,
            as_journaled=as_journaled,
            config=config,
        )
        self._execution = Execution(project, milestone, options)
        self._on_event = on_event
        self._caller: threading.Thread | None = None

    # --- life ----------------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        """Start, as :meth:`start` does."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop, as :meth:`stop` does."""
        self.stop()

    def start(self) -> None:
        """Begin the session, or go on with an unfinished one; returns when that is journaled.

        A milestone that is completed already has nothing to do: it is over at once, with that as its outcome.

        Raises:
            RunRefusedError: It cannot begin: an invalid file, a project that another process holds, no thread for
                ``on_event``, and the like.
            NotRunningError: It was started before.
        """
        begun = self._execution.begin(os.environ)
        try:
            begun.result()
            if self._on_event is not None:
                self._start_caller(self._on_event)
        except BaseException:
            self._execution.kill()
            self._execution.join()
            raise

    def _start_caller(self, function: Callable[[MilestoneEvent], object]) -> None:
        caller = threading.Thread(
            target=call_with_each, args=(function, self.events()), name="milestone-events", daemon=True
        )
        try:
            with starting_threads():
                caller.start()
        except OSError as error:
            raise RunRefusedError(IO_ERROR, f"no thread for on_event: {refusal(error)}") from error
        self._caller = caller

    def wait(self, timeout: float | None = None) -> MilestoneOutcome:
        """Wait until nothing of the run is left.

        Args:
            timeout: Seconds; ``None`` for as long as it takes.

        Raises:
            TimeoutError: It is still there, or ``on_event`` has not returned.
            RunRefusedError: Its beginning was refused.
            NotRunningError: It was not started.
        """
        self._execution.check_waiting()
        until = None if timeout is None else time.monotonic() + timeout
        try:
            outcome = self._execution.over.result(timeout)
        except FutureTimeoutError:
            raise TimeoutError(f"the milestone still runs after {timeout:g} s") from None
        self._execution.join(_left(until))
        if self._caller is not None and self._caller is not threading.current_thread():
            self._caller.join(_left(until))
            if self._caller.is_alive():
                raise TimeoutError(f"on_event has not returned after {timeout:g} s")
        return outcome

    def stop(self, timeout: float | None = None) -> MilestoneOutcome | None:
        """End it in order: running tasks are ended, the session is taken up by the next run.

        Args:
            timeout: Seconds after which everything that is left is killed, and ``on_event`` is not waited for any
                more; ``None`` for never.

        Returns:
            How it ended; ``None`` when it was never started, and in a process that was forked from its own.
        """
        return self._end(timeout, final=False)

    def cancel(self, timeout: float | None = None) -> MilestoneOutcome | None:
        """End it for good: the session is not taken up again. As :meth:`stop` otherwise."""
        return self._end(timeout, final=True)

    def kill(self) -> None:
        """End everything at once, and return at once; the next run takes the session up."""
        self._execution.kill()

    def _end(self, timeout: float | None, *, final: bool) -> MilestoneOutcome | None:
        if self._execution.request_stop(final=final) is None:
            return None
        try:
            return self.wait(timeout)
        except TimeoutError:
            self._execution.kill()
            outcome = self._execution.over.result()
            self._execution.join()
            return outcome

    # --- what can be asked of it ---------------------------------------------------------------------------------

    def pause(self) -> None:
        """Start nothing new until :meth:`resume`; what runs goes on.

        Raises:
            RequestRefusedError: It is not to be paused now.
            NotRunningError: It does not run.
        """
        self._execution.pause().result()

    def resume(self) -> None:
        """Go on after a pause; raises as :meth:`pause`."""
        self._execution.resume().result()

    def retry(self, *tasks: str) -> None:
        """Attempt tasks again that have failed, all of them when none is named; raises as :meth:`pause`."""
        self._execution.retry(tasks).result()

    def skip(self, *tasks: str) -> None:
        """Leave tasks out, and with them what needs them; raises as :meth:`pause`."""
        self._execution.skip(tasks).result()

    def status(self) -> SessionReport:
        """Return what the session is now, a fraction of a second behind its events, or was at its end.

        Raises:
            NotRunningError: There is no session: it has not begun, or the milestone was completed before.
        """
        return self._execution.report()

    def events(self, after: int = 0) -> Iterator[MilestoneEvent]:
        """Iterate over what happens in the session, from its first event on, until it is over.

        They come from the journal: none is missed or doubled, however slow the reader, and whatever was killed
        meanwhile. In a session that was taken up again the events of its former lives come first.

        Args:
            after: Seq of the last event that was seen, to go on after it.

        Raises:
            NotRunningError: It was not started.
            SupervisionError: The journal cannot be read.
        """
        self._execution.check_waiting()
        while True:
            events, is_last = self._execution.page(after)
            for event in events:
                after = event.seq
                yield event
            if is_last:
                return
            if not events:
                self._execution.news.wait(after)


def _left(until: float | None) -> float | None:
    """Return the seconds up to a moment of the monotonic clock; ``None`` where there is no such moment."""
    return None if until is None else max(0.0, until - time.monotonic())
