"""`milestonectl run`, from a YAML file to commits, as a user sees it."""

import hashlib
import os
import re
import signal
from pathlib import Path

import pytest

from actors.reader import read
from tests.e2e.stage import (
    Project,
    assert_done_once,
    assert_files_written,
    assert_nothing_lives,
    milestone_of,
    pids_of_children,
    waits_for,
)
from tests.repositories import git
from tests.waiting import wait_until

EXAMPLE = Path(__file__).parents[2] / "configs" / "examples" / "milestone-001.yaml"


def _digest(root: Path) -> dict[str, str]:
    """Return what the user's checkout and the parts of git that are the user's hold, byte by byte."""
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
        and not path.is_relative_to(root / ".milestones")
        and not any(path.is_relative_to(root / ".git" / name) for name in ("objects", "refs", "logs", "worktrees"))
    }


def test_the_example_of_sixteen_real_tasks_becomes_sixteen_commits(project: Project) -> None:
    """Executor, git and logs: the convention's main path, from pending to completed."""
    text = EXAMPLE.read_text(encoding="utf-8")
    project.write("milestone-001", text)
    before = _digest(project.path)

    done = project.ctl("run", "milestone-001", "--max-parallel", "4")

    assert done.code == 0, done.out + done.err
    milestone = read(text.encode(), "milestone-001.yaml").milestone
    assert milestone is not None
    tasks = {task.id: task.depends_on for task in milestone.tasks}
    assert_done_once(project, "milestone-001", tasks)
    assert_files_written(project)
    assert _digest(project.path) == before
    assert git(project.path, "status", "--porcelain", "--untracked-files=all", "--", ".", ":!.milestones") == ""
    changed = git(project.path, "diff", "--stat", "main", "milestone/milestone-001")
    assert "src/textkit/tokens.py" in changed
    assert ".milestones" not in changed
    moved = project.path / ".milestones" / "completed" / "milestone-001.yaml"
    assert not (project.path / ".milestones" / "active" / "milestone-001.yaml").exists()
    expected = text.replace("status: planned", "status: completed").replace("status: pending", "status: completed")
    assert moved.read_text(encoding="utf-8") == expected
    assert project.session_json()["status"] == "completed"
    assert set(project.session_json()["tasks"].values()) == {"completed"}
    assert_nothing_lives(project, list(pids_of_children(project.records()).values()))


def test_the_monitoring_view_names_milestone_session_roles_and_tasks(project: Project) -> None:
    """The convention's view: header, a line for each role, task lines, and the time at the end."""
    project.write("m1", "id: m1\ntitle: One\ntasks:\n  - {id: t1, title: First, run: 'echo 1 > one'}\n")

    done = project.ctl("run", "m1")

    lines = done.out.splitlines()
    assert lines[0] == "Executing milestone m1: One"
    assert re.fullmatch(r"Session exec-m1-\d{8}_\d{6}-[0-9a-f]{8}", lines[1])
    stamp = r"\[\d\d:\d\d:\d\d\] "
    for role in (
        "Task Executor",
        "Progress Monitor",
        "Git Integration",
        "Dependency Validator",
        "Blocker Detector",
    ):
        assert any(re.fullmatch(stamp + role + r": ready \(pid \d+\)", line) for line in lines), role
    assert any(re.fullmatch(stamp + "Task Executor: Starting t1: First", line) for line in lines)
    assert any(
        re.fullmatch(stamp + r"Git Integration: Committed t1 as [0-9a-f]{10} \(1 file\)", line) for line in lines
    )
    assert re.fullmatch(r"Milestone execution time: \S+( \S+)* \(.*\)", lines[-1])
    assert "\x1b" not in done.out


def test_ctrl_c_ends_the_tasks_in_order_and_the_next_run_resumes(project: Project) -> None:
    """Interrupted is not failed: exit 130, a resumable session, nothing left alive, no task done twice."""
    project.write(
        "m1",
        "id: m1\ntitle: One\ntasks:\n"
        "  - {id: t1, title: First, run: 'echo 1 > one'}\n"
        "  - id: t2\n    title: Second\n    depends_on: [t1]\n"
        '    run: test -e "$MILESTONED_PROJECT/go" || { touch "$MILESTONED_PROJECT/waits"; sleep 60; }; echo 2 > two\n',
    )
    running = project.start("run", "m1")
    wait_until((project.path / "waits").exists, 60.0, "the second task runs")

    os.kill(running.process.pid, signal.SIGINT)

    assert running.wait() == 130, running.text()
    assert "Go on with: milestonectl run m1" in running.text()
    session = project.session()
    assert project.session_json()["status"] == "interrupted"
    assert project.session_json()["tasks"] == {"t1": "completed", "t2": "interrupted"}
    assert_nothing_lives(project, list(pids_of_children(project.records()).values()))
    text = (project.path / ".milestones" / "active" / "m1.yaml").read_text(encoding="utf-8")
    assert text.count("completed") == 1
    assert "pending" in text

    (project.path / "go").touch()
    done = project.ctl("run", "m1")

    assert done.code == 0, done.out
    assert "Resuming milestone m1: One" in done.out
    assert project.session() == session
    assert_done_once(project, "m1", {"t1": (), "t2": ("t1",)})


def test_sigterm_exits_with_143(project: Project) -> None:
    """As a shell reports it: 128 and the signal's number."""
    waits = project.path / "waits"
    project.write("m1", f"id: m1\ntitle: One\ntasks:\n  - {{id: t1, title: First, run: 'touch {waits}; sleep 60'}}\n")
    running = project.start("run", "m1")
    wait_until(waits.exists, 60.0, "the task runs")

    os.kill(running.process.pid, signal.SIGTERM)

    assert running.wait() == 143, running.text()


def test_a_failed_task_stops_what_depends_on_it_and_nothing_else(project: Project) -> None:
    """Exit 1; the unreachable set is named at once; independent tasks go on; a second run goes on from there."""
    project.write(
        "m1",
        "id: m1\ntitle: One\ntasks:\n"
        "  - {id: good, title: Good, run: 'echo 1 > good'}\n"
        "  - {id: bad, title: Bad, run: 'echo oh no; exit 3'}\n"
        "  - {id: after, title: After, depends_on: [bad], run: 'echo 1 > after'}\n"
        "  - {id: later, title: Later, depends_on: [after], run: 'echo 1 > later'}\n",
    )

    done = project.ctl("run", "m1")

    assert done.code == 1, done.out
    assert re.search(r"bad failed after \d+\.\ds: run exited with 3\n", done.out)
    assert "Failed bad" not in done.out
    assert "Cannot run any more: after, later" in done.out
    assert project.session_json()["status"] == "failed"
    assert project.session_json()["unreachable"] == ["after", "later"]
    path = project.path / ".milestones" / "active" / "m1.yaml"
    text = path.read_text(encoding="utf-8")
    assert "id: bad, status: blocked" in text
    path.write_text(text.replace("exit 3", "echo mended > bad"), encoding="utf-8")

    done = project.ctl("run", "m1")

    assert done.code == 0, done.out
    assert [commit["Task"] for commit in project.commits("milestone/m1")] == ["good", "bad", "after", "later"]


def test_verify_decides_and_retries_repeat(project: Project) -> None:
    """Runs tests: a task whose verify fails is not completed; a retry gets a fresh worktree."""
    counter = project.path.parent / "counter"
    project.write(
        "m1",
        "id: m1\ntitle: One\ntasks:\n"
        "  - id: t1\n    title: Third time lucky\n    retries: 2\n    retry_delay: 0.05\n"
        f"    run: echo x >> {counter}; test ! -e left; touch left; wc -l < {counter} > lines\n"
        "    verify: test $(cat lines) -eq 3\n",
    )

    done = project.ctl("run", "m1")

    assert done.code == 0, done.out
    assert counter.read_text(encoding="utf-8") == "x\nx\nx\n"
    assert "t1 failed after" in done.out
    assert git(project.path, "show", "milestone/m1:lines") == "3"


def test_tasks_that_change_the_same_line_are_merged_by_running_one_again(project: Project) -> None:
    """Merge queue: a conflict re-runs the task on the new tip; both commits are there, none was forced."""
    started = project.path.parent
    met = f"test -e {started}/a -a -e {started}/b"
    both = f"touch {started}/$TASK_ID; for i in $(seq 100); do {met} && break; sleep 0.05; done"
    project.write(
        "m1",
        "id: m1\ntitle: One\ntasks:\n"
        f"  - {{id: a, title: A, run: '{both}; echo $TASK_ID >> README.md'}}\n"
        f"  - {{id: b, title: B, run: '{both}; echo $TASK_ID >> README.md'}}\n",
    )

    done = project.ctl("run", "m1", "-j", "2")

    assert done.code == 0, done.out
    assert "conflicts in README.md: it runs again on the new tip" in done.out
    assert_done_once(project, "m1", {"a": (), "b": ()})
    lines = git(project.path, "show", "milestone/m1:README.md").splitlines()
    assert sorted(lines[1:]) == ["a", "b"]


def test_outside_a_repository_tasks_run_in_place_and_the_git_role_says_why(folder: Project) -> None:
    """No git: idle with the reason, the task's file is in the folder itself."""
    folder.write("m1", "id: m1\ntitle: One\ntasks:\n  - {id: t1, title: First, run: 'echo 1 > one'}\n")

    done = folder.ctl("run", "m1")

    assert done.code == 0, done.out + done.err
    assert (folder.path / "one").read_text(encoding="utf-8") == "1\n"
    assert re.search(r"Git Integration: Idle: .*tasks run in place", done.out)


def test_isolation_none_runs_in_place_in_a_repository(project: Project) -> None:
    """The user's wish beats the repository: no branch, no commit."""
    project.write("m1", "id: m1\ntitle: One\ntasks:\n  - {id: t1, title: First, run: 'echo 1 > one'}\n")

    done = project.ctl("run", "m1", "--isolation", "none")

    assert done.code == 0, done.out + done.err
    assert (project.path / "one").exists()
    assert git(project.path, "branch", "--list", "milestone/*") == ""


def test_every_third_commit_is_pushed_to_the_remote(project: Project, tmp_path: Path) -> None:
    """A push every three tasks when a remote is set, and one at the end for the rest."""
    remote = tmp_path / "remote.git"
    git(tmp_path, "init", "--quiet", "--bare", str(remote))
    git(project.path, "remote", "add", "origin", str(remote))
    project.configure("git:\n  remote: origin\n")
    tasks = "".join(f"  - {{id: t{i}, title: T, run: 'echo {i} > f{i}'}}\n" for i in range(1, 5))
    project.write("m1", f"id: m1\ntitle: One\ntasks:\n{tasks}")

    done = project.ctl("run", "m1", "-j", "1")

    assert done.code == 0, done.out
    assert git(remote, "rev-parse", "milestone/m1") == git(project.path, "rev-parse", "milestone/m1")
    kinds = [type(event).__name__ for _, event in project.records()]
    assert kinds.count("Pushed") == 2
    assert kinds.index("Pushed") > [i for i, kind in enumerate(kinds) if kind == "Landed"][2]


def test_a_task_without_run_goes_to_the_configured_agent(project: Project) -> None:
    """The agent is any program: here one that gets the prompt on its standard input."""
    project.configure("agents:\n  default: copy\n  runners:\n    copy:\n      command: [sh, -c, 'cat > answer.md']\n")
    project.write(
        "m1",
        "id: m1\ntitle: One\ndescription: Of the milestone\ntasks:\n"
        "  - id: t1\n    title: Think\n    acceptance_criteria: [It is thought]\n",
    )

    done = project.ctl("run", "m1")

    assert done.code == 0, done.out + done.err
    prompt = git(project.path, "show", "milestone/m1:answer.md")
    for part in ("Think", "It is thought", "Of the milestone"):
        assert part in prompt


def test_without_an_agent_the_run_is_refused_before_anything_starts(project: Project) -> None:
    """An error that says which key to set; no journal, no branch."""
    project.write("m1", "id: m1\ntitle: One\ntasks:\n  - {id: t1, title: Think}\n")

    done = project.ctl("run", "m1")

    assert done.code == 78
    assert "agents.default" in done.err
    assert not (project.path / ".milestones" / "state.db").exists()


def test_what_is_not_there_or_not_valid_has_its_own_exit_code(project: Project) -> None:
    """1 for a milestone that is not there, 2 for a file that is not valid, each problem located."""
    done = project.ctl("run", "m9")
    assert done.code == 1
    assert "there is no .milestones directory" in done.err

    project.write("m0", "id: m0\ntitle: Zero\ntasks: []\n")
    done = project.ctl("run", "m9")
    assert done.code == 1
    assert "milestone not found" in done.err
    assert "active milestones here: m0" in done.err

    project.write("m1", "id: m1\ntitle: One\ntasks:\n  - {id: t1, title: A, run: x, depends_on: [t9]}\n")
    done = project.ctl("run", "m1")
    assert done.code == 2
    assert re.search(r"m1\.yaml:4:\d+: .*unknown task 't9'", done.err), done.err


@pytest.mark.row("F19")
def test_a_second_run_is_told_who_holds_the_project(project: Project) -> None:
    """Exit 75 with the holder's pid; the first run is not disturbed."""
    waits = project.path / "waits"
    project.write("m1", f"id: m1\ntitle: One\ntasks:\n  - {{id: t1, title: A, run: 'touch {waits}; sleep 60'}}\n")
    running = project.start("run", "m1")
    wait_until(waits.exists, 60.0, "the task runs")

    done = project.ctl("run", "m1")

    assert done.code == 75
    assert str(running.process.pid) in done.err
    os.kill(running.process.pid, signal.SIGINT)
    assert running.wait() == 130


def test_ignored_files_that_are_copied_into_the_slot_are_there_and_never_committed(project: Project) -> None:
    """`worktree.copy`: what a task needs of the checkout although git ignores it."""
    (project.path / ".gitignore").write_text(".env\nnode_modules/\n", encoding="utf-8")
    git(project.path, "add", ".gitignore")
    git(project.path, "commit", "--quiet", "--message=Ignore")
    (project.path / ".env").write_text("S=1\n", encoding="utf-8")
    (project.path / "node_modules").mkdir()
    (project.path / "node_modules" / "x").write_text("x\n", encoding="utf-8")
    project.configure("worktree:\n  copy: [.env, node_modules]\n")
    project.write(
        "m1",
        "id: m1\ntitle: One\ntasks:\n"
        "  - {id: t1, title: A, run: 'cat .env node_modules/x > o; mkdir d; echo 1 > d/f'}\n",
    )

    done = project.ctl("run", "m1")

    assert done.code == 0, done.out
    assert git(project.path, "show", "milestone/m1:o") == "S=1\nx"
    assert git(project.path, "diff", "--name-only", "main", "milestone/m1").splitlines() == ["d/f", "o"]


def test_a_file_whose_name_is_not_its_id_is_not_run(project: Project) -> None:
    """A forgotten copy must not execute, and archive, another milestone's file."""
    project.write("m1", "id: m1\ntitle: One\ntasks:\n  - {id: t1, title: A, run: 'echo 1 > one'}\n")
    project.write("copy", "id: m1\ntitle: One\ntasks:\n  - {id: t1, title: A, run: 'echo 2 > two'}\n")

    done = project.ctl("run", "copy")

    assert done.code == 2
    assert re.search(r"copy\.yaml:1:5: the id 'm1' is not the name of the file", done.err), done.err


def test_statuses_that_could_not_be_written_are_made_up_for_by_the_next_run(project: Project) -> None:
    """A task breaks the file: what was completed is never executed again all the same."""
    good = "id: m1\ntitle: One\ntasks:\n  - {id: t1, title: A, run: 'echo x >> \"$MILESTONED_PROJECT/ran\"; BREAK'}\n"
    path = project.path / ".milestones" / "active" / "m1.yaml"
    text = good.replace("BREAK", 'echo "tasks: [" >> "$MILESTONED_PROJECT/.milestones/active/m1.yaml"')
    project.write("m1", text)

    done = project.ctl("run", "m1")

    assert done.code == 0, done.out
    assert "The milestone file is not finished; once what hinders it is mended, the next run does that: " in done.out
    assert path.exists()
    path.write_text(text, encoding="utf-8")

    done = project.ctl("run", "m1")

    assert done.code == 0, done.out + done.err
    assert "is completed already" in done.out
    assert (project.path / "ran").read_text(encoding="utf-8") == "x\n"
    moved = project.path / ".milestones" / "completed" / "m1.yaml"
    assert moved.read_text(encoding="utf-8").count("status: completed") == 2


def test_a_task_that_removes_its_worktree_fails_in_the_end(project: Project) -> None:
    """Run again a few times, because a worktree can go for other reasons; not for ever."""
    project.write("m1", "id: m1\ntitle: One\ntasks:\n  - {id: t1, title: A, run: 'rm -rf \"$PWD\"'}\n")

    done = project.ctl("run", "m1")

    assert done.code == 1, done.out
    assert "Failed t1: its worktree was gone when it ended, 3 times" in done.out


def test_a_cancelled_task_is_taken_from_the_file_on_resume(project: Project) -> None:
    """A person's edit of a status counts."""
    waits = project.path / "waits"
    project.write(
        "m1",
        "id: m1\ntitle: One\ntasks:\n"
        f"  - {{id: t1, title: A, run: 'test -e {waits} || {{ touch {waits}; sleep 60; }}'}}\n"
        "  - {id: t2, title: B, status: pending, depends_on: [t1], run: 'echo 1 > two'}\n",
    )
    running = project.start("run", "m1")
    wait_until(waits.exists, 60.0, "the task runs")
    os.kill(running.process.pid, signal.SIGINT)
    assert running.wait() == 130
    path = project.path / ".milestones" / "active" / "m1.yaml"
    path.write_text(
        path.read_text(encoding="utf-8").replace("title: B, status: pending", "title: B, status: cancelled")
    )

    done = project.ctl("run", "m1")

    assert done.code == 0, done.out
    assert project.session_json()["tasks"] == {"t1": "completed", "t2": "skipped"}


@pytest.mark.parametrize(("typed", "kept"), [("cancelled", "skipped"), ("completed", "completed")])
def test_what_a_person_makes_of_a_task_that_ran_when_all_was_killed_counts(
    project: Project, place: Path, typed: str, kept: str
) -> None:
    path = project.write(
        "m1",
        milestone_of(
            {"id": "t1", "status": "pending", "run": f"echo x >> '{place}/ran'; {waits_for(place / 'go')}"},
            {"id": "t2", "depends_on": ["t1"] if typed == "completed" else [], "run": "echo 2 > two"},
        ),
    )
    running = project.start("run", "m1", "--max-parallel", "1")
    wait_until((place / "ran").exists, 60.0, "the task runs")
    wait_until(lambda: "in_progress" in path.read_text(encoding="utf-8"), 60.0, "the file says so")
    running.kill()
    path.write_text(path.read_text(encoding="utf-8").replace("in_progress", typed), encoding="utf-8")

    done = project.ctl("run", "m1")

    assert done.code == 0, done.out + done.err
    assert (place / "ran").read_text(encoding="utf-8") == "x\n"
    assert project.session_json()["tasks"] == {"t1": kept, "t2": "completed"}
    assert typed in (project.path / ".milestones" / "completed" / "m1.yaml").read_text(encoding="utf-8")


def test_a_milestone_whose_tasks_were_edited_meanwhile_stays_active(project: Project) -> None:
    """What stands in the file was not executed, so it is not called completed; the next run takes it in."""
    place = project.path
    text = (
        "id: m1\ntitle: One\ntasks:\n  - id: t1\n    title: A\n    status: pending\n"
        f"    run: touch {place}/waits; until test -e {place}/go; do sleep 0.02; done; echo 1 > one\n"
    )
    path = project.write("m1", text)
    running = project.start("run", "m1")
    wait_until((place / "waits").exists, 60.0, "the task runs")
    path.write_text(
        path.read_text(encoding="utf-8") + "  - {id: t2, title: B, run: 'echo 2 > two'}\n", encoding="utf-8"
    )
    wait_until(lambda: "m1.yaml was edited" in running.text(), 60.0, "the edit is alerted")
    (place / "go").touch()

    assert running.wait() == 0, running.text()
    assert path.exists()
    assert "it stays active, and the next run takes it in" in running.text()

    done = project.ctl("run", "m1")

    assert done.code == 0, done.out
    assert [commit["Task"] for commit in project.commits("milestone/m1")] == ["t1", "t2"]


def test_a_push_that_is_refused_at_the_end_is_a_blocker(project: Project, tmp_path: Path) -> None:
    """Nothing is forced over somebody else's commit, and a relative path of a remote is the checkout's."""
    git(tmp_path, "init", "--quiet", "--bare", "remote.git")
    git(project.path, "remote", "add", "origin", "../remote.git")
    git(project.path, "commit", "--quiet", "--allow-empty", "--message=Foreign")
    git(project.path, "push", "--quiet", "origin", "HEAD:refs/heads/milestone/m1")
    git(project.path, "reset", "--quiet", "--hard", "HEAD~1")
    project.configure("git:\n  remote: origin\n")
    project.write("m1", "id: m1\ntitle: One\ntasks:\n  - {id: t1, title: A, run: 'echo 1 > one'}\n")

    done = project.ctl("run", "m1")

    assert done.code == 0, done.out
    assert "origin refused the push" in done.out
    raised = [line["details"]["type"] for line in project.lines("blockers") if line["event_type"] == "blocker_detected"]
    assert raised == ["push"]


def test_a_branch_that_was_deleted_with_the_work_of_completed_tasks_is_not_silently_begun_anew(
    project: Project,
) -> None:
    """Also by the session after the one that found it gone: what is completed would never be made again."""
    text = (
        "id: m1\ntitle: One\ntasks:\n  - {id: t1, title: A, run: 'echo 1 > one'}\n  - {id: t2, title: B, run: exit 1}\n"
    )
    file = project.write("m1", text)
    assert project.ctl("run", "m1").code == 1
    tip = git(project.path, "rev-parse", "milestone/m1").strip()
    git(project.path, "branch", "-D", "milestone/m1")
    for _ in range(2):
        found = project.ctl("run", "m1")

        assert found.code == 1, found.out + found.err
        assert "the branch milestone/m1 is gone" in found.out
        assert f"git branch milestone/m1 {tip}" in found.out

    git(project.path, "branch", "milestone/m1", tip)
    file.write_text(file.read_text(encoding="utf-8").replace("exit 1", "'echo 2 > two'"), encoding="utf-8")
    assert project.ctl("run", "m1").code == 0
    assert {"one", "two"} <= set(git(project.path, "ls-tree", "--name-only", "milestone/m1").split())


def test_a_branch_that_was_deleted_after_a_merge_is_begun_anew(project: Project) -> None:
    text = (
        "id: m1\ntitle: One\ntasks:\n  - {id: t1, title: A, run: 'echo 1 > one'}\n  - {id: t2, title: B, run: exit 1}\n"
    )
    file = project.write("m1", text)
    assert project.ctl("run", "m1").code == 1
    git(project.path, "merge", "--quiet", "milestone/m1")
    git(project.path, "branch", "-d", "milestone/m1")
    file.write_text(file.read_text(encoding="utf-8").replace("exit 1", "'echo 2 > two'"), encoding="utf-8")

    assert project.ctl("run", "m1").code == 0

    assert {"one", "two"} <= set(git(project.path, "ls-tree", "--name-only", "milestone/m1").split())
