"""What measuring costs: the sampler's share of a core for a tree of many children, and how often it looks then.

Starts so many children (sleeping processes), has all of them followed with limits of memory, and compares the
processor time of the sampler's thread with the time that went by. Budget: 500 processes below 2 % of a core. Beside
it, what one round would cost through psutil's objects.

Usage: python -m bench.sampling [--children 500] [--seconds 20] [--json]
"""

import argparse
import contextlib
import json
import subprocess
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import psutil

from actors.limits import Limit, Limits
from supervisor.limits import Sample
from supervisor.linux import start_ticks
from supervisor.sampling import Sampler, Subject


class Counted(Sampler):
    """The sampler, which says at its end what its thread took."""

    took = 0.0

    def run(self) -> None:
        """Measure, then count; in the sampler's thread."""
        super().run()
        self.took = time.thread_time()


def through_psutil(pids: list[int]) -> float:
    """Return the processor milliseconds of one round through psutil, children counted in."""
    processes = [psutil.Process(pid) for pid in pids]
    before = time.thread_time()
    for process in processes:
        for one in (process, *process.children()):
            with one.oneshot():
                one.cpu_times(), one.memory_info(), one.num_threads()
    return (time.thread_time() - before) * 1000


def measure(children: int, seconds: float) -> dict[str, float]:
    """Follow children for a time; return the figures."""
    rounds: list[int] = []
    limits = Limits(memory=Limit(soft=1 << 40))
    with contextlib.ExitStack() as ending:
        processes = [subprocess.Popen(["sleep", "3600"]) for _ in range(children)]
        for process in processes:
            ending.callback(process.wait)
            ending.callback(process.kill)
        sampler = Counted()
        seen = threading.Event()

        def observe(samples: dict[str, Sample]) -> None:
            rounds.append(len(samples))
            seen.set()

        feed = sampler.open(observe, lambda _: None, lambda trouble: sys.exit(trouble.reason))
        for number, process in enumerate(processes):
            began = start_ticks(process.pid)
            if began is not None:
                feed.follow(Subject(str(number), 1, process.pid, began, limits))
        began_at = time.monotonic()
        sampler.start()
        threading.Event().wait(seconds)
        elapsed = time.monotonic() - began_at
        interval = sampler.interval
        sampler.stop()
        return {
            "children": children,
            "rounds": len(rounds),
            "measured": min(rounds, default=0),
            "share_percent": round(100 * sampler.took / elapsed, 3),
            "round_ms": round(1000 * sampler.took / max(1, len(rounds)), 2),
            "interval_s": round(interval, 2),
            "psutil_round_ms": round(through_psutil([process.pid for process in processes[:10]]) * children / 10, 2),
        }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--children", type=int, default=500, help="processes that are followed (default: 500)")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long (default: 20)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    figures = measure(options.children, options.seconds)
    if options.json:
        print(json.dumps(figures))
        return
    print(f"sampling {figures['children']:.0f} children, {figures['rounds']:.0f} rounds, all measured in each")
    print(f"  share of a core          {figures['share_percent']:8.2f} %   (budget 2 %)")
    print(f"  one round                {figures['round_ms']:8.2f} ms  every {figures['interval_s']:.1f} s")
    print(f"  the same through psutil  {figures['psutil_round_ms']:8.2f} ms  (reckoned from ten)")


if __name__ == "__main__":
    main()
