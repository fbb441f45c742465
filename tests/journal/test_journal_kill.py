"""Death of the writer at any moment: what it acknowledged is there, in order, and nothing half-written."""

import random
import subprocess
import sys
from pathlib import Path

import pytest

from supervisor.journal import Journal, JournalReader
from tests.journal.samples import SESSION, many

SEED = 41_337
ROUNDS = 12

WRITER = """
import sys
from pathlib import Path
from supervisor.journal import Journal
from tests.journal.samples import many

journal = Journal.open(Path(sys.argv[1]))
facts = many(2000)
sizes = [1, 3, 1, 8, 2, 40]
place = 0
print("open", journal.last_seq, flush=True)
while True:
    size = sizes[place % len(sizes)]
    records = journal.append([facts[(place + n) % 2000] for n in range(size)], 1.0, 2.0)
    place += 1
    print("acknowledged", records[-1].seq, flush=True)
"""


def killed_writer(path: Path, acknowledgements: int) -> int:
    """Let a process write until it acknowledged that often, kill it soon after; return its last word."""
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)],
        stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        cwd=Path(__file__).parents[2],
        bufsize=0,
    ) as writer:
        assert writer.stdout is not None
        said = b""
        while said.count(b"\n") < acknowledgements:
            chunk = writer.stdout.read(65536)
            assert chunk, said
            said += chunk
        # It does not wait for anybody, so this meets it anywhere in the transactions that follow.
        writer.kill()
        said += writer.stdout.read()
    words = [line.split() for line in said.decode().splitlines(keepends=True) if line.endswith("\n")]
    return int(words[-1][1])


@pytest.mark.row("F14")
@pytest.mark.timeout(90)
def test_a_writer_killed_at_any_moment_loses_nothing_that_it_acknowledged(tmp_path: Path) -> None:
    chance = random.Random(SEED)
    path = tmp_path / "state.db"
    killed_while_writing = 0
    before = 0
    for number in range(ROUNDS):
        acknowledged = killed_writer(path, chance.randrange(1, 60))
        with Journal.open(path) as journal:
            records = list(journal.records())
            assert acknowledged <= journal.last_seq <= acknowledged + 40, f"round {number}, seed {SEED}"
            assert [record.seq for record in records] == list(range(1, journal.last_seq + 1))
            killed_while_writing += journal.last_seq > acknowledged
            assert journal.last_seq > before or acknowledged == before
            before = journal.last_seq
            assert {record.session for record in records} <= {SESSION}
    print(f"seed {SEED}: {killed_while_writing} of {ROUNDS} killed between a commit and its word")  # noqa: T201


def test_a_reader_beside_a_writer_sees_whole_transactions_only(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with Journal.open(path) as journal:
        journal.append(many(1), 1.0, 1.0)
        with JournalReader.open(path) as reader:
            for size in (1, 5, 17):
                journal.append(many(size), 1.0, 1.0)
                assert reader.last_seq == journal.last_seq
                assert [one.seq for one in reader.records()] == list(range(1, journal.last_seq + 1))
