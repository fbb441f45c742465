"""What of a changed configuration a live session takes: the settings that are looked up whenever they count.

Others are built into something that runs (a containment, a worktree, a process): a session has them from its next
start. Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

from supervisor.config_keys import known_keys

if TYPE_CHECKING:
    from actors.events import Settings

LIVE: Final = frozenset(
    {
        "max_parallel",
        "fail_fast",
        "conflict_reruns",
        "output_limit",
        "output_overflow",
        "push_every",
        "uncommitted_interval",
        "progress_interval",
        "stall_after",
        "no_progress_after",
        "pressure_percent",
        "hook_command",
        "hook_url",
    }
)
"""Settings, by their names in :class:`~actors.events.Settings`, that a live session takes."""


@attrs.frozen
class Change:
    """What becomes of a session's settings.

    Attributes:
        settings: Those that it goes on with.
        taken: Keys of the configuration that changed and count from now on.
        later: Keys that changed and count from its next start.
    """

    settings: Settings
    taken: tuple[str, ...]
    later: tuple[str, ...]

    def __str__(self) -> str:
        taken = f"changed: {', '.join(self.taken)}" if self.taken else "nothing changed"
        return taken + (f"; from its next start: {', '.join(self.later)}" if self.later else "")


def change(present: Settings, wished: Settings) -> Change:
    """Compare a session's settings with those of the configuration as it is now."""
    keys = {setting: key for key, setting in known_keys().items() if setting}
    names = [field.name for field in attrs.fields(type(present))]
    other = [name for name in names if getattr(present, name) != getattr(wished, name)]
    taken = {name: getattr(wished, name) for name in other if name in LIVE}
    return Change(
        attrs.evolve(present, **taken),
        tuple(keys.get(name, name) for name in taken),
        tuple(keys.get(name, name) for name in other if name not in LIVE),
    )
