"""Children of the tests: actors and functions that do as they are told. Runs in forked children."""

import asyncio
import json
import os
import signal
import struct
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import pykka

from actors.actor_host import Ignore


class Echo(pykka.ThreadingActor):
    """Answers what it was asked, and ends as it is told."""

    def __init__(self, name: str = "", incarnation: int = 0, last_exit: str = "", note: str = "") -> None:
        super().__init__()
        self.name = name
        self.incarnation = incarnation
        self.last_exit = last_exit
        self.note = note
        self.seen: list[object] = []

    def on_receive(self, message: Mapping[str, object]) -> object:
        self.seen.append(message)
        match message:
            case {"do": "who"}:
                who = {"name": self.name, "incarnation": self.incarnation, "last_exit": self.last_exit}
                return {**who, "pid": os.getpid(), "thread": threading.current_thread().name}
            case {"do": "seen"}:
                return self.seen
            case {"do": "raise", "text": text}:
                raise ValueError(text)
            case {"do": "cancel", "text": text}:
                raise asyncio.CancelledError(text)
            case {"do": "stop"}:
                self.stop()
            case {"do": "exit", "code": code}:
                sys.exit(code)  # type: ignore[arg-type]  # whatever the test wants
            case {"do": "hang"}:
                threading.Event().wait()
            case {"do": "wait for", "path": path}:
                while not Path(str(path)).exists():
                    threading.Event().wait(0.02)
            case {"do": "pause", "seconds": float(seconds)}:
                threading.Event().wait(seconds)
            case {"do": "write", "frame": str(frame)}:
                os.write(_link(), struct.pack(">I", len(frame)) + frame.encode("latin-1"))
                threading.Event().wait()
            case {"do": "unsendable"}:
                return threading.Lock()
            case {"do": "start", "argv": [*argv]}:
                return os.posix_spawnp(str(argv[0]), list(map(str, argv)), os.environ)
            case {"do": "grow", "bytes": int(size)}:
                self.seen.append(b"x" * size)
                return len(self.seen)
            case _:
                pass
        return message

    def on_stop(self) -> None:
        if self.note:
            Path(self.note).write_text("stopped in order", encoding="utf-8")

    def on_failure(self, *_: object) -> None:
        if self.note:
            Path(self.note).write_text("failed", encoding="utf-8")


def _link() -> int:
    """Return the descriptor of this process's only socket."""
    (link,) = (int(one.name) for one in Path("/proc/self/fd").iterdir() if one.is_socket())
    return link


class Stubborn(Echo):
    """Does not stop when it is asked to."""

    def on_stop(self) -> None:
        threading.Event().wait()


class Bare(pykka.ThreadingActor):
    """Has forgotten something."""

    def __init__(self) -> None:
        self.name = "bare"


class Failing(pykka.ThreadingActor):
    """Cannot start."""

    def on_start(self) -> None:
        raise LookupError("no such table")


class Refusing(pykka.ThreadingActor):
    """Does not want to run."""

    def on_start(self) -> None:
        raise Ignore


class Listening(pykka.ThreadingActor):
    """Says of its start where it listens."""

    def __init__(self, incarnation: int, info: object = None) -> None:
        super().__init__()
        self.start_info = threading.Lock() if info == "unsendable" else info or {"port": 8000 + incarnation}

    def on_receive(self, message: object) -> object:
        raise ValueError(message)


class Flaky(pykka.ThreadingActor):
    """Starts once, and never again."""

    def __init__(self, incarnation: int) -> None:
        super().__init__()
        self.incarnation = incarnation

    def on_start(self) -> None:
        if self.incarnation > 1:
            raise LookupError("the table is gone")


def work(path: str, incarnation: int) -> None:
    """Say that it runs in the main thread, and wait to be ended."""
    assert threading.current_thread() is threading.main_thread()
    Path(path).write_text(str(incarnation), encoding="utf-8")
    signal.pause()


def finish(status: int) -> int:
    """End at once."""
    return status


def fail() -> None:
    """Raise."""
    raise ZeroDivisionError("nothing to divide by")


def prepare(ready: Callable[[], None], beat: Callable[[], None], path: str) -> None:
    """Say that it is ready when it is, beat once, and hang."""
    Path(path).write_text("prepared", encoding="utf-8")
    ready()
    beat()
    signal.pause()


def misread() -> None:
    """Raise, out of what belongs to the interpreter."""
    json.loads("{")


def give_up() -> None:
    """End with a text."""
    sys.exit("bad config")


class Misreading(pykka.ThreadingActor):
    """Cannot be made."""

    def __init__(self) -> None:
        super().__init__()
        misread()


NEITHER = 5
"""Neither an actor class nor a function."""


def tell_port(ready: Callable[[object], None], incarnation: int) -> None:
    """Say with the readiness what it has."""
    ready({"port": 9000 + incarnation})
    signal.pause()


def never_ready(ready: Callable[[], None]) -> None:
    """Hang before it is ready."""
    assert callable(ready)
    signal.pause()
