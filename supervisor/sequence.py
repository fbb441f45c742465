"""What a supervisor does one thing at a time: starts, group restarts, terminations, its own end.

Owns the phases of a supervisor, what may be queued, the shape of a sequence (a purpose and its
steps), and the order that each strategy prescribes (reference 1.5, 1.9). It refuses to know how a
step is performed and what happens when one fails.
"""

from enum import StrEnum, unique
from typing import assert_never

import attrs

from supervisor.children import Child, Children, Down, Fatal
from supervisor.core_effects import EndCause, EndReason
from supervisor.core_events import Mutation, TryAgain
from supervisor.spec import Strategy

# --- what waits for its turn ------------------------------------------------------------------------


@unique
class Phase(StrEnum):
    """How far the supervisor has come."""

    NEW = "new"
    STARTING = "starting"
    UP = "up"
    ENDING = "ending"
    ENDED = "ended"


@attrs.frozen
class Decision:
    """An incarnation ended by itself: decide what follows."""

    child: str
    incarnation: int


@attrs.frozen
class BackoffOver:
    """The delay before the restart after this incarnation is over."""

    child: str
    incarnation: int


Queued = Decision | BackoffOver | TryAgain | Mutation


# --- steps -----------------------------------------------------------------------------------------


@attrs.frozen
class StopStep:
    """End these children, all at once, and wait until all are gone."""

    children: tuple[str, ...]
    forget_temporary: bool = False


@attrs.frozen
class StartStep:
    """Start this child and wait until it is ready."""

    child: str


Step = StopStep | StartStep

# --- purposes --------------------------------------------------------------------------------------


@attrs.frozen
class InitialStart:
    """Bring up everything; the first failure ends the supervisor."""


@attrs.frozen
class RestartOf:
    """Bring back what the end of one child took down; a failure is retried."""

    child: str


@attrs.frozen
class RequestedStart:
    """Start one child for somebody; a failure is his to know. `added`: forget the spec then."""

    request: int
    child: str
    added: bool


@attrs.frozen
class RequestedStop:
    """End one child for somebody."""

    request: int
    child: str


@attrs.frozen
class SupervisorEnd:
    """End everything, then the supervisor."""

    reason: EndReason
    cause: EndCause


Purpose = InitialStart | RestartOf | RequestedStart | RequestedStop | SupervisorEnd


@attrs.frozen
class Sequence:
    """A purpose, its steps, and how far it has come.

    Args:
        purpose: what it is for.
        steps: all that it consists of.
        position: index of the present step.
        entered: the present step has been begun.
        terminations: requests to end the child that is being started, which pre-empt its start.
    """

    purpose: Purpose
    steps: tuple[Step, ...]
    position: int = 0
    entered: bool = False
    terminations: tuple[int, ...] = ()

    @property
    def step(self) -> Step | None:
        """The present step, None when all are done."""
        return self.steps[self.position] if self.position < len(self.steps) else None

    @property
    def left(self) -> tuple[Step, ...]:
        """The present step and those after it."""
        return self.steps[self.position :]

    @property
    def starting(self) -> str | None:
        """The child whose start is being waited for."""
        step = self.step
        return step.child if self.entered and isinstance(step, StartStep) else None

    def will_stop(self, child: str) -> bool:
        """Tell whether this child's end is part of the sequence, so that nobody decides about it."""
        return any(isinstance(step, StopStep) and child in step.children for step in self.left)

    def will_start(self, child: str) -> bool:
        """Tell whether this child's start is part of what is left of the sequence."""
        return any(isinstance(step, StartStep) and step.child == child for step in self.left)

    def next(self) -> "Sequence":
        """Return the sequence at its next step."""
        return attrs.evolve(self, position=self.position + 1, entered=False, terminations=())


def plan_initial_start(strategy: Strategy, children: Children, held: frozenset[str]) -> tuple[Step, ...]:
    """Start all in order, except those that are held; a template is not a child (reference 1.2)."""
    if strategy is Strategy.SIMPLE_ONE_FOR_ONE:
        return ()
    return tuple(StartStep(child.id) for child in children if child.id not in held)


def plan_restart(strategy: Strategy, children: Children, failed: Child) -> tuple[Step, ...]:
    """Say whom to end, in reverse order, and whom to start, in order (reference 1.5).

    Temporary bystanders are ended and forgotten. Everybody else in the set is started, also those
    that were terminated by hand, were ignored or had finished; a FATAL child is not: only an
    operator starts it.
    """
    match strategy:
        case Strategy.ONE_FOR_ONE | Strategy.SIMPLE_ONE_FOR_ONE:
            return (StartStep(failed.id),)
        case Strategy.ONE_FOR_ALL:
            concerned = tuple(children)
        case Strategy.REST_FOR_ONE:
            concerned = children.from_id_on(failed.id)
        case _:
            assert_never(strategy)
    others = tuple(child for child in reversed(concerned) if child is not failed)
    stops = tuple(
        StopStep((child.id,), forget_temporary=True) for child in others if not isinstance(child.state, Fatal)
    )
    starts = tuple(
        StartStep(child.id) for child in concerned if not child.is_temporary and not isinstance(child.state, Fatal)
    )
    return (*stops, *starts)


def plan_left_behind(strategy: Strategy, children: Children, failed: Child) -> tuple[StartStep, ...]:
    """Say whom to start of those that a group restart left without a process after this child, in order."""
    if strategy not in (Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE):
        return ()
    _, *later = children.from_id_on(failed.id)
    return tuple(StartStep(child.id) for child in later if not child.is_temporary and isinstance(child.state, Down))


def plan_end(strategy: Strategy, children: Children) -> tuple[Step, ...]:
    """End all: one after the other in reverse order, or all at once if simple (reference 1.9)."""
    if strategy is Strategy.SIMPLE_ONE_FOR_ONE:
        return (StopStep(tuple(child.id for child in children)),)
    return tuple(StopStep((child.id,)) for child in reversed(children))
