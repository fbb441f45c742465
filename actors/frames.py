"""What travels over a link between the supervising process and a child, and how it is framed.

The protocol, told once. A link is a stream socket pair; each side owns one end, and end of file means that the
other side is dead. How frames are encoded is told in :mod:`actors.framing`.

A child says :class:`Hello` first. The supervising process answers :class:`Welcome`: the session's folded state and
the records that the child's own projection has missed. From then on every journaled record of the session reaches
the child in a :class:`Deliver`, in order and without gaps. The child states facts with :class:`Propose`; each
proposal has a ticket, and the ``Deliver`` that carries the ticket says that what was admitted is durable. A
proposal whose child dies before the ticket came back may or may not have been journaled: the next incarnation sees
which, because it folds the journal. :class:`Ready` is said once, after the state was rebuilt; :class:`Beat` answers
each tick from the child's own loop; :class:`Leave` asks the child to go.

Owns names. Refuses to know sockets.
"""

from __future__ import annotations

from typing import Final

import msgspec

from actors.events import Fact, Record
from actors.framing import MAX_FRAME, FrameError, Framing, StreamReader

__all__ = [
    "BEAT_SECONDS",
    "FRAME_TYPES",
    "FRAMING",
    "MAX_FRAME",
    "Beat",
    "Deliver",
    "Frame",
    "FrameError",
    "FrameReader",
    "Hello",
    "Leave",
    "Propose",
    "Ready",
    "Welcome",
    "encode_frame",
    "next_beat",
]

BEAT_SECONDS: Final = 1.25
"""Seconds between two beats of a child: as often as a child that must not be silent for 5 s is looked at."""


class Hello(msgspec.Struct, frozen=True):
    """First frame of a child.

    Attributes:
        child: Role id, or ``runner``.
        incarnation: The number that it was started with.
        pid: Its process id.
        since: Last seq that its projection holds; 0 for none, -1 when it keeps none.
    """

    child: str
    incarnation: int
    pid: int
    since: int


class Welcome(msgspec.Struct, frozen=True):
    """The answer to :class:`Hello`.

    Attributes:
        session: Session id.
        state: The folded :class:`actors.state.SessionState` as JSON.
        seq: Last record that ``state`` holds.
        missed: Records after ``Hello.since`` up to ``seq``: for the projection only, ``state`` holds them.
    """

    session: str
    state: msgspec.Raw
    seq: int
    missed: tuple[Record, ...]


class Deliver(msgspec.Struct, frozen=True):
    """Journaled records, in order, and what became of the child's own proposals.

    Attributes:
        records: In order of seq.
        tickets: Proposals of this child that are durable now (or refused).
        refusals: Why facts of these proposals were not admitted, a line each.
    """

    records: tuple[Record, ...]
    tickets: tuple[int, ...] = ()
    refusals: tuple[str, ...] = ()


class Propose(msgspec.Struct, frozen=True):
    """Facts that the child wants journaled: judged one by one, and what is admitted of them is durable together."""

    ticket: int
    facts: tuple[Fact, ...]


class Ready(msgspec.Struct, frozen=True):
    """The child has rebuilt its state and works."""


class Beat(msgspec.Struct, frozen=True):
    """The child's own loop is alive.

    Attributes:
        mono: Seconds of the machine's monotonic clock when the loop answered.
        below: Pid and start time (clock ticks) of what it is the parent of, as far as that has to be ended by others
            should it die: the tops of the task trees of a runner that has only the sweep.
    """

    mono: float
    below: tuple[tuple[int, int], ...] = ()


def next_beat(now: float) -> float:
    """Return the moment of the next beat: the same for all children, so that who listens to them is woken once.

    Args:
        now: Seconds of the machine's monotonic clock.
    """
    return (now // BEAT_SECONDS + 1) * BEAT_SECONDS


class Leave(msgspec.Struct, frozen=True):
    """The child is asked to end in order.

    Attributes:
        grace: Seconds until it is killed.
    """

    grace: float


Frame = Hello | Welcome | Deliver | Propose | Ready | Beat | Leave

FRAME_TYPES: Final[dict[str, type[Frame]]] = {cls.__name__: cls for cls in Frame.__args__}


FRAMING: Final[Framing[Frame]] = Framing(*FRAME_TYPES.values())
"""Their encoding."""


def encode_frame(frame: Frame) -> bytes:
    """Write a frame down, its length before it."""
    return FRAMING.encode(frame)


class FrameReader(StreamReader[Frame]):
    """Cuts a stream of bytes into frames; keeps what is incomplete."""

    def __init__(self) -> None:
        super().__init__(FRAMING)
