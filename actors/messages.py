"""What is told to a role actor, besides the frames of its link.

Owns the names. The tellers are the host (ticks, ends of programs) and the actor itself.
"""

from __future__ import annotations

import attrs

from actors.frames import Deliver, Leave, Welcome
from actors.programs import Finished


@attrs.frozen
class Tick:
    """Time has passed; told about once a second, and when a wake-up that the role asked for is due.

    Attributes:
        mono: Seconds of the machine's monotonic clock.
        beat: Whether the loop's answer is wanted as a heartbeat.
    """

    mono: float
    beat: bool


@attrs.frozen
class ProgramEnded:
    """A program that a flow waits for has ended."""

    token: int
    finished: Finished


@attrs.frozen
class Short:
    """The system has no descriptors for the process, which does nothing meanwhile; told about once a second.

    Attributes:
        over: It has some again; told once.
    """

    over: bool


RoleMessage = Welcome | Deliver | Leave | Tick | ProgramEnded | Short
