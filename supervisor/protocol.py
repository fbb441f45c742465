"""What travels over the control socket: requests, replies and how they are framed.

The protocol, told once. The socket is a Unix stream socket. Each message is a four-byte big-endian length and a JSON
object. A client sends *calls*: ``{"protocol": 1, "id": n, "verb": ..., "args": {...}}`` with an ``id`` of its choice
and a ``verb`` out of a closed table. The supervising process answers each with one *reply* of the same ``id``:
``{"id": n, "ok": true, "result": {...}}`` or ``{"id": n, "ok": false, "code": c, "lines": [...]}``, where ``c`` is the
exit code that a command line gives. Replies come when the thing has happened, so not in the order of the calls. A
verb that follows something sends *items*, ``{"id": n, "item": {...}}``, before its reply.

A client whose ``protocol`` is another one is told both numbers and what to do. Unknown fields are ignored, so that a
field can be added without a new number; a verb or a field that means something else needs one.

Owns names, encoding and framing. Refuses to know sockets, and who answers.
"""

from __future__ import annotations

import struct
from typing import Final

import msgspec

from actors.wording import in_utf8

PROTOCOL: Final = 1
"""Number of this protocol."""

MAX_CALL: Final = 1 << 20
"""Bytes of the largest call that is read."""

USAGE, CONFIGURATION = 2, 78
"""Exit codes that this module's refusals give (design, section 7)."""

LENGTH: Final = struct.Struct(">I")


class Status(msgspec.Struct, frozen=True):
    """Who supervises what: process, version, project, and a report of each session that lives."""


class Describe(msgspec.Struct, frozen=True):
    """What `milestonectl status` shows: the document that its ``--json`` prints.

    Attributes:
        names: Sessions, milestones, roles (``session:role``, ``session:*``); empty for the latest session of each
            milestone.
        everything: Whether sessions of milestones whose file is gone are wanted too.
    """

    names: tuple[str, ...] = ()
    everything: bool = False


class Events(msgspec.Struct, frozen=True):
    """The journal's records, in order, each exactly once.

    Attributes:
        session: Only those of this session; ``""`` for all of the project.
        since: Only those with a greater seq: what a client that comes again has seen last.
        follow: Go on with what is journaled from now on; else the reply comes with the last one that is there.
    """

    session: str = ""
    since: int = 0
    follow: bool = False


class Start(msgspec.Struct, frozen=True):
    """Begin sessions of milestones, or go on with their unfinished ones; start roles that were stopped.

    Attributes:
        names: Milestone ids, or roles (``session:role``, ``session:*``).
        wait: Answer when what was started is ready; else when it is journaled.
    """

    names: tuple[str, ...]
    wait: bool = True


class Stop(msgspec.Struct, frozen=True):
    """End sessions in order; they stay resumable. Stop roles; they stay so.

    Attributes:
        names: Session or milestone ids, roles (``session:role``, ``session:*``), or ``all``; empty for the session
            that lives.
        wait: Answer when nothing of them lives; else when it is journaled.
    """

    names: tuple[str, ...] = ()
    wait: bool = True


class Restart(msgspec.Struct, frozen=True):
    """Stop and start again; attributes as of :class:`Stop`."""

    names: tuple[str, ...] = ()
    wait: bool = True


class Signal(msgspec.Struct, frozen=True):
    """Send a signal to roles' processes.

    Attributes:
        signal: Its name, with or without ``SIG``, or its number.
        names: As of :class:`Stop`; a session stands for all its roles.
    """

    signal: str
    names: tuple[str, ...]


class Pid(msgspec.Struct, frozen=True):
    """Process ids of roles.

    Attributes:
        names: As of :class:`Stop`; a session stands for all its roles. Empty for the supervising process.
    """

    names: tuple[str, ...] = ()


class Update(msgspec.Struct, frozen=True):
    """Compare what a session executes with the milestone file, and take that in.

    Attributes:
        session: Session or milestone id; ``""`` for the one that lives.
        apply: Take it in; else only show the difference.
    """

    session: str = ""
    apply: bool = False


class Reload(msgspec.Struct, frozen=True):
    """Read the configuration again; live sessions take what they can."""


class Cancel(msgspec.Struct, frozen=True):
    """End sessions for good; attributes as of :class:`Stop`, without roles."""

    names: tuple[str, ...] = ()
    wait: bool = True


class Pause(msgspec.Struct, frozen=True):
    """Grant nothing new in sessions; running attempts finish. Names as of :class:`Stop`."""

    names: tuple[str, ...] = ()


class Resume(msgspec.Struct, frozen=True):
    """Grant again in paused sessions. Names as of :class:`Stop`."""

    names: tuple[str, ...] = ()


class Retry(msgspec.Struct, frozen=True):
    """Attempt tasks again that failed or were left out.

    Attributes:
        tasks: Task ids; empty for all that failed.
        session: Session or milestone id; ``""`` for the one that lives.
    """

    tasks: tuple[str, ...] = ()
    session: str = ""


class Skip(msgspec.Struct, frozen=True):
    """Leave out tasks that have not begun, or have failed.

    Attributes:
        tasks: Task ids.
        session: Session or milestone id; ``""`` for the one that lives.
    """

    tasks: tuple[str, ...]
    session: str = ""


class Shutdown(msgspec.Struct, frozen=True):
    """End the supervising process in order; a daemon takes its sessions up when it starts again.

    Attributes:
        wait: Answer when nothing of it holds the project any more; else at once.
    """

    wait: bool = True


Request = (
    Status
    | Describe
    | Events
    | Start
    | Stop
    | Restart
    | Signal
    | Pid
    | Pause
    | Resume
    | Cancel
    | Retry
    | Skip
    | Update
    | Reload
    | Shutdown
)

_REQUESTS: Final[dict[str, type[Request]]] = {cls.__name__.lower(): cls for cls in Request.__args__}
VERBS: Final = tuple(_REQUESTS)
"""All verbs, in the order of the table."""


class Named(msgspec.Struct, frozen=True):
    """What became of one of the names of a call; the result of most verbs is a list of these.

    Attributes:
        name: As it was given.
        code: 0 when it was done, else the exit code that a command line gives.
        text: One or two words (``stopped``), or why not.
    """

    name: str
    code: int
    text: str


class Reply(msgspec.Struct, frozen=True, omit_defaults=True):
    """The answer to a call.

    Attributes:
        id: Of the call; 0 where that could not be read.
        ok: Whether it was done.
        result: What came of it, when it was.
        code: Exit code for a command line, when it was not.
        lines: For people: what is wrong, where, and what to do.
    """

    id: int
    ok: bool
    result: object = None
    code: int = 0
    lines: tuple[str, ...] = ()


class Item(msgspec.Struct, frozen=True):
    """One of several answers to a call, before its :class:`Reply`."""

    id: int
    item: object


class _Call(msgspec.Struct, frozen=True):
    protocol: int
    id: int
    verb: str
    args: msgspec.Raw = msgspec.Raw(b"{}")


class CallError(ValueError):
    """Bytes that are no call of this protocol.

    Attributes:
        id: Of the call, 0 where that could not be read.
        lines: What to tell the client.
        code: Exit code for a command line.
    """

    def __init__(self, call: int, code: int, *lines: str) -> None:
        super().__init__("\n".join(lines))
        self.id = call
        self.code = code
        self.lines = lines


_CALL: Final = msgspec.json.Decoder(_Call)
_ARGS: Final[dict[str, msgspec.json.Decoder[Request]]] = {
    verb: msgspec.json.Decoder(cls) for verb, cls in _REQUESTS.items()
}
_ENCODER: Final = msgspec.json.Encoder()


def decode_call(payload: bytes) -> tuple[int, Request]:
    """Read one call's payload.

    Returns:
        Its id and the request.

    Raises:
        CallError: It is none, or one of another protocol.
    """
    try:
        call = _CALL.decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise CallError(0, USAGE, f"not a call: {error}") from error
    if call.protocol != PROTOCOL:
        raise CallError(
            call.id,
            CONFIGURATION,
            f"the client speaks protocol {call.protocol}, the supervising process {PROTOCOL}",
            "use the milestonectl that belongs to it, or start it again with the new version",
        )
    if call.verb not in _ARGS:
        raise CallError(call.id, USAGE, f"there is no verb {call.verb!r}; there are: {', '.join(VERBS)}")
    try:
        return call.id, _ARGS[call.verb].decode(call.args)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise CallError(call.id, USAGE, f"{call.verb}: {error}") from error


def encode_message(message: Reply | Item) -> bytes:
    """Write a message down, its length before it; what is no UTF-8 in it, the name of a file as a rule, is escaped."""
    try:
        payload = _ENCODER.encode(message)
    except UnicodeEncodeError:
        payload = _ENCODER.encode(_escaped(msgspec.to_builtins(message)))
    return LENGTH.pack(len(payload)) + payload


def _escaped(value: object) -> object:
    match value:
        case str():
            return in_utf8(value)
        case dict():
            return {_escaped(key): _escaped(one) for key, one in value.items()}
        case list() | tuple():
            return [_escaped(one) for one in value]
        case _:
            return value
