"""Which of the family's files this is, told by its shape and never by its name.

Owns the recognition of the two shapes that are read, flat and wrapped, and the one refusal that every other
known shape gets: what it is, what is read instead, what to do. Refuses to read any field.

The shapes (their letters are those of the convention's survey): F flat; W wrapped in ``milestone:``; M
metadata block; T template; P progress view; C current; A archive; D dependency file; S coordinator state.
"""

from __future__ import annotations

import re
from typing import Final

import attrs

from actors.problems import quoted
from actors.scan import Mapping, Node, Scalar, Sequence

_READS: Final = "milestoned reads a milestone with id, title and tasks at the top, or inside 'milestone:'"
_MOVE: Final = "write the milestone and its tasks into a file of that form"
_ELSEWHERE: Final = "keep this file outside .milestones/active"

_JSON_LINES: Final = re.compile(r"\A\s*\{[^\n]*\}[ \t]*\r?\n\s*\{[^\n]*\}[ \t]*(\r?\n|\Z)")
_HEADING: Final = re.compile(r"#{1,6} \S")
_KEY_OR_ITEM: Final = re.compile(r"[-#?\[{]|[\w\"' .-]{1,80}:(\s|$)")


@attrs.frozen
class RefusedShape:
    """A file of another shape.

    Attributes:
        index: Where in the text its shape shows, in characters.
        message: What it is, what is read instead, and what to do.
    """

    index: int
    message: str


@attrs.frozen
class Body:
    """The content of a milestone, wherever the file keeps it.

    Attributes:
        fields: Everything that is said about the milestone: in a wrapped file what stands inside
            ``milestone:`` and what stands beside it.
        id_holder: The map in which ``id`` stands.
        doubled: Keys that stand both inside and beside, with the place of the second.
    """

    fields: Mapping
    id_holder: Mapping
    doubled: tuple[tuple[str, int], ...] = ()


def of_text(text: str) -> RefusedShape | None:
    """Refuse what shows before any parsing: JSON Lines and Markdown without front matter."""
    if _JSON_LINES.match(text):
        index = len(text) - len(text.lstrip())
        first = text[index : text.index("\n", index)]
        if '"issue_type"' in first:
            return _refused(index, "a beads issue list (JSON Lines)", _MOVE)
        return _refused(index, "a JSON Lines file (one object per line, as in an event log)", _ELSEWHERE)
    if _is_markdown(text[:4096]):
        return _refused(0, "a Markdown document", _MOVE)
    return None


def _is_markdown(text: str) -> bool:
    """Say whether a heading is followed by prose; a YAML file may well begin with a comment like it."""
    lines = [line for line in text.split("\n", 20) if line.strip()]
    heading = bool(lines) and _HEADING.match(lines[0]) is not None
    return heading and len(lines) > 1 and not _KEY_OR_ITEM.match(lines[1])


def of_tree(root: Node | None) -> Body | RefusedShape:
    """Return the body of a flat or wrapped milestone, or the refusal of another shape."""
    match root:
        case None:
            return RefusedShape(0, f"the file is empty; {_READS}")
        case Scalar(start=start):
            if root.is_null:
                return RefusedShape(0, f"the file holds no values; {_READS}")
            return _refused(start, "plain text", _MOVE)
        case Sequence():
            return _refused(root.start, _kind_of_list(root), _MOVE)
        case Mapping():
            return _of_mapping(root)


def _refused(index: int, what: str, advice: str) -> RefusedShape:
    return RefusedShape(index, f"this is {what}; {_READS}; {advice}")


def _kind_of_list(root: Sequence) -> str:
    first = root.items[0] if root.items else None
    if isinstance(first, Mapping) and "issue_type" in first.entries:
        return "a list of beads issues"
    if isinstance(first, Mapping) and ("state" in first.entries or "title" in first.entries):
        return "a list of milestones or tasks without a milestone around it"
    return "a list"


_BY_KEY: Final = {
    "milestone_template": ("a milestone template (shape T)", "copy what is inside it to the top of a file"),
    "milestone_progress": ("a progress view (shape P)", _ELSEWHERE),
    "completed_milestones": ("an archive index (shape A)", _ELSEWHERE),
    "dependency_matrix": (
        "a dependency file (shape D)",
        "write 'dependencies: requires:' into each milestone",
    ),
    "risk_matrix": ("a dependency file (shape D)", "write 'dependencies: requires:' into each milestone"),
    "development_status": ("a sprint status file", _MOVE),
    "approval_request": ("an approval request", _ELSEWHERE),
    "issue_type": ("a beads issue", _MOVE),
    "session": ("a session file", _ELSEWHERE),
    "session_id": ("a session file", _ELSEWHERE),
    "event_type": ("an event", _ELSEWHERE),
}
"""Keys that occur at the top of one shape only. What follows is asked in this order."""


def _of_mapping(root: Mapping) -> Body | RefusedShape:
    entries = root.entries
    if isinstance(inner := entries.get("milestone"), Mapping):
        return _wrapped(root, inner)
    for key, (what, advice) in _BY_KEY.items():
        if key in entries and "tasks" not in entries:
            return _refused(entries[key].key, what, advice)
    if refused := _by_several_keys(root):
        return refused
    if "id" in entries or ("tasks" in entries and ("title" in entries or "name" in entries)):
        return Body(root, root)
    if isinstance(tasks := entries.get("tasks"), Sequence) and not root.flow:
        return Body(root, root) if not tasks.items or _has_id(tasks.items[0]) else _unknown(root)
    return _by_values(root) or _unknown(root)


def _has_id(node: Node) -> bool:
    return isinstance(node, Mapping) and "id" in node.entries


def _wrapped(root: Mapping, inner: Mapping) -> Body:
    outer = {key: node for key, node in root.entries.items() if key != "milestone"}
    doubled = tuple((key, max(outer[key].key, inner.entries[key].key)) for key in outer if key in inner.entries)
    merged = Mapping({**outer, **inner.entries}, inner.start, inner.key, inner.flow)
    return Body(merged, root if "id" in outer and "id" not in inner.entries else inner, doubled)


def _by_several_keys(root: Mapping) -> RefusedShape | None:
    entries = root.entries
    if "milestone" in entries and "id" not in entries:
        what = "a task file of a milestone that stands elsewhere"
        return _refused(entries["milestone"].key, what, "give the file an id and a title, and its tasks ids")
    if "milestones" in entries and "tasks" in entries and isinstance(entries["tasks"], Mapping):
        return _refused(entries["milestones"].key, "a project file of the agent context protocol (ACP)", _MOVE)
    if "milestones" in entries and "id" not in entries:
        return _kind_of_milestones(root)
    if isinstance(metadata := entries.get("metadata"), Mapping) and "id" not in entries:
        if "milestone_id" in metadata.entries:
            what = "a milestone with a metadata block (shape M)"
            return _refused(entries["metadata"].key, what, "move what is inside 'metadata' to the top, with tasks")
        if "progress" in entries or "phases" in entries:
            return _refused(entries["metadata"].key, "a coordinator's state (shape S)", _ELSEWHERE)
    if "milestone_id" in entries and "id" not in entries:
        what = "a pointer to the current milestone (shape C)"
        return _refused(entries["milestone_id"].key, what, _ELSEWHERE)
    return None


def _kind_of_milestones(root: Mapping) -> RefusedShape:
    entries = root.entries
    milestones = entries["milestones"]
    first = milestones.items[0] if isinstance(milestones, Sequence) and milestones.items else None
    if isinstance(entries.get("project"), Mapping):
        return _refused(milestones.key, "a project file of the agent context protocol (ACP)", _MOVE)
    if "critical_path" in entries or (isinstance(first, Mapping) and "enables" in first.entries):
        advice = "write 'dependencies: requires:' into each milestone"
        return _refused(milestones.key, "a dependency file (shape D)", advice)
    return _refused(milestones.key, "a list of several milestones", "give each milestone a file of its own")


def _by_values(root: Mapping) -> RefusedShape | None:
    """Recognise shapes whose top-level keys are names that somebody chose."""
    values = root.entries.values()
    if root.flow and "tasks" in root.entries:
        return _refused(root.entries["tasks"].key, "a Task Master file", _MOVE)
    for node in values:
        if isinstance(node, Mapping) and isinstance(node.entries.get("tasks"), Sequence):
            return _refused(node.key, "a Task Master file (task lists under tags)", _MOVE)
    if "commands" in root.entries or "artifacts" in root.entries:
        key = "commands" if "commands" in root.entries else "artifacts"
        what = "a list of checks (commands and artifacts)"
        return _refused(root.entries[key].key, what, "write each command as 'run' or 'verify' of a task")
    maps = [node.entries for node in values if isinstance(node, Mapping)]
    if maps and len(maps) == len(root.entries):
        if all("depends_on" in entries or "enables" in entries for entries in maps):
            advice = "write 'dependencies: requires:' into each milestone"
            return _refused(root.start, "a dependency file (shape D)", advice)
        if all("title" in entries or "status" in entries for entries in maps):
            return _refused(root.start, "a map of several milestones", "give each milestone a file of its own")
    return None


def _unknown(root: Mapping) -> RefusedShape:
    keys = [quoted(key) for key in root.entries][:4]
    shown = ", ".join(keys) + (", ..." if len(root.entries) > len(keys) else "")
    what = f"no milestone file (its top-level keys: {shown})" if keys else "an empty map"
    return _refused(root.start, what, _MOVE)
