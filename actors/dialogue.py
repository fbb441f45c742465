"""What a service's own actor, in its process, and the supervising process say to each other.

The protocol, told once. The child says :class:`Up` when its actor has started (``on_start`` has returned), and nothing
before but :class:`Broken`, its last word when it cannot go on. From then on it is sent :class:`Tell` and :class:`Ask`;
each ``Ask`` is answered by one :class:`Answer` or :class:`Fault` with its ticket, unless the child ends before. Each
:class:`Pulse` came out of the actor's own message loop. :class:`Leave` comes last: what was sent before it is handled.
End of file means that the other side is dead.

Bodies are JSON: what a sender puts in arrives as dicts, lists, texts, numbers, booleans and ``None``, whatever it was.
Owns the names. Refuses to know actors.
"""

from __future__ import annotations

from typing import Final

import msgspec

from actors.framing import Framing


class Up(msgspec.Struct, frozen=True):
    """The child has started.

    Attributes:
        mailbox: Whether it takes messages: an actor does, a function does not.
        info: What else it says, plain values.
    """

    mailbox: bool
    info: object = None


class Declined(msgspec.Struct, frozen=True):
    """The child does not want to run, and ends (OTP ``ignore``)."""


class Broken(msgspec.Struct, frozen=True):
    """The child cannot go on, and ends.

    Attributes:
        error: What was raised and where, one line.
    """

    error: str


class Pulse(msgspec.Struct, frozen=True):
    """The child's own loop has come round."""


class Tell(msgspec.Struct, frozen=True):
    """A message that is not answered."""

    body: msgspec.Raw


class Ask(msgspec.Struct, frozen=True):
    """A message that is answered under its ticket."""

    ticket: int
    body: msgspec.Raw


class Answer(msgspec.Struct, frozen=True):
    """What the actor answered."""

    ticket: int
    body: msgspec.Raw


class Fault(msgspec.Struct, frozen=True):
    """What the actor raised instead of answering; it goes on.

    Attributes:
        ticket: Of the :class:`Ask`.
        kind: Name of the exception's class.
        text: What it said and where it was raised, one line.
    """

    ticket: int
    kind: str
    text: str


class Beats(msgspec.Struct, frozen=True):
    """How often to send a :class:`Pulse` from now on.

    Attributes:
        seconds: Between two; ``None`` for never.
    """

    seconds: float | None


class Leave(msgspec.Struct, frozen=True):
    """The child is asked to end, after what it was sent before."""


Word = Up | Declined | Broken | Pulse | Tell | Ask | Answer | Fault | Beats | Leave

DIALOGUE: Final[Framing[Word]] = Framing(*Word.__args__)
"""Their encoding."""
