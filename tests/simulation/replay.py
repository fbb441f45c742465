"""Run a history from a file again, and tell everything that happens in it.

python -m tests.simulation.replay FILE
python -m tests.simulation.replay --seed NUMBER
"""

import sys
from pathlib import Path

import msgspec

from tests.simulation.draw import draw
from tests.simulation.history import History, from_json
from tests.simulation.simulate import simulate


def load(arguments: list[str]) -> History:
    """Return the history that is meant.

    Raises:
        ValueError: the arguments are none, or the file holds no history.
        OSError: the file cannot be read.
    """
    match arguments:
        case ["--seed", number]:
            return draw(int(number))
        case [file]:
            return from_json(Path(file).read_text(encoding="utf-8"))
        case _:
            raise ValueError("give the file of a history, or --seed and its number")


def main(arguments: list[str]) -> int:
    """Replay; 0 if all is well, 1 if something is wrong, 2 if there is nothing to replay."""
    try:
        history = load(arguments)
        outcome = simulate(history, tell=print)
    except (OSError, ValueError, msgspec.MsgspecError) as error:
        print(f"replay: {error}\n{__doc__}", file=sys.stderr)  # noqa: T201  a program for a terminal
        return 2
    seen = f"{outcome.events} events in {outcome.hours:.1f} hours of supervisors"
    print(f"{outcome.failure or 'nothing is wrong'}\n{seen}")  # noqa: T201  as above
    return 1 if outcome.failure else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
