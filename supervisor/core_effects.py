"""What the supervision core asks for and says: effects, replies to requests, and its public events.

Effects are values; whoever performs them may take its time, and reports the outcome as an event.
This module owns the closed unions `Effect`, `Result` and `SupervisorEvent`; it refuses to know how
an effect is performed and who listens.
"""

from enum import StrEnum, unique

import msgspec

from supervisor.core_events import TryAgain
from supervisor.exits import ExitReason, Shutdown, describe
from supervisor.spec import ChildSpec

# --- how a supervisor ends -------------------------------------------------------------------------


class FailedToStart(msgspec.Struct, frozen=True):
    """The initial start failed at this child; the children before it were ended again.

    Attributes:
        child: Id of the child.
        reason: Why it did not start.
    """

    child: str
    reason: ExitReason

    def __str__(self) -> str:
        """Say it in one line, fit for the reason that a parent supervisor records."""
        return f"child {self.child!r} failed to start: {describe(self.reason)}"


EndReason = Shutdown | FailedToStart
"""Why a supervisor ended, as the one above is told it."""


@unique
class EndCause(StrEnum):
    """What made a supervisor end; OTP's exit reason is `shutdown` for the first three alike."""

    ASKED = "asked to stop"
    INTENSITY = "restart budget exceeded"
    AUTO_SHUTDOWN = "significant child ended"
    START_FAILED = "initial start failed"


# --- replies ---------------------------------------------------------------------------------------


@unique
class Refusal(StrEnum):
    """Why a request was not fulfilled; OTP's closed atoms (reference 1.10) and the few of our own."""

    ALREADY_STARTED = "already started"
    ALREADY_PRESENT = "already present"
    NOT_FOUND = "no such child"
    RUNNING = "running"
    RESTARTING = "restarting"
    SIMPLE_ONE_FOR_ONE = "not possible under simple_one_for_one"
    NOT_SIMPLE = "only possible under simple_one_for_one"
    START_FAILED = "start failed"
    TERMINATED = "terminated while it was being started"
    INVALID = "invalid specification"
    SHUTTING_DOWN = "the supervisor is shutting down"


class Started(msgspec.Struct, frozen=True):
    """The child is ready; after `ignore` it has no incarnation that runs, and `running` is False.

    Attributes:
        child: Id of the child.
        incarnation: Which start of the child it is, counting from 1.
        pid: Its process; ``None`` for a supervisor, and after `ignore`.
        running: Whether it runs; not so after `ignore`.
        info: What it said with its readiness, plain values; ``None`` when it said nothing.
    """

    child: str
    incarnation: int
    pid: int | None
    running: bool
    info: object = None


class Done(msgspec.Struct, frozen=True):
    """What was asked for has happened."""


class Refused(msgspec.Struct, frozen=True):
    """What was asked for has not happened.

    Args:
        why: the closed reason.
        child: the child it is about, if any.
        detail: one line for people.
        pid: of the running child, for `ALREADY_STARTED`.
        reason: of the failed start, for `START_FAILED`.
    """

    why: Refusal
    child: str | None = None
    detail: str = ""
    pid: int | None = None
    reason: ExitReason | None = None


Result = Started | Done | Refused

# --- public events ---------------------------------------------------------------------------------


class SupervisorStarted(msgspec.Struct, frozen=True):
    """All children are up.

    Attributes:
        at: Seconds of the monotonic clock.
        supervisor: Its path in a tree of them; ``""`` for the root.
    """

    at: float
    supervisor: str = ""


class SupervisorStopped(msgspec.Struct, frozen=True):
    """All children are gone, and the supervisor with them.

    Attributes:
        at: Seconds of the monotonic clock.
        reason: As the supervisor above is told it.
        cause: What made it end.
        supervisor: As in `SupervisorStarted`.
    """

    at: float
    reason: EndReason
    cause: EndCause
    supervisor: str = ""


class IntensityExceeded(msgspec.Struct, frozen=True):
    """The restart budget is spent: this attempt would be one too many.

    Attributes:
        at: Seconds of the monotonic clock.
        child: Path of the child that would have been restarted.
        attempts: Restarts within the period, this one included.
        intensity: How many are allowed.
        period: Within how many seconds.
    """

    at: float
    child: str
    attempts: int
    intensity: int
    period: float


class ChildStarting(msgspec.Struct, frozen=True):
    """A new incarnation is being spawned.

    Attributes:
        at: Seconds of the monotonic clock.
        child: Path of the child.
        incarnation: Which start of the child it is, counting from 1.
    """

    at: float
    child: str
    incarnation: int


class ChildRunning(msgspec.Struct, frozen=True):
    """An incarnation is ready.

    Attributes:
        at: Seconds of the monotonic clock.
        child: Path of the child.
        incarnation: Which start of the child it is, counting from 1.
        pid: Its process; ``None`` for a supervisor.
        took: Seconds since its spawn was asked for.
        info: What it said with its readiness, plain values; ``None`` when it said nothing.
    """

    at: float
    child: str
    incarnation: int
    pid: int | None
    took: float
    info: object = None


class ChildIgnored(msgspec.Struct, frozen=True):
    """The child declined to run.

    Attributes:
        at: Seconds of the monotonic clock.
        child: Path of the child.
        incarnation: Which start of the child it is, counting from 1.
    """

    at: float
    child: str
    incarnation: int


class ChildExited(msgspec.Struct, frozen=True):
    """An incarnation is gone.

    Attributes:
        at: Seconds of the monotonic clock.
        child: Path of the child.
        incarnation: Which start of the child it is, counting from 1.
        reason: Why it ended.
        expected: Whether it is an end that OTP would write no report about.
    """

    at: float
    child: str
    incarnation: int
    reason: ExitReason
    expected: bool


class ChildRestarting(msgspec.Struct, frozen=True):
    """A restart attempt begins, because of `reason`.

    Attributes:
        at: Seconds of the monotonic clock.
        child: Path of the child.
        reason: Why the former incarnation ended.
        attempts: Restarts within the period, this one included.
    """

    at: float
    child: str
    reason: ExitReason
    attempts: int


class ChildBackoff(msgspec.Struct, frozen=True):
    """The next start waits, because the child keeps failing.

    Attributes:
        at: Seconds of the monotonic clock.
        child: Path of the child.
        until: When it is started, seconds of the monotonic clock.
        failures: Failures in a row.
        reason: Why the former incarnation ended.
    """

    at: float
    child: str
    until: float
    failures: int
    reason: ExitReason


class ChildFatal(msgspec.Struct, frozen=True):
    """A quarantined child is beyond its budget and stays down; its siblings go on.

    Attributes:
        at: Seconds of the monotonic clock.
        child: Path of the child.
        reason: Why its last incarnation ended.
    """

    at: float
    child: str
    reason: ExitReason


class ChildStopping(msgspec.Struct, frozen=True):
    """An incarnation was asked to stop, or killed.

    Attributes:
        at: Seconds of the monotonic clock.
        child: Path of the child.
        incarnation: Which start of the child it is, counting from 1.
        why: What it has done (silent, over a limit); ``None`` for an ordinary stop.
        killed: Whether it was killed; otherwise it was asked to stop.
    """

    at: float
    child: str
    incarnation: int
    why: ExitReason | None
    killed: bool


class ChildUnkillable(msgspec.Struct, frozen=True):
    """An incarnation is still there `after` seconds after its SIGKILL.

    When the supervisor is ending, it goes on without it. Otherwise the child stays where it is, for a second copy of it
    is never started.

    Attributes:
        at: Seconds of the monotonic clock.
        child: Path of the child.
        incarnation: Which start of the child it is, counting from 1.
        pid: The process that is still there.
        after: Seconds since its SIGKILL.
    """

    at: float
    child: str
    incarnation: int
    pid: int | None
    after: float


class ChildStopped(msgspec.Struct, frozen=True):
    """The child is down because it was stopped.

    It stays down until it is asked for, unless it went down for a sibling's sake (rest_for_one, one_for_all): then
    ``ChildStarting`` follows, without a ``ChildRestarting``.

    Attributes:
        at: Seconds of the monotonic clock.
        child: Path of the child.
        incarnation: Which start of the child it is, counting from 1.
        reason: Why it ended.
    """

    at: float
    child: str
    incarnation: int
    reason: ExitReason


SupervisorEvent = (
    SupervisorStarted
    | SupervisorStopped
    | IntensityExceeded
    | ChildStarting
    | ChildRunning
    | ChildIgnored
    | ChildExited
    | ChildRestarting
    | ChildBackoff
    | ChildFatal
    | ChildStopping
    | ChildUnkillable
    | ChildStopped
)
"""What a supervisor says of itself and of its children."""

# --- effects ---------------------------------------------------------------------------------------


class Spawn(msgspec.Struct, frozen=True):
    """Start this incarnation; answer `Spawned`, then `Ready`, or `SpawnFailed`/`Ignored`/`Exited`.

    Args:
        child: the spec to start.
        incarnation: number of this start of the child, from 1.
        last_exit: why the previous incarnation ended, for the new one to know; None at first.
    """

    child: ChildSpec
    incarnation: int
    last_exit: ExitReason | None


class AskToStop(msgspec.Struct, frozen=True):
    """Ask this incarnation politely to end."""

    child: str
    incarnation: int


class Kill(msgspec.Struct, frozen=True):
    """Kill the whole group of this incarnation."""

    child: str
    incarnation: int


class TellSelf(msgspec.Struct, frozen=True):
    """Put this message at the end of the supervisor's own mailbox."""

    event: TryAgain


class Reply(msgspec.Struct, frozen=True):
    """Answer a request. Every request is answered exactly once."""

    request: int
    result: Result


class Publish(msgspec.Struct, frozen=True):
    """Let the world know."""

    event: SupervisorEvent


class Ended(msgspec.Struct, frozen=True):
    """The supervisor has ended; no child is left, and no effect follows but refusals.

    Attributes:
        reason: As the supervisor above would be told it.
        cause: What made it end.
        detail: Of a spent budget: which child, and why it ended last, one line; empty otherwise.
    """

    reason: EndReason
    cause: EndCause
    detail: str = ""

    def __str__(self) -> str:
        """Say it in one line."""
        return f"{self.cause}: {self.detail}" if self.detail else str(self.cause)


Effect = Spawn | AskToStop | Kill | TellSelf | Reply | Publish | Ended
