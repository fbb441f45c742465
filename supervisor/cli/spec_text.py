"""Writes a spec file: the YAML that :func:`supervisor.load_specs` reads, with a comment for each thing that is lost.

Owns the form. Every text that YAML could take for something else is quoted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from supervisor.cli.output import escaped

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from supervisor.cli.foreign import Foreign, ForeignChild

_PLAIN: Final = re.compile(r"[A-Za-z_/][A-Za-z0-9_./-]*")
_WORDS: Final = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n"})
_UNPRINTABLE: Final = re.compile(r"[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")


def spec_text(foreign: Foreign) -> str:
    """Return the text of a spec file.

    Args:
        foreign: What it holds.
    """
    lines = [f"# {remark}" if remark else "#" for remark in map(escaped, foreign.remarks)]
    lines += [f"# not carried over: {escaped(str(loss))}" for loss in foreign.losses]
    lines += ["", f"flags: {_flow(foreign.flags)}", "", *_children(foreign.children, 0)]
    return "".join(f"{line}\n" for line in lines)


def _children(children: Sequence[ForeignChild], indent: int) -> Iterator[str]:
    pad = " " * indent
    if all(child.is_idle for child in children):
        yield f"{pad}children: []"
    else:
        yield f"{pad}children:"
    for child in children:
        yield ""
        yield f"{pad}  # {escaped(child.place)}"
        for loss in child.losses:
            yield f"{pad}  # not carried over: {escaped(str(loss))}"
        yield from (f"{pad}  {'# ' * child.is_idle}{line}".rstrip() for line in _child(child))


def _child(child: ForeignChild) -> Iterator[str]:
    lead = "- "
    for name, value in child.fields.items():
        if name == "program" and isinstance(value, Mapping):
            yield f"{lead}{name}:"
            yield from (f"    {field}: {_flow(one)}" for field, one in value.items())
        else:
            yield f"{lead}{name}: {_flow(value)}"
        lead = "  "
    if "type" in child.fields:
        yield from _children(child.children, 2)


def _flow(value: object) -> str:
    match value:
        case Mapping():
            return "{" + ", ".join(f"{_flow(name)}: {_flow(one)}" for name, one in value.items()) + "}"
        case list() | tuple():
            return f"[{', '.join(map(_flow, value))}]"
        case str():
            if _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
                return value
            quoted = json.dumps(value, ensure_ascii=False)
            return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", quoted)
        case _:
            return json.dumps(value)
