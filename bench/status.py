"""How long `milestonectl status` takes as a whole process, beside a bare client that asks the same.

    python -m bench.status [--rounds 25] [--tasks 50] [--directory /var/tmp]

The bare client is the same Python with nothing but `socket`, `struct` and `json`: it sends the same call to the same
process, reads the answer whole and prints it. Budget: 3 times that, for `status` beside a session that lives. What a
command takes at the least (`--help`, `version`), what a shell waits for when Tab is typed, and `status` where nobody
answers and the journal is read, are shown beside it. Alternating rounds, medians.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from threading import Event
from time import perf_counter

from bench.control import connect
from supervisor.control_socket import control_path

BUDGET = 3.0

BARE = """
import json, socket, struct, sys
sock = socket.socket(socket.AF_UNIX)
sock.connect(sys.argv[1])
call = json.dumps({"protocol": 1, "id": 1, "verb": "describe", "args": {}}).encode()
sock.sendall(struct.pack(">I", len(call)) + call)
answer = b""
while len(answer) < 4 or len(answer) < 4 + struct.unpack(">I", answer[:4])[0]:
    answer += sock.recv(65536)
print(json.loads(answer[4:])["result"])
"""


def project(directory: str, tasks: int) -> Path:
    """Make a project whose session does not end by itself."""
    folder = Path(tempfile.mkdtemp(prefix="bench-status-", dir=directory))
    (folder / ".milestones" / "active").mkdir(parents=True)
    rest = [f"  - {{id: t{number}, title: T, run: 'true'}}" for number in range(1, tasks)]
    text = "\n".join(["id: m", "title: M", "tasks:", "  - {id: last, title: L, run: exec sleep 3600}", *rest, ""])
    (folder / ".milestones" / "active" / "m.yaml").write_text(text, encoding="utf-8")
    return folder


def took(command: list[str], env: dict[str, str]) -> float:
    """Run a command to its end; return how long that took, in milliseconds."""
    began = perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env, check=False)
    return (perf_counter() - began) * 1000


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="How long `milestonectl status` takes beside a bare client.")
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--tasks", type=int, default=50, help="of the session that is looked at")
    parser.add_argument("--directory", default="/var/tmp", help="where to work, on a disk (default: /var/tmp)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-status-", dir=options.directory) as top:
        folder = project(top, options.tasks)
        script = str(Path(sys.executable).with_name("milestonectl"))
        ctl = [script, "-C", str(folder)]
        run = subprocess.Popen([*ctl, "run", "m", "--plain", "--isolation", "none"], stdout=subprocess.DEVNULL)
        with connect(folder) as client:
            while client.ask("status")["sessions"][0]["tally"]["counts"]["completed"] < options.tasks - 1:
                Event().wait(0.05)
        plain = dict(os.environ)
        tab = {"_MILESTONECTL_COMPLETE": "bash_complete", "COMP_LINE": f"milestonectl -C {folder} status "}
        cases = {
            "bare client": ([sys.executable, "-c", BARE, str(control_path(folder))], plain),
            "status": ([*ctl, "status"], plain),
            "status --json": ([*ctl, "status", "--json"], plain),
            "--help": ([script, "--help"], plain),
            "version": ([script, "version"], plain),
            "completion of a name": ([script], plain | tab),
        }
        waits: dict[str, list[float]] = {name: [] for name in (*cases, "status from the journal")}
        for _ in range(options.rounds):
            for name, (command, env) in cases.items():
                waits[name].append(took(command, env))
        run.terminate()
        run.wait()
        for _ in range(options.rounds):
            waits["status from the journal"].append(took([*ctl, "status"], plain))
    bare = statistics.median(waits["bare client"])
    for name, measured in waits.items():
        median = statistics.median(measured)
        print(f"{name:24} median {median:6.1f} ms, least {min(measured):6.1f} ms, {median / bare:4.1f} x")
    ratio = statistics.median(waits["status"]) / bare
    print(f"status: {ratio:.1f} x a bare client; budget {BUDGET:g} x: {'met' if ratio <= BUDGET else 'no'}")


if __name__ == "__main__":
    main()
