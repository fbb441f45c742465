"""Nothing of an attempt lives when its end is stated, whatever its processes do about it."""

import os
import signal

import pytest

from actors.events import AttemptEnded, Outcome, Settings, SlotPrepared, StopRequested, TaskCompleted
from actors.frames import Beat
from actors.model import Isolation
from supervisor import linux
from tests.runner.conftest import MakeStage
from tests.runner.harness import Stage, sh
from tests.runner.programs import DAEMON, RUNAWAY, STUBBORN, program


def test_background_processes_that_the_leader_leaves_are_ended_first(stage: Stage) -> None:
    ended = stage.run(sh("sleep 60 & sleep 61 & echo $! > pid"))
    assert (ended.outcome, ended.code) == (Outcome.OK, 0)
    assert stage.standing_here() == []
    assert ended.seconds < 30.0


@pytest.mark.row("P2", "P10", "F23")
def test_a_daemonised_grandchild_that_holds_the_output_is_ended_first(stage: Stage) -> None:
    ended = stage.run(sh(program(DAEMON, "pid") + "; while ! test -s pid; do :; done"))
    assert ended.outcome is Outcome.OK
    assert not linux.is_alive(stage.pid_in("pid"))


@pytest.mark.row("F30")
def test_each_heartbeat_names_the_tops_of_the_trees_and_none_without_any(stage: Stage) -> None:
    os.mkfifo(stage.project / "go")
    attempt = stage.grant("t", sh("(setsid env -i sleep 600 & echo $! > pid.new; mv pid.new pid); read -r _ < go"))
    orphan = stage.pid_in("pid")
    leader = stage.started(attempt).pid
    named = {(pid, linux.start_ticks(pid)) for pid in (orphan, leader)}
    stage.until(lambda: named <= set(_last_beat(stage).below) or None)
    (stage.project / "go").write_text("\n", encoding="ascii")
    stage.ended(attempt)
    stage.until(lambda: not _last_beat(stage).below or None)


def _last_beat(stage: Stage) -> Beat:
    return next((frame for frame in reversed(stage.frames) if isinstance(frame, Beat)), Beat(0.0))


def test_what_a_step_leaves_does_not_live_into_the_next(stage: Stage) -> None:
    ended = stage.run(sh("sleep 60 & echo $! > pid"), sh('! kill -0 "$(cat pid)"', label="verify 1"))
    assert ended.outcome is Outcome.OK


def test_what_is_left_may_clean_up_when_it_is_asked_to_end(stage: Stage) -> None:
    cleaner = "trap 'echo clean > cleaned; exit' TERM; touch ready; while :; do sleep 0.01; done"
    ended = stage.run(sh(f"({cleaner}) & while ! test -e ready; do :; done"))
    assert ended.outcome is Outcome.OK
    assert (stage.project / "cleaned").exists()


@pytest.mark.row("P1")
def test_a_left_process_that_ignores_term_is_killed(stage: Stage) -> None:
    ended = stage.run(sh(program(STUBBORN, "pid") + " & while ! test -s pid; do :; done"))
    assert ended.outcome is Outcome.OK
    assert not linux.is_alive(stage.pid_in("pid"))
    assert ended.seconds < 30.0


@pytest.mark.row("F23")
def test_a_leader_that_ignores_term_is_killed_after_the_grace(make_stage: MakeStage) -> None:
    stage = make_stage(settings=Settings(isolation=Isolation.NONE, stop_grace=0.3))
    stage.start()
    ended = stage.run(sh("trap '' TERM; exec sleep 60"), timeout=1.0)  # deaf within milliseconds
    assert (ended.outcome, ended.code) == (Outcome.TIMEOUT, -9)
    assert 1.2 < ended.seconds < 30.0


@pytest.mark.row("F23")
def test_a_stopped_process_is_woken_to_hear_that_it_shall_end(stage: Stage) -> None:
    attempt = stage.grant("t", sh("trap 'touch heard; exit' TERM; kill -STOP $$; sleep 60"))
    pid = stage.started(attempt).pid
    stage.until(lambda: (found := linux.stat_of(pid)) is not None and found.state == "T")
    stage.journal(StopRequested("enough"))
    assert stage.ended(attempt).outcome is Outcome.INTERRUPTED
    assert (stage.project / "heard").exists()


def test_stopped_leftovers_are_ended(stage: Stage) -> None:
    ended = stage.run(sh("sleep 60 & kill -STOP $!"))
    assert ended.outcome is Outcome.OK
    assert stage.standing_here() == []


@pytest.mark.row("F23")
@pytest.mark.parametrize("pause", ["0.05", "0.005", "0.001"])
def test_a_runaway_forker_is_caught(stage: Stage, pause: str) -> None:
    ended = stage.run(sh(program(RUNAWAY, pause)))
    assert ended.outcome is Outcome.OK
    assert stage.standing_here() == []
    assert ended.seconds < 30.0


def test_a_runaway_forker_is_caught_while_other_attempts_live(make_stage: MakeStage) -> None:
    """Also in the moments in which it shows no environment, because it is just ending."""
    wild = {f"wild{number}": pause for number, pause in enumerate(("0.002", "0.0005", "0") * 3, 1)}
    stage = make_stage(tasks=("calm", *wild))
    stage.start()
    calm = stage.grant("calm", sh("sleep 60 & echo $! > pid; wait"), slot=0)
    living = stage.pid_in("pid")
    for slot, (task, pause) in enumerate(wild.items(), 1):
        ended = stage.ended(stage.grant(task, sh(program(RUNAWAY, pause)), slot=slot))
        assert ended.outcome is Outcome.OK
        left = {pid for pid in stage.standing_here() if pid not in {living, stage.started(calm).pid}}
        assert left == set()
    assert linux.is_alive(living)


def test_leftovers_of_one_attempt_are_not_taken_for_those_of_another(make_stage: MakeStage) -> None:
    stage = make_stage(tasks=("a", "b"))
    stage.start()
    first = stage.grant("a", sh(program(DAEMON, "daemon") + "; while ! test -e go; do sleep 0.01; done"), slot=0)
    daemon = stage.pid_in("daemon")
    assert stage.ended(stage.grant("b", sh("sleep 60 &"), slot=1)).outcome is Outcome.OK
    assert linux.is_alive(daemon)
    (stage.project / "go").touch()
    assert stage.ended(first).outcome is Outcome.OK
    assert not linux.is_alive(daemon)


def test_a_daemon_is_known_by_its_mark_while_other_attempts_live(make_stage: MakeStage) -> None:
    stage = make_stage(tasks=("a", "b"))
    stage.start()
    stage.started(stage.grant("b", sh("sleep 60"), slot=1))
    line = program(DAEMON, "daemon") + "; while ! test -s daemon; do :; done"
    assert stage.ended(stage.grant("a", sh(line), slot=0)).outcome is Outcome.OK
    assert not linux.is_alive(stage.pid_in("daemon"))


@pytest.mark.row("F23")
def test_one_without_any_mark_is_ended_with_the_last_attempt_that_it_may_come_from(
    make_stage: MakeStage,
) -> None:
    stage = make_stage(tasks=("a", "b", "c"))
    stage.start()
    wait = "while ! test -e go; do sleep 0.01; done"
    bystander = stage.grant("b", sh(wait), slot=1)
    stage.started(bystander)
    ended = stage.ended(
        stage.grant("a", sh(program(DAEMON, "daemon", env="env -i") + "; while ! test -s daemon; do :; done"))
    )
    daemon = stage.pid_in("daemon")
    assert ended.outcome is Outcome.OK
    assert linux.is_alive(daemon)
    late = stage.grant("c", sh("sleep 60"), slot=2)
    stage.started(late)
    (stage.project / "go").touch()
    assert stage.ended(bystander).outcome is Outcome.OK
    assert not linux.is_alive(daemon)
    assert linux.is_alive(stage.started(late).pid)


@pytest.mark.row("F23")
def test_hundreds_of_leftovers_are_ended(stage: Stage) -> None:
    ended = stage.run(sh("i=0; while [ $i -lt 300 ]; do sleep 60 & i=$((i+1)); done"))
    assert ended.outcome is Outcome.OK
    assert stage.standing_here() == []


def test_orphans_that_end_by_themselves_are_reaped(stage: Stage) -> None:
    attempt = stage.grant(
        "t", sh("(setsid sleep 0.01 &); (setsid sleep 0.02 &); while ! test -e go; do sleep 0.01; done")
    )
    assert stage.runner is not None
    runner = stage.runner.pid
    leader = stage.started(attempt).pid
    stage.until(lambda: stage.beats() >= 1)
    stage.until(lambda: linux.children_of(runner) == (leader,))
    (stage.project / "go").touch()
    assert stage.ended(attempt).outcome is Outcome.OK


def test_a_stop_interrupts_what_runs_and_what_was_only_granted(make_stage: MakeStage) -> None:
    stage = make_stage(tasks=("a", "b"), settings=Settings(stop_grace=1.0))
    stage.start()
    stage.grant("a", sh("sleep 60"), slot=0)
    stage.grant("b", sh("sleep 60"), slot=1)
    stage.journal(SlotPrepared("a.1", str(stage.project), "0" * 40))
    pid = stage.started("a.1").pid
    stage.journal(StopRequested("interrupted by the user"))
    for attempt in ("a.1", "b.1"):
        ended = stage.ended(attempt)
        assert (ended.outcome, ended.detail) == (Outcome.INTERRUPTED, "interrupted by the user")
    assert not linux.is_alive(pid)


def test_a_final_stop_cancels(stage: Stage) -> None:
    attempt = stage.grant("t", sh("sleep 60"))
    stage.started(attempt)
    stage.journal(StopRequested("cancelled", final=True))
    assert stage.ended(attempt).outcome is Outcome.CANCELLED


def test_a_cancel_overtakes_a_stop_that_still_waits(make_stage: MakeStage) -> None:
    stage = make_stage(settings=Settings(isolation=Isolation.NONE, stop_grace=0.5))
    stage.start()
    attempt = stage.grant("t", sh("exec " + program(STUBBORN, "pid")))
    stage.pid_in("pid")
    stage.journal(StopRequested("stopped"))
    stage.journal(StopRequested("cancelled", final=True))
    assert stage.ended(attempt).outcome is Outcome.CANCELLED


def test_ends_are_stated_once(stage: Stage) -> None:
    attempt = stage.grant("t", sh("true"))
    stage.ended(attempt)
    stage.journal(TaskCompleted("t", attempt))
    stage.journal(StopRequested("done"))
    stage.until(lambda: stage.beats() >= 1)
    assert [fact.attempt for fact in stage.facts(AttemptEnded)] == [attempt]
    assert stage.refusals == []


def test_the_runner_lives_while_a_tree_is_hard_to_end(make_stage: MakeStage) -> None:
    stage = make_stage(settings=Settings(isolation=Isolation.NONE, stop_grace=2.5))
    stage.start()
    attempt = stage.grant("t", sh("exec " + program(STUBBORN, "pid")))
    stage.pid_in("pid")
    before = stage.beats()
    stage.journal(StopRequested("stopped"))
    assert stage.ended(attempt).code == -signal.SIGKILL
    assert stage.beats() - before >= 2
