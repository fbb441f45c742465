"""The journal beside what it is made of, bare sqlite3 and msgspec: verifying, reading, durable appends.

    python bench/journal.py [--events 100000] [--rounds 5]

Budget: taking up a journal of 100,000 events (verify the chain, read the session, fold it) takes at most
three times as long as reading its rows with sqlite3 and decoding them with msgspec. Each round does all of
them in turn, and the medians are compared; the ratio counts, the milliseconds are this machine's.
"""

from __future__ import annotations

import argparse
import itertools
import sqlite3
import statistics
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from time import perf_counter

from actors.events import (
    AttemptEnded,
    AttemptGranted,
    AttemptStarted,
    Event,
    Fact,
    Landed,
    Outcome,
    SessionStarted,
    Settings,
    SlotPrepared,
    Step,
    TaskCompleted,
    decode_event,
    encode_event,
)
from actors.model import Milestone, Task
from supervisor.journal import Journal
from supervisor.ledger import Latest, without_collection

SESSION = "exec-bench-20250101_000000-00000000"
MILESTONE = "bench"
BATCH = 50


def events(count: int) -> Iterator[Event]:
    """Yield what a session with worktrees journals: six facts a task."""
    tasks = tuple(Task(f"task-{n:06}", f"Task {n}", run="true") for n in range(count // 6))
    milestone = Milestone(MILESTONE, "Bench", tasks=tasks)
    yield SessionStarted(milestone, ".milestones/active/bench.yaml", "/project", Settings(), "boot", 1)
    for task in tasks:
        name = f"{task.id}.1"
        yield AttemptGranted(name, task.id, 1, 0, (Step("run", "true"),))
        yield SlotPrepared(name, "/home/user/.cache/milestoned/slots/0", "0" * 40)
        yield AttemptStarted(name, 4711)
        yield AttemptEnded(name, Outcome.OK, "run", 0, "", 0.01, 0.005, 4_000_000)
        yield Landed(name, "0" * 40, 1)
        yield TaskCompleted(task.id, name)


def make(path: Path, count: int) -> int:
    """Write a journal, and return how many events it has."""
    with Journal.open(path) as journal:
        facts: Iterator[tuple[str, Fact]] = ((SESSION, encode_event(event)) for event in events(count))
        while batch := list(itertools.islice(facts, 1_000)):
            journal.append(batch, 1.0, 1.0)
        return journal.last_seq


def read_bare(path: Path) -> None:
    """Read the rows with sqlite3 and decode them with msgspec: what everything else is compared with."""
    query = "SELECT seq, session, wall, mono, kind, body FROM events ORDER BY seq"
    with closing(sqlite3.connect(path)) as connection:
        for _seq, _session, _wall, _mono, kind, body in connection.execute(query):
            decode_event(kind, body.encode())


def verify(path: Path) -> None:
    """Open a journal for writing: the whole chain is verified."""
    with Journal.open(path):
        pass


def resume(path: Path) -> Latest:
    """Open a journal and fold its latest session, as a resumed run does, and return it."""
    latest = Latest(MILESTONE)
    with without_collection(), Journal.open(path, told=latest.tell):
        return latest


def append(path: Path, size: int) -> float:
    """Append durably in transactions of a size, and return the seconds of one."""
    facts = [(SESSION, encode_event(AttemptStarted("task-000001.1", 4711)))] * size
    path.unlink(missing_ok=True)
    path.with_name(path.name + "-head").unlink(missing_ok=True)
    with Journal.open(path) as journal:
        began = perf_counter()
        for _ in range(BATCH):
            journal.append(facts, 1.0, 1.0)
        return (perf_counter() - began) / BATCH


def append_bare(path: Path, size: int) -> float:
    """Insert rows of the same size with sqlite3, as durably, and return the seconds of one transaction."""
    path.unlink(missing_ok=True)
    fact = encode_event(AttemptStarted("task-000001.1", 4711))
    row = (SESSION, 1.0, 1.0, fact.kind, bytes(fact.body).decode(), 0, b"0" * 32, b"0" * 32)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute(
            "CREATE TABLE events (seq INTEGER PRIMARY KEY, session, wall, mono, kind, body, crc, previous, hash)"
        )
        columns = "session, wall, mono, kind, body, crc, previous, hash"
        insert = f"INSERT INTO events ({columns}) VALUES (?,?,?,?,?,?,?,?)"  # noqa: S608 - constants
        began = perf_counter()
        for _ in range(BATCH):
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(insert, [row] * size)
            connection.execute("COMMIT")
        return (perf_counter() - began) / BATCH


def timed(work: Callable[[Path], object], path: Path) -> float:
    """Return how many seconds something takes; what it made is thrown away when the clock has stopped."""
    began = perf_counter()
    made = work(path)
    seconds = perf_counter() - began
    del made
    return seconds


def main() -> None:
    """Run the rounds and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "state.db")
        count = make(path, options.events)
        rounds = [[timed(work, path) for work in (read_bare, verify, resume)] for _ in range(options.rounds)]
        bare, verified, resumed = (statistics.median(column) for column in zip(*rounds, strict=True))
        print(f"{count} events, {path.stat().st_size / 1e6:.0f} MB, medians of {options.rounds} rounds")
        for what, seconds in (
            ("read and decode, bare sqlite3 and msgspec", bare),
            ("open: verify the chain", verified),
            ("resume: verify, read, fold (budget 3.00 x)", resumed),
        ):
            print(f"  {what:42}  {seconds * 1e3:7.0f} ms   {seconds / bare:.2f} x")
        scratch = Path(directory, "append", "state.db")
        scratch.parent.mkdir()
        for size in (1, 10, 100):
            pairs = [(append_bare(scratch, size), append(scratch, size)) for _ in range(options.rounds)]
            base, ours = (statistics.median(column) for column in zip(*pairs, strict=True))
            what = f"durable append of {size}, bare {base * 1e3:.2f} ms"
            print(f"  {what:42}  {ours * 1e3:7.2f} ms   {ours / base:.2f} x")


if __name__ == "__main__":
    main()
