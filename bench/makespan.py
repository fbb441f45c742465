"""Makespan of a latency-bound graph: ours against a bare Popen loop that knows the plan, and ninja if it is there.

    python -m bench.makespan [--layers 10] [--width 20] [--seconds 0.2] [--rounds 5] [--directory /var/tmp]

Each layer has so many tasks that sleep, each of which needs all tasks of the layer before; all of a layer run at
once, so the bound is layers x seconds. Ours is taken from the journal, from the first grant to the last completion:
the start of the processes is no part of a plan. Budget: at most 1.03 times the loop, 1.02 times ninja.
"""

import argparse
import os
import select
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from supervisor.journal_reader import JournalReader


def popen_loop(layers: int, width: int, seconds: float) -> float:
    """Run the graph with nothing but Popen and pidfds; return seconds."""
    began = time.perf_counter()
    waiting = select.poll()
    running: dict[int, subprocess.Popen[bytes]] = {}
    for _ in range(layers):
        for _ in range(width):
            command = ["/bin/sh", "-c", f"sleep {seconds}"]
            process = subprocess.Popen(command, start_new_session=True, stdin=subprocess.DEVNULL)
            descriptor = os.pidfd_open(process.pid)
            running[descriptor] = process
            waiting.register(descriptor, select.POLLIN)
        while running:
            for descriptor, _ in waiting.poll():
                running.pop(descriptor).wait()
                waiting.unregister(descriptor)
                os.close(descriptor)
    return time.perf_counter() - began


def ninja(folder: Path, layers: int, width: int, seconds: float) -> float:
    """Run the graph with ninja; return seconds, of the whole process."""
    lines = [f"rule nap\n  command = sleep {seconds} && touch $out"]
    for layer in range(layers):
        needed = " ".join(f"t{layer - 1}.{number}" for number in range(width)) if layer else ""
        lines += [f"build t{layer}.{number}: nap | {needed}" for number in range(width)]
    (folder / "build.ninja").write_text("\n".join([*lines, ""]), encoding="utf-8")
    began = time.perf_counter()
    subprocess.run(["ninja", "-C", str(folder), "-j", str(width)], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def ours(folder: Path, layers: int, width: int, seconds: float) -> float:
    """Run the graph as a milestone; return seconds from the first grant to the last completion."""
    active = folder / ".milestones" / "active"
    active.mkdir(parents=True)
    lines = ["id: m", "title: M", "tasks:"]
    for layer in range(layers):
        needed = ", ".join(f"t{layer - 1}-{number}" for number in range(width)) if layer else ""
        rest = f"title: T, run: sleep {seconds}, depends_on: [{needed}]}}"
        lines += [f"  - {{id: t{layer}-{number}, {rest}" for number in range(width)]
    (active / "m.yaml").write_text("\n".join([*lines, ""]), encoding="utf-8")
    command = [sys.executable, "-m", "supervisor.cli", "-C", str(folder), "run", "m", "--isolation", "none"]
    subprocess.run([*command, "-j", str(width)], check=True, stdout=subprocess.DEVNULL)
    with JournalReader.open(folder / ".milestones" / "state.db") as journal:
        moments = [record.mono for record in journal.records() if record.kind in {"AttemptGranted", "TaskCompleted"}]
    return moments[-1] - moments[0]


def main() -> None:
    """Measure in turns and print the medians."""
    parser = argparse.ArgumentParser(description="Makespan of a latency-bound graph.")
    parser.add_argument("--layers", type=int, default=10)
    parser.add_argument("--width", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=0.2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--directory", default="/var/tmp", help="where to work, on a disk (default: /var/tmp)")
    options = parser.parse_args()
    shape = (options.layers, options.width, options.seconds)
    top = Path(tempfile.mkdtemp(prefix="bench-makespan-", dir=options.directory))
    ways: dict[str, Callable[[Path], float]] = {
        "Popen loop": lambda _: popen_loop(*shape),
        "milestoned": lambda folder: ours(folder, *shape),
    }
    if shutil.which("ninja"):
        ways["ninja"] = lambda folder: ninja(folder, *shape)
    times: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(options.rounds):
        for name, way in ways.items():
            folder = top / f"{name.replace(' ', '-')}-{number}"
            folder.mkdir()
            times[name].append(way(folder))
    shutil.rmtree(top)
    bound = options.layers * options.seconds
    medians = {name: statistics.median(column) for name, column in times.items()}
    print(f"{options.layers} layers of {options.width} x sleep {options.seconds}: bound {bound:.2f} s")
    for name, median in medians.items():
        print(f"  {name:12} {median:6.3f} s   {median / bound:.3f} x the bound")
    print(f"  ratio to the loop {medians['milestoned'] / medians['Popen loop']:.3f} (budget 1.03)")
    if "ninja" in medians:
        print(f"  ratio to ninja    {medians['milestoned'] / medians['ninja']:.3f} (budget 1.02)")


if __name__ == "__main__":
    main()
