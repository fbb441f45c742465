"""What is asked of Linux: processes are found by what they are, and only the meant one is signalled."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from supervisor import linux
from tests.families import members_of_session
from tests.waiting import wait_until

_WAITING = "import signal; print('here', flush=True); signal.pause()"

_FAMILY = f"""
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", {_WAITING!r}], stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
import signal
signal.pause()
"""


@contextmanager
def program(code: str = _WAITING, **environment: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run a program in a session of its own; yield it and the first line that it prints."""
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        env={**os.environ, **environment},
        start_new_session=True,
        text=True,
    )
    assert process.stdout is not None
    with process.stdout:
        line = process.stdout.readline()
        yield process, line.strip()
        linux.kill_until_gone(lambda: members_of_session(process.pid), 60.0)
        process.wait()


def test_a_family_is_found_by_parent() -> None:
    with program(_FAMILY) as (process, line):
        child = int(line)
        assert process.pid in linux.children_of(os.getpid())
        assert linux.children_of(process.pid) == (child,)
        assert linux.descendants(process.pid) == (child,)
        assert child in linux.descendants(os.getpid())


def test_children_are_found_without_the_kernels_list_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linux, "_lists_children", lambda: False)
    with program(_FAMILY) as (process, line):
        assert linux.children_of(process.pid) == (int(line),)
        assert linux.descendants(process.pid) == (int(line),)


def test_a_zombie_is_a_child_but_not_alive() -> None:
    pid = os.posix_spawn(sys.executable, [sys.executable, "-S", "-c", ""], {}, setpgroup=0)
    try:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        assert pid in linux.children_of(os.getpid())
        assert not linux.is_alive(pid)
        assert pid not in linux.descendants(os.getpid())
    finally:
        os.waitpid(pid, 0)
    assert linux.stat_of(pid) is None


def test_a_name_with_spaces_and_parentheses_does_not_confuse_the_reading(tmp_path: Path) -> None:
    named = tmp_path / "a) Z 1 (b"
    named.symlink_to("/bin/sleep")
    process = subprocess.Popen([named, "600"], executable=named)
    try:
        wait_until(lambda: Path(f"/proc/{process.pid}/comm").read_text(encoding="utf-8") == "a) Z 1 (b\n")
        found = linux.stat_of(process.pid)
        assert found is not None
        assert (found.alive, found.parent, found.group) == (True, os.getpid(), os.getpgrp())
    finally:
        process.kill()
        process.wait()


def test_what_is_not_there_is_nothing_and_no_error() -> None:
    process = subprocess.Popen(["true"])
    process.wait()
    pid = process.pid
    assert linux.stat_of(pid) is None
    assert linux.start_ticks(pid) is None
    assert linux.children_of(pid) == ()
    assert linux.descendants(pid) == ()
    assert linux.environment_of(pid) == {}
    assert linux.pidfd_open(pid) is None
    assert not linux.kill_by_pidfd(pid, 0, signal.SIGKILL)


def test_processes_are_found_by_a_mark_in_their_environment_and_by_nothing_like_it() -> None:
    mark = f"value-{os.getpid()}"
    with program(MILESTONED_MARK=mark) as (process, _), program(MILESTONED_MARK=f"{mark}0"):
        assert linux.find_marked("MILESTONED_MARK", mark) == (process.pid,)
        assert linux.find_marked("ILESTONED_MARK", mark) == ()
        assert linux.environment_of(process.pid)[b"MILESTONED_MARK"] == mark.encode()


@pytest.mark.row("P3")
def test_only_the_process_that_started_then_gets_the_signal() -> None:
    with program() as (process, _):
        ticks = linux.start_ticks(process.pid)
        assert ticks is not None
        assert not linux.kill_by_pidfd(process.pid, ticks + 1, signal.SIGKILL)
        assert process.poll() is None
        assert linux.kill_by_pidfd(process.pid, ticks, signal.SIGTERM)
        assert process.wait() == -signal.SIGTERM


def test_killing_goes_on_until_nothing_is_found_and_says_what_is_left() -> None:
    with program(_FAMILY) as (process, line):
        found = linux.kill_until_gone(lambda: [pid for pid in (process.pid, int(line)) if linux.is_alive(pid)], 60.0)
        assert found == ()
        assert process.wait() == -signal.SIGKILL
    assert linux.kill_until_gone(lambda: [1 << 22], 0.02) == (1 << 22,)


@pytest.mark.row("P3")
def test_what_is_no_longer_meant_after_it_was_opened_is_not_killed() -> None:
    answers = iter([True, False, False])
    with program() as (process, _):
        assert linux.kill_until_gone(lambda: [process.pid] if next(answers) else [], 0.5) == ()
        assert linux.is_alive(process.pid)


def test_an_orphan_becomes_the_child_of_a_subreaper() -> None:
    code = f"""
import os, subprocess, sys
from supervisor import linux
linux.set_child_subreaper()
linux.set_process_name("a-name-that-is-too-long")
if (pid := os.fork()) == 0:
    print(subprocess.Popen([sys.executable, "-c", {_WAITING!r}], stdout=subprocess.DEVNULL).pid, flush=True)
    os._exit(0)
os.waitpid(pid, 0)
print(*linux.children_of(os.getpid()), open("/proc/self/comm").read(), flush=True)
os.kill(linux.children_of(os.getpid())[0], 9)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    orphan, adopted, name, *_ = done.stdout.split()
    assert orphan == adopted
    assert name == "a-name-that-is-"


@pytest.mark.parametrize("way", ["_close_all_but", "_close_each_but"])
def test_a_child_keeps_the_descriptors_that_are_its_own_and_no_other(way: str) -> None:
    """By ranges, and where a filter of system calls does not know these, each by itself."""
    code = f"""
import os
from supervisor import forked
kept = os.pipe()
others = [number for _ in range(3) for number in os.pipe()]
forked.{way}({{0, 1, 2, kept[1]}})
def is_open(number):
    try:
        os.fstat(number)
    except OSError:
        return False
    return True
print([is_open(number) for number in (0, 1, 2, *kept, *others)])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == f"{[True, True, True, False, True, *[False] * 6]}\n"


def test_one_without_memory_is_about_to_end_and_one_without_an_environment_is_not() -> None:
    """A process whose first thread has ended stays as it is otherwise for an instant only: ending, without memory."""
    leaving = (
        "import ctypes, threading as t; t.Thread(target=t.Event().wait).start(); ctypes.CDLL(None).pthread_exit(None)"
    )
    with (
        subprocess.Popen([sys.executable, "-c", leaving]) as first,
        subprocess.Popen(["sleep", "60"], env={}) as bare,
        subprocess.Popen(["sleep", "60"], env={"A": "1"}) as other,
    ):
        wait_until(lambda: linux.is_in_between(first.pid), 60.0, "its memory is gone")
        wait_until(lambda: not linux.is_in_between(bare.pid), 60.0, "the other program is executed")
        assert linux.environment_of(bare.pid) == {}
        assert linux.is_in_between(other.pid), "it can be read now"
        for process in (first, bare, other):
            process.kill()
    assert not linux.is_in_between(first.pid)
