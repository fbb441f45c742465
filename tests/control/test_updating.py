"""What an edit of a milestone file changes for a live session, and every way in which that is answered."""

import queue
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import attrs
import pytest

from actors.events import (
    AttemptEnded,
    AttemptGranted,
    AttemptStarted,
    Event,
    MilestoneUpdated,
    Outcome,
    SessionStarted,
    Settings,
    Step,
    TaskCompleted,
    TaskFailed,
)
from actors.files import read_milestone_file
from actors.model import FileStatus, Isolation, Milestone, Task
from actors.paths import ProjectPaths
from actors.state import SessionState
from supervisor.updating import Difference, begin_update, compare
from tests.fold.histories import record_of

TASKS: Final = (Task("a", "A", run="true"), Task("b", "B", run="true"), Task("c", "C", run="true", depends_on=("b",)))
MILESTONE: Final = Milestone("m1", "One", tasks=TASKS)
A_IS_COMPLETED: Final = (
    AttemptGranted("a.1", "a", 1, 2, (Step("run", "true"),)),
    AttemptStarted("a.1", 7),
    AttemptEnded("a.1", Outcome.OK, "run"),
    TaskCompleted("a", "a.1"),
)
B_RUNS: Final = (AttemptGranted("b.1", "b", 1, 2, (Step("run", "true"),)), AttemptStarted("b.1", 8))


def folded(*events: Event, milestone: Milestone = MILESTONE) -> SessionState:
    """Fold a session that began with the milestone."""
    state = SessionState()
    started = SessionStarted(milestone, "m1.yaml", "/p", Settings(isolation=Isolation.NONE), "boot", 10)
    for seq, event in enumerate((started, *events), 1):
        assert not state.admits(event), state.admits(event)
        state.apply(record_of(event, seq, 1000.0), event)
    return state


def edited(*tasks: Task, **fields: Any) -> Milestone:  # noqa: ANN401 - fields of a milestone
    return attrs.evolve(MILESTONE, tasks=tasks or TASKS, **fields)


def test_what_is_new_gone_and_other_is_named_task_by_task_and_field_by_field() -> None:
    newer = edited(attrs.evolve(TASKS[0], run="false", retries=3), TASKS[1], Task("d", "D"), title="Other")
    found = compare(folded(), newer)
    assert (found.added, found.removed, found.changed) == (("d",), ("c",), {"a": ("run", "retries")})
    assert (found.fields, found.refusal, found.applied, found.is_empty) == (("title",), "", False, False)


def test_what_a_run_writes_into_the_file_is_no_change() -> None:
    words = (FileStatus.COMPLETED, FileStatus.IN_PROGRESS, FileStatus.PENDING)
    done = edited(*(attrs.evolve(task, status=word) for task, word in zip(TASKS, words, strict=True)), status="done")
    assert compare(folded(*A_IS_COMPLETED, *B_RUNS), attrs.evolve(done, declared_percentage=33)).is_empty


@pytest.mark.parametrize(
    ("newer", "refusal"),
    [
        (edited(attrs.evolve(TASKS[0], run="false"), *TASKS[1:]), "completed tasks changed: a; undo the edit of these"),
        (edited(*TASKS[1:]), "completed tasks changed: a; undo the edit of these"),
        (
            edited(TASKS[0], attrs.evolve(TASKS[1], run="false"), TASKS[2]),
            "tasks that run changed: b; wait for them, or undo the edit of these",
        ),
        (
            edited(TASKS[0], attrs.evolve(TASKS[2], depends_on=())),
            "tasks that run changed: b; wait for them, or undo the edit of these",
        ),
        (edited(*TASKS[:2], attrs.evolve(TASKS[2], run="false")), ""),
        (edited(*TASKS[:2]), ""),
    ],
    ids=["completed-other", "completed-gone", "running-other", "running-gone", "waiting-other", "waiting-gone"],
)
def test_what_is_completed_or_runs_must_stay_as_it_was(newer: Milestone, refusal: str) -> None:
    assert compare(folded(*A_IS_COMPLETED, *B_RUNS), newer).refusal == refusal


@pytest.mark.parametrize(
    ("task", "status", "refusal"),
    [
        ("c", FileStatus.CANCELLED, ""),
        ("c", FileStatus.COMPLETED, ""),
        ("b", FileStatus.CANCELLED, "tasks that run changed: b; wait for them, or undo the edit of these"),
        ("a", FileStatus.CANCELLED, "completed tasks changed: a; undo the edit of these"),
    ],
    ids=["waiting-cancelled", "waiting-completed", "running", "completed"],
)
def test_a_status_that_a_person_has_set_is_a_change(task: str, status: FileStatus, refusal: str) -> None:
    state = folded(*A_IS_COMPLETED, *B_RUNS)
    newer = edited(*(attrs.evolve(one, status=status) if one.id == task else one for one in TASKS))

    found = compare(state, newer)

    assert found.changed == {task: ("status",)}
    assert found.refusal == refusal


def test_the_status_that_a_person_set_of_a_task_that_failed_is_for_the_next_run() -> None:
    failed = (AttemptEnded("b.1", Outcome.FAILED, "run", 1), TaskFailed("b", "b.1", "it failed"))
    state = folded(*A_IS_COMPLETED, *B_RUNS, *failed)
    newer = edited(*(attrs.evolve(one, status=FileStatus.COMPLETED) for one in TASKS[:2]), TASKS[2])
    assert compare(state, newer).is_empty


class Ticket:
    """Takes one answer, from any thread."""

    def __init__(self) -> None:
        self._answers: queue.SimpleQueue[object] = queue.SimpleQueue()

    def done(self, result: object = None) -> None:
        self._answers.put(result)

    def failed(self, code: int, *lines: str) -> None:
        self._answers.put((code, *lines))

    def answer(self) -> Any:  # noqa: ANN401 - a Difference, or a tuple of code and lines
        return self._answers.get(timeout=60)


class Run:
    """A session of which only what an update needs is there."""

    def __init__(self, project: Path, state: SessionState | None, refusals: Sequence[str] = ()) -> None:
        self.paths = ProjectPaths(project)
        self.session = "exec-m1-20260301_120000-0badcafe"
        self.milestone = SimpleNamespace(id="m1")
        self.settings = Settings(isolation=Isolation.NONE)
        self.stated: list[Event] = []
        self._state = state
        self._refusals = refusals

    def look(self, function: Callable[[SessionState], None], gone: Callable[[], None]) -> None:
        if self._state is None:
            gone()
        else:
            function(self._state)

    def state(self, event: Event, told: Callable[[Sequence[str]], None]) -> None:
        self.stated.append(event)
        told(self._refusals)


TEXT: Final = "id: m1\ntitle: One\ntasks:\n  - {id: a, title: A, run: 'true'}\n  - {id: b, title: B, run: 'true'}\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return the milestone file of a project."""
    path = tmp_path / ".milestones" / "active" / "m1.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(TEXT)
    return path


def of_file(file: Path) -> Milestone:
    found = read_milestone_file(file).milestone
    assert found is not None
    return found


def ask(file: Path, state: SessionState | None, *refusals: str, apply: bool) -> tuple[Any, list[Event]]:
    """Ask for an update; return the answer, and what was stated."""
    ticket, run = Ticket(), Run(file.parents[2], state, refusals)
    begin_update(run, ticket, apply=apply)  # type: ignore[arg-type]  # what is used of them is there
    return ticket.answer(), run.stated


@pytest.mark.parametrize("apply", [False, True])
def test_without_an_edit_nothing_is_stated(file: Path, *, apply: bool) -> None:
    answer, stated = ask(file, folded(milestone=of_file(file)), apply=apply)
    assert isinstance(answer, Difference)
    assert (answer.is_empty, answer.applied, stated) == (True, False, [])


def test_an_edit_is_shown_and_nothing_is_stated(file: Path) -> None:
    state = folded(milestone=of_file(file))
    file.write_text(TEXT + "  - {id: c, title: C, run: 'true'}\n")
    answer, stated = ask(file, state, apply=False)
    assert (answer.added, answer.applied, stated) == (("c",), False, [])


def test_an_edit_is_taken_in_as_a_fact(file: Path) -> None:
    state = folded(milestone=of_file(file))
    file.write_text(TEXT + "  - {id: c, title: C, run: 'true'}\n")
    answer, stated = ask(file, state, apply=True)
    assert (answer.added, answer.applied) == (("c",), True)
    assert stated == [MilestoneUpdated(of_file(file))]


def test_what_must_not_change_is_shown_with_the_reason_and_not_taken_in(file: Path) -> None:
    state = folded(*A_IS_COMPLETED, milestone=of_file(file))
    file.write_text(TEXT.replace("true", "false", 1))
    shown, _ = ask(file, state, apply=False)
    assert (shown.changed, shown.refusal.startswith("completed tasks changed: a")) == ({"a": ("run",)}, True)
    assert ask(file, state, apply=True) == ((2, shown.refusal), [])


def test_what_the_journal_does_not_admit_is_said(file: Path) -> None:
    state = folded(milestone=of_file(file))
    file.write_text(TEXT + "  - {id: c, title: C, run: 'true'}\n")
    answer, _ = ask(file, state, "the session has ended already", apply=True)
    assert answer == (2, "the session has ended already")


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("id: m1\ntasks: 7\n", 2, "m1.yaml:2:"),
        (TEXT.replace("id: m1", "id: m2"), 2, "the id 'm2' is not the name of the file"),
        (TEXT.replace("run: 'true'", "agent: nobody", 1), 78, "nobody"),
        (None, 1, "milestone not found"),
    ],
    ids=["invalid", "of-another-id", "an-agent-that-is-not-there", "gone"],
)
def test_a_file_that_cannot_be_executed_is_answered_with_the_reason(
    file: Path, text: str | None, code: int, said: str
) -> None:
    state = folded(milestone=of_file(file))
    if text is None:
        file.unlink()
    else:
        file.write_text(text)
    answer, stated = ask(file, state, apply=True)
    assert (answer[0], stated) == (code, [])
    assert said in " ".join(answer[1:])


def test_a_file_that_stands_among_the_completed_ones_is_no_success(file: Path) -> None:
    state = folded(milestone=of_file(file))
    completed = file.parents[1] / "completed"
    completed.mkdir()
    file.rename(completed / file.name)
    answer, _ = ask(file, state, apply=False)
    assert (answer[0], "is completed already" in answer[1]) == (2, True)


def test_a_file_that_the_system_does_not_give_is_answered_with_the_reason(file: Path) -> None:
    ticket = Ticket()
    run = Run(Path("/", *["much-too-long" * 15] * 25), folded(milestone=of_file(file)))
    begin_update(run, ticket, apply=False)  # type: ignore[arg-type]  # as above
    code, said = ticket.answer()
    assert (code, "File name too long" in said) == (74, True)


def test_an_update_for_which_there_is_no_thread_is_answered_with_the_reason(file: Path) -> None:
    ticket, run = Ticket(), Run(file.parents[2], folded(milestone=of_file(file)))
    before = threading.stack_size(1 << 47)  # as large as all addresses together
    try:
        begin_update(run, ticket, apply=False)  # type: ignore[arg-type]  # as above
    finally:
        threading.stack_size(before)
    code, said = ticket.answer()
    assert (code, "no thread can be started" in said) == (74, True)


def test_a_session_that_has_ended_meanwhile_is_answered(file: Path) -> None:
    answer, stated = ask(file, None, apply=True)
    assert (answer, stated) == ((7, "session exec-m1-20260301_120000-0badcafe has ended meanwhile"), [])
