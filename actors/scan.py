"""One pass over the events of the C parser: limits, refusals, and a tree of scalars as they were written.

Owns what a milestone file may be made of: no anchors, aliases, tags, merge keys and duplicate keys, one
document, bounded depth and number of nodes. The tree holds every scalar as its text (``1.10``, ``0777``,
``on`` and dates stay what they are) with its place in the file. Refuses to know what the keys mean, and reads
no files.

The C parser itself keeps its nesting on the heap and hands out one event at a time, so leaving the loop at
the depth limit is safe at any nesting; what overflows the C stack (and ends the process without a traceback)
is the composer above it, which is not used here. Nodes are named tuples because hundreds of thousands are
made.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

import yaml
from yaml.events import (
    AliasEvent,
    DocumentEndEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)

from actors import syntax
from actors.problems import Notes, quoted

MOST_DEPTH: Final = 32
MOST_NODES: Final = 500_000
"""Enough for 10,000 tasks with two dozen fields each; a file of brackets alone is refused within half a
second."""

_UNPRINTABLE: Final = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NULLS: Final = frozenset({"", "~", "null", "Null", "NULL"})


class Scalar(NamedTuple):
    """A scalar as written.

    Attributes:
        text: Its characters, without quotes.
        start: Where it begins in the text of the file, in characters.
        end: Where it ends.
        style: ``""`` for a plain one, else its quote or the indicator of its block.
        key: Where the key begins that it is the value of; in a list, where the scalar itself begins.
    """

    text: str
    start: int
    end: int
    style: str
    key: int

    @property
    def is_null(self) -> bool:
        """Whether it says that there is no value."""
        return not self.style and self.text in _NULLS


class Sequence(NamedTuple):
    """A list. Attributes as of :class:`Scalar`."""

    items: list[Node]
    start: int
    key: int
    flow: bool


class Mapping(NamedTuple):
    """A map. Attributes as of :class:`Scalar`; the nodes in ``entries`` know where their keys stand."""

    entries: dict[str, Node]
    start: int
    key: int
    flow: bool


if TYPE_CHECKING:
    Node: TypeAlias = Scalar | Sequence | Mapping
else:
    Node = Scalar | Sequence | Mapping


def scan(text: str, notes: Notes) -> Node | None:
    """Read the text of one YAML document into a tree.

    Args:
        text: The decoded file, without a byte order mark.
        notes: Receives every refusal.

    Returns:
        The root, ``None`` for a file without content or when the document could not be read to its end.
    """
    if found := _UNPRINTABLE.search(text):
        notes.error(found.start(), f"the character U+{ord(found.group()):04X} may not stand in a YAML file; remove it")
        return None
    loader = yaml.CSafeLoader(text)
    try:
        return _read_stream(loader.get_event, notes)
    except _LimitReachedError as error:
        notes.error(error.index, str(error))
    except yaml.MarkedYAMLError as error:
        index, message = syntax.explain(error, notes.lines)
        notes.error(index, message)
    except yaml.YAMLError as error:
        notes.error(0, f"not YAML: {error}")
    finally:
        loader.dispose()
    return None


class _LimitReachedError(Exception):
    """The file is too deep or holds too much to be read on."""

    def __init__(self, index: int, message: str) -> None:
        super().__init__(message)
        self.index: Final = index


def _read_stream(get_event: Callable[[], Any], notes: Notes) -> Node | None:
    get_event()  # the start of the stream, which says nothing
    if type(get_event()) is StreamEndEvent:
        return None
    root = _build(get_event, notes)
    following = get_event()
    if type(following) is StreamEndEvent:
        return root
    notes.error(*_second_document(following.start_mark.index, notes))
    return None


def _build(get_event: Callable[[], Any], notes: Notes) -> Node:
    """Build the tree of one document, in one loop with plain locals: large files spend their time here."""
    node: Node
    entries: dict[str, Node] | None = None
    items: list[Node] = []
    key: str | None = None
    key_at = -1
    outer: list[tuple[dict[str, Node] | None, list[Node], str | None]] = []
    nodes = 0
    while True:
        event = get_event()
        kind = type(event)
        if kind is MappingEndEvent or kind is SequenceEndEvent:
            entries, items, key = outer.pop()
            continue
        if kind is DocumentEndEvent:
            return items[0]
        start = event.start_mark.index
        nodes += 1
        if nodes > MOST_NODES:
            raise _LimitReachedError(start, f"more than {MOST_NODES:,} values; split the milestone")
        if event.anchor is not None or event.tag is not None:
            _refuse(event, notes)
        if entries is not None and key is None and kind is ScalarEvent:
            key, key_at = sys.intern(event.value), start
            if key in entries or key == "<<":
                _refuse_key(key, start, entries, notes)
            continue
        at = start if key is None else key_at
        if kind is ScalarEvent:
            node = Scalar(event.value, start, event.end_mark.index, event.style or "", at)
        elif kind is AliasEvent:
            node = Scalar("", start, start, "*", at)
        else:
            node = _CONTAINERS[kind](start, at, event.flow_style)
        if entries is None:
            items.append(node)
        elif key is None:
            key, key_at = _complex_key(start, notes), start
        else:
            entries[key] = node
            key = None
        if isinstance(node, Scalar):
            continue
        outer.append((entries, items, key))
        entries, items = (node.entries, items) if isinstance(node, Mapping) else (None, node.items)
        key = None
        if len(outer) > MOST_DEPTH:
            raise _LimitReachedError(start, f"nested deeper than {MOST_DEPTH} levels; no milestone needs that")


_CONTAINERS: Final[dict[type, Callable[[int, int, bool], Mapping | Sequence]]] = {
    MappingStartEvent: lambda start, key, flow: Mapping({}, start, key, flow),
    SequenceStartEvent: lambda start, key, flow: Sequence([], start, key, flow),
}


def _refuse(event: Any, notes: Notes) -> None:  # noqa: ANN401 - PyYAML's events have no common type with these fields
    index = event.start_mark.index
    if type(event) is AliasEvent:
        notes.error(index, f"aliases are not allowed (*{event.anchor}); write the value out")
        return
    if event.anchor is not None:
        notes.error(index, f"anchors are not allowed (&{event.anchor}); write the value out where it is needed")
    if event.tag is not None:
        notes.error(index, f"tags are not allowed ({quoted(event.tag)}); put text that begins with '!' in quotes")


def _refuse_key(key: str, index: int, entries: dict[str, Node], notes: Notes) -> None:
    if key in entries:
        line, _ = notes.lines.place(entries[key].key)
        notes.error(index, f"duplicate key {quoted(key)} (first given in line {line}); keep one of the two")
    else:
        notes.error(index, "merge keys ('<<') are not allowed; write the values out")


def _complex_key(index: int, notes: Notes) -> str:
    what = "a key must be plain text, not a list, a map or an alias"
    if notes.lines.text.startswith("{{", index - 1) or notes.lines.text.startswith("{{", index):
        what += "; put a placeholder such as '{{ name }}' in quotes"
    notes.error(index, what)
    return f"\0{index}"  # no scalar can be this, so it hides no other key


def _second_document(index: int, notes: Notes) -> tuple[int, str]:
    rest = notes.lines.text[index:].removeprefix("---").lstrip()
    if rest.startswith("#"):
        return index, (
            "this is a Markdown file with YAML front matter (this '---' ends it); milestoned reads one YAML "
            "document with id, title and tasks; write the tasks into a YAML file of their own"
        )
    return (
        index,
        "a second YAML document begins here; milestoned reads one milestone per file, so split the file",
    )
