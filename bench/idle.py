"""Memory and CPU of a session at rest: five roles, the runner and one sleeping task.

    python -m bench.idle [--seconds 30] [--supervisord /path/to/supervisord] [--directory /var/tmp]

Prints, for a session embedded in a bare process (what the daemon is) and for `milestonectl run`, the sum of the
processes' proportional set sizes and the CPU that they take, the task left out; beside it the same for Supervisor
with five sleeping Python children, where a supervisord is named (it cannot live in our environment: its package
has our name). Budget: 1.3 times Supervisor's memory, 0.3 % of a core.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from threading import Event

import psutil

SETTLE_SECONDS = 6.0

EMBEDDED = """
import sys, threading
from pathlib import Path
from actors.events import Settings
from actors.model import Isolation
from supervisor.opening import open_run
from supervisor.sole_run import SoleRun
run = SoleRun(open_run(Path(sys.argv[1]), "m", Settings(isolation=Isolation.NONE), what="bench"))
run.start()
sys.stdin.read()
run.close()
"""


def project(directory: str) -> str:
    """Make a project with one task that sleeps."""
    folder = tempfile.mkdtemp(prefix="bench-idle-", dir=directory)
    active = Path(folder, ".milestones", "active")
    active.mkdir(parents=True)
    (active / "m.yaml").write_text("id: m\ntitle: M\ntasks:\n  - {id: a, title: A, run: exec sleep 3600}\n")
    return folder


def supervisord_config(directory: str) -> str:
    """Write the configuration of a Supervisor with five sleeping Python children."""
    folder = Path(tempfile.mkdtemp(prefix="bench-idle-", dir=directory))
    lines = ["[supervisord]", "nodaemon=true", f"logfile={folder}/log", f"pidfile={folder}/pid"]
    for number in range(5):
        lines += [f"[program:p{number}]", f"command={sys.executable} -c 'import time; time.sleep(3600)'"]
    (folder / "supervisord.conf").write_text("\n".join([*lines, ""]))
    return str(folder / "supervisord.conf")


def processes(top: psutil.Process) -> Iterator[psutil.Process]:
    """Iterate over a process and everything below it, tasks left out."""
    yield from (one for one in (top, *top.children(recursive=True)) if one.name() != "sleep")


def cpu(top: psutil.Process) -> float:
    """Return the CPU seconds that the processes have taken so far."""
    return sum(sum(one.cpu_times()[:2]) for one in processes(top))


def measure(name: str, command: list[str], seconds: float) -> float:
    """Start something, let it come to rest, and print what it takes; return megabytes."""
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    Event().wait(SETTLE_SECONDS)
    top = psutil.Process(process.pid)
    began = cpu(top)
    Event().wait(seconds)
    percent = (cpu(top) - began) / seconds * 100
    sizes = {one.pid: (one.name(), one.memory_full_info().pss / 1e6) for one in processes(top)}
    total = sum(size for _, size in sizes.values())
    print(f"{name:24} {len(sizes)} processes, PSS {total:6.1f} MB, CPU {percent:.2f} % of a core (budget 0.3)")
    print("   " + ", ".join(f"{which} {size:.1f}" for which, size in sizes.values()))
    os.kill(process.pid, signal.SIGTERM)
    process.communicate()
    return total


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Memory and CPU of a session at rest.")
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--supervisord", default="", help="a supervisord to compare with")
    parser.add_argument("--directory", default="/var/tmp", help="where to work, on a disk (default: /var/tmp)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-idle-", dir=options.directory) as top:
        embedded = measure("embedded", [sys.executable, "-c", EMBEDDED, project(top)], options.seconds)
        run = [sys.executable, "-m", "supervisor.cli", "-C", project(top), "run", "m", "--isolation", "none"]
        measure("milestonectl run", run, options.seconds)
        if options.supervisord:
            config = supervisord_config(top)
            theirs = measure("Supervisor", [options.supervisord, "-n", "-c", config], options.seconds)
            print(f"embedded / Supervisor: {embedded / theirs:.2f} (budget 1.3 for the daemon, 1.5 embedded)")


if __name__ == "__main__":
    main()
