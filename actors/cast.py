"""Which class plays which role.

Owns the table, and nothing else: imported by the fork server so that every role's code is there before a fork.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from actors.blocker_detector import BlockerDetector
from actors.dependency_validator import DependencyValidator
from actors.git_integration import GitIntegration
from actors.progress_monitor import ProgressMonitor
from actors.task_executor import TaskExecutor

if TYPE_CHECKING:
    from actors.role import RoleActor

CAST: Final[dict[str, type[RoleActor]]] = {
    actor.role: actor for actor in (TaskExecutor, ProgressMonitor, GitIntegration, DependencyValidator, BlockerDetector)
}


def role_class(role: str) -> type[RoleActor]:
    """Return the class that plays a role.

    Raises:
        KeyError: There is no such role.
    """
    return CAST[role]
