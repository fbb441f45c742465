"""What is seen from outside over time: how loaded the machine is, and how often children fall.

A single sample says nothing: pressure is called so after it lasted, and called over after it was clearly gone. A
gauge and the falls of a child are values; each sample or fall makes a new one.

Owns those two judgements, and the view in which all that was observed reaches `blockers`. Refuses to take samples
and to read the clock.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import attrs

from actors.outputs import Match, Tail

SAMPLE_SECONDS: Final = 5.0
"""Seconds between two samples of the machine."""

SAMPLES_UNTIL_PRESSED: Final = 6
"""Samples in a row above the limit that make it pressure: half a minute."""

SAMPLES_UNTIL_RELIEVED: Final = 3
"""Samples in a row clearly below the limit that end it."""

RELIEF_PERCENT: Final = 5.0
"""How far below the limit is clearly below."""

STORM_FALLS: Final = 3
"""Falls of one child within :data:`STORM_SECONDS` that make a restart storm."""

STORM_SECONDS: Final = 60.0
CALM_SECONDS: Final = 300.0
"""Seconds without a fall after which a storm is over."""


@attrs.frozen
class MachineSample:
    """How loaded the machine is, in percent; ``None`` for what cannot be said.

    Attributes:
        cpu: Of all cores, since the sample before.
        memory: Of what programs can get.
        disk: Of the file system of the project.
    """

    cpu: float | None
    memory: float | None
    disk: float | None

    def items(self) -> Iterator[tuple[str, float]]:
        """Yield name and percent of what is known."""
        for name, percent in (("cpu", self.cpu), ("memory", self.memory), ("disk", self.disk)):
            if percent is not None:
                yield name, percent


@attrs.frozen
class Gauge:
    """One resource under observation.

    Attributes:
        percent: The latest sample.
        pressed: Whether it is under pressure.
        streak: Samples in a row that speak against ``pressed``.
    """

    percent: float = 0.0
    pressed: bool = False
    streak: int = 0

    def sampled(self, percent: float, limit: float) -> Gauge:
        """Return the gauge after one more sample.

        Args:
            percent: The sample.
            limit: Percent above which it counts as high.
        """
        speaks_against = percent < limit - RELIEF_PERCENT if self.pressed else percent > limit
        streak = self.streak + 1 if speaks_against else 0
        if streak >= (SAMPLES_UNTIL_RELIEVED if self.pressed else SAMPLES_UNTIL_PRESSED):
            return Gauge(percent, not self.pressed)
        return Gauge(percent, self.pressed, streak)


def sampled(gauges: Mapping[str, Gauge], sample: MachineSample, limit: float) -> dict[str, Gauge]:
    """Return all gauges after one more sample of the machine."""
    return {
        **gauges,
        **{name: gauges.get(name, Gauge()).sampled(percent, limit) for name, percent in sample.items()},
    }


@attrs.frozen
class Falls:
    """The latest falls of one child.

    Attributes:
        walls: When, epoch seconds, oldest first; at most :data:`STORM_FALLS`.
        reasons: Why, one for each.
        stormy: Whether so many fell so close together and there was no calm since.
    """

    walls: tuple[float, ...] = ()
    reasons: tuple[str, ...] = ()
    stormy: bool = False

    def fell(self, wall: float, reason: str) -> Falls:
        """Return the falls with one more.

        Args:
            wall: When, epoch seconds.
            reason: Why, one line.
        """
        walls = (*self.walls, wall)[-STORM_FALLS:]
        close = len(walls) == STORM_FALLS and walls[-1] - walls[0] <= STORM_SECONDS
        return Falls(walls, (*self.reasons, reason)[-STORM_FALLS:], close or self.is_stormy(wall))

    def is_stormy(self, wall: float) -> bool:
        """Tell whether the storm goes on at a moment (epoch seconds)."""
        return self.stormy and wall - self.walls[-1] < CALM_SECONDS


@attrs.frozen
class View:
    """What was observed beside the fold.

    Attributes:
        wall: Now, epoch seconds.
        suspects: Ids of tasks with which something went wrong, in the file's order. All others are taken for
            well.
        matches: What rules found in the output of each task and counts by now.
        tails: The telling last lines of tasks that failed for good; empty where they are not needed.
        gauges: Resources of the machine by name.
        falls: Latest falls of each child.
        quiet: Seconds since the output of each running attempt grew.
        rules_problem: Why the user's rules are not used, ``""`` otherwise.
        rules_path: The user's rules file.
    """

    wall: float
    suspects: Sequence[str] = ()
    matches: Mapping[str, Sequence[Match]] = attrs.Factory(dict)
    tails: Mapping[str, Tail] = attrs.Factory(dict)
    gauges: Mapping[str, Gauge] = attrs.Factory(dict)
    falls: Mapping[str, Falls] = attrs.Factory(dict)
    quiet: Mapping[str, float] = attrs.Factory(dict)
    rules_problem: str = ""
    rules_path: str = ""
