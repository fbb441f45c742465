"""The executor's decisions: sessions in virtual time, and single rules."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import attrs
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.attempts import delay
from actors.conflicts import overlapping
from actors.events import (
    AgentRunner,
    AttemptEnded,
    AttemptGranted,
    AttemptStarted,
    ChildGone,
    ChildQuarantined,
    Event,
    GitRefused,
    MilestoneUpdated,
    Outcome,
    PreflightFailed,
    PreflightPassed,
    SessionPaused,
    SessionResumed,
    SessionSettled,
    SessionStatus,
    SessionUnpaused,
    Settings,
    SlotPrepared,
    Step,
    StopRequested,
    TaskCompleted,
    TaskFailed,
    TaskRetried,
    TaskSkipped,
)
from actors.execution import Execution, missing_agents
from actors.model import FileStatus, Isolation, Milestone, OnCrash, Task
from actors.plan import Plan
from actors.state import Phase, SessionState, decode_state, encode_state
from tests.domain.simulator import GIT, START, Script, Simulation, interrupt, milestones, scripts

if TYPE_CHECKING:
    from collections.abc import Mapping

SETTINGS = Settings(max_parallel=2)


def milestone(*tasks: Task) -> Milestone:
    return Milestone(id="m", title="M", tasks=tasks)


def task(key: str, *needs: str, **fields: object) -> Task:
    return attrs.evolve(Task(id=key, title=key, depends_on=needs, run="true"), **fields)  # type: ignore[arg-type]


def granted(simulation: Simulation) -> list[str]:
    return [one.attempt for one in simulation.of(AttemptGranted) if isinstance(one, AttemptGranted)]


def reasons(simulation: Simulation) -> dict[str, str]:
    return {one.task: one.reason for one in simulation.of(TaskFailed) if isinstance(one, TaskFailed)}


# --- whole sessions ----------------------------------------------------------------------------------------


@st.composite
def sessions(draw: st.DrawFn) -> tuple[Milestone, Settings, Script, bool, int]:
    drawn = draw(milestones(largest=10))
    chosen = Settings(
        max_parallel=draw(st.integers(1, 4)),
        fail_fast=draw(st.booleans()),
        conflict_reruns=draw(st.integers(0, 3)),
    )
    return drawn, chosen, draw(scripts(drawn)), draw(st.booleans()), draw(st.integers(0, 1 << 30))


@settings(max_examples=150)
@given(sessions())
def test_every_session_comes_to_the_one_end_that_its_tasks_call_for(
    session: tuple[Milestone, Settings, Script, bool, int],
) -> None:
    drawn, chosen, script, in_place, _ = session
    simulation = Simulation(drawn, chosen, script, in_place=in_place)
    settled = simulation.run()
    phases = {key: one.phase for key, one in simulation.state.tasks.items()}
    counted = [phase for phase in phases.values() if phase is not Phase.SKIPPED]
    if Phase.FAILED in counted:
        assert settled.status is SessionStatus.FAILED
    elif all(phase is Phase.COMPLETED for phase in counted):
        assert settled.status is SessionStatus.COMPLETED
    else:
        assert settled.status is SessionStatus.BLOCKED
    if not chosen.fail_fast:
        for one in drawn.tasks:
            startable = all(phases[needed] is Phase.COMPLETED for needed in one.depends_on)
            assert phases[one.id] is not Phase.PENDING or not startable, "a task that could run was left"
    assert simulation.state.live == {}


@settings(max_examples=100)
@given(sessions())
def test_an_executor_built_from_the_fold_before_each_decision_decides_the_same(
    session: tuple[Milestone, Settings, Script, bool, int],
) -> None:
    drawn, chosen, script, in_place, seed = session
    histories = []
    for rebuild in (False, True):
        simulation = Simulation(drawn, chosen, script, in_place=in_place, rebuild=rebuild)
        interrupt(simulation, seed)
        end = run_out(simulation)
        histories.append((end, simulation.history))
    assert histories[0] == histories[1]


def run_out(simulation: Simulation) -> SessionSettled:
    """Run to the end with things on the agenda that nobody waits for any more."""
    while simulation.state.settled is None:
        if not simulation.decide():
            assert simulation.step(), "stuck"
    return simulation.state.settled


@settings(max_examples=100)
@given(sessions(), st.data())
def test_what_was_stopped_at_any_moment_and_resumed_completes_each_task_once(
    session: tuple[Milestone, Settings, Script, bool, int], data: st.DataObject
) -> None:
    drawn, chosen, script, in_place, _ = session
    simulation = Simulation(drawn, chosen, script, in_place=in_place)
    for _ in range(data.draw(st.integers(0, 3), label="lives")):
        simulation.later(data.draw(st.floats(0, 15), label="stop after"), StopRequested("by the user"))
        settled = run_out(simulation)
        if settled.status is not SessionStatus.INTERRUPTED:
            break
        assert simulation.state.live == {}
        resume(simulation, in_place=in_place)
    run_out(simulation)
    done = [one.task for one in simulation.of(TaskCompleted) if isinstance(one, TaskCompleted)]
    assert len(done) == len(set(done))


def resume(simulation: Simulation, *, in_place: bool) -> None:
    simulation.history = [one for one in simulation.history if not isinstance(one[1], SessionSettled)]
    simulation.record(SessionResumed(simulation.state.settings, "b", 2))
    assert simulation.decide() == (), "nothing is granted before pre-flight and git"
    simulation.record(PreflightPassed())
    if in_place:
        simulation.state.git = msgspec.structs.replace(simulation.state.git, idle="not a repository")
    else:
        simulation.record(GIT)


@settings(max_examples=100)
@given(sessions())
def test_what_is_granted_is_what_walking_the_ready_tasks_by_rank_gives(
    session: tuple[Milestone, Settings, Script, bool, int],
) -> None:
    drawn, chosen, _, in_place, _ = session
    simulation = Simulation(drawn, chosen, in_place=in_place)
    while simulation.state.settled is None:
        before = decode_state(encode_state(simulation.state))
        events = simulation.decide()
        completed = {one.task for one in events if isinstance(one, TaskCompleted)}
        expected = walk(before, Plan.of(before.milestone), completed)
        assert [one.task for one in events if isinstance(one, AttemptGranted)] == expected
        if not events:
            assert simulation.step()


def walk(state: SessionState, plan: Plan, completed: set[str]) -> list[str]:
    tasks = state.milestone.by_id
    place = {key: at for at, key in enumerate(tasks)}
    done = completed | {key for key, one in state.tasks.items() if one.phase is Phase.COMPLETED}
    ready = [
        key for key, one in state.tasks.items() if one.phase is Phase.PENDING and done.issuperset(tasks[key].depends_on)
    ]
    running = [one for one in state.live.values() if one not in completed]
    started: list[str] = []
    for key in sorted(ready, key=lambda one: (-plan.rank[one], place[one])):
        others = [tasks[one] for one in (*running, *started)]
        if len(others) < state.settings.max_parallel and not any(overlapping(tasks[key], one) for one in others):
            started.append(key)
    return started


def test_what_a_completion_makes_possible_is_granted_in_the_same_breath() -> None:
    simulation = Simulation(milestone(task("a"), task("b", "a"), task("c", "a")), SETTINGS, in_place=True)
    simulation.decide()
    while simulation.state.tasks["a"].phase is not Phase.LANDING:
        simulation.step()
    events = simulation.decide()
    assert events[0] == TaskCompleted("a", "a.1")
    assert [(one.task, one.slot) for one in events[1:] if isinstance(one, AttemptGranted)] == [("b", 0), ("c", 1)]
    assert len(events) == 3


def test_a_completion_that_comes_back_only_after_another_snapshot_counts_once() -> None:
    tasks = (task("a"), task("b", "a"), task("c", "a", "b"))
    simulation = Simulation(milestone(*tasks), SETTINGS, in_place=True)
    simulation.decide()
    while simulation.state.tasks["a"].phase is not Phase.LANDING:
        simulation.step()
    decided = simulation.execution.decide(simulation.wall).events
    simulation.record(MilestoneUpdated(milestone(*tasks, task("d", "a"))))
    for event in decided:
        if isinstance(event, AttemptGranted):  # of what the task was before
            assert simulation.state.admits(event) == "a newer snapshot was taken in meanwhile"
        else:
            simulation.record(event)
    assert {one.task for one in simulation.decide() if isinstance(one, AttemptGranted)} == {"b", "d"}
    simulation.run()
    assert all(one.phase is Phase.COMPLETED for one in simulation.state.tasks.values())


# --- granting ----------------------------------------------------------------------------------------------


def test_nothing_is_granted_before_preflight_passed_and_git_has_spoken() -> None:
    simulation = Simulation(milestone(task("a")), SETTINGS)
    simulation.state.preflight = None
    assert simulation.decide() == ()
    simulation.state.preflight = True
    simulation.state.git = msgspec.structs.replace(simulation.state.git, ready=None)
    assert simulation.decide() == ()
    simulation.record(GIT)
    assert len(simulation.decide()) == 1


def test_the_slot_of_an_attempt_is_held_until_it_has_landed() -> None:
    simulation = Simulation(milestone(task("a"), task("b")), Settings(max_parallel=1))
    simulation.run()
    order = [type(one).__name__ for one in simulation.events if not isinstance(one, SlotPrepared | AttemptStarted)]
    assert order[3:] == ["AttemptGranted", "AttemptEnded", "Landed", "TaskCompleted"] * 2 + ["SessionSettled"]


def test_the_lowest_free_slot_is_taken() -> None:
    tasks = milestone(task("a"), task("b", estimated_hours=9.0), task("c"))
    simulation = Simulation(tasks, SETTINGS, Script(seconds={"a": 1.0, "b": 50.0, "c": 1.0}))
    simulation.run()
    slots = {one.task: one.slot for one in simulation.of(AttemptGranted) if isinstance(one, AttemptGranted)}
    assert slots == {"b": 0, "a": 1, "c": 1}


def test_an_agent_task_that_cannot_be_started_costs_no_slot() -> None:
    tasks = milestone(task("a", run=None, agent="nobody"), task("b"), task("c"))
    simulation = Simulation(tasks, SETTINGS)
    events = simulation.decide()
    assert [type(one) for one in events] == [TaskFailed, AttemptGranted, AttemptGranted]
    assert [one.slot for one in events if isinstance(one, AttemptGranted)] == [0, 1]
    assert "agents.runners.nobody.command" in reasons(simulation)["a"]


def test_a_grant_says_all_that_its_runner_needs() -> None:
    one = task("a", run=("make", "x"), verify=("true", ("test", "-f", "x")), env=(("K", "v"),), timeout=5.0)
    (event,) = Simulation(milestone(one), SETTINGS).decide()
    steps = (Step("run", ("make", "x")), Step("verify 1", "true"), Step("verify 2", ("test", "-f", "x")))
    assert event == AttemptGranted("a.1", "a", 1, 0, steps, env=(("K", "v"),), timeout=5.0)


AGENTS = (
    AgentRunner("reader", ("agent", "-p"), timeout=9.0),
    AgentRunner("arguer", ("agent", "--task={prompt}", "-y"), prompt="argument"),
    AgentRunner("appender", ("agent",), prompt="argument"),
)


@pytest.mark.parametrize("name", ["reader", "arguer", "appender"])
def test_a_task_without_run_goes_to_its_agent_with_the_prompt(name: str) -> None:
    one = task("a", run=None, agent=name, title="Say hello", verify=("true",))
    (event,) = Simulation(milestone(one), Settings(agents=AGENTS)).decide()
    assert isinstance(event, AttemptGranted)
    agent, check = event.steps
    text = agent.stdin if name == "reader" else next(word for word in agent.command if "Say hello" in word)
    assert text.removeprefix("--task=").startswith("# Say hello\n")
    assert "{prompt}" not in "".join(agent.command)
    assert check == Step("verify 1", "true")
    assert event.timeout == (9.0 if name == "reader" else None)


def test_the_default_agent_takes_tasks_that_name_none_and_the_task_s_timeout_wins() -> None:
    one = task("a", run=None, timeout=3.0)
    (event,) = Simulation(milestone(one), Settings(agents=AGENTS, default_agent="reader")).decide()
    assert isinstance(event, AttemptGranted)
    assert event.steps[0].command == ("agent", "-p")
    assert event.timeout == 3.0


def test_a_prompt_too_long_for_an_argument_fails_the_task_with_the_key_to_set() -> None:
    one = task("a", run=None, agent="appender", description="x" * 140_000)
    simulation = Simulation(milestone(one), Settings(agents=AGENTS))
    simulation.run()
    assert "agents.runners.appender.prompt to stdin" in reasons(simulation)["a"]


def test_missing_agents_are_named_with_the_key_to_set_and_only_for_tasks_that_need_one() -> None:
    done = task("d", run=None, status=FileStatus.COMPLETED)
    tasks = milestone(task("a", run=None), task("b", run=None, agent="claude"), task("c"), done)
    none, other = missing_agents(tasks, Settings())
    assert none.startswith("task a: no 'run'")
    assert "agents.default" in none
    assert other.startswith("task b: 'agent' names the agent runner 'claude', which is not configured")
    assert "agents.runners.claude.command in .milestones/config/milestoned.yaml" in other
    (wrong,) = missing_agents(milestone(task("a", run=None)), Settings(agents=AGENTS, default_agent="x"))
    assert wrong.startswith("task a: agents.default names the agent runner 'x'")
    assert missing_agents(milestone(task("a", run=None, agent="reader")), Settings(agents=AGENTS)) == ()


# --- retries, conflicts, interruptions ---------------------------------------------------------------------


def test_a_failed_attempt_is_repeated_after_a_delay_that_doubles() -> None:
    script = Script({("a", number): "failed" for number in (1, 2, 3)})
    simulation = Simulation(milestone(task("a", retries=3, retry_delay=2.0)), SETTINGS, script)
    assert simulation.run().status is SessionStatus.COMPLETED
    ends = [wall for wall, one in simulation.history if isinstance(one, AttemptEnded)]
    grants = [wall for wall, one in simulation.history if isinstance(one, AttemptGranted)]
    waits = [start - end for start, end in zip(grants[1:], ends[:-1], strict=True)]
    assert waits == pytest.approx([2.0, 4.0, 8.0])
    assert granted(simulation) == ["a.1", "a.2", "a.3", "a.4"]


def test_a_task_fails_when_its_retries_are_used_up_with_the_reason_of_the_last_attempt() -> None:
    script = Script({("a", 1): "failed", ("a", 2): "failed"})
    simulation = Simulation(milestone(task("a", retries=1), task("b", "a"), task("c")), SETTINGS, script)
    settled = simulation.run()
    assert reasons(simulation) == {"a": "verify 1 exited with 1 (attempt 2)"}
    assert settled.status is SessionStatus.FAILED
    assert settled.reason.startswith("task a failed: verify 1 exited with 1")
    assert settled.reason.endswith("; 1 task was not run")
    assert simulation.state.tasks["c"].phase is Phase.COMPLETED


@pytest.mark.parametrize(
    ("retry_delay", "failures", "seconds"),
    [(1.0, 1, 1.0), (1.0, 4, 8.0), (1.0, 5000, 3600.0), (9000.0, 3, 9000.0)],
)
def test_doubling_stops_at_an_hour_and_never_shortens_the_task_s_own_delay(
    retry_delay: float, failures: int, seconds: float
) -> None:
    assert delay(task("a", retry_delay=retry_delay), failures) == seconds


@pytest.mark.row("F15")
def test_a_clock_set_back_makes_nobody_wait_for_it_to_catch_up() -> None:
    simulation = Simulation(milestone(task("a", retries=1, retry_delay=5.0)), SETTINGS, Script({("a", 1): "failed"}))
    while not simulation.of(AttemptEnded):
        if not simulation.decide():
            assert simulation.step()
    assert simulation.decide() == ()
    simulation.wall -= 100_000
    assert [type(one) for one in simulation.decide()] == [AttemptGranted]


def test_a_clock_set_back_while_no_executor_lived_makes_nobody_wait_for_it_to_catch_up() -> None:
    simulation = Simulation(milestone(task("a", retries=1, retry_delay=5.0)), SETTINGS, Script({("a", 1): "failed"}))
    while not simulation.of(AttemptEnded):
        if not simulation.decide():
            assert simulation.step()
    simulation.wall -= 100_000
    simulation.execution = Execution(simulation.state)
    assert [type(one) for one in simulation.decide()] == [AttemptGranted]


def test_nothing_is_granted_after_a_failure_when_told_to_fail_fast() -> None:
    script = Script({("a", 1): "failed"}, {"b": 5.0})
    simulation = Simulation(
        milestone(task("a"), task("b"), task("c")), Settings(max_parallel=2, fail_fast=True), script
    )
    assert simulation.run().status is SessionStatus.FAILED
    assert granted(simulation) == ["a.1", "b.1"]
    assert simulation.state.tasks["b"].phase is Phase.COMPLETED


def test_a_conflicting_change_is_made_again_on_the_new_tip_until_it_was_enough() -> None:
    script = Script({("a", number): "conflict" for number in (1, 2, 3)})
    simulation = Simulation(milestone(task("a")), Settings(conflict_reruns=2), script)
    simulation.run()
    assert granted(simulation) == ["a.1", "a.2", "a.3"]
    assert reasons(simulation) == {"a": "did not merge with what landed meanwhile, 3 times: conflicts in a.txt"}


def test_a_slot_that_could_not_be_made_is_tried_again_without_counting_as_a_failure_of_the_task() -> None:
    simulation = Simulation(milestone(task("a")), SETTINGS, Script({("a", 1): "slot", ("a", 2): "slot"}))
    assert simulation.run().status is SessionStatus.COMPLETED
    grants = [wall for wall, one in simulation.history if isinstance(one, AttemptGranted)]
    assert [later - earlier for earlier, later in pairwise(grants)] == pytest.approx([0.6, 1.1])
    assert simulation.state.tasks["a"].failures == 0


def test_a_task_for_which_no_slot_can_ever_be_made_fails_with_the_reason() -> None:
    script = Script({("a", number): "slot" for number in range(1, 9)})
    simulation = Simulation(milestone(task("a")), SETTINGS, script)
    simulation.run()
    assert granted(simulation) == ["a.1", "a.2", "a.3", "a.4"]
    assert reasons(simulation) == {"a": "no worktree for it: no space left"}


def test_an_interrupted_task_is_run_again_unless_it_says_otherwise() -> None:
    tasks = milestone(task("again"), task("fail", on_crash=OnCrash.FAIL), task("ask", on_crash=OnCrash.ASK))
    script = Script({(key, 1): "interrupted" for key in ("again", "fail", "ask")})
    simulation = Simulation(tasks, SETTINGS, script)
    assert simulation.run().status is SessionStatus.FAILED
    assert simulation.state.tasks["again"].phase is Phase.COMPLETED
    assert reasons(simulation)["fail"] == "interrupted: its runner died (on_crash: fail)"
    assert reasons(simulation)["ask"] == (
        "interrupted: its runner died (on_crash: ask): look at what it did, then 'milestonectl run m' runs it again,"
        " unless you set its status to completed or cancelled in the file"
    )


def test_an_attempt_that_never_had_a_slot_is_repeated_whatever_on_crash_says() -> None:
    simulation = Simulation(milestone(task("a", on_crash=OnCrash.FAIL)), SETTINGS)
    simulation.decide()
    simulation.record(AttemptEnded("a.1", Outcome.INTERRUPTED))
    assert simulation.run().status is SessionStatus.COMPLETED
    assert granted(simulation) == ["a.1", "a.2"]


@pytest.mark.parametrize("how", [OnCrash.FAIL, OnCrash.ASK])
@pytest.mark.parametrize("in_place", [False, True])
def test_what_a_stop_interrupted_runs_again_whatever_on_crash_says(how: OnCrash, *, in_place: bool) -> None:
    simulation = Simulation(milestone(task("a", on_crash=how)), SETTINGS, in_place=in_place)
    simulation.later(0.5, StopRequested("by the user"))
    assert run_out(simulation).status is SessionStatus.INTERRUPTED
    assert granted(simulation) == ["a.1"]
    resume(simulation, in_place=in_place)
    assert run_out(simulation).status is SessionStatus.COMPLETED
    assert granted(simulation) == ["a.1", "a.2"]
    assert reasons(simulation) == {}


def died(simulation: Simulation) -> None:
    """Take the session up after everything was killed: the next runner finds the attempt and calls it interrupted."""
    resume(simulation, in_place=True)
    simulation.record(AttemptEnded("a.1", Outcome.INTERRUPTED, detail="the runner died"))
    run_out(simulation)


def running_in_place(*, how: OnCrash) -> Simulation:
    simulation = Simulation(milestone(task("a", on_crash=how)), SETTINGS, in_place=True)
    simulation.decide()
    assert simulation.step()
    assert simulation.state.tasks["a"].phase is Phase.RUNNING
    return simulation


def test_what_was_asked_to_end_and_then_killed_runs_again_as_well() -> None:
    """A second Ctrl-C leaves nobody who could say how the attempts ended."""
    simulation = running_in_place(how=OnCrash.FAIL)
    simulation.record(StopRequested("by the user"))
    died(simulation)
    assert granted(simulation) == ["a.1", "a.2"]
    assert reasons(simulation) == {}


def test_what_died_with_the_supervising_process_is_judged_when_the_session_goes_on() -> None:
    simulation = running_in_place(how=OnCrash.FAIL)
    died(simulation)
    assert reasons(simulation) == {"a": "interrupted: the runner died (on_crash: fail)"}


def test_a_crash_after_a_stop_that_was_survived_is_a_crash_again() -> None:
    simulation = running_in_place(how=OnCrash.FAIL)
    simulation.script.endings["a", 2] = "interrupted"
    simulation.record(StopRequested("by the user"))
    died(simulation)
    assert granted(simulation) == ["a.1", "a.2"]
    assert reasons(simulation) == {"a": "interrupted: its runner died (on_crash: fail)"}


def test_work_that_a_stop_let_finish_and_that_was_lost_then_is_judged_like_a_crash() -> None:
    simulation = Simulation(milestone(task("a", on_crash=OnCrash.FAIL)), SETTINGS, Script({("a", 1): "lost"}))
    simulation.decide()
    while simulation.state.tasks["a"].phase is not Phase.RUNNING:
        assert simulation.step()
    simulation.record(StopRequested("by the user"))
    simulation.record(AttemptEnded("a.1", Outcome.OK))
    run_out(simulation)
    resume(simulation, in_place=False)
    run_out(simulation)
    assert reasons(simulation) == {"a": "interrupted: the slot is gone (on_crash: fail)"}


# --- tasks that kill the runner ----------------------------------------------------------------------------

KILLED = (
    "the task runner was killed three times while this task ran, the last time with nothing else running:"
    " the task (or a program it starts) ends its parent"
)


def kills(*keys: str) -> Script:
    """Each attempt of these tasks kills the runner after a second; all others take ten."""
    return Script({(key, number): "kills" for key in keys for number in range(1, 9)}, dict.fromkeys(keys, 1.0))


def alone(simulation: Simulation) -> list[str]:
    """Return the attempts that were granted with nothing beside them until they were over."""
    found, live = [], dict[str, bool]()
    for _, one in simulation.history:
        match one:
            case AttemptGranted(attempt=attempt):
                live = dict.fromkeys(live, False) | {attempt: not live}
            case AttemptEnded(attempt=attempt) if live.pop(attempt, False):
                found.append(attempt)
            case _:
                pass
    return found


@pytest.mark.row("F30")
@pytest.mark.parametrize("in_place", [True, False])
def test_a_task_that_kills_the_runner_is_found_out_and_those_beside_it_complete(*, in_place: bool) -> None:
    script = kills("bad")
    script.seconds |= {"x": 10.0, "y": 10.0, "z": 0.5}
    tasks = milestone(task("bad"), task("x"), task("y"), task("z"), task("after", "bad"))
    simulation = Simulation(tasks, Settings(max_parallel=3), script, in_place=in_place)
    assert run_out(simulation).status is SessionStatus.FAILED
    assert reasons(simulation) == {"bad": KILLED}
    assert {key: simulation.state.tasks[key].phase for key in "xyz"} == dict.fromkeys("xyz", Phase.COMPLETED)
    assert simulation.deaths == 3
    assert "bad.3" in alone(simulation)


def test_while_a_suspect_runs_nothing_is_granted_and_afterwards_everything_is() -> None:
    script = Script({("a", 1): "kills", ("a", 2): "kills"}, {"a": 1.0, "b": 9.0})
    simulation = Simulation(milestone(task("a"), *(task(key, "a") for key in "xyz")), Settings(max_parallel=3), script)
    assert run_out(simulation).status is SessionStatus.COMPLETED
    assert alone(simulation) == ["a.1", "a.2", "a.3"]
    assert simulation.state.tasks["a"].failures == 0


def test_a_task_that_must_not_run_again_is_not_tried_for_what_it_did_to_the_runner() -> None:
    simulation = Simulation(milestone(task("a", on_crash=OnCrash.FAIL)), SETTINGS, kills("a"))
    run_out(simulation)
    assert reasons(simulation) == {"a": "interrupted: the runner died (on_crash: fail)"}


@pytest.mark.parametrize("parallel", [1, 4, 12])
def test_however_many_tasks_kill_the_runner_it_never_dies_more_often_than_is_mended(parallel: int) -> None:
    keys = [f"t{number}" for number in range(12)]
    simulation = Simulation(milestone(*map(task, keys)), Settings(max_parallel=parallel), kills(*keys))
    assert run_out(simulation).status is SessionStatus.FAILED
    assert reasons(simulation).keys() == set(keys)
    deaths = [wall for wall, one in simulation.history if isinstance(one, ChildGone)]
    assert all(later - earlier > 60.0 for earlier, later in zip(deaths, deaths[10:], strict=False))


def test_an_ordinary_interruption_makes_nobody_suspect() -> None:
    script = Script({("a", number): "interrupted" for number in (1, 2, 3)})
    simulation = Simulation(milestone(task("a"), task("b")), SETTINGS, script)
    assert run_out(simulation).status is SessionStatus.COMPLETED
    assert granted(simulation)[:2] == ["a.1", "b.1"]


def go_on_until(simulation: Simulation, attempt: str) -> bool:
    """Go on until an attempt runs; False when the session settles before that."""
    while not any(isinstance(one, AttemptStarted) and one.attempt == attempt for one in simulation.events):
        if not simulation.decide() and (simulation.state.settled is not None or not simulation.step()):
            return False
    return True


def killed_again_and_again(simulation: Simulation, key: str, boots: str) -> int:
    """Let everything die whenever an attempt of the task runs; return how often that was."""
    for number, boot in enumerate(boots, start=1):
        if not go_on_until(simulation, f"{key}.{number}"):
            return number - 1
        simulation.die(boot)
    return len(boots)


@pytest.mark.row("F30")
def test_a_task_that_kills_all_there_is_is_found_out_over_the_lives_of_the_session() -> None:
    tasks = milestone(task("bad"), task("x"), task("y"), task("after", "bad"))
    simulation = Simulation(tasks, Settings(max_parallel=3), Script(seconds={"x": 10.0, "y": 10.0}))
    assert killed_again_and_again(simulation, "bad", "b" * 9) == 5
    assert run_out(simulation).status is SessionStatus.FAILED
    assert reasons(simulation) == {
        "bad": "the supervising process died 5 times while this task ran, the last time with nothing else running:"
        " the task (or a program it starts) may be what kills it"
    }
    assert {"bad.4", "bad.5"} <= set(alone(simulation))
    assert {key: simulation.state.tasks[key].phase for key in "xy"} == dict.fromkeys("xy", Phase.COMPLETED)


def test_a_machine_that_goes_down_again_and_again_is_put_down_to_no_task() -> None:
    simulation = Simulation(milestone(task("a"), task("b")), SETTINGS)
    assert killed_again_and_again(simulation, "a", "cdefghij") == 8
    assert run_out(simulation).status is SessionStatus.COMPLETED


def test_lives_that_end_before_the_next_attempt_begins_are_counted_once() -> None:
    simulation = Simulation(milestone(task("a")), SETTINGS)
    assert go_on_until(simulation, "a.1")
    for pid in range(2, 9):
        simulation.record(SessionResumed(SETTINGS, "b", pid))
    simulation.die()
    assert simulation.state.tasks["a"].lives_lost == 1


# --- pausing, stopping, settling ---------------------------------------------------------------------------


def test_a_pause_lets_running_attempts_finish_and_grants_nothing_until_it_is_over() -> None:
    simulation = Simulation(milestone(task("a"), task("b", "a")), SETTINGS)
    simulation.decide()
    simulation.record(SessionPaused("by the user"))
    while simulation.decide() or simulation.step():
        pass
    assert simulation.state.tasks["a"].phase is Phase.COMPLETED
    assert simulation.state.settled is None
    simulation.record(SessionUnpaused())
    assert simulation.run().status is SessionStatus.COMPLETED


@pytest.mark.parametrize(("final", "status"), [(False, SessionStatus.INTERRUPTED), (True, SessionStatus.CANCELLED)])
def test_a_stop_settles_the_session_once_nothing_lives(*, final: bool, status: SessionStatus) -> None:
    simulation = Simulation(milestone(task("a"), task("b", "a")), SETTINGS)
    simulation.decide()
    simulation.record(StopRequested("by the user", final=final))
    assert simulation.decide() == ()
    assert run_out(simulation) == SessionSettled(status, "by the user")


def test_a_stop_before_anything_was_known_settles_at_once() -> None:
    simulation = Simulation(milestone(task("a")), SETTINGS)
    simulation.state.preflight = None
    simulation.record(StopRequested("by the user"))
    assert simulation.decide() == (SessionSettled(SessionStatus.INTERRUPTED, "by the user"),)


def test_what_ended_before_a_stop_still_lands() -> None:
    simulation = Simulation(milestone(task("a")), SETTINGS)
    while not simulation.landing():
        if not simulation.decide():
            assert simulation.step()
    simulation.record(StopRequested("by the user"))
    run_out(simulation)
    assert simulation.state.tasks["a"].phase is Phase.COMPLETED


@pytest.mark.parametrize("fact", [GitRefused("m is checked out", "leave it"), ChildQuarantined("git_integration", "x")])
def test_a_stop_does_not_wait_for_a_git_role_that_cannot_land(fact: Event) -> None:
    simulation = Simulation(milestone(task("a")), SETTINGS)
    while not simulation.landing():
        if not simulation.decide():
            assert simulation.step()
    simulation.record(fact)
    simulation.record(StopRequested("by the user"))
    assert simulation.decide() == (SessionSettled(SessionStatus.INTERRUPTED, "by the user"),)


def test_a_refused_preflight_blocks_with_its_first_problem_and_the_number_of_the_others() -> None:
    simulation = Simulation(milestone(task("a")), SETTINGS)
    simulation.record(PreflightFailed(("make is not on PATH", "CC is not set", "no space")))
    expected = "make is not on PATH (and 2 more problems)"
    assert simulation.decide() == (SessionSettled(SessionStatus.BLOCKED, expected),)


def test_a_git_role_that_cannot_work_blocks_with_its_cure() -> None:
    simulation = Simulation(milestone(task("a")), SETTINGS)
    simulation.record(GitRefused("milestone/m is checked out in /w", "switch /w to another branch"))
    (settled,) = simulation.decide()
    reason = "milestone/m is checked out in /w; switch /w to another branch"
    assert settled == SessionSettled(SessionStatus.BLOCKED, reason)
    assert simulation.decide() == ()


def test_a_git_role_that_can_no_longer_work_keeps_nobody_waiting_for_a_slot_that_it_did_not_make() -> None:
    simulation = Simulation(milestone(task("a")), SETTINGS)
    (granted,) = simulation.decide()
    assert isinstance(granted, AttemptGranted)
    simulation.record(GitRefused("git is gone", "install it"))
    assert simulation.decide() == (SessionSettled(SessionStatus.BLOCKED, "git is gone; install it"),)


def test_a_milestone_without_tasks_is_completed() -> None:
    assert Simulation(milestone(), SETTINGS).run() == SessionSettled(SessionStatus.COMPLETED)


def test_tasks_behind_a_cancelled_one_block_the_milestone_with_the_reason() -> None:
    tasks = milestone(task("a", status=FileStatus.CANCELLED), task("b", "a"), task("c", "b"))
    assert Simulation(tasks, SETTINGS).run() == SessionSettled(
        SessionStatus.BLOCKED, "task b needs a, which is cancelled"
    )


def test_what_lies_in_a_worktree_is_not_called_completed_in_place() -> None:
    simulation = Simulation(milestone(task("a"), task("b")), SETTINGS)
    while not simulation.landing():
        if not simulation.decide():
            assert simulation.step()
    here = Settings(max_parallel=2, isolation=Isolation.NONE)
    simulation.record(SessionResumed(here, "b", 2))
    simulation.record(PreflightPassed())
    simulation.state.git = msgspec.structs.replace(simulation.state.git, idle="told to run in place")
    while simulation.state.settled is None and (simulation.decide() or simulation.step()):
        pass
    assert simulation.state.settled is not None
    assert simulation.state.settled.status is SessionStatus.BLOCKED
    assert "ended in a worktree slot" in simulation.state.settled.reason


def test_a_newer_snapshot_is_executed_from_then_on() -> None:
    simulation = Simulation(milestone(task("a")), SETTINGS)
    simulation.decide()
    simulation.record(MilestoneUpdated(milestone(task("a"), task("new", "a"))))
    assert simulation.run().status is SessionStatus.COMPLETED
    assert granted(simulation) == ["a.1", "new.1"]


@pytest.mark.parametrize("rebuild", [False, True])
def test_a_failed_task_is_attempted_again_when_somebody_wants_it_and_what_waited_for_it_runs(*, rebuild: bool) -> None:
    script = Script({("a", 1): "failed"}, {"c": 50.0})
    plan = milestone(task("a"), task("b", "a"), task("c"))
    simulation = Simulation(plan, SETTINGS, script, rebuild=rebuild)
    simulation.later(20.0, TaskRetried("a"))
    assert simulation.run().status is SessionStatus.COMPLETED
    assert granted(simulation) == ["a.1", "c.1", "a.2", "b.1"]
    assert simulation.state.tasks["a"].failures == 0


def test_the_plan_is_made_anew_once_for_all_that_somebody_wants_attempted_again_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = [f"t{number}" for number in range(20)]
    script = Script({(name, 1): "failed" for name in names}, {"long": 1000.0})
    simulation = Simulation(milestone(task("long"), *map(task, names)), SETTINGS, script)
    while len(simulation.of(TaskFailed)) < len(names):
        if not simulation.decide():
            assert simulation.step()
    made: list[Milestone] = []
    really = Plan.of

    def of(planned: Milestone, durations: Mapping[str, float] | None) -> Plan:
        made.append(planned)
        return really(planned, durations)

    monkeypatch.setattr(Plan, "of", of)
    for name in names:
        simulation.record(TaskRetried(name))
    (again,) = simulation.decide()
    assert isinstance(again, AttemptGranted)
    assert len(made) == 1


def test_a_skipped_task_is_left_out_with_what_depends_on_it_until_it_is_wanted_again() -> None:
    plan = milestone(task("a"), task("a2", "a"), task("a3", "a2"), task("b"), task("c", "b"), task("d"))
    alone = attrs.evolve(SETTINGS, max_parallel=1)
    simulation = Simulation(plan, alone, Script(seconds={"a": 10.0}))
    simulation.later(1.0, TaskSkipped("b", "not now"))
    assert simulation.run().status is SessionStatus.BLOCKED
    assert granted(simulation) == ["a.1", "a2.1", "a3.1", "d.1"]
    again = Simulation(plan, alone, Script(seconds={"a": 10.0, "d": 30.0}))
    again.later(1.0, TaskSkipped("b", "not now"))
    again.later(20.0, TaskRetried("b"))
    assert again.run().status is SessionStatus.COMPLETED
    assert granted(again) == ["a.1", "a2.1", "a3.1", "d.1", "b.1", "c.1"]


def test_nothing_is_decided_before_the_session_has_begun() -> None:
    assert Execution(SessionState()).decide(START).events == ()
