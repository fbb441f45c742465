"""Writes the golden journal of the current form, once for each form that is released; what is kept is never rewritten.

A golden journal has a fact of every kind, as the version that had this form wrote it: what a later version cannot read
any more, its tests find out here. It is kept as a killed writer leaves it (a database and the log beside it) with its
events as text. A new form, or new kinds of facts, get a new file; `form-1` stays as it is.

    python -m tests.journal.make_golden NAME

Owns the making. Refuses to replace one.
"""

import enum
import shutil
import sys
import tempfile
import types
from pathlib import Path
from typing import Any, Final, Union, get_args, get_origin, get_type_hints

import attrs
import msgspec

from actors.events import EVENT_TYPES, Event
from actors.limits import Limits
from supervisor.journal import Journal
from tests.journal.samples import SESSION, STARTED, life_of, stated

GOLDEN: Final = Path(__file__).with_name("golden")
FILES: Final = ("state.db", "state.db-wal", "state.db-head")

_PLAIN: Final[dict[object, Any]] = {str: "x", int: 1, float: 1.5, bool: True, type(None): None, Limits: Limits()}


def sample_of(wanted: Any) -> Any:  # noqa: ANN401 - any type of the vocabulary
    """Return a value of a type, always the same one."""
    if wanted in _PLAIN:
        return _PLAIN[wanted]
    if isinstance(wanted, type) and issubclass(wanted, enum.Enum):
        return next(iter(wanted))
    if isinstance(wanted, type) and (attrs.has(wanted) or issubclass(wanted, msgspec.Struct)):
        hints = get_type_hints(wanted)
        return wanted(**{name: sample_of(hints[name]) for name in getattr(wanted, "__match_args__", ())})
    arguments = get_args(wanted)
    if get_origin(wanted) in {Union, types.UnionType}:
        return sample_of(arguments[0])
    return tuple(sample_of(argument) for argument in arguments if argument is not Ellipsis)


def events() -> list[Event]:
    """Return a session's life, and after it a fact of every kind."""
    every = [sample_of(kind) for name, kind in EVENT_TYPES.items() if name != "SessionStarted"]
    return [STARTED, *life_of("a"), *every]


def main(arguments: list[str]) -> int:
    """Write the golden journal of this name."""
    (name,) = arguments
    target = GOLDEN / name
    target.mkdir()
    with tempfile.TemporaryDirectory() as directory, Journal.open(Path(directory) / "state.db") as journal:
        records = journal.append(stated(*events()), 1_795_000_000.25, 4_711.5)
        for file in FILES:
            shutil.copy(Path(directory) / file, target / file)
    lines = (msgspec.json.encode(record).decode() for record in records)
    (target / "events.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    print(f"{target}: {len(records)} events of session {SESSION}")  # noqa: T201 - a program for a terminal
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
