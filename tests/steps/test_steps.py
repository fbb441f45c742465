"""Whoever is killed at whichever named step: the session is taken up, and ends as if nothing had been.

Each test kills at several steps, one kill after the other, in runs of one project: what is reached next decides. A
run that was killed is started again at once, beside what the killed one has left and what is still ending.
"""

import os
import signal
from pathlib import Path
from typing import Final

import pytest

from actors.failpoints import VARIABLE
from tests.e2e.stage import Project
from tests.isolation import World
from tests.steps.catalogue import BY_ITSELF, dealt, targets
from tests.steps.shape import assert_invariants, begin, furnish
from tests.steps.stops import Stops, Target
from tests.waiting import wait_until

MOST_MILESTONES: Final = 4
"""So many milestones at most are executed until every step of a group was reached."""

GONE_SECONDS: Final = 60.0
"""Longest wait for what has to go by itself; how soon it goes is measured elsewhere."""

EVERY: Final = os.environ.get("MILESTONED_TEST_STEPS") == "every"
"""Whether it is ``make steps``: everything is killed at every step, and the second time that it is reached, too."""

_HITS: Final = (1, 2) if EVERY else (1,)

ONE: Final = dealt(targets(everything=False, hits=_HITS), 14 * len(_HITS))
ALL: Final = dealt(targets(everything=True, hits=_HITS, without=() if EVERY else BY_ITSELF), 20 if EVERY else 7)


def kill_at(project: Project, place: Path, world: World, monkeypatch: pytest.MonkeyPatch, group: list[Target]) -> None:
    """Execute milestones until something was killed at each target, and check what comes of it."""
    checkout = furnish(project, place)
    with Stops(world.home / "stops", list(group)) as stops:
        monkeypatch.setenv(VARIABLE, str(stops.place))
        for number in range(1, MOST_MILESTONES + 1):
            milestone = f"m{number}"
            begin(project, milestone, place)
            _run_to_the_end(project, milestone, stops, len(group))
            wait_until(lambda: not stops.ours(), GONE_SECONDS, "no process of ours is left")
            assert_invariants(project, milestone, place, checkout)
            if not stops.targets:
                break
    assert not stops.targets, "never reached"
    assert not stops.failures
    assert {target for target, _ in stops.killed} == set(group)
    if group[0].everything:
        assert max(count for _, count in stops.killed) > 1


def _run_to_the_end(project: Project, milestone: str, stops: Stops, kills: int) -> None:
    for _ in range(kills + 1):
        running = project.start("run", milestone)
        code = running.wait(300.0)
        if code != -signal.SIGKILL:
            assert code == 0, f"{running.text()}\nkilled: {[str(target) for target, _ in stops.killed]}"
            return
    raise AssertionError(f"killed more often than {kills} times")


@pytest.mark.timeout(600)
@pytest.mark.parametrize("group", ONE, ids=lambda group: str(group[0]))
def test_the_process_at_a_step_is_killed(
    project: Project, place: Path, world: World, monkeypatch: pytest.MonkeyPatch, group: list[Target]
) -> None:
    """Its replacement, or the next run, goes on from what is durable."""
    kill_at(project, place, world, monkeypatch, group)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("group", ALL, ids=lambda group: str(group[0]))
def test_everything_is_killed_when_one_process_is_at_a_step(
    project: Project, place: Path, world: World, monkeypatch: pytest.MonkeyPatch, group: list[Target]
) -> None:
    """The next run goes on from what is durable, whatever git program of the killed one still works."""
    kill_at(project, place, world, monkeypatch, group)
