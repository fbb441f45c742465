"""Disks that fail: a power cut at any moment loses nothing acknowledged, a failed sync is never tried again."""

import random
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from supervisor.journal import Journal, JournalError
from tests.journal import power
from tests.journal.damage import scratch
from tests.journal.samples import many

SEED: Final = 20_261_123
EVENTS: Final = 24

WRITER: Final = f"""
import os, sys
from pathlib import Path
from supervisor.journal import Journal, JournalBrokenError
from tests.journal.samples import many

try:
    journal = Journal.open(Path(sys.argv[1]))
except JournalBrokenError as error:
    print("not opened", error, flush=True)
    os._exit(74)
# Small, so that the log is written back into the database again and again.
journal._connection.execute("PRAGMA wal_autocheckpoint=10")
facts = many({EVENTS})
for place in range(0, {EVENTS}, 2):
    try:
        seq = journal.append(facts[place : place + 2], 1.0, 2.0)[-1].seq
    except JournalBrokenError as error:
        print("broken", error, flush=True)
        try:
            journal.append(facts[:1], 1.0, 2.0)
        except JournalBrokenError:
            print("and stays so", flush=True)
        journal.close()
        os._exit(74)
    os.write(1, b"acknowledged %d\\n" % seq)
os._exit(0)
"""


@pytest.fixture(scope="module")
def directory() -> Iterator[Path]:
    reason = power.missing()
    if reason:
        pytest.skip(reason)
    with tempfile.TemporaryDirectory(dir=scratch()) as made:
        yield Path(made)


def _write(
    directory: Path, *options: str
) -> tuple[subprocess.CompletedProcess[str], list[power.Step], dict[str, bytes]]:
    """Watch a writer on a new journal; return how it ended, what it did, and the files before."""
    place = Path(tempfile.mkdtemp(dir=directory))
    path = place / "state.db"
    Journal.open(path).close()
    before = {name: (place / name).read_bytes() for name in ("state.db", "state.db-head")}
    done = power.watch(["-c", WRITER, str(path)], directory / "trace", *options)
    return done, power.steps_in(directory / "trace", place), before


@pytest.fixture(scope="module")
def recorded(directory: Path) -> tuple[list[power.Step], dict[str, bytes]]:
    done, steps, before = _write(directory)
    assert done.returncode == 0, done.stderr
    assert [step.place for step in steps if step.what == "said"] == list(range(2, EVENTS + 1, 2))
    assert any(step.what == "write" and step.file == "state.db" for step in steps), "nothing was written back"
    return steps, before


def _last_on(place: Path, files: dict[str, bytes]) -> int:
    """Open the journal on a disk; return its last event, -1 when it is refused."""
    for old in place.iterdir():
        old.unlink()
    for name, content in files.items():
        (place / name).write_bytes(content)
    expected = [(fact.kind, bytes(fact.body)) for _, fact in many(EVENTS)]
    try:
        with Journal.open(place / "state.db") as journal:
            found = [(record.kind, bytes(record.body)) for record in journal.records()]
    except JournalError:
        return -1
    assert found == expected[: len(found)]
    return len(found)


def test_a_power_cut_at_any_moment_loses_nothing_that_was_acknowledged(
    recorded: tuple[list[power.Step], dict[str, bytes]], directory: Path
) -> None:
    steps, before = recorded
    (directory / "cut").mkdir()
    cuts, between = 0, 0
    for said, files in power.disks(before, steps, random.Random(SEED)):
        last = _last_on(directory / "cut", dict(files))
        assert said <= last <= said + 2, f"cut {cuts}, seed {SEED}"
        cuts += 1
        between += last > said
    assert cuts == 3 * len(steps)
    assert between > 0, "no cut came between a commit and its acknowledgement"


def test_a_disk_that_lies_about_syncs_is_found_out_by_the_same_cuts(
    recorded: tuple[list[power.Step], dict[str, bytes]], directory: Path
) -> None:
    steps, before = recorded
    (directory / "lies").mkdir()
    disks = power.disks(before, steps, random.Random(SEED), lies=True)
    assert any(_last_on(directory / "lies", dict(files)) < said for said, files in disks)


def _failed(directory: Path) -> tuple[str, list[str]]:
    """Return the call that was made to fail, and those after it."""
    trace = (directory / "trace").read_text(encoding="ascii").splitlines()
    at = next(at for at, line in enumerate(trace) if "(INJECTED)" in line)
    return trace[at], trace[at + 1 :]


@pytest.mark.parametrize("number", [1, 4, 7])
def test_a_failed_sync_is_not_tried_again_and_nothing_is_acknowledged_after_it(directory: Path, number: int) -> None:
    done, steps, before = _write(directory, "-e", f"inject=fdatasync:error=EIO:when={number}")

    assert done.returncode == 74, done.stdout + done.stderr
    assert "SQLITE_IOERR" in done.stdout
    assert "check the disk, then start again" in done.stdout
    assert done.stdout.endswith("and stays so\n")
    call, later = _failed(directory)
    assert "EIO" in call
    assert not any("sync(" in line for line in later)
    said = max((step.place for step in steps if step.what == "said"), default=0)
    files = dict(before)
    for _, disk in power.disks(before, steps, random.Random(SEED)):
        files = dict(disk)
    assert said <= _last_on(Path(tempfile.mkdtemp(dir=directory)), files) <= said + 2


def test_a_journal_whose_name_may_not_be_on_the_disk_is_not_taken_up(directory: Path) -> None:
    """SQLite syncs the directory too, and goes on when that fails: its log would be gone after a power cut."""
    done, steps, _ = _write(directory, "-e", "inject=fsync:error=EIO:when=1")

    assert done.returncode == 74, done.stdout + done.stderr
    assert done.stdout.startswith("not opened ")
    assert "EIO" in _failed(directory)[0]
    assert not [step for step in steps if step.what == "said"]
