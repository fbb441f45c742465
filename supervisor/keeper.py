"""The keeper: the one thread that holds the processes of a tree of supervisors which has no journal.

What the hub is to a milestone, the keeper is to a service's own children: it owns the fork server, the links and the
pidfds, and stands between them and the supervisors' actors (:mod:`supervisor.branch`). Children are reached by their
path in the tree, ``child`` or ``supervisor/child``. What is said to the actors among them goes through
:mod:`supervisor.correspondence`.

A daemon thread in the supervising process; should that end without closing, the fork server sees its socket's end and
ends all that is below it. Refuses to know strategies, and what the children are for.
"""

from __future__ import annotations

import contextlib
import selectors
import signal
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Final

import attrs
import msgspec

from actors.dialogue import DIALOGUE, Answer, Beats, Broken, Declined, Fault, Leave, Pulse, Up, Word
from actors.problems import closest, did_you_mean, quoted
from supervisor import core_events as told
from supervisor.api_errors import ChildGoneError
from supervisor.branch import Branch, Place
from supervisor.core_effects import FailedToStart
from supervisor.correspondence import Correspondence
from supervisor.event_log import StandbyEnded, StandbyWaiting, SupervisorTroubled
from supervisor.exits import Crashed, Normal, Shutdown, ShutdownTerm, Unkillable
from supervisor.fleet import Child, Fleet
from supervisor.forked import MARK
from supervisor.gauge import Gauge
from supervisor.kept_child import CannotLaunchError, KeptChild, beat_seconds
from supervisor.lifecycle import UNKILLABLE_SECONDS
from supervisor.linux import SWEEP_SECONDS, find_marked, kill_until_gone
from supervisor.loop import Loop
from supervisor.question import Question
from supervisor.readiness import NotifySocket
from supervisor.shortage import failure_of, refusal, starting_threads
from supervisor.spec import ChildSpec, ChildType, Strategy, SupervisorFlags

if TYPE_CHECKING:
    from supervisor.core_effects import Ended, SupervisorEvent
    from supervisor.event_log import KeeperEvent
    from supervisor.exits import ExitReason

PRELOAD: Final = ("actors.child",)
"""Modules that the fork server imports in any case."""

_THREAD_SECONDS: Final = 5.0


@attrs.frozen
class Tree:
    """What a keeper keeps, and whom it tells.

    Attributes:
        flags: Of the root.
        specs: Of the root's children.
        preload: Modules and scripts that the fork server loads before it forks.
        output: Descriptor for what children print; ``None`` for standard error.
        publish: Is called with each public event, in a thread of the tree; must not block.
        started: Is called once all children are up.
        over: Is called last, with how the root ended, or with ``None`` and what broke.
    """

    flags: SupervisorFlags
    specs: tuple[ChildSpec, ...]
    preload: Sequence[str]
    output: int | None
    publish: Callable[[SupervisorEvent | KeeperEvent], None]
    started: Callable[[], None]
    over: Callable[[Ended | None, str], None]


class _BrokenError(Exception):
    """Supervision is broken: nothing may go on."""


class Keeper(threading.Thread):
    """The thread.

    Args:
        tree: What it keeps.

    Attributes:
        messages: To and from the actors among the children.
    """

    def __init__(self, tree: Tree) -> None:
        super().__init__(name="supervisor-keeper", daemon=True)
        self._tree = tree
        self._loop = Loop()
        self._fleet: Fleet[Word] = Fleet(
            self._loop.selector, DIALOGUE, (*PRELOAD, *tree.preload), self, tree.output, relative=True
        )
        self._branches: dict[str, Branch] = {}
        self._kept: dict[str, KeptChild] = {}
        self._numbers: dict[str, dict[str, int]] = {}
        self._spent: dict[str, str] = {}  # by supervisors that have ended; read in the threads of those above
        self.messages: Final = Correspondence(self._loop.call, self._fleet, self._kept, self._why_unavailable)
        self._gauge = Gauge(lambda seen: self.call(lambda: self._over_limit(seen)), self._troubled)
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

    def spent_below(self, path: str) -> str:
        """Say what has spent the budget of a supervisor when it ended last; ``""`` for one that ended otherwise."""
        return self._spent.get(path, "")

    def branch(self, path: str) -> Branch | None:
        """Return a supervisor of the tree that runs."""
        return self._branches.get(path)

    def close(self) -> None:
        """End everything, whatever state it is in."""
        self.call(self._begin_close)

    def disband(self) -> None:
        """Give everything back, instead of a start: there is no thread for it."""
        self._loop.close()

    def disown(self) -> None:
        """Let go of all descriptors, in a process that was forked from the keeper's: see :meth:`Loop.disown`."""
        self._loop.disown()

    @property
    def fork_server_pid(self) -> int:
        """Process id of the fork server, 0 without one."""
        return self._fleet.server_pid

    def _why_unavailable(self, child: str) -> str:
        """Say why nobody takes a message for a child."""
        if self._closing:
            return "its supervisor is ending"
        above, _, name = child.rpartition("/")
        if above not in self._branches:
            supervisors = [path for path in list(self._branches) if path]
            return f"there is no supervisor {quoted(above)} that runs{did_you_mean(closest(above, supervisors))}"
        if child in self._branches:
            return "is a supervisor: address one of its children"
        names = list(self._numbers.get(above, ()))
        if name not in names:
            meant = closest(name, names)
            path = self._branches[above].path_of(meant) if meant else None
            return f"there is no child of this name{did_you_mean(path)}"
        kept = self._kept.get(child)
        if kept is None:
            return "does not run"
        return "is no actor and takes no messages" if kept.ready else "is not ready to take a message yet"

    # --- the loop ------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Loop until the root has ended; in the keeper's thread."""
        failure = ""
        try:
            self._fleet.start_server()
            self._opened(Place(), self._tree.flags, self._tree.specs).tell(told.Begin(time.monotonic()))
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
        except Exception as error:  # noqa: BLE001 - a broken keeper must not leave a tree that looks alive
            failure = failure_of(error)
        finally:
            self._release(failure)

    def _begin_close(self) -> None:
        self._closing = True

    def _release(self, failure: str) -> None:
        self._closing = True
        self.messages.close_all()
        with contextlib.suppress(OSError):  # no descriptor, no memory: what is left ends with its links
            self._fleet.release()
        for branch in self._branches.values():
            branch.drop(failure or "the supervisor was closed")
        for kept in self._kept.values():
            self._let_go(kept, Shutdown())
        for call in self._loop.close():
            if isinstance(call, Question):
                call.refuse()
        self._gauge.stop()
        for thread in self._threads:
            thread.join(_THREAD_SECONDS)
        self._tree.over(self._end, failure)

    # --- what the supervisors ask for ----------------------------------------------------------------------------

    def _heeds(self, branch: Branch) -> bool:
        """Tell whether a supervisor runs: what one that was killed asks for would be done to who has its place."""
        return self._branches.get(branch.path) is branch and not branch.dropped

    def spawn(self, branch: Branch, spec: ChildSpec, incarnation: int, last_exit: ExitReason | None) -> None:
        """Start an incarnation of a child: a process, or a supervisor."""
        if not self._heeds(branch):
            return
        self._numbers.setdefault(branch.path, {})[spec.id] = incarnation
        if spec.type is ChildType.SUPERVISOR:
            self._spawn_supervisor(branch, spec, incarnation)
            return
        kept = KeptChild(branch, spec, incarnation)
        if (former := self._kept.get(kept.path)) is not None:  # it could not be killed, and its supervisor ended so
            self._fleet.leave_behind(branch.path, spec.id)
            self._gone(former, Unkillable(UNKILLABLE_SECONDS))
        self._kept[kept.path] = kept
        try:
            variables = kept.prepare(self._tree.output, lambda said: self.call(lambda: self._ready(kept, said)))
        except CannotLaunchError as error:
            self.tell(branch.path, told.SpawnFailed(time.monotonic(), spec.id, incarnation, str(error)))
            return
        if kept.notify is not None:
            self._loop.selector.register(kept.notify, selectors.EVENT_READ, kept.notify)
        prints_to = None if kept.relay is None else kept.relay.writing
        entry, args = kept.launch(last_exit, variables)
        simple = branch.flags.strategy is Strategy.SIMPLE_ONE_FOR_ONE
        standby = branch.path_of(spec.id.rpartition("#")[0]) if simple else kept.path
        self._fleet.spawn(
            branch.path, spec.id, incarnation, entry, args, role=True, prints_to=prints_to, standby=standby
        )
        if kept.relay is not None:
            kept.relay.handed_over()
            self._keep_thread(kept.relay.thread)

    def _spawn_supervisor(self, branch: Branch, spec: ChildSpec, incarnation: int) -> None:
        place = Place(branch, spec.id, incarnation)
        try:
            below = self._opened(place, spec.flags or SupervisorFlags(), spec.children)
        except OSError as error:  # this one cannot start, the others go on
            branch.tell(told.SpawnFailed(time.monotonic(), spec.id, incarnation, refusal(error)))
            return
        branch.tell(told.Spawned(time.monotonic(), spec.id, incarnation, None))
        below.tell(told.Begin(time.monotonic()))

    def keep_standby(self, branch: Branch, name: str, spec: ChildSpec | None) -> None:
        """Have processes wait in advance for a child, or a template, as its spec says; for none without one."""
        runs = self._heeds(branch) and not branch.flags.strict
        count = spec.standby if runs and spec is not None else 0
        load = spec.target.rpartition(":")[0] if spec is not None and count else ""
        self._fleet.keep_standby(branch.path_of(name), count, load)

    def ask_to_stop(self, branch: Branch, child: str, incarnation: int) -> None:
        """Ask an incarnation to end in order."""
        if not self._heeds(branch):
            return
        path = branch.path_of(child)
        below = self._branches.get(path)
        process = self._fleet.find(branch.path, child, incarnation)
        if below is not None:
            below.tell(told.Stop(time.monotonic(), 0))
        elif self.messages.is_open(path, incarnation):
            self._fleet.ask_to_stop(branch.path, child, incarnation, Leave())
        elif process is not None:
            self._fleet.terminate(process)

    def kill(self, branch: Branch, child: str, incarnation: int) -> None:
        """Kill an incarnation: a process, or all processes below a supervisor."""
        if not self._heeds(branch):
            return
        below = self._branches.get(branch.path_of(child))
        if below is not None:
            self._drop(below)
        else:
            self._fleet.kill(self._fleet.find(branch.path, child, incarnation))

    def set_tick(self, branch: Branch, mono: float) -> None:
        """Have a supervisor told of a moment."""
        if self._heeds(branch):
            self._loop.set_alarm(("tick", branch.path), mono, lambda: branch.tell(told.Tick(time.monotonic())))

    def take_specs(self, branch: Branch, flags: SupervisorFlags, specs: Sequence[ChildSpec]) -> None:
        """Let changed flags and specs act on processes that run already."""
        branch.flags = flags
        for spec in specs:
            self._numbers.setdefault(branch.path, {}).setdefault(spec.id, 0)
            kept = self._kept.get(branch.path_of(spec.id))
            if kept is not None:
                kept.spec = spec
                self._measure(kept)
                self.messages.send(kept.path, kept.incarnation, Beats(beat_seconds(spec, flags)))
            if flags.strategy is Strategy.SIMPLE_ONE_FOR_ONE or (kept is not None and kept.ready):
                self.keep_standby(branch, spec.id, spec)

    def forget(self, branch: Branch, children: Iterable[str]) -> None:
        """Take in that a supervisor has no such children any more: nobody counts their incarnations."""
        for child in children:
            path = branch.path_of(child)
            if child in branch.given or path in self._kept or path in self._branches:
                continue
            self._numbers.get(branch.path, {}).pop(child, None)
            for below in [one for one in self._numbers if one == path or one.startswith(f"{path}/")]:
                del self._numbers[below]
            self._spent.pop(path, None)

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
        if branch.place.parent is None:
            self._end = end
            self._closing = True
        self._forget_branch(branch)
        if branch.place.parent is None:
            return
        self._spent[branch.path] = end.detail
        failed = isinstance(end.reason, FailedToStart)
        self._tell_end(branch, ShutdownTerm(str(end.reason)) if failed else Shutdown())

    def _opened(self, place: Place, flags: SupervisorFlags, specs: tuple[ChildSpec, ...]) -> Branch:
        """Make a supervisor, which is then to be told to begin.

        Raises:
            OSError: The system refuses it a thread.
        """
        with starting_threads():
            branch = Branch(self, place, flags, specs, self._numbers.get(place.path, {}))
        self._branches[branch.path] = branch
        return branch

    def _forget_branch(self, branch: Branch) -> None:
        del self._branches[branch.path]
        self.forget(branch, tuple(self._numbers.get(branch.path, ())))
        for path in self._fleet.standbys():
            if path.rpartition("/")[0] == branch.path:
                self._fleet.keep_standby(path, 0)
        if branch.thread is not None:
            self._keep_thread(branch.thread)

    def _keep_thread(self, thread: threading.Thread) -> None:
        """Remember a thread that is to be over before everything is."""
        self._threads = [one for one in (*self._threads, thread) if one.is_alive()]

    def _tell_end(self, branch: Branch, reason: ExitReason) -> None:
        place = branch.place
        if place.parent is not None:
            place.parent.tell(told.Exited(time.monotonic(), place.child, place.incarnation, reason))

    def _drop(self, branch: Branch) -> None:
        """Kill everything below a supervisor; its end is told when nothing is left."""
        for one in self._below(branch):
            one.drop("the supervisor was killed")
        for kept in self._kept.values():
            if kept.branch.dropped:
                self._fleet.kill(self._fleet.find(kept.branch.path, kept.spec.id, kept.incarnation))
        self._settle_dropped()

    def _settle_dropped(self) -> None:
        """Tell the end of each killed supervisor below which nothing is left."""
        for branch in [one for one in self._branches.values() if one.dropped]:
            parent = branch.place.parent
            top = parent is None or not parent.dropped
            if top and not any(self._is_below(kept.branch, branch) for kept in self._kept.values()):
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
        kept = self._kept[f"{session}/{child}" if session else child]
        match message:
            case told.Exited(at=at, incarnation=incarnation, reason=reason):
                self._gone(kept, reason)
                message = msgspec.structs.replace(message, reason=kept.explain(reason))
                if kept.declined and isinstance(reason, Normal):
                    message = told.Ignored(at, child, incarnation)
            case told.SpawnFailed(error=error):
                self._gone(kept, Crashed(code=1, error=error))
            case told.Spawned():
                kept.spawned = True
            case _:
                pass
        kept.branch.tell(message)
        if kept.spawned and kept.early is not None:
            self._ready(kept, *kept.early)
        if kept.branch.dropped:
            self._settle_dropped()

    def received(self, child: Child[Word], frame: Word) -> None:
        """Take a word of a child."""
        now = time.monotonic()
        path = child.key.removeprefix("/")
        kept = self._kept[path]
        match frame:
            case Up(mailbox=mailbox, info=info):
                if child.gets_ready():
                    if mailbox and child.link is not None:
                        self.messages.open(path, child.incarnation, child.link)
                    self._ready(kept, info)
            case Pulse():
                if child.beats(now):
                    kept.branch.tell(told.Beat(now, child.id, child.incarnation))
            case Answer(ticket=ticket, body=body):
                self.messages.answered(kept, ticket, body)
            case Fault(ticket=ticket, kind=kind, text=text):
                self.messages.failed(kept, ticket, kind, text)
            case Broken(error=error):
                kept.error = error
            case Declined():
                kept.declined = True
            case _:
                self._fleet.kill(child)  # no child says these: it does not speak our protocol

    def hung_up(self, child: Child[Word]) -> None:
        """See a program executed: its link closes with that."""
        path = child.key.removeprefix("/")
        kept = self._kept[path]
        program = kept.spec.program
        if program is None or kept.says_ready or kept.error:
            return

        if program.start_seconds:
            moment = time.monotonic() + program.start_seconds
            self._loop.set_alarm(("ready", path), moment, lambda: self._ready(kept))
        else:
            self._ready(kept)

    def orphaned(self, child: Child[Word]) -> None:
        """End what a child has left behind that died with its fork server."""
        kill_until_gone(lambda: find_marked(MARK, child.mark), SWEEP_SECONDS)

    def standby(self, name: str, pid: int, ended: ExitReason | None) -> None:
        """Make public that a process waits in advance, or that one has ended."""
        now = time.monotonic()
        self._tree.publish(StandbyWaiting(now, name, pid) if ended is None else StandbyEnded(now, name, pid, ended))

    def server_lost(self, reason: str) -> None:
        """Give up."""
        raise _BrokenError(reason)

    def _notified(self, notify: NotifySocket) -> None:
        kept = self._kept.get(notify.child)
        if kept is None or kept.notify is not notify:
            return  # it was closed in this very turn
        said, now = notify.read(), time.monotonic()
        if said.ready:
            self._ready(kept, said.status or None)
        process = self._fleet.find(kept.branch.path, kept.spec.id, kept.incarnation)
        if said.alive and process is not None and process.beats(now):
            kept.branch.tell(told.Beat(now, kept.spec.id, kept.incarnation))

    def _ready(self, kept: KeptChild, info: object = None) -> None:
        """Take in that a child is ready; of its process the supervisor hears first."""
        if kept.ready or self._kept.get(kept.path) is not kept:
            return  # it says so again, after a reload say; or it has ended before we have heard of it
        if not kept.spawned:
            kept.early = (info,)
            return
        kept.early = None
        kept.ready = True
        kept.branch.tell(told.Ready(time.monotonic(), kept.spec.id, kept.incarnation, info))
        self._measure(kept)

    # --- limits --------------------------------------------------------------------------------------------------

    def _measure(self, kept: KeptChild) -> None:
        """Have a child measured if it has limits, by those that it has now."""
        path, limits = kept.branch.path_of(kept.spec.id), kept.spec.limits
        if not limits or not kept.ready or kept.branch.flags.strict:
            self._gauge.drop(path, kept.incarnation)
            return
        identity = self._fleet.identity(kept.branch.path, kept.spec.id, kept.incarnation)
        if identity is not None:
            self._gauge.follow(path, kept.incarnation, identity, limits)

    def _troubled(self, reason: str) -> None:
        """Say, in whatever thread, that something is not looked after as it should be; everything goes on."""
        self._tree.publish(SupervisorTroubled(time.monotonic(), reason))

    def _over_limit(self, seen: told.OverLimitSeen) -> None:
        kept = self._kept.get(seen.child)
        if kept is not None:
            kept.branch.tell(msgspec.structs.replace(seen, child=kept.spec.id))

    # --- the end of a child --------------------------------------------------------------------------------------

    def _gone(self, kept: KeptChild, reason: ExitReason) -> None:
        self.messages.close(kept.path)
        del self._kept[kept.path]
        self._gauge.drop(kept.path, kept.incarnation)
        self._let_go(kept, kept.explain(reason))

    def _let_go(self, kept: KeptChild, reason: ExitReason) -> None:
        """Give back what was opened for a child that is no more, and fail who waits for its answers."""
        if kept.notify is not None:
            self._loop.selector.unregister(kept.notify)
            kept.notify.close()
        if kept.relay is not None:
            kept.relay.end()
        kept.fail_asks(lambda: ChildGoneError(kept.path, reason))
