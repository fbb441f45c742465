"""What a new user types, as the pages have it: from nothing to a finished milestone."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from actors.events import SessionStarted
from tests.e2e.stage import Project, facts, milestone_of
from tests.repositories import git
from tests.waiting import wait_until

CHECKOUT: Final = Path(__file__).parents[2]

READY: Final = "until milestonectl pid >/dev/null 2>&1; do sleep 0.05; done"
"""What a person does between the daemon's start and the next line: look until it is ready."""


def test_a_new_user_without_systemd_gets_from_nothing_to_a_finished_milestone_with_the_commands_of_the_page(
    project: Project,
) -> None:
    page = (CHECKOUT / "docs" / "daemon.md").read_text(encoding="utf-8")
    commands = re.findall(r"^\$ (.*)$", page.split("```console\n")[1].split("```")[0], re.MULTILINE)
    assert len(commands) <= 6
    assert ["pip install ~/src/milestoned" in commands[0], "export PATH=" in commands[1]] == [True, True]
    # Installing is what every test of this environment stands on, and `make install` and the wheel's own tests show.
    script = [line for command in commands[2:] for line in ((command, READY) if command.endswith("&") else (command,))]
    done = subprocess.Popen(
        ["bash", "-euc", "\n".join((*script, "milestonectl shutdown", "wait"))],
        cwd=project.path,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        out, err = done.communicate(timeout=300)
    except subprocess.TimeoutExpired:
        os.killpg(done.pid, signal.SIGKILL)
        raise
    assert done.returncode == 0, out + err
    assert 'SessionEnded  {"status": "completed"' in out
    assert len(git(project.path, "log", "--oneline", "milestone/milestone-001").splitlines()) == 17


@pytest.mark.parametrize("order", [("option", "variable", "project"), ("variable", "project")])
def test_of_the_files_of_a_daemons_configuration_the_one_that_the_page_names_first_counts(
    folder: Project, tmp_path: Path, order: tuple[str, ...]
) -> None:
    files = {"option": tmp_path / "option.yaml", "variable": tmp_path / "variable.yaml"}
    for number, name in enumerate(("option", "variable", "project"), 1):
        text = f"max_parallel: {number}\n"
        if name == "project":
            folder.configure(text)
        else:
            files[name].write_text(text)
    folder.write("m1", milestone_of({"id": "a", "run": "true"}))
    words = ("--config", str(files["option"])) if "option" in order else ()
    env = {"MILESTONED_CONFIG": str(files["variable"])} if "variable" in order else {}
    daemon = folder.daemon(*words, env=env)
    wait_until(lambda: " ready " in daemon.text(), 60.0, "the daemon is ready")
    assert folder.ctl("start", "m1").code == 0
    (started,) = facts(folder, SessionStarted)
    assert started.settings.max_parallel == ("option", "variable", "project").index(order[0]) + 1
    daemon.process.send_signal(signal.SIGTERM)
    assert daemon.wait() == 0


def test_the_log_of_a_daemon_is_shown_by_tail_supervisor(folder: Project) -> None:
    folder.write("m1", milestone_of({"id": "a", "run": "true"}))
    daemon = folder.daemon()
    wait_until(lambda: " ready " in daemon.text(), 60.0, "the daemon is ready")
    assert folder.ctl("start", "m1").code == 0
    wait_until(lambda: "run over" in folder.ctl("tail", "supervisor", "-n", "100").out, 60.0, "its end is logged")
    shown = folder.ctl("tail", "supervisor", "-n", "100").out
    assert "session begun" in shown
    assert folder.ctl("tail", "m1:supervisor", "-n", "100").out == shown
    daemon.process.send_signal(signal.SIGTERM)
    assert daemon.wait() == 0
