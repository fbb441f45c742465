"""One task of a milestone file.

Owns the keys of a task: which are read, which are known to the family and left alone, and which look like a
slip of the pen. Refuses to know the other tasks: what needs the whole list stands in `plancheck`.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

import attrs

from actors import fields, statuses
from actors.model import FileStatus, OnCrash, Task
from actors.problems import Notes, quoted
from actors.scan import Mapping, Node, Scalar, Sequence

TASK_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
PLACEHOLDER: Final = re.compile(r"\$\{[^}]{0,99}\}|\$\([^)]{0,99}\)|\{\{.{0,99}\}\}")

_EXECUTABLE: Final = frozenset(
    {"run", "verify", "timeout", "retries", "retry_delay", "env", "files", "on_crash", "agent"}
)
_MISSPELT: Final = ("depends_on", "dependencies", *sorted(_EXECUTABLE))
_SYNONYMS: Final = {
    "cmd": "run", "command": "run", "script": "run", "shell": "run",
    "needs": "depends_on", "after": "depends_on", "requires": "depends_on", "blocked_by": "depends_on",
    "retry": "retries", "max_retries": "retries", "environment": "env", "assert": "verify",
}  # fmt: skip
_FAMILY: Final = frozenset({
    "acceptance_criteria", "actual_hours", "artifacts", "assigned_team", "assigned_to", "blockers",
    "category", "completed", "completed_at", "created_at", "current_phase", "deliverables",
    "dependencies_met", "description", "done", "estimated_hours", "external_dependencies", "hours", "id",
    "kiro_workflow", "labels", "name", "notes", "owner", "phase", "priority", "progress", "quality_metrics",
    "started_at", "state", "stats", "status", "tags", "title", "type", "updated_at", "verified", "weight",
})  # fmt: skip
_KNOWN: Final = _FAMILY | frozenset(_MISSPELT)
_READ: Final = (
    *_MISSPELT,
    *("acceptance_criteria", "description", "estimated_hours", "id", "status", "title", "type", "weight"),
)

_RANGE: Final = re.compile(r"(\d{1,6}(?:\.\d{1,6})?)(?:\s*-\s*(\d{1,6}(?:\.\d{1,6})?))?\s*(?:h|hrs?|hours?)?")


class StatusMark(NamedTuple):
    """Where the status of a task or milestone stands, or could stand.

    Attributes:
        id: The scalar of its ``id``.
        status: The scalar of its status, ``None`` where the file gives none.
        flow: Whether the map that holds the id is written in braces.
    """

    id: Scalar
    status: Scalar | None
    flow: bool


class Draft(NamedTuple):
    """A task whose dependencies have not been compared with the other tasks yet.

    Attributes:
        task: The task, with the names of its dependencies as the file gives them.
        mark: Where its status is.
        depends_on: The scalars that name its dependencies; two that name the same one both stand here.
        files: Where its ``files`` begin, in characters; -1 without any.
    """

    task: Task
    mark: StatusMark
    depends_on: list[Scalar]
    files: int


def read_task(node: Node, notes: Notes) -> Draft | None:
    """Read one entry of ``tasks``.

    Returns:
        ``None`` for an entry without a usable id, after noting it.
    """
    if not isinstance(node, Mapping):
        what = "a list" if isinstance(node, Sequence) else "text"
        notes.error(node.start, f"a task must be a map with id and title, not {what}")
        return None
    entries = node.entries
    if not entries.keys() <= _KNOWN:
        fields.note_slips(node, "a task", _READ, notes, known=_KNOWN, synonyms=_SYNONYMS)
    mark_id = identity(node, "a task", TASK_ID, notes)
    if mark_id is None:
        return None
    depends_on = _dependencies(node, notes)
    word, status = _status(node, notes)
    estimate = entries.keys() & {"estimated_hours", "hours"}
    task = Task(
        id=mark_id.text,
        title=_title(node, mark_id, notes),
        description=fields.prose(node, "description", notes) if "description" in entries else "",
        status=status,
        depends_on=tuple(dict.fromkeys([name.text for name in depends_on])) if depends_on else (),
        weight=_weight(node, notes) if "weight" in entries else 1.0,
        estimated_hours=_hours(node, notes) if estimate else None,
        kind=fields.prose(node, "type", notes) if "type" in entries else "",
        acceptance_criteria=(
            fields.prose_lines(node, "acceptance_criteria", notes) if "acceptance_criteria" in entries else ()
        ),
    )
    if not entries.keys().isdisjoint(_EXECUTABLE):
        task = _with_executable_fields(task, node, notes)
    files = entries["files"].key if task.files else -1
    return Draft(task, StatusMark(mark_id, word, node.flow), depends_on, files)


def identity(node: Mapping, what: str, pattern: re.Pattern[str], notes: Notes) -> Scalar | None:
    """Return the scalar of ``id``, after noting what keeps it from being one."""
    found = node.entries.get("id")
    if found is None:
        notes.error(node.start, f"{what} has no id")
        return None
    if not isinstance(found, Scalar) or found.is_null:
        notes.error(found.key, f"the id of {what} must be text")
        return None
    if found.style in {"|", ">"} or not pattern.fullmatch(found.text):
        message = f"{quoted(found.text)} is no id: letters, digits, '.', '_' and '-' in one line, at most 64"
        if PLACEHOLDER.search(found.text):
            message = f"{quoted(found.text)} is a placeholder that nothing has filled in; write the id"
        notes.error(found.start, message)
        return None
    return found


def _title(node: Mapping, mark_id: Scalar, notes: Notes) -> str:
    title = fields.one_line(node, "title", notes) or fields.one_line(node, "name", notes)
    if not title:
        if fields.are_blank(node, "title", "name"):
            notes.warning(mark_id.start, f"task {quoted(mark_id.text)} has no title; its id is shown instead")
        return mark_id.text
    if "$" in title or "{{" in title:
        warn_of_placeholder(node, notes)
    return title


def warn_of_placeholder(node: Mapping, notes: Notes) -> None:
    """Warn of a title, status or time that nothing has filled in, such as ``${TITLE}`` or ``$(date)``."""
    for name in ("title", "name", "status", "created_at", "started_at"):
        found = node.entries.get(name)
        if isinstance(found, Scalar) and (match := PLACEHOLDER.search(found.text)):
            notes.warning(found.start, f"{quoted(match.group())} in {quoted(name)} looks like an unfilled placeholder")


def status_word(node: Mapping, notes: Notes) -> Scalar | None:
    """Return the scalar with the status; ``None`` where the file gives none, or an empty one."""
    name = "state" if "state" in node.entries and "status" not in node.entries else "status"
    found = fields.scalar(node, name, notes)
    return None if found is None or not found.text.strip() else found


def note_unknown_status(found: Scalar, whose: str, notes: Notes) -> None:
    """Note a status word that nobody uses."""
    meant = notes.closest(found.text, statuses.WORDS)
    known = "pending, in_progress, completed, blocked, cancelled and the usual words for them are understood"
    notes.error(found.start, f"unknown status {quoted(found.text)} of {whose}: {known}", meant)


def _status(node: Mapping, notes: Notes) -> tuple[Scalar | None, FileStatus]:
    found = status_word(node, notes)
    if found is None:
        holder = node.entries.get("status", node.entries.get("state"))
        return (holder if isinstance(holder, Scalar) else None), _ticked(node)
    status = statuses.fold(found.text)
    if found.style in {"|", ">"}:
        notes.error(found.start, "a status must stand in one line")
    elif status is None:
        note_unknown_status(found, "a task", notes)
    return found, status or FileStatus.PENDING


def _ticked(node: Mapping) -> FileStatus:
    for name in ("completed", "done"):
        found = node.entries.get(name)
        if isinstance(found, Scalar) and found.text.lower() in {"true", "yes"}:
            return FileStatus.COMPLETED
    return FileStatus.PENDING


def _dependencies(node: Mapping, notes: Notes) -> list[Scalar]:
    """Return the union of ``depends_on`` and ``dependencies``, which are one thing under two names."""
    found: list[Scalar] = []
    for name in ("depends_on", "dependencies"):
        value = node.entries.get(name)
        if value is None or (isinstance(value, Sequence) and not value.items):
            continue
        holder, key = node, name
        if isinstance(value, Mapping) and value.entries.keys() & {
            "requires",
            "internal",
            "external",
            "enables",
        }:
            holder, key = value, "requires"
        of_key = fields.names(holder, key, notes, inside=("id", "task_id", "depends_on_id", "task"))
        if len({item.text for item in of_key}) < len(of_key):
            _warn_of_doubles(of_key, name, notes)
        found += of_key
    return found


def _warn_of_doubles(items: list[Scalar], name: str, notes: Notes) -> None:
    seen: set[str] = set()
    for item in items:
        if item.text in seen:
            notes.warning(item.start, f"{quoted(item.text)} stands twice in {quoted(name)}; once is enough")
        seen.add(item.text)


def _with_executable_fields(task: Task, node: Mapping, notes: Notes) -> Task:
    """Return the task with what it executes; apart, because most tasks of a family file have none of it."""
    timeout = fields.duration(node, "timeout", notes, zero=False)
    retry_delay = fields.duration(node, "retry_delay", notes, zero=True)
    return attrs.evolve(
        task,
        run=fields.command(node, "run", notes),
        verify=fields.commands(node, "verify", notes),
        timeout=timeout,
        retries=fields.whole(node, "retries", notes) or 0,
        retry_delay=1.0 if retry_delay is None else retry_delay,
        env=fields.environment(node, "env", notes),
        files=fields.paths(node, "files", notes),
        on_crash=fields.choice(node, "on_crash", notes, OnCrash) or OnCrash.RERUN,
        agent=fields.one_line(node, "agent", notes) or None,
    )


def _weight(node: Mapping, notes: Notes) -> float:
    weight = fields.number(node, "weight", notes)
    return 1.0 if weight is None else weight


def _hours(node: Mapping, notes: Notes) -> float | None:
    """Return the estimate, of a range the middle. It is the author's own note, so it never is an error."""
    name = "estimated_hours" if "estimated_hours" in node.entries else "hours"
    found = node.entries.get(name)
    if found is None or (isinstance(found, Scalar) and found.is_null):
        return None
    match = _RANGE.fullmatch(found.text.strip()) if isinstance(found, Scalar) else None
    if match is None:
        notes.warning(found.key, f"{quoted(name)} is no number of hours and is not used")
        return None
    low, high = match.groups()
    return float(low) if high is None else (float(low) + float(high)) / 2
