"""What is wrong with the plan that the tasks of one milestone make: names that lead nowhere, and circles.

Owns the checks that need all tasks of a file at once. Refuses to know YAML; the order of execution is the
plan's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from actors.cycles import cycles
from actors.model import FileStatus
from actors.problems import Names, Notes, quoted
from actors.taskfields import Draft


def check(drafts: Sequence[Draft], notes: Notes) -> None:
    """Note every duplicate id, unknown, own and premature dependency, and every cycle.

    Args:
        drafts: The tasks, in the file's order.
        notes: Receives each problem where it stands.
    """
    tasks: dict[str, Draft] = {}
    for draft in drafts:
        first = tasks.setdefault(draft.task.id, draft)
        if first is not draft:
            line, _ = notes.lines.place(first.mark.id.start)
            message = f"duplicate task id {quoted(draft.task.id)} (first given in line {line}); give one another id"
            notes.error(draft.mark.id.start, message)
    names = Names(tasks)
    for draft in drafts:
        if draft.depends_on:
            _check_dependencies(draft, tasks, names, notes)
    _check_cycles(tasks, notes)


def _check_dependencies(draft: Draft, tasks: Mapping[str, Draft], names: Names, notes: Notes) -> None:
    task = draft.task
    for name in draft.depends_on:
        other = tasks.get(name.text)
        if name.text == task.id:
            notes.error(name.start, f"task {quoted(task.id)} depends on itself; remove the entry")
        elif other is None:
            message = f"unknown task {quoted(name.text)} in depends_on of {quoted(task.id)}"
            notes.error(name.start, message, names.closest(name.text))
        elif task.status is FileStatus.COMPLETED and other.task.status is not FileStatus.COMPLETED:
            state = f"{quoted(other.task.id)}, which is {other.task.status.value}"
            notes.warning(name.start, f"task {quoted(task.id)} is completed but depends on {state}")


def _check_cycles(tasks: Mapping[str, Draft], notes: Notes) -> None:
    for cycle in cycles({key: draft.task.depends_on for key, draft in tasks.items()}):
        edge = next(name for name in tasks[cycle.source].depends_on if name.text == cycle.target)
        message = f"these tasks wait for each other: {cycle.text}; remove one of the dependencies"
        notes.error(edge.start, message)
