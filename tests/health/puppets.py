"""Children of a supervisor under test: each incarnation behaves as its spec says, in a forked process.

``do`` of the arguments lists behaviours, one for each incarnation, the last for all further ones:

- ``live``: ready at once, beats, goes when told to;
- ``crash``: ends with status 3 instead of getting ready; ``mute``: never gets ready;
- ``stuck``: ready, then its loop hangs while a thread beside it goes on writing ``thread lives`` to a file;
- ``eat``: ready, then holds 100 MiB more than it began with;
- ``deaf``: ready, beats, and stays when it is told to go;
- ``flood``: ready, beats, and prints a kilobyte with each beat, and a megabyte before the first;
- ``litter``: ready after it has left processes that ignore TERM: in its own group, in a session of their own, and one
  that holds its output; it writes their pids to the file that ``note`` names.

Owns doing exactly that. Refuses to decide anything.
"""

import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from time import monotonic
from typing import Final

from actors.frames import FRAMING, Beat, Frame, Leave, Ready
from supervisor.links import Link

BEAT_SECONDS: Final = 0.2
EATEN: Final = 100 * 1024**2

_DEAF: Final = """
import os, signal
for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
    signal.signal(number, signal.SIG_IGN)
print(os.getpid(), flush=True)
while True:
    signal.pause()
"""


def child(sock: socket.socket, args: Mapping[str, object]) -> int:
    """Be a child; see the module."""
    do, incarnation = args["do"], args["incarnation"]
    assert isinstance(do, list)
    assert isinstance(incarnation, int)
    behaviour = do[min(incarnation, len(do)) - 1]
    link = Link(sock, "child", incarnation, FRAMING)
    if behaviour == "crash":
        return 3
    if behaviour == "litter":
        Path(str(args["note"])).write_text(" ".join(map(str, _litter())), encoding="ascii")
    if behaviour == "mute":
        while select.select([sock], [], [])[0] and not link.read()[1]:
            continue
        return 0
    link.send(Ready())
    if behaviour == "stuck":
        _stick(Path(str(args["note"])))
    held = b"x" * EATEN if behaviour == "eat" else b""
    if behaviour == "flood":
        os.write(1, b"f" * 1023 * 1024 + b"\n")
    return _loop(sock, link, behaviour, held)


def _loop(sock: socket.socket, link: Link[Frame], behaviour: str, _held: bytes) -> int:
    beat_at = monotonic()
    while True:
        if monotonic() >= beat_at:
            link.send(Beat(monotonic()))
            if behaviour == "flood":
                os.write(1, b"x" * 1023 + b"\n")
            beat_at = monotonic() + BEAT_SECONDS
        if select.select([sock], [], [], max(0.0, beat_at - monotonic()))[0]:
            frames, gone = link.read()
            if gone or (behaviour != "deaf" and any(isinstance(frame, Leave) for frame in frames)):
                return 0


def _stick(note: Path) -> None:
    def write() -> None:
        with note.open("a", encoding="ascii") as stream:
            while True:
                stream.write("thread lives\n")
                stream.flush()
                threading.Event().wait(BEAT_SECONDS)

    threading.Thread(target=write, daemon=True).start()
    threading.Event().wait()


def _litter() -> list[int]:
    """Leave a process in our group, one in a session of its own, and one whose parent has ended."""
    found = []
    for apart in (False, True):
        process = subprocess.Popen(
            [sys.executable, "-c", _DEAF], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, start_new_session=apart
        )
        assert process.stdout is not None
        found.append(int(process.stdout.readline()))
    orphan = os.fork()
    if orphan == 0:
        orphan = os.fork()
        if orphan == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            while True:
                signal.pause()  # holds the output that it was born with
        os.write(2, b"%d\n" % orphan)
        os._exit(0)
    os.waitpid(orphan, 0)
    return found
