"""Repositories as people have them: a whole cycle in each gives the commits that it gives anywhere."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from actors.git.flows import Archived, Captured, Landed, NothingToLand, Refusal, archive, capture, remove_slots
from tests.git.driver import drive
from tests.git.project import Project, begin, write
from tests.repositories import MakeRepository, git

Make = Callable[[Path, Path], Path]

FILES = {"README.md": "Read.\n", "src/one.txt": "1\n", "src/two.txt": "2\n"}


def _detached(folder: Path, _: Path) -> Path:
    git(folder, "checkout", "--quiet", "--detach")
    return folder


def _clone(*options: str) -> Make:
    def make(folder: Path, tmp_path: Path) -> Path:
        git(folder, "config", "uploadpack.allowFilter", "true")
        git(folder, "commit", "--quiet", "--allow-empty", "-m", "second")
        git(tmp_path, "clone", "--quiet", *options, f"file://{folder}", "clone")
        return tmp_path / "clone"

    return make


def _borrowing(folder: Path, tmp_path: Path) -> Path:
    git(tmp_path, "clone", "--quiet", "--shared", str(folder), "clone")
    return tmp_path / "clone"


def _with(*settings: tuple[str, str]) -> Make:
    def make(folder: Path, _: Path) -> Path:
        for name, value in settings:
            git(folder, "config", name, value)
        return folder

    return make


def _linked(folder: Path, tmp_path: Path) -> Path:
    git(folder, "worktree", "add", "--quiet", str(tmp_path / "linked"))
    return tmp_path / "linked"


def _separate(folder: Path, tmp_path: Path) -> Path:
    git(folder, "init", "--quiet", f"--separate-git-dir={tmp_path / 'elsewhere.git'}")
    return folder


def _foreign_branch(folder: Path, _: Path) -> Path:
    git(folder, "checkout", "--quiet", "-b", "milestone/milestone-001")
    git(folder, "commit", "--quiet", "--allow-empty", "-m", "Somebody's")
    git(folder, "checkout", "--quiet", "main")
    return folder


@pytest.mark.row("F17")
@pytest.mark.parametrize(
    "make",
    [
        pytest.param(_detached, id="detached HEAD"),
        pytest.param(_clone("--depth=1"), id="shallow"),
        pytest.param(_clone("--filter=blob:none"), id="partial, no blobs"),
        pytest.param(_clone("--filter=tree:0"), id="partial, no trees"),
        pytest.param(_borrowing, id="alternates"),
        pytest.param(_linked, id="linked worktree"),
        pytest.param(_separate, id="separate git directory"),
        pytest.param(_foreign_branch, id="branch with foreign commits"),
        pytest.param(_with(("core.bigFileThreshold", "1")), id="every file is huge"),
        pytest.param(_with(("commit.gpgsign", "true"), ("gpg.program", "false")), id="signing"),
        pytest.param(_with(("core.autocrlf", "true")), id="autocrlf"),
        pytest.param(_with(("core.ignoreCase", "true")), id="ignoreCase"),
        pytest.param(_with(("core.sharedRepository", "group")), id="shared"),
        pytest.param(_with(("index.version", "4"), ("feature.manyFiles", "true")), id="many files"),
        pytest.param(_with(("extensions.worktreeConfig", "true")), id="worktree configuration"),
        pytest.param(_with(("status.showUntrackedFiles", "no"), ("core.quotePath", "true")), id="habits"),
        pytest.param(
            _with(("diff.noprefix", "true"), ("log.showSignature", "true"), ("color.ui", "always")), id="looks"
        ),
    ],
)
def test_a_whole_cycle_is_as_anywhere(git_repo: MakeRepository, tmp_path: Path, make: Make) -> None:
    project = begin(make(git_repo(files=FILES), tmp_path), tmp_path / "cache")
    for number in range(3):
        slot = Path(project.slot(number, project.base, attempt=f"task-{number}.1").path)
        if number:
            write(slot, f"made/{number}.txt", f"made by {number}\n")
        if number == 1:
            write(slot, "src/one.txt", "changed\n")
            (slot / "src/two.txt").unlink()
            write(slot, "readme.md", "Another.\n")
    assert project.land("task-0", 0, base=project.base) == NothingToLand()
    for number in (1, 2):
        assert isinstance(project.land(f"task-{number}", number, base=project.base), Landed)
    assert project.commits() == ["task-1", "task-2"]
    changed = git(project.folder, "diff", "--name-status", project.base, project.tip).splitlines()
    assert changed == ["A\tmade/1.txt", "A\tmade/2.txt", "A\treadme.md", "M\tsrc/one.txt", "D\tsrc/two.txt"]
    assert git(project.folder, "show", f"{project.tip}:made/2.txt") == "made by 2"
    again = Path(project.slot(0, attempt="task-3.1").path)
    assert (again / "src/one.txt").read_text() == "changed\n"
    write(again, "lost.txt", "x\n")
    assert isinstance(drive(archive(project.repo, 0)), Archived)
    drive(remove_slots(project.repo))
    git(project.folder, "fsck", "--connectivity-only", "--no-dangling")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a repository away")
def test_a_repository_of_somebody_else_serves_once_its_checkout_is_called_safe(
    git_repo: MakeRepository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = git_repo(files=FILES)
    for path in (folder, *folder.rglob("*")):
        os.chown(path, 65534, 65534, follow_symlinks=False)
    settings = tmp_path / "settings"
    settings.write_text(
        f"[safe]\n\tdirectory = {folder}\n[user]\n\tname = T\n\temail = t@example.org\n", encoding="utf-8"
    )
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(settings))
    project = begin(folder, tmp_path / "cache")
    for number in range(2):
        slot = project.slot(number, project.base, attempt=f"task-{number}.1")
        write(slot.path, f"made/{number}.txt", "x\n")
        assert isinstance(project.land(f"task-{number}", number, base=project.base), Landed)
    write(project.slot(0, attempt="task-2.1").path, "lost.txt", "x\n")
    (kept,) = drive(remove_slots(project.repo))
    assert isinstance(kept, Archived)


def test_filters_clean_what_is_committed_and_smudge_what_a_slot_shows(git_repo: MakeRepository, tmp_path: Path) -> None:
    folder = git_repo(files={".gitattributes": "*.big filter=pointer\n", "README.md": "x\n"})
    git(folder, "config", "filter.pointer.clean", "sed s/^/pointer:/")
    git(folder, "config", "filter.pointer.smudge", "sed s/^pointer://")
    git(folder, "config", "filter.pointer.required", "true")
    write(folder, "a.big", "content\n")
    git(folder, "add", "a.big")
    git(folder, "commit", "--quiet", "-m", "big")
    project = begin(folder, tmp_path / "cache")
    ready = project.slot()
    assert Path(ready.path, "a.big").read_text() == "content\n"
    assert drive(capture(project.repo, 0, ready.base)) == NothingToLand()
    write(ready.path, "b.big", "more\n")
    landed = project.land("task-1", base=ready.base)
    assert isinstance(landed, Landed)
    assert git(folder, "show", f"{landed.sha}:b.big") == "pointer:more"


def test_a_filter_that_fails_is_a_refusal_that_says_so(git_repo: MakeRepository, tmp_path: Path) -> None:
    project = begin(git_repo(files={".gitattributes": "*.big filter=broken\n"}), tmp_path / "cache")
    git(project.folder, "config", "filter.broken.clean", "exit 3")
    git(project.folder, "config", "filter.broken.required", "true")
    ready = project.slot()
    write(ready.path, "b.big", "more\n")
    refused = drive(capture(project.repo, 0, ready.base))
    assert isinstance(refused, Refusal)
    assert "filter" in refused.reason


def test_line_ends_of_untouched_files_are_no_change(git_repo: MakeRepository, tmp_path: Path) -> None:
    folder = git_repo(files={"dos.txt": "a\r\nb\r\n", "unix.txt": "a\nb\n"})
    git(folder, "config", "core.autocrlf", "true")
    project = begin(folder, tmp_path / "cache")
    ready = project.slot()
    assert drive(capture(project.repo, 0, ready.base)) == NothingToLand()
    write(ready.path, "new.txt", "a\n")
    captured = drive(capture(project.repo, 0, ready.base))
    assert isinstance(captured, Captured)
    assert captured.changed == ("new.txt",)


def test_a_task_that_deletes_everything_becomes_a_commit_of_nothing(project: Project) -> None:
    ready = project.slot()
    subprocess.run("rm -rf -- * .[!.]*", shell=True, cwd=ready.path, check=True)
    lost = project.land("task-1", base=ready.base)
    assert not isinstance(lost, Landed), "without its .git file nothing is provable"
    ready = project.slot()
    subprocess.run(["git", "rm", "--quiet", "-r", "."], cwd=ready.path, check=True)
    landed = project.land("task-1", base=ready.base)
    assert isinstance(landed, Landed)
    assert git(project.folder, "ls-tree", "-r", landed.sha) == ""
    project.slot()


@pytest.mark.parametrize(
    "commands",
    [
        "git add -A && git commit -qm x",
        "git checkout -qb mine && git add -A && git commit -qm x",
        "git add -A && git stash -q && git stash pop -q",
        "git gc -q --prune=now",
        "git add -A && git commit -qm x && git gc -q --prune=now && git repack -adq && git pack-refs --all",
        "git config core.bare true",
        "git config core.fileMode false && git config core.ignoreStat true && git config core.sparseCheckout true",
        "git update-index --split-index && git config core.splitIndex true",
        "git commit -qm x --allow-empty && git tag x && git branch side",
        "echo '* export-subst' > $(git rev-parse --git-common-dir)/info/attributes",
        "mkdir -p empty/deep",
        "umask 077; chmod -R go= .",
    ],
)
def test_whatever_git_a_task_runs_its_files_are_what_lands(project: Project, commands: str) -> None:
    other = project.slot(1, project.base, attempt="other.1")
    write(other.path, "other.txt", "x\n")
    ready = project.slot(0, project.base)
    write(ready.path, "made.txt", "made\n")
    subprocess.run(commands, shell=True, cwd=ready.path, check=True, capture_output=True)
    landed = project.land("task-1", base=ready.base)
    assert isinstance(landed, Landed), landed
    assert git(project.folder, "diff", "--name-status", project.base, landed.sha) == "A\tmade.txt"
    assert isinstance(project.land("other", 1, base=project.base), Landed)
    git(project.folder, "config", "core.bare", "false")
    again = project.slot(0)
    assert drive(capture(project.repo, 0, again.base)) == NothingToLand()


def test_a_worktree_that_a_task_makes_inside_is_refused_with_its_name(project: Project) -> None:
    ready = project.slot()
    git(Path(ready.path), "worktree", "add", "--quiet", "--detach", "inner")
    refused = drive(capture(project.repo, 0, ready.base))
    assert isinstance(refused, Refusal)
    assert "inner" in refused.reason


def test_names_that_differ_in_case_alone_are_two_files(project: Project) -> None:
    ready = project.slot()
    write(ready.path, "SRC/One.txt", "another\n")
    landed = project.land("task-1", base=ready.base)
    assert isinstance(landed, Landed)
    assert git(project.folder, "ls-tree", "-r", "--name-only", landed.sha).splitlines() == [
        "README.md",
        "SRC/One.txt",
        "src/one.txt",
        "src/two.txt",
    ]


def test_a_repository_whose_refs_are_tables_serves_as_well(tmp_path: Path) -> None:
    folder = tmp_path / "project"
    made = subprocess.run(["git", "init", "-q", "--ref-format=reftable", str(folder)], check=False, capture_output=True)
    if made.returncode:
        pytest.skip("this git has no reftable")
    write(folder, "README.md", "x\n")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "-m", "Begin")
    project = begin(folder, tmp_path / "cache")
    ready = project.slot()
    write(ready.path, "made.txt", "x\n")
    assert isinstance(project.land("task-1", base=ready.base), Landed)
