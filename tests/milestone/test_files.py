"""Files on the disk: what is opened, and how it is replaced."""

import os
import socket
from pathlib import Path

import pytest

from actors import files
from actors.editor import EditError, set_statuses
from actors.files import (
    MOST_BYTES,
    FileChangedError,
    FileRefusedError,
    move_file,
    read_bytes,
    read_milestone_file,
    update_file,
)
from tests.milestone.texts import HEAD

TEXT = f"{HEAD}tasks:\n  - {{id: a, title: A, status: pending}}\n  - {{id: b, title: B, status: pending}}\n"


@pytest.fixture(name="path")
def _path(tmp_path: Path) -> Path:
    path = tmp_path / "active" / "m1.yaml"
    path.parent.mkdir()
    path.write_text(TEXT)
    return path


def only(path: Path) -> list[str]:
    """Return the names in the directory of a file, to see that nothing temporary stayed."""
    return sorted(entry.name for entry in path.parent.iterdir())


def test_a_file_is_read_with_its_name_in_the_problems(path: Path) -> None:
    path.write_text(TEXT + "tasks: []\n")

    (problem,) = read_milestone_file(path).errors

    assert str(problem).startswith(f"{path}:6:1: duplicate key 'tasks'")


def test_a_missing_file_is_a_problem_not_an_exception(tmp_path: Path) -> None:
    path = tmp_path / "m1.yaml"

    (problem,) = read_milestone_file(path).problems

    assert str(problem) == f"{path}:1:1: cannot be read: No such file or directory"


def test_links_directories_and_pipes_are_not_opened(path: Path) -> None:
    link = path.with_name("link.yaml")
    link.symlink_to(path)
    pipe = path.with_name("pipe.yaml")
    os.mkfifo(pipe)
    plug = path.with_name("plug.yaml")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(plug))

    for refused, reason in (
        (link, "symbolic link"),
        (pipe, "a named pipe .*, no regular file; give it another name"),
        (plug, "a socket .*, no regular file"),
        (path.parent, "a directory, no regular file"),
        (Path("/dev/null"), "a device, no regular file"),
    ):
        with pytest.raises(FileRefusedError, match=reason):
            read_bytes(refused)


def test_a_file_above_the_limit_is_refused_and_one_at_the_limit_is_read(path: Path) -> None:
    size = path.stat().st_size

    assert len(read_bytes(path, size)) == size
    with pytest.raises(FileRefusedError, match=f"more than {size - 1} bytes"):
        read_bytes(path, size - 1)
    assert "cannot be read: it has more than 3 bytes" in str(read_milestone_file(path, 3).problems[0])


def test_the_limit_has_room_for_ten_thousand_tasks_with_all_their_fields() -> None:
    fields = ("title", "description", "details", "notes", "run", "verify")
    task = "  - id: task-00001\n" + "".join(f"    {name}: {'x' * 100}\n" for name in fields)

    assert len(task) * 10_000 < MOST_BYTES


def test_an_update_changes_the_file_and_keeps_its_mode(path: Path) -> None:
    path.chmod(0o640)

    assert update_file(path, lambda data: set_statuses(data, milestone=None, tasks={"a": "completed"}))

    assert path.read_text() == TEXT.replace("pending", "completed", 1)
    assert path.stat().st_mode & 0o7777 == 0o640
    assert only(path) == ["m1.yaml"]


def test_an_update_that_changes_nothing_leaves_the_very_file(path: Path) -> None:
    before = path.stat()

    assert not update_file(path, lambda data: data)

    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_what_a_person_saves_during_an_update_is_edited_anew(path: Path) -> None:
    saved = TEXT.replace("title: B", "title: Better")
    seen: list[bytes] = []

    def edit(data: bytes) -> bytes:
        if not seen:
            path.write_text(saved)
        seen.append(data)
        return set_statuses(data, milestone=None, tasks={"a": "completed"})

    assert update_file(path, edit)

    assert seen == [TEXT.encode(), saved.encode()]
    assert path.read_text() == saved.replace("pending", "completed", 1)
    assert only(path) == ["m1.yaml"]


def test_a_file_that_is_written_all_the_time_is_left_to_its_writer(path: Path) -> None:
    rounds = 0

    def edit(data: bytes) -> bytes:
        nonlocal rounds
        rounds += 1
        path.write_bytes(data + b"#")
        return data + b"ours"

    with pytest.raises(FileChangedError, match="was written by somebody else"):
        update_file(path, edit)

    assert path.read_text() == TEXT + "#" * rounds
    assert only(path) == ["m1.yaml"]


def test_an_edit_that_fails_leaves_the_file_alone(path: Path) -> None:
    with pytest.raises(EditError):
        update_file(path, lambda data: set_statuses(data, milestone=None, tasks={"zz": "completed"}))

    assert path.read_text() == TEXT
    assert only(path) == ["m1.yaml"]


def test_a_move_creates_the_directory_and_can_be_done_again(path: Path) -> None:
    target = path.parent.parent / "completed" / path.name

    assert move_file(path, target)
    assert (path.exists(), target.read_text()) == (False, TEXT)
    assert move_file(path, target)


def test_a_move_that_was_interrupted_between_its_two_steps_is_completed(path: Path) -> None:
    target = path.with_name("moved.yaml")
    target.hardlink_to(path)

    assert move_file(path, target)

    assert only(path) == ["moved.yaml"]


def test_what_a_person_saves_during_a_move_stays_where_it_was_saved(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = path.with_name("moved.yaml")

    def save(step: str) -> None:
        if step == "archive.linked":
            saved = path.with_name("new")
            saved.write_text("edited")
            saved.replace(path)

    monkeypatch.setattr(files, "at", save)
    assert not move_file(path, target)

    assert path.read_text() == "edited"
    assert only(path) == ["m1.yaml"]


def test_a_move_never_replaces_another_file(path: Path) -> None:
    target = path.with_name("other.yaml")
    target.write_text("theirs")

    with pytest.raises(FileExistsError):
        move_file(path, target)

    assert (path.read_text(), target.read_text()) == (TEXT, "theirs")


def test_a_move_of_nothing_says_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        move_file(tmp_path / "a", tmp_path / "b")
