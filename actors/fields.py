"""Typed values from the scalars of a file, each wrong one noted where it stands.

Owns the forms that a value may have (durations, commands, lists in one string). Refuses to know which keys
exist. Every function takes the map, the name of the key, and the notes; a value that is absent, null or wrong
is ``None`` (or empty), and only a wrong one is noted. Numbers are read from the text, so ``014`` and
``1_000`` are refused instead of meaning 12 or 1000.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping as Map
from collections.abc import Set as AbstractSet
from types import MappingProxyType
from typing import Final, TypeVar

from actors.model import Command
from actors.problems import Notes, quoted
from actors.scan import Mapping, Node, Scalar, Sequence

_WHOLE: Final = re.compile(r"0|[1-9][0-9]{0,8}")
_NUMBER: Final = re.compile(r"[0-9]{1,12}(\.[0-9]{1,12})?")
_DURATION: Final = re.compile(r"(?:\d{1,9}(?:\.\d{1,9})?\s*(?:ms|[smhd])\s*)+", re.IGNORECASE)
_DURATION_PART: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|[smhd])", re.IGNORECASE)
_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZE: Final = re.compile(r"([0-9]{1,19}) ?((?:[kmgt]i?)?b|)", re.IGNORECASE | re.ASCII)
_UNITS: Final = {
    "": 1,
    "b": 1,
    **{f"{letter}b": 1000**power for power, letter in enumerate("kmgt", start=1)},
    **{f"{letter}ib": 1024**power for power, letter in enumerate("kmgt", start=1)},
}
_LARGEST: Final = 1 << 60
_LONGEST: Final = 366 * 86400.0
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_SIMILAR: Final = 0.8
"""How much of the letters of a key must be those of a known one for it to be taken for that one, misspelt."""

_OTHER_NAMES: Final = {"title": "name", "status": "state", "estimated_hours": "hours"}
"""Keys that have a second name: where that stands nobody misses the first."""

_NONE_WORDS: Final = frozenset({"", "none", "None", "null", "n/a", "-"})

E = TypeVar("E", bound=enum.Enum)
T = TypeVar("T")


def note_slips(
    fields: Mapping,
    whose: str,
    read: tuple[str, ...],
    notes: Notes,
    *,
    known: AbstractSet[str] = frozenset(),
    synonyms: Map[str, str] = MappingProxyType({}),
) -> None:
    """Warn of keys that look like a misspelt one that is missing: the file would mean less than it says.

    Any other key is none of our business: people and their tools keep keys of their own.

    Args:
        fields: The map.
        whose: What the map is, for people (``a task``).
        read: The keys that are read.
        notes: Receives the warnings.
        known: Keys that are no slip, read or not.
        synonyms: Words that others use for a key.
    """
    there = fields.entries
    for key in there.keys() - known - frozenset(read):
        meant = synonyms.get(key.lower()) or notes.closest(key, read, _SIMILAR)
        if meant is not None and meant not in there and _OTHER_NAMES.get(meant) not in there:
            notes.warning(there[key].key, f"unknown key {quoted(key)} of {whose}, which is ignored", meant)


def given(fields: Mapping, name: str) -> Node | None:
    """Return the node of a key, ``None`` when the key is absent or says null."""
    node = fields.entries.get(name)
    return None if node is None or (isinstance(node, Scalar) and node.is_null) else node


def are_blank(fields: Mapping, *names: str) -> bool:
    """Return whether nothing is said under any of these keys; what is said and wrong was noted as such."""
    nodes = [given(fields, name) for name in names]
    return all(node is None or (isinstance(node, Scalar) and not node.text.strip()) for node in nodes)


def scalar(fields: Mapping, name: str, notes: Notes) -> Scalar | None:
    """Return the scalar of a key, whose text may be anything."""
    node = given(fields, name)
    if node is None or isinstance(node, Scalar):
        return node
    notes.error(node.key, f"{quoted(name)} must be text, not {_kind(node)}")
    return None


def one_line(fields: Mapping, name: str, notes: Notes) -> str:
    """Return text as one line for people: no control characters, runs of blanks and breaks folded."""
    found = scalar(fields, name, notes)
    if found is None:
        return ""
    if _CONTROL.search(found.text):
        notes.error(found.start, f"{quoted(name)} holds a control character; remove it")
        return ""
    return " ".join(found.text.split())


def prose(fields: Mapping, name: str, notes: Notes) -> str:
    """Return free text; what is no text is tolerated with a warning."""
    node = given(fields, name)
    if node is None:
        return ""
    if isinstance(node, Scalar):
        return node.text.strip()
    notes.warning(node.key, f"{quoted(name)} is {_kind(node)} and is not used; text was expected")
    return ""


def prose_lines(fields: Mapping, name: str, notes: Notes) -> tuple[str, ...]:
    """Return lines for people: a list of texts, or of maps that hold one under a usual name, or one text."""
    lines: list[str] = []
    for item in _items(given(fields, name)):
        text = _prose_of(item)
        if text is None:
            notes.warning(item.start, f"an entry of {quoted(name)} holds no text and is not used")
        elif text.strip():
            lines.append(text.strip())
    return tuple(lines)


def _prose_of(item: Node) -> str | None:
    if isinstance(item, Scalar):
        return "" if item.is_null else item.text
    if isinstance(item, Mapping):
        for name in ("text", "criterion", "description", "title", "name"):
            if isinstance(found := item.entries.get(name), Scalar):
                return found.text
        # "- Given a thing: it works" is a map of one entry to YAML, and a sentence to its author.
        (only, *others) = item.entries.items() or (("", item),)
        if not others and isinstance(only[1], Scalar):
            return f"{only[0]}: {only[1].text}"
    return None


def names(fields: Mapping, name: str, notes: Notes, *, inside: tuple[str, ...] = ("id",)) -> list[Scalar]:
    """Return names: a list, one name, or several in one string with commas between them.

    Args:
        fields: The map.
        name: The key.
        notes: Receives what is wrong.
        inside: Keys under which an entry that is a map holds its name.
    """
    node = given(fields, name)
    if isinstance(node, Scalar):
        if node.text in _NONE_WORDS:
            return []
        return _split(node) if "," in node.text else [node]
    found: list[Scalar] = []
    for item in _items(node):
        held = item
        if isinstance(item, Mapping):
            held = next((item.entries[key] for key in inside if key in item.entries), item)
        if isinstance(held, Scalar) and not held.is_null:
            found.append(held)
        else:
            notes.error(item.start, f"an entry of {quoted(name)} must be a name, not {_kind(held)}")
    return found


def _split(node: Scalar) -> list[Scalar]:
    """Split "a, b"; the places are exact because a plain or quoted name holds no escapes that matter."""
    offset = 1 if node.style in {"'", '"'} else 0
    found = []
    for part in re.finditer(r"[^,\s][^,]*", node.text):
        start = node.start + offset + part.start()
        text = part.group().rstrip()
        found.append(Scalar(text, start, start + len(text), node.style, node.key))
    return found


def number(fields: Mapping, name: str, notes: Notes) -> float | None:
    """Return a number that is 0 or more."""
    found = scalar(fields, name, notes)
    if found is None:
        return None
    if _NUMBER.fullmatch(found.text):
        return float(found.text)
    notes.error(found.start, f"{quoted(name)} must be a number, 0 or more, not {quoted(found.text)}")
    return None


def whole(fields: Mapping, name: str, notes: Notes) -> int | None:
    """Return a whole number that is 0 or more."""
    found = scalar(fields, name, notes)
    if found is None:
        return None
    if _WHOLE.fullmatch(found.text):
        return int(found.text)
    notes.error(found.start, f"{quoted(name)} must be a whole number, 0 or more, not {quoted(found.text)}")
    return None


def duration(fields: Mapping, name: str, notes: Notes, *, zero: bool) -> float | None:
    """Return seconds, from a number of seconds or a text such as ``90s``, ``5m`` or ``1h30m``.

    Args:
        fields: The map.
        name: The key.
        notes: Receives what is wrong.
        zero: Whether 0 is a value; otherwise it is an error.
    """
    found = scalar(fields, name, notes)
    if found is None:
        return None
    text = found.text.strip()
    if _NUMBER.fullmatch(text):
        seconds = float(text)
    elif _DURATION.fullmatch(text):
        parts = _DURATION_PART.findall(text)
        seconds = sum(float(amount) * _SECONDS[unit.lower()] for amount, unit in parts)
    else:
        notes.error(
            found.start,
            f"{quoted(name)} must be seconds, or a text such as 90s, 5m or 1h30m, not {quoted(text)}",
        )
        return None
    if seconds > _LONGEST or (seconds == 0 and not zero):
        notes.error(found.start, f"{quoted(name)} must be {'at' if zero else 'more than 0 and at'} most 366 days")
        return None
    return seconds


def size(fields: Mapping, name: str, notes: Notes) -> int | None:
    """Return bytes, from a number of bytes or a text such as ``500MB`` (1000) or ``1GiB`` (1024)."""
    found = scalar(fields, name, notes)
    if found is None:
        return None
    parts = _SIZE.fullmatch(found.text.strip())
    if parts is None:
        what = f"must be bytes, or a text such as 500MB or 1GiB, not {quoted(found.text)}"
        notes.error(found.start, f"{quoted(name)} {what}")
        return None
    size: int = int(parts[1]) * _UNITS[parts[2].lower()]
    if size > _LARGEST:
        notes.error(found.start, f"{quoted(name)} must be at most {_LARGEST:,} bytes")
        return None
    return size


def choice(fields: Mapping, name: str, notes: Notes, kind: type[E]) -> E | None:
    """Return the member of an enumeration whose value a key holds."""
    found = scalar(fields, name, notes)
    if found is None:
        return None
    values = {str(member.value): member for member in kind}
    if found.text in values:
        return values[found.text]
    allowed = ", ".join(values)
    message = f"{quoted(name)} must be one of {allowed}, not {quoted(found.text)}"
    notes.error(found.start, message, notes.closest(found.text, tuple(values)))
    return None


def environment(fields: Mapping, name: str, notes: Notes) -> tuple[tuple[str, str], ...]:
    """Return variables from a map of names to texts."""
    node = given(fields, name)
    if node is None:
        return ()
    if not isinstance(node, Mapping):
        notes.error(node.key, f"{quoted(name)} must be a map of names to texts, not {_kind(node)}")
        return ()
    variables: list[tuple[str, str]] = []
    for variable, value in node.entries.items():
        if not _VARIABLE.fullmatch(variable):
            notes.error(value.key, f"{quoted(variable)} is no name of a variable (letters, digits and '_')")
        elif not isinstance(value, Scalar) or value.is_null:
            what = "nothing" if isinstance(value, Scalar) else _kind(value)
            notes.error(value.key, f"the variable {quoted(variable)} must be text, not {what}; '' is the empty text")
        elif _no_nul(value, notes):
            variables.append((variable, value.text))
    return tuple(variables)


def command(fields: Mapping, name: str, notes: Notes) -> Command | None:
    """Return one command: a line for the shell, or a list with a program and its arguments."""
    node = given(fields, name)
    return None if node is None else _command(node, name, notes)


def commands(fields: Mapping, name: str, notes: Notes) -> tuple[Command, ...]:
    """Return several commands: one line, or a list whose entries are lines or lists of arguments."""
    node = given(fields, name)
    if node is None:
        return ()
    if not isinstance(node, Sequence):
        only = _command(node, name, notes)
        return () if only is None else (only,)
    found = [_command(item, name, notes) for item in node.items]
    for item in node.items[1:]:
        if isinstance(item, Scalar) and item.text.startswith("-"):
            message = f"{quoted(item.text)} is taken for a command of its own; write a command with its arguments"
            notes.warning(item.start, f"{message} as a list in the list: [[program, argument]]")
            break
    return tuple(entry for entry in found if entry is not None)


def _command(node: Node, name: str, notes: Notes) -> Command | None:
    if isinstance(node, Mapping):
        notes.error(node.start, f"{quoted(name)} must be a command line or a list of arguments, not a map")
        return None
    if isinstance(node, Scalar):
        if node.text.strip() and not node.is_null:
            return node.text if _no_nul(node, notes) else None
        notes.error(node.start, f"{quoted(name)} holds an empty command")
        return None
    arguments: list[str] = []
    for item in node.items:
        if not isinstance(item, Scalar):
            notes.error(item.start, f"an argument in {quoted(name)} must be text, not {_kind(item)}")
            return None
        if not _no_nul(item, notes):
            return None
        arguments.append(item.text)
    if not arguments or not arguments[0].strip():
        notes.error(node.start, f"{quoted(name)} holds a list that names no program")
        return None
    return tuple(arguments)


def paths(fields: Mapping, name: str, notes: Notes) -> tuple[str, ...]:
    """Return paths or globs inside the project."""
    found: list[str] = []
    for item in names(fields, name, notes, inside=("path",)):
        path = item.text.removeprefix("./")
        if path.startswith(("/", "~")) or ".." in path.split("/"):
            notes.error(item.start, f"{quoted(item.text)} leads out of the project; give a path inside it")
        elif _no_nul(item, notes) and path:
            found.append(path)
    return tuple(dict.fromkeys(found))


def _no_nul(node: Scalar, notes: Notes) -> bool:
    if "\0" not in node.text:
        return True
    notes.error(node.start, "a NUL character cannot be handed to a program; remove it")
    return False


def _items(node: Node | None) -> list[Node]:
    if isinstance(node, Sequence):
        return node.items
    return [] if node is None else [node]


def _kind(node: Node) -> str:
    match node:
        case Scalar():
            return "nothing" if node.is_null else "text"
        case Sequence():
            return "a list"
        case Mapping():
            return "a map"
