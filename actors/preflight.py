"""Whether a milestone can start, and what changed about its surroundings while it runs.

Before the start every problem is listed, not the first. While it runs, each claim about dependencies is
alerted once, and taken back when it no longer holds; nothing that a file says stops a session that has begun,
because it executes the milestone that it journaled.

Owns those judgements and their wording. Refuses to open files and to look at the machine; what milestones are
to each other is :mod:`actors.validation`'s.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final, assert_never

import attrs
import msgspec

from actors import statuses
from actors.digests import sha256
from actors.events import DependencyAlert
from actors.model import FileStatus, Milestone, Requirements
from actors.problems import quoted
from actors.reader import Reading
from actors.validation import (
    FileConflict,
    Finding,
    MilestoneCycle,
    MissingPrerequisite,
    ResourceConflict,
    Subject,
    as_problem,
    check,
)

_ACTIVE: Final = ".milestones/active"
_COMPLETED: Final = ".milestones/completed"


@attrs.frozen
class Offer:
    """What of a milestone's requirements the machine does not meet.

    Attributes:
        missing_tools: Programs that are not on ``PATH``.
        missing_variables: Variables that are not set.
        free_megabytes: Free space of each directory asked about, in 10**6 bytes; without those that do not
            exist.
    """

    missing_tools: tuple[str, ...] = ()
    missing_variables: tuple[str, ...] = ()
    free_megabytes: tuple[tuple[str, int], ...] = ()


@attrs.frozen
class Surroundings:
    """The milestone files of a project, as far as they could be read.

    Attributes:
        active: Readings of all files of ``active/``, by path.
        completed: Milestones of ``completed/`` that could be read.
        completed_ids: Ids of all milestones that are completed, wherever the file says so.
    """

    active: Mapping[str, Reading] = attrs.Factory(dict)
    completed: Sequence[Subject] = ()
    completed_ids: Collection[str] = frozenset()

    def subjects(self, own: Subject) -> tuple[Subject, ...]:
        """Return all milestones, each once, ours first; completed ones say so whatever their file says."""
        by_id = {own.milestone.id: own}
        for path, reading in self.active.items():
            if reading.milestone is not None and path != own.path:
                by_id.setdefault(reading.milestone.id, Subject(reading.milestone, path, reading.marks))
        for subject in self.completed:
            done = attrs.evolve(subject.milestone, status=FileStatus.COMPLETED.value)
            by_id.setdefault(done.id, attrs.evolve(subject, milestone=done))
        return tuple(by_id.values())


@attrs.frozen
class Verdict:
    """The outcome of pre-flight: lines for people, with their places where they have one."""

    problems: tuple[str, ...]
    warnings: tuple[str, ...]


def judge(own: Subject, surroundings: Surroundings, offer: Offer) -> Verdict:
    """Say whether a milestone can start.

    Args:
        own: The milestone, and where its parts stand in its file.
        surroundings: The other milestones of the project.
        offer: What the machine lacks.
    """
    problems: list[str] = []
    warnings: list[str] = []
    subjects = surroundings.subjects(own)
    running = _running(subjects)
    for finding in _concerning(own.milestone.id, check(subjects, surroundings.completed_ids)):
        line = _line(finding, own.milestone.id, running)
        is_error = not isinstance(finding, ResourceConflict | FileConflict) or _other(finding, own) in running
        (problems if is_error else warnings).append(line)
    problems += (f"{own.path}: {lack}" for lack in _lacks(own.milestone.requirements, offer))
    return Verdict(tuple(problems), tuple(warnings))


def alerts(own: Subject, surroundings: Surroundings) -> dict[str, DependencyAlert]:
    """Return what is to be alerted while a milestone runs, by claim.

    Args:
        own: The milestone that the session executes, and where its file stands.
        surroundings: All milestone files as they are now.
    """
    found = [*_invalid(own, surroundings), *_edited(own, surroundings)]
    subjects = surroundings.subjects(own)
    running = _running(subjects)
    for finding in check(subjects, surroundings.completed_ids):
        if isinstance(finding, MilestoneCycle) or _concerns(own.milestone.id, finding):
            alert = _alert(finding, own, running)
            found += [] if alert is None else [alert]
    return {alert.claim: alert for alert in found}


def without_statuses(milestone: Milestone) -> Milestone:
    """Return a milestone without what a run, or a person who follows it, writes into its file."""
    tasks = tuple(attrs.evolve(task, status=FileStatus.PENDING) for task in milestone.tasks)
    return attrs.evolve(milestone, status="", declared_percentage=None, tasks=tasks)


# --- what the machine lacks ---------------------------------------------------------------------------------


def _lacks(requirements: Requirements, offer: Offer) -> Iterator[str]:
    for tool in offer.missing_tools:
        yield f"requirements.tools: {quoted(tool)} is not on PATH; install it, or add its directory to PATH"
    for name in offer.missing_variables:
        yield f"requirements.environment: the variable {quoted(name)} is not set; set it before the start"
    for directory, free in offer.free_megabytes:
        if free < requirements.disk_space_mb:
            yield (
                f"requirements.disk_space_mb: {requirements.disk_space_mb:,} MB are needed, and the file "
                f"system of {directory} has {free:,} MB free; free some"
            )


# --- findings -----------------------------------------------------------------------------------------------


def _running(subjects: Sequence[Subject]) -> frozenset[str]:
    """Return the ids of the milestones whose files say that they are being executed."""
    return frozenset(
        subject.milestone.id
        for subject in subjects
        if statuses.fold(subject.milestone.status) is FileStatus.IN_PROGRESS
    )


def _concerns(own: str, finding: Finding) -> bool:
    match finding:
        case MilestoneCycle(text=text):
            return own in text.split(" -> ")
        case MissingPrerequisite(milestone=milestone):
            return milestone == own
        case _:
            return own in {finding.milestone, finding.other}


def _concerning(own: str, findings: Sequence[Finding]) -> Iterator[Finding]:
    return (finding for finding in findings if _concerns(own, finding))


def _other(finding: ResourceConflict | FileConflict, own: Subject) -> str:
    return finding.milestone if finding.milestone != own.milestone.id else finding.other


def _line(finding: Finding, own: str, running: Collection[str]) -> str:
    line = str(as_problem(finding))
    match finding:
        case MissingPrerequisite(prerequisite=name, is_active=True):
            return f"{line} ({_ACTIVE}/{name}.yaml is there, {_COMPLETED}/{name}.yaml is not)"
        case MissingPrerequisite(prerequisite=name):
            return f"{line} (looked for {_COMPLETED}/{name}.yaml and {_ACTIVE}/{name}.yaml)"
        case MilestoneCycle():
            return line
        case _:
            other = finding.milestone if finding.milestone != own else finding.other
            if other not in running:
                return line
            return f"{line} ({other} is in progress: wait until it is completed, or stop it)"


def _alert(finding: Finding, own: Subject, running: Collection[str]) -> DependencyAlert | None:
    line = _line(finding, own.milestone.id, running)
    match finding:
        case MilestoneCycle(text=text):
            names = ",".join(sorted(set(text.split(" -> "))))
            return DependencyAlert(f"cycle:{names}", "cycle", line)
        case MissingPrerequisite(prerequisite=name):
            return DependencyAlert(f"prerequisite:{name}", "prerequisite", line)
        case ResourceConflict(resource=resource):
            what = f"resource:{resource}"
        case FileConflict():
            what = "files"
        case _:
            assert_never(finding)
    # With a milestone that is only planned there is no conflict yet; pre-flight has warned of it.
    other = _other(finding, own)
    return DependencyAlert(f"conflict:{other}:{what}", "conflict", line) if other in running else None


# --- files --------------------------------------------------------------------------------------------------


def _invalid(own: Subject, surroundings: Surroundings) -> Iterator[DependencyAlert]:
    for path, reading in surroundings.active.items():
        errors = reading.errors
        if errors:
            more = f" (and {len(errors) - 1} more problems)" if len(errors) > 1 else ""
            ours = "; this session goes on with what it began with" if path == own.path else ""
            yield DependencyAlert(f"invalid:{path}", "invalid", f"{errors[0]}{more}{ours}")


def _edited(own: Subject, surroundings: Surroundings) -> Iterator[DependencyAlert]:
    reading = surroundings.active.get(own.path)
    if reading is None:
        if own.milestone.id not in surroundings.completed_ids:
            detail = f"{own.path} is gone; this session goes on with what it began with"
            yield DependencyAlert("edited:gone", "edited", detail)
        return
    if reading.milestone is None:
        return
    now = without_statuses(reading.milestone)
    if now != without_statuses(own.milestone):
        digest = sha256(msgspec.json.encode(now)).hexdigest()[:12]
        detail = (
            f"{own.path} was edited; this session goes on with what it began with; "
            f"`milestonectl run {own.milestone.id}` takes it in after a stop"
        )
        yield DependencyAlert(f"edited:{digest}", "edited", detail)
