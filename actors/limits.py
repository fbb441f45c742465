"""What a process, or a tree of processes, may use: bounds as frozen data.

Owns the four quantities, their units and what makes a bound invalid. Refuses to know who measures and what follows:
that is :mod:`supervisor.limits`. Beyond OTP; a supervisor in strict mode heeds none of it.
"""

from __future__ import annotations

from math import isfinite
from typing import Final

import attrs

CPU_SECONDS: Final = 60.0
"""How long the processor has to be used too much when nothing else is said: a moment of it means nothing."""


class LimitError(ValueError):
    """A bound that cannot be kept.

    Attributes:
        field: Which one, dotted (``memory.soft``).
        value: What it was.
        why: What is wrong with it, and what is allowed.
    """

    def __init__(self, field: str, value: object, why: str) -> None:
        super().__init__(f"{field} = {value!r}: {why}")
        self.field = field
        self.value = value
        self.why = why


@attrs.frozen
class Limit:
    """How much of one quantity may be used.

    Attributes:
        soft: Above it a child is replaced politely, a task is warned of; ``None`` for no such bound.
        hard: Above it a child is killed, a task's attempt is ended; ``None`` for no such bound.
        seconds: How long it has to be exceeded; ``None`` for one sample, and for the processor
            :data:`CPU_SECONDS`.

    Raises:
        LimitError: A number is not more than 0, or the hard bound is below the soft one.
    """

    soft: float | None = None
    hard: float | None = None
    seconds: float | None = None

    def __attrs_post_init__(self) -> None:
        """Refuse what cannot be compared with."""
        for field in ("soft", "hard"):
            if not _fits(getattr(self, field), zero=False):
                raise LimitError(field, getattr(self, field), "must be a number, more than 0, or nothing")
        if not _fits(self.seconds, zero=True):
            raise LimitError("seconds", self.seconds, "must be a number of seconds, 0 or more, or nothing")
        if self.soft is not None and self.hard is not None and self.hard < self.soft:
            raise LimitError("hard", self.hard, f"must be at least the soft limit ({self.soft:g})")


@attrs.frozen
class Limits:
    """What a child or a task may use, itself and what is below it taken together.

    Attributes:
        memory: Bytes of resident memory; a page that several processes share counts for each.
        cpu: Percent of one core: 200 is two cores.
        descriptors: Open file descriptors.
        threads: Threads of all processes.

    Raises:
        LimitError: One of them is not a :class:`Limit`, or the processor's time is 0.
    """

    memory: Limit | None = None
    cpu: Limit | None = None
    descriptors: Limit | None = None
    threads: Limit | None = None

    def __attrs_post_init__(self) -> None:
        """Refuse what is no bound."""
        for name in QUANTITIES:
            value = getattr(self, name)
            if value is not None and not isinstance(value, Limit):
                raise LimitError(name, value, "must be a Limit or nothing")
        if self.cpu is not None and self.cpu.seconds == 0:
            raise LimitError("cpu.seconds", 0, "must be more than 0: a moment's use of the processor means nothing")

    def __bool__(self) -> bool:
        return any(
            limit is not None and (limit.soft is not None or limit.hard is not None)
            for limit in (self.memory, self.cpu, self.descriptors, self.threads)
        )


QUANTITIES: Final = ("memory", "cpu", "descriptors", "threads")
"""The fields of :class:`Limits`, in the order in which they are looked at."""


def _fits(value: object, *, zero: bool) -> bool:
    if value is None:
        return True
    if not isinstance(value, int | float) or isinstance(value, bool) or not isfinite(value):
        return False
    return value >= 0 if zero else value > 0
