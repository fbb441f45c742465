"""Crash to ready: how long from SIGKILL of a child until its replacement said that it is ready.

Compares five ways, alternating in one run, because only their ratio means something on a shared machine:

- *bare*: a single-threaded parent with the same imports kills its child, learns of it from a pidfd, waits for
  it, forks another, and reads its ready byte. Nothing can be faster without a standby.
- *launcher*: the same through the fork server: kill, `ChildExited` (what the child left is gone), launch,
  ready byte over the link.

- *role*: a real role of a real session, through hub and supervisor: kill, replacement, the session's snapshot
  after more than 1,000 events sent and decoded, the role rebuilt, its ``Ready`` received.

- *actor*: an actor of one's own, which has no state, under the library's ``Supervisor``.
- *actor, standby*: the same with ``ChildSpec(standby=1)``: a process that was forked in advance takes its place. Each
  round begins when one waits.

Budget: median at most 2.0 times, 99th percentile at most 3 times the bare way's, for the role. The launcher's row
is the mechanism alone, and nothing with a standby is meant.

Usage: python -m bench.restart [--rounds 300] [--directory /var/tmp] [--json]
"""

import argparse
import gc
import importlib
import json
import os
import queue
import select
import shutil
import signal
import socket
import statistics
import struct
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from time import monotonic, perf_counter
from typing import Final, TypeVar

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import attrs
import pykka

from actors.events import AttemptStarted, Settings
from actors.model import Isolation
from supervisor import ChildRunning, ChildSpec, StandbyWaiting, Supervisor, SupervisorFlags
from supervisor import core_events as told
from supervisor import session_run as supervisor_run
from supervisor.conduct import FLAGS
from supervisor.fork_protocol import ChildExited
from supervisor.forked import find_function
from supervisor.launcher import Launched, Launcher, Report
from supervisor.notices import Recorded
from supervisor.opening import open_run
from supervisor.sole_run import SoleRun

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
    "actors.cast",
    "supervisor.forked",
    "supervisor.runner",
)
WAYS: Final = ("bare", "launcher", "role", "actor", "actor, standby")
ROLE: Final = "progress_monitor"
E = TypeVar("E")

TASKS: Final = 250
"""Tasks of the session before the one that lasts: four events each."""

WARM_UP: Final = 20
"""Rounds before the first that counts."""


class Idle(pykka.ThreadingActor):
    """Be the child of the library's ways: do nothing, live until killed."""


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


class BareApart:
    """The bare way in a process of its own, forked before this one has threads."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair()
        self._pid = os.fork()
        if self._pid == 0:
            self._socket.close()
            gc.collect()
            gc.freeze()
            bare = Bare()
            while theirs.recv(1):
                theirs.send(struct.pack("d", _milliseconds(bare.restart)))
            bare.stop()
            os._exit(0)
        theirs.close()

    def milliseconds(self) -> float:
        """Restart once; return how long it took."""
        self._socket.send(b"r")
        (took,) = struct.unpack("d", self._socket.recv(8))
        return float(took)

    def stop(self) -> None:
        """End it."""
        self._socket.close()
        os.waitpid(self._pid, 0)


class Session(SoleRun):
    """A session that tells when a role was spawned and when it is ready."""

    def __init__(self, directory: str) -> None:
        # The bench kills more often than a session may restart in its lifetime.
        vars(supervisor_run)["FLAGS"] = attrs.evolve(FLAGS, intensity=1_000_000)
        self._project = project = Path(tempfile.mkdtemp(prefix="bench-restart-", dir=directory))
        active = project / ".milestones" / "active"
        active.mkdir(parents=True)
        ids = [f"t{number}" for number in range(TASKS)]
        tasks = [f"  - {{id: {one}, title: T, run: 'true'}}" for one in ids]
        last = f"  - {{id: last, title: T, run: sleep 3600, depends_on: [{', '.join(ids)}]}}"
        text = "\n".join(["id: m", "title: M", "tasks:", *tasks, last, ""])
        (active / "m.yaml").write_text(text, encoding="utf-8")
        settings = Settings(max_parallel=8, isolation=Isolation.NONE)
        super().__init__(open_run(project, "m", settings, what="bench"))
        self.ready: queue.SimpleQueue[float] = queue.SimpleQueue()
        self._role = 0
        self.start()
        self.ready.get()
        while not self._is_at_last():
            continue

    def tell(self, message: told.Event) -> None:
        """Note the moment, in the hub's thread."""
        match message:
            case told.Spawned(child=child, pid=pid) if child == ROLE:
                self._role = pid or 0
            case told.Ready(child=child) if child == ROLE:
                self.ready.put(perf_counter())
            case _:
                pass
        super().tell(message)

    def _is_at_last(self) -> bool:
        notice = self.notices.get()
        items = notice.items if isinstance(notice, Recorded) else ()
        return any(isinstance(event, AttemptStarted) and event.attempt == "last.1" for _, event in items)

    def close(self, timeout: float = 15.0) -> bool:
        """End it, and leave nothing of it."""
        closed = super().close(timeout)
        shutil.rmtree(self._project, ignore_errors=True)
        return closed

    def milliseconds(self) -> float:
        """Kill the role; return how long it takes until its replacement is ready."""
        began = perf_counter()
        os.kill(self._role, signal.SIGKILL)
        return (self.ready.get() - began) * 1000


class Library:
    """An actor under the library's supervisor.

    Args:
        standby: How many processes wait in advance for it.
    """

    def __init__(self, standby: int) -> None:
        self._standby = standby
        spec = ChildSpec("idle", Idle, standby=standby)
        self._supervisor = Supervisor([spec], SupervisorFlags(intensity=1_000_000, period=60.0))
        self._supervisor.start()
        self._events = self._supervisor.events()
        self._pid = self._next(ChildRunning).pid or 0

    def _next(self, kind: type[E]) -> E:
        return next(event for event in self._events if isinstance(event, kind))

    def milliseconds(self) -> float:
        """Kill the actor once all that wait do so; return how long it takes until the next one is ready."""
        if self._standby:
            self._next(StandbyWaiting)
        began = monotonic()
        os.kill(self._pid, signal.SIGKILL)
        running = self._next(ChildRunning)
        self._pid = running.pid or 0
        return (running.at - began) * 1000

    def stop(self) -> None:
        """End it."""
        self._supervisor.stop()


def _wait(descriptor: int) -> None:
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    poller.poll()


def _milliseconds(way: Callable[[], None]) -> float:
    begin = perf_counter()
    way()
    return (perf_counter() - begin) * 1000


def measure(rounds: int, directory: str) -> dict[str, float]:
    """Run the ways in turn; return medians and 99th percentiles in milliseconds, and their ratios."""
    for module in PRELOAD:
        importlib.import_module(module)
    find_function("bench.restart:child")
    bare = BareApart()
    launching, session = Launching(), Session(directory)
    actor, ready = Library(standby=0), Library(standby=1)

    def once() -> tuple[float, ...]:
        alone = bare.milliseconds()
        restarted = _milliseconds(launching.restart)
        return alone, restarted, session.milliseconds(), actor.milliseconds(), ready.milliseconds()

    for _ in range(WARM_UP):
        once()
    times = [once() for _ in range(rounds)]
    ready.stop()
    actor.stop()
    session.close()
    launching.stop()
    bare.stop()
    figures = {}
    for name, column in zip(WAYS, zip(*times, strict=True), strict=True):
        figures[f"{name}_median"] = statistics.median(column)
        figures[f"{name}_p99"] = statistics.quantiles(column, n=100)[98]
        for figure in ("median", "p99"):
            figures[f"{name}_ratio_{figure}"] = figures[f"{name}_{figure}"] / figures[f"bare_{figure}"]
    return {name: round(value, 3) for name, value in figures.items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=300, help="restarts by each way (default: 300)")
    parser.add_argument("--directory", default="/var/tmp", help="where to work, on a disk (default: /var/tmp)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    figures = measure(options.rounds, options.directory)
    if options.json:
        print(json.dumps(figures))
        return
    print(f"crash to ready, {options.rounds} alternating rounds      median     p99   ratios (budget 2.0 and 3)")
    for name in WAYS:
        both = (figures[f"{name}_ratio_{figure}"] for figure in ("median", "p99"))
        ratios = " ".join(f"{ratio:.2f}" for ratio in both)
        print(f"  {name:38s} {figures[name + '_median']:8.2f} {figures[name + '_p99']:8.2f} ms  {ratios}")


if __name__ == "__main__":
    main()
