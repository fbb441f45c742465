"""The project's own place: a second process for it, another path to it, a directory that goes away or closes."""

import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Final

import pytest

from actors.events import AttemptStarted, DependencyAlert, TaskCompleted
from supervisor.linux import is_alive
from supervisor.mounts import network_file_system
from tests.e2e.stage import (
    COMMAND,
    GONE_SECONDS,
    Project,
    Running,
    assert_done_once,
    assert_nothing_lives,
    facts,
    fork_server_of,
    milestone_of,
    pids_of_children,
    start_waiting,
    waits_for,
)
from tests.faults.strangers import start_as_stranger
from tests.repositories import git
from tests.waiting import wait_until

pytestmark = pytest.mark.usefixtures("swept")

RACERS: Final = 6


def _started(project: Project, place: Path) -> Running:
    running = start_waiting(project, place / "go")
    wait_until(lambda: facts(project, AttemptStarted), 60.0, "the task runs")
    return running


def _everything(running: Running) -> list[int]:
    return [fork_server_of(running.process.pid), *pids_of_children(running.project.records()).values()]


# --- a second supervising process --------------------------------------------------------------------------------


@pytest.mark.row("F19")
def test_of_many_runs_that_start_at_once_one_goes_on_and_the_others_name_it(project: Project, place: Path) -> None:
    project.write("m1", milestone_of({"id": "t1", "run": f"{waits_for(place / 'go')}; echo 1 > one"}))

    racers = [project.start("run", "m1") for _ in range(RACERS)]
    wait_until(
        lambda: sum(one.process.poll() is None for one in racers) == 1 and facts(project, AttemptStarted),
        60.0,
        "one goes on, the others have ended",
    )

    (winner,) = [one for one in racers if one.process.poll() is None]
    losers = [one for one in racers if one is not winner]
    assert [one.process.poll() for one in losers] == [75] * (RACERS - 1)
    assert all(f"process {winner.process.pid}" in one.text() for one in losers), [one.text() for one in losers]
    (place / "go").touch()
    assert winner.wait() == 0, winner.text()
    assert_done_once(project, "m1", {"t1": ()})


def _in_mounts(script: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a shell script in a mount namespace of its own."""
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, stdin=subprocess.DEVNULL)


@pytest.fixture
def mounts() -> None:
    """Skip where nothing can be mounted."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("only root can mount (unshare)")
    if (tried := _in_mounts("mount --bind /proc/self /mnt")).returncode:
        pytest.skip(f"nothing can be mounted here: {tried.stderr.strip()}")


@pytest.mark.row("F19")
@pytest.mark.usefixtures("mounts")
def test_a_project_that_is_held_is_held_through_another_mount_and_without_its_lock_file(
    project: Project, place: Path
) -> None:
    running = _started(project, place)
    other = place / "other"
    other.mkdir()
    os.kill(running.process.pid, signal.SIGSTOP)  # or it would find out that its lock is gone, and end
    (project.path / ".milestones" / "lock").unlink()
    script = 'mount --bind "$1" "$2" && shift 2 && exec "$@"'

    done = _in_mounts(script, str(project.path), str(other), *COMMAND, "-C", str(other), "run", "m1")

    assert done.returncode == 75, done.stdout + done.stderr
    assert f"process {running.process.pid}" in done.stderr
    assert "/other/.milestones/lock" in done.stderr, "it was not the mounted path that was refused"
    os.kill(running.process.pid, signal.SIGKILL)
    assert_nothing_lives(project, [running.process.pid])


# --- where the project is ----------------------------------------------------------------------------------------


@pytest.mark.row("F26")
@pytest.mark.parametrize("how", ["moved", "deleted"])
def test_a_run_whose_project_is_moved_or_deleted_ends_everything_and_says_so(
    project: Project, place: Path, how: str
) -> None:
    running = _started(project, place)
    pids = _everything(running)
    moved = project.path.with_name("moved")
    if how == "moved":
        project.path.rename(moved)
    else:
        with running.standing_still():  # a directory in which it writes meanwhile would not be empty
            shutil.rmtree(project.path)

    code = running.wait()

    # What is deleted file by file is found out by whichever is looked at first, the lock or the journal.
    found = {75: "lock was removed or replaced"} | ({74: "was removed while it was in use"} if how == "deleted" else {})
    assert code in found, running.text()
    assert found[code] in running.text()
    assert "Traceback" not in running.text()
    wait_until(lambda: not any(map(is_alive, pids)), GONE_SECONDS, "nothing of it lives")
    if how == "moved":
        (place / "go").touch()
        there = Project(moved)
        done = there.ctl("run", "m1")
        assert done.code == 0, done.out + done.err
        assert_done_once(there, "m1", {"t1": ()})


@pytest.mark.row("F26")
@pytest.mark.usefixtures("mounts")
def test_on_a_read_only_file_system_what_writes_is_refused_and_what_reads_answers(project: Project) -> None:
    project.write("m1", milestone_of({"id": "t1", "run": "true"}))
    assert project.ctl("run", "m1").code == 0
    project.write("m2", milestone_of({"id": "t1", "run": "true"}).replace("m1", "m2", 1))
    script = 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && cd "$1" && shift && exec "$@"'

    run, status, validate = (
        _in_mounts(script, str(project.path), *COMMAND, *words) for words in (("run", "m2"), ("status",), ("validate",))
    )

    assert run.returncode == 74, run.stdout + run.stderr
    assert "Read-only file system" in run.stderr
    assert "m2" in status.stdout
    assert validate.returncode == 0
    assert not any("Traceback" in done.stdout + done.stderr for done in (run, status, validate))


@pytest.mark.row("F26")
@pytest.mark.usefixtures("mounts")
def test_a_project_on_a_network_file_system_is_refused_with_what_to_do(project: Project, place: Path) -> None:
    """Nothing serves one here: the kernel's table of mounts says that the directory is on one."""
    project.write("m1", milestone_of({"id": "t1", "run": "true"}))
    table = place / "mountinfo"
    line = f"99 1 0:99 / {project.path} rw - nfs4 server:/export rw\n"
    table.write_text(Path("/proc/self/mountinfo").read_text(encoding="utf-8") + line, encoding="utf-8")
    script = 'mount --bind "$1" /proc/$$/mountinfo && cd "$2" && shift 2 && exec "$@"'

    done = _in_mounts(script, str(table), str(project.path), *COMMAND, "run", "m1")

    assert done.returncode == 78, done.stdout + done.stderr
    assert "is on a network file system (nfs4)" in done.stderr
    assert "git clone" in done.stderr
    assert not (project.path / ".milestones" / "state.db").exists()


@pytest.mark.row("F26")
@pytest.mark.parametrize(
    ("lines", "kind"),
    [
        (["/ ext4"], ""),
        (["/ ext4", "/home nfs"], "nfs"),
        (["/ nfs4", "/home ext4"], ""),
        (["/ ext4", "/home/my\\040project fuse.sshfs"], "fuse.sshfs"),
        (["/ ext4", "/home nfs", "/home tmpfs"], ""),
        (["/ ext4", "/ho cifs", "/home/my cifs", "/home/my\\040project/deeper cifs"], ""),
        (["/ 9p"], "9p"),
        (["nonsense"], ""),
    ],
)
def test_the_mount_that_a_path_is_on_is_the_deepest_and_latest(tmp_path: Path, lines: list[str], kind: str) -> None:
    table = tmp_path / "mountinfo"
    text = "".join(f"1 1 8:1 / {point} rw,relatime shared:1 - {kind} source rw\n" for point, kind in _pairs(lines))
    table.write_text(text or lines[0], encoding="utf-8")
    assert network_file_system(Path("/home/my project"), table) == kind
    assert network_file_system(Path("/home/my project"), tmp_path / "none") == ""


def _pairs(lines: list[str]) -> list[tuple[str, str]]:
    return [(point, kind) for point, _, kind in (line.partition(" ") for line in lines) if kind]


@pytest.mark.row("F26")
def test_a_run_goes_on_when_what_it_shows_cannot_be_written_any_more(strangers_project: Project) -> None:
    """Directories are closed to its user: the journal is open, and everything else can be made from it."""
    project, gate = strangers_project, strangers_project.path.parent / "go"
    project.write("m1", milestone_of({"id": "t1", "run": f"{waits_for(gate)}; echo 1 > one"}))
    running = start_as_stranger(project)
    wait_until(lambda: facts(project, AttemptStarted) or running.process.poll() is not None, 60.0, "the task runs")
    assert running.process.poll() is None, running.text()
    sheets = project.path / ".milestones" / "sessions" / project.session()
    for closed in (sheets / "agents", sheets):
        closed.chmod(0o500)
    before = (sheets / "session.json").read_bytes()

    gate.touch()

    assert running.wait() == 0, running.text()
    assert "Traceback" not in running.text()
    assert (sheets / "session.json").read_bytes() == before, "it could be written after all"
    assert [fact.task for fact in facts(project, TaskCompleted)] == ["t1"]


# --- what stands in the project ----------------------------------------------------------------------------------


@pytest.mark.row("F18")
def test_status_says_that_the_file_differs_from_what_runs(project: Project, place: Path) -> None:
    running = _started(project, place)
    assert "edited" not in project.ctl("status", "m1").out
    project.write("m1", milestone_of({"id": "t1", "run": "echo something else"}))
    wait_until(lambda: facts(project, DependencyAlert), 60.0, "the edit is alerted")

    shown = wait_until(
        lambda: said if "edited" in (said := project.ctl("status", "m1").out) else "", 60.0, "status shows it"
    )

    assert "m1.yaml" in shown
    (place / "go").touch()
    assert running.wait() == 0, running.text()
    assert git(project.path, "show", "milestone/m1:one") == "1", "the edit was executed"


@pytest.mark.row("F16")
def test_locks_that_a_dead_git_left_neither_hinder_a_run_nor_are_the_user_s_removed(project: Project) -> None:
    """The index's lock stays where and what it is, the index too; that of our own branch goes."""
    project.write("m1", milestone_of({"id": "t1", "run": "echo 1 > one"}))
    index, lock = project.path / ".git" / "index", project.path / ".git" / "index.lock"
    lock.write_bytes(b"half an index")
    before = index.read_bytes()
    ours = project.path / ".git" / "refs" / "heads" / "milestone" / "m1.lock"
    ours.parent.mkdir(parents=True)
    ours.touch()
    refused = subprocess.run(["git", "add", "."], cwd=project.path, capture_output=True, check=False)
    assert refused.returncode == 128, "the lock locks nothing"

    done = project.ctl("run", "m1")

    assert done.code == 0, done.out + done.err
    assert lock.read_bytes() == b"half an index"
    assert index.read_bytes() == before
    assert not ours.exists()
    assert_done_once(project, "m1", {"t1": ()})
