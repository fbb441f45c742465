"""A supervisor over real processes: actor, hub, fork server, sampler and puppets, and a record of what was published.

Owns the composition and the waiting. Refuses to know milestones: the journal is there because the hub wants one, and
stays as it is.
"""

import os
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Any, Final, Self, TypeVar, cast

import pykka

from supervisor import core_events as told
from supervisor.conduct import HubPort
from supervisor.core import Core
from supervisor.core_effects import ChildExited, ChildRunning, Ended, SupervisorEvent
from supervisor.exits import ExitReason
from supervisor.limits import Sample
from supervisor.sampling import Follower, Sampler
from supervisor.spec import ChildSpec, SupervisorFlags
from supervisor.supervisor_actor import Call, SupervisorActor, stop_now
from supervisor.usage import Pace
from tests.shell.hosting import SESSION
from tests.shell.hubs import Stage
from tests.waiting import wait_until

PUPPETS: Final = "tests.health.puppets"
PATIENCE: Final = 60.0

E = TypeVar("E", bound=SupervisorEvent)


def spec(name: str, *do: str, **fields: Any) -> ChildSpec:  # noqa: ANN401 - the fields of ChildSpec
    """Return the spec of a puppet that behaves so, one word for each incarnation."""
    args = {"do": list(do) or ["live"], **fields.pop("args", {})}
    return ChildSpec(name, f"{PUPPETS}:child", args=args, **{"shutdown": 5.0, **fields})


class Tree(Stage):
    """One supervisor and its children.

    Args:
        directory: Where the journal is.
        specs: The children.
        flags: Of the supervisor.
        output: Where the children print; standard error when not given.
    """

    def __init__(
        self, directory: Path, *specs: ChildSpec, flags: SupervisorFlags | None = None, output: int | None = None
    ) -> None:
        super().__init__(directory, (PUPPETS,), output)
        self.specs = specs
        self.flags = flags or SupervisorFlags(intensity=1_000, period=60.0)
        self.port = HubPort(self.hub, SESSION, specs)
        self.events: list[SupervisorEvent] = []
        self.samples: dict[str, Sample] = {}
        self.pids: dict[str, tuple[int, int]] = {}
        self.end: Ended | None = None
        self.failure: Exception | None = None
        self._sampler = Sampler(Pace(0.1, 1.0))
        feed = self._sampler.open(self._sampled, self._over, lambda _: None)
        limits = {one.id: one.limits for one in specs}
        self._follower = Follower(feed, limits, lambda *which: self.hub.identity(SESSION, *which))
        self.actor: pykka.ActorRef[SupervisorActor]

    def __enter__(self) -> Self:
        super().__enter__()
        self._sampler.start()
        self.actor = SupervisorActor.start(self.flags, self.specs, self.port, self)
        self.actor.tell(told.Begin(at=monotonic()))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.end is None and self.actor.is_alive():
            self.stop()
            wait_until(lambda: self.end is not None or self.failure is not None, PATIENCE, "the supervisor has ended")
        self._sampler.stop()
        super().__exit__(kind, error, trace)
        self.actor.stop()
        assert self.failure is None

    # --- told by the parts ---------------------------------------------------------------------------------------

    def tell(self, message: told.Event) -> None:
        """Pass on what happened to a child; in the hub's thread."""
        if isinstance(message, told.Spawned):
            self.pids[message.child] = (message.incarnation, message.pid or 0)
        self._over(message)
        self._follower.heed(message)

    def _over(self, message: told.Event) -> None:
        if self.actor.is_alive():
            self.actor.tell(message)

    def _sampled(self, samples: dict[str, Sample]) -> None:
        self.samples = samples

    def published(self, event: SupervisorEvent, _core: Core) -> None:
        """Note an event; in the supervisor's thread."""
        self.events.append(event)

    def ended(self, end: Ended) -> None:
        """Note the end."""
        self.end = end

    def failed(self, error: Exception) -> None:
        """Note a broken invariant."""
        self.failure = error

    # --- for tests -----------------------------------------------------------------------------------------------

    def ask(self, question: Any) -> Any:  # noqa: ANN401 - whatever the function of the core answers
        """Ask the core, in the actor's thread."""
        return self.actor.ask(Call(cast("Any", question)), timeout=PATIENCE)

    def seen(self, kind: type[E], child: str = "") -> list[E]:
        """Return the events of a kind, of one child."""
        return [one for one in self.events if isinstance(one, kind) and child in {"", getattr(one, "child", "")}]

    def running(self, child: str, incarnation: int = 1) -> int:
        """Wait until an incarnation is ready; return its pid."""

        def find() -> int:
            found = [one.pid or 0 for one in self.seen(ChildRunning, child) if one.incarnation == incarnation]
            return found[0] if found else 0

        return wait_until(find, PATIENCE, f"{child} is ready for the {incarnation}. time")

    def reasons(self, child: str) -> list[ExitReason]:
        """Return why a child's incarnations ended."""
        return [one.reason for one in self.seen(ChildExited, child)]

    def stop(self) -> None:
        """Tell the supervisor to end."""
        self.actor.tell(stop_now())

    def wait_end(self) -> Ended:
        """Wait until the supervisor has ended; return how."""
        wait_until(lambda: self.end, PATIENCE, "the supervisor has ended")
        assert self.end is not None
        return self.end

    def all_ready(self) -> None:
        """Wait until every child has started."""
        for one in self.specs:
            self.running(one.id)

    def descriptors(self) -> tuple[int, int]:
        """Count our open descriptors, and the fork server's."""
        return _descriptors(os.getpid()), _descriptors(self.hub.fork_server_pid)


def _descriptors(pid: int) -> int:
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
