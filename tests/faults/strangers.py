"""A run of a user to whom limits and permissions apply: root has neither.

Owns becoming that user, and a place where they may work. Refuses to know what is refused to them.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.e2e.stage import COMMAND, Project, Running
from tests.repositories import make_repository

STRANGER: Final = 54_322
"""A user who has no other process: the limit of processes is counted for each user."""

_CAPABILITIES: Final = "+dac_read_search"  # to read our sources and interpreter, wherever they are
_BECOME: Final = (
    *("setpriv", f"--reuid={STRANGER}", "--clear-groups"),
    *(f"--inh-caps={_CAPABILITIES}", f"--ambient-caps={_CAPABILITIES}"),
)
_IDENTITY: Final = "[user]\n\tname = Stranger\n\temail = stranger@example.org\n"


@pytest.fixture
def strangers_project() -> Iterator[Project]:
    """Yield a project, in a scratch repository, of a user to whom limits and permissions apply."""
    if os.geteuid() == 0 and (
        shutil.which("setpriv") is None
        or subprocess.run([*_BECOME, "true"], capture_output=True, check=False).returncode
    ):
        pytest.skip("root cannot become another user here (setpriv)")
    with tempfile.TemporaryDirectory(prefix="milestoned-test-", dir="/tmp") as name:
        place = Path(name)
        place.chmod(0o711)
        made = Project(make_repository(place / "project"))
        (place / "home").mkdir()
        (place / "home" / ".gitconfig").write_text(_IDENTITY, encoding="utf-8")
        yield made
        made.end_all()


def start_as_stranger(project: Project) -> Running:
    """Start `milestonectl run m1` as the owner of the project."""
    place = project.path.parent
    home, output = place / "home", place / "output"
    become: tuple[str, ...] = ()
    if os.geteuid() == 0:
        become = _BECOME
        for path in (home, *home.rglob("*"), project.path, *project.path.rglob("*")):
            os.chown(path, STRANGER, STRANGER, follow_symlinks=False)
    given = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "GIT_", "TMPDIR"))}
    with output.open("wb") as sink:
        process = subprocess.Popen(
            [*become, *COMMAND, "run", "m1", "--plain"],
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            env={**given, "HOME": str(home)},
            cwd=project.path,
        )
    running = Running(project, process, output)
    project.started.append(running)
    return running


def take_back(project: Project) -> None:
    """Make the project ours: git reads no repository of somebody else."""
    for path in (project.path, *project.path.rglob("*")):
        os.chown(path, os.geteuid(), os.getegid(), follow_symlinks=False)


_LIMIT: Final = """\
import json, resource, sys
kind, wishes = json.loads(sys.argv[1])
before = {}
for pid, soft in wishes.items():
    try:
        limits = resource.prlimit(int(pid), kind)
        resource.prlimit(int(pid), kind, (soft, limits[1]))
    except ProcessLookupError:
        continue
    before[pid] = limits[0]
print(json.dumps(before))
"""


def limit(kind: int, wishes: dict[int, int]) -> dict[int, int]:
    """Set a soft limit of processes of the project's owner, pid -> limit; return what it was before.

    Done by that user, because another one needs a right for it that root may not have.
    """
    done = subprocess.run(
        [*(_BECOME if os.geteuid() == 0 else ()), sys.executable, "-c", _LIMIT, json.dumps([kind, wishes])],
        capture_output=True,
        text=True,
        check=True,
        stdin=subprocess.DEVNULL,
    )
    return {int(pid): soft for pid, soft in json.loads(done.stdout).items()}
