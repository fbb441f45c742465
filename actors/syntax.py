"""What a person probably did where the YAML parser gave up.

Owns the wording of syntax errors: the parser says where it noticed, this says what to look for and what to
do. Refuses to know milestones.
"""

from __future__ import annotations

import re
from typing import Final

import yaml

from actors.problems import Lines, quoted

_PLAIN_VALUE: Final = re.compile(r"^[\s-]*[\w.\"'-]+\s*:\s+(?P<value>[^\"'|>\[{#].*:(\s.*)?)$")
_AT_CONTEXT: Final = ("could not find expected ':'", "found unexpected end of stream")
"""For these the parser notices long after the cause; the context is where the cause stands."""


def explain(error: yaml.MarkedYAMLError, lines: Lines) -> tuple[int, str]:
    """Return where a syntax error is, in characters, and a message with its likely cause.

    Args:
        error: What the C parser raised.
        lines: The text that it read.
    """
    problem = error.problem or "not YAML"
    mark = error.problem_mark or error.context_mark
    if problem in _AT_CONTEXT and error.context_mark is not None:
        mark = error.context_mark
    index = min(mark.index, len(lines.text)) if mark is not None else 0
    cause = _cause(problem, error.context or "", index, lines)
    return index, f"not YAML: {cause or problem}"


def _cause(problem: str, context: str, index: int, lines: Lines) -> str | None:
    line = lines.line_at(index)
    character = lines.text[index : index + 1]
    if "\t" in line[: len(line) - len(line.lstrip())]:
        return "a tab indents this line; YAML takes spaces only"
    if problem.startswith("mapping values are not allowed"):
        return _unquoted_colon(line)
    if problem.startswith("found character that cannot start any token"):
        return f"{quoted(character)} cannot begin a value; put the value in quotes"
    if problem.startswith("could not find expected ':'"):
        return f"{quoted(line.strip())} is neither 'key: value' nor a list item; put '#' before a remark"
    if problem.startswith(("found unexpected end of stream", "found unexpected document")):
        return f"the quote {quoted(character)} that opens here is never closed"
    if problem.startswith("did not find expected ',' or"):
        bracket, closing = ("[", "]") if problem.endswith("']'") else ("{", "}")
        return f"a ',' or the {closing!r} of a list or map opened with {bracket!r} is missing before this"
    return _structure(problem, context, line)


def _unquoted_colon(line: str) -> str:
    if _PLAIN_VALUE.match(line):
        return "': ' stands in a text without quotes; put the whole value in quotes"
    return "a key stands here where none can: the indentation is off, or a text with ': ' lacks quotes"


def _structure(problem: str, context: str, line: str) -> str | None:
    if problem.startswith("did not find expected key"):
        if re.search(r":\s+[\"'\[{*]", line):
            return "text follows a closing quote or bracket; put the whole value in one pair of quotes"
        return "the indentation of this line fits no line above it"
    if problem.startswith("did not find expected '-' indicator"):
        return "a list item or a change of indentation was expected here: a key cannot stand beside list items"
    if problem.startswith("did not find expected <document start>"):
        return "the document ended above; a second one, or text after a closing bracket, begins here"
    if problem.startswith("did not find expected comment or line break"):
        return "text follows '|' or '>' in the same line; begin it in the next line, or put it in quotes"
    if "anchor" in context or "alias" in context:
        return "'&' and '*' begin anchors and aliases, which are not allowed; put the value in quotes"
    if "escape" in problem:
        return f"{problem} in double quotes; use single quotes, or double the backslash"
    return None
