"""The sampler measures who is followed, blames who is over a limit, and takes no more of a core than it may."""

import os
import queue
import threading
from collections.abc import Iterator

import pytest

from actors.limits import Limit, Limits
from supervisor.core_events import OverLimitSeen
from supervisor.limits import Sample
from supervisor.linux import start_ticks
from supervisor.notices import Troubled
from supervisor.sampling import Feed, Sampler, Subject
from supervisor.usage import SHARE, Pace
from tests.health.programs import Glutton, glutton
from tests.waiting import wait_until

MIB = 1024**2


class Listener:
    """Hears what a feed tells."""

    def __init__(self, sampler: Sampler) -> None:
        self.rounds: queue.SimpleQueue[dict[str, Sample]] = queue.SimpleQueue()
        self.over: queue.SimpleQueue[OverLimitSeen] = queue.SimpleQueue()
        self.troubles: queue.SimpleQueue[Troubled] = queue.SimpleQueue()
        self.feed: Feed = sampler.open(self.rounds.put, self.over.put, self.troubles.put)

    def round_with(self, *children: str) -> dict[str, Sample]:
        """Wait for a round in which exactly these were measured."""
        while True:
            found = self.rounds.get(timeout=60.0)
            if found.keys() == set(children):
                return found


@pytest.fixture
def sampler() -> Iterator[Sampler]:
    sampler = Sampler(Pace(0.02, 1.0))
    sampler.start()
    yield sampler
    sampler.stop()
    assert not sampler.is_alive()


def subject(child: str, one: Glutton, limits: Limits | None = None, incarnation: int = 1) -> Subject:
    ticks = start_ticks(one.pid)
    assert ticks is not None
    return Subject(child, incarnation, one.pid, ticks, limits)


def test_who_is_followed_is_measured_until_it_is_let_go(sampler: Sampler) -> None:
    listener = Listener(sampler)
    with glutton() as one, glutton() as other:
        listener.feed.follow(subject("one", one))
        listener.feed.follow(subject("other", other))
        assert listener.round_with("one", "other")["one"].rss_bytes > MIB
        listener.feed.drop("one", 2)
        listener.round_with("one", "other")
        listener.feed.drop("one", 1)
        listener.round_with("other")


def test_a_child_over_its_limit_is_named_with_its_incarnation_and_the_figures(sampler: Sampler) -> None:
    listener = Listener(sampler)
    with glutton() as one:
        limits = Limits(memory=Limit(soft=60 * MIB, hard=200 * MIB), threads=Limit(hard=100))
        listener.feed.follow(subject("one", one, limits, incarnation=7))
        listener.round_with("one")
        assert listener.over.empty()
        one.tell("child")
        one.tell(f"tell memory {100 * MIB}")
        told = listener.over.get(timeout=60.0)
        assert (told.child, told.incarnation, told.hard) == ("one", 7, False)
        assert told.what.endswith("MiB of memory, its soft limit is 60 MiB")
        one.tell("threads 100")
        assert listener.over.get(timeout=60.0).what == "ran 102 threads, its limit is 100"
        one.tell("reap")


@pytest.mark.row("P3")
def test_who_has_a_former_child_s_number_is_neither_measured_nor_blamed(sampler: Sampler) -> None:
    listener = Listener(sampler)
    ticks = start_ticks(os.getpid())
    assert ticks is not None
    everything = Limits(memory=Limit(hard=1), threads=Limit(hard=1))
    with glutton() as one:
        listener.feed.follow(Subject("former", 1, os.getpid(), ticks - 100, everything))
        listener.feed.follow(subject("one", one))
        for _ in range(3):
            listener.round_with("one")
    assert listener.over.empty()


def test_feeds_do_not_hear_of_each_other_s_children(sampler: Sampler) -> None:
    first, second = Listener(sampler), Listener(sampler)
    with glutton() as one, glutton() as other:
        first.feed.follow(subject("one", one))
        second.feed.follow(subject("other", other))
        first.round_with("one")
        second.round_with("other")
        first.feed.close()
        second.round_with("other")


def test_a_listener_that_fails_is_told_so_once_and_the_others_go_on(sampler: Sampler) -> None:
    troubles: queue.SimpleQueue[Troubled] = queue.SimpleQueue()

    def fail(samples: dict[str, Sample]) -> None:
        raise LookupError(f"nobody wants {sorted(samples)}")

    bad = sampler.open(fail, lambda _: None, troubles.put)
    good = Listener(sampler)
    with glutton() as one:
        bad.follow(subject("one", one))
        good.feed.follow(subject("one", one))
        for _ in range(3):
            good.round_with("one")
    assert troubles.get_nowait().reason == "limits may not be kept: LookupError: nobody wants ['one']"
    assert troubles.empty()


def test_a_child_that_cannot_be_judged_does_not_hide_those_after_it(sampler: Sampler) -> None:
    rounds: queue.SimpleQueue[dict[str, Sample]] = queue.SimpleQueue()
    troubles: queue.SimpleQueue[Troubled] = queue.SimpleQueue()

    def refuse(seen: OverLimitSeen) -> None:
        raise LookupError(f"{seen.child} is nobody's")

    feed = sampler.open(rounds.put, refuse, troubles.put)
    with glutton() as one, glutton() as other:
        feed.follow(subject("bad", one, Limits(memory=Limit(soft=1, hard=2))))
        feed.follow(subject("good", other))
        assert [set(rounds.get(timeout=60.0)) for _ in range(3)][-1] >= {"good"}
    assert troubles.get_nowait().reason == "limits of 'bad' may not be kept: LookupError: bad is nobody's"
    assert troubles.empty()


def test_a_sampler_that_follows_nobody_does_nothing_and_ends_at_once() -> None:
    sampler = Sampler()
    sampler.start()
    sampler.stop()
    assert not sampler.is_alive()
    Sampler().stop()


def test_rounds_that_cost_much_come_less_often() -> None:
    pace = Pace(2.0, 0.01)
    pace.spent(0.001)
    assert pace.interval == 2.0
    pace.spent(0.5)
    assert pace.interval == 50.0
    for _ in range(20):
        pace.spent(0.001)
    assert pace.interval == 2.0
    assert SHARE < 0.02


def test_there_is_one_thread_however_many_feeds(sampler: Sampler) -> None:
    before = threading.active_count()
    listeners = [Listener(sampler) for _ in range(10)]
    with glutton() as one:
        for listener in listeners:
            listener.feed.follow(subject("one", one))
        for listener in listeners:
            listener.round_with("one")
    assert threading.active_count() == before
    wait_until(lambda: sampler.interval == 0.02)
