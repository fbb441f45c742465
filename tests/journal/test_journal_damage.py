"""Damage: whatever becomes of the journal's bytes, it reads back whole or is refused, never silently shorter.

A systematic part of what :mod:`tests.journal.damage` does: a journal as it stands after an orderly end, and as it
stands after a kill, with a write-ahead log beside it.
"""

import contextlib
import shutil
import sqlite3
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256
from pathlib import Path

import msgspec
import pytest
from attrs import frozen

from actors.events import Record
from supervisor import chain, journal_file
from supervisor.journal import Journal, JournalDamagedError, JournalError, JournalReader
from supervisor.journal_file import denied, failure
from tests.journal import damage
from tests.journal.samples import SESSION, many

SEED = 20_261_122
EVERY = 71


@frozen
class Image:
    """The files of a journal, and what they hold."""

    files: dict[str, bytes]
    records: tuple[Record, ...]

    def put(self, directory: Path, **changed: bytes) -> Path:
        """Lay the files out in an empty directory, some of them changed."""
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir()
        for name, content in (self.files | changed).items():
            (directory / name).write_bytes(content)
        return directory / "state.db"


def _image(directory: Path, records: tuple[Record, ...], *names: str) -> Image:
    return Image({name: (directory / name).read_bytes() for name in names}, records)


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Image:
    directory = tmp_path_factory.mktemp("closed")
    with Journal.open(directory / "state.db") as journal:
        records = journal.append(many(6), 1.0, 2.0)
    return _image(directory, records, "state.db", "state.db-head")


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Image:
    directory = tmp_path_factory.mktemp("killed")
    records: tuple[Record, ...] = ()
    with Journal.open(directory / "state.db") as journal:
        for fact in many(6):
            records += journal.append([fact], 1.0, 2.0)
        return _image(directory, records, "state.db", "state.db-wal", "state.db-head")


def shown(records: Iterable[Record]) -> str:
    return msgspec.json.encode(list(records)).decode()


def outcome(path: Path) -> str:
    """Open a journal, and return whether it was refused, or else what it holds."""
    try:
        with Journal.open(path) as journal:
            return shown(journal.records())
    except JournalError as error:
        return f"refused: {type(error).__name__}"


@pytest.fixture(scope="module")
def images() -> Iterator[dict[str, damage.Image]]:
    with tempfile.TemporaryDirectory(dir=damage.scratch()) as directory:
        yield damage.make_images(Path(directory))


@pytest.mark.row("F13")
@pytest.mark.parametrize("state", damage.FILES)
def test_a_damaged_byte_or_a_cut_anywhere_is_refused_or_does_not_matter(
    state: str, images: dict[str, damage.Image]
) -> None:
    """A systematic part; `make damage` does all offsets in all patterns."""
    image = images[state]
    assert sum(image.file(name).stat().st_size for name in damage.FILES[state]) > 20 * 1024

    tally = damage.try_all(image, damage.damages(image, EVERY, SEED, ("bit 0", "bit 6", "zero")))

    kinds = {outcome.partition(": ")[2] for outcome in tally.outcomes}
    assert tally.done == sum(tally.outcomes.values()) > 1000
    assert kinds == {"whole", "JournalDamagedError"} | ({"LostHistoryError"} if state == "killed" else set())


class _AnySum(int):
    """A checksum that agrees with every other."""

    __hash__ = int.__hash__

    def __eq__(self, other: object) -> bool:
        return True

    def __ne__(self, other: object) -> bool:
        return False


class _AnyHash(bytes):
    """A hash that agrees with every other."""

    __hash__ = bytes.__hash__

    def __eq__(self, other: object) -> bool:
        return True

    def __ne__(self, other: object) -> bool:
        return False


def _without_reader_check(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(JournalReader, "_checks", False)


def _without_chain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chain, "crc", lambda form: _AnySum(zlib.crc32(form)))
    monkeypatch.setattr(chain, "link", lambda previous, form: _AnyHash(sha256(previous + form).digest()))


def _without_witness(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_file, "read_witness", lambda _: None)


@pytest.mark.parametrize(
    ("state", "bug", "complaint"),
    [
        ("closed", _without_reader_check, "the reader (accepts|shows)"),
        ("closed", _without_chain, "the (opening|reader) (accepts|shows)"),
        ("killed", _without_witness, "the opening accepts .* events that are not the 44 written"),
    ],
)
def test_the_harness_finds_a_build_in_which_a_check_was_removed(
    state: str,
    bug: Callable[[pytest.MonkeyPatch], None],
    complaint: str,
    images: dict[str, damage.Image],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bug(monkeypatch)
    with pytest.raises(damage.ViolationError, match=complaint):
        damage.try_all(images[state], damage.damages(images[state], 101, 0, ("bit 0",)))


@pytest.mark.parametrize("left", [0, 1, 511])
def test_reading_an_empty_database_leaves_the_log_beside_it(left: int, killed: Image, tmp_path: Path) -> None:
    """SQLite takes it for a new one, and removes the write-ahead log, which may hold everything."""
    path = killed.put(tmp_path / "emptied", **{"state.db": killed.files["state.db"][:left]})
    assert outcome(path) == "refused: JournalDamagedError"
    with pytest.raises(JournalError, match="the file is empty"):
        JournalReader.open(path)
    assert path.with_name("state.db-wal").read_bytes() == killed.files["state.db-wal"]


def test_an_event_that_lost_its_type_is_damage_to_who_only_reads(closed: Image, tmp_path: Path) -> None:
    path = closed.put(tmp_path / "damaged")
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA ignore_check_constraints=ON")
        connection.execute("UPDATE events SET session = x'', kind = 7, wall = 'soon' WHERE seq = 1")
    with JournalReader.open(path) as reader:
        with pytest.raises(JournalDamagedError, match="at event 1: it cannot be decoded"):
            list(reader.records())
        with pytest.raises(JournalDamagedError, match="at event 1: it cannot be decoded"):
            reader.sessions()


def test_whose_a_journal_is_that_may_not_be_read_is_said(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    path.touch()
    said = str(denied(path))
    assert f"this project is {path.owner()}'s, who alone may read its journal; run this as {path.owner()}" in said
    assert "this project is another user's" in str(denied(tmp_path / "nowhere"))


def test_an_event_without_a_value_is_told_of_in_words_for_people(tmp_path: Path) -> None:
    said = str(failure(tmp_path, TypeError("can't concat NoneType to bytes"), 3))
    assert "at event 3: it cannot be decoded (a value of it is missing or of another kind);" in said
    assert "NoneType" not in said


def test_an_event_whose_text_became_bytes_is_still_one_of_its_session(closed: Image, tmp_path: Path) -> None:
    """One damaged bit can do it, and what stands there is still what was written."""
    path = closed.put(tmp_path / "damaged")
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE events SET session = CAST(session AS BLOB) WHERE seq = 3")
    for journal in (JournalReader.open(path), Journal.open(path)):
        with journal:
            assert tuple(journal.records(SESSION)) == closed.records
            assert [one.id for one in journal.sessions()] == [SESSION]


def test_an_event_that_cannot_be_found_any_more_is_missed_by_who_only_reads(closed: Image, tmp_path: Path) -> None:
    path = closed.put(tmp_path / "damaged")
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DELETE FROM events WHERE seq = 3")
    with JournalReader.open(path) as reader:
        with pytest.raises(JournalDamagedError, match="at event 3: event 4 stands in its place"):
            list(reader.records())
        with pytest.raises(JournalDamagedError, match="of the journal's 6 events 5 can be found"):
            reader.sessions()


@pytest.mark.row("F13")
def test_a_lost_write_ahead_log_is_noticed(killed: Image, tmp_path: Path) -> None:
    path = killed.put(tmp_path / "damaged")
    path.with_name("state.db-wal").unlink()
    assert outcome(path) == "refused: LostHistoryError"


def test_a_damaged_witness_costs_nothing(killed: Image, tmp_path: Path) -> None:
    content = killed.files["state.db-head"]
    for place in range(len(content)):
        changed = bytearray(content)
        changed[place] ^= 0x04
        path = killed.put(tmp_path / "damaged", **{"state.db-head": bytes(changed)})
        assert outcome(path) == shown(killed.records)


def test_what_a_killed_writer_left_is_taken_up_whole(killed: Image, tmp_path: Path) -> None:
    path = killed.put(tmp_path / "left")
    with JournalReader.open(path) as reader:
        assert tuple(reader.records()) == killed.records
    with Journal.open(path) as journal:
        assert tuple(journal.records()) == killed.records
        assert path.with_name("state.db-wal").stat().st_size == 0


@pytest.mark.row("P12")
def test_a_refused_journal_is_left_as_it_was_found(killed: Image, tmp_path: Path) -> None:
    log = bytearray(killed.files["state.db-wal"])
    log[len(log) // 2] ^= 1
    path = killed.put(tmp_path / "damaged", **{"state.db-wal": bytes(log)})
    assert outcome(path).startswith("refused")
    left = {name: path.with_name(name).read_bytes() for name in killed.files}
    assert left == killed.files | {"state.db-wal": bytes(log)}
