"""What a run says when the system has no more processes or threads for it: real limits, no fakes."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

from tests.e2e.stage import COMMAND, Done, Project, milestone_of

STRANGER: Final = 54_321
"""A user who has no other process: the limit is counted for each user, and root has none."""

CAPABILITIES: Final = "+dac_override,+dac_read_search"
BECOME: Final = (
    *("setpriv", f"--reuid={STRANGER}", "--clear-groups"),
    *(f"--inh-caps={CAPABILITIES}", f"--ambient-caps={CAPABILITIES}"),
)


@pytest.fixture
def strangers_project(project: Project) -> Project:
    """Return a project of a user to whom the limit applies."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None or shutil.which("prlimit") is None:
        pytest.skip("only root can become a user who has no other process (setpriv, prlimit)")
    if subprocess.run([*BECOME, "true"], check=False, capture_output=True).returncode:
        pytest.skip("this root may not become another user")
    project.write("m1", milestone_of({"id": "t1", "run": "true"}))
    for path in (project.path, *project.path.rglob("*")):
        os.chown(path, STRANGER, STRANGER, follow_symlinks=False)
    return project


def run_with(project: Project, processes: int, home: Path) -> Done:
    words = ("run", "m1", "--plain", "--isolation", "none")
    done = subprocess.run(
        [*BECOME, "prlimit", f"--nproc={processes}", *COMMAND, *words],
        cwd=project.path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "HOME": str(home), "XDG_CACHE_HOME": str(home)},
    )
    return Done(done.returncode, done.stdout, done.stderr)


@pytest.mark.row("F10")
@pytest.mark.parametrize("processes", [1, 6, 8, 9])
def test_a_limit_of_processes_is_exit_code_74_with_what_to_do(
    strangers_project: Project, tmp_path: Path, processes: int
) -> None:
    """Whichever comes too late: a thread of the run, the fork server, the runner, a role or a thread of it."""
    done = run_with(strangers_project, processes, tmp_path)
    said = done.out + done.err
    assert done.code == 74, said
    assert "raise the limit" in said
    assert "ulimit -u" in said
    assert "defect" not in said
    assert "Traceback" not in said
