"""A milestone in a host program: from threads and from an event loop, several at once, and the host stays as it is."""

import asyncio
import logging
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final, cast

import pytest

from actors.events import (
    AttemptStarted,
    SessionEnded,
    SessionPaused,
    SessionStatus,
    Settings,
    TaskCompleted,
    TaskSkipped,
)
from actors.paths import ProjectPaths
from supervisor import (
    AsyncMilestoneRun,
    MilestoneEvent,
    MilestoneRun,
    NotRunningError,
    RequestRefusedError,
    RunRefusedError,
)
from supervisor.beginning import Wish
from supervisor.linux import is_alive
from supervisor.notices import FactRefused
from supervisor.session_run import Over, SessionRun
from supervisor.shared_project import _TABLE, Client, SharedProject
from tests.api.test_hosts import state_of_the_host
from tests.e2e.stage import Project, assert_done_once, facts, milestone_of, pid_in, waits_for
from tests.waiting import wait_until

SECONDS: Final = 60.0


def written(project: Project, *tasks: dict[str, object], name: str = "m1") -> None:
    project.write(name, milestone_of(*tasks).replace("id: m1", f"id: {name}", 1))


def task(key: str, run: str, *after: str) -> dict[str, object]:
    return {"id": key, "run": run, "depends_on": list(after)}


def until(run: MilestoneRun, wanted: Callable[[MilestoneEvent], bool]) -> MilestoneEvent:
    return next(filter(wanted, run.events()))


def has_started(happened: MilestoneEvent) -> bool:
    return isinstance(happened.event, AttemptStarted)


def test_a_milestone_runs_to_its_end_and_every_event_is_seen_once(project: Project) -> None:
    written(project, task("a", "echo 1 > a.txt"), task("b", "echo 2 > b.txt", "a"))
    with MilestoneRun(project.path, "m1", max_parallel=2) as run:
        seen = [happened.seq for happened in run.events()]
        outcome = run.wait(SECONDS)
    assert (outcome.status, outcome.code, outcome.is_completed) == (SessionStatus.COMPLETED, 0, True)
    assert outcome.session == project.session()
    assert seen == [record.seq for record, _ in project.records()]
    assert run.status().tally.percentage == 100
    assert_done_once(project, "m1", {"a": (), "b": ("a",)})
    assert project.path not in _TABLE  # of a host that has run milestones of many projects


def test_a_reader_goes_on_after_the_event_it_has_seen_last(project: Project) -> None:
    written(project, task("a", "true"))
    with MilestoneRun(project.path, "m1") as run:
        middle = until(run, has_started).seq
        rest = [happened.seq for happened in run.events(after=middle)]
    every = [record.seq for record, _ in project.records()]
    assert rest == [seq for seq in every if seq > middle]


def test_events_are_told_to_a_function_and_what_it_raises_stops_nothing(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    raised: list[BaseException | None] = []
    monkeypatch.setattr(threading, "excepthook", lambda caught: raised.append(caught.exc_value))
    written(project, task("a", "true"))
    told: list[MilestoneEvent] = []

    def hear(happened: MilestoneEvent) -> None:
        told.append(happened)
        if has_started(happened):
            raise SystemExit("what the host does wrong")  # as any other exception

    with MilestoneRun(project.path, "m1", on_event=hear) as run:
        run.wait(SECONDS)
    assert isinstance(told[-1].event, SessionEnded)
    assert [str(one) for one in raised] == ["what the host does wrong"]


class _WithoutAnotherThread(MilestoneRun):
    def _start_caller(self, function: Callable[[MilestoneEvent], object]) -> None:
        before = threading.stack_size(1 << 47)  # as large as all addresses together
        try:
            super()._start_caller(function)
        finally:
            threading.stack_size(before)


def test_a_start_without_a_thread_for_the_function_ends_what_it_began(project: Project, place: Path) -> None:
    written(project, task("a", waits_for(place / "gate")))
    run = _WithoutAnotherThread(project.path, "m1", on_event=lambda _: None)
    with pytest.raises(RunRefusedError, match="no thread for on_event"):
        run.start()
    assert run.wait(SECONDS).status is SessionStatus.INTERRUPTED


def test_a_wait_and_a_stop_keep_their_time_although_the_function_does_not_return(project: Project) -> None:
    written(project, task("a", "true"))
    go_on = threading.Event()
    run = MilestoneRun(project.path, "m1", on_event=lambda _: go_on.wait(SECONDS))
    try:
        run.start()
        run._execution.over.result(SECONDS)
        with pytest.raises(TimeoutError, match=r"^on_event has not returned after 0\.1 s$"):
            run.wait(0.1)
        outcome = run.stop(0.1)
        assert outcome is not None
        assert outcome.is_completed
    finally:
        go_on.set()
    assert run.wait(SECONDS).is_completed


class _SlowAtTheEnd(SharedProject):
    def __init__(self, paths: ProjectPaths) -> None:
        super().__init__(paths, None)
        self.at_it, self.go_on = threading.Event(), threading.Event()

    def _close(self) -> None:
        self.at_it.set()
        self.go_on.wait(SECONDS)


def test_who_has_ended_before_does_not_wait_until_the_project_is_given_back_after_another(tmp_path: Path) -> None:
    slow, told = _SlowAtTheEnd(ProjectPaths(tmp_path)), threading.Event()
    slow.users = 1
    leaving = threading.Thread(target=slow._leave, args=(told.set,))
    leaving.start()
    try:
        assert slow.at_it.wait(SECONDS)
        assert not slow.is_left
    finally:
        slow.go_on.set()
        leaving.join()
    assert told.is_set()
    assert slow.is_left


class _BrokenAtTheEnd(SharedProject):
    def _close(self) -> None:
        raise OSError("what nobody foresaw")


def test_who_waits_for_the_end_is_told_although_something_cannot_be_given_back(tmp_path: Path) -> None:
    broken, told = _BrokenAtTheEnd(ProjectPaths(tmp_path), None), threading.Event()
    broken.users = 1
    with pytest.raises(OSError, match="nobody foresaw"):
        broken._leave(told.set)
    assert told.is_set()


class _Nobody:
    """Counts on a project, and is told nothing that matters."""

    def started(self, run: SessionRun) -> None:
        raise AssertionError(run)

    def refused(self, error: RunRefusedError) -> None:
        assert "not found" in str(error)

    def recorded(self, seq: int) -> None:
        raise AssertionError(seq)

    def ended(self, over: Over) -> None:
        raise AssertionError(over)


def test_a_project_whose_journal_cannot_be_written_any_more_is_opened_anew_for_who_comes_next(
    project: Project, place: Path
) -> None:
    """Somebody else counts on it all the time, so that it is not given back in between."""
    written(project, task("a", waits_for(place / "gate")))
    written(project, task("a", "true"), name="m2")
    shared = SharedProject.join_in(ProjectPaths(project.path))
    try:
        with MilestoneRun(project.path, "m1") as run:
            until(run, has_started)
            assert shared._held is not None
            shared._held.project.hub.give_up("the disk is on fire")
            outcome = run.wait(SECONDS)
        assert (outcome.status, outcome.reason) == (SessionStatus.INTERRUPTED, "the disk is on fire")
        with MilestoneRun(project.path, "m2") as other:
            assert project.ctl("pid").code == 0
            assert other.wait(SECONDS).is_completed
        (place / "gate").touch()
        with MilestoneRun(project.path, "m1") as again:
            assert again.wait(SECONDS).session == outcome.session
    finally:
        shared.begin_session(Wish("m9", Settings()), _Nobody())
        shared.join(SECONDS)
    assert project.ctl("pid").code != 0


def test_who_comes_while_a_project_fails_is_told_so_at_once_or_has_it_opened_anew(
    project: Project, place: Path
) -> None:
    """The end of the session that lives, and the wish for another one, wait for the same thread."""
    written(project, task("a", waits_for(place / "gate")))
    written(project, task("a", "true"), name="m2")
    with MilestoneRun(project.path, "m1") as run:
        until(run, has_started)
        shared = run._execution._project
        assert shared is not None
        assert shared._held is not None
        hub, go_on = shared._held.project.hub, threading.Event()

        def fail() -> None:
            hub.give_up("the disk is on fire")
            hub.join(SECONDS)
            go_on.wait(SECONDS)

        shared._calls.put(fail)
        other = MilestoneRun(project.path, "m2")
        starting = threading.Thread(target=other.start)
        starting.start()
        wait_until(lambda: shared.users == 2, SECONDS, "both count on it")
        go_on.set()
        starting.join()
        assert other.wait(SECONDS).is_completed
        assert run.wait(SECONDS).reason == "the disk is on fire"


def test_what_is_refused_late_is_not_printed_by_a_host_that_configured_no_logging(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[str] = []
    logger = logging.getLogger("supervisor")
    monkeypatch.setattr(logger, "handlers", [])
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    project, client = SharedProject(ProjectPaths(tmp_path), None), cast("Client", None)
    late = FactRefused("exec-m1", "task_executor", "TaskCompleted: the session has ended")
    project._notified("exec-m1", client, late)
    assert capsys.readouterr().err == ""
    listener = logging.Handler()
    monkeypatch.setattr(listener, "emit", lambda record: heard.append(record.getMessage()))
    logger.addHandler(listener)
    project._notified("exec-m1", client, late)
    assert heard == ["session exec-m1: TaskCompleted: the session has ended"]


def test_leaving_early_ends_it_in_order_and_the_next_run_goes_on(project: Project, place: Path) -> None:
    gate = place / "gate"
    written(project, task("a", "echo 1 > a.txt"), task("b", f"{waits_for(gate)}; echo 2 > b.txt", "a"))
    with MilestoneRun(project.path, "m1") as run:
        until(run, lambda one: isinstance(one.event, TaskCompleted) and one.event.task == "a")
    assert run.wait().status is SessionStatus.INTERRUPTED
    gate.touch()
    with MilestoneRun(project.path, "m1") as again:
        assert again.wait(SECONDS).session == run.wait().session
    assert_done_once(project, "m1", {"a": (), "b": ("a",)})


def test_what_does_not_end_within_the_time_is_killed(project: Project, place: Path) -> None:
    pid = place / "pid"
    project.configure("containment: sweep\n")
    written(project, task("a", f"trap '' TERM; echo $$ > '{pid}'; while :; do sleep 0.05; done"))
    run = MilestoneRun(project.path, "m1")
    run.start()
    stubborn = pid_in(pid)
    outcome = run.stop(timeout=0.1)
    assert outcome is not None
    assert outcome.status is SessionStatus.INTERRUPTED
    wait_until(lambda: not is_alive(stubborn), SECONDS, "the task is gone")


def test_a_cancelled_session_is_not_taken_up_again(project: Project, place: Path) -> None:
    written(project, task("a", waits_for(place / "gate")))
    run = MilestoneRun(project.path, "m1")
    run.start()
    until(run, has_started)
    outcome = run.cancel()
    assert outcome is not None
    assert outcome.status is SessionStatus.CANCELLED
    (place / "gate").touch()
    with MilestoneRun(project.path, "m1") as again:
        assert again.wait(SECONDS).session != outcome.session


def test_a_milestone_that_was_completed_before_has_no_status_and_says_why(project: Project) -> None:
    written(project, task("a", "true"))
    with MilestoneRun(project.path, "m1") as run:
        assert run.wait(SECONDS).is_completed
    with MilestoneRun(project.path, "m1") as again:
        assert again.wait(SECONDS).is_completed
        with pytest.raises(NotRunningError, match=r"^there was nothing to do, and no session was begun: .*m1"):
            again.status()


def test_pause_resume_and_skip(project: Project, place: Path) -> None:
    written(project, task("a", waits_for(place / "gate")), task("b", "exit 3", "a"))
    with MilestoneRun(project.path, "m1") as run:
        run.pause()
        wait_until(lambda: run.status().status == "paused", SECONDS, "it is paused")
        run.resume()
        run.skip("b")
        with pytest.raises(RequestRefusedError, match=r"^there is no task nobody$"):
            run.skip("nobody")
        (place / "gate").touch()
        assert run.wait(SECONDS).is_completed
    assert facts(project, SessionPaused)[0].by_hand
    assert facts(project, TaskSkipped)[0].task == "b"


def test_failed_tasks_are_attempted_again_while_others_run(project: Project, place: Path) -> None:
    gate = place / "gate"
    written(project, task("a", f"test -e '{gate}'"), task("b", waits_for(place / "open")))
    with MilestoneRun(project.path, "m1") as run:
        wait_until(lambda: run.status().tally.counts["failed"] == 1, SECONDS, "a has failed")
        gate.touch()
        run.retry()
        until(run, lambda one: isinstance(one.event, TaskCompleted) and one.event.task == "a")
        (place / "open").touch()
        assert run.wait(SECONDS).is_completed


def test_two_milestones_of_a_project_and_one_of_another_share_a_process(
    project: Project, git_repo: Callable[..., Path], place: Path
) -> None:
    gate = place / "gate"
    other = Project(git_repo(name="other"))
    for name in ("m1", "m2"):
        written(project, task("a", f"{waits_for(gate)}; echo {name} > {name}.txt"), name=name)
    written(other, task("a", "true"))
    with (
        MilestoneRun(project.path, "m1") as one,
        MilestoneRun(project.path, "m2") as two,
        MilestoneRun(other.path, "m1") as three,
    ):
        until(one, has_started)
        until(two, has_started)
        assert three.wait(SECONDS).is_completed
        assert project.ctl("pid").code == 0
        with pytest.raises(RunRefusedError, match="already"):
            MilestoneRun(project.path, "m1").start()
        gate.touch()
        assert one.wait(SECONDS).is_completed
        assert two.wait(SECONDS).is_completed
    assert project.ctl("pid").code != 0


def test_milestonectl_reaches_a_session_of_a_program(project: Project, place: Path) -> None:
    written(project, task("a", waits_for(place / "gate")))
    with MilestoneRun(project.path, "m1") as run:
        until(run, has_started)
        assert "RUNNING" in project.ctl("status").out
        refused = project.ctl("restart", "m1")
        assert refused.code == 75
        assert "the program" in refused.out + refused.err
        assert project.ctl("stop", "m1").code == 0
        assert run.wait(SECONDS).status is SessionStatus.INTERRUPTED


def test_what_cannot_begin_says_why_and_leaves_nothing(project: Project, tmp_path: Path) -> None:
    written(project, task("a", "true"))
    with pytest.raises(RunRefusedError, match="not found"):
        MilestoneRun(project.path, "m9").start()
    project.write("m1", "id: m1\ntasks: 3\n")
    with pytest.raises(RunRefusedError, match=r"m1\.yaml:2:"):
        MilestoneRun(project.path, "m1").start()
    with pytest.raises(RunRefusedError, match="no project") as homeless:
        MilestoneRun(tmp_path, "m1").start()
    assert homeless.value.code == 1
    written(project, task("a", "true"))
    with pytest.raises(RunRefusedError, match="1000"):
        MilestoneRun(project.path, "m1", max_parallel=0).start()
    refused = MilestoneRun(project.path, "m1", isolation="none of it")  # type: ignore[arg-type]
    with pytest.raises(RunRefusedError, match="isolation must be one of worktree, none, not 'none of it'"):
        refused.start()
    for one in (refused, MilestoneRun(project.path, "m1")):
        with pytest.raises(NotRunningError):
            one.pause()
        with pytest.raises(NotRunningError, match="not begun"):
            next(one.events())
        with pytest.raises(NotRunningError, match="has not begun"):
            one.wait()


def test_a_milestone_that_is_completed_is_over_at_once(project: Project) -> None:
    written(project, task("a", "true"))
    with MilestoneRun(project.path, "m1") as run:
        assert run.wait(SECONDS).is_completed
    with MilestoneRun(project.path, "m1") as again:
        outcome = again.wait(SECONDS)
        assert (outcome.is_completed, outcome.session, list(again.events())) == (True, "", [])


def test_a_run_is_started_once_and_is_over_for_requests(project: Project) -> None:
    written(project, task("a", "true"))
    with MilestoneRun(project.path, "m1") as run:
        with pytest.raises(NotRunningError, match="once"):
            run.start()
        run.wait(SECONDS)
        with pytest.raises(NotRunningError):
            run.pause()
    assert MilestoneRun(project.path, "m1").stop() is None


def test_the_host_is_the_same_before_meanwhile_and_after(project: Project, place: Path) -> None:
    written(project, task("a", waits_for(place / "gate")))
    before, threads = state_of_the_host(), set(threading.enumerate())
    with MilestoneRun(project.path, "m1") as run:
        until(run, has_started)
        assert state_of_the_host() == before
        (place / "gate").touch()
        run.wait(SECONDS)
    assert state_of_the_host() == before
    assert set(threading.enumerate()) == threads


def test_a_forked_host_has_no_part_in_the_run_and_does_not_keep_it(project: Project, place: Path) -> None:
    """The lock goes with the host that took it, although a child that it forked lives on."""
    written(project, task("a", waits_for(place / "gate")))
    script = place / "host.py"
    script.write_text(
        "import os, sys, time\n"
        "from pathlib import Path\n"
        "from supervisor import MilestoneRun, NotRunningError\n"
        "def main(project, place):\n"
        "    run = MilestoneRun(project, 'm1')\n"
        "    run.start()\n"
        "    if os.fork() == 0:\n"
        "        try:\n"
        "            run.pause()\n"
        "        except NotRunningError as error:\n"
        "            (place / 'said').write_text(str(error))\n"
        "        (place / 'child.tmp').write_text(str(os.getpid()))\n"
        "        (place / 'child.tmp').rename(place / 'child')\n"
        "        while not (place / 'leave').exists():\n"
        "            time.sleep(0.02)\n"
        "        os._exit(0)\n"
        "    os._exit(9) if (place / 'die').exists() else run.wait()\n"
        "if __name__ == '__main__':\n"
        "    main(sys.argv[1], Path(sys.argv[2]))\n",
        encoding="utf-8",
    )
    host = subprocess.Popen([sys.executable, str(script), str(project.path), str(place)])
    try:
        child = pid_in(place / "child")
        assert "forked" in (place / "said").read_text(encoding="utf-8")
        host.send_signal(signal.SIGKILL)
        host.wait()
        assert is_alive(child)
        (place / "gate").touch()
        wait_until(lambda: project.ctl("run", "m1").code == 0, SECONDS, "the project is free, and the session goes on")
    finally:
        (place / "leave").touch()
        host.kill()
        host.wait()
    wait_until(lambda: not is_alive(child), SECONDS, "the child has left")


def test_from_an_event_loop(project: Project, place: Path) -> None:
    written(project, task("a", "echo 1 > a.txt"), task("b", waits_for(place / "gate"), "a"))

    async def main() -> list[int]:
        seen = []
        async with AsyncMilestoneRun(project.path, "m1", max_parallel=1) as run:
            async for happened in run.events():
                seen.append(happened.seq)
                if isinstance(happened.event, TaskCompleted) and happened.event.task == "a":
                    await run.pause()
                    await run.resume()
                    with pytest.raises(RequestRefusedError):
                        await run.skip("nobody")
                    await run.retry()
                    (place / "gate").touch()
            assert (await run.wait()).is_completed
            assert run.status().tally.percentage == 100
        return seen

    assert asyncio.run(main()) == [record.seq for record, _ in project.records()]


def test_cancelling_the_body_ends_the_session_in_order(project: Project, place: Path) -> None:
    written(project, task("a", waits_for(place / "gate")))
    runs: list[AsyncMilestoneRun] = []

    async def body(started: asyncio.Event) -> None:
        async with AsyncMilestoneRun(project.path, "m1") as run:
            runs.append(run)
            async for happened in run.events():
                if has_started(happened):
                    started.set()

    async def main() -> SessionStatus:
        started = asyncio.Event()
        task_of_host = asyncio.create_task(body(started))
        await started.wait()
        task_of_host.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task_of_host
        return (await runs[0].wait()).status

    assert asyncio.run(main()) is SessionStatus.INTERRUPTED


def test_cancelling_the_body_again_kills_what_is_left(project: Project, place: Path) -> None:
    written(project, task("a", f"trap '' TERM; echo 1 > '{place}/runs'; while :; do sleep 0.05; done"))
    config = place / "patient.yaml"
    config.write_text("stop_grace: 600s\n", encoding="utf-8")

    async def body() -> None:
        async with AsyncMilestoneRun(project.path, "m1", config=config):
            await asyncio.Event().wait()

    async def main() -> None:
        task_of_host = asyncio.create_task(body())
        await asyncio.to_thread(pid_in, place / "runs")
        task_of_host.cancel()
        done, _ = await asyncio.wait({task_of_host}, timeout=0.2)
        assert not done  # it is being stopped, in order
        task_of_host.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task_of_host, SECONDS)

    asyncio.run(main())


def test_cancelling_a_wait_cancels_the_wait_alone(project: Project, place: Path) -> None:
    written(project, task("a", waits_for(place / "gate")))

    async def main() -> bool:
        async with AsyncMilestoneRun(project.path, "m1") as run:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await run.wait()
            (place / "gate").touch()
            return (await run.wait()).is_completed

    assert asyncio.run(main())
