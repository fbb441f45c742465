"""The journal: what was appended is there, in order and durable; what does not fit together is refused."""

import os
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actors.events import Fact, Record, SessionEnded, SessionStatus
from supervisor import journal_file
from supervisor.journal import (
    Journal,
    JournalBrokenError,
    JournalDamagedError,
    JournalGoneError,
    JournalMissingError,
    JournalReader,
    JournalVersionError,
    LostHistoryError,
    Seen,
    SessionSummary,
)
from supervisor.journal_file import Form
from tests.journal.samples import SESSION, STARTED, life_of, many, stated

OTHER = "exec-m2-20261122_101501-feedbeef"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


def written(path: Path, count: int = 12) -> None:
    with Journal.open(path) as journal:
        journal.append(many(count), 1.0, 2.0)


def test_a_new_journal_is_empty(path: Path) -> None:
    with Journal.open(path) as journal:
        assert journal.last_seq == 0
        assert list(journal.records()) == []
        assert journal.sessions() == ()


def test_appended_facts_are_numbered_without_gaps_and_read_back_as_they_were(path: Path) -> None:
    with Journal.open(path) as journal:
        first = journal.append(stated(STARTED, *life_of("a")), 10.25, 20.5)
        second = journal.append(stated(SessionEnded(SessionStatus.COMPLETED)), 11.25, 21.5)
        assert [record.seq for record in first + second] == [1, 2, 3, 4, 5, 6]
        assert tuple(journal.records()) == first + second
    with Journal.open(path) as journal:
        assert tuple(journal.records()) == first + second
        assert journal.last_seq == 6
        assert next(journal.records()).event() == STARTED
        assert next(journal.records(after=5)).wall == 11.25


def test_appending_nothing_writes_nothing(path: Path) -> None:
    with Journal.open(path) as journal:
        assert journal.append([], 1.0, 1.0) == ()
        assert journal.last_seq == 0


def test_after_a_number_larger_than_any_there_is_nothing(path: Path) -> None:
    written(path)
    with Journal.open(path) as journal:
        assert list(journal.records(after=10**30)) == []


def test_records_are_those_of_a_session_after_a_number(path: Path) -> None:
    with Journal.open(path) as journal:
        for mine, theirs in zip(many(20), many(20, OTHER), strict=True):
            journal.append([mine, theirs], 1.0, 1.0)
        journal.append([*many(2500), *many(2500, OTHER)], 1.0, 1.0)
        found = list(journal.records(SESSION, after=10))
        assert [record.seq for record in found] == [*range(11, 41, 2), *range(41, 2541)]
        assert {record.session for record in found} == {SESSION}
        assert len(list(journal.records(after=40))) == 5000
        assert list(journal.records("exec-nobody")) == []
        assert list(journal.records(after=1 << 63)) == []  # a number that SQLite does not know damages nothing


def test_sessions_are_listed_with_their_milestones_in_the_order_of_their_beginning(path: Path) -> None:
    expected = (SessionSummary(SESSION, "m1", 1, 5), SessionSummary(OTHER, "m1", 4, 6))
    with Journal.open(path) as journal:
        journal.append(many(3), 1.0, 1.0)
        journal.append([*stated(STARTED, session=OTHER), *many(2)[1:], *many(2, OTHER)[1:]], 1.0, 1.0)
        assert journal.sessions() == expected
    with Journal.open(path) as journal:
        assert journal.sessions() == expected
    with JournalReader.open(path) as reader:
        assert reader.sessions() == expected


def test_a_reader_works_beside_the_writer_and_without_one(path: Path) -> None:
    with Journal.open(path) as journal:
        journal.append(many(4), 1.0, 1.0)
        with JournalReader.open(path) as reader:
            assert reader.last_seq == 4
            journal.append(many(4), 1.0, 1.0)
            assert [record.seq for record in reader.records(after=2)] == [3, 4, 5, 6, 7, 8]
    with JournalReader.open(path) as reader:
        assert reader.last_seq == 8
        assert tuple(reader.records()) == tuple(reader.records(SESSION))


def test_a_reader_cannot_write(path: Path) -> None:
    written(path)
    with JournalReader.open(path) as reader, pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader._connection.execute("DELETE FROM events")


def test_a_reader_of_nothing_says_so(path: Path) -> None:
    with pytest.raises(JournalMissingError, match="there is no journal here"):
        JournalReader.open(path)


def test_a_reader_finds_a_changed_event(path: Path) -> None:
    written(path)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE events SET body = replace(body, '4712', '4713') WHERE seq = 3")
    with JournalReader.open(path) as reader, pytest.raises(JournalDamagedError) as caught:
        list(reader.records())
    assert caught.value.seq == 3


def test_files_can_be_read_by_their_owner_alone(path: Path) -> None:
    with Journal.open(path) as journal:
        journal.append(many(3), 1.0, 1.0)
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    names = {"state.db", "state.db-wal", "state.db-shm", "state.db-head", "state.reserve"}
    assert modes == dict.fromkeys(names, 0o600)


def test_closing_leaves_everything_in_one_file(path: Path) -> None:
    written(path)
    assert sorted(file.name for file in path.parent.iterdir()) == [
        "state.db",
        "state.db-head",
        "state.reserve",
    ]


def test_closing_twice_does_nothing(path: Path) -> None:
    journal = Journal.open(path)
    journal.close()
    journal.close()


# --- refusals -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "seq", "what"),
    [
        ("UPDATE events SET body = replace(body, '4712', '4713') WHERE seq = 3", 3, "checksum"),
        ("UPDATE events SET wall = wall + 1 WHERE seq = 7", 7, "checksum"),
        ("UPDATE events SET session = 'exec-x' WHERE seq = 12", 12, "checksum"),
        ("UPDATE events SET crc = crc + 1 WHERE seq = 2", 2, "checksum"),
        ("UPDATE events SET hash = zeroblob(32) WHERE seq = 5", 5, "its hash"),
        ("UPDATE events SET previous = zeroblob(32) WHERE seq = 5", 5, "does not follow"),
        ("UPDATE events SET mono = 'soon' WHERE seq = 4", 4, "cannot be decoded"),
        ("DELETE FROM events WHERE seq = 6", 6, "event 7 stands in its place"),
        ("DELETE FROM events WHERE seq = 1", 1, "event 2 stands in its place"),
        ("UPDATE meta SET id = zeroblob(16)", 1, "does not follow"),
        ("DELETE FROM meta", 0, "lost its own id"),
        ("DROP TABLE events", 0, "tables are not those"),
        ("CREATE INDEX more ON events (session)", 0, "tables are not those"),
    ],
)
def test_a_changed_journal_is_refused_with_the_place_and_left_alone(
    path: Path, change: str, seq: int, what: str
) -> None:
    written(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(change)
        connection.commit()
    before = path.read_bytes()
    with pytest.raises(JournalDamagedError, match=what) as caught:
        Journal.open(path)
    assert caught.value.seq == seq
    assert "milestonectl recover" in caught.value.cure
    assert path.read_bytes() == before


def test_events_missing_at_the_end_are_noticed(path: Path) -> None:
    written(path)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DELETE FROM events WHERE seq > 9")
    with pytest.raises(LostHistoryError, match="ends at event 9, but event 12 was acknowledged"):
        Journal.open(path)


def test_another_journal_in_its_place_is_noticed(path: Path, tmp_path: Path) -> None:
    written(path)
    other = tmp_path / "other" / "state.db"
    other.parent.mkdir()
    written(other, 30)
    path.write_bytes(other.read_bytes())
    with pytest.raises(JournalDamagedError, match="another event was acknowledged"):
        Journal.open(path)


@pytest.mark.parametrize("content", [b"", b"not a database, but long enough to look at it closely" * 10])
def test_a_file_that_is_no_journal_is_refused_and_kept(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(JournalDamagedError):
        Journal.open(path)
    with pytest.raises(JournalDamagedError):
        JournalReader.open(path)
    assert path.read_bytes() == content


def test_the_database_of_another_program_is_refused(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE events(seq INTEGER PRIMARY KEY)")
    with pytest.raises(JournalDamagedError, match="not a journal of milestoned"):
        Journal.open(path)


@pytest.mark.row("P12", "F25")
def test_a_journal_of_a_newer_form_is_refused_by_name(path: Path) -> None:
    written(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version=7")
    for open_ in (Journal.open, JournalReader.open):
        with pytest.raises(JournalVersionError, match="has form 7, this version of milestoned knows 1") as caught:
            open_(path)
        assert (caught.value.found, caught.value.known) == (7, 1)


@pytest.mark.row("F25")
def test_a_journal_of_an_older_form_is_rewritten_and_the_old_one_kept(path: Path) -> None:
    with Journal.open(path) as journal:
        before = journal.append(many(12), 5.0, 6.0)
    kept = path.read_bytes()

    def to_two(fact: Fact) -> Fact:
        return Fact(fact.kind, msgspec.Raw(bytes(fact.body).replace(b'"a"', b'"z"')))

    def to_three(fact: Fact) -> Fact:
        return Fact("New" + fact.kind if fact.kind == "AttemptStarted" else fact.kind, fact.body)

    newer = Form(3, {1: to_two, 2: to_three})
    with Journal.open(path, form=newer) as journal:
        after = tuple(journal.records())
        assert journal.append(many(2), 7.0, 8.0)[0].seq == 13
    assert [(one.seq, one.session, one.wall, one.mono) for one in after] == [
        (one.seq, one.session, one.wall, one.mono) for one in before
    ]
    assert [one.kind for one in after].count("NewAttemptStarted") == 2
    assert b'"z"' in bytes(after[1].body)
    assert path.with_name("state.db.v1").read_bytes() == kept
    with Journal.open(path, form=newer) as journal:
        assert journal.last_seq == 14
    with pytest.raises(JournalVersionError):
        Journal.open(path)


@pytest.mark.row("P12", "F25")
def test_a_form_without_a_way_to_ours_is_refused_and_left_alone(path: Path) -> None:
    written(path)
    before = path.read_bytes()
    with pytest.raises(JournalVersionError, match="has form 1, this version of milestoned needs 3"):
        Journal.open(path, form=Form(3, {2: lambda fact: fact}))
    assert path.read_bytes() == before


# --- lost history -------------------------------------------------------------------------------------------


def test_who_is_told_while_the_chain_is_verified_gets_every_event_once_and_in_order(path: Path) -> None:
    written(path, 40)
    told: list[Record] = []
    with Journal.open(path, told=told.append) as journal:
        assert told == list(journal.records())
    assert len(told) == 40


def test_events_of_an_older_form_are_told_as_they_are_rewritten(path: Path) -> None:
    written(path)
    told: list[Record] = []
    newer = Form(2, {1: lambda fact: Fact(fact.kind + "2", fact.body)})
    with Journal.open(path, form=newer, told=told.append) as journal:
        assert told == list(journal.records())
    assert {record.kind[-1] for record in told} == {"2"}


def test_nobody_is_told_of_an_event_that_is_not_what_was_written(path: Path) -> None:
    written(path)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE events SET body = replace(body, 'a.1', 'a.2') WHERE seq = 7")
    told: list[Record] = []
    with pytest.raises(JournalDamagedError):
        Journal.open(path, told=told.append)
    assert [record.seq for record in told] == [1, 2, 3, 4, 5, 6]


def test_a_missing_journal_is_not_begun_anew_while_a_projection_knows_a_session(path: Path) -> None:
    with pytest.raises(LostHistoryError, match=r"the journal is gone, but .*/session\.json speaks of"):
        Journal.open(path, seen=[Seen("sessions/x/session.json", "x", 0)])
    assert not path.exists()


@pytest.mark.parametrize("left", ["state.db-head", "state.db-wal"])
def test_a_missing_journal_is_not_begun_anew_beside_what_it_left(path: Path, left: str) -> None:
    written(path)
    path.rename(path.with_name("elsewhere"))
    path.with_name("state.db-head").rename(path.with_name(left))
    with pytest.raises(LostHistoryError, match=left):
        Journal.open(path)


def test_a_projection_ahead_of_the_journal_means_lost_history(path: Path) -> None:
    written(path)
    with Journal.open(path, seen=[Seen("git.jsonl", SESSION, 12), Seen("session.json", SESSION, 0)]):
        pass
    with pytest.raises(LostHistoryError, match=r"git\.jsonl knows of event 13 .* ends that session at 12"):
        Journal.open(path, seen=[Seen("git.jsonl", SESSION, 13)])


def test_a_projection_of_an_unknown_session_means_lost_history(path: Path) -> None:
    written(path)
    with pytest.raises(LostHistoryError, match="speaks of session exec-gone, which the journal lacks"):
        Journal.open(path, seen=[Seen("session.json", "exec-gone", 1)])


def test_a_missing_or_damaged_witness_does_not_hinder_a_whole_journal(path: Path) -> None:
    written(path)
    witness = path.with_name("state.db-head")
    for content in (b"", b"x" * 44, b"y" * 4000):
        witness.write_bytes(content)
        with Journal.open(path) as journal:
            assert journal.last_seq == 12
    witness.unlink()
    with Journal.open(path) as journal:
        assert journal.last_seq == 12
    assert len(witness.read_bytes()) == 44


# --- writing ------------------------------------------------------------------------------------------------


@pytest.mark.row("F12")
def test_after_a_failed_write_nothing_more_is_written(path: Path) -> None:
    journal = Journal.open(path)
    journal.append(many(2), 1.0, 1.0)
    # Somebody else wrote the journal: the number is taken.
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("INSERT INTO events SELECT 3, session, wall, mono, kind, body, crc, previous, hash "
                      "FROM events WHERE seq = 2")  # fmt: skip
    with pytest.raises(JournalBrokenError, match="UNIQUE"):
        journal.append(many(1), 1.0, 1.0)
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("DELETE FROM events WHERE seq = 3")
    with pytest.raises(JournalBrokenError, match="UNIQUE"):
        journal.append(many(1), 1.0, 1.0)
    assert journal.last_seq == 2
    journal.close()
    with Journal.open(path) as journal:
        assert journal.last_seq == 2


@pytest.mark.parametrize("how", ["removed", "replaced"])
def test_a_journal_whose_file_is_taken_away_under_its_writer_is_given_up_and_what_it_held_is_saved(
    path: Path, how: str
) -> None:
    with Journal.open(path) as journal:
        expected = journal.append(many(12), 1.0, 1.0)
        path.unlink()
        if how == "replaced":
            path.write_bytes(b"something else")
        with pytest.raises(JournalGoneError, match=f"the file was {how} while it was in use") as caught:
            journal.append(many(1), 2.0, 2.0)
        assert caught.value.rescued == path.with_name("state.db.rescued")
        with pytest.raises(JournalBrokenError, match=how):
            journal.append(many(1), 2.0, 2.0)
    with JournalReader.open(path.with_name("state.db.rescued")) as reader:
        assert tuple(reader.records()) == expected
    assert stat.S_IMODE(path.with_name("state.db.rescued").stat().st_mode) == 0o600
    assert not path.exists() or path.read_bytes() == b"something else"


def test_a_journal_whose_whole_directory_is_moved_is_for_the_lock_to_find(tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    with Journal.open(inner / "state.db") as journal:
        inner.rename(tmp_path / "elsewhere")
        journal.check_place()


def test_a_session_that_names_no_milestone_is_refused_before_anything_is_written(path: Path) -> None:
    with Journal.open(path) as journal:
        with pytest.raises(msgspec.ValidationError):
            journal.append([*many(2), (OTHER, Fact("SessionStarted", msgspec.Raw(b"{}")))], 1.0, 1.0)
        assert journal.last_seq == 0
        assert journal.append(many(2), 1.0, 1.0)[0].seq == 1


def test_a_directory_that_cannot_be_written_is_said_to_be_so(tmp_path: Path) -> None:
    with pytest.raises(JournalBrokenError, match="No such file or directory"):
        Journal.open(tmp_path / "nowhere" / "state.db")


def test_an_unfinished_making_of_a_journal_is_swept_away(path: Path) -> None:
    path.with_name("state.db.new").write_bytes(b"half")
    written(path)
    assert not path.with_name("state.db.new").exists()


def test_the_reserve_is_there_and_can_be_given_up_and_restored(path: Path) -> None:
    reserve = path.with_name("state.reserve")
    with Journal.open(path) as journal:
        assert reserve.stat().st_size == 256 * 1024
        assert reserve.stat().st_blocks * 512 >= 256 * 1024
        assert journal.use_reserve()
        assert not reserve.exists()
        assert not journal.use_reserve()
        assert journal.restore_reserve()
        assert reserve.stat().st_size == 256 * 1024


def test_descriptors_are_not_inherited(path: Path) -> None:
    before = set(os.listdir("/proc/self/fd"))  # noqa: PTH208 - numbers are wanted
    with Journal.open(path) as journal:
        journal.append(many(2), 1.0, 1.0)
        fresh = set(os.listdir("/proc/self/fd")) - before  # noqa: PTH208 - as above
        ours = [int(number) for number in fresh if os.path.exists(f"/proc/self/fd/{number}")]  # noqa: PTH110
        assert len(ours) >= 3
        assert not any(os.get_inheritable(number) for number in ours)


FACTS = st.tuples(
    st.sampled_from(["exec-a", "exec-b", "exec-\u00fc"]),
    st.text(max_size=12).filter(lambda kind: kind != "SessionStarted"),
    st.recursive(st.none() | st.text(max_size=9) | st.floats(allow_nan=False), st.lists, max_leaves=4),
)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.lists(FACTS, max_size=4), st.floats(-1e9, 1e12), st.floats(0, 1e9)), max_size=5))
def test_whatever_is_appended_reads_back_the_same_after_reopening(
    tmp_path_factory: pytest.TempPathFactory,
    batches: list[tuple[list[tuple[str, str, object]], float, float]],
) -> None:
    path = tmp_path_factory.mktemp("any") / "state.db"
    appended: list[Record] = []
    for batch, wall, mono in batches:
        facts = [(session, Fact(kind, msgspec.Raw(msgspec.json.encode(body)))) for session, kind, body in batch]
        with Journal.open(path) as journal:
            appended += journal.append(facts, wall, mono)
    with Journal.open(path) as journal:
        assert list(journal.records()) == appended
        assert [record.seq for record in appended] == list(range(1, len(appended) + 1))


def test_a_file_that_has_gone_or_cannot_be_reached_is_said_and_no_error_of_the_system(tmp_path: Path) -> None:
    """It was there a moment before: whoever looked whether there is a journal could not know."""
    with pytest.raises(JournalMissingError):
        journal_file.connect(tmp_path / "state.db", "ro")
    (tmp_path / "file").touch()
    with pytest.raises(JournalBrokenError, match="Not a directory"):
        journal_file.connect(tmp_path / "file" / "state.db", "ro")
