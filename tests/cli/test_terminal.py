"""`milestonectl run` on a terminal, and the demo: what a person sees."""

import functools
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from rich.cells import cell_len

from supervisor.cli.board import BEGIN_FRAME, END_FRAME
from tests.cli.terminal import Terminal, on_terminal, without_escapes
from tests.e2e.stage import COMMAND, Project
from tests.repositories import git
from tests.waiting import wait_until

CHECKOUT = Path(__file__).parents[2]

SLOW = """\
id: slow
title: A slow one
tasks:
  - {id: quick, title: Quick, run: "true"}
  - {id: endless, title: Endless, run: "sleep 300", depends_on: [quick]}
"""

QUICK = """\
id: quick
title: A quick one
tasks:
  - {id: one, title: One, run: "echo 1 > one"}
  - {id: two, title: Two, run: "echo 2 > two", depends_on: [one]}
"""


def test_a_table_of_roles_and_a_bar_stand_below_the_lines_and_ctrl_c_ends_in_order(project: Project) -> None:
    project.write("slow", SLOW)
    with on_terminal([*COMMAND, "run", "slow"], project.path) as terminal:
        drawn = terminal.wait_for("Starting endless")
        drawn = terminal.wait_for("50%  1/2 tasks, 1 running")
        for title in (
            "Task Executor",
            "Progress Monitor",
            "Git Integration",
            "Dependency Validator",
            "Blocker Detector",
        ):
            assert re.search(rf"^{title} +RUNNING +\d+", drawn, re.MULTILINE), drawn
        assert re.search(r"^role +state +pid +cpu +rss +restarts", drawn, re.MULTILINE)
        assert re.search(r"\[\d\d:\d\d:\d\d\] Task Executor: Starting quick: Quick", drawn, re.MULTILINE)
        terminal.type(b"\x03")
        assert terminal.wait() == 130
        last = terminal.text()
    assert "Session interrupted" in last
    assert "Go on with: milestonectl run slow" in last
    assert "Traceback" not in last
    assert terminal.raw.count(b"\x1b[?25l") == terminal.raw.count(b"\x1b[?25h")
    assert project.session_json()["status"] == "interrupted"


def test_the_last_lines_of_a_completed_run_stay_on_the_terminal(project: Project) -> None:
    project.write("quick", QUICK)
    with on_terminal([*COMMAND, "run", "quick"], project.path) as terminal:
        assert terminal.wait() == 0
        drawn = terminal.text()
    assert "\x1b[1;32m" in terminal.raw.decode()
    assert "Milestone quick completed" in drawn
    assert "2 commits on milestone/quick: git log milestone/quick" in drawn


def test_no_color_draws_without_colours_and_a_narrow_terminal_is_enough(project: Project) -> None:
    project.write("quick", QUICK)
    with on_terminal([*COMMAND, "run", "quick"], project.path, {"NO_COLOR": "1"}, size=(10, 40)) as terminal:
        assert terminal.wait() == 0
    assert "Traceback" not in terminal.text()
    assert not re.search(rb"\x1b\[[0-9;]*3[0-7]m", terminal.raw)


def test_a_quick_command_has_colours_on_a_terminal_and_none_with_no_color(project: Project) -> None:
    project.write("quick", QUICK)
    for variables, coloured in (({}, True), ({"NO_COLOR": "1"}, False)):
        with on_terminal([*COMMAND, "plan", "quick"], project.path, variables) as terminal:
            assert terminal.wait() == 0
        assert (b"\x1b[" in terminal.raw) is coloured


MANY = "id: many\ntitle: Many\ntasks:\n" + "".join(
    f"  - {{id: task-{number:02d}, title: {'长标题 ' * 20}, run: sleep 300}}\n" for number in range(16)
)


def _board(terminal: Terminal) -> list[str]:
    """Return the rows of the board that was drawn last, which begins with the roles."""
    terminal.text()
    frames = terminal.raw.partition(BEGIN_FRAME.encode())[2].split(END_FRAME.encode())[:-1]
    drawn = without_escapes(frames[-1]) if frames else ""
    begin = re.search(r"^(?:role +state|\d of \d roles running)", drawn, re.MULTILINE)
    return drawn[begin.start() :].split("\n") if begin else []


def _is_on(terminal: Terminal, row: str) -> bool:
    return row in _board(terminal)


def test_many_running_tasks_never_push_the_bar_off_a_screen_that_becomes_small(project: Project) -> None:
    project.write("many", MANY)
    with on_terminal([*COMMAND, "run", "many", "-j", "16"], project.path, size=(40, 120)) as terminal:
        wait_until(lambda: len(_board(terminal)) == 7 + 16 + 1, 60.0)
        assert all(re.match(r"> task-\d\d +\d+s  长标题", row) for row in _board(terminal)[7:-1])
        for rows, columns, rest in ((24, 80, 9), (20, 50, 12), (8, 40, 14)):
            terminal.resize(rows, columns)
            wait_until(functools.partial(_is_on, terminal, f"  and {rest} more"), 60.0)
            board = _board(terminal)
            assert len(board) <= rows * 2 // 3
            assert max(cell_len(row) for row in board) < columns
            assert "0/16 tasks" in board[-1]
        terminal.type(b"\x03")
        assert terminal.wait() == 130


def test_the_first_ctrl_c_says_what_a_second_one_does(project: Project) -> None:
    project.write("slow", SLOW)
    with on_terminal([*COMMAND, "run", "slow"], project.path) as terminal:
        terminal.wait_for("Starting endless")
        terminal.type(b"\x03")
        assert terminal.wait() == 130
        assert "Supervisor: Ctrl-C again ends everything at once" in terminal.text()


def test_the_end_of_a_failed_run_names_the_tasks_why_and_what_to_do(project: Project) -> None:
    tasks = "".join(f"  - {{id: t{number}, title: T, run: exit {number + 1}}}\n" for number in range(12))
    project.write("bad", f"id: bad\ntitle: Bad\ntasks:\n{tasks}  - {{id: last, title: L, run: x, depends_on: [t0]}}\n")
    done = project.ctl("run", "bad", "-j", "8")
    assert done.code == 1
    end = done.out[done.out.index("\nMilestone bad failed") + 1 :].splitlines()
    assert end[1:11] == [f"  t{number}  run exited with {number + 1} (t{number}.1.log)" for number in range(10)]
    assert end[11] == "  and 2 more: milestonectl status bad"
    assert end[12] == f"Output of the tasks: .milestones/logs/{project.session()}/tasks/"
    assert end[13] == "Mend it, then: milestonectl run bad"


@pytest.mark.parametrize(("term", "options"), [("dumb", ()), ("xterm", ("--plain",))])
def test_a_dumb_terminal_and_plain_get_lines_only(project: Project, term: str, options: tuple[str, ...]) -> None:
    project.write("quick", QUICK)
    with on_terminal([*COMMAND, "run", "quick", *options], project.path, {"TERM": term}) as terminal:
        assert terminal.wait() == 0
    assert b"\x1b[?25l" not in terminal.raw
    assert "Task Executor: Starting one" in terminal.text()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_ends_a_run_in_order_with_its_code(project: Project, number: signal.Signals, code: int) -> None:
    project.write("slow", SLOW)
    running = project.start("run", "slow")
    wait_until(lambda: "Starting endless" in running.text(), 60.0, "the endless task")
    running.process.send_signal(number)
    assert running.wait(30.0) == code
    assert f"{number.name} received" in running.text()
    assert "signal again to end everything at once" in running.text()
    assert project.session_json()["status"] == "interrupted"


def test_a_second_ctrl_c_does_not_wait_for_a_task_that_will_not_end(project: Project) -> None:
    project.configure("stop_grace: 100s\n")
    stubborn = """trap '' TERM; echo stubborn; while :; do sleep 1; done"""
    project.write("slow", f'id: slow\ntitle: T\ntasks: [{{id: a, title: A, run: "{stubborn}"}}]\n')
    with on_terminal([*COMMAND, "run", "slow"], project.path) as terminal:
        terminal.wait_for("Starting a")
        logs = project.path / ".milestones" / "logs"
        wait_until(lambda: [log for log in logs.glob("*/tasks/a.1.log") if "stubborn" in log.read_text()])
        terminal.type(b"\x03")
        terminal.wait_for("Stopping: SIGINT received")
        terminal.type(b"\x03")
        assert terminal.wait(40.0) == 130
        assert "Go on with: milestonectl run slow" in terminal.text()


def test_json_of_a_run_is_an_object_per_line_and_the_last_one_says_how_it_ended(project: Project) -> None:
    project.write("quick", QUICK)
    done = project.ctl("run", "quick", "--json")
    lines = [json.loads(line) for line in done.out.splitlines()]
    assert done.err == ""
    assert all(line.keys() == {"seq", "timestamp", "session", "event", "details"} for line in lines[:-1])
    events = [line["event"] for line in lines[:-1]]
    assert events.count("TaskCompleted") == 2
    assert lines[-1] == {"session": project.session(), "status": "completed", "reason": "", "code": 0}


def test_the_demo_runs_without_a_git_identity_and_with_its_output_in_a_pipe(tmp_path: Path) -> None:
    env = {
        name: value for name, value in os.environ.items() if not name.startswith("GIT_") and name != "VIRTUAL_ENV"
    } | {"HOME": str(tmp_path), "GIT_CONFIG_GLOBAL": "/dev/null", "MILESTONED_DEMO": str(tmp_path / "demo")}
    done = subprocess.run(
        [sys.executable, CHECKOUT / "examples" / "demo.py"],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        timeout=100,
    )
    assert (done.returncode, done.stderr) == (0, "")
    (repository,) = (tmp_path / "demo").iterdir()
    assert git(repository, "rev-list", "--count", "main..milestone/milestone-001") == "16"
    shown = [line.strip() for line in done.stdout.splitlines()[-3:]]
    assert [line.split()[0].rpartition("/")[2] for line in shown] == ["git", "milestonectl", "ls"]
    for line in shown:
        followed = subprocess.run(line, shell=True, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
        assert followed.returncode == 0, followed.stderr
        assert followed.stdout
