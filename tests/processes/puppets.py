"""Entries for forked children that do as they are told over their link, a line at a time, and never sleep.

A puppet says ``ready`` and its pid, then obeys: ``exit N``, ``leave WORDS``, ``raise WORDS``, ``spawn HOW``
(a program that waits for a signal; answers its pid), ``forget HOW`` (the same, orphaned at once), ``run`` (a
program that forks for ever), ``show WHAT`` (answers JSON). End of file ends it with status 0.
"""

import ctypes
import json
import os
import random
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from supervisor import linux

NOBODY: Final = 54_321

# Ignores what can be ignored and waits for a signal that cannot.
_STUBBORN: Final = """
import os, signal
for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
    signal.signal(number, signal.SIG_IGN)
print(os.getpid(), flush=True)
while True:
    signal.pause()
"""

# Each generation leaves the session and its parent's, and lives for about a millisecond: for ever.
_RUNAWAY: Final = """
import os, select
print(os.getpid(), flush=True)
os.close(1)
while True:
    select.poll().poll(1)
    if os.fork():
        os._exit(0)
    os.setsid()
"""


def _spawn(program: str, how: str) -> int:
    environment: dict[str, str] | None = {} if how == "bare" else None
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        start_new_session=how in {"session", "bare"},
        env=environment,
    )
    assert process.stdout is not None
    return int(process.stdout.readline())


def _stay() -> int:
    """Fork a process that execs nothing, and so has no mark in the environment that others can read."""
    pid = os.fork()
    while pid == 0:
        signal.pause()
    return pid


def _forget(how: str) -> int:
    """Spawn from a process that ends at once, so that the program loses its parent."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        left = _stay() if how == "fork" else _spawn(_STUBBORN, how)
        os.write(writing, b"%d\n" % left)
        os._exit(0)
    os.close(writing)
    os.waitpid(pid, 0)
    with os.fdopen(reading, "rb") as stream:
        return int(stream.readline())


def _death_signal() -> int:
    number = ctypes.c_int()
    linux._libc().prctl(2, ctypes.addressof(number), 0, 0, 0)
    return number.value


def _descriptors() -> dict[str, str]:
    # The one that lists is among the names, and closed by the time that its target is read.
    links = [link for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    return {link.name: str(link.readlink()) for link in links}


def _show(what: str, args: Mapping[str, object]) -> object:
    shown: dict[str, Callable[[], object]] = {
        "args": lambda: dict(args),
        "descriptors": _descriptors,
        "session": lambda: [os.getsid(0), os.getpgid(0)],
        "default": lambda: all(
            signal.getsignal(one) in {signal.SIG_DFL, None}
            for one in signal.valid_signals() - {signal.SIGPIPE, signal.SIGXFSZ}
        ),
        "blocked": lambda: sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
        "random": random.random,
        "death signal": _death_signal,
        "mark": lambda: os.environ["MILESTONED_CHILD"],
        "name": lambda: Path("/proc/self/comm").read_text(encoding="utf-8").strip(),
        "modules": lambda: sorted(sys.modules),
        "path": lambda: sys.path,
        "cwd": os.getcwd,
        "pids": lambda: sorted(linux.all_pids()),
        "adopts": lambda: linux.children_of(os.getpid()),
    }
    return shown[what]()


def _obey(line: str, args: Mapping[str, object]) -> object:
    verb, _, rest = line.partition(" ")
    match verb:
        case "exit":
            sys.exit(int(rest))
        case "leave":
            sys.exit(rest)
        case "raise":
            raise RuntimeError(rest)
        case "spawn":
            return _spawn(_STUBBORN, rest)
        case "forget":
            return _forget(rest)
        case "run":
            return _spawn(_RUNAWAY, "session")
        case "show":
            return _show(rest, args)
        case _:
            raise ValueError(line)


def puppet(link: socket.socket, args: Mapping[str, object]) -> int:
    """Obey what comes over the link."""
    with link, link.makefile("rw", encoding="utf-8") as stream:
        stream.write(f"ready {os.getpid()}\n")
        stream.flush()
        for line in stream:
            answer = _obey(line.rstrip("\n"), args)
            stream.write(json.dumps(answer) + "\n")
            stream.flush()
    return 0


def stubborn(link: socket.socket, _args: Mapping[str, object]) -> int:
    """Say that it is ready, and ignore the end of the link and every signal that can be ignored."""
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    link.sendall(b"ready %d\n" % os.getpid())
    while True:
        signal.pause()


def subreaper(link: socket.socket, args: Mapping[str, object]) -> int:
    """Adopt orphans as the task runner does, and obey."""
    linux.set_child_subreaper()
    return puppet(link, args)


def returns_nothing(link: socket.socket, _args: Mapping[str, object]) -> None:
    """End at once, with what a function without a result returns."""
    link.close()


def start_a_thread() -> None:
    """Do what no preloaded module may do."""
    import threading  # noqa: PLC0415 - only this puppet needs it

    threading.Thread(target=threading.Event().wait, name="left by a module", daemon=True).start()


def warm() -> None:
    """Leave a trace that a child can see."""
    sys.modules["warmed_up"] = sys


def be_limited() -> None:
    """Become a user with no process but this one, no privilege, and two processes at most."""
    resource.setrlimit(resource.RLIMIT_NPROC, (2, 2))
    os.setresuid(NOBODY, NOBODY, NOBODY)


def fail_to_warm() -> None:
    """Raise, as broken code does."""
    raise LookupError("cold\nas ice")
