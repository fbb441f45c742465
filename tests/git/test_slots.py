"""Slots: whatever a task does to one, the next attempt finds the base and nothing else."""

import errno
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from actors.git.flows import (
    Archived,
    Captured,
    Conflict,
    Landed,
    Lost,
    NothingToLand,
    Refusal,
    SetAside,
    SlotReady,
    archive,
    capture,
    kept,
    prepare_slot,
    remove_slots,
    slots,
    vacate,
)
from actors.git.place import Slot
from actors.programs import Finished, Program
from tests.git.driver import KilledError, drive, execute
from tests.git.project import SESSION, MakeProject, Project, write
from tests.repositories import git

Tamper = Callable[[Path], None]


def _dirty(slot: Path) -> None:
    write(slot, "src/one.txt", "changed\n")
    write(slot, "untracked/deep/file.txt", "x\n")
    write(slot, "build/ignored.o", "x\n")
    (slot / "src/two.txt").unlink()
    (slot / "README.md").chmod(0o755)
    (slot / "empty").mkdir()


def _same_size_and_time(slot: Path) -> None:
    file = slot / "src/one.txt"
    stat = file.stat()
    file.write_text("9\n")
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def _read_only(slot: Path) -> None:
    for file in (slot / "src/one.txt", slot / "src"):
        file.chmod(0o400)


def _index_lock(slot: Path) -> None:
    Path(git(slot, "rev-parse", "--path-format=absolute", "--git-path", "index.lock")).touch()


def _branch_with_commits(slot: Path) -> None:
    git(slot, "checkout", "--quiet", "-b", "of-the-task")
    write(slot, "committed.txt", "x\n")
    git(slot, "add", "--all")
    git(slot, "commit", "--quiet", "-m", "by the task")


def _milestone_branch(slot: Path) -> None:
    git(slot, "checkout", "--quiet", "milestone/milestone-001")


def _head_is_a_link_to_a_branch(slot: Path) -> None:
    admin = Path(git(slot, "rev-parse", "--absolute-git-dir"))
    (admin / "HEAD").unlink()
    (admin / "HEAD").symlink_to(admin.parent.parent / "refs/heads/main")


def _record_and_index_have_other_names(slot: Path) -> None:
    for name in ("record", "index"):
        os.link(f"{slot}.{name}", slot / name)


def _merge_in_progress(slot: Path) -> None:
    for side in ("left", "right"):
        git(slot, "checkout", "--quiet", "--detach", "main")
        write(slot, "src/one.txt", f"{side}\n")
        git(slot, "commit", "--quiet", "--all", "-m", side)
        git(slot, "branch", side)
    subprocess.run(["git", "merge", "left"], cwd=slot, check=False, capture_output=True)


def _flags_in_the_index(slot: Path) -> None:
    git(slot, "update-index", "--assume-unchanged", "src/one.txt")
    git(slot, "update-index", "--skip-worktree", "src/two.txt")
    write(slot, "src/one.txt", "hidden\n")
    write(slot, "src/two.txt", "hidden\n")


def _git_file_gone(slot: Path) -> None:
    (slot / ".git").unlink()
    write(slot, "x.txt", "x\n")


def _git_file_is_a_repository(slot: Path) -> None:
    (slot / ".git").unlink()
    git(slot, "init", "--quiet")


def _all_gone(slot: Path) -> None:
    shutil.rmtree(slot)


def _a_link(slot: Path) -> None:
    shutil.rmtree(slot)
    slot.symlink_to(slot.parent.parent / "project")


def _a_file(slot: Path) -> None:
    shutil.rmtree(slot)
    slot.write_text("x")


def _repository_inside(slot: Path) -> None:
    git(slot, "init", "--quiet", "inner")
    write(slot, "inner/x.txt", "x\n")


def _locked(slot: Path) -> None:
    git(slot, "worktree", "lock", str(slot))


def _registration_gone(slot: Path) -> None:
    shutil.rmtree(git(slot, "rev-parse", "--absolute-git-dir"))


@pytest.mark.parametrize(
    "tamper",
    [
        _dirty,
        _same_size_and_time,
        _read_only,
        _index_lock,
        _branch_with_commits,
        _milestone_branch,
        _head_is_a_link_to_a_branch,
        _record_and_index_have_other_names,
        _merge_in_progress,
        _flags_in_the_index,
        _git_file_gone,
        _git_file_is_a_repository,
        _all_gone,
        _a_link,
        _a_file,
        _repository_inside,
        _locked,
        _registration_gone,
    ],
)
def test_whatever_a_task_did_the_next_attempt_finds_the_base_and_nothing_else(
    make_project: MakeProject, tamper: Tamper
) -> None:
    project = make_project({".gitignore": "build/\n", "README.md": "R\n", "src/one.txt": "1\n", "src/two.txt": "2\n"})
    slot = Path(project.slot().path)
    before = git(project.folder, "status", "--porcelain", "--ignored")
    git(project.folder, "commit", "--quiet", "--allow-empty", "-m", "main goes on")
    main = git(project.folder, "rev-parse", "main")
    tamper(slot)
    ready = project.slot(base=project.base)
    assert ready.path == str(slot)
    assert git(slot, "rev-parse", "HEAD") == project.base
    assert git(slot, "branch", "--show-current") == ""
    assert git(slot, "status", "--porcelain", "--ignored") == ""
    found = {str(path.relative_to(slot)): path for path in slot.rglob("*")}
    assert set(found) == {".git", ".gitignore", "README.md", "src", "src/one.txt", "src/two.txt"}
    assert (slot / "src/one.txt").read_text() == "1\n"
    assert (slot / "src/two.txt").read_text() == "2\n"
    assert all(path.stat().st_mode & 0o777 in {0o644, 0o755} for path in found.values())
    assert not os.access(slot / "README.md", os.X_OK)
    assert git(project.folder, "status", "--porcelain", "--ignored") == before
    assert git(project.folder, "rev-parse", "main") == main


def test_a_slot_moves_to_another_commit_and_is_clean_for_the_tasks_own_git(project: Project) -> None:
    first = project.slot()
    write(first.path, "a.txt", "a\n")
    assert isinstance(project.land("task-1", base=first.base), Landed)
    second = project.slot()
    assert second == SlotReady(first.path, project.tip)
    assert git(Path(second.path), "status", "--porcelain") == ""
    assert Path(second.path, "a.txt").read_text() == "a\n"


@pytest.mark.parametrize("point", range(1, 6))
def test_a_preparation_that_was_cut_short_is_done_again(project: Project, point: int) -> None:
    slot = project.slot()
    write(slot.path, "left.txt", "x\n")
    left = point

    def killing(program: object) -> object:
        nonlocal left
        left -= 1
        if left == 0:
            raise KilledError
        return execute(program)  # type: ignore[arg-type]

    try:
        drive(prepare_slot(project.repo, 0, project.base), killing)  # type: ignore[arg-type]
    except KilledError:
        assert isinstance(drive(capture(project.repo, 0, project.base)), Lost)
    ready = project.slot(base=project.base)
    assert sorted(path.name for path in Path(ready.path).iterdir()) == [".git", "README.md", "src"]


def test_a_capture_takes_the_files_as_they_are_whatever_the_task_told_git(make_project: MakeProject) -> None:
    project = make_project({".gitignore": "*.log\n", "kept.txt": "k\n", "flagged.txt": "f\n"})
    ready = project.slot()
    slot = Path(ready.path)
    git(slot, "update-index", "--assume-unchanged", "flagged.txt")
    write(slot, "flagged.txt", "changed\n")
    write(slot, "committed.txt", "c\n")
    write(slot, "forced.log", "committed although ignored\n")
    git(slot, "add", "--force", "committed.txt", "forced.log")
    git(slot, "commit", "--quiet", "-m", "by the task")
    write(slot, "staged.txt", "s\n")
    git(slot, "add", "staged.txt")
    write(slot, "ignored.log", "x\n")
    write(slot, ".milestones/state.db", "x\n")
    captured = drive(capture(project.repo, 0, ready.base))
    assert isinstance(captured, Captured)
    assert captured.changed == ("committed.txt", "flagged.txt", "forced.log", "staged.txt")
    again = drive(capture(project.repo, 0, ready.base))
    assert again == captured


def test_the_milestone_files_stay_as_they_are_in_the_base(make_project: MakeProject) -> None:
    project = make_project({".milestones/active/milestone-001.yaml": "id: milestone-001\n", "a.txt": "a\n"})
    ready = project.slot()
    write(ready.path, ".milestones/active/milestone-001.yaml", "status: changed\n")
    write(ready.path, ".milestones/more.yaml", "x\n")
    assert drive(capture(project.repo, 0, ready.base)) == NothingToLand()
    shutil.rmtree(Path(ready.path, ".milestones"))
    write(ready.path, "b.txt", "b\n")
    captured = drive(capture(project.repo, 0, ready.base))
    assert isinstance(captured, Captured)
    assert captured.changed == ("b.txt",)


def test_odd_names_modes_and_links_are_captured(project: Project) -> None:
    ready = project.slot()
    names = ["with space", "new\nline", 'quo"te', ":(top)colon", "*star", "-dash", "ünï"]
    for name in names:
        write(ready.path, name, "x\n")
    Path(os.fsdecode(os.fsencode(ready.path) + b"/\xff\xfe")).write_text("not UTF-8\n")
    Path(ready.path, "link").symlink_to("nowhere")
    Path(ready.path, "README.md").chmod(0o755)
    captured = drive(capture(project.repo, 0, ready.base))
    assert isinstance(captured, Captured)
    assert sorted(captured.changed) == sorted([*names, "\\xff\\xfe", "link", "README.md"])


@pytest.mark.parametrize("commits", [0, 1])
def test_a_repository_left_inside_is_refused_with_its_name(project: Project, commits: int) -> None:
    ready = project.slot()
    git(Path(ready.path), "init", "--quiet", "inner")
    for _ in range(commits):
        git(Path(ready.path, "inner"), "commit", "--quiet", "--allow-empty", "-m", "x")
    refused = drive(capture(project.repo, 0, ready.base))
    assert isinstance(refused, Refusal)
    assert "inner" in refused.reason


def test_work_is_lost_when_the_slot_is_not_what_was_handed_out(project: Project) -> None:
    ready = project.slot()
    write(ready.path, "a.txt", "a\n")
    record = Slot(project.repo, 0).record_file
    good = record.read_text()
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert isinstance(drive(capture(project.repo, 0, "0" * 40)), Lost)
    record.write_text(good.replace(boot, "another-boot"))
    assert isinstance(drive(capture(project.repo, 0, ready.base)), Lost)
    record.write_text("{")
    assert isinstance(drive(capture(project.repo, 0, ready.base)), Lost)
    record.write_text(good)
    assert isinstance(drive(capture(project.repo, 0, ready.base)), Captured)
    Path(ready.path, ".git").unlink()
    assert isinstance(drive(capture(project.repo, 0, ready.base)), Lost)


def test_ignored_files_are_copied_from_the_checkout_and_never_committed(make_project: MakeProject) -> None:
    project = make_project({".gitignore": ".env*\nnode_modules/\n", "conf/x.txt": "x\n"})
    write(project.folder, ".env", "SECRET=1\n")
    write(project.folder, "conf/.env.local", "SECRET=2\n")
    write(project.folder, "node_modules/deep/module.js", "x\n")
    write(project.folder, "untracked.txt", "x\n")
    copy = (".env", "**/.env.local", "node_modules", "untracked.txt", "no-such-*")
    ready = drive(prepare_slot(project.repo, 0, project.base, copy=copy))
    assert isinstance(ready, SlotReady)
    slot = Path(ready.path)
    assert (slot / ".env").read_text() == "SECRET=1\n"
    assert (slot / "conf/.env.local").read_text() == "SECRET=2\n"
    assert (slot / "node_modules/deep/module.js").exists()
    assert not (slot / "untracked.txt").exists()
    (slot / ".gitignore").unlink()
    captured = drive(capture(project.repo, 0, ready.base))
    assert isinstance(captured, Captured)
    assert captured.changed == (".gitignore",)


def test_set_up_runs_in_the_slot_and_its_failure_says_what_it_said(project: Project) -> None:
    commands = ("pwd > where", 'test -z "$GIT_DIR"')
    ready = drive(prepare_slot(project.repo, 0, project.base, setup=commands))
    assert isinstance(ready, SlotReady)
    assert Path(ready.path, "where").read_text().strip() == ready.path
    refused = drive(prepare_slot(project.repo, 0, project.base, setup=("echo no such thing >&2; exit 3",)))
    assert refused == Refusal("'echo no such thing >&2; exit 3' failed with 3: no such thing", "mend worktree.setup")


def test_work_that_did_not_land_is_archived_before_its_slot_goes(project: Project) -> None:
    for number in range(3):
        ready = project.slot(number, project.base, attempt=f"task-{number}.1")
        write(ready.path, "src/one.txt", f"by {number}\n")
    project.slot(3, project.base, attempt="idle.1")
    assert isinstance(project.land("task-0", 0, base=project.base), Landed)
    assert isinstance(project.land("task-1", 1, base=project.base), Conflict)
    assert slots(project.repo) == (0, 1, 2, 3)
    results = drive(remove_slots(project.repo))
    refs = [f"refs/milestone-archive/{SESSION}/task-{number}.1" for number in (1, 2)]
    assert [result.ref for result in results if isinstance(result, Archived)] == refs
    assert len(results) == 2
    assert git(project.folder, "show", f"{refs[1]}:src/one.txt") == "by 2"
    assert slots(project.repo) == ()
    assert [entry.name for entry in Path(project.repo.cache).iterdir()] == ["owner"]
    assert git(project.folder, "worktree", "list").count("\n") == 0
    assert drive(remove_slots(project.repo)) == ()


def test_work_that_git_cannot_hold_is_set_aside_with_a_note_and_its_slot_is_free_again(project: Project) -> None:
    for number in (1, 2):
        ready = project.slot(attempt=f"task-1.{number}")
        write(ready.path, "a.txt", f"{number}\n")
        _repository_inside(Path(ready.path))
        aside = drive(vacate(project.repo, 0))
        assert isinstance(aside, SetAside)
        assert aside.path == f"{project.repo.cache}/milestone-001-kept-{number}"
        assert Path(aside.path, "a.txt").read_text() == f"{number}\n"
        assert Path(aside.path, "inner/.git").is_dir()
        _, owner, reason, _, origin, _ = Path(f"{aside.path}.txt").read_text().splitlines()
        assert f"{SESSION}/task-1.{number}" in owner
        assert "inner" in reason
        assert project.base in origin
        assert slots(project.repo) == ()
        assert len(git(project.folder, "worktree", "list").splitlines()) == 1
    project.slot()
    assert drive(remove_slots(project.repo)) == ()
    assert kept(project.repo) == tuple(f"{project.repo.cache}/milestone-001-kept-{number}" for number in (1, 2))


def test_at_the_end_a_slot_that_git_cannot_hold_is_set_aside_and_no_worktree_any_more(project: Project) -> None:
    _repository_inside(Path(project.slot().path))
    (aside,) = drive(remove_slots(project.repo))
    assert isinstance(aside, SetAside)
    assert slots(project.repo) == ()
    assert len(git(project.folder, "worktree", "list").splitlines()) == 1


def test_a_full_disk_is_no_reason_to_set_a_slot_aside(project: Project) -> None:
    ready = project.slot()
    write(ready.path, "a.txt", "a\n")

    def full(program: Program) -> Finished:
        return (
            Finished(128, b"", b"error: unable to write: No space left on device")
            if "add" in program.argv
            else execute(program)
        )

    refused = drive(vacate(project.repo, 0), full)
    assert isinstance(refused, Refusal)
    assert refused.is_passing
    assert slots(project.repo) == (0,)
    assert isinstance(drive(vacate(project.repo, 0)), Archived)


@pytest.mark.parametrize("name", ["index", "record", "capture"])
def test_our_own_files_on_a_full_disk_make_a_refusal_that_passes(
    project: Project, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    ready = project.slot()
    write(ready.path, "a.txt", "a\n")
    really = os.open

    def full(path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if str(path).endswith(f"slot-0.{name}") and flags & os.O_WRONLY:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        return really(path, flags, mode, dir_fd=dir_fd)

    with monkeypatch.context() as context:
        context.setattr(os, "open", full)
        if name == "capture":
            refused: object = drive(capture(project.repo, 0, ready.base))
        else:
            Path(f"{ready.path}.index").unlink()
            refused = drive(prepare_slot(project.repo, 0, ready.base))
    assert isinstance(refused, Refusal)
    assert refused.is_passing, refused
    assert isinstance(drive(prepare_slot(project.repo, 0, ready.base)), SlotReady)


def test_archiving_again_keeps_both_works_and_no_work_twice(project: Project) -> None:
    ready = project.slot(attempt="task-1.1")
    write(ready.path, "a.txt", "1\n")
    first = drive(archive(project.repo, 0))
    assert isinstance(first, Archived)
    assert drive(archive(project.repo, 0)) == first
    write(ready.path, "a.txt", "2\n")
    second = drive(archive(project.repo, 0))
    assert isinstance(second, Archived)
    assert second.ref == f"{first.ref}-2"
    assert git(project.folder, "show", f"{first.ref}:a.txt") == "1"
    assert git(project.folder, "show", f"{second.ref}:a.txt") == "2"


def test_a_directory_that_is_not_ours_is_never_cleaned(project: Project) -> None:
    cache = Path(project.repo.cache)
    write(cache, "milestone-001-slot-0/precious.txt", "x\n")
    refused = drive(prepare_slot(project.repo, 0, project.base))
    assert isinstance(refused, Refusal)
    assert "not marked" in refused.reason
    assert slots(project.repo) == ()
    write(cache, "owner", "worktree slots of milestoned for /another/.git\n")
    assert isinstance(drive(prepare_slot(project.repo, 0, project.base)), Refusal)
    assert drive(remove_slots(project.repo)) == ()
    assert (cache / "milestone-001-slot-0/precious.txt").exists()


@pytest.mark.parametrize("lives", [False, True])
def test_an_empty_slots_directory_of_a_repository_that_is_gone_is_taken_over(
    project: Project, tmp_path: Path, lives: bool
) -> None:
    former = tmp_path / "former" / ".git"
    former.parent.mkdir()
    if lives:
        former.mkdir()
    else:
        former.write_text("gitdir: elsewhere\n", encoding="utf-8")
    write(Path(project.repo.cache), "owner", f"worktree slots of milestoned for {former}\n")
    assert isinstance(drive(prepare_slot(project.repo, 0, project.base)), Refusal) is lives


def test_the_slots_of_another_milestone_and_the_users_own_worktrees_stay(project: Project, tmp_path: Path) -> None:
    project.slot()
    mine = tmp_path / "mine"
    git(project.folder, "worktree", "add", "--quiet", "--detach", str(mine))
    other = Path(project.repo.cache, "milestone-0012-slot-0")
    other.mkdir()
    gone = tmp_path / "gone"
    git(project.folder, "worktree", "add", "--quiet", "--detach", str(gone))
    shutil.rmtree(gone)
    drive(remove_slots(project.repo))
    assert other.exists()
    listed = git(project.folder, "worktree", "list")
    assert str(mine) in listed
    assert str(gone) in listed


def test_a_slot_that_cannot_be_made_says_why(project: Project) -> None:
    refused = drive(prepare_slot(project.repo, 0, "f" * 40))
    assert isinstance(refused, Refusal)
    assert "cannot make the worktree" in refused.reason
