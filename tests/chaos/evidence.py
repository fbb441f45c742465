"""Collecting, once all is over, what the checker judges: journal, commits, marks, and what is the user's.

Owns reading what is there. Refuses to judge it.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import attrs
import msgspec

from actors.events import Record, task_of
from supervisor.client import AnswerTimeoutError, CallFailedError, Client, LostError, NoDaemonError
from supervisor.journal_errors import JournalError
from supervisor.journal_reader import JournalReader
from tests.chaos.arena import Arena
from tests.chaos.history import Commit, Fault, Kept, Mark, Seen
from tests.chaos.processes import now
from tests.repositories import git

OURS: Final = ("refs/heads/milestone/", "refs/milestone-archive/")
"""Refs that we may make."""

_JUMP: Final = re.compile(r"([+-]\d+) at ([\d.]+)")


# --- what is the user's ------------------------------------------------------------------------------------------


def users_things(project: Path) -> dict[str, str]:
    """Return hashes of everything of a repository that is the user's: name -> hash, or the thing itself."""
    found = {f"file {path}": digest for path, digest in _files(project, {project / ".git", project / ".milestones"})}
    inside = project / ".git"
    kept = {inside / name for name in ("objects", "refs", "logs", "worktrees", "packed-refs")}
    found.update({f".git/{path}": digest for path, digest in _files(inside, kept)})
    for line in git(project, "for-each-ref", "--format=%(refname) %(objectname)").splitlines():
        name, _, sha = line.partition(" ")
        if not name.startswith(OURS):
            found[name] = sha
    for log in sorted((inside / "logs").rglob("*")):
        name = str(log.relative_to(inside / "logs"))
        if log.is_file() and not name.startswith(OURS):
            found[f"log {name}"] = _digest(log)
    found["stash"] = git(project, "stash", "list")
    return found


def _files(root: Path, without: set[Path]) -> Iterator[tuple[str, str]]:
    for folder, names, files in os.walk(root):
        names[:] = sorted(name for name in names if Path(folder, name) not in without)
        for name in sorted(files):
            path = Path(folder, name)
            if path not in without:
                yield str(path.relative_to(root)), f"{_digest(path)} {path.lstat().st_mode:o}"


def _digest(path: Path) -> str:
    content = os.fsencode(path.readlink()) if path.is_symlink() else path.read_bytes()
    return hashlib.sha256(content).hexdigest()[:16]


# --- git, marks, disk --------------------------------------------------------------------------------------------


def commits_of(project: Path, base: str) -> tuple[Commit, ...]:
    """Return the commits of all milestone branches, each branch from its oldest on, with the proofs in their trees."""
    keys = ("Milestone", "Task", "Session")
    trailers = "%x1f".join(f"%(trailers:key={key},valueonly,separator=%x2c)" for key in keys)
    heads = "--format=%(refname:short)"
    found = []
    for branch in git(project, "for-each-ref", heads, "refs/heads/milestone").splitlines():
        text = git(project, "log", "--reverse", f"--format=%H%x1f%P%x1f{trailers}%x1e", f"{base}..{branch}")
        for entry in text.split("\x1e"):
            if entry.strip("\n"):
                sha, parents, milestone, task, session = entry.strip("\n").split("\x1f")
                found.append(Commit(sha, tuple(parents.split()), milestone, task, session, (), branch))
    return _with_proofs(project, found)


def _with_proofs(project: Path, commits: list[Commit]) -> tuple[Commit, ...]:
    """Read what the tasks wrote into their first and last file, all in one process."""
    wanted = [f"{one.sha}:work/{one.task}.{which}" for one in commits for which in ("first", "last")]
    done = subprocess.run(
        ["git", "cat-file", "--batch"],
        cwd=project,
        input="".join(f"{name}\n" for name in wanted).encode(),
        capture_output=True,
        check=True,
    )
    contents, rest = [], done.stdout
    for _ in wanted:
        head, _, rest = rest.partition(b"\n")
        if head.endswith(b" missing"):
            contents.append("missing")
            continue
        size = int(head.split()[2])
        contents.append(rest[:size].decode().strip())
        rest = rest[size + 1 :]
    return tuple(
        msgspec.structs.replace(one, proofs=tuple(contents[2 * place : 2 * place + 2]))
        for place, one in enumerate(commits)
    )


def marks_of(path: Path) -> tuple[Mark, ...]:
    """Read what the tasks have appended."""
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        at, what, session, attempt, pid = line.split()
        found.append(Mark(float(at), what, session, attempt, int(pid)))
    return tuple(found)


def kept_on_disk(arena: Arena) -> Kept:
    """Return what there is on the disk that should be bounded, or not be there at all."""
    logs = {
        f"{path.parents[1].name}/{path.name}": path.stat().st_blocks * 512  # what is left out of its middle is a hole
        for path in (arena.milestones / "logs").glob("*/tasks/*.log")
    }
    listed = git(arena.project, "worktree", "list", "--porcelain").splitlines()
    slots = sum(line.startswith("worktree ") for line in listed) - 1
    allowed = {arena.base / "home" / "cache", arena.base / "home" / ".gitconfig"}
    outside = [arena.base / "home", arena.base / "tmp"]
    stray = [str(arena.stray)] if arena.stray.exists() else []
    for root in outside:
        stray += [
            str(path)
            for path in sorted(root.rglob("*"))
            if path.is_file() and not any(path == one or one in path.parents for one in allowed)
        ]
    return Kept(logs, slots, tuple(stray))


def journal_of(arena: Arena) -> tuple[tuple[Record, ...], str]:
    """Return the journal, or why it cannot be read."""
    try:
        with JournalReader.open(arena.milestones / "state.db") as journal:
            return tuple(journal.records()), ""
    except JournalError as error:
        return (), str(error)


def places_of_ours(arena: Arena) -> tuple[list[Path], list[Path]]:
    """Return what our hand wrote, and what in it did not: the raw output of tasks is theirs."""
    return [arena.project, *arena.base.glob("output-*.txt")], list((arena.milestones / "logs").glob("*/tasks"))


def jumps_seen(faults: list[Fault], records: tuple[Record, ...], true_offset: float) -> list[Fault]:
    """Leave out jumps of the clock that no record shows: nobody asked for the time just then.

    Args:
        faults: Of all kinds.
        records: The journal.
        true_offset: Wall clock minus monotonic clock, as they really are.
    """
    kept = []
    for fault in faults:
        jump = _JUMP.match(fault.detail) if fault.kind == "clock" else None
        if jump is None:
            kept.append(fault)
            continue
        wrong, at = float(jump[1]), float(jump[2])
        if any(one.mono > at and abs(one.wall - one.mono - true_offset - wrong) < 5.0 for one in records):
            kept.append(fault)
    return kept


def tasks_with_marks(marks: tuple[Mark, ...]) -> int:
    """Return how many tasks have run at all."""
    return len({(mark.session, task_of(mark.attempt)) for mark in marks})


# --- a witness ---------------------------------------------------------------------------------------------------


@attrs.define
class Follower:
    """Somebody outside who follows the events for as long as there are any; runs in a thread of its own."""

    arena: Arena
    seen: list[Seen] = attrs.Factory(list)
    connections: int = 0
    _over: threading.Event = attrs.Factory(threading.Event)
    _thread: threading.Thread | None = None

    def begin(self) -> None:
        """Begin to follow."""
        self._thread = threading.Thread(target=self._follow, name="follower", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Stop following; called when nobody supervises any more."""
        self._over.set()
        if self._thread is not None:
            self._thread.join(60.0)

    def _follow(self) -> None:
        while not self._over.wait(0.1):
            try:
                with Client(self.arena.milestones / "run" / "control.sock") as client:
                    self.connections += 1
                    for item in client.follow("events", since=self._last, follow=True):
                        self._take(item)
            except (NoDaemonError, LostError, CallFailedError, AnswerTimeoutError, OSError):
                continue

    @property
    def _last(self) -> int:
        return self.seen[-1].seq if self.seen else 0

    def _take(self, item: dict[str, Any]) -> None:
        body = msgspec.json.encode(item["body"]).decode()
        self.seen.append(Seen(now(), item["seq"], item["session"], item["kind"], body))
