"""What the supervising process shows of a session in files: ``session.json`` and ``agents/<role>.json``.

Everything here can be rebuilt from the journal. So a file is replaced by rename, which no reader ever sees
half-done, and not synced: after a power cut an old or empty one is written again. It is no second truth
either, with one exception: a projection that knows *more* than the journal proves that history was lost, and
:func:`seen_by` collects that for the journal's opening.

Owns the form of these files. Refuses to decide when they are written, and what their readers conclude.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any, Final, Literal

import attrs
import msgspec

from actors.events import ContainmentChosen, Outcome, SessionStatus
from actors.failpoints import at
from actors.files import read_bytes
from actors.log_lines import FILES, timestamp
from actors.projection import last_seq_in
from actors.state import Phase
from supervisor.journal import Seen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from actors.paths import ProjectPaths
    from actors.plan import Plan
    from actors.state import SessionState, TaskState

INTERRUPTED: Final = "interrupted"
"""Word for a task that waits because its last attempt was interrupted."""

AgentWord = Literal["STOPPED", "STARTING", "RUNNING", "BACKOFF", "STOPPING", "EXITED", "FATAL", "UNKNOWN"]
"""States of a role as Supervisor names them (reference: its process states)."""


@attrs.frozen
class SessionSheet:
    """What ``session.json`` holds.

    Attributes:
        id: Session id.
        milestone_id: What it executes.
        status: As last written; see :func:`status_now`.
        branch: Branch that tasks land on, ``None`` without git or before it is known.
        base: Commit that the session began with, ``None`` as above.
        pid: Process that supervises, or did last.
        started_at: ISO 8601, UTC.
        ended_at: ISO 8601, UTC; ``None`` while it lives.
        tasks: A word for each task.
        seq: The last event that is shown.
        unreachable: Tasks that cannot run any more because of failed or skipped ones.
        containment: What makes sure that nothing of a task is left, ``None`` before it is known.
    """

    id: str
    milestone_id: str
    status: SessionStatus
    branch: str | None
    base: str | None
    pid: int
    started_at: str
    ended_at: str | None
    tasks: dict[str, str]
    seq: int
    unreachable: tuple[str, ...] = ()
    containment: ContainmentChosen | None = None


@attrs.frozen
class AgentSheet:
    """What ``agents/<role>.json`` holds.

    Attributes:
        role: Role id.
        pid: Its process, ``None`` without one.
        state: As Supervisor names it.
        restarts: Restarts in the session's present life.
        last_exit: Why the former incarnation ended, ``""`` for none.
        started_at: When the process was started, seconds since the epoch; ``None`` without one.
        last_heartbeat: When its loop answered last, seconds since the epoch; ``None`` before.
        cpu_percent: Of one core, over the last sample; ``None`` before.
        rss_bytes: Resident set; ``None`` before.
    """

    role: str
    pid: int | None
    state: AgentWord
    restarts: int = 0
    last_exit: str = ""
    started_at: float | None = None
    last_heartbeat: float | None = None
    cpu_percent: float | None = None
    rss_bytes: int | None = None


def task_word(task: TaskState) -> str:
    """Return the word for where a task is: its phase, or that it waits because it was interrupted."""
    attempt = task.attempt
    cut_short = attempt is not None and attempt.outcome in {Outcome.INTERRUPTED, Outcome.CANCELLED}
    return INTERRUPTED if task.phase is Phase.PENDING and cut_short else task.phase.value


def status_now(status: SessionStatus, pid: int, lives: Callable[[int], bool]) -> SessionStatus:
    """Return what a session is, given what it was when it was last written down.

    Args:
        status: As written.
        pid: Process that supervised then.
        lives: Tells whether that process still does.
    """
    return SessionStatus.INTERRUPTED if status is SessionStatus.RUNNING and not lives(pid) else status


def sheet_of(state: SessionState, unreachable: Iterable[str] = ()) -> SessionSheet:
    """Return what ``session.json`` shows of a session.

    Args:
        state: The fold.
        unreachable: Tasks that cannot run any more.
    """
    ready = state.git.ready
    return SessionSheet(
        id=state.session,
        milestone_id=state.milestone.id,
        status=state.status,
        branch=ready.branch if ready else None,
        base=ready.base if ready else None,
        pid=state.pid,
        started_at=timestamp(state.started_wall),
        ended_at=timestamp(state.ended_wall) if state.ended_wall else None,
        tasks={task_id: task_word(task) for task_id, task in state.tasks.items()},
        seq=state.seq,
        unreachable=tuple(unreachable),
        containment=state.containment,
    )


def unreachable(state: SessionState, plan: Plan) -> list[str]:
    """Return the tasks that cannot run any more because of failed or skipped ones, in the milestone's order.

    Args:
        state: The fold.
        plan: Of its milestone.
    """
    failed = [key for key, task in state.tasks.items() if task.phase in {Phase.FAILED, Phase.SKIPPED}]
    gone = plan.unreachable(failed) if failed else set()
    return [key for key, task in state.tasks.items() if key in gone and task.phase is Phase.PENDING]


def session_json(state: SessionState, unreachable: Iterable[str] = ()) -> bytes:
    """Return the content of ``session.json``; arguments as of :func:`sheet_of`."""
    return _pretty(sheet_of(state, unreachable))


def agent_json(agent: AgentSheet) -> bytes:
    """Return the content of ``agents/<role>.json``."""
    moments = {
        name: None if (wall := getattr(agent, name)) is None else timestamp(wall)
        for name in ("started_at", "last_heartbeat")
    }
    return _pretty({**msgspec.to_builtins(agent), **moments})


def _pretty(value: Any) -> bytes:  # noqa: ANN401 - whatever msgspec encodes
    return msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"


def replace_file(path: Path, content: bytes) -> None:
    """Put a new content in a file's place, so that a reader finds the old one or the new one.

    Not synced: for what can be rebuilt.

    Raises:
        OSError: It cannot be written; the old content stays.
    """
    fresh = path.with_name(f".{path.name}.new")  # a killed writer's is written over
    try:
        file = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with open(file, "wb") as writer:  # noqa: PTH123 - a descriptor with its own flags
            writer.write(content)
        at("sheet.written")
        fresh.replace(path)
        at("sheet.replaced")
    except OSError:
        with contextlib.suppress(OSError):
            fresh.unlink(missing_ok=True)
        raise


def load_session_json(path: Path) -> SessionSheet | None:
    """Read a ``session.json``; ``None`` when it is missing, torn or of another version."""
    try:
        return msgspec.json.decode(read_bytes(path), type=SessionSheet)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None


def seen_by(paths: ProjectPaths, besides: Sequence[Seen] = ()) -> tuple[Seen, ...]:
    """Collect what the projections of a project know, for :meth:`supervisor.journal.Journal.open`.

    Args:
        paths: The project.
        besides: What else knows of events.
    """
    return (*_seen_sessions(paths), *_seen_logs(paths), *besides)


def _seen_sessions(paths: ProjectPaths) -> Iterator[Seen]:
    for path in sorted(paths.sessions.glob("*/session.json")):
        sheet = load_session_json(path)
        # Of a torn one the directory still tells that the session was there.
        yield Seen(str(path), path.parent.name, 0 if sheet is None else sheet.seq)


def _seen_logs(paths: ProjectPaths) -> Iterator[Seen]:
    for directory in sorted(paths.all_logs.glob("*/")):
        for name in FILES.values():
            with contextlib.suppress(OSError):
                if seq := last_seq_in(directory / name):
                    yield Seen(str(directory / name), directory.name, seq)
