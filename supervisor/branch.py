"""One supervisor of a tree, without a journal: its actor, and the two adapters between the actor and the keeper.

The actor's effects are handed to the keeper's thread, its answers settle futures, its public events get the paths of
the children in the tree. Owns that and nothing else: refuses to know the core's rules and how processes are watched.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Final, TypeVar

import attrs
import msgspec
import pykka

from supervisor import core_events as told
from supervisor.api_errors import NotRunningError, RefusedError, SupervisionError
from supervisor.children import StateName
from supervisor.core_effects import (
    ChildStarting,
    EndCause,
    IntensityExceeded,
    Refused,
    SupervisorStarted,
    SupervisorStopped,
)
from supervisor.exits import describe
from supervisor.supervisor_actor import Call, SupervisorActor

if TYPE_CHECKING:
    from supervisor.core import Core
    from supervisor.core_effects import Done, Ended, Reply, Started, SupervisorEvent
    from supervisor.exits import ExitReason
    from supervisor.keeper import Keeper
    from supervisor.spec import ChildSpec, SupervisorFlags

SPARE: Final = 64
"""Children that are no more, and are remembered beyond twice those that there are."""

T = TypeVar("T")


@attrs.frozen
class Place:
    """Where a supervisor stands in its tree.

    Attributes:
        parent: The supervisor above; ``None`` for the root.
        child: Its id there.
        incarnation: Which start of it this is.
    """

    parent: Branch | None = None
    child: str = ""
    incarnation: int = 0

    @property
    def path(self) -> str:
        """Its path: ``""`` for the root, ``a/b`` for a supervisor ``b`` below ``a``."""
        return self.child if self.parent is None else self.parent.path_of(self.child)


def settle(future: Future[T], result: T | None = None, error: SupervisionError | None = None) -> None:
    """Give a future its result or error, unless who waited for it has gone."""
    if not future.set_running_or_notify_cancel():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(result)  # type: ignore[arg-type]  # T may well be None


class Branch:
    """A supervisor of the tree.

    ``request``, ``query`` and ``tell`` may be called from any thread; what the actor calls is called in its thread;
    ``dropped`` is the keeper's thread's.

    Args:
        keeper: Performs the effects.
        place: Where it stands.
        flags: How it treats its children.
        specs: Its children in start order.
        former: Incarnation that each child has had under a former supervisor at this place.

    Attributes:
        place: As given.
        path: Its path in the tree.
        flags: As given first.
        given: Ids of the children that it was given first, and gets again each time that it is started.
        dropped: Whether it was killed, so that nothing it asks for is done any more.
        thread: The actor's, once it has ended.
    """

    def __init__(
        self,
        keeper: Keeper,
        place: Place,
        flags: SupervisorFlags,
        specs: tuple[ChildSpec, ...],
        former: Mapping[str, int],
    ) -> None:
        self.place = place
        self.path = place.path
        self.flags = flags
        self.given = frozenset(spec.id for spec in specs)
        self.dropped = False
        self.thread: threading.Thread | None = None
        self._keeper = keeper
        self._lock = threading.Lock()  # of the three below
        self._pending: dict[int, Future[Any]] = {}
        self._requests = 0
        self._closed = ""
        self._standbys: set[str] = (
            set()
        )  # for which processes wait in advance; this and what follows are the actor's thread's
        self._begun: set[str] = set()  # children that were started, some of which may be no more
        self._most_begun = SPARE
        self._spent = ""  # who has spent the budget; the actor's thread's
        self._actor = SupervisorActor.start(flags, specs, self, self, former=dict(former), replied=self._replied)

    def path_of(self, child: str) -> str:
        """Return the path of a child."""
        return f"{self.path}/{child}" if self.path else child

    # --- from any thread -----------------------------------------------------------------------------------------

    def tell(self, message: told.Event | Call) -> None:
        """Tell the actor something; one that has ended does not hear it."""
        with contextlib.suppress(pykka.ActorDeadError):
            self._actor.tell(message)

    def request(self, make: Callable[[float, int], told.Mutation | told.Stop]) -> Future[Started | Done]:
        """Ask for something; the future has the result, or :class:`RefusedError`.

        Args:
            make: Makes the request from the moment and its number.
        """
        future: Future[Started | Done] = Future()
        number = self._expect(future)
        if number:
            self.tell(make(time.monotonic(), number))
        return future

    def query(self, function: Callable[[Core], T]) -> Future[T]:
        """Have a function read the core; it must change nothing and not raise."""
        future: Future[T] = Future()
        number = self._expect(future)
        if number:
            self.tell(Call(lambda core: self._answer(number, function(core))))
        return future

    def close(self, why: str) -> None:
        """Answer what is pending, and all that comes, with :class:`NotRunningError`."""
        with self._lock:
            self._closed = self._closed or why
            pending, self._pending = self._pending, {}
        for future in pending.values():
            settle(future, error=NotRunningError(why))

    def drop(self, why: str) -> None:
        """End the actor as it stands; in the keeper's thread."""
        self.dropped = True
        self.close(why)
        with contextlib.suppress(pykka.ActorDeadError):
            self._actor.stop(block=False)

    def _expect(self, future: Future[Any]) -> int:
        with self._lock:
            closed = self._closed
            if not closed:
                self._requests += 1
                number = self._requests
                self._pending[number] = future
                return number
        settle(future, error=NotRunningError(closed))
        return 0

    def _answer(self, number: int, result: object) -> None:
        with self._lock:
            future = self._pending.pop(number, None)
        if future is not None:
            settle(future, result)

    # --- called in the actor's thread ----------------------------------------------------------------------------

    def _replied(self, reply: Reply) -> None:
        if not isinstance(reply.result, Refused):
            self._answer(reply.request, reply.result)
            return
        with self._lock:
            future = self._pending.pop(reply.request, None)
        if future is not None:
            child = reply.result.child
            settle(future, error=RefusedError(reply.result, self.path_of(child) if child else ""))

    def spawn(self, spec: ChildSpec, incarnation: int, last_exit: ExitReason | None) -> None:
        """Have an incarnation of a child started."""
        self._keeper.call(lambda: self._keeper.spawn(self, spec, incarnation, last_exit))

    def ask_to_stop(self, child: str, incarnation: int) -> None:
        """Have a child asked to end."""
        self._keeper.call(lambda: self._keeper.ask_to_stop(self, child, incarnation))

    def kill(self, child: str, incarnation: int) -> None:
        """Have a child killed."""
        self._keeper.call(lambda: self._keeper.kill(self, child, incarnation))

    def together(self) -> contextlib.AbstractContextManager[None]:
        """Let each be done at once: who is answered meanwhile may wait for the keeper."""
        return contextlib.nullcontext()

    def tick_at(self, mono: float) -> None:
        """Ask for a tick."""
        self._keeper.call(lambda: self._keeper.set_tick(self, mono))

    def published(self, event: SupervisorEvent, core: Core) -> None:
        """Pass an event on, with paths."""
        match event:
            case SupervisorStarted() | SupervisorStopped():
                if core.template is not None:
                    self._keep_standby(core.template.id, core.template)
                event = msgspec.structs.replace(event, supervisor=self.path)
            case _:
                self._look_to_standby(event.child, core)
                if isinstance(event, ChildStarting):
                    self._note(event.child, core)
                if isinstance(event, IntensityExceeded):
                    self._spent = self._who_spent(event.child, core)
                event = msgspec.structs.replace(event, child=self.path_of(event.child))
        self._keeper.publish(event)
        if isinstance(event, SupervisorStarted):
            self._keeper.call(lambda: self._keeper.started(self))

    def _look_to_standby(self, child: str, core: Core) -> None:
        """Have processes wait in advance for a child once it runs, and none for one that will not be started again."""
        row, spec = core.which_child(child), core.get_childspec(child)
        if core.template is not None or spec is None or (not spec.standby and child not in self._standbys):
            return
        if not core.expects(child):
            self._standbys.discard(child)
            self._keep_standby(child, None)
        elif row is not None and row.state is StateName.RUNNING and child not in self._standbys:
            self._standbys.add(child)
            self._keep_standby(child, spec)

    def _who_spent(self, child: str, core: Core) -> str:
        """Say which child has spent the budget, and why it ended last: of a supervisor, whose child."""
        path, reason = self.path_of(child), core.last_exit(child)
        why = self._keeper.spent_below(path) or (describe(reason) if reason is not None else "")
        return f"child {path!r}: {why}"

    def _note(self, child: str, core: Core) -> None:
        """Remember that a child was started; once there are many of them, have those forgotten that are no more."""
        self._begun.add(child)
        if len(self._begun) <= self._most_begun:
            return
        present = {row.id for row in core.which_children()}
        gone, self._begun = self._begun - present, self._begun & present
        self._most_begun = 2 * len(present) + SPARE
        self._keeper.call(lambda: self._keeper.forget(self, gone))

    def _keep_standby(self, name: str, spec: ChildSpec | None) -> None:
        self._keeper.call(lambda: self._keeper.keep_standby(self, name, spec))

    def ended(self, end: Ended) -> None:
        """Pass on that the supervisor has ended."""
        self.thread = threading.current_thread()
        if end.cause is EndCause.INTENSITY:
            end = msgspec.structs.replace(end, detail=self._spent)
        self.close(f"the supervisor has ended: {end}")
        self._keeper.call(lambda: self._keeper.ended(self, end))

    def failed(self, error: Exception) -> None:
        """End everything: nobody looks after the children any more."""
        self.thread = threading.current_thread()
        if not self.dropped:
            self._keeper.give_up(f"supervisor {self.path or '(root)'}: {type(error).__name__}: {error}")
