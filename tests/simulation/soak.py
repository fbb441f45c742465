"""Random histories for as long as one likes; each that goes wrong is shrunk and written to a file.

python -m tests.simulation.soak --minutes 10 --seed 1 --keep FOLDER
"""

import argparse
import sys
import time
from pathlib import Path

from tests.simulation.draw import draw
from tests.simulation.simulate import report, shrink, simulate


def main(arguments: list[str]) -> int:
    """Soak; 1 if something was wrong."""
    parser = argparse.ArgumentParser(prog="soak", description="run random histories of supervision trees")
    parser.add_argument("--minutes", type=float, default=10.0, help="how long (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the first history (default: %(default)s)")
    parser.add_argument("--keep", type=Path, default=Path(), help="folder for failing histories (default: here)")
    given = parser.parse_args(arguments)
    began = time.monotonic()
    seed, events, hours, failures = given.seed, 0, 0.0, 0
    while time.monotonic() < began + given.minutes * 60:
        history = draw(seed)
        outcome = simulate(history)
        events, hours, seed = events + outcome.events, hours + outcome.hours, seed + 1
        if outcome.failure:
            failures += 1
            shorter = shrink(history)
            print(report(shorter, simulate(shorter), given.keep), flush=True)  # noqa: T201  a program for a terminal
    taken = time.monotonic() - began
    print(  # noqa: T201  as above
        f"{seed - given.seed} histories from seed {given.seed}: {hours:.0f} hours of supervisors, {events} events, "
        f"{events / taken:.0f} a second; {failures} went wrong"
    )
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
