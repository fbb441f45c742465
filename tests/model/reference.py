"""What a session promises about its tasks, written down a second time and as small as it can be.

Owns, for each task, a fate, the attempt that lives and what happened to its attempts; judges each fact that was
admitted, and foretells what becomes of verbs and of the session. Refuses to know the fold, the door and the executor:
nothing of them is imported.
"""

import enum

import attrs

from actors.events import (
    AttemptEnded,
    AttemptGranted,
    AttemptStarted,
    Event,
    LandConflicted,
    Landed,
    LandFailed,
    MilestoneUpdated,
    Outcome,
    SessionEnded,
    SessionPaused,
    SessionResumed,
    SessionSettled,
    SessionStarted,
    SessionStatus,
    SessionUnpaused,
    SlotFailed,
    SlotPrepared,
    StopRequested,
    TaskCompleted,
    TaskFailed,
    TaskRetried,
    TaskSkipped,
)
from actors.model import FileStatus, Milestone, OnCrash, Task

RERUNS = 3
"""Conflicts after which a task is run again, as :class:`~actors.events.Settings` have it."""


class Fate(enum.Enum):
    """What a task is."""

    WAITING = "waiting"
    LIVE = "live"
    COMPLETED = "completed"
    FAILED = "failed"
    SKIPPED = "skipped"


_BY_FILE = {FileStatus.COMPLETED: Fate.COMPLETED, FileStatus.CANCELLED: Fate.SKIPPED}


@attrs.define
class Book:
    """What happened to a task since it began, or since somebody wanted it again.

    Attributes:
        task: Its definition.
        fate: What it is.
        by_hand: Whether its being skipped is the file's word.
        number: Of its latest attempt, 0 before the first.
        stage: Of the attempt that lives: ``granted``, ``prepared``, ``started``, ``ended`` or ``landed``.
        slot: That it holds.
        told: Whether the session was told to stop while its programs could run.
        cut_off: Whether everything was killed while its programs could run.
        retried: Whether a command brought it back: what the file says of it may be from before that.
        typed: What a person has made of it in the file while it lived.
        counts: How often its attempts came to each end.
        doomed: Whether it must not be attempted again: nothing is left but to say that it failed.
        judged: Whether there is an attempt that is over, and by which it may fail.
        ended: When the latest attempt ended, monotonic seconds.
        due: From when on it may be attempted again, monotonic seconds.
    """

    task: Task
    fate: Fate
    by_hand: bool = False
    number: int = 0
    stage: str = ""
    slot: int = -1
    told: bool = False
    cut_off: bool = False
    retried: bool = False
    typed: Fate | None = None
    counts: dict[str, int] = attrs.Factory(dict)
    doomed: bool = False
    judged: bool = False
    ended: float = 0.0
    due: float = 0.0

    def count(self, what: str) -> int:
        """Count an end of its kind, and return how many there are."""
        self.counts[what] = self.counts.get(what, 0) + 1
        return self.counts[what]

    def over(self, *, doomed: bool, wait: float = 0.0) -> None:
        """Note that the attempt is over."""
        self.fate, self.stage, self.judged, self.cut_off = Fate.WAITING, "", True, False
        self.doomed, self.due = doomed, self.ended + wait
        if self.typed is not None:
            self.fate, self.by_hand, self.typed = self.typed, self.typed is Fate.SKIPPED, None


def _fresh(task: Task) -> Book:
    fate = _BY_FILE.get(task.status, Fate.WAITING)
    return Book(task, fate, by_hand=fate is Fate.SKIPPED)


@attrs.define
class Reference:
    """The model of a session.

    Attributes:
        isolated: Whether attempts run in worktree slots.
        parallel: How many attempts may live.
        books: Of each task, by id.
        done: Tasks that were reported completed in this session: never to be started again.
        landings: Attempts whose change landed, in that order, with a commit or without.
        stop: Whether it is to stop, and whether for good.
        paused: Whether nothing may be granted.
        settled: What it settled with in this life.
        ends: With what its lives ended.
        ended: Whether the present life has ended.
        jumped: When the wall clock jumped last, monotonic seconds: a delay that is on then may end early.
    """

    isolated: bool
    parallel: int
    books: dict[str, Book] = attrs.Factory(dict)
    done: list[str] = attrs.Factory(list)
    landings: list[str] = attrs.Factory(list)
    stop: StopRequested | None = None
    paused: bool = False
    settled: SessionStatus | None = None
    ends: list[SessionStatus] = attrs.Factory(list)
    ended: bool = False
    jumped: float = float("-inf")

    # --- what is foretold ----------------------------------------------------------------------------------------

    @property
    def is_over(self) -> bool:
        """Whether nothing more can be wanted of this life."""
        return self.settled is not None or self.ended

    def accepts(self, verb: Event, *, begins: bool) -> bool:
        """Foretell whether a verb is accepted at this moment; see :meth:`World.ask`."""
        match verb:
            case SessionPaused() | SessionUnpaused():
                return not self.is_over
            case TaskRetried(task=task):
                return self._open_to(task, Fate.FAILED, Fate.SKIPPED)
            case TaskSkipped(task=task):
                return self._open_to(task, Fate.WAITING, Fate.FAILED)
            case MilestoneUpdated(milestone=milestone):
                return (
                    not self.is_over
                    and self._fits(milestone, begins=begins)
                    and (begins or not self._denied(milestone))
                )
            case _:
                return True

    def _open_to(self, task: str, *fates: Fate) -> bool:
        return not self.is_over and self.stop is None and task in self.books and self.books[task].fate in fates

    def _fits(self, milestone: Milestone, *, begins: bool) -> bool:
        newer = milestone.by_id
        kept = [book for book in self.books.values() if book.fate in {Fate.LIVE, Fate.COMPLETED}]
        # What everything was killed with is attempted anew, as it is defined then.
        fixed = [book for book in kept if book.fate is Fate.COMPLETED or not begins]
        return (
            all(book.task.id in newer for book in kept)
            and all(newer[book.task.id].depends_on == book.task.depends_on for book in fixed)
            and all(needed in newer for task in milestone.tasks for needed in task.depends_on)
        )

    def _denied(self, milestone: Milestone) -> bool:
        return any(self._denies(task.status, self.books[task.id]) for task in milestone.tasks if task.id in self.books)

    @staticmethod
    def _denies(status: FileStatus, book: Book) -> bool:
        """Whether somebody has typed of a task that runs or is completed that it is something else."""
        match status:
            case FileStatus.COMPLETED:
                return book.fate is Fate.LIVE
            case FileStatus.CANCELLED:
                return book.fate in {Fate.LIVE, Fate.COMPLETED} and not book.retried
            case _:
                return False

    def runnable(self) -> list[str]:
        """Return the tasks that nothing but time and room keeps from being attempted."""
        return [
            key
            for key, book in self.books.items()
            if book.fate is Fate.WAITING and not book.doomed and self._is_ready(book.task)
        ]

    def _is_ready(self, task: Task) -> bool:
        return all(self.books[needed].fate is Fate.COMPLETED for needed in task.depends_on)

    def expected(self) -> SessionStatus:
        """Return the result that the fates of the tasks call for."""
        fates = {book.fate for book in self.books.values()} - {Fate.SKIPPED}
        if Fate.FAILED in fates:
            return SessionStatus.FAILED
        return SessionStatus.COMPLETED if fates <= {Fate.COMPLETED} else SessionStatus.BLOCKED

    # --- what happened -------------------------------------------------------------------------------------------

    def see(self, event: Event, mono: float) -> None:
        """Take an admitted fact in.

        Args:
            event: The fact.
            mono: Monotonic seconds.

        Raises:
            AssertionError: It breaks a promise.
        """
        match event:
            case SessionStarted(milestone=milestone):
                self.books = {task.id: _fresh(task) for task in milestone.tasks}
            case SessionResumed():
                cut_off = not self.ended
                self.stop, self.settled, self.paused, self.ended = None, None, False, False
                begun = {"started", "prepared" if self.isolated else "granted"}
                for book in self.books.values():
                    book.counts.pop("deaths", None)
                    book.cut_off = book.cut_off or (cut_off and not book.told and book.stage in begun)
            case MilestoneUpdated(milestone=milestone):
                self._updated(milestone)
            case StopRequested():
                self.stop = event if self.stop is None or event.final else self.stop
                for book in self.books.values():
                    book.told = book.told or book.stage in {"granted", "prepared", "started"}
            case SessionPaused() | SessionUnpaused():
                self.paused = isinstance(event, SessionPaused)
            case SessionSettled(status=status):
                self._settled(status)
            case SessionEnded(status=status):
                assert status is self.settled, "the session ends otherwise than it settled"
                self.ended = True
                self.ends.append(status)
            case TaskRetried(task=task):
                self.books[task] = Book(
                    self.books[task].task, Fate.WAITING, number=self.books[task].number, retried=True
                )
            case TaskSkipped(task=task):
                self.books[task].fate, self.books[task].by_hand = Fate.SKIPPED, False
            case TaskFailed(task=task):
                self._failed(self.books[task])
            case AttemptGranted():
                self._granted(event, mono)
            case _:
                self._see_attempt(event, mono)

    def _updated(self, milestone: Milestone) -> None:
        former, self.books = self.books, {}
        for task in milestone.tasks:
            fresh = _fresh(task)
            book = self.books[task.id] = former.get(task.id, fresh)
            book.task = task
            if book.fate is Fate.LIVE:
                decided = fresh.fate is not Fate.WAITING and not book.retried
                book.typed = fresh.fate if decided else None
            cancelled = book.fate is Fate.WAITING and fresh.fate is not Fate.WAITING
            if cancelled or (book.by_hand and fresh.fate is not Fate.SKIPPED):
                book.fate, book.by_hand = fresh.fate, fresh.by_hand

    def _settled(self, status: SessionStatus) -> None:
        assert self.settled is None, "a life settles twice"
        self.settled = status
        moving = [key for key, book in self.books.items() if book.fate is Fate.LIVE and book.stage != "ended"]
        assert not moving, f"settled while {moving} live"
        if self.stop is not None:
            stopped = SessionStatus.CANCELLED if self.stop.final else SessionStatus.INTERRUPTED
            if status is stopped:
                return
        assert not self.runnable(), f"I5, L1: settled as {status.value} while {self.runnable()} can run"
        assert status is self.expected(), f"settled as {status.value}"

    def _failed(self, book: Book) -> None:
        assert book.fate is Fate.WAITING, f"failed while {book.fate.value}"
        assert book.judged, "I5: it failed by an attempt from before somebody wanted it again"
        assert book.doomed, "it failed although it may be attempted again"
        book.fate = Fate.FAILED

    def _granted(self, event: AttemptGranted, mono: float) -> None:
        book = self.books[event.task]
        assert event.task not in self.done, "I1: a completed task is started again"
        assert book.fate is Fate.WAITING, f"I3: granted while {book.fate.value}"
        assert self._is_ready(book.task), "I3: granted before its dependencies are completed"
        assert event.number == book.number + 1, "I3: an attempt's number is used twice"
        closed = self.stop is not None or self.paused or self.is_over
        assert not closed, "I5: granted after a pause, a stop or the end"
        assert not book.doomed, "granted although it has failed"
        assert mono >= book.due - 1e-3 or self.jumped >= book.ended, "granted before its delay was over"
        live = [one for one in self.books.values() if one.fate is Fate.LIVE]
        assert len(live) < self.parallel, "more attempts live than may"
        assert event.slot not in {one.slot for one in live}, "two attempts share a slot"
        book.fate, book.number, book.slot, book.stage = Fate.LIVE, event.number, event.slot, "granted"
        book.told = book.judged = False

    def _see_attempt(self, event: Event, mono: float) -> None:
        name: str = getattr(event, "attempt", "")
        if not name:
            return
        task, _, number = name.rpartition(".")
        book = self.books[task]
        assert book.fate is Fate.LIVE, f"{name}: a fact about an attempt that is over"
        assert book.number == int(number), f"{name}: a fact about an attempt that is over"
        former = book.stage
        match event:
            case SlotPrepared():
                book.stage = "prepared"
            case AttemptStarted():
                book.stage = "started"
            case AttemptEnded(outcome=Outcome.OK):
                assert former in {"granted", "prepared", "started"}, "it ended twice"
                book.stage, book.ended = "ended", mono
            case AttemptEnded():
                book.ended = mono
                self._ended_badly(book, event)
            case Landed():
                assert former == "ended", "I2: it landed twice, or before it ended"
                assert task not in self.done, "I2: a completed task lands again"
                book.stage = "landed"
                self.landings.append(name)
            case SlotFailed():
                book.ended = mono
                times = book.count("slots")
                book.over(doomed=times >= 4, wait=0.5 * 2.0 ** (times - 1))
            case LandConflicted():
                book.over(doomed=book.count("conflicts") > RERUNS)
            case LandFailed(lost=True):
                doomed = book.count("losses") > 2 or book.task.on_crash is not OnCrash.RERUN
                book.over(doomed=doomed)
            case LandFailed():
                self._failed_once(book)
            case TaskCompleted():
                assert former == ("landed" if self.isolated else "ended"), "I2: completed before it landed"
                assert task not in self.done, "I1: completed twice"
                self.done.append(task)
                book.fate, book.stage = Fate.COMPLETED, ""
            case _:
                raise AssertionError(f"the model does not know {event}")

    def _ended_badly(self, book: Book, event: AttemptEnded) -> None:
        if event.outcome in {Outcome.FAILED, Outcome.TIMEOUT}:
            self._failed_once(book)
            return
        if event.runner_died and not book.told:
            book.count("deaths")
        if book.cut_off:
            book.count("lives")
        untouched = book.told or (self.isolated and book.stage == "granted")
        careful = book.task.on_crash is not OnCrash.RERUN and not untouched
        # What is said of the attempts before this one holds still.
        doomed = any(book.counts.get(what, 0) > most for what, most in (("losses", 2), ("deaths", 2), ("lives", 4)))
        book.over(doomed=doomed or careful)

    @staticmethod
    def _failed_once(book: Book) -> None:
        times = book.count("failures")
        book.over(doomed=times > book.task.retries, wait=book.task.retry_delay * 2.0 ** (times - 1))
