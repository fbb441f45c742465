"""An attempt that uses too much is warned of, and ended where the limit is hard; all its processes count."""

import sys

from actors.events import AttemptOverLimit, Outcome, Settings
from actors.limits import Limit, Limits
from actors.model import Isolation
from supervisor.limits import Excess
from supervisor.linux import is_alive
from supervisor.task_meters import TaskMeters
from tests.health.programs import glutton
from tests.runner.conftest import MakeStage
from tests.runner.harness import Stage, sh

MIB = 1024**2
EAT = f"exec '{sys.executable}' -c 'import os, signal; held = b\"x\" * (80 << 20); {{}}signal.pause()'"
NOTE = 'open("pid", "w").write(str(os.getpid())); '


def limited(make_stage: MakeStage, limits: Limits) -> Stage:
    stage = make_stage(settings=Settings(isolation=Isolation.NONE, stop_grace=1.0, task_limits=limits))
    stage.start()
    return stage


def test_a_task_over_its_hard_limit_is_ended_and_has_failed_with_the_figures(make_stage: MakeStage) -> None:
    """What it started in a session of its own counts, and ends with it."""
    stage = limited(make_stage, Limits(memory=Limit(hard=60 * MIB)))
    stage.grant("t", sh('setsid sh -c "$EATER" & wait'), env=(("EATER", EAT.format(NOTE)),))
    eater = stage.pid_in("pid")
    ended = stage.ended("t.1")
    assert ended.outcome is Outcome.FAILED
    assert ended.detail.startswith("used ")
    assert ended.detail.endswith(" MiB of memory, its limit is 60 MiB")
    assert ended.explanation == ended.detail
    assert not is_alive(eater)
    assert not stage.facts(AttemptOverLimit)


def test_a_task_over_its_soft_limit_is_warned_of_once_and_goes_on(make_stage: MakeStage) -> None:
    stage = limited(make_stage, Limits(memory=Limit(soft=60 * MIB, hard=8000 * MIB)))
    stage.grant("t", sh(EAT.format(NOTE)))
    eater = stage.pid_in("pid")
    (warned,) = stage.until(lambda: stage.facts(AttemptOverLimit) or None)
    assert warned.attempt == "t.1"
    assert warned.what.endswith("MiB of memory, its soft limit is 60 MiB")
    assert stage.ledger.state.tasks["t"].attempt.over_limit == warned.what  # type: ignore[union-attr]
    assert is_alive(eater)
    assert not stage.refusals


def test_without_limits_there_is_no_look_and_with_them_one_every_two_seconds() -> None:
    meters = TaskMeters()
    assert meters.next_look(alive=True) == float("inf")
    with glutton() as one, glutton() as other:
        meters.limit(Limits(threads=Limit(hard=3)))
        assert meters.next_look(alive=False) == float("inf")
        assert meters.next_look(alive=True) <= 100.0
        assert meters.look({"a.1": [one.pid], "b.1": [other.pid]}, 100.0) == []
        assert meters.next_look(alive=True) == 102.0
        other.tell("threads 4")
        assert meters.look({"a.1": [one.pid], "b.1": [other.pid]}, 102.0) == [
            ("b.1", Excess("ran 5 threads, its limit is 3", hard=True))
        ]
        assert meters.look({}, 104.0) == []
        assert meters.next_look(alive=True) == 106.0
