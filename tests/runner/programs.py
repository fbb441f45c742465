"""Programs that tasks run to be hard to end, as text for ``python -c``."""

import shlex
import sys
from typing import Final

DAEMON: Final = """\
import os, sys, signal
if os.fork():
    os.wait()
    sys.exit()
os.setsid()
if os.fork():
    os._exit(0)
open(sys.argv[1] + ".new", "w").write(str(os.getpid()))
os.rename(sys.argv[1] + ".new", sys.argv[1])
signal.pause()
"""
"""Daemonises the classic way (fork, setsid, fork), keeps its output open and writes its pid into a file."""

RUNAWAY: Final = """\
import os, sys, time
end = time.monotonic() + 20.0
while time.monotonic() < end:
    if os.fork():
        os._exit(0)
    os.setsid()
    time.sleep(float(sys.argv[1]))
"""
"""Forks, leaves the parent, becomes a session of its own, and so on for 20 seconds: no pid lives for long."""

STUBBORN: Final = """\
import os, signal, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
open(sys.argv[1] + ".new", "w").write(str(os.getpid()))
os.rename(sys.argv[1] + ".new", sys.argv[1])
while True:
    signal.pause()
"""
"""Ignores TERM, and says so by a file with its pid."""


def program(text: str, *words: str, env: str = "") -> str:
    """Make the shell line that runs a program of this module.

    Args:
        text: The program.
        words: Its arguments.
        env: Words before it, for example ``env -i``.
    """
    line = shlex.join([sys.executable, "-S", "-c", text, *words])
    return f"{env} {line}" if env else line
