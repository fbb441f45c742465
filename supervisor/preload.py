"""What the fork server does before its first fork: sound signals, loaded modules, a still heap, one thread.

Owns the state that every child begins with. Refuses to know sockets and children.
"""

import gc
import os
import signal

from actors.targets import load
from supervisor.fork_protocol import Start
from supervisor.forked import find_function


def reset_signals() -> None:
    """Undo what the host had blocked or ignored: both outlive exec, and an ignored SIGCHLD loses statuses.

    The interpreter's own handler for SIGINT goes too: a terminal's Ctrl-C does not come here, because the
    server and its children have sessions of their own.
    """
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    # No process can change the first two, and every Python ignores the others.
    kept = {signal.SIGKILL, signal.SIGSTOP, signal.SIGPIPE, signal.SIGXFSZ}
    for number in signal.valid_signals() - kept:
        signal.signal(number, signal.SIG_DFL)


def preload(start: Start) -> None:
    """Import and warm up, and leave the garbage collector nothing of it to touch.

    What attrs leaves behind of each class is collected as modules are loaded, and what is loaded next takes its place;
    a collection at the end would leave holes, which each child would fill for itself, page by page.

    Raises:
        RuntimeError: Something of it started a thread, which no child would have.
        Exception: Whatever a module raises while it loads.
    """
    for module in start.preload:
        load(module)
    for name in start.warm_up:
        find_function(name)()
    with os.scandir("/proc/self/task") as threads:
        count = sum(1 for _ in threads)
    if count != 1:
        raise RuntimeError(
            f"preloading left {count - 1} thread(s) running, which no forked child would have: "
            "start threads when the child runs, not when a module is imported"
        )
    gc.freeze()
