"""Waiting in an event loop for what happens in threads. Refuses to know what that is."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterator
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from concurrent.futures import Future

    from supervisor.news import News

T = TypeVar("T")


async def shielded(future: Future[T]) -> T:
    """Wait for a future of another thread; cancelled, it leaves the future alone."""
    waiting = asyncio.wrap_future(future)
    try:
        return await asyncio.shield(waiting)
    except asyncio.CancelledError:
        waiting.add_done_callback(_look_at)
        raise


async def whatever_comes(
    stopping: Coroutine[object, object, object], kill: Callable[[], None], error: BaseException | None
) -> None:
    """See a stop through, although who waits for it is cancelled; a second cancellation kills what is left.

    Args:
        stopping: The stop.
        kill: Ends everything at once.
        error: What the stop is for: a cancellation counts as the first one.

    Raises:
        asyncio.CancelledError: Somebody cancelled this meanwhile; it was done nevertheless.
    """
    task = asyncio.ensure_future(stopping)
    is_cancelled = isinstance(error, asyncio.CancelledError)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as another:
            if is_cancelled:
                kill()
            is_cancelled, cancelled = True, another
    if cancelled is not None:
        raise cancelled
    task.result()


@contextlib.contextmanager
def told_of(news: News) -> Iterator[asyncio.Event]:
    """Hand out what is set, in the running loop, at each change of the news."""
    loop, changed = asyncio.get_running_loop(), asyncio.Event()

    def wake() -> None:
        with contextlib.suppress(RuntimeError):  # the loop was closed under an iterator that nobody has ended
            loop.call_soon_threadsafe(changed.set)

    news.on_change(wake)
    try:
        yield changed
    finally:
        news.forget(wake)


def _look_at(future: asyncio.Future[T]) -> None:
    """Take note of an error that nobody waits for any more, or asyncio would complain of it."""
    if not future.cancelled():
        future.exception()
