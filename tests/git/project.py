"""A project with a milestone branch, and what a task does in a slot of it."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import pytest
from attrs import frozen

from actors.git.flows import (
    CommitMessage,
    CommitSpec,
    Identity,
    LandOutcome,
    Repository,
    SlotReady,
    Started,
    capture_and_land,
    commit_message,
    inspect,
    prepare_slot,
    start,
)
from actors.model import Milestone, Task
from actors.programs import Finished, Program
from tests.git.driver import drive, execute
from tests.repositories import MakeRepository, git

SESSION: Final = "exec-milestone-001-20260102_030405-0a1b2c3d"
WHEN: Final = 1_700_000_000
AUTHOR: Final = Identity("Test Author", "author@example.org")


def message(task: str, session: str = SESSION) -> CommitMessage:
    """Return the message of a task."""
    return commit_message(Milestone("milestone-001", "One"), Task(task, f"Do {task}"), session)


@frozen
class Project:
    """A repository in which a session has started.

    Attributes:
        folder: The user's checkout.
        repo: The same, as inspected.
        base: The commit that the session started from.
    """

    folder: Path
    repo: Repository
    base: str

    @property
    def tip(self) -> str:
        """What the milestone branch points to."""
        return git(self.folder, "rev-parse", self.repo.branch)

    def slot(self, number: int = 0, base: str | None = None, *, attempt: str = "task.1") -> SlotReady:
        """Prepare a slot at the base, by default the tip."""
        ready = drive(prepare_slot(self.repo, number, base or self.tip, owner=f"{SESSION}/{attempt}"))
        assert isinstance(ready, SlotReady), ready
        return ready

    def land(
        self,
        task: str,
        number: int = 0,
        *,
        base: str,
        since: str = "",
        after: str = "",
        run: Callable[[Program], Finished] = execute,
    ) -> LandOutcome:
        """Capture the slot and land it as the task's commit."""
        spec = CommitSpec(message(task), WHEN, AUTHOR, since, after)
        return drive(capture_and_land(self.repo, number, base, spec), run)

    def leave_to_git(self) -> None:
        """Store everything in a way that we leave to git: packs, a packed branch without a log, index version 4."""
        for arguments in (
            ("config", "core.logAllRefUpdates", "false"),
            ("config", "index.version", "4"),
            ("pack-refs", "--all"),
            ("repack", "--quiet", "-a", "-d"),
        ):
            git(self.folder, *arguments)
        Path(self.repo.common_dir, "logs", self.repo.ref).unlink(missing_ok=True)

    def commits(self) -> list[str]:
        """Return the ``Task`` trailers of the branch's commits since the base, oldest first."""
        format_ = "--format=%(trailers:key=Task,valueonly,separator=%x2C)"
        listed = git(self.folder, "log", "--reverse", format_, f"{self.base}..{self.repo.branch}")
        return listed.splitlines()


def begin(folder: Path, cache: Path) -> Project:
    """Inspect the repository and start a session in it."""
    repo = drive(inspect(str(folder), "milestone-001", str(cache)))
    assert isinstance(repo, Repository), repo
    started = drive(start(repo))
    assert isinstance(started, Started), started
    return Project(folder, repo, started.base_sha)


class MakeProject:
    """Makes projects below the test's folder."""

    def __init__(self, make: MakeRepository, tmp_path: Path) -> None:
        self._make = make
        self._cache = tmp_path / "cache"

    def __call__(self, files: Mapping[str, str] | None = None) -> Project:
        """Make a repository with these files and start a session in it."""
        folder = self._make(files=files or {"README.md": "Read.\n", "src/one.txt": "1\n", "src/two.txt": "2\n"})
        return begin(folder, self._cache)


@pytest.fixture
def make_project(git_repo: MakeRepository, tmp_path: Path) -> MakeProject:
    """Return a function that makes a project."""
    return MakeProject(git_repo, tmp_path)


@pytest.fixture
def project(make_project: MakeProject) -> Project:
    """Return a project with three files."""
    return make_project()


def write(folder: str | Path, name: str, text: str) -> None:
    """Write a file, with the folders above it."""
    file = Path(folder, name)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
