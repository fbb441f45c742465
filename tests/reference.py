"""The page docs/api.md, made from the docstrings and annotations of what `supervisor` exports.

Owns the shape of the page; what stands on it, and where, says `reference.yaml`. Griffe reads the sources; nothing of
them is imported, so that the page is the same whatever Python makes it.

    python -m tests.reference            print the page
    python -m tests.reference --write    write it to docs/api.md
"""

import ast
import logging
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import griffe
import yaml

CHECKOUT: Final = Path(__file__).parents[1]
PAGE: Final = CHECKOUT / "docs" / "api.md"
WIDTH: Final = 120

GROUPS: Final[Mapping[str, list[str]]] = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
"""Every public name, by the part of the page in which it stands."""

FACTS: Final = "actors.events.Event"
"""The union of all that happens in a session; the page has its members, too."""

HEAD: Final = """\
# Reference

Every public name of `supervisor`, what it takes, what it returns and raises. This page is made from the docstrings by
`python -m tests.reference --write`, and a test fails when it is not what would be made now: a change of the public
interface is a change of this page. How all of it is used: [the supervision library](embedding.md).

Times are seconds; those called `at` and `until` are of the monotonic clock. Methods of `Supervisor` and `MilestoneRun`
may be called from any thread; in a process that was forked from theirs, calls raise `NotRunningError`, and `stop` does
nothing. Numbers of rules and rows are those of the [conformance page](conformance.md).
"""

ACTOR: Final = """\
## An actor of your own

```python
import pykka
from supervisor import ChildExited, ChildRunning, ChildSpec, Supervisor, describe


class Counter(pykka.ThreadingActor):
    def __init__(self, step, last_exit=""):
        super().__init__()
        self.step = step
        self.total = 0

    def on_receive(self, message):
        self.total += message["add"] * self.step
        return self.total


if __name__ == "__main__":
    with Supervisor([ChildSpec("counter", Counter, args={"step": 2})]) as supervisor:
        print(supervisor.ask("counter", {"add": 3}))
        supervisor.tell("counter", {"subtract": 3})
        for event in supervisor.events(timeout=60):
            match event:
                case ChildExited(child="counter", reason=reason):
                    print(describe(reason))
                case ChildRunning(child="counter", incarnation=2):
                    break
        print(supervisor.ask("counter", {"add": 1}))
```

A class of [pykka](https://pykka.readthedocs.io), at the top of a module or of the script. All of it runs in a process
of its own, `__init__` in the main thread and the rest in the actor's; what it prints goes to `output`, tracebacks too.

- `__init__` is given `args`; and, where it declares them, `incarnation` (which start this is, from 1) and `last_exit`
  (why the former one ended, one line; `""` for the first).
- `on_start` is called before the first message. When it returns, the child is ready. It raises `Ignore` when it does
  not want to run.
- `start_info`: plain values that it may set until then, the `info` of `Started`, `ChildRunning` and `ChildRow`.
- `on_receive` is called with each message, one after the other. What it returns answers `ask`. An exception after
  `tell` ends the process; one while an `ask` is answered goes to who asked (`AnswerError`), and the actor goes on.
- `on_failure` is called after such an end, with the exception's class, the exception and its traceback.
- `on_stop` is called when it is asked to stop, after what its mailbox held.

A function is a child, too: it is called with `args`, and with `ready`, `beat`, `incarnation` and `last_exit` where it
declares them. `ready(info)` says that it is ready, which it is otherwise as soon as it is called; `beat()` is its
heartbeat; SIGTERM asks it to stop; its end is normal when it returns `None` or 0.
"""

FACTS_HEAD: Final = """\
What happens in a session, as its journal has it: the classes of `MilestoneEvent.event`, from `actors.events`. New kinds
and new fields with a default may come; so end a `match` with `case _`.
"""

NAMED_HEAD: Final = """\
They are not exported by `supervisor`; what is above takes, returns or holds them.
"""

Named = griffe.Class | griffe.Function | griffe.Attribute


class Sources:
    """What the sources say, found by name."""

    def __init__(self, folder: Path = CHECKOUT) -> None:
        logging.getLogger("griffe").setLevel(logging.ERROR)
        loader = griffe.GriffeLoader(search_paths=[folder], allow_inspection=False)
        self._package = loader.load("supervisor")
        loader.load("actors")
        loader.resolve_aliases(implicit=True)
        self._modules = loader.modules_collection

    def exported(self) -> list[str]:
        """List the names in `supervisor.__all__`."""
        return [str(name) for name in self._package.exports or ()]

    def public(self, name: str) -> Named:
        """Find what `supervisor` exports by a name."""
        return self._concrete(self._package[name])

    def at(self, path: str) -> Named | None:
        """Find what stands at a dotted path in our sources; None for what is of somebody else."""
        if path.partition(".")[0] not in {"supervisor", "actors"}:
            return None
        found = self._modules[path]
        return None if found.is_module else self._concrete(found)

    def facts(self) -> list[Named]:
        """List the classes of what happens in a session."""
        return list(self._members(FACTS))

    def _members(self, path: str) -> Iterator[Named]:
        union = self.at(path)
        assert isinstance(union, griffe.Attribute)
        for name in names_in(union.value):
            member = self.at(name)
            if isinstance(member, griffe.Attribute):
                yield from self._members(name)
            elif member is not None:
                yield member

    @staticmethod
    def _concrete(found: griffe.Object | griffe.Alias) -> Named:
        target = found.final_target if isinstance(found, griffe.Alias) else found
        assert isinstance(target, griffe.Class | griffe.Function | griffe.Attribute), found
        return target


# --- signatures ----------------------------------------------------------------------------------------------------


def names_in(value: object) -> Iterator[str]:
    """Yield the dotted path of each name in an annotation or a value."""
    if isinstance(value, griffe.Expr):
        for part in value.iterate(flat=True):
            if isinstance(part, griffe.ExprName):
                yield part.canonical_path


def text_of(value: object) -> str:
    """Return an expression in one form, however it is written."""
    text = ast.unparse(ast.parse(str(value), mode="eval"))
    return re.sub(r"'([^'\"\\]*)'", r'"\1"', text)


def is_plain_data(kind: griffe.Class) -> bool:
    """Tell whether a class is made of its annotated attributes: attrs, msgspec or a named tuple."""
    marks = [str(decorator.value) for decorator in kind.decorators] + [str(base) for base in kind.bases]
    return any(mark.startswith(("attrs.frozen", "msgspec.Struct", "NamedTuple")) for mark in marks)


def fields_of(kind: griffe.Class) -> list[griffe.Attribute]:
    """List the public fields of plain data, in their order."""
    found = [one for one in kind.members.values() if isinstance(one, griffe.Attribute) and one.annotation is not None]
    return [one for one in found if "property" not in one.labels]


def public_methods(kind: griffe.Class) -> list[griffe.Function | griffe.Attribute]:
    """List methods and properties that are meant for others."""
    found = [one for name, one in kind.members.items() if not name.startswith("_")]
    return [
        one
        for one in found
        if (isinstance(one, griffe.Function) and "classmethod" not in one.labels)  # they make it of what is not public
        or (isinstance(one, griffe.Attribute) and "property" in one.labels)
    ]


def is_enum(kind: griffe.Class) -> bool:
    """Tell whether it is an enumeration."""
    return any(str(base).rpartition(".")[2] in {"Enum", "StrEnum", "IntEnum"} for base in kind.bases)


class Page:
    """The page as it is made: what stands on it, and what that names.

    Args:
        sources: What it is made from.
    """

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._groups: dict[str, list[Named]] = {
            title: [sources.public(name) for name in names] for title, names in GROUPS.items()
        }
        self._facts = sources.facts()
        shown = [one for group in self._groups.values() for one in group] + self._facts
        self._known = {one.canonical_path: one for one in shown}
        self._others = self._closure(shown)
        self._known |= {one.canonical_path: one for one in self._others}

    def everything(self) -> list[Named]:
        """List what stands on the page."""
        return list(self._known.values())

    def render(self) -> str:
        """Return the page."""
        parts = [HEAD, *self._contents(), ACTOR]
        for title, group in self._groups.items():
            parts += [f"## {title}\n", *(self._entry(one) for one in group)]
        parts += ["## Events of a session\n", FACTS_HEAD, *(self._entry(one) for one in self._facts)]
        parts += ["## Types that these name\n", NAMED_HEAD, *(self._entry(one) for one in self._others)]
        return "\n".join(parts)

    def _contents(self) -> Iterator[str]:
        groups = [*self._groups.items(), ("Events of a session", self._facts), ("Types that these name", self._others)]
        for title, group in groups:
            yield f"- [{title}](#{anchor(title)}): {', '.join(self._link(one.name) for one in group)}"
        yield ""

    def _closure(self, shown: list[Named]) -> list[Named]:
        """Find our own types that signatures name, and those that these name."""
        found: dict[str, Named] = {}
        waiting = list(shown)
        while waiting:
            for path in self._types_of(waiting.pop(0)):
                other = None if path in self._known or path in found else self._sources.at(path)
                if other is not None and other.canonical_path not in self._known:
                    found[path] = other
                    waiting.append(other)
        return sorted(found.values(), key=lambda one: one.name)

    def _types_of(self, one: Named) -> Iterator[str]:
        match one:
            case griffe.Function():
                yield from names_in(one.returns)
                for parameter in one.parameters:
                    yield from names_in(parameter.annotation)
            case griffe.Attribute():
                yield from names_in(one.annotation)
                yield from names_in(one.value) if is_alias(one) else ()
            case _:
                inner: list[Named] = [*public_methods(one), *(fields_of(one) if is_plain_data(one) else ())]
                initial = None if is_error(one) else one.members.get("__init__")
                for member in [*inner, *([initial] if isinstance(initial, griffe.Function) else [])]:
                    yield from self._types_of(member)

    # --- one entry -----------------------------------------------------------------------------------------------

    def _entry(self, one: Named) -> str:
        lines = [f"### {one.name}", "", "```python", *self._signature(one), "```", ""]
        lines += self._words(one)
        if isinstance(one, griffe.Class):
            for method in public_methods(one):
                lines += [f"#### {one.name}.{method.name}", "", "```python", *self._signature(method), "```", ""]
                lines += self._words(method)
        return "\n".join(lines)

    def _signature(self, one: Named) -> list[str]:
        match one:
            case griffe.Function():
                word = "async def" if "async" in one.labels else "def"
                return wrapped(f"{word} {one.name}(", self._parameters(one), f") -> {text_of(one.returns)}")
            case griffe.Attribute() if "property" in one.labels:
                return [f"{one.name}: {text_of(one.annotation)}"]
            case griffe.Attribute():
                return wrapped_union(one.name, text_of(one.value))
            case _ if is_enum(one):
                members = [member for member in one.members.values() if isinstance(member, griffe.Attribute)]
                return [f"class {one.name}(Enum):", *(f"    {each.name} = {text_of(each.value)}" for each in members)]
            case _ if is_error(one):
                return [f"class {one.name}({', '.join(str(base) for base in one.bases)})"]
            case _ if is_plain_data(one):
                return wrapped(f"class {one.name}(", self._fields(one), ")")
            case _:
                initial = one.members.get("__init__")
                parameters = self._parameters(initial) if isinstance(initial, griffe.Function) else []
                return wrapped(f"class {one.name}(", parameters, ")")

    def _parameters(self, function: griffe.Function) -> list[str]:
        shown: list[str] = []
        for parameter in function.parameters:
            if parameter.name in {"self", "cls"}:
                continue
            kind = parameter.kind
            if kind is griffe.ParameterKind.keyword_only and "*" not in shown:
                shown.append("*")
            star = "*" if kind is griffe.ParameterKind.var_positional else ""
            told = f"{star}{parameter.name}: {text_of(parameter.annotation)}"
            shown.append(told if parameter.default is None or star else f"{told} = {self._value(parameter.default)}")
        return shown

    def _fields(self, kind: griffe.Class) -> list[str]:
        by_name = any("kw_only=True" in str(decorator.value) for decorator in kind.decorators)
        shown: list[str] = []
        for field in fields_of(kind):
            if (by_name or str(keyword(field.value, "kw_only")) == "True") and "*" not in shown:
                shown.append("*")
            told = f"{field.name}: {self._accepted(field)}"
            default = default_of(field.value)
            shown.append(told if default is None else f"{told} = {self._value(default)}")
        return shown

    def _value(self, default: str | griffe.Expr) -> str:
        """Return a default as it is written, or what the constant is that is written there."""
        for path in names_in(default) if isinstance(default, griffe.ExprName) else ():
            constant = self._sources.at(path)
            if isinstance(constant, griffe.Attribute) and constant.value is not None:
                return text_of(constant.value)
        return text_of(default)

    def _accepted(self, field: griffe.Attribute) -> str:
        """Return the type that a field is given: that of its converter's parameter, where it has one."""
        converter = keyword(field.value, "converter")
        for path in names_in(converter):
            found = self._sources.at(path)
            if isinstance(found, griffe.Function):
                return text_of(next(iter(found.parameters)).annotation)
        return text_of(field.annotation)

    # --- words ---------------------------------------------------------------------------------------------------

    def _words(self, one: Named) -> list[str]:
        lines: list[str] = []
        for section in sections_of(one):
            match section:
                case griffe.DocstringSectionText():
                    lines += [self._prose(section.value), ""]
                case griffe.DocstringSectionParameters() | griffe.DocstringSectionAttributes():
                    lines += [f"- `{each.name}`: {self._prose(joined(each.description))}" for each in section.value]
                    lines += [""]
                case griffe.DocstringSectionReturns():
                    lines += ["Returns: " + " ".join(self._prose(joined(each.description)) for each in section.value)]
                    lines += [""]
                case griffe.DocstringSectionRaises():
                    lines += ["Raises:", ""]
                    lines += [
                        f"- {self._link(str(each.annotation))}: {self._prose(joined(each.description))}"
                        for each in section.value
                    ]
                    lines += [""]
                case _:
                    raise ValueError(f"{one.path}: a section that this page does not know: {section.kind}")
        return lines

    def _prose(self, text: str) -> str:
        """Turn roles of reStructuredText into links and code."""
        linked = re.sub(
            r":(?:class|meth|mod|data|command):`~?([^`]+)`",
            lambda found: self._link(re.sub(r"\s+", "", found[1]) if "." in found[1] else found[1]),
            text,
        )
        return linked.replace("``", "`")

    def _link(self, path: str) -> str:
        """Return a name as a link, where it stands on the page."""
        words = path.split(".")
        names = {one.name for one in self._known.values()}
        for place, word in enumerate(words):
            if word in names:
                shown = ".".join(words[place:])
                return f"[`{shown}`](#{anchor(shown)})"
        return f"`{path}`"


def is_error(kind: griffe.Class) -> bool:
    """Tell whether it is raised."""
    return any(str(base).endswith(("Error", "Exception")) for base in kind.bases)


def is_alias(one: griffe.Attribute) -> bool:
    """Tell whether a name stands for a type."""
    return "|" in str(one.value) or "Callable" in str(one.value)


def keyword(value: object, name: str) -> str | griffe.Expr | None:
    """Return a keyword argument of a call, None if it is not there."""
    for one in value.arguments if isinstance(value, griffe.ExprCall) else ():
        if isinstance(one, griffe.ExprKeyword) and one.name == name:
            return one.value
    return None


def default_of(value: str | griffe.Expr | None) -> str | griffe.Expr | None:
    """Return what a field is when it is not given, None if it must be."""
    if value is None or not (isinstance(value, griffe.ExprCall) and str(value.function) == "attrs.field"):
        return value
    if (factory := keyword(value, "factory")) is not None:
        return f"{factory}()"
    default = keyword(value, "default")
    return "..." if str(default).startswith("attrs.Factory") else default


def sections_of(one: Named) -> list[griffe.DocstringSection]:
    """Parse a docstring."""
    return [] if one.docstring is None else one.docstring.parse("google")


def joined(text: str) -> str:
    """Return a text in one line."""
    return " ".join(text.split())


def anchor(title: str) -> str:
    """Return what a heading is linked by."""
    return re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")


def wrapped(head: str, parts: list[str], tail: str) -> list[str]:
    """Return a signature in one line, or in one for each parameter when that is too long."""
    whole = f"{head}{', '.join(parts)}{tail}"
    return [whole] if len(whole) <= WIDTH else [head, *(f"    {part}," for part in parts), tail]


def wrapped_union(name: str, value: str) -> list[str]:
    """Return a name for a type, one line for each member when it is too long."""
    whole = f"{name} = {value}"
    if len(whole) <= WIDTH:
        return [whole]
    first, *rest = value.split(" | ")
    return [f"{name} = (", f"    {first}", *(f"    | {one}" for one in rest), ")"]


def main(arguments: list[str]) -> int:
    """Print the page, or write it."""
    page = Page(Sources()).render()
    if "--write" in arguments:
        PAGE.write_text(page, encoding="utf-8")
    else:
        print(page, end="")  # noqa: T201  a program for a terminal
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
