"""The model in the ordinary tests, and builds with a planted bug, each of which it has to find."""

import heapq
from collections.abc import Callable, Iterator

import attrs
import pytest
from hypothesis import HealthCheck, Phase, settings

from actors import attempts
from actors.admission import Admission
from actors.events import AttemptGranted, Event, Record, TaskCompleted, TaskFailed, TaskRetried, TaskSkipped
from actors.execution import Execution
from actors.frontier import Frontier
from actors.standing import Phase as Where
from actors.state import SessionState
from tests.model.long import BLOCK, LENGTH, block
from tests.model.machine import Session

RUNS = 200
"""Of the machine in the ordinary tests, each of up to ``LENGTH`` steps."""

ENOUGH = 4000
"""Runs after which a planted bug counts as not found."""

Session.TestCase.settings = settings(
    max_examples=RUNS, stateful_step_count=LENGTH, suppress_health_check=[HealthCheck.too_slow]
)
TestSession = Session.TestCase


Plant = Callable[[pytest.MonkeyPatch], None]


def completed_is_granted(patch: pytest.MonkeyPatch) -> None:
    """The door lets what is completed be attempted again."""
    true = Admission._admits_grant

    def admits(self: Admission, event: AttemptGranted) -> str:
        refusal = true(self, event)
        return "" if refusal.endswith((" is completed", "does not follow 1")) else refusal

    patch.setattr(Admission, "_admits_grant", admits)


def dependencies_are_not_judged(patch: pytest.MonkeyPatch) -> None:
    """Executor and door take a task for ready whose dependency was left out."""
    true = Admission._admits_grant

    def admits(self: Admission, event: AttemptGranted) -> str:
        refusal = true(self, event)
        return "" if " needs " in refusal else refusal

    patch.setattr(Admission, "_admits_grant", admits)
    patch.setattr(Frontier, "failed", Frontier.completed)


def clock_is_believed(patch: pytest.MonkeyPatch) -> None:
    """A delay waits for a wall clock that was set back to catch up."""
    true = Execution._failures

    def failures(self: Execution, wall: float) -> Iterator[TaskFailed]:
        latest = max((one.attempt.ended_wall for one in self._state.tasks.values() if one.attempt), default=0.0)
        return true(self, max(wall, latest))

    patch.setattr(Execution, "_failures", failures)
    patch.setattr(Execution, "_release_delayed", _release_what_is_due)


def _release_what_is_due(self: Execution, wall: float) -> None:
    while self._delayed and self._delayed[0][0] <= wall:
        self._frontier.back(heapq.heappop(self._delayed)[2])


def a_life_forgets_who_is_live(patch: pytest.MonkeyPatch) -> None:
    """A session that is taken up forgets which attempts were alive."""
    true = SessionState._begin_life

    def begin(self: SessionState, wall: float, boot: str) -> None:
        true(self, wall, boot)
        self.live = {}

    patch.setattr(SessionState, "_begin_life", begin)


def the_fold_knows_more_than_the_journal(patch: pytest.MonkeyPatch) -> None:
    """What lives counts a completion that is not in the record."""
    true = SessionState.apply

    def apply(self: SessionState, record: Record, event: Event | None = None) -> Event:
        fact = true(self, record, event)
        if event is not None and isinstance(fact, TaskCompleted):
            self.completed_here += 1
        return fact

    patch.setattr(SessionState, "apply", apply)


def retries_go_on_for_ever(patch: pytest.MonkeyPatch) -> None:
    """A task is attempted once more than it may."""
    true = attempts._after_failure
    patch.setattr(
        attempts,
        "_after_failure",
        lambda task, state, attempt: true(attrs.evolve(task, retries=task.retries + 1), state, attempt),
    )


def a_retry_is_lost(patch: pytest.MonkeyPatch) -> None:
    """The executor does not take notice of what somebody wants again."""
    true = Execution.observe

    def observe(self: Execution, event: Event) -> None:
        if not isinstance(event, TaskRetried | TaskSkipped):
            true(self, event)

    patch.setattr(Execution, "observe", observe)


def a_retry_undoes_a_completion(patch: pytest.MonkeyPatch) -> None:
    """The door lets somebody have a completed task again."""
    true = Admission._admits_change

    def admits(self: Admission, task: str, *phases: Where) -> str:
        return true(self, task, *phases, Where.COMPLETED)

    patch.setattr(Admission, "_admits_change", admits)


PLANTS: dict[Plant, int] = {
    completed_is_granted: 72,
    dependencies_are_not_judged: 59,
    clock_is_believed: 13,
    a_life_forgets_who_is_live: 1,
    the_fold_knows_more_than_the_journal: 1,
    retries_go_on_for_ever: 1,
    a_retry_is_lost: 1,
    a_retry_undoes_a_completion: 1,
}
"""The bugs, and the seed of runs that soon find each; where the rules have changed since, runs of others do."""


def _search(soon: int) -> None:
    for number in (soon, *range(1000, 1000 + ENOUGH // BLOCK)):
        block(number, phases=(Phase.generate,))


@pytest.mark.parametrize(("plant", "soon"), PLANTS.items(), ids=[plant.__name__ for plant in PLANTS])
def test_a_planted_bug_is_found(plant: Plant, soon: int, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    with pytest.raises((AssertionError, KeyError, IndexError, AttributeError)):
        _search(soon)
