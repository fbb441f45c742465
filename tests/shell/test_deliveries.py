"""When children are told of records: everybody at once, who only watches a little later, nobody out of order."""

import socket
from collections.abc import Iterator
from typing import cast

import attrs
import pytest

from actors.events import AttemptStarted, Event, Record, TaskCompleted, TaskFailed, encode_event
from actors.frames import FRAMING, Deliver, Frame
from supervisor.deliveries import IDLE_GIT, PATIENCE, Answer, Deliveries
from supervisor.fleet import Child, Fleet
from supervisor.links import Link


@attrs.define
class Sent:
    """Stands for the fleet: knows three children, and keeps what each was sent."""

    children: dict[str, Child[Frame]]
    frames: dict[str, list[Deliver]] = attrs.Factory(dict)

    def of_session(self, _session: str) -> Iterator[Child[Frame]]:
        yield from self.children.values()

    def send(self, child: Child[Frame], frame: Frame) -> None:
        assert isinstance(frame, Deliver)
        self.frames.setdefault(child.id, []).append(frame)

    def send_bytes(self, child: Child[Frame], data: bytes) -> None:
        self.send(child, FRAMING.decode(data[4:]))

    def told(self, child: str) -> list[list[int]]:
        return [[record.seq for record in frame.records] for frame in self.frames.get(child, [])]


@pytest.fixture
def sent() -> Iterator[Sent]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        names = ("task_executor", "git_integration", "blocker_detector")
        yield Sent({name: Child(f"s/{name}", "s", name, 1, Link(ours, name, 1, FRAMING), 1) for name in names})


def records(first: int, *events: Event) -> tuple[Record, ...]:
    facts = [encode_event(event) for event in events]
    return tuple(Record(seq, "s", 1.0, 1.0, fact.kind, fact.body) for seq, fact in enumerate(facts, first))


STARTED = AttemptStarted("a.1", 7)
COMPLETED = TaskCompleted("a", "a.1")
FAILED = TaskFailed("b", "", "no")


def test_who_only_watches_is_told_of_everyday_facts_together_and_a_little_later(sent: Sent) -> None:
    deliveries = Deliveries(cast("Fleet[Frame]", sent))
    deliveries.deliver("s", records(1, STARTED), {}, 10.0)
    deliveries.deliver("s", records(2, COMPLETED, STARTED), {}, 10.01)
    assert sent.told("task_executor") == sent.told("git_integration") == [[1], [2, 3]]
    assert sent.told("blocker_detector") == []
    assert deliveries.due == 10.0 + PATIENCE, "what came later does not put it off"
    deliveries.flush()
    assert sent.told("blocker_detector") == [[1, 2, 3]]
    assert deliveries.due == float("inf")
    deliveries.flush()
    assert len(sent.told("blocker_detector")) == 1


def test_what_is_not_everyday_takes_everything_before_it_along_at_once(sent: Sent) -> None:
    deliveries = Deliveries(cast("Fleet[Frame]", sent))
    deliveries.deliver("s", records(1, STARTED), {}, 10.0)
    deliveries.deliver("s", records(2, COMPLETED, FAILED), {}, 10.0)
    assert sent.told("blocker_detector") == [[1, 2, 3]]
    deliveries.flush()
    assert sent.told("blocker_detector") == [[1, 2, 3]]


def test_the_answer_to_an_own_proposal_never_waits(sent: Sent) -> None:
    deliveries = Deliveries(cast("Fleet[Frame]", sent))
    deliveries.deliver("s", records(1, STARTED), {}, 10.0)
    deliveries.deliver("s", (), {("s", "blocker_detector", 1): Answer([5], ["no"])}, 10.0)
    (frame,) = sent.frames["blocker_detector"]
    assert (frame.tickets, frame.refusals) == ((5,), ("no",))
    assert sent.told("blocker_detector") == [[1]]
    assert sent.told("task_executor") == [[1]], "nothing is sent where there is nothing to say"


def test_what_was_kept_for_a_dead_incarnation_does_not_reach_the_next(sent: Sent) -> None:
    deliveries = Deliveries(cast("Fleet[Frame]", sent))
    deliveries.deliver("s", records(1, STARTED), {}, 10.0)
    sent.children["blocker_detector"] = attrs.evolve(sent.children["blocker_detector"], incarnation=2)
    deliveries.deliver("s", records(2, COMPLETED), {}, 10.0)
    deliveries.flush()
    assert sent.told("blocker_detector") == [[2]], "the welcome of the new one held the first"


def test_git_can_wait_where_it_has_nothing_to_land(sent: Sent) -> None:
    deliveries = Deliveries(cast("Fleet[Frame]", sent))
    deliveries.deliver("s", records(1, STARTED), {}, 10.0, IDLE_GIT)
    assert sent.told("git_integration") == []
    deliveries.flush()
    assert sent.told("git_integration") == [[1]]
