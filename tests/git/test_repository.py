"""Which repositories a session can work in, what it says about the others, and how it begins."""

import shutil
import subprocess
from pathlib import Path

import pytest

from actors.git.flows import (
    Identity,
    Landed,
    NotARepository,
    Refusal,
    Repository,
    Started,
    Uncommitted,
    inspect,
    prepare_slot,
    push,
    remove_slots,
    start,
    uncommitted,
)
from actors.programs import Finished, Program
from tests.git.driver import drive, execute
from tests.git.project import Project, write
from tests.repositories import MakeRepository, git


def _inspect(folder: Path, milestone: str = "milestone-001") -> Repository | NotARepository | Refusal:
    return drive(inspect(str(folder), milestone, str(folder.parent / "cache")))


def _refused(found: object) -> Refusal:
    assert isinstance(found, Refusal), found
    return found


def test_a_repository_is_found_from_a_folder_below_its_top(git_repo: MakeRepository, tmp_path: Path) -> None:
    folder = git_repo(files={"deep/down/file.txt": "x\n"})
    found = drive(inspect(str(folder / "deep/down"), "milestone-001", str(tmp_path / "cache")))
    assert isinstance(found, Repository)
    assert (found.top, found.git_dir, found.common_dir) == (str(folder), f"{folder}/.git", f"{folder}/.git")
    assert found.branch == "milestone/milestone-001"


def test_a_linked_worktree_shares_its_common_directory(git_repo: MakeRepository, tmp_path: Path) -> None:
    folder = git_repo()
    linked = tmp_path / "with\nnewline"
    git(folder, "worktree", "add", "--quiet", "--detach", str(linked))
    found = drive(inspect(str(linked), "m", str(tmp_path / "cache")))
    assert isinstance(found, Repository)
    assert (found.top, found.common_dir) == (str(linked), f"{folder}/.git")


def test_no_repository_is_no_refusal(tmp_path: Path) -> None:
    assert _inspect(tmp_path) == NotARepository(f"{tmp_path} is in no git repository")


@pytest.mark.row("F17")
@pytest.mark.parametrize("lost", ["HEAD", "objects", "refs"])
def test_a_damaged_repository_is_refused_and_not_taken_for_none(git_repo: MakeRepository, lost: str) -> None:
    """Tasks would run in place, in a checkout that somebody takes for versioned."""
    folder = git_repo()
    (folder / ".git" / lost).rename(folder / "aside")
    (folder / "below" / ".git").mkdir(parents=True)
    for place in (folder, folder / "below"):
        refused = _refused(_inspect(place))
        assert f"git does not take {folder}/.git for a repository" in refused.reason
        assert "--isolation none" in refused.cure


def _bare(folder: Path) -> None:
    shutil.rmtree(folder)
    git(folder.parent, "init", "--quiet", "--bare", folder.name)


def _unborn(folder: Path) -> None:
    git(folder, "checkout", "--quiet", "--orphan", "unborn")


def _conflicting(folder: Path) -> None:
    git(folder, "checkout", "--quiet", "-b", "side")
    write(folder, "README.md", "side\n")
    git(folder, "commit", "--quiet", "--all", "-m", "side")
    git(folder, "checkout", "--quiet", "main")
    write(folder, "README.md", "main\n")
    git(folder, "commit", "--quiet", "--all", "-m", "main")


def _in_a(*arguments: str) -> object:
    def make(folder: Path) -> None:
        _conflicting(folder)
        subprocess.run(["git", *arguments], cwd=folder, check=False, capture_output=True)

    return make


def _submodule(folder: Path) -> None:
    write(folder, ".gitmodules", '[submodule "x"]\n\tpath = x\n\turl = /nowhere\n')
    git(folder, "add", ".gitmodules")
    git(folder, "commit", "--quiet", "-m", "modules")


@pytest.mark.row("F17")
@pytest.mark.parametrize(
    ("make", "reason", "cure"),
    [
        (_bare, "bare", "--isolation none"),
        (_unborn, "no commit yet", "first commit"),
        (_in_a("merge", "side"), "a merge is in progress", "git merge --abort"),
        (_in_a("rebase", "side"), "a rebase is in progress", "git rebase --abort"),
        (_in_a("cherry-pick", "side"), "a cherry-pick is in progress", "git cherry-pick --abort"),
        (_in_a("bisect", "start"), "a bisection is in progress", "git bisect reset"),
        (_in_a("sparse-checkout", "set", "nothing"), "sparse", "git sparse-checkout disable"),
        (_submodule, "submodules", "--isolation none"),
    ],
)
def test_a_repository_that_slots_cannot_serve_is_refused_with_the_reason_and_the_cure(
    git_repo: MakeRepository, make: object, reason: str, cure: str
) -> None:
    folder = git_repo()
    assert callable(make)
    make(folder)
    refused = _refused(_inspect(folder))
    assert reason in refused.reason
    assert cure in refused.cure


def test_a_folder_that_was_never_committed_and_is_ignored_is_refused_once_for_all_tasks(
    git_repo: MakeRepository, tmp_path: Path
) -> None:
    """Else every task would be completed, and what it made thrown away as something that nobody wants."""
    folder = git_repo(files={".gitignore": "private/\n"})
    (folder / "private").mkdir()
    refused = _refused(drive(inspect(str(folder / "private"), "m", str(tmp_path / "cache"))))
    assert f"git ignores {folder}/private" in refused.reason
    assert "--isolation none" in refused.cure


def test_a_folder_that_the_commit_has_as_a_link_is_refused_once_for_all_tasks(
    git_repo: MakeRepository, tmp_path: Path
) -> None:
    folder = git_repo()
    (folder / "sub").symlink_to(tmp_path)
    git(folder, "add", "sub")
    git(folder, "commit", "--quiet", "-m", "link")
    (folder / "sub").unlink()
    (folder / "sub").mkdir()
    refused = _refused(drive(inspect(str(folder / "sub"), "m", str(tmp_path / "cache"))))
    assert "has sub as a link or a file" in refused.reason


@pytest.mark.parametrize("committed", [True, False])
def test_a_folder_that_was_never_committed_or_is_ignored_though_committed_is_none_the_worse(
    git_repo: MakeRepository, tmp_path: Path, committed: bool
) -> None:
    folder = git_repo(files={"README.md": "x\n"})
    write(folder, "sub/file.txt", "x\n")
    if committed:
        git(folder, "add", "sub")
        write(folder, ".gitignore", "sub/\n")
        git(folder, "add", ".gitignore")
        git(folder, "commit", "--quiet", "-m", "sub")
    found = drive(inspect(str(folder / "sub"), "m", str(tmp_path / "cache")))
    assert isinstance(found, Repository), found
    assert found.inside == "sub"


@pytest.mark.parametrize("milestone", ["a..b", "a.lock", "a.", "-a", "a/b", "a b", "", "a\n", "x" * 65])
def test_an_id_that_no_branch_can_have_is_refused(git_repo: MakeRepository, milestone: str) -> None:
    assert "cannot be part of a branch's name" in _refused(_inspect(git_repo(), milestone)).reason


def test_a_slots_directory_inside_the_checkout_is_refused(git_repo: MakeRepository) -> None:
    folder = git_repo()
    refused = _refused(drive(inspect(str(folder), "m", str(folder / ".cache"))))
    assert "inside the checkout" in refused.reason


def test_a_repository_of_another_user_is_refused(git_repo: MakeRepository) -> None:
    folder = git_repo()

    def as_another(program: Program) -> Finished:
        env = (*program.env, ("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1"))
        return execute(Program(program.argv, program.cwd, env, program.stdin))

    refused = _refused(drive(inspect(str(folder), "m", "/nowhere/cache"), as_another))
    assert "belongs to another user" in refused.reason
    assert "safe.directory" in refused.cure


def test_an_old_or_missing_git_is_refused(git_repo: MakeRepository, tmp_path: Path) -> None:
    folder = git_repo()
    tools = tmp_path / "bin"
    tools.mkdir()

    def with_tools(program: Program) -> Finished:
        return execute(Program((str(tools / program.argv[0]), *program.argv[1:]), program.cwd, program.env))

    refused = _refused(drive(inspect(str(folder), "m", "/nowhere"), with_tools))
    assert "git does not run" in refused.reason
    assert "2.38" in refused.cure
    assert isinstance(drive(inspect(str(tmp_path), "m", "/nowhere"), with_tools), NotARepository)
    (tools / "git").write_text("#!/bin/sh\necho git version 2.30.2\n")
    (tools / "git").chmod(0o755)
    refused = _refused(drive(inspect(str(folder), "m", "/nowhere"), with_tools))
    assert "git 2.30 is too old" in refused.reason


def test_a_start_creates_the_branch_at_head_and_the_next_goes_on_from_its_tip(project: Project) -> None:
    assert project.base == git(project.folder, "rev-parse", "main")
    git(project.folder, "commit", "--quiet", "--allow-empty", "-m", "main goes on")
    write(project.folder, "new.txt", "x\n")
    write(project.folder, "README.md", "changed\n")
    write(project.folder, ".milestones/state.db", "x\n")
    started = drive(start(project.repo))
    assert started == Started(
        project.base,
        "milestone/milestone-001",
        created=False,
        uncommitted=2,
        identity=Identity("Test Author", "author@example.org"),
    )


def _landed(project: Project) -> str:
    ready = project.slot()
    write(ready.path, "a.txt", "a\n")
    landed = project.land("task-1", base=ready.base)
    assert isinstance(landed, Landed), landed
    return landed.sha


def test_a_branch_that_was_set_back_is_refused_with_the_commit_to_put_back(project: Project) -> None:
    sha = _landed(project)
    assert isinstance(drive(start(project.repo, sha)), Started)
    tree = git(project.folder, "rev-parse", f"{project.base}^{{tree}}")
    elsewhere = git(project.folder, "commit-tree", "-m", "Another history", tree)
    for other in (project.base, elsewhere):
        git(project.folder, "update-ref", project.repo.ref, other)
        refused = _refused(drive(start(project.repo, sha)))
        assert f"{sha} is no longer part of it" in refused.reason
        assert f"git branch --force milestone/milestone-001 {sha}" in refused.cure


def test_a_branch_that_was_rebased_has_what_landed_on_it_in_another_commit(project: Project) -> None:
    sha = _landed(project)
    write(project.folder, "more.txt", "more\n")
    git(project.folder, "add", "more.txt")
    git(project.folder, "commit", "--quiet", "-m", "More on main")
    git(project.folder, "rebase", "--quiet", "main", project.repo.branch)
    git(project.folder, "checkout", "--quiet", "main")
    started = drive(start(project.repo, sha))
    assert isinstance(started, Started)
    assert started.base_sha == project.tip != sha


def test_commits_are_by_the_program_itself_when_git_knows_nobody(project: Project) -> None:
    def nobody(program: Program) -> Finished:
        env = (*program.env, ("GIT_CONFIG_GLOBAL", "/dev/null"))
        return execute(Program(program.argv, program.cwd, env, program.stdin))

    started = drive(start(project.repo), nobody)
    assert isinstance(started, Started)
    assert started.identity == Identity("milestoned", "milestoned@localhost")
    assert "git config" in started.warning


@pytest.mark.row("F16")
def test_the_lock_that_a_killed_start_left_behind_is_removed(git_repo: MakeRepository) -> None:
    """`git update-ref` killed while it creates the branch leaves the branch's lock, and nothing else."""
    folder = git_repo()
    repo = _inspect(folder)
    assert isinstance(repo, Repository)
    lock = Path(repo.common_dir, f"{repo.ref}.lock")
    lock.parent.mkdir(parents=True)
    lock.write_bytes(b"")
    started = drive(start(repo))
    assert isinstance(started, Started)
    assert started.created
    assert not lock.exists()


def test_a_branch_named_milestone_stands_in_the_way(git_repo: MakeRepository) -> None:
    folder = git_repo()
    git(folder, "branch", "milestone")
    found = _inspect(folder)
    assert isinstance(found, Repository)
    refused = _refused(drive(start(found)))
    assert "git branch -m milestone" in refused.cure


def test_packed_refs_are_read_as_well(project: Project) -> None:
    git(project.folder, "pack-refs", "--all")
    ready = project.slot()
    write(ready.path, "a.txt", "a\n")
    assert isinstance(project.land("task-1", base=ready.base), Landed)


@pytest.mark.row("F16")
def test_the_look_at_uncommitted_files_takes_no_lock_and_names_the_first_twenty(project: Project) -> None:
    for number in range(30):
        write(project.folder, f"new file {number:02}", "x\n")
    (project.folder / "README.md").rename(project.folder / "READ ME")
    Path(project.folder, ".git/index.lock").touch()
    index = Path(project.folder, ".git/index").read_bytes()
    seen = drive(uncommitted(project.repo.top))
    assert isinstance(seen, Uncommitted)
    assert seen.count == 32
    assert len(seen.paths) == 20
    assert seen.paths[:2] == ("README.md", "READ ME")
    assert Path(project.folder, ".git/index").read_bytes() == index


def _bytes_below(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path.relative_to(folder)): (path.lstat().st_mtime_ns, path.read_bytes())
        for path in folder.rglob("*")
        if path.is_file() and not path.is_symlink()
    }


@pytest.mark.row("F16")
def test_a_whole_cycle_leaves_the_users_checkout_and_git_directory_as_they_were(
    project: Project, tmp_path: Path
) -> None:
    folder = project.folder
    ran = tmp_path / "ran"
    hooks = folder / ".git/hooks"
    hooks.mkdir(exist_ok=True)
    for name in (
        "pre-commit",
        "post-checkout",
        "post-commit",
        "reference-transaction",
        "pre-push",
        "fsmonitor",
    ):
        (hooks / name).write_text(f"#!/bin/sh\necho {name} >> {ran}\nexit 1\n")
        (hooks / name).chmod(0o755)
    write(folder, "stashed.txt", "x\n")
    bare = tmp_path / "remote.git"
    git(tmp_path, "init", "--quiet", "--bare", str(bare))
    for arguments in (
        ("add", "stashed.txt"),
        ("-c", "core.hooksPath=/dev/null", "stash"),
        ("remote", "add", "origin", str(bare)),
        ("config", "core.fsmonitor", str(hooks / "fsmonitor")),
        ("config", "commit.gpgSign", "true"),
        ("config", "core.hooksPath", str(hooks)),
    ):
        git(folder, *arguments)
    write(folder, "README.md", "staged\n")
    git(folder, "-c", "core.fsmonitor=false", "add", "README.md")
    write(folder, "src/one.txt", "unstaged\n")
    write(folder, "untracked.txt", "untracked\n")
    ran.unlink(missing_ok=True)
    before = _bytes_below(folder)
    assert isinstance(drive(start(project.repo)), Started)
    for number in range(2):
        write(project.slot(number, project.base).path, f"{number}.txt", "x\n")
    for number in range(2):
        assert isinstance(project.land(f"task-{number}", number, base=project.base), Landed)
    write(project.slot(0).path, "unlanded.txt", "x\n")
    drive(push(project.repo, "origin"))
    drive(uncommitted(project.repo.top))
    drive(remove_slots(project.repo))
    after = _bytes_below(folder)
    ours = (
        ".git/objects/",
        ".git/refs/heads/milestone/",
        ".git/logs/refs/heads/milestone/",
        ".git/refs/milestone-archive/",
        ".git/refs/remotes/origin/milestone/",
        ".git/logs/refs/remotes/origin/milestone/",
    )
    different = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    assert {name for name in different if not name.startswith(ours)} == set()
    assert any(name.startswith(".git/refs/milestone-archive/") for name in different)
    assert not ran.exists()


def test_variables_of_a_git_that_called_us_do_not_reach_our_programs(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "GIT_DIR": str(tmp_path / "wrong"),
        "GIT_INDEX_FILE": str(tmp_path / "wrong-index"),
        "GIT_WORK_TREE": str(tmp_path),
        "GIT_OBJECT_DIRECTORY": str(tmp_path / "wrong-objects"),
        "GIT_AUTHOR_DATE": "2001-01-01T00:00:00Z",
    }.items():
        monkeypatch.setenv(name, value)
    ready = drive(prepare_slot(project.repo, 0, project.base))
    assert not isinstance(ready, Refusal)
    write(ready.path, "a.txt", "a\n")
    assert isinstance(project.land("task-1", base=ready.base), Landed)
    assert not list(tmp_path.glob("wrong*"))
