"""The processes that one thread watches: the fork server, the children, and their links.

Exits are learned from the fork server, which reports them once the dead child's group is empty; a link's end is
only a hint. When the fork server itself is gone its roles die with it, and the pidfds are believed instead; what such a
child leaves behind is its owner's to sweep.

Owned by the thread of its owner: the hub's, or a keeper's. Refuses to know the journal and what frames mean.
"""

from __future__ import annotations

import contextlib
import os
import select
import selectors
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar, assert_never

import attrs

from actors.framing import Framing
from supervisor import core_events as told
from supervisor.exits import Shutdown, Unknown, from_wait
from supervisor.fork_protocol import ChildExited, LaunchFailed, Namespace, StandbyGone, StandbyReady
from supervisor.launcher import Launched, Launcher, Report, ServerGone, Surroundings
from supervisor.links import TURN_BYTES, Link
from supervisor.linux import start_ticks
from supervisor.offspring import EMPTY_SECONDS

if TYPE_CHECKING:
    from supervisor.exits import ExitReason

SERVER_DEATHS: Final = 1
"""Deaths of the fork server that are mended within :data:`SERVER_PERIOD`; one more escalates."""

SERVER_PERIOD: Final = 60.0
"""Seconds."""

SILENT_SECONDS: Final = EMPTY_SECONDS + 2.0
"""Longest time that a fork server takes to answer a launch or to tell of an end; one that takes longer is killed."""

PRELOAD_SECONDS: Final = 25.0
"""The same for the first launch that it answers: it is still importing."""

LATE_SECONDS: Final = 1.0
"""Seconds by which :meth:`Fleet.look` may be late before we count as having been held up ourselves."""

BEAT_SECONDS: Final = 0.02
"""Two heartbeats of a child that come sooner one after the other are one."""

F = TypeVar("F")


@attrs.define
class Child(Generic[F]):
    """One incarnation of a child.

    Attributes:
        key: ``<session>/<id>``: what the fork server calls it.
        session: Session id.
        id: Id within the session.
        incarnation: Its number.
        link: Our end; ``None`` once closed.
        server: Number of the fork server that forked it.
        pid: Its process, 0 before it is known.
        pidfd: Stands for its process, -1 before it is known.
        kill_asked: Whether it is to be killed as soon as it can be.
        leaving: Whether it was asked to end.
        dead_hint: Whether its pidfd has become readable.
        awaited_since: Monotonic moment since which the fork server owes us word of it: that it runs, or that it has
            ended; ``None`` while it owes nothing.
        held: What it said before its process was known.
        mark: What its environment, and that of what it starts, can be recognized by.
        is_ready: Whether it has said so.
        beaten_at: Monotonic moment of the last heartbeat that was told.
        below: What its last heartbeat named as below it: pid and start time.
    """

    key: str
    session: str
    id: str
    incarnation: int
    link: Link[F] | None
    server: int
    pid: int = 0
    pidfd: int = -1
    kill_asked: bool = False
    leaving: bool = False
    dead_hint: bool = False
    awaited_since: float | None = None
    held: list[F] = attrs.Factory(list)
    mark: str = ""
    is_ready: bool = False
    beaten_at: float = float("-inf")
    below: tuple[tuple[int, int], ...] = ()

    def beats(self, now: float) -> bool:
        """Whether a heartbeat is worth being told of: a child that sends them without end fills no mailbox."""
        if now - self.beaten_at < BEAT_SECONDS:
            return False
        self.beaten_at = now
        return True

    def gets_ready(self) -> bool:
        """Whether it says so for the first time."""
        first, self.is_ready = not self.is_ready, True
        return first


class Owner(Protocol[F]):
    """What the fleet tells; all in the owner's thread."""

    def tell(self, session: str, message: told.Event) -> None:
        """Something happened to a child."""

    def received(self, child: Child[F], frame: F) -> None:
        """A child sent a frame."""

    def hung_up(self, child: Child[F]) -> None:
        """A child that runs has closed its link, or said what is no frame."""

    def orphaned(self, child: Child[F]) -> None:
        """A child has ended, and its fork server before it: nobody has ended what it left behind."""

    def server_lost(self, reason: str) -> None:
        """The fork server died more often than is mended."""

    def standby(self, name: str, pid: int, ended: ExitReason | None) -> None:
        """A child in advance waits, or has ended unasked."""


class Fleet(Generic[F]):
    """Fork server, children and links.

    Args:
        selector: Of the owner; the fleet registers what it watches, with itself findable through ``ready``.
        framing: What is said over the links.
        preload: Modules that the fork server imports before it forks.
        owner: Is told.
        output: Descriptor for what fork server and children print; standard error when not given.
        relative: Whether they look for modules where relative entries of `sys.path` lead to, too.
    """

    def __init__(
        self,
        selector: selectors.BaseSelector,
        framing: Framing[F],
        preload: Sequence[str],
        owner: Owner[F],
        output: int | None = None,
        *,
        relative: bool = False,
    ) -> None:
        self._is_relative = relative
        self._selector = selector
        self._framing = framing
        self._preload = tuple(preload)
        self._output = output
        self._surroundings: Surroundings | None = None
        self._owner = owner
        self._children: dict[str, Child[F]] = {}
        self._launcher: Launcher | None = None
        self._server = 0
        self._answered = False
        self._deaths: list[float] = []
        self._standbys: dict[str, tuple[int, str]] = {}
        self._releasing = False

    @property
    def server_pid(self) -> int:
        """Process id of the fork server, 0 without one."""
        return 0 if self._launcher is None else self._launcher.pid

    @property
    def due(self) -> float:
        """Monotonic moment at which :meth:`look` is to be called; infinite while the fork server owes nothing."""
        patience = SILENT_SECONDS if self._answered else PRELOAD_SECONDS
        since = [child.awaited_since for child in self._children.values() if child.awaited_since is not None]
        return min(since, default=float("inf")) + patience

    def of_session(self, session: str) -> Iterator[Child[F]]:
        """Iterate over the children of a session that have been welcomed."""
        for child in tuple(self._children.values()):
            if child.session == session and child.link is not None and child.link.welcomed:
                yield child

    def find(self, session: str, child: str, incarnation: int) -> Child[F] | None:
        """Return an incarnation, ``None`` when it is gone."""
        found = self._children.get(f"{session}/{child}")
        return found if found is not None and found.incarnation == incarnation else None

    def current(self, session: str, child: str) -> Child[F] | None:
        """Return the incarnation of a child whose process is known and has not been seen to end, ``None`` without."""
        found = self._children.get(f"{session}/{child}")
        return found if found is not None and found.pidfd >= 0 and not found.dead_hint else None

    def signal(self, child: Child[F], number: int) -> bool:
        """Send a signal to a child's process; return whether it was still there."""
        try:
            signal.pidfd_send_signal(child.pidfd, number)
        except ProcessLookupError:
            return False
        return True

    def identity(self, session: str, child: str, incarnation: int) -> tuple[int, int] | None:
        """Return pid and start time (clock ticks since boot) of an incarnation that lives, else ``None``.

        Exact: the pidfd is looked at after the start time was read, so that is no later process's.
        """
        found = self.find(session, child, incarnation)
        if found is None or found.pidfd < 0:
            return None
        ticks = start_ticks(found.pid)
        ended = select.poll()
        ended.register(found.pidfd, select.POLLIN)
        return None if ticks is None or ended.poll(0) else (found.pid, ticks)

    # --- doing ---------------------------------------------------------------------------------------------------

    def start_server(self) -> None:
        """Exec a fork server; returns while it still imports.

        Another one gets the environment and the folder that the first one got, whatever the host has made of its own.

        Raises:
            OSError: It cannot be started.
        """
        if self._surroundings is None:
            self._surroundings = Surroundings.now(relative=self._is_relative)
        self._launcher = Launcher.start(self._preload, output=self._output, surroundings=self._surroundings)
        self._server += 1
        self._answered = False
        self._selector.register(self._launcher, selectors.EVENT_READ, self._launcher)
        for name, (count, load) in self._standbys.items():
            self._launcher.keep_standby(name, count, load)

    def standbys(self) -> tuple[str, ...]:
        """Return the names for which children are ready in advance."""
        return tuple(self._standbys)

    def keep_standby(self, name: str, count: int, load: str = "") -> None:
        """Have so many children ready in advance from now on; see :meth:`Launcher.keep_standby`."""
        if self._standbys.get(name, (0, "")) == (count, load):
            return
        self._standbys[name] = (count, load)
        if not count:
            del self._standbys[name]
        if self._launcher is not None:
            self._launcher.keep_standby(name, count, load)

    def spawn(  # noqa: PLR0913 - one parameter per field of a launch
        self,
        session: str,
        child: str,
        incarnation: int,
        entry: str,
        args: Mapping[str, object],
        *,
        role: bool,
        namespace: Namespace = Namespace.NONE,
        prints_to: int | None = None,
        standby: str = "",
    ) -> None:
        """Have an incarnation forked; see :meth:`supervisor.hub.Hub.spawn` and :meth:`Launcher.launch`."""
        key = f"{session}/{child}"
        if self._launcher is None:
            self._owner.tell(session, told.SpawnFailed(time.monotonic(), child, incarnation, "there is no fork server"))
            return
        try:
            sock = self._launcher.launch(
                key,
                incarnation,
                entry,
                dict(args),
                dies_with_server=role,
                namespace=namespace,
                prints_to=prints_to,
                standby=standby if standby in self._standbys else "",
            )
        except (OSError, ValueError, TypeError) as error:
            self._owner.tell(session, told.SpawnFailed(time.monotonic(), child, incarnation, str(error)))
            return
        self.leave_behind(session, child)
        link = Link(sock, key, incarnation, self._framing)
        self._children[key] = Child(
            key, session, child, incarnation, link, self._server, awaited_since=time.monotonic()
        )
        self._selector.register(sock, selectors.EVENT_READ, link)

    def leave_behind(self, session: str, child: str) -> None:
        """Hold nothing any more of a child that could not be killed, and that nobody waits for."""
        if (former := self._children.get(f"{session}/{child}")) is not None:
            self._forget(former)

    def look(self) -> None:
        """Kill a fork server that has owed us word for too long: stopped or hung, it is as good as dead.

        Where we look far too late it is we who did not run, and it may not have run either: it gets its time again.
        """
        now = time.monotonic()
        late = now - self.due
        if self._launcher is None or late < 0:
            return
        for child in self._children.values():
            if child.awaited_since is not None:
                child.awaited_since = now if late > LATE_SECONDS else None
        if late > LATE_SECONDS:
            return
        # Not waited for yet, so the pid is still its; its end is read from its socket like any other.
        os.kill(self._launcher.pid, signal.SIGKILL)

    def send(self, child: Child[F] | None, frame: F) -> None:
        """Send a frame to a child, if it is there."""
        if child is not None:
            self.send_bytes(child, self._framing.encode(frame))

    def send_bytes(self, child: Child[F], data: bytes) -> None:
        """Send an encoded frame to a child; one that takes nothing any more is killed."""
        link = child.link
        if link is None:
            return
        if link.send_bytes(data):
            self._watch(link)
        else:
            self.kill(child)

    def ask_to_stop(self, session: str, child: str, incarnation: int, farewell: F) -> None:
        """Send a child away, with this frame."""
        found = self.find(session, child, incarnation)
        if found is not None:
            found.leaving = True
            self.send(found, farewell)

    def kill(self, child: Child[F] | None) -> None:
        """Kill a child, at once or as soon as its process is known.

        One that has changed its user (`sudo`, say) is out of reach, and stays until it ends by itself.
        """
        if child is None:
            return
        child.kill_asked = True
        if child.pidfd >= 0:
            # It is dead already, and will be reported; or it is somebody else's, and the core will call it unkillable.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                signal.pidfd_send_signal(child.pidfd, signal.SIGKILL)
        elif child.pid and self._launcher is not None and child.server == self._server:
            self._launcher.kill(child.key, child.incarnation)

    def terminate(self, child: Child[F]) -> None:
        """Send a child and its process group a SIGTERM."""
        child.leaving = True
        if self._launcher is not None and child.server == self._server:  # else it is being killed with its server
            self._launcher.terminate(child.key, child.incarnation)

    def release(self) -> None:
        """End everything: links first (roles go, a runner ends its tasks and goes), then the fork server."""
        self._releasing = True
        children = tuple(self._children.values())
        for child in children:
            self._close_link(child)
        if self._launcher is not None:
            self._selector.unregister(self._launcher)
            self._launcher.stop()
            self._launcher = None
        for child in children:
            self._forget(child)

    # --- what became ready ---------------------------------------------------------------------------------------

    def ready(self, key: selectors.SelectorKey, events: int) -> None:
        """Handle one of our descriptors."""
        match key.data:
            case Launcher() as launcher:
                for message in launcher.read():
                    self._reported(message)
            case Link() as link:
                self._link_ready(link, events)
            case Child() as child:
                self._pidfd_ready(child)
            case _:
                raise TypeError(f"the fleet watches nothing like {key.data!r}")

    def _reported(self, message: Report) -> None:
        now = time.monotonic()
        match message:
            case Launched():
                self._launched(message)
            case LaunchFailed(child=key, incarnation=incarnation, error=error):
                child = self._named(key, incarnation)
                if child is not None:
                    self._forget(child)
                    self._owner.tell(child.session, told.SpawnFailed(now, child.id, incarnation, error))
            case ChildExited(child=key, incarnation=incarnation, status=status):
                child = self._named(key, incarnation)
                if child is not None:
                    self._exited(child, _reason(status))
            case StandbyReady(name=name, pid=pid):
                self._owner.standby(name, pid, None)
            case StandbyGone(name=name, pid=pid, status=status):
                self._owner.standby(name, pid, _reason(status))
            case ServerGone():
                self._server_gone()
            case _:
                assert_never(message)

    def _named(self, key: str, incarnation: int) -> Child[F] | None:
        child = self._children.get(key)
        return child if child is not None and child.incarnation == incarnation else None

    def _launched(self, message: Launched) -> None:
        child = self._named(message.child, message.incarnation)
        if child is None:
            if message.pidfd is not None:
                os.close(message.pidfd)
            return
        self._answered = True
        child.awaited_since = None
        child.pid = message.pid
        child.mark = message.mark
        if message.pidfd is not None:
            child.pidfd = message.pidfd
            self._selector.register(child.pidfd, selectors.EVENT_READ, child)
        self._owner.tell(child.session, told.Spawned(time.monotonic(), child.id, child.incarnation, child.pid))
        # A quick child may speak before the fork server has told of it: nobody hears of it before its process.
        held, child.held = child.held, []
        for frame in held:
            self._owner.received(child, frame)
        if child.link is None:
            self._owner.hung_up(child)
        if child.kill_asked:
            self.kill(child)

    def _server_gone(self) -> None:
        now = time.monotonic()
        if self._launcher is not None:
            self._selector.unregister(self._launcher)
            self._launcher.stop()
            self._launcher = None
        if self._releasing:
            return
        self._deaths = [*(at for at in self._deaths if now - at <= SERVER_PERIOD), now]
        if len(self._deaths) > SERVER_DEATHS:
            self._owner.server_lost(f"the fork server died {len(self._deaths)} times within {SERVER_PERIOD:.0f} s")
        try:
            self.start_server()
        except OSError as error:
            self._owner.server_lost(f"the fork server died, and no other can be started: {error}")
        for child in tuple(self._children.values()):
            # One without a pidfd dies with the fork server, or goes as its link closes: nobody will tell of its end.
            if child.dead_hint or (child.pid and child.pidfd < 0):
                self._exited_unreported(child)

    def _pidfd_ready(self, child: Child[F]) -> None:
        if child.pidfd < 0:
            return  # its end was reported in this very turn of the loop, before its pidfd had its turn
        self._selector.unregister(child.pidfd)
        child.dead_hint = True
        child.awaited_since = time.monotonic()
        if self._launcher is None or child.server != self._server:
            self._exited_unreported(child)

    def _exited_unreported(self, child: Child[F]) -> None:
        """Believe the pidfd: the fork server is gone, so nobody reports a child, nor ends what it left behind."""
        self._owner.orphaned(child)
        # Its exit status went to nobody, but who was asked to end and ended did as it was told.
        self._exited(child, Shutdown() if child.leaving else Unknown("the fork server died"))

    def _exited(self, child: Child[F], reason: ExitReason) -> None:
        last, _ = child.link.read() if child.link is not None else ([], True)
        for frame in (*child.held, *last):
            self._owner.received(child, frame)
        if child.link is not None:
            self._owner.hung_up(child)
        self._forget(child)
        self._owner.tell(child.session, told.Exited(time.monotonic(), child.id, child.incarnation, reason))

    def _forget(self, child: Child[F]) -> None:
        if self._children.get(child.key) is child:  # and not a later incarnation that nobody waited for
            del self._children[child.key]
        self._close_link(child)
        if child.pidfd >= 0:
            if not child.dead_hint:
                self._selector.unregister(child.pidfd)
            os.close(child.pidfd)
            child.pidfd = -1

    def _close_link(self, child: Child[F]) -> None:
        if child.link is not None:
            self._selector.unregister(child.link.sock)
            child.link.close()
            child.link = None

    def _link_ready(self, link: Link[F], events: int) -> None:
        child = self._children.get(link.child)
        if child is None or child.link is not link:
            return
        gone = bool(events & selectors.EVENT_WRITE) and not link.flush()
        if events & selectors.EVENT_READ:
            frames, ended = link.read(TURN_BYTES)
            if child.pid:
                for frame in frames:
                    self._owner.received(child, frame)
            else:
                child.held += frames
            gone = gone or ended
        if gone:
            self._close_link(child)
            if child.pid:
                self._owner.hung_up(child)
        else:
            self._watch(link)

    def _watch(self, link: Link[F]) -> None:
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if link.wants_to_write else 0)
        if self._selector.get_key(link.sock).events != wanted:
            self._selector.modify(link.sock, wanted, link)


def _reason(status: int) -> ExitReason:
    return from_wait(status, None) if status >= 0 else from_wait(None, -status)
