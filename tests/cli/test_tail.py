"""`milestonectl tail`: which log a name stands for, how much of it is shown, and how it is followed."""

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from loguru import logger

from actors.events import AttemptEnded, AttemptGranted, AttemptStarted, Outcome, SlotPrepared, Step, TaskFailed
from actors.log import log, open_log
from actors.paths import ProjectPaths
from supervisor.cli.log_file import BLOCK, LogFile
from supervisor.cli.terminal_text import TerminalText
from tests.cli.conftest import Ctl, Journalist
from tests.cli.terminal import on_terminal
from tests.e2e.stage import COMMAND, Done, Project
from tests.waiting import wait_until

STEPS = (Step("run", "true"),)


def attempts(task: str, count: int) -> list[AttemptGranted | SlotPrepared | AttemptStarted | AttemptEnded]:
    """Return the facts of so many failed attempts."""
    return [
        fact
        for number in range(1, count + 1)
        for fact in (
            AttemptGranted(f"{task}.{number}", task, number, 0, STEPS),
            SlotPrepared(f"{task}.{number}", "/slot", "0" * 40),
            AttemptStarted(f"{task}.{number}", 1),
            AttemptEnded(f"{task}.{number}", Outcome.FAILED, "run", 1, seconds=1.0),
        )
    ]


@pytest.fixture
def session(project: Project, small: Path, journal: Journalist) -> str:
    """Journal a session in which task `one` had two attempts, and write its logs."""
    del small
    name = journal("small", *attempts("one", 2), TaskFailed("one", "one.2", "run exited with 1"))
    paths = ProjectPaths(project.path)
    paths.prepare_session(name)
    paths.task_log(name, "one.1").write_text("first\n")
    paths.task_log(name, "one.2").write_text("".join(f"line {number}\n" for number in range(30)))
    (paths.logs(name) / "git_integration.log").write_text("of git\n")
    (paths.logs(name) / "supervisor.log").write_text("of the supervisor\n")
    return name


def test_a_task_stands_for_its_latest_attempt_and_ten_lines_are_shown(session: str, ctl: Ctl) -> None:
    assert ctl("tail", "one") == Done(0, "".join(f"line {number}\n" for number in range(20, 30)), "")
    assert ctl("tail", f"{session}:one").out == ctl("tail", "one").out == ctl("tail", "small:one").out


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["one.1"], "first\n"),
        (["-n", "1", "one"], "line 29\n"),
        (["-n", "0", "one"], ""),
        (["-c", "3", "one"], "29\n"),
        (["small:git_integration"], "of git\n"),
        (["supervisor"], "of the supervisor\n"),
        (["small:supervisor"], "of the supervisor\n"),
        (["-f", "-n", "1", "one"], "line 29\n"),
    ],
)
def test_names_and_amounts(session: str, ctl: Ctl, words: list[str], shown: str) -> None:
    del session
    assert ctl("tail", *words) == Done(0, shown, "")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("on", "no such task; did you mean 'one'?"),
        ("one.3", "no such attempt; one has had 2 so far"),
        ("smal:one", "no such session; did you mean 'small'?"),
        ("small:git_integratio", "no such role or task; did you mean 'git_integration'?"),
        ("small", "is a session: name one of its roles or tasks"),
        ("git_integration", "is a role: say of which session"),
        ("../../etc/passwd", "no such task"),
        ("small:../../x", "no such role or task"),
    ],
)
def test_an_unknown_name_is_said_with_what_was_probably_meant(session: str, ctl: Ctl, name: str, said: str) -> None:
    del session
    done = ctl("tail", name)
    assert (done.code, done.out) == (1, "")
    assert said in done.err
    assert json.loads(ctl("tail", "--json", name).out)["error"]["code"] == 1


def test_the_log_of_a_process_is_written_in_words_and_as_it_is_with_json(
    project: Project, session: str, ctl: Ctl
) -> None:
    path = ProjectPaths(project.path).logs(session) / "runner.log"
    open_log(path)
    try:
        log().bind(pid=7, why="a b", line="no").info("child changed")
        try:
            int("bad luck")
        except ValueError as error:
            log().opt(exception=error).error("role crashed")
    finally:
        logger.remove()
    raw = path.read_text(encoding="utf-8")
    path.write_text(f"none of ours\n{raw}", encoding="utf-8")
    none, first, second, *story = ctl("tail", "small:runner", "-n", "100").out.splitlines()
    assert none == "none of ours"
    assert re.fullmatch(r'\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} INFO child changed pid=7 why="a b"', first)
    assert second.endswith(" ERROR role crashed")
    assert story[0] == "Traceback (most recent call last):"
    assert story[-1].startswith("ValueError: invalid literal")
    lines = [json.loads(line)["line"] for line in ctl("tail", "small:runner", "--json").out.splitlines()]
    assert lines == ["none of ours", *raw.splitlines()]


def test_what_was_never_written_is_said_and_is_no_failure(session: str, ctl: Ctl) -> None:
    del session
    done = ctl("tail", "two")
    assert (done.code, done.out) == (0, "")
    assert done.err.startswith("two.1: nothing was logged so far (")


def test_without_a_session_it_says_how_to_begin(small: Path, ctl: Ctl) -> None:
    del small
    done = ctl("tail", "one")
    assert done.code == 1
    assert "no session has been run here yet" in done.err


def test_lines_and_bytes_at_once_are_wrong_usage(session: str, ctl: Ctl) -> None:
    del session
    assert ctl("tail", "-n", "1", "-c", "1", "one").code == 2


@pytest.mark.row("F22")
def test_json_has_one_object_for_each_line_and_says_whose_it_is(
    project: Project, session: str, ctl: Ctl, small: Path
) -> None:
    del small
    path = ProjectPaths(project.path).task_log(session, "one.2")
    path.write_bytes(b"a\n\xff\nend")
    objects = [json.loads(line) for line in ctl("tail", "--json", "one").out.splitlines()]
    assert [one["line"] for one in objects] == ["a", "\\xff", "end"]
    assert objects[0] == {"name": "one.2", "session_id": session, "log": str(path), "line": "a"}


def test_into_a_pipe_bytes_go_as_they_are(project: Project, session: str) -> None:
    raw = b"\x1b]0;title\x07\x00\xff no end of line"
    ProjectPaths(project.path).task_log(session, "one.2").write_bytes(raw)
    done = subprocess.run([*COMMAND, "tail", "one"], capture_output=True, check=True, stdin=subprocess.DEVNULL)
    assert done.stdout == raw


@pytest.mark.row("F22")
def test_on_a_terminal_colours_pass_and_nothing_else_has_power(project: Project, session: str) -> None:
    raw = b"\x1b[31mred\x1b[0m \x1b]0;title\x07 bell\n"
    ProjectPaths(project.path).task_log(session, "one.2").write_bytes(raw)
    with on_terminal([*COMMAND, "tail", "one"], project.path) as terminal:
        terminal.wait_for("bell")
        assert terminal.wait() == 0
        assert b"\x1b[31mred\x1b[0m \\x1b]0;title\\x07 bell" in terminal.raw


@pytest.mark.parametrize("cut", range(1, 24))
def test_a_sequence_that_is_cut_in_two_is_shown_as_if_it_were_whole(cut: int) -> None:
    raw = "\x1b[1;31mé\x1b[2J\r\n\rx\x1b[m".encode()
    text = TerminalText()
    assert text.feed(raw[:cut]) + text.feed(raw[cut:]) + text.finish() == "\x1b[1;31mé\\x1b[2J\r\n\\rx\x1b[m"


def test_a_colour_that_was_left_on_is_taken_back_and_without_colours_there_are_none() -> None:
    text = TerminalText()
    assert text.feed(b"\x1b[31mred") + text.finish() == "\x1b[31mred\x1b[0m"
    text = TerminalText(colours=False)
    assert text.feed(b"\x1b[31mred") + text.finish() == "red"


@pytest.mark.parametrize("end", ["", "\n"])
@pytest.mark.parametrize("count", [0, 1, 2, 7, 9000, 20_000])
def test_the_last_lines_are_found_in_files_of_many_blocks(tmp_path: Path, count: int, end: str) -> None:
    lines = [f"{number:>20}" for number in range(10_000)]
    path = tmp_path / "log"
    path.write_text("\n".join(lines) + end)
    assert path.stat().st_size > 3 * BLOCK
    with LogFile(path) as file:
        file.skip_to_last_lines(count)
        assert b"".join(file.more()).decode() == ("\n".join(lines[-count:]) + end if count else "")


def test_a_file_that_is_cut_put_aside_or_late_is_read_on(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with LogFile(path) as file:
        assert list(file.more()) == []
        path.write_text("first line\n")
        assert b"".join(file.more()) == b"first line\n"
        path.write_text("cut\n")
        assert b"".join(file.more()) == b"cut\n"
        with path.open("a") as writer:
            path.rename(tmp_path / "log.1")
            path.write_text("fresh\n")
            writer.write("last\n")
        assert b"".join(file.more()) == b"last\nfresh\n"


def test_follow_of_a_session_that_lives_with_this_process_waits_for_its_end(
    project: Project, session: str, supervised: Callable[[], None]
) -> None:
    supervised()
    tail = project.start("tail", "-f", f"{session}:git_integration")
    wait_until(lambda: "of git\n" in tail.text(), 60.0, "it follows")
    with (ProjectPaths(project.path).logs(session) / "git_integration.log").open("a") as log:
        log.write("more of git\n")
    wait_until(lambda: "more of git\n" in tail.text(), 60.0, "what was written later")
    assert tail.process.poll() is None
