"""Pushing: what the remote has and we have not is never overwritten, and nobody is asked anything."""

from pathlib import Path

import pytest

from actors.git.flows import Landed, Pushed, PushRefused, UpToDate, push
from tests.git.driver import drive
from tests.git.project import Project, write
from tests.repositories import git


@pytest.fixture
def remote(project: Project, tmp_path: Path) -> Path:
    bare = tmp_path / "remote.git"
    git(tmp_path, "init", "--quiet", "--bare", str(bare))
    git(project.folder, "remote", "add", "origin", str(bare))
    return bare


def _land(project: Project, task: str) -> str:
    ready = project.slot()
    write(ready.path, f"{task}.txt", "x\n")
    landed = project.land(task, base=ready.base)
    assert isinstance(landed, Landed)
    return landed.sha


def test_the_branch_is_pushed_as_far_as_it_is_and_nothing_else(project: Project, remote: Path) -> None:
    for task in ("task-1", "task-2"):
        sha = _land(project, task)
        assert drive(push(project.repo, "origin")) == Pushed(sha)
        assert drive(push(project.repo, "origin")) == UpToDate(sha)
        assert git(remote, "rev-parse", "milestone/milestone-001") == sha
    assert git(remote, "for-each-ref", "--format=%(refname)") == "refs/heads/milestone/milestone-001"


def test_foreign_commits_on_the_remote_are_never_overwritten(project: Project, remote: Path) -> None:
    _land(project, "task-1")
    drive(push(project.repo, "origin"))
    tree = git(remote, "rev-parse", "milestone/milestone-001^{tree}")
    foreign = git(remote, "commit-tree", tree, "-p", "milestone/milestone-001", "-m", "foreign")
    git(remote, "update-ref", "refs/heads/milestone/milestone-001", foreign)
    _land(project, "task-2")
    git(project.folder, "config", "remote.origin.push", "+refs/heads/*:refs/heads/*")
    refused = drive(push(project.repo, "origin"))
    assert isinstance(refused, PushRefused)
    assert "rejected" in refused.reason
    assert git(remote, "rev-parse", "milestone/milestone-001") == foreign


@pytest.mark.parametrize("name", ["no-such-remote", "--force", "/no/such/path", "ssh://127.0.0.1:1/x"])
def test_a_remote_that_is_not_there_is_a_refusal_that_says_so(project: Project, name: str) -> None:
    refused = drive(push(project.repo, name, timeout=20))
    assert isinstance(refused, PushRefused)
    assert refused.reason


def test_a_remote_that_says_no_is_quoted(project: Project, remote: Path) -> None:
    hook = remote / "hooks/pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    refused = drive(push(project.repo, "origin"))
    assert isinstance(refused, PushRefused)
    assert "pre-receive hook declined" in refused.reason


def test_an_exchange_that_takes_too_long_is_given_up(project: Project) -> None:
    # Ends when git is killed and the pipe to it closes.
    git(project.folder, "config", "core.sshCommand", "cat >/dev/null; false")
    refused = drive(push(project.repo, "ssh://example.invalid/x", timeout=0.5))
    assert isinstance(refused, PushRefused)
