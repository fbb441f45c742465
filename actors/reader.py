"""Reads a milestone file: bytes in, a milestone or all of its problems out.

Owns the way from bytes to :class:`~actors.model.Milestone`, the milestone's own fields, and the marks by
which an editor finds statuses again. Tolerant: keys it does not know are none of its business. Refuses to
open files (that is `files`), to compare milestones with each other (`validation`), and to raise: whatever the
bytes are, the answer is a :class:`Reading`.
"""

from __future__ import annotations

import gc
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePath
from typing import Final

import attrs

from actors import fields, plancheck, shapes, statuses
from actors.model import Milestone, Requirements
from actors.problems import Notes, Problem, quoted
from actors.scan import Mapping, Scalar, Sequence, scan
from actors.taskfields import (
    TASK_ID,
    Draft,
    StatusMark,
    identity,
    note_unknown_status,
    read_task,
    status_word,
    warn_of_placeholder,
)

BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_PERCENTAGE: Final = re.compile(r"(\d{1,4})(?:\.\d{1,6})?\s*%?")
_MILESTONE_NAMES: Final = ("milestone_id", "id")
_MATTERS: Final = (
    *("tasks", "dependencies", "depends_on", "prerequisite_milestones", "shared_resources", "requirements"),
    *("title", "status", "description", "category", "progress", "success_criteria"),
)
_SYNONYMS: Final = {"requires": "depends_on", "needs": "depends_on", "prerequisites": "prerequisite_milestones"}
_FAMILY: Final = frozenset({"dependencies_met", "git_status", "in_progress", "stats"})
_OF_DEPENDENCIES: Final = ("requires", "prerequisite_milestones", "depends_on", "internal", "shared_resources")
_FAMILY_DEPENDENCIES: Final = frozenset({"blocks", "enables", "external", "optional"})
_OF_REQUIREMENTS: Final = ("tools", "environment", "disk_space_mb")


@attrs.frozen
class Marks:
    """Where the things stand that are spliced or reported later; positions count characters of ``text``.

    Attributes:
        text: The decoded file, without its byte order mark.
        milestone: The status of the milestone.
        tasks: The status of each task by its id.
        requires: Where each prerequisite milestone is named.
        shared_resources: Where each shared resource is named.
        files: Where each task with ``files`` names them.
    """

    text: str
    milestone: StatusMark
    tasks: dict[str, StatusMark]
    requires: dict[str, int]
    shared_resources: dict[str, int]
    files: dict[str, int]


@attrs.frozen
class Reading:
    """What became of a file.

    Attributes:
        milestone: The milestone; ``None`` when any problem is an error.
        problems: Errors and warnings, in the order of the file.
        marks: Where things stand; ``None`` exactly when ``milestone`` is.
        path: The file, as the caller named it.
    """

    milestone: Milestone | None
    problems: tuple[Problem, ...]
    marks: Marks | None
    path: str

    @property
    def errors(self) -> tuple[Problem, ...]:
        """The problems that keep the file from being used."""
        return tuple(problem for problem in self.problems if problem.is_error)


def read(data: bytes, path: str) -> Reading:
    """Read the bytes of a milestone file.

    Args:
        data: The content of the file; UTF-8, with or without a byte order mark.
        path: The name of the file for messages; its stem should be the id.
    """
    with _without_collector():
        return _read(data, path)


@contextmanager
def _without_collector() -> Iterator[None]:
    """Keep the cyclic collector from walking the growing tree again and again: it takes half of the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _read(data: bytes, path: str) -> Reading:
    body = data.removeprefix(BYTE_ORDER_MARK)
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        notes = Notes(path, body[: error.start].decode(errors="replace"))
        notes.error(len(notes.lines.text), _not_utf8(body, error))
        return Reading(None, notes.problems(), None, path)
    notes = Notes(path, text)
    found = shapes.of_text(text) or _scanned(text, notes)
    if isinstance(found, shapes.RefusedShape):
        notes.error(found.index, found.message)
    if not isinstance(found, shapes.Body):
        return Reading(None, notes.problems(), None, path)
    milestone, marks = _milestone(found, notes)
    if notes.has_errors or milestone is None:
        return Reading(None, notes.problems(), None, path)
    return Reading(milestone, notes.problems(), marks, path)


def _not_utf8(body: bytes, error: UnicodeDecodeError) -> str:
    if body.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "the file is UTF-16; save it as UTF-8"
    return f"the byte 0x{body[error.start]:02x} is not UTF-8; save the file as UTF-8"


def _scanned(text: str, notes: Notes) -> shapes.Body | shapes.RefusedShape | None:
    root = scan(text, notes)
    if root is None and notes.has_errors:
        return None
    return shapes.of_tree(root)


def _milestone(body: shapes.Body, notes: Notes) -> tuple[Milestone | None, Marks | None]:
    top = body.fields
    for key, index in body.doubled:
        notes.error(index, f"{quoted(key)} stands both inside 'milestone' and beside it; keep one of the two")
    mark_id = _id(body.id_holder, notes)
    drafts = _tasks(top, notes)
    plancheck.check(drafts, notes)
    status = status_word(top, notes)
    if status is not None and statuses.fold(status.text) is None:
        note_unknown_status(status, "the milestone", notes)
    requires = _requires(top, notes)
    shared = _shared_resources(top, notes)
    title = fields.one_line(top, "title", notes) or fields.one_line(top, "name", notes)
    if not title and fields.are_blank(top, "title", "name"):
        notes.error(top.start, "the milestone has no title; write one line that says what it is for")
    warn_of_placeholder(top, notes)
    fields.note_slips(top, "the milestone", _MATTERS, notes, known=_FAMILY, synonyms=_SYNONYMS)
    if mark_id is None:
        return None, None
    for name in requires:
        if name.text == mark_id.text:
            notes.error(name.start, f"milestone {quoted(name.text)} requires itself; remove the entry")
    holder = status or top.entries.get("status")
    mark = StatusMark(mark_id, holder if isinstance(holder, Scalar) else None, body.id_holder.flow)
    milestone = Milestone(
        id=mark_id.text,
        title=title,
        description=fields.prose(top, "description", notes),
        status=status.text.strip() if status else "",
        category=fields.prose(top, "category", notes),
        tasks=tuple(draft.task for draft in drafts),
        requires=tuple(dict.fromkeys(name.text for name in requires)),
        shared_resources=tuple(dict.fromkeys(name.text for name in shared)),
        requirements=_requirements(top, notes),
        success_criteria=_success_criteria(top, notes),
        declared_percentage=_declared_percentage(top, notes),
    )
    return milestone, Marks(
        text=notes.lines.text,
        milestone=mark,
        tasks={draft.task.id: draft.mark for draft in drafts},
        requires={name.text: name.start for name in reversed(requires)},
        shared_resources={name.text: name.start for name in reversed(shared)},
        files={draft.task.id: draft.files for draft in drafts if draft.task.files},
    )


def _id(holder: Mapping, notes: Notes) -> Scalar | None:
    path = PurePath(notes.path)
    mark = identity(holder, "the milestone", TASK_ID, notes)
    # Completed milestones also live in a directory of their own: completed/<id>/definition.yaml.
    if mark is not None and path.suffix in {".yaml", ".yml"} and mark.text not in {path.stem, path.parent.name}:
        message = f"the id {quoted(mark.text)} is not the name of the file ({path.name})"
        notes.error(mark.start, f"{message}; milestones are found by the name of their file")
    if mark is not None and (".." in mark.text or mark.text.endswith((".", ".lock"))):
        message = f"the id {quoted(mark.text)} cannot be part of a branch's name"
        notes.error(mark.start, f"{message}: no '..' in it, and no '.' or '.lock' at its end")
    return mark


def _tasks(top: Mapping, notes: Notes) -> list[Draft]:
    node = fields.given(top, "tasks")
    if isinstance(node, Sequence) and node.items:
        # Each entry of the tree goes as soon as it is read, which keeps the peak of memory down.
        waiting = node.items[::-1]
        node.items.clear()
        drafts: list[Draft] = []
        while waiting:
            if (draft := read_task(waiting.pop(), notes)) is not None:
                drafts.append(draft)
        return drafts
    if isinstance(node, Mapping | Scalar):
        notes.error(node.key, "'tasks' must be a list of maps, each with id and title")
    elif "phases" in top.entries:
        message = "the milestone has phases but no 'tasks'; lines under phases are not executed: give each an id in"
        notes.warning(top.entries["phases"].key, f"{message} a list 'tasks'")
    else:
        notes.warning(top.start, "the milestone has no tasks, so there is nothing to execute")
    return []


def _requires(top: Mapping, notes: Notes) -> list[Scalar]:
    found: list[Scalar] = []
    dependencies = top.entries.get("dependencies")
    holders = [(top, "prerequisite_milestones"), (top, "depends_on")]
    if isinstance(dependencies, Mapping):
        fields.note_slips(dependencies, "'dependencies'", _OF_DEPENDENCIES, notes, known=_FAMILY_DEPENDENCIES)
        names = ("requires", "prerequisite_milestones", "depends_on", "internal")
        holders = [*((dependencies, name) for name in names), *holders]
    elif dependencies is not None:
        holders.insert(0, (top, "dependencies"))
    for holder, key in holders:
        if key in holder.entries:
            found += fields.names(holder, key, notes, inside=_MILESTONE_NAMES)
    for name in found:
        if not TASK_ID.fullmatch(name.text):
            notes.error(name.start, f"{quoted(name.text)} is no id of a milestone")
    return found


def _shared_resources(top: Mapping, notes: Notes) -> list[Scalar]:
    dependencies = top.entries.get("dependencies")
    holders = [top, dependencies] if isinstance(dependencies, Mapping) else [top]
    found: list[Scalar] = []
    for holder in holders:
        found += fields.names(holder, "shared_resources", notes, inside=("name", "id", "resource"))
    return found


def _requirements(top: Mapping, notes: Notes) -> Requirements:
    node = fields.given(top, "requirements")
    if node is None:
        return Requirements()
    if not isinstance(node, Mapping):
        notes.warning(node.key, "'requirements' is no map with tools, environment and disk_space_mb and is not used")
        return Requirements()
    fields.note_slips(node, "'requirements'", _OF_REQUIREMENTS, notes)
    disk = fields.whole(node, "disk_space_mb", notes)
    return Requirements(
        tools=tuple(name.text for name in fields.names(node, "tools", notes, inside=("name", "command"))),
        environment=tuple(name.text for name in fields.names(node, "environment", notes, inside=("name",))),
        disk_space_mb=Requirements().disk_space_mb if disk is None else disk,
    )


def _success_criteria(top: Mapping, notes: Notes) -> tuple[str, ...]:
    for holder in (top, top.entries.get("objectives")):
        if isinstance(holder, Mapping) and "success_criteria" in holder.entries:
            return fields.prose_lines(holder, "success_criteria", notes)
    return ()


def _declared_percentage(top: Mapping, notes: Notes) -> int | None:
    node = fields.given(top, "progress")
    if isinstance(node, Mapping):
        inner = (fields.given(node, name) for name in ("percentage", "overall_percentage", "progress_percentage"))
        node = next((found for found in inner if found is not None), None)
    if node is None:
        return None
    match = _PERCENTAGE.fullmatch(node.text.strip()) if isinstance(node, Scalar) else None
    if match is None or int(match.group(1)) > 100:  # noqa: PLR2004 - per cent
        notes.warning(node.key, "the declared progress is no percentage from 0 to 100 and is not shown")
        return None
    return int(match.group(1))
