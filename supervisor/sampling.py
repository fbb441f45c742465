"""The sampler: the one thread of a process that measures what children use, and says who uses too much.

A round measures every child that is followed, with what is below it, and judges it by its limits. What rounds cost
is bounded: the thread's own processor time of a round, over the time to the next, stays below
:data:`~supervisor.usage.SHARE` of a core, so that a tree of five hundred children is looked at less often instead of
more expensively. A child that was never measured is, soon after it is ready.

Several supervisors share one sampler, each through a :class:`Feed` of its own. A child is followed by its process id
and start time, and let go when its end is told: who gets its number later is neither measured nor blamed, and what
is said of an incarnation that has gone is ignored by the core.

Owns the thread and its pace. Refuses to know what follows from a sample.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
import traceback
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Final, assert_never

import attrs

from actors.limits import Limits
from supervisor.core_events import Event, Exited, OverLimitSeen, Ready
from supervisor.limits import Judge, Sample
from supervisor.notices import Troubled
from supervisor.usage import Meter, Pace

FIRST_SAMPLE_SECONDS: Final = 0.3
"""Seconds until a child that was never measured is, so that a table is not empty for long."""


@attrs.frozen(eq=False)
class Feed:
    """Whom one supervisor wants measured, and who is told; made by :meth:`Sampler.open`.

    Its methods may be called in any thread and do not block. What it tells is told in the sampler's thread.

    Attributes:
        observe: Is given the samples of all children of the feed by id, after each round.
        over: Is told of each child that is over a limit.
        failed: Is told once, for each child and for the feed, should either of these, or the measuring itself, fail.
    """

    observe: Callable[[dict[str, Sample]], None]
    over: Callable[[OverLimitSeen], None]
    failed: Callable[[Troubled], None]
    _tell: Callable[[_Message], object]

    def follow(self, subject: Subject) -> None:
        """Measure a child from now on, instead of an earlier incarnation of it."""
        self._tell(_Follow(self, subject))

    def drop(self, child: str, incarnation: int) -> None:
        """Measure this incarnation no more."""
        self._tell(_Drop(self, child, incarnation))

    def close(self) -> None:
        """Measure nothing of this feed any more; nothing is told once what is under way has been."""
        self._tell(_Close(self))


@attrs.frozen
class Subject:
    """A child to be measured.

    Attributes:
        child: Its id, unique within its feed.
        incarnation: Which start of it this is.
        pid: Its process.
        start_ticks: When that started, in clock ticks since boot.
        limits: What it may use; ``None`` for anything.
        below: Whether what is below it counts as its own use: not for one that runs what has limits of its own.
    """

    child: str
    incarnation: int
    pid: int
    start_ticks: int
    limits: Limits | None = None
    below: bool = True


@attrs.frozen
class _Follow:
    feed: Feed
    subject: Subject


@attrs.frozen
class _Drop:
    feed: Feed
    child: str
    incarnation: int


@attrs.frozen
class _Close:
    feed: Feed


class _Stop:
    """Told last."""


_Message = _Follow | _Drop | _Close | _Stop


@attrs.define
class _Followed:
    subject: Subject
    judge: Judge
    meter: Meter


@attrs.define
class _Open:
    followed: dict[str, _Followed] = attrs.Factory(dict)
    troubles: set[str] = attrs.Factory(set)


class Follower:
    """Has the children of one supervisor measured, by what happens to them; for use in one thread.

    Args:
        feed: Of the supervisor.
        limits: What each child may use, by id.
        identify: Returns pid and start time of an incarnation that lives; called in the thread of :meth:`heed`.
        alone: Ids of children for which what is below them does not count as their own use.
    """

    def __init__(
        self,
        feed: Feed,
        limits: Mapping[str, Limits | None],
        identify: Callable[[str, int], tuple[int, int] | None],
        alone: Collection[str] = (),
    ) -> None:
        self._feed = feed
        self._limits = limits
        self._identify = identify
        self._alone = alone

    def heed(self, message: Event) -> None:
        """Follow a child that is ready, let go one that has ended."""
        match message:
            case Ready(child=child, incarnation=incarnation):
                identity = self._identify(child, incarnation)
                if identity is not None:
                    limits, below = self._limits.get(child), child not in self._alone
                    self._feed.follow(Subject(child, incarnation, *identity, limits, below))
            case Exited(child=child, incarnation=incarnation):
                self._feed.drop(child, incarnation)
            case _:
                pass


class Sampler(threading.Thread):
    """The thread.

    Args:
        pace: How often it looks.
    """

    def __init__(self, pace: Pace | None = None) -> None:
        super().__init__(name="sampler", daemon=True)
        self._pace = pace or Pace()
        self._inbox: queue.SimpleQueue[_Message] = queue.SimpleQueue()
        self._feeds: dict[Feed, _Open] = {}
        self._last = float("-inf")
        self._next = float("inf")

    # --- from other threads --------------------------------------------------------------------------------------

    def open(
        self,
        observe: Callable[[dict[str, Sample]], None],
        over: Callable[[OverLimitSeen], None],
        failed: Callable[[Troubled], None],
    ) -> Feed:
        """Return a feed of its own for a supervisor; see :class:`Feed`."""
        return Feed(observe, over, failed, self._inbox.put)

    def stop(self, timeout: float = 5.0) -> None:
        """End the thread."""
        self._inbox.put(_Stop())
        if self.is_alive():
            self.join(timeout)

    @property
    def interval(self) -> float:
        """Seconds from one round to the next, at present."""
        return self._pace.interval

    # --- the thread ----------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Measure until told to stop."""
        while self._take():
            now = time.monotonic()
            if now >= self._next:
                before = time.thread_time()
                for feed, held in tuple(self._feeds.items()):
                    self._look(feed, held)
                self._pace.spent(time.thread_time() - before)
                self._last = now
                self._next = now + self._pace.interval if self._is_wanted() else float("inf")

    def _is_wanted(self) -> bool:
        return any(held.followed for held in self._feeds.values())

    def _take(self) -> bool:
        """Take in what was told, waiting for it until the next round; false when there will be none."""
        try:
            left = self._next - time.monotonic()
            message = self._inbox.get(timeout=None if left == float("inf") else max(0.0, left))
            while True:
                if isinstance(message, _Stop):
                    return False
                self._heed(message)
                message = self._inbox.get_nowait()
        except queue.Empty:
            return True

    def _heed(self, message: _Follow | _Drop | _Close) -> None:
        match message:
            case _Follow(feed=feed, subject=subject):
                judge = Judge(subject.limits or Limits())
                meter = Meter(below=subject.below, descriptors=judge.wants_descriptors)
                self._feeds.setdefault(feed, _Open()).followed[subject.child] = _Followed(subject, judge, meter)
                soon = max(time.monotonic() + FIRST_SAMPLE_SECONDS, self._last + self._pace.rest)
                self._next = min(self._next, soon)
            case _Drop(feed=feed, child=child, incarnation=incarnation):
                followed = self._feeds[feed].followed if feed in self._feeds else {}
                if child in followed and followed[child].subject.incarnation == incarnation:
                    del followed[child]
            case _Close(feed=feed):
                self._feeds.pop(feed, None)
            case _:
                assert_never(message)

    def _look(self, feed: Feed, held: _Open) -> None:
        """Measure the children of a feed; what fails for one of them, or for the feed, fails for it alone."""
        samples: dict[str, Sample] = {}
        for child, one in held.followed.items():
            with self._told_once(feed, held, child):
                sample = _measured(feed, child, one)
                if sample is not None:
                    samples[child] = sample
        with self._told_once(feed, held, ""):
            feed.observe(samples)

    @contextlib.contextmanager
    def _told_once(self, feed: Feed, held: _Open, child: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # noqa: BLE001 - one child's trouble must not end the measuring of the others
            if child not in held.troubles:
                held.troubles.add(child)
                whose = f" of {child!r}" if child else ""
                reason = f"limits{whose} may not be kept: {type(error).__name__}: {error}"
                feed.failed(Troubled(reason, traceback.format_exc()))


def _measured(feed: Feed, child: str, one: _Followed) -> Sample | None:
    """Measure a child and judge it; ``None`` when it is not there any more."""
    at = time.monotonic()
    sample = one.meter.measure((one.subject.pid,), at, one.subject.start_ticks)
    if sample is not None:
        excess = one.judge.judge(sample, at)
        if excess is not None:
            feed.over(OverLimitSeen(at, child, one.subject.incarnation, excess.what, excess.hard))
    return sample
