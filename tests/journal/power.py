"""Power cuts, as far as they can be had without cutting power: what a writer did is done again up to a moment.

A writer is watched by strace: each of its writes, truncations and syncs of the journal's files, and each word with
which it acknowledges. A disk is then made as a cut at any moment can leave it: what was synced is there, and of what
was written since, none, all, or any part, torn at sectors.

Owns the recording and the disks. Refuses to know what a journal must be like on them.
"""

import os
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import attrs

SECTOR: Final = 512
CHECKOUT: Final = Path(__file__).parents[2]
WATCHED: Final = ("state.db", "state.db-wal", "state.db-head")
CALLS: Final = "pwrite64,write,fdatasync,fsync,ftruncate"

_CALL: Final = re.compile(
    r"^\d+ +(?P<name>\w+)\(\d+<(?P<path>[^>]*)>"
    r'(?:, "(?P<data>[^"]*)")?(?:, (?P<first>\d+))?(?:, (?P<second>\d+))?\) += (?P<result>-?\d+)'
)


@attrs.frozen
class Step:
    """One thing that the writer did.

    Attributes:
        what: ``write``, ``truncate``, ``sync`` or ``said``.
        file: Name of the file, ``""`` of what it said.
        place: Offset of a write, size of a truncation, the event that was acknowledged.
        data: What was written.
    """

    what: str
    file: str
    place: int = 0
    data: bytes = b""


def missing() -> str:
    """Return why nothing can be watched here, ``""`` when it can."""
    if shutil.which("strace") is None:
        return "strace is not installed here"
    tried = subprocess.run(["strace", "-o", os.devnull, "true"], capture_output=True, text=True, check=False)
    return f"strace cannot watch here: {tried.stderr.strip()}" if tried.returncode else ""


def watch(words: list[str], trace: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run Python under strace to its end.

    Args:
        words: What follows the interpreter's name.
        trace: Where the calls are written to.
        options: More options of strace.
    """
    return subprocess.run(
        [
            *("strace", "-f", "-y", "-xx", "-s", "1000000", "-e", f"trace={CALLS}", *options, "-o", str(trace)),
            *(sys.executable, *words),
        ],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        timeout=110,
    )


def steps_in(trace: Path, directory: Path) -> list[Step]:
    """Read what was done to the journal's files in a directory, and what was acknowledged."""
    found = []
    for line in trace.read_text(encoding="ascii").splitlines():
        match = _CALL.match(line)
        if match is None or int(match["result"]) < 0:
            continue
        path, data = Path(os.fsdecode(_bytes(match["path"]))), _bytes(match["data"] or "")
        if match["name"] == "write" and data.startswith(b"acknowledged "):
            found.append(Step("said", "", int(data.split()[1])))
        elif path.parent == directory and path.name in WATCHED:
            found.append(_step(match, path.name, data))
    return found


def _step(match: re.Match[str], file: str, data: bytes) -> Step:
    match match["name"]:
        case "pwrite64":
            return Step("write", file, int(match["second"]), data)
        case "ftruncate":
            return Step("truncate", file, int(match["first"]))
        case _:
            return Step("sync", file)


def _bytes(escaped: str) -> bytes:
    return bytes.fromhex(escaped.replace("\\x", "")) if escaped.startswith("\\x") else escaped.encode()


def disks(
    before: Mapping[str, bytes], steps: list[Step], chance: random.Random, *, lies: bool = False
) -> Iterator[tuple[int, Mapping[str, bytes]]]:
    """Yield what a cut after each step can leave: the last event acknowledged by then, and the files.

    Args:
        before: The files at the beginning, on the disk.
        steps: What was done.
        chance: Decides which parts of what was not synced are there.
        lies: Whether the disk says that it has synced, and has not.
    """
    synced, pending = dict(before), dict[str, list[Step]]()
    said = 0
    for step in steps:
        match step.what:
            case "said":
                said = step.place
            case "sync" if not lies:
                synced[step.file] = _done(synced.get(step.file, b""), pending.pop(step.file, []))
            case "sync":
                pass
            case _:
                pending.setdefault(step.file, []).append(step)
        for share in (0.0, 1.0, 0.5):
            left = {file: [one for one in todo if chance.random() < share] for file, todo in pending.items()}
            yield (
                said,
                {
                    file: _done(synced.get(file, b""), left.get(file, []), chance if share == 0.5 else None)
                    for file in synced.keys() | left.keys()
                },
            )


def _done(content: bytes, steps: list[Step], tears: random.Random | None = None) -> bytes:
    made = bytearray(content)
    for step in steps:
        if step.what == "truncate":
            del made[step.place :]
            made.extend(bytes(step.place - len(made)))
            continue
        data, place = step.data, step.place
        if tears is not None and tears.random() < 0.5:
            data = data[: tears.randrange(len(data) // SECTOR + 1) * SECTOR]
        made.extend(bytes(max(0, place + len(data) - len(made))))
        made[place : place + len(data)] = data
    return bytes(made)
