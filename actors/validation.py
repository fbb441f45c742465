"""What is wrong between milestones: prerequisites, circles of milestones, and things that two of them use.

Owns the comparison of several milestones; each finding is a typed value, with its place where a file shows
it. Refuses to open files and to look inside one milestone (`plancheck`): pure functions over what was read.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final, TypeAlias, assert_never

import attrs

from actors import statuses
from actors.conflicts import patterns_overlap
from actors.cycles import cycles
from actors.model import FileStatus, Milestone
from actors.problems import Lines, Names, Problem, Severity, did_you_mean, quoted
from actors.reader import Marks, Reading

_WILDCARD: Final = re.compile(r"[*?\[{\\]")
_OVER: Final = frozenset({FileStatus.COMPLETED, FileStatus.CANCELLED})


@attrs.frozen
class Place:
    """Where a finding shows in a file; line and column from 1."""

    path: str
    line: int = 1
    column: int = 1


@attrs.frozen
class Subject:
    """A milestone to compare with others, and where it came from.

    Attributes:
        milestone: What was read.
        path: Its file, for messages.
        marks: Where things stand in that file; ``None`` when only the milestone is known, as from a journal.
    """

    milestone: Milestone
    path: str
    marks: Marks | None = None

    def place(self, index: int | None) -> Place:
        """Return the place of a position in the file; the top of the file where it is not known."""
        if self.marks is None or index is None:
            return Place(self.path)
        return Place(self.path, *Lines(self.marks.text).place(index))


@attrs.frozen
class MissingPrerequisite:
    """A required milestone that is not completed.

    Attributes:
        milestone: Who requires it.
        prerequisite: Its id.
        is_active: Whether it exists and only has to be completed; otherwise nothing of this name is known.
        place: Where it is named.
        suggestion: The id that was probably meant, ``""`` without one.
    """

    milestone: str
    prerequisite: str
    is_active: bool
    place: Place
    suggestion: str = ""


@attrs.frozen
class MilestoneCycle:
    """Milestones that require each other.

    Attributes:
        milestone: Whose requirement closes the circle.
        text: The circle, ``a -> b -> a``.
        place: Where that requirement is named.
    """

    milestone: str
    text: str
    place: Place


@attrs.frozen
class ResourceConflict:
    """A shared resource that two open milestones name.

    Attributes:
        milestone: One of them.
        other: The other.
        resource: The name of the resource.
        place: Where the first names it.
    """

    milestone: str
    other: str
    resource: str
    place: Place


@attrs.frozen
class FileConflict:
    """Files that open tasks of two open milestones may change.

    Attributes:
        milestone: One of them.
        other: The other.
        task: The first task of ``milestone`` with such a file.
        other_task: The task of ``other`` that it meets.
        pattern: The entry of ``files`` of ``task``.
        other_pattern: The entry of ``files`` of ``other_task``.
        count: How many pairs of entries overlap in all.
        place: Where the task names its files.
    """

    milestone: str
    other: str
    task: str
    other_task: str
    pattern: str
    other_pattern: str
    count: int
    place: Place


Finding: TypeAlias = MissingPrerequisite | MilestoneCycle | ResourceConflict | FileConflict


def subject_of(reading: Reading) -> Subject | None:
    """Return what can be compared of a reading, ``None`` when the file did not read."""
    if reading.milestone is None:
        return None
    return Subject(reading.milestone, reading.path, reading.marks)


def check(active: Sequence[Subject], completed: Collection[str]) -> tuple[Finding, ...]:
    """Compare milestones with each other.

    Args:
        active: All milestones of ``active/``, each once.
        completed: Ids of the completed ones.

    Returns:
        Every finding, those of one milestone together, in the order of ``active``. A conflict is found once,
        for the milestone that comes first.
    """
    by_id = {subject.milestone.id: subject for subject in active}
    circles: dict[str, list[MilestoneCycle]] = {}
    for cycle in cycles({key: subject.milestone.requires for key, subject in by_id.items()}):
        place = _place_of_requirement(by_id[cycle.source], cycle.target)
        circles.setdefault(cycle.source, []).append(MilestoneCycle(cycle.source, cycle.text, place))
    names = Names([*by_id, *completed])
    # Only those: a project may have thousands of milestones behind it.
    waiting = deque(subject for subject in active if _is_open(subject.milestone))
    found: list[Finding] = []
    for subject in active:
        found += _prerequisites(subject, by_id, completed, names)
        found += circles.get(subject.milestone.id, [])
        if waiting and waiting[0] is subject:
            waiting.popleft()
            for other in waiting:
                found += _conflicts(subject, other)
    return tuple(found)


def as_problem(finding: Finding) -> Problem:
    """Return a finding as a problem of the file that shows it: what, why, and what to do."""
    place = finding.place
    severity, suggestion = Severity.ERROR, ""
    match finding:
        case MissingPrerequisite(is_active=True):
            message = (
                f"milestone {quoted(finding.milestone)} requires {quoted(finding.prerequisite)}, which is "
                "not completed yet; run it first"
            )
        case MissingPrerequisite():
            suggestion = finding.suggestion
            message = f"unknown milestone {quoted(finding.prerequisite)} in requires of {quoted(finding.milestone)}"
        case MilestoneCycle():
            message = f"these milestones require each other: {finding.text}; remove one of the requirements"
        case ResourceConflict():
            severity = Severity.WARNING
            message = (
                f"the shared resource {quoted(finding.resource)} of {quoted(finding.milestone)} is also used "
                f"by milestone {quoted(finding.other)}; do not run the two at once"
            )
        case FileConflict():
            severity = Severity.WARNING
            more = f", and {finding.count - 1:,} more pairs" if finding.count > 1 else ""
            message = (
                f"{quoted(finding.pattern)} of task {quoted(finding.task)} overlaps "
                f"{quoted(finding.other_pattern)} of task {quoted(finding.other_task)} in milestone "
                f"{quoted(finding.other)}{more}; do not run the two at once"
            )
        case _:
            assert_never(finding)
    return Problem(place.path, place.line, place.column, message + did_you_mean(suggestion), severity, suggestion)


def _place_of_requirement(subject: Subject, prerequisite: str) -> Place:
    return subject.place(subject.marks.requires.get(prerequisite) if subject.marks else None)


def _prerequisites(
    subject: Subject, by_id: Mapping[str, Subject], completed: Collection[str], names: Names
) -> Iterator[MissingPrerequisite]:
    own = subject.milestone.id
    for prerequisite in subject.milestone.requires:
        if prerequisite in completed or prerequisite == own:
            continue
        is_active = prerequisite in by_id
        suggestion = "" if is_active else names.closest(prerequisite) or ""
        place = _place_of_requirement(subject, prerequisite)
        yield MissingPrerequisite(own, prerequisite, is_active, place, "" if suggestion == own else suggestion)


def _is_open(milestone: Milestone) -> bool:
    return statuses.fold(milestone.status) not in _OVER


def _conflicts(subject: Subject, other: Subject) -> Iterator[ResourceConflict | FileConflict]:
    one, two = subject.milestone, other.milestone
    theirs = set(two.shared_resources)
    for resource in one.shared_resources:
        if resource in theirs:
            place = subject.place(subject.marks.shared_resources.get(resource) if subject.marks else None)
            yield ResourceConflict(one.id, two.id, resource, place)
    pairs = _overlapping_patterns(_open_patterns(one), _open_patterns(two))
    first = next(pairs, None)
    if first is not None:
        (pattern, task), (other_pattern, other_task) = first
        place = subject.place(subject.marks.files.get(task) if subject.marks else None)
        count = 1 + sum(1 for _ in pairs)
        yield FileConflict(one.id, two.id, task, other_task, pattern, other_pattern, count, place)


def _open_patterns(milestone: Milestone) -> dict[str, str]:
    """Return each entry of ``files`` of an unfinished task, with the first such task."""
    patterns: dict[str, str] = {}
    for task in milestone.tasks:
        if task.status not in _OVER:
            for pattern in task.files:
                patterns.setdefault(pattern, task.id)
    return patterns


def _overlapping_patterns(
    ours: Mapping[str, str], theirs: Mapping[str, str]
) -> Iterator[tuple[tuple[str, str], tuple[str, str]]]:
    """Yield the pairs of entries that overlap, without comparing all with all.

    Two entries can only overlap when the text before the wildcard of one begins that of the other. In sorted
    order the texts that begin the present one are a stack.
    """
    entries = sorted(
        [(_literal(pattern), 0, pattern, task) for pattern, task in ours.items()]
        + [(_literal(pattern), 1, pattern, task) for pattern, task in theirs.items()]
    )
    stack: list[tuple[str, int, str, str]] = []
    for entry in entries:
        literal, side, pattern, task = entry
        while stack and not literal.startswith(stack[-1][0]):
            stack.pop()
        for _, other_side, other_pattern, other_task in stack:
            if other_side != side and patterns_overlap(pattern, other_pattern):
                pair = (pattern, task), (other_pattern, other_task)
                yield pair if side == 0 else (pair[1], pair[0])
        stack.append(entry)


def _literal(pattern: str) -> str:
    text = _WILDCARD.split(pattern, maxsplit=1)[0]
    return "" if text == "." else text
