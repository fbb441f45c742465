"""What a run leaves behind: no worktree, nothing in the cache directory, and no work that anybody could miss."""

import signal
from pathlib import Path

from tests.e2e.stage import (
    Project,
    assert_done_once,
    assert_no_slots,
    milestone_of,
    pid_in,
    slots_of,
    waits_for,
    worktrees,
)
from tests.repositories import git
from tests.waiting import wait_until


def _archives(project: Project) -> dict[str, str]:
    """Return what is archived: attempt -> the text of its file `work`."""
    session = project.session()
    prefix = f"refs/milestone-archive/{session}/"
    names = git(project.path, "for-each-ref", "--format=%(refname)", prefix).splitlines()
    return {name.removeprefix(prefix): git(project.path, "show", f"{name}:work") for name in names}


def _half_done(place: Path) -> str:
    """Return a task's script: half its work, then a wait for the gate, then the other half."""
    first = f"test -e {place}/gate || {{ echo half > work; echo $$ > {place}/pid; }}"
    return f"{first}; {waits_for(place / 'gate')}; echo whole > work"


def test_the_work_of_a_task_that_failed_is_archived_and_no_worktree_is_left(project: Project) -> None:
    """Every attempt's work has its own name, whether its slot was used again or removed at the end."""
    tasks = (
        {"id": "t1", "retries": 1, "retry_delay": 0, "run": "echo tried > work; exit 3"},
        {"id": "t2", "run": "true"},
    )
    project.write("m1", milestone_of(*tasks))

    done = project.ctl("run", "m1", "-j", "1")

    assert done.code == 1, done.out + done.err
    assert _archives(project) == {"t1.1": "tried", "t1.2": "tried"}
    assert worktrees(project) == [project.path]
    assert_no_slots(project, "m1")


def test_the_work_of_a_task_that_was_interrupted_is_archived_and_no_worktree_is_left(
    project: Project, place: Path
) -> None:
    """Ctrl-C: the session is resumable, and what was half done can be looked at."""
    project.write("m1", milestone_of({"id": "t1", "run": _half_done(place)}))
    running = project.start("run", "m1")
    pid_in(place / "pid")

    running.process.send_signal(signal.SIGINT)

    assert running.wait() == 130, running.text()
    assert _archives(project) == {"t1.1": "half"}
    assert worktrees(project) == [project.path]
    assert_no_slots(project, "m1")


def test_after_a_kill_the_work_is_still_in_its_slot_and_the_next_run_archives_it(project: Project, place: Path) -> None:
    """Nothing is there to tidy up after SIGKILL; the next run uses the slot and keeps what was in it."""
    project.write("m1", milestone_of({"id": "t1", "run": _half_done(place)}))
    running = project.start("run", "m1")
    pid_in(place / "pid")

    running.kill()

    slot = slots_of(project) / "m1-slot-0"
    assert (slot / "work").read_text(encoding="utf-8") == "half\n"
    assert worktrees(project) == [project.path, slot]
    (place / "gate").touch()
    # The runner of the killed run still ends its tasks; the next run waits for that by itself.
    done = project.ctl("run", "m1")
    assert done.code == 0, done.out + done.err
    assert _archives(project) == {"t1.1": "half"}
    assert git(project.path, "show", "milestone/m1:work") == "whole"
    assert worktrees(project) == [project.path]
    assert_done_once(project, "m1", {"t1": ()})


def test_work_that_git_cannot_hold_is_kept_as_files_and_the_retry_gets_a_worktree_of_its_own(
    project: Project, place: Path
) -> None:
    """A repository that a failed attempt made inside does not make its slot unusable; the end says where it is."""
    fails = f"git init -q inner; echo tried > work; touch {place}/tried; exit 3"
    project.write(
        "m1",
        milestone_of(
            {
                "id": "t1",
                "retries": 1,
                "retry_delay": 0,
                "run": f"test -e {place}/tried || {{ {fails}; }}; echo whole > work",
            }
        ),
    )

    done = project.ctl("run", "m1", "-j", "1")

    assert done.code == 0, done.out + done.err
    kept = slots_of(project) / "m1-kept-1"
    assert f"kept: {kept}" in done.out
    assert (kept / "work").read_text(encoding="utf-8") == "tried\n"
    assert "inner" in Path(f"{kept}.txt").read_text(encoding="utf-8")
    assert git(project.path, "show", "milestone/m1:work") == "whole"
    assert worktrees(project) == [project.path]
    assert not [path.name for path in slots_of(project).glob("m1-slot-*")]


def test_what_could_not_land_before_the_stop_waits_in_its_slot_and_lands_in_the_next_run(
    project: Project, place: Path
) -> None:
    """A run that is stopped while the branch is checked out elsewhere gives nothing up."""
    other = place / "other"
    project.write("m1", milestone_of({"id": "t1", "run": _half_done(place)}))
    running = project.start("run", "m1")
    pid_in(place / "pid")
    git(project.path, "worktree", "add", "--quiet", str(other), "milestone/m1")
    (place / "gate").touch()
    wait_until(lambda: "landing has to wait" in running.text(), 60.0, "the landing has to wait")

    running.process.send_signal(signal.SIGINT)

    assert running.wait() == 130, running.text()
    slot = slots_of(project) / "m1-slot-0"
    assert (slot / "work").read_text(encoding="utf-8") == "whole\n"
    git(project.path, "worktree", "remove", str(other))
    done = project.ctl("run", "m1")
    assert done.code == 0, done.out + done.err
    assert git(project.path, "show", "milestone/m1:work") == "whole"
    assert worktrees(project) == [project.path]
    assert _archives(project) == {}
    assert_done_once(project, "m1", {"t1": ()})
