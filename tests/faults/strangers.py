"""A run of a user to whom limits and permissions apply: root has neither.

Owns becoming that user. Refuses to know what is refused to them.
"""

import os
import shutil
import subprocess
from typing import Final

import pytest

from tests.e2e.stage import COMMAND, Project, Running

STRANGER: Final = 54_322
"""A user who has no other process: the limit of processes is counted for each user."""

_CAPABILITIES: Final = "+dac_read_search"  # to read our sources and interpreter, wherever they are
_BECOME: Final = (
    *("setpriv", f"--reuid={STRANGER}", "--clear-groups"),
    *(f"--inh-caps={_CAPABILITIES}", f"--ambient-caps={_CAPABILITIES}"),
)


def start_as_stranger(project: Project, *words: str) -> Running:
    """Give a project to the stranger, and start `milestonectl run m1` as they would; skip where that cannot be.

    Args:
        project: The project; its folder, and those above up to the test's, are opened to the stranger.
        words: More words of the command line.
    """
    if os.geteuid() != 0:
        return project.start("run", "m1", "--plain", *words)
    if shutil.which("setpriv") is None or subprocess.run([*_BECOME, "true"], check=False).returncode:
        pytest.skip("root cannot become another user here (setpriv)")
    home = project.path.parent / "stranger"
    home.mkdir()
    (home / ".gitconfig").write_text("[user]\n\tname = Stranger\n\temail = stranger@example.org\n", encoding="utf-8")
    for path in (home, *home.rglob("*"), project.path, *project.path.rglob("*")):
        os.chown(path, STRANGER, STRANGER, follow_symlinks=False)
    for folder in (project.path.parent, project.path.parent.parent):
        folder.chmod(folder.stat().st_mode | 0o011)
    output = project.path.parent / "output-stranger.txt"
    environment = {**os.environ, "HOME": str(home), "XDG_CACHE_HOME": str(home / ".cache")}
    for name in (
        "XDG_CONFIG_HOME",
        "GIT_CONFIG_GLOBAL",
        "XDG_RUNTIME_DIR",
        "XDG_STATE_HOME",
        "XDG_DATA_HOME",
        "TMPDIR",
    ):
        environment.pop(name, None)
    with output.open("wb") as sink:
        process = subprocess.Popen(
            [*_BECOME, *COMMAND, "run", "m1", "--plain", *words],
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            env=environment,
            cwd=project.path,
        )
    running = Running(project, process, output)
    project.started.append(running)
    return running
