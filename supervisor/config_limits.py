"""The limits of roles, of tasks and of a service's own children, as every file writes them.

A map of quantities, each a map of ``soft``, ``hard`` and ``for``; a hard limit alone may stand without a map. What
Python calls ``seconds`` is told its word. Owns that form. Refuses to know where in the file it stands and what limits
mean.
"""

from __future__ import annotations

from typing import Final

from actors import fields
from actors.limits import QUANTITIES, Limit, LimitError, Limits
from actors.problems import Names, Notes, quoted
from actors.scan import Mapping, Scalar

_KEYS: Final = ("soft", "hard", "for")
_FIELDS: Final = {"soft": "soft", "hard": "hard", "seconds": "for"}
"""Keys of the file by the fields of :class:`~actors.limits.Limit`, which its errors name."""


def read_limits(held: Mapping, name: str, notes: Notes) -> Limits | None:
    """Return the limits that a key holds; ``None`` when something of it is wrong, which is noted.

    Args:
        held: The map that has the key.
        name: The key.
        notes: Receives what is wrong.
    """
    node = held.entries[name]
    if isinstance(node, Scalar) and not node.text:
        return Limits()
    if not isinstance(node, Mapping):
        what = f"{quoted(name)} must be a map of {', '.join(QUANTITIES)}"
        notes.error(node.key, f"{what}, such as 'memory: {{soft: 2GiB, hard: 4GiB}}'")
        return None
    found: dict[str, Limit] = {}
    whole = _only_known(node, name, QUANTITIES, notes)
    for quantity in QUANTITIES:
        if fields.given(node, quantity) is not None:
            limit = _limit(node, quantity, notes)
            whole = whole and limit is not None
            if limit is not None:
                found[quantity] = limit
    if not whole:
        return None
    try:
        return Limits(**found)
    except LimitError as error:
        notes.error(node.entries[error.field.partition(".")[0]].key, f"{quoted('for')} {error.why}")
        return None


def _limit(held: Mapping, quantity: str, notes: Notes) -> Limit | None:
    node = held.entries[quantity]
    if isinstance(node, Scalar):
        hard = _amount(held, quantity, quantity, notes)
        return None if hard is None else Limit(hard=hard)
    if not isinstance(node, Mapping):
        notes.error(node.key, f"{quoted(quantity)} must be a map of {', '.join(_KEYS)}, or the hard limit alone")
        return None
    whole = _only_known(node, quantity, _KEYS, notes)
    values = {
        "soft": _amount(node, "soft", quantity, notes),
        "hard": _amount(node, "hard", quantity, notes),
        "for": fields.duration(node, "for", notes, zero=True),
    }
    if not whole or any(values[key] is None for key in _KEYS if fields.given(node, key) is not None):
        return None
    try:
        return Limit(values["soft"], values["hard"], values["for"])
    except LimitError as error:
        key = _FIELDS[error.field]
        notes.error(node.entries[key].start, f"{quoted(key)} of {quoted(quantity)} {error.why}")
        return None


def _amount(held: Mapping, name: str, quantity: str, notes: Notes) -> float | None:
    return fields.size(held, name, notes) if quantity == "memory" else fields.number(held, name, notes)


def _only_known(node: Mapping, name: str, known: tuple[str, ...], notes: Notes) -> bool:
    unknown = [key for key in node.entries if key not in known]
    for key in unknown:
        what = f"unknown key {quoted(key)} in {quoted(name)}; known: {', '.join(known)}"
        if key == "seconds" and "for" in known:
            what = "'seconds' is Python's word: in a file it is 'for', such as 'for: 60s'"
        notes.error(node.entries[key].key, what, Names(known).closest(key))
    return not unknown
