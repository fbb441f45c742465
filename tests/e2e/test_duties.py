"""The duties of the milestone convention: each has a test named after it.

Where the thresholds of the convention matter (30 seconds, 5 and 10 minutes), the test is one of logic in virtual time.
Here one run with short intervals meets everything once (a quiet task, a full disk, a merge conflict, another
milestone, uncommitted files), and the tests below look at what it left.

Executor
  reads the file
    e2e/test_run.py::test_the_example_of_sixteen_real_tasks_becomes_sixteen_commits
  finds pending tasks
    e2e/test_duties.py::test_executor_finds_pending_tasks
  sets in_progress
    e2e/test_duties.py::test_executor_sets_in_progress_in_the_file
  executes
    e2e/test_duties.py::test_executor_executes_in_the_order_of_dependencies
  runs tests
    e2e/test_run.py::test_verify_decides_and_retries_repeat
  sets completed
    e2e/test_duties.py::test_executor_sets_completed_in_the_file
  writes execution.jsonl
    e2e/test_duties.py::test_executor_writes_execution_jsonl
  keeps overall progress
    e2e/test_duties.py::test_executor_keeps_overall_progress
Progress
  reports every 30 seconds
    domain/test_progress.py::test_a_report_is_due_every_thirty_seconds
  reports though nothing changes
    e2e/test_duties.py::test_progress_reports_at_the_interval_though_nothing_changes
  computes the percentage
    domain/test_progress.py::test_the_percentage_is_rounded_down_and_zero_without_tasks
  writes progress.jsonl
    e2e/test_duties.py::test_progress_writes_progress_jsonl
  finds stalled tasks after 5 minutes
    domain/test_progress.py::test_a_task_is_stalled_after_five_minutes_without_an_update
  says which task is stalled
    e2e/test_duties.py::test_progress_says_which_task_is_stalled_and_ends_nothing
  shows a bar
    e2e/test_duties.py::test_progress_shows_a_bar_that_fills
  alerts on completion
    e2e/test_duties.py::test_progress_alerts_on_completion_with_the_time
Git
  creates milestone/<id>
    e2e/test_duties.py::test_git_creates_the_milestone_branch
  watches uncommitted changes
    e2e/test_duties.py::test_git_watches_uncommitted_changes
  commits as each task completes
    e2e/test_duties.py::test_git_commits_as_each_task_completes
  pushes every 3 tasks
    e2e/test_run.py::test_every_third_commit_is_pushed_to_the_remote
  handles a merge conflict
    e2e/test_duties.py::test_git_handles_a_merge_conflict
  writes git.jsonl
    e2e/test_duties.py::test_git_writes_git_jsonl
Dependencies
  prerequisites
    e2e/test_duties.py::test_dependencies_checks_prerequisites_before_anything_starts
  cycles of tasks
    milestone/test_plan_problems.py::test_a_cycle_is_shown_whole_at_the_edge_that_closes_it
  cycles of milestones
    e2e/test_duties.py::test_dependencies_finds_cycles_before_anything_starts
  resource conflicts
    e2e/test_duties.py::test_dependencies_alerts_a_resource_conflict_with_another_active_milestone
  alerts once, and takes back
    dependencies/test_validator.py::test_an_alert_is_made_once_and_taken_back_when_the_file_is_mended
  writes dependencies.jsonl
    e2e/test_duties.py::test_dependencies_writes_dependencies_jsonl
Blockers
  reads all logs
    blockers/test_detector.py::test_reads_all_logs_and_finds_error_patterns_in_what_failed
  error patterns
    e2e/test_duties.py::test_blockers_finds_an_error_pattern_while_the_task_runs
  stall after 10 minutes
    blockers/test_detector.py::test_no_progress_for_more_than_ten_minutes_is_a_stall_with_the_observed_facts
  says what is stuck
    e2e/test_duties.py::test_blockers_says_what_is_stuck_and_when_it_is_over
  resource pressure
    blockers/test_detector.py::test_pressure_is_a_blocker_critical_when_the_disk_is_full_and_taken_back
  proposes a resolution
    e2e/test_duties.py::test_blockers_proposes_a_resolution_for_each
  alerts at once on critical
    e2e/test_duties.py::test_blockers_alerts_at_once_on_critical_by_the_command_hook
  writes blockers.jsonl
    e2e/test_duties.py::test_blockers_writes_blockers_jsonl
Coordination
  heartbeats
    e2e/test_duties.py::test_coordination_shows_fresh_heartbeats_of_all_roles
  a silent role is replaced
    e2e/test_kills.py::test_a_stopped_role_is_found_silent_and_replaced
  failed roles are recovered
    e2e/test_kills.py::test_the_run_goes_on_when_one_process_is_killed
  completion of all roles is reported
    e2e/test_duties.py::test_coordination_reports_the_completion_of_all_roles
"""

import ast
import json
import re
from pathlib import Path

import pytest

from actors.events import (
    AttemptEnded,
    AttemptGranted,
    AttemptStarted,
    BlockerRaised,
    BlockerResolved,
    CompletionAlert,
    DependencyAlert,
    Event,
    HookRan,
    LandConflicted,
    Landed,
    Outcome,
    PreflightFailed,
    ProgressReported,
    Pushed,
    RoleFinished,
    TaskCompleted,
    TaskStalled,
    UncommittedSeen,
    task_of,
)
from actors.state import ROLES
from tests.e2e.stage import Project, facts, milestone_of
from tests.e2e.story import TASKS, Story, tell
from tests.repositories import make_repository


@pytest.fixture(scope="module")
def _stories() -> dict[str, Story | Exception]:
    return {}


@pytest.fixture
def story(_stories: dict[str, Story | Exception], tmp_path_factory: pytest.TempPathFactory) -> Story:
    """Return the story of the one run; the first test that asks for it has it run."""
    if "story" not in _stories:
        project = Project(make_repository(tmp_path_factory.mktemp("duties") / "project"))
        try:
            _stories["story"] = tell(project)
        except Exception as error:  # noqa: BLE001 - told to every test that wants to look at it
            _stories["story"] = error
        finally:
            project.end_all()
    found = _stories["story"]
    if isinstance(found, Exception):
        pytest.fail(f"the run whose traces are looked at failed: {found}")
    return found


def _statuses(text: str) -> dict[str, str]:
    """Return the status of each task in the text of the milestone file."""
    entries = re.findall(r"^  - (\{.*\})$", text, re.MULTILINE)
    return {task["id"]: task["status"] for task in map(json.loads, entries)}


def _assert_log(story: Story, name: str, role: str, kinds: set[str]) -> None:
    """Assert that a role's log has lines of these kinds, each with the convention's fields, in order."""
    lines = story.lines[name]
    assert kinds <= {line["event_type"] for line in lines}
    seqs = [line["seq"] for line in lines]
    assert seqs == sorted(set(seqs))
    for line in lines:
        assert line["milestone_id"] == "m1"
        assert line["session_id"] == story.records[0][0].session
        assert line["agent_id"] == role
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d.*", line["timestamp"])
        assert isinstance(line["details"], dict)


# --- the table ---------------------------------------------------------------------------------------------------


def _table() -> dict[str, str]:
    return dict(re.findall(r"^  (\S.*)\n    (\S+::\w+)$", __doc__ or "", re.MULTILINE))


def test_every_test_that_the_table_names_exists_and_every_test_here_is_in_it() -> None:
    """A duty whose test is renamed or removed is noticed."""
    root = Path(__file__).parents[1]
    named = {tuple(test.split("::")) for test in _table().values()}
    there = {
        (file, node.name)
        for file in {file for file, _ in named}
        for node in ast.walk(ast.parse((root / file).read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef)
    }
    assert named <= there, sorted(named - there)
    here = Path(__file__).relative_to(root).as_posix()
    roles = ("executor", "progress", "git", "dependencies", "blockers", "coordination")
    own = {test for file, test in there if file == here and test.startswith(tuple(f"test_{role}_" for role in roles))}
    assert own == {test for file, test in named if file == here}
    assert len(_table()) == 40


# --- executor ----------------------------------------------------------------------------------------------------


def test_executor_finds_pending_tasks(story: Story) -> None:
    """What the file says is completed is not run again; all that is pending is granted."""
    assert {fact.task for fact in story.of(AttemptGranted)} == set(TASKS)


def test_executor_sets_in_progress_in_the_file(story: Story) -> None:
    """While a task runs its status says so; what waits is pending still."""
    statuses = _statuses(story.during)
    assert statuses["quiet"] == "in_progress"
    assert statuses["last"] == "pending"
    assert statuses["build"] == "completed"
    assert "status: in_progress\n" in story.during


def test_executor_executes_in_the_order_of_dependencies(story: Story) -> None:
    """Each task starts after what it needs was completed, and its changes are there."""
    for task, needs in TASKS.items():
        started = story.seq(AttemptStarted, attempt=f"{task}.1")
        assert all(story.seq(TaskCompleted, task=needed) < started for needed in needs)
    assert set(story.changed["last"].split()) >= {"build", "full", "quiet", "README.md"}


def test_executor_sets_completed_in_the_file(story: Story) -> None:
    """Every task and the milestone itself, in `completed/`."""
    assert set(_statuses(story.after).values()) == {"completed"}
    assert "status: completed\n" in story.after


def test_executor_writes_execution_jsonl(story: Story) -> None:
    """Grants, starts, ends and completions, with the task's id."""
    kinds = {"attempt_granted", "task_started", "attempt_ended", "task_completed"}
    _assert_log(story, "execution", "task_executor", kinds)
    for kind in kinds:
        assert {line["task_id"] for line in story.lines["execution"] if line["event_type"] == kind} >= set(TASKS)


def test_executor_keeps_overall_progress(story: Story) -> None:
    """At its end the role says how much of the milestone is done."""
    summaries = {fact.role: fact.summary for fact in story.of(RoleFinished)}
    assert summaries["task_executor"] == "7 of 7 tasks completed"


# --- progress ----------------------------------------------------------------------------------------------------


def test_progress_reports_at_the_interval_though_nothing_changes(story: Story) -> None:
    """While one task is quiet the same report comes again and again."""
    quiet_since = max(record.wall for record, event in story.records if _is_end_of(event, "full", "left", "right"))
    until = next(r.wall for r, e in story.records if isinstance(e, TaskCompleted) and e.task == "quiet")
    reports = [r.wall for r, e in story.records if isinstance(e, ProgressReported) and quiet_since < r.wall < until]
    assert len(reports) >= 3
    # What waited for a busy journal comes together; there are no more for that.
    assert len(reports) <= (until - quiet_since) / 0.5 + 3


def _is_end_of(event: Event, *tasks: str) -> bool:
    return isinstance(event, TaskCompleted) and event.task in tasks


def test_progress_writes_progress_jsonl(story: Story) -> None:
    """Every report with its percentage."""
    _assert_log(story, "progress", "progress_monitor", {"progress_updated", "task_stalled", "completion_alert"})
    percentages = [
        line["details"]["progress_percentage"]
        for line in story.lines["progress"]
        if line["event_type"] == "progress_updated"
    ]
    assert percentages == sorted(percentages)
    assert percentages[-1] == 100


def test_progress_says_which_task_is_stalled_and_ends_nothing(story: Story) -> None:
    """A report with the observed facts; the quiet attempt went on and succeeded."""
    (stalled,) = [fact for fact in story.of(TaskStalled) if fact.task == "quiet"]
    assert stalled.quiet_seconds >= 1.0
    ends = {fact.attempt: fact.outcome for fact in story.of(AttemptEnded)}
    assert ends["quiet.1"] is Outcome.OK


def test_progress_shows_a_bar_that_fills(story: Story) -> None:
    """Twenty characters: filled for what is done."""
    bars = [(fact.percentage, fact.bar) for fact in story.of(ProgressReported)]
    assert all(bar == "█" * (percent // 5) + "░" * (20 - percent // 5) for percent, bar in bars)
    assert f"Progress Monitor: {'█' * 20} 100%" in story.text


def test_progress_alerts_on_completion_with_the_time(story: Story) -> None:
    """Once, with the ratio as measured."""
    (alert,) = story.of(CompletionAlert)
    assert re.fullmatch(r"Milestone execution time: .+ \(.+( sequential| together)\)", alert.text)
    assert alert.completed == len(TASKS)
    assert alert.speedup == pytest.approx(alert.task_seconds / alert.wall_seconds)
    assert alert.text in story.text


# --- git ---------------------------------------------------------------------------------------------------------


def test_git_creates_the_milestone_branch(story: Story) -> None:
    """`milestone/<id>`, from the commit that the view names."""
    assert re.search(r"Git Integration: Created branch milestone/m1 at [0-9a-f]{10}", story.text)


def test_git_watches_uncommitted_changes(story: Story) -> None:
    """A file that appears in the checkout is seen while tasks run, and never committed."""
    assert "draft" in story.of(UncommittedSeen)[-1].paths
    assert "draft" not in story.changed


def test_git_commits_as_each_task_completes(story: Story) -> None:
    """One commit for each, with the three trailers, landed before the task is called completed."""
    session = story.records[0][0].session
    assert sorted(commit["Task"] for commit in story.commits) == sorted(TASKS)
    assert {(commit["Milestone"], commit["Session"]) for commit in story.commits} == {("m1", session)}
    for fact in story.of(Landed):
        task = task_of(fact.attempt)
        assert story.seq(Landed, attempt=fact.attempt) < story.seq(TaskCompleted, task=task)
    pushes = [fact.landed for fact in story.of(Pushed)]
    assert pushes[0] >= 3
    assert pushes[-1] == len(TASKS)
    assert story.remote_tip == story.commits[-1]["sha"]


def test_git_handles_a_merge_conflict(story: Story) -> None:
    """The one that came second runs again on the new tip; both changes are there."""
    (conflict,) = story.of(LandConflicted)
    assert conflict.paths == ("README.md",)
    assert sorted(story.changed["README.md"].splitlines()[1:]) == ["left", "right"]


def test_git_writes_git_jsonl(story: Story) -> None:
    """Branch, commits, conflict and pushes."""
    kinds = {"branch_created", "task_committed", "conflict_detected", "branch_synced", "uncommitted_changes"}
    _assert_log(story, "git", "git_integration", kinds)


# --- dependencies ------------------------------------------------------------------------------------------------


def test_dependencies_checks_prerequisites_before_anything_starts(project: Project, story: Story) -> None:
    """A required milestone that is not completed is a located problem; one that is lets the run start."""
    assert "Prerequisites, tools, environment and disk are fine" in story.text
    text = milestone_of({"id": "t1", "run": "echo 1 > one"}, dependencies={"requires": ["m0"]})
    project.write("m1", text)

    done = project.ctl("run", "m1")

    assert done.code == 1
    assert re.search(r"m1\.yaml:3:\d+: .*m0", done.out), done.out
    assert not facts(project, AttemptGranted)


def test_dependencies_finds_cycles_before_anything_starts(project: Project) -> None:
    """Milestones that require each other: exit 1 with the circle."""
    for own, other in (("m1", "m2"), ("m2", "m1")):
        text = milestone_of({"id": "t1", "run": "echo 1 > one"}, dependencies={"requires": [other]})
        project.write(own, text.replace("id: m1", f"id: {own}", 1))

    done = project.ctl("run", "m1")

    assert done.code == 1
    (failed,) = facts(project, PreflightFailed)
    assert any("m1 -> m2 -> m1" in problem or "m2 -> m1 -> m2" in problem for problem in failed.problems)
    assert not facts(project, AttemptGranted)


def test_dependencies_alerts_a_resource_conflict_with_another_active_milestone(story: Story) -> None:
    """Warned of before the start while the other is planned; alerted when it begins to run."""
    assert re.search(r"Dependency Validator: .*m2.*database|Dependency Validator: .*database.*m2", story.text)
    (alert,) = [fact for fact in story.of(DependencyAlert) if fact.kind == "conflict"]
    assert "database" in alert.detail
    assert "m2" in alert.detail


def test_dependencies_writes_dependencies_jsonl(story: Story) -> None:
    """The verdict of the pre-flight and every alert."""
    kinds = {"validation_completed", "dependency_blocker", "dependency_resolved"}
    _assert_log(story, "dependencies", "dependency_validator", kinds)


# --- blockers ----------------------------------------------------------------------------------------------------


def _raised(story: Story, claim: str) -> BlockerRaised:
    return next(fact for fact in story.of(BlockerRaised) if fact.claim == claim)


def test_blockers_finds_an_error_pattern_while_the_task_runs(story: Story) -> None:
    """The line is the evidence; the claim is taken back when the task completes after all."""
    blocker = _raised(story, "pattern:disk-full:full")
    assert "cp: No space left on device" in blocker.evidence
    assert story.seq(BlockerRaised, claim=blocker.claim) < story.seq(AttemptEnded, attempt="full.1")
    assert story.seq(BlockerResolved, claim=blocker.claim) > story.seq(AttemptEnded, attempt="full.1")


def test_blockers_says_what_is_stuck_and_when_it_is_over(story: Story) -> None:
    """With the attempts that live and since when."""
    stalls = [(r.seq, e.evidence) for r, e in story.records if isinstance(e, BlockerRaised) and e.claim == "stall"]
    resolved = [r.seq for r, e in story.records if isinstance(e, BlockerResolved) and e.claim == "stall"]
    found = [seq for seq, evidence in stalls if "attempt quiet.1 is started" in evidence]
    assert found
    assert max(resolved) > max(found)


def test_blockers_proposes_a_resolution_for_each(story: Story) -> None:
    """Every blocker of the run, in the view as well."""
    raised = story.of(BlockerRaised)
    assert {"pattern:disk-full:full", "stall"} <= {fact.claim for fact in raised}
    assert all(fact.proposal for fact in raised)
    assert all(f"proposal: {fact.proposal}" in story.text for fact in raised)


def test_blockers_alerts_at_once_on_critical_by_the_command_hook(story: Story) -> None:
    """The hook has the blocker as JSON while the task still runs: it waited for it."""
    assert story.told["claim"] == "pattern:disk-full:full"
    assert story.told["severity"] == "critical"
    record = next(r for r, e in story.records if isinstance(e, BlockerRaised) and e.claim == story.told["claim"])
    told = next(r for r, e in story.records if isinstance(e, HookRan) and e.claim == story.told["claim"])
    assert record.seq < min(told.seq, story.seq(AttemptEnded, attempt="full.1"))


def test_blockers_writes_blockers_jsonl(story: Story) -> None:
    """Raised and resolved, with claim and severity."""
    _assert_log(story, "blockers", "blocker_detector", {"blocker_detected", "blocker_resolved", "hook_ran"})
    details = [line["details"] for line in story.lines["blockers"] if line["event_type"] == "blocker_detected"]
    assert {"critical", "error"} <= {detail["severity"] for detail in details}


# --- coordination ------------------------------------------------------------------------------------------------


def test_coordination_shows_fresh_heartbeats_of_all_roles(story: Story) -> None:
    """Each role's sheet has a beat of the last seconds, its pid and its state."""
    assert set(story.agents) == set(ROLES)
    for role, sheet in story.agents.items():
        assert sheet["role"] == role
        assert sheet["state"] == "RUNNING"
        assert sheet["pid"] > 0
        assert sheet["last_heartbeat"] is not None


def test_coordination_reports_the_completion_of_all_roles(story: Story) -> None:
    """Each once, before the session is called completed, and in the view."""
    assert sorted(fact.role for fact in story.of(RoleFinished)) == sorted(ROLES)
    for title in ("Task Executor", "Progress Monitor", "Git Integration", "Dependency Validator", "Blocker Detector"):
        assert re.search(rf"\] {title}: finished", story.text), title
