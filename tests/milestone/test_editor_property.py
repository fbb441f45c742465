"""Any valid file, one status changed, nothing else differs: with another reader of YAML as the witness."""

import json
from typing import Any, Final

import pytest
import yaml
from hypothesis import given, note
from hypothesis import strategies as st

from actors.editor import EditError, set_statuses
from actors.model import FileStatus
from actors.reader import read
from tests.milestone.test_corpus import CORPUS, corpus_files

_WORDS: Final = st.sampled_from(["pending", "in_progress", "completed", "blocked", "cancelled"])
_TEXT: Final = st.text(alphabet="ab 里é😀\t'\"#:&*!|>-{}[],%@`", min_size=1, max_size=12)
_COMMENT: Final = st.sampled_from(["", "  # status: pending", "\t# tab", " # 里 'quoted\" {", "   "])
_DECOY: Final = "status: pending"


@st.composite
def _scalars(draw: st.DrawFn, indent: int) -> str:
    """Draw a text in one of YAML's ways to write it; what follows the key and its colon."""
    text = draw(_TEXT)
    pad = " " * (indent + 2)
    match draw(st.sampled_from(["double", "single", "literal", "folded", "long", "plain"])):
        case "double":
            return json.dumps(text, ensure_ascii=False)
        case "single":
            return "'" + text.replace("'", "''").replace("\t", " ") + "'"
        case "literal":
            return f"|{draw(st.sampled_from(['', '-', '+']))}\n{pad}x{text}\n{pad}{_DECOY}\n\n{pad}- end"
        case "folded":
            return f">-\n{pad}x {text}\n\n{pad}{_DECOY}\n{pad}  more"
        case "long":
            return f'"x\n{pad}{_DECOY}\n\n{pad}\\tand \\\n{pad}more"'
        case _:
            return "plain words\n" + pad + "go on"


@st.composite
def _block_task(draw: st.DrawFn, task_id: str) -> str:
    quote = draw(st.sampled_from(["", "'", '"']))
    entries = [f"id: {task_id}", f"title: {json.dumps('T' + draw(_TEXT), ensure_ascii=False)}"]
    if draw(st.booleans()):
        entries.append(f"status:{' ' * draw(st.integers(1, 3))}{quote}{draw(_WORDS)}{quote}")
    keys = draw(st.lists(st.sampled_from(["description", "notes", "details"]), unique=True, max_size=2))
    entries += [f"{key}: {draw(_scalars(4))}" for key in keys]
    if draw(st.booleans()):
        entries.append(f"history:\n      - {_DECOY}\n      - {{status: completed, at: [1, {{status: blocked}}]}}")
    lines = []
    for entry in draw(st.permutations(entries)):
        first, *rest = entry.split("\n")
        ends_a_line = not rest and not first.endswith(("|", ">-"))
        lines += [first + (draw(_COMMENT) if ends_a_line else ""), *rest]
        lines += draw(st.sampled_from([[], [], [""], [f"    # {_DECOY}"]]))
    indented = (f"    {line}" if line and not line.startswith("  ") else line for line in lines[1:])
    text = "\n".join([lines[0], *indented])
    return f"  - {text}\n"


@st.composite
def _flow_task(draw: st.DrawFn, task_id: str) -> str:
    entries = [
        f'id: "{task_id}"',
        f"title: {json.dumps('T' + draw(_TEXT), ensure_ascii=False)}",
        "history: [{status: pending}]",
    ]
    if draw(st.booleans()):
        entries.append(f"status: {draw(_WORDS)}")
    joint = draw(st.sampled_from([", ", ",", ",\n      ", " ,  "]))
    return f"  - {{{joint.join(draw(st.permutations(entries)))}}}{draw(_COMMENT)}\n"


@st.composite
def _files(draw: st.DrawFn) -> tuple[bytes, list[str]]:
    ids = [f"t{number}" for number in range(draw(st.integers(1, 3)))]
    tasks = "".join(draw(_block_task(name) | _flow_task(name)) for name in ids)
    described = f"description: {draw(_scalars(0))}\n"
    head = draw(st.permutations(["id: m1\n", "title: T\n", "status: planned # so\n", described]))
    begin = draw(st.sampled_from(["", "---\n", "# status: pending\n---\n", "%YAML 1.1\n---\n"]))
    end = draw(st.sampled_from(["", "...\n", "# the end"]))
    text = f"{begin}{''.join(head)}tasks:{draw(_COMMENT)}\n{tasks}{end}"
    text = text.replace("\n", draw(st.sampled_from(["\n", "\n", "\r\n"])))
    return (b"\xef\xbb\xbf" if draw(st.booleans()) else b"") + text.encode(), ids


def _plain(data: bytes) -> Any:  # noqa: ANN401 - whatever the file holds
    return yaml.load(data.decode("utf-8-sig"), Loader=yaml.CBaseLoader)  # noqa: S506, TID251 - makes texts of everything


def _assert_only_the_status_changed(before: bytes, after: bytes, task: str, word: str) -> None:
    said, expected = _plain(after), _plain(before)
    body = expected.get("milestone") if isinstance(expected.get("milestone"), dict) else expected
    body = expected if "tasks" in expected else body
    next(one for one in body["tasks"] if one["id"] == task)["status"] = word
    assert said == expected
    same = next((at for at, (one, two) in enumerate(zip(before, after, strict=False)) if one != two), len(before))
    rest = len(before) - same
    tail = next((at for at in range(rest) if before[-1 - at] != after[-1 - at] or len(after) - same <= at), rest)
    assert len(before) - same - tail <= len("in_progress"), "more than a word is gone"
    assert len(after) - same - tail <= len("status: in_progress") + 24, "more than an entry has come"


@given(_files(), st.data())
def test_whatever_the_layout_one_status_changes_and_another_reader_agrees(
    drawn: tuple[bytes, list[str]], data: st.DataObject
) -> None:
    before, ids = drawn
    note(before.decode())
    reading = read(before, "m1.yaml")
    assert not reading.errors, reading.errors
    task, word = data.draw(st.sampled_from(ids)), data.draw(_WORDS)
    after = set_statuses(before, milestone=None, tasks={task: word})
    note(after.decode())
    _assert_only_the_status_changed(before, after, task, word)
    assert set_statuses(after, milestone=None, tasks={task: word}) == after


@pytest.mark.parametrize(
    "line", ["title: &a T", "title: *a", "title: !!str T", "<<: {a: b}", "title: T\n    title: U", "title: !x T"]
)
def test_what_is_not_read_is_not_edited(line: str) -> None:
    data = f"id: m1\ntitle: T\ntasks:\n  - id: t0\n    {line}\n    status: pending\n".encode()
    with pytest.raises(EditError):
        set_statuses(data, milestone=None, tasks={"t0": "completed"})


@pytest.mark.skipif(not CORPUS.is_dir(), reason="no corpus of real files: set MILESTONED_CORPUS to its folder")
def test_each_status_of_each_task_of_a_real_file_is_changed_alone() -> None:
    edited = 0
    for path in corpus_files():
        before = path.read_bytes()
        milestone = read(before, str(path)).milestone
        for task in milestone.tasks if milestone is not None else ():
            for status in FileStatus:
                after = set_statuses(before, milestone=None, tasks={task.id: status.value})
                _assert_only_the_status_changed(before, after, task.id, status.value)
                edited += 1
    assert edited >= len(FileStatus)
