"""Fail points are nothing in ordinary operation, all of them are in the documentation, and each has its kills."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from actors.failpoints import VARIABLE
from tests.steps import catalogue
from tests.steps.test_steps import ALL, ONE

DOCS = Path(__file__).parents[2] / "docs" / "reliability.md"


@pytest.mark.parametrize("value", [None, ""])
def test_without_the_variable_a_fail_point_is_an_empty_function(value: str | None) -> None:
    code = "import dis; from actors.failpoints import at; at('x'); print(len(list(dis.get_instructions(at))))"
    empty = "import dis; print(len(list(dis.get_instructions(lambda step, /: None))))"
    environment = {key: known for key, known in os.environ.items() if key != VARIABLE}
    if value is not None:
        environment[VARIABLE] = value
    found, wanted = (
        subprocess.run([sys.executable, "-c", one], env=environment, capture_output=True, check=True).stdout
        for one in (code, empty)
    )
    assert found == wanted


def test_where_nobody_listens_a_fail_point_goes_on(tmp_path: Path) -> None:
    environment = {**os.environ, VARIABLE: str(tmp_path / "nobody")}
    code = "from actors.failpoints import at; at('x')"
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=60)


def test_each_step_has_a_name_of_its_own() -> None:
    names = [step.name for step in catalogue.steps()]
    assert len(names) == len(set(names))
    assert len(names) > 90


def test_the_documentation_lists_the_steps_that_there_are() -> None:
    section = DOCS.read_text(encoding="utf-8").split("## Steps of a task and of a session")[1].split("\n## ")[0]
    rows = [line.split("`")[1] for line in section.splitlines() if line.startswith("| `")]
    assert sorted(rows) == sorted(step.name for step in catalogue.steps())


def test_every_step_has_its_kills() -> None:
    names = {step.name for step in catalogue.steps()}
    alone, everything = ({target.step for group in groups for target in group} for groups in (ONE, ALL))
    assert alone | catalogue.ELSEWHERE == names
    assert everything | alone == alone
    assert all(name in everything or name.startswith(catalogue.BY_ITSELF) for name in names - catalogue.ELSEWHERE)
    assert {target.step for target in catalogue.targets(everything=True)} == alone
    rare = Path(__file__).with_name("test_rare_steps.py").read_text(encoding="utf-8")
    assert all(f'"{name}"' in rare for name in catalogue.ELSEWHERE)
