"""What a child says when it is ready, who hears of it, and the line by which a program says that it is."""

import asyncio
import contextlib
import os
import select
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from supervisor import (
    AsyncSupervisor,
    ChildExited,
    ChildSpec,
    ProgramSpec,
    RefusedError,
    Restart,
    SpecError,
    StartError,
    Supervisor,
    SupervisorFlags,
    Unready,
)
from supervisor.exits import describe
from supervisor.linux import is_alive
from supervisor.readiness import TURN, NotifySocket, Said
from supervisor.ready_line import LONGEST_LINE, LineFinder
from tests.api.stage import CAST, MANY, TIMEOUT, expect, running
from tests.api.test_children import nested
from tests.waiting import wait_until

# --- what a child reports of its start -----------------------------------------------------------------------------

NOTIFY = (
    "import os, signal, socket; s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM);"
    "s.sendto(b'READY=1\\nSTATUS=serving 3 tables', chr(0) + os.environ['NOTIFY_SOCKET'][1:]); signal.pause()"
)


def test_who_notifies_without_end_is_heard_in_turns() -> None:
    notified = NotifySocket("endless", 1)
    address = "\0" + notified.environment(None)["NOTIFY_SOCKET"].removeprefix("@")
    with contextlib.closing(notified), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as program:
        for text in (*[b"WATCHDOG=1"] * TURN, b"READY=1"):
            program.sendto(text, socket.MSG_DONTWAIT, address)
        assert notified.read() == Said(ready=False, alive=True)
        assert notified.read() == Said(ready=True, alive=False)


@pytest.mark.row("17")
def test_what_a_child_reports_of_its_start_is_told_to_who_asks_also_after_a_restart() -> None:
    with Supervisor([ChildSpec("actor", f"{CAST}:Listening"), nested("inner")], MANY) as supervisor:
        assert supervisor.which_child("actor").info == {"port": 8001}
        started = supervisor.start_child(ChildSpec("function", f"{CAST}:tell_port"), under="inner")
        assert started.info == {"port": 9001}
        row = supervisor.which_child("inner/function")
        assert (row.id, row.pid, row.info) == ("function", started.pid, {"port": 9001})
        os.kill(row.pid or 0, signal.SIGKILL)
        assert running(supervisor, "inner/function", 2).info == {"port": 9002}
        assert supervisor.which_children(under="inner")[0].info == {"port": 9002}
        program = ProgramSpec([sys.executable, "-c", NOTIFY], notify=True)
        assert supervisor.start_child(ChildSpec("program", program=program)).info == "serving 3 tables"
        supervisor.terminate_child("inner/function")
        assert supervisor.which_child("inner/function").info is None
        assert supervisor.restart_child("inner/function").info == {"port": 9003}


def test_one_child_can_be_asked_for_and_one_that_is_not_there_is_told_with_what_was_meant() -> None:
    async def main() -> None:
        async with AsyncSupervisor([nested("inner", ChildSpec("actor", f"{CAST}:Listening"))]) as supervisor:
            assert (await supervisor.which_child("inner/actor")).info == {"port": 8001}
            assert (await supervisor.which_child("inner")).info is None
            with pytest.raises(RefusedError, match=r"'inner/acter': no such child: .*did you mean 'actor'\?"):
                await supervisor.which_child("inner/acter")

    asyncio.run(main())


def test_what_cannot_be_sent_of_a_start_is_a_start_that_failed() -> None:
    with pytest.raises(StartError, match="start_info must be plain values"):
        Supervisor([ChildSpec("actor", f"{CAST}:Listening", args={"info": "unsendable"})]).start()


# --- the line ------------------------------------------------------------------------------------------------------


def feed_in_pieces(text: bytes, size: int, expression: str) -> Iterator[object]:
    finder = LineFinder(expression)
    for start in range(0, len(text), size):
        yield finder.feed(text[start : start + size])


@pytest.mark.parametrize("size", [1, 2, 7, 100])
def test_a_line_is_found_however_it_comes(size: int) -> None:
    text = b"not ready\r\n\nlistening on port 8080\r\nlistening on port 9\n"
    found = [said for said in feed_in_pieces(text, size, r"^listening on port (?P<port>\d+)$") if said is not None]
    assert found[0] == {"port": "8080"}
    assert next(said for said in feed_in_pieces(text, size, "port") if said) == "listening on port 8080"


def test_a_line_is_no_line_before_its_end_and_nothing_is_found_across_lines() -> None:
    finder = LineFinder("ready")
    assert finder.feed(b"rea\ndy\nready") is None
    assert finder.feed(b"\n") == "ready"


@pytest.mark.parametrize("size", [1, 1000, LONGEST_LINE, 10 * LONGEST_LINE])
def test_of_a_line_without_end_only_the_beginning_is_searched_and_the_next_one_again(size: int) -> None:
    text = b"x" * LONGEST_LINE + b"ready" + b"x" * (2 * LONGEST_LINE) + b"ready\nwe are ready\n"
    found = [said for said in feed_in_pieces(text, size, "ready") if said is not None]
    assert found == ["we are ready"]
    early = [said for said in feed_in_pieces(b"ready" + text, size, "^ready") if said is not None]
    assert str(early[0]).startswith("readyxxx")


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"ready_line": "["}, "is no regular expression: unterminated character set"),
        ({"ready_line": ""}, "must be a regular expression"),
        ({"ready_line": 5}, "must be a regular expression"),
        ({"ready_line": "x", "notify": True}, "choose one"),
        ({"ready_line": "x", "start_seconds": 1}, "must be 0 for one that says it is ready"),
    ],
)
def test_a_line_that_cannot_be_looked_for_is_refused(fields: dict[str, Any], why: str) -> None:
    with pytest.raises(SpecError, match=why):
        ProgramSpec(["true"], **fields)


# --- programs that print it ----------------------------------------------------------------------------------------

SERVER = "echo starting; echo 'listening on 8080' >&2; echo more; exec sleep 1000"


def test_a_program_is_ready_when_it_has_printed_its_line_and_its_output_goes_where_it_goes(tmp_path: Path) -> None:
    output = tmp_path / "out"
    program = ProgramSpec(["sh", "-c", SERVER], ready_line=r"listening on (?P<port>\d+)", output=str(output))
    with Supervisor([ChildSpec("server", program=program)], MANY) as supervisor:
        row = supervisor.which_child("server")
        assert row.info == {"port": "8080"}
        text = "starting\nlistening on 8080\nmore\n"
        wait_until(lambda: output.read_text(encoding="utf-8") == text, TIMEOUT, "all is passed on")
        os.kill(row.pid or 0, signal.SIGKILL)
        running(supervisor, "server", 2)
        wait_until(lambda: output.read_text(encoding="utf-8") == 2 * text, TIMEOUT, "all of the next one too")
    assert output.stat().st_mode & 0o777 == 0o600
    assert not is_alive(row.pid or 0)


def test_a_program_without_a_file_prints_where_the_supervisor_does(tmp_path: Path) -> None:
    with (tmp_path / "all").open("w+b") as everything:
        program = ProgramSpec(["sh", "-c", SERVER], ready_line="^more$")
        with Supervisor([ChildSpec("server", program=program)], output=everything.fileno()) as supervisor:
            assert supervisor.which_child("server").info == "more"
        assert (tmp_path / "all").read_text(encoding="utf-8") == "starting\nlistening on 8080\nmore\n"


def test_a_program_that_never_prints_its_line_is_killed_after_its_start_timeout() -> None:
    program = ProgramSpec(["sh", "-c", "echo almost; exec sleep 1000"], ready_line="^ready$", output=os.devnull)
    with pytest.raises(StartError) as failed:
        Supervisor([ChildSpec("mute", program=program, start_timeout=0.5)]).start()
    assert failed.value.reason == Unready(0.5)


def test_a_program_that_ends_before_its_line_has_not_started_and_its_last_words_are_kept(tmp_path: Path) -> None:
    output = tmp_path / "out"
    program = ProgramSpec(["sh", "-c", "echo no table; exit 7"], ready_line="^ready$", output=str(output))
    with pytest.raises(StartError) as failed:
        Supervisor([ChildSpec("brief", program=program)]).start()
    said = "(exit code 7): ended before the line it announces itself with: '^ready$'"
    assert said in str(failed.value)
    assert output.read_text(encoding="utf-8") == "no table\n"


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"ready_line": "^ready$"}, "(exit code 0): ended before the line it announces itself with: '^ready$'"),
        ({"notify": True}, "(exit code 0): ended before it announced itself with READY=1"),
    ],
)
def test_a_program_that_ends_well_before_it_is_ready_has_not_started_and_it_is_said_why(
    more: dict[str, Any], said: str
) -> None:
    with pytest.raises(StartError) as failed:
        Supervisor([ChildSpec("brief", program=ProgramSpec(["true"], **more))]).start()
    assert said in str(failed.value)


def test_a_program_that_ends_after_its_line_is_not_said_to_have_missed_it(tmp_path: Path) -> None:
    argv = ["sh", "-c", f"echo ready; until test -e '{tmp_path / 'go'}'; do sleep 0.02; done; exit 3"]
    program = ProgramSpec(argv, ready_line="^ready$", output=os.devnull)
    with Supervisor([ChildSpec("server", program=program, restart=Restart.TEMPORARY)]) as supervisor:
        (tmp_path / "go").touch()
        assert describe(expect(supervisor, ChildExited).reason) == "crashed (exit code 3)"


def test_a_file_that_cannot_be_written_is_a_start_that_failed(tmp_path: Path) -> None:
    program = ProgramSpec(["sleep", "1000"], ready_line="x", output=str(tmp_path / "none" / "out"))
    with pytest.raises(StartError, match=r"none/out: No such file or directory"):
        Supervisor([ChildSpec("server", program=program)]).start()


def test_a_flood_after_the_line_is_passed_on_and_holds_up_nobody(tmp_path: Path) -> None:
    output = tmp_path / "out"
    argv = ["sh", "-c", "echo ready; head -c 3000000 /dev/zero; echo; echo done; exec sleep 1000"]
    spec = ChildSpec("flood", program=ProgramSpec(argv, ready_line="^ready$", output=str(output)))
    with Supervisor([spec, ChildSpec("other", f"{CAST}:Listening")]) as supervisor:
        assert supervisor.which_child("other").info == {"port": 8001}
        wait_until(lambda: output.stat().st_size == 3_000_012, 60.0, "all of it is passed on")
        supervisor.terminate_child("flood")
    assert output.read_bytes().endswith(b"\ndone\n")


def test_a_reader_that_does_not_read_holds_up_neither_the_supervisor_nor_its_end() -> None:
    reading, writing = os.pipe()
    argv = ["sh", "-c", "echo ready; exec cat /dev/zero"]
    spec = ChildSpec("flood", program=ProgramSpec(argv, ready_line="^ready$"), restart=Restart.TEMPORARY)
    with Supervisor([spec], SupervisorFlags(), output=writing) as supervisor:
        wait_until(lambda: full(writing), TIMEOUT, "the pipe is full")
        assert supervisor.which_child("flood").info == "ready"
    assert expect(supervisor, ChildExited).child == "flood"
    os.close(reading)
    os.close(writing)


def full(descriptor: int) -> bool:
    """Tell whether a pipe takes no more."""
    poller = select.poll()
    poller.register(descriptor, select.POLLOUT)
    return not poller.poll(0)
