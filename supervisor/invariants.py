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


def _require(message: str, *, ok: bool) -> None:
    if not ok:
        raise BrokenInvariant(message)


def _check_phase(roster: Roster, course: Sequencer) -> None:
    phase, sequence = course.phase, course.sequence
    alive = [child.id for child in roster.children if child.is_alive]
    _require(f"ended, but these are alive: {alive}", ok=phase is not Phase.ENDED or not alive)
    _require(f"not begun, but these are alive: {alive}", ok=phase is not Phase.NEW or not alive)
    idle = sequence is None and phase is Phase.UP
    _require(f"nothing runs, but this is queued: {list(course.queue)}", ok=not (idle and course.queue))
    ending = sequence is not None and isinstance(sequence.purpose, SupervisorEnd)
    _require(f"phase {phase} with {sequence}", ok=(phase is Phase.ENDING) == ending)
    starting = phase is Phase.STARTING
    _require(f"phase {phase} without a sequence", ok=sequence is not None or not starting)


def _check_sequence(roster: Roster, course: Sequencer) -> None:
    sequence, waiting = course.sequence, course.waiting
    strangers = sorted(name for name in waiting if roster.children.get(name) is None)
    _require(f"waits for {strangers}, who are not known", ok=not strangers)
    not_stopping = sorted(name for name in waiting if not isinstance(roster.children.of(name).state, Stopping))
    _require(f"waits for the end of {not_stopping}, who are not stopping", ok=not not_stopping)
    stopping = sequence is not None and isinstance(sequence.step, StopStep)
    _require(f"waits for {sorted(waiting)} outside a stop step", ok=stopping or not waiting)
    stuck = sequence is not None and stopping and not waiting
    _require(f"a stop step waits for nobody: {sequence}", ok=not stuck)
    awaited = sequence.starting if sequence is not None else None
    if awaited is not None:
        child = roster.children.get(awaited)
        alive = child is not None and child.is_alive
        _require(f"waits for the start of {awaited!r}, which has no process", ok=alive)


def _check_child(child: Child, course: Sequencer) -> None:
    state, sequence = child.state, course.sequence
    told = "".join(f"\n  {step}" for step in child.story)
    about = f"child {child.id!r} in {state!r}; its story:{told}\n"
    awaited = sequence is not None and sequence.starting == child.id
    _require(f"{about}starts outside a sequence", ok=not isinstance(state, Starting) or awaited)
    never_ran = child.incarnation == 0
    _require(f"{about}is alive, but was never launched", ok=not (never_ran and child.is_alive))
    ending = course.phase is Phase.ENDING  # its stop step has not come yet
    decided = ending or any(isinstance(item, Decision) and item.child == child.id for item in course.queue)
    _require(f"{about}is gone, and nobody will decide about it", ok=not isinstance(state, Gone) or decided)
    wanted = isinstance(state, Backoff) and child.desired is not Desired.UP
    pending = any(getattr(item, "child", None) == child.id for item in course.queue)
    _require(f"{about}waits to be started, but is not wanted", ok=not wanted or pending)
    listed = sum(isinstance(item, TryAgain) and item.child == child.id for item in course.queue)
    _require(f"{about}has {listed} retries queued", ok=listed <= 1)
