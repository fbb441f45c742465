"""Every single damaged byte and every truncation of a journal, judged by the code that reads journals.

The rule (invariant I4): what was written reads back as it was written, or it is refused with the reason and a way
out; and what `recover` would keep of it is a beginning of what was written. Never an empty start, never a history
that differs, never another error.

A journal is laid out as an orderly end leaves it (`closed`) and as a kill leaves it (`killed`, with a write-ahead
log beside it). One file of it is changed in one place, the journal is read, the place is changed back.

    python -m tests.journal.damage                 all offsets, all patterns, all cuts
    python -m tests.journal.damage --every 16      a systematic part

Owns the images, the damages and the judgement. Refuses to repair anything.
"""

import argparse
import contextlib
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

import attrs

from actors.events import Record
from supervisor.journal import Journal, JournalError, JournalReader, examine
from supervisor.journal_recover import whole_beginning
from tests.journal.samples import many

EVENTS: Final = 44
"""Events of an image: its database has more than 20 KiB then."""

BATCH: Final = 16
"""Events of a transaction."""

PATTERNS: Final[Mapping[str, Callable[[int], int]]] = {
    **{f"bit {bit}": (1 << bit).__xor__ for bit in range(8)},
    "zero": lambda _: 0x00,
    "ones": lambda _: 0xFF,
    "complement": (0xFF).__xor__,
}
"""How a byte is damaged, by name: what stands there -> what stands there then."""

FILES: Final = {"closed": ("state.db", "state.db-head"), "killed": ("state.db", "state.db-wal", "state.db-head")}
"""The files of each image, which are all of its journal."""


class ViolationError(AssertionError):
    """A damage was neither noticed nor without consequence; the message says which and how."""


@attrs.frozen
class Image:
    """A journal, laid out in a directory of its own.

    Attributes:
        name: How it was left: ``closed`` or ``killed``.
        path: Its database.
        records: What was written to it.
    """

    name: str
    path: Path
    records: tuple[Record, ...]

    def file(self, name: str) -> Path:
        """Return one of its files."""
        return self.path.with_name(name)


@attrs.frozen
class Damage:
    """One change of one file.

    Attributes:
        file: Its name.
        place: Offset of the byte, or the size that is left.
        pattern: Of :data:`PATTERNS`; ``"cut"`` for a truncation.
    """

    file: str
    place: int
    pattern: str


def make_images(directory: Path) -> dict[str, Image]:
    """Write the journals, each below a directory of its own."""
    made = {}
    for name in FILES:
        (directory / name / "left").mkdir(parents=True)
        place = directory / name / "state.db"
        facts = many(EVENTS)
        records: list[Record] = []
        with Journal.open(place) as journal:
            for at in range(0, EVENTS, BATCH):
                records += journal.append(facts[at : at + BATCH], 1.0 + at, 2.0 + at)
            if name == "killed":
                for file in FILES[name]:
                    shutil.copy(place.with_name(file), directory / name / "left" / file)
        for file in FILES[name] if name == "closed" else ():
            shutil.copy(place.with_name(file), directory / name / "left" / file)
        made[name] = Image(name, directory / name / "left" / "state.db", tuple(records))
    return made


def damages(image: Image, every: int = 1, first: int = 0, patterns: Iterable[str] = PATTERNS) -> Iterator[Damage]:
    """Yield the damages of an image: of each file every byte in every pattern, and every truncation.

    Args:
        image: The journal.
        every: Only each so-many-th offset and size.
        first: With which of them to begin.
        patterns: Names of the patterns.
    """
    patterns = tuple(patterns)
    for file in FILES[image.name]:
        size = image.file(file).stat().st_size
        for place in range(first % every, size, every):
            yield from (Damage(file, place, pattern) for pattern in patterns)
            yield Damage(file, place, "cut")


@contextlib.contextmanager
def inflicted(image: Image, damage: Damage) -> Iterator[bool]:
    """Have a damage done, and undone; the value tells whether anything differs by it."""
    file = image.file(damage.file)
    before = file.read_bytes()
    after = bytearray(before)
    if damage.pattern == "cut":
        del after[damage.place :]
    else:
        after[damage.place] = PATTERNS[damage.pattern](after[damage.place])
    others = {name: image.file(name).read_bytes() for name in FILES[image.name] if name != damage.file}
    file.write_bytes(after)
    if file.read_bytes() != after:
        raise ViolationError(f"{image.name}: {damage} was not done")
    try:
        yield after != before
        left = {name: image.file(name).read_bytes() if image.file(name).exists() else None for name in others}
        if left != others or file.read_bytes() != after:
            raise ViolationError(f"{image.name}: {damage}: what was read is not what it was before")
    finally:
        for name, content in others.items():
            image.file(name).write_bytes(content)
        file.write_bytes(before)
        image.path.with_name("state.db-shm").unlink(missing_ok=True)


def judge(image: Image) -> str:
    """Read a journal with all code that reads journals; return ``whole``, or the kind of the refusal.

    Raises:
        ViolationError: It read as something that was never written, or was refused without a way out.
    """
    opened = _outcome(image, "the opening", lambda: _opened(image.path))
    read = _outcome(image, "the reader", lambda: _read(image.path))
    kept = _comparable(_kept(image.path))
    if kept != _comparable(image.records)[: len(kept)]:
        raise ViolationError(f"recover would keep {len(kept)} events that are not the first ones that were written")
    if opened == "whole" and len(kept) != len(image.records):
        raise ViolationError(f"a run goes on with it, and recover would keep {len(kept)} events of it only")
    return opened if opened != "whole" or read == "whole" else f"read: {read}"


def _outcome(image: Image, who: str, read: Callable[[], list[Record]]) -> str:
    try:
        records = read()
    except JournalError as error:
        if not error.what or not error.cure or str(image.path) not in str(error):
            raise ViolationError(f"{who} refuses it without file, reason and cure: {error}") from error
        return type(error).__name__
    if _comparable(records) != _comparable(image.records):
        raise ViolationError(f"{who} accepts {len(records)} events that are not the {len(image.records)} written")
    return "whole"


def _opened(path: Path) -> list[Record]:
    told: list[Record] = []
    if examine(path, told=told.append) is None:
        raise ViolationError("an empty start")
    return told


def _read(path: Path) -> list[Record]:
    with JournalReader.open(path) as reader:
        sessions = {summary.id for summary in reader.sessions()}
        records = list(reader.records())
        of_sessions = [record for session in sessions for record in reader.records(session)]
        if _comparable(of_sessions) != _comparable(records):
            raise ViolationError(f"the reader shows {len(of_sessions)} of {len(records)} events by their session")
        return records


def _kept(path: Path) -> list[Record]:
    try:
        whole = enumerate(whole_beginning(path), 1)
        return [Record(seq, name, wall, mono, fact.kind, fact.body) for seq, (name, wall, mono, fact) in whole]
    except JournalError:
        return []


def _comparable(records: Iterable[Record]) -> list[tuple[object, ...]]:
    return [(one.seq, one.session, one.wall, one.mono, one.kind, bytes(one.body)) for one in records]


@attrs.frozen
class Tally:
    """What came of many damages.

    Attributes:
        done: So many were really there: bytes that were the same afterwards do not count.
        outcomes: How often each outcome came.
    """

    done: int
    outcomes: Mapping[str, int]


def try_all(image: Image, todo: Iterable[Damage]) -> Tally:
    """Do damages one after the other and judge each.

    Raises:
        ViolationError: With the damage that was judged so.
    """
    done, outcomes = 0, Counter[str]()
    for damage in todo:
        with inflicted(image, damage) as differs:
            if not differs:
                continue
            try:
                outcomes[f"{damage.file}: {judge(image)}"] += 1
            except Exception as error:
                raise ViolationError(f"{image.name}: {damage}: {type(error).__name__}: {error}") from error
            done += 1
    return Tally(done, outcomes)


def scratch() -> Path | None:
    """Return where the images are best made: nothing here needs a disk, and a disk would take hours."""
    shared = Path("/dev/shm")
    return shared if os.access(shared, os.W_OK) else None


def main(arguments: list[str]) -> int:
    """Try all damages, or a systematic part of them, and print what came of them."""
    parser = argparse.ArgumentParser(prog="python -m tests.journal.damage", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--every", type=int, default=1, help="only each so-many-th offset")
    parser.add_argument("--first", type=int, default=0, help="with which offset to begin")
    parser.add_argument("--image", choices=FILES, action="append", help="only this journal")
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(dir=scratch()) as directory:
        for name, image in make_images(Path(directory)).items():
            if name not in (chosen.image or FILES):
                continue
            began = time.monotonic()
            tally = try_all(image, damages(image, chosen.every, chosen.first))
            sizes = ", ".join(f"{file} {image.file(file).stat().st_size}" for file in FILES[image.name])
            print(f"{image.name} ({sizes} bytes): {tally.done} damages in {time.monotonic() - began:.0f} s")  # noqa: T201
            for outcome, count in sorted(tally.outcomes.items()):
                print(f"  {count:8} {outcome}")  # noqa: T201 - a program for a terminal
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
