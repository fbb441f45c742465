"""Who dies, and what happens: the rows of the table that one kill of one process does not show.

What is killed here is killed in a chosen situation (between a grant and its start, in mid-commit, with tasks that are
hard to end, again and again, everything at once); kills at random moments of an ordinary run are
`tests.e2e.test_kills`'s. What stands in the way from outside is `tests.e2e.test_obstacles`'s.
"""

import os
import random
import signal
from functools import partial
from pathlib import Path
from time import monotonic

import pytest

from actors.events import (
    AttemptEnded,
    AttemptGranted,
    AttemptStarted,
    BlockerRaised,
    ChildGone,
    ChildQuarantined,
    ChildReady,
    Landed,
    Outcome,
    TaskFailed,
)
from actors.state import ROLES, Stage
from supervisor.linux import is_alive
from tests.e2e.stage import (
    COUNT_LIVING,
    GONE_SECONDS,
    Project,
    Running,
    assert_done_once,
    assert_files_written,
    assert_nothing_lives,
    assert_resumes,
    facts,
    fork_server_of,
    milestone_of,
    pids_of_children,
    ready_pid,
    start_waiting,
    stubborn_pids,
    stubborn_task,
    waits_for,
)
from tests.e2e.test_kills import MILESTONE, SEED, TASKS
from tests.repositories import git
from tests.waiting import wait_until

pytestmark = pytest.mark.usefixtures("swept")


def _assert_gone(pids: list[int]) -> None:
    wait_until(lambda: not any(map(is_alive, pids)), GONE_SECONDS, f"{pids} have ended")


@pytest.mark.row("F1", "F8")
def test_an_executor_killed_between_grant_and_start_changes_nothing(project: Project, place: Path) -> None:
    """The grant is in the journal: the runner acts on it, and the next executor grants nothing twice."""
    project.configure(f'worktree:\n  setup: ["{waits_for(place / "go")}"]\n')
    project.write("m1", milestone_of({"id": "t1", "run": "echo 1 > one"}))
    running = project.start("run", "m1")
    wait_until(lambda: facts(project, AttemptGranted), 60.0, "the attempt is granted")
    assert not facts(project, AttemptStarted)

    os.kill(ready_pid(project, "task_executor"), signal.SIGKILL)

    ready_pid(project, "task_executor", 2)
    (place / "go").touch()
    assert running.wait() == 0, running.text()
    assert [fact.attempt for fact in facts(project, AttemptGranted)] == ["t1.1"]
    assert [fact.attempt for fact in facts(project, AttemptStarted)] == ["t1.1"]
    assert_done_once(project, "m1", {"t1": ()})


@pytest.mark.row("F1")
def test_a_git_role_killed_in_mid_commit_five_times_commits_each_task_once(project: Project) -> None:
    """Its replacement redoes the same commit: same inputs, same name, compare-and-swap."""
    print(f"seed {SEED}")  # noqa: T201 - repeats the run
    chance = random.Random(f"{SEED}/mid-commit")
    project.write("m1", MILESTONE)
    running = project.start("run", "m1", "-j", "3")
    killed = 0
    while killed < 5 and _landing_begins(running):
        moment = monotonic() + chance.uniform(0.0, 0.02)
        wait_until(lambda moment=moment: monotonic() >= moment)  # type: ignore[misc]
        pid = ready_pid(project, "git_integration", killed + 1)
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:  # the run is over, and it has left in order
            break
        killed += 1

    assert running.wait() == 0, running.text()
    assert killed >= 3, "the run was over too soon"
    assert [fact.child for fact in facts(project, ChildGone)] == ["git_integration"] * killed
    assert_done_once(project, "m1", TASKS)
    assert_files_written(project)
    commits = {commit["sha"] for commit in project.commits("milestone/m1")}
    assert {fact.sha for fact in facts(project, Landed)} == commits
    git(project.path, "fsck", "--strict", "--no-dangling")
    assert_nothing_lives(project, [])


def _landing_begins(running: Running) -> bool:
    """Wait until an attempt has ended and not yet landed; false when the run was over before."""

    def look() -> str:
        if running.process.poll() is not None:
            return "over"
        attempts = [task.attempt for task in running.project.fold().tasks.values()]
        return "landing" if any(one is not None and one.stage is Stage.ENDED for one in attempts) else ""

    return wait_until(look, 60.0, "something lands") == "landing"


@pytest.mark.row("F30")
def test_a_killed_runner_leaves_no_task_process_and_on_crash_decides(project: Project, place: Path) -> None:
    """Trees are emptied first; then attempts are interrupted; then each task goes on as its `on_crash` says."""
    places = {how: place / how for how in ("rerun", "fail", "ask")}
    project.write(
        "m1", milestone_of(*({"id": how, "on_crash": how, "run": stubborn_task(at)} for how, at in places.items()))
    )
    running = project.start("run", "m1", "-j", "3")
    pids = [pid for at in places.values() for pid in stubborn_pids(at)]
    for at in places.values():
        (at / "go").touch()

    os.kill(ready_pid(project, "runner"), signal.SIGKILL)

    assert running.wait() == 1, running.text()
    assert not any(map(is_alive, pids))
    assert not (places["rerun"] / "living").exists(), "the task ran again beside its former processes"
    ended = {fact.attempt: fact.outcome for fact in facts(project, AttemptEnded)}
    interrupted = dict.fromkeys(("rerun.1", "fail.1", "ask.1"), Outcome.INTERRUPTED)
    assert ended == {**interrupted, "rerun.2": Outcome.OK}
    reasons = {fact.task: fact.reason for fact in facts(project, TaskFailed)}
    assert reasons.keys() == {"fail", "ask"}
    assert reasons["fail"].endswith("(on_crash: fail)")
    assert "then 'milestonectl run m1' runs it again" in reasons["ask"]
    assert [commit["Task"] for commit in project.commits("milestone/m1")] == ["rerun"]
    assert project.ctl("run", "m1").code == 0
    assert {commit["Task"] for commit in project.commits("milestone/m1")} == {"rerun", "fail", "ask"}


@pytest.mark.row("F30")
@pytest.mark.parametrize(
    "line",
    ["test $PPID -gt 1 && kill -9 $PPID; sleep 60", "test $PPID -gt 1 && kill $PPID; sleep 60"],
    ids=["KILL", "TERM"],
)
def test_a_task_that_kills_the_runner_fails_with_that_reason_and_the_others_complete(
    project: Project, place: Path, line: str
) -> None:
    """Interrupted twice beside others, then alone: by then it is known which task it was, and the session goes on."""
    others = {f"t{number}": f"until test -e {place}/go; do sleep 0.02; done; echo > t{number}" for number in range(3)}
    tasks = [{"id": "bad", "run": line}, *({"id": key, "run": run} for key, run in others.items())]
    project.write("m1", milestone_of(*tasks, {"id": "after", "depends_on": ["t1"], "run": "echo > after"}))
    running = project.start("run", "m1", "-j", "3")
    wait_until(lambda: len(_runner_deaths(project)) > 1, 60.0, "the runner dies twice")
    (place / "go").touch()

    assert running.wait() == 1, running.text()

    (failed,) = facts(project, TaskFailed)
    assert failed.task == "bad"
    assert failed.reason.startswith("the task runner was killed three times while this task ran, the last time with")
    assert failed.attempt == "bad.3"
    assert {commit["Task"] for commit in project.commits("milestone/m1")} == {*others, "after"}
    assert len(_runner_deaths(project)) == 3


def _runner_deaths(project: Project) -> list[ChildGone]:
    return [fact for fact in facts(project, ChildGone) if fact.child == "runner"]


@pytest.mark.row("F23")
def test_what_a_leader_leaves_behind_has_ended_before_the_tree_is_captured(project: Project, place: Path) -> None:
    """The commit has what the left process wrote while it was ended, and the process is gone by then."""
    left = (
        f'setsid sh -c \'trap "echo said goodbye > late; exit" TERM; echo $$ > {place}/pid; '
        "while :; do sleep 0.1; done' >&- 2>&- &\n"
        f"until test -s {place}/pid; do sleep 0.02; done\necho 1 > one"
    )
    after = f"grep -qs '^State:.[^ZX]' /proc/$(cat {place}/pid)/status && exit 1; cat one late > two"
    project.write("m1", milestone_of({"id": "t1", "run": left}, {"id": "t2", "depends_on": ["t1"], "run": after}))

    done = project.ctl("run", "m1")

    assert done.code == 0, done.out
    assert git(project.path, "show", "milestone/m1:two") == "1\nsaid goodbye"
    assert_done_once(project, "m1", {"t1": (), "t2": ("t1",)})


@pytest.mark.row("F4")
def test_a_fork_server_killed_twice_pauses_the_session_and_the_next_run_resumes_it(
    project: Project, place: Path
) -> None:
    """Mended once a period, then escalated: exit 1 with the reason, and nothing lives."""
    running = start_waiting(project, place / "go")
    ready_pid(project, ROLES[-1])
    first = fork_server_of(running.process.pid)

    os.kill(first, signal.SIGKILL)
    pids = [ready_pid(project, role, 2) for role in ROLES]
    second = wait_until(lambda: fork_server_of(running.process.pid), 60.0)
    os.kill(second, signal.SIGKILL)

    assert running.wait() == 1, running.text()
    assert first != second
    assert "the fork server died 2 times within 60 s" in running.text()
    assert "Go on with: milestonectl run m1" in running.text()
    assert project.session_json()["status"] == "paused"
    assert_nothing_lives(project, [first, second, *pids, *pids_of_children(project.records()).values()])
    assert_resumes(project, place / "go", {"t1": ()})


@pytest.mark.row("F4")
def test_a_stopped_fork_server_is_found_out_and_replaced(project: Project, place: Path) -> None:
    """What it does not tell of within seconds is believed of the pidfds; tasks go on meanwhile."""
    running = start_waiting(project, place / "go")
    ready_pid(project, ROLES[-1])
    wait_until(lambda: facts(project, AttemptStarted), 60.0, "the task runs")
    stopped = fork_server_of(running.process.pid)

    os.kill(stopped, signal.SIGSTOP)
    os.kill(ready_pid(project, "git_integration"), signal.SIGKILL)

    pids = [ready_pid(project, role, 2) for role in ROLES]
    assert not is_alive(stopped)
    (place / "go").touch()
    assert running.wait(60.0) == 0, running.text()
    assert [fact.attempt for fact in facts(project, AttemptStarted)] == ["t1.1"]
    assert_done_once(project, "m1", {"t1": ()})
    assert_nothing_lives(project, pids)


@pytest.mark.row("F4")
def test_a_stopped_fork_server_does_not_keep_a_run_from_being_interrupted(project: Project, place: Path) -> None:
    """Exit 130 within seconds, and a session that resumes."""
    running = start_waiting(project, place / "go")
    wait_until(lambda: facts(project, AttemptStarted), 60.0, "the task runs")
    pids = list(pids_of_children(project.records()).values())
    os.kill(fork_server_of(running.process.pid), signal.SIGSTOP)

    os.kill(running.process.pid, signal.SIGINT)

    assert running.wait(60.0) == 130, running.text()
    assert_nothing_lives(project, pids)
    assert_resumes(project, place / "go", {"t1": ()})


@pytest.mark.row("P4", "F5")
def test_nothing_lives_five_seconds_after_the_run_was_killed_however_stubborn(project: Project, place: Path) -> None:
    """The runner holds the dead-man's link: TERM and CONT, then KILL, until the tree is empty."""
    project.configure("stop_grace: 60s\n")
    project.write("m1", milestone_of({"id": "t1", "run": stubborn_task(place)}))
    running = project.start("run", "m1")
    pids = stubborn_pids(place)
    known = [*pids_of_children(project.records()).values(), fork_server_of(running.process.pid)]

    running.kill()

    assert_nothing_lives(project, [*pids, *known])
    assert_resumes(project, place / "go", {"t1": ()})
    assert not (place / "living").exists()


@pytest.mark.row("P4", "F7")
@pytest.mark.parametrize("follower", ["m1", "m2"])
def test_tasks_that_outlived_everything_are_ended_by_the_next_start(
    project: Project, place: Path, follower: str
) -> None:
    """Run, fork server, runner and roles die at once; whatever runs next here sweeps before it starts a task."""
    project.write("m1", milestone_of({"id": "t1", "run": stubborn_task(place)}))
    running = project.start("run", "m1")
    pids = stubborn_pids(place)
    ready_pid(project, ROLES[-1])
    children = pids_of_children(project.records())
    everything = [fork_server_of(running.process.pid), running.process.pid, *children.values()]
    for pid in everything:
        os.kill(pid, signal.SIGSTOP)
    for pid in everything:
        os.kill(pid, signal.SIGKILL)
    running.process.wait(60.0)
    _assert_gone(everything[2:])
    assert all(map(is_alive, pids)), "somebody was left to end the tasks"

    if follower == "m1":
        assert_resumes(project, place / "go", {"t1": ()})
    else:
        count = COUNT_LIVING.format(place=place)
        text = milestone_of({"id": "t1", "run": f"{count}echo 2 > two"}).replace("id: m1", "id: m2", 1)
        project.write("m2", text)
        done = project.ctl("run", "m2")
        assert done.code == 0, done.out + done.err

    assert not (place / "living").exists(), "a task was started beside those of the former life"
    assert not any(map(is_alive, pids))


def _kill_again_and_again(running: Running, child: str) -> None:
    """Kill every incarnation of a child until there is no next one."""
    for incarnation in range(1, 13):
        os.kill(ready_pid(running.project, child, incarnation), signal.SIGKILL)
        after = wait_until(
            partial(_what_came_after, running, child, incarnation), 60.0, f"{child} {incarnation} is gone"
        )
        if after == "nothing":
            return
    raise AssertionError(f"{child} was never given up")


def _what_came_after(running: Running, child: str, incarnation: int) -> str:
    starts = [fact.incarnation for fact in facts(running.project, ChildReady) if fact.child == child]
    if incarnation + 1 in starts:
        return "another"
    over = facts(running.project, ChildQuarantined) or running.process.poll() is not None
    return "nothing" if over else ""


@pytest.mark.row("F3")
def test_an_optional_role_that_keeps_dying_is_left_out_and_the_run_goes_on(project: Project, place: Path) -> None:
    """FATAL, a blocker, and a completed milestone."""
    running = start_waiting(project, place / "go")

    _kill_again_and_again(running, "progress_monitor")

    wait_until(
        lambda: [fact for fact in facts(project, BlockerRaised) if fact.claim == "quarantined:progress_monitor"],
        60.0,
        "the blocker is raised",
    )
    agent = project.path / ".milestones" / "sessions" / project.session() / "agents" / "progress_monitor.json"
    wait_until(lambda: '"FATAL"' in agent.read_text(encoding="utf-8"), 60.0, "the sheet says FATAL")
    (place / "go").touch()
    assert running.wait() == 0, running.text()
    assert "Progress Monitor is left out (FATAL)" in running.text()
    assert_done_once(project, "m1", {"t1": ()})


@pytest.mark.row("F3")
def test_an_executor_that_keeps_dying_pauses_the_session_and_the_next_run_resumes_it(
    project: Project, place: Path
) -> None:
    """Beyond the budget the session rests with the reason; its task is interrupted, not failed."""
    running = start_waiting(project, place / "go")

    _kill_again_and_again(running, "task_executor")

    assert running.wait() == 1, running.text()
    assert "the roles kept failing: more than 10 restarts in 60 s" in running.text()
    assert project.session_json()["status"] == "paused"
    assert_nothing_lives(project, list(pids_of_children(project.records()).values()))
    assert_resumes(project, place / "go", {"t1": ()})


@pytest.mark.row("F3")
def test_who_pauses_a_session_by_crashing_again_and_again_is_looked_up_in_what_the_roles_said(
    project: Project, place: Path
) -> None:
    running = start_waiting(project, place / "go")
    pid = ready_pid(project, "git_integration")
    logs = project.path / ".milestones" / "logs" / project.session()
    (logs / "git.jsonl").rename(logs / "git.jsonl.away")
    (logs / "git.jsonl").mkdir()
    os.kill(pid, signal.SIGKILL)

    assert running.wait() == 1, running.text()

    assert f"the roles kept failing: more than 10 restarts in 60 s; see {logs}/children.log" in running.text()
    said = (logs / "children.log").read_text(encoding="utf-8")
    assert (
        f"git_integration, started for the 2. time, crashed: IsADirectoryError: [Errno 21] Is a directory: '{logs}"
        in said
    )
    assert "Traceback" not in running.text() + said
    (logs / "git.jsonl").rmdir()
    assert_resumes(project, place / "go", {"t1": ()})
