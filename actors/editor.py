"""Minimal edits of a milestone file: the bytes of a status change, and no other byte.

Owns the splice: the style of quotes, comments, line breaks, the byte order mark and braces stay as they were.
Where a task or the milestone gives no status, one is put in after its id: a line of its own, or an entry in
braces. Refuses to open files, and to edit one that does not read.

The reader says where each status stands, counted in characters of the decoded text; as decoding UTF-8 and
encoding it again gives the same bytes, what is outside the splices cannot change. A replaced scalar has the
extent and quotes of the old one and is a bare word, so the file keeps its meaning; a status put in is proven
by reading the result.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import attrs

from actors import statuses
from actors.model import Milestone
from actors.problems import Lines, Problem
from actors.reader import BYTE_ORDER_MARK, Marks, Reading, read
from actors.taskfields import StatusMark

_WORD: Final = re.compile(r"[a-z]+(_[a-z]+)*")
_LINE_END: Final = re.compile("\r\n|[\n\r\x85\u2028\u2029]|\\Z")


class EditError(Exception):
    """A file cannot be edited; :attr:`problems` say where and why."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems: Final = problems


@attrs.frozen
class _Splice:
    """Text to put in place of ``text[start:end]``, positions in characters."""

    start: int
    end: int
    replacement: str
    is_new: bool = False


def set_statuses(
    data: bytes,
    *,
    milestone: str | None,
    tasks: Mapping[str, str],
    path: str = "milestone file",
    reading: Reading | None = None,
) -> bytes:
    """Return the file with other statuses.

    Args:
        data: The file as it is now.
        milestone: The new status of the milestone, ``None`` to leave it.
        tasks: New statuses by task id; other tasks are left.
        path: The name of the file for messages.
        reading: What ``data`` reads as, where the caller knows.

    Raises:
        EditError: The file does not read, or has no such task (a person edited it meanwhile).
        ValueError: A new status is no word that the reader understands.
    """
    for word in [*tasks.values(), *([] if milestone is None else [milestone])]:
        if not _WORD.fullmatch(word) or statuses.fold(word) is None:
            raise ValueError(f"{word!r} is no status of a milestone file")
    reading = reading or read(data, path)
    marks = reading.marks
    if reading.milestone is None or marks is None:
        raise EditError(*reading.errors)
    wanted = [(_mark_of(task, marks, path), word) for task, word in tasks.items()]
    if milestone is not None:
        wanted.append((marks.milestone, milestone))
    lines = Lines(marks.text)
    splices = [splice for mark, word in wanted if (splice := _splice(lines, mark, word))]
    if not splices:
        return data
    mark = BYTE_ORDER_MARK if data.startswith(BYTE_ORDER_MARK) else b""
    edited = mark + _apply(marks.text, splices).encode()
    if any(splice.is_new for splice in splices):
        _prove(reading, read(edited, path), milestone, tasks)
    return edited


def _mark_of(task: str, marks: Marks, path: str) -> StatusMark:
    mark = marks.tasks.get(task)
    if mark is None:
        line, column = Lines(marks.text).place(marks.milestone.id.start)
        message = f"the file has no task {task!r} any more, so its status cannot be written"
        raise EditError(Problem(path, line, column, message))
    return mark


def _splice(lines: Lines, mark: StatusMark, word: str) -> _Splice | None:
    text, status = lines.text, mark.status
    if status is None:
        return _addition(lines, mark, word)
    if status.start == status.end:
        # 'status:' without a value: the parser's place for it is behind the colon, or behind the blanks after
        # the colon, or behind a key that has no colon.
        before = text[status.start - 1]
        lead = " " if before == ":" else "" if before in " \t\r\n" else ": "
        following = "" if text[status.start : status.start + 1] in {"", " ", "\t", "\r", "\n", ",", "}"} else " "
        return _Splice(status.start, status.end, f"{lead}{word}{following}", is_new=True)
    if status.text == word:
        return None
    return _Splice(status.start, status.end, f"{status.style}{word}{status.style}")


def _addition(lines: Lines, mark: StatusMark, word: str) -> _Splice:
    text = lines.text
    key_quote = text[mark.id.key] if text[mark.id.key] in "'\"" else ""
    entry = f"{key_quote}status{key_quote}: {mark.id.style}{word}{mark.id.style}"
    if mark.flow:
        return _Splice(mark.id.end, mark.id.end, f", {entry}", is_new=True)
    line_end = _LINE_END.search(text, mark.id.end)
    at = line_end.start() if line_end else len(text)
    line_break = (line_end.group() if line_end else "") or _first_line_break(text)
    _, column = lines.place(mark.id.key)
    indent = " " * (column - 1)
    return _Splice(at, at, f"{line_break}{indent}{entry}", is_new=True)


def _first_line_break(text: str) -> str:
    found = _LINE_END.search(text)
    return (found.group() if found else "") or "\n"


def _apply(text: str, splices: list[_Splice]) -> str:
    pieces: list[str] = []
    at = 0
    for splice in sorted(splices, key=lambda splice: splice.start):
        pieces += [text[at : splice.start], splice.replacement]
        at = splice.end
    return "".join([*pieces, text[at:]])


def _prove(before: Reading, after: Reading, milestone: str | None, tasks: Mapping[str, str]) -> None:
    """Compare what the file says now with what it said: an unusual layout could be broken by a new entry."""
    if before.milestone is None or before.marks is None:
        raise EditError(*before.errors)
    expected = _with_statuses(before.milestone, milestone, tasks)
    if after.milestone == expected:
        return
    line, column = Lines(before.marks.text).place(before.marks.milestone.id.start)
    message = "no status can be put into this layout; give the milestone and each task a line 'status: pending'"
    raise EditError(Problem(before.path, line, column, message))


def _with_statuses(before: Milestone, milestone: str | None, tasks: Mapping[str, str]) -> Milestone:
    changed = tuple(
        attrs.evolve(task, status=statuses.fold(tasks[task.id]) or task.status) if task.id in tasks else task
        for task in before.tasks
    )
    return attrs.evolve(before, tasks=changed, status=before.status if milestone is None else milestone)
