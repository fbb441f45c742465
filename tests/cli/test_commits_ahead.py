"""Commits of tasks that the journal does not know: nothing is executed a second time, and there is a way out."""

import json
import os
import shutil
import signal
from pathlib import Path

import pytest

from actors.events import (
    AttemptStarted,
    Event,
    MilestoneUpdated,
    Record,
    SessionStarted,
    Settings,
    TaskFailed,
    encode_event,
)
from actors.model import Isolation, Milestone, Task
from actors.paths import ProjectPaths
from supervisor.commits_ahead import commits_of, mark_completed
from supervisor.ledger import Ledger
from supervisor.opening import open_run
from tests.cli.conftest import Ctl
from tests.e2e.stage import Project, facts, milestone_of, waits_for
from tests.repositories import git
from tests.waiting import wait_until

GONE = "exec-m1-20260101_000000-0badcafe"
"""A session that no journal here knows."""


def _commit(project: Project, task: str, session: str = GONE, milestone: str = "m1") -> str:
    """Put a commit of a task on the milestone's branch, as the git role makes them."""
    branch = f"refs/heads/milestone/{milestone}"
    parent = git(project.path, "for-each-ref", "--format=%(objectname)", branch) or git(
        project.path, "rev-parse", "main"
    )
    trailers = f"Milestone: {milestone}\nTask: {task}\nSession: {session}"
    tree = git(project.path, "rev-parse", f"{parent}^{{tree}}")
    sha = git(project.path, "commit-tree", "-p", parent, "-m", f"Do {task}", "-m", trailers, tree)
    git(project.path, "update-ref", branch, sha)
    return sha


def _counting(task: str, place: Path) -> dict[str, object]:
    """Return a task that writes down that it was executed."""
    return {"id": task, "run": f"echo {task} >> '{place}/executed'; echo x > {task}.txt"}


def _executed(place: Path) -> list[str]:
    return (place / "executed").read_text(encoding="utf-8").split() if (place / "executed").exists() else []


def test_a_task_with_a_commit_of_a_session_that_the_journal_lacks_is_not_executed_again(
    project: Project, ctl: Ctl, tmp_path: Path
) -> None:
    """The journal is gone with everything beside it: only the branch knows that the task is done."""
    file = project.write("m1", milestone_of(_counting("t1", tmp_path), _counting("t2", tmp_path)))
    sha = _commit(project, "t1")

    refused = project.ctl("run", "m1")

    assert refused.code == 78, refused.out + refused.err
    assert "the journal knows nothing of the branch milestone/m1" in refused.err
    assert f"t1: commit {sha[:12]} of session {GONE}" in refused.err
    assert "milestonectl recover" in refused.err
    assert not (project.path / ".milestones" / "state.db").exists() or not project.records()
    said = ctl("recover")
    assert f"  t1: commit {sha[:12]} of session {GONE}" in said.out.splitlines()
    assert "completed" in file.read_text(encoding="utf-8")
    assert json.loads(ctl("recover", "--json").out)["marked"] == []
    assert project.ctl("run", "m1").code == 0
    assert _executed(tmp_path) == ["t2"]
    assert [commit["Task"] for commit in project.commits("milestone/m1")] == ["t1", "t2"]


def test_a_commit_of_somebody_whose_trailers_hold_odd_bytes_is_nobodys(project: Project) -> None:
    sha = _commit(project, "t1")
    _commit(project, "t2\x1fx")
    assert [one.sha for one in commits_of(project.path, "m1")] == [sha]


def test_a_run_whose_journal_was_set_back_does_not_repeat_what_had_landed_since(
    project: Project, ctl: Ctl, tmp_path: Path
) -> None:
    """The whole of .milestones is brought back from a copy: everything in it agrees that the task still runs."""
    gate = tmp_path / "gate"
    first = {"id": "t1", "run": f"{waits_for(gate)}; echo t1 >> '{tmp_path}/executed'; echo x > t1.txt"}
    project.write("m1", milestone_of(first, {**_counting("t2", tmp_path), "depends_on": ["t1"]}))
    running = project.start("run", "m1")
    wait_until(lambda: facts(project, AttemptStarted), 60.0, "the task runs")
    running.kill()
    shutil.copytree(
        project.path / ".milestones", tmp_path / "copy", symlinks=True, ignore=shutil.ignore_patterns("*.sock")
    )
    gate.touch()
    assert project.ctl("run", "m1").code == 0
    assert _executed(tmp_path) == ["t1", "t2"]
    shutil.rmtree(project.path / ".milestones")
    shutil.copytree(tmp_path / "copy", project.path / ".milestones", symlinks=True)

    for words in ((), ("--as-journaled",)):
        refused = project.ctl("run", "m1", *words)
        assert refused.code == 78, refused.out + refused.err
        assert "the journal is older than the branch milestone/m1" in refused.err

    said = json.loads(ctl("recover", "--json").out)
    assert (said["fault"], {one["task"] for one in said["marked"]}) == ("", {"t1", "t2"})
    assert project.ctl("run", "m1", "--as-journaled").code == 78
    done = project.ctl("run", "m1")
    assert done.code == 0, done.out + done.err
    assert _executed(tmp_path) == ["t1", "t2"]
    assert len(facts(project, MilestoneUpdated)) == 1
    assert [commit["Task"] for commit in project.commits("milestone/m1")] == ["t1", "t2"]


def test_what_an_ended_session_did_is_executed_again_when_a_person_says_so(project: Project, tmp_path: Path) -> None:
    file = project.write("m1", milestone_of(_counting("t1", tmp_path), {"id": "t2", "run": "exit 1"}))
    assert project.ctl("run", "m1").code == 1
    text = file.read_text(encoding="utf-8").replace('"exit 1"', '"true"')
    file.write_text(text.replace("completed", "pending").replace("blocked", "pending"), encoding="utf-8")

    assert project.ctl("run", "m1").code == 0

    assert _executed(tmp_path) == ["t1", "t1"]


def test_a_daemon_does_not_begin_a_session_of_which_the_branch_knows_more(project: Project, tmp_path: Path) -> None:
    project.write("m1", milestone_of(_counting("t1", tmp_path)))
    sha = _commit(project, "t1")
    # Neither another milestone's commits nor those of a task that is not in the file count.
    project.write("m2", milestone_of(_counting("u1", tmp_path)).replace("m1", "m2"))
    _commit(project, "u1", milestone="m2", session="")
    daemon = project.daemon()
    wait_until((project.path / ".milestones" / "run" / "control.sock").exists, 60.0, "it listens")

    refused = project.ctl("start", "m1")

    assert refused.code == 78, refused.out + refused.err
    assert sha[:12] in refused.out + refused.err
    assert project.ctl("start", "m2").code == 0
    os.kill(daemon.process.pid, signal.SIGTERM)
    assert daemon.wait() == 0
    assert "t1" not in _executed(tmp_path)


@pytest.mark.parametrize("damage", ["no HEAD", "no commit", "no name"])
def test_a_repository_that_git_cannot_read_is_named_and_not_read_as_one_without_commits(
    project: Project, ctl: Ctl, tmp_path: Path, damage: str
) -> None:
    """Else what landed would be executed again as soon as the repository is mended; in place nothing of it matters."""
    project.write("m1", milestone_of(_counting("t1", tmp_path)))
    sha = _commit(project, "t1")
    inside = project.path / ".git"
    match damage:
        case "no HEAD":
            (inside / "HEAD").rename(inside / "head.txt")
        case "no commit":
            (inside / "objects" / sha[:2] / sha[2:]).unlink()
        case _:
            (inside / "refs" / "heads" / "milestone" / "m1").write_text("nonsense\n", encoding="utf-8")

    refused = ctl("run", "m1")

    assert refused.code == 74, refused.out + refused.err
    assert str(project.path) in refused.err
    assert "--isolation none" in refused.err
    in_place = open_run(project.path, "m1", Settings(), what="a test", isolation=Isolation.NONE)
    in_place.journal.close()
    in_place.lock.close()


def test_a_directory_named_git_that_is_no_repository_is_none(project: Project) -> None:
    shutil.rmtree(project.path / ".git")
    (project.path / ".git").mkdir()
    assert commits_of(project.path, "m1") == ()


def test_commits_are_listed_where_the_one_that_the_session_began_from_is_gone(project: Project) -> None:
    sha = _commit(project, "t1")
    assert [one.sha for one in commits_of(project.path, "m1", "0" * 39 + "1")] == [sha]
    assert commits_of(project.path, "m2") == ()


def test_a_task_that_was_taken_out_of_the_file_is_not_marked_in_it(tmp_path: Path) -> None:
    """Else the recovery would end with an error, each time."""
    paths = ProjectPaths(tmp_path)
    paths.active.mkdir(parents=True)
    paths.file("m1").write_text(milestone_of({"id": "t1", "run": "true"}), encoding="utf-8")
    began = Milestone("m1", "One", tasks=(Task("t1", "A"), Task("t2", "B")))
    started = SessionStarted(began, "m1.yaml", str(tmp_path), Settings(), "boot", 1)
    events: tuple[Event, ...] = (started, TaskFailed("t2", "", "no luck"))
    records = [
        Record(seq, GONE, 1.0, 1.0, type(one).__name__, encode_event(one).body) for seq, one in enumerate(events, 1)
    ]
    assert mark_completed(paths, "m1", Ledger(GONE, records), (GONE,), (GONE, ("t2",))) == ((), ())
