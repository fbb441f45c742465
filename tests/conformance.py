"""The page docs/conformance.md, made from the rows (`conformance.yaml`) and from the tests that name them.

Owns the collection of the `row` markers and the shape of the page. The sources of the tests are parsed, not imported.

    python -m tests.conformance            print the page
    python -m tests.conformance --write    write it to docs/conformance.md
"""

import ast
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import attrs
import yaml

CHECKOUT: Final = Path(__file__).parents[1]
PAGE: Final = CHECKOUT / "docs" / "conformance.md"
TABLE: Final = Path(__file__).with_suffix(".yaml")

HEAD: Final = """# Conformance with Erlang/OTP

Supervision here is meant to be OTP's, to the letter. This page compares: each row is a case of OTP's own test suite
(`supervisor_SUITE`), or, from P1 on, of a process of an operating system, which OTP does not know. The tests of a row
are run with all others; the page is made from them, and a test fails when it is not what would be made. An empty
third column means: the same.

Beside the rows, whole trees of supervisors are run through random histories in virtual time. After each event a witness
compares what a supervisor did with what OTP would never do: ten thousand hours of supervisors in each run of the tests,
more with `make soak MINUTES=60 SEED=7`. A history that goes wrong is shrunk and written to a file;
`python -m tests.simulation.replay FILE` tells it again, event by event. That the witness objects is tested with bugs
that are planted in the core.
"""


class ConformanceError(Exception):
    """The rows and the tests do not go together; the message says where."""


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


@attrs.frozen(kw_only=True)
class Row:
    """One row of the table; `absent` and `open` are reasons for having no test."""

    otp: str
    here: str = ""
    absent: str = ""
    open: str = ""


@attrs.frozen
class Group:
    """Rows that belong together, by number."""

    title: str
    rows: Mapping[str, Row]


@attrs.frozen(kw_only=True)
class Table:
    """All that is known of the rows without the tests."""

    sections: Mapping[str, str]
    groups: tuple[Group, ...]
    deviations: tuple[tuple[str, str], ...]

    @property
    def rows(self) -> dict[str, Row]:
        """All rows by number."""
        return {number: row for group in self.groups for number, row in group.rows.items()}


def read_table(path: Path = TABLE) -> Table:
    """Read the rows.

    Raises:
        ConformanceError: a row stands there twice.
    """
    data = yaml.safe_load(path.read_text(encoding="utf-8"))
    groups = tuple(
        Group(group["title"], {number: Row(**row) for number, row in group["rows"].items()}) for group in data["groups"]
    )
    numbers = [number for group in groups for number in group.rows]
    if twice := sorted({number for number in numbers if numbers.count(number) > 1}):
        raise ConformanceError(f"{path}: more than once: rows {', '.join(twice)}")
    deviations = tuple((entry["what"], entry["why"]) for entry in data["deviations"])
    return Table(sections=data["sections"], groups=groups, deviations=deviations)


def collect(folder: Path = CHECKOUT) -> dict[str, list[NamedTest]]:
    """Return the tests of each row, in the order of files and lines.

    Raises:
        ConformanceError: a marker whose rows are not written out, or one on something that is no test.
    """
    found: dict[str, list[NamedTest]] = defaultdict(list)
    for file in sorted((folder / "tests").rglob("test_*.py")):
        path = file.relative_to(folder).as_posix()
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"), filename=path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                for number in _numbers(node, path):
                    found[number].append(NamedTest(path, node.name))
    return dict(found)


def _numbers(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef, path: str) -> Iterator[str]:
    for decorator in node.decorator_list:
        match decorator:
            case ast.Call(func=func, args=arguments) if ast.unparse(func) == "pytest.mark.row":
                where = f"{path}:{decorator.lineno}: {node.name}"
                if not node.name.lower().startswith("test"):
                    raise ConformanceError(f"{where} names rows, but is no test")
                for argument in arguments:
                    if not (isinstance(argument, ast.Constant) and isinstance(argument.value, str)):
                        raise ConformanceError(f"{where}: a row is a text, not {ast.unparse(argument)}")
                    yield argument.value
            case _:
                pass


def problems(table: Table, tests: Mapping[str, list[NamedTest]]) -> list[str]:
    """Say what does not go together: rows without test and reason, tests of rows that there are not."""
    rows = table.rows
    found = [
        f"row {number} has neither a test nor a reason for having none"
        for number, row in rows.items()
        if not (number in tests or row.absent or row.open)
    ]
    found += [
        f"{test.path}: {test.name}: there is no row {number}"
        for number, named in tests.items()
        if number not in rows
        for test in named
    ]
    found += [
        f"row {number} has no meaning here, it is said, but tests: {tests[number][0].path}"
        for number, row in rows.items()
        if row.absent and number in tests
    ]
    return found


def render(table: Table, tests: Mapping[str, list[NamedTest]]) -> str:
    """Return the page.

    Raises:
        ConformanceError: rows and tests do not go together.
    """
    if found := problems(table, tests):
        raise ConformanceError("\n".join(found))
    parts = [HEAD, _summary(table, tests)]
    for group in table.groups:
        lines = [f"## {group.title}", "", "| row | OTP | here | tests |", "|---|---|---|---|"]
        lines += [_line(number, row, tests.get(number, [])) for number, row in group.rows.items()]
        parts.append("\n".join(lines) + "\n")
    deviations = [f"| {what} | {why} |" for what, why in table.deviations]
    parts.append("\n".join(["## Deviations", "", "| here | why |", "|---|---|", *deviations]) + "\n")
    sections = [f"| {number} | {title} |" for number, title in table.sections.items()]
    about = "Comments in the sources cite the rules by these numbers (`reference 1.4`)."
    parts.append("\n".join(["## Numbers of the rules", "", about, "", "| | |", "|---|---|", *sections]) + "\n")
    return "\n".join(parts)


def _line(number: str, row: Row, tests: list[NamedTest]) -> str:
    if row.absent:
        shown = "not applicable"
    elif tests:
        shown = "<br>".join(test.link for test in tests)
    else:
        shown = f"*open: {row.open}*"
    return f"| {number} | {row.otp} | {row.here or row.absent} | {shown} |"


def _summary(table: Table, tests: Mapping[str, list[NamedTest]]) -> str:
    rows = table.rows
    absent = [number for number, row in rows.items() if row.absent]
    missing = [number for number, row in rows.items() if not row.absent and number not in tests]
    count = len({test for named in tests.values() for test in named})
    told = f"{len(rows)} rows, {len(rows) - len(absent) - len(missing)} of them covered by {count} tests"
    told += f"; not applicable: {', '.join(absent) or 'none'}; open: {', '.join(missing) or 'none'}."
    return told + "\n"


def main(arguments: list[str]) -> int:
    """Print the page, or write it; 1 if rows and tests do not go together."""
    try:
        page = render(read_table(), collect())
    except ConformanceError as error:
        print(error, file=sys.stderr)  # noqa: T201  a program for a terminal
        return 1
    if "--write" in arguments:
        PAGE.write_text(page, encoding="utf-8")
    else:
        print(page, end="")  # noqa: T201  as above
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
