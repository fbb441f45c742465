"""Minimal edits: the bytes of a status change, and no others."""

import attrs
import pytest
from hypothesis import given, note
from hypothesis import strategies as st

from actors import statuses
from actors.editor import EditError, set_statuses
from actors.model import FileStatus
from actors.reader import read
from tests.milestone.texts import HEAD


def edited(text: str, milestone: str | None = None, **tasks: str) -> str:
    """Return a text after an edit."""
    return set_statuses(text.encode(), milestone=milestone, tasks=tasks).decode()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("status: pending", "status: completed"),
        ("status: 'pending'", "status: 'completed'"),
        ('status: "pending"', 'status: "completed"'),
        ("status:   pending   # so far  ", "status:   completed   # so far  "),
        ("status: In Progress # x", "status: completed # x"),
        ("'status': todo", "'status': completed"),
        ('status: ""', 'status: "completed"'),
        ("status: ~ # none", "status: completed # none"),
        ("status:", "status: completed"),
        ("status: # later", "status: completed # later"),
        ("state: open", "state: completed"),
        ("? status\n    : todo", "? status\n    : completed"),
    ],
)
def test_only_the_word_changes(before: str, after: str) -> None:
    frame = f"# head\n{HEAD}tasks:\n  - id: a   # first\n    title: A\n    @\n    notes: [x,  y]\n# end"

    assert edited(frame.replace("@", before), a="completed") == frame.replace("@", after)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("  - id: a\n    title: A\n", "  - id: a\n    status: blocked\n    title: A\n"),
        ("- id: a # x\n  title: A\n", "- id: a # x\n  status: blocked\n  title: A\n"),
        ('  -   title: A\n      id: "a"', '  -   title: A\n      id: "a"\n      status: "blocked"'),
        ("  -\n    title: A\n    'id': a\n\n", "  -\n    title: A\n    'id': a\n    'status': blocked\n\n"),
        ("  - {id: a, title: A}\n", "  - {id: a, status: blocked, title: A}\n"),
        ("  - {title: A, id: a}\n", "  - {title: A, id: a, status: blocked}\n"),
        ("  - {id: a, status: , title: A}\n", "  - {id: a, status: blocked, title: A}\n"),
        ("  - {id: a, status, title: A}\n", "  - {id: a, status: blocked, title: A}\n"),
        ("  - {id: a, title: A, status: }\n", "  - {id: a, title: A, status: blocked}\n"),
        (
            "  - {id: a, completed: false, title: A}\n",
            "  - {id: a, status: blocked, completed: false, title: A}\n",
        ),
    ],
)
def test_a_task_without_a_status_gets_one_after_its_id(before: str, after: str) -> None:
    head = f"{HEAD}tasks:\n"

    assert edited(head + before, a="blocked") == head + after


def test_a_json_file_stays_json() -> None:
    before = '{"id": "m1", "title": "T", "tasks": [{"id":"a","title":"A"}]}'

    assert edited(before, "in_progress", a="completed") == (
        '{"id": "m1", "status": "in_progress", "title": "T", "tasks": [{"id":"a", "status": "completed","title":"A"}]}'
    )


def test_the_status_of_the_milestone_is_changed_or_put_in() -> None:
    body = "tasks: [{id: a, title: A, status: todo}]\n"

    assert edited(f"{HEAD}status: planned # soon\n{body}", "in_progress") == (
        f"{HEAD}status: in_progress # soon\n{body}"
    )
    assert edited(f"{HEAD}{body}", "in_progress") == f"id: m1\nstatus: in_progress\ntitle: A milestone\n{body}"
    assert edited(f"milestone:\n  id: m1\n  title: T\n{body}", "completed") == (
        f"milestone:\n  id: m1\n  status: completed\n  title: T\n{body}"
    )
    assert edited(f"milestone:\n  id: m1\n  title: T\nstatus: planned\n{body}", "completed") == (
        f"milestone:\n  id: m1\n  title: T\nstatus: completed\n{body}"
    )


@pytest.mark.parametrize("line_break", ["\n", "\r\n", "\r"])
def test_line_breaks_byte_order_mark_and_other_scripts_are_kept(line_break: str) -> None:
    first, second = "  - id: a # é\n    title: 任务 😀\n", "  - id: b\n    title: B\n    status: todo # ✓"
    text = f"\ufeff# 里程碑 😀\n{HEAD}tasks:\n{first}{second}"
    before = text.replace("\n", line_break)

    after = edited(before, a="completed", b="completed")

    assert after == before.replace("todo", "completed").replace(
        f"# é{line_break}", f"# é{line_break}    status: completed{line_break}"
    )


def test_a_file_that_already_says_so_is_returned_as_it_is() -> None:
    data = f"{HEAD}tasks: [{{id: a, title: A, status: 'completed'}}]\n".encode()

    assert set_statuses(data, milestone=None, tasks={"a": "completed"}) == data
    assert set_statuses(data, milestone=None, tasks={}) == data


def test_several_statuses_change_at_once_whatever_their_order() -> None:
    before = f"{HEAD}tasks:\n" + "".join(f"  - {{id: t{n}, title: T, status: todo}}\n" for n in range(30))

    after = edited(before, **{f"t{n}": "completed" for n in reversed(range(30))})

    assert after == before.replace("todo", "completed")


def test_a_file_that_no_longer_reads_is_not_edited() -> None:
    with pytest.raises(EditError) as raised:
        set_statuses(b"id: m1\ntitle: [\n", milestone="completed", tasks={}, path="active/m1.yaml")

    assert str(raised.value).startswith("active/m1.yaml:3:1: not YAML: ")


def test_a_task_that_is_gone_is_named() -> None:
    with pytest.raises(EditError, match=r"^m1.yaml:1:5: the file has no task 'b' any more"):
        set_statuses(f"{HEAD}tasks: []\n".encode(), milestone=None, tasks={"b": "completed"}, path="m1.yaml")


def test_a_layout_that_has_no_room_for_a_status_is_refused_not_broken() -> None:
    text = f"{HEAD}tasks:\n  - ? id\n    : a\n    ? title\n    : A\n"

    try:
        after = edited(text, a="completed")
    except EditError as error:
        assert "no status can be put into this layout" in str(error)  # noqa: PT017 - either is right
    else:
        found = read(after.encode(), "m1.yaml")
        assert found.milestone is not None
        assert found.milestone.tasks[0].status is FileStatus.COMPLETED


@pytest.mark.parametrize("word", ["", "finito", "no", "a: b", "completed\n", "Completed"])
def test_a_word_that_would_not_read_back_is_never_written(word: str) -> None:
    with pytest.raises(ValueError, match="is no status"):
        set_statuses(f"{HEAD}tasks: []\n".encode(), milestone=word, tasks={})


BLANKS = st.sampled_from(["", " ", "   "])
COMMENTS = st.sampled_from(["", "  # note", " # status: pending", "   "])
QUOTES = st.sampled_from(["", "'", '"'])
WORDS = st.sampled_from([*statuses.WORDS])
TEXTS = st.text(alphabet="abc 里é😀-", min_size=1, max_size=8).map(lambda text: f"x{text.strip()}")


@st.composite
def task_lines(draw: st.DrawFn, task_id: str) -> str:
    """Draw a task in one of the ways to write it."""
    quote, id_quote = draw(QUOTES), draw(QUOTES)
    word = draw(WORDS)
    if "[" in word and not quote:
        quote = '"'
    title = draw(TEXTS)
    entries = [f"id:{draw(BLANKS)} {id_quote}{task_id}{id_quote}", f"title: {title}"]
    status = draw(st.sampled_from(["given", "given", "empty", "none"]))
    if status != "none":
        entries.append(f"status: {draw(BLANKS)}{quote}{word}{quote}" if status == "given" else "status:")
    if draw(st.booleans()):
        entries.append("notes: [a, {b: c}]")
    entries = draw(st.permutations(entries))
    if draw(st.booleans()):
        joined = ", ".join(entry + (" " if entry.endswith(":") else "") for entry in entries)
        return f"  - {{{joined}}}{draw(COMMENTS)}\n"
    gap = draw(st.sampled_from([" ", "   "]))
    indent = " " * (3 + len(gap))
    lines = [entry + draw(COMMENTS) + draw(st.sampled_from(["\n", "\n", "\n\n"])) for entry in entries]
    return f"  -{gap}" + indent.join(lines)


@st.composite
def files(draw: st.DrawFn) -> tuple[str, list[str]]:
    """Draw a valid file and the ids of its tasks."""
    ids = [f"t{n}" for n in range(draw(st.integers(1, 4)))]
    body = "".join(draw(task_lines(task_id)) for task_id in ids)
    head = draw(st.permutations(["id: m1\n", "title: T\n", draw(st.sampled_from(["", "status: planned # so\n"]))]))
    text = "".join(head) + f"tasks:{draw(COMMENTS)}\n{body}"
    if draw(st.booleans()):
        wrapped = "".join(f"  {line}\n" if line else "\n" for line in text.splitlines())
        text = f"milestone:\n{wrapped}"
    if draw(st.booleans()):
        text = text.rstrip("\n")
    mark = draw(st.sampled_from(["", "\ufeff"]))
    return mark + text.replace("\n", draw(st.sampled_from(["\n", "\r\n"]))), ids


@given(files(), st.data())
def test_an_edit_of_any_file_changes_one_status_and_one_stretch_of_bytes(
    drawn: tuple[str, list[str]], data: st.DataObject
) -> None:
    text, ids = drawn
    task = data.draw(st.sampled_from([*ids, None]))
    status = data.draw(st.sampled_from(list(FileStatus)))
    before = text.encode()
    note(text)

    after = set_statuses(
        before,
        milestone=status.value if task is None else None,
        tasks={} if task is None else {task: status.value},
    )
    note(after.decode())

    old, new = read(before, "m1.yaml").milestone, read(after, "m1.yaml").milestone
    assert old is not None
    assert new is not None
    if task is None:
        assert new == attrs.evolve(old, status=status.value)
    else:
        assert new.by_id[task] == attrs.evolve(old.by_id[task], status=status)
        assert attrs.evolve(new, tasks=()) == attrs.evolve(old, tasks=())
        assert [t for t in new.tasks if t.id != task] == [t for t in old.tasks if t.id != task]
    _assert_one_stretch(before, after, status.value)


def _assert_one_stretch(before: bytes, after: bytes, word: str) -> None:
    """Check that the two differ in one stretch: an old word there, the new one with its entry here."""
    same = 0
    while same < min(len(before), len(after)) and before[same] == after[same]:
        same += 1
    tail = 0
    while tail < min(len(before), len(after)) - same and before[-1 - tail] == after[-1 - tail]:
        tail += 1
    gone, come = before[same : len(before) - tail].decode(), after[same : len(after) - tail].decode()
    assert not gone or any(gone in known for known in (*statuses.WORDS, "planned"))
    assert len(come.strip(", \r\n").removeprefix("status:").strip(" '\"")) <= len(f"status: {word}")
