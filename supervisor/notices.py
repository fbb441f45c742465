"""What a hub tells whoever embeds it about a session: frozen data, nothing else.

Refuses to know who reads it and how it is shown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from actors.events import Event, Record


@attrs.frozen
class Recorded:
    """Records of a session were journaled together, in this order; each with its fact."""

    items: tuple[tuple[Record, Event], ...]


@attrs.frozen
class FactRefused:
    """A child stated a fact that was not admitted."""

    session: str
    child: str
    reason: str


@attrs.frozen
class Troubled:
    """Something went wrong that the journal does not tell of, and the session goes on.

    Attributes:
        reason: One line for people.
        story: For the log: the traceback of our own code; ``""`` when there is none.
    """

    reason: str
    story: str = ""


@attrs.frozen
class Escalated:
    """What the hub itself could not mend; the session must stop.

    Attributes:
        reason: One line for people.
        fatal: True when the journal can no longer be written, or the hub is broken: nothing may go on.
        broken: True when it is our own code that failed.
        story: For the log: the traceback of our own code; ``""`` when there is none.
    """

    reason: str
    fatal: bool
    broken: bool = False
    story: str = ""


Notice = Recorded | FactRefused | Troubled | Escalated
