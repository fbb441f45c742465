"""How long a client waits for an answer while the supervising process has other things to do.

    python -m bench.control [--seconds 8] [--tasks 10000] [--directory /var/tmp]

Asks for the status of a session again and again, over its control socket: of a session at rest, of one of which a role
is killed every 50 ms, of one that executes many short tasks, and of one with both. Budget: the 99th percentile of the
last three is 50 ms at the most; what the session at rest takes is the thing to compare with.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from threading import Event
from time import perf_counter

from supervisor.client import Client, NoDaemonError

BUDGET = 50.0
KILL_SECONDS = 0.05
PAUSE_SECONDS = 0.002
ROLES = ("progress_monitor", "task_executor", "blocker_detector", "git_integration", "dependency_validator")

# A session whose roles may be restarted as often as the bench kills them, in a process of its own.
HOST = """
import sys
from pathlib import Path
import attrs
import supervisor.session_run
supervisor.session_run.FLAGS = attrs.evolve(supervisor.session_run.FLAGS, intensity=1_000_000)
from actors.events import Settings
from actors.model import Isolation
from supervisor.opening import open_run
from supervisor.sole_run import SoleRun
from supervisor.run_control import RunControl
settings = Settings(isolation=Isolation.NONE, max_parallel=8)
run = SoleRun(open_run(Path(sys.argv[1]), "m", settings, what="bench"))
with RunControl(run, "bench", "0") as control:
    run.start()
    sys.stdin.read()
    run.close()
"""


def project(directory: str, tasks: int) -> Path:
    """Make a project with so many tasks of no work, and one that sleeps."""
    folder = Path(tempfile.mkdtemp(prefix="bench-control-", dir=directory))
    (folder / ".milestones" / "active").mkdir(parents=True)
    lines = [f"  - {{id: t{number}, title: T, run: 'true'}}" for number in range(tasks)]
    text = "\n".join(["id: m", "title: M", "tasks:", "  - {id: last, title: L, run: exec sleep 3600}", *lines, ""])
    (folder / ".milestones" / "active" / "m.yaml").write_text(text, encoding="utf-8")
    return folder


def connect(folder: Path) -> Client:
    """Wait until the session can be asked."""
    while True:
        try:
            return Client(folder / ".milestones" / "run" / "control.sock", 60.0)
        except NoDaemonError:
            Event().wait(0.05)


def settled(client: Client) -> bool:
    """Tell whether all roles of the session run."""
    (session,) = client.ask("status")["sessions"]
    return len(session["roles"]) == len(ROLES) + 1 and all(role["state"] == "RUNNING" for role in session["roles"])


def measure(name: str, folder: Path, seconds: float, *, kill: bool) -> float:
    """Host a session, ask for its status for so long, print what that took; return the 99th percentile in ms."""
    host = subprocess.Popen([sys.executable, "-c", HOST, str(folder)], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
    waits: list[float] = []
    kills = done = 0
    with connect(folder) as client, connect(folder) as killer:
        while not settled(client):
            Event().wait(0.05)
        end = perf_counter() + seconds
        next_kill = perf_counter()
        while perf_counter() < end:
            if kill and perf_counter() >= next_kill:
                next_kill = perf_counter() + KILL_SECONDS
                role = ROLES[kills % len(ROLES)]
                (result,) = killer.ask("signal", signal="KILL", names=[f"m:{role}"])
                kills += result["code"] == 0
            began = perf_counter()
            (session,) = client.ask("status")["sessions"]
            waits.append((perf_counter() - began) * 1000)
            done = session["tally"]["counts"]["completed"]
            Event().wait(PAUSE_SECONDS)
    host.communicate()
    p99 = statistics.quantiles(waits, n=100)[98]
    print(
        f"{name:28} {len(waits):5} calls, median {statistics.median(waits):6.2f} ms, p99 {p99:6.2f} ms, "
        f"longest {max(waits):6.2f} ms; {kills} kills, {done} tasks completed"
    )
    return p99


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="How long a client waits for an answer.")
    parser.add_argument("--seconds", type=float, default=8.0, help="for each case")
    parser.add_argument("--tasks", type=int, default=10_000, help="of the session that executes many")
    parser.add_argument("--directory", default="/var/tmp", help="where to work, on a disk (default: /var/tmp)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-control-", dir=options.directory) as top:
        rest = measure("at rest", project(top, 0), options.seconds, kill=False)
        cases = (("a role killed every 50 ms", 0, True), ("many tasks", options.tasks, False))
        for name, tasks, kill in (*cases, ("both", options.tasks, True)):
            p99 = measure(name, project(top, tasks), options.seconds, kill=kill)
            print(
                f"{'':28} p99 {p99 / rest:.1f} x that at rest; budget {BUDGET:g} ms: {'met' if p99 <= BUDGET else 'no'}"
            )


if __name__ == "__main__":
    main()
