"""What the supervision core is told: observations about children, and requests.

Every event is frozen and carries its own time: `at`, monotonic seconds, taken where the thing was
seen. This module owns the closed union `Event`; it refuses to know who sends an event and how.

Events, effects and the messages between processes are msgspec structs where the rest of the house has
attrs classes: a struct takes a tenth of the memory and of the time to import of an attrs class, and every
process of a session holds many of them.

What the sender of observations promises:

- `Exited` is sent once per incarnation that was spawned, when the process *and its group* are gone.
- `Ignored` and `SpawnFailed` are final as well: nothing of that incarnation is left.
- An `AskToStop` or `Kill` that arrives before its `Spawned` is remembered and carried out; it too is
  answered by `Exited`, `Ignored` or `SpawnFailed`.
- What is waiting in the mailbox is told before a `Tick`, so that a beat is never overtaken.
"""

from collections.abc import Mapping

import msgspec

from supervisor.exits import ExitReason
from supervisor.spec import ChildSpec, SupervisorFlags


class Begin(msgspec.Struct, frozen=True):
    """Start the children that the core was built with. Sent once."""

    at: float


class Spawned(msgspec.Struct, frozen=True):
    """The process of an incarnation exists; it is not ready yet. `pid` is None for an actor."""

    at: float
    child: str
    incarnation: int
    pid: int | None


class SpawnFailed(msgspec.Struct, frozen=True):
    """The spawn itself failed: there is no process."""

    at: float
    child: str
    incarnation: int
    error: str


class Ready(msgspec.Struct, frozen=True):
    """The child said that it is ready: its start has succeeded.

    `info` is what else it said (OTP `{ok, Pid, Info}`): it is in the answer to whoever asked for this start, in
    `ChildRunning` and, while it runs, in its row; opaque to the core.
    """

    at: float
    child: str
    incarnation: int
    info: object = None


class Ignored(msgspec.Struct, frozen=True):
    """The child declined to run (OTP `ignore`), which counts as success; its process is gone."""

    at: float
    child: str
    incarnation: int


class Exited(msgspec.Struct, frozen=True):
    """The process of an incarnation and its whole group are gone."""

    at: float
    child: str
    incarnation: int
    reason: ExitReason


class Beat(msgspec.Struct, frozen=True):
    """A heartbeat that the child's own loop sent."""

    at: float
    child: str
    incarnation: int


class OverLimitSeen(msgspec.Struct, frozen=True):
    """A sample of the child is over a limit. Soft: replace it politely; hard: kill it."""

    at: float
    child: str
    incarnation: int
    what: str
    hard: bool


class Tick(msgspec.Struct, frozen=True):
    """Nothing happened, but time passed; wanted at `Core.next_deadline`."""

    at: float


class TryAgain(msgspec.Struct, frozen=True):
    """The core's message to itself: retry the failed start of this incarnation (reference 1.6).

    It goes through the mailbox, so that what arrived meanwhile is served first.
    """

    at: float
    child: str
    incarnation: int


class StartChild(msgspec.Struct, frozen=True):
    """Add a child, last in start order, and start it. Not for simple_one_for_one."""

    at: float
    request: int
    spec: ChildSpec


class StartInstance(msgspec.Struct, frozen=True):
    """Start one more child from the template of a simple_one_for_one supervisor.

    Args:
        at: monotonic seconds.
        request: id that the reply carries.
        args: laid over the template's arguments; kept for restarts, dropped when temporary.
    """

    at: float
    request: int
    args: Mapping[str, object] = msgspec.field(default_factory=dict)


class TerminateChild(msgspec.Struct, frozen=True):
    """End a child and keep its spec (a temporary one loses it)."""

    at: float
    request: int
    child: str


class RestartChild(msgspec.Struct, frozen=True):
    """Start a child that is not running. Does not restart one that is: OTP's word."""

    at: float
    request: int
    child: str


class DeleteChild(msgspec.Struct, frozen=True):
    """Forget the spec of a child that is not running."""

    at: float
    request: int
    child: str


class ChangeSpecs(msgspec.Struct, frozen=True):
    """Take new flags and specs without restarting anybody (OTP code change, reference 1.12)."""

    at: float
    request: int
    flags: SupervisorFlags
    specs: tuple[ChildSpec, ...]


class Stop(msgspec.Struct, frozen=True):
    """End all children in reverse start order, then the supervisor. Pre-empts everything."""

    at: float
    request: int


Observation = Spawned | SpawnFailed | Ready | Ignored | Exited | Beat | OverLimitSeen
Mutation = StartChild | StartInstance | TerminateChild | RestartChild | DeleteChild | ChangeSpecs
Event = Begin | Observation | Tick | TryAgain | Mutation | Stop
