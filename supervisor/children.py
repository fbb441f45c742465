"""The children of one supervisor: what is wanted of each, what is true of each, and how it got there.

Owns the child's states, the one table of legal transitions, the one function that makes them
(`Child.become`), the bounded story of each child, and the start order. It refuses to know why a
transition is made; that is the core's.

    Down       no process: never started, stopped, ended and not to be restarted, or ignored
    Starting   spawned, or about to be; not ready
    Running    said that it is ready
    Stopping   asked to stop, or killed; its process is still there
    Gone       its process ended by itself; what follows has not been decided yet
    Backoff    to be started again: at a time, or (`until` None) when `TryAgain` arrives
    Fatal      quarantined: beyond its own budget, down until an operator starts it

`Stopping` while `desired` is UP is a restart; there is no flag for it.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum, unique
from types import MappingProxyType
from typing import Final, assert_never

import attrs

from supervisor.exits import ExitReason
from supervisor.intensity import RestartRecord
from supervisor.spec import ChildSpec, Restart

STORY_LENGTH: Final = 32

NO_ARGS: Final[Mapping[str, object]] = MappingProxyType({})


@unique
class Desired(StrEnum):
    """What is wanted of a child, whatever is true of it."""

    UP = "up"
    DOWN = "down"


@unique
class StateName(StrEnum):
    """The states as Supervisor names them, for tables and files."""

    STOPPED = "STOPPED"
    STARTING = "STARTING"
    RUNNING = "RUNNING"
    BACKOFF = "BACKOFF"
    STOPPING = "STOPPING"
    EXITED = "EXITED"
    FATAL = "FATAL"


@attrs.frozen
class Down:
    """No process. `ended_itself` is None if it never ran, or was stopped."""

    ended_itself: ExitReason | None = None


@attrs.frozen
class Starting:
    """Not ready yet; `pid` is known once it is spawned. `give_up_at`: the start timeout."""

    since: float
    give_up_at: float | None
    pid: int | None = None


@attrs.frozen
class Running:
    """Ready since a time; `last_beat` counts from there; `info` is what it said with its readiness."""

    since: float
    last_beat: float
    pid: int | None
    info: object = None


@attrs.frozen
class Stopping:
    """On its way out. `why` replaces the reported reason; None for an ordinary stop.

    `kill_at` is when patience ends: with a kill, and once killed with the word that it cannot be.
    """

    kill_at: float | None
    killed: bool
    why: ExitReason | None
    pid: int | None


@attrs.frozen
class Gone:
    """Ended by itself, and not decided about."""

    reason: ExitReason


@attrs.frozen
class Backoff:
    """Waiting to be started again."""

    until: float | None
    reason: ExitReason


@attrs.frozen
class Fatal:
    """Given up, alone."""

    reason: ExitReason


State = Down | Starting | Running | Stopping | Gone | Backoff | Fatal

_TRANSITIONS: Final[frozenset[tuple[type[State], type[State]]]] = frozenset(
    {
        (Down, Starting),
        (Starting, Running),  # ready
        (Starting, Stopping),  # not ready in time, terminated, or the supervisor ends
        (Starting, Backoff),  # a restart that failed
        (Starting, Down),  # ignored, or an initial or requested start that failed
        (Running, Stopping),
        (Running, Gone),
        (Running, Down),  # died just before its group was going to stop it
        (Stopping, Stopping),  # polite, then killed
        (Stopping, Down),
        (Stopping, Gone),  # replaced for a reason of its own: silent, over limit
        (Stopping, Backoff),  # a restart that was not ready in time
        (Gone, Starting),
        (Gone, Backoff),
        (Gone, Down),
        (Gone, Fatal),
        (Backoff, Backoff),  # retried, and now the delay
        (Backoff, Starting),
        (Backoff, Down),  # terminated, or the budget is spent
        (Backoff, Fatal),
        (Fatal, Starting),
        (Fatal, Down),
    }
)


@attrs.frozen
class Transition:
    """One step of a child's story."""

    at: float
    incarnation: int
    before: State
    after: State

    def __str__(self) -> str:
        return f"{self.at:.3f} #{self.incarnation} {type(self.before).__name__} -> {self.after!r}"


class InvalidTransition(Exception):  # noqa: N818  the house's word; it is a broken invariant, not an input error
    """The core tried a transition that is not in the table: a bug. Carries the child's story."""

    def __init__(self, child: str, before: State, after: State, story: Iterable[Transition]) -> None:
        """Keep the parts, and say them."""
        told = "".join(f"\n  {step}" for step in story)
        super().__init__(f"child {child!r} cannot go from {before!r} to {after!r}; its story:{told}")
        self.child = child
        self.before = before
        self.after = after


class Child:
    """One supervised slot. Changed only by the core, through `become` and `revise`."""

    __slots__ = (
        "_state",
        "_story",
        "alone",
        "desired",
        "failures",
        "incarnation",
        "last_exit",
        "own_args",
        "own_record",
        "restarts",
        "spec",
    )

    def __init__(self, spec: ChildSpec, desired: Desired) -> None:
        """Make a slot that has never run."""
        self.spec = spec
        self.desired = desired
        self.incarnation = 0
        self.restarts = 0  # starts after the first that the supervisor made by itself
        self.failures = 0  # failures in a row, for the backoff
        self.last_exit: ExitReason | None = None
        self.alone = False  # its pending restart leaves the siblings alone, whatever the strategy
        self.own_args = NO_ARGS  # of an instance: laid over its template's
        self.own_record = RestartRecord()  # of a child with quarantine only
        self._state: State = Down()
        self._story: deque[Transition] | None = None

    @property
    def id(self) -> str:
        """Name of the slot."""
        return self.spec.id

    @property
    def state(self) -> State:
        """What is true of it."""
        return self._state

    @property
    def is_temporary(self) -> bool:
        """Never restarted, and forgotten with its end."""
        return self.spec.restart is Restart.TEMPORARY

    @property
    def is_alive(self) -> bool:
        """It has a process, or will have one that nobody can call back."""
        return isinstance(self._state, Starting | Running | Stopping)

    @property
    def pid(self) -> int | None:
        """Of its process, as far as known."""
        state = self._state
        return state.pid if isinstance(state, Starting | Running | Stopping) else None

    @property
    def story(self) -> tuple[Transition, ...]:
        """Its last transitions, oldest first."""
        return tuple(self._story or ())

    @property
    def name(self) -> StateName:
        """Its state, as tables show it."""
        match self._state:
            case Down(None):
                return StateName.STOPPED
            case Down() | Gone():
                return StateName.EXITED
            case Starting():
                return StateName.STARTING
            case Running():
                return StateName.RUNNING
            case Stopping():
                return StateName.STOPPING
            case Backoff():
                return StateName.BACKOFF
            case Fatal():
                return StateName.FATAL
            case _:
                assert_never(self._state)

    def pardon(self) -> None:
        """Forget earlier failures: an operator starts a child that was given up, and means it."""
        self.own_record = RestartRecord()
        self.failures = 0

    def become(self, after: State, at: float) -> None:
        """Make a transition.

        Raises:
            InvalidTransition: the table does not have it.
        """
        before = self._state
        if (type(before), type(after)) not in _TRANSITIONS:
            raise InvalidTransition(self.id, before, after, self.story)
        if self._story is None:
            self._story = deque(maxlen=STORY_LENGTH)
        self._story.append(Transition(at, self.incarnation, before, after))
        self._state = after

    def revise(self, state: State) -> None:
        """Replace the data inside the present state (a pid, a beat, a deadline): no transition.

        Raises:
            InvalidTransition: it would be another state.
        """
        if type(state) is not type(self._state):
            raise InvalidTransition(self.id, self._state, state, self.story)
        self._state = state


class Children:
    """All children by id, in start order."""

    def __init__(self, specs: Iterable[ChildSpec], held: frozenset[str]) -> None:
        """Make slots; those in `held` are wanted down."""
        self._by_id: dict[str, Child] = {}
        for spec in specs:
            self.add(Child(spec, Desired.DOWN if spec.id in held else Desired.UP))

    def __iter__(self) -> Iterator[Child]:
        return iter(self._by_id.values())

    def __reversed__(self) -> Iterator[Child]:
        return reversed(self._by_id.values())

    def __len__(self) -> int:
        return len(self._by_id)

    def get(self, child: str) -> Child | None:
        """Return the child of this id, if there is one."""
        return self._by_id.get(child)

    def of(self, child: str) -> Child:
        """Return the child of this id.

        Raises:
            KeyError: there is none.
        """
        return self._by_id[child]

    def add(self, child: Child) -> None:
        """Put a new child last in start order."""
        if child.id in self._by_id:
            message = f"child {child.id!r} is already there"
            raise KeyError(message)
        self._by_id[child.id] = child

    def remove(self, child: str) -> None:
        """Forget a child that has no process."""
        if self._by_id[child].is_alive:
            message = f"child {child!r} still has a process; its story: {self._by_id[child].story}"
            raise RuntimeError(message)
        del self._by_id[child]

    def from_id_on(self, child: str) -> tuple[Child, ...]:
        """Return this child and those after it in start order."""
        listed = tuple(self)
        return listed[next(index for index, other in enumerate(listed) if other.id == child) :]

    def take_specs(self, specs: Iterable[ChildSpec]) -> None:
        """Take new specs: known ids keep their process, new ones are recorded and not started.

        Children that the new list leaves out are kept, as OTP does, after the listed ones
        (reference 1.12).
        """
        old = self._by_id
        self._by_id = {}
        for spec in specs:
            child = old.pop(spec.id, None) or Child(spec, Desired.DOWN)
            child.spec = spec
            self._by_id[spec.id] = child
        self._by_id.update(old)
