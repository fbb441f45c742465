"""What ``doctor`` looks at in a project: permissions, lock, control socket, journal, leftovers, configuration, clock.

Owns these checks. Everything is only read: the lock is not taken, the journal is opened for reading, the control socket
is asked for a process id at the most.
"""

from __future__ import annotations

import os
import shlex
import stat
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from actors.events import Settings
from actors.rules_file import read_rules_file
from supervisor.cli.diagnosis import Finding, Level, error, ok, warning
from supervisor.cli.journaled import open_sessions
from supervisor.cli.output import CommandError, count
from supervisor.client import AnswerTimeoutError, CallFailedError, Client, LostError, NoDaemonError
from supervisor.config import ConfigError, load_config
from supervisor.finding import known_ids, shown
from supervisor.journal import JournalError, LostHistoryError, examine
from supervisor.journal_reader import CURRENT
from supervisor.leases import left_behind
from supervisor.lock import is_replaced
from supervisor.projection import seen_by

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from actors.events import Record
    from actors.paths import ProjectPaths
    from actors.problems import Problem
    from supervisor.lock import Holder

ANSWER_SECONDS: Final = 5.0
_CLOCK_SECONDS: Final = 60.0
"""How far the clock may stand before the last event: less is an ordinary correction."""


def check_configuration(project: Path) -> tuple[Settings, list[Finding]]:
    """Judge the configuration and the rules file; the settings are the defaults where they cannot be used."""
    try:
        config = load_config(project, os.environ)
    except ConfigError as failure:
        return Settings(), [_problem(one) for one in failure.problems]
    found = [_problem(one) for one in read_rules_file(project, config.settings.rules).problems]
    sources = ", ".join(map(shown, config.sources))
    return config.settings, found or [ok("the configuration can be used", sources or "defaults only")]


def _problem(one: Problem) -> Finding:
    place = f"{shown(one.path)}:{one.line}:{one.column}"
    level = Level.ERROR if one.is_error else Level.WARNING
    return Finding(level, one.message, place, "", one.suggestion or "correct the file; see milestonectl validate")


def check_permissions(paths: ProjectPaths) -> Iterator[Finding]:
    """Judge owners and modes of ``.milestones`` and of what is ours alone in it."""
    bad = list(_bad_permissions(paths))
    yield from bad or [ok(f"owner and modes of {paths.milestones.name} and its parts", str(paths.milestones))]


def _bad_permissions(paths: ProjectPaths) -> Iterator[Finding]:
    database = paths.state_db
    private = (paths.sessions, paths.all_logs, paths.control.parent)
    files = (database, *(database.with_name(database.name + end) for end in ("-wal", "-shm", "-head")), paths.lock)
    for path in (paths.milestones, *private, *files):
        try:
            found = path.lstat()
        except FileNotFoundError:
            continue
        if path in files and not stat.S_ISREG(found.st_mode):
            yield error(
                "this is no ordinary file", str(path), "it is never written through", f"look at it: ls -l {path}"
            )
            continue
        if found.st_uid != os.geteuid():
            why = f"you are user {os.geteuid()}: what is written belongs to two users then, and one is refused"
            cure = f"work as that user, or: sudo chown -R {os.geteuid()} {paths.milestones}"
            yield error(f"it belongs to user {found.st_uid}", str(path), why, cure)
        elif not os.access(path, os.R_OK | os.W_OK | (os.X_OK if stat.S_ISDIR(found.st_mode) else 0)):
            yield error("you may not write here", str(path), "nothing can be journaled", f"chmod u+rwX {path}")
        open_to = found.st_mode & (0o077 if path in private else 0o002)
        if open_to:
            why = "others could read what tasks print" if path in private else "others could change it"
            cure = f"chmod {'go-rwx' if path in private else 'o-w'} {path}"
            yield warning(f"it is open to others (mode {stat.S_IMODE(found.st_mode):o})", str(path), why, cure)


def check_supervision(paths: ProjectPaths, holder: Holder | None) -> Iterator[Finding]:
    """Judge the lock and the control socket."""
    where = str(paths.control)
    if holder is None:
        yield ok("nobody supervises the project", str(paths.lock))
        if paths.control.exists():
            why = "a supervising process was killed; nobody listens there, and nobody is kept from anything"
            yield warning("a stale control socket", where, why, f"the next start replaces it; or: rm {where}")
        return
    if is_replaced(paths, holder):
        why = f"{holder} holds the project, and ends everything once it notices; if it stays so, it hangs"
        cure = f"look again; if it stays so: kill -KILL {holder.pid}, then run again, which resumes; see who removes it"
        yield error("the lock file was removed or replaced", str(paths.lock), why, cure)
    else:
        yield ok(f"the project is held by {holder}", str(paths.lock))
    try:
        with Client(paths.control, ANSWER_SECONDS) as client:
            client.ask("pid", names=())
    except NoDaemonError as failure:
        why = f"{failure}; commands such as stop do not reach it"
        cure = f"look at process {holder.pid}; to end it in order: kill {holder.pid}"
        yield error("the supervising process does not listen", where, why, cure)
    except (AnswerTimeoutError, LostError, OSError):
        cure = f"look again; if it stays so: kill {holder.pid}, then run again, which resumes"
        yield error(f"the supervising process does not answer within {ANSWER_SECONDS:g} s", where, "it hangs", cure)
    except CallFailedError:
        yield ok("the supervising process answers", where)
    else:
        yield ok("the supervising process answers", where)


def check_journal(paths: ProjectPaths, holder: Holder | None) -> Iterator[Finding]:
    """Verify the journal and what the projections know, and compare the clock with its last event."""
    where = str(paths.state_db)
    last: list[Record] = []

    def told(record: Record) -> None:
        last[:] = [record]

    try:
        # Collected before the journal is read: a writer that lives can only make the journal know more.
        verified = examine(paths.state_db, seen_by(paths), told)
    except LostHistoryError as failure:
        yield error("a projection knows more than the journal", where, failure.what, failure.cure)
        return
    except JournalError as failure:
        yield error(failure.what, where, "runs are refused until it is mended", failure.cure)
        return
    if verified is None:
        yield ok("there is no journal yet", where)
        return
    partly = "" if holder is None else f"; {holder} writes on, and what comes after that was not looked at"
    told_of = f"{count(verified.seq, 'event')} of {count(len(verified.sessions), 'session')}"
    yield ok(f"the journal is whole: {told_of} verified{partly}", where)
    if verified.version < CURRENT.version:
        why = f"it has form {verified.version}, this version writes {CURRENT.version}"
        yield warning("the journal is of an older version", where, why, "the next run brings it up to date")
    yield from _check_clock(last)


def _check_clock(last: list[Record]) -> Iterator[Finding]:
    now = time.time()  # noqa: TID251 - compared with stored times
    if last and last[0].wall > now + _CLOCK_SECONDS:
        when = datetime.fromtimestamp(last[0].wall, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        why = f"the last event was journaled at {when}: times that are shown would run backwards (deadlines do not)"
        yield warning("the clock stands before the last event", "", why, "set it: timedatectl set-ntp true")
    else:
        yield ok("the clock stands after the last event")


def check_worktrees(paths: ProjectPaths, slots: Path) -> Iterator[Finding]:
    """Look for worktrees of milestones that nobody will run again: nobody else would archive and remove them.

    Args:
        paths: The project.
        slots: The directory that has its worktrees.
    """
    active = set(known_ids(paths))
    left: dict[str, list[Path]] = {}
    for path in sorted(slots.glob("*-slot-*")):
        milestone, _, number = path.name.rpartition("-slot-")
        if milestone not in active and number.isdigit() and path.is_dir():
            left.setdefault(milestone, []).append(path)
    for milestone, found in left.items():
        why = "no active milestone file: no run archives what is in there and did not land, or removes it"
        cure = (
            f"put {milestone}.yaml back into {shown(paths.active)}/ and run it; or look there, and remove: "
            + "; ".join(f"git worktree remove --force {shlex.quote(str(path))}" for path in found)
        )
        yield warning(f"worktrees of milestone {milestone} are left", " ".join(map(str, found)), why, cure)
    if not left:
        yield ok("no worktree is left of milestones that are gone", str(slots))


def check_leftovers(paths: ProjectPaths) -> Iterator[Finding]:
    """Look for processes of sessions that nobody supervises."""
    try:
        with open_sessions(paths, as_json=False) as sessions:
            living = {session for session in sessions.latest() if sessions.view(session).lives}
            known = {one.id for one in sessions.summaries}
    except CommandError as failure:
        why, cure = failure.lines[0], "mend the journal first"
        yield warning("leftover processes could not be looked for", str(paths.state_db), why, cure)
        return
    left = left_behind(known - living, str(paths.project))
    if not left:
        yield ok("nothing is left of sessions that nobody supervises")
        return
    pids = " ".join(map(str, left))
    why = "their session is over, or its supervising process was killed"
    cure = f"the next run ends them before it starts anything; or: kill {pids}"
    yield warning(f"processes of former sessions are left: {pids}", "", why, cure)
