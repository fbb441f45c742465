"""A checker that never objects is worth nothing: into a good history every kind of violation is planted, and found."""

from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Final

import pytest
from msgspec.structs import replace

from actors.events import (
    AttemptEnded,
    AttemptGranted,
    AttemptStarted,
    ChildReady,
    Event,
    Landed,
    Outcome,
    Record,
    SessionEnded,
    SessionPaused,
    SessionResumed,
    SessionStarted,
    SessionStatus,
    Settings,
    Step,
    TaskCompleted,
    TaskFailed,
    TaskRetried,
    encode_event,
)
from actors.model import Milestone, Task
from tests.chaos.checker import CHECKS, check, main
from tests.chaos.history import (
    Asked,
    Bounds,
    Commit,
    Fault,
    History,
    Kept,
    Life,
    Look,
    Mark,
    Process,
    Rival,
    Seen,
    Use,
    read_history,
    write_history,
)
from tests.chaos.surroundings import check_secrets

SESSION: Final = "exec-m1-20260101_000000-00000000"
MILESTONE: Final = Milestone("m1", "One", tasks=(Task("a", "A", run="a"), Task("b", "B", depends_on=("a",), run="b")))

Plant = Callable[[History], History]


def granted(attempt: str) -> AttemptGranted:
    task, _, number = attempt.rpartition(".")
    return AttemptGranted(attempt, task, int(number), 0, (Step("run", "true"),))


def done(attempt: str, sha: str) -> tuple[Event, ...]:
    """Return the life of an attempt that went well."""
    ended = AttemptEnded(attempt, Outcome.OK)
    return (granted(attempt), AttemptStarted(attempt, 9), ended, Landed(attempt, sha), completed(attempt))


def completed(attempt: str) -> TaskCompleted:
    return TaskCompleted(attempt.rpartition(".")[0], attempt)


STARTED: Final = SessionStarted(MILESTONE, "m1.yaml", "/p", Settings(), "boot", 100)
RESUMED: Final = SessionResumed(Settings(), "boot", 101)
OK: Final = SessionEnded(SessionStatus.COMPLETED)


def journal(*events: Event, session: str = SESSION) -> tuple[Record, ...]:
    """Return a journal of one session, a second between two facts."""
    found = []
    for seq, event in zip(count(1), events, strict=False):
        fact = encode_event(event)
        found.append(Record(seq, session, 1e9 + seq, float(seq), fact.kind, fact.body))
    return tuple(found)


def mark(at: float, what: str, attempt: str) -> Mark:
    return Mark(at, what, SESSION, attempt, 9)


def commit(sha: str, parent: str, attempt: str, *proofs: str) -> Commit:
    task = attempt.rpartition(".")[0]
    return Commit(sha, (parent,), "m1", task, SESSION, proofs or (attempt, attempt), "milestone/m1")


def seen(record: Record, **changes: object) -> Seen:
    told = Seen(2.0, record.seq, record.session, record.kind, bytes(record.body).decode())
    return replace(told, **changes)


RECORDS: Final = journal(STARTED, *done("a.1", "c1"), *done("b.1", "c2"), OK)

GOOD: Final = History(
    records=RECORDS,
    commits=(commit("c1", "c0", "a.1"), commit("c2", "c1", "b.1")),
    marks=(mark(2, "start", "a.1"), mark(3, "end", "a.1"), mark(4, "start", "b.1"), mark(5, "end", "b.1")),
    seen=tuple(seen(record) for record in RECORDS),
    faults=(Fault(3.5, "kill", ("task_executor",)),),
    looks=(
        Look(9.0, 3.5, (100,), (Process(100, 1, "run", writes=True), Process(101, 100, "fork server"))),
        Look(4.0, 3.5, (), (Process(55, 1, "a task, half a second after the kill"),)),
    ),
    rivals=(Rival(4.0, 100, 75, "held by process 100"),),
    lives=(Life(100, "run", 1.0, 1.5, 9.5, "", 0.0, 0, "Milestone execution time"),),
    uses=tuple(Use(float(at), 100, 50_000_000 + 4096 * (at % 3), 30 + at % 2, 6) for at in range(9)),
    before={"index": "1", "refs": "2"},
    after={"index": "1", "refs": "2"},
    typed={"m1": "status: pending # mine\n"},
    final={"m1": "status: completed # mine\n"},
    kept=Kept({"a.1.log": 100}),
    changing=("m1/a", "m1/b"),
    stuck={SESSION: ""},
)


def with_records(*events: Event) -> Plant:
    """Plant another journal; nobody was told of anything."""
    return lambda history: replace(history, records=journal(*events), seen=())


def changed(**fields: object) -> Plant:
    return lambda history: replace(history, **fields)


RETRY: Final = Asked(3.0, "retry", SESSION, "a", ok=True)
FAILED: Final = (granted("a.1"), AttemptEnded("a.1", Outcome.FAILED, "run", 1), TaskFailed("a", "a.1", "exit 1"))
RETRIED: Final = (STARTED, *FAILED, TaskRetried("a"), *done("a.2", "c1"), *done("b.1", "c2"), OK)
UNFAILED: Final = {"marks": (), "commits": (commit("c1", "c0", "a.2"), commit("c2", "c1", "b.1")), "seen": ()}
LIFE: Final = Life(100, "daemon", 1.0, 1.5, 9.0)

PLANTED: Final[dict[str, tuple[str, Plant]]] = {
    # I1
    "completed twice": ("I1", with_records(STARTED, *done("a.1", "c1"), completed("a.1"), *done("b.1", "c2"), OK)),
    "granted after completion": (
        "I1",
        with_records(STARTED, *done("a.1", "c1"), granted("a.2"), *done("b.1", "c2"), OK),
    ),
    "reported and forgotten": ("I1", changed(records=RECORDS[:5], complete=False)),
    "ran again": ("I1", changed(marks=(*GOOD.marks, mark(6, "start", "a.2")))),
    # I2
    "two commits": ("I2", changed(commits=(*GOOD.commits, commit("c3", "c2", "b.1")))),
    "no commit": ("I2", changed(commits=GOOD.commits[:1])),
    "never landed": ("I2", with_records(STARTED, *done("a.1", ""), *done("b.1", "c2"), OK)),
    "not completed": ("I2", changed(records=RECORDS[:10], seen=(), complete=False)),
    "order": ("I2", changed(commits=(commit("c2", "c0", "b.1"), commit("c1", "c2", "a.1")))),
    "half": ("I2", changed(commits=(commit("c1", "c0", "a.1", "a.1", "a.0"), GOOD.commits[1]))),
    "not linear": ("I2", changed(commits=(GOOD.commits[0], commit("c2", "c0", "b.1")))),
    "a stranger's session": ("I2", changed(commits=(*GOOD.commits, Commit("c3", ("c2",), "m1", "a", "exec-other")))),
    # I3
    "before its dependency": (
        "I3",
        with_records(STARTED, granted("b.1"), *done("a.1", "c1"), *done("b.1", "c2")[1:], OK),
    ),
    "two live attempts": (
        "I3",
        with_records(STARTED, granted("a.1"), *done("a.2", "c1"), *done("b.1", "c2"), OK),
    ),
    "started without a grant": (
        "I3",
        with_records(STARTED, AttemptStarted("a.1", 9), *done("a.1", "c1"), *done("b.1", "c2"), OK),
    ),
    "executed twice": ("I3", changed(marks=(mark(1, "start", "a.1"), *GOOD.marks))),
    "a beat of the former attempt": (
        "I3",
        changed(marks=(mark(1, "start", "a.0"), mark(2, "start", "a.1"), mark(2, "beat", "a.0"), *GOOD.marks[1:])),
    ),
    "ran before its dependency": ("I3", changed(marks=GOOD.marks[2:])),
    "left alive": ("I3", changed(marks=(*GOOD.marks, mark(6, "beat", "a.1")))),
    "called ended": ("I3", changed(marks=GOOD.marks[:3])),
    # I4
    "unreadable": ("I4", changed(journal_error="event 3: its checksum is not that of what stands there")),
    "a gap": ("I4", changed(records=(*RECORDS[:3], *RECORDS[4:]), seen=())),
    "acknowledged and changed": ("I4", changed(seen=(seen(RECORDS[2], body="{}"),))),
    "acknowledged and lost": ("I4", changed(seen=(seen(RECORDS[2], seq=400),))),
    "an empty start": (
        "I4",
        lambda history: replace(
            history,
            records=(*history.records[:-1], replace(journal(STARTED, session="exec-m1-again")[0], seq=12)),
            seen=(),
        ),
    ),
    "refused without a reason": ("I4", changed(lives=(Life(100, "run", 1.0, 0.0, 2.0, "", 0.0, 78, ""),))),
    # I5
    "accepted and not done": ("I5", changed(asked=(RETRY,))),
    "done twice": (
        "I5",
        lambda history: replace(
            with_records(STARTED, *FAILED, TaskRetried("a"), TaskRetried("a"), *RETRIED[5:])(history), asked=(RETRY,)
        ),
    ),
    "nobody asked": ("I5", with_records(STARTED, SessionPaused("paused by a client", by_hand=True), *RETRIED[1:4])),
    "retried and left alone": (
        "I5",
        lambda history: replace(
            with_records(STARTED, *FAILED, TaskRetried("a"), SessionEnded(SessionStatus.FAILED, "x"))(history),
            asked=(RETRY,),
        ),
    ),
    # I6
    "an orphan": ("I6", changed(looks=(Look(9.0, 3.5, (100,), (Process(7, 1, "sleep"), Process(8, 7, "sleep"))),))),
    "the owner is dead": ("I6", changed(looks=(Look(9.0, 3.5, (), (Process(100, 1, "runner"),)),))),
    "a beat after the kill": (
        "I6",
        changed(faults=(Fault(2.5, "kill", ("supervisor",)),), marks=(*GOOD.marks, mark(8, "beat", "a.1"))),
    ),
    # I7
    "two writers": (
        "I7",
        changed(
            looks=(Look(1.0, 0.0, (1, 2), (Process(1, 0, "run", writes=True), Process(2, 0, "run", writes=True))),)
        ),
    ),
    "a rival that got in": ("I7", changed(rivals=(Rival(4.0, 100, 0, ""),))),
    "a rival that was told nothing": ("I7", changed(rivals=(Rival(4.0, 100, 75, "held"),))),
    "an unknown supervisor": ("I7", changed(lives=(replace(GOOD.lives[0], pid=99),))),
    # I8
    "the index changed": ("I8", changed(after={"index": "3", "refs": "2"})),
    "a ref is gone": ("I8", changed(after={"index": "1"})),
    "a comment is lost": ("I8", changed(final={"m1": "status: completed\n"})),
    "a stray file": ("I8", changed(kept=Kept(stray=("/home/somebody/.cache/x",)))),
    # I10
    "a traceback": ("I10", changed(lives=(replace(GOOD.lives[0], text="Traceback (most recent call last)\n  x"),))),
    "a crash": ("I10", changed(lives=(replace(GOOD.lives[0], code=-11),))),
    "a broken invariant": ("I10", changed(lives=(replace(GOOD.lives[0], code=70),))),
    "a daemon that went": ("I10", changed(lives=(LIFE,))),
    # I11
    "memory grows": (
        "I11",
        changed(uses=tuple(Use(float(at), 100, 50_000_000 + at * 900_000, 30, 6) for at in range(9))),
    ),
    "descriptors grow": ("I11", changed(uses=tuple(Use(float(at), 100, 50_000_000, 30 + at, 6) for at in range(9)))),
    "threads grow": ("I11", changed(uses=tuple(Use(float(at), 100, 50_000_000, 30, 6 + at) for at in range(9)))),
    "a log too large": ("I11", changed(kept=Kept({"a.1.log": 1 << 24}))),
    "worktrees left": ("I11", changed(kept=Kept(slots=3))),
    # L1
    "ready too late": ("L1", changed(lives=(Life(100, "run", 1.0, 9.0, 9.5),))),
    "never ready": ("L1", changed(lives=(Life(100, "run", 1.0, 0.0, 9.5, "", 0.0, 78, "why"),))),
    "without an end": ("L1", with_records(STARTED, *done("a.1", "c1"))),
    "a runnable task left alone": (
        "L1",
        with_records(STARTED, *done("a.1", "c1"), SessionEnded(SessionStatus.FAILED, "who knows")),
    ),
    # L2
    "failed without a reason": (
        "L2",
        with_records(STARTED, *FAILED[:2], TaskFailed("a", "a.1", ""), SessionEnded(SessionStatus.FAILED, "x")),
    ),
    "failed and not shown": (
        "L2",
        lambda history: replace(
            with_records(STARTED, *FAILED, SessionEnded(SessionStatus.FAILED, "x"))(history),
            stuck={SESSION: "nothing to see"},
        ),
    ),
    "ended without a reason": ("L2", with_records(STARTED, SessionEnded(SessionStatus.BLOCKED))),
    "paused without a reason": ("L2", with_records(STARTED, SessionPaused(""))),
    # L3
    "stopped too late": ("L3", changed(lives=(Life(100, "run", 1.0, 1.5, 9.5, "asked", 3.0, 130),))),
    # L4
    "a storm": ("L4", with_records(STARTED, *(ChildReady("task_executor", 9, n + 1, n) for n in range(1, 13)))),
}


def test_a_good_history_has_no_violation() -> None:
    assert check(GOOD) == ()


def test_a_retried_task_is_no_violation() -> None:
    assert check(replace(with_records(*RETRIED)(GOOD), asked=(RETRY,), **UNFAILED)) == ()


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_violation_is_found_with_its_evidence(name: str) -> None:
    invariant, plant = PLANTED[name]
    found = check(plant(GOOD), [invariant])
    assert found, name
    assert {violation.invariant for violation in found} == {invariant}
    assert all(str(violation).startswith(f"{invariant}: ") for violation in found)


def test_each_invariant_has_a_check_and_a_planted_violation() -> None:
    ids = {*(f"I{number}" for number in range(1, 12)), *(f"L{number}" for number in range(1, 5))}
    assert {*CHECKS, "I9"} == ids
    assert {*(invariant for invariant, _ in PLANTED.values()), "I9"} == ids


def test_a_secret_in_what_we_wrote_is_found_and_in_the_output_of_tasks_it_may_stand(tmp_path: Path) -> None:
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "a.1.log").write_bytes(b"s3cr3t-token-of-some-length")
    (tmp_path / "clean.jsonl").write_bytes(b'{"token": "***"}')
    secrets = {"TOKEN": "s3cr3t-token-of-some-length"}
    assert list(check_secrets(secrets, [tmp_path], [tmp_path / "tasks"])) == []
    (tmp_path / "git.jsonl").write_bytes(b"xx s3cr3t-token-of-some-length yy")
    (found,) = check_secrets(secrets, [tmp_path], [tmp_path / "tasks"])
    assert found.invariant == "I9"
    assert "TOKEN" in found.what
    assert "git.jsonl" in found.what


def test_a_history_survives_being_written_and_is_judged_from_its_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "history.json"
    write_history(GOOD, file)
    assert check(read_history(file)) == ()
    assert read_history(file).bounds == Bounds()
    assert main([str(file)]) == 0
    assert "0 violations in 12 events, 1 faults" in capsys.readouterr().out
    write_history(PLANTED["completed twice"][1](GOOD), file)
    assert main([str(file)]) == 1
    assert "I1: a was completed twice" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [[], ["nowhere.json"]])
def test_a_checker_without_a_history_says_what_it_wants(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert "checker" in capsys.readouterr().err
