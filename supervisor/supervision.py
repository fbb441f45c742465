"""A tree of supervisors in this process, for whoever waits in whatever way: every request returns a future.

:class:`~supervisor.embedding.Supervisor` waits in threads, :class:`~supervisor.embedding_async.AsyncSupervisor` in an
event loop; both stand on this. Owns the life of the keeper, the paths, and what becomes of a tree in a process that was
forked from its own. Refuses to wait.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Final, TypeVar

import attrs

from actors import plain
from actors.targets import is_script, loading
from supervisor import core_events as told
from supervisor.api_errors import MessageError, NotRunningError, RefusedError, StartError, SupervisionError
from supervisor.branch import settle
from supervisor.callback import call_with_each, check_callback
from supervisor.core_effects import Ended, FailedToStart, Refusal, Refused, SupervisorStarted
from supervisor.event_log import EventLog, KeeperEvent, PublicEvent, SupervisorFailed
from supervisor.keeper import Keeper, Tree
from supervisor.shortage import refusal, starting_threads
from supervisor.spec import ChildSpec, SupervisorFlags, check_flags, check_specs
from supervisor.spec_checks import require
from supervisor.tree_check import check_args, check_path, check_tree, preload_of

if TYPE_CHECKING:
    from supervisor.branch import Branch
    from supervisor.core import Core
    from supervisor.core_effects import Done, Started, SupervisorEvent
    from supervisor.roster import ChildRow

T = TypeVar("T")

OnEvent = Callable[[PublicEvent], object]
"""What is called with each event, in the host's process and in a thread of its own, which nothing else waits for."""

_ALIVE: Final[weakref.WeakSet[Supervision]] = weakref.WeakSet()


@attrs.frozen(kw_only=True)
class Hosting:
    """How a tree lives in its host.

    Attributes:
        on_event: Is called with each public event, one after the other, in a thread of its own.
        preload: Modules, and scripts by absolute path, that are loaded once and shared by all children; ``None`` for
            those in which the targets stand.
        output: Descriptor for what children print, open as long as the supervisor; ``None`` for standard error.
    """

    on_event: OnEvent | None = None
    preload: Sequence[str] | None = None
    output: int | None = None


def check_hosting(hosting: Hosting) -> None:
    """Refuse what a tree could not live with.

    Raises:
        SpecError: A field is of another kind.
    """
    owner, preload, output = "supervisor", hosting.preload, hosting.output
    check_callback(owner, hosting.on_event)
    listed = preload is None or (isinstance(preload, Sequence) and not isinstance(preload, str))
    named = listed and all(isinstance(name, str) and name for name in preload or ())
    why = "must be a list of names of modules, or absolute paths of scripts, as in preload=['package.module']"
    require(owner, "preload", preload, ok=named, why=why)
    why = "must be the number of a descriptor, as that of an open file: file.fileno()"
    require(owner, "output", output, ok=output is None or (type(output) is int and output >= 0), why=why)


class Supervision:
    """A tree of supervisors.

    Args:
        children: Of the root, in start order.
        flags: Of the root.
        hosting: How it lives here.

    Attributes:
        log: Its last events.
        started: Is done when all children are up, or fails with :class:`StartError`.
        over: Is done when nothing is left of it: with how it ended, or with :class:`NotRunningError` if it failed.

    Raises:
        SpecError: A spec, or the flags, cannot be kept.
    """

    def __init__(self, children: Iterable[ChildSpec], flags: SupervisorFlags, hosting: Hosting) -> None:
        check_hosting(hosting)
        self._preload = tuple(hosting.preload or ())
        specs = check_tree(check_specs(flags, children), self._preload)
        self.log = EventLog()
        self.started: Future[None] = Future()
        self.over: Future[Ended] = Future()
        self._pid = os.getpid()
        self._caller: threading.Thread | None = None
        self._end: Ended | None = None
        self._on_event = hosting.on_event
        self._lock = threading.Lock()  # of the two below
        self._begun = False
        self._why_not = "the supervisor was not started"
        preload = preload_of(specs) if hosting.preload is None else self._preload
        self._spec = Tree(flags, specs, preload, hosting.output, self._published, self._started, self._over)
        self._keeper: Keeper | None = None
        _ALIVE.add(self)

    # --- life ----------------------------------------------------------------------------------------------------

    def begin(self) -> Future[None]:
        """Start everything; the future is :attr:`started`.

        Raises:
            NotRunningError: It was started before, or the system refuses it threads or descriptors; or this is a
                process of another supervisor's, which is loading what it shall run.
        """
        self.check_process()
        if module := loading():  # without end, were it not refused: the fork server of that one would load it again
            what = "script" if is_script(module) else "module"
            guard = 'put that under `if __name__ == "__main__":`'
            raise NotRunningError(f"the {what} starts a supervisor while it is being loaded: {guard}")
        with self._lock:
            if self._begun:
                raise NotRunningError("a supervisor is started once; make another one")
            self._begun = True
            self._why_not = "the supervisor is still starting"
        try:
            self._start_threads()
        except OSError as error:
            self._over(None, f"the system refused what supervision needs: {refusal(error)}")
            raise NotRunningError(self._why_not) from error
        return self.started

    def _start_threads(self) -> None:
        keeper = Keeper(self._spec)
        with starting_threads(), contextlib.ExitStack() as refused:
            refused.callback(keeper.disband)
            if self._on_event is not None:
                caller = threading.Thread(
                    target=self._call_back, args=(self._on_event,), name="supervisor-events", daemon=True
                )
                caller.start()
                self._caller = caller
            keeper.start()
            refused.pop_all()
        self._keeper = keeper

    def request_stop(self) -> Future[Ended] | None:
        """End all children in reverse start order; ``None`` when there is nothing to end, or it is not ours.

        Returns:
            :attr:`over`.
        """
        if os.getpid() != self._pid or self._keeper is None:
            return None
        root = self._keeper.branch("")
        if root is not None:
            root.request(told.Stop)
        elif not self.over.done():
            self._keeper.call(self._stop_root)
        return self.over

    def kill(self) -> None:
        """End everything at once."""
        if os.getpid() == self._pid and self._keeper is not None:
            self._keeper.close()

    def join(self) -> None:
        """Wait for the thread that has said that it is over: it does nothing more."""
        if os.getpid() == self._pid and self._keeper is not None:
            self._keeper.join()

    def check_waiting(self) -> None:
        """Refuse to wait for the end in the thread that is waited for then.

        Raises:
            SupervisionError: This is the thread in which ``on_event`` is called.
        """
        if threading.current_thread() is self._caller:
            raise SupervisionError("on_event cannot wait for the end of its supervisor: do it in another thread")

    def check_begun(self) -> None:
        """Refuse to wait for the end of what was never started: nobody would tell it.

        Raises:
            NotRunningError: It was not started.
        """
        with self._lock:
            if not self._begun:
                raise NotRunningError(self._why_not)

    def check_process(self) -> None:
        """Refuse to act in a process that was forked from the one that the tree belongs to.

        Raises:
            NotRunningError: This is such a process.
        """
        if os.getpid() != self._pid:
            raise NotRunningError(f"this supervisor belongs to process {self._pid}, from which this one was forked")

    @property
    def fork_server_pid(self) -> int:
        """Process id of the fork server, 0 when there is none."""
        return 0 if self._keeper is None else self._keeper.fork_server_pid

    # --- requests ------------------------------------------------------------------------------------------------

    def start_child(self, spec: ChildSpec, under: str) -> Future[Started | Done]:
        """See :meth:`supervisor.embedding.Supervisor.start_child`."""
        why = "must be a ChildSpec, as in ChildSpec('name', Target)"
        require("start_child", "spec", spec, ok=isinstance(spec, ChildSpec), why=why)
        check_tree((spec,), self._preload)
        return self._branch(under).request(lambda at, number: told.StartChild(at, number, spec))

    def start_instance(self, args: Mapping[str, object], under: str) -> Future[Started | Done]:
        """See :meth:`supervisor.embedding.Supervisor.start_instance`."""
        check_args("instance", args)
        return self._branch(under).request(lambda at, number: told.StartInstance(at, number, args))

    def terminate_child(self, child: str) -> Future[Started | Done]:
        """See :meth:`supervisor.embedding.Supervisor.terminate_child`."""
        branch, name = self._above(child)
        return branch.request(lambda at, number: told.TerminateChild(at, number, name))

    def restart_child(self, child: str) -> Future[Started | Done]:
        """See :meth:`supervisor.embedding.Supervisor.restart_child`."""
        branch, name = self._above(child)
        return branch.request(lambda at, number: told.RestartChild(at, number, name))

    def delete_child(self, child: str) -> Future[Started | Done]:
        """See :meth:`supervisor.embedding.Supervisor.delete_child`."""
        branch, name = self._above(child)
        return branch.request(lambda at, number: told.DeleteChild(at, number, name))

    def change_specs(self, children: Iterable[ChildSpec], flags: SupervisorFlags, under: str) -> Future[Started | Done]:
        """See :meth:`supervisor.embedding.Supervisor.change_specs`."""
        check_flags(flags)
        specs = check_tree(children, self._preload)
        branch, keeper = self._branch(under), self._running()

        def taken(future: Future[Started | Done]) -> None:
            if not future.cancelled() and future.exception() is None:
                keeper.call(lambda: keeper.take_specs(branch, flags, specs))

        change = branch.request(lambda at, number: told.ChangeSpecs(at, number, flags, specs))
        change.add_done_callback(taken)
        return change

    def read(self, under: str, function: Callable[[Core], T]) -> Future[T]:
        """Have a function read the books of a supervisor."""
        return self._branch(under).query(function)

    def which_child(self, child: str) -> Future[ChildRow | Refused]:
        """See :meth:`supervisor.embedding.Supervisor.which_child`."""
        branch, name = self._above(child)
        return branch.query(lambda core: core.which_child(name) or core.unknown(name))

    def get_childspec(self, child: str) -> Future[ChildSpec | Refused]:
        """See :meth:`supervisor.embedding.Supervisor.get_childspec`."""
        branch, name = self._above(child)
        return branch.query(lambda core: core.get_childspec(name) or core.unknown(name))

    def tell(self, child: str, message: object) -> None:
        """See :meth:`supervisor.embedding.Supervisor.tell`."""
        check_path("child", child)
        self._running().messages.tell(child, _encoded(message))

    def ask(self, child: str, message: object) -> Future[Any]:
        """See :meth:`supervisor.embedding.Supervisor.ask`."""
        check_path("child", child)
        return self._running().messages.ask(child, _encoded(message))

    def _running(self) -> Keeper:
        self.check_process()
        if self._why_not or self._keeper is None:
            raise NotRunningError(self._why_not)
        return self._keeper

    def _branch(self, path: str) -> Branch:
        check_path("under", path)
        branch = self._running().branch(path)
        if branch is None and not path:
            raise NotRunningError("the supervisor is ending")
        if branch is None:
            raise RefusedError(Refused(Refusal.NOT_FOUND, path, "there is no supervisor that runs at this path"))
        return branch

    def _above(self, child: str) -> tuple[Branch, str]:
        check_path("child", child)
        path, _, name = child.rpartition("/")
        return self._branch(path), name

    # --- called in the threads of the tree -----------------------------------------------------------------------

    def _published(self, event: SupervisorEvent | KeeperEvent) -> None:
        if isinstance(event, SupervisorStarted) and not event.supervisor:
            self._why_not = ""  # before anybody reads of it
        self.log.put(event)

    def _call_back(self, function: OnEvent) -> None:
        try:
            call_with_each(function, self.log.follow(None))
        finally:
            self._finish()

    def _started(self) -> None:
        settle(self.started)

    def _stop_root(self) -> None:
        root = None if self._keeper is None else self._keeper.branch("")
        if root is not None:
            root.request(told.Stop)

    def _over(self, end: Ended | None, failure: str) -> None:
        self._why_not = failure or (f"the supervisor has ended: {end}" if end else "the supervisor was killed")
        self._end = end
        if failure:
            self.log.put(SupervisorFailed(time.monotonic(), failure))
        if not self.started.done():
            reason = None if end is None else end.reason
            error = StartError(reason) if isinstance(reason, FailedToStart) else NotRunningError(self._why_not)
            settle(self.started, error=error)
        self.log.close()
        if self._caller is None:
            self._finish()

    def _finish(self) -> None:
        if self._end is None:
            settle(self.over, error=NotRunningError(self._why_not))
        else:
            settle(self.over, self._end)

    # --- in a forked process -------------------------------------------------------------------------------------

    def disown(self) -> None:
        """Let go of everything in a process that was forked from ours, so that our end is seen by the fork server."""
        if os.getpid() != self._pid and self._keeper is not None:
            self._keeper.disown()


def _encoded(message: object) -> bytes:
    try:
        return plain.encode(message)
    except plain.NotPlainError as error:
        raise MessageError(f"a message is sent as JSON, plain values ({plain.PLAIN}): {error}") from error


def _disown_all() -> None:
    for supervision in tuple(_ALIVE):
        supervision.disown()


os.register_at_fork(after_in_child=_disown_all)
