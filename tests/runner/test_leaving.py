"""How the runner goes, and what the next one makes of what it finds."""

import signal
from time import monotonic

import pytest

from actors.events import (
    AttemptEnded,
    AttemptStarted,
    Outcome,
    SessionResumed,
    Settings,
    SlotPrepared,
    StopRequested,
)
from actors.frames import Leave
from actors.model import Isolation
from supervisor import linux
from tests.runner.conftest import MakeStage
from tests.runner.harness import Stage, sh
from tests.runner.programs import DAEMON, RUNAWAY, STUBBORN, program
from tests.waiting import wait_until


def test_a_runner_without_attempts_leaves_at_once(stage: Stage) -> None:
    stage.send(Leave(5.0))
    assert stage.wait_for_exit() == 0


def test_a_runner_that_is_asked_to_leave_states_what_it_interrupted(stage: Stage) -> None:
    attempt = stage.grant("t", sh("sleep 60"))
    pid = stage.started(attempt).pid
    stage.send(Leave(5.0))
    assert stage.wait_for_exit() == 0
    ended = stage.ended(attempt)
    assert (ended.outcome, ended.detail) == (Outcome.INTERRUPTED, "the task runner was told to end")
    assert not linux.is_alive(pid)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_is_the_same_as_being_asked(stage: Stage, number: signal.Signals) -> None:
    attempt = stage.grant("t", sh("sleep 60"))
    stage.started(attempt)
    stage.signal_runner(number)
    assert stage.wait_for_exit() == 128 + number
    assert stage.ended(attempt).outcome is Outcome.INTERRUPTED


def test_leaving_keeps_to_the_time_it_was_given(make_stage: MakeStage) -> None:
    stage = make_stage(settings=Settings(isolation=Isolation.NONE, stop_grace=30.0))
    stage.start()
    attempt = stage.grant("t", sh("exec " + program(STUBBORN, "pid")))
    stage.pid_in("pid")
    began = monotonic()
    stage.send(Leave(1.5))
    assert stage.wait_for_exit() == 0
    assert monotonic() - began < 20.0
    assert stage.ended(attempt).code == -signal.SIGKILL


def test_nothing_is_begun_after_the_order_to_leave(make_stage: MakeStage) -> None:
    stage = make_stage(tasks=("a", "b"))
    stage.start()
    stage.grant("a", sh("trap 'sleep 0.3; exit' TERM; touch ready; while :; do sleep 0.01; done"), slot=0)
    stage.until((stage.project / "ready").exists)
    stage.send(Leave(5.0))
    stage.grant("b", sh("touch begun"), slot=1)
    assert stage.wait_for_exit() == 0
    assert not (stage.project / "begun").exists()
    assert [fact.attempt for fact in stage.facts(AttemptStarted)] == ["a.1"]


@pytest.mark.row("F5")
@pytest.mark.parametrize(
    "line",
    [
        "sleep 60",
        "exec " + program(STUBBORN, "pid"),
        program(STUBBORN, "pid") + " & " + program(DAEMON, "daemon") + "; wait",
        program(DAEMON, "pid", env="env -i") + "; sleep 60",
        program(RUNAWAY, "0.005") + "; sleep 60",
        "kill -STOP $$",
    ],
    ids=["plain", "stubborn", "tree", "unmarked", "runaway", "stopped"],
)
def test_a_runner_that_is_alone_ends_everything_long_before_its_session_would_have_to(
    make_stage: MakeStage, line: str
) -> None:
    stage = make_stage(settings=Settings(isolation=Isolation.NONE, stop_grace=30.0))
    stage.start()
    stage.started(stage.grant("t", sh(line)))
    if "pid" in line:
        stage.pid_in("pid")
    began = monotonic()
    stage.hang_up()
    assert stage.runner is not None
    assert stage.runner.wait(60.0) == 0
    wait_until(lambda: not stage.standing_here())
    assert monotonic() - began < 20.0  # and not 30, the grace of the session


def test_a_runner_whose_tasks_obey_is_alone_only_for_a_moment(make_stage: MakeStage) -> None:
    stage = make_stage(settings=Settings(isolation=Isolation.NONE, stop_grace=30.0))
    stage.start()
    stage.started(stage.grant("t", sh("sleep 60")))
    stage.hang_up()
    assert stage.runner is not None
    assert stage.runner.wait(20.0) == 0  # and not 30, the grace


@pytest.mark.row("F30")
def test_the_next_incarnation_ends_what_a_killed_runner_left_and_calls_it_interrupted(
    make_stage: MakeStage,
) -> None:
    stage = make_stage(tasks=("a", "b"))
    stage.start()
    stage.grant("a", sh("sleep 60"), slot=0)
    stage.grant("b", sh(program(DAEMON, "daemon") + "; exec " + program(STUBBORN, "pid")), slot=1)
    left = [stage.started("a.1").pid, stage.pid_in("daemon"), stage.pid_in("pid")]
    stage.kill_runner()
    assert all(linux.is_alive(pid) for pid in left)
    stage.start(incarnation=2)
    for attempt in ("a.1", "b.1"):
        ended = stage.ended(attempt)
        assert (ended.outcome, ended.detail) == (Outcome.INTERRUPTED, "the runner died")
    wait_until(lambda: not any(linux.is_alive(pid) for pid in left))
    again = stage.grant("a", sh("true"), number=2)
    assert stage.ended(again).outcome is Outcome.OK


@pytest.mark.row("F8", "F30")
def test_what_a_runner_may_have_begun_when_it_died_is_told_apart_from_what_it_has_not(make_stage: MakeStage) -> None:
    stage = make_stage(tasks=("a", "b", "c"), settings=Settings(stop_grace=1.0))
    stage.start()
    for slot, task in enumerate(("a", "b", "c")):
        stage.grant(task, sh("sleep 60"), slot=slot)
    stage.journal(SlotPrepared("a.1", str(stage.project), "0" * 40))
    stage.started("a.1")
    stage.kill_runner()
    stage.journal(SlotPrepared("b.1", str(stage.project), "0" * 40))  # a runner that died at once would not have told
    stage.start(incarnation=2)
    died = {attempt: stage.ended(attempt).runner_died for attempt in ("a.1", "b.1", "c.1")}
    assert died == {"a.1": True, "b.1": True, "c.1": False}


def test_what_a_former_life_left_is_not_put_down_to_the_tasks(make_stage: MakeStage) -> None:
    stage = make_stage()
    stage.start()
    stage.started(stage.grant("t", sh("sleep 60")))
    stage.kill_runner()
    stage.journal(SessionResumed(stage.settings, "boot", 1))
    stage.start(incarnation=1)
    assert not stage.ended("t.1").runner_died


@pytest.mark.parametrize(("number", "died"), [(signal.SIGTERM, True), (None, False)])
def test_an_end_of_its_own_is_told_apart_from_one_that_was_asked_for(
    stage: Stage, number: signal.Signals | None, *, died: bool
) -> None:
    stage.started(stage.grant("t", sh("sleep 60")))
    if number is None:
        stage.send(Leave(5.0))
    else:
        stage.signal_runner(number)
    assert stage.wait_for_exit() == (128 + number if number else 0)
    assert stage.ended("t.1").runner_died is died


@pytest.mark.row("F8")
def test_a_grant_that_the_former_runner_may_have_begun_is_not_begun_again(make_stage: MakeStage) -> None:
    stage = make_stage()
    attempt = stage.grant("t", sh("touch begun"))
    stage.start(incarnation=2)
    assert stage.ended(attempt).outcome is Outcome.INTERRUPTED
    assert not (stage.project / "begun").exists()


def test_a_grant_of_a_former_life_is_not_begun(make_stage: MakeStage) -> None:
    stage = make_stage()
    attempt = stage.grant("t", sh("touch begun"))
    stage.journal(SessionResumed(stage.settings, "boot", 1))
    stage.start(incarnation=1)
    assert stage.ended(attempt).outcome is Outcome.INTERRUPTED
    assert not (stage.project / "begun").exists()


def test_a_grant_that_waits_for_the_first_runner_is_begun(make_stage: MakeStage) -> None:
    stage = make_stage()
    attempt = stage.grant("t", sh("true"))
    stage.start(incarnation=1)
    assert stage.ended(attempt).outcome is Outcome.OK


def test_results_wait_for_a_link_that_is_not_read(make_stage: MakeStage) -> None:
    tasks = tuple(f"t{number}" for number in range(40))
    stage = make_stage(tasks=tasks)
    stage.start()
    for place, task in enumerate(tasks):
        stage.grant(task, sh(f"touch {task}; sleep 60"), slot=place)
    wait_until(lambda: all((stage.project / task).exists() for task in tasks))
    # The ends carry the reason: together they are many times what the socket holds.
    stage.journal(StopRequested("x" * 50_000))
    wait_until(lambda: not stage.standing_here())
    for task in tasks:
        assert stage.ended(f"{task}.1").outcome is Outcome.INTERRUPTED
    assert len(stage.facts(AttemptEnded)) == len(stage.facts(AttemptStarted)) == len(tasks)
    assert stage.refusals == []
