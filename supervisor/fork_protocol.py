"""What the supervising process and the fork server say to each other, and how it is written down.

The protocol, told once. The two share a pair of SEQPACKET sockets, so that a message is a packet: a JSON
object ``{"kind": ..., "body": ...}`` with ``kind`` out of a closed table, and at most two descriptors beside
it. End of file means that the other side is dead.

The supervising process says :class:`Start` first. The server preloads what it names, and if it cannot, it
says :class:`StartFailed` and ends; if it can, it says nothing. Each :class:`Launch` brings the child's end
of a link with it and is answered by :class:`Forked`, which brings a pidfd of the child with it, or by
:class:`LaunchFailed`, after which nothing was started. A pidfd tells at once *that* a child ended; only the
server, its parent, learns *how*. It says so in :class:`ChildExited`, exactly once for each ``Forked``, and
not before all that the child left behind is gone as well: so whoever has read it may launch the
replacement. When the supervising process is gone, the server ends its children and then itself. When the
server is gone, the kernel has killed the children that were to die with it; the others go on, and their
ends are to be learnt from their pidfds, without a reason.

:class:`Standby` has children forked in advance. A launch that names it is handed to one of them, and answered and
ended like any other; :class:`StandbyReady` and :class:`StandbyGone` only tell of it.

Owns names and encoding. Refuses to know sockets and processes.
"""

import enum
from typing import Final

import msgspec

MAX_MESSAGE: Final = 128 * 1024
"""Bytes of the largest message: a packet has to fit into a socket's default buffer."""


class Start(msgspec.Struct, frozen=True):
    """The first message, from the supervising process.

    Attributes:
        preload: Modules to import before the first fork.
        warm_up: Functions (``module:function``, no arguments) to call once before the first fork, so that
            children find the code and the pages that they touch first in use already. They start no thread.
    """

    preload: tuple[str, ...]
    warm_up: tuple[str, ...]


class Namespace(enum.Enum):
    """Whether a child shall be the first process (init) of a PID namespace of its own."""

    NONE = "none"
    WANTED = "wanted"
    REQUIRED = "required"


class Launch(msgspec.Struct, frozen=True):
    """Fork a child; its end of the link travels beside.

    Attributes:
        child: Child id.
        incarnation: Which start of it this is; no pair of the two is ever used twice.
        entry: ``module:function``, called as ``function(link, args)`` in the child's main thread. What it
            returns (an integer, or ``None`` for 0) is the exit status.
        args: JSON object.
        dies_with_server: Whether the kernel kills the child when the server ends.
        namespace: Whether it shall have a PID namespace of its own. Where one is wanted or required, the entry
            finds in ``args["namespace"]`` what became of that (:mod:`supervisor.namespaces`).
        prints: Whether a second descriptor travels beside: the entry finds its number in ``args["prints_to"]``.
        standby: Name of the :class:`Standby` that it may be handed to, ``""`` for none. Only for a child that dies
            with the server and has no namespace.
    """

    child: str
    incarnation: int
    entry: str
    args: msgspec.Raw
    dies_with_server: bool
    namespace: Namespace = Namespace.NONE
    prints: bool = False
    standby: str = ""


class Standby(msgspec.Struct, frozen=True):
    """Keep children ready in advance, from now on.

    Attributes:
        name: What launches name.
        count: How many; 0 for none any more.
        load: Module, or script by its absolute path, that they load ahead, ``""`` for none.
    """

    name: str
    count: int
    load: str = ""


class Terminate(msgspec.Struct, frozen=True):
    """Ask a child, and what is in its process group, to end (SIGTERM, and SIGCONT for what is stopped), or kill it.

    The server is the one to do it: as long as it has not waited for a child, the group's number is the child's. One
    that has ended meanwhile is not missed.

    Attributes:
        child: Child id.
        incarnation: As in the :class:`Launch`.
        force: Whether the child is killed instead; what is left of its group follows with its end.
    """

    child: str
    incarnation: int
    force: bool = False


class StartFailed(msgspec.Struct, frozen=True):
    """The server could not preload and ends.

    Attributes:
        error: What happened, in one line.
    """

    error: str


class Forked(msgspec.Struct, frozen=True):
    """A child runs; its pidfd travels beside.

    Attributes:
        child: Child id.
        incarnation: As in the :class:`Launch`.
        pid: Its process id.
        mark: What ``MILESTONED_CHILD`` is set to in its environment and in that of what it starts.
    """

    child: str
    incarnation: int
    pid: int
    mark: str


class LaunchFailed(msgspec.Struct, frozen=True):
    """A child could not be forked; nothing was started.

    Attributes:
        child: Child id.
        incarnation: As in the :class:`Launch`.
        error: What happened, in one line.
    """

    child: str
    incarnation: int
    error: str


class ChildExited(msgspec.Struct, frozen=True):
    """A child has ended and was waited for, and all that it left behind is gone.

    Attributes:
        child: Child id.
        incarnation: As in the :class:`Launch`.
        pid: The process id that it had.
        status: Its exit status, or the number of the signal that killed it, negative.
        cpu_seconds: User and system time of the child and of the programs that it waited for.
        max_rss: Bytes of its largest resident set.
        left: Processes of it that would not die within the server's patience (uninterruptible, or not ours
            to signal); empty as a rule.
    """

    child: str
    incarnation: int
    pid: int
    status: int
    cpu_seconds: float
    max_rss: int
    left: tuple[int, ...] = ()


class StandbyReady(msgspec.Struct, frozen=True):
    """A child in advance has loaded what it should and waits.

    Attributes:
        name: As in the :class:`Standby`.
        pid: Its process id.
    """

    name: str
    pid: int


class StandbyGone(msgspec.Struct, frozen=True):
    """A child in advance has ended unasked; another one follows in time.

    Attributes:
        name: As in the :class:`Standby`.
        pid: The process id that it had.
        status: As of :class:`ChildExited`.
    """

    name: str
    pid: int
    status: int


ToServer = Start | Launch | Terminate | Standby
FromServer = StartFailed | Forked | LaunchFailed | ChildExited | StandbyReady | StandbyGone


class ProtocolError(ValueError):
    """A packet that is no message of this protocol."""


class _Envelope(msgspec.Struct, frozen=True):
    kind: str
    body: msgspec.Raw


_ENCODER: Final = msgspec.json.Encoder()
_ENVELOPE: Final = msgspec.json.Decoder(_Envelope)
_TO_SERVER: Final[dict[str, msgspec.json.Decoder[ToServer]]] = {
    kind.__name__: msgspec.json.Decoder(kind) for kind in ToServer.__args__
}
_FROM_SERVER: Final[dict[str, msgspec.json.Decoder[FromServer]]] = {
    kind.__name__: msgspec.json.Decoder(kind) for kind in FromServer.__args__
}


def encode(message: ToServer | FromServer) -> bytes:
    """Write a message down as one packet.

    Raises:
        ValueError: It is larger than :data:`MAX_MESSAGE`.
        TypeError: It holds something that JSON has no form for.
    """
    body = msgspec.Raw(_ENCODER.encode(message))
    packet = _ENCODER.encode(_Envelope(type(message).__name__, body))
    if len(packet) > MAX_MESSAGE:
        raise ValueError(
            f"a {type(message).__name__} message of {len(packet)} bytes is larger than {MAX_MESSAGE}: "
            "send what is large over the link"
        )
    return packet


def decode_to_server(packet: bytes) -> ToServer:
    """Read what the supervising process said.

    Raises:
        ProtocolError: It is no message of a known kind.
    """
    try:
        envelope = _ENVELOPE.decode(packet)
        return _TO_SERVER[envelope.kind].decode(envelope.body)
    except (msgspec.MsgspecError, KeyError) as error:
        raise ProtocolError(f"not a message to the fork server: {error}") from error


def decode_from_server(packet: bytes) -> FromServer:
    """Read what the fork server said.

    Raises:
        ProtocolError: It is no message of a known kind.
    """
    try:
        envelope = _ENVELOPE.decode(packet)
        return _FROM_SERVER[envelope.kind].decode(envelope.body)
    except (msgspec.MsgspecError, KeyError) as error:
        raise ProtocolError(f"not a message from the fork server: {error}") from error
