"""One child at a time: how it is launched, asked, killed, and what its end is called.

Owns the verbs that move a single child through its states together with the effects, the public
events and the deadlines that belong to the move. It refuses to know about siblings, strategies,
budgets and requests.
"""

from typing import Final

import attrs

from actors.digests import sha256
from supervisor.children import Backoff, Child, Down, Running, Starting, Stopping
from supervisor.core_effects import (
    AskToStop,
    ChildBackoff,
    ChildExited,
    ChildIgnored,
    ChildRunning,
    ChildStarting,
    ChildStopped,
    ChildStopping,
    ChildUnkillable,
    Effect,
    Kill,
    Publish,
    Spawn,
    SupervisorEvent,
)
from supervisor.deadlines import Deadlines
from supervisor.exits import ExitReason, Silent, Unready, after_stop, is_clean, is_expected_after_stop
from supervisor.spec import BRUTAL_KILL, INFINITY

LOOKS: Final = 4
"""How often a heartbeat is looked at within its timeout."""

UNKILLABLE_SECONDS: Final = 10.0
"""Seconds after its SIGKILL at which a child that is still there is called unkillable. The fork server takes less to
empty what a dead child has left."""

LATE: Final = 0.5
"""Seconds that a tick may be late before the supervisor itself counts as having been held up."""


class Lifecycle:
    """The verbs, over a common outbox and a common set of deadlines.

    Attributes:
        effects: what the verbs ask for, in order; emptied by the core after each event.
        strict: OTP and nothing else.
    """

    def __init__(self, *, strict: bool, seed: int) -> None:
        """Start with nothing to do; `seed` decides the jitter of backoffs."""
        self.effects: list[Effect] = []
        self.strict = strict
        self.deadlines = Deadlines()
        self._seed = seed

    def publish(self, event: SupervisorEvent) -> None:
        """Tell the world."""
        self.effects.append(Publish(event))

    def launch(self, child: Child, now: float) -> None:
        """Ask for a new incarnation."""
        child.incarnation += 1
        timeout = None if self.strict else child.spec.start_timeout
        give_up_at = None if timeout is None else now + timeout
        child.become(Starting(now, give_up_at), now)
        self.deadlines.set(child.id, give_up_at)
        self.publish(ChildStarting(now, child.id, child.incarnation))
        self.effects.append(Spawn(child.spec, child.incarnation, child.last_exit))

    def spawned(self, child: Child, pid: int | None) -> None:
        """Note the pid of a child that is being started, or already stopped again."""
        if isinstance(child.state, Starting | Stopping):
            child.revise(attrs.evolve(child.state, pid=pid))

    def ready(self, child: Child, state: Starting, now: float, info: object) -> None:
        """Take the child's word that it is ready, and what else it said."""
        child.become(Running(now, now, state.pid, info), now)
        child.alone = False
        self.listen(child, now)
        took = now - state.since
        self.publish(ChildRunning(now, child.id, child.incarnation, state.pid, took, info))

    def stop(self, child: Child, now: float, why: ExitReason | None = None) -> None:
        """Begin to end a child as its spec says; one that is ending already goes on doing so.

        Args:
            child: a child that is alive.
            now: monotonic seconds.
            why: what its end will be called; None: a shutdown.
        """
        time = child.spec.shutdown
        if isinstance(child.state, Stopping):
            if child.state.killed and child.state.kill_at is None:
                self._await_death(child, now)  # it was called unkillable before; now somebody else waits for it
            return
        if time is BRUTAL_KILL:
            self.kill(child, now, why)
            return
        kill_at = None if time is INFINITY else now + time
        self._note_health(child, now)
        child.become(Stopping(kill_at, killed=False, why=why, pid=child.pid), now)
        self.deadlines.set(child.id, kill_at)
        self.publish(ChildStopping(now, child.id, child.incarnation, why, killed=False))
        self.effects.append(AskToStop(child.id, child.incarnation))
        if kill_at == now:
            self.kill(child, now, why)

    def kill(self, child: Child, now: float, why: ExitReason | None) -> None:
        """Kill a child's group and wait for its death; in strict mode without limit."""
        self._note_health(child, now)
        child.become(Stopping(None, killed=True, why=why, pid=child.pid), now)
        self._await_death(child, now)
        self.publish(ChildStopping(now, child.id, child.incarnation, why, killed=True))
        self.effects.append(Kill(child.id, child.incarnation))

    def _await_death(self, child: Child, now: float) -> None:
        until = None if self.strict else now + UNKILLABLE_SECONDS
        self.deadlines.set(child.id, until)
        if isinstance(child.state, Stopping):
            child.revise(attrs.evolve(child.state, kill_at=until))

    def ended(self, child: Child, raw: ExitReason, now: float) -> ExitReason:
        """Name the end of a child's process, report it, and return the name.

        A child that was being replaced ends with the reason for that, whatever its exit status.
        The child's state is left to the caller, who knows what the end means.
        """
        self._note_health(child, now)
        reason, expected = raw, is_clean(raw) and isinstance(child.state, Running)
        if isinstance(child.state, Stopping):
            if child.state.why is None:
                reason = after_stop(raw, killed=child.state.killed)
                brutal = child.spec.shutdown is BRUTAL_KILL
                expected = is_expected_after_stop(reason, child.spec.restart, brutal=brutal)
            else:
                reason, expected = child.state.why, False
        child.last_exit = reason
        self.deadlines.set(child.id, None)
        self.publish(ChildExited(now, child.id, child.incarnation, reason, expected))
        return reason

    def stopped(self, child: Child, reason: ExitReason, now: float) -> None:
        """Leave a child down because that was wanted."""
        if not isinstance(child.state, Down):
            child.become(Down(), now)
            self.deadlines.set(child.id, None)
        self.publish(ChildStopped(now, child.id, child.incarnation, reason))

    def ignored(self, child: Child, now: float) -> None:
        """Leave a child down because it declined to run."""
        self.deadlines.set(child.id, None)
        child.become(Down(), now)
        self.publish(ChildIgnored(now, child.id, child.incarnation))

    def delay_restart(self, child: Child, reason: ExitReason, now: float) -> bool:
        """Count a failure and put the child into backoff if its spec has a delay for it.

        Returns:
            Whether the restart has to wait.
        """
        backoff = None if self.strict else child.spec.backoff
        child.failures += 1
        delay = 0.0 if backoff is None else backoff.delay(child.failures, self._unit(child))
        if delay <= 0:
            return False
        until = now + delay
        child.become(Backoff(until, reason), now)
        self.deadlines.set(child.id, until)
        self.publish(ChildBackoff(now, child.id, until, child.failures, reason))
        return True

    def look(self, child: Child, now: float) -> bool:
        """Act on a deadline of this child that has come up.

        Returns:
            Whether a backoff is over, which is for the core to act on.
        """
        match child.state:
            case Starting(since=since, give_up_at=give_up_at) if give_up_at is not None and give_up_at <= now:
                timeout = child.spec.start_timeout
                self.kill(child, now, Unready(timeout if timeout is not None else now - since))
            case Running():
                self.listen(child, now)
            case Stopping(kill_at=kill_at, why=why, killed=False) if kill_at is not None and kill_at <= now:
                self.kill(child, now, why)
            case Stopping(kill_at=kill_at, killed=True) as state if kill_at is not None and kill_at <= now:
                child.revise(attrs.evolve(state, kill_at=None))
                self.publish(ChildUnkillable(now, child.id, child.incarnation, child.pid, UNKILLABLE_SECONDS))
            case Backoff(until=until) if until is not None and until <= now:
                return True
            case _:
                pass
        return False

    def listen(self, child: Child, now: float) -> None:
        """Kill a running child that has been silent for too long, or look again later."""
        timeout = self._heartbeat_timeout(child)
        if timeout is None or not isinstance(child.state, Running):
            return
        silent_at = child.state.last_beat + timeout
        if silent_at <= now:
            self.kill(child, now, Silent(timeout))
        else:
            # At a multiple, so that all children are looked at in one tick.
            pace = timeout / LOOKS
            self.deadlines.set(child.id, min(silent_at, (now // pace + 1) * pace))

    def beat(self, child: Child, at: float) -> None:
        """Note a heartbeat of a running child."""
        if isinstance(child.state, Running):
            child.revise(attrs.evolve(child.state, last_beat=max(child.state.last_beat, at)))

    def discount(self, child: Child, late: float, now: float) -> None:
        """Give a child back the time in which the supervisor itself did not run.

        Whoever was silent or not ready meanwhile may have been held up by the same thing (a stopped
        group, a frozen machine), and what it said may still be on its way: it gets at least another
        quarter of its timeout.
        """
        state = child.state
        if isinstance(state, Running) and (timeout := self._heartbeat_timeout(child)) is not None:
            rest = timeout - timeout / LOOKS
            last_beat = min(max(state.last_beat + late, now - rest), now)
            child.revise(attrs.evolve(state, last_beat=last_beat))
        elif isinstance(state, Starting) and state.give_up_at is not None:
            timeout = state.give_up_at - state.since
            give_up_at = max(state.give_up_at + late, now + timeout / LOOKS)
            child.revise(attrs.evolve(state, give_up_at=give_up_at))
            self.deadlines.set(child.id, give_up_at)

    def _heartbeat_timeout(self, child: Child) -> float | None:
        return None if self.strict else child.spec.heartbeat_timeout

    def _note_health(self, child: Child, now: float) -> None:
        """Forget earlier failures of a child that ran long enough."""
        state, backoff = child.state, child.spec.backoff
        if isinstance(state, Running) and backoff is not None and now - state.since >= backoff.healthy_after:
            child.failures = 0

    def _unit(self, child: Child) -> float:
        """Draw a number in [0, 1) that is fixed by seed, child and incarnation: a run can be repeated."""
        drawn = sha256(f"{self._seed}/{child.id}/{child.incarnation}".encode()).digest()
        return int.from_bytes(drawn[:6]) / 2**48
