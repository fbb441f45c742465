"""The prompt: a task as an agent runner reads it.

Owns the words and the layout (plain Markdown). Refuses to know agents, processes and how the text reaches
them. What people wrote goes in as they wrote it; only what no program can be handed (control characters, lone
surrogates) is left out or replaced, and nothing they wrote can close a code block early.
"""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from actors.model import Command, Milestone, Task

_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_TICKS: Final = re.compile(r"`+")


def render_prompt(milestone: Milestone, task: Task) -> str:
    """Return everything that somebody needs to know to do a task, as Markdown.

    Args:
        milestone: Where the task belongs; its title, description and success criteria are the context.
        task: What is to be done. Its dependencies are taken as completed, for only then is it granted.

    Returns:
        Text that ends in one newline, encodes as UTF-8 and holds no control characters but tab and newline.
    """
    sections = [
        f"# {_line(task.title) or task.id}",
        f"Task {_code(task.id)} of milestone {_code(milestone.id)}. Work in the current directory.",
        *_section("What to do", [_text(task.description)]),
        *_section("Acceptance criteria", _bullets(task.acceptance_criteria)),
        *_section("Files", _files(task.files)),
        *_section("Verification", _verification(task.verify)),
        *_section("Already done", _dependencies(milestone, task)),
        *_section(
            "Milestone: " + (_line(milestone.title) or milestone.id),
            [_text(milestone.description)],
            keep=True,
        ),
        *_section("The milestone succeeds when", _bullets(milestone.success_criteria)),
    ]
    return "\n\n".join(sections) + "\n"


def _section(title: str, body: Iterable[str], *, keep: bool = False) -> Iterator[str]:
    """Yield a heading and its body; nothing for an empty body, unless the heading itself is worth keeping."""
    parts = [part for part in body if part]
    if parts or keep:
        yield f"## {title}"
        yield from parts


def _files(files: tuple[str, ...]) -> Iterator[str]:
    if files:
        yield "Change only what these paths and patterns cover:"
        yield "\n".join(f"- {_code(path)}" for path in files)


def _verification(commands: tuple[Command, ...]) -> Iterator[str]:
    if commands:
        yield "Afterwards these commands are run, in this order; each must exit with status 0:"
    for command in commands:
        text = _text(command if isinstance(command, str) else shlex.join(command))
        fence = "`" * max(3, _longest_ticks(text) + 1)
        yield f"{fence}sh\n{text}\n{fence}"


def _dependencies(milestone: Milestone, task: Task) -> Iterator[str]:
    lines = [
        f"- {_code(needed)}: {_line(milestone.by_id[needed].title)}".rstrip(": ")
        for needed in task.depends_on
        if needed in milestone.by_id
    ]
    if lines:
        yield "These tasks came first; what they made is there:"
        yield "\n".join(lines)


def _bullets(lines: tuple[str, ...]) -> Iterator[str]:
    if lines:
        yield "\n".join("- " + _text(line).replace("\n", "\n  ") for line in lines)


def _text(text: str) -> str:
    plain = _CONTROL.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
    return plain.encode("utf-8", "replace").decode("utf-8").strip("\n")


def _line(text: str) -> str:
    return " ".join(_text(text).split())


def _code(text: str) -> str:
    """Return one line as a code span: its fence is longer than any run of backticks in it."""
    line = _line(text)
    ticks = "`" * (_longest_ticks(line) + 1)
    pad = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{ticks}{pad}{line}{pad}{ticks}"


def _longest_ticks(text: str) -> int:
    return max((len(run) for run in _TICKS.findall(text)), default=0)
