"""The launcher starts the fork server anywhere, never blocks its owner, and loses nothing that was said."""

import os
import resource
import signal
import sys
import threading
from pathlib import Path

import pytest

from supervisor import linux
from supervisor.fork_protocol import (
    ChildExited,
    Forked,
    Launch,
    LaunchFailed,
    ProtocolError,
    Start,
    decode_from_server,
    decode_to_server,
    encode,
)
from supervisor.launcher import Launched, Launcher, ServerGone
from tests.processes.stage import PUPPETS, Stage, read_line, readable
from tests.waiting import wait_until

CHECKOUT = Path(__file__).parents[2]


def test_a_launcher_started_by_a_thread_survives_the_end_of_that_thread() -> None:
    stages: list[Stage] = []
    thread = threading.Thread(target=lambda: stages.append(Stage()))
    thread.start()
    thread.join()
    with stages[0] as stage:
        role = stage.launch("role")
        runner = stage.launch("runner", dies_with_server=False)
        assert role.ask("show death signal") == signal.SIGKILL
        assert linux.children_of(stage.launcher.pid) == (role.pid, runner.pid)


def test_starting_returns_before_the_server_has_loaded_anything_and_launches_wait_for_it() -> None:
    with Stage(preload=(PUPPETS, "asyncio")) as stage:
        for number in range(12):
            stage.ask_for(f"{PUPPETS}:puppet", str(number))
        for number in range(12):
            stage.wait_for(Launched, str(number))


def test_the_fork_server_has_one_thread_and_a_session_of_its_own() -> None:
    with Stage() as stage:
        stage.launch()
        found = linux.stat_of(stage.launcher.pid)
        assert found is not None
        assert (found.session, found.group) == (found.pid, found.pid)
        assert [path.name for path in Path(f"/proc/{found.pid}/task").iterdir()] == [str(found.pid)]


def test_what_the_host_blocked_or_ignored_does_not_reach_the_children() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1, signal.SIGCHLD})
    try:
        stage = Stage()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        signal.signal(signal.SIGHUP, before)
    with stage:
        puppet = stage.launch()
        assert puppet.ask("show blocked") == []
        assert puppet.ask("show default") is True
        puppet.tell("exit 5")
        assert stage.wait_for(ChildExited).status == 5


def test_a_module_in_the_working_folder_is_not_taken_for_a_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("yaml", "attrs", "msgspec", "socket"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('taken in')\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    with Stage(preload=(PUPPETS, "yaml")) as stage:
        puppet = stage.launch()
        assert puppet.ask("show cwd") == str(tmp_path)
        path = puppet.ask("show path")
        assert isinstance(path, list)
        assert not {"", str(tmp_path)} & set(path)


def test_the_package_is_found_though_the_path_names_it_relatively(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", ["", *(one for one in sys.path if Path(one) != CHECKOUT)])
    with Stage() as stage:
        assert stage.launch().ask("show name") == "one"


@pytest.mark.parametrize(
    ("preload", "warm_up", "error"),
    [
        (("tests.nowhere",), (), "ModuleNotFoundError: No module named 'tests.nowhere'"),
        ((PUPPETS,), (f"{PUPPETS}:fail_to_warm",), "LookupError: cold as ice ("),
        ((PUPPETS,), (f"{PUPPETS}:start_a_thread",), "RuntimeError: preloading left 1 thread(s) running"),
    ],
)
def test_a_server_that_cannot_preload_says_why_and_fails_what_was_asked_of_it(
    preload: tuple[str, ...], warm_up: tuple[str, ...], error: str
) -> None:
    with Stage(preload, warm_up) as stage:
        link = stage.ask_for(f"{PUPPETS}:puppet", "one", 3)
        failed = stage.wait_for(LaunchFailed)
        assert (failed.child, failed.incarnation) == ("one", 3)
        assert error in failed.error
        gone = stage.wait_for(ServerGone)
        assert gone.status == 70
        assert gone.error.startswith(error)
        assert read_line(link) == ""


def test_the_death_of_the_server_is_told_once_and_last_and_launching_then_fails_quietly() -> None:
    with Stage() as stage:
        puppet = stage.launch()
        os.kill(stage.launcher.pid, signal.SIGKILL)
        assert readable(stage.launcher)
        link = stage.ask_for(f"{PUPPETS}:puppet", "late")
        assert stage.wait_for(ServerGone) == ServerGone(-signal.SIGKILL)
        assert stage.wait_for(LaunchFailed, "late").error == "the fork server is gone"
        assert stage.launcher.read() == []
        assert read_line(link) == ""
        assert puppet.is_over()


def test_what_the_server_had_said_before_it_died_is_not_lost() -> None:
    with Stage() as stage:
        puppet = stage.launch()
        puppet.tell("exit 4")
        assert puppet.is_over()
        assert readable(stage.launcher)
        os.kill(stage.launcher.pid, signal.SIGKILL)
        server = linux.pidfd_open(stage.launcher.pid)
        assert server is not None
        assert readable(server)
        os.close(server)
        assert stage.wait_for(ChildExited).status == 4
        stage.wait_for(ServerGone)


def test_reading_takes_what_is_there_and_never_waits() -> None:
    with Stage() as stage:
        assert stage.launcher.read() == []
        os.kill(stage.launcher.pid, signal.SIGSTOP)
        stage.ask_for(f"{PUPPETS}:puppet")
        assert stage.launcher.read() == []
        os.kill(stage.launcher.pid, signal.SIGCONT)
        stage.wait_for(Launched)


def test_stopping_kills_a_server_that_does_not_end_in_time() -> None:
    stage = Stage()
    role = stage.launch()
    os.kill(stage.launcher.pid, signal.SIGSTOP)
    stage.launcher.stop(timeout=0.05)
    assert not linux.is_alive(stage.launcher.pid)
    assert role.is_over()
    stage.launcher.stop()
    stage.close_links()


@pytest.mark.row("F4")
def test_a_server_that_takes_nothing_is_killed_and_every_launch_is_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("supervisor.launcher._SEND_SECONDS", 0.05)
    with Stage() as stage:
        stage.launch("first")
        os.kill(stage.launcher.pid, signal.SIGSTOP)
        asked = [f"child {number}" for number in range(1000)]
        for child in asked:
            stage.ask_for(f"{PUPPETS}:puppet", child)
            if not linux.is_alive(stage.launcher.pid):
                break
        gone = stage.wait_for(ServerGone)
        assert gone.status == -signal.SIGKILL
        assert gone.error == "the fork server took nothing for 0.05 s and was killed"
        failed = [report.child for report in stage.read() if isinstance(report, LaunchFailed)]
        assert failed == asked[: len(failed)]
        assert len(failed) > 1


def test_a_stopped_launcher_leaves_no_descriptor_of_reports_that_nobody_read() -> None:
    stage = Stage()
    link = stage.launcher.launch("one", 1, f"{PUPPETS}:puppet", {})
    assert readable(stage.launcher)
    link.close()
    stage.launcher.stop()


def test_a_launch_that_is_too_large_or_no_json_is_refused_before_anything_happens() -> None:
    with Stage() as stage:
        with pytest.raises(ValueError, match="send what is large over the link"):
            stage.launcher.launch("one", 1, f"{PUPPETS}:puppet", {"large": "x" * (1 << 20)})
        with pytest.raises(TypeError):
            stage.launcher.launch("one", 1, f"{PUPPETS}:puppet", {"odd": object()})
        assert stage.launch("one", 1).ask("show name") == "one"


def test_what_children_print_goes_where_the_launcher_says(tmp_path: Path) -> None:
    with (tmp_path / "output").open("wb") as output:
        launcher = Launcher.start((PUPPETS,), output=output.fileno())
    link = launcher.launch("noisy", 1, f"{PUPPETS}:puppet", {})
    link.sendall(b"raise loudly\n")
    wait_until(lambda: any(isinstance(report, ChildExited) for report in _read(launcher)))
    link.close()
    launcher.stop()
    assert "noisy crashed" in (tmp_path / "output").read_text(encoding="utf-8")


def _read(launcher: Launcher) -> list[object]:
    reports = launcher.read()
    for report in reports:
        if isinstance(report, Launched) and report.pidfd is not None:
            os.close(report.pidfd)
    return list(reports)


@pytest.mark.row("F10")
@pytest.mark.skipif(os.geteuid() != 0, reason="a limit of processes needs a user that has no other: be root")
def test_a_fork_that_the_system_refuses_is_a_failed_launch_and_the_server_lives_on() -> None:
    with Stage(warm_up=(f"{PUPPETS}:be_limited",)) as stage:
        first = stage.launch("first")
        link = stage.ask_for(f"{PUPPETS}:puppet", "second")
        failed = stage.wait_for(LaunchFailed, "second")
        assert failed.error.startswith("cannot fork: Resource temporarily unavailable: too many processes")
        assert read_line(link) == ""
        first.tell("exit 0")
        assert stage.wait_for(ChildExited, "first").status == 0
        assert stage.launch("third").ask("show name") == "third"


@pytest.mark.row("F10")
def test_a_server_without_descriptors_refuses_launches_and_recovers() -> None:
    with Stage() as stage:
        stage.launch("first")
        limits = resource.prlimit(stage.launcher.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(stage.launcher.pid, resource.RLIMIT_NOFILE, (3, limits[1]))
        stage.ask_for(f"{PUPPETS}:puppet", "second")
        assert "no descriptor is left" in stage.wait_for(LaunchFailed, "second").error
        resource.prlimit(stage.launcher.pid, resource.RLIMIT_NOFILE, limits)
        assert stage.launch("third").ask("show name") == "third"


@pytest.mark.parametrize("packet", [b"", b"{", b'{"kind":"Kill","body":{}}', b'{"kind":"Forked","body":{"pid":1}}'])
def test_a_packet_that_is_no_message_is_refused(packet: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode_from_server(packet)
    with pytest.raises(ProtocolError):
        decode_to_server(packet)


def test_messages_come_back_as_they_were_written() -> None:
    start = Start(("a", "b"), ())
    forked = Forked("one", 2, 3, "4.5:one:2")
    exited = ChildExited("one", 2, 3, -9, 0.5, 4096, (7,))
    assert decode_to_server(encode(start)) == start
    assert decode_from_server(encode(exited)) == exited
    assert decode_from_server(encode(forked)) == forked
    assert isinstance(decode_to_server(b'{"kind":"Launch","body":{"child":"a","incarnation":1,"entry":"m:f",'
                                       b'"args":{},"dies_with_server":true}}'), Launch)  # fmt: skip
