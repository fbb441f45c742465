"""The supervision library for a program with an event loop; its verbs are those of :mod:`supervisor.embedding`.

    async with AsyncSupervisor([ChildSpec("greeter", Greeter, args={"name": "x"})]) as supervisor:
        answer = await supervisor.ask("greeter", {"sum": [1, 2]})
        async for event in supervisor.events():
            ...

Nothing here blocks the loop: what is waited for happens in the supervisor's own threads. Whoever cancels a wait cancels
the wait alone: a request that was made is carried out. Owns waiting in an event loop. Refuses to know milestones.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from supervisor.api_errors import AskTimeoutError, SupervisionError
from supervisor.awaiting import shielded, told_of, whatever_comes
from supervisor.core_effects import Ended, Started
from supervisor.embedding import ASK_SECONDS, DEFAULT_FLAGS, check_seconds, found
from supervisor.spec import ChildSpec, SupervisorFlags
from supervisor.supervision import Hosting, OnEvent, Supervision

if TYPE_CHECKING:
    from supervisor.event_log import PublicEvent
    from supervisor.roster import ChildRow, Counts

T = TypeVar("T")


class AsyncSupervisor:
    """A supervisor of processes, with OTP's rules, for a program with an event loop.

    Its methods are those of :class:`~supervisor.embedding.Supervisor`, with the same arguments, answers and errors;
    give a wait its limit with ``asyncio.timeout``. One object may be used from several event loops.

    Args:
        children: Specs in start order.
        flags: How it treats them; OTP's defaults when not given.
        on_event: As of :class:`~supervisor.embedding.Supervisor`: called in a thread of its own.
        preload: As of :class:`~supervisor.embedding.Supervisor`.
        output: As of :class:`~supervisor.embedding.Supervisor`.

    Raises:
        SpecError: A spec, or the flags, cannot be kept; nothing was started.
    """

    def __init__(
        self,
        children: Iterable[ChildSpec] = (),
        flags: SupervisorFlags = DEFAULT_FLAGS,
        *,
        on_event: OnEvent | None = None,
        preload: Sequence[str] | None = None,
        output: int | None = None,
    ) -> None:
        self._tree = Supervision(children, flags, Hosting(on_event=on_event, preload=preload, output=output))

    # --- life ----------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        """Start, as :meth:`start` does."""
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop, as :meth:`stop` does, whoever cancels this: a second cancellation kills what is left.

        That of the body is the first one.
        """
        await whatever_comes(self.stop(), self._tree.kill, error)

    async def start(self) -> None:
        """Start all children in order; returns when the last one is ready.

        Cancelled, it ends what it has started, in order; cancelled again, at once.

        Raises:
            StartError: A child did not start; those before it were ended again.
            NotRunningError: It was started before, or supervision itself broke.
        """
        started = self._tree.begin()
        try:
            await shielded(started)
        except SupervisionError:
            self._tree.join()
            raise
        except BaseException as error:
            await whatever_comes(self.stop(), self._tree.kill, error)
            raise

    async def stop(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 - what is left is killed then
        """End all children in reverse start order, each within its shutdown time; returns when nothing is left.

        Args:
            timeout: Seconds after which everything that is left is killed; ``None`` for never.
        """
        check_seconds(timeout)
        self._tree.check_waiting()
        over = self._tree.request_stop()
        if over is None:
            return
        waiting = asyncio.ensure_future(shielded(over))
        with contextlib.suppress(SupervisionError):
            done, _ = await asyncio.wait({waiting}, timeout=timeout)
            if not done:
                self._tree.kill()
            await waiting
        self._tree.join()  # of a thread that has just said that it is over

    async def wait(self) -> Ended:
        """Wait until the supervisor has ended, by itself or because somebody stopped it.

        Returns:
            How it ended.

        Raises:
            NotRunningError: It was not started, or supervision itself broke.
        """
        self._tree.check_process()
        self._tree.check_waiting()
        self._tree.check_begun()
        return await shielded(self._tree.over)

    # --- messages ------------------------------------------------------------------------------------------------

    def tell(self, child: str, message: object) -> None:
        """Send a message, at most once; see :meth:`supervisor.embedding.Supervisor.tell`. It never waits."""
        self._tree.tell(child, message)

    async def ask(self, child: str, message: object, timeout: float = ASK_SECONDS) -> Any:  # noqa: ANN401, ASYNC109
        """Send a message and return its answer; see :meth:`supervisor.embedding.Supervisor.ask`."""
        check_seconds(timeout)
        answer = self._tree.ask(child, message)
        try:
            return await asyncio.wait_for(asyncio.wrap_future(answer), timeout)
        except TimeoutError as error:
            if isinstance(error, SupervisionError):
                raise
            raise AskTimeoutError(child, timeout) from None

    # --- administration ------------------------------------------------------------------------------------------

    async def start_child(self, spec: ChildSpec, *, under: str = "") -> Started:
        """Add a child and start it; see :meth:`supervisor.embedding.Supervisor.start_child`."""
        return cast("Started", await shielded(self._tree.start_child(spec, under)))

    async def start_instance(self, args: Mapping[str, object], *, under: str = "") -> Started:
        """Start a child from the template; see :meth:`supervisor.embedding.Supervisor.start_instance`."""
        return cast("Started", await shielded(self._tree.start_instance(args, under)))

    async def terminate_child(self, child: str) -> None:
        """End a child and keep its spec; see :meth:`supervisor.embedding.Supervisor.terminate_child`."""
        await shielded(self._tree.terminate_child(child))

    async def restart_child(self, child: str) -> Started:
        """Start a child that is down; see :meth:`supervisor.embedding.Supervisor.restart_child`."""
        return cast("Started", await shielded(self._tree.restart_child(child)))

    async def delete_child(self, child: str) -> None:
        """Forget a child that is down; see :meth:`supervisor.embedding.Supervisor.delete_child`."""
        await shielded(self._tree.delete_child(child))

    async def change_specs(self, children: Iterable[ChildSpec], flags: SupervisorFlags, *, under: str = "") -> None:
        """Take new flags and specs; see :meth:`supervisor.embedding.Supervisor.change_specs`."""
        await shielded(self._tree.change_specs(children, flags, under))

    async def which_children(self, *, under: str = "") -> tuple[ChildRow, ...]:
        """List children; see :meth:`supervisor.embedding.Supervisor.which_children`."""
        return await shielded(self._tree.read(under, lambda core: core.which_children()))

    async def which_child(self, child: str) -> ChildRow:
        """Return the row of a child; see :meth:`supervisor.embedding.Supervisor.which_child`."""
        return found(await shielded(self._tree.which_child(child)), child)

    async def count_children(self, *, under: str = "") -> Counts:
        """Count children; see :meth:`supervisor.embedding.Supervisor.count_children`."""
        return await shielded(self._tree.read(under, lambda core: core.count_children()))

    async def get_childspec(self, child: str) -> ChildSpec:
        """Return a spec; see :meth:`supervisor.embedding.Supervisor.get_childspec`."""
        return found(await shielded(self._tree.get_childspec(child)), child)

    # --- events --------------------------------------------------------------------------------------------------

    async def events(self) -> AsyncGenerator[PublicEvent, None]:
        """Iterate over the events of the tree; see :meth:`supervisor.embedding.Supervisor.events`."""
        self._tree.check_process()
        with told_of(self._tree.log.news) as changed:
            position = 0
            while True:
                changed.clear()
                events, position, closed = self._tree.log.read(position)
                for event in events:
                    yield event
                if closed and not events:
                    return
                if not events:
                    await changed.wait()

    @property
    def fork_server_pid(self) -> int:
        """Process id of the fork server, the parent of all children; 0 when there is none."""
        return self._tree.fork_server_pid
