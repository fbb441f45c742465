"""The section "Faults" of docs/reliability.md, made from the rows (`faults.yaml`) and from the tests that name them.

Owns the rows and the shape of the section, which stands between two marks so that the rest of the page is a person's.
The program that writes it is :mod:`tests.conformance`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import attrs
import yaml

from tests.rows import CHECKOUT, NamedTest, Reason, RowError, problems, shown

PAGE: Final = CHECKOUT / "docs" / "reliability.md"
TABLE: Final = Path(__file__).with_name("faults.yaml")
BEGIN: Final = "<!-- faults:begin (made by: python -m tests.conformance --write) -->"
END: Final = "<!-- faults:end -->"

HEAD: Final = """## Faults

Each row is a fault, what has to happen then, and how a test brings it about. Every test makes sure that its fault
really happened before it judges what came of it. The table is made from the tests that name a row, and a test fails
when it is not what would be made. What needs a right that a machine does not give (root, a control group, a mount) is
skipped there, by name and with the reason.
"""


@attrs.frozen(kw_only=True)
class Fault:
    """One row of the fault model; `absent` and `open` are reasons for having no test.

    Attributes:
        fault: What goes wrong.
        required: What has to happen.
        injected: How the tests bring it about.
        here: How it is here where that is not simply what is required.
        absent: As :class:`tests.rows.Reason` has it.
        open: As above.
    """

    fault: str
    required: str
    injected: str
    here: str = ""
    absent: str = ""
    open: str = ""

    @property
    def reason(self) -> Reason:
        """Why it may be without a test."""
        return Reason(self.absent, self.open)


def read_faults(path: Path = TABLE) -> dict[str, Fault]:
    """Return the faults by number, in the order of the table."""
    data = yaml.safe_load(path.read_text(encoding="utf-8"))
    return {number: Fault(**fault) for number, fault in data.items()}


def render(faults: Mapping[str, Fault], tests: Mapping[str, list[NamedTest]]) -> str:
    """Return the section, its marks included.

    Raises:
        RowError: rows and tests do not go together.
    """
    if found := problems({number: fault.reason for number, fault in faults.items()}, tests):
        raise RowError("\n".join(found))
    head = [BEGIN, HEAD, "| row | fault | what happens | how it is brought about | tests |", "|---|---|---|---|---|"]
    return "\n".join([*head, *(_line(number, faults[number], tests.get(number, [])) for number in faults), END, ""])


def _line(number: str, fault: Fault, tests: list[NamedTest]) -> str:
    happens = f"{fault.required} *{fault.here or fault.absent}*" if fault.here or fault.absent else fault.required
    return f"| {number} | {fault.fault} | {happens} | {fault.injected} | {shown(fault.reason, tests)} |"


def put_into(page: str, section: str) -> str:
    """Return a page with the section in its place.

    Raises:
        RowError: the page has no place for it.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END + "\n")
    if not (begin and end):
        raise RowError(f"the page has no place for the table of faults: {BEGIN} and {END} are missing")
    return before + section + after
