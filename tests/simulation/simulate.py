"""Running histories: what went wrong in one, and the shortest history in which it still goes wrong.

Owns running, shrinking and the report of a failure. It refuses to know how a history is drawn.
"""

import re
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import attrs

from supervisor.children import InvalidTransition
from supervisor.invariants import BrokenInvariant
from tests.simulation.history import History, Life, to_json
from tests.simulation.witness import Violation
from tests.simulation.world import World

BUGS: Final = (Violation, BrokenInvariant, InvalidTransition, RuntimeError, LookupError, TypeError)
"""What a wrong core raises, or makes its witness raise."""


@attrs.frozen
class Outcome:
    """What one history came to; `failure` is the message of what went wrong, `""` for nothing."""

    events: int
    hours: float
    failure: str = ""

    @property
    def kind(self) -> str:
        """What went wrong, without names, numbers and times: two failures of a kind are one bug."""
        first = self.failure.partition("\n")[0]
        what = first.partition(" s: ")[2] or first
        return re.sub(r"\b[a-f](x?\d+)?(#\d+)?\b|'.*'|[\d.]+", "_", what)


def simulate(history: History, tell: Callable[[str], object] | None = None) -> Outcome:
    """Run a history to its end, or to the first thing that is wrong.

    Args:
        history: to be run.
        tell: is given a line for each event and effect of each supervisor.
    """
    world = World(history, tell)
    failure = ""
    try:
        world.run()
    except BUGS as error:
        told = "" if isinstance(error, Violation) else f"\n{''.join(traceback.format_exception(error)[-4:])}"
        failure = f"{type(error).__name__}: {error}{told}"
    return Outcome(world.events, world.lived / 3600.0, failure)


def shrink(history: History, most: int = 2000) -> History:
    """Leave out of a failing history what it does not need to fail in the same way.

    Args:
        history: it fails.
        most: tries after which it is short enough.
    """
    kind = simulate(history).kind
    tries = 0
    shorter = True
    while shorter and tries < most:
        shorter = False
        for candidate in _shorter(history):
            tries += 1
            if simulate(candidate).kind == kind:
                history, shorter = candidate, True
                break
            if tries >= most:
                break
    return history


def _shorter(history: History) -> Iterator[History]:
    """Yield histories with less in them, the boldest cuts first."""
    for hours in (0.0, 1.0, history.hours / 2):
        if hours < history.hours and not (hours and history.hours < 2 * hours):
            yield attrs.evolve(history, hours=hours)
    requests = history.requests
    size = len(requests)
    while size:
        for start in range(0, len(requests), size):
            yield attrs.evolve(history, requests=[*requests[:start], *requests[start + size :]])
        size //= 2
    for path, lives in history.scripts.items():
        yield attrs.evolve(history, scripts={name: script for name, script in history.scripts.items() if name != path})
        for keep in (len(lives) // 2, len(lives) - 1):
            if 0 < keep < len(lives):
                yield attrs.evolve(history, scripts={**history.scripts, path: lives[:keep]})
    for path, lives in history.scripts.items():
        for index, life in enumerate(lives):
            for simpler in _simpler(life):
                changed = [*lives[:index], simpler, *lives[index + 1 :]]
                yield attrs.evolve(history, scripts={**history.scripts, path: changed})


def _simpler(life: Life) -> Iterator[Life]:
    healthy = Life()
    if life != healthy:
        yield healthy
    for field in attrs.fields(Life):
        if getattr(life, field.name) != field.default:
            changed: dict[str, Any] = {field.name: field.default}
            yield attrs.evolve(life, **changed)


def report(history: History, outcome: Outcome, folder: Path | None = None) -> str:
    """Say what went wrong in a history, and how to see it again.

    Args:
        history: the shrunk one.
        outcome: of it.
        folder: where to write the history to; without one it is printed at the end.
    """
    text = to_json(history)
    told = f"seed {history.seed}: {outcome.failure}\n\nto repeat it: python -m tests.simulation.replay "
    if folder is None:
        return f"{told}FILE, with this history in FILE:\n{text}\n"
    path = folder / f"history-{history.seed}.json"
    path.write_text(text, encoding="utf-8")
    return f"{told}{path}\n"
