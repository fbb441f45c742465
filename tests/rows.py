"""Which tests cover which rows of a table: what the `row` markers in the sources say.

Owns the collection of the markers, and the judgement whether rows and tests go together. The sources are parsed, not
imported. Refuses to know what the rows are about and how a page shows them.
"""

import ast
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Final

import attrs

CHECKOUT: Final = Path(__file__).parents[1]

_MARK: Final = "pytest.mark.row"


class RowError(Exception):
    """Rows and tests do not go together; the message says where."""


@attrs.frozen
class NamedTest:
    """A test that names rows: where it stands, and its name."""

    path: str
    name: str

    @property
    def link(self) -> str:
        """Markdown: the name as a sentence, leading to its file."""
        sentence = self.name.removeprefix("test_").replace("_", " ")
        return f"[{sentence}](../{self.path})"


@attrs.frozen
class Reason:
    """Why a row may be without a test.

    Attributes:
        absent: The row has no meaning here, and why; ``""`` when it has one.
        open: No test covers it yet, and why; ``""`` when one does.
    """

    absent: str = ""
    open: str = ""


@cache
def collect(folder: Path = CHECKOUT) -> Mapping[str, list[NamedTest]]:
    """Return the tests of each row, in the order of files and lines; they are read once.

    Raises:
        RowError: a marker whose rows are not written out, or one on something that is no test.
    """
    found: dict[str, list[NamedTest]] = defaultdict(list)
    for file in sorted((folder / "tests").rglob("test_*.py")):
        path = file.relative_to(folder).as_posix()
        text = file.read_text(encoding="utf-8")
        # Most have none, and parsing them all takes a second.
        for node in ast.walk(ast.parse(text, filename=path)) if _MARK in text else ():
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                for number in _numbers(node, path):
                    found[number].append(NamedTest(path, node.name))
    return dict(found)


def _numbers(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef, path: str) -> Iterator[str]:
    for decorator in node.decorator_list:
        match decorator:
            case ast.Call(func=func, args=arguments) if ast.unparse(func) == _MARK:
                where = f"{path}:{decorator.lineno}: {node.name}"
                if not node.name.lower().startswith("test"):
                    raise RowError(f"{where} names rows, but is no test")
                for argument in arguments:
                    if not (isinstance(argument, ast.Constant) and isinstance(argument.value, str)):
                        raise RowError(f"{where}: a row is a text, not {ast.unparse(argument)}")
                    yield argument.value
            case _:
                pass


def problems(rows: Mapping[str, Reason], tests: Mapping[str, list[NamedTest]]) -> list[str]:
    """Say what does not go together in one table: rows without test and reason, tests of rows without meaning."""
    found = [
        f"row {number} has neither a test nor a reason for having none"
        for number, reason in rows.items()
        if not (number in tests or reason.absent or reason.open)
    ]
    found += [
        f"row {number} has no meaning here, it is said, but tests: {tests[number][0].path}"
        for number, reason in rows.items()
        if reason.absent and number in tests
    ]
    return found


def strangers(known: set[str], tests: Mapping[str, list[NamedTest]]) -> list[str]:
    """Name the tests of rows that no table has."""
    return [
        f"{test.path}: {test.name}: there is no row {number}"
        for number, named in tests.items()
        if number not in known
        for test in named
    ]


def shown(reason: Reason, tests: list[NamedTest]) -> str:
    """Return what a table's last column says of a row: its tests, or why there are none."""
    if reason.absent:
        return "not applicable"
    return "<br>".join(test.link for test in tests) if tests else f"*open: {reason.open}*"
