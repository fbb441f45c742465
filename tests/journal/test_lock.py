"""The project lock: one holder, named to everyone else, freed by its death, and never lost unnoticed."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path, PosixPath

import pytest

from actors.paths import ProjectPaths
from supervisor.lock import Holder, LockHeldError, ProjectLock, _lock_file, read_holder

CHECKOUT = Path(__file__).parents[2]

HOLD = """
import sys
from pathlib import Path
from supervisor.lock import LockHeldError, ProjectLock
from actors.paths import ProjectPaths

sys.stdin.readline()
try:
    lock = ProjectLock.acquire(ProjectPaths(Path(sys.argv[1])), "the other")
except LockHeldError as error:
    print("held by", error.holder.pid, flush=True)
else:
    print("mine", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def paths(tmp_path: Path) -> ProjectPaths:
    return ProjectPaths(tmp_path)


@contextmanager
def contender(paths: ProjectPaths) -> Iterator[subprocess.Popen[str]]:
    """Start a process that takes the lock when it gets a line, says how it went, and holds until another."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(paths.project)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=CHECKOUT,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def answer(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@pytest.mark.row("P4", "F19")
def test_a_second_start_is_refused_with_the_name_of_the_first(paths: ProjectPaths) -> None:
    with ProjectLock.acquire(paths, "milestonectl run m1"):
        with pytest.raises(LockHeldError, match=r" \(milestonectl run m1\) since 20") as caught:
            ProjectLock.acquire(paths, "milestoned")
        holder = caught.value.holder
        assert (holder.pid, holder.what) == (os.getpid(), "milestonectl run m1")
        assert holder.boot == Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        assert read_holder(paths) == holder
    assert read_holder(paths) is None


def test_the_lock_can_be_taken_again_after_it_was_given_back(paths: ProjectPaths) -> None:
    for number in range(3):
        lock = ProjectLock.acquire(paths, f"life {number}")
        assert lock.still_ours()
        lock.close()
        assert not lock.still_ours()
        lock.close()
    assert paths.lock.exists()


@pytest.mark.row("F19")
def test_of_processes_that_start_at_once_exactly_one_gets_it(paths: ProjectPaths) -> None:
    for _ in range(3):
        with contender(paths) as one, contender(paths) as two, contender(paths) as three:
            processes = (one, two, three)
            for process in processes:
                go(process)
            answers = [answer(process) for process in processes]
            assert answers.count("mine") == 1
            winner = processes[answers.index("mine")]
            assert answers.count(f"held by {winner.pid}") == 2


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_death_of_the_holder_frees_the_lock(paths: ProjectPaths, number: signal.Signals) -> None:
    with contender(paths) as other:
        go(other)
        assert answer(other) == "mine"
        with pytest.raises(LockHeldError) as caught:
            ProjectLock.acquire(paths, "me")
        assert caught.value.holder.what == "the other"
        other.send_signal(number)
        other.wait(60)
        with ProjectLock.acquire(paths, "me") as lock:
            assert lock.still_ours()


@pytest.mark.row("F19")
def test_a_start_is_refused_even_after_somebody_deleted_the_file(paths: ProjectPaths) -> None:
    with ProjectLock.acquire(paths, "me") as lock:
        paths.lock.unlink()
        assert not lock.still_ours()
        with contender(paths) as other:
            go(other)
            assert answer(other) == f"held by {os.getpid()}"
        holder = read_holder(paths)
        assert holder is not None
        assert holder.pid == os.getpid()


@pytest.mark.row("F26")
def test_the_holder_notices_that_the_directory_was_replaced(paths: ProjectPaths) -> None:
    with ProjectLock.acquire(paths, "me") as lock:
        paths.milestones.rename(paths.project / "moved")
        assert not lock.still_ours()
        paths.milestones.mkdir()
        paths.lock.write_bytes(b"")
        assert not lock.still_ours()


def test_a_name_that_a_killed_holder_left_is_not_taken_for_the_present_one(paths: ProjectPaths) -> None:
    with ProjectLock.acquire(paths, "me"):
        paths.lock.write_bytes(b'{"pid":1,"what":"long dead","since":"","host":"","boot":""}')
        with pytest.raises(LockHeldError) as caught:
            ProjectLock.acquire(paths, "me too")
        assert caught.value.holder == Holder(pid=os.getpid())


def test_a_symbolic_link_in_the_place_of_the_lock_is_refused(paths: ProjectPaths, tmp_path: Path) -> None:
    paths.milestones.mkdir()
    target = tmp_path / "precious"
    target.write_bytes(b"content")
    paths.lock.symlink_to(target)
    with pytest.raises(OSError, match="is a symbolic link: milestoned writes there"):
        ProjectLock.acquire(paths, "me")
    assert target.read_bytes() == b"content"


class _Unsteady(PosixPath):
    """A path whose file somebody deletes when it is first looked at."""

    deleted = False

    def lstat(self) -> os.stat_result:
        if not _Unsteady.deleted:
            _Unsteady.deleted = True
            self.unlink()
        return super().lstat()


def _open_below(folder: Path) -> Iterator[int]:
    """Iterate over this process's descriptors of files below a folder, deleted ones too."""
    for one in sorted(Path("/proc/self/fd").iterdir()):
        with suppress(OSError):  # the one that lists them
            if str(one.readlink()).startswith(f"{folder}/"):
                yield int(one.name)


def test_a_lock_file_that_is_deleted_while_it_is_locked_stays_open_nowhere(tmp_path: Path) -> None:
    with ExitStack() as opened:
        file = _lock_file(_Unsteady(tmp_path / "lock"), opened)
        assert list(_open_below(tmp_path)) == [file]
    assert _Unsteady.deleted


@pytest.mark.row("F22")
def test_a_project_whose_path_is_no_utf_8_is_refused_with_what_to_do(tmp_path: Path) -> None:
    paths = ProjectPaths(tmp_path / os.fsdecode(b"caf\xe9"))
    paths.milestones.mkdir(parents=True)
    with pytest.raises(OSError, match=r"caf\\xe9 is no path in UTF-8: rename the directory") as refused:
        ProjectLock.acquire(paths, "me")
    assert str(refused.value).isprintable()
    assert list(paths.milestones.iterdir()) == []


def test_a_child_that_was_started_meanwhile_does_not_keep_the_lock(paths: ProjectPaths) -> None:
    lock = ProjectLock.acquire(paths, "me")
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, close_fds=False):
        lock.close()
        with ProjectLock.acquire(paths, "me again"):
            pass
