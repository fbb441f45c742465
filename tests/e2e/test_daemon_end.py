"""How a daemon ends, and what it answers meanwhile: signals beyond the second, a full disk, requests that come late."""

import contextlib
import functools
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from actors.events import AttemptStarted, SessionResumed
from actors.paths import ProjectPaths
from supervisor.client import CallFailedError, Client
from supervisor.config import Config
from supervisor.control import Ticket
from supervisor.core_effects import Refusal, Refused
from supervisor.core_events import TerminateChild
from supervisor.daemon import Daemon
from supervisor.desk import HANGS
from supervisor.environment import SESSION_MARK
from supervisor.hosted import HostedProject
from supervisor.linux import find_marked
from supervisor.lock import ProjectLock
from supervisor.notify import Notifier
from supervisor.protocol import Named, Reply, Shutdown, Stop
from tests.disks import fill, small_disk
from tests.e2e.stage import Done, Project, Running, facts, milestone_of, ready_pid, waits_for
from tests.e2e.test_metrics import scrape
from tests.waiting import wait_until

DEAF: Final = "trap '' TERM; while :; do sleep 0.1; done"


def up(project: Project, script: str) -> Running:
    """Start a daemon and a session with one task; return when that runs."""
    project.write("m1", milestone_of({"id": "a", "run": script}, requirements={"disk_space_mb": 1}))
    daemon = project.daemon()
    wait_until(lambda: " ready " in daemon.text(), 60.0, "the daemon is ready")
    assert project.ctl("start", "m1").code == 0
    wait_until(lambda: facts(project, AttemptStarted), 60.0, "the task runs")
    return daemon


def has_said(daemon: Running, what: str) -> bool:
    """Tell whether a daemon has logged something, or has ended."""
    return what in daemon.text() or daemon.process.poll() is not None


def assert_gone(session: str) -> None:
    wait_until(lambda: not find_marked(SESSION_MARK, session), 60.0, "nothing of the session lives")


def test_a_daemon_without_standard_streams_serves_and_ends_in_order(folder: Project) -> None:
    (folder.path / ".milestones").mkdir()
    command = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", sys.executable, "-m", "supervisor.daemon", str(folder.path)]
    with subprocess.Popen(command) as daemon:
        try:
            there = wait_until(lambda: folder.ctl("pid").code == 0 or daemon.poll() is not None, 60.0, "it answers")
            assert there
            targets = {Path(f"/proc/{daemon.pid}/fd/{number}").readlink() for number in (0, 1, 2)}
            assert targets == {Path(os.devnull)}
        finally:
            daemon.terminate()
    assert daemon.returncode == 0


def test_a_third_signal_waits_for_nothing(folder: Project) -> None:
    """The runner is stopped, so that the second one cannot be carried out at once."""
    folder.configure("stop_grace: 60s\n")
    daemon = up(folder, DEAF)
    runner = ready_pid(folder, "runner")
    session = folder.session()
    os.kill(runner, signal.SIGSTOP)
    try:
        for number, said in ((signal.SIGTERM, "ending"), (signal.SIGINT, "ended at once")):
            daemon.process.send_signal(number)
            wait_until(functools.partial(has_said, daemon, said), 60.0, said)
        daemon.process.send_signal(signal.SIGTERM)
        assert daemon.wait() == 143
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(runner, signal.SIGCONT)
    assert_gone(session)


def test_a_daemon_that_is_told_to_end_while_it_opens_projects_begins_nothing(folder: Project) -> None:
    (folder.path / ".milestones").mkdir()
    daemon = Daemon(lambda _: Config(), Notifier())
    daemon._signalled(signal.SIGTERM, None)
    daemon.open(folder.path, Config())
    assert not (folder.path / ".milestones" / "state.db").exists()
    assert daemon.run() == 0
    daemon.close()


def test_a_daemon_that_is_told_to_end_before_it_starts_what_it_opened_gives_it_back(folder: Project) -> None:
    (folder.path / ".milestones").mkdir()
    daemon = Daemon(lambda _: Config(), Notifier())
    daemon.open(folder.path, Config())
    daemon._signalled(signal.SIGTERM, None)
    try:
        assert daemon.run() == 0
    finally:
        daemon.close()
    ProjectLock.acquire(ProjectPaths(folder.path), "a test").close()


def test_two_restarts_at_once_are_both_answered(folder: Project, place: Path) -> None:
    daemon = up(folder, waits_for(place / "gate"))
    answers: queue.SimpleQueue[Done] = queue.SimpleQueue()
    threads = [threading.Thread(target=lambda: answers.put(folder.ctl("restart", "m1"))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [answers.get(timeout=1).code for _ in threads] == [0, 0]
    assert 1 <= len(facts(folder, SessionResumed)) <= 2
    daemon.process.send_signal(signal.SIGTERM)
    assert daemon.wait() == 0


def test_what_is_stopped_or_about_to_be_is_started_again_by_start_and_by_restart(folder: Project, place: Path) -> None:
    daemon = up(folder, waits_for(place / "gate"))
    with Client(folder.path / ".milestones" / "run" / "control.sock", 60.0) as client:

        def asked(verb: str, *names: str, **more: object) -> list[tuple[str, int, str]]:
            return [(one["name"], one["code"], one["text"]) for one in client.ask(verb, names=names, **more)]

        for lives, verb in enumerate(("start", "restart")):
            assert asked("stop", "m1", wait=False) == [("m1", 0, "ending")]
            assert asked(verb, "m1") == [("m1", 0, "started")]
            assert len(facts(folder, SessionResumed)) == lives + 1
        assert asked("stop", "m1") == [("m1", 0, "stopped")]
        assert asked("restart", "m1:runner") == [("m1:runner", 7, "not running; start it with: milestonectl start m1")]
        with pytest.raises(CallFailedError, match="no session lives here"):
            asked("restart", "all")
        assert asked("restart", "nosuch", "m1")[1] == ("m1", 0, "started")
    daemon.process.send_signal(signal.SIGTERM)
    assert daemon.wait() == 0


def test_start_all_starts_every_role_that_was_stopped_as_supervisorctl_does(folder: Project, place: Path) -> None:
    folder.write("m1", milestone_of({"id": "a", "run": waits_for(place / "gate")}))
    daemon = folder.daemon()
    wait_until(lambda: " ready " in daemon.text(), 60.0, "the daemon is ready")
    nothing = folder.ctl("start", "all")
    assert (nothing.code, "no session lives here" in nothing.err) == (7, True)
    assert folder.ctl("start", "m1").code == 0
    stopped = ("m1:progress_monitor", "m1:blocker_detector")
    assert folder.ctl("stop", *stopped).code == 0
    assert folder.ctl("pid", *stopped).out == "0\n0\n"
    done = folder.ctl("start", "all")
    assert done.code == 0
    said = dict(line.split(": ") for line in done.out.splitlines())
    assert [name for name, word in said.items() if word == "started"] == list(stopped)
    assert {word for name, word in said.items() if name not in stopped} == {"already started"}
    assert folder.ctl("pid", *stopped).code == 0
    daemon.process.send_signal(signal.SIGTERM)
    assert daemon.wait() == 0


def test_a_daemon_listens_on_no_port(folder: Project, place: Path) -> None:
    daemon = up(folder, waits_for(place / "gate"))
    inodes = set()
    for one in Path(f"/proc/{daemon.process.pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            inodes.add(str(one.readlink()).removeprefix("socket:[").removesuffix("]"))
    for table in ("tcp", "tcp6", "udp", "udp6"):
        with contextlib.suppress(FileNotFoundError):
            rows = Path(f"/proc/{daemon.process.pid}/net/{table}").read_text().splitlines()[1:]
            assert inodes & {row.split()[9] for row in rows} == set(), table
    daemon.process.send_signal(signal.SIGTERM)
    assert daemon.wait() == 0


@pytest.fixture
def crowded(tmp_path: Path) -> Iterator[Project]:
    """Yield a project on a file system of 3 MB."""
    with small_disk(tmp_path / "disk", "size=3m") as disk:
        (disk / "plain").mkdir()
        made = Project(disk / "plain")
        try:
            yield made
        finally:
            made.end_all()


def test_on_a_full_disk_a_second_signal_ends_everything_at_once(crowded: Project, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    crowded.configure("stop_grace: 300s\n")
    daemon = up(crowded, DEAF)
    session = crowded.session()
    fill(crowded.path)
    daemon.process.send_signal(signal.SIGTERM)
    daemon.process.send_signal(signal.SIGINT)
    assert daemon.wait(60.0) == 0
    assert_gone(session)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_answers_prometheus_no_more_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "metrics.sock"
    daemon = Daemon(lambda _: Config(), Notifier())
    daemon.measure(str(path))
    try:
        daemon.serve_figures()
        daemon.start_figures()
        first = daemon._scraped
        assert first is not None
        first.text = sys.exit  # a defect, such as nobody foresees
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
            first.join(60.0)
        assert not first.is_alive()
        daemon._check()
        assert "milestoned_build_info" in scrape(path)
    finally:
        daemon.close()
    assert not path.exists()


class Main:
    """The daemon's main thread, as a project knows it."""

    def post(self, call: Callable[[], None]) -> None:
        call()

    def reload(self, ticket: Any) -> None:  # noqa: ANN401 - never asked for here
        raise AssertionError(ticket)

    def shut_down(self, reason: str) -> None:
        raise AssertionError(reason)

    def fail(self, code: int, reason: str) -> None:
        raise AssertionError((code, reason))


def test_a_control_server_that_has_ended_by_itself_is_named(folder: Project) -> None:
    (folder.path / ".milestones").mkdir()
    project = HostedProject(ProjectPaths(folder.path), Config(), Main(), "0")
    try:
        assert project.ended_threads() == ()
        project.start()
        assert project.ended_threads() == ()
        project._server.close()  # as if it had met a defect
        assert project.ended_threads() == ("control",)
    finally:
        assert project.close(30.0)


class Deaf(Main):
    """A main thread that takes no calls any more: it gives everything back."""

    def post(self, call: Callable[[], None]) -> None:
        pass

    def fail(self, code: int, reason: str) -> None:
        pass


def test_who_waits_for_a_stop_is_answered_although_the_daemon_ends_meanwhile(folder: Project, place: Path) -> None:
    folder.write("m1", milestone_of({"id": "a", "run": waits_for(place / "gate")}))
    project = HostedProject(ProjectPaths(folder.path), Config(), Deaf(), "0")
    replies: list[Reply] = []
    try:
        project.start()
        project._begin("m1", lambda *_: None, wait=False)
        project._desk.answer(Stop(("m1",)), Ticket(1, replies.append))
    finally:
        assert project.close(30.0)
    assert replies == [Reply(1, ok=True, result=(Named("m1", 0, "stopped"),))]


def test_who_waits_for_the_end_of_a_role_is_answered_although_the_daemon_ends_meanwhile(
    folder: Project, place: Path
) -> None:
    """Its supervisor is ended by force, and will not answer any more."""
    folder.write("m1", milestone_of({"id": "a", "run": waits_for(place / "gate")}))
    project = HostedProject(ProjectPaths(folder.path), Config(), Deaf(), "0")
    answered: queue.SimpleQueue[object] = queue.SimpleQueue()
    hold = threading.Event()

    def wait() -> None:
        hold.wait(60.0)

    try:
        project.start()
        project._begin("m1", lambda *_: None, wait=False)
        (run,) = project.live()
        run.call_supervisor(wait)
        run.order(lambda at, number: TerminateChild(at, number, "progress_monitor"), answered.put)
        run._supervisor.stop(block=False)
        hold.set()
        wait_until(lambda: not run._supervisor.is_alive(), 60.0, "the supervisor was ended by force")
    finally:
        hold.set()
        project.close(30.0)
    assert answered.get(timeout=60.0) == Refused(Refusal.SHUTTING_DOWN)


class Patient(Main):
    def shut_down(self, reason: str) -> None:
        assert reason


def test_who_waits_for_a_daemon_of_which_a_thread_hangs_is_told_so(folder: Project) -> None:
    (folder.path / ".milestones").mkdir()
    project = HostedProject(ProjectPaths(folder.path), Config(), Patient(), "0")
    go_on = threading.Event()
    replies: list[Reply] = []

    def hang() -> None:
        go_on.wait(60.0)

    project.start()
    project._project.hub.call(hang)
    project._desk.answer(Shutdown(), Ticket(1, replies.append))
    assert not project.close(0.2)
    assert replies == [Reply(1, ok=False, code=1, lines=(HANGS,))]
    go_on.set()
    wait_until(project._project.close, 60.0, "the project is free")
