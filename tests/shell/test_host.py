"""The real host in a real process, with a puppet for its role: programs, time, heartbeats and ways to end."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from actors.events import Settings
from actors.frames import Beat, Deliver, Hello, Leave, Propose, Ready
from actors.host import CRASHED
from actors.paths import ProjectPaths
from actors.programs import Program
from supervisor.linux import is_alive
from tests.canaries import find
from tests.shell.hosting import ROLE, SESSION, Hosted
from tests.waiting import wait_until


@pytest.fixture
def hosted(tmp_path: Path) -> Iterator[Hosted]:
    with Hosted(tmp_path) as role:
        yield role


@pytest.fixture
def ready(hosted: Hosted) -> Hosted:
    return hosted.welcome()


def program(*argv: str, **more: object) -> Program:
    return Program(argv, "/", **more)  # type: ignore[arg-type]


def python(code: str, **more: object) -> Program:
    return program(sys.executable, "-c", code, **more)


def waits(mark: Path) -> Program:
    """Return a program that writes its process id and waits for ever."""
    return program("/bin/sh", "-c", f"echo $$ > {mark}.new && mv {mark}.new {mark} && exec sleep 1000")


def pid_in(mark: Path) -> int:
    return int(wait_until(lambda: mark.exists() and mark.read_text(encoding="ascii"), 60.0, "the program runs"))


# --- the beginning ------------------------------------------------------------------------------------------


def test_a_role_says_hello_first_and_is_ready_only_when_it_was_welcomed(hosted: Hosted) -> None:
    hello = hosted.expect(Hello)
    assert (hello.child, hello.incarnation, hello.pid, hello.since) == (ROLE, 1, hosted.process(), 0)
    assert not [frame for frame in hosted._frames if isinstance(frame, Ready)]


def test_heartbeats_come_about_once_a_second(ready: Hosted) -> None:
    beats = [ready.expect(Beat)]

    def soon() -> bool:
        """Tell whether the next came in time; on a busy machine one is late now and then, and then two are close."""
        beats.append(ready.expect(Beat))
        return beats[-1].mono - beats[-2].mono <= 2.0

    wait_until(soon)
    seconds = [int(beat.mono) for beat in beats]
    assert len(set(seconds)) == len(seconds)


# --- programs -----------------------------------------------------------------------------------------------


def test_a_program_s_output_input_directory_and_variables_are_its_own(ready: Hosted, tmp_path: Path) -> None:
    code = "import os, sys; print(sys.stdin.read(), os.getcwd(), os.environ['NEW'], 'HOME' in os.environ)"
    ready.run(
        Program(
            (sys.executable, "-c", code), str(tmp_path), (("NEW", "yes"), ("HOME", None)), stdin=b"told", timeout=60.0
        )
    )
    (ended,) = ready.answer()
    assert ended == {"code": 0, "length": ended["length"], "out": f"told {tmp_path} yes False\n", "err": ""}


def test_big_output_never_blocks_the_program_nor_the_loop(ready: Hosted) -> None:
    size = 30 << 20
    ready.run(python(f"import sys; sys.stdout.write('x' * {size}); sys.stderr.write('y' * {size}); sys.exit(3)"))
    (ended,) = ready.answer()
    assert (ended["code"], ended["length"], ended["err"]) == (3, size, "y" * 200)


def test_big_input_reaches_the_program(ready: Hosted) -> None:
    ready.run(program("wc", "-c", stdin=b"x" * (2 << 20)))
    assert ready.answer()[0]["out"] == f"{2 << 20}\n"


def test_a_program_without_input_reads_an_empty_one(ready: Hosted) -> None:
    ready.run(program("cat"))
    assert ready.answer() == [{"code": 0, "length": 0, "out": "", "err": ""}]


def test_the_programs_of_a_flow_run_one_after_the_other_and_flows_side_by_side(ready: Hosted) -> None:
    ready.run(program("sh", "-c", "exit 3"), program("echo", "second"), program("echo", "third"))
    ready.order(do="say", what="meanwhile")
    answers = [ready.answer(), ready.answer()]
    assert "meanwhile" in answers
    (flow,) = [answer for answer in answers if answer != "meanwhile"]
    assert [ended["code"] for ended in flow] == [3, 0, 0]
    assert [ended["out"] for ended in flow] == ["", "second\n", "third\n"]


def test_many_programs_at_once_are_all_told_of(ready: Hosted) -> None:
    for number in range(20):
        ready.run(program("echo", str(number)))
    said = {ready.answer()[0]["out"].strip() for _ in range(20)}
    assert said == {str(number) for number in range(20)}
    assert len(list(Path(f"/proc/{ready.process()}/fd").iterdir())) < 20


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (program("no-such-program"), "no-such-program: No such file or directory"),
        (program("/etc/passwd"), "/etc/passwd: Permission denied"),
        (Program(("true",), "/no/such/folder"), "/no/such/folder: No such file or directory"),
        (program("echo", "a\0b"), "echo: embedded null byte"),
        (program("echo", "x" * (1 << 22)), "echo: Argument list too long"),
    ],
    ids=["no program", "not to be executed", "no folder", "a NUL", "too long"],
)
def test_a_program_that_cannot_be_started_is_an_ended_one_with_the_reason(
    ready: Hosted, wrong: Program, reason: str
) -> None:
    ready.run(wrong, program("echo", "next"))
    first, second = ready.answer()
    assert (first["code"], first["err"]) == (127, reason)
    assert second["out"] == "next\n"


def test_a_program_that_takes_too_long_is_killed_with_its_group_and_says_so(ready: Hosted, tmp_path: Path) -> None:
    mark = tmp_path / "child"
    script = f"sleep 1000 & echo $! > {mark}; wait"
    ready.run(program("sh", "-c", script, timeout=0.3), program("echo", "next"))
    first, second = ready.answer()
    assert first["code"] == -signal.SIGKILL
    assert first["err"].endswith("ran out of time and was killed")
    assert second["out"] == "next\n"
    wait_until(lambda: not is_alive(int(mark.read_text(encoding="ascii"))), 60.0, "the group is gone")


FLOODS = {
    "for ever": "while :; do echo 'a line that is one of very many'; done",
    "and ends": "head -c 200000 /dev/zero",
}


@pytest.mark.parametrize("flood", FLOODS.values(), ids=FLOODS)
def test_a_program_that_prints_without_end_is_killed_before_it_fills_the_memory(ready: Hosted, flood: str) -> None:
    ready.order(do="keep little", bytes=100_000)
    ready.run(program("/bin/sh", "-c", flood, timeout=600.0), program("echo", "next"))
    first, second = ready.answer()
    assert (first["code"], first["length"]) == (-signal.SIGKILL, 100_000)
    assert first["err"].endswith("printed more than 256 MiB and was killed")
    assert second["out"] == "next\n"


def test_a_flow_that_is_given_up_ends_with_its_program_and_the_whole_group_of_that(
    ready: Hosted, tmp_path: Path
) -> None:
    stubborn = waits(tmp_path / "pid").argv[2].replace("$$", "$(cut -d ' ' -f 4 /proc/self/stat)")
    ready.run(program("/bin/sh", "-c", f"(trap '' TERM; {stubborn}) & wait"), program("touch", str(tmp_path / "next")))
    pid = pid_in(tmp_path / "pid")
    ready.order(do="give up")
    assert ready.answer() == "given up"
    wait_until(lambda: not is_alive(pid), 60.0, "what heeds no TERM is killed")
    ready.order(do="give up")
    ready.run(program("echo", "another"))
    assert ready.answer()[0]["out"] == "another\n"
    assert not (tmp_path / "next").exists()


def test_a_program_that_heeds_no_term_is_killed_when_its_flow_is_given_up(ready: Hosted, tmp_path: Path) -> None:
    ready.run(program("/bin/sh", "-c", f"trap '' TERM; {waits(tmp_path / 'pid').argv[2]}"))
    pid = pid_in(tmp_path / "pid")
    ready.order(do="give up")
    assert ready.answer() == "given up"
    assert not is_alive(pid)


_FOREIGN = """\
import os, socket, types
from actors.host import Host
from actors.programs import Program
ours, theirs = socket.socketpair()
host = Host(theirs)
host.start(1, Program(("sleep", "600"), "/"))
(running,) = host._programs.values()
os.setresuid(65534, 65534, 0)
host.end(1, 0.0)
host._tell_time(types.SimpleNamespace(tell=lambda _: None))
host._kill_programs()
os.setresuid(-1, 0, -1)
os.setresuid(0, 0, 0)
assert running.killed_for
assert running.process.poll() is None
running.process.kill()
running.process.wait()
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has processes of two users")
def test_a_program_that_changed_its_user_does_not_end_who_would_end_it() -> None:
    done = subprocess.run([sys.executable, "-c", _FOREIGN], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_heartbeats_go_on_while_a_program_runs(ready: Hosted, tmp_path: Path) -> None:
    ready.run(waits(tmp_path / "pid"))
    pid_in(tmp_path / "pid")
    ready.expect_beat_after(1.0)


def test_heartbeats_go_on_while_something_is_waited_for_beside_the_loop(ready: Hosted, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    ready.order(do="read", path=str(pipe))
    ready.expect_beat_after(1.0)
    pipe.write_text("written", encoding="utf-8")
    assert ready.answer() == "written"


# --- time ---------------------------------------------------------------------------------------------------


def assert_wakes_in_time(ready: Hosted, seconds: float) -> None:
    """Assert that a wake-up never comes too early, and not too late when the machine has a moment for it."""

    def in_time() -> bool:
        ready.order(do="wake", seconds=seconds)
        late: float = ready.answer()["late"]
        assert late >= 0.0
        return late < 0.15

    wait_until(in_time)


@pytest.mark.parametrize("seconds", [0.0, 0.02, 0.3])
def test_a_wake_up_comes_when_it_was_asked_for(ready: Hosted, seconds: float) -> None:
    assert_wakes_in_time(ready, seconds)


def test_a_wake_up_beyond_the_next_heartbeat_comes_too(ready: Hosted) -> None:
    assert_wakes_in_time(ready, 1.3)


# --- the end ------------------------------------------------------------------------------------------------


def test_a_role_whose_link_ends_kills_its_programs_and_goes(ready: Hosted, tmp_path: Path) -> None:
    ready.run(waits(tmp_path / "pid"))
    pid = pid_in(tmp_path / "pid")
    ready.link.close()
    assert ready.wait_for_end() == 0
    wait_until(lambda: not is_alive(pid), 60.0, "the program is gone")
    assert ready.output() == ""


def test_an_end_that_left_what_the_role_said_unread_is_an_end_as_well(ready: Hosted, tmp_path: Path) -> None:
    ready.run(waits(tmp_path / "pid"))
    pid = pid_in(tmp_path / "pid")
    for _ in range(3):
        ready.order(do="say", what="something that nobody reads")
    wait_until(lambda: ready.link.recv(1, 0x2 | 0x40), 60.0, "it has said something")  # MSG_PEEK | MSG_DONTWAIT
    ready.link.close()
    assert ready.wait_for_end() == 0
    wait_until(lambda: not is_alive(pid), 60.0, "the program is gone")
    assert ready.output() == ""


def test_a_role_that_was_never_welcomed_goes_with_its_link(hosted: Hosted) -> None:
    hosted.expect(Hello)
    hosted.link.close()
    assert hosted.wait_for_end() == 0


def test_a_role_that_is_asked_to_leave_goes_and_takes_its_programs_along(ready: Hosted, tmp_path: Path) -> None:
    ready.run(waits(tmp_path / "pid"))
    pid = pid_in(tmp_path / "pid")
    ready.say(Leave(5.0))
    assert ready.wait_for_end() == 0
    wait_until(lambda: not is_alive(pid), 60.0, "the program is gone")


def test_a_role_that_is_terminated_leaves_in_order(ready: Hosted) -> None:
    os.kill(ready.process(), signal.SIGTERM)
    assert ready.wait_for_end() == 0


def test_a_role_whose_code_is_broken_dies_with_its_traceback(ready: Hosted, tmp_path: Path) -> None:
    ready.run(waits(tmp_path / "pid"))
    pid = pid_in(tmp_path / "pid")
    ready.order(do="raise", message="no such thing")
    assert ready.wait_for_end() == 70
    assert "LookupError: no such thing" in ready.output()
    assert "Traceback" in ready.output()
    wait_until(lambda: not is_alive(pid), 60.0, "the program is gone")


def test_a_role_whose_code_is_broken_dies_even_if_it_cannot_say_so(ready: Hosted, tmp_path: Path) -> None:
    (tmp_path / ".milestones" / "logs" / SESSION / f"{ROLE}.log").mkdir(parents=True)
    for number in range(5):
        ready.run(waits(tmp_path / f"pid{number}"))
    pids = [pid_in(tmp_path / f"pid{number}") for number in range(5)]
    ready.order(do="raise", message="no such thing")
    assert ready.wait_for_end() == 70
    wait_until(lambda: not any(map(is_alive, pids)), 60.0, "the programs are gone")


def test_a_role_that_tries_to_exit_by_itself_is_broken(ready: Hosted) -> None:
    ready.order(do="exit")
    assert ready.wait_for_end() == 70
    assert "SystemExit: 3" in ready.output()


def test_a_role_has_no_thread_but_its_first(ready: Hosted) -> None:
    assert psutil.Process(ready.process()).num_threads() == 1


def test_a_stuck_role_sends_no_heartbeat_and_goes_with_its_fork_server(ready: Hosted) -> None:
    ready.order(do="stick")
    wait_until(lambda: ready.beats_within(2.2) == 0)
    assert is_alive(ready.process())
    ready.link.close()
    ready.launcher.stop()
    assert not is_alive(ready.process())


def test_frames_that_are_not_for_a_child_are_passed_over(ready: Hosted) -> None:
    ready.say(Ready())
    ready.say(Propose(1, ()))
    ready.order(do="say", what="still here")
    assert ready.answer() == "still here"


def test_nonsense_on_the_link_ends_the_role(ready: Hosted) -> None:
    ready.link.sendall(b"\0\0\0\2{}")
    assert ready.wait_for_end() == 70
    assert "not a frame" in ready.output()


def test_nothing_is_decided_while_a_fact_is_on_its_way_to_the_journal(ready: Hosted) -> None:
    ready.order(do="say", what="first")
    first = ready.expect(Propose)
    ready.order(do="wake", seconds=0.0)
    ready.expect_beat_after(0.1)
    ready.expect_beat_after(1.0)
    assert not [frame for frame in ready._frames if isinstance(frame, Propose)]
    ready.say(Deliver((), (first.ticket,)))
    assert ready.answer()["late"] > 0.5


def test_a_role_whose_code_is_broken_says_why_without_the_values_of_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    canary = 'c4n4ry-"\\ü-value'
    monkeypatch.setenv("TOKEN", canary)
    with Hosted(tmp_path) as role:
        role.welcome(Settings(secrets=("TOKEN",)))
        role.order(do="raise", message=f"no luck with {canary}")
        assert role.wait_for_end() == CRASHED
    logs = ProjectPaths(tmp_path).logs(SESSION)
    assert "LookupError" in role.output()
    assert "LookupError" in (logs / f"{ROLE}.log").read_text(encoding="utf-8")
    assert "no luck with ***" in role.output()
    assert find([canary], [tmp_path]) == []
