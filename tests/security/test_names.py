"""Ids become paths, refs and names of control groups: never two the same, never elsewhere, always valid."""

import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from actors.events import task_of
from actors.git.flows import Archived, Repository, archive, inspect
from actors.git.place import Slot
from actors.git.retention import archive_ref
from actors.paths import ProjectPaths, new_session_id
from actors.reader import read
from actors.state import ROLES
from actors.taskfields import TASK_ID
from tests.git.driver import drive
from tests.git.project import MakeProject, write
from tests.repositories import git

PATHS: Final = ProjectPaths(Path("/p"))
LONGEST: Final = 255
"""Bytes of the longest name of a file, and of a directory of control groups."""

IDS: Final = st.just("x" * 64) | st.text("aA0._-", min_size=1, max_size=10).filter(
    lambda text: TASK_ID.fullmatch(text) is not None
)

SESSIONS: Final = IDS.filter(lambda text: ".." not in text and not text.endswith((".", ".lock"))).map(
    lambda text: new_session_id(text, datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "0a1b2c3d")
)

NASTY: Final = (
    *("../x", "..", ".", "", "/", "a/b", "a\\b", "a b", "a\nb", "a\n", "a\0b", "-rf", "--upload-pack=x", "@"),
    *("@{", "@{-1}", "HEAD^", "a~1", "a:b", "a?", "a*", "a[", "é", "\u2025", "\uff0e\uff0e", "a\u202eb", "\uff41"),
    *("x" * 65, "~", "~root", "$(id)", "`id`", "a;b", "a|b", "%2e%2e", "con\r", "\x1b[2J"),
)
"""Names that mean something else somewhere: to a path, a ref, an option, a shell, a terminal."""


def _is_ref(name: str) -> bool:
    """Say what git-check-ref-format(1) says; a test compares."""
    parts = name.split("/")
    return not (
        re.search(r"\.\.|[\x00-\x20\x7f ~^:?*\[\\]|@\{", name)
        or any(not part or part.startswith(".") or part.endswith(".lock") for part in parts)
        or name.endswith(".")
        or name == "@"
    )


def _says_git(name: str) -> bool:
    done = subprocess.run(["git", "check-ref-format", name], check=False, capture_output=True)
    return done.returncode == 0


@pytest.mark.parametrize(
    "name", ["a", "a..b", "a.lock", "a.lock.1", "a.", "a%2e.1", ".a", "-a", "A", "a.b", "a" * 200, "HEAD", "a@", "a-._"]
)
def test_what_is_a_ref_is_what_git_says(name: str) -> None:
    for ref in (f"refs/heads/milestone/{name}", archive_ref(f"exec-m-1/{name}.1")):
        assert _is_ref(ref) == _says_git(ref)


@given(SESSIONS, IDS, st.integers(1, 999), SESSIONS, IDS, st.integers(1, 999))
def test_no_two_attempts_share_a_ref_or_a_file_and_every_ref_is_one(
    session: str, task: str, number: int, other_session: str, other: str, other_number: int
) -> None:
    one, two = (session, task, number), (other_session, other, other_number)
    refs = [archive_ref(f"{session}/{task}.{number}") for session, task, number in (one, two)]
    logs = [PATHS.task_log(session, f"{task}.{number}") for session, task, number in (one, two)]
    assert all(map(_is_ref, refs))
    assert (refs[0] == refs[1]) == (logs[0] == logs[1]) == (one == two)
    assert task_of(f"{task}.{number}") == task
    for path in logs:
        assert path.is_relative_to(PATHS.all_logs)
        assert ".." not in path.parts
        assert len(path.name.encode()) <= LONGEST


@given(IDS, st.integers(0, 9), IDS, st.integers(0, 9))
def test_no_two_slots_share_a_directory_or_a_file_beside_it(one: str, first: int, two: str, second: int) -> None:
    assume((one, first) != (two, second))
    slots = [
        Slot(Repository("/t", "/t/.git", "/t/.git", f"milestone/{name}", "/cache"), number)
        for name, number in ((one, first), (two, second))
    ]
    beside = [{slot.path, slot.index, slot.scratch, slot.setup, str(slot.record_file)} for slot in slots]
    assert not beside[0] & beside[1]
    assert all(len(Path(path).name.encode()) <= LONGEST for path in beside[0])


@given(SESSIONS)
def test_a_session_is_one_directory_and_one_control_group(session: str) -> None:
    group = f"milestoned-{session}"
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,255}", group)
    assert not group.startswith("cgroup.")
    assert PATHS.session_dir(session).parent == PATHS.sessions
    assert {PATHS.agent_json(session, role).parent for role in ROLES} == {PATHS.session_dir(session) / "agents"}


@given(st.text(max_size=12) | st.sampled_from(NASTY))
def test_whatever_is_taken_for_a_name_stays_where_it_belongs_or_is_refused(text: str) -> None:
    for make, below in (
        (PATHS.file, PATHS.active),
        (PATHS.completed_file, PATHS.completed),
        (PATHS.session_dir, PATHS.sessions),
        (PATHS.logs, PATHS.all_logs),
        (lambda name: PATHS.task_log("s", name), PATHS.all_logs / "s" / "tasks"),
    ):
        try:
            path = make(text)
        except ValueError:
            continue
        assert path.parent == below
        assert text.isascii()


@pytest.mark.parametrize("name", NASTY)
def test_a_nasty_id_is_refused_in_a_file_and_for_a_branch(name: str, tmp_path: Path) -> None:
    quoted = "".join(f"\\U{ord(letter):08x}" for letter in name)
    for text in (
        f'id: "{quoted}"\ntitle: T\ntasks: []\n',
        f'id: m1\ntitle: T\ntasks: [{{id: "{quoted}", title: A, run: "true"}}]\n',
    ):
        assert read(text.encode(), "m1.yaml").milestone is None
    assert not isinstance(drive(inspect(str(tmp_path), name, str(tmp_path / "cache"))), Repository)


@pytest.mark.parametrize("attempt", ["a..b.1", "a..1", "a...1", "x.lock.1", "HEAD.1"])
def test_work_of_a_task_with_an_odd_id_is_archived_like_any_other(make_project: MakeProject, attempt: str) -> None:
    project = make_project()
    slot = project.slot(0, attempt=attempt)
    write(slot.path, "lost.txt", "lost\n")
    found = drive(archive(project.repo, 0))
    assert isinstance(found, Archived), found
    assert git(project.folder, "show", f"{found.ref}:lost.txt") == "lost"
