"""`milestonectl` without a verb: on a real terminal, and reading from a pipe."""

import contextlib
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from supervisor.cli import COMMANDS, history, milestonectl
from supervisor.cli.history import History
from supervisor.cli.offering import Offering
from tests.cli.terminal import Terminal, on_terminal
from tests.e2e.stage import COMMAND, Project, Running, milestone_of
from tests.isolation import World
from tests.waiting import wait_until

PROMPT = "milestonectl> "


class Conversation:
    """A shell on a terminal, spoken to line by line."""

    def __init__(self, terminal: Terminal) -> None:
        self.terminal = terminal
        self._seen = 0

    def news(self) -> str:
        """Return what was drawn since the last answer."""
        return self.terminal.text()[self._seen :]

    def wait(self, words: str) -> str:
        """Wait until this is drawn, and return what was drawn since the last answer."""
        ended = self.terminal.process.poll
        wait_until(lambda: words in self.news() or ended() is not None, 60.0, f"{words!r} on the screen")
        said = self.news()
        assert words in said, said
        return said

    def say(self, keys: str, words: str) -> str:
        """Type a line, and wait for words and then for a prompt; return what was drawn."""
        self.terminal.type(f"{keys}\r".encode())
        self.wait(words)
        wait_until(lambda: self.news().endswith(PROMPT), 60.0, f"a prompt behind {words!r}")
        said = self.news()
        self._seen += len(said)
        return said

    def begin(self) -> None:
        """Wait for the first prompt."""
        wait_until(lambda: self.news().endswith(PROMPT), 60.0, "a prompt")
        self._seen += len(self.news())


@contextlib.contextmanager
def conversation(folder: Path, *words: str) -> Iterator[Conversation]:
    """Start a shell on a terminal, wide enough for no line to be broken."""
    with on_terminal([*COMMAND, *words], folder, size=(60, 200)) as terminal:
        spoken = Conversation(terminal)
        spoken.begin()
        yield spoken


def up(project: Project) -> Running:
    """Start a daemon and wait until it answers."""
    running = project.daemon()
    wait_until(lambda: " ready " in running.text(), 60.0, "the daemon is ready")
    return running


def test_a_shell_executes_verbs_and_survives_errors_and_a_restart_of_the_daemon(project: Project) -> None:
    project.write("m1", milestone_of({"id": "a", "run": "true"}))
    first = up(project)
    with conversation(project.path) as shell:
        assert "exit code" not in shell.say("reload", "reload")
        pid = shell.say("pid", str(first.process.pid))
        assert "exit code" not in pid
        assert "exit code 1" in shell.say("pid nosuch", "exit code")
        assert "exit code 2" in shell.say("nosuch", "exit code")
        assert "exit code 2" in shell.say("status 'm1", "no closing quotation")
        assert shell.say("shutdown", "shut down")
        assert first.wait() == 0
        assert "exit code 69" in shell.say("pid", "exit code")
        second = up(project)
        assert "exit code" not in shell.say("milestonectl pid", str(second.process.pid))
        assert shell.say("shutdown", "shut down")
        assert second.wait() == 0
        shell.terminal.type(b"exit\r")
        assert shell.terminal.wait() == 0


def test_ctrl_c_abandons_a_line_or_ends_what_a_verb_shows_and_ctrl_d_ends_the_shell(project: Project) -> None:
    project.write("m1", milestone_of({"id": "a", "run": "true"}))
    running = up(project)
    with conversation(project.path) as shell:
        shell.terminal.type(b"shutdown")
        shell.wait("shutdown")
        shell.terminal.type(b"\x03")
        shell.say("", PROMPT)
        assert running.process.poll() is None
        shell.terminal.type(b"top\r")
        shell.wait("milestoned")
        shell.terminal.type(b"\x03")
        shell.wait("exit code 130")
        shell.say("", PROMPT)
        assert str(running.process.pid) in shell.say("pid", str(running.process.pid))
        assert shell.say("shutdown", "shut down")
        shell.terminal.type(b"\x04")
        assert shell.terminal.wait() == 0
    assert running.wait() == 0


def test_tab_completes_verbs_and_milestones_and_arrows_bring_back_what_an_earlier_shell_was_told(
    project: Project, world: World
) -> None:
    project.write("milestone-7", milestone_of({"id": "a", "run": "true"}).replace("id: m1", "id: milestone-7", 1))
    with conversation(project.path) as shell:
        said = shell.say("valid\tmil\t", "valid")
        assert "validate milestone-7" in said
        assert "1 milestone, 1 task" in said
        shell.say("help validate", "Exit codes")
        assert "Ctrl-C abandons" in shell.say("help", "abandons")
        assert shell.say(" version", "python")
        shell.terminal.type(b"quit\r")
        assert shell.terminal.wait() == 0
    kept = world.home / "state" / "milestoned" / "history"
    assert kept.read_text().splitlines() == ["validate milestone-7", "help validate", "help", "quit"]
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    with conversation(project.path.parent, "-C", str(project.path)) as shell:
        assert "1 milestone, 1 task" in shell.say("\x1b[A" * 4, "1 milestone")


def test_a_history_that_cannot_be_kept_is_said_once_and_the_shell_goes_on(project: Project, world: World) -> None:
    (world.home / "state" / "milestoned").write_text("no directory")
    with conversation(project.path) as shell:
        assert shell.terminal.text().count("is not kept") == 1
        assert "python" in shell.say("version", "python")
        assert "python" in shell.say("version --json", "python")
        assert shell.terminal.text().count("is not kept") == 1


def fed(folder: Path, text: bytes, *words: str) -> subprocess.CompletedProcess[bytes]:
    """Run `milestonectl` with these lines on its standard input."""
    return subprocess.run([*COMMAND, *words], cwd=folder, input=text, capture_output=True, check=False, timeout=100)


def test_lines_of_a_pipe_are_executed_also_after_one_that_failed(project: Project) -> None:
    project.write("m1", milestone_of({"id": "a", "run": "true"}))
    done = fed(project.path, b"# a comment\n\nversion --json\nnosuch\npid\ncompletion bash --json\nexit\nversion\n")
    assert done.returncode == 69
    assert done.stdout.count(b"\n") == 2
    assert b"there is no command 'nosuch'" in done.stderr
    assert b"line 4: exit code 2" in done.stderr
    assert b"line 5: exit code 69" in done.stderr
    assert fed(project.path, b"version").returncode == 0
    assert fed(project.path, "ü \udcff 'x".encode("utf-8", "surrogateescape")).returncode == 2
    assert fed(project.path, b"version \0").returncode != 0


def test_a_line_that_is_no_text_is_one_that_failed_whatever_the_encoding(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "utf-8:strict")  # as under en_US.UTF-8
    done = fed(project.path, b"\xff\nversion\n")
    assert done.returncode == 2
    assert b"'\\udcff'" in done.stderr
    assert b"milestoned" in done.stdout


def test_words_of_the_shell_itself_are_explained_and_end_it_whatever_comes_behind_them(project: Project) -> None:
    done = fed(project.path, b"help exit\nhelp help\nquit now\nnosuch\n")
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.count(b"End the shell") == 2
    assert b"Usage" not in done.stdout


def test_lines_are_executed_where_nothing_can_be_shown(project: Project) -> None:
    command = ["sh", "-c", 'exec "$@" >&-', "sh", *COMMAND]
    done = subprocess.run(command, cwd=project.path, input=b"init\n", stderr=subprocess.PIPE, check=False, timeout=100)
    assert b"defect" not in done.stderr


@pytest.mark.parametrize("closed", [False, True])
def test_where_nobody_types_and_nothing_is_to_be_read_the_help_is_shown(project: Project, closed: bool) -> None:
    command = ["sh", "-c", f'exec "$@" {"<&-" if closed else "</dev/null"}', "sh", *COMMAND]
    done = subprocess.run(command, cwd=project.path, capture_output=True, check=False, timeout=100)
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"Usage: milestonectl" in done.stderr


@pytest.mark.parametrize(
    ("before", "text", "offered"),
    [
        ("", "st", ["start", "status", "stop"]),
        ("", "ex", ["exit "]),
        ("", "", ["help", "exit", "quit", *COMMANDS]),
        ("help ", "ver", ["version "]),
        ("milestonectl ", "ver", ["version "]),
        ("stop ", "m1:git", ["m1:git_integration "]),
        ("signal ", "USR", ["USR1", "USR2"]),
        ("retry ", "--session=m", ["--session=m1 "]),
        ("validate ", "--config=.milestones/a", ["--config=.milestones/active/"]),
        ("validate --config ", "no-such", []),
        ("validate --config ", ".milestones/a", [".milestones/active/"]),
        ("validate --config ", "a", ["a\\ dir/"]),
        ("validate --config a\\ ", "di", ["dir/"]),
        ("validate --config a\\ ", "dir/", ["dir/it\\'s "]),
        ("nosuch ", "", []),
    ],
)
def test_what_is_offered_behind_a_line(
    project: Project, monkeypatch: pytest.MonkeyPatch, before: str, text: str, offered: list[str]
) -> None:
    project.write("m1", milestone_of({"id": "a", "run": "true"}))
    (project.path / "a dir").mkdir()
    (project.path / "a dir" / "it's").touch()
    monkeypatch.chdir(project.path)
    assert Offering(click.Context(milestonectl)).offers(before, text) == offered


def test_a_history_is_private_and_has_a_bound(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "history"
    kept = History(path)
    assert kept.lines() == []
    kept.add("x" * (history.MOST_CHARACTERS + 1))
    kept.add(" secret")
    kept.add("a \udcff")
    assert kept.lines() == ["a \udcff"]
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    path.write_text("".join(f"{number}\n" for number in range(3 * history.MOST_LINES)))
    path.chmod(0o644)
    assert kept.lines()[0] == str(2 * history.MOST_LINES)
    assert len(path.read_text().splitlines()) == history.MOST_LINES
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("kind", ["link", "fifo"])
def test_a_history_that_is_no_file_of_ours_is_not_written(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "history"
    if kind == "link":
        (tmp_path / "other").write_text("")
        path.symlink_to(tmp_path / "other")
    else:
        os.mkfifo(path)
    with pytest.raises(OSError, match=r".+"):
        History(path).add("line")
    assert kind == "fifo" or (tmp_path / "other").read_text() == ""


def test_the_program_is_named_as_it_was_started(project: Project) -> None:
    code = "import sys; from supervisor.cli import main; sys.argv[0] = 'milestonectl'; main()"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=project.path, input=b"version --json\n", capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.count(b"\n") == 1
