"""The prompt that an agent runner gets for a task."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from actors.model import Milestone, Task
from actors.prompt import render_prompt

TASK = Task(
    id="task-2",
    title="Write the parser",
    description="It reads one line\nand gives a tree.",
    depends_on=("task-1",),
    verify=("make test", ("python3", "-c", "print('x y')")),
    files=("src/parser.py", "tests/*"),
    acceptance_criteria=("handles `quotes`", "is\nfast"),
)
MILESTONE = Milestone(
    id="milestone-001",
    title="A small language",
    description="From text to numbers.",
    tasks=(Task(id="task-1", title="Write the lexer"), TASK),
    success_criteria=("the examples run",),
)
EXPECTED = """\
# Write the parser

Task `task-2` of milestone `milestone-001`. Work in the current directory.

## What to do

It reads one line
and gives a tree.

## Acceptance criteria

- handles `quotes`
- is
  fast

## Files

Change only what these paths and patterns cover:

- `src/parser.py`
- `tests/*`

## Verification

Afterwards these commands are run, in this order; each must exit with status 0:

```sh
make test
```

```sh
python3 -c 'print('"'"'x y'"'"')'
```

## Already done

These tasks came first; what they made is there:

- `task-1`: Write the lexer

## Milestone: A small language

From text to numbers.

## The milestone succeeds when

- the examples run
"""


def test_a_prompt_holds_the_task_and_its_milestone() -> None:
    assert render_prompt(MILESTONE, TASK) == EXPECTED


def test_what_a_task_does_not_say_has_no_heading() -> None:
    bare = Milestone(id="m", title="", tasks=(Task(id="t", title=""),))
    assert render_prompt(bare, bare.tasks[0]) == (
        "# t\n\nTask `t` of milestone `m`. Work in the current directory.\n\n## Milestone: m\n"
    )


def test_backticks_of_a_command_cannot_close_its_block() -> None:
    drawn = Task(id="t", title="T", verify=("cat <<'E'\n````\nE",), files=("`odd`.md",))
    text = render_prompt(Milestone(id="m", title="M", tasks=(drawn,)), drawn)
    assert "`````sh\ncat <<'E'\n````\nE\n`````" in text
    assert "- `` `odd`.md ``" in text


TEXT = st.text(st.characters(exclude_categories=()), max_size=40)


@given(TEXT, TEXT, TEXT, TEXT)
def test_any_text_gives_a_prompt_that_a_program_can_be_handed(one: str, two: str, three: str, four: str) -> None:
    drawn = Task(id="t", title=one, description=two, acceptance_criteria=(three,), verify=(four, (four,)), files=(one,))
    text = render_prompt(Milestone(id="m", title=two, description=three, tasks=(drawn,)), drawn)
    assert text.encode().decode() == text
    assert not any(ord(letter) < 32 and letter not in "\t\n" for letter in text)
    assert text.startswith("# ")
    assert text.endswith("\n")
    assert "\n# " not in text.replace("\n# " + two, "").replace("\n# " + three, "") or "# " in two + three + four
