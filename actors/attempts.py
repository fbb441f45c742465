"""One attempt, before and after: what a grant says, and what follows from how an attempt ended.

Owns the choice of the agent runner, the steps of an attempt, and the rules on retries, conflicts and
interruptions. Refuses to know other tasks, slots, order and time; :mod:`actors.execution` decides *whether*
something is granted.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, assert_never

import attrs

from actors.events import AgentRunner, AttemptGranted, Outcome, Settings, Step
from actors.model import FileStatus, Milestone, OnCrash, Task
from actors.prompt import render_prompt
from actors.state import Attempt, Stage, TaskState

PROMPT: Final = "{prompt}"
"""What the command of an agent runner holds where the prompt is to stand."""

LONGEST_DELAY: Final = 3600.0
"""Seconds that doubling stops at; a longer ``retry_delay`` of the task itself is kept."""

LONGEST_ARGUMENT: Final = 131_071
"""Bytes that Linux takes as one argument of a program (MAX_ARG_STRLEN without its final zero byte)."""

MOST_SLOT_FAILURES: Final = 4
"""Worktree slots that could not be made for a task, after which it has failed."""

MOST_LOSSES: Final = 2
"""Times that a task is run again because its worktree was gone; a task that removes it would go on for ever."""

MOST_RUNNER_DEATHS: Final = 2
"""Times that the runner may die while a task runs beside others; from then on the task runs alone."""

LIVES_BESIDE_OTHERS: Final = 3
"""Lives of the supervising process that may be cut off while a task runs beside others; then it runs alone.

Above the number for the runner, which nobody kills but a task: people kill what supervises, and so does a machine
without memory.
"""

MOST_LIVES: Final = 4
"""Lives of the supervising process that may be cut off while a task runs, before it has failed."""

SLOT_RETRY_SECONDS: Final = 0.5
"""Seconds before a slot is tried again; doubled each time."""

_CONFIG: Final = ".milestones/config/milestoned.yaml"


@attrs.frozen
class Again:
    """The task may be granted again at once."""


@attrs.frozen
class RetryAt:
    """The task may be granted again from ``wall`` on (epoch seconds)."""

    wall: float


@attrs.frozen
class GiveUp:
    """The task has failed for good; ``reason`` is one line for people."""

    reason: str


Verdict = Again | RetryAt | GiveUp


def judge(milestone: Milestone, settings: Settings, task: Task, state: TaskState, *, isolated: bool) -> Verdict:
    """Conclude from the end of a task's latest attempt what becomes of the task.

    Args:
        milestone: Where the task belongs (for the advice to the user).
        settings: Of the session.
        task: The task.
        state: Its state: pending, with an attempt that is over.
        isolated: Whether attempts run in worktree slots.
    """
    attempt = state.attempt
    if attempt is None:
        return Again()
    match attempt.outcome:
        case None:
            return _after_slot_failure(state, attempt)
        case Outcome.OK:
            return _after_conflict(settings, state, attempt)
        case Outcome.FAILED | Outcome.TIMEOUT:
            return _after_failure(task, state, attempt)
        case Outcome.INTERRUPTED if state.losses > MOST_LOSSES:
            return GiveUp(f"its worktree was gone when it ended, {state.losses} times: {attempt.detail}")
        case Outcome.INTERRUPTED if state.runner_deaths > MOST_RUNNER_DEATHS:
            return GiveUp(
                f"the task runner was killed {_times(state.runner_deaths)} while this task ran, the last time with"
                " nothing else running: the task (or a program it starts) ends its parent"
            )
        case Outcome.INTERRUPTED if state.lives_lost > MOST_LIVES:
            return GiveUp(
                f"the supervising process died {state.lives_lost} times while this task ran, the last time with"
                " nothing else running: the task (or a program it starts) may be what kills it"
            )
        case Outcome.INTERRUPTED | Outcome.CANCELLED:
            # Without a slot its first program cannot have been started, so there is nothing to be careful about.
            untouched = isolated and not attempt.path
            return Again() if untouched or attempt.stopped else _after_crash(milestone, task, attempt)
        case _:
            assert_never(attempt.outcome)


def is_suspect(state: TaskState) -> bool:
    """Return whether the runner, or what supervises it, died so often while a task ran that it has to run alone."""
    return state.runner_deaths >= MOST_RUNNER_DEATHS or state.lives_lost >= LIVES_BESIDE_OTHERS


def _times(number: int) -> str:
    return "three times" if number == MOST_RUNNER_DEATHS + 1 else f"{number} times"


def _after_conflict(settings: Settings, state: TaskState, attempt: Attempt) -> Verdict:
    if state.conflicts <= settings.conflict_reruns:
        return Again()
    times = "once" if state.conflicts == 1 else f"{state.conflicts} times"
    return GiveUp(f"did not merge with what landed meanwhile, {times}: {attempt.detail or 'conflicts'}")


def _after_slot_failure(state: TaskState, attempt: Attempt) -> Verdict:
    """Try again a few times: the task itself has not run, and is not to blame."""
    if state.slot_failures < MOST_SLOT_FAILURES:
        return RetryAt(attempt.ended_wall + SLOT_RETRY_SECONDS * 2.0 ** (state.slot_failures - 1))
    return GiveUp(f"no worktree for it: {attempt.detail}")


def _after_failure(task: Task, state: TaskState, attempt: Attempt) -> Verdict:
    if state.failures <= task.retries:
        return RetryAt(attempt.ended_wall + delay(task, state.failures))
    reason = attempt.detail or ("timed out" if attempt.outcome is Outcome.TIMEOUT else "failed")
    return GiveUp(reason if state.failures == 1 else f"{reason} (attempt {attempt.number})")


def delay(task: Task, failures: int) -> float:
    """Return how many seconds lie between the end of the latest failure and the next attempt."""
    doubled = task.retry_delay * 2.0 ** min(max(failures - 1, 0), 64)
    return max(task.retry_delay, min(doubled, LONGEST_DELAY))


def _after_crash(milestone: Milestone, task: Task, attempt: Attempt) -> Verdict:
    why = f"interrupted: {attempt.detail}" if attempt.detail else "interrupted while it ran"
    match task.on_crash:
        case OnCrash.RERUN:
            return Again()
        case OnCrash.FAIL:
            return GiveUp(f"{why} (on_crash: fail)")
        case OnCrash.ASK:
            return GiveUp(
                f"{why} (on_crash: ask): look at what it did, then 'milestonectl run {milestone.id}' runs it again,"
                " unless you set its status to completed or cancelled in the file"
            )
        case _:
            assert_never(task.on_crash)


def grant(milestone: Milestone, settings: Settings, task: Task, *, number: int, slot: int) -> AttemptGranted | GiveUp:
    """Return the grant of an attempt, or why none is possible.

    Args:
        milestone: Where the task belongs.
        settings: Of the session.
        task: What is to be attempted.
        number: Of the attempt, from 1.
        slot: That it holds.
    """
    timeout = task.timeout
    if task.run is not None:
        first = Step("run", task.run)
    else:
        runner = _runner(settings, task)
        if runner is None:
            return GiveUp("; ".join(_missing_lines([task], settings)))
        step = _agent_step(runner, render_prompt(milestone, task))
        if isinstance(step, GiveUp):
            return step
        first = step
        timeout = runner.timeout if timeout is None else timeout
    checks = (Step(f"verify {at}", command) for at, command in enumerate(task.verify, start=1))
    return AttemptGranted(
        attempt=f"{task.id}.{number}",
        task=task.id,
        number=number,
        slot=slot,
        steps=(first, *checks),
        env=task.env,
        timeout=timeout,
    )


def _runner(settings: Settings, task: Task) -> AgentRunner | None:
    name = task.agent or settings.default_agent
    return next((runner for runner in settings.agents if runner.name == name), None)


def _agent_step(runner: AgentRunner, prompt: str) -> Step | GiveUp:
    """Hand over the prompt; as an argument it stands where ``{prompt}`` does, or else comes last."""
    if runner.prompt != "argument":
        return Step("agent", runner.command, stdin=prompt)
    if len(prompt.encode()) > LONGEST_ARGUMENT:
        return GiveUp(
            f"its prompt is longer than the {LONGEST_ARGUMENT} bytes that Linux takes as one argument:"
            f" set agents.runners.{runner.name}.prompt to stdin in {_CONFIG}"
        )
    command = runner.command if any(PROMPT in word for word in runner.command) else (*runner.command, PROMPT)
    return Step("agent", tuple(word.replace(PROMPT, prompt) for word in command))


def missing_agents(milestone: Milestone, settings: Settings) -> tuple[str, ...]:
    """Return a line for each agent runner that tasks need and nobody configured, saying which key to set.

    Tasks that are completed or cancelled need none. Empty: every task can be started.
    """
    finished = {FileStatus.COMPLETED, FileStatus.CANCELLED}
    needing = [
        task
        for task in milestone.tasks
        if task.run is None and task.status not in finished and _runner(settings, task) is None
    ]
    return tuple(_missing_lines(needing, settings))


def _missing_lines(tasks: list[Task], settings: Settings) -> Iterator[str]:
    by_name: dict[str, list[Task]] = {}
    for task in tasks:
        by_name.setdefault(task.agent or settings.default_agent, []).append(task)
    for name, needing in by_name.items():
        who = _names([task.id for task in needing])
        if not name:
            yield (
                f"{who}: no 'run', and no agent runner is configured for such tasks: give a command line as"
                f" agents.runners.NAME.command and its NAME as agents.default in {_CONFIG},"
                " or give the task a 'run'"
            )
            continue
        source = "agents.default" if any(not task.agent for task in needing) else "'agent'"
        known = ", ".join(runner.name for runner in settings.agents) or "none"
        yield (
            f"{who}: {source} names the agent runner '{name}', which is not configured (configured: {known}):"
            f" set agents.runners.{name}.command in {_CONFIG}"
        )


def _names(ids: list[str]) -> str:
    shown = ", ".join(ids[:5]) + (f" and {len(ids) - 5} more" if len(ids) > 5 else "")  # noqa: PLR2004
    return f"task {shown}" if len(ids) == 1 else f"tasks {shown}"


def is_over(state: TaskState) -> bool:
    """Return whether a task's latest attempt is over, so that it can be judged."""
    return state.attempt is not None and state.attempt.stage is Stage.OVER
