"""The page docs/conformance.md, made from the rows (`conformance.yaml`) and from the tests that name them.

Owns the shape of that page, and the program that makes every table of rows and tests; the other one is the table of
faults (:mod:`tests.fault_table`).

    python -m tests.conformance            print the page and the table of faults
    python -m tests.conformance --write    write them to docs/conformance.md and into docs/reliability.md
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import attrs
import yaml

from tests import fault_table
from tests.rows import CHECKOUT, NamedTest, Reason, RowError, collect, problems, shown, strangers

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


@attrs.frozen(kw_only=True)
class Row:
    """One row of the table; `absent` and `open` are reasons for having no test."""

    otp: str
    here: str = ""
    absent: str = ""
    open: str = ""

    @property
    def reason(self) -> Reason:
        """Why it may be without a test."""
        return Reason(self.absent, self.open)


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

    @property
    def reasons(self) -> dict[str, Reason]:
        """Why rows may be without a test, by number."""
        return {number: row.reason for number, row in self.rows.items()}


def read_table(path: Path = TABLE) -> Table:
    """Read the rows.

    Raises:
        RowError: a row stands there twice.
    """
    data = yaml.safe_load(path.read_text(encoding="utf-8"))
    groups = tuple(
        Group(group["title"], {number: Row(**row) for number, row in group["rows"].items()}) for group in data["groups"]
    )
    numbers = [number for group in groups for number in group.rows]
    if twice := sorted({number for number in numbers if numbers.count(number) > 1}):
        raise RowError(f"{path}: more than once: rows {', '.join(twice)}")
    deviations = tuple((entry["what"], entry["why"]) for entry in data["deviations"])
    return Table(sections=data["sections"], groups=groups, deviations=deviations)


def render(table: Table, tests: Mapping[str, list[NamedTest]]) -> str:
    """Return the page.

    Raises:
        RowError: rows and tests do not go together.
    """
    if found := problems(table.reasons, tests):
        raise RowError("\n".join(found))
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
    return f"| {number} | {row.otp} | {row.here or row.absent} | {shown(row.reason, tests)} |"


def _summary(table: Table, tests: Mapping[str, list[NamedTest]]) -> str:
    rows = table.rows
    absent = [number for number, row in rows.items() if row.absent]
    missing = [number for number, row in rows.items() if not row.absent and number not in tests]
    count = len({test for number in rows for test in tests.get(number, [])})
    told = f"{len(rows)} rows, {len(rows) - len(absent) - len(missing)} of them covered by {count} tests"
    told += f"; not applicable: {', '.join(absent) or 'none'}; open: {', '.join(missing) or 'none'}."
    return told + "\n"


def _render_both() -> tuple[str, str]:
    table, faults, tests = read_table(), fault_table.read_faults(), collect()
    if found := strangers({*table.rows, *faults}, tests):
        raise RowError("\n".join(found))
    return render(table, tests), fault_table.render(faults, tests)


def main(arguments: list[str]) -> int:
    """Print the tables, or write them; 1 if rows and tests do not go together."""
    try:
        page, block = _render_both()
        if "--write" in arguments:
            PAGE.write_text(page, encoding="utf-8")
            text = fault_table.PAGE.read_text(encoding="utf-8")
            fault_table.PAGE.write_text(fault_table.put_into(text, block), encoding="utf-8")
        else:
            print(page + block, end="")  # noqa: T201  a program for a terminal
    except RowError as error:
        print(error, file=sys.stderr)  # noqa: T201  as above
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
