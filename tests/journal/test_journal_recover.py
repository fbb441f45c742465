"""Recovery: what is whole is kept, the rest is put aside and never deleted, and then the project goes on."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from actors.paths import ProjectPaths
from actors.projection import Jsonl
from supervisor.journal import Journal, JournalDamagedError, LostHistoryError
from supervisor.journal_recover import recover
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
