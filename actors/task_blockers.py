"""What keeps one task from going on: failures, timeouts, conflicts, and what its output says.

Owns the claims about a single task. Refuses to know the machine, the children and other sessions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from actors.events import BlockerRaised, Outcome, Severity
from actors.observations import View
from actors.outputs import Match, Tail
from actors.state import Phase, SessionState, Stage, TaskState
from actors.wording import attempts_text, joined, seconds_text


def of_task(
    state: SessionState, view: View, task_id: str, task: TaskState, stuck: Mapping[str, int]
) -> Iterator[BlockerRaised]:
    """Yield every claim about a task that is not over.

    Args:
        state: The fold.
        view: What was observed.
        task_id: The task.
        task: What the fold says of it.
        stuck: What :func:`stuck_on` returned.
    """
    if task.phase is Phase.FAILED:
        yield _failed(state, view, task_id, task, stuck)
        return
    to_come = state.milestone.by_id[task_id].retries + 1 - task.failures
    yield from _timeout(state, task_id, task, to_come)
    yield from _repeated(state, view, task_id, task, to_come)
    yield from _without_slot(task_id, task)
    yield from _over_limit(task_id, task)
    if task.conflicts:
        last = task.conflicts > state.settings.conflict_reruns
        yield BlockerRaised(
            claim=f"conflict:{task_id}",
            category="conflict",
            severity=Severity.ERROR if last else Severity.WARNING,
            task=task_id,
            evidence=joined(
                f"the change of {task_id} did not merge with what landed meanwhile ({attempts_text(task.conflicts)})",
                task.attempt.detail if task.attempt is not None else "",
            ),
            proposal="retry: the task is run again on the new state of the branch; to keep it from happening, let it "
            "run after the other with `depends_on`, or list the shared paths in `files` of both",
        )


def _timeout(state: SessionState, task_id: str, task: TaskState, to_come: int) -> Iterator[BlockerRaised]:
    claim = f"timeout:{task_id}"
    attempt = task.attempt
    timed_out = task.phase is Phase.PENDING and attempt is not None and attempt.outcome is Outcome.TIMEOUT
    if (timed_out and to_come > 0) or claim in state.blockers:
        limit = state.milestone.by_id[task_id].timeout
        yield BlockerRaised(
            claim=claim,
            category="timeout",
            severity=Severity.WARNING,
            task=task_id,
            evidence=f"attempt {task.attempts} of {task_id} was ended after {seconds_text(limit)}",
            proposal=f"retry: {attempts_text(to_come)} to come; if it needs more time, raise `timeout` of the task",
        )


def _over_limit(task_id: str, task: TaskState) -> Iterator[BlockerRaised]:
    attempt = task.attempt
    if attempt is not None and attempt.stage is Stage.STARTED and attempt.over_limit:
        yield BlockerRaised(
            claim=f"limit:{task_id}",
            category="resource_pressure",
            severity=Severity.WARNING,
            task=task_id,
            evidence=f"attempt {task.attempts} of {task_id} {attempt.over_limit}",
            proposal="resource reallocation: it goes on; if it needs that much, raise `limits` in the configuration, "
            "and lower `max_parallel` if several such tasks do not fit into the machine",
        )


def _without_slot(task_id: str, task: TaskState) -> Iterator[BlockerRaised]:
    if task.slot_failures > 1:
        reason = task.attempt.detail if task.attempt is not None else ""
        yield BlockerRaised(
            claim=f"slot:{task_id}",
            category="repeated_failure",
            severity=Severity.ERROR,
            task=task_id,
            evidence=joined(f"no worktree could be made for {task_id} ({task.slot_failures} times)", reason),
            proposal="resource reallocation: look at space and permissions of the directory of the worktrees, and at "
            "`worktree.setup`; it is tried again",
            headline=reason,
        )


def _repeated(state: SessionState, view: View, task_id: str, task: TaskState, to_come: int) -> Iterator[BlockerRaised]:
    claim = f"repeated:{task_id}"
    # The last attempt's failure is about to be a blocker of its own.
    if task.failures > 1 and (to_come > 0 or claim in state.blockers):
        matches = _of_latest_attempt(view.matches.get(task_id, ()))
        detail = task.attempt.detail if task.attempt is not None else ""
        yield BlockerRaised(
            claim=claim,
            category="repeated_failure",
            severity=Severity.ERROR,
            task=task_id,
            evidence=joined(f"{task.failures} attempts of {task_id} failed", detail, *map(str, matches)),
            proposal="strategy adjustment: it fails again and again, so another try alone will hardly help; read "
            f"{_log(state, task_id, task)} ({attempts_text(to_come)} to come)",
            headline=str(matches[0]) if matches else "",
        )


def of_output(state: SessionState, view: View) -> Iterator[BlockerRaised]:
    """Yield every claim about what the output of tasks says; none is about a task that is over and well."""
    claimed: dict[str, dict[str, BlockerRaised]] = {}
    for claim, known in state.blockers.items():
        if claim.startswith("pattern:"):
            claimed.setdefault(known.raised.task, {})[claim] = known.raised
    for task_id in view.suspects:
        task = state.tasks.get(task_id)
        if task is None or task.phase in {Phase.COMPLETED, Phase.SKIPPED}:
            continue
        # A claim stands even where the output is not read again, as after a crash.
        claims = claimed.get(task_id, {})
        for match in view.matches.get(task_id, ()):
            rule = match.rule
            claim = f"pattern:{rule.id}:{task_id}"
            if claim not in claims:
                claims[claim] = BlockerRaised(claim, "error_pattern", rule.severity, task_id, str(match), rule.proposal)
        yield from claims.values()


def _failed(state: SessionState, view: View, task_id: str, task: TaskState, stuck: Mapping[str, int]) -> BlockerRaised:
    known = state.blockers.get(f"failed:{task_id}")
    if known is not None and (known.raised.severity is Severity.CRITICAL or task_id not in stuck):
        return known.raised
    matches = _of_latest_attempt(view.matches.get(task_id, ()))
    shown = {match.text for match in matches}
    tail = view.tails.get(task_id, Tail())
    waiting = stuck.get(task_id, 0)
    attempt = task.attempt
    timed_out = attempt is not None and attempt.outcome is Outcome.TIMEOUT
    if matches:
        # What is printed first is nearest to the cause; the rest follows from it.
        proposal = matches[0].rule.proposal
    elif task.conflicts > state.settings.conflict_reruns:
        proposal = (
            "alternative approach: let the task run after the one that it conflicts with (`depends_on`), or "
            "list the shared paths in `files` of both"
        )
    elif timed_out:
        limit = seconds_text(state.milestone.by_id[task_id].timeout)
        proposal = f"alternative approach: split the task, or give it a longer `timeout` (it is {limit})"
    else:
        proposal = (
            f"alternative approach: read {_log(state, task_id, task)}, mend what the task does, and run the "
            "milestone again; if it fails now and then only, give it `retries`"
        )
    if waiting:
        them = "the task that waits" if waiting == 1 else f"the {waiting} tasks that wait"
        proposal += f"; or, as a dependency workaround, take it out of `depends_on` of {them} for it"
    return BlockerRaised(
        claim=f"failed:{task_id}",
        category="timeout" if timed_out else "task_failure",
        severity=Severity.CRITICAL if waiting else Severity.ERROR,
        task=task_id,
        evidence=joined(
            task.reason or f"{task_id} failed", *map(str, matches), *(line for line in tail.lines if line not in shown)
        ),
        proposal=proposal,
        headline=str(matches[0]) if matches else tail.headline,
    )


def _of_latest_attempt(matches: Sequence[Match]) -> Sequence[Match]:
    return [match for match in matches if match.attempt == matches[-1].attempt]


def stuck_on(state: SessionState, view: View) -> dict[str, int]:
    """Return, when nothing lives and all that is left waits for failed tasks, how many wait for each of those.

    A task that waits for several is counted for the first of them, so that the answer takes linear time.
    """
    failed = [key for key in view.suspects if key in state.tasks and state.tasks[key].phase is Phase.FAILED]
    if not failed or state.live:
        return {}
    dependents: dict[str, list[str]] = {}
    for task in state.milestone.tasks:
        if state.tasks[task.id].phase is Phase.PENDING:
            for dependency in task.depends_on:
                dependents.setdefault(dependency, []).append(task.id)
    unreachable: set[str] = set()
    waiting: dict[str, int] = {}
    for key in failed:
        before = len(unreachable)
        ways = list(dependents.get(key, ()))
        direct = len(ways)
        while ways:
            one = ways.pop()
            if one not in unreachable:
                unreachable.add(one)
                ways += dependents.get(one, ())
        if direct:
            waiting[key] = max(direct, len(unreachable) - before)
    pending = sum(task.phase is Phase.PENDING for task in state.tasks.values())
    return waiting if len(unreachable) == pending else {}


def _log(state: SessionState, task_id: str, task: TaskState) -> str:
    return f".milestones/logs/{state.session}/tasks/{task_id}.{task.attempts}.log"
