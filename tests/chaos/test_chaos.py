"""A short run of chaos: the promises are kept, and a build that breaks one is caught.

The long ones are `make chaos SEED=… ROUNDS=…` and `make chaos-broken`. Here the schedule is the same each time unless
`MILESTONED_TEST_SEED` says otherwise, and nothing is held against the speed of the machine.
"""

import os
from pathlib import Path
from typing import Final

import pytest

from tests.chaos.broken import BUGS, catch, plant
from tests.chaos.draw import FAULTS, KINDS, Odds, draw_round
from tests.chaos.harness import Plan, Result, replay, run_in
from tests.chaos.history import Bounds, read_history

SEED: Final = os.environ.get("MILESTONED_TEST_SEED")

KILLS: Final = {kind: 4 * odds for kind, odds in FAULTS.items() if kind.startswith("kill") and kind != "kill task"}
OTHERS: Final = {kind: FAULTS[kind] for kind in ("clock", "edit", "hostile client", "rival", "slow client", "verb")}
SLOW: Final = {"long": 3, "shared": 2, "flaky": 1, "daemonising": 1, "telling": 1, "unchanged": 1}
"""Tasks that are still there when something is done to them."""

BOUNDS: Final = Bounds(orphan=10.0, ready=60.0, stop=60.0, log=1 << 30, growth=1 << 30, descriptors=1000, restarts=1000)
"""No machine is too slow for these."""


def chaos(folder: Path, *, containment: str, seed: int) -> Result:
    """Run chaos: mostly kills, the first of them at the supervising process, which is always there."""
    plan = Plan(
        seed,
        1,
        Odds({**KILLS, **OTHERS}, SLOW, troubles=8),
        bounds=BOUNDS,
        spare=False,
        containment=containment,
        calm=150.0,
    )
    result = run_in(folder, plan, small=False)
    if result.violations:
        told = "\n".join(map(str, result.violations))
        pytest.fail(
            f"{told}\n{result.figures}\nhistory: {folder / 'history.json'}; again: {replay(plan)}", pytrace=False
        )
    return result


@pytest.mark.timeout(400)
@pytest.mark.parametrize(("containment", "seed"), [("auto", 102), ("sweep", 15)])
def test_whatever_is_killed_every_promise_is_kept(tmp_path: Path, containment: str, seed: int) -> None:
    result = chaos(tmp_path / "c", containment=containment, seed=int(SEED or seed))
    assert result.killed > 0
    assert result.tasks > 0
    assert result.history.commits
    assert result.history.looks
    assert result.history.seen
    assert read_history(tmp_path / "c" / "history.json") == result.history


def test_the_same_seed_gives_the_same_schedule() -> None:
    for number in range(1, 30):
        assert draw_round(7, number, Odds()) == draw_round(7, number, Odds())
    assert draw_round(7, 1, Odds()) != draw_round(8, 1, Odds())
    assert draw_round(7, 1, Odds()) != draw_round(7, 2, Odds())


def test_every_fault_and_every_kind_of_task_is_drawn() -> None:
    rounds = [draw_round(1, number, Odds()) for number in range(1, 100)]
    assert {one.kind for chosen in rounds for one in chosen.troubles} == set(FAULTS)
    assert {work.kind for chosen in rounds for tasks in chosen.milestones.values() for work in tasks} == set(KINDS)


def test_a_spared_daemon_is_never_killed() -> None:
    for number in range(1, 100):
        chosen = draw_round(1, number, Odds(spared=True))
        assert chosen.daemon
        assert not any("supervisor" in one.who for one in chosen.troubles if one.kind.startswith("kill"))


@pytest.mark.parametrize("name", BUGS)
def test_a_bug_can_be_planted(name: str, tmp_path: Path) -> None:
    plant(name, tmp_path)
    for file, _, _ in BUGS[name].changes:
        text = (tmp_path / file).read_text(encoding="utf-8")
        compile(text, file, "exec")


@pytest.mark.timeout(400)
def test_a_broken_build_is_caught(tmp_path: Path) -> None:
    said = catch("hooks run", tmp_path, rounds=1)
    assert "I8" in said
