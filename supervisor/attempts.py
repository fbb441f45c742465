"""The attempts that this runner has begun, from the first program to the last process.

An attempt's life, told once. Its steps run one after the other; the first that fails decides. When a step's
leader exits, what is left of the tree is ended (TERM and CONT, a short grace, KILL until it is empty) before
the next step starts and before the attempt is called ended: so what is captured of its directory is what was
left. When the time of all steps together is over, or the session stops, the whole tree is ended the same way
with the longer grace. A step that cannot be started because of something that passes (a busy program) is tried again a
few times; one that the system refuses processes, descriptors, memory or room for its log, until it has them. Facts are
collected here and stated by the runner.

Owns the state of each attempt. Refuses to know the link and the fold; reads no clock: ``now`` is told, in
seconds of the monotonic clock.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final, assert_never

import attrs

from actors.events import AttemptEnded, AttemptGranted, AttemptOverLimit, AttemptStarted, Outcome
from actors.failpoints import at
from actors.model import Overflow
from actors.wording import signal_name
from supervisor.memory_kills import KILLED, MemoryKills
from supervisor.output_trim import trim
from supervisor.steps import CannotStartError, Place, log_size, note_in_log, start_step

if TYPE_CHECKING:
    from actors.events import Event, Step
    from supervisor.containment import Trees
    from supervisor.limits import Excess

LEFTOVER_GRACE: Final = 0.2
"""Seconds between TERM and KILL for what a step leaves behind after its leader has exited."""

OUTPUT_GRACE: Final = 1.0
"""Most seconds between TERM and KILL for an attempt that prints too much: it goes on printing."""

_FIRST_DELAY: Final = 0.05
_LONGEST_DELAY: Final = 1.0
_MOST_TRIES: Final = 12
"""Tries of a step that cannot be started for want of something: about eight seconds."""

_SHORT_TRIES: Final = 4
"""Tries after which a shortage is said to be one: about half a second."""

_KILL_AGAIN: Final = 0.02


@attrs.frozen
class Verdict:
    """What an attempt's end will be called, once nothing of it lives."""

    outcome: Outcome
    code: int = 0
    detail: str = ""
    runner_died: bool = False
    lost: bool = False


@attrs.frozen
class Delayed:
    """The present step could not be started; it is tried again at ``at``.

    Attributes:
        at: Monotonic moment.
        tries: How often it was tried.
        delay: Seconds to wait after the next failure.
        short: What the system has refused, ``""`` when that is not the matter.
    """

    at: float
    tries: int
    delay: float
    short: str = ""


@attrs.frozen
class Running:
    """The present step's leader lives (or nobody has noticed yet that it does not)."""

    leader: int


@attrs.frozen
class Ending:
    """The present step's tree is being ended.

    Attributes:
        leader: Its leader, not reaped.
        exited: Whether the leader has exited.
        kill_at: When patience ends; afterwards, when to kill again.
        verdict: What the attempt's end is called then; ``None`` goes on with the next step.
        killing: Whether patience has ended.
    """

    leader: int
    exited: bool
    kill_at: float
    verdict: Verdict | None
    killing: bool = False


@attrs.define
class _Attempt:
    granted: AttemptGranted
    place: Place
    entry: tuple[str, ...]
    began: float
    state: Delayed | Running | Ending
    step: int = 0
    stated: bool = False
    cut: bool = False
    status: int = 0

    @property
    def id(self) -> str:
        return self.granted.attempt

    @property
    def present(self) -> Step:
        return self.granted.steps[self.step]

    @property
    def deadline(self) -> float:
        timeout = self.granted.timeout
        return float("inf") if timeout is None else self.began + timeout


class Attempts:
    """All attempts that live.

    Args:
        trees: The process trees.
        grace: Seconds between TERM and KILL when an attempt is ended (``stop_grace``).
        memory_kills: Where the kernel's own kills are learned from; ``None`` for the kernel.
    """

    def __init__(self, trees: Trees, grace: float, memory_kills: MemoryKills | None = None) -> None:
        self._trees = trees
        self._live: dict[str, _Attempt] = {}
        self._facts: list[Event] = []
        self._memory_kills = memory_kills or MemoryKills()
        self.grace = grace

    def __len__(self) -> int:
        return len(self._live)

    @property
    def shortage(self) -> str:
        """What the system has refused for some time, so that attempts wait; ``""`` when none does."""
        waiting = (one.state for one in self._live.values() if isinstance(one.state, Delayed))
        return next((state.short for state in waiting if state.tries >= _SHORT_TRIES), "")

    def take_facts(self) -> list[Event]:
        """Return what is to be stated since the last call, in order."""
        facts, self._facts = self._facts, []
        return facts

    def begin(self, granted: AttemptGranted, place: Place, now: float) -> None:
        """Start an attempt. The caller sees to it that this happens once."""
        entry = self._trees.enter(granted.attempt, granted.slot)
        attempt = _Attempt(granted, place, entry, now, Delayed(now, 0, _FIRST_DELAY))
        self._live[granted.attempt] = attempt
        if granted.steps:
            self._start(attempt, Delayed(now, 0, _FIRST_DELAY), now)
        else:
            self._conclude(attempt, Verdict(Outcome.OK), now)

    def next_moment(self) -> float:
        """Return when :meth:`tick` has something to do, infinity for never, 0 for at once."""
        if not self._trees.settled:
            return 0.0
        return min(map(self._moment, self._live.values()), default=float("inf"))

    def children_ended(self, now: float) -> None:
        """Take note of exits; go on, or begin to end what is left."""
        held = [a.state.leader for a in self._live.values() if isinstance(a.state, Ending) and a.state.exited]
        for pid, attempt_id, status in self._trees.exited(held):
            self._leader_exited(self._live[attempt_id], pid, status, now)
        self._settle(now)

    def tick(self, now: float) -> None:
        """Do what is due: time that is over, graces that are over, steps to be tried again."""
        for attempt in list(self._live.values()):
            match attempt.state:
                case Delayed(at=at) as delayed:
                    if now >= attempt.deadline:
                        self._conclude(attempt, self._out_of_time(attempt), now)
                    elif now >= at:
                        self._start(attempt, delayed, now)
                case Running(leader=leader):
                    if now >= attempt.deadline:
                        self._end(attempt, leader, self._out_of_time(attempt), now + self.grace)
                case Ending(leader=leader, exited=exited, kill_at=kill_at) as state:
                    if now >= kill_at:
                        self._trees.kill(attempt.id, leader, leader_exited=exited)
                        attempt.state = attrs.evolve(state, kill_at=now + _KILL_AGAIN, killing=True)
                case _:
                    assert_never(attempt.state)
        self._settle(now)

    def check_outputs(self, limit: int, overflow: Overflow, now: float) -> bool:
        """Cut the logs that take too much space, or end their attempts.

        Args:
            limit: Bytes; 0 for no limit.
            overflow: Which of the two.
            now: Monotonic seconds.

        Returns:
            Whether one was cut: its attempt is printing much, and had better be looked at soon.
        """
        cut = False
        for attempt in list(self._live.values()) if limit else ():
            reason = f"its output is larger than output_limit ({limit:,} bytes): {attempt.place.log}"
            if overflow is Overflow.END:
                if log_size(attempt.place) > limit:
                    self._prints_too_much(attempt, reason, now)
                continue
            try:
                cut_now = trim(attempt.place.log, limit)
            except OSError as error:
                why = f"{reason} cannot be cut: {error.strerror}"
                self._prints_too_much(attempt, why, now)
                continue
            if cut_now and not attempt.cut:
                attempt.cut = True
                self._facts.append(AttemptOverLimit(attempt.id, f"{reason}; its middle is left out"))
            cut = cut or cut_now
        return cut

    def _prints_too_much(self, attempt: _Attempt, reason: str, now: float) -> None:
        if isinstance(attempt.state, Running):
            grace = min(OUTPUT_GRACE, self.grace)
            self._end(attempt, attempt.state.leader, Verdict(Outcome.FAILED, 0, reason), now + grace)

    def roots(self) -> dict[str, list[int]]:
        """Return the tops of the trees of the attempts that run: their leaders, and what these have orphaned."""
        if not self._trees.quiet:
            self._trees.look()
        return {
            attempt.id: [attempt.state.leader, *self._trees.leftovers(attempt.id)]
            for attempt in self._live.values()
            if isinstance(attempt.state, Running)
        }

    def over_limit(self, attempt_id: str, excess: Excess, now: float) -> None:
        """State that an attempt is over a soft limit; end one that is over a hard limit, which has failed."""
        attempt = self._live[attempt_id]
        if not excess.hard:
            self._facts.append(AttemptOverLimit(attempt_id, excess.what))
        elif isinstance(attempt.state, Running):
            self._end(attempt, attempt.state.leader, Verdict(Outcome.FAILED, 0, excess.what), now + self.grace)

    def end_all(self, verdict: Verdict, grace: float, now: float) -> None:
        """End everything that lives; an attempt whose last step has already decided keeps its verdict.

        May be called again with a shorter grace.

        Args:
            verdict: What their ends are called.
            grace: Seconds between TERM and KILL.
            now: Monotonic seconds.
        """
        for attempt in list(self._live.values()):
            match attempt.state:
                case Delayed():
                    self._conclude(attempt, verdict, now)
                case Running(leader=leader):
                    self._end(attempt, leader, verdict, now + grace)
                case Ending(kill_at=kill_at, verdict=decided) as state:
                    interrupted = decided is None or decided.outcome in {
                        Outcome.INTERRUPTED,
                        Outcome.CANCELLED,
                    }
                    attempt.state = attrs.evolve(
                        state,
                        kill_at=min(kill_at, now + grace),
                        verdict=verdict if interrupted else decided,
                    )
                case _:
                    assert_never(attempt.state)

    # --- one attempt ----------------------------------------------------------------------------------------

    def _moment(self, attempt: _Attempt) -> float:
        match attempt.state:
            case Delayed(at=at):
                return min(at, attempt.deadline)
            case Running():
                return attempt.deadline
            case Ending(kill_at=kill_at):
                return kill_at
            case _:
                assert_never(attempt.state)

    def _start(self, attempt: _Attempt, former: Delayed, now: float) -> None:
        try:
            at("runner.spawning")
            pid = start_step(attempt.present, attempt.place, attempt.entry)
            at("runner.spawned")
        except CannotStartError as error:
            self._not_started(attempt, former, error, now)
            return
        self._trees.lead(attempt.id, pid)
        attempt.state = Running(pid)
        if not attempt.stated:
            attempt.stated = True
            self._facts.append(AttemptStarted(attempt.id, self._trees.shown(pid)))
            at("runner.start.noted")

    def _not_started(self, attempt: _Attempt, former: Delayed, error: CannotStartError, now: float) -> None:
        if error.short or (error.passing and former.tries + 1 < _MOST_TRIES):
            delay = min(former.delay * 2, _LONGEST_DELAY)
            short = attempt.place.veil.hide(error.reason) if error.short else ""
            attempt.began += former.delay if short else 0.0  # the task has nothing of that time
            attempt.state = Delayed(now + former.delay, former.tries + 1, delay, short)
            return
        if not error.passing and (lost := _lost(attempt)):
            self._conclude(attempt, lost, now)
            return
        reason = f"{error.reason} (tried {former.tries + 1} times)" if error.passing else error.reason
        reason = attempt.place.veil.hide(reason)
        note_in_log(attempt.place, reason)
        self._conclude(attempt, Verdict(Outcome.FAILED, error.code, reason), now)

    def _leader_exited(self, attempt: _Attempt, pid: int, status: int, now: float) -> None:
        at("runner.exit.seen")
        attempt.status = status
        asked_before = isinstance(attempt.state, Ending)
        if isinstance(attempt.state, Ending):
            ending = attrs.evolve(attempt.state, exited=True)
        else:
            verdict = self._judged(attempt, status)
            ending = Ending(pid, exited=True, kill_at=now + LEFTOVER_GRACE, verdict=verdict)
        attempt.state = ending
        self._trees.look()
        if self._trees.is_empty(attempt.id):
            self._emptied(attempt, ending, now)
        elif not asked_before:
            self._trees.terminate(attempt.id, pid)

    def _settle(self, now: float) -> None:
        """Find trees that have become empty meanwhile, and strays that can be nobody's."""
        if not self._trees.quiet:
            self._trees.look()
        for attempt in list(self._live.values()):
            state = attempt.state
            if not isinstance(state, Ending):
                continue
            if state.killing:
                self._trees.hunt(attempt.id)
            if state.exited and self._trees.is_empty(attempt.id):
                self._emptied(attempt, state, now)
        if not self._trees.quiet:
            self._trees.kill_orphans()

    def _emptied(self, attempt: _Attempt, state: Ending, now: float) -> None:
        self._trees.reap(state.leader)
        at("runner.tree.emptied")
        if state.verdict is not None:
            self._conclude(attempt, state.verdict, now)
        elif now >= attempt.deadline:
            self._conclude(attempt, self._out_of_time(attempt), now)
        else:
            attempt.step += 1
            self._start(attempt, Delayed(now, 0, _FIRST_DELAY), now)

    def _judged(self, attempt: _Attempt, status: int) -> Verdict | None:
        if status == 0:
            last = attempt.step + 1 == len(attempt.granted.steps)
            return Verdict(Outcome.OK) if last else None
        if lost := _lost(attempt):
            return lost
        detail = f"killed by {signal_name(-status)}" if status < 0 else ""
        if status in KILLED and self._memory_kills.happened():
            detail = "killed, while the kernel killed for want of memory"
        return Verdict(Outcome.FAILED, status, detail)

    def _out_of_time(self, attempt: _Attempt) -> Verdict:
        return Verdict(Outcome.TIMEOUT, 0, f"not done after {attempt.granted.timeout:g} s")

    def _end(self, attempt: _Attempt, leader: int, verdict: Verdict, kill_at: float) -> None:
        attempt.state = Ending(leader, exited=False, kill_at=kill_at, verdict=verdict)
        self._trees.terminate(attempt.id, leader)

    def _conclude(self, attempt: _Attempt, verdict: Verdict, now: float) -> None:
        usage = self._trees.leave(attempt.id)
        del self._live[attempt.id]
        at("runner.result.kept")
        step = attempt.present.label if attempt.granted.steps else ""
        ended = verdict.outcome in {Outcome.TIMEOUT, Outcome.INTERRUPTED, Outcome.CANCELLED}
        self._facts.append(
            AttemptEnded(
                attempt=attempt.id,
                outcome=verdict.outcome,
                step=step,
                code=attempt.status if ended else verdict.code,
                detail=verdict.detail,
                seconds=max(0.0, now - attempt.began),
                cpu_seconds=usage.cpu_seconds,
                max_rss=usage.max_rss,
                runner_died=verdict.runner_died,
                lost=verdict.lost,
            )
        )


def _lost(attempt: _Attempt) -> Verdict | None:
    """Judge an attempt that failed by whether the folder that it was given is still there."""
    if Path(attempt.place.directory).is_dir():
        return None
    step = attempt.present.label if attempt.granted.steps else "it"
    return Verdict(Outcome.INTERRUPTED, 0, f"{attempt.place.directory} was gone when {step} failed", lost=True)
