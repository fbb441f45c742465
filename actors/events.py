"""The facts that a session's journal holds, and how they are written down.

Each class here is one kind of fact. The class table is closed: a kind that is not in :data:`EVENT_TYPES` cannot be
journaled, sent or folded. Owns the vocabulary and its encoding (JSON by msgspec). Refuses to know who stores the
facts and what anybody concludes from them (that is :mod:`actors.state`).

Who states what: the supervising process the session's own facts and those about its children; the executor grants,
completions and failures; the runner what became of attempts; the git role slots, commits and pushes; the
dependency validator pre-flight and alerts; the progress monitor reports and stalls; the blocker detector blockers.

Facts are msgspec structs where the rest of the house has attrs classes: seven processes decode every one of them,
and msgspec makes its own structs in C, four times as fast.
"""

from __future__ import annotations

import enum
from typing import Final

import attrs
import msgspec

from actors.limits import Limits
from actors.model import Command, Containment, Isolation, Milestone, Overflow
from actors.wording import signal_name


def task_of(attempt: str) -> str:
    """Return the id of the task that an attempt (``<task>.<number>``) is one of."""
    return attempt.rpartition(".")[0]


class Outcome(enum.Enum):
    """How an attempt ended."""

    OK = "ok"
    FAILED = "failed"
    TIMEOUT = "timeout"
    INTERRUPTED = "interrupted"
    CANCELLED = "cancelled"


class SessionStatus(enum.Enum):
    """What a session as a whole is; the words of ``session.json``."""

    RUNNING = "running"
    PAUSED = "paused"
    COMPLETED = "completed"
    FAILED = "failed"
    BLOCKED = "blocked"
    INTERRUPTED = "interrupted"
    CANCELLED = "cancelled"


class Severity(enum.Enum):
    """How bad a blocker or an alert is."""

    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"


ENVIRONMENT: Final = ("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "LC_*", "TZ", "TMPDIR", "XDG_*")
"""Variables of a daemon's environment that its tasks get where the configuration does not say."""


@attrs.frozen
class AgentRunner:
    """A configured program that works on tasks without ``run``.

    Attributes:
        name: What ``agent:`` of a task calls it.
        command: The program and its arguments; a word ``{prompt}`` is replaced by the prompt.
        prompt: ``"stdin"`` or ``"argument"``: how the rendered task reaches it.
        timeout: Seconds for an attempt, ``None`` for the task's own.
    """

    name: str
    command: tuple[str, ...]
    prompt: str = "stdin"
    timeout: float | None = None


@attrs.frozen
class Settings:
    """What a session was told about how to run; journaled with it.

    Attributes:
        max_parallel: How many attempts may live at once, 1 or more.
        isolation: Worktree slots, or in place.
        fail_fast: Stop granting after the first task that failed for good.
        agents: The configured agent runners.
        default_agent: Name of the runner for tasks that name none; ``""`` for none.
        remote: Name of the git remote to push to; ``""`` never pushes.
        push_every: Landed tasks between two pushes.
        worktree_copy: Globs of ignored files that each slot gets a copy of.
        worktree_setup: Commands run in a fresh slot before its first attempt.
        slots_directory: Absolute directory for worktree slots; ``""`` takes the user's cache directory.
        keep_for: Seconds for which work that did not land is kept at least.
        progress_interval: Seconds between two progress reports.
        stall_after: Seconds without an update after which a task is reported as stalled.
        no_progress_after: Seconds without any progress after which the session is reported as stuck.
        pressure_percent: CPU, memory or disk use above which the machine counts as under pressure.
        uncommitted_interval: Seconds between two looks at uncommitted changes.
        rules: Path of a file with the user's own blocker rules; ``""`` for none.
        hook_command: Program told of critical blockers (JSON on standard input); empty for none.
        hook_url: URL told of critical blockers by POST; ``""`` for none.
        stop_grace: Seconds between TERM and KILL when an attempt is ended.
        conflict_reruns: How often a task is run again on the new tip because its change did not merge.
        secrets: Names of variables whose values never reach a log, the journal or a report by our hand.
        environment: Names of variables of a daemon's environment that its tasks get; with a ``*`` at the end all that
            begin so. Under a run tasks get them all.
        containment: What makes sure that nothing of a task is left.
        output_limit: Bytes that the log of an attempt may have; 0 for no limit.
        output_overflow: What becomes of an attempt whose log has more: its middle is left out, or the attempt is ended.
        role_limits: What each role's process may use, with the programs that it runs, and the runner's, without
            the tasks.
        task_limits: What an attempt may use, all its processes together.
    """

    max_parallel: int = 4
    isolation: Isolation = Isolation.WORKTREE
    fail_fast: bool = False
    agents: tuple[AgentRunner, ...] = ()
    default_agent: str = ""
    remote: str = ""
    push_every: int = 3
    worktree_copy: tuple[str, ...] = ()
    worktree_setup: tuple[str, ...] = ()
    slots_directory: str = ""
    keep_for: float = 14 * 86400.0
    progress_interval: float = 30.0
    stall_after: float = 300.0
    no_progress_after: float = 600.0
    pressure_percent: float = 90.0
    uncommitted_interval: float = 60.0
    rules: str = ""
    hook_command: tuple[str, ...] = ()
    hook_url: str = ""
    stop_grace: float = 10.0
    conflict_reruns: int = 3
    secrets: tuple[str, ...] = ()
    environment: tuple[str, ...] = ENVIRONMENT
    containment: Containment = Containment.AUTO
    output_limit: int = 1 << 30
    output_overflow: Overflow = Overflow.TRIM
    role_limits: Limits = Limits()
    task_limits: Limits = Limits()


# --- stated by the supervising process ---------------------------------------------------------------------------


class SessionStarted(msgspec.Struct, frozen=True):
    """A session began. The first fact of every session; holds all that it will execute.

    Attributes:
        milestone: The snapshot that the session executes.
        path: The milestone file, relative to the project directory.
        project: Absolute path of the project directory.
        settings: How to run.
        boot: Boot id of the machine.
        pid: Process that supervises.
        daemon: Whether that is a daemon, whose next one takes the session up unless somebody ended it.
        landed: Last commit that former sessions of the milestone landed, ``""`` for none.
    """

    milestone: Milestone
    path: str
    project: str
    settings: Settings
    boot: str
    pid: int
    daemon: bool = False
    landed: str = ""


class SessionResumed(msgspec.Struct, frozen=True):
    """Another process took the session up. Attempts of the former life are settled by the runner.

    Attributes:
        settings: How it goes on.
        boot: Id of the machine's boot.
        pid: Process that supervises it.
        daemon: Whether that is a daemon.
    """

    settings: Settings
    boot: str
    pid: int
    daemon: bool = False


class MilestoneUpdated(msgspec.Struct, frozen=True):
    """The session executes a newer snapshot from here on; completed tasks are the same in both.

    Attributes:
        milestone: The newer snapshot.
    """

    milestone: Milestone


class StopRequested(msgspec.Struct, frozen=True):
    """Running attempts are to be ended; the session stays resumable unless it is ``final`` (cancelled).

    Attributes:
        reason: Why, for people (``interrupted by the user``).
        final: True for *cancel*.
        shutdown: Whether it is the daemon that ends, and not somebody who wanted the session ended: the next daemon
            takes it up.
    """

    reason: str
    final: bool = False
    shutdown: bool = False


class SessionPaused(msgspec.Struct, frozen=True):
    """Nothing new is granted from here on; running attempts finish.

    Attributes:
        reason: Why, for people.
        by_hand: Whether a person wanted it so.
        passing: Whether who states it takes it back when the reason is gone; it never takes the place of another pause.
    """

    reason: str
    by_hand: bool = False
    passing: bool = False


class SessionUnpaused(msgspec.Struct, frozen=True):
    """Granting goes on.

    Attributes:
        reason: That of the pause that is taken back: a later one, a person's above all, stays; ``""`` for any.
    """

    reason: str = ""


class SettingsChanged(msgspec.Struct, frozen=True):
    """The session goes on with other settings, which an operator has changed in the configuration.

    Attributes:
        settings: Those that hold from here on.
    """

    settings: Settings


class TaskRetried(msgspec.Struct, frozen=True):
    """Somebody wants a task that failed or was left out attempted again, as if it had never been.

    Attributes:
        task: Task id.
    """

    task: str


class TaskSkipped(msgspec.Struct, frozen=True):
    """Somebody wants a task left out; what depends on it cannot run.

    Attributes:
        task: Task id.
        reason: Who or why, for people.
    """

    task: str
    reason: str


class SessionEnded(msgspec.Struct, frozen=True):
    """The session is over, or (``interrupted``) at rest until it is resumed.

    Attributes:
        status: What it is now.
        reason: Why, one line; ``""`` when there is nothing to say.
    """

    status: SessionStatus
    reason: str = ""


class ChildReady(msgspec.Struct, frozen=True):
    """A role or the runner is ready.

    Attributes:
        child: Role id, or ``runner``.
        pid: Its process.
        incarnation: 1 for the first of this supervising process, counting up.
        restarts: How often it was restarted in this session's present life.
    """

    child: str
    pid: int
    incarnation: int
    restarts: int


class ChildGone(msgspec.Struct, frozen=True):
    """A role or the runner ended without having been asked to.

    Attributes:
        child: Role id, or ``runner``.
        incarnation: Which one.
        reason: One line for people (``killed by SIGKILL``).
    """

    child: str
    incarnation: int
    reason: str


class ChildQuarantined(msgspec.Struct, frozen=True):
    """A child failed beyond its restart budget and is left out (FATAL); the session goes on without it.

    Attributes:
        child: Role id, or ``runner``.
        reason: Why it ended last, one line.
    """

    child: str
    reason: str


class ChildHeld(msgspec.Struct, frozen=True):
    """An operator wants a child stopped: it stays so, over other lives of the session too.

    Attributes:
        child: Role id.
    """

    child: str


class ChildReleased(msgspec.Struct, frozen=True):
    """An operator wants a child that was stopped to run again.

    Attributes:
        child: Role id.
    """

    child: str


# --- stated by the task executor ---------------------------------------------------------------------------------


class Step(msgspec.Struct, frozen=True):
    """One program of an attempt.

    Attributes:
        label: ``run``, ``agent`` or ``verify 1``, ``verify 2``...
        command: Shell line or argument list.
        stdin: Text for its standard input; empty for ``/dev/null``.
    """

    label: str
    command: Command
    stdin: str = ""


class AttemptGranted(msgspec.Struct, frozen=True):
    """A task may be attempted. The grant *is* the intent: whoever starts it needs no other fact.

    Attributes:
        attempt: ``<task>.<number>``, unique in the session.
        task: Task id.
        number: 1 for the first attempt of the task, counting up.
        slot: Which of the ``max_parallel`` slots, from 0.
        steps: What to execute, in order, until one fails.
        env: Variables set for the attempt.
        timeout: Seconds for all steps together; ``None`` for no limit.
        snapshot: Which snapshot of the milestone says so: how many newer ones the session had taken in.
    """

    attempt: str
    task: str
    number: int
    slot: int
    steps: tuple[Step, ...]
    env: tuple[tuple[str, str], ...] = ()
    timeout: float | None = None
    snapshot: int = 0


class TaskCompleted(msgspec.Struct, frozen=True):
    """The task is done, and landed where there was something to land. Never followed by another attempt.

    Attributes:
        task: Task id.
        attempt: The attempt that completed it.
    """

    task: str
    attempt: str


class TaskFailed(msgspec.Struct, frozen=True):
    """The task will not be attempted again in this session.

    Attributes:
        task: Task id.
        attempt: The last attempt, ``""`` when there was none.
        reason: One line for people.
    """

    task: str
    attempt: str
    reason: str


class SessionSettled(msgspec.Struct, frozen=True):
    """Nothing lives and nothing more can be granted; the roles finish their work now.

    Attributes:
        status: What it will end with.
        reason: Why, one line; ``""`` when there is nothing to say.
    """

    status: SessionStatus
    reason: str = ""


class WriteBackFailed(msgspec.Struct, frozen=True):
    """The session is over and the milestone file does not say so: it could not be edited. The next run makes up for it.

    Attributes:
        reason: Why, with the place in the file where there is one.
    """

    reason: str


# --- stated by the runner ----------------------------------------------------------------------------------------


class ContainmentChosen(msgspec.Struct, frozen=True):
    """What makes sure, from here on, that nothing of a task is left.

    Attributes:
        name: ``cgroup``, ``pid_namespace`` or ``sweep``.
        detail: One line for people: what it means when everything of ours is killed at once, and why it is none that
            is stronger.
    """

    name: str
    detail: str


class AttemptStarted(msgspec.Struct, frozen=True):
    """The first program of the attempt runs.

    Attributes:
        attempt: Attempt id, ``<task>.<number>``.
        pid: Its process.
    """

    attempt: str
    pid: int


class AttemptOverLimit(msgspec.Struct, frozen=True):
    """The attempt uses more than its soft limit; it goes on.

    Attributes:
        attempt: Which one.
        what: Figure, limit and how long, in one line.
    """

    attempt: str
    what: str


class AttemptEnded(msgspec.Struct, frozen=True):
    """The attempt is over and no process of it lives.

    Attributes:
        attempt: Which one.
        outcome: How.
        step: Label of the step that decided it.
        code: Exit status of that step: 0-255, or minus the signal number.
        detail: One line for people, ``""`` for an ordinary exit.
        seconds: Wall time from the first program's start to the end of the tree.
        cpu_seconds: User and system time of the reaped processes.
        max_rss: Largest resident set in bytes of any reaped process.
        runner_died: Whether it was interrupted because the runner itself ended, without having been asked to.
        lost: Whether it was interrupted because the folder that it ran in was gone when a program of it failed.
    """

    attempt: str
    outcome: Outcome
    step: str = ""
    code: int = 0
    detail: str = ""
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    max_rss: int = 0
    runner_died: bool = False
    lost: bool = False

    @property
    def explanation(self) -> str:
        """Why the attempt ended so, in one line; ``""`` when it ended well."""
        if self.detail or self.outcome not in {Outcome.FAILED, Outcome.TIMEOUT}:
            return self.detail
        step = self.step or "it"
        if self.code < 0:
            return f"{step} was killed by {signal_name(-self.code)}"
        return f"{step} exited with {self.code}"


# --- stated by the git role --------------------------------------------------------------------------------------


class GitReady(msgspec.Struct, frozen=True):
    """The branch exists and slots can be made.

    Attributes:
        branch: ``milestone/<id>``.
        base: Commit that the session started from (tip of the branch).
        created: Whether the branch was created now.
        uncommitted: How many uncommitted files of the checkout tasks will not see.
    """

    branch: str
    base: str
    created: bool
    uncommitted: int


class GitIdle(msgspec.Struct, frozen=True):
    """The git role has nothing to do, and why; tasks run in place.

    Attributes:
        reason: Why, one line.
    """

    reason: str


class GitRefused(msgspec.Struct, frozen=True):
    """The git role cannot work; the session cannot start or go on.

    Attributes:
        reason: What is wrong.
        cure: What the user can do.
    """

    reason: str
    cure: str


class SlotPrepared(msgspec.Struct, frozen=True):
    """The attempt's worktree stands at ``base``; the runner may start.

    Attributes:
        attempt: Which one.
        path: Absolute directory to run in.
        base: Commit that it shows.
    """

    attempt: str
    path: str
    base: str


class SlotFailed(msgspec.Struct, frozen=True):
    """No worktree could be made for the attempt; it did not run.

    Attributes:
        attempt: Attempt id.
        reason: Why, for people.
    """

    attempt: str
    reason: str


class Landed(msgspec.Struct, frozen=True):
    """What the attempt changed is on the branch; ``sha`` is empty when it changed nothing.

    Attributes:
        attempt: Attempt id.
        sha: The commit; ``""`` when it changed nothing.
        files: How many files it changed.
    """

    attempt: str
    sha: str
    files: int = 0


class LandConflicted(msgspec.Struct, frozen=True):
    """What the attempt changed does not merge with what landed meanwhile.

    Attributes:
        attempt: Attempt id.
        paths: Files that do not merge.
    """

    attempt: str
    paths: tuple[str, ...]


class LandFailed(msgspec.Struct, frozen=True):
    """What the attempt changed could not be captured or landed.

    Attributes:
        attempt: Which one.
        reason: One line for people.
        lost: Whether the slot's content is gone, so that only another run can bring it back.
    """

    attempt: str
    reason: str
    lost: bool = False


class Pushed(msgspec.Struct, frozen=True):
    """The branch was pushed up to ``sha``.

    Attributes:
        remote: Name of the remote.
        sha: Its tip there.
        landed: Tasks that this session had landed when the push began.
    """

    remote: str
    sha: str
    landed: int


class PushRefused(msgspec.Struct, frozen=True):
    """The remote did not take the branch; nothing was forced.

    Attributes:
        remote: Name of the remote.
        reason: What it said, one line.
        landed: Tasks that this session had landed when the push began.
    """

    remote: str
    reason: str
    landed: int


class UncommittedSeen(msgspec.Struct, frozen=True):
    """The number of uncommitted files in the user's checkout changed.

    Attributes:
        count: How many there are.
        paths: The first of them.
    """

    count: int
    paths: tuple[str, ...]


class GitNoticed(msgspec.Struct, frozen=True):
    """Something about the repository that people should know and that stops nothing.

    Attributes:
        text: For people; stated once in a session.
    """

    text: str


# --- stated by the dependency validator --------------------------------------------------------------------------


class PreflightPassed(msgspec.Struct, frozen=True):
    """Prerequisites, tools, environment, disk and resources are as the milestone needs them.

    Attributes:
        warnings: What is doubtful all the same, a line for each.
    """

    warnings: tuple[str, ...] = ()


class PreflightFailed(msgspec.Struct, frozen=True):
    """The session cannot start; each problem is a line for people, with its place where it has one.

    Attributes:
        problems: A line for people for each, with its place where it has one.
    """

    problems: tuple[str, ...]


class DependencyAlert(msgspec.Struct, frozen=True):
    """Something about dependencies changed while the session runs.

    Attributes:
        claim: Stable key of what is claimed, so that it is alerted once; begins with its first kind and a colon.
        kind: ``invalid``, ``cycle``, ``conflict``, ``prerequisite`` or ``edited``; ``resolved`` when what was
            claimed no longer holds.
        detail: One line for people.
    """

    claim: str
    kind: str
    detail: str


# --- stated by the progress monitor ------------------------------------------------------------------------------


class ProgressReported(msgspec.Struct, frozen=True):
    """How far the session is.

    Attributes:
        percentage: 0-100, computed.
        declared: What the file claims, ``None`` for nothing.
        completed: Completed tasks.
        total: Tasks that count (cancelled ones do not).
        running: Tasks with a live attempt.
        failed: Tasks failed for good.
        eta_seconds: From the remaining critical path; ``None`` when unknown.
        throughput: Completed tasks per minute of active time.
        bar: Twenty characters wide.
    """

    percentage: int
    declared: int | None
    completed: int
    total: int
    running: int
    failed: int
    eta_seconds: float | None
    throughput: float
    bar: str


class TaskStalled(msgspec.Struct, frozen=True):
    """A running task has shown no sign of life for long. A report, never a verdict.

    Attributes:
        task: Task id.
        attempt: Attempt id.
        quiet_seconds: Seconds since the last sign.
        facts: What was looked at, one line.
    """

    task: str
    attempt: str
    quiet_seconds: float
    facts: str


class CompletionAlert(msgspec.Struct, frozen=True):
    """The session's summary.

    Attributes:
        wall_seconds: Active wall time.
        task_seconds: Sum of the successful attempts' times.
        speedup: ``task_seconds / wall_seconds``.
        completed: Tasks completed by this session.
        failed: Tasks failed.
        text: The line for people.
    """

    wall_seconds: float
    task_seconds: float
    speedup: float
    completed: int
    failed: int
    text: str


# --- stated by the blocker detector ------------------------------------------------------------------------------


class BlockerRaised(msgspec.Struct, frozen=True):
    """Something keeps the milestone from going on.

    Attributes:
        claim: Stable key, so that one claim is one alert.
        category: ``task_failure``, ``timeout``, ``stall``, ``repeated_failure``, ``error_pattern``,
            ``resource_pressure``, ``restart_storm``, ``conflict``, ``push``, ``dependency``.
        severity: How bad.
        task: Task id, ``""`` when it is not about one.
        evidence: What was seen, a few lines at the most.
        proposal: What could be done.
        headline: The line of it that says most; ``""`` where that is the first line of the evidence.
    """

    claim: str
    category: str
    severity: Severity
    task: str
    evidence: str
    proposal: str
    headline: str = ""

    @property
    def shown(self) -> str:
        """The one line to show where there is room for one."""
        return self.headline or self.evidence.strip().partition("\n")[0] or self.category.replace("_", " ")


class BlockerEscalated(msgspec.Struct, frozen=True):
    """A blocker stands since long; ``level`` counts up.

    Attributes:
        claim: Key of the blocker.
        level: How often it was escalated.
        age_seconds: Since when it stands.
    """

    claim: str
    level: int
    age_seconds: float


class BlockerResolved(msgspec.Struct, frozen=True):
    """What was claimed no longer holds.

    Attributes:
        claim: Key of the blocker.
        how: What has changed, one line.
    """

    claim: str
    how: str


class HookRan(msgspec.Struct, frozen=True):
    """The user's hook was told of a blocker.

    Attributes:
        claim: Key of the blocker.
        target: The program or URL.
        ok: Whether it took it.
        detail: What came of it, one line.
    """

    claim: str
    target: str
    ok: bool
    detail: str


# --- stated by every role ----------------------------------------------------------------------------------------


class RoleFinished(msgspec.Struct, frozen=True):
    """The role has done all it had to do in this session.

    Attributes:
        role: Role id.
        summary: What it did, one line.
    """

    role: str
    summary: str


SessionEvent = (
    SessionStarted
    | SessionResumed
    | MilestoneUpdated
    | StopRequested
    | SessionPaused
    | SessionUnpaused
    | SettingsChanged
    | SessionSettled
    | WriteBackFailed
    | SessionEnded
)
"""What concerns the session as a whole."""

ChildEvent = ChildReady | ChildGone | ChildQuarantined | ChildHeld | ChildReleased | RoleFinished | ContainmentChosen
"""What concerns a role or the runner."""

AttemptEvent = (
    AttemptStarted
    | AttemptOverLimit
    | AttemptEnded
    | SlotPrepared
    | SlotFailed
    | Landed
    | LandConflicted
    | LandFailed
    | TaskCompleted
)
"""What concerns an attempt that was granted."""

TaskEvent = AttemptGranted | TaskFailed | TaskRetried | TaskSkipped
"""What concerns a task between attempts."""

GitEvent = GitReady | GitIdle | GitRefused | Pushed | PushRefused | UncommittedSeen | GitNoticed
"""What concerns the repository."""

BlockerEvent = BlockerRaised | BlockerEscalated | BlockerResolved | HookRan
"""What concerns a blocker."""

ReportEvent = PreflightPassed | PreflightFailed | DependencyAlert | ProgressReported | TaskStalled | CompletionAlert
"""What a role has found or reckoned."""

Event = SessionEvent | ChildEvent | AttemptEvent | TaskEvent | GitEvent | BlockerEvent | ReportEvent
"""What happens in a session."""

EVENT_TYPES: Final[dict[str, type[Event]]] = {cls.__name__: cls for cls in Event.__args__}
"""Every kind of fact by its name."""

_DECODERS: Final[dict[str, msgspec.json.Decoder[Event]]] = {
    kind: msgspec.json.Decoder(cls) for kind, cls in EVENT_TYPES.items()
}
_ENCODER: Final = msgspec.json.Encoder()


class Fact(msgspec.Struct, frozen=True):
    """A fact on its way to or from the journal: its kind and its JSON, not yet decoded."""

    kind: str
    body: msgspec.Raw


class Record(msgspec.Struct, frozen=True):
    """A journaled fact.

    Attributes:
        seq: Place in the project's journal, counting from 1 without gaps.
        session: Id of the session that it belongs to.
        wall: Seconds since the epoch when it was journaled.
        mono: Seconds of the machine's monotonic clock then (comparable within one boot).
        kind: Name of the class of the fact.
        body: Its JSON.
    """

    seq: int
    session: str
    wall: float
    mono: float
    kind: str
    body: msgspec.Raw

    def event(self) -> Event:
        """Decode the fact.

        Raises:
            UnknownKindError: This version does not know the kind.
            msgspec.ValidationError: The body does not fit the kind.
        """
        return decode_event(self.kind, self.body)


class UnknownKindError(ValueError):
    """A fact of a kind that is not in :data:`EVENT_TYPES`; ``kind`` says which."""

    def __init__(self, kind: str) -> None:
        super().__init__(f"unknown kind of event {kind!r}: written by a newer version of milestoned?")
        self.kind = kind


def encode_event(event: Event) -> Fact:
    """Write a fact down."""
    return Fact(type(event).__name__, msgspec.Raw(_ENCODER.encode(event)))


def decode_event(kind: str, body: bytes | msgspec.Raw) -> Event:
    """Read a fact.

    Raises:
        UnknownKindError: The kind is not in the table.
        msgspec.ValidationError: The body does not fit the kind.
    """
    decoder = _DECODERS.get(kind)
    if decoder is None:
        raise UnknownKindError(kind)
    try:
        return decoder.decode(body)
    except (UnicodeDecodeError, RecursionError) as error:  # msgspec passes these on as they are
        raise msgspec.ValidationError(str(error)) from error
