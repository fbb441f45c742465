"""`milestonectl completion`: what shells are told, asked as they ask, and by a real bash."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from actors.paths import ProjectPaths
from actors.state import ROLES
from supervisor.cli import COMMANDS, COMPLETE_VARIABLE
from tests.cli.conftest import Ctl, Journalist
from tests.cli.terminal import on_terminal
from tests.e2e.stage import COMMAND, Project

SESSION = "exec-small-20260101_000000-00000001"


@pytest.fixture
def completed(project: Project, small: Path, journal: Journalist) -> Project:
    """Return a project with a milestone of three tasks and a session that shows them."""
    del small
    paths = ProjectPaths(project.path)
    session = journal("small", session=SESSION)
    paths.prepare_session(session)
    sheet = {
        "id": session,
        "milestone_id": "small",
        "status": "running",
        "branch": None,
        "base": None,
        "pid": 1,
        "started_at": "2026-01-01T00:00:00Z",
        "ended_at": None,
        "tasks": {"one": "pending", "two": "pending", "three": "pending"},
        "seq": 1,
    }
    paths.session_json(session).write_text(json.dumps(sheet))
    return project


def ask(ctl: Ctl, monkeypatch: pytest.MonkeyPatch, line: str) -> list[str]:
    """Return what bash is told for a line, in its order."""
    monkeypatch.setenv(COMPLETE_VARIABLE, "bash_complete")
    monkeypatch.setenv("COMP_LINE", line)
    done = ctl()
    assert done.err == ""
    return [one.partition(",")[2] for one in done.out.splitlines() if one]


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("milestonectl ", list(COMMANDS)),
        ("milestonectl st", ["start", "status", "stop"]),
        ("milestonectl run ", ["small"]),
        ("milestonectl validate s", ["small"]),
        ("milestonectl stop ", ["small", SESSION]),
        ("milestonectl stop small:git", ["small:git_integration"]),
        ("milestonectl restart small:", [*(f"small:{role}" for role in ROLES), "small:runner", "small:*"]),
        ("milestonectl retry t", ["two", "three"]),
        ("milestonectl retry --session ", ["small", SESSION]),
        ("milestonectl tail -f ", ["one", "two", "three", "supervisor", "small:", f"{SESSION}:"]),
        ("milestonectl tail small:t", ["small:task_executor", "small:two", "small:three"]),
        ("milestonectl signal US", ["USR1", "USR2"]),
        ("milestonectl signal USR1 s", ["small"]),
        ("milestonectl run --fa", ["--fail-fast"]),
        ("milestonectl completion ", ["bash", "zsh", "fish"]),
        ("milestonectl nosuch ", []),
        ("milestonectl nosuch s", []),
        ("milestonectl run nosuch", []),
    ],
)
def test_what_is_offered_behind_a_line(
    completed: Project,
    ctl: Ctl,
    monkeypatch: pytest.MonkeyPatch,
    line: str,
    offered: list[str],
) -> None:
    del completed
    assert ask(ctl, monkeypatch, line) == offered


def test_tasks_of_a_milestone_that_was_never_started_are_offered_too(
    completed: Project, ctl: Ctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    completed.write("later", "id: later\ntitle: L\ntasks:\n  - {id: task-9, title: T, run: x}\n")
    completed.write("broken", "id: [")
    assert ask(ctl, monkeypatch, "milestonectl skip t") == ["two", "three", "task-9"]


def test_the_directory_of_a_line_is_used(
    completed: Project,
    tmp_path: Path,
    ctl: Ctl,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert ask(ctl, monkeypatch, "milestonectl run ") == []
    assert ask(ctl, monkeypatch, f"milestonectl -C {completed.path} run ") == ["small"]


@pytest.mark.parametrize(("shell", "words"), [("zsh", ("retry t", "2")), ("fish", ("milestonectl retry t", "t"))])
def test_zsh_and_fish_are_answered_in_their_own_form(
    completed: Project, ctl: Ctl, monkeypatch: pytest.MonkeyPatch, shell: str, words: tuple[str, str]
) -> None:
    del completed
    monkeypatch.setenv(COMPLETE_VARIABLE, f"{shell}_complete")
    monkeypatch.setenv("COMP_WORDS", f"milestonectl {words[0]}" if shell == "zsh" else words[0])
    monkeypatch.setenv("COMP_CWORD", words[1])
    done = ctl()
    expected = "plain\ntwo\n_\nplain\nthree\n_\n" if shell == "zsh" else "plain,two\nplain,three\n"
    assert (done.code, done.out, done.err) == (0, expected, "")


@pytest.mark.parametrize("instruction", ["bash_complete", "nosuch_complete", "nonsense"])
def test_a_question_that_is_none_is_answered_with_silence(
    ctl: Ctl, monkeypatch: pytest.MonkeyPatch, instruction: str
) -> None:
    monkeypatch.setenv(COMPLETE_VARIABLE, instruction)
    monkeypatch.delenv("COMP_LINE", raising=False)
    done = ctl()
    assert (done.code, done.out, done.err) == (1, "", "")


@pytest.mark.parametrize(("shell", "word"), [("bash", "complete -o"), ("zsh", "compdef"), ("fish", "complete --no-f")])
def test_each_shell_has_a_script_that_asks_by_the_variable(ctl: Ctl, shell: str, word: str) -> None:
    done = ctl("completion", shell)
    assert (done.code, done.err) == (0, "")
    assert word in done.out
    assert f"{COMPLETE_VARIABLE}={shell}_complete" in done.out
    assert json.loads(ctl("completion", shell, "--json").out) == {"shell": shell, "script": done.out}
    assert ctl("completion", "tcsh").code == 2


def with_program(tmp_path: Path) -> str:
    """Return a PATH with a `milestonectl` of this checkout."""
    program = tmp_path / "bin" / "milestonectl"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {" ".join(COMMAND)} "$@"\n')
    program.chmod(0o755)
    return f"{program.parent}:{Path(sys.executable).parent}:{os.environ['PATH']}"


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("milestonectl stat", ["status"]),
        ("milestonectl retry t", ["two", "three"]),
        # Behind a colon bash replaces only what follows it, and an asterisk is no pattern.
        ("milestonectl stop small:g", ["git_integration"]),
        ("milestonectl stop small:*", ["*"]),
        # Neither does it replace what stands before an equals sign, unless that is told to be a part of words.
        ("milestonectl retry --session=s", ["small"]),
        ("milestonectl retry --session=small:g", ["git_integration"]),
        ("COMP_WORDBREAKS=' ' milestonectl retry --session=s", ["--session=small"]),
        ("COMP_WORDBREAKS=' ' milestonectl retry --session=small:g", ["--session=small:git_integration"]),
    ],
)
def test_a_real_bash_completes(completed: Project, tmp_path: Path, line: str, offered: list[str]) -> None:
    breaks, line = line[: line.index("milestonectl")], line[line.index("milestonectl") :]
    asked = f"""
        {breaks}
        eval "$(milestonectl completion bash)"
        COMP_LINE='{line}' COMP_POINT={len(line)}
        _milestonectl_completion milestonectl
        printf '%s\\n' "${{COMPREPLY[@]}}"
        complete -p milestonectl
    """
    done = subprocess.run(
        ["bash", "--norc", "-c", asked],
        cwd=completed.path,
        env={**os.environ, "PATH": with_program(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
        stdin=subprocess.DEVNULL,
    )
    *found, registered = done.stdout.splitlines()
    assert (found, done.stderr) == (offered, "")
    assert registered == "complete -o nosort -F _milestonectl_completion milestonectl"


@pytest.mark.skipif(shutil.which("fish") is None, reason="there is no fish")
def test_a_real_fish_completes(completed: Project, tmp_path: Path) -> None:
    (completed.path / "conf.yaml").touch()
    lines = ("retry t", "stat", "retry --session=s", "validate --config=con", "run --isolation ")
    asks = "".join(f"; complete -C 'milestonectl {line}'" for line in lines)
    asked = f"milestonectl completion fish | source{asks}"
    done = subprocess.run(
        ["fish", "--no-config", "-c", asked],
        cwd=completed.path,
        env={**os.environ, "PATH": with_program(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
        stdin=subprocess.DEVNULL,
    )
    found = [line.partition("\t")[0] for line in done.stdout.splitlines()]
    values = ["--config=conf.yaml", "--session=small", "none"]
    assert (sorted(found), done.stderr) == ([*values, "status", "three", "two", "worktree"], "")


@pytest.mark.skipif(shutil.which("zsh") is None, reason="there is no zsh")
def test_a_real_zsh_completes_what_is_typed(completed: Project, tmp_path: Path) -> None:
    (completed.path / "conf.yaml").touch()
    env = {"PATH": with_program(tmp_path), "PS1": "ready> ", "TERM": "xterm"}
    with on_terminal(["zsh", "-f", "-i"], completed.path, env) as terminal:
        terminal.wait_for("ready> ")
        terminal.type(b'autoload -Uz compinit; compinit -u -D; eval "$(milestonectl completion zsh)"; echo lo""aded\n')
        terminal.wait_for("loaded")
        terminal.type(b"milestonectl retry t\t")
        terminal.wait_for("three")
        assert "two" in terminal.text()
        for line, value in ((b"retry --session=sm", "small"), (b"validate --config=con", "conf.yaml")):
            terminal.type(b"\x15milestonectl " + line + b"\t\x01echo \x05\n")  # the line as it is, instead of doing it
            terminal.wait_for(f"\nmilestonectl {line.decode().partition('=')[0]}={value}")
        terminal.type(b"\x15exit\n")
        terminal.wait()
