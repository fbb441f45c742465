"""What a session shows to the outside: ``session.json`` and ``agents/<role>.json``.

A projection, rebuilt from the journal and the supervisor's views at any time; nothing reads it back but ``status``
and people. One daemon thread owns it: others tell it what happened. Writes are coalesced: a file is written no more
than four times a second, and never takes more than a tenth of the thread's time.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Final, assert_never, cast

import attrs

from actors.events import Event, MilestoneUpdated, Record, Severity
from actors.plan import Plan
from actors.state import ROLES, Phase, SessionState, decode_state, encode_state
from supervisor.conduct import ChildView
from supervisor.core_events import Beat
from supervisor.limits import Sample
from supervisor.notices import Troubled
from supervisor.projection import AgentSheet, AgentWord, agent_json, replace_file, session_json, unreachable
from supervisor.session_report import ChildReport, SessionReport, Tally, Vitals

if TYPE_CHECKING:
    from pathlib import Path

    from actors.paths import ProjectPaths

RETRY_SECONDS: Final = 2.0
"""Seconds until what failed is tried again."""

SHEET_SECONDS: Final = 6.0
"""Longest time that ``agents/*.json`` shows an old heartbeat and sample; a change of state is written at once."""

WRITE_SECONDS: Final = 0.25
"""Shortest time between two writings of ``session.json``."""

GATHER_SECONDS: Final = 0.05
"""Seconds in which records are gathered before they are folded."""

WRITE_SHARE: Final = 10.0
"""After a writing that took t seconds the next one waits t times this."""


@attrs.frozen
class Sampled:
    """Samples of the session's children by id."""

    samples: dict[str, Sample]


Items = tuple[tuple[Record, Event], ...]
"""Journaled records, each with its fact."""


class _Stop:
    """Told last."""


class Watch(threading.Thread):
    """The projection's owner.

    Args:
        paths: Of the project.
        session: Session id.
        state: The fold so far; copied.
        notify: Is called once with a :class:`Troubled`, in this thread, should our own code fail: what is shown may
            then be behind. Must not block.
    """

    def __init__(
        self, paths: ProjectPaths, session: str, state: SessionState, notify: Callable[[Troubled], None]
    ) -> None:
        super().__init__(name="watch", daemon=True)
        self._paths = paths
        self._session = session
        self._state = decode_state(encode_state(state))
        self._plan = Plan.of(state.milestone)
        self._notify = notify
        self._inbox: queue.SimpleQueue[Items | ChildView | Sampled | _Stop] = queue.SimpleQueue()
        self._views: dict[str, ChildView] = {}
        self._samples: dict[str, Sample] = {}
        self._beats: dict[str, float] = {}
        self._stopping = threading.Event()
        self._dirty = True
        self._is_troubled = False
        self._next_write = 0.0
        self._next_sheets = 0.0
        self._lock = threading.Lock()  # of state, views and samples while they change, and while a report is made
        self._tally = Tally.of(self._state)
        self._beating: set[str] = set()

    # --- from other threads --------------------------------------------------------------------------------------

    def recorded(self, items: Items) -> None:
        """Tell of journaled records."""
        self._inbox.put(items)

    def shown(self, view: ChildView) -> None:
        """Tell of a child."""
        self._inbox.put(view)

    def sampled(self, sampled: Sampled) -> None:
        """Tell what the children use: noted as heartbeats are, unless it is to be written."""
        if time.monotonic() >= self._next_sheets or any(map(partial(self._is_news, sampled.samples), ROLES)):
            self._inbox.put(sampled)
        else:
            with self._lock:
                self._samples = sampled.samples

    def beaten(self, beat: Beat) -> None:
        """Tell of a child's heartbeat: noted for the next writing, which it is not worth waking the thread for."""
        self._beats[beat.child] = beat.at

    def report(self) -> SessionReport:
        """Return what the session is, as far as it was folded here: a fraction of a second behind the journal."""
        with self._lock:
            state = self._state
            if self._tally.seq != state.seq:
                self._tally = Tally.of(state)
            roles = tuple(self._child_report(view) for view in self._views.values())
            milestone = state.milestone
            status, reason = state.status.value, state.reason
            return SessionReport(self._session, milestone.id, milestone.title, status, reason, self._tally, roles)

    def vitals(self) -> Vitals:
        """Return what is asked for less often than the report: looked for anew, in time that grows with the tasks."""
        with self._lock:
            state = self._state
            tasks = state.tasks
            queued = sum(
                1
                for key, one in tasks.items()
                if one.phase is Phase.PENDING
                and all(tasks[needed].phase is Phase.COMPLETED for needed in state.milestone.by_id[key].depends_on)
            )
            found = Counter(one.raised.severity.value for one in state.blockers.values())
        return Vitals(queued, {one.value: found[one.value] for one in Severity}, dict(self._beats))

    def _child_report(self, view: ChildView) -> ChildReport:
        sample = self._samples.get(view.child) if view.pid is not None else None
        use = (None, None) if sample is None else (sample.cpu_percent, sample.rss_bytes)
        return ChildReport(view.child, view.state, view.pid, view.restarts, view.last_exit, *use)

    def stop(self, timeout: float = 5.0) -> None:
        """Write what is left and end the thread."""
        self._stopping.set()
        self._inbox.put(_Stop())
        if self.is_alive():
            self.join(timeout)

    # --- the thread ----------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Fold and write until told to stop."""
        while self._turn():
            pass
        self._turn(self._write)

    def _turn(self, work: Callable[[], object] | None = None) -> bool:
        """Do a turn of work; false when it was the last. What fails is told of once, and tried again later."""
        try:
            return bool((work or self._work)())
        except Exception as error:  # noqa: BLE001 - nobody would be told why nothing is shown any more
            if not self._is_troubled:
                self._is_troubled = True
                reason = f"what is shown may be behind: {type(error).__name__}: {error}"
                self._notify(Troubled(reason, traceback.format_exc()))
            self._next_write = time.monotonic() + RETRY_SECONDS
            return True

    def _work(self) -> bool:
        if not self._take(self._wait()):
            return False
        if self._dirty and time.monotonic() >= self._next_write:
            self._write()
        return True

    def _wait(self) -> float | None:
        return max(0.0, self._next_write - time.monotonic()) if self._dirty else None

    def _take(self, timeout: float | None) -> bool:
        try:
            message = self._inbox.get(timeout=timeout)
        except queue.Empty:
            return True
        # Gathered, because a thread that wakes for every record keeps the hub waiting for the interpreter's lock.
        self._stopping.wait(GATHER_SECONDS)
        while True:
            match message:
                case tuple():
                    self._take_records(message)
                case ChildView(child=child):
                    with self._lock:
                        self._views[child] = message
                    self._write_agent(child)
                case Sampled(samples=samples):
                    self._take_samples(samples)
                case _Stop():
                    return False
                case _:
                    assert_never(message)
            try:
                message = self._inbox.get_nowait()
            except queue.Empty:
                return True

    def _take_records(self, items: Items) -> None:
        with self._lock:
            for record, event in items:
                self._state.apply(record, event)
                if isinstance(event, MilestoneUpdated):
                    self._plan = Plan.of(self._state.milestone)
        self._dirty = True

    def _take_samples(self, samples: dict[str, Sample]) -> None:
        news = {role for role in ROLES if self._is_news(samples, role)}
        self._samples = samples
        now = time.monotonic()
        due = now >= self._next_sheets
        if due:
            self._next_sheets = now + SHEET_SECONDS
        for role in ROLES:
            if role in samples and role in self._views and (due or role in news):
                self._write_agent(role)

    def _is_news(self, samples: Mapping[str, Sample], role: str) -> bool:
        """Whether a role was not written yet with a sample, or with a heartbeat."""
        return role in samples and (role not in self._samples or role not in self._beating)

    def _write(self) -> None:
        started = time.monotonic()
        content = session_json(self._state, unreachable(self._state, self._plan))
        self._replace(self._paths.session_json(self._session), content)
        self._dirty = False
        took = time.monotonic() - started
        self._next_write = started + max(WRITE_SECONDS, took * WRITE_SHARE)

    def _write_agent(self, child: str) -> None:
        if child not in ROLES:
            return
        view, sample = self._views[child], self._samples.get(child)
        if child in self._beats:
            self._beating.add(child)
        known = self._state.children.get(child)
        # Given up stays given up when the session ends and everything is stopped.
        is_fatal = known is not None and known.fatal and view.pid is None
        sheet = AgentSheet(
            role=child,
            pid=view.pid,
            state="FATAL" if is_fatal else cast("AgentWord", view.state),
            restarts=view.restarts,
            last_exit=known.last_exit if is_fatal and known is not None else view.last_exit,
            started_at=_wall(view.ready_mono),
            last_heartbeat=_wall(self._beats.get(child)),
            cpu_percent=0.0 if sample is None else sample.cpu_percent,
            rss_bytes=0 if sample is None else sample.rss_bytes,
        )
        self._replace(self._paths.agent_json(self._session, child), agent_json(sheet))

    def _replace(self, path: Path, content: bytes) -> None:
        # A full disk must not end a session for the sake of what can be rebuilt: it is written next time.
        with contextlib.suppress(OSError):
            replace_file(path, content)


def _wall(mono: float | None) -> float | None:
    """Return the wall-clock moment of a monotonic one of this boot."""
    return None if mono is None else time.time() - (time.monotonic() - mono)  # noqa: TID251 - shown to people
