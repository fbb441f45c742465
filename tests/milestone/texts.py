"""Small milestone files for these tests."""

from actors.model import Milestone, Task
from actors.reader import Reading, read

HEAD = "id: m1\ntitle: A milestone\n"


def reading(text: str, path: str = "m1.yaml") -> Reading:
    """Read a text as a file of this name."""
    return read(text.encode(), path)


def with_task(*lines: str) -> str:
    """Return a milestone with one task that has these lines beside its id and title."""
    body = "".join(f"    {line}\n" for line in lines)
    return f"{HEAD}tasks:\n  - id: a\n    title: Task a\n{body}"


def milestone(text: str) -> Milestone:
    """Read a text that must be valid."""
    found = reading(text)
    assert found.milestone is not None, lines(found)
    return found.milestone


def task(*task_lines: str) -> Task:
    """Read a task that must be valid, from the lines beside its id and title."""
    return milestone(with_task(*task_lines)).tasks[0]


def lines(found: Reading) -> list[str]:
    """Return the problems as a person sees them."""
    return [str(problem) for problem in found.problems]


def refusal(text: str, path: str = "m1.yaml") -> str:
    """Return the only problem of a text, which must be an error."""
    found = reading(text, path)
    assert found.milestone is None
    assert found.marks is None
    assert len(found.problems) == 1, lines(found)
    assert found.problems[0].is_error
    return str(found.problems[0])
