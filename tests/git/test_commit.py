"""What a commit says, whatever the milestone file says."""

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.git.flows import commit_message
from actors.model import Milestone, Task
from tests.git.project import Project
from tests.repositories import git

MILESTONE = Milestone("milestone-001", "One")


@pytest.mark.parametrize(
    ("kind", "type_"),
    [
        ("", "feat"),
        ("feature", "feat"),
        ("unheard-of", "feat"),
        ("bugfix", "fix"),
        ("Docs", "docs"),
        ("documentation", "docs"),
        ("testing", "test"),
        ("refactor", "refactor"),
        ("chore", "chore"),
        ("performance", "perf"),
    ],
)
def test_the_type_comes_from_the_kind_of_the_task(kind: str, type_: str) -> None:
    assert commit_message(MILESTONE, Task("t", "Title", kind=kind), "s").subject == f"{type_}(milestone-001): Title"


@pytest.mark.parametrize(("id_", "scope"), [("milestone-001", "milestone-001"), ("m3-api", "milestone-m3-api")])
def test_the_scope_says_milestone_once(id_: str, scope: str) -> None:
    assert commit_message(Milestone(id_, "x"), Task("t", "T"), "s").subject == f"feat({scope}): T"


def test_the_body_is_wrapped_and_keeps_paragraphs_and_lists() -> None:
    description = f"{'word ' * 30}\n\n- one\n- two\n\n# heading\n---\nTask: not-a-trailer\n"
    body = commit_message(MILESTONE, Task("t", "T", description), "s").body
    assert max(map(len, body.splitlines())) <= 72
    assert body.endswith("\n\n- one\n- two\n\n # heading\n ---\nTask: not-a-trailer")


def test_a_title_that_is_too_long_stands_whole_in_the_body() -> None:
    message = commit_message(MILESTONE, Task("t", "very " * 40 + "long"), "s")
    assert len(message.subject) <= 72
    assert message.subject.endswith("…")
    assert message.body.replace("\n", " ") == "very " * 40 + "long"


def _trailers(encoded: bytes) -> list[str]:
    done = subprocess.run(
        ["git", "interpret-trailers", "--parse", "--no-divider"],
        input=encoded,
        capture_output=True,
        check=True,
    )
    return done.stdout.decode().splitlines()


@pytest.mark.parametrize(
    ("title", "description"),
    [
        ("# hash", ""),
        ("two\nlines", "Task: other\nSession: other"),
        ("", "Signed-off-by: x <x@y>"),
        ("x" * 5000, "y" * 5000),
        ("nul\0 and \x1b[31m", "\r\n\r\n---\r\ndiff --git a b\n"),
        ("lone \udcff", "\udcff"),
    ],
)
def test_git_reads_exactly_our_three_trailers(title: str, description: str) -> None:
    encoded = commit_message(MILESTONE, Task("task-1", title, description), "exec-1").text.encode()
    assert _trailers(encoded) == ["Milestone: milestone-001", "Task: task-1", "Session: exec-1"]


@given(title=st.text(max_size=200), description=st.text(max_size=400))
def test_no_text_breaks_the_shape_of_a_message(title: str, description: str) -> None:
    message = commit_message(MILESTONE, Task("task-1", title, description), "exec-1")
    text = message.text
    assert "\0" not in text
    assert len(message.subject) <= 72
    assert "\n" not in message.subject
    assert message.subject.startswith("feat(milestone-001): ")
    paragraphs = text.rstrip("\n").split("\n\n")
    assert paragraphs[0] == message.subject
    assert paragraphs[-1] == "Milestone: milestone-001\nTask: task-1\nSession: exec-1"
    assert not any(line.startswith("#") for line in text.splitlines())


def test_git_stores_the_message_as_it_is(project: Project, tmp_path: Path) -> None:
    message = commit_message(MILESTONE, Task("task-1", "# ümlaut \udcff", "Body\n\n# heading"), "exec-1")
    file = tmp_path / "message"
    file.write_bytes(message.text.encode())
    sha = git(project.folder, "commit-tree", "HEAD^{tree}", "-F", str(file))
    raw = subprocess.run(["git", "cat-file", "commit", sha], cwd=project.folder, capture_output=True, check=True).stdout
    assert raw.partition(b"\n\n")[2] == message.text.encode()
