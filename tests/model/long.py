"""As many steps of the model as one likes: ``python -m tests.model.long --steps 50000 --seed 1``."""

import argparse
import sys
import time
from collections.abc import Collection

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.model.machine import Session

LENGTH = 50
"""Steps of one run."""

BLOCK = 100
"""Runs of one seed."""


def block(number: int, phases: Collection[Phase] = tuple(Phase)) -> None:
    """Run the machine from a seed.

    Args:
        number: The seed.
        phases: Of hypothesis; without the others, ``generate`` only finds out whether a promise is broken.

    Raises:
        AssertionError: A promise was broken; hypothesis has printed the shortest way to it.
    """
    chosen = settings(
        max_examples=BLOCK,
        phases=phases,
        report_multiple_bugs=False,
        stateful_step_count=LENGTH,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(seed(number)(type("Session", (Session,), {})), settings=chosen)


def main(arguments: list[str]) -> int:
    """Run blocks until there are enough steps; a broken promise ends it with what hypothesis says."""
    parser = argparse.ArgumentParser(prog="model", description="drive sessions against the model of one")
    parser.add_argument("--steps", type=int, default=50_000, help="how many at least (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the first block (default: %(default)s)")
    given = parser.parse_args(arguments)
    began, number = time.monotonic(), given.seed
    while Session.steps < given.steps:
        print(f"seed {number}: {Session.steps} steps so far", flush=True)  # noqa: T201 - a program for a terminal
        block(number)
        number += 1
    taken = time.monotonic() - began
    print(f"{Session.steps} steps from seed {given.seed} in {taken:.0f} s: no promise was broken")  # noqa: T201 - as above
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
