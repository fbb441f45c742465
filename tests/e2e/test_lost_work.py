"""The journal and git know of each other's work: what one of them lost is found, and nothing is done twice for it.

Owns branches that are deleted or set back, repositories and journals that go away, under a run and between two.
"""

import json
import os
import signal
from collections import Counter
from pathlib import Path

import pytest

from actors.events import AttemptStarted, GitIdle, GitRefused, SessionPaused, SessionUnpaused, TaskFailed
from tests.e2e.stage import Project, Running, assert_done_once, facts, milestone_of, waits_for
from tests.repositories import git
from tests.waiting import wait_until

pytestmark = pytest.mark.usefixtures("swept")

TASKS = {"t1": (), "t2": ("t1",)}


def _write(project: Project, place: Path) -> None:
    """Write a milestone of two tasks in a row, of which the second waits for `place/go`."""
    first = {"id": "t1", "run": "echo 1 > one"}
    second = {"id": "t2", "depends_on": ["t1"], "run": f"{waits_for(place / 'go')}; echo 2 > two"}
    project.write("m1", milestone_of(first, second))


def _started(project: Project, place: Path) -> Running:
    """Start the milestone and return when the first task has landed and the second runs."""
    _write(project, place)
    running = project.start("run", "m1")
    wait_until(
        lambda: len(facts(project, AttemptStarted)) == len(TASKS) or running.process.poll() is not None,
        60.0,
        "the second task runs",
    )
    assert running.process.poll() is None, running.text()
    return running


def _paused(project: Project, running: Running) -> str:
    """Wait until the session is paused and return why."""
    wait_until(lambda: facts(project, SessionPaused) or running.process.poll() is not None, 60.0, "it pauses")
    assert running.process.poll() is None, running.text()
    return facts(project, SessionPaused)[0].reason


def _tip(project: Project) -> str:
    return git(project.path, "rev-parse", "milestone/m1")


@pytest.mark.parametrize("how", ["deleted", "set back"])
def test_a_branch_that_loses_its_commits_under_a_run_pauses_it_until_they_are_back(
    project: Project, place: Path, how: str
) -> None:
    """No task fails for it, nothing lands without what it was built on, and nothing is executed again."""
    running = _started(project, place)
    tip = _tip(project)
    if how == "deleted":
        git(project.path, "branch", "--quiet", "-D", "milestone/m1")
    else:
        git(project.path, "branch", "--force", "milestone/m1", "main")
    (place / "go").touch()

    reason = _paused(project, running)

    assert reason.startswith("landing has to wait: ")
    assert ("is gone" in reason) == (how == "deleted")
    assert ("somebody took commits off milestone/m1" in reason) == (how != "deleted")
    assert tip in reason
    git(project.path, "branch", "--force", "milestone/m1", tip)
    assert running.wait() == 0, running.text()
    assert len(facts(project, SessionUnpaused)) == 1
    assert len(facts(project, AttemptStarted)) == len(TASKS)
    assert not facts(project, TaskFailed)
    assert_done_once(project, "m1", TASKS)


def test_a_repository_that_goes_away_under_a_run_pauses_it_until_it_is_back(project: Project, place: Path) -> None:
    running = _started(project, place)
    away = project.path / ".git"
    away.rename(project.path / "elsewhere")
    (place / "go").touch()

    reason = _paused(project, running)

    assert f"the repository {away} is gone; bring it back" in reason
    (project.path / "elsewhere").rename(away)
    assert running.wait() == 0, running.text()
    assert len(facts(project, AttemptStarted)) == len(TASKS)
    assert not facts(project, TaskFailed)
    assert_done_once(project, "m1", TASKS)


def test_a_session_whose_repository_is_gone_does_not_go_on_in_place(project: Project, place: Path) -> None:
    running = _started(project, place)
    away = project.path / ".git"
    away.rename(project.path / "elsewhere")
    os.kill(running.process.pid, signal.SIGINT)
    assert running.wait() == 130, running.text()

    refused = project.ctl("run", "m1")

    assert refused.code == 1, refused.out + refused.err
    assert "and the session has worked in one; bring it back" in refused.out + refused.err
    assert len(facts(project, AttemptStarted)) == len(TASKS)
    assert not facts(project, GitIdle)
    (project.path / "elsewhere").rename(away)
    (place / "go").touch()
    assert project.ctl("run", "m1").code == 0
    assert [commit["Task"] for commit in project.commits("milestone/m1")] == ["t1", "t2"]


def test_a_branch_that_was_set_back_between_two_runs_is_refused_with_the_commit_to_put_back(
    project: Project, place: Path
) -> None:
    running = _started(project, place)
    tip = _tip(project)
    os.kill(running.process.pid, signal.SIGINT)
    assert running.wait() == 130, running.text()
    git(project.path, "branch", "--force", "milestone/m1", "main")

    refused = project.ctl("run", "m1")

    assert refused.code == 1, refused.out + refused.err
    assert f"git branch --force milestone/m1 {tip}" in refused.out
    assert facts(project, GitRefused)
    git(project.path, "branch", "--force", "milestone/m1", tip)
    (place / "go").touch()
    assert project.ctl("run", "m1").code == 0
    assert [commit["Task"] for commit in project.commits("milestone/m1")] == ["t1", "t2"]


def test_a_session_whose_branch_was_set_back_can_be_cancelled_and_the_next_one_goes_on_with_the_branch_as_it_is(
    project: Project, place: Path
) -> None:
    running = _started(project, place)
    session = project.session()
    os.kill(running.process.pid, signal.SIGINT)
    assert running.wait() == 130, running.text()
    git(project.path, "branch", "--force", "milestone/m1", "main")
    assert project.ctl("run", "m1").code == 1

    cancelled = project.ctl("cancel", "m1")

    assert (cancelled.code, cancelled.err) == (0, "")
    assert cancelled.out.startswith("m1: cancelled")
    shown = json.loads((project.path / ".milestones" / "sessions" / session / "session.json").read_text())
    assert shown["status"] == "cancelled"
    assert shown["tasks"]["t1"] == "completed"
    assert "status: in_progress" not in (project.path / ".milestones" / "active" / "m1.yaml").read_text()
    again = project.ctl("cancel", "m1")
    assert (again.code, again.out) == (69, "")
    (place / "go").touch()
    done = project.ctl("run", "m1")
    assert done.code == 0, done.out + done.err
    assert project.session() != session
    assert [commit["Task"] for commit in project.commits("milestone/m1")] == ["t2"]


def test_a_journal_that_is_deleted_under_a_run_ends_it_at_once_and_nothing_of_it_is_lost(
    project: Project, place: Path
) -> None:
    running = _started(project, place)
    for name in ("state.db", "state.db-wal", "state.db-shm"):
        (project.path / ".milestones" / name).unlink(missing_ok=True)  # it may have found out by the first already

    assert running.wait() == 74, running.text()

    assert "the file was removed while it was in use" in running.text()
    assert "milestonectl recover" in running.text()
    refused = project.ctl("run", "m1")
    assert refused.code == 78, refused.out + refused.err
    assert "milestonectl recover" in refused.err
    assert project.ctl("recover").code == 0
    (place / "go").touch()
    done = project.ctl("run", "m1")
    assert done.code == 0, done.out + done.err
    assert_done_once(project, "m1", TASKS)


def test_everything_that_git_ignores_is_deleted_under_a_run_and_no_task_that_was_done_is_executed_again(
    project: Project, place: Path
) -> None:
    """`git clean -fdX` takes the lock as well, and all that tells of sessions; `recover` brings it back."""
    counted = place / "counted"
    first = {"id": "t1", "run": f"echo t1 >> {counted}"}
    second = {"id": "t2", "depends_on": ["t1"], "run": f"echo t2 >> {counted}; {waits_for(place / 'go')}"}
    project.write("m1", milestone_of(first, second))
    git(project.path, "add", "--force", ".milestones/active")
    git(project.path, "commit", "--quiet", "-m", "a milestone")
    running = project.start("run", "m1")
    wait_until(lambda: counted.exists() and "t2" in counted.read_text(), 60.0, "the second task runs")

    with running.standing_still():  # a directory in which it writes meanwhile would stay, and git complain
        git(project.path, "clean", "-qfdX")

    assert running.wait() in {74, 75}, running.text()
    assert "state.db.rescued" in running.text()
    refused = project.ctl("run", "m1")
    assert refused.code == 78, refused.out + refused.err
    assert "milestonectl recover" in refused.err
    recovered = project.ctl("recover")
    assert recovered.code == 0, recovered.out + recovered.err
    assert "state.db.lost-1.rescued" in recovered.out
    (place / "go").touch()
    done = project.ctl("run", "m1")
    assert done.code == 0, done.out + done.err
    assert Counter(counted.read_text().split()) == {"t1": 1, "t2": 2}
