"""What must be true of a supervision core between any two events.

Owns the cross-checks and nothing that acts on them: tests call them after each event, and a
diagnosis may. It refuses to repair.
"""

from supervisor.children import Backoff, Child, Desired, Gone, Starting, Stopping
from supervisor.core_events import TryAgain
from supervisor.roster import Roster
from supervisor.sequence import Decision, Phase, StopStep, SupervisorEnd
from supervisor.sequencer import Sequencer


class BrokenInvariant(Exception):  # noqa: N818  the house's word; never an input error
    """The core contradicts itself: a bug. The message says where."""


def check_invariants(roster: Roster, course: Sequencer) -> None:
    """Compare queue, sequence, budget and children with each other.

    Raises:
        BrokenInvariant: two of them disagree.
    """
    _check_phase(roster, course)
    _check_sequence(roster, course)
    for child in roster.children:
        _check_child(child, course)


def _check_phase(roster: Roster, course: Sequencer) -> None:
    phase, sequence = course.phase, course.sequence
    if phase in (Phase.NEW, Phase.ENDED) and (alive := [child.id for child in roster.children if child.is_alive]):
        raise BrokenInvariant(f"{phase}, but these are alive: {alive}")
    if phase is Phase.UP and sequence is None and course.queue:
        raise BrokenInvariant(f"nothing runs, but this is queued: {list(course.queue)}")
    if (phase is Phase.ENDING) != (sequence is not None and isinstance(sequence.purpose, SupervisorEnd)):
        raise BrokenInvariant(f"phase {phase} with {sequence}")
    if phase is Phase.STARTING and sequence is None:
        raise BrokenInvariant(f"phase {phase} without a sequence")


def _check_sequence(roster: Roster, course: Sequencer) -> None:
    sequence, waiting = course.sequence, course.waiting
    for name in waiting:
        child = roster.children.get(name)
        if child is None or not isinstance(child.state, Stopping):
            raise BrokenInvariant(f"waits for the end of {name!r}, who is not stopping")
    stopping = sequence is not None and isinstance(sequence.step, StopStep)
    if stopping != bool(waiting):
        raise BrokenInvariant(f"waits for {sorted(waiting)} in {sequence}")
    if sequence is not None and (awaited := sequence.starting) is not None:
        child = roster.children.get(awaited)
        if child is None or not child.is_alive:
            raise BrokenInvariant(f"waits for the start of {awaited!r}, which has no process")


def _check_child(child: Child, course: Sequencer) -> None:
    ending = course.phase is Phase.ENDING  # the step that stops this child may not have come yet
    match child.state:
        case Starting() if not ending and (course.sequence is None or course.sequence.starting != child.id):
            raise _contradiction(child, "starts outside a sequence")
        case Gone() if not ending and not _queued(course, child, Decision):
            raise _contradiction(child, "is gone, and nobody will decide about it")
        case Backoff() if child.desired is not Desired.UP and not any(
            getattr(item, "child", None) == child.id for item in course.queue
        ):
            raise _contradiction(child, "waits to be started, but is not wanted")
        case _:
            pass
    if child.incarnation == 0 and child.is_alive:
        raise _contradiction(child, "is alive, but was never launched")
    if (listed := _queued(course, child, TryAgain)) > 1:
        raise _contradiction(child, f"has {listed} retries queued")


def _queued(course: Sequencer, child: Child, kind: type[Decision | TryAgain]) -> int:
    """Count what is queued about the present incarnation; what is left of earlier ones finds nothing to do."""
    return sum(
        isinstance(item, kind) and (item.child, item.incarnation) == (child.id, child.incarnation)
        for item in course.queue
    )


def _contradiction(child: Child, what: str) -> BrokenInvariant:
    told = "".join(f"\n  {step}" for step in child.story)
    return BrokenInvariant(f"child {child.id!r} in {child.state!r} {what}; its story:{told}")
