"""A world of its own for each test: home, caches, temporary folder, git identity, a mark in the environment.

Owns the environment of a test and of every process that it starts. Refuses to know what the tests do there.
"""

import itertools
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from uuid import uuid4

import pytest
from attrs import frozen

MARK: Final = "MILESTONED_TEST"
"""The environment variable by which a process is known to belong to a test."""

_NOT_INHERITED: Final = (
    "GIT_",
    "LISTEN_",
    "MILESTONED_",
    "NOTIFY_SOCKET",
    "NO_COLOR",
    "FORCE_COLOR",
    "COLUMNS",
    "LINES",
    "WATCHDOG_",
    "XDG_",
)

_GIT_CONFIG: Final = """\
[user]
	name = Test Author
	email = author@example.org
[init]
	defaultBranch = main
[commit]
	gpgSign = false
[gc]
	auto = 0
[maintenance]
	auto = false
[advice]
	detachedHead = false
"""


@frozen
class World:
    """Where one test lives.

    Attributes:
        mark: The value of `MILESTONED_TEST`, never used twice.
        home: `HOME`; the XDG folders stand below it. Emptied with the rest of pytest's temporary folder.
        scratch: `TMPDIR`; must be empty again when the test ends.
    """

    mark: str
    home: Path
    scratch: Path


@pytest.fixture(scope="session")
def _homes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Yield names of new folders; short ones, because a socket's path has 107 bytes."""
    base = tmp_path_factory.mktemp("home", numbered=False)
    return (base / str(number) for number in itertools.count())


@pytest.fixture(autouse=True)
def world(_homes: Iterator[Path], monkeypatch: pytest.MonkeyPatch) -> World:
    """Keep the test away from the user's home, git configuration, sockets and caches."""
    home = next(_homes)
    scratch = home / "tmp"
    runtime = home / "run"
    for folder in (home, scratch, runtime, home / "cache", home / "config", home / "data", home / "state"):
        folder.mkdir(mode=0o700)
    git_config = home / ".gitconfig"
    git_config.write_text(_GIT_CONFIG, encoding="utf-8")
    place = World(mark=uuid4().hex, home=home, scratch=scratch)
    for name in list(os.environ):
        if name.startswith(_NOT_INHERITED):
            monkeypatch.delenv(name)
    variables = {
        MARK: place.mark,
        "HOME": str(home),
        "XDG_CACHE_HOME": str(home / "cache"),
        "XDG_CONFIG_HOME": str(home / "config"),
        "XDG_DATA_HOME": str(home / "data"),
        "XDG_STATE_HOME": str(home / "state"),
        "XDG_RUNTIME_DIR": str(runtime),
        "TMPDIR": str(scratch),
        "GIT_CONFIG_GLOBAL": str(git_config),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    # The module remembers the folder that it found first.
    monkeypatch.setattr(tempfile, "tempdir", None)
    return place
