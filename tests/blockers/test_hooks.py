"""Hooks: the command and the URL are told of what is critical, at once, once, and never in the way of the loop."""

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from actors.blocker_detector import MOST_HOOKS, BlockerDetector
from actors.events import (
    AttemptEnded,
    BlockerRaised,
    GitIdle,
    HookRan,
    Outcome,
    RoleFinished,
    SessionEnded,
    SessionResumed,
    SessionSettled,
    SessionStatus,
    Settings,
    StopRequested,
    TaskFailed,
)
from actors.hooks import HOOK_SECONDS, WEBHOOK
from actors.model import Milestone, Task
from tests.roles import SESSION, RoleBench

MILESTONE = Milestone("m1", "Something", tasks=tuple(Task(f"t{number}", "T", run="x") for number in range(8)))

TELL_A_FILE = (sys.executable, "-c", "import sys; open('told', 'a').write(sys.stdin.read())")


class Receiver:
    """A web server on the loopback that answers what it is told to and keeps what it got."""

    def __init__(self, status: int) -> None:
        self.got: list[tuple[str, str, Any]] = []
        receiver = self

        class Answer(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.got.append((self.path, self.headers["Content-Type"], json.loads(body)))
                self.send_response(status)
                self.send_header("Location", "http://127.0.0.1:1/elsewhere")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Answer)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook/s3cret"


@contextmanager
def receiving(status: int = 200) -> Iterator[Receiver]:
    receiver = Receiver(status)
    thread = threading.Thread(target=receiver.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield receiver
    finally:
        receiver.server.shutdown()
        thread.join()
        receiver.server.server_close()


def bench(project: Path, settings: Settings) -> RoleBench:
    return RoleBench(BlockerDetector, project, MILESTONE, settings)


def fill_the_disk(stage: RoleBench, task: str = "t0") -> None:
    stage.grant(task, output="cp: No space left on device\n")
    stage.pass_time(1)


def test_alerts_at_once_on_critical_by_the_command_with_the_blocker_as_json(tmp_path: Path) -> None:
    with bench(tmp_path, Settings(hook_command=TELL_A_FILE)) as stage:
        fill_the_disk(stage)
        (program,) = stage.run_programs()
        assert program.timeout == HOOK_SECONDS
        told = json.loads((tmp_path / "told").read_text())
        assert told["session"] == SESSION
        assert told["milestone"] == "m1"
        assert told["claim"] == "pattern:disk-full:t0"
        assert told["severity"] == "critical"
        assert told["task"] == "t0"
        assert told["evidence"] == ["disk: cp: No space left on device (t0.1.log, line 1; rule disk-full)"]
        assert told["proposal"].startswith("resource reallocation: ")
        assert stage.of(HookRan) == [HookRan("pattern:disk-full:t0", sys.executable, True, "")]  # noqa: FBT003


def test_a_hook_is_told_once_for_each_claim_through_crashes(tmp_path: Path) -> None:
    with bench(tmp_path, Settings(hook_command=TELL_A_FILE)) as stage:
        fill_the_disk(stage)
        stage.run_programs()
        stage.restart()
        stage.pass_time(5)
        stage.run_programs()
        fill_the_disk(stage, "t1")
        stage.run_programs()
        claims = [json.loads(line)["claim"] for line in (tmp_path / "told").read_text().splitlines()]
        assert claims == ["pattern:disk-full:t0", "pattern:disk-full:t1"]


def test_a_hook_that_was_not_heard_of_before_a_crash_is_told_again(tmp_path: Path) -> None:
    with bench(tmp_path, Settings(hook_command=TELL_A_FILE)) as stage:
        fill_the_disk(stage)
        assert len(stage.host.programs) == 1
        stage.restart()
        stage.pass_time(1)
        assert len(stage.host.programs) == 1
        stage.run_programs()
        assert len(stage.of(HookRan)) == 1


def test_what_is_not_critical_is_told_to_no_hook_before_it_is_two_days_old(tmp_path: Path) -> None:
    with bench(tmp_path, Settings(hook_command=TELL_A_FILE)) as stage:
        stage.grant("t1")
        attempt = stage.grant("t0")
        stage.end(attempt, Outcome.FAILED)
        stage.happen(TaskFailed("t0", attempt, "x"))
        stage.pass_time(47 * 3600, step=3600)
        assert stage.run_programs() == []
        stage.pass_time(2 * 3600, step=3600)
        assert {json.loads(program.stdin)["claim"] for program in stage.run_programs()} >= {"failed:t0"}


def test_the_loop_goes_on_while_a_hook_runs_and_only_so_many_run_at_once(tmp_path: Path) -> None:
    with bench(tmp_path, Settings(hook_command=TELL_A_FILE)) as stage:
        for number in range(6):
            fill_the_disk(stage, f"t{number}")
        assert len(stage.of(BlockerRaised)) == 6
        assert len(stage.host.programs) == MOST_HOOKS
        assert len(stage.run_programs()) == 6


def test_the_role_finishes_after_its_hooks_have_ended(tmp_path: Path) -> None:
    with bench(tmp_path, Settings(hook_command=TELL_A_FILE)) as stage:
        stage.happen(GitIdle("x"))
        fill_the_disk(stage)
        stage.end("t0.1", Outcome.FAILED)
        stage.happen(TaskFailed("t0", "t0.1", "x"), SessionSettled(SessionStatus.FAILED, "x"))
        stage.pass_time(3)
        assert stage.of(RoleFinished) == []
        stage.run_programs()
        assert [event.role for event in stage.of(RoleFinished)] == ["blocker_detector"]


def test_a_stop_does_not_wait_for_a_hook_and_the_next_life_tells_it_again(tmp_path: Path) -> None:
    with bench(tmp_path, Settings(hook_command=TELL_A_FILE)) as stage:
        stage.happen(GitIdle("x"))
        fill_the_disk(stage)
        stage.happen(StopRequested("told to end"), AttemptEnded("t0.1", Outcome.INTERRUPTED))
        stage.happen(SessionSettled(SessionStatus.INTERRUPTED))
        assert stage.of(RoleFinished) == []
        assert [program.argv for program in stage.run_programs() if program.argv == TELL_A_FILE] == []
        assert [event.role for event in stage.of(RoleFinished)] == ["blocker_detector"]
        stage.happen(SessionEnded(SessionStatus.INTERRUPTED), SessionResumed(stage.state.settings, "boot", 2))
        stage.restart()
        stage.pass_time(1)
        assert [program.argv for program in stage.run_programs()] == [TELL_A_FILE]
        assert len(stage.of(HookRan)) == 1


@pytest.mark.parametrize(
    ("command", "detail"),
    [
        (("/nowhere/hook",), "ended with 127: /nowhere/hook: No such file or directory"),
        ((sys.executable, "-c", "import sys; sys.exit('no licence')"), "ended with 1: no licence"),
        ((sys.executable, "-c", "import os, signal; os.kill(os.getpid(), 9)"), "killed by signal 9"),
    ],
)
def test_a_hook_that_fails_is_reported_and_not_tried_again(
    tmp_path: Path, command: tuple[str, ...], detail: str
) -> None:
    with bench(tmp_path, Settings(hook_command=command)) as stage:
        fill_the_disk(stage)
        stage.run_programs()
        assert [(event.ok, event.detail) for event in stage.of(HookRan)] == [(False, detail)]
        stage.pass_time(5)
        assert stage.run_programs() == []


def test_the_url_gets_the_same_by_post_and_no_log_gets_its_path(tmp_path: Path) -> None:
    with receiving() as receiver, bench(tmp_path, Settings(hook_url=receiver.url)) as stage:
        fill_the_disk(stage)
        (program,) = stage.run_programs()
        ((path, kind, body),) = receiver.got
        assert (path, kind, body["claim"]) == ("/hook/s3cret", "application/json", "pattern:disk-full:t0")
        assert stage.of(HookRan) == [HookRan("pattern:disk-full:t0", "http://127.0.0.1", True, "")]  # noqa: FBT003
        assert "s3cret" not in " ".join(program.argv)
        assert b"s3cret" not in (stage.logs / "blockers.jsonl").read_bytes()


def test_a_url_that_cannot_be_read_is_reported_and_ends_nothing(tmp_path: Path) -> None:
    with bench(tmp_path, Settings(hook_url="http://[s3cret")) as stage:
        fill_the_disk(stage)
        stage.run_programs()
        (ran,) = stage.of(HookRan)
        assert (ran.target, ran.ok) == ("the configured URL", False)
        assert ran.detail == "ended with 1: the URL cannot be read; write http://host/path or https://host/path"


def test_command_and_url_are_both_told(tmp_path: Path) -> None:
    settings = Settings(hook_command=TELL_A_FILE)
    with receiving() as receiver:
        settings = Settings(hook_command=TELL_A_FILE, hook_url=receiver.url)
        with bench(tmp_path, settings) as stage:
            fill_the_disk(stage)
            stage.run_programs()
            assert [event.ok for event in stage.of(HookRan)] == [True, True]
            assert (tmp_path / "told").exists()
            assert len(receiver.got) == 1


def post(url: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-I", "-S", WEBHOOK], input=f"{url}\n{{}}\n", capture_output=True, text=True, check=False
    )
    return done.returncode, done.stderr.strip()


@pytest.mark.parametrize("status", [500, 404, 302])
def test_an_answer_that_is_no_success_is_a_failure(status: int) -> None:
    with receiving(status) as receiver:
        assert post(receiver.url) == (1, f"127.0.0.1 answered {status}")
        assert len(receiver.got) == 1


def test_nobody_there_is_a_failure_with_one_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        code, said = post(f"http://127.0.0.1:{taken.getsockname()[1]}/s3cret")
    assert code == 1
    assert said.startswith("127.0.0.1 cannot be reached: ")
    assert "s3cret" not in said


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://host/x", "nonsense", "", "http://[half/x"])
def test_anything_but_http_is_refused(url: str) -> None:
    code, said = post(url)
    assert code == 1
    assert said.startswith("the URL ")
