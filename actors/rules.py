"""The rules by which the output of tasks is read: what a rule is, and the file in which users keep their own.

The file is one YAML map with a list ``rules``; an entry with the id of a built-in rule changes what it names
and leaves the rest of that rule, any other id is a new rule, and ``enabled: false`` takes a rule away. All
problems of the file are found at once, each with its place; a file with a problem is not used at all, so that
nobody relies on the half of it.

Owns that format. Refuses to open the file and to apply rules.
"""

from __future__ import annotations

import enum
import functools
import re
from collections.abc import Iterable
from typing import Final

import attrs

from actors import fields
from actors.events import Severity
from actors.patterns import unfit
from actors.problems import Notes, Problem, quoted
from actors.scan import Mapping, Scalar, Sequence, scan

MOST_RULES: Final = 200
"""Rules of one file: each is tried on each line."""

_ID: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_CATEGORY: Final = re.compile(r"[a-z][a-z0-9_]{0,31}")
_KEYS: Final = ("id", "category", "pattern", "severity", "proposal", "where", "enabled", "description")


class Where(enum.Enum):
    """In which output a rule looks: of every attempt while it runs, or of attempts that failed."""

    ANY = "any"
    FAILED = "failed"


@attrs.frozen
class Rule:
    """What to look for in the output of tasks, and what it means.

    Attributes:
        id: Unique; part of the claim.
        category: What it is about, one word (``disk``, ``network``).
        pattern: Regular expression, searched in each line without regard to case.
        severity: How bad it is.
        proposal: What a person could do.
        where: In which output.
    """

    id: str
    category: str
    pattern: str
    severity: Severity
    proposal: str
    where: Where = Where.FAILED

    @property
    def regex(self) -> re.Pattern[str]:
        """The compiled pattern."""
        return compiled(self.pattern)


@functools.lru_cache(maxsize=512)
def compiled(pattern: str) -> re.Pattern[str]:
    """Return a pattern compiled; rules are compared and carried as text."""
    return re.compile(pattern, re.IGNORECASE)


@attrs.frozen
class RulesReading:
    """What became of a rules file.

    Attributes:
        rules: The rules to use: the built-in ones with the file's changes, or the built-in ones alone when
            the file has a problem.
        problems: Everything that is wrong with the file.
    """

    rules: tuple[Rule, ...]
    problems: tuple[Problem, ...] = ()


def read_rules(data: bytes, path: str, builtin: tuple[Rule, ...]) -> RulesReading:
    """Read a rules file.

    Args:
        data: Its content, UTF-8.
        path: Its name for messages.
        builtin: The rules to extend.

    Returns:
        New rules first, then the built-in ones as changed: a line is explained by the first rule that matches
        it.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        notes = Notes(path, data[: error.start].decode(errors="replace"))
        notes.error(len(notes.lines.text), "not UTF-8; save the file as UTF-8")
        return RulesReading(builtin, notes.problems())
    notes = Notes(path, text)
    root = scan(text, notes)
    rules = _rules(root, notes, builtin)
    problems = tuple(problem for problem in notes.problems() if problem.is_error)
    return RulesReading(builtin, problems) if problems else RulesReading(rules)


def _rules(root: object, notes: Notes, builtin: tuple[Rule, ...]) -> tuple[Rule, ...]:
    if root is None or notes.has_errors:
        return builtin
    entries = root.entries.get("rules") if isinstance(root, Mapping) else None
    if not isinstance(root, Mapping) or (entries is None and root.entries):
        notes.error(0, "a rules file is a map with a list: write 'rules:' and below it one entry for each rule")
        return builtin
    for key, node in root.entries.items():
        if key != "rules":
            notes.error(node.key, f"unknown key {quoted(key)}; a rules file has 'rules' only")
    if not isinstance(entries, Sequence):
        if isinstance(entries, Mapping) or (isinstance(entries, Scalar) and not entries.is_null):
            notes.error(entries.key, "'rules' must be a list")
        return builtin
    if len(entries.items) > MOST_RULES:
        notes.error(entries.start, f"more than {MOST_RULES} rules; every one of them is tried on every line")
        return builtin
    return _merged(entries.items, notes, builtin)


def _merged(items: Iterable[object], notes: Notes, builtin: tuple[Rule, ...]) -> tuple[Rule, ...]:
    known = {rule.id: rule for rule in builtin}
    changed: dict[str, Rule | None] = {}
    for item in items:
        if not isinstance(item, Mapping):
            notes.error(getattr(item, "start", 0), "a rule is a map with id, pattern, severity and proposal")
            continue
        rule_id = _id(item, notes)
        if rule_id in changed:
            notes.error(item.start, f"the rule {quoted(rule_id)} is given twice; keep one of the two")
        elif rule_id:
            changed[rule_id] = _rule(item, rule_id, known.get(rule_id), notes)
    added = [rule for key, rule in changed.items() if rule is not None and key not in known]
    kept = [changed.get(rule.id, rule) for rule in builtin]
    return (*added, *(rule for rule in kept if rule is not None))


def _id(item: Mapping, notes: Notes) -> str:
    found = fields.scalar(item, "id", notes)
    if found is None:
        notes.error(item.start, "the rule has no id")
        return ""
    if not _ID.fullmatch(found.text):
        notes.error(found.start, f"{quoted(found.text)} is no id of a rule; use lower case, digits, '-' and '_'")
        return ""
    return found.text


def _rule(item: Mapping, rule_id: str, builtin: Rule | None, notes: Notes) -> Rule | None:
    for key, node in item.entries.items():
        if key not in _KEYS:
            notes.error(node.key, f"unknown key {quoted(key)} of a rule", notes.closest(key, _KEYS))
    pattern = _pattern(item, notes)
    category = fields.scalar(item, "category", notes)
    if category is not None and not _CATEGORY.fullmatch(category.text):
        notes.error(category.start, f"{quoted(category.text)} is no category; use one word in lower case")
    severity = fields.choice(item, "severity", notes, Severity)
    where = fields.choice(item, "where", notes, Where)
    proposal = fields.one_line(item, "proposal", notes)
    if not _enabled(item, notes):
        return None
    if builtin is None:
        if pattern is None and fields.given(item, "pattern") is None:
            notes.error(item.start, f"the rule {quoted(rule_id)} has no pattern")
        if not proposal:
            notes.error(item.start, f"the rule {quoted(rule_id)} has no proposal; say what a person could do")
        builtin = Rule(rule_id, "custom", "", Severity.ERROR, "")
    return Rule(
        id=rule_id,
        category=builtin.category if category is None else category.text,
        pattern=pattern or builtin.pattern,
        severity=severity or builtin.severity,
        proposal=proposal or builtin.proposal,
        where=where or builtin.where,
    )


def _pattern(item: Mapping, notes: Notes) -> str | None:
    found = fields.scalar(item, "pattern", notes)
    if found is None:
        return None
    wrong = unfit(found.text)
    if wrong is None:
        return found.text
    # Only in a plain or single-quoted scalar does a character of the pattern stand where it is counted.
    exact = found.style == "" or (found.style == "'" and "'" not in found.text)
    place = found.start + (wrong.index + len(found.style) if exact else 0)
    notes.error(place, f"pattern: {wrong.reason}")
    return None


def _enabled(item: Mapping, notes: Notes) -> bool:
    found = fields.scalar(item, "enabled", notes)
    if found is None or found.text in {"true", "false"}:
        return found is None or found.text == "true"
    notes.error(found.start, f"'enabled' must be true or false, not {quoted(found.text)}")
    return True
