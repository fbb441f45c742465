"""What is recorded of a project while things are done to it: the input of the checker, kept as one JSON file.

Owns the data and its file. Refuses to know how it is collected and what is wrong with it.

All times are seconds of the boot clock (``CLOCK_BOOTTIME``, what ``/proc/uptime`` shows), which nothing that is done to
a project can move; the times in journal records are the product's own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

from actors.events import Record

KILLED_BY_US: Final = "killed"
"""How a life ended: by a kill of the harness."""


class Mark(msgspec.Struct, frozen=True):
    """A line that a task's program appended to a file of its own, whatever our journal says.

    Attributes:
        at: When.
        what: ``start`` and ``end`` of its work, ``beat`` while it works; also by what it has left in the background.
        session: The session's id in its environment.
        attempt: The attempt's id in its environment.
        pid: As it sees itself.
    """

    at: float
    what: str
    session: str
    attempt: str
    pid: int = 0


class Commit(msgspec.Struct, frozen=True):
    """A commit of a milestone branch.

    Attributes:
        sha: Its id.
        parents: Their ids.
        milestone: The trailer ``Milestone:``.
        task: The trailer ``Task:``.
        session: The trailer ``Session:``.
        proofs: The attempt ids that the task wrote into its first and into its last file, as the commit has them.
        branch: The milestone branch that it was found on.
    """

    sha: str
    parents: tuple[str, ...]
    milestone: str
    task: str
    session: str
    proofs: tuple[str, ...] = ()
    branch: str = ""


class Seen(msgspec.Struct, frozen=True):
    """A record as somebody outside was told of it, over the control socket: it is acknowledged from here on.

    Attributes:
        at: When.
        seq: Its seq.
        session: Its session.
        kind: Its kind.
        body: Its JSON.
    """

    at: float
    seq: int
    session: str
    kind: str
    body: str


class Asked(msgspec.Struct, frozen=True):
    """A verb that a client sent.

    Attributes:
        at: When.
        verb: The verb.
        session: Id of the session that it concerned, ``""`` when unknown.
        task: Task that it named, ``""`` for none.
        ok: Whether it was answered that it happened; ``None`` when no answer came.
        text: The answer, in one line.
    """

    at: float
    verb: str
    session: str
    task: str = ""
    ok: bool | None = None
    text: str = ""


class Fault(msgspec.Struct, frozen=True):
    """Something that was done, and really happened.

    Attributes:
        at: When.
        kind: ``kill``, ``stop``, ``disk``, ``clock``, ``edit``, ``lock``, ``client``...
        who: The victims: ``supervisor``, ``fork_server``, ``runner``, role ids.
        detail: What exactly, for people.
    """

    at: float
    kind: str
    who: tuple[str, ...] = ()
    detail: str = ""


class Process(msgspec.Struct, frozen=True):
    """A process of the project, of any kind.

    Attributes:
        pid: Process id, seen from outside.
        parent: Its parent's.
        command: For people.
        writes: Whether it has the journal open for writing.
    """

    pid: int
    parent: int
    command: str
    writes: bool = False


class Look(msgspec.Struct, frozen=True):
    """A look at the process table; zombies are left out.

    Attributes:
        at: When.
        since: When processes of ours were killed last.
        supervisors: The live supervising processes, as the harness knows them by having started them.
        processes: All of ours and of tasks.
    """

    at: float
    since: float
    supervisors: tuple[int, ...]
    processes: tuple[Process, ...]


class Rival(msgspec.Struct, frozen=True):
    """A second supervising process that was started while another one held the project.

    Attributes:
        at: When.
        holder: Pid of the other one.
        code: How it ended.
        text: What it said.
    """

    at: float
    holder: int
    code: int
    text: str


class Life(msgspec.Struct, frozen=True):
    """A supervising process, from start to end.

    Attributes:
        pid: Process id.
        kind: ``run`` or ``daemon``.
        began: When it was started.
        ready: When it was ready, 0 for never.
        ended: When it ended, 0 while it lives.
        how: ``killed`` by the harness, ``asked`` to stop, or ``""``: by itself.
        asked: When it was asked to stop, 0 for never.
        code: Exit code.
        text: The end of what it printed.
    """

    pid: int
    kind: str
    began: float
    ready: float = 0.0
    ended: float = 0.0
    how: str = ""
    asked: float = 0.0
    code: int = 0
    text: str = ""


class Use(msgspec.Struct, frozen=True):
    """What a supervising process used while nothing went on.

    Attributes:
        at: When.
        pid: Process id.
        rss: Resident bytes.
        descriptors: Open ones.
        threads: Of it.
    """

    at: float
    pid: int
    rss: int
    descriptors: int
    threads: int


class Kept(msgspec.Struct, frozen=True):
    """What is on disk at the end.

    Attributes:
        logs: Bytes of each attempt's log by name.
        slots: Worktree slots that are left.
        stray: Files where nobody of ours may write.
    """

    logs: dict[str, int] = {}
    slots: int = 0
    stray: tuple[str, ...] = ()


class Bounds(msgspec.Struct, frozen=True):
    """What the checker holds things against.

    Attributes:
        orphan: Seconds after which nothing may live without a living owner (I6).
        ready: Seconds until a supervising process is ready (L1).
        stop: Seconds beyond the grace for a stop (L3).
        grace: The configured ``stop_grace``.
        log: Bytes that an attempt's log may have (I11).
        slots: Worktree slots that may be left over.
        growth: Bytes of resident memory by which a life may grow for each look (I11).
        descriptors: By how many a life's may grow altogether.
        restarts: Of children within a minute, in one life of a session (L4).
    """

    orphan: float = 5.0
    ready: float = 5.0
    stop: float = 2.0
    grace: float = 1.0
    log: int = 1 << 20
    slots: int = 0
    growth: int = 1 << 19
    descriptors: int = 3
    restarts: int = 10


class History(msgspec.Struct, frozen=True, kw_only=True):
    """All that was recorded of one project.

    Attributes:
        seed: What it was generated from.
        bounds: What it is held against.
        records: The journal at the end.
        journal_error: Why it could not be read, ``""`` when it could.
        commits: Of the milestone branches, oldest first.
        marks: In the order of the file that the tasks append to.
        seen: What was told to somebody outside.
        asked: What clients sent.
        faults: What was done.
        looks: At the process table.
        rivals: That were started.
        lives: Of supervising processes.
        uses: Of them.
        before: What is the user's at first: name -> hash.
        after: The same at the end.
        typed: Milestone files as a person left them: id -> text, statuses aside.
        final: The same at the end.
        kept: What is on disk.
        changing: Tasks (``milestone/task``) whose work leaves something to commit.
        stuck: At the end: what a person is shown of what did not complete, session -> text.
        complete: Whether everything was resumed until it ended; else only safety is judged.
    """

    seed: int = 0
    bounds: Bounds = Bounds()
    records: tuple[Record, ...] = ()
    journal_error: str = ""
    commits: tuple[Commit, ...] = ()
    marks: tuple[Mark, ...] = ()
    seen: tuple[Seen, ...] = ()
    asked: tuple[Asked, ...] = ()
    faults: tuple[Fault, ...] = ()
    looks: tuple[Look, ...] = ()
    rivals: tuple[Rival, ...] = ()
    lives: tuple[Life, ...] = ()
    uses: tuple[Use, ...] = ()
    before: dict[str, str] = {}
    after: dict[str, str] = {}
    typed: dict[str, str] = {}
    final: dict[str, str] = {}
    kept: Kept = Kept()
    changing: tuple[str, ...] = ()
    stuck: dict[str, str] = {}
    complete: bool = True


def write_history(history: History, path: Path) -> None:
    """Write a history down for who looks at it later."""
    path.write_bytes(msgspec.json.encode(history))  # not indented: bodies of records are what they were, byte by byte


def read_history(path: Path) -> History:
    """Read what :func:`write_history` wrote.

    Raises:
        msgspec.MsgspecError: It is no history.
    """
    return msgspec.json.decode(path.read_bytes(), type=History)
