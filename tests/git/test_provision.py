"""What a fresh slot gets beside its commit, and that none of it becomes a task's commit."""

import shutil
from pathlib import Path

import pytest

from actors.git.flows import (
    Archived,
    Captured,
    Landed,
    Lost,
    NothingToLand,
    Refusal,
    SlotReady,
    Uncommitted,
    archive,
    capture,
    prepare_slot,
    slots,
    uncommitted,
    unmatched_copies,
)
from actors.git.place import Slot
from tests.git.driver import drive
from tests.git.project import MakeProject, Project, begin, write
from tests.repositories import MakeRepository, git


def _prepared(project: Project, *setup: str, copy: tuple[str, ...] = (), number: int = 0) -> SlotReady:
    ready = drive(prepare_slot(project.repo, number, project.tip, owner="s/t.1", copy=copy, setup=setup))
    assert isinstance(ready, SlotReady), ready
    return ready


@pytest.fixture
def below(git_repo: MakeRepository, tmp_path: Path) -> Project:
    """Return a project in a directory below the top of its repository."""
    ignored = ".env\ncache/\n"
    folder = git_repo(files={".gitignore": ignored, "apps/web [1]/app.txt": "a\n", "other/o.txt": "o\n"})
    return begin(folder / "apps/web [1]", tmp_path / "cache")


# --- copies --------------------------------------------------------------------------------------------------


def test_patterns_count_from_the_project_s_own_directory(below: Project) -> None:
    top = Path(below.repo.top)
    write(top, ".env", "of the top\n")
    write(top, "other/.env", "of another\n")
    write(below.folder, ".env", "of the project\n")
    write(below.folder, "deep/cache/x", "x\n")
    ready = _prepared(below, copy=(".env", "deep/*"))
    slot = Path(Slot(below.repo, 0).path)
    assert Path(ready.path) == slot / "apps/web [1]"
    assert Path(ready.path, ".env").read_text() == "of the project\n"
    assert Path(ready.path, "deep/cache/x").exists()
    assert not (slot / ".env").exists()
    assert not (slot / "other/.env").exists()
    (slot / ".gitignore").write_text("")
    captured = drive(capture(below.repo, 0, ready.base))
    assert isinstance(captured, Captured)
    assert captured.changed == (".gitignore",)


def test_our_own_files_are_never_copied(make_project: MakeProject) -> None:
    project = make_project({".gitignore": ".milestones/\n.env\n"})
    write(project.folder, ".milestones/state.db", "x\n")
    write(project.folder, ".env", "x\n")
    ready = _prepared(project, copy=("*", "**", ".milestones"))
    assert Path(ready.path, ".env").exists()
    assert not Path(ready.path, ".milestones").exists()


def test_patterns_that_no_ignored_file_matches_are_named(below: Project) -> None:
    write(below.folder, ".env", "x\n")
    write(below.folder, "untracked.txt", "x\n")
    patterns = (".env", "app.txt", "untracked.txt", "no-such-*", "other/*")
    assert drive(unmatched_copies(below.repo, patterns)) == patterns[1:]


def test_a_project_that_the_commit_does_not_have_yet_gets_its_directory(
    git_repo: MakeRepository, tmp_path: Path
) -> None:
    folder = git_repo() / "new/app"
    folder.mkdir(parents=True)
    project = begin(folder, tmp_path / "cache")
    ready = _prepared(project, "pwd > where")
    assert Path(ready.path, "where").read_text().strip() == ready.path
    assert ready.path.endswith("/milestone-001-slot-0/new/app")
    _prepared(project)
    assert list(Path(ready.path).iterdir()) == []


def test_a_project_that_is_a_link_out_of_the_worktree_is_refused(below: Project, tmp_path: Path) -> None:
    git(below.folder, "checkout", "--quiet", "-b", "linked")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.rmtree(below.folder)
    below.folder.symlink_to(elsewhere)
    git(Path(below.repo.top), "add", "--all")
    git(Path(below.repo.top), "commit", "--quiet", "-m", "a link")
    refused = drive(prepare_slot(below.repo, 0, git(Path(below.repo.top), "rev-parse", "HEAD")))
    assert isinstance(refused, Refusal)
    assert "leads out of the worktree" in refused.reason


def test_a_project_that_is_reached_through_a_link_is_found_in_its_slot(below: Project, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(below.folder)
    project = begin(link, tmp_path / "cache")
    assert project.repo.inside == "apps/web [1]"
    assert Path(_prepared(project).path, "app.txt").exists()


# --- our own files -------------------------------------------------------------------------------------------


def test_a_project_below_the_top_neither_counts_nor_commits_its_own_milestone_files(below: Project) -> None:
    write(below.folder, ".milestones/active/milestone-001.yaml", "x\n")
    write(below.folder, "draft.txt", "x\n")
    seen = drive(uncommitted(below.repo.top, below.repo.inside))
    assert seen == Uncommitted(1, ("apps/web [1]/draft.txt",))
    ready = _prepared(below)
    write(ready.path, ".milestones/active/milestone-001.yaml", "y\n")
    write(ready.path, "made.txt", "x\n")
    landed = below.land("task-1", base=ready.base)
    assert isinstance(landed, Landed)
    assert git(below.folder, "show", "--name-only", "--format=", landed.sha) == "apps/web [1]/made.txt"


def test_a_folder_that_holds_nothing_but_milestone_files_is_not_uncommitted(
    git_repo: MakeRepository, tmp_path: Path
) -> None:
    folder = git_repo() / "new/app"
    folder.mkdir(parents=True)
    project = begin(folder, tmp_path / "cache")
    write(folder, ".milestones/active/milestone-001.yaml", "x\n")
    assert drive(uncommitted(project.repo.top, project.repo.inside)) == Uncommitted(0, ())


# --- what was set up -----------------------------------------------------------------------------------------

SET_UP = (
    "mkdir -p vendor && echo lib > vendor/lib && echo tool > vendor/tool && ln -s lib vendor/link",
    "echo 1 set up > src/one.txt && rm src/two.txt && chmod +x README.md",
)


def test_what_was_set_up_and_left_alone_is_not_in_the_commit(project: Project) -> None:
    ready = _prepared(project, *SET_UP)
    assert drive(capture(project.repo, 0, ready.base)) == NothingToLand()
    assert drive(archive(project.repo, 0)) == NothingToLand()
    write(ready.path, "made.txt", "x\n")
    landed = project.land("task-1", base=ready.base)
    assert isinstance(landed, Landed)
    assert landed.files == 1
    changed = git(project.folder, "diff", "--name-status", project.base, landed.sha)
    assert changed == "A\tmade.txt"


def test_what_a_task_changed_of_it_is_as_the_task_left_it(project: Project) -> None:
    ready = _prepared(project, *SET_UP)
    slot = Path(ready.path)
    write(slot, "vendor/lib", "changed\n")
    (slot / "vendor/tool").unlink()
    write(slot, "src/one.txt", "1 set up\nand changed\n")
    write(slot, "src/two.txt", "made again\n")
    landed = project.land("task-1", base=ready.base)
    assert isinstance(landed, Landed)
    changed = git(project.folder, "diff", "--name-status", project.base, landed.sha).splitlines()
    assert changed == ["M\tsrc/one.txt", "M\tsrc/two.txt", "A\tvendor/lib"]
    assert git(project.folder, "show", f"{landed.sha}:src/one.txt") == "1 set up\nand changed"


def test_a_file_that_a_task_deletes_or_gives_back_its_content_is_as_the_task_left_it(project: Project) -> None:
    ready = _prepared(project, *SET_UP)
    slot = Path(ready.path)
    (slot / "src/one.txt").unlink()
    write(slot, "src/two.txt", "2\n")
    landed = project.land("task-1", base=ready.base)
    assert isinstance(landed, Landed)
    assert git(project.folder, "diff", "--name-status", project.base, landed.sha) == "D\tsrc/one.txt"


def test_a_capture_of_a_slot_that_was_set_up_gives_the_same_tree_again(project: Project) -> None:
    ready = _prepared(project, *SET_UP)
    write(ready.path, "made.txt", "x\n")
    first = drive(capture(project.repo, 0, ready.base))
    assert isinstance(first, Captured)
    assert first.changed == ("made.txt",)
    git(Path(ready.path), "add", "--all")
    git(Path(ready.path), "commit", "--quiet", "-m", "by the task")
    assert drive(capture(project.repo, 0, ready.base)) == first


def test_set_up_may_commit_and_what_it_committed_is_still_nobody_s_work(project: Project) -> None:
    commit = "echo x > made && git add made && git -c user.name=x -c user.email=x commit --quiet -m x"
    ready = _prepared(project, "git checkout --quiet -b of-set-up", commit)
    assert git(Path(ready.path), "rev-parse", "HEAD") == project.base
    assert drive(capture(project.repo, 0, ready.base)) == NothingToLand()


def test_without_the_list_of_what_was_set_up_the_work_is_lost(project: Project) -> None:
    ready = _prepared(project, *SET_UP)
    listed = Path(Slot(project.repo, 0).setup)
    listed.write_bytes(listed.read_bytes().replace(b"vendor/lib", b"vendor/lob"))
    assert isinstance(drive(capture(project.repo, 0, ready.base)), Lost)
    listed.unlink()
    assert isinstance(drive(capture(project.repo, 0, ready.base)), Lost)
    write(_prepared(project).path, "x.txt", "x\n")
    assert isinstance(drive(archive(project.repo, 0)), Archived)
    assert slots(project.repo) == (0,)


def test_odd_names_and_repositories_that_were_set_up_are_left_out_as_well(project: Project) -> None:
    (project.folder / "src/one.txt").rename(project.folder / "src/new\nline")
    commands = (
        "printf x > 'with space' && printf x > 'new\nline' && printf x > 'quo\"te' && printf x > ':colon'",
        "git init --quiet tool && git -C tool -c user.name=x -c user.email=x commit --quiet --allow-empty -m x",
    )
    ready = _prepared(project, *commands)
    assert drive(capture(project.repo, 0, ready.base)) == NothingToLand()
    write(ready.path, "with space", "changed\n")
    captured = drive(capture(project.repo, 0, ready.base))
    assert isinstance(captured, Captured)
    assert captured.changed == ("with space",)
