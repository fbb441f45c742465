"""Recovery: what is whole is kept, the rest is put aside and never deleted, and then the project goes on."""

import os
import shutil
import signal
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest

from actors.paths import ProjectPaths
from actors.projection import Jsonl
from supervisor.journal import (
    Journal,
    JournalDamagedError,
    JournalError,
    JournalGoneError,
    JournalReader,
    LostHistoryError,
    examine,
)
from supervisor.journal_recover import Found, look, recover
from supervisor.projection import replace_file, seen_by
from tests.journal.samples import SESSION, many


@pytest.fixture
def paths(tmp_path: Path) -> ProjectPaths:
    """Return a project whose journal has twelve events and whose logs know of some of them."""
    paths = ProjectPaths(tmp_path)
    paths.prepare_session(SESSION)
    with Journal.open(paths.state_db) as journal:
        journal.append(many(12), 1.0, 2.0)
    for role, seq in (("git_integration", 4), ("task_executor", 11)):
        log = Jsonl.of_role(str(tmp_path), SESSION, role)
        log.append([(seq, b'{"seq":%d}\n' % seq)])
        log.close()
    return paths


def change(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(statement)


def test_the_whole_beginning_is_kept_and_the_rest_put_aside(paths: ProjectPaths) -> None:
    with Journal.open(paths.state_db) as journal:
        expected = list(journal.records())[:6]
    change(paths.state_db, "UPDATE events SET body = '{}' WHERE seq = 7")
    damaged = paths.state_db.read_bytes()
    with pytest.raises(JournalDamagedError):
        Journal.open(paths.state_db, seen=seen_by(paths))
    recovered = recover(paths)
    assert recovered.kept == 6
    # The reading that found the damage may have left SQLite's working files.
    names = {path.name for path in recovered.aside if not path.name.endswith(("-wal", "-shm"))}
    assert names == {"state.db.lost-1", "state.db.lost-1-head", "execution.jsonl.lost-1"}
    assert paths.state_db.with_name("state.db.lost-1").read_bytes() == damaged
    with Journal.open(paths.state_db, seen=seen_by(paths)) as journal:
        assert list(journal.records()) == expected
        assert journal.append(many(2), 3.0, 4.0)[0].seq == 7


def test_a_deleted_journal_begins_anew_when_a_person_says_so(paths: ProjectPaths) -> None:
    paths.state_db.unlink()
    replace_file(paths.session_json(SESSION), b"{")
    with pytest.raises(LostHistoryError):
        Journal.open(paths.state_db, seen=seen_by(paths))
    assert recover(paths).kept == 0
    with Journal.open(paths.state_db, seen=seen_by(paths)) as journal:
        assert journal.last_seq == 0


@pytest.mark.parametrize("content", [b"", b"nothing that SQLite knows" * 100])
def test_a_file_of_which_nothing_is_whole_is_put_aside(paths: ProjectPaths, content: bytes) -> None:
    paths.state_db.write_bytes(content)
    assert recover(paths).kept == 0
    assert paths.state_db.with_name("state.db.lost-1").read_bytes() == content


def test_a_second_recovery_keeps_what_the_first_put_aside(paths: ProjectPaths) -> None:
    change(paths.state_db, "DELETE FROM events WHERE seq = 9")
    recover(paths)
    first = paths.state_db.with_name("state.db.lost-1").read_bytes()
    change(paths.state_db, "DELETE FROM events WHERE seq = 5")
    assert recover(paths).kept == 4
    assert paths.state_db.with_name("state.db.lost-1").read_bytes() == first
    assert paths.state_db.with_name("state.db.lost-2").exists()


def test_a_whole_journal_stays_as_it_is_but_for_its_chain(paths: ProjectPaths) -> None:
    with Journal.open(paths.state_db) as journal:
        expected = list(journal.records())
    assert recover(paths).kept == 12
    with Journal.open(paths.state_db, seen=seen_by(paths)) as journal:
        assert list(journal.records()) == expected


def _contents(paths: ProjectPaths) -> dict[str, bytes]:
    """Return what stands in the files beside the journal, but for those that SQLite works with."""
    files = (path for path in paths.milestones.iterdir() if path.is_file())
    return {path.name: path.read_bytes() for path in files if not path.name.endswith(("-wal", "-shm"))}


def test_looking_at_a_whole_journal_changes_nothing(paths: ProjectPaths) -> None:
    before = _contents(paths)
    assert look(paths) == Found(12)
    assert _contents(paths) == before


def test_a_whole_journal_that_is_brought_back_after_a_recovery_was_cut_short_is_taken(paths: ProjectPaths) -> None:
    with Journal.open(paths.state_db) as journal:
        expected = list(journal.records())
    paths.state_db.with_name("state.db.recovered").write_bytes(b"made for a damaged journal that is not there any more")
    with pytest.raises(JournalDamagedError, match="a recovery of the journal was cut short"):
        Journal.open(paths.state_db)
    assert look(paths) == Found(12)
    with Journal.open(paths.state_db) as journal:
        assert list(journal.records()) == expected


def test_what_a_process_saved_when_its_journal_was_taken_away_is_brought_back(paths: ProjectPaths) -> None:
    with Journal.open(paths.state_db) as journal:
        expected = list(journal.records())
        paths.state_db.unlink()
        with pytest.raises(JournalGoneError):
            journal.check_place()
    assert "taken away under a run" in look(paths).fault

    recovered = recover(paths)

    assert (recovered.kept, recovered.known, recovered.tasks) == (12, 12, ())
    with Journal.open(paths.state_db, seen=seen_by(paths)) as journal:
        assert list(journal.records()) == expected
    assert not list(paths.milestones.glob("state.db.rescued*"))


def test_what_is_taken_away_just_before_the_end_is_saved_too(paths: ProjectPaths) -> None:
    with Journal.open(paths.state_db) as journal:
        expected = list(journal.records())
        shutil.rmtree(paths.milestones)
    assert recover(paths).kept == len(expected)
    with JournalReader.open(paths.state_db) as reader:
        assert list(reader.records()) == expected


@pytest.mark.parametrize("left", ["nothing else", "no directory", "the journal, brought back"])
def test_what_was_saved_is_refused_by_everybody_and_brought_back_whatever_is_left_beside_it(
    paths: ProjectPaths, left: str
) -> None:
    kept = paths.state_db.read_bytes()
    with Journal.open(paths.state_db) as journal:
        expected = list(journal.records())
        shutil.rmtree(paths.milestones)
        if left != "no directory":
            paths.milestones.mkdir()
        with pytest.raises(JournalGoneError, match="goes on with what it held"):
            journal.check_place()
    if left == "the journal, brought back":
        paths.state_db.write_bytes(kept)
    for use in (Journal.open, JournalReader.open, examine):
        with pytest.raises(JournalDamagedError, match=r"milestonectl recover.*state\.db\.rescued"):
            use(paths.state_db)
    assert "taken away under a run" in look(paths).fault

    assert recover(paths).kept == len(expected)

    assert look(paths) == Found(len(expected))
    with JournalReader.open(paths.state_db) as reader:
        assert list(reader.records()) == expected


def test_a_directory_that_was_moved_away_is_left_to_who_moved_it(paths: ProjectPaths) -> None:
    with Journal.open(paths.state_db) as journal:
        paths.milestones.rename(paths.project / "elsewhere")
        journal.check_place()
    assert not paths.milestones.exists()


# --- cut short ---------------------------------------------------------------------------------------------------


def _dies_before_change(number: int) -> None:
    """Let the kernel kill this process before its n-th change of a file."""
    left = number

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal left
        flags = arguments[2] if event == "open" else os.O_WRONLY
        changes = event in {"open", "os.rename", "os.remove", "os.link", "sqlite3.connect"}
        if changes and isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def _killed(paths: ProjectPaths, number: int) -> bool:
    """Recover in a process that dies before its n-th change of a file; whether it got that far."""
    child = os.fork()
    if child == 0:
        _dies_before_change(number)
        recover(paths)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(status) or os.waitstatus_to_exitcode(status) == 0
    return os.WIFSIGNALED(status)


def _damage(paths: ProjectPaths, how: str) -> int:
    """Damage the journal; return the last event that is whole."""
    if how == "an event":
        change(paths.state_db, "UPDATE events SET body = '{}' WHERE seq = 7")
        return 6
    if how == "gone":
        paths.state_db.unlink()
        return 0
    with Journal.open(paths.state_db) as journal:
        journal.append(many(3), 3.0, 4.0)
        left = {name: paths.state_db.with_name(name).read_bytes() for name in ("state.db", "state.db-wal")}
    paths.state_db.write_bytes(left["state.db"])
    paths.state_db.with_name("state.db-wal").write_bytes(left["state.db-wal"][:-100])
    return 12


def _is_refused(paths: ProjectPaths) -> bool:
    """Tell whether a run would refuse the journal; who only reads must then have a reason or nothing to read."""
    try:
        Journal.open(paths.state_db, seen=seen_by(paths)).close()
    except JournalError as error:
        return "milestonectl recover" in error.cure
    return False


@pytest.mark.parametrize("how", ["an event", "the log", "gone"])
def test_a_recovery_killed_before_any_change_of_a_file_is_refused_by_others_and_goes_on_when_run_again(
    paths: ProjectPaths, tmp_path: Path, how: str
) -> None:
    with Journal.open(paths.state_db) as journal:
        written = list(journal.records())
    kept, damaged = _damage(paths, how), tmp_path / "damaged"
    shutil.copytree(paths.milestones, damaged)
    number = 1
    while _killed(paths, number):
        assert _is_refused(paths), number
        assert recover(paths).kept == kept, number

        with Journal.open(paths.state_db, seen=seen_by(paths)) as journal:
            assert list(journal.records()) == written[:kept], number
        names = [path.name for path in paths.milestones.glob("*.lost-*")]
        assert how == "gone" or "state.db.lost-2" not in names, number
        assert (
            how == "gone" or (paths.milestones / "state.db.lost-1").read_bytes() == (damaged / "state.db").read_bytes()
        )
        assert look(paths) == Found(kept)
        number += 1
        shutil.rmtree(paths.milestones)
        shutil.copytree(damaged, paths.milestones)
    assert number > 8
