"""The journal as a file, processes, the user's things, secrets, clients and resources: I4 and I6 to I11.

Owns the judgement of what stands around a session. Pure functions over a history; each yields violations.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

import msgspec

from actors.events import AttemptStarted, SessionResumed, SessionStarted
from tests.canaries import find
from tests.chaos.history import KILLED_BY_US, History, Life, Look, Mark, Use
from tests.chaos.story import Told
from tests.chaos.violation import Violation

ORDERLY: Final = frozenset({0, 1, 2, 69, 70, 74, 75, 78, 129, 130, 141, 143})
"""Exit codes that are documented; any other one is a crash."""

REFUSED: Final = frozenset({1, 2, 74, 75, 78})
"""Exit codes of a start that was refused with its reason."""

BROKEN: Final = 70
"""Exit code of a broken invariant."""

HELD: Final = 75
"""Exit code of who finds the project held by another."""

_FEW: Final = 4
"""Looks at a supervising process below which nothing can be said about growth."""

_STATUS: Final = re.compile(r"(\bstatus:[ \t]*)[\"']?[A-Za-z_]+[\"']?")


def _life(life: Life) -> str:
    return f"{life.kind} {life.pid}, {life.began:.2f} to {life.ended:.2f}, code {life.code}: {life.text[-300:]!r}"


# --- I4 ----------------------------------------------------------------------------------------------------------


def check_journal(history: History) -> Iterator[Violation]:
    """I4: the journal can be read, has no gap, and holds everything that was acknowledged, as it was told."""
    if history.journal_error:
        yield Violation("I4", f"the journal cannot be read: {history.journal_error}")
        return
    by_seq = {}
    for place, record in enumerate(history.records, 1):
        if record.seq != place:
            yield Violation("I4", f"event {place} is missing", (Told(record, record.event()).line,))
            return
        by_seq[record.seq] = record
    for seen in history.seen:
        found = by_seq.get(seen.seq)
        body = "" if found is None else bytes(found.body).decode()
        if found is None or (found.session, found.kind) != (seen.session, seen.kind) or not _same(body, seen.body):
            told = f"told at {seen.at:.2f}: seq {seen.seq} {seen.session} {seen.kind} {seen.body[:200]}"
            here = "nothing" if found is None else f"seq {found.seq} {found.session} {found.kind} {body[:200]}"
            yield Violation("I4", f"event {seen.seq} was acknowledged and is not what the journal has", (told, here))
    yield from _never_empty(history)
    for life in history.lives:
        if life.ended and not life.ready and not life.how and life.code in REFUSED and not life.text.strip():
            yield Violation("I4", "a start was refused without a reason", (_life(life),))


def _same(one: str, other: str) -> bool:
    """Whether two JSON texts say the same: on the way to a client they are written anew."""
    return bool(msgspec.json.decode(one) == msgspec.json.decode(other))


def _never_empty(history: History) -> Iterator[Violation]:
    """A second session of a milestone begins only where the first one is over."""
    open_sessions: dict[str, str] = {}
    for record in history.records:
        match record.event():
            case SessionStarted(milestone=milestone):
                former = open_sessions.get(milestone.id)
                if former is not None:
                    what = f"{milestone.id} began anew as {record.session} while {former} was unfinished"
                    yield Violation("I4", what, (Told(record, record.event()).line,))
                open_sessions[milestone.id] = record.session
            case event if type(event).__name__ == "SessionEnded" and event.status.value != "interrupted":  # type: ignore[union-attr]
                open_sessions = {key: name for key, name in open_sessions.items() if name != record.session}
            case _:
                pass


# --- I6 ----------------------------------------------------------------------------------------------------------


def check_orphans(history: History) -> Iterator[Violation]:
    """I6: some seconds after any of our processes died, nothing lives without a living owner."""
    for look in history.looks:
        if look.at - look.since < history.bounds.orphan:
            continue
        for pid, command in _unowned(look):
            what = f"{look.at - look.since:.1f} s after the last kill a process lives without an owner"
            yield Violation("I6", what, (f"pid {pid}: {command}", f"supervising: {look.supervisors}"))
    yield from _beating_on(history)


def _unowned(look: Look) -> Iterator[tuple[int, str]]:
    parents = {process.pid: process.parent for process in look.processes}
    for process in look.processes:
        pid, passed = process.pid, set[int]()
        while pid not in look.supervisors and pid in parents and pid not in passed:
            passed.add(pid)
            pid = parents[pid]
        if pid not in look.supervisors:
            yield process.pid, process.command


def _beating_on(history: History) -> Iterator[Violation]:
    """A task of a supervising process that was killed goes on marking its file: seen without any process table."""
    deaths = [fault.at for fault in history.faults if fault.kind == "kill" and "supervisor" in fault.who]
    began: dict[tuple[str, str], Mark] = {}
    for mark in history.marks:
        first = began.setdefault((mark.session, mark.attempt), mark)
        for death in deaths:
            if first.at < death and mark.at > death + history.bounds.orphan:
                what = f"{mark.attempt} lived {mark.at - death:.1f} s after its supervising process was killed"
                yield Violation("I6", what, (f"began at {first.at:.2f}, killed at {death:.2f}, mark {mark}",))
                break


# --- I7 ----------------------------------------------------------------------------------------------------------


def check_one_supervisor(history: History) -> Iterator[Violation]:
    """I7: one supervisor per project; who comes second is told who is there."""
    for look in history.looks:
        writers = [process for process in look.processes if process.writes]
        if len(writers) > 1:
            evidence = tuple(f"pid {process.pid}: {process.command}" for process in writers)
            yield Violation("I7", f"at {look.at:.2f} {len(writers)} processes had the journal open to write", evidence)
    for rival in history.rivals:
        if rival.code != HELD or str(rival.holder) not in rival.text:
            what = f"a second supervising process ended with {rival.code}, and should have named {rival.holder}"
            yield Violation("I7", what, (rival.text,))
    begun = {
        fact.pid for record in history.records if isinstance(fact := record.event(), SessionStarted | SessionResumed)
    }
    unknown = begun - {life.pid for life in history.lives} if history.lives else set()
    if unknown:
        yield Violation("I7", f"sessions were begun by processes that nobody started as supervisors: {sorted(unknown)}")


# --- I8 ----------------------------------------------------------------------------------------------------------


def without_statuses(text: str) -> str:
    """Return a milestone file's text with every status replaced by a dot, which is all that we may change."""
    return _STATUS.sub(r"\1.", text)


def check_users_things(history: History) -> Iterator[Violation]:
    """I8: the user's checkout, index, stashes, branches, hooks, configuration and edits are as they were left."""
    for name in sorted(history.before.keys() | history.after.keys()):
        was, now = history.before.get(name, "absent"), history.after.get(name, "absent")
        if was != now:
            yield Violation("I8", f"{name} is not what it was", (f"{was} -> {now}",))
    for name, typed in history.typed.items():
        now = history.final.get(name, "")
        if without_statuses(typed) != without_statuses(now):
            yield Violation("I8", f"milestone file {name} lost what a person typed", (typed, now))
    if history.kept.stray:
        yield Violation("I8", "files where nobody of ours may write", history.kept.stray)


# --- I9 ----------------------------------------------------------------------------------------------------------


def check_secrets(secrets: Mapping[str, str], roots: Iterable[Path], but: Iterable[Path] = ()) -> Iterator[Violation]:
    """I9: no named secret, plain or encoded, in what we wrote.

    Args:
        secrets: Name -> value.
        roots: Files and directories; of git directories all objects.
        but: What may hold them: the raw output of tasks.
    """
    names = {value: name for name, value in secrets.items()}
    for hit in find(names, roots, but=but):
        yield Violation("I9", f"the value of {names[hit.canary]} stands in {hit.path}", (f"{hit.form}, {hit.offset}",))


# --- I10 ---------------------------------------------------------------------------------------------------------


def check_lives(history: History) -> Iterator[Violation]:
    """I10: no client and no file ends a supervising process, and none ends it in a traceback."""
    for life in history.lives:
        if "Traceback (most recent call last)" in life.text:
            yield Violation("I10", f"{life.kind} {life.pid} printed a traceback", (_life(life),))
        if not life.ended or life.how == KILLED_BY_US:
            continue
        if life.code not in ORDERLY or life.code == BROKEN:
            yield Violation("I10", f"{life.kind} {life.pid} ended with {life.code}", (_life(life),))
        elif life.kind == "daemon" and life.ready and not life.how and not _excused(history, life):
            yield Violation("I10", f"{life.kind} {life.pid} ended by itself", (_life(life),))


def _excused(history: History, life: Life) -> bool:
    """A full disk may end it, with 74, and a lock that was replaced, with 75."""
    kinds = {fault.kind for fault in history.faults if life.began <= fault.at <= life.ended}
    return (life.code == 74 and "disk" in kinds) or (life.code == HELD and "lock file" in kinds)


# --- I11 ---------------------------------------------------------------------------------------------------------


def check_bounds(history: History) -> Iterator[Violation]:
    """I11: memory, descriptors and threads do not grow, disk stays within what is configured."""
    uses: dict[int, list[Use]] = defaultdict(list)
    for use in history.uses:
        uses[use.pid].append(use)
    for pid, seen in uses.items():
        settled = seen[len(seen) // 2 :]  # before that caches fill, up to their bounds
        if len(settled) < _FEW:
            continue
        slope = slope_of([use.rss for use in settled])
        evidence = tuple(f"{use.at:.1f}: {use.rss} B, {use.descriptors} fds, {use.threads} threads" for use in seen)
        if slope > history.bounds.growth:
            yield Violation("I11", f"process {pid} grows by {slope:.0f} bytes from look to look", evidence)
        for what, first, last in (
            ("descriptors", settled[0].descriptors, settled[-1].descriptors),
            ("threads", settled[0].threads, settled[-1].threads),
        ):
            if last - first > history.bounds.descriptors:
                yield Violation("I11", f"process {pid} went from {first} to {last} {what}", evidence)
    for name, size in history.kept.logs.items():
        if size > history.bounds.log:
            yield Violation("I11", f"the log {name} has {size} bytes, {history.bounds.log} are allowed")
    if history.complete and history.kept.slots > history.bounds.slots:
        yield Violation("I11", f"{history.kept.slots} worktrees are left")


def slope_of(values: list[int]) -> float:
    """Return the growth from one value to the next, by least squares; 0 for fewer than two."""
    count = len(values)
    if count < 2:
        return 0.0
    middle, mean = (count - 1) / 2, sum(values) / count
    up = sum((place - middle) * (value - mean) for place, value in enumerate(values))
    return up / sum((place - middle) ** 2 for place in range(count))


def started_pids(history: History) -> set[int]:
    """Return the pids of tasks' programs that the journal knows, for who looks at the process table."""
    return {fact.pid for record in history.records if isinstance(fact := record.event(), AttemptStarted)}
