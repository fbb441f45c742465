"""Rounds through loops: complete when all have answered, given up when one has not."""

from collections import deque
from collections.abc import Callable

import pytest

from supervisor.pulse import Pulse


class House:
    """A main thread and loops whose turn comes when a test says so."""

    def __init__(self) -> None:
        self.completed = 0
        self.main: deque[Callable[[], None]] = deque()
        self.waiting: dict[str, deque[Callable[[], None]]] = {}
        self.pulse = Pulse(self.main.append, self.complete)

    def complete(self) -> None:
        self.completed += 1

    def begin(self, *names: str) -> set[str]:
        loops = {name: self.waiting.setdefault(name, deque()).append for name in names}
        return set(self.pulse.begin(loops))

    def turn(self, *names: str) -> None:
        """Let loops do what they were asked to, then the main thread."""
        for name in names:
            while self.waiting[name]:
                self.waiting[name].popleft()()
        while self.main:
            self.main.popleft()()


def test_a_round_is_complete_when_every_loop_has_answered() -> None:
    house = House()
    assert house.begin("hub", "server") == set()
    house.turn("hub")
    assert house.completed == 0
    house.turn("server")
    assert house.completed == 1


@pytest.mark.row("F6")
def test_a_loop_that_hangs_keeps_every_round_from_being_complete_and_is_named() -> None:
    house = House()
    house.begin("hub", "server")
    house.turn("server")
    assert house.begin("hub", "server") == {"hub"}
    house.turn("server")
    assert house.completed == 0


def test_an_answer_to_a_round_that_was_given_up_does_not_count() -> None:
    house = House()
    house.begin("hub", "server")
    house.begin("hub", "server")
    first = house.waiting["hub"].popleft()
    first()
    house.turn("server")
    assert house.completed == 0
    house.turn("hub")
    assert house.completed == 1


def test_a_loop_that_ended_while_it_was_asked_delays_one_round_only() -> None:
    house = House()
    house.begin("hub", "session")
    house.turn("hub")
    assert house.begin("hub") == set()
    house.turn("hub")
    assert house.completed == 1


def test_an_answer_counts_once_the_main_thread_has_heard_of_it() -> None:
    house = House()
    house.begin("hub")
    house.waiting["hub"].popleft()()
    assert house.completed == 0
    house.turn()
    assert house.completed == 1
