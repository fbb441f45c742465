"""What the commit of a task says.

Owns subject, body and trailers. Pure: strings in, strings out. Refuses to know how a commit is made.
"""

from __future__ import annotations

import re
import textwrap
from typing import Final

import attrs

from actors.model import Milestone, Task

SUBJECT_WIDTH: Final = 72
BODY_WIDTH: Final = 72

_TYPES: Final = {
    "bug": "fix",
    "bugfix": "fix",
    "fix": "fix",
    "hotfix": "fix",
    "doc": "docs",
    "docs": "docs",
    "documentation": "docs",
    "test": "test",
    "tests": "test",
    "testing": "test",
    "refactor": "refactor",
    "refactoring": "refactor",
    "chore": "chore",
    "maintenance": "chore",
    "perf": "perf",
    "performance": "perf",
}

# Lines that git takes for something else when somebody amends, mails or applies the commit: comments, the
# divider above a patch, the patch itself.
_TAKEN_FOR_SYNTAX: Final = re.compile(r"#|---|diff -|Index: |@@ ")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")


@attrs.frozen
class CommitMessage:
    """The message of one commit.

    Attributes:
        subject: One line of at most 72 characters.
        body: Paragraphs wrapped at 72 characters, ``""`` for none.
        trailers: (name, value) pairs, in order.
    """

    subject: str
    body: str
    trailers: tuple[tuple[str, str], ...]

    def trailer(self, name: str) -> str:
        """Return the value of the trailer.

        Raises:
            KeyError: The message has none of this name.
        """
        return dict(self.trailers)[name]

    @property
    def text(self) -> str:
        """The message as git stores it; code points that UTF-8 cannot hold are written out."""
        trailers = "\n".join(f"{name}: {value}" for name, value in self.trailers)
        text = "\n\n".join(part for part in (self.subject, self.body, trailers) if part)
        return f"{text}\n".encode(errors="backslashreplace").decode()


def commit_message(milestone: Milestone, task: Task, session_id: str) -> CommitMessage:
    """Return the message for a completed task.

    The subject is ``<type>(milestone-<id>): <title>``; the type comes from the task's kind, ``feat`` when
    that says nothing. The trailers are exactly ``Milestone``, ``Task`` and ``Session``.
    """
    kind = _TYPES.get(task.kind.strip().lower(), "feat")
    title = _one_line(task.title) or task.id
    prefix = f"{kind}(milestone-{milestone.id.removeprefix('milestone-')}): "
    room = max(SUBJECT_WIDTH - len(prefix), 1)
    short = title if len(title) <= room else f"{title[: room - 1].rstrip()}…"
    paragraphs = [] if short == title else [_wrapped(title)]
    paragraphs += [_wrapped(paragraph) for paragraph in _paragraphs(task.description)]
    return CommitMessage(
        subject=prefix + short,
        body="\n\n".join(paragraphs),
        trailers=(
            ("Milestone", _one_line(milestone.id)),
            ("Task", _one_line(task.id)),
            ("Session", _one_line(session_id)),
        ),
    )


def _one_line(text: str) -> str:
    return " ".join(_CONTROL.sub(" ", text).split())


def _paragraphs(text: str) -> list[str]:
    blocks = re.split(r"\n\s*\n", _CONTROL.sub(" ", text.replace("\r\n", "\n").replace("\r", "\n")))
    return [block.strip("\n") for block in blocks if block.strip()]


def _wrapped(paragraph: str) -> str:
    """Wrap each line of the paragraph by itself, so that lists stay lists."""
    lines: list[str] = []
    for line in paragraph.expandtabs(4).splitlines():
        indent = line[: len(line) - len(line.lstrip())][: BODY_WIDTH // 2]
        lines += textwrap.wrap(
            line.strip(),
            BODY_WIDTH - 1,
            initial_indent=indent,
            subsequent_indent=indent,
            break_long_words=False,
            break_on_hyphens=False,
        )
    return "\n".join(f" {line}" if _TAKEN_FOR_SYNTAX.match(line) else line for line in lines)
