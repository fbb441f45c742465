"""Reading and checking 10,000 tasks, beside `yaml.load` of the same bytes.

Prints the ratio of the medians, taken alternately in one process, with the collector on and off (`yaml.load`
leaves it on, and loses more than half of its time to it), and the ratio of our peak of memory to what
`yaml.load` returns.
Budgets: not slower than `yaml.load(CSafeLoader)`; peak at most three times its result.

    python bench/reader.py [TASKS] [ROUNDS]
"""

import gc
import statistics
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from actors.reader import read


def milestone_of(tasks: int) -> bytes:
    """Return a file with this many tasks, each depending on up to three earlier ones."""
    lines = ["id: large", "title: A large milestone", "status: planned", "tasks:"]
    for number in range(tasks):
        before = sorted({number - 1, number // 2, number // 3} - {number})
        depends_on = ", ".join(f"task-{other:05}" for other in before if other >= 0)
        lines += [
            f"  - id: task-{number:05}",
            f'    title: "Do part {number} of the work"',
            "    status: pending",
            f"    depends_on: [{depends_on}]",
            f"    run: make part-{number}",
            "    verify: [make check]",
            "    timeout: 5m",
            f"    files: [src/part_{number}.py]",
        ]
    return "\n".join([*lines, ""]).encode()


def load(data: bytes) -> object:
    """Load as everybody does."""
    return yaml.load(data, Loader=yaml.CSafeLoader)  # noqa: TID251 - what we are compared with


def read_and_check(data: bytes) -> object:
    """Read as milestoned does, all checks of the plan included."""
    reading = read(data, "large.yaml")
    if reading.milestone is None or reading.problems:
        raise SystemExit(f"the generated file does not read: {reading.problems[:3]}")
    return reading


def seconds(call: Callable[[bytes], object], data: bytes) -> float:
    """Return how long one call takes, its result kept until after the clock stopped."""
    gc.collect()
    started = perf_counter()
    result = call(data)
    took = perf_counter() - started
    del result
    return took


def memory(call: Callable[[bytes], object], data: bytes) -> tuple[int, int]:
    """Return what the result of one call holds, and what the call held at its peak, in bytes."""
    gc.collect()
    tracemalloc.start()
    result = call(data)
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    del result
    return held, peak


def main() -> None:
    """Measure and print."""
    tasks = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    data = milestone_of(tasks)
    python = sys.version.split()[0]
    print(f"{tasks:,} tasks, {len(data) / 1e6:.2f} MB, {rounds} alternating rounds, Python {python}")
    for collector in (True, False):
        (gc.enable if collector else gc.disable)()
        pairs = [(seconds(read_and_check, data), seconds(load, data)) for _ in range(rounds)]
        ours, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
        print(
            f"collector {'on ' if collector else 'off'}: read and check {ours * 1e3:7.1f} ms, "
            f"yaml.load {theirs * 1e3:7.1f} ms, ratio {ours / theirs:.2f} (budget 1.00)"
        )
    gc.enable()
    held, _ = memory(load, data)
    ours_held, ours_peak = memory(read_and_check, data)
    print(
        f"memory: yaml.load returns {held / 1e6:.1f} MB; we return {ours_held / 1e6:.1f} MB and peak at "
        f"{ours_peak / 1e6:.1f} MB, ratio {ours_peak / held:.2f} (budget 3.00)"
    )


if __name__ == "__main__":
    main()
