"""What people and machines put in a run's way: edits, other git commands, signals, terminals and full disks.

Owns what comes from outside. Deaths of our own processes are `tests.e2e.test_faults`'s and `tests.e2e.test_kills`'s.
"""

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from time import monotonic

import pytest

from actors.events import (
    AttemptEnded,
    AttemptStarted,
    DependencyAlert,
    GitRefused,
    SessionPaused,
    SessionUnpaused,
    StopRequested,
    TaskCompleted,
)
from supervisor.linux import is_alive
from tests.disks import fill, small_disk
from tests.e2e.stage import (
    GONE_SECONDS,
    Project,
    Running,
    assert_done_once,
    assert_files_written,
    assert_nothing_lives,
    assert_resumes,
    facts,
    milestone_of,
    pids_of_children,
    stubborn_pids,
    stubborn_task,
    waits_for,
)
from tests.repositories import git, make_repository
from tests.waiting import wait_until

pytestmark = pytest.mark.usefixtures("swept")

WAITS = "Go on with: milestonectl run m1"


def _started(project: Project, place: Path, *, run: str = "echo 1 > one") -> Running:
    """Start a milestone of one task that waits for `place/go`."""
    project.write("m1", milestone_of({"id": "t1", "run": f"{waits_for(place / 'go')}; {run}"}))
    running = project.start("run", "m1")
    wait_until(lambda: facts(project, AttemptStarted), 60.0, "the task runs")
    return running


def _alerts(project: Project, kind: str) -> list[DependencyAlert]:
    return [fact for fact in facts(project, DependencyAlert) if fact.kind == kind]


# --- the milestone file ------------------------------------------------------------------------------------------


@pytest.mark.row("F18")
def test_an_edit_while_it_runs_is_alerted_and_kept_and_the_snapshot_is_executed(project: Project, place: Path) -> None:
    """The run executes what it journaled; the person's bytes and our statuses are both in the file."""
    running = _started(project, place)
    path = project.path / ".milestones" / "active" / "m1.yaml"
    text = path.read_text(encoding="utf-8").replace("title: One", "title: One and a half  # mine")

    path.write_text(text, encoding="utf-8")
    wait_until(lambda: _alerts(project, "edited"), 60.0, "the edit is alerted")
    (place / "go").touch()

    assert running.wait() == 0, running.text()
    moved = (project.path / ".milestones" / "completed" / "m1.yaml").read_text(encoding="utf-8")
    assert "title: One and a half  # mine" in moved
    assert '"completed"' in moved or "status: completed" in moved
    assert_done_once(project, "m1", {"t1": ()})


@pytest.mark.row("F18")
@pytest.mark.parametrize("how", ["broken", "deleted"])
def test_a_file_broken_or_deleted_while_it_runs_does_not_stop_the_run(project: Project, place: Path, how: str) -> None:
    """The tasks are completed and landed; the file is left as the person left it, and the view says so."""
    running = _started(project, place)
    path = project.path / ".milestones" / "active" / "m1.yaml"
    if how == "broken":
        path.write_text("id: m1\ntasks: [\n", encoding="utf-8")
    else:
        path.unlink()
    wait_until(lambda: facts(project, DependencyAlert), 60.0, "it is alerted")
    (place / "go").touch()

    assert running.wait() == 0, running.text()
    assert "Traceback" not in running.text()
    assert_done_once(project, "m1", {"t1": ()})
    assert project.session_json()["status"] == "completed"
    assert "1 of 1 tasks completed; " in running.text()
    if how == "broken":
        assert path.read_text(encoding="utf-8") == "id: m1\ntasks: [\n"
    else:
        assert not path.exists()


# --- git ---------------------------------------------------------------------------------------------------------


def test_a_branch_checked_out_in_another_worktree_is_refused_with_reason_and_cure(
    project: Project, tmp_path: Path
) -> None:
    """Exit 1 and nothing started; when the worktree is gone the same command completes."""
    project.write("m1", milestone_of({"id": "t1", "run": "echo 1 > one"}))
    git(project.path, "branch", "milestone/m1")
    git(project.path, "worktree", "add", "--quiet", str(tmp_path / "other"), "milestone/m1")

    done = project.ctl("run", "m1")

    assert done.code == 1
    assert f"milestone/m1 is checked out in {tmp_path / 'other'}" in done.out
    assert "switch it to another branch" in done.out
    assert facts(project, GitRefused)
    assert not facts(project, AttemptStarted)
    git(project.path, "worktree", "remove", str(tmp_path / "other"))
    done = project.ctl("run", "m1")
    assert done.code == 0, done.out
    assert [commit["Task"] for commit in project.commits("milestone/m1")] == ["t1"]


@pytest.mark.row("F17")
def test_nothing_lands_while_another_worktree_has_the_branch_checked_out(
    project: Project, place: Path, tmp_path: Path
) -> None:
    """The session pauses before landing, keeps what the task made, and lands it when the branch is free again."""
    running = _started(project, place)
    other = tmp_path / "other"
    git(project.path, "worktree", "add", "--quiet", str(other), "milestone/m1")
    tip = git(project.path, "rev-parse", "milestone/m1")

    (place / "go").touch()
    wait_until(lambda: facts(project, SessionPaused) or running.process.poll() is not None, 60.0, "it pauses")

    assert git(project.path, "rev-parse", "milestone/m1") == tip
    assert running.process.poll() is None, running.text()
    assert f"Paused: landing has to wait: milestone/m1 is checked out in {other}" in wait_until(
        lambda: running.text() if "Paused" in running.text() else "", 60.0, "the view says why"
    )
    git(project.path, "worktree", "remove", str(other))
    assert running.wait() == 0, running.text()
    assert len(facts(project, SessionUnpaused)) == 1
    assert len(facts(project, AttemptStarted)) == 1
    assert_done_once(project, "m1", {"t1": ()})


def test_a_stop_while_landing_has_to_wait_leaves_a_session_that_resumes(
    project: Project, place: Path, tmp_path: Path
) -> None:
    """Ctrl-C does not wait for a branch that somebody may keep for ever."""
    running = _started(project, place)
    other = tmp_path / "other"
    git(project.path, "worktree", "add", "--quiet", str(other), "milestone/m1")
    (place / "go").touch()
    wait_until(lambda: facts(project, SessionPaused), 60.0, "it pauses")

    os.kill(running.process.pid, signal.SIGINT)

    assert running.wait(60.0) == 130, running.text()
    git(project.path, "worktree", "remove", str(other))
    assert_resumes(project, place / "go", {"t1": ()})


@pytest.mark.row("F17")
def test_a_commit_of_somebody_else_on_the_branch_is_kept_and_landed_upon(project: Project, place: Path) -> None:
    """The branch is moved by compare-and-swap: the foreign commit is an ancestor of ours."""
    running = _started(project, place)
    tree = git(project.path, "rev-parse", "milestone/m1^{tree}")
    foreign = git(project.path, "commit-tree", "-p", "milestone/m1", "-m", "Somebody else's", tree)
    git(project.path, "update-ref", "refs/heads/milestone/m1", foreign)

    (place / "go").touch()

    assert running.wait() == 0, running.text()
    subjects = [commit["subject"] for commit in project.commits("milestone/m1")]
    assert subjects[0] == "Somebody else's"
    assert len(subjects) == 2
    assert git(project.path, "show", "milestone/m1:one") == "1"


@pytest.mark.row("F17")
def test_a_dirty_checkout_is_warned_of_and_left_as_it_is(project: Project) -> None:
    """Tasks do not see uncommitted files; nothing of the person's is touched."""
    (project.path / "README.md").write_text("changed\n", encoding="utf-8")
    (project.path / "draft").write_text("new\n", encoding="utf-8")
    before = git(project.path, "status", "--porcelain", "--", ".", ":!.milestones")
    project.write("m1", milestone_of({"id": "t1", "run": "test ! -e draft; grep -v changed README.md > one"}))

    done = project.ctl("run", "m1")

    assert done.code == 0, done.out
    assert "uncommitted file" in done.out
    assert "tasks do not see them" in done.out
    assert git(project.path, "status", "--porcelain", "--", ".", ":!.milestones") == before
    assert (project.path / "README.md").read_text(encoding="utf-8") == "changed\n"


@pytest.mark.row("F17")
def test_a_merge_in_progress_is_refused_with_its_cure(project: Project) -> None:
    """A person is at work there: exit 1, and the merge is as it was."""
    git(project.path, "checkout", "--quiet", "-b", "side")
    (project.path / "README.md").write_text("side\n", encoding="utf-8")
    git(project.path, "commit", "--quiet", "-am", "Side")
    git(project.path, "checkout", "--quiet", "main")
    (project.path / "README.md").write_text("main\n", encoding="utf-8")
    git(project.path, "commit", "--quiet", "-am", "Main")
    subprocess.run(["git", "merge", "side"], cwd=project.path, capture_output=True, check=False)
    project.write("m1", milestone_of({"id": "t1", "run": "echo 1 > one"}))

    done = project.ctl("run", "m1")

    assert done.code == 1
    assert "a merge is in progress" in done.out
    assert "git merge --abort" in done.out
    assert (project.path / ".git" / "MERGE_HEAD").exists()
    assert not facts(project, AttemptStarted)


# --- signals and terminals ---------------------------------------------------------------------------------------


@pytest.mark.row("F28")
def test_a_second_ctrl_c_ends_stubborn_tasks_at_once_and_the_session_resumes(project: Project, place: Path) -> None:
    """The first waits for the grace of a minute, the second does not."""
    project.configure("stop_grace: 60s\n")
    project.write("m1", milestone_of({"id": "t1", "run": stubborn_task(place)}))
    running = project.start("run", "m1")
    pids = stubborn_pids(place)
    os.kill(running.process.pid, signal.SIGINT)
    wait_until(lambda: facts(project, StopRequested), 60.0, "the first was heard")
    assert is_alive(pids[-1])

    asked = monotonic()
    os.kill(running.process.pid, signal.SIGINT)

    assert running.wait() == 130, running.text()
    assert monotonic() - asked < 30.0
    assert not any(map(is_alive, pids))
    assert WAITS in running.text()
    assert project.session_json()["status"] == "interrupted"
    assert_nothing_lives(project, list(pids_of_children(project.records()).values()))
    assert_resumes(project, place / "go", {"t1": ()})
    assert not (place / "living").exists()


@pytest.mark.row("F28")
def test_a_terminal_that_goes_away_interrupts_the_run_in_order(project: Project, place: Path) -> None:
    """SIGHUP, and a screen that nobody can write to: exit 129, a resumable session, nothing left."""
    project.write("m1", milestone_of({"id": "t1", "run": f"{waits_for(place / 'go')}; echo 1 > one"}))
    ours, theirs = os.openpty()
    running = project.start("run", "m1", terminal=theirs)
    os.close(theirs)
    os.set_blocking(ours, False)
    seen = bytearray()

    def shown() -> bool:
        with contextlib.suppress(BlockingIOError):
            seen.extend(os.read(ours, 65536))
        return b"Starting t1" in seen

    wait_until(shown, 60.0, "the terminal shows the task")
    os.close(ours)

    assert running.wait(60.0) == 129
    assert project.session_json()["status"] == "interrupted"
    assert project.session_json()["tasks"] == {"t1": "interrupted"}
    assert_nothing_lives(project, list(pids_of_children(project.records()).values()))
    assert_resumes(project, place / "go", {"t1": ()})


@pytest.mark.row("F21")
@pytest.mark.parametrize("form", [(), ("--json",)])
def test_a_reader_that_goes_away_interrupts_the_run_in_order(
    project: Project, place: Path, form: tuple[str, ...]
) -> None:
    """As `milestonectl run m1 | head -1`: exit 141, no traceback, a resumable session, nothing left."""
    project.write("m1", milestone_of({"id": "t1", "run": f"{waits_for(place / 'go')}; echo 1 > one"}))
    ours, theirs = os.pipe()
    running = project.start("run", "m1", *form, stdout=theirs)
    os.close(theirs)
    assert os.read(ours, 10)
    os.close(ours)

    assert running.wait(60.0) == 141
    assert running.text() == ""
    assert project.session_json()["status"] == "interrupted"
    assert_nothing_lives(project, list(pids_of_children(project.records()).values()))
    assert_resumes(project, place / "go", {"t1": ()})


# --- the disk ----------------------------------------------------------------------------------------------------


@pytest.fixture
def small_project(tmp_path: Path) -> Iterator[Project]:
    """Yield a project, with repository and journal, on a file system of 24 MB."""
    with small_disk(tmp_path / "disk", "size=24m") as disk:
        made = Project(make_repository(disk / "project"))
        try:
            yield made
        finally:
            made.end_all()


def _on_a_full_disk(project: Project, place: Path, tasks: Mapping[str, tuple[str, ...]]) -> tuple[Running, Path]:
    """Start tasks whose first waits for `place/go`, fill the disk, open the gate; return when the session pauses."""
    scripts = {task: f"echo {task} > {task}.txt" for task in tasks}
    scripts["t0"] = f"{waits_for(place / 'go')}; {scripts['t0']}"
    entries = ({"id": task, "depends_on": list(needs), "run": scripts[task]} for task, needs in tasks.items())
    project.write("m1", milestone_of(*entries, requirements={"disk_space_mb": 1}))
    running = project.start("run", "m1")
    wait_until(lambda: facts(project, AttemptStarted), 60.0, "the first task runs")
    ballast = fill(project.path.parent)
    (place / "go").touch()
    wait_until(lambda: "Paused: " in running.text() or running.process.poll() is not None, 60.0, "the session pauses")
    assert running.process.poll() is None, running.text()
    assert not facts(project, TaskCompleted)
    return running, ballast


@pytest.mark.row("F11")
def test_a_full_disk_pauses_the_session_and_space_lets_it_go_on(small_project: Project, place: Path) -> None:
    """Nothing fails, nothing is granted, nothing is lost: with space there again the run completes."""
    project = small_project
    tasks = {"t0": (), **{f"t{number}": ("t0",) for number in range(1, 8)}}
    running, ballast = _on_a_full_disk(project, place, tasks)

    ballast.unlink()

    assert running.wait() == 0, running.text()
    assert "Going on" in running.text()
    assert [fact.outcome.value for fact in facts(project, AttemptEnded)] == ["ok"] * len(tasks)
    assert_done_once(project, "m1", tasks)
    assert_files_written(project)
    assert project.session_json()["status"] == "completed"


@pytest.mark.row("F11")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_run_that_ends_on_a_full_disk_is_resumed_when_there_is_space(
    small_project: Project, place: Path, how: signal.Signals
) -> None:
    """A stop does not wait for space, and neither it nor a kill loses what was journaled."""
    project = small_project
    project.configure("stop_grace: 1s\n")
    tasks: dict[str, tuple[str, ...]] = {"t0": (), "t1": ("t0",)}
    running, ballast = _on_a_full_disk(project, place, tasks)

    os.kill(running.process.pid, how)

    assert running.wait(60.0) == (130 if how is signal.SIGINT else -how), running.text()
    assert_nothing_lives(project, list(pids_of_children(project.records()).values()))
    ballast.unlink()
    assert_resumes(project, place / "go", tasks)


def test_a_task_that_fills_the_disk_again_and_again_does_not_keep_the_run_from_being_stopped(
    small_project: Project, place: Path
) -> None:
    """It eats what was kept back for the journal too; the stop is acted on, and the end comes with the reason."""
    project = small_project
    project.configure("stop_grace: 1s\n")
    again = f"if test -e '{place}/go'; then echo 1 > one; exit; fi\n"
    eats = f"while :; do cat /dev/zero >> {project.path.parent}/ballast 2>&-; echo > '{place}/full'; sleep 0.01; done"
    project.write("m1", milestone_of({"id": "t0", "run": again + eats}, requirements={"disk_space_mb": 1}))
    running = project.start("run", "m1")
    wait_until((place / "full").exists, 60.0, "the disk is full")
    known = list(pids_of_children(project.records()).values())

    os.kill(running.process.pid, signal.SIGINT)

    code = running.wait(30.0)
    assert code in {74, 130}, running.text()
    assert "disk is full" in running.text()
    assert ("could not be journaled" in running.text()) == (code == 74)
    assert "Traceback" not in running.text()
    assert "Logging error" not in running.text()
    assert_nothing_lives(project, known)
    (project.path.parent / "ballast").unlink()
    assert_resumes(project, place / "go", {"t0": ()})


@pytest.mark.row("F19", "F26")
@pytest.mark.parametrize("how", ["the file", "the folder"])
def test_a_run_whose_lock_was_replaced_ends_everything(project: Project, place: Path, how: str) -> None:
    """Whoever takes the new lock would act beside it: nothing of it may live on, and the next run goes on."""
    project.configure("stop_grace: 0\n")
    project.write("m1", milestone_of({"id": "t1", "run": stubborn_task(place)}))
    running = project.start("run", "m1")
    pids = [*stubborn_pids(place), *pids_of_children(project.records()).values()]
    milestones = project.path / ".milestones"
    if how == "the file":
        (milestones / "lock").rename(milestones / "lock.old")
        (milestones / "lock").touch()
    else:
        milestones.rename(project.path / "aside")
        milestones.mkdir()

    assert running.wait(60.0) == 75, running.text()

    assert "lock was removed or replaced while the project was held" in running.text()
    wait_until(lambda: not any(map(is_alive, pids)), GONE_SECONDS, "nothing of it lives")
    if how == "the folder":
        milestones.rmdir()
        (project.path / "aside").rename(milestones)
    (place / "go").touch()
    done = project.ctl("run", "m1")
    assert done.code == 0, done.out + done.err
    assert_done_once(project, "m1", {"t1": ()})
