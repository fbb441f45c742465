"""Completed once, committed once, in order, one at a time, accepted and acted on: I1, I2, I3 and I5.

Owns the judgement of journal, commits, marks and requests. Pure functions over a history; each yields violations.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from actors.events import (
    AttemptEnded,
    AttemptGranted,
    AttemptStarted,
    Event,
    Landed,
    SessionPaused,
    SessionStatus,
    TaskCompleted,
    TaskRetried,
    TaskSkipped,
    task_of,
)
from tests.chaos.history import Asked, Commit, History, Mark
from tests.chaos.story import Session, begins, closes, sessions_of
from tests.chaos.violation import Violation

_COMPLETED: Final = msgspec.json.Decoder(TaskCompleted)


def number_of(attempt: str) -> int:
    """Return the number of an attempt (``<task>.<number>``); 0 for what is none."""
    number = attempt.rpartition(".")[2]
    return int(number) if number.isascii() and number.isdigit() else 0


def _line(mark: Mark) -> str:
    return f"mark at {mark.at:.2f}: {mark.what} {mark.session} {mark.attempt} (pid {mark.pid})"


def _marks_of(history: History) -> dict[tuple[str, str], list[Mark]]:
    """Return the marks of each task, (session, task) -> marks in order."""
    found: dict[tuple[str, str], list[Mark]] = defaultdict(list)
    for mark in history.marks:
        found[mark.session, task_of(mark.attempt)].append(mark)
    return found


# --- I1 ----------------------------------------------------------------------------------------------------------


def check_completed_once(history: History) -> Iterator[Violation]:
    """I1: a task reported completed in a session is never started again in it."""
    sessions = sessions_of(history.records)
    for session in sessions.values():
        yield from _nothing_after_completion(session)
    for seen in history.seen:
        if seen.kind != TaskCompleted.__name__:
            continue
        task = _COMPLETED.decode(seen.body.encode()).task
        if seen.session not in sessions or task not in sessions[seen.session].completed:
            evidence = f"seen at {seen.at:.2f}: seq {seen.seq} {seen.session} {seen.kind} {seen.body}"
            yield Violation("I1", f"{task} was reported completed, and the journal does not know of it", (evidence,))
    for (name, task), marks in _marks_of(history).items():
        completed = sessions[name].completed.get(task) if name in sessions else None
        if completed is None:
            continue
        for mark in marks:
            if mark.what == "start" and number_of(mark.attempt) > number_of(completed):
                yield Violation("I1", f"{task} ran again after {completed} had completed it", (_line(mark),))


def _nothing_after_completion(session: Session) -> Iterator[Violation]:
    done: dict[str, str] = {}
    for told in session.facts:
        match told.event:
            case TaskCompleted(task=task):
                if task in done:
                    yield Violation("I1", f"{task} was completed twice", (done[task], told.line))
                done[task] = told.line
            case AttemptGranted(attempt=attempt) | AttemptStarted(attempt=attempt) if task_of(attempt) in done:
                evidence = (done[task_of(attempt)], told.line)
                yield Violation("I1", f"{task_of(attempt)} was started again after it was completed", evidence)
            case _:
                pass


# --- I2 ----------------------------------------------------------------------------------------------------------


def check_commits(history: History) -> Iterator[Violation]:
    """I2: one commit for each completed task that changed something, whole, in an order that respects the DAG."""
    by_session: dict[str, list[Commit]] = defaultdict(list)
    for commit in history.commits:
        by_session[commit.session].append(commit)
    sessions = sessions_of(history.records)
    for name in by_session.keys() - sessions.keys():
        yield Violation("I2", f"commits of a session that the journal does not know: {name}", _shas(by_session[name]))
    for name, session in sessions.items():
        yield from _commits_of(session, by_session[name])
        for task in session.completed.keys() - {commit.task for commit in by_session[name]}:
            if f"{session.milestone.id}/{task}" in history.changing:
                evidence = tuple(told.line for told in session.facts if _is_about(told.event, task))[-5:]
                yield Violation("I2", f"{task} changed something, was completed, and has no commit", evidence)
    yield from _linear(history.commits)


def _shas(commits: list[Commit]) -> tuple[str, ...]:
    return tuple(f"commit {one.sha} of {one.task} ({one.session}) on {one.branch}" for one in commits)


def _is_about(event: Event, task: str) -> bool:
    attempt = getattr(event, "attempt", "")
    return task in {getattr(event, "task", ""), task_of(attempt)}


def _commits_of(session: Session, commits: list[Commit]) -> Iterator[Violation]:
    counts = Counter(commit.task for commit in commits)
    for task, count in counts.items():
        if count > 1:
            yield Violation("I2", f"{task} has {count} commits", _shas([one for one in commits if one.task == task]))
    order = {commit.task: place for place, commit in enumerate(commits)}
    by_sha = {sha: attempt for attempt, sha in session.landed.items() if sha}
    for commit in commits:
        if commit.task not in session.completed and session.status is not SessionStatus.CANCELLED:
            yield Violation("I2", f"{commit.task} has a commit and was not completed", _shas([commit]))
        attempt = by_sha.get(commit.sha)
        if attempt is None:
            yield Violation("I2", "a commit that the journal does not know", _shas([commit]))
        elif any(proof != attempt for proof in commit.proofs):
            what = f"the commit of {attempt} has the work of {', '.join(commit.proofs)}: half, or another attempt's"
            yield Violation("I2", what, _shas([commit]))
        for needed in session.needs(commit.task):
            if needed in order and order[needed] > order[commit.task]:
                later = commits[order[needed]]
                yield Violation("I2", f"{commit.task} was committed before {needed}", _shas([commit, later]))
    for sha in by_sha.keys() - {commit.sha for commit in commits}:
        evidence = tuple(told.line for told in session.facts if isinstance(told.event, Landed) and sha in told.line)
        yield Violation("I2", f"{by_sha[sha]} landed as {sha}, which is on no milestone branch", evidence)


def _linear(commits: tuple[Commit, ...]) -> Iterator[Violation]:
    last: dict[str, str] = {}
    for commit in commits:
        if len(commit.parents) != 1 or (commit.branch in last and commit.parents[0] != last[commit.branch]):
            yield Violation("I2", "a commit that does not follow the one before it", _shas([commit]))
        last[commit.branch] = commit.sha


# --- I3 ----------------------------------------------------------------------------------------------------------


def check_one_at_a_time(history: History) -> Iterator[Violation]:
    """I3: no task starts before its dependencies are completed; at most one live attempt of a task."""
    sessions = sessions_of(history.records)
    for session in sessions.values():
        yield from _granted_in_order(session)
    for (_, task), marks in _marks_of(history).items():
        yield from _no_overlap(task, marks)
    yield from _marked_in_order(history.marks, sessions)


def _granted_in_order(session: Session) -> Iterator[Violation]:
    told_so_far = Session(session.id)
    live: dict[str, tuple[str, str]] = {}
    started: set[str] = set()
    for told in session.facts:
        attempt = begins(told.event)
        task = task_of(attempt)
        if isinstance(told.event, AttemptGranted):
            if task in live:
                yield Violation("I3", f"{attempt} was granted while {live[task][0]} lived", (live[task][1], told.line))
            live[task] = (attempt, told.line)
        if isinstance(told.event, AttemptStarted):
            if attempt in started or live.get(task, ("", ""))[0] != attempt:
                yield Violation("I3", f"{attempt} was started without a grant of its own", (told.line,))
            started.add(attempt)
        for needed in told_so_far.needs(task) if attempt else ():
            if needed not in told_so_far.completed and needed not in told_so_far.before:
                yield Violation("I3", f"{attempt} began before {needed} was completed", (told.line,))
        told_so_far.tell(told)
        over = closes(told.event)
        if over and live.get(task_of(over), ("", ""))[0] == over:
            del live[task_of(over)]


def _no_overlap(task: str, marks: list[Mark]) -> Iterator[Violation]:
    latest, began = 0, None
    for mark in marks:
        number = number_of(mark.attempt)
        if mark.what == "start":
            if began is not None and number == latest:
                yield Violation("I3", f"attempt {mark.attempt} was executed twice", (_line(began), _line(mark)))
            if number >= latest:
                latest, began = number, mark
        if began is not None and number < latest:
            what = f"{mark.attempt} of {task} was alive when {began.attempt} had begun"
            yield Violation("I3", what, (_line(began), _line(mark)))


def _marked_in_order(marks: tuple[Mark, ...], sessions: Mapping[str, Session]) -> Iterator[Violation]:
    ended: set[tuple[str, str]] = set()
    over: dict[tuple[str, str], Mark] = {}
    for mark in marks:
        task = task_of(mark.attempt)
        if mark.what == "end":
            ended.add((mark.session, task))
        after = over.get((mark.session, task))
        if after is not None:
            what = f"{mark.attempt} was alive when {after.attempt}, which needs it, had begun"
            yield Violation("I3", what, (_line(after), _line(mark)))
        session = sessions.get(mark.session)
        if mark.what != "start" or session is None:
            continue
        for needed in session.needs(task):
            over.setdefault((mark.session, needed), mark)
            if needed not in session.before and (mark.session, needed) not in ended:
                yield Violation("I3", f"{mark.attempt} ran before {needed} had ended", (_line(mark),))


# --- I5 ----------------------------------------------------------------------------------------------------------

_FACT_OF: Final[dict[str, str]] = {"retry": TaskRetried.__name__, "skip": TaskSkipped.__name__}


def check_accepted(history: History) -> Iterator[Violation]:
    """I5: what was accepted is acted on once; nobody else's wish is acted on at all."""
    sessions = sessions_of(history.records)
    for (verb, name, task), requests in _wishes(history.asked).items():
        session = sessions.get(name)
        facts = [] if session is None else [told for told in session.facts if _carries_out(told.event, verb, task)]
        accepted = sum(one.ok is True for one in requests)
        lines = tuple(f"asked at {one.at:.2f}: {one.verb} {task}: {one.ok} {one.text}" for one in requests)
        evidence = lines + tuple(told.line for told in facts)
        if len(facts) < accepted:
            yield Violation("I5", f"{verb} {task} of {name} was accepted {accepted} times, done {len(facts)}", evidence)
        if len(facts) > sum(one.ok is not False for one in requests):
            yield Violation("I5", f"{verb} {task} of {name} was done more often than it was asked for", evidence)
    for session in sessions.values():
        yield from _unasked(session, history.asked)
        if history.complete:
            yield from _retries_left_alone(session)


def _wishes(asked: tuple[Asked, ...]) -> dict[tuple[str, str, str], list[Asked]]:
    found: dict[tuple[str, str, str], list[Asked]] = defaultdict(list)
    for one in asked:
        if one.verb in {"retry", "skip", "pause"} and not one.text.startswith("already"):
            found[one.verb, one.session, one.task].append(one)
    return found


def _carries_out(event: Event, verb: str, task: str) -> bool:
    match event:
        case SessionPaused(by_hand=True):
            return verb == "pause"
        case TaskRetried(task=named) | TaskSkipped(task=named):
            return _FACT_OF.get(verb) == type(event).__name__ and named == task
        case _:
            return False


def _unasked(session: Session, asked: tuple[Asked, ...]) -> Iterator[Violation]:
    wished = {(one.verb, one.session, one.task) for one in asked}
    for told in session.facts:
        match told.event:
            case TaskRetried(task=task):
                wish = ("retry", session.id, task)
            case TaskSkipped(task=task):
                wish = ("skip", session.id, task)
            case SessionPaused(by_hand=True):
                wish = ("pause", session.id, "")
            case _:
                continue
        if wish not in wished:
            yield Violation("I5", f"nobody asked for it: {' '.join(wish)}", (told.line,))


def _retries_left_alone(session: Session) -> Iterator[Violation]:
    """A retried task is attempted again, unless something else became of it or of what it needs."""
    waiting: dict[str, str] = {}
    for told in session.facts:
        match told.event:
            case TaskRetried(task=task):
                waiting[task] = told.line
            case AttemptGranted(task=task) | TaskSkipped(task=task):
                waiting.pop(task, None)
            case _:
                pass
    for task, line in waiting.items():
        able = all(one in session.completed or one in session.before for one in session.needs(task))
        if able and session.status not in {SessionStatus.CANCELLED, None} and task not in session.cancelled:
            yield Violation("I5", f"{task} was to be attempted again, and was not", (line,))


def ended_without_end(history: History) -> Iterator[Violation]:
    """I3, from the tasks' side: what the journal calls well ended has said so itself."""
    ended = {(mark.session, mark.attempt) for mark in history.marks if mark.what == "end"}
    marked = {(mark.session, mark.attempt) for mark in history.marks}
    for session in sessions_of(history.records).values():
        for told in session.facts:
            match told.event:
                case AttemptEnded(attempt=attempt, outcome=outcome) if outcome.value == "ok":
                    if (session.id, attempt) in marked - ended:
                        yield Violation("I3", f"{attempt} was called ended while it had not", (told.line,))
                case _:
                    pass
