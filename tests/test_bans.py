"""What the product does without stays out, and the rules that say so find what is planted."""

import ast
import json
import re
import subprocess
import sys
from typing import Final

import pytest

from tests.bans import looked_up, violations
from tests.sources import CHECKOUT, MODULES

LOOKS_UP: Final = frozenset(
    {
        "actors/digests.py",  # names of functions, in the module itself
        "actors/limits.py",  # fields of its own class
        "actors/targets.py",  # what the embedding program itself named as its actor
        "actors/veil.py",  # fields of facts, out of a table
        "supervisor/__init__.py",  # names of the public API, out of a table
        "supervisor/cli/__init__.py",  # the modules of commands, out of a table
        "supervisor/forked.py",  # entries, which our own modules name
        "supervisor/limits.py",  # fields of its own class
        "supervisor/program_spec.py",  # as above
        "supervisor/projection.py",  # as above
        "supervisor/reloading.py",  # as above
        "supervisor/spec.py",  # as above
        "supervisor/target_path.py",  # what the embedding program itself named as its actor
        "supervisor/tree_check.py",  # as above
        "supervisor/updating.py",  # fields of its own class
    }
)
"""Where attributes are looked up by a name that is not written there. Nothing that a client, a file or a task said is
ever such a name."""

PLANTED: Final = (
    "import yaml; yaml.load(text)",
    "import yaml; yaml.load(text, Loader=yaml.FullLoader)",
    "from yaml import unsafe_load; unsafe_load(text)",
    "import yaml; yaml.load_all(text, yaml.CLoader)",
    "import pickle; pickle.loads(data)",
    "from pickle import loads; loads(data)",
    "import marshal; marshal.loads(data)",
    "import subprocess; subprocess.run(line, shell=True)",
    "import subprocess; subprocess.Popen(line, shell=wish)",
    "import subprocess; subprocess.getoutput(line)",
    "import os; os.system(line)",
    "from os import popen; popen(line)",
    "eval(text)",
    "exec(text)",
    "__import__(name)",
    "import tempfile; tempfile.mktemp()",
    "import re; re.match(r'[a-z]+$', name)",
    "TASK_ID.match(name)",
    "_NAME.search(name)",
)

BY_RUFF: Final = tuple(
    line for line in PLANTED if not re.search(r"ID\.|NAME\.|__import__|re\.match|wish|getoutput", line)
)
"""Those that the linter knows too, so that an editor shows them at once."""

HARMLESS: Final = (
    "import yaml; yaml.CSafeLoader(text)",
    "import subprocess; subprocess.run(['true'], shell=False)",
    "TASK_ID.fullmatch(name)",
    "_HEADER.match(line)",
    "retrieval(text)",
)


@pytest.mark.parametrize("line", PLANTED)
def test_what_is_planted_is_found(line: str) -> None:
    assert list(violations(ast.parse(line)))


@pytest.mark.parametrize("line", HARMLESS)
def test_what_is_harmless_is_left_alone(line: str) -> None:
    assert list(violations(ast.parse(line))) == []


def test_the_linter_finds_what_is_planted_too() -> None:
    """In code of the product nothing is excused: no rule of these is ignored, and none by file."""
    text = "".join(f"{line}\n" for line in BY_RUFF)
    command = [sys.executable, "-m", "ruff", "check", "--no-cache", "--output-format", "json"]
    done = subprocess.run(
        [*command, "--stdin-filename", "supervisor/planted.py", "-"],
        input=text,
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    found = [(one["location"]["row"], one["code"] or "") for one in json.loads(done.stdout)]
    rows = {row for row, code in found if re.fullmatch(r"S[1356]\d\d|TID251", code)}
    assert [line for number, line in enumerate(BY_RUFF, start=1) if number not in rows] == []


def test_the_product_does_without_all_of_it() -> None:
    wrong = [f"{one.path}:{line}: {what}" for one in MODULES.values() for line, what in violations(one.tree)]
    assert wrong == []


def test_an_attribute_is_looked_up_by_a_string_only_where_the_string_is_ours() -> None:
    assert list(looked_up(ast.parse("getattr(verbs, request.verb)()"))) == [1]
    assert list(looked_up(ast.parse("getattr(error, 'pos', None)"))) == []
    found = {one.path for one in MODULES.values() if any(looked_up(one.tree))}
    assert found == LOOKS_UP
