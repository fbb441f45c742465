"""Which sessions a daemon takes up when it starts: those that a former daemon supervised and nobody ended.

What an operator stopped, cancelled or paused stays so; what ended by itself has ended; what `milestonectl run`
supervised is for who runs it. Told by the journal alone, in the pass in which it is verified. Pure.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

import attrs
import msgspec

from actors.events import (
    SessionEnded,
    SessionPaused,
    SessionResumed,
    SessionStarted,
    SessionStatus,
    SessionUnpaused,
    StopRequested,
)
from supervisor.journal_verify import milestone_of

if TYPE_CHECKING:
    from actors.events import Record


class _Begun(msgspec.Struct):
    """What counts of a beginning; a snapshot of 20,000 tasks is not made for it."""

    daemon: bool = False


@attrs.define
class _Life:
    session: str
    daemon: bool
    stopped: bool = False
    paused: bool = False
    ended: SessionStatus | None = None


_BEGUN: Final = msgspec.json.Decoder(_Begun)
_KINDS: Final = frozenset(
    kind.__name__
    for kind in (SessionStarted, SessionResumed, StopRequested, SessionPaused, SessionUnpaused, SessionEnded)
)


class Unfinished:
    """Follows the latest life of each milestone's latest session."""

    def __init__(self) -> None:
        self._by_session: dict[str, _Life] = {}
        self._by_milestone: dict[str, _Life] = {}

    def tell(self, record: Record) -> None:
        """Take the next event of the journal; raises nothing."""
        if record.kind in _KINDS:
            with contextlib.suppress(msgspec.MsgspecError):  # whoever takes the session up says why it cannot be read
                self._take(record)

    def milestones(self) -> tuple[str, ...]:
        """Return the milestones whose latest session is to be taken up, in the order in which those began."""
        return tuple(milestone for milestone, life in self._by_milestone.items() if _goes_on(life))

    def _take(self, record: Record) -> None:
        if record.kind == SessionStarted.__name__:
            life = _Life(record.session, _BEGUN.decode(record.body).daemon)
            milestone = milestone_of(record.body)
            self._by_session[record.session] = life
            self._by_milestone.pop(milestone, None)
            self._by_milestone[milestone] = life
            return
        known = self._by_session.get(record.session)
        if known is None:
            return
        match record.event():
            case SessionResumed(daemon=daemon):
                known.daemon, known.stopped, known.paused, known.ended = daemon, False, False, None
            case StopRequested(shutdown=shutdown):
                known.stopped = known.stopped or not shutdown
            case SessionPaused(by_hand=by_hand):
                known.paused = known.paused or by_hand
            case SessionUnpaused():
                known.paused = False
            case SessionEnded(status=status):
                known.ended = status
            case _:
                pass


def _goes_on(life: _Life) -> bool:
    by_hand = life.stopped or life.paused
    return life.daemon and not by_hand and life.ended in {None, SessionStatus.INTERRUPTED}
