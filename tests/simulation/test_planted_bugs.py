"""A witness that never objects is worth nothing: bugs are planted in the core, and each one has to be found.

Each bug is a change of one function of the core. The histories that follow are the ones of the ordinary run.
"""

from collections.abc import Callable
from pathlib import Path

import attrs
import pytest

from supervisor import children, deadlines, exits, intensity, lifecycle, roster, sequence, sequencer
from supervisor.children import Child, Children
from supervisor.core_effects import Done, Kill, Reply, Result
from supervisor.core_events import TerminateChild, TryAgain
from supervisor.exits import ExitReason
from supervisor.intensity import RestartRecord
from supervisor.sequence import StartStep, Step, StopStep
from supervisor.spec import BRUTAL_KILL, Restart, Strategy
from tests.simulation.draw import draw
from tests.simulation.history import Family, History, Life
from tests.simulation.simulate import report, shrink, simulate

ENOUGH = 1500
"""Histories after which a bug counts as not found."""

RARE: dict["Plant", int] = {}
"""Bugs that few histories meet, with a seed shortly before the first that does: to save time, not to find them."""

Plant = Callable[[pytest.MonkeyPatch], None]


def backwards(patch: pytest.MonkeyPatch) -> None:
    """A group is started in the wrong order."""
    true = sequence.plan_restart

    def plan(strategy: Strategy, those: Children, failed: Child) -> tuple[Step, ...]:
        steps = true(strategy, those, failed)
        stops = [step for step in steps if isinstance(step, StopStep)]
        starts = [step for step in steps if isinstance(step, StartStep)]
        return (*stops, *reversed(starts))

    patch.setattr(sequencer, "plan_restart", plan)


def stopped_forwards(patch: pytest.MonkeyPatch) -> None:
    """The supervisor ends its children from the first to the last."""
    true = sequence.plan_end
    patch.setattr(sequencer, "plan_end", lambda strategy, those: tuple(reversed(true(strategy, those))))


def one_too_many(patch: pytest.MonkeyPatch) -> None:
    """The budget allows one restart more than it should."""
    patch.setattr(RestartRecord, "exceeds", lambda self, most: len(self.attempts) > most + 1)


def exclusive_period(patch: pytest.MonkeyPatch) -> None:
    """An attempt that is exactly as old as the period does not count, or nearly so."""

    def add(self: RestartRecord, at: float, period: float) -> RestartRecord:
        recent = tuple(attempt for attempt in self.attempts if at - attempt < period * 0.9)
        return RestartRecord((*recent, at))

    patch.setattr(intensity.RestartRecord, "add", add)


def budget_cleared_by_success(patch: pytest.MonkeyPatch) -> None:
    """A child that comes up clears the budget."""
    true = sequencer.Sequencer.started

    def started(self: sequencer.Sequencer, child: Child, *, running: bool, info: object = None) -> None:
        self._record = RestartRecord()
        true(self, child, running=running, info=info)

    patch.setattr(sequencer.Sequencer, "started", started)


def temporary_restarted(patch: pytest.MonkeyPatch) -> None:
    """A temporary child that crashes is restarted."""

    def calls(restart: Restart, reason: ExitReason) -> bool:
        return restart is Restart.PERMANENT or not exits.is_clean(reason)

    patch.setattr(sequencer, "calls_for_restart", calls)


def transient_restarted(patch: pytest.MonkeyPatch) -> None:
    """A transient child that ends normally is restarted."""
    patch.setattr(sequencer, "calls_for_restart", lambda restart, _: restart is not Restart.TEMPORARY)


def shutdown_is_a_crash(patch: pytest.MonkeyPatch) -> None:
    """A transient supervisor that gave up is restarted, although `shutdown` is no crash."""
    patch.setattr(exits, "is_clean", lambda reason: isinstance(reason, exits.Normal))


def lost_request(patch: pytest.MonkeyPatch) -> None:
    """Requests that wait when the supervisor ends are not answered."""
    true = sequencer.Sequencer._reply

    def reply(self: sequencer.Sequencer, request: int, result: Result) -> None:
        if self.phase is not sequence.Phase.ENDING:
            true(self, request, result)

    patch.setattr(sequencer.Sequencer, "_reply", reply)


def answered_twice(patch: pytest.MonkeyPatch) -> None:
    """Requests are answered twice."""
    true = sequencer.Sequencer._reply

    def reply(self: sequencer.Sequencer, request: int, result: Result) -> None:
        true(self, request, result)
        self._life.effects.append(Reply(request, result))

    patch.setattr(sequencer.Sequencer, "_reply", reply)


def lost_retry(patch: pytest.MonkeyPatch) -> None:
    """A failed restart is never retried."""
    true = sequencer.Sequencer._take

    def take(self: sequencer.Sequencer, queued: sequence.Queued) -> None:
        if not isinstance(queued, TryAgain):
            true(self, queued)

    patch.setattr(sequencer.Sequencer, "_take", take)


def siblings_ended(patch: pytest.MonkeyPatch) -> None:
    """one_for_one behaves as one_for_all."""
    true = sequence.plan_restart

    def plan(strategy: Strategy, those: Children, failed: Child) -> tuple[Step, ...]:
        return true(Strategy.ONE_FOR_ALL if strategy is Strategy.ONE_FOR_ONE else strategy, those, failed)

    patch.setattr(sequencer, "plan_restart", plan)


def first_left_out(patch: pytest.MonkeyPatch) -> None:
    """one_for_all behaves as rest_for_one."""
    true = sequence.plan_restart

    def plan(strategy: Strategy, those: Children, failed: Child) -> tuple[Step, ...]:
        return true(Strategy.REST_FOR_ONE if strategy is Strategy.ONE_FOR_ALL else strategy, those, failed)

    patch.setattr(sequencer, "plan_restart", plan)


def last_left_out(patch: pytest.MonkeyPatch) -> None:
    """A group's last child is ended and not started again."""
    true = sequence.plan_restart

    def plan(strategy: Strategy, those: Children, failed: Child) -> tuple[Step, ...]:
        steps = true(strategy, those, failed)
        return steps[:-1] if len(steps) > 2 else steps

    patch.setattr(sequencer, "plan_restart", plan)


def never_killed(patch: pytest.MonkeyPatch) -> None:
    """A child that does not stop in time is not killed."""
    true = lifecycle.Lifecycle.look

    def look(self: lifecycle.Lifecycle, child: Child, now: float) -> bool:
        return False if isinstance(child.state, children.Stopping) else true(self, child, now)

    patch.setattr(lifecycle.Lifecycle, "look", look)


def killed_at_once(patch: pytest.MonkeyPatch) -> None:
    """Children are killed without being asked."""
    true = lifecycle.Lifecycle.stop

    def stop(self: lifecycle.Lifecycle, child: Child, now: float, why: ExitReason | None = None) -> None:
        spec = child.spec
        child.spec = attrs.evolve(spec, shutdown=BRUTAL_KILL)
        true(self, child, now, why)
        child.spec = spec

    patch.setattr(lifecycle.Lifecycle, "stop", stop)


def forgotten_deadlines(patch: pytest.MonkeyPatch) -> None:
    """Of two deadlines that fall together one is forgotten."""
    true = deadlines.Deadlines.due
    patch.setattr(deadlines.Deadlines, "due", lambda self, now: true(self, now)[:1])


def stopped_by_an_old_number(patch: pytest.MonkeyPatch) -> None:
    """A kill names the incarnation before the one that lives."""
    true = lifecycle.Lifecycle.kill

    def kill(self: lifecycle.Lifecycle, child: Child, now: float, why: ExitReason | None) -> None:
        true(self, child, now, why)
        self.effects[-1] = Kill(child.id, child.incarnation - 1)

    patch.setattr(lifecycle.Lifecycle, "kill", kill)


def two_at_once(patch: pytest.MonkeyPatch) -> None:
    """A start does not wait until the one before it is ready."""
    true = sequencer.Sequencer._advance

    def advance(self: sequencer.Sequencer, one: sequence.Sequence) -> bool:
        if isinstance(one.step, StartStep) and one.entered and one.position + 1 < len(one.steps):
            self.sequence = one.next()
            return True
        return true(self, one)

    patch.setattr(sequencer.Sequencer, "_advance", advance)


def termination_undone(patch: pytest.MonkeyPatch) -> None:
    """A child that an operator ends while it waits for its restart is restarted all the same."""
    true = roster.Roster._admit_terminate

    def admit(self: roster.Roster, request: TerminateChild) -> Result | sequence.Sequence:
        child = self.children.get(request.child)
        waiting = child is not None and isinstance(child.state, children.Backoff)
        return Done() if waiting else true(self, request)

    patch.setattr(roster.Roster, "_admit_terminate", admit)


def significant_unheard(patch: pytest.MonkeyPatch) -> None:
    """The end of a significant child ends nobody."""
    patch.setattr(sequencer.Sequencer, "_ends_with_significant", lambda _: False)


def significant_too_eager(patch: pytest.MonkeyPatch) -> None:
    """The first significant child that ends is enough, although all would have to."""
    patch.setattr(sequencer.Sequencer, "_ends_with_significant", lambda _: True)


BUGS: list[Plant] = [
    backwards,
    stopped_forwards,
    one_too_many,
    exclusive_period,
    budget_cleared_by_success,
    temporary_restarted,
    transient_restarted,
    shutdown_is_a_crash,
    lost_request,
    answered_twice,
    lost_retry,
    siblings_ended,
    first_left_out,
    last_left_out,
    never_killed,
    killed_at_once,
    forgotten_deadlines,
    stopped_by_an_old_number,
    two_at_once,
    termination_undone,
    significant_unheard,
    significant_too_eager,
]


RARE[termination_undone], RARE[forgotten_deadlines] = 600, 400


def first_failure(seed: int = 0) -> History | None:
    """Return the first history that goes wrong, from a seed on."""
    return next((history for history in map(draw, range(seed, seed + ENOUGH)) if simulate(history).failure), None)


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: str(bug.__doc__))
def test_a_planted_bug_is_found(bug: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    bug(monkeypatch)
    assert first_failure(RARE.get(bug, 0)) is not None


def test_a_failing_history_is_shrunk_to_what_it_needs_and_can_be_replayed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    one_too_many(monkeypatch)
    found = first_failure()
    assert found is not None
    shorter = shrink(found, most=150)
    outcome = simulate(shorter)
    assert outcome.kind == simulate(found).kind
    assert len(shorter.requests) <= 1
    assert sum(map(len, shorter.scripts.values())) <= sum(map(len, found.scripts.values()))
    told = report(shorter, outcome, tmp_path)
    assert told.startswith(f"seed {found.seed}: ")
    assert f"python -m tests.simulation.replay {tmp_path}" in told
    assert (tmp_path / f"history-{found.seed}.json").is_file()


def test_a_history_without_anything_to_leave_out_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    one_too_many(monkeypatch)
    crash = Life(end="crash")
    family = Family(flags={"intensity": 0}, specs=[{"id": "a", "target": "x"}])
    smallest = History(seed=0, hours=0.0, family=family, scripts={"top/a": [crash]})
    assert simulate(smallest).failure
    assert shrink(smallest) == smallest
