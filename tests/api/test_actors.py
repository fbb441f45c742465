"""An actor of the user's own, in a process of its own: how it starts, answers, ends and comes back."""

import os
import re
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from actors.actor_host import MOST_MESSAGES
from supervisor import (
    AnswerError,
    AskTimeoutError,
    ChildExited,
    ChildGoneError,
    ChildSpec,
    ChildUnavailableError,
    Crashed,
    EndCause,
    Killed,
    Limit,
    Limits,
    MailboxFullError,
    MessageError,
    Normal,
    NotRunningError,
    RefusedError,
    Restart,
    Silent,
    StartError,
    Supervisor,
    SupervisorFlags,
    SupervisorTroubled,
)
from supervisor.linux import is_alive
from supervisor.mailboxes import MAILBOX_BYTES
from supervisor.supervision import OnEvent
from tests.api.stage import CAST, MANY, TIMEOUT, echo, expect, running, who
from tests.api.test_children import nested
from tests.waiting import wait_until


def test_an_actor_runs_in_a_process_of_its_own_and_answers(tmp_path: Path) -> None:
    note = tmp_path / "note"
    with Supervisor([echo(args={"note": str(note)})]) as supervisor:
        answer = who(supervisor)
        assert answer["pid"] != os.getpid()
        assert (answer["name"], answer["incarnation"], answer["last_exit"]) == ("echo", 1, "")
        assert answer["thread"] != "MainThread"
        supervisor.tell("echo", {"n": 1, "deep": [None, 1.5, "x"]})
        assert supervisor.ask("echo", {"do": "seen"}, TIMEOUT)[1:] == [
            {"n": 1, "deep": [None, 1.5, "x"]},
            {"do": "seen"},
        ]
        supervisor.tell("echo", {"last": True})
    assert note.read_text(encoding="utf-8") == "stopped in order"
    assert not is_alive(answer["pid"])


@pytest.mark.parametrize(("what", "name"), [("raise", "ValueError"), ("cancel", "CancelledError")])
def test_an_exception_ends_the_process_and_the_next_incarnation_knows_it(what: str, name: str, tmp_path: Path) -> None:
    note = tmp_path / "note"
    with Supervisor([echo(args={"note": str(note)})], MANY) as supervisor:
        supervisor.tell("echo", {"do": what, "text": "bad luck"})
        exited = expect(supervisor, ChildExited)
        assert isinstance(exited.reason, Crashed)
        assert re.fullmatch(rf"{name}: bad luck \(.*/cast\.py:\d+\)", exited.reason.error)
        assert (exited.reason.code, exited.expected) == (70, False)
        running(supervisor, "echo", 2)
        answer = who(supervisor)
        assert answer["incarnation"] == 2
        assert f"{name}: bad luck" in answer["last_exit"]
        assert note.read_text(encoding="utf-8") == "failed"  # its own on_failure was called


def test_a_question_that_raises_fails_for_who_asked_and_the_actor_goes_on() -> None:
    with Supervisor([echo()]) as supervisor:
        for what, name in (("raise", "ValueError"), ("cancel", "CancelledError")):
            with pytest.raises(AnswerError, match=f"{name}: no") as raised:
                supervisor.ask("echo", {"do": what, "text": "no"}, TIMEOUT)
            assert (raised.value.kind, raised.value.child) == (name, "echo")
        with pytest.raises(AnswerError) as unsendable:
            supervisor.ask("echo", {"do": "unsendable"}, TIMEOUT)
        said = str(unsendable.value)
        assert "Echo answered {'do': 'unsendable'} with what is no plain value" in said
        assert re.search(r"is of type _?(thread\.)?lock", said)
        assert "actor_host.py" not in said
        assert who(supervisor)["incarnation"] == 1


def test_what_cannot_be_sent_or_reached_is_said_at_once() -> None:
    with Supervisor([echo(), ChildSpec("program", program=["sleep", "100"])]) as supervisor:
        with pytest.raises(MessageError, match="JSON"):
            supervisor.tell("echo", {"lock": object()})
        for child in ("nobody", "program", "nobody/echo"):
            with pytest.raises(ChildUnavailableError, match=child):
                supervisor.tell(child, {})
            with pytest.raises(ChildUnavailableError, match=child):
                supervisor.ask(child, {})
    with pytest.raises(NotRunningError, match="ended: asked to stop"):
        supervisor.ask("echo", {})
    with pytest.raises(NotRunningError, match="ended: asked to stop"):
        supervisor.which_children()


def test_a_question_ends_with_its_time_or_with_the_child() -> None:
    with Supervisor([echo(shutdown=0)], MANY) as supervisor:
        supervisor.tell("echo", {"do": "hang"})
        with pytest.raises(AskTimeoutError, match=r"within 0\.05 s") as late:
            supervisor.ask("echo", {}, timeout=0.05)
        assert isinstance(late.value, TimeoutError)
        supervisor.terminate_child("echo")
        supervisor.restart_child("echo")
        with pytest.raises(ChildGoneError, match="exit code 3") as gone:
            supervisor.ask("echo", {"do": "exit", "code": 3}, timeout=TIMEOUT)
        assert gone.value.reason == Crashed(code=3)


def test_an_answer_that_cannot_be_read_ends_who_gave_it_and_nobody_else() -> None:
    with Supervisor([echo("mad"), echo()], MANY) as supervisor:
        for count, body in enumerate(('"\xff"', "1e999999", "1" * 5000), 1):
            answer = f'{{"kind":"Answer","body":{{"ticket":{count},"body":{body}}}}}'
            with pytest.raises(ChildGoneError, match="SIGKILL"):
                supervisor.ask("mad", {"do": "write", "frame": answer}, timeout=TIMEOUT)
            running(supervisor, "mad", count + 1)
        assert who(supervisor)["incarnation"] == 1


@pytest.mark.parametrize(
    ("message", "reason"),
    [({"do": "stop"}, Normal(0)), ({"do": "exit", "code": 0}, Normal(0)), ({"do": "exit", "code": 4}, Crashed(code=4))],
)
def test_how_an_actor_ends_says_whether_that_is_normal(message: dict[str, object], reason: object) -> None:
    with Supervisor([echo(restart=Restart.TEMPORARY)]) as supervisor:
        supervisor.tell("echo", message)
        assert expect(supervisor, ChildExited).reason == reason
        assert supervisor.which_children() == ()


def test_a_start_that_raises_fails_the_supervisor_with_the_exception_and_leaves_nothing() -> None:
    supervisor = Supervisor([echo(), ChildSpec("failing", f"{CAST}:Failing")])
    with pytest.raises(StartError, match=r"'failing' failed to start.*LookupError: no such table") as raised:
        supervisor.start()
    assert raised.value.child == "failing"
    assert supervisor.fork_server_pid == 0
    with pytest.raises(NotRunningError, match="started once"):
        supervisor.start()
    supervisor.stop()


def test_a_missing_argument_or_a_target_that_is_neither_is_named_at_the_start() -> None:
    with pytest.raises(StartError, match=r"TypeError: .*incarnatio"), Supervisor([echo(args={"incarnatio": 1})]):
        pass
    with pytest.raises(StartError, match="neither an actor class nor a function"):
        Supervisor([ChildSpec("x", f"{CAST}:NEITHER")]).start()
    with pytest.raises(StartError, match=r"TypeError: Bare\.__init__ does not call super\(\)\.__init__\(\)"):
        Supervisor([ChildSpec("x", f"{CAST}:Bare")]).start()


def test_an_actor_that_ignores_its_start_is_kept_without_a_process() -> None:
    with Supervisor([ChildSpec("refusing", f"{CAST}:Refusing"), echo()]) as supervisor:
        (_, row) = supervisor.which_children()
        assert (row.id, row.pid) == ("refusing", None)
        assert supervisor.count_children().active == 1


def test_a_loop_that_hangs_is_silent_though_its_process_lives() -> None:
    with Supervisor([echo(heartbeat_timeout=0.4)], MANY) as supervisor:
        first = who(supervisor)["pid"]
        supervisor.tell("echo", {"do": "hang"})
        exited = expect(supervisor, ChildExited)
        assert exited.reason == Silent(0.4)
        running(supervisor, "echo", 2)
        assert not is_alive(first)


def test_who_does_not_stop_in_time_is_killed_and_others_are_asked() -> None:
    specs = [ChildSpec("stubborn", f"{CAST}:Stubborn", shutdown=0.1), echo()]
    with Supervisor(specs) as supervisor:
        pid = who(supervisor, "stubborn")["pid"]
    ends = {event.child: event.reason for event in supervisor.events() if isinstance(event, ChildExited)}
    assert ends["stubborn"] == Killed()
    assert not is_alive(pid)


def test_stop_with_a_limit_kills_what_is_left() -> None:
    supervisor = Supervisor([ChildSpec("stubborn", f"{CAST}:Stubborn", shutdown=600.0)])
    supervisor.start()
    pid = who(supervisor, "stubborn")["pid"]
    supervisor.stop(timeout=0.1)
    assert not is_alive(pid)
    with pytest.raises(NotRunningError, match="killed"):
        supervisor.wait(0)


def test_what_an_actor_has_started_ends_with_it() -> None:
    with Supervisor([echo()], MANY) as supervisor:
        left = supervisor.ask("echo", {"do": "start", "argv": ["sleep", "1000"]}, TIMEOUT)
        supervisor.tell("echo", {"do": "raise", "text": "x"})
        running(supervisor, "echo", 2)
        assert not is_alive(left)


def test_beyond_the_budget_the_supervisor_ends_and_says_so() -> None:
    with Supervisor([echo()], SupervisorFlags(intensity=0)) as supervisor:
        supervisor.tell("echo", {"do": "raise", "text": "x"})
        assert supervisor.wait(TIMEOUT).cause is EndCause.INTENSITY
        with pytest.raises(NotRunningError, match="restart budget exceeded"):
            supervisor.tell("echo", {})


@pytest.mark.row("F4")
def test_a_killed_fork_server_is_replaced_with_its_children() -> None:
    with Supervisor([echo()], MANY) as supervisor:
        server = supervisor.fork_server_pid
        os.kill(server, 9)
        running(supervisor, "echo", 2)
        assert who(supervisor)["incarnation"] == 2
        assert supervisor.fork_server_pid not in {0, server}


def test_a_request_that_is_refused_says_why() -> None:
    with Supervisor([echo()]) as supervisor:
        with pytest.raises(RefusedError, match=r"child 'echo': running") as running_:
            supervisor.delete_child("echo")
        assert running_.value.pid == who(supervisor)["pid"]
        with pytest.raises(RefusedError, match=r"start failed.*no such table") as failed:
            supervisor.start_child(ChildSpec("failing", f"{CAST}:Failing"))
        assert isinstance(failed.value.reason, Crashed)
        with pytest.raises(RefusedError, match="no supervisor that runs"):
            supervisor.which_children(under="echo")
        for call in (supervisor.get_childspec, supervisor.terminate_child, supervisor.restart_child):
            with pytest.raises(RefusedError, match="'none': no such child"):
                call("none")


def test_children_come_and_go_as_they_are_asked_for() -> None:
    with Supervisor() as supervisor:
        started = supervisor.start_child(echo("a"))
        assert (started.child, started.incarnation, started.running) == ("a", 1, True)
        assert is_alive(started.pid or 0)
        supervisor.terminate_child("a")
        supervisor.terminate_child("a")
        assert supervisor.get_childspec("a") == echo("a")
        assert supervisor.restart_child("a").incarnation == 2
        supervisor.terminate_child("a")
        supervisor.delete_child("a")
        assert supervisor.which_children() == ()
        supervisor.start_child(echo("a"))
        supervisor.change_specs([echo("a", shutdown=1.0), echo("b")], MANY)
        assert [(row.id, row.pid is None) for row in supervisor.which_children()] == [("b", True), ("a", False)]
        assert wait_until(lambda: who(supervisor, "a")["incarnation"]) == 1


@pytest.mark.row("F24")
def test_a_flood_of_messages_stops_at_the_sender_and_neither_fills_nor_ends_the_actor(tmp_path: Path) -> None:
    """A bound in bytes at the sender, in messages in the actor's process; and looks at its loop overtake them."""
    gate, body = tmp_path / "go", "x" * 100_000
    with Supervisor([echo()], MANY) as supervisor:
        supervisor.tell("echo", {"do": "wait for", "path": str(gate)})
        sent: list[int] = []

        def flood() -> None:
            for number in range(2 * MOST_MESSAGES):
                supervisor.tell("echo", {"do": "nothing", "text": body})
                sent.append(number)

        with pytest.raises(MailboxFullError, match="16 MiB of messages wait for it"):
            flood()
        assert len(sent) >= MAILBOX_BYTES // len(body) - 1
        gate.touch()
        assert wait_until(lambda: incarnation_of(supervisor), TIMEOUT, "there is room again") == 1


def incarnation_of(supervisor: Supervisor) -> int:
    try:
        return int(who(supervisor)["incarnation"])
    except MailboxFullError:
        return 0


@pytest.mark.row("F24")
def test_an_actor_that_works_through_many_messages_is_not_taken_for_hanging() -> None:
    with Supervisor([echo(heartbeat_timeout=1.0)], MANY) as supervisor:
        for _ in range(100):
            supervisor.tell("echo", {"do": "pause", "seconds": 0.02})
        assert who(supervisor)["incarnation"] == 1, "it was killed although its loop came round all the time"


# --- at the edges --------------------------------------------------------------------------------------------------


def test_a_question_for_nobody_is_told_the_name_that_was_meant() -> None:
    specs = [echo(), ChildSpec("program", program=["sleep", "100"]), nested("inner", echo("database"))]
    with Supervisor(specs) as supervisor:
        for child, why in {
            "ehco": r"child 'ehco': there is no child of this name; did you mean 'echo'\?",
            "inner/databse": r"there is no child of this name; did you mean 'inner/database'\?",
            "iner/database": r"there is no supervisor 'iner' that runs; did you mean 'inner'\?",
            "nobody": r"child 'nobody': there is no child of this name$",
            "program": "is no actor and takes no messages",
            "inner": "is a supervisor: address one of its children",
        }.items():
            with pytest.raises(ChildUnavailableError, match=why):
                supervisor.ask(child, {})
        supervisor.terminate_child("echo")
        with pytest.raises(ChildUnavailableError, match="child 'echo': does not run"):
            supervisor.tell("echo", {})


def test_a_question_at_the_moment_of_the_end_fails_at_once() -> None:
    with Supervisor([echo()]) as supervisor:
        who(supervisor)
        keeper = supervisor._tree._keeper
        assert keeper is not None
        mailbox = keeper.messages._mailboxes["echo"]
        asked: list[Future[Any]] = []

        def end() -> None:
            keeper._begin_close()
            asked.append(keeper.messages.ask("echo", b"{}"))  # taken, but its turn never comes

        keeper.call(end)
        with pytest.raises(NotRunningError):
            supervisor.wait(TIMEOUT)
    keeper.messages._mailboxes["echo"] = mailbox
    asked.append(keeper.messages.ask("echo", b"{}"))  # not taken any more
    for question in asked:
        assert isinstance(question.exception(0), ChildGoneError)


@pytest.fixture
def _no_threads() -> Iterator[None]:
    """The system refuses threads: each wants a stack as large as all addresses together."""
    before = threading.stack_size(1 << 47)
    yield
    threading.stack_size(before)


@pytest.mark.usefixtures("_no_threads")
@pytest.mark.parametrize("on_event", [None, lambda _: None])
def test_a_start_without_threads_says_what_was_refused_and_leaves_nothing(on_event: OnEvent | None) -> None:
    supervisor = Supervisor([echo()], on_event=on_event)
    with pytest.raises(NotRunningError, match=r"no thread can be started: .*ulimit -u"):
        supervisor.start()
    with pytest.raises(NotRunningError, match="no thread can be started"):
        supervisor.wait(TIMEOUT)
    supervisor.stop()


def test_a_supervisor_below_that_is_refused_a_thread_has_not_started_and_its_siblings_go_on() -> None:
    with Supervisor([echo()], MANY) as supervisor:
        before = threading.stack_size(1 << 47)
        try:
            with pytest.raises(RefusedError, match=r"start failed: .*no thread can be started.*ulimit -u"):
                supervisor.start_child(nested("team", echo("below")), timeout=TIMEOUT)
        finally:
            threading.stack_size(before)
        assert who(supervisor)["incarnation"] == 1
        supervisor.start_child(nested("team", echo("below")), timeout=TIMEOUT)
        assert who(supervisor, "team/below")["incarnation"] == 1


def test_limits_that_cannot_be_kept_are_told_of_and_everything_goes_on() -> None:
    with Supervisor(on_event=lambda _: None) as supervisor:
        before = threading.stack_size(1 << 47)
        try:
            supervisor.start_child(echo(limits=Limits(memory=Limit(soft=1 << 40))))
            trouble = expect(supervisor, SupervisorTroubled)
        finally:
            threading.stack_size(before)
        assert "the limits of 'echo' are not kept: no thread can be started" in trouble.reason
        assert who(supervisor)["incarnation"] == 1
