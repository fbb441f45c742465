"""Values of secrets that stand where they would be journaled as they are: in a milestone, or in the configuration.

What people read can be rewritten; what is executed cannot, so it is refused before anything of it is written down. The
journal has no way to forget.

Owns that search and its wording. Refuses to know where the values come from.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from supervisor.config_keys import known_keys

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actors.events import Settings
    from actors.model import Milestone, Task
    from actors.veil import Veil


def secrets_told(milestone: Milestone | None, settings: Settings, veil: Veil) -> Iterator[str]:
    """Yield what holds the value of a secret although it is journaled as it stands; never the value itself.

    Args:
        milestone: The milestone, ``None`` to look at the settings alone.
        settings: The settings, without the names of the secrets.
        veil: Over the values.
    """
    if not veil.values:
        return
    keys = {setting: key for key, setting in known_keys().items() if setting}
    for name, value in _fields_of(settings):
        if name not in {"secrets", "environment"} and veil.covers(value):
            yield f"the configuration's {keys.get(name, name)} holds the value of one of its secrets"
    for name, value in () if milestone is None else _fields_of(milestone):
        if name != "tasks" and veil.covers(value):
            yield f"the milestone's {name} holds the value of one of the secrets"
    for task in () if milestone is None else milestone.tasks:
        for name, value in _fields_of(task):
            if veil.covers(value):
                yield f"the {name} of task {veil.hide(task.id)} holds the value of one of the secrets"


def _fields_of(data: Milestone | Settings | Task) -> Iterator[tuple[str, object]]:
    plain: dict[str, object] = msgspec.to_builtins(data)
    yield from plain.items()
