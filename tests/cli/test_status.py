"""`milestonectl status`: what it concludes from a journal, and how it says so."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from actors.events import (
    AttemptEnded,
    AttemptGranted,
    AttemptStarted,
    BlockerRaised,
    ChildGone,
    ChildHeld,
    ChildQuarantined,
    ChildReady,
    Event,
    GitReady,
    Landed,
    Outcome,
    PreflightPassed,
    SessionEnded,
    SessionPaused,
    SessionStatus,
    Severity,
    SlotPrepared,
    Step,
    StopRequested,
    TaskCompleted,
    TaskFailed,
)
from actors.paths import ProjectPaths
from actors.state import ROLES
from supervisor.cli import status
from supervisor.control_socket import bind_control
from supervisor.lock import ProjectLock
from supervisor.sessions import RoleView
from supervisor.status_words import describe, uptime
from tests.cli.conftest import SMALL, Ctl, Journalist
from tests.e2e.stage import Project

pytestmark = pytest.mark.usefixtures("small")

STEPS = (Step("run", "true"),)
READY = tuple(ChildReady(role, 4000 + number, 1, 0) for number, role in enumerate((*ROLES, "runner")))
GIT = GitReady("milestone/small", "0" * 40, created=True, uncommitted=0)
ONE_DONE = (
    GIT,
    AttemptGranted("one.1", "one", 1, 0, STEPS),
    SlotPrepared("one.1", "/slot", "0" * 40),
    AttemptStarted("one.1", 1),
    AttemptEnded("one.1", Outcome.OK, seconds=1.5),
    Landed("one.1", "abcdef0123456789", 1),
    TaskCompleted("one", "one.1"),
)
TWO_FAILED = (
    AttemptGranted("two.1", "two", 1, 0, STEPS),
    SlotPrepared("two.1", "/slot", "0" * 40),
    AttemptStarted("two.1", 1),
    AttemptEnded("two.1", Outcome.FAILED, "run", 1, seconds=2.0),
    TaskFailed("two", "two.1", "run exited with 1"),
)


def test_before_anything_it_says_what_to_do_next(
    project: Project, ctl: Ctl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ctl("status").out == "No session yet. Next: milestonectl run small\n"
    (project.path / ".milestones" / "active" / "small.yaml").unlink()
    assert "milestonectl init --example" in ctl("status").out
    monkeypatch.chdir(tmp_path)
    done = ctl("status")
    assert (done.code, done.err) == (0, "")
    assert done.out.endswith("Next: milestonectl init\n")


def test_before_the_first_session_of_a_daemon_it_says_how_to_begin_one_there(project: Project, ctl: Ctl) -> None:
    with ProjectLock.acquire(ProjectPaths(project.path), "milestoned"):
        assert ctl("status").out.endswith(" Next: milestonectl start small\n")


def test_a_live_session_shows_its_roles_as_supervisorctl_does(
    journal: Journalist, ctl: Ctl, supervised: Callable[[], None]
) -> None:
    supervised()
    session = journal("small", *READY, *ONE_DONE)
    done = ctl("status")
    assert done.code == 0
    width = len(f"{session}:dependency_validator") + 3
    for number, role in enumerate((*ROLES, "runner")):
        line = f"{f'{session}:{role}':<{width}}{'RUNNING':<10}pid {4000 + number}, uptime 0:00:0"
        assert line in done.out
    assert re.search(r"^█{6}░{14} 33%, 1/3 tasks, 0 running", done.out, re.MULTILINE)
    assert re.search(r"^one +completed +1\.5s  abcdef0123$", done.out, re.MULTILINE)


def test_running_without_a_living_process_is_interrupted_and_its_tasks_were_too(journal: Journalist, ctl: Ctl) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    journal("small", *READY, GIT, AttemptGranted("one.1", "one", 1, 0, STEPS), pid=gone.pid)
    done = ctl("status")
    assert done.code == 3
    assert f"process {gone.pid}, which supervised it, is gone; to go on: milestonectl run small" in done.out
    assert re.search(r"^one +interrupted$", done.out, re.MULTILINE)
    assert "EXITED" not in done.out
    done = ctl("status", "small")
    assert len(re.findall(r" EXITED    \w{3} \d\d \d\d:\d\d [AP]M$", done.out, re.MULTILINE)) == 6


GONE = subprocess.Popen([sys.executable, "-c", ""])
GONE.wait()


@pytest.mark.parametrize(
    ("daemon", "holder", "facts", "way_on"),
    [
        (True, "", (), "start milestoned, which takes it up, or in the foreground: milestonectl run small"),
        (
            True,
            "",
            (StopRequested("by hand"), SessionEnded(SessionStatus.INTERRUPTED, "by hand")),
            "start milestoned, then: milestonectl start small; or in the foreground: milestonectl run small",
        ),
        (False, "", (), "milestonectl run small"),
        (False, "milestoned", (), "milestonectl start small"),
        (True, "milestoned", (SessionEnded(SessionStatus.INTERRUPTED, "by hand"),), "milestonectl start small"),
        (True, "milestonectl run other", (), "milestonectl run small"),
    ],
)
def test_the_way_on_is_that_of_who_supervised_it_and_of_who_supervises_the_project_now(
    project: Project, journal: Journalist, ctl: Ctl, daemon: bool, holder: str, facts: tuple[Event, ...], way_on: str
) -> None:
    journal("small", *READY, *facts, pid=GONE.pid, daemon=daemon)
    lock = ProjectLock.acquire(ProjectPaths(project.path), holder) if holder else None
    try:
        done = ctl("status")
    finally:
        if lock is not None:
            lock.close()
    assert done.code == 3
    assert f"; to go on: {way_on}\n" in done.out
    assert (f"milestoned (process {GONE.pid}), which supervised it, is gone" in done.out) == (daemon and not facts)


def test_a_living_process_that_does_not_hold_the_lock_supervises_nothing(journal: Journalist, ctl: Ctl) -> None:
    journal("small", *READY)
    assert json.loads(ctl("status", "--json").out)["sessions"][0]["status"] == "interrupted"


def test_a_session_of_another_process_than_the_one_that_holds_the_lock_is_interrupted(
    journal: Journalist, ctl: Ctl, supervised: Callable[[], None]
) -> None:
    supervised()
    journal("small", *READY, pid=1)
    assert json.loads(ctl("status", "--json").out)["sessions"][0]["status"] == "interrupted"


@pytest.mark.parametrize(
    ("status", "code"),
    [("completed", 0), ("cancelled", 0), ("interrupted", 3), ("paused", 3), ("failed", 3), ("blocked", 3)],
)
def test_the_exit_code_tells_whether_something_needs_attention(
    journal: Journalist, ctl: Ctl, status: str, code: int
) -> None:
    journal("small", *READY, SessionEnded(SessionStatus(status), "why"))
    assert ctl("status").code == code
    assert ctl("status", "small:task_executor").code == code


def test_a_paused_session_that_lives_needs_attention(
    journal: Journalist, ctl: Ctl, supervised: Callable[[], None]
) -> None:
    supervised()
    journal("small", *READY, PreflightPassed(), GIT, SessionPaused("no space left"))
    done = ctl("status")
    assert done.code == 3
    assert "paused: no space left; to go on: milestonectl resume small; supervised by process " in done.out
    (session,) = json.loads(ctl("status", "--json").out)["sessions"]
    assert session["waits"] == [{"role": None, "why": "no space left", "command": "milestonectl resume small"}]


def test_a_session_that_stands_still_because_a_role_was_stopped_says_so_with_the_way_on(
    journal: Journalist, ctl: Ctl, supervised: Callable[[], None]
) -> None:
    supervised()
    journal("small", *READY, *ONE_DONE, PreflightPassed(), ChildHeld("git_integration"))
    done = ctl("status")
    assert done.code == 3
    said = (
        "waits for git_integration, which is stopped until somebody starts it; meanwhile no worktree is made"
        " and nothing lands; to go on: milestonectl start small:git_integration"
    )
    assert said in done.out.splitlines()
    (session,) = json.loads(ctl("status", "--json").out)["sessions"]
    assert [(one["role"], one["command"]) for one in session["waits"]] == [
        ("git_integration", "milestonectl start small:git_integration")
    ]


def test_a_task_that_waits_for_its_next_attempt_or_for_files_of_another_says_so(
    project: Project, journal: Journalist, ctl: Ctl, supervised: Callable[[], None]
) -> None:
    supervised()
    project.write(
        "small",
        """\
id: small
title: A small one
tasks:
  - {id: one, title: First, run: "true", retries: 3, retry_delay: 1h}
  - {id: two, title: Second, run: "true", files: [doc/a.md]}
  - {id: three, title: Third, run: "true", files: [doc/]}
""",
    )
    failed = (
        AttemptGranted("one.1", "one", 1, 0, STEPS),
        SlotPrepared("one.1", "/slot", "0" * 40),
        AttemptStarted("one.1", 1),
        AttemptEnded("one.1", Outcome.FAILED, "run", 1, seconds=2.0),
    )
    journal("small", *READY, PreflightPassed(), GIT, *failed, AttemptGranted("two.1", "two", 1, 0, STEPS))
    out = ctl("status").out
    assert re.search(r"^one +pending .* run exited with 1; again in (59m|60m|1h)", out, re.MULTILINE)
    assert re.search(r"^three +pending +waits for two: the same files$", out, re.MULTILINE)


def test_a_supervising_process_that_does_not_answer_is_named_and_the_journal_is_shown(
    project: Project, journal: Journalist, ctl: Ctl, supervised: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    supervised()
    journal("small", *READY, PreflightPassed(), GIT)
    monkeypatch.setattr(status, "ANSWER_SECONDS", 0.05)
    with bind_control(ProjectPaths(project.path).control):  # listens, and accepts nobody
        done = ctl("status")
        assert "small  running" in done.out
        said = f"process {os.getpid()} (a test), which supervises this project, has not answered within 0.05 s"
        assert said in done.err
        assert f"kill -CONT {os.getpid()}; look closer with: milestonectl doctor" in done.err
        done = ctl("status", "--json")
    assert json.loads(done.out)["supervisor"]["answers"] is False
    assert said in done.err
    assert ctl("status").err == ""


def test_a_session_that_is_not_supervised_waits_for_nothing_but_its_next_start(journal: Journalist, ctl: Ctl) -> None:
    journal("small", *READY, PreflightPassed(), ChildHeld("git_integration"), pid=GONE.pid)
    assert "waits for git_integration" not in ctl("status").out
    assert json.loads(ctl("status", "--json").out)["sessions"][0]["waits"] == []


def test_a_role_that_was_given_up_is_fatal_with_its_reason(
    journal: Journalist, ctl: Ctl, supervised: Callable[[], None]
) -> None:
    supervised()
    journal("small", *READY, ChildQuarantined("progress_monitor", "killed by SIGSEGV"))
    done = ctl("status", "small:progress_monitor")
    assert done.code == 3
    assert done.out.endswith("FATAL     killed by SIGSEGV\n")
    assert ctl("status", "small:task_executor").code == 0


def test_a_role_that_waits_for_its_next_start_needs_attention_and_one_that_an_operator_stopped_does_not(
    project: Project, journal: Journalist, ctl: Ctl, supervised: Callable[[], None]
) -> None:
    supervised()
    gone = ChildGone("progress_monitor", 1, "exited with 1")
    session = journal("small", *READY, gone, ChildHeld("git_integration"))
    sheet = project.path / ".milestones" / "sessions" / session / "agents" / "progress_monitor.json"
    sheet.parent.mkdir(parents=True, exist_ok=True)
    sheet.write_text('{"state": "BACKOFF"}')
    waits = ctl("status", "small:progress_monitor")
    assert (waits.code, waits.out.endswith("BACKOFF   exited with 1\n")) == (3, True)
    stopped = ctl("status", "small:git_integration")
    assert (stopped.code, "STOPPED" in stopped.out) == (0, True)


def test_a_role_that_was_given_up_is_shown_after_the_session_too(journal: Journalist, ctl: Ctl) -> None:
    journal(
        "small", *READY, ChildQuarantined("progress_monitor", "killed by SIGSEGV"), SessionEnded(SessionStatus.FAILED)
    )
    lines = [line for line in ctl("status").out.splitlines() if ":" in line.split(" ")[0]]
    assert [line.split(":")[1].split()[:2] for line in lines if "exec-" in line] == [["progress_monitor", "FATAL"]]
    assert ctl("status", "small").out.count("STOPPED") == 5


def test_sessions_of_files_that_are_gone_are_named_in_one_line_and_do_not_count(
    journal: Journalist, ctl: Ctl, project: Project
) -> None:
    project.write("old", SMALL.replace("id: small", "id: old"))
    journal("old", *READY, SessionEnded(SessionStatus.INTERRUPTED, "SIGINT received"))
    assert ctl("status").code == 3
    (project.path / ".milestones" / "active" / "old.yaml").unlink()
    done = ctl("status")
    assert done.code == 0
    assert done.out == (
        "Not started yet: small\n"
        "Without a milestone file any more: old (interrupted); their sessions: milestonectl status --all\n"
    )
    (gone,) = json.loads(ctl("status", "--json").out)["gone"]
    assert (gone["milestone_id"], gone["status"]) == ("old", "interrupted")
    assert ctl("status", "--all").out.startswith("old  interrupted")
    assert ctl("status", "--all").code == ctl("status", "old").code == 3


@pytest.mark.row("F22")
def test_failures_say_where_the_output_is_and_nothing_has_power_over_the_terminal(
    journal: Journalist, ctl: Ctl
) -> None:
    failed = TaskFailed("two", "two.1", "it said \x1b[2J\x07")
    session = journal("small", *READY, *ONE_DONE, *TWO_FAILED[:-1], failed, SessionEnded(SessionStatus.FAILED))
    done = ctl("status")
    assert f"output of the tasks: .milestones/logs/{session}/tasks/\n" in done.out
    assert "it said \\x1b[2J\\x07" in done.out


def test_failures_what_they_make_unreachable_and_blockers_are_shown_with_reasons(
    journal: Journalist, ctl: Ctl, project: Project
) -> None:
    project.write("small", SMALL.replace("depends_on: [one]}", "depends_on: [two]}"))
    blocker = BlockerRaised("c", "task_failure", Severity.ERROR, "two", "line 1\nline 2", "read the log")
    journal("small", *READY, *ONE_DONE, *TWO_FAILED, blocker, SessionEnded(SessionStatus.FAILED, "two failed"))
    done = ctl("status")
    assert re.search(r"^two +failed +2\.0s  run exited with 1$", done.out, re.MULTILINE)
    assert re.search(r"^three +pending +cannot run any more: two did not complete$", done.out, re.MULTILINE)
    assert "blocker   error: two: task failure" in done.out
    assert "          line 2\n          proposal: read the log\n" in done.out


def test_names_are_milestones_sessions_roles_and_all(journal: Journalist, ctl: Ctl) -> None:
    ended = SessionEnded(SessionStatus.COMPLETED)
    former = journal("small", *READY, SessionEnded(SessionStatus.FAILED))
    latest = journal("small", *READY, ended)
    assert ctl("status", "small").out.startswith(f"small  completed  {latest}")
    assert ctl("status", former).code == 3
    assert ctl("status", f"{latest}:*").out.count("STOPPED") == 6
    assert ctl("status", "small:git_integration", "small:runner").out.count("STOPPED") == 2
    assert ctl("status", "all").out == ctl("status").out
    assert latest in ctl("status", "all").out
    assert former not in ctl("status", "all").out


def test_unknown_names_are_exit_code_4_with_supervisors_words(journal: Journalist, ctl: Ctl) -> None:
    journal("small", SessionEnded(SessionStatus.COMPLETED))
    done = ctl("status", "smal", "nosuch:*", "small:task_executer", "small")
    assert done.code == 4
    lines = done.out.splitlines()
    assert lines[:3] == [
        "smal: ERROR (no such process; did you mean 'small'?)",
        "nosuch:*: ERROR (no such group)",
        "small:task_executer: ERROR (no such process; did you mean 'task_executor'?)",
    ]
    assert lines[3].startswith("small  completed")


def test_the_session_that_runs_comes_first_and_what_never_ran_last(
    journal: Journalist, ctl: Ctl, project: Project, supervised: Callable[[], None]
) -> None:
    supervised()
    for name in ("other", "third"):
        project.write(name, SMALL.replace("id: small", f"id: {name}"))
    journal("small", *READY)
    journal("other", SessionEnded(SessionStatus.COMPLETED), pid=1)
    lines = ctl("status").out.splitlines()
    assert lines[0].startswith("small  running")
    assert any(line.startswith("other  completed") for line in lines)
    assert lines[-1] == "Not started yet: third"


def test_progress_goes_by_weight_and_has_what_the_file_claims_beside_it(
    journal: Journalist, ctl: Ctl, project: Project, supervised: Callable[[], None]
) -> None:
    supervised()
    heavy = SMALL.replace('title: First, run: "true"', 'title: First, run: "true", weight: 8')
    project.write("small", f"{heavy}progress: {{percentage: 20}}\n")
    journal("small", *READY, *ONE_DONE)
    assert "80% (the file says 20%), 1/3 tasks" in ctl("status").out
    (session,) = json.loads(ctl("status", "--json").out)["sessions"]
    assert (session["percentage"], session["declared_percentage"]) == (80, 20)


def test_json_is_one_document_with_a_fixed_form(
    journal: Journalist, ctl: Ctl, project: Project, supervised: Callable[[], None]
) -> None:
    supervised()
    journal("small", *READY, *ONE_DONE)
    document = json.loads(ctl("status", "--json").out)
    assert document.keys() == {
        "project",
        "supervisor",
        "sessions",
        "initialized",
        "not_started",
        "gone",
        "unknown",
        "exit_code",
    }
    (session,) = document["sessions"]
    assert (session["status"], session["supervised"], session["percentage"]) == ("running", True, 33)
    assert session["commits"] == 1
    assert session["roles"][0].keys() == {
        "name",
        "role",
        "state",
        "description",
        "pid",
        "uptime_seconds",
        "restarts",
        "last_exit",
        "cpu_percent",
        "rss_bytes",
    }
    assert session["tasks"][0] == {
        "id": "one",
        "title": "First",
        "status": "completed",
        "attempts": 1,
        "seconds": 1.5,
        "commit": "abcdef0123456789",
        "reason": "abcdef0123",
        "log": str(project.path / ".milestones" / "logs" / session["id"] / "tasks" / "one.1.log"),
    }
    assert document["supervisor"]["what"] == "a test"


def test_a_journal_that_is_gone_is_told_from_one_that_never_was(
    journal: Journalist, project: Project, ctl: Ctl
) -> None:
    session = journal("small")
    folder = project.path / ".milestones" / "sessions" / session
    folder.mkdir(parents=True)
    (folder / "session.json").write_text("{}")
    for path in (project.path / ".milestones").glob("state.db*"):
        path.unlink()
    done = ctl("status")
    assert (done.code, done.out) == (78, "")
    assert "the journal is gone" in done.err


def test_a_file_that_is_no_journal_is_exit_code_78(project: Project, ctl: Ctl) -> None:
    (project.path / ".milestones" / "state.db").write_bytes(b"no journal" * 100)
    done = ctl("status", "--json")
    assert done.code == 78
    assert "state.db" in json.loads(done.out)["error"]["lines"][0]


def test_of_a_large_session_only_what_something_happens_to_is_listed(
    journal: Journalist, project: Project, ctl: Ctl
) -> None:
    tasks = "".join(f"  - {{id: t{number}, title: T, run: x}}\n" for number in range(60))
    project.write("large", f"id: large\ntitle: L\ntasks:\n{tasks}")
    journal("large", AttemptGranted("t7.1", "t7", 1, 0, STEPS))
    lines = ctl("status").out.splitlines()
    assert sum(line.startswith("t") for line in lines) == 1
    assert "59 more tasks; all of them: milestonectl status large" in lines
    assert sum(line.startswith("t") for line in ctl("status", "large").out.splitlines()) == 60


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00:00"), (59.9, "0:00:59"), (3661, "1:01:01"), (86_400, "1 day, 0:00:00"), (180_000, "2 days, 2:00:00")],
)
def test_uptime_is_written_as_supervisor_writes_it(seconds: float, text: str) -> None:
    assert uptime(seconds) == text


def test_states_without_a_description_have_none_and_unstarted_roles_say_so() -> None:
    assert describe(RoleView("x", "STARTING"), 0.0) == ""
    assert describe(RoleView("x", "STOPPED"), 0.0) == "Not started"
    assert describe(RoleView("x", "BACKOFF", last_exit="exited with 1"), 0.0) == "exited with 1"
