"""Which statuses of tasks a person has set in the milestone file while its session lives.

The executor writes statuses too, but only words that follow from facts which its fold has by then: ``completed`` of a
task that is, ``cancelled`` of one that a command skipped. What else stands there as one of these two, or no longer as
``cancelled`` where the file itself left the task out, somebody has typed. The session goes on with what it began with;
``update`` and the next run take it in (:func:`actors.standing.carried_over`).

Owns that judgement and its wording. Refuses to open files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from actors.digests import sha256
from actors.events import DependencyAlert
from actors.model import FileStatus
from actors.standing import Phase

if TYPE_CHECKING:
    from collections.abc import Mapping

    from actors.knowledge import Knowledge
    from actors.model import Milestone
    from actors.standing import TaskState

CLAIM: Final = "edited:statuses:"
"""How the claims of these alerts begin."""

_NAMED: Final = 5
"""How many tasks an alert names."""


def set_by_hand(state: Knowledge, found: Milestone) -> dict[str, FileStatus]:
    """Return the tasks of a session whose status in the file a person has set, in the file's order, with it.

    Args:
        state: What the session knows; not older than what was written into the file.
        found: What the file says.
    """
    known = state.tasks
    return {task.id: task.status for task in found.tasks if task.id in known and _is_typed(known[task.id], task.status)}


def counts_at_once(known: TaskState) -> bool:
    """Tell whether ``update`` has anything to say of such a task: of one that failed the next run heeds the file."""
    return known.phase is not Phase.FAILED and not (known.phase is Phase.SKIPPED and known.reason)


def _is_typed(known: TaskState, status: FileStatus) -> bool:
    match status:
        case FileStatus.COMPLETED:
            return known.phase is not Phase.COMPLETED
        case FileStatus.CANCELLED:
            # Of a task that a command brought back it may be the word of before that.
            return known.phase is not Phase.SKIPPED and not known.retried
        case _:
            return known.phase is Phase.SKIPPED and not known.reason


def alert_of(path: str, milestone_id: str, typed: Mapping[str, FileStatus]) -> DependencyAlert | None:
    """Return what is to be alerted of statuses that a person has set; ``None`` where there are none."""
    if not typed:
        return None
    said = [f"{task} is {status.value} there" for task, status in typed.items()]
    digest = sha256(";".join(said).encode()).hexdigest()[:12]
    more = f", and {len(said) - _NAMED} more" if len(said) > _NAMED else ""
    detail = (
        f"{path}: statuses were set by hand ({', '.join(said[:_NAMED])}{more}); they stay, and this session goes on "
        f"with what it began with; `milestonectl update {milestone_id} --apply` takes them in, or the next run does"
    )
    return DependencyAlert(f"{CLAIM}{digest}", "edited", detail)
