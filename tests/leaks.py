"""Finds what a test leaves behind: processes, threads, actors, open descriptors, files.

Owns looking and cleaning up. A process belongs to a test when it descends from this one, or when its
environment, its working folder or an open file of it names the test's mark or folders: so one that was
orphaned, or that has shed its environment, is found as well, and those of a test that runs beside this one
are not. Only pids that were not there when the test began are looked at: reading what every process of the machine has
open, for each of thousands of tests, was more work than most of the tests.

Everything gets `GRACE` seconds to end by itself: what a test stopped may still be on its way out.
"""

import contextlib
import gc
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Final

import psutil
import pykka
import pytest
from attrs import field, frozen

from tests.isolation import MARK, World

GRACE: Final = 30.0
"""Seconds that remain for ending: nothing of a session may outlive its end by more."""

_PAUSE: Final = 0.02

# Made by the tools that run the tests, in the checkout, at any time.
_TOOL_FILES: Final = (
    ".coverage",
    ".hypothesis",
    ".mypy_cache",
    ".pytest_cache",
    ".ruff_cache",
    "__pycache__",
)


@frozen
class Leak:
    """One thing left behind.

    Attributes:
        what: The thing, as the failure names it.
        end: Does away with it as far as that is possible, so that the next test does not meet it.
    """

    what: str
    end: Callable[[], None] = field(repr=False)


@frozen
class Snapshot:
    """What is there before a test: threads, (descriptor, target) pairs, pids, paths in the checkout."""

    threads: frozenset[threading.Thread]
    descriptors: frozenset[tuple[int, str]]
    pids: frozenset[int]
    files: frozenset[Path]


def take_snapshot(checkout: Path) -> Snapshot:
    """Look at this process and at the top of the checkout."""
    return Snapshot(
        threads=frozenset(threading.enumerate()),
        descriptors=frozenset(_descriptors()),
        pids=frozenset(psutil.pids()),
        files=frozenset(_files(checkout)),
    )


def leaks_since(before: Snapshot, checkout: Path, world: World, folders: tuple[Path, ...]) -> list[Leak]:
    """List what is there now and was not before.

    Args:
        before: The state when the test began.
        checkout: The folder whose top level, and whose `.milestones`, must not get new entries.
        world: The test's mark and temporary folder.
        folders: The test's own folders; a process that stands in one of them is the test's.
    """
    return [
        *_left_processes(before, world, folders),
        *_left_threads(before),
        *_left_actors(),
        *_left_descriptors(before),
        *_left_files(before, checkout, world),
    ]


@pytest.fixture(autouse=True)
def _no_leaks(world: World, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail the test that leaves something behind, and do away with it."""
    checkout = request.config.rootpath
    folders = (tmp_path, world.home)
    before = take_snapshot(checkout)
    yield
    give_up_at = monotonic() + GRACE
    never = threading.Event()
    while leaks := leaks_since(before, checkout, world, folders):
        if monotonic() >= give_up_at:
            break
        gc.collect()
        never.wait(_PAUSE)
    for leak in leaks:
        leak.end()
    if leaks:
        pytest.fail("the test left behind: " + "; ".join(leak.what for leak in leaks), pytrace=False)


def _left_processes(before: Snapshot, world: World, folders: tuple[Path, ...]) -> Iterator[Leak]:
    traces = (f"{MARK}={world.mark}", *(f"{folder}/" for folder in folders))
    found = []
    for pid in sorted(set(psutil.pids()) - before.pids):
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            if _descends(process) or _names(process, traces):
                found.append(process)
    for process in found:
        try:
            state = process.status()
            ours = process.ppid() == os.getpid()
            command = process.name() if state == psutil.STATUS_ZOMBIE else " ".join(process.cmdline())
        except psutil.NoSuchProcess:
            continue
        # A zombie that is not our child is its parent's to wait for: init's, which does so in its own time.
        if state == psutil.STATUS_ZOMBIE and not ours:
            continue
        what = "zombie (nobody waited for it)" if state == psutil.STATUS_ZOMBIE else "process"
        yield Leak(f"{what} {process.pid} [{command}]", partial(_end_process, process))


def _descends(process: psutil.Process) -> bool:
    """Tell whether this process is an ancestor of another."""
    return os.getpid() in (parent.pid for parent in process.parents())


def _names(process: psutil.Process, traces: tuple[str, ...]) -> bool:
    """Tell whether the environment, working folder or an open file of a process has one of the traces."""
    place = Path("/proc", str(process.pid))
    try:
        environment = (place / "environ").read_bytes().decode(errors="replace")
        if any(trace in environment for trace in traces):
            return True
        links = [place / "cwd", *(place / "fd").iterdir()]
    except OSError:
        return False
    targets = [_target(link) for link in links]
    return any(trace in f"{target}/" for target in targets for trace in traces)


def _end_process(process: psutil.Process) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        process.kill()
    with contextlib.suppress(ChildProcessError):
        os.waitpid(process.pid, 0)


def _left_threads(before: Snapshot) -> Iterator[Leak]:
    for thread in set(threading.enumerate()) - before.threads:
        yield Leak(f"thread {thread.name!r}", lambda: None)


def _left_actors() -> Iterator[Leak]:
    for actor in pykka.ActorRegistry.get_all():
        yield Leak(f"actor {actor}", partial(_stop_actor, actor))


def _stop_actor(actor: pykka.ActorRef[pykka.Actor]) -> None:
    actor.stop(block=False)


def _descriptors() -> Iterator[tuple[int, str]]:
    for link in Path("/proc/self/fd").iterdir():
        if target := _target(link):
            yield int(link.name), target


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except OSError:
        return ""


def _left_descriptors(before: Snapshot) -> Iterator[Leak]:
    own_listing = f"/proc/{os.getpid()}/fd"
    for number, target in sorted(set(_descriptors()) - before.descriptors):
        if target == own_listing or any(name in target for name in _TOOL_FILES):
            continue
        yield Leak(f"descriptor {number} -> {target}", partial(_close, number))


def _close(number: int) -> None:
    with contextlib.suppress(OSError):
        os.close(number)


def _files(checkout: Path) -> Iterator[Path]:
    yield from checkout.iterdir()
    yield from (checkout / ".milestones").rglob("*")


def _left_files(before: Snapshot, checkout: Path, world: World) -> Iterator[Leak]:
    in_checkout = [path for path in _files(checkout) if not path.name.startswith(_TOOL_FILES)]
    for path in sorted({*in_checkout, *world.scratch.iterdir()} - before.files):
        yield Leak(f"file {path}", partial(_remove, path))


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
