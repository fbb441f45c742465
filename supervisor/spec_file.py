"""Child specs from a YAML file: the fields and words of :class:`~supervisor.spec.ChildSpec`, and every problem located.

    flags:
      strategy: one_for_one
    children:
      - id: greeter
        target: mypackage.actors:Greeter
        args: {name: x}

All problems of a file are reported at once, as ``file:line:column: what is wrong``. Owns the shape of the file. What
each field may hold is the specs' own; refuses to start anything.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

import attrs

from actors.limits import Limits
from actors.problems import Notes, Problem, quoted
from actors.scan import Mapping, Scalar, Sequence, scan
from supervisor.config_limits import read_limits
from supervisor.program_spec import ProgramSpec
from supervisor.spec import Backoff, ChildSpec, SupervisorFlags, check_specs, parse_child, parse_flags
from supervisor.spec_checks import SpecError
from supervisor.tree_check import check_tree

if TYPE_CHECKING:
    import os

    from actors.scan import Node

T = TypeVar("T")

_MOST_BYTES: Final = 1_000_000
_WHOLE: Final = re.compile(r"[-+]?(0|[1-9][0-9_]*)")
_NUMBER: Final = re.compile(r"[-+]?([0-9][0-9_]*)?\.?[0-9]+([eE][-+]?[0-9]+)?")
_WORDS: Final = {"true": True, "false": False, "null": None, "~": None, "": None}
_ONE_OF: Final = "must be one of "
_TOP: Final = ("flags", "children")
_FLAGS: Final = tuple(field.name for field in attrs.fields(SupervisorFlags))
_CHILD: Final = tuple(field.name for field in attrs.fields(ChildSpec))
_PROGRAM: Final = tuple(field.name for field in attrs.fields(ProgramSpec))

_RESTS_ON: Final[dict[str, frozenset[str]]] = {
    "restart": frozenset({"significant"}),
    "significant": frozenset({"quarantine"}),
    "type": frozenset({"children", "flags", "standby"}),
    "program": frozenset({"heartbeat_timeout", "standby"}),
    "notify": frozenset({"ready_line", "start_seconds"}),
    "ready_line": frozenset({"start_seconds"}),
}
"""Fields that cannot be judged without another one: where that is wrong, nothing is said of them."""

_SOME_PROGRAM: Final = ProgramSpec(("some",))
"""Stands for one that is wrong, so that the rest of its child can be judged."""


class Specs(NamedTuple):
    """What a file holds; ``Supervisor(*load_specs(path))`` starts it.

    Attributes:
        children: In start order.
        flags: The defaults where the file has none.
    """

    children: tuple[ChildSpec, ...]
    flags: SupervisorFlags


class SpecFileError(Exception):
    """A file that no supervisor can be made of.

    Attributes:
        problems: Everything that is wrong, in the order of the file.
    """

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


def load_specs(path: str | os.PathLike[str]) -> Specs:
    """Read the children and flags of a supervisor from a YAML file.

    A target that is a script may be given by a path relative to the file.

    Args:
        path: The file.

    Raises:
        SpecFileError: It cannot be read, or holds something wrong.
    """
    file = Path(path)
    try:
        with file.open("rb") as stream:
            data = stream.read(_MOST_BYTES + 1)
        text = data.decode("utf-8-sig")
    except OSError as error:
        raise SpecFileError((Problem(str(file), 1, 1, f"cannot be read: {error.strerror}"),)) from error
    except UnicodeDecodeError as error:
        raise SpecFileError((Problem(str(file), 1, 1, f"is not UTF-8: byte {error.start} is no character"),)) from error
    if len(data) > _MOST_BYTES:
        raise SpecFileError((Problem(str(file), 1, 1, f"is larger than {_MOST_BYTES:,} bytes: is it the right file?"),))
    notes = Notes(str(file), text)
    specs = _Reader(notes, file.resolve().parent).read(scan(text, notes))
    if notes.has_errors or specs is None:
        raise SpecFileError(notes.problems())
    return specs


class _Reader:
    """Makes specs of one file's tree.

    Args:
        notes: Receives what is wrong.
        directory: Where the file is.
    """

    def __init__(self, notes: Notes, directory: Path) -> None:
        self._notes = notes
        self._directory = directory
        self._errors = 0

    def read(self, root: Node | None) -> Specs | None:
        if not isinstance(root, Mapping):
            if not self._notes.has_errors:
                what = "the specs of a supervisor are a map with 'children', and 'flags' if need be"
                self._error(0 if root is None else root.start, what)
            return None
        root = self._as_meant(root, _TOP)
        flags = self._flags(root)
        children = self._children(root, flags)
        if "children" not in root.entries:
            self._error(root.start, "'children' is missing: the list of the supervisor's children")
        return Specs(children, flags)

    def _flags(self, held: Mapping) -> SupervisorFlags:
        node = held.entries.get("flags")
        return self._made(node, "flags", SupervisorFlags, parse_flags) or SupervisorFlags()

    def _children(self, held: Mapping, flags: SupervisorFlags) -> tuple[ChildSpec, ...]:
        node = held.entries.get("children")
        if node is None or (isinstance(node, Scalar) and node.is_null):
            return ()
        if not isinstance(node, Sequence):
            self._error(node.start, "'children' must be a list of children")
            return ()
        made = [(item, spec) for item in node.items if (spec := self._child(item)) is not None]
        if len(made) == len(node.items):
            self._together(flags, made, node)
        return tuple(spec for _, spec in made)

    def _together(self, flags: SupervisorFlags, made: list[tuple[Node, ChildSpec]], node: Node) -> None:
        specs = [spec for _, spec in made]
        try:
            check_specs(flags, specs)
        except SpecError as error:
            # Of two children with one id the second is the one to be changed.
            named = [item for item, spec in made if error.owner == f"child {spec.id!r}"]
            self._note(error, named[-1] if named else node)

    def _child(self, node: Node) -> ChildSpec | None:
        if not isinstance(node, Mapping):
            self._error(node.start, "a child must be a map with 'id' and 'target' (or 'program', or 'children')")
            return None
        node = self._as_meant(node, _CHILD)
        before = self._errors
        flags = self._flags(node)
        built: dict[str, object] = {
            "backoff": self._made(node.entries.get("backoff"), "backoff", Backoff, lambda given: Backoff(**given)),
            "program": self._program(node.entries.get("program")),
            "limits": self._limits(node),
        }
        if "flags" in node.entries:
            built["flags"] = flags
        if "children" in node.entries:
            built["children"] = self._children(node, flags)
        plain = {name: _plain(node.entries[name]) for name in _CHILD if name in node.entries and name not in built}
        self._place_script(plain)
        if self._errors > before and built["program"] is None and "program" in node.entries:
            built["program"] = _SOME_PROGRAM
            plain = {name: value for name, value in plain.items() if name not in _RESTS_ON["program"]}
        made = self._made_of(node, {**plain, **built}, lambda given: check_tree((parse_child(given),))[0])
        return None if self._errors > before else made

    def _program(self, node: Node | None) -> ProgramSpec | None:
        if isinstance(node, Mapping):
            return self._made(node, "program", ProgramSpec, lambda given: ProgramSpec(**given))
        if node is None or (isinstance(node, Scalar) and node.is_null):
            return None
        if isinstance(node, Scalar) or not all(isinstance(item, Scalar) for item in node.items):
            self._error(node.start, "'program' must be a list: the program and its arguments")
            return None
        argv = tuple(item.text for item in node.items if isinstance(item, Scalar))
        return self._made_of(node, {"argv": argv}, lambda given: ProgramSpec(**given))

    def _made(
        self, node: Node | None, name: str, kind: type[attrs.AttrsInstance], make: Callable[[dict[str, Any]], T]
    ) -> T | None:
        """Make what a map of fields stands for."""
        if node is None or (isinstance(node, Scalar) and node.is_null):
            return None
        fields = tuple(field.name for field in attrs.fields(kind))
        if not isinstance(node, Mapping):
            self._error(node.start, f"{quoted(name)} must be a map of {', '.join(fields)}")
            return None
        node = self._as_meant(node, fields)
        found = {field: node.entries[field] for field in fields if field in node.entries}
        given = {field: _words(value) if field == "argv" else _plain(value) for field, value in found.items()}
        return self._made_of(node, given, make)

    def _made_of(self, node: Node, given: dict[str, Any], make: Callable[[dict[str, Any]], T]) -> T | None:
        """Make something of its fields; without those that are wrong, one after the other, so that all are told of."""
        owner, left = f"child {given.get('id')!r}", dict(given)
        while True:
            try:
                made = make(left)
            except SpecError as error:
                name = error.field.partition(".")[0]
                if name in left or len(left) == len(given):  # else it is missing because we left it out
                    self._note(error, node)
                if name not in left or (error.owner.startswith("child ") and error.owner != owner):
                    return None
                left = {key: value for key, value in left.items() if key not in {name, *_RESTS_ON.get(name, ())}}
            except (TypeError, ValueError) as error:
                if len(left) == len(given):
                    self._error(node.start, f"has not the form of its fields: {error}")
                return None
            else:
                return made if len(left) == len(given) else None

    def _note(self, error: SpecError, node: Node) -> None:
        at: Node = node
        for field in error.field.split("."):
            at = at.entries.get(field, at) if isinstance(at, Mapping) else at
        value = "" if error.value is None else f" = {quoted(str(error.value))}"
        words = error.why.removeprefix(_ONE_OF)
        allowed = tuple(words.split(", ")) if words != error.why else ()
        suggestion = self._notes.closest(str(error.value), allowed) if allowed else None
        self._error(at.start, f"{error.owner}: {error.field}{value}: {error.why}", suggestion)

    def _error(self, index: int, message: str, suggestion: str | None = None) -> None:
        self._errors += 1
        self._notes.error(index, message, suggestion)

    def _as_meant(self, node: Mapping, known: tuple[str, ...]) -> Mapping:
        """Refuse unknown fields, and return the map with those that were probably meant, to judge the rest by."""
        entries = dict(node.entries)
        for name, value in node.entries.items():
            if name in known:
                continue
            where = _place_of(name, known)
            meant = None if where else self._notes.closest(name, known)
            self._error(value.key, f"there is no field {quoted(name)} here{where}", meant)
            if meant is not None and not (meant == "target" and "program" in entries):  # there is only one of the two
                entries.setdefault(meant, value)
        return node._replace(entries=entries)

    def _limits(self, held: Mapping) -> Limits | None:
        if "limits" not in held.entries:
            return None
        found = read_limits(held, "limits", self._notes)
        self._errors += found is None
        return found or None

    def _place_script(self, plain: dict[str, Any]) -> None:
        target = plain.get("target")
        if isinstance(target, str):
            module, colon, name = target.rpartition(":")
            if module.endswith(".py"):
                plain["target"] = f"{self._directory / module}{colon}{name}"


def _place_of(name: str, known: tuple[str, ...]) -> str:
    """Say where a field belongs that is known elsewhere."""
    if known is _CHILD and name in _PROGRAM:
        shown = "[...]" if name == "argv" else f"{{argv: [...], {name}: ...}}"
        return f": it belongs below 'program', as in program: {shown}"
    return ": it belongs below 'flags'" if "flags" in known and name in _FLAGS else ""


def _words(node: Node) -> object:
    """Return a list of texts as they were written: an argument ``--port 6380`` needs no quotes."""
    if isinstance(node, Sequence):
        return [item.text if isinstance(item, Scalar) else _plain(item) for item in node.items]
    return _plain(node)


def _plain(node: Node) -> Any:  # noqa: ANN401 - any plain value
    """Return the plain value that a node stands for, by YAML 1.2's core words: ``on`` and ``1.10.2`` are texts."""
    match node:
        case Mapping():
            return {name: _plain(value) for name, value in node.entries.items()}
        case Sequence():
            return [_plain(item) for item in node.items]
        case Scalar(text=text, style=style):
            if style:
                return text
            if text.lower() in _WORDS:
                return _WORDS[text.lower()]
            if _WHOLE.fullmatch(text):
                return int(text)
            return float(text) if _NUMBER.fullmatch(text) else text
