"""The blocker detector's duties, in virtual time, with real logs: what it raises, with what evidence, and when not."""

from pathlib import Path

import pytest

from actors.blocker_detector import BACKLOG_BYTES, READ_BYTES, BlockerDetector
from actors.blockers import ESCALATE_AFTER, STRATEGIES, escalation_level
from actors.events import (
    AttemptEnded,
    AttemptGranted,
    AttemptOverLimit,
    AttemptStarted,
    BlockerEscalated,
    BlockerRaised,
    BlockerResolved,
    ChildGone,
    ChildQuarantined,
    ChildReady,
    DependencyAlert,
    GitIdle,
    GitReady,
    GitRefused,
    LandConflicted,
    Landed,
    Outcome,
    PreflightFailed,
    Pushed,
    PushRefused,
    RoleFinished,
    SessionPaused,
    SessionSettled,
    SessionStatus,
    Settings,
    Severity,
    SlotFailed,
    Step,
    TaskCompleted,
    TaskFailed,
)
from actors.model import Milestone, Task
from actors.observations import Falls, Gauge, MachineSample
from tests.roles import RoleBench

MILESTONE = Milestone(
    "m1",
    "Something",
    tasks=(
        Task("one", "One", run="x", retries=2, timeout=30.0),
        Task("two", "Two", run="x"),
        Task("three", "Three", run="x", depends_on=("two",)),
        Task("four", "Four", run="x", depends_on=("three",)),
    ),
)


def bench(project: Path, settings: Settings | None = None, milestone: Milestone = MILESTONE) -> RoleBench:
    return RoleBench(BlockerDetector, project, milestone, settings)


def raised(stage: RoleBench) -> dict[str, BlockerRaised]:
    return {event.claim: event for event in stage.of(BlockerRaised)}


def claims(stage: RoleBench) -> list[str]:
    return [event.claim for event in stage.of(BlockerRaised)]


def resolved(stage: RoleBench) -> dict[str, str]:
    return {event.claim: event.how for event in stage.of(BlockerResolved)}


def fail_for_good(stage: RoleBench, task: str, output: str = "", reason: str = "run ended with 1") -> None:
    attempt = stage.grant(task, output=output)
    stage.end(attempt, Outcome.FAILED, "run ended with 1")
    stage.happen(TaskFailed(task, attempt, reason))


# --- reads all logs, error patterns ------------------------------------------------------------------------------


def test_reads_all_logs_and_finds_error_patterns_in_what_failed(tmp_path: Path) -> None:
    with bench(tmp_path) as stage:
        stage.happen(GitIdle("no repository"))
        first = stage.grant("one", output="start\nsh: 1: cargo: not found\n")
        second = stage.grant("two", output="Traceback:\nModuleNotFoundError: No module named 'x'\n")
        stage.pass_time(5)
        assert claims(stage) == []  # neither has failed: a test suite may print this and pass
        stage.end(first, Outcome.FAILED)
        stage.end(second, Outcome.FAILED)
        assert claims(stage) == ["pattern:command-not-found:one", "pattern:python-module:two"]
        blocker = raised(stage)["pattern:command-not-found:one"]
        assert (blocker.category, blocker.task) == ("error_pattern", "one")
        assert blocker.evidence == "tool: sh: 1: cargo: not found (one.1.log, line 2; rule command-not-found)"


def test_a_full_disk_is_reported_while_the_task_still_runs(tmp_path: Path) -> None:
    with bench(tmp_path) as stage:
        attempt = stage.grant("one", output="working\n")
        stage.pass_time(3)
        stage.write(attempt, "tar: write error: No space left")
        stage.pass_time(2)
        assert claims(stage) == []  # the line is not complete
        stage.write(attempt, " on device\n")
        stage.pass_time(1)
        assert raised(stage)["pattern:disk-full:one"].severity is Severity.CRITICAL


def test_an_error_pattern_is_taken_back_when_the_task_completes_after_all(tmp_path: Path) -> None:
    with bench(tmp_path) as stage:
        stage.happen(GitIdle("no repository"))
        stage.end(stage.grant("one", output="Connection refused\n"), Outcome.FAILED)
        attempt = stage.grant("one", 2, output="fine\n")
        stage.end(attempt, Outcome.OK)
        assert resolved(stage) == {}
        stage.happen(TaskCompleted("one", attempt))
        assert resolved(stage) == {"pattern:connection:one": "the task was completed by attempt 2"}
        assert stage.state.blockers == {}


def test_tasks_that_go_well_raise_nothing_whatever_they_print(tmp_path: Path) -> None:
    with bench(tmp_path) as stage:
        stage.happen(GitIdle("no repository"))
        attempt = stage.grant("one", output="permission denied\n=== 3 failed ===\n")
        stage.pass_time(3)
        stage.end(attempt, Outcome.OK)
        stage.happen(TaskCompleted("one", attempt))
        stage.pass_time(3)
        assert stage.by_role == []


def test_the_middle_of_a_flood_of_output_is_skipped_and_its_end_is_read(tmp_path: Path) -> None:
    with bench(tmp_path) as stage:
        attempt = stage.grant("one", output=b"x" * 79 + b"\n")
        stage.write(attempt, (b"x" * 79 + b"\n") * (BACKLOG_BYTES // 40))
        stage.write(attempt, "Bus error\n")
        stage.pass_time(1)
        stage.end(attempt, Outcome.FAILED)
        assert raised(stage)["pattern:crash:one"].evidence == "crash: Bus error (one.1.log; rule crash)"


def test_a_long_log_of_a_failed_attempt_is_read_to_its_end_without_waiting_for_a_tick(tmp_path: Path) -> None:
    with bench(tmp_path) as stage:
        noise = (b"x" * 79 + b"\n") * (READ_BYTES * 3 // 80)
        attempt = stage.grant("one", output=noise + b"Bus error")
        stage.end(attempt, Outcome.FAILED)
        stage.pass_time(1, step=0.01)
        assert claims(stage) == ["pattern:crash:one"]


def test_a_missing_log_is_no_reason_to_fall(tmp_path: Path) -> None:
    with bench(tmp_path) as stage:
        fail_for_good(stage, "two")
        assert raised(stage)["failed:two"].evidence == "run ended with 1"


# --- failures ----------------------------------------------------------------------------------------------------


def test_a_task_that_failed_for_good_is_a_blocker_with_its_last_words_and_a_proposed_resolution(
    tmp_path: Path,
) -> None:
    with bench(tmp_path) as stage:
        stage.grant("one")
        fail_for_good(stage, "two", "building\nsomething fatal happened\nbye\n", "run ended with 3")
        blocker = raised(stage)["failed:two"]
        assert (blocker.category, blocker.severity) == ("task_failure", Severity.ERROR)
        assert blocker.evidence == "run ended with 3\nbuilding\nsomething fatal happened\nbye"
        assert ".milestones/logs/exec-m1-20260301_120000-0badcafe/tasks/two.1.log" in blocker.proposal


def test_a_failure_on_which_all_that_is_left_depends_is_critical(tmp_path: Path) -> None:
    with bench(tmp_path) as stage:
        stage.happen(GitIdle("no repository"))
        attempt = stage.grant("one")
        fail_for_good(stage, "two")
        assert raised(stage)["failed:two"].severity is Severity.ERROR  # "one" may still come to something
        stage.end(attempt, Outcome.OK)
        stage.happen(TaskCompleted("one", attempt))
        stage.pass_time(1)
        assert claims(stage) == ["failed:two", "failed:two"]  # worse than before: said again
        blocker = raised(stage)["failed:two"]
        assert blocker.severity is Severity.CRITICAL
        assert "`depends_on` of the 2 tasks that wait for it" in blocker.proposal
        stage.pass_time(60)
        assert len(claims(stage)) == 2


def test_repeated_failure_of_one_task_is_a_blocker_while_attempts_are_left(tmp_path: Path) -> None:
    with bench(tmp_path) as stage:
        stage.end(stage.grant("one", 1), Outcome.FAILED, "run ended with 1")
        assert claims(stage) == []
        stage.end(stage.grant("one", 2), Outcome.FAILED, "run ended with 1")
        assert claims(stage) == ["repeated:one"]
        assert raised(stage)["repeated:one"].category == "repeated_failure"
        attempt = stage.grant("one", 3)
        stage.end(attempt, Outcome.FAILED, "run ended with 1")
        stage.happen(TaskFailed("one", attempt, "failed 3 times"))
        assert claims(stage) == ["repeated:one", "failed:one"]
        assert resolved(stage) == {"repeated:one": "the task failed for good, which is a blocker of its own"}


def test_an_attempt_that_ran_out_of_time_is_a_blocker_until_a_later_one_completes(tmp_path: Path) -> None:
    with bench(tmp_path) as stage:
        stage.happen(GitIdle("no repository"))
        stage.end(stage.grant("one"), Outcome.TIMEOUT, "ran out of time")
        blocker = raised(stage)["timeout:one"]
        assert (blocker.category, blocker.severity) == ("timeout", Severity.WARNING)
        assert "ended after 30 s" in blocker.evidence
        attempt = stage.grant("one", 2)
        stage.pass_time(3)
        assert resolved(stage) == {}
        stage.end(attempt, Outcome.OK)
        stage.happen(TaskCompleted("one", attempt))
        assert list(resolved(stage)) == ["timeout:one"]


def test_a_task_that_failed_for_want_of_time_is_told_to_take_more(tmp_path: Path) -> None:
    with bench(tmp_path) as stage:
        attempt = stage.grant("two")
        stage.end(attempt, Outcome.TIMEOUT)
        stage.happen(TaskFailed("two", attempt, "ran out of time"))
        blocker = raised(stage)["failed:two"]
        assert blocker.category == "timeout"
        assert "longer `timeout`" in blocker.proposal


def test_interrupted_attempts_are_no_failures(tmp_path: Path) -> None:
    with bench(tmp_path) as stage:
        for number in (1, 2, 3):
            stage.end(stage.grant("one", number, output="permission denied\n"), Outcome.INTERRUPTED)
        stage.pass_time(2)
        assert claims(stage) == []


def test_a_merge_conflict_is_a_blocker_that_gets_worse_when_reruns_are_used_up(tmp_path: Path) -> None:
    with bench(tmp_path, Settings(conflict_reruns=1)) as stage:
        stage.happen(GitReady("milestone/m1", "0" * 40, created=True, uncommitted=0))
        for number in (1, 2):
            attempt = stage.grant("one", number)
            stage.end(attempt, Outcome.OK)
            stage.happen(LandConflicted(attempt, ("a.txt",)))
        first, second = stage.of(BlockerRaised)
        assert (first.claim, first.category, first.severity) == ("conflict:one", "conflict", Severity.WARNING)
        assert second.severity is Severity.ERROR
        assert "conflicts in a.txt" in first.evidence


def test_a_slot_that_can_again_and_again_not_be_made_is_a_blocker(tmp_path: Path) -> None:
    with bench(tmp_path) as stage:
        stage.happen(GitReady("milestone/m1", "0" * 40, created=True, uncommitted=0))
        for number in (1, 2):
            attempt = f"one.{number}"
            stage.happen(AttemptGranted(attempt, "one", number, 0, (Step("run", "x"),)))
            stage.happen(SlotFailed(attempt, "no worktree: disk quota"))
        assert claims(stage) == ["slot:one"]
        assert "no worktree: disk quota" in raised(stage)["slot:one"].evidence
        stage.restart()
        stage.pass_time(2)
        assert claims(stage) == ["slot:one"]
        assert resolved(stage) == {}


def test_a_task_that_lands_raises_nothing(tmp_path: Path) -> None:
    with bench(tmp_path) as stage:
        stage.happen(GitReady("milestone/m1", "0" * 40, created=True, uncommitted=0))
        attempt = stage.grant("one")
        stage.end(attempt, Outcome.OK)
        stage.happen(Landed(attempt, "1" * 40, 1), TaskCompleted("one", attempt))
        stage.pass_time(2)
        assert stage.by_role == []


# --- stall > 10 min ----------------------------------------------------------------------------------------------


def test_no_progress_for_more_than_ten_minutes_is_a_stall_with_the_observed_facts(tmp_path: Path) -> None:
    with bench(tmp_path) as stage:
        stage.grant("one", output="waiting for the licence\n")
        stage.pass_time(600, step=10)
        assert claims(stage) == []
        stage.pass_time(10)
        blocker = raised(stage)["stall"]
        assert blocker.category == "stall"
        assert blocker.evidence.splitlines()[0] == ("nothing started, ended, landed or was completed for 10 min")
        assert "attempt one.1 is started since 10 min, its output last grew" in blocker.evidence
        assert "3 not yet granted, first two" in blocker.evidence
        assert not any(isinstance(event, AttemptEnded) for event in stage.by_role)


def test_a_stall_is_over_when_something_moves(tmp_path: Path) -> None:
    with bench(tmp_path) as stage:
        attempt = stage.grant("one")
        stage.pass_time(700, step=10)
        stage.end(attempt, Outcome.FAILED)
        stage.pass_time(1)
        assert resolved(stage)["stall"] == "there is progress again"


@pytest.mark.parametrize("moves", [True, False])
def test_slow_but_moving_is_no_stall(tmp_path: Path, moves: bool) -> None:
    with bench(tmp_path) as stage:
        for number in (1, 2, 3):
            stage.pass_time(400, step=10)
            if moves:
                stage.end(stage.grant("one", number), Outcome.INTERRUPTED)
        assert ("stall" in claims(stage)) is not moves


def test_a_paused_session_with_nothing_alive_does_not_stall(tmp_path: Path) -> None:
    with bench(tmp_path) as stage:
        stage.happen(SessionPaused("by the user"))
        stage.pass_time(2000, step=10)
        assert claims(stage) == []


# --- resource pressure -------------------------------------------------------------------------------------------


def test_resource_pressure_is_reported_after_it_lasted_and_over_after_it_was_clearly_gone() -> None:
    gauge = Gauge()
    for percent in (95, 95, 95, 95, 95, 80, 95, 95, 95, 95, 95):
        gauge = gauge.sampled(percent, 90)
        assert not gauge.pressed
    gauge = gauge.sampled(95, 90)
    assert gauge.pressed
    for percent in (89, 84, 84, 88, 84, 84):
        gauge = gauge.sampled(percent, 90)
        assert gauge.pressed
    assert not gauge.sampled(84, 90).pressed


def test_pressure_is_a_blocker_critical_when_the_disk_is_full_and_taken_back(tmp_path: Path) -> None:
    class FakeMachine:
        disk = 95.0

        def sample(self) -> MachineSample:
            return MachineSample(cpu=99.0, memory=None, disk=self.disk)

    with bench(tmp_path) as stage:
        machine = FakeMachine()
        assert isinstance(stage.role, BlockerDetector)
        stage.role._machine = machine  # type: ignore[assignment]
        stage.grant("one")
        stage.pass_time(29)
        assert claims(stage) == []
        stage.pass_time(2)
        assert sorted(claims(stage)) == ["pressure:cpu", "pressure:disk"]
        assert raised(stage)["pressure:disk"].severity is Severity.WARNING
        assert raised(stage)["pressure:disk"].category == "resource_pressure"
        machine.disk = 99.5
        stage.pass_time(6)
        assert raised(stage)["pressure:disk"].severity is Severity.CRITICAL
        machine.disk = 50.0
        stage.pass_time(20)
        assert resolved(stage) == {"pressure:disk": "disk use is clearly below the limit again"}


def test_the_real_machine_can_be_sampled(tmp_path: Path) -> None:
    with bench(tmp_path, Settings(pressure_percent=100.0)) as stage:
        stage.grant("one")
        stage.pass_time(60)
        assert isinstance(stage.role, BlockerDetector)
        assert set(stage.role._gauges) == {"cpu", "memory", "disk"}
        assert 0 < stage.role._gauges["memory"].percent <= 100
        assert claims(stage) == []


# --- restart storms ----------------------------------------------------------------------------------------------


def test_three_falls_within_a_minute_are_a_storm_and_five_quiet_minutes_end_it() -> None:
    falls = Falls().fell(0, "a").fell(10, "b").fell(61, "c")
    assert not falls.is_stormy(61)
    falls = falls.fell(69, "d")
    assert falls.is_stormy(69)
    assert falls.is_stormy(368)
    assert not falls.is_stormy(369)


def test_a_task_over_its_soft_limit_is_a_warning_until_the_attempt_is_over(tmp_path: Path) -> None:
    with bench(tmp_path) as stage:
        stage.happen(GitIdle("no repository"))
        attempt = stage.grant("one")
        stage.happen(AttemptOverLimit(attempt, "used 5.1 GiB of memory, its soft limit is 4 GiB"))
        stage.pass_time(2)
        blocker = raised(stage)["limit:one"]
        assert (blocker.category, blocker.severity, blocker.task) == ("resource_pressure", Severity.WARNING, "one")
        assert blocker.evidence == "attempt 1 of one used 5.1 GiB of memory, its soft limit is 4 GiB"
        stage.restart()
        stage.pass_time(2)
        assert (claims(stage), resolved(stage)) == (["limit:one"], {})
        stage.end(attempt, Outcome.OK)
        stage.pass_time(2)
        assert resolved(stage) == {"limit:one": "that attempt is over"}


def test_a_restart_storm_is_a_blocker(tmp_path: Path) -> None:
    with bench(tmp_path) as stage:
        for number in (1, 2, 3):
            stage.happen(ChildGone("git_integration", number, "killed by SIGKILL"))
            stage.happen(ChildReady("git_integration", 100 + number, number + 1, number))
            stage.pass_time(5)
        blocker = raised(stage)["storm:git_integration"]
        assert (blocker.category, blocker.severity) == ("restart_storm", Severity.ERROR)
        assert "killed by SIGKILL" in blocker.evidence
        stage.restart()
        stage.pass_time(200)
        assert resolved(stage) == {}
        stage.pass_time(120)
        assert resolved(stage) == {"storm:git_integration": "git_integration has not ended for a while"}


def test_a_role_that_was_given_up_is_a_blocker(tmp_path: Path) -> None:
    with bench(tmp_path) as stage:
        stage.happen(ChildQuarantined("progress_monitor", "killed by SIGSEGV"))
        assert "killed by SIGSEGV" in raised(stage)["quarantined:progress_monitor"].evidence


# --- git, dependencies, pre-flight -------------------------------------------------------------------------------


def test_a_refused_push_is_a_blocker_until_the_next_one_goes_through(tmp_path: Path) -> None:
    with bench(tmp_path) as stage:
        stage.happen(PushRefused("origin", "non-fast-forward", 1))
        assert raised(stage)["push"].evidence == "non-fast-forward"
        stage.happen(Pushed("origin", "0" * 40, 1))
        stage.pass_time(1)
        assert resolved(stage) == {"push": "the branch was pushed"}


def test_dependency_alerts_become_blockers_and_are_taken_back_with_them(tmp_path: Path) -> None:
    with bench(tmp_path) as stage:
        stage.happen(DependencyAlert("cycle:m1,m2", "cycle", "m1 -> m2 -> m1"))
        stage.happen(DependencyAlert("edited:abc", "edited", "m1.yaml was edited"))
        assert claims(stage) == ["dependency:cycle:m1,m2"]
        assert raised(stage)["dependency:cycle:m1,m2"].category == "dependency"
        stage.happen(DependencyAlert("cycle:m1,m2", "resolved", "no longer so"))
        assert list(resolved(stage)) == ["dependency:cycle:m1,m2"]


def test_a_session_that_cannot_start_is_critical(tmp_path: Path) -> None:
    with bench(tmp_path) as stage:
        stage.happen(PreflightFailed(("m1.yaml:3:1: unknown milestone",)), GitRefused("bare", "use a checkout"))
        assert {key: event.severity for key, event in raised(stage).items()} == {
            "preflight": Severity.CRITICAL,
            "git": Severity.CRITICAL,
        }
        assert "m1.yaml:3:1: unknown milestone" in raised(stage)["preflight"].evidence
        assert raised(stage)["git"].proposal == "alternative approach: use a checkout"


def test_a_refusal_of_git_that_names_no_cure_is_proposed_one(tmp_path: Path) -> None:
    with bench(tmp_path) as stage:
        stage.happen(GitRefused("git cannot create the branch: the filter failed", ""))
        proposal = raised(stage)["git"].proposal
        assert proposal == "alternative approach: mend what is said above, then run the milestone again"


# --- one alert per claim, by age, through crashes ----------------------------------------------------------------


def test_one_claim_is_one_alert_however_often_the_detector_dies(tmp_path: Path) -> None:
    with bench(tmp_path) as stage:
        stage.grant("one", output="No space left on device\n")
        fail_for_good(stage, "two", "permission denied\n")
        stage.pass_time(2)
        before = claims(stage)
        assert sorted(before) == ["failed:two", "pattern:disk-full:one", "pattern:permission-denied:two"]
        for _ in range(3):
            stage.restart()
            stage.pass_time(3)
        assert claims(stage) == before
        assert resolved(stage) == {}


def test_what_failed_while_the_detector_was_away_is_found_by_the_next_one(tmp_path: Path) -> None:
    with bench(tmp_path) as stage:
        detector_log = stage.logs / "blockers.jsonl"
        attempt = "two.1"
        stage.write(attempt, "Bus error\n")
        stage._journal(  # nobody is told
            [
                AttemptGranted(attempt, "two", 1, 0, (Step("run", "x"),)),
                AttemptStarted(attempt, 1),
                AttemptEnded(attempt, Outcome.FAILED),
                TaskFailed("two", attempt, "failed"),
            ]
        )
        stage.restart()
        stage.pass_time(1)
        assert sorted(claims(stage)) == ["failed:two", "pattern:crash:two"]
        assert b'"blocker_detected"' in detector_log.read_bytes()


def test_a_blocker_is_escalated_by_age_once_for_each_level(tmp_path: Path) -> None:
    with bench(tmp_path) as stage:
        fail_for_good(stage, "two")
        stage.grant("one")
        stage.pass_time(50 * 3600, step=600)
        found = [(event.claim, event.level) for event in stage.of(BlockerEscalated) if event.claim == "failed:two"]
        assert found == [("failed:two", 1), ("failed:two", 2)]


def test_ages_are_counted_in_levels_of_a_day() -> None:
    assert [escalation_level(hours * 3600) for hours in (0, 23.9, 24, 47, 48, 500)] == [0, 0, 1, 1, 2, 2]
    assert escalation_level(5, (1, 2, 3)) == 3
    assert list(ESCALATE_AFTER) == [86400, 172800]


def test_every_proposal_begins_with_a_strategy(tmp_path: Path) -> None:
    with bench(tmp_path) as stage:
        stage.happen(PreflightFailed(("x",)), GitRefused("r", "c"), PushRefused("origin", "no", 1))
        stage.happen(*(DependencyAlert(f"{kind}:x", kind, "x") for kind in ("invalid", "cycle", "conflict")))
        stage.end(stage.grant("one", 1), Outcome.TIMEOUT)
        stage.end(stage.grant("one", 2), Outcome.FAILED)
        fail_for_good(stage, "two")
        stage.pass_time(1000, step=10)
        assert len(raised(stage)) >= 9
        assert {event.proposal.partition(": ")[0] for event in raised(stage).values()} <= set(STRATEGIES)


# --- the user's rules, secrets, the end --------------------------------------------------------------------------


def test_the_users_rules_extend_the_built_in_ones_and_are_read_again_when_they_change(tmp_path: Path) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text("rules:\n- {id: ours, pattern: flux, where: any, severity: warning, proposal: 'retry: x'}\n")
    with bench(tmp_path, Settings(rules="rules.yaml")) as stage:
        attempt = stage.grant("one", output="low flux\n")
        stage.pass_time(2)
        assert claims(stage) == ["pattern:ours:one"]
        rules.write_text("rules:\n- {id: ours, pattern: '(', proposal: 'retry: x'}\n")
        stage.pass_time(2)
        problem = raised(stage)["rules"]
        assert problem.evidence.startswith("rules.yaml:2:24: pattern: not a regular expression")
        stage.write(attempt, "Bus error\n")
        stage.end(attempt, Outcome.FAILED)
        assert "pattern:crash:one" in claims(stage)  # the built-in rules go on
        rules.write_text("rules: []\n")
        stage.pass_time(2)
        assert resolved(stage)["rules"] == "the rules file can be used again"


def test_a_rules_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with bench(tmp_path, Settings(rules="nowhere.yaml")) as stage:
        stage.pass_time(2)
        assert "nowhere.yaml:1:1: there is no such file" in raised(stage)["rules"].evidence


def test_values_of_secrets_never_become_evidence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_TOKEN", "hunter2hunter2")
    with bench(tmp_path, Settings(secrets=("API_TOKEN",))) as stage:
        fail_for_good(stage, "two", "error: token hunter2hunter2 refused\npermission denied (hunter2hunter2)\n")
        assert raised(stage)["failed:two"].evidence.count("***") == 2
        assert b"hunter2" not in (stage.logs / "blockers.jsonl").read_bytes()


def test_passing_blockers_end_with_the_session_and_lasting_ones_stay(tmp_path: Path) -> None:
    with bench(tmp_path) as stage:
        fail_for_good(stage, "two")
        stage.pass_time(700, step=10)
        assert "stall" in claims(stage)
        stage.happen(SessionSettled(SessionStatus.FAILED, "two failed"))
        assert resolved(stage)["stall"] == "the session is over"
        assert list(stage.state.blockers) == ["failed:two"]
        assert stage.of(RoleFinished) == [RoleFinished("blocker_detector", "2 blockers raised, 1 unresolved")]


def test_all_output_is_read_before_the_role_finishes(tmp_path: Path) -> None:
    with bench(tmp_path) as stage:
        noise = (b"x" * 79 + b"\n") * (READ_BYTES * 3 // 80)
        attempt = stage.grant("two", output=noise + b"Bus error\n")
        stage.end(attempt, Outcome.FAILED)
        stage.happen(TaskFailed("two", attempt, "x"), SessionSettled(SessionStatus.FAILED, "x"))
        stage.pass_time(1, step=0.01)
        assert "pattern:crash:two" in claims(stage)
        assert isinstance(stage.by_role[-1], RoleFinished)
