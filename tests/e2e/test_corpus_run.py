"""A milestone file that somebody wrote, executed: its pending task goes to a stand-in agent.

The file is no part of the project. The test runs where a copy of the corpus lies beside the checkout, or where
MILESTONED_CORPUS names one.
"""

import os
from pathlib import Path

import pytest

from actors.events import AttemptGranted
from tests.e2e.stage import Project, assert_files_written, assert_nothing_lives, facts
from tests.repositories import git

_CHECKOUT = Path(__file__).resolve().parent.parent.parent
CORPUS = Path(os.environ.get("MILESTONED_CORPUS") or _CHECKOUT.parent / "shared" / "corpus")

pytestmark = pytest.mark.skipif(
    not CORPUS.is_dir(), reason="no corpus of real files: set MILESTONED_CORPUS to its folder"
)

AGENT = """\
#!/bin/sh
# Stands in for a coding agent: keeps what it was asked, and does some work.
cat > prompt.md
mkdir -p tests && echo 'assert True' > tests/test_reactive_status.py
"""


def _milestone_file() -> bytes:
    (found,) = (path for path in CORPUS.rglob("milestone-001.yaml") if path.is_file())
    return found.read_bytes()


def test_the_pending_task_of_a_real_milestone_is_executed_and_its_file_changed_only_where_it_had_to_be(
    project: Project, tmp_path: Path
) -> None:
    """One commit for one pending task; two statuses, and not a byte more, differ in the archived file."""
    before = _milestone_file()
    source = project.write("milestone-001", "")
    source.write_bytes(before)
    agent = tmp_path / "agent"
    agent.write_text(AGENT, encoding="utf-8")
    agent.chmod(0o755)
    project.configure(f"agents:\n  default: stand-in\n  runners:\n    stand-in:\n      command: [{agent}]\n")

    done = project.ctl("run", "milestone-001")

    assert done.code == 0, done.out + done.err
    assert [fact.task for fact in facts(project, AttemptGranted)] == ["task-005"]
    (commit,) = project.commits("milestone/milestone-001")
    assert (commit["Milestone"], commit["Task"], commit["Session"]) == ("milestone-001", "task-005", project.session())
    changed = git(project.path, "diff", "--name-only", "main", "milestone/milestone-001").splitlines()
    assert changed == ["prompt.md", "tests/test_reactive_status.py"]
    prompt = git(project.path, "show", "milestone/milestone-001:prompt.md")
    for part in ("Test reactive status updates", "Reactive Status Update Implementation", "Event logging captures all"):
        assert part in prompt
    assert not source.exists()
    _assert_only_statuses_differ(before, project.path / ".milestones" / "completed" / "milestone-001.yaml")
    assert project.session_json()["tasks"] == {f"task-00{number}": "completed" for number in range(1, 6)}
    assert_files_written(project)
    assert_nothing_lives(project, [])


def _assert_only_statuses_differ(before: bytes, archived: Path) -> None:
    old, new = before.splitlines(keepends=True), archived.read_bytes().splitlines(keepends=True)
    assert len(old) == len(new)
    pairs = [(one, other) for one, other in zip(old, new, strict=True) if one != other]
    assert pairs == [
        (b'status: "in_progress"\n', b'status: "completed"\n'),
        (b'    status: "pending"\n', b'    status: "completed"\n'),
    ]
