"""A milestone, executed by a program with an event loop; the verbs are those of :mod:`supervisor.milestone_run`.

    async with AsyncMilestoneRun("path/to/project", "milestone-001") as run:
        async for happened in run.events():
            ...

Nothing here blocks the loop: what is waited for happens in threads. Whoever cancels a wait cancels the wait alone. Owns
waiting in an event loop. Refuses to know how anything is done.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self

from supervisor.awaiting import shielded, told_of, whatever_comes
from supervisor.execution import Execution, MilestoneEvent, MilestoneOutcome, Options

if TYPE_CHECKING:
    from supervisor.session_report import SessionReport


class AsyncMilestoneRun:
    """A milestone's execution, for a program with an event loop.

    Arguments, answers and errors are those of :class:`~supervisor.milestone_run.MilestoneRun`; give a wait its limit
    with ``asyncio.timeout``.
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
    ) -> None:
        options = Options(
            max_parallel=max_parallel,
            fail_fast=fail_fast,
            isolation=isolation,
            as_journaled=as_journaled,
            config=config,
        )
        self._execution = Execution(project, milestone, options)

    # --- life ----------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        """Start, as :meth:`start` does."""
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop, as :meth:`stop` does, whoever cancels this: a second cancellation kills what is left.

        That of the body is the first one. What was killed is taken up by the next run, as what was stopped is.
        """
        await whatever_comes(self.stop(), self._execution.kill, error)

    async def start(self) -> None:
        """Begin the session; see :meth:`MilestoneRun.start`.

        Cancelled, it ends what it has begun, in order; cancelled again, at once.
        """
        begun = self._execution.begin(os.environ)
        try:
            await shielded(begun)
        except asyncio.CancelledError as error:
            await whatever_comes(self.stop(), self._execution.kill, error)
            raise
        except BaseException:
            self._execution.join()
            raise

    async def wait(self) -> MilestoneOutcome:
        """Wait until nothing of the run is left; see :meth:`MilestoneRun.wait`."""
        self._execution.check_waiting()
        outcome = await shielded(self._execution.over)
        self._execution.join()  # a thread that has just said that it is over
        return outcome

    async def stop(self, timeout: float | None = None) -> MilestoneOutcome | None:  # noqa: ASYNC109 - then it is killed
        """End it in order; see :meth:`MilestoneRun.stop`."""
        return await self._end(timeout, final=False)

    async def cancel(self, timeout: float | None = None) -> MilestoneOutcome | None:  # noqa: ASYNC109 - as above
        """End it for good; see :meth:`MilestoneRun.cancel`."""
        return await self._end(timeout, final=True)

    def kill(self) -> None:
        """End everything at once, and return at once; the next run takes the session up."""
        self._execution.kill()

    async def _end(self, seconds: float | None, *, final: bool) -> MilestoneOutcome | None:
        if self._execution.request_stop(final=final) is None:
            return None
        try:
            async with asyncio.timeout(seconds):
                return await self.wait()
        except TimeoutError:
            self._execution.kill()
            return await self.wait()

    # --- what can be asked of it ---------------------------------------------------------------------------------

    async def pause(self) -> None:
        """Start nothing new until :meth:`resume`; see :meth:`MilestoneRun.pause`."""
        await shielded(self._execution.pause())

    async def resume(self) -> None:
        """Go on after a pause; see :meth:`MilestoneRun.resume`."""
        await shielded(self._execution.resume())

    async def retry(self, *tasks: str) -> None:
        """Attempt tasks again; see :meth:`MilestoneRun.retry`."""
        await shielded(self._execution.retry(tasks))

    async def skip(self, *tasks: str) -> None:
        """Leave tasks out; see :meth:`MilestoneRun.skip`."""
        await shielded(self._execution.skip(tasks))

    def status(self) -> SessionReport:
        """Return what the session is now, or was at its end; never waits."""
        return self._execution.report()

    async def events(self, after: int = 0) -> AsyncGenerator[MilestoneEvent, None]:
        """Iterate over what happens in the session; see :meth:`MilestoneRun.events`."""
        self._execution.check_waiting()
        with told_of(self._execution.news) as changed:
            while True:
                changed.clear()
                events, is_last = await asyncio.to_thread(self._execution.page, after)
                for event in events:
                    after = event.seq
                    yield event
                if is_last:
                    return
                if not events:
                    await changed.wait()
