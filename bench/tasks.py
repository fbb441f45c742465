"""Overhead per no-op task: `milestonectl run` with a durable journal and git off, against a bare Popen loop.

    python -m bench.tasks [--sizes 1000,5000] [--rounds 3] [-j 8]

Prints, per size, the medians of alternating rounds in milliseconds per task and their ratio (budget: 2.5), and how
flat the overhead is from the smallest to the largest size (budget: 1.2). The time of a run is taken from the journal:
from the first grant to the last completion, so that start and end of the processes do not count; the whole-process
time is printed beside it.
"""

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from supervisor.journal_reader import JournalReader


def popen_loop(number: int, parallel: int) -> float:
    """Run no-op shell commands with a bare loop; return seconds."""
    started = time.perf_counter()
    running: list[subprocess.Popen[bytes]] = []
    for _ in range(number):
        if len(running) == parallel:
            running.pop(0).wait()
        running.append(subprocess.Popen(["/bin/sh", "-c", "true"], start_new_session=True, stdin=subprocess.DEVNULL))
    for process in running:
        process.wait()
    return time.perf_counter() - started


def milestone_run(folder: Path, number: int, parallel: int) -> tuple[float, float]:
    """Run as many no-op tasks; return seconds from first grant to last completion, and of the whole process."""
    active = folder / ".milestones" / "active"
    active.mkdir(parents=True)
    tasks = "".join(f"  - {{id: t{index}, title: T, run: 'true'}}\n" for index in range(number))
    (active / "m.yaml").write_text(f"id: m\ntitle: M\ntasks:\n{tasks}", encoding="utf-8")
    command = [sys.executable, "-m", "supervisor.cli", "-C", str(folder), "run", "m"]
    started = time.perf_counter()
    subprocess.run([*command, "--isolation", "none", "-j", str(parallel)], check=True, stdout=subprocess.DEVNULL)
    whole = time.perf_counter() - started
    with JournalReader.open(folder / ".milestones" / "state.db") as journal:
        moments = [record.mono for record in journal.records() if record.kind in {"AttemptGranted", "TaskCompleted"}]
    return moments[-1] - moments[0], whole


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Overhead per no-op task.")
    parser.add_argument("--sizes", default="1000,5000", help="numbers of tasks, separated by commas")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("-j", "--parallel", type=int, default=8)
    parser.add_argument("--directory", default="/var/tmp", help="where to work, on a disk (default: /var/tmp)")
    options = parser.parse_args()
    sizes = [int(size) for size in options.sizes.split(",")]
    # Nothing is deleted before the end: after many deletions a file system is slow to create files for a while.
    top = Path(tempfile.mkdtemp(prefix="bench-tasks-", dir=options.directory))
    overhead: dict[int, float] = {}
    for size in sizes:
        ours, whole, bare = [], [], []
        for number in range(options.rounds):
            folder = top / f"{size}-{number}"
            one, all_of_it = milestone_run(folder, size, options.parallel)
            ours.append(one)
            whole.append(all_of_it)
            bare.append(popen_loop(size, options.parallel))
        per_task, loop = (statistics.median(values) / size * 1000 for values in (ours, bare))
        overhead[size] = per_task
        print(
            f"{size:6d} tasks -j{options.parallel}: {per_task:.2f} ms a task, Popen loop {loop:.2f} ms, "
            f"ratio {per_task / loop:.2f} (budget 2.5); whole process {statistics.median(whole):.2f} s"
        )
    shutil.rmtree(top)
    if len(sizes) > 1:
        print(f"flatness {sizes[-1]}/{sizes[0]}: {overhead[sizes[-1]] / overhead[sizes[0]]:.2f} (budget 1.2)")


if __name__ == "__main__":
    main()
