"""What keeps a milestone from going on: which claims hold, and what to say when that changes.

:func:`holding` says what holds now, from the fold and from what was observed; :func:`changes` compares it
with the claims that the journal already has. A claim is stated once and, when it no longer holds, taken back
once; a claim that has become worse is stated again; one that stands long is escalated. Whoever asks again
after a crash gets the same answer, so nothing is lost and nothing is said twice.

Nothing here ends a task: a stall is a report of what was observed, and quiet is not hung.

The thresholds are those of the milestone convention (10 minutes without progress, 90 % of a resource, 24 and
48 hours without a solution), its strategies are the first words of each proposal.

Owns the comparison, the claims about the session, and ages; those about one task are `task_blockers`'. Refuses to
read output, to sample the machine and to know the time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from actors.events import BlockerEscalated, BlockerRaised, BlockerResolved, Event, Severity
from actors.observations import STORM_FALLS, STORM_SECONDS, View
from actors.standstill import held_up
from actors.state import Blocker, Phase, SessionState, Stage
from actors.task_blockers import of_output, of_task, stuck_on
from actors.wording import joined, seconds_text

STRATEGIES: Final = (
    "retry",
    "alternative approach",
    "resource reallocation",
    "team escalation",
    "dependency workaround",
    "strategy adjustment",
)
"""What a proposal can begin with: the convention's six strategies of resolution."""

ESCALATE_AFTER: Final = (24 * 3600.0, 48 * 3600.0)
"""Seconds after which a blocker reaches level 1, 2..."""

CRITICAL_LEVEL: Final = 2
"""From this level on a blocker of any severity is told to the hooks."""

FULL_PERCENT: Final = 98.0
"""Memory or disk use that is critical, however high the limit is set."""

_ORDER: Final = {Severity.WARNING: 0, Severity.ERROR: 1, Severity.CRITICAL: 2}
_SETTLED_PHASES: Final = frozenset({Phase.COMPLETED, Phase.FAILED, Phase.SKIPPED})
_PASSING: Final = ("stall", "pressure:", "storm:")
"""Claims about the moment: a session that is over has none."""


def changes(state: SessionState, view: View) -> tuple[Event, ...]:
    """Return the facts to state: blockers raised, escalated and resolved.

    Args:
        state: The fold.
        view: What was observed.
    """
    now = {blocker.claim: blocker for blocker in holding(state, view)}
    facts: list[Event] = []
    for claim, blocker in now.items():
        known = state.blockers.get(claim)
        if known is None or _ORDER[blocker.severity] > _ORDER[known.raised.severity]:
            facts.append(blocker)
    for claim, known in state.blockers.items():
        if claim not in now:
            facts.append(BlockerResolved(claim, _how(state, claim)))
        elif (level := escalation_level(age := view.wall - known.since_wall)) > known.level:
            facts.append(BlockerEscalated(claim, level, age))
    return tuple(facts)


def escalation_level(age_seconds: float, after: Sequence[float] = ESCALATE_AFTER) -> int:
    """Return how far a blocker of this age is escalated: 0 for not at all."""
    return sum(age_seconds >= threshold for threshold in after)


def due_for_hooks(state: SessionState) -> tuple[Blocker, ...]:
    """Return the blockers that the user's hooks have to be told of and were not."""
    return tuple(
        blocker
        for blocker in state.blockers.values()
        if not blocker.hooked and (blocker.raised.severity is Severity.CRITICAL or blocker.level >= CRITICAL_LEVEL)
    )


def holding(state: SessionState, view: View) -> Iterator[BlockerRaised]:
    """Yield every claim that holds now, each once."""
    stuck = stuck_on(state, view)
    for task_id in view.suspects:
        task = state.tasks.get(task_id)
        if task is not None and task.phase not in {Phase.COMPLETED, Phase.SKIPPED}:
            yield from of_task(state, view, task_id, task, stuck)
    yield from of_output(state, view)
    yield from _of_session(state)
    if view.rules_problem:
        yield BlockerRaised(
            claim="rules",
            category="error_pattern",
            severity=Severity.WARNING,
            task="",
            evidence=f"{view.rules_problem}\nThe built-in rules are used alone.",
            proposal=f"alternative approach: mend {view.rules_path}; it is read again when it changes",
        )
    if state.settled is None:
        yield from _of_moment(state, view)


# --- the session --------------------------------------------------------------------------------------------


def _of_session(state: SessionState) -> Iterator[BlockerRaised]:
    if state.preflight is False:
        yield BlockerRaised(
            claim="preflight",
            category="dependency",
            severity=Severity.CRITICAL,
            task="",
            evidence=joined("the session cannot start", *state.preflight_problems),
            proposal="dependency workaround: mend what is listed, then run the milestone again",
            headline=next(iter(state.preflight_problems), ""),
        )
    if state.git.refused is not None:
        yield BlockerRaised(
            claim="git",
            category="dependency",
            severity=Severity.CRITICAL,
            task="",
            evidence=state.git.refused.reason,
            proposal="alternative approach: "
            + (state.git.refused.cure or "mend what is said above, then run the milestone again"),
        )
    if state.git.push_refused:
        yield BlockerRaised(
            claim="push",
            category="push",
            severity=Severity.WARNING,
            task="",
            evidence=state.git.push_refused,
            proposal="team escalation: nothing was forced and nothing is lost; bring the remote's branch "
            "and this one together by hand, or mend the credentials; the next push tries again",
        )
    for child, known in state.children.items():
        if known.fatal:
            yield BlockerRaised(
                claim=f"quarantined:{child}",
                category="restart_storm",
                severity=Severity.ERROR,
                task="",
                evidence=f"{child} was given up after too many restarts: {known.last_exit}",
                proposal="team escalation: the session goes on without it; its log says why it fell",
            )
    for claim, detail in state.alerts.items():
        kind = claim.partition(":")[0]
        if kind in _DEPENDENCY_PROPOSALS:
            severity, proposal = _DEPENDENCY_PROPOSALS[kind]
            yield BlockerRaised(f"dependency:{claim}", "dependency", severity, "", detail, proposal)


_DEPENDENCY_PROPOSALS: Final = {
    "invalid": (
        Severity.WARNING,
        "alternative approach: mend the file; running sessions go on with what they began with",
    ),
    "cycle": (Severity.ERROR, "dependency workaround: remove one of the requirements that make the circle"),
    "conflict": (
        Severity.WARNING,
        "resource reallocation: stop one of the two milestones, or let one require the other",
    ),
    "prerequisite": (
        Severity.ERROR,
        "dependency workaround: complete the required milestone first, or take it out of `requires`",
    ),
}
"""Severity and proposal by the first word of the claim of an alert; other alerts block nothing."""


def _of_moment(state: SessionState, view: View) -> Iterator[BlockerRaised]:
    yield from _stall(state, view)
    for name, gauge in view.gauges.items():
        if gauge.pressed:
            full = gauge.percent >= FULL_PERCENT and name != "cpu"
            yield BlockerRaised(
                claim=f"pressure:{name}",
                category="resource_pressure",
                severity=Severity.CRITICAL if full else Severity.WARNING,
                task="",
                evidence=f"{name} use is {gauge.percent:.0f} %, and was above "
                f"{state.settings.pressure_percent:.0f} % for a while; attempts alive: "
                f"{len(state.live)}",
                proposal=_PRESSURE_PROPOSALS[name],
            )
    for child, falls in view.falls.items():
        if falls.is_stormy(view.wall):
            yield BlockerRaised(
                claim=f"storm:{child}",
                category="restart_storm",
                severity=Severity.ERROR,
                task="",
                evidence=joined(
                    f"{child} ended {STORM_FALLS} times within {STORM_SECONDS:.0f} s",
                    *dict.fromkeys(falls.reasons),
                ),
                proposal="team escalation: it is restarted each time and no task is lost; look at its "
                "reasons above and at the pressure of memory",
            )


_PRESSURE_PROPOSALS: Final = {
    "cpu": "resource reallocation: tasks take longer than they need; lower max_parallel if timeouts are close",
    "memory": "resource reallocation: lower max_parallel before the kernel ends a task for want of memory",
    "disk": "resource reallocation: free space on the file system of the project; a commit needs some",
}


def _stall(state: SessionState, view: View) -> Iterator[BlockerRaised]:
    limit = state.settings.no_progress_after
    still = view.wall - state.progress_wall
    if state.started is None or still <= limit or (state.paused and not state.live):
        return
    waiting = [key for key, task in state.tasks.items() if task.phase is Phase.PENDING]
    if not state.live and not waiting:
        return
    facts = []
    for attempt_id, task_id in state.live.items():
        attempt = state.tasks[task_id].attempt
        stage = "is alive" if attempt is None else f"is {attempt.stage.value}"
        since = ""
        if attempt is not None and attempt.stage is Stage.STARTED:
            since = f" since {seconds_text(view.wall - attempt.started_wall)}"
            if attempt_id in view.quiet:
                since += f", its output last grew {seconds_text(view.quiet[attempt_id])} ago"
        facts.append(f"attempt {attempt_id} {stage}{since}")
    if waiting:
        facts.append(f"{len(waiting)} not yet granted, first {waiting[0]}")
    held = held_up(state)
    facts += [f"{one.role} {one.why}" for one in held]
    absent = {child: known.last_exit for child, known in state.children.items() if not known.ready}
    facts += [f"{child} is not there: {why}" for child, why in absent.items() if child not in state.held]
    yield BlockerRaised(
        claim="stall",
        category="stall",
        severity=Severity.ERROR,
        task="",
        evidence=joined(f"nothing started, ended, landed or was completed for {seconds_text(still)}", *facts),
        proposal="strategy adjustment: start what was stopped: " + "; ".join(one.command for one in held)
        if held
        else "strategy adjustment: nothing was ended, because quiet is not hung; look at the output of "
        "what runs, and give tasks that may hang a `timeout`",
    )


def _how(state: SessionState, claim: str) -> str:
    kind, _, rest = claim.partition(":")
    task = state.tasks.get(state.blockers[claim].raised.task)
    if task is not None:
        if task.phase in _SETTLED_PHASES:
            ends = {
                Phase.COMPLETED: f"the task was completed by attempt {task.attempts}",
                Phase.FAILED: "the task failed for good, which is a blocker of its own",
                Phase.SKIPPED: "the task was cancelled",
            }
            return ends[task.phase]
        return "that attempt is over" if kind == "limit" else "the task is attempted again"
    if state.settled is not None and claim.startswith(_PASSING):
        return "the session is over"
    texts = {
        "stall": "there is progress again",
        "pressure": f"{rest} use is clearly below the limit again",
        "storm": f"{rest} has not ended for a while",
        "quarantined": f"{rest} is there again",
        "push": "the branch was pushed",
        "rules": "the rules file can be used again",
        "preflight": "pre-flight is repeated",
        "git": "git works again",
    }
    return texts.get(kind, "it no longer holds")
