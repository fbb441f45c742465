"""The standard streams of a command, where whoever started it has closed them.

A file that is opened takes the lowest number that is free. Were that 0, 1 or 2, what a program prints, our own or one
that we start, would stand in the journal, or go to a client. So what is closed becomes ``/dev/null`` before anything
else is opened. Refuses to know what is printed.
"""

from __future__ import annotations

import os
import sys
from typing import Final

_STREAMS: Final = (0, 1, 2)


def open_closed_streams() -> None:
    """Open what is closed of standard input, output and error; at the very beginning of a process."""
    for number in _STREAMS:
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened == number:
                os.set_inheritable(number, True)  # noqa: FBT003 - the system's own parameter
            else:
                os.dup2(opened, number)
                os.close(opened)
    # Python has nothing in the place of a stream that was closed when it started.
    sys.stdin = sys.stdin or open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - a descriptor
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
