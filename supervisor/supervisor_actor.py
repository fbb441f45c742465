"""The supervisor actor: it owns a pure core, tells it what happened, and performs what it asks for.

Everything reaches the actor as a told message: observations about children from the hub, ticks at the deadlines
that the core names, requests from the embedding program. The actor never waits: effects are handed to a
:class:`ChildPort`, and their outcome comes back as the next message.

Runs in the supervising process, in the actor's own (daemon) thread. Refuses to know what children do.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, ClassVar, Protocol, assert_never

import attrs
import pykka

from supervisor.core import Core
from supervisor.core_effects import (
    AskToStop,
    Effect,
    Ended,
    Kill,
    Publish,
    Reply,
    Spawn,
    SupervisorEvent,
    TellSelf,
)
from supervisor.core_events import Event, Stop, Tick

if TYPE_CHECKING:
    from supervisor.exits import ExitReason
    from supervisor.spec import ChildSpec, SupervisorFlags


class ChildPort(Protocol):
    """What performs the effects of a core on processes; called in the actor's thread, never blocks."""

    def spawn(self, spec: ChildSpec, incarnation: int, last_exit: ExitReason | None) -> None:
        """Start an incarnation; ``Spawned`` or ``SpawnFailed`` is told later."""

    def ask_to_stop(self, child: str, incarnation: int) -> None:
        """Ask an incarnation to end in order; ``Exited`` is told later."""

    def kill(self, child: str, incarnation: int) -> None:
        """Kill an incarnation; ``Exited`` is told later."""

    def together(self) -> AbstractContextManager[None]:
        """Have what is asked for meanwhile done in one go, where it can be: the effects of one message."""

    def tick_at(self, mono: float) -> None:
        """Have a ``Tick`` told at this moment of the monotonic clock, instead of the one asked for before."""


class Listener(Protocol):
    """Who wants to know what happens to the children; called in the actor's thread, must not block."""

    def published(self, event: SupervisorEvent, core: Core) -> None:
        """A public event; the core may be read."""

    def ended(self, end: Ended) -> None:
        """The supervisor has ended, and no child of it lives."""

    def failed(self, error: Exception) -> None:
        """The supervisor's own code failed; it looks after nobody any more."""


@attrs.frozen
class Call:
    """A function that reads the core, in the actor's thread; changes nothing; its result answers whoever asks."""

    function: Callable[[Core], object]


class StoppedFromOutsideError(RuntimeError):
    """The actor was stopped by somebody who is not its supervisor: all actors of the process were, as a rule."""

    def __init__(self) -> None:
        super().__init__("the supervisor's actor was stopped from outside (pykka.ActorRegistry.stop_all?)")


class SupervisorActor(pykka.ThreadingActor):
    """A supervisor.

    Args:
        flags: How it treats its children as a group.
        specs: Its children in start order.
        port: Performs the effects.
        listener: Is told of the public events.
        former: Incarnation that each child has had under a former supervisor.
        held: Children that an operator has stopped: not started at first.
        replied: Is called with each answer to a request, in the actor's thread; must not block.
    """

    use_daemon_thread: ClassVar[bool] = True

    def __init__(  # noqa: PLR0913 - two of them are what a former supervisor leaves
        self,
        flags: SupervisorFlags,
        specs: tuple[ChildSpec, ...],
        port: ChildPort,
        listener: Listener,
        *,
        former: Mapping[str, int] | None = None,
        held: Collection[str] = (),
        replied: Callable[[Reply], None] | None = None,
    ) -> None:
        super().__init__()
        self._core = Core(flags, specs, held=held, former=former or {})
        self._port = port
        self._listener = listener
        self._replied = replied
        self._tick_at: float | None = None
        self._over = False

    def _start_actor_loop(self) -> None:
        """Start the thread, unknown to pykka's registry, also where the system has none for us.

        By `stop_all` a program ends its own actors, and would end ours.
        """
        pykka.ActorRegistry.unregister(self.actor_ref)
        super()._start_actor_loop()

    def on_receive(self, message: Event | Call) -> object:
        """Handle one message, in the actor's thread."""
        if isinstance(message, Call):
            return message.function(self._core)
        try:
            self._heed(message)
        except Exception as error:  # noqa: BLE001 - pykka would end the actor, and tell nobody that counts
            self._over = True
            self._listener.failed(error)
            self.stop()
        return None

    def on_stop(self) -> None:
        """Say that nobody looks after the children any more, unless that was said already."""
        if not self._over:
            self._listener.failed(StoppedFromOutsideError())

    def _heed(self, message: Event) -> None:
        effects = self._core.handle(message)
        with self._port.together():
            for effect in effects:
                self._perform(effect)
        if isinstance(message, Tick):
            self._tick_at = None
        deadline = self._core.next_deadline
        # A deadline that moved away, as each heartbeat moves one, is left alone: the tick comes early and asks anew.
        if deadline is not None and (self._tick_at is None or deadline < self._tick_at):
            self._port.tick_at(deadline)
            self._tick_at = deadline

    def _perform(self, effect: Effect) -> None:
        match effect:
            case Spawn(child=child, incarnation=incarnation, last_exit=last_exit):
                self._port.spawn(child, incarnation, last_exit)
            case AskToStop(child=child, incarnation=incarnation):
                self._port.ask_to_stop(child, incarnation)
            case Kill(child=child, incarnation=incarnation):
                self._port.kill(child, incarnation)
            case TellSelf(event=event):
                self.actor_ref.tell(event)
            case Publish(event=event):
                self._listener.published(event, self._core)
            case Reply():
                if self._replied is not None:  # else who asks is answered by what happens
                    self._replied(effect)
            case Ended():
                self._over = True
                self._listener.ended(effect)
                self.stop()
            case _:
                assert_never(effect)


def stop_now() -> Stop:
    """Make the request that ends a supervisor and all its children in reverse start order."""
    return Stop(at=time.monotonic(), request=0)
