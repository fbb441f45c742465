"""`milestonectl sessions`, `blockers` and `report`: what they say of a journal."""

import json
import re
from html.parser import HTMLParser

import pytest

from actors.events import (
    AttemptEnded,
    AttemptGranted,
    AttemptStarted,
    BlockerRaised,
    BlockerResolved,
    ChildGone,
    Event,
    Outcome,
    SessionEnded,
    SessionPaused,
    SessionStatus,
    SessionUnpaused,
    Severity,
    SlotPrepared,
    TaskFailed,
)
from tests.cli.conftest import Ctl, Journalist
from tests.cli.test_status import ONE_DONE, READY, STEPS
from tests.e2e.stage import Project

pytestmark = pytest.mark.usefixtures("small")

RETRIED: tuple[Event, ...] = (
    AttemptGranted("two.1", "two", 1, 0, STEPS),
    SlotPrepared("two.1", "/slot", "0" * 40),
    AttemptStarted("two.1", 1),
    AttemptEnded("two.1", Outcome.FAILED, "run", 3, seconds=2.0),
    AttemptGranted("two.2", "two", 2, 0, STEPS),
    SlotPrepared("two.2", "/slot", "0" * 40),
    AttemptStarted("two.2", 1),
    AttemptEnded("two.2", Outcome.TIMEOUT, "run", seconds=60.0),
    TaskFailed("two", "two.2", "it said <script>alert('no')</script>"),
)
STORY: tuple[Event, ...] = (
    *READY,
    *ONE_DONE,
    ChildGone("progress_monitor", 1, "crashed (SIGSEGV)"),
    *RETRIED,
    BlockerRaised("two", "task_failure", Severity.ERROR, "two", "a line", "read the log"),
    BlockerResolved("two", "it was skipped"),
    BlockerRaised("disk", "resource_pressure", Severity.WARNING, "", "little is free", "make room"),
    SessionPaused("by a test"),
    SessionUnpaused(),
    SessionEnded(SessionStatus.FAILED, "two failed"),
)


def test_sessions_are_listed_as_they_began_with_what_became_of_them(
    journal: Journalist, ctl: Ctl, project: Project
) -> None:
    assert ctl("sessions").out == "No session yet. Next: milestonectl run ID\n"
    first = journal("small", *STORY)
    second = journal("small", SessionEnded(SessionStatus.COMPLETED))
    project.write("other", "id: other\ntitle: O\ntasks: [{id: x, title: X, run: x}]\n")
    third = journal("other")
    lines = ctl("sessions").out.splitlines()
    assert [line.split()[0] for line in lines] == ["session", first, second, third]
    assert re.fullmatch(rf"{first}  failed       \d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d +\d\.\ds  1/3, 1 failed", lines[1])
    assert lines[3].split()[1] == "interrupted"
    assert [line.split()[0] for line in ctl("sessions", "small", "-n", "1").out.splitlines()[1:]] == [second]
    done = ctl("sessions", "smal")
    assert (done.code, done.out) == (1, "")
    assert "did you mean 'small'?" in done.err


def test_blockers_are_those_that_stand_with_evidence_and_proposal(journal: Journalist, ctl: Ctl) -> None:
    assert ctl("blockers").code == 0
    assert ctl("blockers").out == "Nothing stands in the way.\n"
    session = journal("small", *STORY)
    done = ctl("blockers")
    assert done.code == 3
    lines = done.out.splitlines()
    assert lines[0] == f"small  {session}"
    assert lines[1].startswith("blocker   warning: resource pressure, for ")
    assert lines[2:] == ["          little is free", "          proposal: make room"]
    assert ctl("blockers", "nosuch", "small").code == 4
    journal("small", SessionEnded(SessionStatus.COMPLETED))
    assert ctl("blockers").code == 0
    assert ctl("blockers", session).code == 3


def test_a_report_tells_attempts_exits_blockers_pauses_and_the_longest_chain(journal: Journalist, ctl: Ctl) -> None:
    assert ctl("report").code == 1
    session = journal("small", *STORY)
    text = ctl("report", "small").out
    assert text.startswith(f"small  failed  {session}  A small one\nreason        two failed\n")
    assert "longest chain 1.5s: one\n" in text
    assert re.search(r"^one +completed +1\.5s  abcdef0123$", text, re.MULTILINE)
    assert "two.1 failed after 2.0s: run exited with 3\n" in text
    assert "two.2 timeout after 1m 0s" in text
    assert "progress_monitor: crashed (SIGSEGV)\n" in text
    assert "error: two: a line; resolved: it was skipped\n" in text
    assert "warning: little is free; proposal: make room\n" in text
    assert "by a test\n" in text
    report = json.loads(ctl("report", session, "--json").out)
    assert [len(task["attempts"]) for task in report["tasks"]] == [1, 2, 0]
    assert (report["work_seconds"], report["critical_path"]) == (1.5, ["one"])
    assert ctl("report", "smal").code == 1
    assert "did you mean 'small'?" in ctl("report", "smal").err
    assert ctl("report", "--html", "--json").code == 2


def test_the_page_of_a_report_needs_nothing_else_and_escapes_what_it_shows(journal: Journalist, ctl: Ctl) -> None:
    journal("small", *STORY)
    page = ctl("report", "--html").out
    tags: list[str] = []

    class Tags(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            tags.append(tag)
            assert not {"src", "href"} & {name for name, _ in attrs}

    Tags().feed(page)
    assert "script" not in tags
    assert "&lt;script&gt;" in page
    assert page.count('class="ok"') == 1
    assert page.startswith("<!doctype html>\n")
    assert page.endswith("</html>\n")


def test_a_report_of_a_session_without_an_attempt_is_told_too(journal: Journalist, ctl: Ctl) -> None:
    journal("small")
    assert ctl("report").code == 0
    assert ctl("report", "--html").code == 0
