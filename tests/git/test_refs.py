"""Moving the branch without a program: git's lock, git's comparison, git's log."""

import resource
from pathlib import Path

import pytest

from actors.git.flows import Identity
from actors.git.refs import LogLine, move
from tests.git.project import WHEN, Project
from tests.repositories import git

LOG = LogLine(Identity("Zoë", "zoe@example.org"), WHEN, "milestoned:  task-1\n")


def _next(project: Project, note: str = "x") -> str:
    return git(project.folder, "commit-tree", f"{project.base}^{{tree}}", "-p", project.base, "-m", note)


def _ref(project: Project) -> Path:
    return Path(project.repo.common_dir, project.repo.ref)


def test_a_branch_moves_from_one_commit_to_another_and_its_log_says_so(project: Project) -> None:
    ref, new = _ref(project), _next(project)
    mode = ref.stat().st_mode
    assert move(project.repo, project.base, new, LOG) is True
    assert git(project.folder, "rev-parse", project.repo.branch) == new
    assert ref.read_text() == f"{new}\n"
    assert ref.stat().st_mode == mode
    assert list(ref.parent.iterdir()) == [ref]
    format_ = "--format=%H %gn <%ge> %gd %gs"
    logged = git(project.folder, "log", "-g", "--date=raw", format_, project.repo.branch).splitlines()
    assert logged[0] == f"{new} Zoë <zoe@example.org> {project.repo.branch}@{{{WHEN} +0000}} milestoned: task-1"
    assert len(logged) == 2


def test_a_branch_that_is_elsewhere_stays_there(project: Project) -> None:
    elsewhere = _next(project, "elsewhere")
    git(project.folder, "update-ref", project.repo.ref, elsewhere)
    log = Path(project.repo.common_dir, "logs", project.repo.ref)
    logged = log.read_bytes()
    assert move(project.repo, project.base, _next(project), LOG) is False
    assert project.tip == elsewhere
    assert log.read_bytes() == logged
    assert list(_ref(project).parent.iterdir()) == [_ref(project)]


def _packed(project: Project) -> None:
    git(project.folder, "pack-refs", "--all")


def _not_logged(project: Project) -> None:
    Path(project.repo.common_dir, "logs", project.repo.ref).unlink()


def _symbolic(project: Project) -> None:
    git(project.folder, "branch", "target", project.base)
    git(project.folder, "symbolic-ref", project.repo.ref, "refs/heads/target")


def _locked(project: Project) -> None:
    Path(f"{_ref(project)}.lock").write_text("somebody's")


def _emptied(project: Project) -> None:
    _ref(project).write_text("")


def _reftable(project: Project) -> None:
    Path(project.repo.common_dir, "reftable").mkdir()


@pytest.mark.parametrize("make", [_packed, _not_logged, _symbolic, _locked, _emptied, _reftable])
def test_what_is_not_simple_or_not_free_is_left_to_git(project: Project, make: object) -> None:
    new = _next(project)
    assert callable(make)
    make(project)
    before = {path: path.read_bytes() for path in Path(project.repo.common_dir, "refs").rglob("*") if path.is_file()}
    assert move(project.repo, project.base, new, LOG) is None
    after = {path: path.read_bytes() for path in Path(project.repo.common_dir, "refs").rglob("*") if path.is_file()}
    assert after == before


@pytest.mark.parametrize("name", ["two\nlines", "a <b", "trimmed. ", "half \udc80", ""])
def test_a_name_that_git_would_alter_in_the_log_is_left_to_git(project: Project, name: str) -> None:
    log = LogLine(Identity(name, "a@b"), WHEN, "x")
    assert move(project.repo, project.base, _next(project), log) is None
    assert project.tip == project.base


def test_a_disk_that_does_not_take_the_log_moves_nothing_and_leaves_no_lock(project: Project) -> None:
    new = _next(project)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    longest = Path(project.repo.common_dir, "logs", project.repo.ref).stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (longest, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            move(project.repo, project.base, new, LOG)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert project.tip == project.base
    assert list(_ref(project).parent.iterdir()) == [_ref(project)]
    assert move(project.repo, project.base, new, LOG) is True
