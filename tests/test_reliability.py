"""The page docs/reliability.md: a section for each invariant, and every test that a page names exists.

Owns the comparison of names in `docs/` with the sources of the tests, which are parsed, not imported.
"""

import ast
import re
from pathlib import Path
from typing import Final

import pytest

from tests.chaos.checker import CHECKS

CHECKOUT: Final = Path(__file__).parents[1]
PAGES: Final = {path.name: path.read_text(encoding="utf-8") for path in sorted((CHECKOUT / "docs").glob("*.md"))}
NAMED: Final = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")


def missing(text: str) -> list[str]:
    """Return the tests that a page names and that there are not."""
    return [f"{file}::{name}" if name else file for file, name in NAMED.findall(text) if not _exists(file, name)]


def _exists(file: str, name: str) -> bool:
    path = CHECKOUT / file
    if not path.is_file():
        return False
    tree = ast.parse(path.read_text(encoding="utf-8"), filename=file)
    return not name or any(isinstance(node, ast.FunctionDef) and node.name == name for node in ast.walk(tree))


@pytest.mark.parametrize("page", PAGES)
def test_every_test_that_a_page_names_exists(page: str) -> None:
    assert missing(PAGES[page]) == []


def test_a_test_that_does_not_exist_is_found() -> None:
    text = "`tests/test_reliability.py::missing`, `tests/test_reliability.py::gone`, `tests/test_nowhere.py::it`"
    assert missing(text) == ["tests/test_reliability.py::gone", "tests/test_nowhere.py::it"]


def test_each_invariant_has_its_section() -> None:
    found = re.findall(r"^### ([IL]\d+): ", PAGES["reliability.md"], re.MULTILINE)
    assert set(found) == {*CHECKS, "I9"}
    assert len(found) == len(set(found))
