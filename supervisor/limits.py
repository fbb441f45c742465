"""Whether what was measured of a child, or of a task's tree, is too much, and for how long it has been.

Owns the comparison: a bound counts as exceeded once it was so for its time, a little below it does not end that
(or whoever swings around a bound would never be caught), and no single gap between two samples convicts. Refuses to
know processes and clocks, and what follows.
"""

from __future__ import annotations

from typing import Final

import attrs

from actors.limits import CPU_SECONDS, QUANTITIES, Limits
from actors.wording import seconds_text, size_text

EASE: Final = 0.95
"""Share of a bound below which a use must fall to count as having ended."""


@attrs.frozen
class Sample:
    """What was measured of a process, or of a tree of them.

    Attributes:
        cpu_percent: Of one core, since the sample before; 0 in the first.
        rss_bytes: Resident memory.
        threads: How many.
        descriptors: Open ones; ``None`` when nobody asked, or they could not be read.
        processes: How many were counted.
    """

    cpu_percent: float = 0.0
    rss_bytes: int = 0
    threads: int = 1
    descriptors: int | None = None
    processes: int = 1

    def of(self, quantity: str) -> float | None:
        """Return the figure that a field of :class:`~actors.limits.Limits` bounds; ``None`` when it is not known."""
        match quantity:
            case "memory":
                return self.rss_bytes
            case "cpu":
                return self.cpu_percent
            case "descriptors":
                return self.descriptors
            case "threads":
                return self.threads
            case unknown:
                raise ValueError(f"there is no quantity {unknown!r}")


@attrs.frozen
class Excess:
    """Something is over a limit.

    Attributes:
        what: Figure, limit and how long, in one line for people.
        hard: Whether it is the hard limit.
    """

    what: str
    hard: bool


@attrs.define
class _Bound:
    """One bound, and for how long it has been exceeded."""

    quantity: str
    most: float
    seconds: float
    hard: bool
    last: float | None = None
    held: float = 0.0

    def exceeded(self, value: float, at: float) -> bool:
        """Take a figure in; tell whether the bound has been exceeded for its time."""
        if value <= self.most and (self.last is None or value < self.most * EASE):
            self.last, self.held = None, 0.0
            return False
        if self.last is not None:
            self.held += min(at - self.last, self.seconds / 2)
        self.last = at
        return value > self.most and self.held >= self.seconds


class Judge:
    """Judges one incarnation by its samples; says at most once that it is over a soft, and over a hard limit.

    Args:
        limits: What it may use.
    """

    def __init__(self, limits: Limits) -> None:
        self._bounds: list[_Bound] = []
        for hard in (True, False):
            for quantity in QUANTITIES:
                limit = getattr(limits, quantity)
                most = None if limit is None else limit.hard if hard else limit.soft
                if most is not None:
                    seconds = (CPU_SECONDS if quantity == "cpu" else 0.0) if limit.seconds is None else limit.seconds
                    self._bounds.append(_Bound(quantity, most, seconds, hard))

    @property
    def wants_descriptors(self) -> bool:
        """Whether it needs to know the number of open descriptors, which costs more to find out."""
        return any(bound.quantity == "descriptors" for bound in self._bounds)

    def judge(self, sample: Sample, at: float) -> Excess | None:
        """Take a sample in.

        Args:
            sample: What was measured.
            at: When, monotonic seconds.

        Returns:
            What is too much, the hard limits first; ``None`` for nothing new.
        """
        found: _Bound | None = None
        for bound in self._bounds:
            value = sample.of(bound.quantity)
            if value is not None and bound.exceeded(value, at) and found is None:
                found = bound
        if found is None:
            return None
        # What was said is said: a hard limit may follow a soft one, nothing follows a hard one.
        self._bounds = [] if found.hard else [bound for bound in self._bounds if bound.hard]
        return Excess(_what(found, sample.of(found.quantity) or 0.0), found.hard)


def _what(bound: _Bound, value: float) -> str:
    duration = f" for {seconds_text(bound.seconds)}" if bound.seconds else ""
    limit = "its limit is" if bound.hard else "its soft limit is"
    match bound.quantity:
        case "memory":
            used, most = (size_text(number) for number in (value, bound.most))
            if used == most:
                used = f"a little more than {most}"
            return f"used {used} of memory{duration}, {limit} {most}"
        case "cpu":
            return f"used {value:.0f} % of a core{duration}, {limit} {bound.most:.0f} %"
        case "descriptors":
            return f"had {value:,.0f} descriptors open{duration}, {limit} {bound.most:,.0f}"
        case _:
            return f"ran {value:,.0f} threads{duration}, {limit} {bound.most:,.0f}"
