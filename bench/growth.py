"""Memory, descriptors and threads of a daemon over many sessions: what it has, and whether that stops growing.

    python -m bench.growth [--sessions 300] [--directory /var/tmp]

One daemon executes session after session of three tasks each, every one begun over the control socket. Its resident
memory, open descriptors and threads are printed after each tenth of them. The descriptors come and go with the
processes of a session. Nothing is compared with a peer.
"""

import argparse
import contextlib
import subprocess
import sys
import tempfile
from pathlib import Path
from threading import Event
from time import monotonic

import psutil

from bench.control import connect

TASKS = 3
LONGEST = 60.0


def project(directory: str) -> Path:
    """Make a project without milestones."""
    folder = Path(tempfile.mkdtemp(prefix="bench-growth-", dir=directory))
    (folder / ".milestones" / "active").mkdir(parents=True)
    who = ["-c", "user.name=bench", "-c", "user.email=bench@localhost"]
    subprocess.run(["git", "init", "--quiet", "--initial-branch=main"], cwd=folder, check=True)
    subprocess.run(["git", *who, "commit", "--quiet", "--allow-empty", "--message=begin"], cwd=folder, check=True)
    return folder


def write(folder: Path, name: str) -> Path:
    """Write a milestone whose tasks change a file each."""
    tasks = [f"  - {{id: t{one}, title: T, run: 'echo {name} > file-{one}'}}\n" for one in range(TASKS)]
    path = folder / ".milestones" / "active" / f"{name}.yaml"
    path.write_text("".join((f"id: {name}\ntitle: M\ntasks:\n", *tasks)), encoding="utf-8")
    return path


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Memory of a daemon over many sessions.")
    parser.add_argument("--sessions", type=int, default=300)
    parser.add_argument("--directory", default="/var/tmp", help="where to work, on a disk (default: /var/tmp)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-growth-", dir=options.directory) as top:
        folder = project(top)
        script = str(Path(sys.executable).with_name("milestoned"))
        with (folder / ".milestones" / "daemon.log").open("w") as log:
            daemon = psutil.Popen([script, str(folder)], stdout=log, stderr=log)
        with connect(folder) as client, contextlib.ExitStack() as ends:
            ends.callback(daemon.wait)
            ends.callback(daemon.terminate)
            for number in range(1, options.sessions + 1):
                path = write(folder, f"m{number}")
                client.ask("start", names=[path.stem], wait=False)
                until = monotonic() + LONGEST
                while path.exists():
                    if monotonic() > until:
                        raise SystemExit(f"{path} is not done after {LONGEST:g} s")
                    Event().wait(0.02)
                if number % max(1, options.sessions // 10) == 0:
                    size = daemon.memory_info().rss / 1e6
                    held = f"{daemon.num_fds()} descriptors, {daemon.num_threads()} threads"
                    print(f"{number:5} sessions: {size:5.1f} MB, {held}", flush=True)


if __name__ == "__main__":
    main()
