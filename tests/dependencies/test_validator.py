"""The dependency validator's duties: prerequisites, cycles, conflicts, the machine; alerts while it runs."""

import os
from pathlib import Path

import pytest

from actors.dependency_validator import DependencyValidator
from actors.events import (
    DependencyAlert,
    MilestoneUpdated,
    PreflightFailed,
    PreflightPassed,
    RoleFinished,
    SessionResumed,
    SessionSettled,
    SessionStatus,
    Settings,
)
from actors.machine import offer
from actors.model import Requirements
from actors.preflight import without_statuses
from actors.reader import read
from tests.roles import RoleBench, write_milestone

OWN = """\
id: m1
title: Ours
status: planned
dependencies:
  requires: [base]
shared_resources: [database]
tasks:
  - id: one
    title: One
    run: make one
    files: [src/a.py]
  - id: two
    title: Two
    status: pending
    run: make two
    depends_on: [one]
"""

ALONE = OWN.replace("dependencies:\n  requires: [base]\n", "").replace("shared_resources: [database]\n", "")


def other(name: str, more: str = "", status: str = "planned") -> str:
    return f"id: {name}\ntitle: Other\nstatus: {status}\n{more}tasks:\n- {{id: x, title: X, run: x}}\n"


def bench(project: Path, text: str = OWN, settings: Settings | None = None) -> RoleBench:
    path = write_milestone(project, "m1", text)
    milestone = read(path.read_bytes(), str(path)).milestone
    assert milestone is not None
    return RoleBench(DependencyValidator, project, milestone, settings)


def problems(stage: RoleBench) -> tuple[str, ...]:
    assert stage.of(PreflightPassed) == []
    (failed,) = stage.of(PreflightFailed)
    return failed.problems


def warnings(stage: RoleBench) -> tuple[str, ...]:
    assert stage.of(PreflightFailed) == []
    (passed,) = stage.of(PreflightPassed)
    return passed.warnings


def alerted(stage: RoleBench) -> list[tuple[str, str]]:
    return [(event.kind, event.detail) for event in stage.of(DependencyAlert)]


@pytest.mark.row("F22")
def test_a_file_whose_name_is_no_utf_8_is_named_and_alerted_of_once(tmp_path: Path) -> None:
    with bench(tmp_path, ALONE) as stage:
        stage.pass_time(1)
        (tmp_path / ".milestones" / "active" / os.fsdecode(b"caf\xe9.yaml")).write_text("id: [", encoding="utf-8")
        stage.pass_time(30)
        details = [detail for kind, detail in alerted(stage) if kind == "invalid"]
        assert len(details) == len(set(details)) == 1
        assert details[0].startswith(r".milestones/active/caf\xe9.yaml:1:")


# --- prerequisites -----------------------------------------------------------------------------------------------


def test_a_milestone_whose_prerequisites_are_completed_may_start(tmp_path: Path) -> None:
    write_milestone(tmp_path, "base", other("base", status="completed"), "completed")
    with bench(tmp_path) as stage:
        stage.pass_time(1)
        assert warnings(stage) == ()


@pytest.mark.parametrize("place", ["completed/base/definition.yaml", "active/base.yaml", "completed/base.yml"])
def test_a_prerequisite_is_completed_wherever_its_file_says_so(tmp_path: Path, place: str) -> None:
    path = tmp_path / ".milestones" / place
    path.parent.mkdir(parents=True)
    path.write_text(other("base", status="completed"))
    with bench(tmp_path) as stage:
        stage.pass_time(1)
        assert warnings(stage) == ()


def test_a_prerequisite_that_is_active_but_not_completed_is_an_error_with_its_place(tmp_path: Path) -> None:
    write_milestone(tmp_path, "base", other("base"))
    with bench(tmp_path) as stage:
        stage.pass_time(1)
        assert problems(stage) == (
            (
                ".milestones/active/m1.yaml:5:14: milestone 'm1' requires 'base', which is not completed yet; run it "
                "first (.milestones/active/base.yaml is there, .milestones/completed/base.yaml is not)"
            ),
        )


def test_a_prerequisite_that_is_nowhere_is_an_error_that_says_where_it_was_looked_for(tmp_path: Path) -> None:
    write_milestone(tmp_path, "basis", other("basis"))
    with bench(tmp_path) as stage:
        stage.pass_time(1)
        (problem,) = problems(stage)
        assert problem.startswith(".milestones/active/m1.yaml:5:14: unknown milestone 'base' in requires of 'm1'")
        assert "did you mean 'basis'?" in problem
        assert "(looked for .milestones/completed/base.yaml and .milestones/active/base.yaml)" in problem


# --- cycles and resource conflicts -------------------------------------------------------------------------------


def test_milestones_that_require_each_other_are_an_error_also_through_completed_ones(tmp_path: Path) -> None:
    write_milestone(tmp_path, "base", other("base", "dependencies: {requires: [m1]}\n"), "completed")
    with bench(tmp_path) as stage:
        stage.pass_time(1)
        (problem,) = problems(stage)
        assert "these milestones require each other: m1 -> base -> m1" in problem


def test_a_cycle_of_other_milestones_does_not_keep_this_one_from_starting(tmp_path: Path) -> None:
    write_milestone(tmp_path, "a", other("a", "dependencies: {requires: [b]}\n"))
    write_milestone(tmp_path, "b", other("b", "dependencies: {requires: [a]}\n"))
    with bench(tmp_path, ALONE) as stage:
        stage.pass_time(1)
        assert warnings(stage) == ()
        stage.pass_time(3)
        ((kind, detail),) = alerted(stage)
        assert kind == "cycle"
        assert "a -> b -> a" in detail


@pytest.mark.parametrize(("status", "is_error"), [("in_progress", True), ("planned", False)])
def test_a_resource_conflict_with_a_running_milestone_is_an_error_and_with_a_planned_one_a_warning(
    tmp_path: Path, status: str, is_error: bool
) -> None:
    write_milestone(tmp_path, "base", other("base"), "completed")
    write_milestone(tmp_path, "m0", other("m0", "shared_resources: [database]\n", status))
    files = f"id: m2\ntitle: Files\nstatus: {status}\ntasks:\n- {{id: x, title: X, run: x, files: ['src/*.py']}}\n"
    write_milestone(tmp_path, "m2", files)
    with bench(tmp_path) as stage:
        stage.pass_time(1)
        lines = problems(stage) if is_error else warnings(stage)
        assert len(lines) == 2
        assert lines[0].startswith(".milestones/active/m1.yaml:6:20: the shared resource 'database' of 'm1'")
        assert "'src/a.py' of task 'one' overlaps 'src/*.py' of task 'x' in milestone 'm2'" in lines[1]
        assert ("is in progress: wait until it is completed" in lines[0]) is is_error


def test_completed_and_cancelled_milestones_conflict_with_nobody(tmp_path: Path) -> None:
    write_milestone(tmp_path, "base", other("base", "shared_resources: [database]\n"), "completed")
    write_milestone(tmp_path, "m0", other("m0", "shared_resources: [database]\n", "cancelled"))
    with bench(tmp_path) as stage:
        stage.pass_time(1)
        assert warnings(stage) == ()


# --- the machine -------------------------------------------------------------------------------------------------


def test_tools_variables_and_space_that_are_missing_are_all_listed(tmp_path: Path) -> None:
    needs = "requirements:\n  tools: [sh, frobnicate]\n  environment: [HOME, NO_SUCH]\n  disk_space_mb: 900000000\n"
    with bench(tmp_path, OWN + needs) as stage:
        stage.pass_time(1)
        lines = problems(stage)
        assert len(lines) == 4  # with the prerequisite
        assert "requirements.tools: 'frobnicate' is not on PATH" in lines[1]
        assert "requirements.environment: the variable 'NO_SUCH' is not set" in lines[2]
        assert "requirements.disk_space_mb: 900,000,000 MB are needed" in lines[3]


def test_what_the_machine_offers_is_compared_with_what_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = tmp_path / "mytool"
    tool.write_text("#!/bin/sh\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("EMPTY", "")
    found = offer(Requirements(("mytool", "other"), ("EMPTY", "PATH")), [str(tmp_path), str(tmp_path / "nowhere")])
    assert found.missing_tools == ("other",)
    assert found.missing_variables == ("EMPTY",)
    ((directory, free),) = found.free_megabytes
    assert directory == str(tmp_path)
    assert free > 0


def test_blocker_rules_that_cannot_be_used_are_problems_with_their_places(tmp_path: Path) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text("rules:\n- {id: ours, pattern: '(', proposal: 'retry: x'}\n")
    with bench(tmp_path, ALONE, Settings(rules=str(rules))) as stage:
        stage.pass_time(1)
        (problem,) = problems(stage)
        assert problem.startswith(f"{rules}:2:24: pattern: not a regular expression")


# --- lives -------------------------------------------------------------------------------------------------------


def test_preflight_is_stated_once_in_each_life(tmp_path: Path) -> None:
    with bench(tmp_path, ALONE) as stage:
        stage.pass_time(10)
        stage.restart()
        stage.pass_time(10)
        assert len(stage.of(PreflightPassed)) == 1
        stage.happen(SessionResumed(Settings(), "boot", 2))
        stage.pass_time(3)
        assert len(stage.of(PreflightPassed)) == 2


def test_it_finishes_when_the_session_is_settled(tmp_path: Path) -> None:
    with bench(tmp_path, ALONE) as stage:
        stage.pass_time(1)
        stage.happen(SessionSettled(SessionStatus.COMPLETED))
        stage.pass_time(3)
        assert stage.of(RoleFinished) == [
            RoleFinished("dependency_validator", "pre-flight passed, no alerts at the end")
        ]


def test_a_failed_preflight_is_summed_up(tmp_path: Path) -> None:
    with bench(tmp_path) as stage:
        stage.pass_time(1)
        stage.happen(SessionSettled(SessionStatus.FAILED, "pre-flight"))
        assert stage.of(RoleFinished)[0].summary == "pre-flight found 1 problem"


# --- alerts while it runs ----------------------------------------------------------------------------------------


def test_one_bad_file_is_alerted_with_its_place_and_never_stops_the_others(tmp_path: Path) -> None:
    write_milestone(tmp_path, "broken", "id: broken\ntitle: [\n")
    (tmp_path / ".milestones" / "active" / "link.yaml").symlink_to("/etc/passwd")
    with bench(tmp_path, ALONE) as stage:
        stage.pass_time(5)
        assert warnings(stage) == ()
        details = [detail for kind, detail in alerted(stage) if kind == "invalid"]
        assert len(details) == 2
        assert any(detail.startswith(".milestones/active/broken.yaml:3:1: not YAML") for detail in details)
        assert any("link.yaml:1:1: cannot be read: it is a symbolic link" in detail for detail in details)
        assert "/etc/passwd" not in str(details)


def test_an_alert_is_made_once_and_taken_back_when_the_file_is_mended(tmp_path: Path) -> None:
    with bench(tmp_path, ALONE) as stage:
        stage.pass_time(3)
        write_milestone(tmp_path, "m2", "id: m2\n")
        stage.pass_time(3)
        stage.restart()
        stage.pass_time(3)
        assert [kind for kind, _ in alerted(stage)] == ["invalid"]
        write_milestone(tmp_path, "m2", other("m2"))
        stage.pass_time(3)
        assert [kind for kind, _ in alerted(stage)] == ["invalid", "resolved"]
        write_milestone(tmp_path, "m2", "id: m2\n")
        stage.pass_time(3)
        assert [kind for kind, _ in alerted(stage)] == ["invalid", "resolved", "invalid"]


def test_an_edit_of_our_own_file_is_alerted_and_says_what_happens(tmp_path: Path) -> None:
    with bench(tmp_path, ALONE) as stage:
        stage.pass_time(3)
        write_milestone(tmp_path, "m1", ALONE.replace("make two", "make three"))
        stage.pass_time(3)
        assert alerted(stage) == [
            (
                "edited",
                (
                    ".milestones/active/m1.yaml was edited; this session goes on with what it began with; "
                    "`milestonectl run m1` takes it in after a stop"
                ),
            )
        ]
        write_milestone(tmp_path, "m1", ALONE)
        stage.pass_time(3)
        assert [kind for kind, _ in alerted(stage)] == ["edited", "resolved"]


def test_an_edit_that_the_session_takes_in_is_no_edit_any_more(tmp_path: Path) -> None:
    with bench(tmp_path, ALONE) as stage:
        stage.pass_time(3)
        path = write_milestone(tmp_path, "m1", ALONE.replace("make two", "make three"))
        stage.pass_time(3)
        milestone = read(path.read_bytes(), "m1.yaml").milestone
        assert milestone is not None
        stage.happen(MilestoneUpdated(milestone))
        stage.pass_time(1)
        assert [kind for kind, _ in alerted(stage)] == ["edited", "resolved"]


def test_statuses_that_a_run_writes_are_no_edit(tmp_path: Path) -> None:
    with bench(tmp_path, ALONE) as stage:
        stage.pass_time(3)
        text = ALONE.replace("status: planned", "status: in_progress").replace("status: pending", "status: completed")
        write_milestone(tmp_path, "m1", text + "# a comment of a person\n")
        stage.pass_time(3)
        (tmp_path / ".milestones" / "completed").mkdir()
        (tmp_path / ".milestones" / "active" / "m1.yaml").rename(tmp_path / ".milestones" / "completed" / "m1.yaml")
        stage.pass_time(3)
        assert alerted(stage) == []


def test_our_own_file_gone_is_alerted(tmp_path: Path) -> None:
    with bench(tmp_path, ALONE) as stage:
        stage.pass_time(3)
        (tmp_path / ".milestones" / "active" / "m1.yaml").unlink()
        stage.pass_time(3)
        assert [kind for kind, _ in alerted(stage)] == ["edited"]


def test_a_conflict_is_alerted_when_the_other_milestone_begins_to_run(tmp_path: Path) -> None:
    text = ALONE + "shared_resources: [database]\n"
    write_milestone(tmp_path, "m2", other("m2", "shared_resources: [database]\n"))
    with bench(tmp_path, text) as stage:
        stage.pass_time(3)
        assert len(warnings(stage)) == 1
        assert alerted(stage) == []
        write_milestone(tmp_path, "m2", other("m2", "shared_resources: [database]\n", "in_progress"))
        stage.pass_time(3)
        assert [kind for kind, _ in alerted(stage)] == ["conflict"]


def test_a_prerequisite_that_goes_away_is_alerted(tmp_path: Path) -> None:
    path = write_milestone(tmp_path, "base", other("base"), "completed")
    with bench(tmp_path) as stage:
        stage.pass_time(3)
        path.unlink()
        stage.pass_time(3)
        assert [kind for kind, _ in alerted(stage)] == ["prerequisite"]


def test_the_log_of_the_role_has_its_verdict_and_its_alerts(tmp_path: Path) -> None:
    with bench(tmp_path, ALONE) as stage:
        stage.pass_time(3)
        write_milestone(tmp_path, "m2", "id: [\n")
        stage.pass_time(3)
        log = (stage.logs / "dependencies.jsonl").read_text()
        assert '"event_type":"validation_completed"' in log
        assert '"event_type":"dependency_blocker"' in log


def test_a_milestone_is_compared_without_what_a_run_writes() -> None:
    before, after = (
        read(text.encode(), "m1.yaml").milestone
        for text in (ALONE, ALONE.replace("status: pending", "status: completed"))
    )
    assert before is not None
    assert after is not None
    assert before != after
    assert without_statuses(before) == without_statuses(after)
