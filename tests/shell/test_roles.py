"""Git integration, executor and progress monitor on a bench: real git and files, time and deaths at will.

A death is simulated by throwing the role away and building another one from the fold, with whatever its programs had
done by then left as it was.
"""

import errno
import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from actors import files, role
from actors.events import (
    AttemptEnded,
    AttemptGranted,
    AttemptStarted,
    CompletionAlert,
    DependencyAlert,
    Event,
    GitIdle,
    GitNoticed,
    GitReady,
    GitRefused,
    LandConflicted,
    Landed,
    LandFailed,
    MilestoneUpdated,
    Outcome,
    PreflightPassed,
    ProgressReported,
    Pushed,
    Record,
    RoleFinished,
    SessionPaused,
    SessionSettled,
    SessionStatus,
    SessionUnpaused,
    Settings,
    SlotFailed,
    SlotPrepared,
    Step,
    StopRequested,
    TaskCompleted,
    TaskFailed,
    TaskRetried,
    TaskSkipped,
    TaskStalled,
    UncommittedSeen,
)
from actors.git_integration import GitIntegration
from actors.log_lines import lines_of
from actors.messages import ProgramEnded
from actors.model import Isolation, Milestone, Task
from actors.programs import Finished
from actors.progress_monitor import ProgressMonitor
from actors.reader import read
from actors.standstill import LANDING_HELD
from actors.state import Phase
from actors.task_executor import WRITE_SHARE, TaskExecutor
from tests.repositories import MakeRepository, git
from tests.roles import SESSION, RoleBench, write_milestone

OK = Outcome.OK
TWO = Milestone("m1", "One", tasks=(Task("a", "Make a", run="true"), Task("b", "Make b", run="true")))
STEPS = (Step("run", "true"),)


def grant(task: str, slot: int = 0, number: int = 1) -> AttemptGranted:
    return AttemptGranted(f"{task}.{number}", task, number, slot, STEPS)


# --- git ----------------------------------------------------------------------------------------------------


@pytest.fixture
def repository(git_repo: MakeRepository, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a repository whose first commit has the same SHA each time."""
    with monkeypatch.context() as context:
        context.setenv("GIT_AUTHOR_DATE", "2026-01-01T00:00:00Z")
        context.setenv("GIT_COMMITTER_DATE", "2026-01-01T00:00:00Z")
        return git_repo(files={"README.md": "One.\n", "shared": "begin\n"})


def attempt(bench: RoleBench, task: str, slot: int, files: dict[str, str]) -> None:
    """Let an attempt run from its grant to a good end, with what it wrote."""
    bench.happen(grant(task, slot))
    bench.run_programs()
    work(bench, task, files)


def work(bench: RoleBench, task: str, files: dict[str, str]) -> None:
    """Write what a task leaves in its slot, and end it."""
    found = bench.state.tasks[task].attempt
    assert found is not None
    for name, text in files.items():
        Path(found.path, name).write_text(text, encoding="utf-8")
    bench.happen(AttemptStarted(found.id, 7), AttemptEnded(found.id, OK, "run", seconds=1.0))


def log(repository: Path) -> list[str]:
    return git(repository, "log", "--format=%H", "main..milestone/m1").splitlines()


def test_a_task_becomes_one_commit_with_its_trailers(repository: Path) -> None:
    with RoleBench(GitIntegration, repository, TWO) as bench:
        bench.run_programs()
        assert [type(event) for event in bench.by_role] == [GitReady]
        attempt(bench, "a", 0, {"a": "made\n"})
        bench.run_programs()
        (landed,) = bench.of(Landed)
        assert log(repository) == [landed.sha]
        assert landed.files == 1
        message = git(repository, "log", "-1", "--format=%s%n%(trailers:only)", landed.sha)
        trailers = ["Milestone: m1", "Task: a", f"Session: {SESSION}"]
        assert message.strip().splitlines() == ["feat(milestone-m1): Make a", *trailers]


def _landing(bench: RoleBench, die_at: int, *, after: bool) -> int:
    """Go from nothing to a landed task; the role dies once, around its program number `die_at`; count programs."""
    count = 0
    granted = worked = False
    while not bench.of(Landed):
        if not bench.host.programs:
            if not granted:
                granted = True
                bench.happen(grant("a"))
            elif not worked:
                worked = True
                work(bench, "a", {"a": "made\n"})
            assert bench.host.programs, f"nothing goes on after {bench.by_role}"
        count += 1
        if count == die_at:
            if after:
                bench.step(told=False)
            bench.restart()
        else:
            bench.step()
    bench.run_programs()
    return count


@pytest.mark.row("F1")
@pytest.mark.parametrize("after", [False, True], ids=["before it ran", "after it ran"])
def test_wherever_the_git_role_dies_there_is_one_commit_and_always_the_same(
    git_repo: MakeRepository, monkeypatch: pytest.MonkeyPatch, after: bool
) -> None:
    with monkeypatch.context() as context:
        context.setenv("GIT_AUTHOR_DATE", "2026-01-01T00:00:00Z")
        context.setenv("GIT_COMMITTER_DATE", "2026-01-01T00:00:00Z")
        plain = git_repo("plain", files={"README.md": "One.\n"})
    with RoleBench(GitIntegration, plain, TWO) as bench:
        steps = _landing(bench, 0, after=False)
        (expected,) = log(plain)
    assert steps > 10
    # Every other moment is enough for one run: the two cases take turns.
    for die_at in range(1 + after, steps + 1, 2):
        project = plain.parent / f"dies-at-{die_at}"
        git(plain.parent, "clone", "--quiet", "--no-hardlinks", "--branch=main", str(plain), str(project))
        git(project, "remote", "remove", "origin")
        with RoleBench(GitIntegration, project, TWO) as bench:
            _landing(bench, die_at, after=after)
            assert log(project) == [expected], f"died at program {die_at}"
            assert bench.refusals == []
            assert len(bench.of(Landed)) == 1
            assert len(bench.of(SlotPrepared)) == 1


def test_landings_go_one_after_the_other_and_a_conflict_is_told(repository: Path) -> None:
    with RoleBench(GitIntegration, repository, TWO) as bench:
        bench.run_programs()
        bench.happen(grant("a", 0), grant("b", 1))
        bench.run_programs()
        for task in ("a", "b"):
            work(bench, task, {"shared": f"{task}\n"})
        bench.run_programs()
        assert [one.attempt for one in bench.of(Landed)] == ["a.1"]
        assert bench.of(LandConflicted) == [LandConflicted("b.1", ("shared",))]
        assert len(log(repository)) == 1
        assert bench.state.tasks["b"].phase is Phase.PENDING


def test_a_task_that_changed_nothing_lands_without_a_commit(repository: Path) -> None:
    with RoleBench(GitIntegration, repository, TWO) as bench:
        bench.run_programs()
        attempt(bench, "a", 0, {})
        bench.run_programs()
        assert bench.of(Landed) == [Landed("a.1", "")]
        assert log(repository) == []


def test_at_the_end_the_slots_are_removed_and_the_role_has_finished_once(repository: Path) -> None:
    with RoleBench(GitIntegration, repository, TWO) as bench:
        bench.run_programs()
        attempt(bench, "a", 0, {"a": "made\n"})
        bench.run_programs()
        bench.happen(TaskCompleted("a", "a.1"), SessionSettled(SessionStatus.COMPLETED))
        bench.run_programs()
        bench.restart()
        bench.run_programs()
        assert bench.of(RoleFinished) == [RoleFinished("git_integration", "1 commit on milestone/m1")]
        assert len(git(repository, "worktree", "list").splitlines()) == 1


def test_whatever_a_task_leaves_beside_its_worktree_the_session_ends(repository: Path) -> None:
    with RoleBench(GitIntegration, repository, TWO) as bench:
        bench.run_programs()
        attempt(bench, "a", 0, {"a": "made\n"})
        bench.run_programs()
        one = bench.state.tasks["a"].attempt
        assert one is not None
        index = Path(f"{one.path}.index")
        index.unlink()
        index.mkdir()
        bench.happen(TaskCompleted("a", "a.1"), SessionSettled(SessionStatus.COMPLETED))
        bench.run_programs()
        (finished,) = bench.of(RoleFinished)
        assert f"what belongs to {one.path} cannot be removed: " in finished.summary


@pytest.mark.parametrize("status", [SessionStatus.CANCELLED, SessionStatus.INTERRUPTED])
def test_what_could_not_land_waits_in_its_slot_for_the_next_life_and_is_archived_where_there_is_none(
    repository: Path, status: SessionStatus
) -> None:
    with RoleBench(GitIntegration, repository, TWO) as bench:
        bench.run_programs()
        bench.happen(grant("a"))
        bench.run_programs()
        bench.happen(SessionPaused(f"{LANDING_HELD}a disk has failed"))
        work(bench, "a", {"a": "made\n"})
        cancelled = status is SessionStatus.CANCELLED
        bench.happen(StopRequested("the operator", final=cancelled), SessionSettled(status))
        bench.run_programs()
        (finished,) = bench.of(RoleFinished)
        assert finished.summary.startswith("0 commits" if cancelled else "waiting to be landed: a")
        kept = git(repository, "for-each-ref", "--format=%(refname)", "refs/milestone-archive/").splitlines()
        assert [name.rpartition("/")[2] for name in kept] == (["a.1"] if cancelled else [])
        assert len(git(repository, "worktree", "list").splitlines()) == (1 if cancelled else 2)


@pytest.mark.row("F16")
def test_the_user_s_checkout_and_index_are_left_alone(repository: Path) -> None:
    (repository / "README.md").write_text("Edited.\n", encoding="utf-8")
    (repository / "staged").write_text("x\n", encoding="utf-8")
    git(repository, "add", "staged")
    before = (repository / ".git" / "index").read_bytes(), git(repository, "status", "--porcelain")
    with RoleBench(GitIntegration, repository, TWO) as bench:
        bench.run_programs()
        assert bench.of(GitReady)[0].uncommitted == 2
        attempt(bench, "a", 0, {"README.md": "By the task.\n"})
        bench.run_programs()
    index = (repository / ".git" / "index").read_bytes()
    assert (index, git(repository, "status", "--porcelain", "--", ":!.milestones")) == before
    assert (repository / "README.md").read_text(encoding="utf-8") == "Edited.\n"


def test_new_uncommitted_files_are_seen_within_a_minute(repository: Path) -> None:
    with RoleBench(GitIntegration, repository, TWO) as bench:
        bench.run_programs()
        (repository / "new").write_text("x\n", encoding="utf-8")
        bench.pass_time(61.0)
        bench.run_programs()
        (seen,) = bench.of(UncommittedSeen)
        assert (seen.count, seen.paths) == (1, ("new",))


def test_a_pattern_that_copies_nothing_is_named_once_in_a_session(repository: Path) -> None:
    (repository / ".gitignore").write_text(".env\n", encoding="utf-8")
    (repository / ".env").write_text("x\n", encoding="utf-8")
    with RoleBench(GitIntegration, repository, TWO, Settings(worktree_copy=(".env", "shared", "n*"))) as bench:
        bench.run_programs()
        bench.restart()
        bench.run_programs()
        assert [notice.text.split(" matches ")[1].split(";")[0] for notice in bench.of(GitNoticed)] == [
            "'shared'",
            "'n*'",
        ]


def test_old_work_that_did_not_land_is_removed_and_named(repository: Path) -> None:
    sha = git(repository, "rev-parse", "HEAD")
    past = "exec-m0-20250101_000000-0badcafe"
    ref = f"refs/milestone-archive/{past}/a.1"
    git(repository, "update-ref", ref, sha)
    sheet = repository / ".milestones/sessions" / past / "session.json"
    sheet.parent.mkdir(parents=True)
    over = '{"milestone_id": "m0", "status": "completed", "ended_at": "2025-01-02T00:00:00.000000Z"}'
    sheet.write_text(over, encoding="utf-8")
    with RoleBench(GitIntegration, repository, TWO) as bench:
        bench.run_programs()
        (notice,) = bench.of(GitNoticed)
        assert f"older than 14 days: {ref} ({sha})" in notice.text
    assert git(repository, "for-each-ref", "refs/milestone-archive") == ""


def test_it_is_said_when_git_knows_no_author(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    for name in ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL", "EMAIL"):
        monkeypatch.delenv(name, raising=False)
    with RoleBench(GitIntegration, repository, TWO) as bench:
        bench.run_programs()
        (notice,) = bench.of(GitNoticed)
        assert "git knows no author" in notice.text


def test_the_branch_is_pushed_after_every_third_task_and_at_the_end(repository: Path, git_repo: MakeRepository) -> None:
    remote = git_repo("remote")
    git(repository, "remote", "add", "origin", str(remote))
    tasks = tuple(Task(name, name, run="true") for name in "abcd")
    settings = Settings(remote="origin", push_every=3)
    with RoleBench(GitIntegration, repository, Milestone("m1", "One", tasks=tasks), settings) as bench:
        bench.run_programs()
        for name in "abcd":
            attempt(bench, name, 0, {name: name})
            bench.run_programs()
            bench.happen(TaskCompleted(name, f"{name}.1"))
            bench.run_programs()
        assert [one.landed for one in bench.of(Pushed)] == [3]
        bench.happen(SessionSettled(SessionStatus.COMPLETED))
        bench.run_programs()
        assert [one.landed for one in bench.of(Pushed)] == [3, 4]
        assert git(remote, "rev-parse", "milestone/m1") == log(repository)[0]


def test_without_a_repository_tasks_run_in_place(tmp_path: Path) -> None:
    with RoleBench(GitIntegration, tmp_path, TWO) as bench:
        bench.run_programs()
        assert [type(event) for event in bench.by_role] == [GitIdle]
        bench.happen(SessionSettled(SessionStatus.COMPLETED))
        assert [type(event) for event in bench.by_role] == [GitIdle, RoleFinished]


def test_without_isolation_git_is_not_asked_at_all(repository: Path) -> None:
    with RoleBench(GitIntegration, repository, TWO, Settings(isolation=Isolation.NONE)) as bench:
        assert bench.host.programs == {}
        assert bench.by_role == [GitIdle("isolation is none")]


@pytest.mark.row("F17")
def test_a_branch_that_somebody_has_checked_out_is_refused_with_a_cure(repository: Path) -> None:
    git(repository, "checkout", "--quiet", "-b", "milestone/m1")
    with RoleBench(GitIntegration, repository, TWO) as bench:
        bench.run_programs()
        (refused,) = bench.of(GitRefused)
        assert "milestone/m1" in refused.reason
        assert refused.cure


def _is_foreign(place: Path) -> None:
    place.mkdir()
    (place / "mine").touch()


def _is_a_loop(place: Path) -> None:
    place.symlink_to(place)


@pytest.mark.parametrize(
    ("make", "below", "reason"),
    [
        (Path.touch, "", "cannot be made or used: File exists"),
        (Path.touch, "slots", "cannot be made or used: Not a directory"),
        (_is_foreign, "", "holds files and is not marked as the slots directory"),
        (_is_a_loop, "", "cannot be made or used: "),
    ],
)
def test_a_slots_directory_that_cannot_be_used_is_refused_before_anything_starts(
    repository: Path, tmp_path: Path, make: Callable[[Path], None], below: str, reason: str
) -> None:
    place = tmp_path / "place"
    make(place)
    settings = Settings(slots_directory=str(place / below))
    with RoleBench(GitIntegration, repository, TWO, settings) as bench:
        bench.run_programs()
        (refused,) = bench.by_role
        assert isinstance(refused, GitRefused)
        assert reason in refused.reason
        assert "set worktree.directory in .milestones/config/milestoned.yaml" in refused.cure


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_slots_directory_that_may_not_be_written_to_is_refused(repository: Path, tmp_path: Path) -> None:
    tmp_path.joinpath("slots").mkdir(mode=0o500)
    with RoleBench(GitIntegration, repository, TWO, Settings(slots_directory=str(tmp_path / "slots"))) as bench:
        bench.run_programs()
        assert "cannot be " in bench.of(GitRefused)[0].reason


def test_a_slot_that_cannot_be_made_is_told_with_the_reason(repository: Path) -> None:
    settings = Settings(worktree_setup=("echo no luck >&2; exit 3",))
    with RoleBench(GitIntegration, repository, TWO, settings) as bench:
        bench.run_programs()
        bench.happen(grant("a"))
        bench.run_programs()
        assert "no luck" in bench.of(SlotFailed)[0].reason


def _in_set_up(bench: RoleBench) -> None:
    """Grant a task, and go on until its set-up command is started."""
    bench.run_programs()
    bench.happen(grant("a"))
    while bench.host.programs[min(bench.host.programs)].argv[0] != "/bin/sh":
        bench.step()


def test_a_slot_is_never_prepared_for_two_attempts_at_once(repository: Path) -> None:
    """The runner may die while a slot is prepared; the next attempt gets the same one."""
    with RoleBench(GitIntegration, repository, TWO, Settings(worktree_setup=("echo made > generated",))) as bench:
        _in_set_up(bench)
        bench.happen(AttemptEnded("a.1", Outcome.INTERRUPTED, detail="the runner died"), grant("a", 0, 2))
        (program,) = bench.host.programs.values()
        assert bench.step() == program
        assert not any("generated" in str(later.argv) for later in bench.host.programs.values()), "cleaned first"
        bench.run_programs()
        assert [one.attempt for one in bench.of(SlotPrepared)] == ["a.2"]
        assert bench.refusals == []
        attempt = bench.state.tasks["a"].attempt
        assert attempt is not None
        assert Path(attempt.path, "generated").read_text(encoding="utf-8") == "made\n"


def test_a_stop_does_not_wait_for_set_up_commands(repository: Path) -> None:
    with RoleBench(GitIntegration, repository, TWO, Settings(worktree_setup=("touch generated",))) as bench:
        _in_set_up(bench)
        stopped = "told to end"
        bench.happen(StopRequested(stopped), AttemptEnded("a.1", Outcome.INTERRUPTED, detail=stopped))
        bench.happen(SessionSettled(SessionStatus.INTERRUPTED))
        assert not any("generated" in str(program.argv) for program in bench.run_programs()), "it was ended"
        assert [one.role for one in bench.of(RoleFinished)] == ["git_integration"]
        assert bench.of(SlotPrepared) == []
        assert bench.refusals == []


def test_a_stop_does_not_wait_for_a_remote_and_the_next_life_pushes(repository: Path, git_repo: MakeRepository) -> None:
    remote = git_repo("remote")
    git(repository, "remote", "add", "origin", str(remote))
    with RoleBench(GitIntegration, repository, TWO, Settings(remote="origin", push_every=1)) as bench:
        bench.run_programs()
        attempt(bench, "a", 0, {"a": "made\n"})
        while not any("push" in program.argv for program in bench.host.programs.values()):
            bench.step()
        bench.happen(TaskCompleted("a", "a.1"), StopRequested("told to end"), SessionSettled(SessionStatus.INTERRUPTED))
        assert not any("push" in program.argv for program in bench.run_programs())
        assert bench.of(Pushed) == []
        assert [one.summary for one in bench.of(RoleFinished)] == ["1 commit on milestone/m1; not pushed yet: 1"]


def _refused_once(bench: RoleBench, word: str, said: str) -> None:
    """Run programs until one has this word among its arguments; that one fails, saying something."""
    for _ in range(60):
        token = min(bench.host.programs)
        if word in bench.host.programs[token].argv:
            del bench.host.programs[token]
            bench._tell(ProgramEnded(token, Finished(128, b"", said.encode())))
            return
        bench.step()
    raise AssertionError(f"no program with {word}")


def test_a_worktree_that_a_full_disk_does_not_hold_is_waited_for_and_no_failure_of_the_task(repository: Path) -> None:
    with RoleBench(GitIntegration, repository, TWO) as bench:
        bench.run_programs()
        bench.happen(grant("a"))
        _refused_once(bench, "worktree", "fatal: could not write x: No space left on device")
        (paused,) = bench.of(SessionPaused)
        assert paused.reason.startswith("a worktree has to wait: ")
        assert "No space left on device" in paused.reason
        bench.run_programs()
        assert bench.of(SlotFailed) == []
        assert bench.of(SessionUnpaused) == [SessionUnpaused(paused.reason)]
        assert [one.attempt for one in bench.of(SlotPrepared)] == ["a.1"]
        assert bench.state.paused == ""


@pytest.mark.parametrize("then", ["it fails otherwise", "it is interrupted"])
def test_the_wait_for_a_worktree_ends_with_the_attempt_that_it_was_for(repository: Path, then: str) -> None:
    with RoleBench(GitIntegration, repository, TWO) as bench:
        bench.run_programs()
        bench.happen(grant("a"))
        _refused_once(bench, "worktree", "fatal: could not write x: No space left on device")
        assert bench.state.paused
        if then == "it is interrupted":
            bench.happen(AttemptEnded("a.1", Outcome.INTERRUPTED))
        else:
            _refused_once(bench, "worktree", "fatal: no luck")
            assert "no luck" in bench.of(SlotFailed)[0].reason
        assert bench.state.paused == ""


def test_a_landing_waits_while_somebody_has_the_branch_checked_out_and_then_goes_on(
    repository: Path, tmp_path: Path
) -> None:
    with RoleBench(GitIntegration, repository, TWO) as bench:
        bench.run_programs()
        attempt(bench, "a", 0, {"a": "made\n"})
        git(repository, "worktree", "add", "--quiet", str(tmp_path / "theirs"), "milestone/m1")
        bench.run_programs()
        assert bench.of(Landed) == []
        assert bench.state.paused.startswith("landing has to wait: milestone/m1 is checked out in ")
        git(repository, "worktree", "remove", str(tmp_path / "theirs"))
        bench.pass_time(1.0)
        bench.run_programs()
        assert [one.sha for one in bench.of(Landed)] == log(repository)
        assert bench.state.paused == ""


def test_what_landed_before_its_flush_failed_is_held_and_then_counted_as_landed(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RoleBench(GitIntegration, repository, TWO) as bench:
        bench.run_programs()
        attempt(bench, "a", 0, {"a": "made\n"})
        ref = repository / ".git/refs/heads/milestone/m1"
        with monkeypatch.context() as context:
            _fail_flushes(context, ref, errno.ENOSPC)
            while not bench.of(SessionPaused):
                bench.step()
        assert len(log(repository)) == 1
        assert bench.of(SessionPaused)[0].reason.startswith("landing has to wait: the disk did not take it: ")
        bench.run_programs()
        assert [(one.attempt, one.sha) for one in bench.of(Landed)] == [("a.1", log(repository)[0])]
        assert bench.of(LandFailed) == []
        assert bench.state.paused == ""


def test_a_disk_that_fails_holds_everything_until_somebody_has_looked(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RoleBench(GitIntegration, repository, TWO) as bench:
        bench.run_programs()
        attempt(bench, "a", 0, {"a": "made\n"})
        ref = repository / ".git/refs/heads/milestone/m1"
        with monkeypatch.context() as context:
            _fail_flushes(context, ref, errno.EIO)
            while not bench.of(SessionPaused):
                bench.step()
        (paused,) = bench.of(SessionPaused)
        assert paused.reason.startswith("landing is held: the disk did not take it: ")
        for _ in range(2):
            bench.pass_time(10.0)
            assert [one for one in bench.run_programs() if "add" in one.argv] == []
            bench.restart()
            bench.run_programs()
        assert bench.of(Landed) == []
        assert bench.of(LandFailed) == []
        bench.happen(SessionUnpaused())
        bench.run_programs()
        assert [one.sha for one in bench.of(Landed)] == log(repository)
        assert len(log(repository)) == 1


def _fail_flushes(context: pytest.MonkeyPatch, path: Path, number: int) -> None:
    """Let flushes of one file fail from here on."""
    really = os.fsync

    def failing(descriptor: int) -> None:
        if Path(f"/proc/self/fd/{descriptor}").readlink() == path:
            raise OSError(number, os.strerror(number))
        really(descriptor)

    context.setattr(os, "fsync", failing)


def test_an_attempt_after_one_that_landed_and_was_called_failed_adds_no_commit(repository: Path) -> None:
    with RoleBench(GitIntegration, repository, TWO) as bench:
        bench.run_programs()
        attempt(bench, "a", 0, {"a": "made\n"})
        bench.run_programs()
        (commit,) = log(repository)
    # As if the fact had been another: the journal of a session in which it was is written again.
    (repository / ".milestones").rename(repository.parent / "former")
    with RoleBench(GitIntegration, repository, TWO) as bench:
        base = git(repository, "rev-parse", "main")
        bench.happen(GitReady("milestone/m1", base, created=True, uncommitted=0))
        bench.run_programs()
        bench.happen(grant("a"), SlotFailed("a.1", "whatever"), grant("a", number=2))
        bench.run_programs()
        work(bench, "a", {"a": "made otherwise\n"})
        bench.run_programs()
        assert [(one.attempt, one.sha) for one in bench.of(Landed)] == [("a.2", commit)]
        assert log(repository) == [commit]


def test_a_slot_that_an_attempt_made_unusable_is_set_aside_and_the_end_says_so(repository: Path) -> None:
    with RoleBench(GitIntegration, repository, TWO) as bench:
        bench.run_programs()
        bench.happen(grant("a"))
        bench.run_programs()
        found = bench.state.tasks["a"].attempt
        assert found is not None
        git(Path(found.path), "init", "--quiet", "inner")
        git(Path(found.path, "inner"), "commit", "--quiet", "--allow-empty", "-m", "x")
        work(bench, "a", {"a": "made\n"})
        bench.run_programs()
        assert "inner is a git repository of its own" in bench.of(LandFailed)[0].reason
        bench.happen(grant("a", number=2))
        bench.run_programs()
        assert [one.attempt for one in bench.of(SlotPrepared)] == ["a.1", "a.2"]
        work(bench, "a", {"a": "made\n"})
        bench.run_programs()
        assert len(log(repository)) == 1
        bench.happen(TaskCompleted("a", "a.2"), SessionSettled(SessionStatus.COMPLETED))
        bench.run_programs()
        (finished,) = bench.of(RoleFinished)
        assert finished.summary.startswith("1 commit on milestone/m1; kept: /")
        aside = Path(finished.summary.partition("kept: ")[2])
        assert (aside / "a").read_text(encoding="utf-8") == "made\n"
        assert (aside / "inner/.git").is_dir()
        assert len(git(repository, "worktree", "list").splitlines()) == 1


@pytest.mark.row("F15")
def test_the_looks_at_uncommitted_files_do_not_follow_the_wall_clock(repository: Path) -> None:
    with RoleBench(GitIntegration, repository, TWO) as bench:
        bench.run_programs()
        (repository / "new").write_text("x\n", encoding="utf-8")
        bench.wall -= 86_400.0
        bench.pass_time(61.0)
        bench.run_programs()
        assert len(bench.of(UncommittedSeen)) == 1


def test_nothing_is_prepared_any_more_in_a_session_that_stops(repository: Path) -> None:
    with RoleBench(GitIntegration, repository, TWO) as bench:
        bench.run_programs()
        bench.happen(grant("a"), StopRequested("by the user"))
        bench.restart()
        bench.run_programs()
        assert bench.of(SlotPrepared) == []


# --- the executor -------------------------------------------------------------------------------------------

TEXT = """\
# Kept as it is.
id: m1
title:   "Two tasks"
tasks:
  - id: a
    title: First   # a note
    status: pending
    run: "true"
  - {id: b, title: Second, depends_on: [a], run: "true", status: pending}
"""


class Executor(RoleBench):
    """A bench with an executor, its milestone file, and attempts that run in place."""

    def __init__(self, project: Path, text: str = TEXT) -> None:
        self.file = write_milestone(project, "m1", text)
        milestone = read(text.encode(), "m1.yaml").milestone
        assert milestone is not None
        super().__init__(TaskExecutor, project, milestone, Settings(isolation=Isolation.NONE))

    @property
    def done(self) -> Path:
        return self.project / ".milestones" / "completed" / "m1.yaml"

    def open(self) -> None:
        self.happen(GitIdle("isolation is none"), PreflightPassed())

    def run(self, name: str, outcome: Outcome = OK) -> None:
        self.happen(AttemptStarted(name, 7), AttemptEnded(name, outcome, "run", int(outcome is not OK)))

    def pass_writings(self) -> None:
        """Let as much time pass as the file is left alone after a writing that took half a minute of the machine's."""
        self.pass_time(30.0 * WRITE_SHARE, step=50.0)

    def statuses(self, path: Path | None = None) -> list[str]:
        """Return the statuses as they stand in the file."""
        text = (path or self.file).read_text(encoding="utf-8")
        milestone = read(text.encode(), "m1.yaml").milestone
        assert milestone is not None
        return [task.status.value for task in milestone.tasks]


@pytest.fixture
def executor(tmp_path: Path) -> Iterator[Executor]:
    with Executor(tmp_path) as bench:
        yield bench


def test_tasks_are_granted_in_order_completed_and_written_back(executor: Executor) -> None:
    assert executor.by_role == []
    executor.open()
    executor.run("a.1")
    executor.pass_writings()
    assert executor.statuses() == ["completed", "in_progress"]
    executor.run("b.1")
    stated = [type(event) for event in executor.by_role]
    assert stated == [AttemptGranted, TaskCompleted, AttemptGranted, TaskCompleted, SessionSettled, RoleFinished]
    assert executor.of(RoleFinished)[0].summary == "2 of 2 tasks completed"
    assert not executor.file.exists()
    text = executor.done.read_text(encoding="utf-8")
    assert text.startswith("# Kept as it is.\n")
    assert 'title:   "Two tasks"\n' in text
    assert "title: First   # a note\n" in text
    assert executor.statuses(executor.done) == ["completed", "completed"]


@pytest.mark.row("F1")
def test_an_executor_that_is_replaced_after_every_fact_decides_as_one_that_never_died(tmp_path: Path) -> None:
    stated: list[list[Event]] = []
    for name, dies in (("steady", False), ("dies", True)):
        (tmp_path / name).mkdir()
        with Executor(tmp_path / name) as bench:
            for event in (
                GitIdle("none"),
                PreflightPassed(),
                AttemptStarted("a.1", 7),
                AttemptEnded("a.1", Outcome.INTERRUPTED),
                AttemptStarted("a.2", 8),
                AttemptEnded("a.2", OK, "run"),
                AttemptStarted("b.1", 9),
                AttemptEnded("b.1", OK, "run"),
            ):
                bench.happen(event)
                if dies:
                    bench.restart()
            assert bench.refusals == []
            assert bench.statuses(bench.done) == ["completed", "completed"]
            stated.append(bench.by_role)
    assert stated[0] == stated[1]


def test_a_failed_task_is_written_as_blocked_and_the_file_stays_where_it_is(executor: Executor) -> None:
    executor.open()
    executor.run("a.1", Outcome.FAILED)
    assert [type(event) for event in executor.by_role][1:] == [TaskFailed, SessionSettled, RoleFinished]
    assert executor.statuses() == ["blocked", "pending"]
    assert not executor.done.exists()


@pytest.mark.row("F18")
def test_what_a_person_edits_between_two_writings_is_kept(executor: Executor) -> None:
    executor.open()
    executor.pass_writings()
    assert executor.statuses() == ["in_progress", "pending"]
    edited = executor.file.read_text(encoding="utf-8").replace("# a note", "# a better one")
    write_milestone(executor.project, "m1", edited + "notes: mine\n")
    executor.run("a.1")
    executor.pass_writings()
    text = executor.file.read_text(encoding="utf-8")
    assert "title: First   # a better one\n" in text
    assert text.endswith("notes: mine\n")
    assert executor.statuses() == ["completed", "in_progress"]


def test_a_task_that_a_person_defines_otherwise_meanwhile_keeps_the_status_that_stands_there(
    executor: Executor,
) -> None:
    """At once, whether or not somebody has seen the edit yet; and what is taken back counts in the end."""
    executor.open()
    executor.pass_writings()
    edited = executor.file.read_text(encoding="utf-8").replace('run: "true"\n  -', 'run: "false"\n  -')
    write_milestone(executor.project, "m1", edited.replace("in_progress", "pending"))
    executor.run("a.1")
    executor.pass_writings()
    assert executor.statuses() == ["pending", "in_progress"]
    executor.run("b.1")
    assert executor.statuses() == ["pending", "completed"]
    assert "the file was edited meanwhile: it stays active" in executor.of(RoleFinished)[0].summary


def test_an_edit_that_is_taken_back_before_the_end_leaves_no_status_behind(executor: Executor) -> None:
    executor.open()
    executor.pass_writings()
    before = executor.file.read_text(encoding="utf-8")
    write_milestone(executor.project, "m1", before.replace('run: "true"\n  -', 'run: "false"\n  -'))
    executor.run("a.1")
    executor.pass_writings()
    write_milestone(executor.project, "m1", before)
    executor.run("b.1")
    assert executor.statuses(executor.done) == ["completed", "completed"]


@pytest.mark.parametrize("added", ["  - {id: c, title: Third, run: x}\n", "tasks: [\n"], ids=["a task", "nonsense"])
def test_what_a_person_saves_behind_the_last_status_keeps_the_file_active(
    executor: Executor, monkeypatch: pytest.MonkeyPatch, added: str
) -> None:
    executor.open()
    executor.run("a.1")

    def save(step: str) -> None:
        if step == "splice.durable" and executor.statuses() == ["completed", "completed"]:
            write_milestone(executor.project, "m1", executor.file.read_text(encoding="utf-8") + added)

    monkeypatch.setattr(files, "at", save)
    executor.run("b.1")
    assert executor.file.read_text(encoding="utf-8").endswith(added)
    assert not executor.done.exists()
    assert "the file was edited meanwhile: it stays active" in executor.of(RoleFinished)[0].summary


def _type(executor: Executor, status: str) -> None:
    """Set the status of the second task by hand."""
    text = executor.file.read_text(encoding="utf-8")
    head, found, tail = text.partition('{id: b, title: Second, depends_on: [a], run: "true", status: ')
    assert found
    executor.file.write_text(f"{head}{found}{status}}}{tail.partition('}')[2]}", encoding="utf-8")


@pytest.mark.row("F18")
@pytest.mark.parametrize("word", ["cancelled", "completed"])
def test_a_status_that_a_person_sets_is_alerted_without_another_writing_and_stays(
    executor: Executor, word: str
) -> None:
    executor.open()
    executor.pass_writings()
    assert executor.of(DependencyAlert) == []
    _type(executor, word)
    executor.pass_time(3.0)

    (alert,) = executor.of(DependencyAlert)

    assert alert.kind == "edited"
    assert f".milestones/active/m1.yaml: statuses were set by hand (b is {word} there)" in alert.detail
    assert "`milestonectl update m1 --apply` takes them in" in alert.detail
    executor.restart()
    executor.pass_writings()
    executor.run("a.1")
    executor.pass_writings()
    assert executor.of(DependencyAlert) == [alert]
    assert executor.statuses() == ["completed", word]
    executor.run("b.1")
    if word == "completed":  # and so it is, by now
        assert [one.kind for one in executor.of(DependencyAlert)] == ["edited", "resolved"]
        assert executor.statuses(executor.done) == ["completed", "completed"]
    else:
        assert executor.statuses() == ["completed", word]
        assert "the file was edited meanwhile: it stays active" in executor.of(RoleFinished)[0].summary


def test_a_status_that_a_person_sets_is_no_difference_any_more_once_it_is_taken_in(executor: Executor) -> None:
    executor.open()
    executor.pass_writings()
    _type(executor, "cancelled")
    executor.pass_time(3.0)
    newer = read(executor.file.read_bytes(), "m1.yaml").milestone
    assert newer is not None

    executor.happen(MilestoneUpdated(newer))
    executor.pass_writings()

    assert [one.kind for one in executor.of(DependencyAlert)] == ["edited", "resolved"]
    executor.run("a.1")
    assert executor.statuses(executor.done) == ["completed", "cancelled"]


def test_the_milestone_begins_in_its_file_too_once_an_edit_is_taken_in(executor: Executor) -> None:
    edited = executor.file.read_text(encoding="utf-8") + "status: pending\n"
    write_milestone(executor.project, "m1", edited.replace("depends_on: [a], ", ""))
    executor.open()
    executor.pass_writings()
    assert "\nstatus: pending\n" in executor.file.read_text(encoding="utf-8")
    newer = read(executor.file.read_bytes(), "m1.yaml").milestone
    assert newer is not None

    executor.happen(MilestoneUpdated(newer))
    executor.pass_writings()

    assert "\nstatus: in_progress\n" in executor.file.read_text(encoding="utf-8")


def test_a_task_whose_status_was_left_out_may_be_gone_from_what_is_taken_in(executor: Executor) -> None:
    executor.open()
    executor.pass_writings()
    text = executor.file.read_text(encoding="utf-8")
    write_milestone(executor.project, "m1", text.partition("  - {id: b")[0])
    executor.happen(TaskSkipped("b", "left out by hand"))
    executor.pass_writings()
    newer = read(executor.file.read_bytes(), "m1.yaml").milestone
    assert newer is not None

    executor.happen(MilestoneUpdated(newer))
    executor.pass_writings()

    executor.run("a.1")
    assert executor.statuses(executor.done) == ["completed"]


@pytest.mark.parametrize("dies", [False, True], ids=["steady", "replaced after every fact"])
def test_statuses_that_the_executor_writes_itself_are_not_taken_for_a_person_s(executor: Executor, dies: bool) -> None:
    executor.open()
    for event in (
        TaskSkipped("b", "left out by hand"),
        AttemptStarted("a.1", 7),
        TaskRetried("b"),
        AttemptEnded("a.1", OK, "run"),
        AttemptStarted("b.1", 9),
        AttemptEnded("b.1", Outcome.INTERRUPTED),
        AttemptStarted("b.2", 9),
        AttemptEnded("b.2", OK, "run"),
    ):
        executor.happen(event)
        if dies:
            executor.restart()
        executor.pass_time(3.0)
        executor.pass_writings()
    assert executor.of(DependencyAlert) == []
    assert executor.statuses(executor.done) == ["completed", "completed"]


def test_a_file_that_cannot_be_read_for_a_while_is_left_alone_and_written_when_it_can_be(executor: Executor) -> None:
    executor.open()
    executor.pass_writings()
    broken = "id: m1\ntasks: [\n"
    write_milestone(executor.project, "m1", broken)
    executor.run("a.1")
    executor.pass_writings()
    assert executor.file.read_text(encoding="utf-8") == broken
    assert len(executor.of(AttemptGranted)) == 2
    write_milestone(executor.project, "m1", TEXT)
    executor.pass_writings()
    assert executor.statuses() == ["completed", "in_progress"]


def test_a_file_that_cannot_be_read_at_the_end_is_named_in_the_summary_and_not_moved(executor: Executor) -> None:
    executor.open()
    executor.run("a.1")
    write_milestone(executor.project, "m1", "id: [\n")
    executor.run("b.1")
    (finished,) = executor.of(RoleFinished)
    assert finished.summary.startswith("2 of 2 tasks completed; ")
    assert "m1.yaml" in finished.summary
    assert executor.file.read_text(encoding="utf-8") == "id: [\n"
    assert not executor.done.exists()


def test_another_file_at_the_target_is_never_replaced(executor: Executor) -> None:
    write_milestone(executor.project, "m1", "somebody's\n", "completed")
    executor.open()
    executor.run("a.1")
    executor.run("b.1")
    (finished,) = executor.of(RoleFinished)
    assert f"{executor.file}: not moved to {executor.done.parent}: " in finished.summary
    assert executor.done.read_text(encoding="utf-8") == "somebody's\n"
    assert executor.statuses() == ["completed", "completed"]


def test_an_executor_that_died_after_it_moved_the_file_does_not_complain_about_it(executor: Executor) -> None:
    executor.open()
    executor.run("a.1")
    executor.happen(AttemptStarted("b.1", 7))
    # What the former incarnation did before it could say so.
    executor.happen(AttemptEnded("b.1", OK, "run"))
    moved = executor.done.read_bytes()
    executor.records.pop()
    executor._hub.finished.clear()
    executor.by_role.pop()
    executor.restart()
    assert executor.of(RoleFinished)[-1].summary == "2 of 2 tasks completed"
    assert executor.done.read_bytes() == moved


def test_a_plan_of_many_tasks_is_written_down_to_its_last_status(tmp_path: Path) -> None:
    tasks = "".join(f'  - {{id: t{number}, title: T, run: "true"}}\n' for number in range(20))
    with Executor(tmp_path, f"id: m1\ntitle: Many\ntasks:\n{tasks}") as bench:
        bench.open()
        while live := list(bench.state.live):
            bench.run(live[0])
        assert len(bench.of(TaskCompleted)) == 20
        assert bench.statuses(bench.done) == ["completed"] * 20


def test_lines_that_a_full_disk_refuses_are_tried_once_a_second_and_written_in_the_end(
    executor: Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []

    def counted(records: Iterable[tuple[Record, Event]], milestone: str, agent: str) -> Iterator[tuple[int, bytes]]:
        for line in lines_of(records, milestone, agent):
            made.append(line[0])
            yield line

    monkeypatch.setattr(role, "lines_of", counted)
    executor.open()
    assert executor.role is not None
    log = executor.role._jsonl._file
    room, full = os.dup(log), os.open("/dev/full", os.O_RDWR)
    os.dup2(full, log)
    for number in range(50):
        executor.happen(SessionPaused(f"{number}"), SessionUnpaused())
    executor.pass_time(3.0)
    assert len(made) < 500
    os.dup2(room, log)
    executor.pass_time(1.0)
    os.close(room)
    os.close(full)
    seqs = [json.loads(line)["seq"] for line in (executor.logs / "execution.jsonl").read_bytes().splitlines()]
    assert seqs == sorted({1, *made})
    assert len(seqs) > 100


# --- the progress monitor -----------------------------------------------------------------------------------


@pytest.fixture
def monitor(tmp_path: Path) -> Iterator[RoleBench]:
    with RoleBench(ProgressMonitor, tmp_path, TWO, Settings(isolation=Isolation.NONE)) as bench:
        bench.happen(GitIdle("none"), PreflightPassed())
        yield bench


def test_progress_is_reported_at_once_on_change_and_every_half_minute(monitor: RoleBench) -> None:
    assert [one.percentage for one in monitor.of(ProgressReported)] == [0]
    monitor.pass_time(29.0)
    assert len(monitor.of(ProgressReported)) == 1
    monitor.pass_time(2.0)
    assert len(monitor.of(ProgressReported)) == 2
    name = monitor.grant("a")
    monitor.pass_time(5.0)
    monitor.end(name, OK)
    monitor.happen(TaskCompleted("a", name))
    monitor.pass_time(5.0)
    assert monitor.of(ProgressReported)[-1].percentage == 50
    before = len(monitor.of(ProgressReported))
    monitor.pass_time(20.0)
    assert len(monitor.of(ProgressReported)) == before


def test_a_quiet_task_is_reported_once_as_stalled_by_a_replacement_neither(monitor: RoleBench) -> None:
    monitor.grant("a")
    monitor.pass_time(299.0)
    assert monitor.of(TaskStalled) == []
    monitor.pass_time(3.0)
    (stalled,) = monitor.of(TaskStalled)
    assert (stalled.task, stalled.attempt) == ("a", "a.1")
    monitor.restart()
    monitor.pass_time(60.0)
    assert len(monitor.of(TaskStalled)) == 1


def test_a_task_that_writes_is_not_stalled(monitor: RoleBench) -> None:
    name = monitor.grant("a")
    for _ in range(4):
        monitor.write(name, "at it\n")
        os.utime(monitor.logs / "tasks" / f"{name}.log", (monitor.wall, monitor.wall))
        monitor.pass_time(200.0, step=10.0)
    assert monitor.of(TaskStalled) == []
    monitor.pass_time(150.0, step=10.0)
    assert len(monitor.of(TaskStalled)) == 1


def test_the_end_is_alerted_once_with_the_speed_up(monitor: RoleBench) -> None:
    for task in ("a", "b"):
        name = monitor.grant(task)
        monitor.pass_time(10.0)
        monitor.end(name, OK, seconds=20.0)
        monitor.happen(TaskCompleted(task, name))
    monitor.happen(SessionSettled(SessionStatus.COMPLETED))
    monitor.restart()
    monitor.pass_time(60.0)
    (alert,) = monitor.of(CompletionAlert)
    assert (alert.completed, alert.task_seconds, alert.wall_seconds, alert.speedup) == (2, 40.0, 20.0, 2.0)
    assert alert.text == "Milestone execution time: 20s (2.0x faster than sequential)"
    assert len(monitor.of(RoleFinished)) == 1
    assert monitor.of(ProgressReported)[-1].percentage == 100
