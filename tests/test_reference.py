"""The reference is what the sources make of it, has every public name, and leaves no argument and no field unsaid."""

import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

import griffe

import supervisor
from tests.reference import (
    ACTOR,
    CHECKOUT,
    GROUPS,
    PAGE,
    Named,
    Page,
    Sources,
    anchor,
    fields_of,
    is_error,
    is_plain_data,
    public_methods,
    sections_of,
)

ELSEWHERE: Final = ("see :meth:", "As :meth:", "as :meth:", "are those of :class:")
"""How a docstring leaves its arguments to another one."""


@cache
def page() -> Page:
    return Page(Sources())


def test_the_reference_is_the_one_that_would_be_made_now() -> None:
    assert PAGE.read_text(encoding="utf-8") == page().render(), "run: python -m tests.reference --write"


def test_every_public_name_stands_once_on_the_page_and_can_be_imported() -> None:
    listed = Counter(name for names in GROUPS.values() for name in names)
    assert set(listed.values()) == {1}
    assert sorted(listed) == sorted(supervisor.__all__) == sorted(Sources().exported())
    assert [name for name in listed if not hasattr(supervisor, name)] == []


def there(one: Named) -> set[str]:
    """Return what a docstring has to explain: parameters, the fields of data, the attributes of an error."""
    match one:
        case griffe.Function():
            return {parameter.name.lstrip("*") for parameter in one.parameters} - {"self"}
        case griffe.Class() if is_plain_data(one):
            return {field.name for field in fields_of(one)}
        case griffe.Class() if is_error(one):
            attributes = [each for each in one.members.values() if isinstance(each, griffe.Attribute)]
            return {each.name for each in attributes if not each.name.startswith("_")}
        case griffe.Class():
            initial = one.members.get("__init__")
            return there(initial) if isinstance(initial, griffe.Function) else set()
        case _:
            return set()


def gaps(one: Named) -> Iterator[str]:
    """Say what somebody who has the docstring alone would not know, or would be told wrongly."""
    words = "" if one.docstring is None else one.docstring.value
    if not words.strip():
        yield f"{one.path}: has no docstring"
        return
    told = {
        each.name.lstrip("*")
        for section in sections_of(one)
        if isinstance(section, griffe.DocstringSectionParameters | griffe.DocstringSectionAttributes)
        for each in section.value
    }
    if not any(role in words for role in ELSEWHERE):
        yield from (f"{one.path}: {name} is not explained" for name in sorted(there(one) - told))
    yield from (f"{one.path}: there is no {name}" for name in sorted(told - there(one)))


def everything() -> Iterator[Named]:
    for one in page().everything():
        if isinstance(one, griffe.Class):
            yield one
            yield from public_methods(one)
        else:
            yield one


def test_every_link_on_the_page_leads_to_a_heading() -> None:
    text = PAGE.read_text(encoding="utf-8")
    headings = {anchor(heading) for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE)}
    assert set(re.findall(r"\]\(#([^)]+)\)", text)) - headings == set()


def test_nothing_on_the_page_is_left_unsaid() -> None:
    assert [gap for one in everything() for gap in gaps(one)] == []


def test_the_actor_of_the_page_is_restarted_after_a_crash(tmp_path: Path) -> None:
    script = tmp_path / "counting.py"
    script.write_text(ACTOR.split("```python\n")[1].split("```")[0], encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(script)],
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    first, crashed, second = done.stdout.splitlines()
    assert (first, second) == ("6", "2")
    assert crashed.startswith("crashed (exit code 70): KeyError: 'add'")


SAMPLE: Final = """
import attrs

@attrs.frozen
class Spec:
    '''A spec.

    Attributes:
        id: Its name.
        age: Which it has not.
    '''
    id: str
    target: str

def begin(spec: Spec, timeout: float) -> None:
    '''Begin.

    Args:
        spec: What.
    '''

def end(): ...

class OddError(ValueError):
    '''Odd.'''

    def __init__(self, why: str) -> None:
        self.why = why
"""


def test_what_is_left_unsaid_is_found() -> None:
    sample = griffe.visit("sample", Path("sample.py"), SAMPLE)
    found = [gap for one in sample.members.values() if isinstance(one, Named) for gap in gaps(one)]
    assert found == [
        "sample.Spec: target is not explained",
        "sample.Spec: there is no age",
        "sample.begin: timeout is not explained",
        "sample.end: has no docstring",
        "sample.OddError: why is not explained",
    ]
