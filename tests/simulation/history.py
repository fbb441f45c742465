"""A history: a tree of supervisors, how each start of each child goes, and what operators ask for when.

Owns the data, which is plain and written to JSON, so that a failing history is kept, replayed and shrunk. It refuses
to know how a history is made (`draw`) and what happens in it (`world`).

Children have paths: `top/a/b` is child `b` of the supervisor `top/a`. The n-th start of a path, over all lives of the
supervisors above it, takes the n-th entry of its script; beyond its end a child is healthy. So a history stays
meaningful when parts of it are left out.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import attrs
import msgspec

Data = dict[str, Any]
"""A spec or flags as the supervisor reads them: names to plain values."""

Start = Literal["ready", "fail", "ignore", "hang", "no spawn"]

TOP = "top"


@attrs.frozen(kw_only=True)
class Life:
    """What one incarnation does. All times in seconds; the defaults are a healthy child.

    Args:
        start: how its start goes.
        start_after: until it is ready, declines, or fails.
        end: how it ends by itself; nothing: it does not.
        end_after: how long after it became ready.
        term: what it does when asked to stop.
        term_after: how long it takes to.
        told_after: how long its end takes to become known.
        silent_after: it sends no heartbeat from this age on.
        over_after: it is seen over a limit at this age, hard or soft.
    """

    start: Start = "ready"
    start_after: float = 0.0
    end: Literal["", "crash", "signal", "normal", "shutdown", "word"] = ""
    end_after: float = 0.0
    term: Literal["obey", "normal", "fail", "ignore"] = "obey"
    term_after: float = 0.0
    told_after: float = 0.0
    silent_after: float | None = None
    over_after: float | None = None
    over_hard: bool = False


@attrs.frozen(kw_only=True)
class Request:
    """What an operator asks of the supervisor at `where`, `at` seconds into the history.

    `stall`: nothing is asked; the whole supervising process stands still for some seconds.
    """

    at: float
    do: Literal["start", "instance", "terminate", "restart", "delete", "change", "stop", "stall"]
    where: str = TOP
    child: str = ""
    spec: Data = attrs.field(factory=dict)
    flags: Data = attrs.field(factory=dict)
    specs: list[Data] = attrs.field(factory=list)
    seconds: float = 0.0


@attrs.frozen(kw_only=True)
class Family:
    """A supervisor: its flags, its children's specs, and the supervisors among them by id."""

    flags: Data
    specs: list[Data]
    below: Mapping[str, "Family"] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class History:
    """Everything that decides what happens. Faults stop after `hours`."""

    seed: int
    hours: float
    family: Family
    scripts: Mapping[str, list[Life]] = attrs.field(factory=dict)
    requests: list[Request] = attrs.field(factory=list)


def to_json(history: History) -> str:
    """Write a history for people and for `replay`."""
    data = attrs.asdict(history, filter=lambda field, value: value != field.default or field.name == "seed")
    return msgspec.json.format(msgspec.json.encode(data), indent=1).decode()


def from_json(text: str) -> History:
    """Read what `to_json` wrote.

    Raises:
        msgspec.MsgspecError: it is no history.
    """
    return msgspec.json.decode(text, type=History)


def read_history(path: Path) -> History:
    """Read a file."""
    return from_json(path.read_text(encoding="utf-8"))
