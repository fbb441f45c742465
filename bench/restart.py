"""Crash to ready: how long from SIGKILL of a child until its replacement said that it is ready.

Compares two ways, alternating in one run, because only their ratio means something on a shared machine:

- *bare*: a single-threaded parent with the same imports kills its child, learns of it from a pidfd, waits for
  it, forks another, and reads its ready byte. Nothing can be faster without a standby.
- *launcher*: the same through the fork server: kill, `ChildExited` (what the child left is gone), launch,
  ready byte over the link.

Budget: median at most 2.0 times, 99th percentile at most 3 times the bare way's. Here stands the mechanism
alone; what a role does to rebuild its state comes on top, in both ways.

Usage: python bench/restart.py [--rounds 300] [--json]
"""

import argparse
import gc
import importlib
import json
import os
import select
import signal
import socket
import statistics
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from time import perf_counter
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from supervisor.fork_protocol import ChildExited
from supervisor.forked import find_function
from supervisor.launcher import Launched, Launcher, Report

PRELOAD: Final = (
    "attrs",
    "loguru",
    "msgspec",
    "psutil",
    "pykka",
    "yaml",
    "actors.frames",
    "actors.host",
    "actors.role",
    "actors.state",
    "supervisor.forked",
)
WARM_UP: Final = 20
"""Rounds before the first that counts."""


def child(link: socket.socket, _args: Mapping[str, object]) -> int:
    """Be the child of both ways: say ready, live until killed."""
    link.send(b"r")
    link.recv(1)
    return 0


class Bare:
    """The way that nothing can beat: the parent forks by itself."""

    def __init__(self) -> None:
        self._replace()

    def _replace(self) -> None:
        self._link, theirs = socket.socketpair()
        self._pid = os.fork()
        if self._pid == 0:
            self._link.close()
            child(theirs, {})
            os._exit(0)
        theirs.close()
        self._pidfd = os.pidfd_open(self._pid)
        self._link.recv(1)

    def restart(self) -> None:
        """Kill, notice, replace, read the ready byte."""
        os.kill(self._pid, signal.SIGKILL)
        _wait(self._pidfd)
        os.waitpid(self._pid, 0)
        os.close(self._pidfd)
        self._link.close()
        self._replace()

    def stop(self) -> None:
        """End the child."""
        self._link.close()
        os.waitpid(self._pid, 0)
        os.close(self._pidfd)


class Launching:
    """Our way."""

    def __init__(self) -> None:
        self._launcher = Launcher.start((*PRELOAD, "bench.restart"))
        self._incarnation = 0
        self._replace()

    def _replace(self) -> None:
        self._incarnation += 1
        self._link = self._launcher.launch("child", self._incarnation, "bench.restart:child", {})
        launched = self._report(Launched)
        if not isinstance(launched, Launched) or launched.pidfd is None:
            raise SystemExit(f"bench: no child: {launched}")
        self._pidfd = launched.pidfd
        _wait(self._link.fileno())
        self._link.recv(1)

    def _report(self, kind: type[Report]) -> Report:
        while True:
            _wait(self._launcher.fileno())
            for report in self._launcher.read():
                if isinstance(report, kind):
                    return report

    def restart(self) -> None:
        """Kill, hear the reason, launch, read the ready byte."""
        signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        _wait(self._pidfd)
        self._report(ChildExited)
        os.close(self._pidfd)
        self._link.close()
        self._replace()

    def stop(self) -> None:
        """End child and fork server."""
        self._link.close()
        self._launcher.stop()
        os.close(self._pidfd)


def _wait(descriptor: int) -> None:
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    poller.poll()


def _milliseconds(way: Callable[[], None]) -> float:
    begin = perf_counter()
    way()
    return (perf_counter() - begin) * 1000


def measure(rounds: int) -> dict[str, float]:
    """Run both ways in turn; return medians and 99th percentiles in milliseconds, and their ratios."""
    for module in PRELOAD:
        importlib.import_module(module)
    find_function("bench.restart:child")
    gc.collect()
    gc.freeze()
    bare, launching = Bare(), Launching()
    for way in (bare.restart, launching.restart) * WARM_UP:
        way()
    times = [(_milliseconds(bare.restart), _milliseconds(launching.restart)) for _ in range(rounds)]
    launching.stop()
    bare.stop()
    figures = {}
    for name, column in zip(("bare", "launcher"), zip(*times, strict=True), strict=True):
        figures[f"{name}_median"] = statistics.median(column)
        figures[f"{name}_p99"] = statistics.quantiles(column, n=100)[98]
    for figure in ("median", "p99"):
        figures[f"ratio_{figure}"] = figures[f"launcher_{figure}"] / figures[f"bare_{figure}"]
    return {name: round(value, 3) for name, value in figures.items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=300, help="restarts by each way (default: 300)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    figures = measure(options.rounds)
    if options.json:
        print(json.dumps(figures))
        return
    print(f"crash to ready, {options.rounds} alternating rounds, ms      median     p99")
    for name in ("bare", "launcher"):
        print(f"  {name:48s} {figures[name + '_median']:7.2f} {figures[name + '_p99']:7.2f}")
    print(f"  {'ratio (budget 2.0 and 3)':48s} {figures['ratio_median']:7.2f} {figures['ratio_p99']:7.2f}")


if __name__ == "__main__":
    main()
