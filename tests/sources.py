"""The product's own sources, for the tests that hold them to the rules of the house.

Owns finding and parsing them: a file is parsed when somebody looks into it for the first time, so that a process that
collects these tests and runs others does not pay for it. Refuses to know the rules.
"""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

from attrs import frozen

CHECKOUT: Final = Path(__file__).parents[1]


@frozen
class Module:
    """A module of the product: its dotted name and its file."""

    name: str
    file: Path

    @property
    def path(self) -> str:
        """Where it stands in the checkout."""
        return str(self.file.relative_to(CHECKOUT))

    @property
    def tree(self) -> ast.Module:
        """Its parsed source; not to be changed."""
        return _parsed(self.file)


@cache
def _parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"), filename=str(file))


def _modules() -> Iterator[Module]:
    for package in ("actors", "supervisor"):
        for file in sorted((CHECKOUT / package).rglob("*.py")):
            parts = file.relative_to(CHECKOUT).with_suffix("").parts
            yield Module(".".join(parts[:-1] if parts[-1] == "__init__" else parts), file)


MODULES: Final = {module.name: module for module in _modules()}
