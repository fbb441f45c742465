"""Opening a run decides what there is to do; a run leaves its host process as it found it."""

import logging
import os
import queue
import re
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import attrs
import msgspec
import pytest

from actors.events import (
    AttemptEnded,
    AttemptGranted,
    AttemptStarted,
    ChildGone,
    ChildReady,
    Event,
    Fact,
    GitIdle,
    MilestoneUpdated,
    Outcome,
    PreflightPassed,
    SessionEnded,
    SessionResumed,
    SessionSettled,
    SessionStarted,
    SessionStatus,
    Settings,
    Step,
    TaskCompleted,
    encode_event,
)
from actors.model import Isolation
from actors.state import ROLES
from supervisor import core_events as told
from supervisor.beginning import AlreadyCompletedError, RunRefusedError, Wish
from supervisor.cli.run import _Audience, _follow, _Signals
from supervisor.environment import SESSION_MARK
from supervisor.journal import Journal, JournalReader
from supervisor.linux import find_marked
from supervisor.notices import Recorded
from supervisor.opening import Opening, open_run
from supervisor.project import Project
from supervisor.projection import load_session_json
from supervisor.session_run import Over
from supervisor.sole_run import SoleRun
from tests.roles import write_milestone
from tests.shell.hubs import no_more_descriptors
from tests.waiting import wait_until

SETTINGS = Settings(isolation=Isolation.NONE, max_parallel=2, stop_grace=1.0)
TEXT = """\
id: m1
title: Two
tasks:
  - {id: a, title: A, run: "true"}
  - {id: b, title: B, run: "true", depends_on: [a]}
"""


def opened(project: Path, *, as_journaled: bool = False, settings: Settings = SETTINGS) -> Opening:
    return open_run(project, "m1", settings, what="a test", as_journaled=as_journaled)


def refusal(project: Path, name: str = "m1", *, as_journaled: bool = False) -> RunRefusedError:
    """Return why a run is refused; nothing may be left held by it."""
    with pytest.raises(RunRefusedError) as raised:
        open_run(project, name, SETTINGS, what="a test", as_journaled=as_journaled)
    return raised.value


def given_up(opening: Opening) -> Opening:
    """Close a run that was never started."""
    SoleRun(opening).close()
    return opening


def journaled(project: Path) -> list[Event]:
    with JournalReader.open(project / ".milestones" / "state.db") as journal:
        return [record.event() for record in journal.records()]


def kinds(project: Path) -> list[str]:
    return [type(event).__name__ for event in journaled(project)]


def over(run: SoleRun, timeout: float = 60.0) -> Over:
    """Read the notices up to the last one."""
    give_up_at = monotonic() + timeout
    while True:
        try:
            notice = run.notices.get(timeout=max(0.0, give_up_at - monotonic()))
        except queue.Empty:
            pytest.fail(f"the run is not over after {timeout:g} s: {kinds(run.paths.project)}")
        if isinstance(notice, Over):
            return notice


def first(run: SoleRun, kind: type[Event]) -> None:
    """Read notices until a fact of this kind was journaled."""
    give_up_at = monotonic() + 30.0
    while True:
        notice = run.notices.get(timeout=max(0.0, give_up_at - monotonic()))
        assert not isinstance(notice, Over), notice
        if isinstance(notice, Recorded) and any(isinstance(event, kind) for _, event in notice.items):
            return


@pytest.fixture
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a project whose path leaves room for that of a socket below it."""
    path = tmp_path_factory.mktemp("project")
    write_milestone(path, "m1", TEXT)
    return path


@pytest.fixture
def half_done(project: Path) -> Path:
    """Return a project whose unfinished session has completed task a."""
    opening = opened(project)
    facts: tuple[Event, ...] = (
        GitIdle("isolation is none"),
        PreflightPassed(),
        AttemptGranted("a.1", "a", 1, 0, (Step("run", "true"),)),
        AttemptStarted("a.1", 1),
        AttemptEnded("a.1", Outcome.OK, "run"),
        TaskCompleted("a", "a.1"),
        SessionEnded(SessionStatus.INTERRUPTED, "by the user"),
    )
    opening.journal.append([(opening.session, encode_event(fact)) for fact in facts], 1e9, 1.0)
    given_up(opening)
    return project


# --- opening ------------------------------------------------------------------------------------------------


def test_a_first_run_begins_a_session_durably_before_anything_is_started(project: Path) -> None:
    opening = opened(project)
    assert re.fullmatch(r"exec-m1-\d{8}_\d{6}-[0-9a-f]{8}", opening.session)
    assert (opening.resumed, opening.updated) == (False, False)
    (started,) = journaled(project)
    assert isinstance(started, SessionStarted)
    assert (started.path, started.project, started.pid) == (
        ".milestones/active/m1.yaml",
        str(project),
        os.getpid(),
    )
    given_up(opening)


def test_an_unfinished_session_is_taken_up_again(project: Path) -> None:
    former = given_up(opened(project))
    again = given_up(opened(project))
    assert (again.session, again.resumed, again.updated) == (former.session, True, False)
    assert kinds(project) == ["SessionStarted", "SessionResumed"]


def test_a_session_that_failed_is_not_taken_up_but_followed_by_a_new_one(project: Path) -> None:
    former = opened(project)
    ended = encode_event(SessionEnded(SessionStatus.FAILED, "task a failed"))
    former.journal.append([(former.session, ended)], 1e9, 1.0)
    given_up(former)
    again = given_up(opened(project))
    assert again.session != former.session
    assert not again.resumed


def test_statuses_that_a_run_wrote_itself_are_no_edit(half_done: Path) -> None:
    write_milestone(half_done, "m1", TEXT.replace("title: A,", "title: A, status: completed,"))
    assert not given_up(opened(half_done)).updated


def test_an_edit_is_taken_in_by_the_next_life_and_keeps_what_was_completed(half_done: Path) -> None:
    write_milestone(half_done, "m1", TEXT.replace("title: B", "title: Better") + '  - {id: c, title: C, run: "true"}\n')
    opening = given_up(opened(half_done))
    assert (opening.resumed, opening.updated) == (True, True)
    assert [type(event) for event in journaled(half_done)[-2:]] == [SessionResumed, MilestoneUpdated]
    state = opening.ledger.state
    assert {key: task.phase.value for key, task in state.tasks.items()} == {
        "a": "completed",
        "b": "pending",
        "c": "pending",
    }


@pytest.mark.parametrize(
    "edited",
    [
        TEXT.replace('title: A, run: "true"', 'title: A, run: "false"'),
        TEXT.replace('  - {id: a, title: A, run: "true"}\n', "").replace(", depends_on: [a]", ""),
    ],
    ids=["changed", "gone"],
)
def test_an_edit_of_a_completed_task_is_refused_with_the_way_out_and_changes_nothing(
    half_done: Path, edited: str
) -> None:
    before = journaled(half_done)
    write_milestone(half_done, "m1", edited)
    refused = refusal(half_done)
    assert refused.code == 2
    assert "completed tasks of the unfinished session changed: a" in refused.lines[0]
    assert "--as-journaled" in refused.lines[1]
    assert journaled(half_done) == before
    opening = given_up(opened(half_done, as_journaled=True))
    assert (opening.resumed, opening.updated) == (True, False)
    assert opening.ledger.state.milestone.by_id["a"].run == "true"


def test_another_isolation_for_unfinished_work_is_refused(half_done: Path) -> None:
    with pytest.raises(RunRefusedError, match="began with isolation none") as raised:
        open_run(half_done, "m1", SETTINGS, what="a test", isolation=Isolation.WORKTREE)
    assert raised.value.code == 2
    given_up(opened(half_done, settings=attrs.evolve(SETTINGS, isolation=Isolation.WORKTREE)))


def test_a_project_that_is_held_is_refused_with_its_holder(project: Path) -> None:
    opening = opened(project)
    refused = refusal(project)
    assert refused.code == 75
    assert f"held by process {os.getpid()} (a test)" in refused.lines[0]
    given_up(opening)
    given_up(opened(project))


def test_a_milestone_that_is_not_there_is_refused_with_those_that_are(project: Path) -> None:
    refused = refusal(project, "m2")
    assert (refused.code, refused.lines[1]) == (1, "active milestones here: m1")
    assert not (project / ".milestones" / "state.db").exists()


def test_a_milestone_that_is_completed_already_is_refused_as_that(project: Path) -> None:
    write_milestone(project, "m0", "id: m0\n", "completed")
    refused = refusal(project, "m0")
    assert refused.code == 0
    assert "completed already" in refused.lines[0]


@pytest.mark.parametrize("name", ["../m1", "", "a b", ".m1", "x" * 200])
def test_what_is_no_id_is_refused_and_never_joined_to_a_path(project: Path, name: str) -> None:
    refused = refusal(project, name)
    assert refused.code == 1
    assert "is no plain name" in refused.lines[0]


def test_an_invalid_file_is_refused_with_the_place(project: Path) -> None:
    path = write_milestone(project, "m1", "id: m1\ntitle: T\ntasks:\n  - {id: a, title: A, depends_on: [z]}\n")
    refused = refusal(project)
    assert refused.code == 2
    assert refused.lines[0].startswith(f"{path}:4:")


@pytest.mark.row("P12")
def test_a_journal_that_is_damaged_is_refused_and_the_lock_given_back(project: Path) -> None:
    given_up(opened(project))
    database = project / ".milestones" / "state.db"
    whole = database.read_bytes()
    assert b"Two" in whole
    database.write_bytes(whole.replace(b"Two", b"Twa"))
    assert refusal(project).code == 78
    database.write_bytes(whole)
    given_up(opened(project))


@pytest.mark.row("F25")
def test_a_session_with_a_fact_of_a_newer_version_is_refused_and_nothing_is_journaled(half_done: Path) -> None:
    with Journal.open(half_done / ".milestones" / "state.db") as journal:
        (session,) = journal.sessions()
        journal.append([(session.id, Fact("TaskTeleported", msgspec.Raw(b"{}")))], 1e9, 1.0)
        last = journal.last_seq
    refused = refusal(half_done)
    assert refused.code == 78
    assert f"event {last}: unknown kind of event 'TaskTeleported': written by a newer version" in refused.lines[0]
    with Journal.open(half_done / ".milestones" / "state.db") as journal:
        assert journal.last_seq == last


@pytest.mark.row("F26")
def test_a_place_that_cannot_be_written_is_refused_with_the_reason(project: Path) -> None:
    (project / ".milestones" / "lock").mkdir()
    refused = refusal(project)
    assert refused.code == 74
    assert "is not a regular file" in refused.lines[0]


def _moved(half_done: Path) -> Opening:
    """Complete the other task and move the file, as everything was killed right after that."""
    opening = opened(half_done)
    facts: tuple[Event, ...] = (
        AttemptGranted("b.1", "b", 1, 0, (Step("run", "true"),)),
        AttemptStarted("b.1", 1),
        AttemptEnded("b.1", Outcome.OK, "run"),
        TaskCompleted("b", "b.1"),
        SessionSettled(SessionStatus.COMPLETED),
    )
    opening.journal.append([(opening.session, encode_event(fact)) for fact in facts], 1e9, 1.0)
    given_up(opening)
    opening.paths.completed.mkdir()
    opening.paths.file("m1").rename(opening.paths.completed_file("m1"))
    return opening


def test_a_session_that_was_killed_after_its_milestone_was_moved_is_gone_on_with(half_done: Path) -> None:
    """Its worktrees are to be removed, and its last commits to be pushed."""
    former = _moved(half_done)
    opening = opened(half_done)
    given_up(opening)
    assert (opening.session, opening.resumed) == (former.session, True)
    assert isinstance(journaled(half_done)[-1], SessionResumed)


def test_a_session_whose_milestone_was_moved_is_taken_up_as_carefully_as_any_other(half_done: Path) -> None:
    former = _moved(half_done)
    lock = former.lock.path
    lock.unlink()
    lock.mkdir()
    refused = refusal(half_done)
    assert (refused.code, str(former.paths.milestones) in refused.lines[0]) == (74, True)
    lock.rmdir()
    former.paths.control.parent.mkdir(parents=True, exist_ok=True)
    with socket.socket(socket.AF_UNIX) as manager:
        manager.bind(str(former.paths.control))
        manager.listen()
        with pytest.raises(AlreadyCompletedError):
            opened(half_done)
    former.paths.control.unlink()
    assert isinstance(journaled(half_done)[-1], SessionSettled)


def test_a_daemon_goes_on_with_a_session_that_was_killed_after_its_milestone_was_moved(half_done: Path) -> None:
    former = _moved(half_done)
    project = Project.open(former.paths, "a test", lambda _: None)
    project.start()
    beginning = project.begin(Wish("m1", SETTINGS))
    project.end(10.0)
    assert project.close()
    assert (beginning.session, beginning.resumed) == (former.session, True)


def test_the_end_of_a_session_that_was_killed_before_it_was_shown_is_shown_by_the_next_start(half_done: Path) -> None:
    former = _moved(half_done)
    with Journal.open(half_done / ".milestones" / "state.db") as journal:
        journal.append([(former.session, encode_event(SessionEnded(SessionStatus.COMPLETED)))], 1e9, 1.0)
    former.paths.session_json(former.session).parent.mkdir(parents=True, exist_ok=True)
    former.paths.session_json(former.session).write_bytes(b"{torn")
    with pytest.raises(AlreadyCompletedError):
        opened(half_done)
    sheet = load_session_json(former.paths.session_json(former.session))
    assert sheet is not None
    assert (sheet.status, sheet.tasks) == (SessionStatus.COMPLETED, {"a": "completed", "b": "completed"})
    log = former.paths.logs(former.session) / "execution.jsonl"
    assert log.read_bytes().count(b"\n") > 0


# --- running ------------------------------------------------------------------------------------------------


def _surroundings() -> object:
    handlers = [signal.getsignal(number) for number in signal.valid_signals()]
    root = logging.getLogger()
    process = signal.set_wakeup_fd(-1), dict(os.environ), Path.cwd(), os.umask(0o022)
    return handlers, process, root.handlers[:], root.level


def test_runs_in_threads_one_after_the_other_complete_and_leave_the_process_as_it_was(project: Path) -> None:
    before = _surroundings()
    ends: list[Over] = []

    def execute(name: str) -> None:
        run = SoleRun(open_run(project, name, SETTINGS, what="a test"))
        run.start()
        ends.append(over(run))
        run.close()
        run.close()

    write_milestone(project, "m2", TEXT.replace("m1", "m2"))
    for name in ("m1", "m2"):
        thread = threading.Thread(target=execute, args=(name,))
        thread.start()
        thread.join(40.0)
    assert ends == [Over(SessionStatus.COMPLETED, "", 0)] * 2
    assert _surroundings() == before
    assert kinds(project).count("TaskCompleted") == 4


def test_a_run_that_was_never_started_can_be_closed(project: Path) -> None:
    run = SoleRun(opened(project))
    run.close()
    run.close()


def test_a_supervisor_is_told_of_heartbeats_with_what_comes_next_and_not_woken_for_each(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = SoleRun(opened(project))
    heard: queue.SimpleQueue[told.Event] = queue.SimpleQueue()

    class Supervisor:
        """Notes what it is told."""

        tell = staticmethod(heard.put)

    with monkeypatch.context() as patch:
        patch.setattr(run, "_supervisor", Supervisor())
        for at in (1.0, 2.0):
            for role in ROLES:
                run.tell(told.Beat(at, role, 1))
        assert heard.empty()
        run.tell(told.Tick(3.0))
    run.close()
    assert [heard.get() for _ in range(heard.qsize())] == [*(told.Beat(2.0, role, 1) for role in ROLES), told.Tick(3.0)]


def test_a_role_that_cannot_start_ends_the_run_with_a_reason(project: Path) -> None:
    opening = opened(project)
    # What should be the executor's log is a directory: it cannot come up, however often it is tried.
    (project / ".milestones" / "logs" / opening.session / "execution.jsonl").mkdir(parents=True)
    run = SoleRun(opening)
    run.start()
    end = over(run)
    run.close()
    assert end.status is SessionStatus.PAUSED
    assert end.code == 1
    assert end.reason
    assert "task_executor crashed: IsADirectoryError" in (
        project / ".milestones" / "logs" / opening.session / "children.log"
    ).read_text(encoding="utf-8")
    assert not given_up_again(project)


@pytest.mark.row("F10")
def test_a_session_that_cannot_be_started_again_for_want_of_a_thread_pauses_and_its_project_goes_on(
    project: Path,
) -> None:
    opening = opened(project)
    (project / ".milestones" / "logs" / opening.session / "execution.jsonl").mkdir(parents=True)
    run, go_on = SoleRun(opening), threading.Event()

    def hold_up() -> None:
        go_on.wait(60.0)

    run.project.hub.call(hold_up)
    run.start()
    before = threading.stack_size(1 << 47)  # as large as all addresses together
    go_on.set()
    try:
        end = over(run)
    finally:
        threading.stack_size(before)
    assert (end.status, end.code, run.project.hub.failure) == (SessionStatus.PAUSED, 74, None)
    assert "it cannot be tried again: no thread can be started" in end.reason
    assert run.close()
    assert not given_up_again(project)


def given_up_again(project: Path) -> bool:
    """Tell whether anything of the session still keeps the project."""
    return not given_up(opened(project)).resumed


@pytest.fixture
def long_run(project: Path) -> Iterator[SoleRun]:
    """Yield a run whose first task runs for ever."""
    write_milestone(project, "m1", TEXT.replace('title: A, run: "true"', 'title: A, run: "sleep 1000"'))
    run = SoleRun(opened(project))
    run.start()
    first(run, AttemptStarted)
    yield run
    run.close()
    wait_until(lambda: not find_marked(SESSION_MARK, run.session), 60.0, "nothing of the session lives")


@pytest.mark.parametrize(
    ("final", "status", "code"),
    [(False, SessionStatus.INTERRUPTED, 130), (True, SessionStatus.CANCELLED, 1)],
)
def test_a_stop_ends_what_runs_and_says_what_became_of_the_session(
    long_run: SoleRun, final: bool, status: SessionStatus, code: int
) -> None:
    long_run.request_stop("by the user", final=final)
    end = over(long_run)
    assert (end.status, end.reason, end.code) == (status, "by the user", code)


def test_closing_in_the_middle_leaves_nothing_and_the_session_can_be_taken_up(long_run: SoleRun) -> None:
    long_run.close()
    wait_until(lambda: not find_marked(SESSION_MARK, long_run.session), 60.0, "nothing of the session lives")
    opening = given_up(opened(long_run.paths.project))
    assert (opening.session, opening.resumed) == (long_run.session, True)


def test_ending_everything_at_once_leaves_the_session_resumable(long_run: SoleRun) -> None:
    long_run.stop_now()
    end = over(long_run)
    assert (end.status, end.code) == (SessionStatus.INTERRUPTED, 130)
    assert kinds(long_run.paths.project)[-1] == "SessionEnded"


# --- what must not happen -----------------------------------------------------------------------------------


def test_a_fork_server_that_cannot_be_started_ends_the_run_with_the_reason(project: Path) -> None:
    run = SoleRun(opened(project))
    with no_more_descriptors():
        run.start()
        end = over(run, 5.0)
    assert (end.status, end.code) == (SessionStatus.INTERRUPTED, 74)
    assert end.reason.startswith("the system refused what supervision needs: Too many open files: ")
    assert run.close()
    assert not given_up_again(project)


def test_a_supervisor_whose_own_code_fails_ends_the_run_with_the_reason(long_run: SoleRun) -> None:
    long_run._supervisor.tell("nonsense")
    end = over(long_run, 10.0)
    assert end.reason.startswith("broken invariant in the supervisor: AttributeError: ")
    assert (end.status, end.code) == (SessionStatus.INTERRUPTED, 70)
    assert long_run.close()
    opening = given_up(opened(long_run.paths.project))
    assert (opening.session, opening.resumed) == (long_run.session, True)


def test_a_fork_server_that_dies_while_it_imports_is_replaced_and_everything_started_again(project: Path) -> None:
    run = SoleRun(opened(project))
    run.start()
    os.kill(wait_until(lambda: run.fork_server_pid, 60.0, "there is a fork server"), signal.SIGKILL)
    assert over(run) == Over(SessionStatus.COMPLETED, "", 0)
    assert run.close()
    events = journaled(project)
    gone = [event.child for event in events if isinstance(event, ChildGone)]
    # The first fork server may be dead before the runner was asked of it: then nothing is gone with it.
    assert gone in ([], ["runner"])
    ready = [(event.child, event.incarnation) for event in events if isinstance(event, ChildReady)]
    assert ready == [("runner", 1 + len(gone)), *((role, 1) for role in ROLES)]


def test_a_run_that_cannot_be_made_gives_back_what_it_was_given(project: Path) -> None:
    opening = opened(project)
    logs = project / ".milestones" / "logs" / opening.session
    logs.mkdir(parents=True)
    (logs / "children.log").mkdir()
    with pytest.raises(IsADirectoryError):
        SoleRun(opening)
    (logs / "children.log").rmdir()
    assert given_up(opened(project)).session == opening.session


def test_a_project_stays_locked_as_long_as_the_hub_of_its_run_hangs(project: Path) -> None:
    go_on = threading.Event()
    run = SoleRun(opened(project))
    run.start()

    def hang() -> None:
        go_on.wait(100.0)

    run._hub.call(hang)
    asked = monotonic()
    assert not run.close(0.5)
    assert monotonic() - asked < 60.0
    assert refusal(project).code == 75
    go_on.set()
    assert run.close()
    assert given_up(opened(project)).resumed


class _Deaf:
    """A run that does not end whatever is asked of it."""

    def __init__(self) -> None:
        self.notices: queue.SimpleQueue[object] = queue.SimpleQueue()
        self.asked: list[str] = []

    def request_stop(self, reason: str) -> None:
        self.asked.append(reason)

    def kill_now(self) -> None:
        self.asked.append("kill")


class _Unseen:
    """A view that shows nothing."""

    def show(self, notice: object) -> None:
        """Take a notice."""

    def refresh(self) -> None:
        """Nothing has happened for a moment."""

    def stopping(self, hint: str) -> None:
        """Everything is being ended."""


@pytest.mark.row("F28")
def test_after_the_third_signal_nobody_is_waited_for() -> None:
    run, signals = _Deaf(), _Signals()
    ends: list[Over] = []
    thread = threading.Thread(
        target=lambda: ends.append(_follow(run, _Audience(_Unseen()), signals))  # type: ignore[arg-type]
    )
    thread.start()
    signals._seen(signal.SIGTERM, None)
    wait_until(lambda: run.asked == ["SIGTERM received; running tasks are ended"])
    signals._seen(signal.SIGINT, None)
    wait_until(lambda: run.asked[1:] == ["kill"])
    assert not ends
    signals._seen(signal.SIGINT, None)
    thread.join(60.0)
    (end,) = ends
    assert (end.status, end.code) == (SessionStatus.INTERRUPTED, 130)
    assert end.reason.startswith("not everything has ended as it was told to")
