"""What a daemon tells Prometheus: counted as it happens, and looked at when it is asked for.

Names and units follow Prometheus' conventions. Labels are bounded: a project is named by its directory; milestones and
roles only while their session lives. Owns what is measured, and its text. Refuses to know who asks, and how.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Final, Protocol

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from actors.events import AttemptEnded, Outcome, TaskCompleted, TaskFailed, TaskSkipped
from actors.state import ROLES, RUNNER
from supervisor.conduct import ChildView
from supervisor.exits import KINDS
from supervisor.notices import Recorded

if TYPE_CHECKING:
    from prometheus_client.core import Metric

    from actors.events import Event
    from actors.paths import ProjectPaths
    from supervisor.session_run import RunNotice, SessionRun

_ATTEMPT_BUCKETS: Final = (0.1, 0.5, 1, 5, 15, 30, 60, 300, 900, 1_800, 3_600, 10_800, 36_000)
_COMMIT_BUCKETS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)

_ENDED: Final = ("completed", "failed", "skipped")

_SESSION: Final = ("project", "milestone")
_ROLE: Final = ("project", "milestone", "role")


class Measured(Protocol):
    """A project that is measured; looked at from the thread that asks."""

    @property
    def paths(self) -> ProjectPaths:
        """Of the project."""

    def live(self) -> Sequence[SessionRun]:
        """Return the sessions that live now."""


class Metrics:
    """The figures of a daemon; may be used from any thread.

    Args:
        projects: Returns what is measured.
        version: Of the distribution.
    """

    def __init__(self, projects: Callable[[], Sequence[Measured]], version: str) -> None:
        # Of the process as a whole: series that tell when each counter was made, which nobody asks for.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library has no type for it
        self._registry = CollectorRegistry()
        self._registry.register(_Looker(projects, version))
        ProcessCollector(registry=self._registry)
        self._tasks = Counter(
            "milestoned_tasks", "Tasks that came to an end.", ("project", "outcome"), registry=self._registry
        )
        self._attempts = Histogram(
            "milestoned_attempt_duration_seconds",
            "Time from the first program of an attempt to the end of its processes.",
            ("project", "outcome"),
            buckets=_ATTEMPT_BUCKETS,
            registry=self._registry,
        )
        self._restarts = Counter(
            "milestoned_role_restarts",
            "Restarts of roles and runners, by the reason for which the former process had ended.",
            ("project", "role", "reason"),
            registry=self._registry,
        )
        self._events = Counter(
            "milestoned_journal_events", "Events that were journaled.", ("project",), registry=self._registry
        )
        self._commits = Histogram(
            "milestoned_journal_commit_duration_seconds",
            "Time in which a group of events was made durable.",
            ("project",),
            buckets=_COMMIT_BUCKETS,
            registry=self._registry,
        )
        self._lock = threading.Lock()  # of the restarts that were counted, of which several threads hear
        self._counted: dict[tuple[str, str], int] = {}

    def expect(self, project: str) -> None:
        """Have everything that is counted for a project begin with 0.

        A counter that is not there before it counts looks to Prometheus as if its first step had never been.

        Args:
            project: Its directory.
        """
        self._events.labels(project)
        self._commits.labels(project)
        for ended in _ENDED:
            self._tasks.labels(project, ended)
        for outcome in Outcome:
            self._attempts.labels(project, outcome.value)
        for child, kind in itertools.product((*ROLES, RUNNER), KINDS):
            self._restarts.labels(project, child, kind)

    def noticed(self, project: str, session: str, notice: RunNotice) -> None:
        """Count what happened in a session; must not block.

        Args:
            project: Its directory.
            session: Session id.
            notice: What happened.
        """
        match notice:
            case Recorded(items=items):
                self._events.labels(project).inc(len(items))
                for _, event in items:
                    self._count(project, event)
            case ChildView(child=child, restarts=restarts, exit_kind=kind) if kind:
                with self._lock:
                    more = restarts - self._counted.get((session, child), 0)
                    self._counted[session, child] = restarts
                if more > 0:
                    self._restarts.labels(project, child, kind).inc(more)
            case _:
                pass

    def committed(self, project: str, seconds: float) -> None:
        """Note how long it took to make a group of events durable."""
        self._commits.labels(project).observe(seconds)

    def ended(self, session: str) -> None:
        """Forget a session that has ended."""
        with self._lock:
            self._counted = {key: count for key, count in self._counted.items() if key[0] != session}

    def text(self) -> bytes:
        """Return everything in Prometheus' text format (0.0.4)."""
        return generate_latest(self._registry)

    def _count(self, project: str, event: Event) -> None:
        match event:
            case AttemptEnded(outcome=outcome, seconds=seconds):
                self._attempts.labels(project, outcome.value).observe(seconds)
            case TaskCompleted():
                self._tasks.labels(project, "completed").inc()
            case TaskFailed():
                self._tasks.labels(project, "failed").inc()
            case TaskSkipped():
                self._tasks.labels(project, "skipped").inc()
            case _:
                pass


class _Looker(Collector):
    """What is looked at when somebody asks."""

    def __init__(self, projects: Callable[[], Sequence[Measured]], version: str) -> None:
        self._projects = projects
        self._version = version

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        build = _gauge("build_info", "The version of milestoned, as a label.", ("version",))
        build.add_metric([self._version], 1)
        yield build
        sessions = _gauge("sessions", "Sessions that live.", ("project",))
        figures = _Figures()
        for project in self._projects():
            directory = str(project.paths.project)
            live = project.live()
            sessions.add_metric([directory], len(live))
            for run in live:
                figures.look(directory, run)
        yield sessions
        yield from figures.families


class _Figures:
    """The gauges of sessions and roles, while they are filled."""

    def __init__(self) -> None:
        self._status = _gauge("session_status", "1 for the status that a session has.", (*_SESSION, "status"))
        self._tasks = _gauge("session_tasks", "Tasks of a session by state.", (*_SESSION, "state"))
        self._queued = _gauge("session_queued_tasks", "Tasks that could start and wait for a free place.", _SESSION)
        self._blockers = _gauge("session_blockers", "Blockers that are not resolved.", (*_SESSION, "severity"))
        self._done = _gauge("session_completion_ratio", "How much is done, by the tasks' weights: 0 to 1.", _SESSION)
        self._up = _gauge("role_up", "1 while the process of a role or runner is ready.", _ROLE)
        self._beat = _gauge("role_heartbeat_age_seconds", "Time since a role last gave a sign of life.", _ROLE)
        self._cpu = _gauge("role_cpu_ratio", "Use of one core by a role with its programs: 1 is one core.", _ROLE)
        self._memory = _gauge("role_resident_memory_bytes", "Resident memory of a role with its programs.", _ROLE)

    @property
    def families(self) -> tuple[Metric, ...]:
        """All of them."""
        session = (self._status, self._tasks, self._queued, self._blockers, self._done)
        return (*session, self._up, self._beat, self._cpu, self._memory)

    def look(self, project: str, run: SessionRun) -> None:
        """Add the figures of a session."""
        report, vitals = run.report(), run.vitals()
        labels = [project, report.milestone_id]
        self._status.add_metric([*labels, report.status], 1)
        for state, count in report.tally.counts.items():
            self._tasks.add_metric([*labels, state], count)
        self._queued.add_metric(labels, vitals.queued)
        for severity, count in vitals.blockers.items():
            self._blockers.add_metric([*labels, severity], count)
        self._done.add_metric(labels, report.tally.percentage / 100)
        now = time.monotonic()
        for child in report.roles:
            of_role = [*labels, child.role]
            self._up.add_metric(of_role, float(child.state == "RUNNING"))
            if child.role in vitals.beats:
                self._beat.add_metric(of_role, max(0.0, now - vitals.beats[child.role]))
            if child.cpu_percent is not None:
                self._cpu.add_metric(of_role, child.cpu_percent / 100)
            if child.rss_bytes is not None:
                self._memory.add_metric(of_role, child.rss_bytes)


def _gauge(name: str, help_text: str, labels: Sequence[str]) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"milestoned_{name}", help_text, labels=labels)
