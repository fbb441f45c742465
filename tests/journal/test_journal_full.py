"""A full disk: nothing half-written, the pause is journaled all the same, and later it goes on."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.events import SessionPaused
from supervisor.journal import Journal, JournalError, JournalFullError, JournalReader
from tests.disks import fill, small_disk
from tests.journal.samples import many, stated

MOST = 20_000


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a file system of 2 MB."""
    with small_disk(tmp_path / "disk", "size=2m") as made:
        yield made


def write_until_refused(journal: Journal) -> None:
    for _ in range(MOST):
        journal.append(many(50), 1.0, 1.0)


@pytest.mark.row("F11")
def test_a_full_disk_leaves_no_trace_and_the_reserve_takes_the_pause(disk: Path) -> None:
    with Journal.open(disk / "state.db") as journal:
        journal.append(many(5), 1.0, 1.0)
        ballast = fill(disk)
        with pytest.raises(JournalFullError, match="free some space"):
            write_until_refused(journal)
        before = journal.last_seq
        assert len(list(journal.records())) == before
        assert journal.use_reserve()
        (paused,) = journal.append(stated(SessionPaused("disk")), 2.0, 2.0)
        assert paused.seq == before + 1
        assert not journal.restore_reserve() or (disk / "state.reserve").stat().st_size
        ballast.unlink()
        assert journal.restore_reserve()
        assert journal.append(many(50), 3.0, 3.0)[-1].seq == before + 51
        expected = tuple(journal.records())
    with Journal.open(disk / "state.db") as journal:
        assert tuple(journal.records()) == expected


@pytest.mark.row("F11")
def test_a_journal_on_a_full_disk_can_be_read_and_closed(disk: Path) -> None:
    path = disk / "state.db"
    journal = Journal.open(path)
    journal.append(many(100), 1.0, 1.0)
    ballast = fill(disk)
    with JournalReader.open(path) as reader:
        assert reader.last_seq == 100
    journal.close()
    ballast.unlink()
    with Journal.open(path) as journal:
        assert journal.last_seq == 100


def test_a_journal_that_cannot_be_made_for_lack_of_space_is_not_there(disk: Path) -> None:
    ballast = fill(disk)
    with pytest.raises(JournalFullError):
        Journal.open(disk / "state.db")
    assert list(disk.iterdir()) == [ballast]
    ballast.unlink()
    with Journal.open(disk / "state.db") as journal:
        assert journal.last_seq == 0


@pytest.mark.row("F26")
def test_a_journal_on_a_read_only_file_system_can_be_read_and_not_be_taken_up(disk: Path) -> None:
    path = disk / "state.db"
    with Journal.open(path) as journal:
        journal.append(many(10), 1.0, 1.0)
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    with JournalReader.open(path) as reader:
        assert [record.seq for record in reader.records()] == list(range(1, 11))
    with pytest.raises(JournalError):
        Journal.open(path)
