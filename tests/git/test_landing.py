"""Landing: one commit per task, whatever happens between two programs."""

import errno
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from actors.git.flows import (
    AlreadyLanded,
    Archived,
    Captured,
    CommitSpec,
    Conflict,
    Landed,
    Lost,
    NothingToLand,
    Refusal,
    archive,
    capture,
    land,
    start,
)
from actors.programs import Finished, Program
from tests.git.driver import KilledError, drive, execute
from tests.git.project import AUTHOR, WHEN, MakeProject, Project, begin, message, write
from tests.repositories import git


def _landed(outcome: object) -> Landed:
    assert isinstance(outcome, Landed), outcome
    return outcome


def test_a_task_becomes_one_commit_with_its_trailers_dates_and_author(project: Project) -> None:
    ready = project.slot()
    write(ready.path, "src/one.txt", "one\n")
    write(ready.path, "new/three.txt", "3\n")
    Path(ready.path, "src/two.txt").unlink()
    landed = _landed(project.land("task-1", base=ready.base))
    assert git(project.folder, "rev-parse", f"{landed.sha}^") == project.base
    assert landed.files == 3
    assert landed.sha == project.tip
    shown = git(project.folder, "show", "--format=%an <%ae> %at %ct%n%B", "--name-status", project.repo.branch)
    assert shown.splitlines() == [
        f"Test Author <author@example.org> {WHEN} {WHEN}",
        "feat(milestone-001): Do task-1",
        "",
        "Milestone: milestone-001",
        "Task: task-1",
        "Session: exec-milestone-001-20260102_030405-0a1b2c3d",
        "",
        "",
        "A\tnew/three.txt",
        "M\tsrc/one.txt",
        "D\tsrc/two.txt",
    ]


@pytest.mark.row("F14")
def test_all_that_a_commit_needs_is_flushed_before_the_branch_names_it_and_the_branch_before_it_has_landed(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready = project.slot()
    write(ready.path, "new/deep/a.txt", "a\n")
    # By the task's own git, which does not flush it.
    git(Path(ready.path), "hash-object", "-w", "new/deep/a.txt")
    common = Path(project.repo.common_dir)
    flushed: list[str] = []
    really = os.fsync

    def noting(descriptor: int) -> None:
        really(descriptor)
        at_tip = (common / project.repo.ref).read_text().strip() == project.base
        name = Path(f"/proc/self/fd/{descriptor}").readlink().relative_to(common)
        flushed.append(f"{'before' if at_tip else 'after'} {name}")

    monkeypatch.setattr(os, "fsync", noting)
    landed = _landed(project.land("task-1", base=ready.base))
    objects = git(project.folder, "rev-list", "--objects", "--no-object-names", f"{project.base}..{landed.sha}")
    names = objects.split()
    assert len(names) == 5
    assert {f"before objects/{name[:2]}" for name in names} <= set(flushed)
    blob = git(project.folder, "rev-parse", f"{landed.sha}:new/deep/a.txt")
    assert f"before objects/{blob[:2]}/{blob[2:]}" in flushed
    assert sum("/tmp_obj_" in name for name in flushed) == len(names) - 1
    assert {"before objects", f"before {project.repo.ref}.lock"} <= set(flushed)
    assert flushed[-4:] == [f"after {name}" for name in _upwards(project.repo.ref)]


def _upwards(ref: str) -> list[str]:
    return [ref, *(str(folder) for folder in Path(ref).parents if folder.name)]


def test_tasks_land_in_a_repository_with_sha256_names(
    make_project: MakeProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_DEFAULT_HASH", "sha256")
    project = make_project()
    assert len(project.base) == 64
    for number in range(2):
        write(project.slot(number, project.base).path, f"file-{number}.txt", "x\n")
    for number in range(2):
        _landed(project.land(f"task-{number}", number, base=project.base))
    assert project.commits() == ["task-0", "task-1"]
    write(project.slot().path, "src/one.txt", "third\n")
    _landed(project.land("task-2", base=project.tip))
    assert git(project.folder, "fsck", "--strict", "--no-dangling") == ""


def test_parallel_changes_of_different_files_are_merged_into_a_straight_history(project: Project) -> None:
    for number in range(3):
        ready = project.slot(number, project.base)
        write(ready.path, f"file-{number}.txt", "x\n")
    for number in range(3):
        _landed(project.land(f"task-{number}", number, base=project.base))
    assert project.commits() == ["task-0", "task-1", "task-2"]
    assert git(project.folder, "ls-tree", "--name-only", project.repo.branch).split() == [
        "README.md",
        "file-0.txt",
        "file-1.txt",
        "file-2.txt",
        "src",
    ]
    assert git(project.folder, "rev-list", "--merges", project.repo.branch) == ""


def test_a_conflict_names_the_paths_however_odd_they_are(make_project: MakeProject) -> None:
    names = ["plain.txt", "with space.txt", "with\nnewline", 'quote".txt', "tab\there", "-dash", "ümlaut"]
    project = make_project(dict.fromkeys(names, "base\n"))
    for number in range(2):
        ready = project.slot(number, project.base)
        for name in names:
            write(ready.path, name, f"{number}\n")
    _landed(project.land("task-0", 0, base=project.base))
    tip = project.tip
    outcome = project.land("task-1", 1, base=project.base)
    assert isinstance(outcome, Conflict)
    assert sorted(outcome.paths) == sorted(names)
    assert project.tip == tip


def test_a_file_deleted_by_one_task_and_changed_by_another_conflicts(project: Project) -> None:
    Path(project.slot(0, project.base).path, "src/one.txt").unlink()
    write(project.slot(1, project.base).path, "src/one.txt", "changed\n")
    _landed(project.land("task-0", 0, base=project.base))
    assert project.land("task-1", 1, base=project.base) == Conflict(("src/one.txt",))


def test_a_task_that_changed_nothing_has_nothing_to_land(project: Project) -> None:
    ready = project.slot()
    Path(ready.path, "src/one.txt").touch()
    assert project.land("task-1", base=ready.base) == NothingToLand()
    assert project.tip == project.base


def test_the_same_change_by_two_tasks_lands_once(project: Project) -> None:
    for number in range(2):
        write(project.slot(number, project.base).path, "same.txt", "same\n")
    _landed(project.land("task-0", 0, base=project.base))
    assert project.land("task-1", 1, base=project.base) == NothingToLand()
    assert project.commits() == ["task-0"]


def test_landing_twice_finds_the_first_commit(project: Project) -> None:
    ready = project.slot()
    write(ready.path, "a.txt", "a\n")
    first = _landed(project.land("task-1", base=ready.base))
    assert project.land("task-1", base=ready.base) == AlreadyLanded(first.sha, 1)
    assert project.commits() == ["task-1"]


def test_lost_work_that_had_landed_is_found_on_the_branch(project: Project) -> None:
    ready = project.slot()
    write(ready.path, "a.txt", "a\n")
    first = _landed(project.land("task-1", base=ready.base))
    subprocess.run(["rm", "-rf", ready.path], check=True)
    assert project.land("task-1", base=ready.base) == AlreadyLanded(first.sha, 1)
    assert isinstance(project.land("task-2", base=ready.base), Lost)


def test_the_same_task_of_another_session_lands_again(project: Project) -> None:
    ready = project.slot()
    write(ready.path, "a.txt", "a\n")
    _landed(project.land("task-1", base=ready.base))
    write(ready.path, "a.txt", "b\n")
    captured = drive(capture(project.repo, 0, ready.base))
    assert isinstance(captured, Captured)
    spec = CommitSpec(message("task-1", "another"), WHEN, AUTHOR)
    _landed(drive(land(project.repo, captured, project.tip, spec)))
    assert project.commits() == ["task-1", "task-1"]


def test_the_same_inputs_give_the_same_commit_in_another_copy_of_the_repository(
    make_project: MakeProject, tmp_path: Path
) -> None:
    project = make_project()
    copy = tmp_path / "copy"
    subprocess.run(["cp", "-a", project.folder, copy], check=True)
    shas = []
    for one in (project, begin(copy, tmp_path / "other-cache")):
        ready = one.slot()
        write(ready.path, "a.txt", "a\n")
        shas.append(_landed(one.land("task-1", base=ready.base)).sha)
    assert shas[0] == shas[1]


def _failing_flush_of_the_branch(project: Project, monkeypatch: pytest.MonkeyPatch, number: int) -> list[str]:
    """Let flushes of the branch's own file fail once it has moved; return the list of failures, emptied to mend it."""
    failures: list[str] = ["once"]
    ref = Path(project.repo.common_dir, project.repo.ref)
    really = os.fsync

    def failing(descriptor: int) -> None:
        if failures and Path(f"/proc/self/fd/{descriptor}").readlink() == ref:
            failures.append(str(ref))
            raise OSError(number, os.strerror(number))
        really(descriptor)

    monkeypatch.setattr(os, "fsync", failing)
    return failures


@pytest.mark.row("F12")
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EMFILE])
def test_once_the_branch_has_moved_a_failed_flush_is_never_the_task_s_failure(
    project: Project, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    ready = project.slot()
    write(ready.path, "a.txt", "a\n")
    failures = _failing_flush_of_the_branch(project, monkeypatch, number)
    for _ in range(2):
        refused = project.land("task-1", base=ready.base)
        assert isinstance(refused, Refusal)
        assert (refused.is_passing, refused.is_broken) == (number != errno.EIO, number == errno.EIO)
    assert project.tip != project.base
    failures.clear()
    assert project.land("task-1", base=ready.base) == AlreadyLanded(project.tip, 1)
    assert project.commits() == ["task-1"]


def test_what_an_earlier_try_landed_is_written_anew_because_a_second_flush_would_prove_nothing(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready = project.slot()
    write(ready.path, "new/a.txt", "a\n")
    failures = _failing_flush_of_the_branch(project, monkeypatch, errno.EIO)
    assert isinstance(project.land("task-1", base=ready.base), Refusal)
    failures.clear()
    ref = Path(project.repo.common_dir, project.repo.ref)
    before = ref.stat().st_ino
    assert project.land("task-1", base=ready.base) == AlreadyLanded(project.tip, 1)
    assert ref.stat().st_ino != before
    (index,) = Path(project.repo.common_dir, "objects/pack").glob("*.idx")
    packed = {line.split()[0] for line in git(project.folder, "verify-pack", "-v", str(index)).splitlines()}
    needed = git(project.folder, "rev-list", "--objects", "--no-object-names", f"{project.base}..{project.tip}")
    assert set(needed.split()) <= packed
    assert git(project.folder, "fsck", "--strict", "--no-dangling") == ""


def test_what_somebody_s_git_prunes_before_it_is_committed_is_written_again(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready = project.slot()
    write(ready.path, "a/b/c.txt", "a\n")
    really = os.fsync
    pruned: list[str] = []

    def pruning(descriptor: int) -> None:
        if not pruned:
            pruned.append(git(project.folder, "prune", "--expire=now", "--verbose"))
        really(descriptor)

    monkeypatch.setattr(os, "fsync", pruning)
    refused = project.land("task-1", base=ready.base)
    assert pruned[0].endswith(" blob") or " blob\n" in pruned[0]
    assert isinstance(refused, Refusal)
    assert refused.is_passing
    assert "git prune" in refused.cure
    assert project.tip == project.base
    _landed(project.land("task-1", base=ready.base))
    git(project.folder, "fsck", "--connectivity-only", "--no-dangling")


@pytest.mark.parametrize(
    "said", ["sha1 file 'index.lock' write error. Out of diskspace", "unable to write new index file"]
)
def test_whatever_git_says_of_a_full_disk_it_passes(said: str) -> None:
    assert Refusal(f"git cannot add what was changed: {said}").is_passing


def test_a_branch_whose_history_cannot_be_searched_now_is_searched_later(project: Project) -> None:
    ready = project.slot()
    write(ready.path, "a.txt", "a\n")
    first = _landed(project.land("task-1", base=ready.base))

    def failing(program: Program) -> Finished:
        return Finished(-9, b"", b"killed after 300 s") if program.argv[1] == "log" else execute(program)

    refused = project.land("task-1", base=ready.base, run=failing)
    assert isinstance(refused, Refusal)
    assert refused.is_passing
    assert project.land("task-1", base=ready.base) == AlreadyLanded(first.sha, 1)


def test_work_that_cannot_be_captured_any_more_is_found_on_the_branch_if_it_landed(project: Project) -> None:
    ready = project.slot()
    write(ready.path, "a.txt", "a\n")
    first = _landed(project.land("task-1", base=ready.base))

    def failing(program: Program) -> Finished:
        return Finished(128, b"", b"fatal: no threads") if program.argv[1] == "add" else execute(program)

    assert project.land("task-1", base=ready.base, run=failing) == AlreadyLanded(first.sha, 1)
    assert isinstance(project.land("task-2", base=ready.base, run=failing), Refusal)


@pytest.mark.parametrize("again", ["the same", "something else", "nothing"])
def test_a_later_attempt_never_adds_a_second_commit_whatever_it_did(project: Project, again: str) -> None:
    ready = project.slot()
    write(ready.path, "a.txt", "a\n")
    first = _landed(project.land("task-1", base=ready.base))
    write(project.slot().path, "b.txt", "b\n")
    _landed(project.land("task-2", base=project.tip))
    rerun = project.slot(attempt="task-1.2")
    if again != "nothing":
        write(rerun.path, "a.txt", "a\n" if again == "the same" else "other\n")
    outcome = project.land("task-1", base=rerun.base, since=project.base)
    assert outcome == AlreadyLanded(first.sha, 1, other=True)
    assert project.commits() == ["task-1", "task-2"]
    kept = drive(archive(project.repo, 0))
    if again == "something else":
        assert isinstance(kept, Archived)
        assert git(project.folder, "show", f"{kept.ref}:a.txt") == "other"
    else:
        assert kept == NothingToLand()


def test_a_later_attempt_lands_when_none_before_it_did(project: Project) -> None:
    write(project.slot().path, "b.txt", "b\n")
    _landed(project.land("task-2", base=project.tip))
    rerun = project.slot(attempt="task-1.2")
    write(rerun.path, "a.txt", "a\n")
    _landed(project.land("task-1", base=rerun.base, since=project.base))
    assert project.commits() == ["task-2", "task-1"]


class _KillAt:
    """Runs programs until the n-th, which is not run or run without telling, and then the flow is dropped."""

    def __init__(self, number: int, *, after: bool) -> None:
        self._left = number
        self._after = after

    def __call__(self, program: Program) -> Finished:
        self._left -= 1
        if self._left == 0:
            if self._after:
                execute(program)
            raise KilledError
        return execute(program)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("parallel", [False, True])
@pytest.mark.parametrize("by_git", [False, True])
def test_cut_short_between_any_two_programs_and_done_again_there_is_exactly_one_commit(
    make_project: MakeProject, after: bool, parallel: bool, by_git: bool
) -> None:
    project = make_project()
    if by_git:
        project.leave_to_git()
    shas = set()
    points = 0
    for point in range(1, 40):
        git(project.folder, "update-ref", project.repo.ref, project.base)
        write(project.slot(1, project.base, attempt="other.1").path, "other.txt", "x\n")
        ready = project.slot(0, project.base)
        write(ready.path, "a.txt", "a\n")
        if parallel:
            _landed(project.land("other", 1, base=project.base))
        try:
            project.land("task-1", base=ready.base, run=_KillAt(point, after=after))
        except KilledError:
            points += 1
        else:
            break
        outcome = project.land("task-1", base=ready.base)
        assert isinstance(outcome, Landed | AlreadyLanded)
        shas.add(outcome.sha)
        assert project.commits() == (["other", "task-1"] if parallel else ["task-1"])
    assert points >= (3 if parallel else 1) + 3 * by_git
    assert len(shas) == 1


def _traced(program: Program, folder: Path) -> list[str]:
    """Run the program once under strace and return the names of its calls that change the disk."""
    calls = "openat,write,fsync,rename,link,linkat,unlink,mkdir"
    log = folder / "trace"
    argv = ("strace", "-f", "-qq", "-o", str(log), "-e", f"trace={calls}", *program.argv)
    done = execute(Program(argv, program.cwd, program.env, program.stdin))
    assert done.ok, done.stderr
    return re.findall(r"^(?:\d+ +)?(\w+)\(", log.read_text(errors="replace"), re.MULTILINE)


def _killed_at(call: str, number: int) -> Callable[[Program], Finished]:
    """Return a runner that kills ``update-ref`` before its n-th call of that name."""

    def run(program: Program) -> Finished:
        if program.argv[1] != "update-ref":
            return execute(program)
        inject = f"inject={call}:signal=KILL:when={number}"
        argv = ("strace", "-f", "-qq", "-o", "/dev/null", "-e", inject, *program.argv)
        done = execute(Program(argv, program.cwd, program.env, program.stdin))
        if done.code in {-9, 137}:
            raise KilledError
        return done

    return run


@pytest.mark.row("F16")
@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace to kill a program at a system call")
def test_update_ref_killed_at_its_writes_and_renames_lands_exactly_once_when_done_again(
    project: Project, tmp_path: Path
) -> None:
    project.leave_to_git()
    ready = project.slot()
    write(ready.path, "a.txt", "a\n")
    names: list[str] = []

    def watched(program: Program) -> Finished:
        if program.argv[1] != "update-ref":
            return execute(program)
        names.extend(_traced(program, tmp_path))
        return Finished(0, b"", b"")

    expected = _landed(project.land("task-1", base=ready.base, run=watched)).sha
    points = [(name, number) for name in ("write", "fsync", "rename") for number in range(1, names.count(name) + 1)]
    assert {"write", "fsync", "rename"} <= {name for name, _ in points}
    locks = 0
    for name, number in points:
        git(project.folder, "update-ref", project.repo.ref, project.base)
        with pytest.raises(KilledError):
            project.land("task-1", base=ready.base, run=_killed_at(name, number))
        locks += Path(project.repo.common_dir, f"{project.repo.ref}.lock").exists()
        outcome = project.land("task-1", base=ready.base)
        assert isinstance(outcome, Landed | AlreadyLanded), (name, number, outcome)
        assert outcome.sha == expected
        assert project.commits() == ["task-1"]
    assert locks > 0


def _die_before_write(number: int) -> None:
    """Let the kernel kill this process before its n-th change of a file."""
    left = number

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal left
        flags = arguments[2] if event == "open" else os.O_WRONLY
        changes = event in {"open", "os.rename", "os.remove", "os.mkdir", "os.chmod", "os.utime", "os.truncate"}
        if changes and isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def _killed_before_write(project: Project, base: str, number: int) -> bool:
    """Land in a process that dies before its n-th change of a file; whether it got that far."""
    child = os.fork()
    if child == 0:
        _die_before_write(number)
        os._exit(isinstance(project.land("task-1", base=base), Landed))
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status):
        return True
    assert os.waitstatus_to_exitcode(status) == 1
    return False


@pytest.mark.parametrize("parallel", [False, True])
def test_killed_before_any_change_of_a_file_and_done_again_there_is_exactly_one_commit(
    make_project: MakeProject, parallel: bool
) -> None:
    project = make_project()
    shas = set()
    points = locks = 0
    for point in range(1, 60):
        git(project.folder, "update-ref", project.repo.ref, project.base)
        write(project.slot(1, project.base, attempt="other.1").path, "other.txt", "x\n")
        ready = project.slot(0, project.base)
        write(ready.path, "a.txt", "a\n")
        if parallel:
            _landed(project.land("other", 1, base=project.base))
        if not _killed_before_write(project, ready.base, point):
            break
        points += 1
        locks += Path(project.repo.common_dir, f"{project.repo.ref}.lock").exists()
        outcome = project.land("task-1", base=ready.base)
        assert isinstance(outcome, Landed | AlreadyLanded), (point, outcome)
        shas.add(outcome.sha)
        assert project.commits() == (["other", "task-1"] if parallel else ["task-1"])
    assert points > 9
    assert locks > 0
    assert len(shas) == 1
    assert git(project.folder, "fsck", "--strict", "--no-dangling") == ""


@pytest.mark.row("F16")
def test_a_lock_that_may_be_somebody_elses_is_never_removed(project: Project) -> None:
    ready = project.slot()
    write(ready.path, "a.txt", "a\n")
    lock = Path(project.repo.common_dir, f"{project.repo.ref}.lock")
    lock.write_text(project.base + "\n")
    outcome = project.land("task-1", base=ready.base)
    assert isinstance(outcome, Refusal)
    assert str(lock) in outcome.reason
    assert f"rm {lock}" in outcome.cure
    assert lock.exists()
    lock.unlink()
    _landed(project.land("task-1", base=ready.base))


@pytest.mark.parametrize("written", [False, True])
def test_the_lock_of_a_kill_while_the_branch_was_written_anew_is_removed(project: Project, written: bool) -> None:
    ready = project.slot()
    write(ready.path, "a.txt", "a\n")
    first = _landed(project.land("task-1", base=ready.base))
    lock = Path(project.repo.common_dir, f"{project.repo.ref}.lock")
    lock.write_text(f"{first.sha}\n" if written else "")
    again = project.land("task-1", base=ready.base)
    assert again == AlreadyLanded(first.sha, files=1)
    assert not lock.exists()


@pytest.mark.row("F16")
@pytest.mark.parametrize("written", [False, True])
def test_a_lock_that_a_living_process_holds_open_is_never_removed_whatever_the_process_is(
    project: Project, written: bool
) -> None:
    ready = project.slot()
    write(ready.path, "a.txt", "a\n")
    first = _landed(project.land("task-1", base=ready.base))
    lock = Path(project.repo.common_dir, f"{project.repo.ref}.lock")
    with subprocess.Popen(
        ["sh", "-c", 'exec 3> "$0"; printf "$1" >&3; echo; read -r _', str(lock), f"{first.sha}\\n" if written else ""],
        cwd="/",
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"\n"
        assert isinstance(project.land("task-1", base=ready.base), Refusal)
        assert lock.exists()
        holder.communicate(b"\n")
    assert project.land("task-1", base=ready.base) == AlreadyLanded(first.sha, files=1)
    assert not lock.exists()


@pytest.mark.row("F16")
def test_an_empty_lock_stays_while_a_git_works_in_the_repository(project: Project) -> None:
    ready = project.slot()
    write(ready.path, "a.txt", "a\n")
    lock = Path(project.repo.common_dir, f"{project.repo.ref}.lock")
    lock.touch()
    with subprocess.Popen(
        ["git", "cat-file", "--batch"], cwd=project.folder, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    ) as at_work:
        assert isinstance(project.land("task-1", base=ready.base), Refusal)
        assert at_work.stdin is not None
        at_work.stdin.close()
    assert lock.exists()
    _landed(project.land("task-1", base=ready.base))
    assert not lock.exists()


@pytest.mark.row("F17")
def test_a_branch_that_moves_between_reading_and_moving_it_is_read_again(project: Project) -> None:
    project.leave_to_git()
    ready = project.slot()
    write(ready.path, "a.txt", "a\n")
    moves = iter(range(2))

    def moving(program: Program) -> Finished:
        if program.argv[1] == "update-ref" and next(moves, None) is not None:
            tree = git(project.folder, "rev-parse", f"{project.tip}^{{tree}}")
            foreign = git(project.folder, "commit-tree", tree, "-p", project.tip, "-m", "foreign")
            git(project.folder, "update-ref", project.repo.ref, foreign)
        return execute(program)

    landed = _landed(project.land("task-1", base=ready.base, run=moving))
    assert git(project.folder, "rev-list", "--count", f"{project.base}..{landed.sha}") == "3"


def test_a_branch_that_always_moves_ends_in_a_refusal(project: Project) -> None:
    project.leave_to_git()
    ready = project.slot()
    write(ready.path, "a.txt", "a\n")

    def moving(program: Program) -> Finished:
        if program.argv[1] == "update-ref":
            tree = git(project.folder, "rev-parse", f"{project.tip}^{{tree}}")
            git(
                project.folder,
                "update-ref",
                project.repo.ref,
                git(project.folder, "commit-tree", tree, "-p", project.tip, "-m", "foreign"),
            )
        return execute(program)

    outcome = project.land("task-1", base=ready.base, run=moving)
    assert isinstance(outcome, Refusal)
    assert "moved 8 times" in outcome.reason


@pytest.mark.row("F17")
def test_a_branch_that_somebody_set_back_is_refused(project: Project) -> None:
    first = project.slot()
    write(first.path, "a.txt", "a\n")
    _landed(project.land("task-1", base=first.base))
    second = project.slot(1)
    write(second.path, "b.txt", "b\n")
    git(project.folder, "update-ref", project.repo.ref, project.base)
    outcome = project.land("task-2", 1, base=second.base)
    assert isinstance(outcome, Refusal)
    assert "somebody took commits off milestone/milestone-001" in outcome.reason
    assert outcome.is_passing
    git(project.folder, "update-ref", "-d", project.repo.ref)
    outcome = project.land("task-2", 1, base=second.base)
    assert isinstance(outcome, Refusal)
    assert "is gone" in outcome.reason


def test_nothing_lands_on_a_branch_that_was_set_back_behind_what_landed_last(project: Project) -> None:
    """Not even a change whose own base is still there: the branch would lose the other task's work for good."""
    slots = [project.slot(number, project.base) for number in range(2)]
    for number, slot in enumerate(slots):
        write(slot.path, f"{number}.txt", "x\n")
    first = _landed(project.land("task-0", 0, base=project.base))
    git(project.folder, "update-ref", project.repo.ref, project.base)

    outcome = project.land("task-1", 1, base=project.base, after=first.sha)

    assert isinstance(outcome, Refusal)
    assert outcome.is_passing
    assert f"git branch --force milestone/milestone-001 {first.sha}" in outcome.cure
    assert project.tip == project.base
    git(project.folder, "update-ref", project.repo.ref, first.sha)
    _landed(project.land("task-1", 1, base=project.base, after=first.sha))
    assert project.commits() == ["task-0", "task-1"]


def test_nothing_lands_while_a_worktree_has_the_branch_checked_out(project: Project, tmp_path: Path) -> None:
    ready = project.slot()
    write(ready.path, "a.txt", "a\n")
    elsewhere = tmp_path / "elsewhere"
    git(project.folder, "worktree", "add", "--quiet", str(elsewhere), project.repo.branch)
    outcome = project.land("task-1", base=ready.base)
    assert isinstance(outcome, Refusal)
    assert str(elsewhere) in outcome.reason
    assert isinstance(drive(start(project.repo)), Refusal)
    git(elsewhere, "checkout", "--quiet", "--detach")
    _landed(project.land("task-1", base=ready.base))


@pytest.mark.row("F17")
def test_nothing_lands_while_the_checkout_itself_or_a_rebase_has_the_branch(project: Project) -> None:
    ready = project.slot()
    write(ready.path, "a.txt", "a\n")
    git(project.folder, "checkout", "--quiet", project.repo.branch)
    assert isinstance(project.land("task-1", base=ready.base), Refusal)
    write(project.folder, "x.txt", "x\n")
    git(project.folder, "add", "x.txt")
    git(project.folder, "commit", "--quiet", "-m", "mine")
    environment = {**os.environ, "GIT_SEQUENCE_EDITOR": "sed -i 1s/pick/edit/"}
    subprocess.run(
        ["git", "rebase", "--quiet", "-i", project.base],
        cwd=project.folder,
        env=environment,
        check=True,
        capture_output=True,
    )
    outcome = project.land("task-1", base=ready.base)
    assert isinstance(outcome, Refusal)
    assert str(project.folder) in outcome.reason


def test_many_tasks_landing_at_once_each_get_a_commit(project: Project) -> None:
    count = 4
    for number in range(count):
        write(project.slot(number, project.base).path, f"{number}.txt", "x\n")
    outcomes: list[object] = []
    threads = [
        threading.Thread(
            target=lambda number=number: outcomes.append(project.land(f"task-{number}", number, base=project.base))
        )
        for number in range(count)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(isinstance(outcome, Landed) for outcome in outcomes), outcomes
    assert sorted(project.commits()) == [f"task-{number}" for number in range(count)]
