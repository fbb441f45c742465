"""The keeper: the one thread that holds the processes of a tree of supervisors which has no journal.

What the hub is to a milestone, the keeper is to a service's own children: it owns the fork server, the links and the
pidfds, and stands between them and the supervisors' actors (:mod:`supervisor.branch`). Children are reached by their
path in the tree, ``child`` or ``supervisor/child``. Messages go over the links as JSON, each at most once: who is
asked and ends before it has answered fails the question.

A daemon thread in the supervising process; should that end without closing, the fork server sees its socket's end and
ends all that is below it. Refuses to know strategies, and what the children are for.
"""

from __future__ import annotations

import contextlib
import selectors
import signal
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Final

import attrs
import msgspec

from actors.dialogue import DIALOGUE, Answer, Ask, Beats, Broken, Declined, Fault, Leave, Pulse, Tell, Up, Word
from supervisor import core_events as told
from supervisor.api_errors import AnswerError, ChildGoneError, ChildUnavailableError
from supervisor.branch import Branch, Place, settle
from supervisor.core_effects import FailedToStart
from supervisor.exits import Crashed, Normal, Shutdown, ShutdownTerm, describe
from supervisor.fleet import Child, Fleet
from supervisor.forked import MARK
from supervisor.gauge import Gauge
from supervisor.linux import SWEEP_SECONDS, find_marked, kill_until_gone
from supervisor.loop import Loop
from supervisor.readiness import NotifySocket
from supervisor.shortage import refusal
from supervisor.spec import ChildSpec, ChildType, SupervisorFlags

if TYPE_CHECKING:
    from supervisor.core_effects import Ended, SupervisorEvent
    from supervisor.exits import ExitReason

PRELOAD: Final = ("actors.child",)
"""Modules that the fork server imports in any case."""

LOOKS: Final = 4
"""Heartbeats within a heartbeat timeout."""

_THREAD_SECONDS: Final = 5.0


@attrs.define
class _Hosted:
    """A child that has a process, or is to have one."""

    branch: Branch
    spec: ChildSpec
    incarnation: int
    notify: NotifySocket | None = None
    ready: bool = False
    error: str = ""
    declined: bool = False
    asks: dict[int, Future[Any]] = attrs.Factory(dict)


@attrs.frozen
class Tree:
    """What a keeper keeps, and whom it tells.

    Attributes:
        flags: Of the root.
        specs: Of the root's children.
        preload: Modules and scripts that the fork server loads before it forks.
        output: Descriptor for what children print; ``None`` for standard error.
        publish: Is called with each public event, in a supervisor's thread; must not block.
        started: Is called once all children are up.
        over: Is called last, with how the root ended, or with ``None`` and what broke.
    """

    flags: SupervisorFlags
    specs: tuple[ChildSpec, ...]
    preload: Sequence[str]
    output: int | None
    publish: Callable[[SupervisorEvent], None]
    started: Callable[[], None]
    over: Callable[[Ended | None, str], None]


class _BrokenError(Exception):
    """Supervision is broken: nothing may go on."""


class Keeper(threading.Thread):
    """The thread.

    Args:
        tree: What it keeps.
    """

    def __init__(self, tree: Tree) -> None:
        super().__init__(name="supervisor-keeper", daemon=True)
        self._tree = tree
        self._loop = Loop()
        self._fleet: Fleet[Word] = Fleet(self._loop.selector, DIALOGUE, (*PRELOAD, *tree.preload), self, tree.output)
        self._branches: dict[str, Branch] = {}
        self._hosted: dict[str, _Hosted] = {}
        self._mailboxes: dict[str, int] = {}
        self._numbers: dict[str, dict[str, int]] = {}
        self._gauge = Gauge(lambda seen: self.call(lambda: self._over_limit(seen)), self.give_up)
        self._tickets = 0
        self._threads: list[threading.Thread] = []
        self._end: Ended | None = None
        self._closing = False

    # --- from other threads --------------------------------------------------------------------------------------

    def call(self, function: Callable[[], None]) -> None:
        """Have a function run in the keeper's thread, soon; never blocks."""
        self._loop.call(function)

    def publish(self, event: SupervisorEvent) -> None:
        """Make an event public."""
        self._tree.publish(event)

    def give_up(self, reason: str) -> None:
        """End everything at once, because supervision itself is broken."""

        def fail() -> None:
            raise _BrokenError(reason)

        self.call(fail)

    def branch(self, path: str) -> Branch | None:
        """Return a supervisor of the tree that runs."""
        return self._branches.get(path)

    def tell_child(self, child: str, body: bytes) -> None:
        """Send a message to an actor; at most once, and it is not answered.

        Raises:
            ChildUnavailableError: There is no actor to take it.
        """
        incarnation = self._mailbox(child)

        def send() -> None:
            self._send(child, incarnation, Tell(msgspec.Raw(body)))

        self.call(send)

    def ask_child(self, child: str, body: bytes) -> Future[Any]:
        """Send a message to an actor, and return its answer, or why there is none.

        Raises:
            ChildUnavailableError: There is no actor to take it.
        """
        incarnation = self._mailbox(child)
        future: Future[Any] = Future()
        self.call(lambda: self._ask(child, incarnation, body, future))
        return future

    def close(self) -> None:
        """End everything, whatever state it is in."""
        self.call(self._begin_close)

    def disown(self) -> None:
        """Let go of all descriptors, in a process that was forked from the keeper's: see :meth:`Loop.disown`."""
        self._loop.disown()

    @property
    def fork_server_pid(self) -> int:
        """Process id of the fork server, 0 without one."""
        return self._fleet.server_pid

    def _mailbox(self, child: str) -> int:
        incarnation = self._mailboxes.get(child)
        if incarnation is None:
            raise ChildUnavailableError(child, "has no actor that is ready to take a message")
        return incarnation

    # --- the loop ------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Loop until the root has ended; in the keeper's thread."""
        failure = ""
        try:
            self._fleet.start_server()
            self._open(Place(), self._tree.flags, self._tree.specs)
            while not self._closing:
                for key, events in self._loop.wait(self._fleet.due):
                    if isinstance(key.data, NotifySocket):
                        self._notified(key.data)
                    else:
                        self._fleet.ready(key, events)
                self._loop.run_calls()
                self._fleet.look()
                self._loop.ring()
        except _BrokenError as error:
            failure = str(error)
        except OSError as error:
            failure = f"the system refused what supervision needs: {error}"
        except Exception as error:  # noqa: BLE001 - a broken keeper must not leave a tree that looks alive
            failure = f"broken invariant: {type(error).__name__}: {error}\n{traceback.format_exc()}"
        finally:
            self._release(failure)

    def _begin_close(self) -> None:
        self._closing = True

    def _release(self, failure: str) -> None:
        self._mailboxes.clear()
        with contextlib.suppress(OSError):  # no descriptor, no memory: what is left ends with its links
            self._fleet.release()
        for branch in self._branches.values():
            branch.drop(failure or "the supervisor was closed")
        for hosted in self._hosted.values():
            self._fail_asks(hosted, Shutdown())
            self._close_notify(hosted)
        self._loop.close()
        self._gauge.stop()
        for thread in self._threads:
            thread.join(_THREAD_SECONDS)
        self._tree.over(self._end, failure)

    # --- what the supervisors ask for ----------------------------------------------------------------------------

    def spawn(self, branch: Branch, spec: ChildSpec, incarnation: int, last_exit: ExitReason | None) -> None:
        """Start an incarnation of a child: a process, or a supervisor."""
        if branch.dropped:
            return
        self._numbers.setdefault(branch.path, {})[spec.id] = incarnation
        if spec.type is ChildType.SUPERVISOR:
            branch.tell(told.Spawned(time.monotonic(), spec.id, incarnation, None))
            self._open(Place(branch, spec.id, incarnation), spec.flags or SupervisorFlags(), spec.children)
            return
        hosted = _Hosted(branch, spec, incarnation)
        self._hosted[branch.path_of(spec.id)] = hosted
        entry, args = _launch(spec, incarnation, last_exit, branch.flags)
        if spec.program is not None and spec.program.notify:
            try:
                args = {**args, "env": {**spec.program.env, **self._open_notify(hosted)}}
            except OSError as error:  # no descriptor is left: this child cannot start, the others go on
                self.tell(branch.path, told.SpawnFailed(time.monotonic(), spec.id, incarnation, refusal(error)))
                return
        self._fleet.spawn(branch.path, spec.id, incarnation, entry, args, role=True)

    def ask_to_stop(self, branch: Branch, child: str, incarnation: int) -> None:
        """Ask an incarnation to end in order."""
        path = branch.path_of(child)
        below = self._branches.get(path)
        process = self._fleet.find(branch.path, child, incarnation)
        if below is not None:
            below.tell(told.Stop(time.monotonic(), 0))
        elif self._mailboxes.get(path) == incarnation:
            self._fleet.ask_to_stop(branch.path, child, incarnation, Leave())
        elif process is not None:
            self._fleet.terminate(process)

    def kill(self, branch: Branch, child: str, incarnation: int) -> None:
        """Kill an incarnation: a process, or all processes below a supervisor."""
        below = self._branches.get(branch.path_of(child))
        if below is not None:
            self._drop(below)
        else:
            self._fleet.kill(self._fleet.find(branch.path, child, incarnation))

    def set_tick(self, branch: Branch, mono: float) -> None:
        """Have a supervisor told of a moment."""
        self._loop.set_alarm(("tick", branch.path), mono, lambda: branch.tell(told.Tick(time.monotonic())))

    def take_specs(self, branch: Branch, flags: SupervisorFlags, specs: Sequence[ChildSpec]) -> None:
        """Let changed flags and specs act on processes that run already."""
        branch.flags = flags
        for spec in specs:
            hosted = self._hosted.get(branch.path_of(spec.id))
            if hosted is not None:
                hosted.spec = spec
                self._measure(hosted)
                self._send(branch.path_of(spec.id), hosted.incarnation, Beats(_beat_seconds(spec, flags)))

    def started(self, branch: Branch) -> None:
        """Take in that all children of a supervisor are up."""
        parent = branch.place.parent
        if parent is None:
            self._tree.started()
        else:
            parent.tell(told.Ready(time.monotonic(), branch.place.child, branch.place.incarnation))

    def ended(self, branch: Branch, end: Ended) -> None:
        """Take in that a supervisor has ended, and no child of it lives."""
        if branch.dropped:
            return
        self._forget_branch(branch)
        if branch.place.parent is None:
            self._end = end
            self._closing = True
            return
        failed = isinstance(end.reason, FailedToStart)
        self._tell_end(branch, ShutdownTerm(str(end.reason)) if failed else Shutdown())

    def _open(self, place: Place, flags: SupervisorFlags, specs: tuple[ChildSpec, ...]) -> None:
        branch = Branch(self, place, flags, specs, self._numbers.get(place.path, {}))
        self._branches[branch.path] = branch
        branch.tell(told.Begin(time.monotonic()))

    def _forget_branch(self, branch: Branch) -> None:
        del self._branches[branch.path]
        if branch.thread is not None:
            self._threads = [thread for thread in (*self._threads, branch.thread) if thread.is_alive()]

    def _tell_end(self, branch: Branch, reason: ExitReason) -> None:
        place = branch.place
        if place.parent is not None:
            place.parent.tell(told.Exited(time.monotonic(), place.child, place.incarnation, reason))

    def _drop(self, branch: Branch) -> None:
        """Kill everything below a supervisor; its end is told when nothing is left."""
        for one in self._below(branch):
            one.drop("the supervisor was killed")
        for hosted in self._hosted.values():
            if hosted.branch.dropped:
                self._fleet.kill(self._fleet.find(hosted.branch.path, hosted.spec.id, hosted.incarnation))
        self._settle_dropped()

    def _settle_dropped(self) -> None:
        """Tell the end of each killed supervisor below which nothing is left."""
        for branch in [one for one in self._branches.values() if one.dropped]:
            parent = branch.place.parent
            top = parent is None or not parent.dropped
            if top and not any(self._is_below(hosted.branch, branch) for hosted in self._hosted.values()):
                for one in self._below(branch):
                    self._forget_branch(one)
                self._tell_end(branch, Crashed(signal=int(signal.SIGKILL)))

    def _below(self, branch: Branch) -> list[Branch]:
        return [one for one in self._branches.values() if self._is_below(one, branch)]

    @staticmethod
    def _is_below(one: Branch, top: Branch) -> bool:
        return one is top or one.path.startswith(f"{top.path}/")

    # --- what the fleet tells (the protocol fleet.Owner) ---------------------------------------------------------

    def tell(self, session: str, message: told.Event) -> None:
        """Pass on what happened to a process, its end with what it had to say."""
        child = getattr(message, "child", "")
        hosted = self._hosted[f"{session}/{child}" if session else child]
        match message:
            case told.Exited(at=at, incarnation=incarnation, reason=reason):
                self._gone(hosted, reason)
                message = attrs.evolve(message, reason=_explained(hosted, reason))
                if hosted.declined and isinstance(reason, Normal):
                    message = told.Ignored(at, child, incarnation)
            case told.SpawnFailed(error=error):
                self._gone(hosted, Crashed(code=1, error=error))
            case _:
                pass
        hosted.branch.tell(message)
        if hosted.branch.dropped:
            self._settle_dropped()

    def received(self, child: Child[Word], frame: Word) -> None:
        """Take a word of a child."""
        now = time.monotonic()
        path = child.key.removeprefix("/")
        hosted = self._hosted[path]
        match frame:
            case Up(mailbox=mailbox):
                if mailbox:
                    self._mailboxes[path] = child.incarnation
                self._ready(hosted)
            case Pulse():
                hosted.branch.tell(told.Beat(now, child.id, child.incarnation))
            case Answer(ticket=ticket, body=body):
                if (future := hosted.asks.pop(ticket, None)) is not None:
                    settle(future, msgspec.json.decode(body))
            case Fault(ticket=ticket, kind=kind, text=text):
                if (future := hosted.asks.pop(ticket, None)) is not None:
                    settle(future, error=AnswerError(path, kind, text))
            case Broken(error=error):
                hosted.error = error
            case Declined():
                hosted.declined = True
            case _:
                self._fleet.kill(child)  # no child says these: it does not speak our protocol

    def hung_up(self, child: Child[Word]) -> None:
        """See a program executed: its link closes with that."""
        path = child.key.removeprefix("/")
        hosted = self._hosted[path]
        program = hosted.spec.program
        if program is None or program.notify or hosted.error:
            return

        def ready() -> None:
            if self._hosted.get(path) is hosted:
                self._ready(hosted)

        if program.start_seconds:
            self._loop.set_alarm(("ready", path), time.monotonic() + program.start_seconds, ready)
        else:
            ready()

    def orphaned(self, child: Child[Word]) -> None:
        """End what a child has left behind that died with its fork server."""
        kill_until_gone(lambda: find_marked(MARK, child.mark), SWEEP_SECONDS)

    def server_lost(self, reason: str) -> None:
        """Give up."""
        raise _BrokenError(reason)

    def _open_notify(self, hosted: _Hosted) -> Mapping[str, str]:
        hosted.notify = NotifySocket(hosted.branch.path_of(hosted.spec.id), hosted.incarnation)
        self._loop.selector.register(hosted.notify, selectors.EVENT_READ, hosted.notify)
        strict = hosted.branch.flags.strict
        return hosted.notify.environment(None if strict else hosted.spec.heartbeat_timeout)

    def _notified(self, notify: NotifySocket) -> None:
        hosted = self._hosted.get(notify.child)
        if hosted is None or hosted.notify is not notify:
            return  # it was closed in this very turn
        said, now = notify.read(), time.monotonic()
        if said.ready:
            self._ready(hosted)
        if said.alive:
            hosted.branch.tell(told.Beat(now, hosted.spec.id, hosted.incarnation))

    def _ready(self, hosted: _Hosted) -> None:
        hosted.ready = True
        hosted.branch.tell(told.Ready(time.monotonic(), hosted.spec.id, hosted.incarnation))
        self._measure(hosted)

    # --- limits --------------------------------------------------------------------------------------------------

    def _measure(self, hosted: _Hosted) -> None:
        """Have a child measured if it has limits, by those that it has now."""
        path, limits = hosted.branch.path_of(hosted.spec.id), hosted.spec.limits
        if not limits or not hosted.ready or hosted.branch.flags.strict:
            self._gauge.drop(path, hosted.incarnation)
            return
        identity = self._fleet.identity(hosted.branch.path, hosted.spec.id, hosted.incarnation)
        if identity is not None:
            self._gauge.follow(path, hosted.incarnation, identity, limits)

    def _over_limit(self, seen: told.OverLimitSeen) -> None:
        hosted = self._hosted.get(seen.child)
        if hosted is not None:
            hosted.branch.tell(attrs.evolve(seen, child=hosted.spec.id))

    # --- messages ------------------------------------------------------------------------------------------------

    def _send(self, path: str, incarnation: int, word: Word) -> bool:
        hosted = self._hosted.get(path)
        if hosted is None or hosted.incarnation != incarnation:
            return False
        process = self._fleet.find(hosted.branch.path, hosted.spec.id, incarnation)
        if process is None or process.link is None:
            return False
        self._fleet.send(process, word)
        return True

    def _ask(self, path: str, incarnation: int, body: bytes, future: Future[Any]) -> None:
        self._tickets += 1
        if not self._send(path, incarnation, Ask(self._tickets, msgspec.Raw(body))):
            settle(future, error=ChildGoneError(path, None))
            return
        asks = self._hosted[path].asks
        for ticket in [ticket for ticket, one in asks.items() if one.cancelled()]:
            del asks[ticket]
        asks[self._tickets] = future

    def _gone(self, hosted: _Hosted, reason: ExitReason) -> None:
        path = hosted.branch.path_of(hosted.spec.id)
        self._mailboxes.pop(path, None)
        del self._hosted[path]
        self._close_notify(hosted)
        self._gauge.drop(path, hosted.incarnation)
        self._fail_asks(hosted, _explained(hosted, reason))

    def _close_notify(self, hosted: _Hosted) -> None:
        if hosted.notify is not None:
            self._loop.selector.unregister(hosted.notify)
            hosted.notify.close()

    def _fail_asks(self, hosted: _Hosted, reason: ExitReason) -> None:
        path = hosted.branch.path_of(hosted.spec.id)
        for future in hosted.asks.values():
            settle(future, error=ChildGoneError(path, reason))
        hosted.asks.clear()


def _launch(
    spec: ChildSpec, incarnation: int, last_exit: ExitReason | None, flags: SupervisorFlags
) -> tuple[str, Mapping[str, object]]:
    """Return the entry of a child's process, and its arguments."""
    if spec.program is not None:
        program = spec.program
        return "actors.child:execute", {
            "argv": program.argv,
            "cwd": program.cwd,
            "env": program.env,
            "output": program.output,
        }
    return "actors.child:main", {
        "target": spec.target,
        "args": spec.args,
        "incarnation": incarnation,
        "last_exit": "" if last_exit is None else describe(last_exit),
        "beat_seconds": _beat_seconds(spec, flags),
    }


def _beat_seconds(spec: ChildSpec, flags: SupervisorFlags) -> float | None:
    timeout = None if flags.strict else spec.heartbeat_timeout
    return None if timeout is None else timeout / LOOKS


def _explained(hosted: _Hosted, reason: ExitReason) -> ExitReason:
    """Return why a child ended, with its success codes and its last word."""
    code = reason.code if isinstance(reason, Normal | Crashed) else None
    if code is not None and hosted.spec.program is not None:
        reason = Normal(code) if code in hosted.spec.program.success_codes else Crashed(code=code)
    if isinstance(reason, Crashed) and hosted.error:
        return attrs.evolve(reason, error=hosted.error)
    return reason
