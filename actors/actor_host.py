"""The host of a service's own actor, in a process of its own: between the link, time and the mailbox.

Runs in a process forked from the fork server: the host in the main thread, the actor in its own, as pykka starts it.
The host only passes on. Everything that says something about the actor comes out of the actor's own loop: that it has
started, that it is alive, what it answers, how it ended. So a loop that hangs is silent, whatever the host does.

How the actor ends decides how the process ends: ``stop()`` is exit status 0, an exception that it did not catch is 70
with the exception named in a last word (one that is no ``Exception`` too, such as asyncio's cancellation, which pykka
would take for a stop), ``sys.exit(n)`` is n. An exception raised while an *ask* is answered goes to who asked, and the
actor goes on: that is pykka's rule.

Owns that passage. Refuses to know what the actor does and who supervises it.
"""

from __future__ import annotations

import contextlib
import os
import queue
import selectors
import signal
import sys
import threading
import time
import traceback
from reprlib import Repr
from typing import TYPE_CHECKING, Any, Final, NoReturn, cast

import attrs
import msgspec
import pykka

from actors import plain
from actors.dialogue import DIALOGUE, Answer, Ask, Beats, Broken, Declined, Fault, Leave, Pulse, Tell, Up, Word
from actors.framing import FrameError
from actors.wording import one_line, own_trace

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping
    from types import TracebackType

CRASHED: Final = 70
"""Exit status of a child whose code raised (EX_SOFTWARE of sysexits.h)."""

MOST_MESSAGES: Final = 1000
"""Messages in the mailbox above which the link is not read: so they wait at the sender's, who is told so in the end."""

_SHORT: Final = Repr()
"""How a message is named: by its beginning and end."""
_SHORT.maxother = _SHORT.maxstring = 40

_CHUNK: Final = 1 << 18
_LOOK_AGAIN: Final = 0.02


class Ignore(Exception):  # noqa: N818 - it is OTP's word, and no error
    """Raised by an actor's ``on_start``: it does not want to run, and that is no failure (OTP ``ignore``)."""


@attrs.frozen
class _Asked:
    """A message that is answered over the link."""

    ticket: int
    body: object


class _BeatDue:
    """Told to the actor; its loop answers."""


class _Mailbox(queue.Queue[Any]):
    """pykka's own mailbox, with a lane for looks at the loop: they are not to wait behind a flood of messages."""

    def _put(self, item: Any) -> None:  # noqa: ANN401 - pykka's envelopes
        if isinstance(item.message, _BeatDue):
            self.queue.appendleft(item)
        else:
            self.queue.append(item)


class _Overlay(pykka.Actor):
    """What is laid over the service's class: every hook first does what the class does. Runs in the actor's thread."""

    host: ActorHost

    def on_start(self) -> None:
        try:
            super().on_start()
        except Ignore:
            self.host.send(Declined())
            self.host.over(0)
        except BaseException as error:  # noqa: BLE001 - whatever it is: it has not started
            self.host.crash(error)
        else:
            self.host.report_start(getattr(self, "start_info", None))

    def on_receive(self, message: object) -> object:
        match message:
            case _BeatDue():
                self.host.beat()
                return None
            case _Asked(ticket, body):
                self.host.send(self._answer(ticket, body))
                return None
            case _:
                try:
                    return self._receive(message)
                except (Exception, SystemExit):
                    raise
                except BaseException as error:  # a cancellation, say: pykka would call it a stop in order
                    self.on_failure(type(error), error, error.__traceback__)
                    raise  # not reached: that was the end of the process

    def on_failure(
        self,
        exception_type: type[BaseException] | None,
        exception_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            super().on_failure(exception_type, exception_value, traceback)
        finally:
            self.host.crash(exception_value or RuntimeError("the actor failed without an exception"))

    def on_stop(self) -> None:
        try:
            super().on_stop()
        except BaseException as error:  # noqa: BLE001 - pykka would log it and call that a stop in order
            self.host.crash(error)
        self.host.over(0)

    def _receive(self, message: object) -> object:
        try:
            return super().on_receive(message)
        except SystemExit as error:
            self.host.leave_with(error)
            raise

    def _answer(self, ticket: int, body: object) -> Word:
        try:
            answer = self._receive(body)
        except SystemExit:
            raise
        except BaseException as error:  # noqa: BLE001 - it is for who asked
            return Fault(ticket, type(error).__name__, one_line(error))
        try:
            return Answer(ticket, msgspec.Raw(plain.encode(answer)))
        except plain.NotPlainError as error:
            what = f"{type(self).__qualname__} answered {_SHORT.repr(body)} with what is no plain value"
            return Fault(ticket, type(error).__name__, f"{what}: {error}")


class ActorHost:
    """The main thread of an actor's process.

    ``run`` is the main thread's; everything else is called by the actor's.

    Args:
        link: The child's end of the link, blocking.
        beat_seconds: Seconds between two looks at the actor's loop; ``None`` for none.
    """

    def __init__(self, link: socket.socket, beat_seconds: float | None) -> None:
        self._link = link
        self._selector = selectors.DefaultSelector()
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._sending = threading.Lock()
        self._beat_seconds = beat_seconds
        self._next_beat = float("inf")
        self._unanswered = False
        self._asked_by_signal = False
        self._mailbox: _Mailbox | None = None
        self._reading = True
        self._ended = False
        self._status: int | None = None
        self._final: int | None = None

    # --- called by the actor's thread ----------------------------------------------------------------------------

    def send(self, word: Word) -> None:
        """Write to the link; that the other side is gone is for the main thread to see."""
        self._send_bytes(DIALOGUE.encode(word))

    def report_start(self, info: object) -> None:
        """Say that the actor has started, and with what; an info that cannot be sent is a start that has failed."""
        try:
            plain.encode(info)
        except plain.NotPlainError as error:
            self.crash(TypeError(f"start_info must be plain values, for it is sent as JSON: {error}"))
        self.send(Up(mailbox=True, info=info))

    def open_mailbox(self) -> _Mailbox:
        """Make the actor's mailbox; one that it brings itself is read into without a bound."""
        self._mailbox = _Mailbox()
        return self._mailbox

    def beat(self) -> None:
        """Say that the actor's loop has come round."""
        self._unanswered = False
        self.send(Pulse())

    def over(self, status: int) -> None:
        """End the process: the actor has ended."""
        self._final = status if self._status is None else self._status
        os.eventfd_write(self._wake, 1)

    def leave_with(self, error: SystemExit) -> None:
        """Note the exit status that the actor asked for; what is no number is a crash."""
        if error.code is not None and not isinstance(error.code, int):
            self.crash(error)
        self._status = int(error.code or 0)

    def crash(self, error: BaseException) -> NoReturn:
        """End the process at once, with the error as the last word; never returns."""
        try:
            self.send(Broken(one_line(error)))
            traceback.print_exception(type(error), error, own_trace(error))
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(CRASHED)

    def _send_bytes(self, data: bytes) -> None:
        with self._sending, contextlib.suppress(OSError):
            self._link.sendall(data)

    # --- the main thread -----------------------------------------------------------------------------------------

    def run(self, actor: pykka.ActorRef[Any]) -> int:
        """Pass messages on until the actor has ended.

        Returns:
            The exit status of the process.
        """
        self._selector.register(self._link, selectors.EVENT_READ)
        self._selector.register(self._wake, selectors.EVENT_READ)
        reader = DIALOGUE.reader()
        self._set_beat(self._beat_seconds)
        while self._final is None:
            for key, _ in self._selector.select(self._timeout()):
                if key.fileobj is self._link:
                    data = self._receive()
                    if not data:  # nobody supervises any more
                        self._ended = True
                        self._selector.unregister(self._link)
                        actor.stop(block=False)
                        continue
                    for word in reader.feed(data):
                        self._pass_on(word, actor)
                else:
                    os.eventfd_read(self._wake)
            if self._asked_by_signal:
                self._asked_by_signal = False
                actor.stop(block=False)
            self._look(actor)
            self._read_while_there_is_room()
        return self._final

    def heed_signals(self) -> None:
        """Take SIGTERM as the wish that the actor stops; in the main thread, before the actor starts."""
        signal.signal(signal.SIGTERM, self._note_signal)

    def _note_signal(self, *_: object) -> None:
        # Only noted: the main thread may be putting something into the mailbox at this very moment.
        self._asked_by_signal = True
        os.eventfd_write(self._wake, 1)

    def _read_while_there_is_room(self) -> None:
        if self._ended or self._mailbox is None:
            return
        waiting = self._mailbox.qsize()
        if self._reading and waiting >= MOST_MESSAGES:
            self._reading = False
            self._selector.unregister(self._link)
        elif not self._reading and waiting < MOST_MESSAGES // 2:
            self._reading = True
            self._selector.register(self._link, selectors.EVENT_READ)

    def _receive(self) -> bytes:
        try:
            return self._link.recv(_CHUNK)
        except ConnectionError:  # the other side ended without having read all that we had sent
            return b""

    def _pass_on(self, word: Word, actor: pykka.ActorRef[Any]) -> None:
        with contextlib.suppress(pykka.ActorDeadError):
            match word:
                case Tell(body):
                    actor.tell(msgspec.json.decode(body))
                case Ask(ticket, body):
                    actor.tell(_Asked(ticket, msgspec.json.decode(body)))
                case Leave():
                    actor.stop(block=False)
                case Beats(seconds):
                    self._set_beat(seconds)
                case _:
                    raise FrameError(f"a supervising process does not say {type(word).__name__}")

    def _set_beat(self, seconds: float | None) -> None:
        self._beat_seconds = seconds
        self._next_beat = float("inf") if seconds is None else time.monotonic() + seconds

    def _timeout(self) -> float | None:
        if self._beat_seconds is None:
            return None if self._reading else _LOOK_AGAIN
        left = max(0.0, self._next_beat - time.monotonic())
        return left if self._reading else min(left, _LOOK_AGAIN)

    def _look(self, actor: pykka.ActorRef[Any]) -> None:
        if self._beat_seconds is None or time.monotonic() < self._next_beat:
            return
        self._next_beat = time.monotonic() + self._beat_seconds
        if not self._unanswered:  # a loop that is busy is asked once
            self._unanswered = True
            with contextlib.suppress(pykka.ActorDeadError):
                actor.tell(_BeatDue())


def run_actor(link: socket.socket, cls: type[pykka.Actor], args: Mapping[str, object], beat: float | None) -> int:
    """Start an actor and stay with it until it has ended; in the main thread of its process.

    Args:
        link: The child's end of the link.
        cls: The service's class.
        args: Keyword arguments of its ``__init__``.
        beat: Seconds between two looks at its loop; ``None`` for none.

    Returns:
        The exit status of the process.
    """
    host = ActorHost(link, beat)
    host.heed_signals()
    body: dict[str, object] = {"host": host, "__module__": cls.__module__, "__qualname__": cls.__qualname__}
    if getattr(cls, "_create_actor_inbox", None) is pykka.ThreadingActor._create_actor_inbox:  # noqa: SLF001 - its hook
        body["_create_actor_inbox"] = staticmethod(host.open_mailbox)
    overlaid = cast("type[pykka.Actor]", type(cls.__name__, (_Overlay, cls), body))
    try:
        actor = overlaid.start(**args)
    except AttributeError as error:
        if error.name != "_actor_ref":  # which pykka's own __init__ sets
            raise
        raise TypeError(f"{cls.__qualname__}.__init__ does not call super().__init__()") from None
    return host.run(actor)
