"""A kill storm: random SIGKILLs and SIGSTOPs on a tree of real children, and the books compared with what was done.

Each incarnation is struck at most once, at any moment of its life (a stop only once it is ready: before that it would
hold up every other start for the start timeout). So each strike must cost exactly one incarnation, with the reason
that the strike should have, and nothing else may cost any.

Run by itself: ``python -m tests.health.storm --kills 1000 --seed 7``. Owns the strikes and the comparison. Refuses to
help any child back.
"""

import argparse
import os
import random
import signal
import sys
import tempfile
from collections import Counter
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Final

import attrs

from supervisor import linux
from supervisor.core_effects import ChildExited, ChildRunning
from supervisor.exits import Crashed, ExitReason, Silent
from supervisor.spec import ChildSpec, SupervisorFlags
from tests.health.trees import Tree, spec
from tests.waiting import wait_until

CHILDREN: Final = 20
SILENT_SECONDS: Final = 2.5
STOPS: Final = 0.2
"""Share of the strikes that stop instead of killing."""

LONGEST_CALM: Final = 60.0


def storm_specs() -> tuple[ChildSpec, ...]:
    """Return the specs of the children."""
    return tuple(
        spec(f"c{number:02}", heartbeat_timeout=SILENT_SECONDS, start_timeout=20.0) for number in range(CHILDREN)
    )


STORM_FLAGS: Final = SupervisorFlags(intensity=1_000_000, period=60.0)


@attrs.define
class Storm:
    """The strikes on a tree.

    Attributes:
        tree: All children are ready.
        seed: Decides who is struck, and how.
        strikes: What each incarnation was struck with.
    """

    tree: Tree
    seed: int
    strikes: dict[tuple[str, int], signal.Signals] = attrs.Factory(dict)

    def rage(self, strikes: int) -> None:
        """Strike so often, as fast as there is somebody to strike."""
        chance = random.Random(self.seed)
        while len(self.strikes) < strikes:
            how = signal.SIGSTOP if chance.random() < STOPS else signal.SIGKILL
            look = partial(self._targets, ready=how is signal.SIGSTOP)
            targets = wait_until(look, LONGEST_CALM, "somebody is there to be struck")
            child, incarnation, pid = chance.choice(targets)
            descriptor = linux.pidfd_open(pid)
            if descriptor is None:
                raise AssertionError(f"{child} #{incarnation} (pid {pid}) is gone, and nobody has struck it")
            try:
                signal.pidfd_send_signal(descriptor, how)
            finally:
                os.close(descriptor)
            self.strikes[child, incarnation] = how

    def settle(self) -> None:
        """Wait until every child has come back for the last time."""
        wanted = self._last_incarnations()
        wait_until(
            lambda: all(self._is_ready(child, incarnation) for child, incarnation in wanted.items()),
            LONGEST_CALM,
            "every child is ready again",
        )

    def mistakes(self) -> list[str]:
        """Compare the books with what was done; return what does not agree."""
        found: list[str] = []
        exits = {(one.child, one.incarnation): one.reason for one in self.tree.seen(ChildExited)}
        if len(exits) != len(self.tree.seen(ChildExited)):
            found.append("an end was published twice")
        for which, how in self.strikes.items():
            if exits.get(which) != _reason(how):
                found.append(f"{which} was struck by {how.name}, and is said to have ended so: {exits.get(which)}")
        found += [f"{which} ended, and nobody had struck it: {exits[which]}" for which in exits.keys() - self.strikes]
        for child, incarnation in self._last_incarnations().items():
            restarts = self.tree.ask(lambda core, child=child: core.restarts(child))
            if restarts != incarnation - 1:
                found.append(f"{child}: {restarts} restarts are counted, {incarnation - 1} were due")
        wanted = {pid for _, pid in self.tree.pids.values()}
        there = set(linux.children_of(self.tree.hub.fork_server_pid))
        if there != wanted:
            found.append(f"processes beyond the children: {there - wanted}; missing: {wanted - there}")
        self.tree.ask(lambda core: core.check_invariants())
        return found

    def _targets(self, *, ready: bool) -> list[tuple[str, int, int]]:
        """Return the incarnations that nobody has struck yet; of those only the ready ones if that is asked for."""
        found = [(child, *which) for child, which in sorted(self.tree.pids.items())]
        unstruck = [one for one in found if one[:2] not in self.strikes]
        return [one for one in unstruck if not ready or self._is_ready(*one[:2])]

    def _is_ready(self, child: str, incarnation: int) -> bool:
        return any(
            isinstance(one, ChildRunning) and (one.child, one.incarnation) == (child, incarnation)
            for one in reversed(self.tree.events)
        )

    def _last_incarnations(self) -> dict[str, int]:
        struck = Counter(child for child, _ in self.strikes)
        return {one.id: struck[one.id] + 1 for one in self.tree.specs}


def _reason(how: signal.Signals) -> ExitReason:
    return Silent(SILENT_SECONDS) if how is signal.SIGSTOP else Crashed(signal=how)


def _no_more(now: tuple[int, int], before: tuple[int, int]) -> bool:
    return all(one <= former for one, former in zip(now, before, strict=True))


def rage_in(directory: Path, strikes: int, seed: int) -> tuple[list[str], Counter[str]]:
    """Let a storm go over a tree; return what does not agree afterwards, and how often each signal struck."""
    with Tree(directory, *storm_specs(), flags=STORM_FLAGS) as tree:
        tree.all_ready()
        before = tree.descriptors()
        storm = Storm(tree, seed)
        storm.rage(strikes)
        storm.settle()
        mistakes = storm.mistakes()
        wait_until(lambda: _no_more(tree.descriptors(), before), 60.0, f"no descriptor more than {before}")
        return mistakes, Counter(how.name for how in storm.strikes.values())


def main() -> int:
    """Let one storm go over a tree, and say how it went."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=1_000, help="strikes (default: 1000)")
    parser.add_argument("--seed", type=int, default=0, help="decides who is struck, and how; 0 draws one")
    options = parser.parse_args()
    seed = options.seed or random.SystemRandom().randrange(1, 1_000_000)
    sys.stdout.write(f"{options.kills} strikes on {CHILDREN} children, seed {seed}\n")
    sys.stdout.flush()
    began = monotonic()
    with tempfile.TemporaryDirectory() as directory:
        mistakes, struck = rage_in(Path(directory), options.kills, seed)
    for mistake in mistakes:
        sys.stdout.write(f"WRONG: {mistake}\n")
    counts = ", ".join(f"{count} {name}" for name, count in sorted(struck.items()))
    sys.stdout.write(f"{counts}; {len(mistakes)} mistakes; {monotonic() - began:.1f} s\n")
    return 1 if mistakes else 0


if __name__ == "__main__":
    sys.exit(main())
