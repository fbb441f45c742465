"""The supervision library's front door: a supervisor in a program of yours.

    with Supervisor([ChildSpec("greeter", Greeter, args={"name": "x"})], SupervisorFlags(intensity=3)) as supervisor:
        supervisor.tell("greeter", {"say": "hello"})
        answer = supervisor.ask("greeter", {"sum": [1, 2]})

It takes no signal handlers, configures no logging, and changes nothing of the process: it has one thread of its own,
one for each supervisor of the tree, and one each for ``on_event`` and for limits where these are used, all daemons.
There may be any number of supervisors, and every method may be called from any thread. Owns waiting for answers.
Refuses to know milestones.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from threading import TIMEOUT_MAX
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar, cast

from supervisor.api_errors import AskTimeoutError, NotRunningError, RefusedError, SupervisionError
from supervisor.core_effects import Ended, Refused, Started
from supervisor.spec import ChildSpec, SupervisorFlags
from supervisor.spec_checks import is_number, require
from supervisor.supervision import Hosting, OnEvent, Supervision

if TYPE_CHECKING:
    from collections.abc import Sequence

    from supervisor.event_log import PublicEvent
    from supervisor.roster import ChildRow, Counts

T = TypeVar("T")

ASK_SECONDS: Final = 5.0
"""Seconds that an answer is waited for when nothing else is said."""

DEFAULT_FLAGS: Final = SupervisorFlags()


class Supervisor:
    """A supervisor of processes, with OTP's rules, in this process.

    A child is reached by its id, and below a supervisor by its path: ``supervisor/child``.

    Args:
        children: Specs in start order.
        flags: How it treats them; OTP's defaults when not given (one_for_one, 1 restart in 5 s).
        on_event: Is called with each public event, one after the other, in a thread of its own; the supervisor has
            ended when it has returned from the last one. What it raises goes to ``threading.excepthook`` (which passes
            over a ``SystemExit``) and ends nothing.
        preload: Modules, and scripts by absolute path, that are loaded once and shared by all children. By default
            those in which the targets stand. None of them may start a thread while it loads.
        output: Descriptor for what children print, open as long as the supervisor; standard error when not given.

    Raises:
        SpecError: A spec, or the flags, cannot be kept; nothing was started.
    """

    def __init__(
        self,
        children: Iterable[ChildSpec] = (),
        flags: SupervisorFlags = DEFAULT_FLAGS,
        *,
        on_event: OnEvent | None = None,
        preload: Sequence[str] | None = None,
        output: int | None = None,
    ) -> None:
        self._tree = Supervision(children, flags, Hosting(on_event=on_event, preload=preload, output=output))

    # --- life ----------------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        """Start, as :meth:`start` does."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop, as :meth:`stop` does."""
        self.stop()

    def start(self) -> None:
        """Start all children in order; returns when the last one is ready (OTP ``start_link``).

        Raises:
            StartError: A child did not start; those before it were ended again.
            NotRunningError: It was started before, or supervision itself broke.
        """
        started = self._tree.begin()
        try:
            started.result()
        except SupervisionError:
            self._tree.join()
            raise
        except BaseException:  # interrupted: nothing may stay
            self.stop()
            raise

    def stop(self, timeout: float | None = None) -> None:
        """End all children in reverse start order, each within its shutdown time; returns when nothing is left.

        May be called again, and does nothing in a process that was forked from the supervisor's.

        Args:
            timeout: Seconds after which everything that is left is killed, and ``on_event`` is not waited for any
                more; ``None`` for never.
        """
        check_seconds(timeout)
        self._tree.check_waiting()
        over = self._tree.request_stop()
        if over is None:
            return
        try:
            over.result(timeout)
        except NotRunningError:
            pass  # it has failed; nothing is left of it all the same
        except FutureTimeoutError:
            self._tree.kill()
        self._tree.join()

    def wait(self, timeout: float | None = None) -> Ended:
        """Wait until the supervisor has ended, by itself or because another thread stopped it.

        Args:
            timeout: Seconds to wait at most; ``None`` for ever.

        Returns:
            How it ended.

        Raises:
            TimeoutError: It has not ended in this time.
            NotRunningError: It was not started, or supervision itself broke.
        """
        check_seconds(timeout)
        self._tree.check_process()
        self._tree.check_waiting()
        self._tree.check_begun()
        return awaited(self._tree.over, timeout, "the supervisor still runs")

    # --- messages ------------------------------------------------------------------------------------------------

    def tell(self, child: str, message: object) -> None:
        """Send a message to an actor's mailbox, *at most once*: it is lost if the child ends before it handled it.

        Args:
            child: Path of the child.
            message: Plain values (dicts with texts as keys, lists, texts, numbers, booleans, ``None``), which are sent
                as JSON; a tuple arrives as a list.

        Raises:
            ChildUnavailableError: There is no actor that is ready to take it.
            MailboxFullError: So much waits for it already.
            MessageError: The message is, or holds, what is no plain value.
            NotRunningError: The supervisor does not run.
        """
        self._tree.tell(child, message)

    def ask(self, child: str, message: object, timeout: float = ASK_SECONDS) -> Any:  # noqa: ANN401 - what it answers
        """Send a message to an actor's mailbox and return what its ``on_receive`` returned.

        Args:
            child: Path of the child.
            message: Plain values, as of :meth:`tell`; the answer is made of them too.
            timeout: Seconds to wait for the answer.

        Raises:
            AskTimeoutError: No answer came in time; whether the message is handled nobody knows.
            ChildGoneError: The child ended before it answered.
            AnswerError: The actor raised an exception while it answered, or answered with what is no plain value.
            ChildUnavailableError: There is no actor that is ready to take it.
            MailboxFullError: So much waits for it already.
            MessageError: The message is, or holds, what is no plain value.
            NotRunningError: The supervisor does not run.
        """
        check_seconds(timeout)
        answer = self._tree.ask(child, message)
        try:
            return answer.result(timeout)
        except FutureTimeoutError:
            answer.cancel()
            raise AskTimeoutError(child, timeout) from None

    # --- administration (OTP, reference 1.10) --------------------------------------------------------------------

    def start_child(self, spec: ChildSpec, *, under: str = "", timeout: float | None = None) -> Started:
        """Add a child, last in start order, and start it; returns when it is ready.

        Args:
            spec: Of the child.
            under: Path of the supervisor that gets it; the root when not given.
            timeout: Seconds to wait for the answer; what was asked for goes on. ``None`` for ever.

        Raises:
            RefusedError: A child of this id is there already, or it did not start (then it is not kept).
            SpecError: The spec cannot be kept.
            TimeoutError: No answer in time.
            NotRunningError: The supervisor does not run.
        """
        check_seconds(timeout)
        return cast("Started", awaited(self._tree.start_child(spec, under), timeout, "no answer to start_child"))

    def start_instance(self, args: Mapping[str, object], *, under: str = "", timeout: float | None = None) -> Started:
        """Start one more child of a simple_one_for_one supervisor.

        Args:
            args: Laid over the arguments of the template.
            under: As in :meth:`start_child`.
            timeout: As in :meth:`start_child`.

        Returns:
            The child, with the id that it was given.

        Raises:
            RefusedError: The supervisor is none of that kind, or the child did not start.
            SpecError: The arguments are no dict of plain values.
            TimeoutError: No answer in time.
            NotRunningError: The supervisor does not run.
        """
        check_seconds(timeout)
        return cast("Started", awaited(self._tree.start_instance(args, under), timeout, "no answer to start_instance"))

    def terminate_child(self, child: str, *, timeout: float | None = None) -> None:
        """End a child and keep its spec; no error if it is down already.

        Args:
            child: Its path.
            timeout: As in :meth:`start_child`.

        Raises:
            RefusedError: There is no such child.
            TimeoutError: No answer in time.
            NotRunningError: The supervisor does not run.
        """
        check_seconds(timeout)
        awaited(self._tree.terminate_child(child), timeout, "no answer to terminate_child")

    def restart_child(self, child: str, *, timeout: float | None = None) -> Started:
        """Start a child that is down; one that runs is not touched (OTP's word).

        Args:
            child: Its path.
            timeout: As in :meth:`start_child`.

        Raises:
            RefusedError: It runs, is being restarted, is not there, or did not start.
            TimeoutError: No answer in time.
            NotRunningError: The supervisor does not run.
        """
        check_seconds(timeout)
        return cast("Started", awaited(self._tree.restart_child(child), timeout, "no answer to restart_child"))

    def delete_child(self, child: str, *, timeout: float | None = None) -> None:
        """Forget the spec of a child that is down.

        Args:
            child: Its path.
            timeout: As in :meth:`start_child`.

        Raises:
            RefusedError: It runs, is being restarted, or is not there.
            TimeoutError: No answer in time.
            NotRunningError: The supervisor does not run.
        """
        check_seconds(timeout)
        awaited(self._tree.delete_child(child), timeout, "no answer to delete_child")

    def change_specs(
        self,
        children: Iterable[ChildSpec],
        flags: SupervisorFlags,
        *,
        under: str = "",
        timeout: float | None = None,
    ) -> None:
        """Take new flags and specs without restarting anybody (OTP code change, reference 1.12).

        Flags hold at once. Children with a known id get the new spec and keep their process; new ones are noted and not
        started; those that are missing stay.

        Args:
            children: The new specs.
            flags: The new flags.
            under: As in :meth:`start_child`.
            timeout: As in :meth:`start_child`.

        Raises:
            RefusedError: They do not go together; nothing has changed.
            SpecError: A spec cannot be kept; nothing has changed.
            TimeoutError: No answer in time.
            NotRunningError: The supervisor does not run.
        """
        check_seconds(timeout)
        awaited(self._tree.change_specs(children, flags, under), timeout, "no answer to change_specs")

    def which_children(self, *, under: str = "") -> tuple[ChildRow, ...]:
        """List the children of a supervisor, the newest started first.

        Args:
            under: As in :meth:`start_child`.

        Raises:
            RefusedError: There is no such supervisor.
            NotRunningError: The supervisor does not run.
        """
        return self._tree.read(under, lambda core: core.which_children()).result()

    def which_child(self, child: str) -> ChildRow:
        """Return the row of one child: its process, its state, what it said when it was ready.

        Args:
            child: Its path.

        Raises:
            RefusedError: There is no such child.
            NotRunningError: The supervisor does not run.
        """
        return found(self._tree.which_child(child).result(), child)

    def count_children(self, *, under: str = "") -> Counts:
        """Count specs, running children, supervisors and workers.

        Args:
            under: As in :meth:`start_child`.

        Raises:
            RefusedError: There is no such supervisor.
            NotRunningError: The supervisor does not run.
        """
        return self._tree.read(under, lambda core: core.count_children()).result()

    def get_childspec(self, child: str) -> ChildSpec:
        """Return the spec of a child.

        Args:
            child: Its path.

        Raises:
            RefusedError: There is no such child.
            NotRunningError: The supervisor does not run.
        """
        return found(self._tree.get_childspec(child).result(), child)

    # --- events --------------------------------------------------------------------------------------------------

    def events(self, timeout: float | None = None) -> Iterator[PublicEvent]:
        """Iterate over the events of the tree: those of the last thousand that are there, then those that come.

        Ends with the supervisor. Any number of iterators may run, each in its own thread; one that is too slow is told
        with :class:`~supervisor.event_log.EventsLost` how many events it has missed.

        Args:
            timeout: Seconds without an event after which the iteration ends; ``None`` for never.
        """
        check_seconds(timeout)
        self._tree.check_process()
        return self._tree.log.follow(timeout)

    @property
    def fork_server_pid(self) -> int:
        """Process id of the fork server, the parent of all children; 0 when there is none."""
        return self._tree.fork_server_pid


def check_seconds(seconds: object) -> None:
    """Refuse a time that nobody can wait for, before anything is asked for.

    Raises:
        SpecError: It is none.
    """
    fit = seconds is None or (is_number(seconds) and float(cast("float", seconds)) <= TIMEOUT_MAX)
    require("request", "timeout", seconds, ok=fit, why="must be seconds, or None for ever")


def awaited(future: Future[T], timeout: float | None, what: str) -> T:
    """Wait for an answer.

    Raises:
        TimeoutError: There is none in this time; the text says of what.
    """
    try:
        return future.result(timeout)
    except FutureTimeoutError:
        if future.done():
            raise
        raise TimeoutError(f"{what} after {timeout:g} s") from None


def found(answer: T | Refused, child: str) -> T:
    """Return what the books say of a child.

    Raises:
        RefusedError: There is no such child.
    """
    if isinstance(answer, Refused):
        raise RefusedError(answer, child)
    return answer
