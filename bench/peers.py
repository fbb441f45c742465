"""Crash to ready, side by side: our role beside PM2, runit, Supervisor, circus, `multiprocessing.Pool` and OTP.

Each keeps the same Python child with the same five libraries. The child says that it is ready by its pid on a datagram
socket; it is killed with SIGKILL, and what counts is the time until the next pid comes. All are kept at once and take
turns, with a pause between the turns, so that nobody is killed within the second in which some call a start failed.
Defaults are theirs, but for Supervisor's `startsecs=0` (with its own default of 1 s it would only look slower) and
circus' own check, which runs every 5 s by default.

What is not installed is skipped by name: `apt install runit erlang-base`, `npm install pm2`, `pip install supervisor
circus` into an environment of their own; `--path DIR` names further directories with programs.

Usage: python -m bench.peers [--rounds 15] [--path DIR]... [--json]
"""

import argparse
import contextlib
import json
import multiprocessing  # noqa: TID251 - it is one of those that are compared
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event
from time import perf_counter
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.restart import BareApart, Session

PAUSE: Final = 1.3
"""Seconds between two turns of the same way."""

LONGEST: Final = 30.0
"""Seconds after which a replacement is given up."""

CHILD: Final = """\
import os, signal, socket, sys
import attrs, loguru, msgspec, psutil, pykka
socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(str(os.getpid()).encode(), sys.argv[1])
signal.pause()
"""

OTP: Final = """\
-module(keeper).
-behaviour(supervisor).
-export([start/1, init/1, child/1, loop/1]).
start([Python, Child, Ready]) ->
    {ok, _} = supervisor:start_link(?MODULE, [atom_to_list(Python), atom_to_list(Child), atom_to_list(Ready)]),
    receive never -> ok end.
init(Args) ->
    {ok, {#{strategy => one_for_one, intensity => 1000, period => 1},
          [#{id => child, start => {?MODULE, child, [Args]}}]}}.
child(Args) -> {ok, spawn_link(?MODULE, loop, [Args])}.
loop([Python, Child, Ready]) ->
    Port = open_port({spawn_executable, Python}, [{args, [Child, Ready]}, exit_status]),
    receive {Port, {exit_status, Status}} -> exit({died, Status}) end.
"""


class Peer:
    """A keeper of one child.

    Args:
        name: As the table has it.
        folder: Its own.
        start: Starts it, given the folder, the child's program and the address of the ready socket; returns what
            ends it.
    """

    def __init__(self, name: str, folder: Path, start: Callable[[Path, Path, Path], Callable[[], None]]) -> None:
        self.name = name
        folder.mkdir()
        address = folder / "ready.sock"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(address))
        self._socket.settimeout(LONGEST)
        program = folder / "child.py"
        program.write_text(CHILD, encoding="utf-8")
        self._stop = start(folder, program, address)
        self._pid = int(self._socket.recv(32))

    def milliseconds(self) -> float:
        """Kill the child; return how long it takes until its replacement is ready."""
        began = perf_counter()
        os.kill(self._pid, signal.SIGKILL)
        self._pid = int(self._socket.recv(32))
        return (perf_counter() - began) * 1000

    def stop(self) -> None:
        """End the keeper, and what is left of its child."""
        self._stop()
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)
        self._socket.close()


def _process(command: list[str], folder: Path, **environment: str) -> Callable[[], None]:
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env={**os.environ, **environment},
        )

    def stop() -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    return stop


def runit(folder: Path, program: Path, ready: Path) -> Callable[[], None]:
    """Keep it by runsv."""
    service = folder / "service"
    service.mkdir()
    run = service / "run"
    run.write_text(f"#!/bin/sh\nexec {sys.executable} {program} {ready}\n", encoding="utf-8")
    run.chmod(0o755)
    return _process(["runsv", str(service)], folder)


def supervisord(folder: Path, program: Path, ready: Path) -> Callable[[], None]:
    """Keep it by Supervisor."""
    config = folder / "supervisord.conf"
    config.write_text(
        f"[supervisord]\nnodaemon=true\nlogfile={folder}/supervisord.log\npidfile={folder}/pid\n"
        f"[program:child]\ncommand={sys.executable} {program} {ready}\nautorestart=true\nstartsecs=0\n",
        encoding="utf-8",
    )
    return _process(["supervisord", "-c", str(config)], folder)


def circus(folder: Path, program: Path, ready: Path) -> Callable[[], None]:
    """Keep it by circusd."""
    config = folder / "circus.ini"
    sockets = "".join(f"{name} = ipc://{folder}/{name}\n" for name in ("endpoint", "pubsub_endpoint"))
    config.write_text(
        f"[circus]\n{sockets}[watcher:child]\ncmd = {sys.executable}\nargs = {program} {ready}\ncopy_env = True\n",
        encoding="utf-8",
    )
    return _process(["circusd", str(config)], folder)


def pm2(folder: Path, program: Path, ready: Path) -> Callable[[], None]:
    """Keep it by PM2, with a home of its own."""
    home = {"PM2_HOME": str(folder / "home")}
    environment = {**os.environ, **home}
    words = ["pm2", "start", str(program), "--interpreter", sys.executable, "--name", "child", "--", str(ready)]
    subprocess.run(words, env=environment, cwd=folder, check=True, capture_output=True, timeout=60)
    return lambda: _run_quietly(["pm2", "kill"], environment)


def _run_quietly(words: list[str], environment: dict[str, str]) -> None:
    subprocess.run(words, env=environment, check=False, capture_output=True, timeout=60)


def otp(folder: Path, program: Path, ready: Path) -> Callable[[], None]:
    """Keep it by an OTP supervisor, as the owner of a port."""
    (folder / "keeper.erl").write_text(OTP, encoding="utf-8")
    subprocess.run(["erlc", "keeper.erl"], cwd=folder, check=True, capture_output=True, timeout=60)
    call = f"keeper:start(['{sys.executable}', '{program}', '{ready}'])."
    return _process(["erl", "-noshell", "-noinput", "-eval", call], folder)


def pool(folder: Path, program: Path, ready: Path) -> Callable[[], None]:
    """Keep it by `multiprocessing.Pool`, whose workers are forked from a process with the same imports."""
    words = [sys.executable, "-m", "bench.peers", "--be-pool", str(ready)]
    del program
    return _process(words, folder, PYTHONPATH=str(Path(__file__).resolve().parents[1]))


def be_pool(ready: str) -> None:
    """Be a pool of one worker that says that it is ready."""
    with multiprocessing.get_context("forkserver").Pool(1, _say_ready, (ready,)):
        signal.pause()


def _say_ready(address: str) -> None:
    import attrs  # noqa: F401, PLC0415 - as the others' child does
    import loguru  # noqa: F401, PLC0415
    import msgspec  # noqa: F401, PLC0415
    import psutil  # noqa: F401, PLC0415
    import pykka  # noqa: F401, PLC0415

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.sendto(str(os.getpid()).encode(), address)


PEERS: Final = {
    "multiprocessing.Pool": ((), pool),
    "OTP, owner of a port": (("erl", "erlc"), otp),
    "runit": (("runsv",), runit),
    "PM2": (("pm2", "node"), pm2),
    "Supervisor": (("supervisord",), supervisord),
    "circus": (("circusd",), circus),
}
"""Name -> programs that it needs, and how it is started."""


def _missing(programs: tuple[str, ...]) -> list[str]:
    return [program for program in programs if shutil.which(program) is None]


@contextlib.contextmanager
def keepers(directory: Path) -> Iterator[list[Peer]]:
    """Start whatever is installed, say what is not, and end all of it."""
    with contextlib.ExitStack() as stack:
        found = []
        for number, (name, (programs, start)) in enumerate(PEERS.items()):
            missing = _missing(programs)
            if missing:
                print(f"  {name}: skipped, not installed: {', '.join(missing)}", file=sys.stderr)
                continue
            peer = Peer(name, directory / str(number), start)
            stack.callback(peer.stop)
            found.append(peer)
        yield found


def measure(rounds: int, directory: str) -> dict[str, dict[str, float]]:
    """Let all ways take turns; return median and largest time of each in milliseconds."""
    never = Event()
    bare = BareApart()
    session = Session(directory)
    times: dict[str, list[float]] = {}
    try:
        # In /tmp: the path of a socket has 107 bytes.
        with tempfile.TemporaryDirectory(prefix="peers-", dir="/tmp") as folder, keepers(Path(folder)) as peers:
            ways = {"bare fork": bare.milliseconds, "milestoned, role with state": session.milliseconds}
            ways |= {peer.name: peer.milliseconds for peer in peers}
            for turn in range(rounds + 1):
                never.wait(PAUSE)
                for name, way in ways.items():
                    took = way()
                    if turn:  # the first warms up
                        times.setdefault(name, []).append(took)
    finally:
        session.close()
        bare.stop()
    return {
        name: {"median": round(statistics.median(column), 2), "largest": round(max(column), 2)}
        for name, column in times.items()
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=15, help="restarts by each way (default: 15)")
    parser.add_argument("--path", action="append", default=[], help="further directory with programs")
    parser.add_argument("--directory", default="/var/tmp", help="where our session works (default: /var/tmp)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--be-pool", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.be_pool:
        be_pool(options.be_pool)
        return
    os.environ["PATH"] = os.pathsep.join([*options.path, os.environ["PATH"]])
    figures = measure(options.rounds, options.directory)
    if options.json:
        print(json.dumps(figures))
        return
    ours = figures["milestoned, role with state"]["median"]
    print(f"SIGKILL to ready, {options.rounds} turns each            median     largest   against ours")
    for name, found in figures.items():
        print(f"  {name:36s} {found['median']:9.1f} {found['largest']:9.1f} ms {found['median'] / ours:9.1f} x")


if __name__ == "__main__":
    main()
