"""A scripted session at a terminal: each view that goes on by itself, resized, typed at, left by a key or Ctrl-C."""

import contextlib
import re
import shlex
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import pytest

from actors.events import AttemptStarted
from tests.cli.terminal import Terminal, on_terminal
from tests.e2e.stage import COMMAND, Project, facts, milestone_of, waits_for
from tests.waiting import wait_until

COLOURS: Final = re.compile(rb"\x1b\[[0-9;]*[1-9][0-9;]*m")
PROMPT: Final = "shell> "
TYPED: Final = b"xyzzy"
GIVEN_BACK: Final = b"\x1b[?25h\x1b[?1049l"
HIDE: Final = b"\x1b[?25l"
SHOW: Final = b"\x1b[?25h"


@pytest.fixture
def gate(project: Project, tmp_path: Path) -> Iterator[Path]:
    """Write a milestone whose task prints and waits for a gate; open the gate at the end."""
    gate = tmp_path / "gate"
    project.write("m1", milestone_of({"id": "slow", "run": f"echo it prints; {waits_for(gate)}"}))
    yield gate
    gate.touch()


@contextlib.contextmanager
def beside(project: Project) -> Iterator[None]:
    """Have a run go on meanwhile."""
    running = project.start("run", "m1")
    wait_until(lambda: facts(project, AttemptStarted), 60.0, "the task runs")
    yield
    running.process.send_signal(signal.SIGINT)
    assert running.wait(60.0) == 130


def at_terminal(
    project: Project, *words: str, env: Mapping[str, str] | None = None, size: tuple[int, int] = (30, 100)
) -> contextlib.AbstractContextManager[Terminal]:
    """Start `milestonectl` on a terminal."""
    return on_terminal([*COMMAND, *words], project.path, env, size)


def drawn_again(terminal: Terminal) -> None:
    """Wait until something was drawn that was not there before."""
    drawn = len(terminal.raw)
    wait_until(lambda: terminal.text() and len(terminal.raw) > drawn + 200, 60.0, "it is drawn again")


def test_a_run_takes_no_notice_of_keys_follows_the_size_and_ends_in_order(project: Project, gate: Path) -> None:
    assert not gate.exists()
    with at_terminal(project, "run", "m1") as terminal:
        terminal.wait_for("> slow")
        terminal.type(TYPED)
        for rows, columns in ((12, 50), (5, 20), (40, 140)):
            terminal.resize(rows, columns)
            drawn_again(terminal)
        terminal.type(b"\x03")
        assert terminal.wait() == 130
        assert "Go on with: milestonectl run m1" in terminal.text()
        assert TYPED not in terminal.raw
        assert terminal.raw.count(b"\x1b[?25l") == terminal.raw.count(b"\x1b[?25h") == 1


@contextlib.contextmanager
def in_shell(project: Project, *words: str) -> Iterator[Terminal]:
    """Start `milestonectl` as a job of a shell on a terminal; leave the shell at the end."""
    with on_terminal(["/bin/sh", "-i"], project.path, {"PS1": PROMPT, "ENV": ""}) as terminal:
        terminal.wait_for(PROMPT)
        terminal.type(f"{shlex.join([*COMMAND, *words])}\n".encode())
        yield terminal
        terminal.type(b"exit\n")
        terminal.wait()


def put_aside(terminal: Terminal) -> None:
    """Type Ctrl-Z, and have the shell do something."""
    terminal.type(b"\x1a")
    wait_until(lambda: terminal.text().endswith(PROMPT), 60.0, "the shell is there again")
    assert terminal.raw.count(HIDE) == terminal.raw.count(SHOW)
    wait_until(terminal.echoes, 60.0, "keys are echoed again")
    terminal.type(b"echo $((6 * 7))\n")
    wait_until(lambda: terminal.text().endswith(f"42\n{PROMPT}"), 60.0, "it is done")


def brought_back(terminal: Terminal) -> bytes:
    """Have the shell bring us back, and return what was drawn since."""
    before = len(terminal.raw)
    terminal.type(b"fg\n")
    wait_until(lambda: terminal.text() and terminal.raw.count(HIDE) == 2, 60.0, "it is drawn again")
    assert not terminal.echoes()
    return terminal.raw[before:]


def test_a_run_that_ctrl_z_stopped_leaves_the_terminal_to_the_shell_until_it_goes_on(
    project: Project, gate: Path
) -> None:
    assert not gate.exists()
    with in_shell(project, "run", "m1") as terminal:
        terminal.wait_for("> slow")
        put_aside(terminal)
        again = brought_back(terminal)
        assert b"\x1b[1A" not in again.partition(HIDE)[0]  # what the shell has shown stays
        terminal.type(TYPED + b"\x03")
        terminal.wait_for("Go on with: milestonectl run m1")
        wait_until(terminal.echoes, 60.0, "the shell is there again")
        assert TYPED not in terminal.raw
        assert terminal.raw.count(HIDE) == terminal.raw.count(SHOW) == 2


def test_top_that_ctrl_z_stopped_gives_the_screen_back_and_takes_it_again(project: Project, gate: Path) -> None:
    assert not gate.exists()
    with beside(project), in_shell(project) as terminal:
        terminal.wait_for("milestonectl> ")
        terminal.type(b"top --interval 0.2\n")  # in our own shell, which stops behind it
        terminal.wait_for("> slow.1")
        put_aside(terminal)
        assert GIVEN_BACK in terminal.raw.partition(b"Stopped")[0]
        assert b"\x1b[?1049h" in brought_back(terminal)
        terminal.type(TYPED + b"q")
        wait_until(lambda: terminal.text().endswith("milestonectl> "), 60.0, "our shell is there again")
        assert TYPED not in terminal.raw
        terminal.type(b"exit\n")
        wait_until(lambda: terminal.text().endswith(PROMPT), 60.0, "the shell is there again")


def test_top_is_renewed_follows_the_size_and_ends_with_q_or_ctrl_c(project: Project, gate: Path) -> None:
    assert not gate.exists()
    with beside(project):
        with at_terminal(project, "top", "--interval", "0.2") as terminal:
            terminal.wait_for("> slow.1")
            terminal.type(TYPED)
            terminal.resize(4, 40)
            drawn_again(terminal)
            terminal.type(b"q")
            assert terminal.wait() == 0
            assert TYPED not in terminal.raw
            assert terminal.raw.endswith(GIVEN_BACK)
        with at_terminal(project, "top", "--interval", "0.2") as terminal:
            terminal.wait_for("> slow.1")
            terminal.process.terminate()
            assert terminal.wait() == 143
            assert terminal.raw.endswith(GIVEN_BACK)
        with at_terminal(project, "top", "--number", "1") as terminal:
            assert terminal.wait() == 0
            assert b"> slow.1" in terminal.raw.partition(GIVEN_BACK)[2]
        with at_terminal(project, "top", env={"TERM": "dumb"}) as terminal:
            assert terminal.wait() == 0
            assert b"> slow.1" in terminal.raw
            assert b"\x1b" not in terminal.raw
        with at_terminal(project, "top", "--interval", "0.2") as terminal:
            terminal.wait_for("> slow.1")
            terminal.type(b"\x03")
            assert terminal.wait() == 130
            assert b"\x1b[?25h\x1b[?1049l" in terminal.raw


def test_what_is_followed_ends_with_ctrl_c(project: Project, gate: Path) -> None:
    assert not gate.exists()
    with beside(project):
        for words, shown in ((("tail", "-f", "slow"), "it prints"), (("events", "-f"), "AttemptStarted")):
            with at_terminal(project, *words) as terminal:
                terminal.wait_for(shown)
                terminal.resize(10, 40)
                terminal.type(b"\x03")
                assert terminal.wait() == 130
                assert "Traceback" not in terminal.text()


def test_with_no_color_no_view_has_colours(project: Project, gate: Path) -> None:
    plain = {"NO_COLOR": "1"}
    with at_terminal(project, "run", "m1", env=plain) as run:
        run.wait_for("> slow")
        for words in (("status",), ("top", "-n", "1"), ("blockers",), ("sessions",), ("report",)):
            with at_terminal(project, *words, env=plain) as terminal:
                terminal.wait()
                assert terminal.text().strip()
                assert not COLOURS.search(terminal.raw), words
        with at_terminal(project, "status") as terminal:
            terminal.wait()
            assert COLOURS.search(terminal.raw)
        gate.touch()
        assert run.wait() == 0
        # The bold head and the faint words are no colours: only numbers from 30 on are.
        assert not re.search(rb"\x1b\[(?:\d+;)*(?:3|4|9|10)\d(?:;\d+)*m", run.raw)
