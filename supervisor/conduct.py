"""A session's supervision: which children it has, how they are started, and what is told of them.

Owns the product's own tree (runner and five roles, one_for_one, ten restarts in sixty seconds, two roles that are
left out rather than ending the session) and the two adapters between the supervisor actor and the hub. Refuses to
know the core's rules and the hub's loop.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Final

import attrs

from actors.events import ChildGone, ChildQuarantined, ChildReady
from actors.model import Containment
from actors.state import ROLES, RUNNER
from supervisor import core_effects as published
from supervisor import core_events as told
from supervisor.exits import Crashed, SpawnFailed, describe, kind_of
from supervisor.fork_protocol import Namespace
from supervisor.forked import REFUSED
from supervisor.ladder import namespace_for
from supervisor.spec import ChildSpec, SupervisorFlags

if TYPE_CHECKING:
    from actors.events import Settings
    from supervisor.core import Core
    from supervisor.core_effects import Ended, SupervisorEvent
    from supervisor.exits import ExitReason
    from supervisor.hub import Hub

FLAGS: Final = SupervisorFlags(intensity=10, period=60.0)
"""Of the session's own tree: one_for_one, ten restarts in sixty seconds (design, section 4)."""

OPTIONAL_ROLES: Final = frozenset({"progress_monitor", "blocker_detector"})
"""Roles that are quarantined beyond their budget; the session goes on without them."""

HEARTBEAT_TIMEOUT: Final = 5.0
"""Seconds without a beat after which a child's loop is called stuck (fault model, row F2)."""

SHORT_FIRST: Final = 0.1
"""Seconds before a child is forked again for which the system had no process, thread, memory or descriptor; three
times as many with each refusal in a row. What a child did itself is answered at once."""

SHORT_LONGEST: Final = 15.0
"""Most seconds of that: so one child's attempts never use up the budget of restarts, however long it lasts."""

START_TIMEOUT: Final = 30.0
"""Seconds from fork to ready; a snapshot of 20,000 tasks is folded within two."""

ROLE_GRACE: Final = 5.0
"""Seconds that a role has to end when asked."""

PRELOAD: Final = ("actors.host", "actors.role", "actors.cast", "supervisor.runner")
"""Modules that the fork server imports, so that a child's fork finds everything loaded."""


def session_specs(session: str, project: str, logs: str, settings: Settings) -> tuple[ChildSpec, ...]:
    """List a session's children in start order: the runner first, so that it is stopped last.

    Args:
        session: Session id.
        project: Absolute path of the project directory.
        logs: Absolute directory of the session's logs.
        settings: Of the session.
    """
    runner = ChildSpec(
        RUNNER,
        "supervisor.runner:main",
        args={"session": session, "project": project, "logs": logs, "containment": settings.containment.value},
        shutdown=settings.stop_grace + ROLE_GRACE,
        start_timeout=START_TIMEOUT,
        heartbeat_timeout=HEARTBEAT_TIMEOUT,
        limits=settings.role_limits,
    )
    roles = (
        ChildSpec(
            role,
            "actors.host:main",
            args={"role": role, "session": session, "project": project},
            shutdown=ROLE_GRACE,
            start_timeout=START_TIMEOUT,
            heartbeat_timeout=HEARTBEAT_TIMEOUT,
            quarantine=role in OPTIONAL_ROLES,
            limits=settings.role_limits,
        )
        for role in ROLES
    )
    return (runner, *roles)


class HubPort:
    """Performs a core's effects through the hub; the :class:`~supervisor.supervisor_actor.ChildPort` of a session.

    Args:
        hub: The project's hub.
        session: Session id.
        specs: The session's children.
    """

    def __init__(self, hub: Hub, session: str, specs: tuple[ChildSpec, ...]) -> None:
        self._hub = hub
        self._session = session
        self._grace = {spec.id: float(spec.shutdown) if isinstance(spec.shutdown, float) else 0.0 for spec in specs}
        runner = next((spec.args for spec in specs if spec.id == RUNNER), {})
        self._containment = Containment(str(runner.get("containment", Containment.AUTO.value)))
        self._incarnations: dict[str, int] = {}
        self._asked: dict[str, int] = {}
        self._refused: dict[str, int] = {}
        self._waiting: dict[tuple[str, int], bool] = {}  # taken out by whoever comes first: the hub's thread, or ours

    def incarnations(self) -> Mapping[str, int]:
        """Return the last incarnation of each child that was started."""
        return dict(self._incarnations)

    def hurry(self) -> None:
        """From now on give tasks no time to end by themselves, not even if the runner was asked to stop before."""
        self._grace[RUNNER] = 0.0
        asked = self._asked.get(RUNNER)
        if asked is not None:
            self._hub.ask_to_stop(self._session, RUNNER, asked, 0.0)

    def spawn(self, spec: ChildSpec, incarnation: int, last_exit: ExitReason | None) -> None:
        """Have the fork server start an incarnation."""
        self._incarnations[spec.id] = incarnation
        args = {
            **spec.args,
            "incarnation": incarnation,
            "last_exit": "" if last_exit is None else describe(last_exit),
        }
        is_role = spec.id != RUNNER
        namespace = Namespace.NONE if is_role else namespace_for(self._containment)
        session, name = self._session, spec.id

        def start() -> None:
            self._hub.spawn(session, name, incarnation, spec.target, args, role=is_role, namespace=namespace)

        delay = self._delay(name, last_exit)
        if delay:
            self._waiting[name, incarnation] = True
            self._hub.call_at(time.monotonic() + delay, lambda: start() if self._take((name, incarnation)) else None)
        else:
            start()

    def _delay(self, child: str, last_exit: ExitReason | None) -> float:
        """Return the seconds to wait: none, unless the system has just refused the child what it needs to live."""
        short = isinstance(last_exit, SpawnFailed) or (isinstance(last_exit, Crashed) and last_exit.code == REFUSED)
        refused = self._refused[child] = self._refused.get(child, 0) + 1 if short else 0
        return min(SHORT_FIRST * 3.0 ** (refused - 1), SHORT_LONGEST) if refused else 0.0

    def _take(self, waiting: tuple[str, int]) -> bool:
        return self._waiting.pop(waiting, False)

    def _not_started(self, child: str, incarnation: int) -> bool:
        """Give up a start that waits, and tell of it; return whether there was one."""
        if not self._take((child, incarnation)):
            return False
        failed = told.SpawnFailed(time.monotonic(), child, incarnation, "it was stopped before it could be forked")
        self._hub.call(lambda: self._hub.tell(self._session, failed))
        return True

    def ask_to_stop(self, child: str, incarnation: int) -> None:
        """Send the child away."""
        if self._not_started(child, incarnation):
            return
        self._asked[child] = incarnation  # before its grace is looked up: it may be cut at this very moment
        self._hub.ask_to_stop(self._session, child, incarnation, self._grace.get(child, ROLE_GRACE))

    def kill(self, child: str, incarnation: int) -> None:
        """Kill the child."""
        if self._not_started(child, incarnation):
            return
        self._hub.kill(self._session, child, incarnation)

    def together(self) -> AbstractContextManager[None]:
        """Have the hub launch a replacement before it waits for the disk to hold that the former one is gone."""
        return self._hub.together()

    def tick_at(self, mono: float) -> None:
        """Ask for a tick."""
        self._hub.tick_at(self._session, mono)


@attrs.frozen
class ChildView:
    """What is shown of a child, without its samples.

    Attributes:
        child: Role id, or ``runner``.
        state: Supervisor's word (``RUNNING``...).
        pid: Its process; ``None`` when there is none.
        restarts: Restarts in this life of the session.
        last_exit: Why the former incarnation ended, ``""`` for none.
        exit_kind: The same in one word (``killed``, ``over_limit``).
        ready_mono: When it became ready, seconds of the monotonic clock; ``None`` when it is not.
    """

    child: str
    state: str
    pid: int | None = None
    restarts: int = 0
    last_exit: str = ""
    exit_kind: str = ""
    ready_mono: float | None = None


class Conduct:
    """Listens to a session's supervisor: journals what happens to children, and shows it.

    Runs in the supervisor actor's thread.

    Args:
        hub: The project's hub.
        session: Session id.
        show: Is called with each changed view; must not block.
        over: Is called once, when the supervisor has ended.
        up: Is called when all children are ready for the first time; must not block.
    """

    def __init__(
        self,
        hub: Hub,
        session: str,
        show: Callable[[ChildView], None],
        over: Callable[[Ended], None],
        up: Callable[[], None],
    ) -> None:
        self._hub = hub
        self._session = session
        self._show = show
        self._over = over
        self._up = up
        self._views: dict[str, ChildView] = {}

    def published(self, event: SupervisorEvent, core: Core) -> None:
        """Journal and show what happened to a child."""
        if isinstance(event, published.SupervisorStarted):
            self._up()
        child = getattr(event, "child", None)
        if child is None:
            return
        view = self._views.get(child, ChildView(child, "STOPPED"))
        match event:
            case published.ChildRunning(pid=pid, incarnation=incarnation, at=at):
                restarts = incarnation - 1  # also those that a former supervisor of the session made
                self._hub.state(self._session, ChildReady(child, pid or 0, incarnation, restarts))
                view = attrs.evolve(view, pid=pid, restarts=restarts, ready_mono=at)
            case published.ChildExited(incarnation=incarnation, reason=reason, expected=expected):
                if not expected:
                    self._hub.state(self._session, ChildGone(child, incarnation, describe(reason)))
                view = attrs.evolve(
                    view, pid=None, ready_mono=None, last_exit=describe(reason), exit_kind=kind_of(reason)
                )
            case published.ChildFatal(reason=reason):
                self._hub.state(self._session, ChildQuarantined(child, describe(reason)))
            case _:
                pass
        view = attrs.evolve(view, state=core.state(child))
        if view != self._views.get(child):
            self._views[child] = view
            self._show(view)

    def ended(self, end: Ended) -> None:
        """Pass it on."""
        self._over(end)

    def failed(self, error: Exception) -> None:
        """End everything: nobody looks after the children any more."""
        story = "".join(traceback.format_exception(error))
        self._hub.give_up(f"broken invariant in the supervisor: {type(error).__name__}: {error}", story)
