"""The control server: one thread that listens on control sockets and lets clients wait for their answers.

The loop, told once. Wait for a listener, a client or the wake-up of another thread. Calls are cut out of what a client
sent and handed to the desk (:class:`Desk`), which never blocks and answers through a :class:`Ticket` when the thing has
happened, from any thread. Whoever follows records is a cursor, not a buffer: records are read from the journal, a page
at a time, when the client's socket has taken the former page. So a client that reads slowly, or never, costs a few
kilobytes and nobody else's time; one that vanishes costs nothing. A client that has closed its writing side is answered
what it has asked, and then let go; of one that is not read (it has ended so, or has as many calls open as it may) the
hang-up is watched for (:mod:`supervisor.hangups`).

Bounds: :data:`MAX_CLIENTS` connections, :data:`MAX_OPEN` unanswered calls each (further ones are not read before one of
them is answered), :data:`PATIENCE` seconds for a call that was begun, :data:`MAX_BACKLOG` bytes that were not read. Who
comes when all places are taken gets that of the client that has been silent for the longest time and waits for nothing.
A client of another user is sent away.

Runs in the supervising process, in a daemon thread of its own. Refuses to know verbs and sessions.
"""

from __future__ import annotations

import contextlib
import functools
import math
import os
import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Final, Protocol

import attrs
import msgspec

from actors.log import log
from supervisor.control_socket import peer_uid
from supervisor.hangups import HangUps
from supervisor.loop import Loop
from supervisor.protocol import LENGTH, MAX_CALL, CallError, Events, Item, Reply, Request, decode_call, encode_message

if TYPE_CHECKING:
    from actors.events import Record

MAX_CLIENTS: Final = 64
"""Connections at a time; one more is told so and closed."""

MAX_OPEN: Final = 16
"""Calls of one client that may wait for their answers."""

PATIENCE: Final = 10.0
"""Seconds that a client has to finish sending a call that it began."""

MAX_BACKLOG: Final = 8 << 20
"""Bytes that may wait for a client to read them; one that lets more pile up is closed, when it is to be sent more."""

ENOUGH: Final = 1 << 18
"""Bytes that wait for a follower beyond which it is sent no further record before it has read them."""

ACCEPT_AGAIN: Final = 1.0
"""Seconds until a listener is looked at again of which nobody could be accepted: no descriptor was left, say."""

PAGE: Final = 1000
"""Records that are read for a follower at a time."""

MOST_DEFECTS: Final = 10
"""Unforeseen errors after which the thread ends: what comes again and again would keep a core busy."""

_CHUNK: Final = 1 << 16
_FULL: Final = 75
_BROKEN: Final = 70


class Desk(Protocol):
    """Who answers calls. Called in the server's thread; must not block."""

    def answer(self, request: Request, ticket: Ticket) -> None:
        """Take a request; answer through the ticket, now or later."""

    def follow(self, request: Events) -> Source:
        """Return where the records that a client asks for come from.

        Raises:
            RefusedCallError: There is no such session.
        """


class Source(Protocol):
    """Records in order. Called in the server's thread."""

    def page(self, after: int, most: int) -> Sequence[Record]:
        """Return records with a greater seq, in order, at most so many."""

    def is_over(self) -> bool:
        """Whether no further record can come."""

    def close(self) -> None:
        """Give everything back."""


class RefusedCallError(Exception):
    """A call that is answered with a failure.

    Attributes:
        code: Exit code for a command line.
        lines: For people.
    """

    def __init__(self, code: int, *lines: str) -> None:
        super().__init__("\n".join(lines))
        self.code = code
        self.lines = lines


@attrs.frozen
class Ticket:
    """Stands for a call that waits for its answer; may be used from any thread, and answers once.

    Args:
        call: Id of the call.
        post: Puts the reply on its way.
    """

    call: int
    _post: Callable[[Reply], object]

    def done(self, result: object = None) -> None:
        """Answer that it has happened.

        Args:
            result: Whatever msgspec can write down.
        """
        self._post(Reply(self.call, ok=True, result=result))

    def failed(self, code: int, *lines: str) -> None:
        """Answer that it has not, and why."""
        self._post(Reply(self.call, ok=False, code=code, lines=lines))


@attrs.define
class _Following:
    source: Source
    cursor: int
    follow: bool


@attrs.define(eq=False)
class _Client:
    sock: socket.socket
    heard_at: float
    received: bytearray = attrs.Factory(bytearray)
    backlog: bytearray = attrs.Factory(bytearray)
    open: set[int] = attrs.Factory(set)
    following: dict[int, _Following] = attrs.Factory(dict)
    begun_at: float | None = None
    is_taking: bool = False
    has_ended: bool = False
    mask: int = selectors.EVENT_READ

    @property
    def is_full(self) -> bool:
        return len(self.open) + len(self.following) >= MAX_OPEN

    @property
    def is_read(self) -> bool:
        return not (self.is_full or self.has_ended)

    @property
    def waits_for_nothing(self) -> bool:
        return not (self.open or self.following or self.backlog or self.received)


def _log_defect(error: Exception, count: int) -> None:
    log().opt(exception=error).bind(defects=count).error("control: a defect")


class ControlServer(threading.Thread):
    """Serves clients on listening sockets.

    Args:
        desk: Answers.
        listeners: Bound and listening, non-blocking; the server owns them from here on.
        patience: Seconds that a client has to finish a call, and after which one that is silent makes room for others.
        defect: Is told of each defect that the server survives, and how many there were; in the server's thread.
    """

    def __init__(
        self,
        desk: Desk,
        listeners: Iterable[socket.socket],
        *,
        patience: float = PATIENCE,
        defect: Callable[[Exception, int], None] = _log_defect,
    ) -> None:
        super().__init__(name="control", daemon=True)
        self._desk = desk
        self._patience = patience
        self._tell_defect = defect
        self._loop = Loop()
        self._hangups = HangUps(self._loop)
        self._listeners = list(listeners)
        self._clients: set[_Client] = set()
        self._closing = False
        self._released = False
        self._is_followed = False
        self._defects = 0

    # --- from other threads --------------------------------------------------------------------------------------

    def listen(self, listener: socket.socket) -> None:
        """Take up one more listening socket."""

        def take() -> None:
            self._listeners.append(listener)
            self._watch_listener(listener)

        self._loop.call(take)

    def call(self, function: Callable[[], None]) -> None:
        """Have a function called in the server's thread; never blocks."""
        self._loop.call(function)

    def recorded(self) -> None:
        """Say that there are new records; never blocks, and wakes nobody when nobody follows."""
        if self._is_followed:
            self._loop.call(self._feed_all)

    def disown(self) -> None:
        """Let go of all descriptors, in a process that was forked from the server's: see :meth:`Loop.disown`."""
        self._loop.disown(also=[client.sock.fileno() for client in self._clients])

    def close(self, timeout: float = 5.0) -> None:
        """Send what clients can still take, close everything and end the thread."""
        if self.is_alive():
            self._loop.call(self._begin_close)
            self.join(timeout)
        else:
            self._release()

    # --- the loop ------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Serve until closed; in the server's thread."""
        for listener in self._listeners:
            self._watch_listener(listener)
        try:
            while not self._closing:
                try:
                    self._turn()
                except Exception as error:  # noqa: BLE001 - a thread that ends silently answers nobody any more
                    self._survive(error)
        finally:
            self._release()

    def _turn(self) -> None:
        for key, events in self._loop.wait(self._due()):
            key.data(events)
        self._loop.run_calls()
        self._loop.ring()
        self._lose_patience()

    def _survive(self, error: Exception) -> None:
        """Log a defect, answer everybody who waits with it, and begin anew: nobody knows whose call it was.

        Raises:
            Exception: The defect, when it comes again and again.
        """
        self._defects += 1
        self._tell_defect(error, self._defects)
        line = f"a defect of milestoned: {type(error).__name__}: {error}"
        for client in tuple(self._clients):
            for call in (*client.open, *client.following):
                self._send(client, Reply(call, ok=False, code=_BROKEN, lines=(line,)))
            self._drop(client)
        if self._defects > MOST_DEFECTS:
            raise error

    def _due(self) -> float:
        begun = [client.begun_at for client in self._clients if client.begun_at is not None]
        return min(begun, default=math.inf) + self._patience

    def _watch_listener(self, listener: socket.socket) -> None:
        self._loop.selector.register(listener, selectors.EVENT_READ, lambda _: self._accept(listener))

    def _ready(self, client: _Client, events: int) -> None:
        if events & selectors.EVENT_WRITE and client in self._clients:
            self._flush(client)
            self._feed(client)
        if events & selectors.EVENT_READ and client in self._clients:
            self._read(client)

    def _accept(self, listener: socket.socket) -> None:
        try:
            sock, _ = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):  # it went away again
            return
        except OSError:  # no descriptor is left: it stays in the queue, and would wake us again and again
            self._loop.selector.unregister(listener)
            self._loop.set_alarm(listener, time.monotonic() + ACCEPT_AGAIN, lambda: self._watch_listener(listener))
            return
        sock.settimeout(0.0)
        uid = peer_uid(sock)
        refusal: Reply | None = None
        if uid not in {os.geteuid(), 0}:
            refusal = Reply(0, ok=False, code=1, lines=(f"user {uid} may not control what user {os.geteuid()} runs",))
        elif len(self._clients) >= MAX_CLIENTS and not self._make_room():
            refusal = Reply(0, ok=False, code=_FULL, lines=(f"{MAX_CLIENTS} clients are connected: try again later",))
        if refusal is not None:
            with contextlib.suppress(OSError):
                sock.send(encode_message(refusal))
            sock.close()
            return
        client = _Client(sock, time.monotonic())
        self._clients.add(client)
        self._register(client)

    def _make_room(self) -> bool:
        """Close the client that is missed least; return whether there was one."""
        before = time.monotonic() - self._patience
        idle = [one for one in self._clients if one.heard_at < before and one.waits_for_nothing]
        if idle:
            self._drop(min(idle, key=lambda one: one.heard_at))
        return bool(idle)

    def _lose_patience(self) -> None:
        now = time.monotonic()
        for client in tuple(self._clients):
            if client.begun_at is not None and now >= client.begun_at + self._patience:
                self._drop(client)

    # --- a client's calls ----------------------------------------------------------------------------------------

    def _read(self, client: _Client) -> None:
        try:
            data = client.sock.recv(_CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            client.heard_at = time.monotonic()
            client.received += data
        else:
            client.has_ended = True
        self._take_calls(client)

    def _take_calls(self, client: _Client) -> None:
        """Hand over the calls that are complete, as long as the client may have more of them open."""
        if client.is_taking:  # one was answered at once: who took it takes the next one too, however many there are
            return
        client.is_taking = True
        try:
            self._cut_calls(client)
        finally:
            client.is_taking = False

    def _cut_calls(self, client: _Client) -> None:
        taken = 0
        while client in self._clients and not client.is_full and len(client.received) >= LENGTH.size:
            (length,) = LENGTH.unpack_from(client.received)
            if length > MAX_CALL:
                lines = (f"a call of {length} bytes is larger than {MAX_CALL}",)
                self._send(client, Reply(0, ok=False, code=2, lines=lines))
                self._drop(client)
                return
            end = LENGTH.size + length
            if len(client.received) < end:
                break
            payload = bytes(client.received[LENGTH.size : end])
            del client.received[:end]
            taken += 1
            self._take_call(client, payload)
        if client.has_ended and not client.is_full:
            client.received.clear()  # the beginning of a call that nobody will finish
        incomplete = bool(client.received) and not client.is_full
        begun_at = None if taken else client.begun_at  # what is left belongs to a later call than that was of
        client.begun_at = (begun_at or time.monotonic()) if incomplete else None
        self._watch(client)

    def _take_call(self, client: _Client, payload: bytes) -> None:
        try:
            call, request = decode_call(payload)
        except CallError as error:
            self._send(client, Reply(error.id, ok=False, code=error.code, lines=error.lines))
            return
        if call in client.open or call in client.following:
            lines = (f"call {call} is still waiting for its answer",)
            self._send(client, Reply(call, ok=False, code=2, lines=lines))
            return
        client.open.add(call)
        ticket = Ticket(call, lambda reply: self._loop.call(lambda: self._answered(client, reply)))
        try:
            if isinstance(request, Events):
                self._is_followed = True  # before the first page is read, or what comes then would be missed
                client.following[call] = _Following(self._desk.follow(request), request.since, request.follow)
                client.open.discard(call)
                self._feed(client)
            else:
                self._desk.answer(request, ticket)
        except RefusedCallError as refusal:
            self._answered(client, Reply(call, ok=False, code=refusal.code, lines=refusal.lines))
        except Exception as error:  # noqa: BLE001 - a defect behind one call must not end the server
            line = f"a defect of milestoned: {type(error).__name__}: {error}"
            self._answered(client, Reply(call, ok=False, code=_BROKEN, lines=(line,)))

    def _answered(self, client: _Client, reply: Reply) -> None:
        if client not in self._clients or reply.id not in client.open:
            return
        client.open.discard(reply.id)
        self._send(client, reply)
        self._take_calls(client)

    # --- followers -----------------------------------------------------------------------------------------------

    def _feed_all(self) -> None:
        followers = [client for client in self._clients if client.following]
        self._is_followed = bool(followers)
        for client in followers:
            self._feed(client)

    def _feed(self, client: _Client) -> None:
        """Send each follower a page of what it has not seen, if its socket has taken the former one."""
        for call, following in tuple(client.following.items()):
            if client not in self._clients or client.backlog:
                return
            if client.following.get(call) is not following:
                continue  # answered meanwhile: an answer lets further calls in, and they are fed too
            try:
                is_over = following.source.is_over()  # before the look, or what came between the two would be missed
                records = following.source.page(following.cursor, PAGE)
            except Exception as error:  # noqa: BLE001 - the journal cannot be read: the follower is told
                self._unfollow(client, Reply(call, ok=False, code=_BROKEN, lines=(str(error),)))
                continue
            for record in records:
                self._send(client, Item(call, record))
                following.cursor = record.seq
                if len(client.backlog) > ENOUGH:
                    break
            if records:
                self._loop.set_alarm(
                    client, 0.0, functools.partial(self._feed, client)
                )  # others have their turn before the next page
            elif is_over or not following.follow:
                self._unfollow(client, Reply(call, ok=True, result={"seq": following.cursor}))

    def _unfollow(self, client: _Client, reply: Reply) -> None:
        client.following.pop(reply.id).source.close()
        self._send(client, reply)
        self._take_calls(client)

    # --- writing -------------------------------------------------------------------------------------------------

    def _send(self, client: _Client, message: Reply | Item) -> None:
        if client not in self._clients:
            return
        try:
            data = encode_message(message)
        except (msgspec.MsgspecError, TypeError, ValueError) as error:
            data = encode_message(Reply(message.id, ok=False, code=_BROKEN, lines=(f"a defect: {error}",)))
        if len(client.backlog) > MAX_BACKLOG:
            self._drop(client)
            return
        client.backlog += data
        self._flush(client)

    def _flush(self, client: _Client) -> None:
        try:
            while client.backlog:
                sent = client.sock.send(client.backlog[:_CHUNK])
                del client.backlog[:sent]
        except BlockingIOError:
            pass
        except OSError:
            self._drop(client)
            return
        self._watch(client)

    def _watch(self, client: _Client) -> None:
        if client not in self._clients:
            return
        if client.has_ended and client.waits_for_nothing:
            self._drop(client)
            return
        mask = selectors.EVENT_READ if client.is_read else 0
        mask |= selectors.EVENT_WRITE if client.backlog else 0
        if mask != client.mask:
            self._unregister(client)
            client.mask = mask
            self._register(client)

    def _register(self, client: _Client) -> None:
        if client.mask:
            self._loop.selector.register(client.sock, client.mask, functools.partial(self._ready, client))
        else:
            self._hangups.watch(client.sock, functools.partial(self._drop, client))

    def _unregister(self, client: _Client) -> None:
        if client.mask:
            self._loop.selector.unregister(client.sock)
        else:
            self._hangups.unwatch(client.sock)

    # --- the end -------------------------------------------------------------------------------------------------

    def _drop(self, client: _Client) -> None:
        if client in self._clients:
            self._clients.discard(client)
            self._unregister(client)
            client.sock.close()
            for following in client.following.values():
                following.source.close()

    def _begin_close(self) -> None:
        self._closing = True

    def _release(self) -> None:
        if self._released:
            return
        self._released = True
        for client in tuple(self._clients):
            self._drop(client)
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()
        self._loop.close()
        self._hangups.close()
