"""Scratch git repositories for tests.

Owns real git in a temporary folder. Refuses to imitate it.
"""

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol


class MakeRepository(Protocol):
    """What the fixture `git_repo` gives: a new repository with one commit, on branch `main`."""

    def __call__(self, name: str = "project", *, files: Mapping[str, str] | None = None) -> Path:
        """Make the repository and return its folder.

        Args:
            name: The folder's name inside the test's `tmp_path`.
            files: Path -> text of the files of the first commit; by default a `README.md`.
        """
        ...


def git(repository: Path, *arguments: str) -> str:
    """Run git in a repository and return its output without the last line's end.

    Raises:
        AssertionError: git ended with another code than 0; has its error output.
    """
    done = subprocess.run(
        ["git", *arguments],
        cwd=repository,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, f"git {' '.join(arguments)} ended with {done.returncode}: {done.stderr}"
    return done.stdout.rstrip("\n")


def make_repository(folder: Path, files: Mapping[str, str] | None = None) -> Path:
    """Make a repository on branch `main` whose one commit has the files."""
    folder.mkdir(parents=True)
    git(folder, "init", "--quiet", "--initial-branch=main")
    for path, text in (files or {"README.md": "A scratch repository.\n"}).items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message=Begin")
    return folder
