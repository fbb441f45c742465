"""Nothing that a file, a task, a person or a repository says rules a terminal, or passes for a line of ours."""

import json
import re
from pathlib import Path
from typing import Final

import pytest

from actors import events as facts
from actors.events import BlockerRaised, ChildGone, Outcome, Severity
from actors.paths import ProjectPaths
from supervisor.cli import COMMANDS
from supervisor.log_sinks import LogSettings, open_sinks
from tests.cli.conftest import Ctl, Journalist
from tests.e2e.stage import Project

FORGED: Final = "milestonectl: FORGED line"
ATTACK: Final = f"\x1b]0;title\x07\x1b[2J\x9b31m\x85\x08\x7f\r\n{FORGED}\n\u2028{FORGED}\u202e\u2066txt\ud83d"
"""Sequences of one and two bytes, every way to end a line, what turns text round, half a character."""

POWERFUL: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
TEXT: Final = ATTACK.removesuffix("\ud83d")
"""The same as far as it can stand in a journal, which is UTF-8."""

MILESTONE: Final = f"""\
id: m1
title: "A \\x1b[2J title"
description: {json.dumps(TEXT)}
tasks:
  - id: a
    title: {json.dumps("x" + TEXT)}
    description: {json.dumps(TEXT)}
    run: {json.dumps("true " + TEXT)}
    files: [{json.dumps(TEXT)}]
    verify: [{json.dumps(TEXT)}]
    env: {{A: {json.dumps(TEXT)}}}
    {json.dumps(TEXT)}: unknown
requirements: {{tools: [{json.dumps(TEXT)}], environment: [{json.dumps(TEXT)}]}}
success_criteria: [{json.dumps(TEXT)}]
{json.dumps("depends_om" + TEXT)}: x
"""


def _assert_harmless(shown: str) -> None:
    found = POWERFUL.search(shown.replace("\r\n", "\n"))
    assert found is None, f"{found!r} in {shown!r}"
    assert not [line for line in shown.splitlines() if line.startswith(FORGED)]


@pytest.mark.parametrize("text", [MILESTONE, f"id: m1\ntitle: {ATTACK!r}\n", f"{json.dumps(TEXT)}: 1\n", f"- {TEXT}"])
def test_what_is_wrong_with_a_file_is_said_without_its_powers(project: Project, ctl: Ctl, text: str) -> None:
    file = project.path / ".milestones/active/m1.yaml"
    file.parent.mkdir(parents=True)
    file.write_bytes(text.encode(errors="surrogatepass"))
    for words in (("validate",), ("plan", "m1"), ("validate", "--json"), ("plan", "m1", "--json"), ("status",)):
        done = ctl(*words)
        assert done.code not in {1, 70}, done.err
        _assert_harmless(done.out)
        _assert_harmless(done.err)


@pytest.mark.parametrize("name", [f"{TEXT.replace('/', '')}.yaml", "\x1b[2J.yaml", "a\nb.yaml"])
def test_the_name_of_a_file_is_shown_without_its_powers(project: Project, ctl: Ctl, name: str) -> None:
    active = project.path / ".milestones/active"
    active.mkdir(parents=True)
    (active / name).write_text("id: x\ntitle: X\ntasks: []\n", encoding="utf-8")
    project.write("m2", "id: m2\ntitle: Two\ndependencies: {requires: [m3]}\ntasks: []\n")
    for words in (("validate",), ("validate", "--json"), ("status",), ("plan", "nosuch"), ("plan", name), ("doctor",)):
        done = ctl(*words)
        _assert_harmless(done.out)
        _assert_harmless(done.err)


def test_a_title_that_is_text_to_yaml_is_shown_without_its_powers(project: Project, ctl: Ctl) -> None:
    title = f"One \u2028{FORGED}\u202e\u2066 txt"
    project.write("m1", f"id: m1\ntitle: {title!r}\ntasks: [{{id: a, title: {title!r}, run: 'true'}}]\n")
    for words in (("plan", "m1"), ("plan", "m1", "--json"), ("validate",), ("run", "m1", "--plain"), ("status", "m1")):
        done = project.ctl(*words) if words[0] == "run" else ctl(*words)
        assert done.code == 0, done.err
        assert words[0] == "validate" or "FORGED" in done.out
        _assert_harmless(done.out)
        _assert_harmless(done.err)


def _every_text() -> tuple[facts.Event, ...]:
    """Return a fact of each kind that carries what somebody else said."""
    return (
        facts.PreflightFailed((TEXT,)),
        facts.ContainmentChosen("sweep", TEXT),
        facts.GitRefused(TEXT, TEXT),
        facts.GitNoticed(TEXT),
        facts.UncommittedSeen(1, (TEXT,)),
        facts.AttemptGranted("a.1", "a", 1, 0, (facts.Step("run", "true"),)),
        facts.AttemptStarted("a.1", 5),
        facts.TaskStalled("a", "a.1", 301.0, TEXT),
        facts.AttemptEnded("a.1", Outcome.FAILED, "run", 1, TEXT),
        facts.TaskFailed("a", "a.1", TEXT),
        BlockerRaised("task:a", "disk", Severity.CRITICAL, "a", TEXT, TEXT, TEXT),
        facts.HookRan("task:a", TEXT, ok=False, detail=TEXT),
        facts.DependencyAlert("edit", "edited", TEXT),
        facts.PushRefused("origin", TEXT, 1),
        ChildGone("task_executor", 1, TEXT),
        facts.SessionPaused(TEXT),
    )


READING: Final = ("blockers", "doctor", "events", "plan", "report", "sessions", "status", "top", "validate")
"""Verbs that show something without needing a supervising process, as far as there are such."""


def test_what_the_journal_says_of_others_is_shown_without_its_powers(
    project: Project, ctl: Ctl, journal: Journalist
) -> None:
    project.write("m1", 'id: m1\ntitle: One\ntasks: [{id: a, title: A, run: "true"}]\n')
    journal("m1", *_every_text())
    told = 0
    for verb in READING:
        for more in ((), ("--json",)) if verb in COMMANDS else ():
            done = ctl(verb, *(["m1"] if verb == "plan" else []), *more)
            assert done.code not in {70, 78}, done.err
            _assert_harmless(done.out)
            _assert_harmless(done.err)
            told += "FORGED" in done.out
    assert told >= 4, "it was shown, as what it is"


def test_the_output_of_a_task_has_no_powers_where_a_terminal_shows_it(
    project: Project, ctl: Ctl, journal: Journalist
) -> None:
    project.write("m1", 'id: m1\ntitle: One\ntasks: [{id: a, title: A, run: "true"}]\n')
    session = journal("m1")
    log = ProjectPaths(project.path).task_log(session, "a.1")
    log.parent.mkdir(parents=True)
    log.write_text(TEXT, encoding="utf-8")
    done = ctl("tail", "a", "--json")
    _assert_harmless(done.out)


def test_a_line_of_the_daemons_log_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from loguru import logger  # noqa: PLC0415 - only here

    for console in ("text", "json", "journal"):
        file = tmp_path / console
        from supervisor.log_sinks import Console  # noqa: PLC0415

        open_sinks(LogSettings(Console(console), str(file)), "INFO", {})
        logger.bind(reason=TEXT, name=f"<0>{TEXT}").warning("something")
        logger.remove()
        shown = capsys.readouterr().err
        _assert_harmless(shown)
        assert len(shown.splitlines()) == 1
        _assert_harmless(file.read_text(encoding="utf-8"))
        assert len(file.read_text(encoding="utf-8").splitlines()) == 1
