"""Damage: whatever becomes of the journal's bytes, it reads back whole or is refused, never silently shorter.

A sample with a seed, over a small journal: as it stands after an orderly end, and as it stands after a kill,
with a write-ahead log beside it.
"""

import random
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec
import pytest
from attrs import frozen

from actors.events import Record
from supervisor.journal import Journal, JournalError, JournalReader
from tests.journal.samples import many

SEED = 20_261_122
SAMPLE = 150


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


def damages(size: int, chance: random.Random, sample: int) -> Iterator[tuple[int, int]]:
    """Yield places and bits: all of the file header, and a sample of the rest."""
    for place in range(100):
        yield place, 1 << chance.randrange(8)
    for _ in range(sample):
        yield chance.randrange(size), 1 << chance.randrange(8)


@pytest.mark.parametrize(("state", "name"), [("closed", "state.db"), ("killed", "state.db-wal")])
def test_a_single_damaged_byte_is_noticed_or_does_not_matter(
    state: str, name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    image: Image = request.getfixturevalue(state)
    content = image.files[name]
    refused = 0
    for place, bit in damages(len(content), random.Random(SEED), SAMPLE):
        changed = bytearray(content)
        changed[place] ^= bit
        found = outcome(image.put(tmp_path / "damaged", **{name: bytes(changed)}))
        refused += found.startswith("refused")
        assert found.startswith("refused") or found == shown(image.records), f"byte {place} ^ {bit}, seed {SEED}"
    assert refused > 0


@pytest.mark.row("P12")
@pytest.mark.parametrize(("state", "name"), [("closed", "state.db"), ("killed", "state.db-wal")])
def test_a_truncated_file_is_noticed(state: str, name: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    image: Image = request.getfixturevalue(state)
    content = image.files[name]
    chance = random.Random(SEED)
    cuts = [0, 1, 99, 100, 512, 4096, len(content) - 1, *(chance.randrange(len(content)) for _ in range(40))]
    for cut in cuts:
        found = outcome(image.put(tmp_path / "damaged", **{name: content[:cut]}))
        # SQLite reads zeros behind the end, which may be what stood there.
        whole = found == shown(image.records) and not content[cut:].strip(b"\0")
        assert found.startswith("refused") or whole, f"cut at {cut} of {len(content)}, seed {SEED}"


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
