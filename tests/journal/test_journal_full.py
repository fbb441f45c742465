"""A full disk: nothing half-written, the pause is journaled all the same, and later it goes on."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.events import SessionPaused
from supervisor.journal import Journal, JournalError, JournalFullError, JournalReader
from tests.journal.samples import many, stated

MOST = 20_000


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a file system of 2 MB."""
    if os.geteuid() != 0:
        pytest.skip("a file system of its own can be mounted by root only")
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m,mode=0700", "milestoned-test", str(disk)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def fill(disk: Path) -> Path:
    """Take all the space that is left."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 4096)
    return ballast


def write_until_refused(journal: Journal) -> None:
    for _ in range(MOST):
        journal.append(many(50), 1.0, 1.0)


@pytest.mark.row("F11")
def test_a_full_disk_leaves_no_trace_and_the_reserve_takes_the_pause(small_disk: Path) -> None:
    with Journal.open(small_disk / "state.db") as journal:
        journal.append(many(5), 1.0, 1.0)
        ballast = fill(small_disk)
        with pytest.raises(JournalFullError, match="free some space"):
            write_until_refused(journal)
        before = journal.last_seq
        assert len(list(journal.records())) == before
        assert journal.use_reserve()
        (paused,) = journal.append(stated(SessionPaused("disk")), 2.0, 2.0)
        assert paused.seq == before + 1
        assert not journal.restore_reserve() or (small_disk / "state.reserve").stat().st_size
        ballast.unlink()
        assert journal.restore_reserve()
        assert journal.append(many(50), 3.0, 3.0)[-1].seq == before + 51
        expected = tuple(journal.records())
    with Journal.open(small_disk / "state.db") as journal:
        assert tuple(journal.records()) == expected


@pytest.mark.row("F11")
def test_a_journal_on_a_full_disk_can_be_read_and_closed(small_disk: Path) -> None:
    path = small_disk / "state.db"
    journal = Journal.open(path)
    journal.append(many(100), 1.0, 1.0)
    ballast = fill(small_disk)
    with JournalReader.open(path) as reader:
        assert reader.last_seq == 100
    journal.close()
    ballast.unlink()
    with Journal.open(path) as journal:
        assert journal.last_seq == 100


def test_a_journal_that_cannot_be_made_for_lack_of_space_is_not_there(small_disk: Path) -> None:
    ballast = fill(small_disk)
    with pytest.raises(JournalFullError):
        Journal.open(small_disk / "state.db")
    assert list(small_disk.iterdir()) == [ballast]
    ballast.unlink()
    with Journal.open(small_disk / "state.db") as journal:
        assert journal.last_seq == 0


@pytest.mark.row("F26")
def test_a_journal_on_a_read_only_file_system_can_be_read_and_not_be_taken_up(small_disk: Path) -> None:
    path = small_disk / "state.db"
    with Journal.open(path) as journal:
        journal.append(many(10), 1.0, 1.0)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with JournalReader.open(path) as reader:
        assert [record.seq for record in reader.records()] == list(range(1, 11))
    with pytest.raises(JournalError):
        Journal.open(path)
