"""One writer, one transaction a burst, every child all records in order, and no child that holds up another."""

import os
import queue
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import pytest

from actors.events import (
    AttemptGranted,
    AttemptStarted,
    Event,
    GitIdle,
    PreflightPassed,
    RoleFinished,
    SessionEnded,
    SessionSettled,
    SessionStatus,
    Step,
    TaskRetried,
    UncommittedSeen,
)
from actors.frames import Beat, Deliver, Hello, Leave, Ready, encode_frame
from actors.state import ROLES
from supervisor import core_events as told
from supervisor.exits import Crashed, Normal, Shutdown, Unknown
from supervisor.fleet import BEAT_SECONDS, SILENT_SECONDS
from supervisor.linux import is_alive, start_ticks
from supervisor.notices import Escalated
from tests.shell.hosting import SESSION, TIMEOUT
from tests.shell.hubs import PUPPETS, Relay, Stage, no_more_descriptors, state_in
from tests.waiting import wait_until


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with Stage(tmp_path) as stage:
        yield stage


def grant(number: int) -> AttemptGranted:
    return AttemptGranted(f"t{number}.1", f"t{number}", 1, number, (Step("run", "true"),))


def kinds(events: list[Event]) -> list[str]:
    return [type(event).__name__ for event in events]


# --- the journal --------------------------------------------------------------------------------------------


def test_a_proposal_is_durable_when_its_ticket_comes_back(stage: Stage) -> None:
    relay = stage.welcomed()
    ticket = relay.propose(GitIdle("none"), grant(1))
    records, refusals = relay.settle(ticket)
    assert kinds(stage.durable()) == ["SessionStarted", "GitIdle", "AttemptGranted"]
    assert ([record.seq for record in records], refusals) == ([2, 3], ())
    wait_until(lambda: stage.recorded() == [GitIdle("none"), grant(1)])


def test_a_burst_of_several_children_is_one_transaction(stage: Stage) -> None:
    relays = [stage.welcomed(role) for role in ROLES]
    stage.commits.clear()
    with stage.paused():
        for number in range(100):
            relays[number % len(relays)].propose(grant(number))
        wait_until(lambda: _arrived(stage, 100), message="everything stands in the hub's sockets")
    for relay in relays:
        relay.settle(relay.tickets)
    assert kinds(stage.durable()).count("AttemptGranted") == 100
    assert len(stage.commits) == 1


def _arrived(stage: Stage, proposals: int) -> bool:
    """Count what waits in the links; the hub's thread does not read meanwhile."""
    waiting = 0
    for child in stage.hub._fleet._children.values():
        if child.link is not None:
            try:
                waiting += child.link.sock.recv(1 << 20, 0x2 | 0x40).count(b'"Propose"')  # MSG_PEEK, MSG_DONTWAIT
            except BlockingIOError:
                continue
    return waiting == proposals


def test_facts_of_the_supervising_process_share_the_transaction(stage: Stage) -> None:
    relay = stage.welcomed()
    stage.commits.clear()
    with stage.paused():
        stage.hub.state(SESSION, GitIdle("none"))
        stage.hub.state(SESSION, PreflightPassed())
    wait_until(lambda: len(stage.recorded()) == 2)
    assert [record.seq for record in relay.expect(Deliver).records] == [2, 3]
    assert len(stage.commits) == 1


def test_every_child_gets_every_record_in_order_and_without_gaps(stage: Stage) -> None:
    relays = [stage.welcomed(role) for role in ROLES]
    for number in range(200):
        relays[number % len(relays)].propose(grant(number))
    received = {relay.child: _records_until(relay, 201) for relay in relays}
    assert all(got == list(range(2, 202)) for got in received.values()), received


def _records_until(relay: Relay, seq: int) -> list[int]:
    got: list[int] = []
    while not got or got[-1] < seq:
        if not relay.frames and not relay.read(10.0):
            break
        got += [record.seq for frame in relay.frames if isinstance(frame, Deliver) for record in frame.records]
        relay.frames.clear()
    return got


def test_a_welcome_holds_what_was_journaled_while_the_child_started(stage: Stage) -> None:
    """The state is written down when the process is there, before it says hello."""
    first = stage.welcomed()
    second = stage.relay("progress_monitor")
    first.settle(first.propose(GitIdle("none"), grant(1)))
    welcome = second.hello()
    assert state_in(welcome) == stage.folded()
    assert welcome.seq == state_in(welcome).seq
    assert state_in(stage.relay("blocker_detector").hello()) == stage.folded()


def test_a_child_that_comes_late_finds_in_its_welcome_all_that_it_was_not_told(stage: Stage) -> None:
    first = stage.welcomed()
    first.settle(first.propose(grant(0), grant(1)))
    late = stage.relay("git_integration")
    welcome = late.hello()
    assert (welcome.seq, state_in(welcome).seq, welcome.missed) == (3, 3, ())
    assert state_in(welcome) == stage.folded()
    first.propose(grant(2))
    assert [record.seq for record in late.expect(Deliver).records] == [4]


def test_a_role_s_projection_is_told_what_it_has_missed_and_only_of_its_kinds(stage: Stage) -> None:
    first = stage.welcomed()
    first.settle(first.propose(GitIdle("none"), grant(0), UncommittedSeen(1, ("x",))))
    git = stage.relay("git_integration")
    assert [record.kind for record in git.hello(since=0).missed] == ["GitIdle", "UncommittedSeen"]
    git.socket.close()
    stage.wait_told(told.Exited, "git_integration")
    assert [record.seq for record in stage.relay("git_integration", 2).hello(since=2).missed] == [4]


def test_only_the_session_s_own_children_are_told_of_its_records(stage: Stage) -> None:
    other = "exec-m1-20260301_120000-00000002"
    begun = threading.Event()
    observed: list[object] = []

    def begin() -> None:
        stage.hub.open_session(stage.begin(other), stage, observed.append)
        begun.set()

    stage.hub.call(begin)
    assert begun.wait(60.0)
    ours, theirs = stage.welcomed(), stage.welcomed("runner", session=other)
    ours.settle(ours.propose(grant(1)))
    records, _ = theirs.settle(theirs.propose(grant(2)))
    assert [record.session for record in records] == [other]
    wait_until(lambda: len(observed) == 1)
    assert stage.recorded() == [grant(1)]


# --- refusals and tickets -----------------------------------------------------------------------------------


def test_what_is_not_admitted_is_refused_with_the_ticket_and_shown(stage: Stage) -> None:
    relay = stage.welcomed()
    records, refusals = relay.settle(relay.propose(grant(1), grant(1), AttemptStarted("t9.1", 1)))
    assert [record.kind for record in records] == ["AttemptGranted"]
    assert refusals == (
        "AttemptGranted: task t1 is preparing",
        "AttemptStarted: attempt t9.1 is not alive",
    )
    assert [(one.child, one.session) for one in stage.refused()] == [("task_executor", SESSION)] * 2


def test_what_a_person_asked_for_in_vain_is_told_to_who_asked_and_to_nobody_else(stage: Stage) -> None:
    answers: queue.SimpleQueue[list[str]] = queue.SimpleQueue()
    stage.hub.state(SESSION, TaskRetried("t1"), told=lambda refusals: answers.put(list(refusals)))
    assert answers.get(timeout=60.0) == ["TaskRetried: task t1 is pending"]
    assert stage.refused() == []


def test_a_proposal_of_refused_facts_alone_is_answered_too(stage: Stage) -> None:
    relay = stage.welcomed()
    before = len(stage.commits)
    assert relay.settle(relay.propose(AttemptStarted("t9.1", 1)))[1]
    assert relay.settle(relay.propose()) == ([], ())
    assert len(stage.commits) == before


def test_a_ticket_goes_to_who_proposed_it_and_to_nobody_else(stage: Stage) -> None:
    one, other = stage.welcomed(), stage.welcomed("runner")
    ticket = one.propose(grant(1))
    one.settle(ticket)
    assert other.expect(Deliver).tickets == ()


def test_of_two_that_grant_the_same_task_one_is_refused(stage: Stage) -> None:
    one, other = stage.welcomed(), stage.welcomed("runner")
    with stage.paused():
        one.propose(grant(1))
        other.propose(grant(1))
        wait_until(lambda: _arrived(stage, 2))
    refusals = [relay.settle(relay.tickets)[1] for relay in (one, other)]
    assert sorted(map(len, refusals)) == [0, 1]
    assert kinds(stage.durable()).count("AttemptGranted") == 1


HOSTILE = {
    "unknown kind": b'{"kind":"Explode","body":{}}',
    "wrong body": b'{"kind":"AttemptStarted","body":{"attempt":[]}}',
    "deep nesting": b'{"kind":"AttemptStarted","body":{"x":' + b"[" * 900 + b"]" * 900 + b"}}",
    "no utf-8": b'{"kind":"AttemptStarted","body":{"attempt":"\xff","pid":1}}',
}


@pytest.mark.parametrize("fact", HOSTILE.values(), ids=HOSTILE)
def test_a_strange_fact_is_refused_and_the_hub_lives_on(stage: Stage, fact: bytes) -> None:
    relay = stage.welcomed()
    payload = b'{"kind":"Propose","body":{"ticket":1,"facts":[' + fact + b"]}}"
    relay.socket.sendall(len(payload).to_bytes(4, "big") + payload)
    assert len(relay.settle(1)[1]) == 1
    relay.tickets = 1
    assert relay.settle(relay.propose(grant(1)))[1] == ()


@pytest.mark.parametrize(
    "data",
    [b"GET / HTTP/1.1\r\n\r\n", encode_frame(Leave(1.0)), b"\0\1\x86\xa0" + b"[" * 100_000],
    ids=["text", "what only we say", "deep nesting"],
)
def test_a_child_that_speaks_nonsense_is_gone_and_nobody_else_notices(stage: Stage, data: bytes) -> None:
    bad, good = stage.welcomed(), stage.welcomed("runner")
    bad.socket.sendall(data)
    stage.wait_told(told.Exited, "task_executor")
    assert good.settle(good.propose(grant(1)))[1] == ()
    assert bad.is_gone()


# --- children -----------------------------------------------------------------------------------------------


def test_the_supervisor_is_told_of_a_child_s_life_in_order(stage: Stage) -> None:
    relay = stage.welcomed()
    relay.say(Ready(), Beat(1.0))
    stage.wait_told(told.Beat)
    stage.hub.ask_to_stop(SESSION, "task_executor", 1, 4.5)
    assert relay.expect(Leave).grace == 4.5
    relay.socket.close()
    assert stage.wait_told(told.Exited).reason == Normal(0)
    assert [type(message) for message in stage.told] == [told.Spawned, told.Ready, told.Beat, told.Exited]


def test_a_kill_asked_for_before_there_is_a_process_is_carried_out(stage: Stage) -> None:
    with stage.paused():
        stage.hub.spawn(SESSION, "runner", 1, f"{PUPPETS}:relay", {"control": stage._name}, role=False)
        stage.hub.kill(SESSION, "runner", 1)
    assert stage.wait_told(told.Exited, "runner").reason == Crashed(signal=signal.SIGKILL)


@pytest.mark.row("F10")
def test_a_child_that_cannot_be_forked_is_told_of_as_failed(stage: Stage) -> None:
    stage.hub.spawn(SESSION, "runner", 1, "tests.shell.puppets:relay", {"large": "x" * (1 << 20)}, role=False)
    assert "send what is large over the link" in stage.wait_told(told.SpawnFailed, "runner").error
    stage.hub.spawn(SESSION, "runner", 2, "tests.shell.puppets:relay", {"odd": object()}, role=False)
    stage.wait_told(told.SpawnFailed, "runner", 2)
    stage.welcomed("runner", 3)


@pytest.mark.row("F24")
def test_a_child_that_talks_without_end_is_read_in_turns_and_its_heartbeats_fill_no_mailbox(stage: Stage) -> None:
    """Another one is answered meanwhile, and what is told of the flood is bounded by time, not by its size."""
    flooder, other = stage.welcomed("blocker_detector"), stage.welcomed()
    flood, sent, over = encode_frame(Beat(1.0)) * 1000, [0], threading.Event()

    def pour() -> None:
        while not over.is_set():
            flooder.socket.sendall(flood)
            sent[0] += 1000

    began = monotonic()
    pouring = threading.Thread(target=pour)
    pouring.start()
    try:
        for number in range(20):
            before = sent[0]
            assert other.settle(other.propose(grant(number)))[1] == ()
            wait_until(lambda before=before: sent[0] > before, 60.0, "the flood goes on")  # type: ignore[misc]
    finally:
        over.set()
        pouring.join()
    beats = sum(isinstance(message, told.Beat) for message in stage.told)
    assert sent[0] > 20_000
    assert 0 < beats <= (monotonic() - began) / BEAT_SECONDS + 1


@pytest.mark.row("F24")
def test_a_child_says_hello_once(stage: Stage) -> None:
    """Each answer is as long as the session: who asks for it again and again is no child of ours."""
    relay = stage.welcomed()
    relay.say(Hello("task_executor", 1, relay.pid, -1))
    assert stage.wait_told(told.Exited).reason == Crashed(signal=signal.SIGKILL)


@pytest.mark.row("F24")
def test_a_stopped_child_does_not_delay_the_others(stage: Stage) -> None:
    stopped, other = stage.welcomed("blocker_detector"), stage.welcomed()
    stopped.signal(signal.SIGSTOP)
    long = "x" * 20_000
    for number in range(60):
        other.settle(other.propose(UncommittedSeen(number, (long,))))
    stopped.signal(signal.SIGCONT)
    assert _records_until(stopped, 61) == list(range(2, 62))


@pytest.mark.row("F1")
def test_what_a_child_had_said_when_it_was_killed_is_journaled_before_its_replacement_s_welcome(
    stage: Stage,
) -> None:
    first = stage.welcomed()
    with stage.paused():
        first.propose(grant(1))
        first.propose(AttemptStarted("t1.1", 7))
        wait_until(lambda: _arrived(stage, 2), message="it stands in the hub's socket")
        first.signal(signal.SIGKILL)
        wait_until(first.is_gone)
    assert stage.wait_told(told.Exited).reason == Crashed(signal=signal.SIGKILL)
    welcome = stage.relay(incarnation=2).hello()
    assert state_in(welcome).live == {"t1.1": "t1"}
    assert welcome.seq == 3


def test_answers_to_the_dead_do_not_reach_their_replacements(stage: Stage) -> None:
    first = stage.welcomed()
    with stage.paused():
        first.propose(grant(1))
        wait_until(lambda: _arrived(stage, 1))
        first.signal(signal.SIGKILL)
        wait_until(first.is_gone)
    stage.wait_told(told.Exited)
    second = stage.welcomed(incarnation=2)
    assert second.settle(second.propose(grant(2)))[0][0].seq == 3
    assert not [frame for frame in second.frames if isinstance(frame, Deliver) and frame.tickets]


def test_orders_for_a_stale_incarnation_do_not_touch_the_present_one(stage: Stage) -> None:
    stage.welcomed().socket.close()
    stage.wait_told(told.Exited)
    second = stage.welcomed(incarnation=2)
    stage.hub.kill(SESSION, "task_executor", 1)
    stage.hub.ask_to_stop(SESSION, "task_executor", 1, 1.0)
    assert second.settle(second.propose(grant(1)))[1] == ()
    assert not [frame for frame in second.frames if isinstance(frame, Leave)]


def test_many_children_may_die_in_one_turn_of_the_loop(stage: Stage) -> None:
    relays = [stage.welcomed(role) for role in (*ROLES, "runner")]
    with stage.paused():
        for relay in relays:
            relay.signal(signal.SIGKILL)
        for relay in relays:
            wait_until(relay.is_gone)
        wait_until(lambda: _reported(stage) == 1, message="the fork server has reported")
    for relay in relays:
        stage.wait_told(told.Exited, relay.child)
    assert not stage.escalated()
    stage.welcomed(incarnation=2)


def _reported(stage: Stage) -> int:
    """Tell whether the fork server has nothing left to reap, and has said something."""
    children = Path(f"/proc/{stage.hub.fork_server_pid}/task/{stage.hub.fork_server_pid}/children")
    return int(not children.read_text(encoding="ascii").split())


def test_a_tick_comes_at_its_moment(stage: Stage) -> None:
    def in_time() -> bool:
        stage.told.clear()
        wanted = monotonic() + 0.2
        stage.hub.tick_at(SESSION, wanted)
        tick = stage.wait_told(told.Tick)
        assert tick.at >= wanted
        return tick.at - wanted < 0.15

    wait_until(in_time, message="one is in time, when the machine has a moment for it")


def test_a_session_that_has_settled_ends_when_every_role_has_finished(stage: Stage) -> None:
    relay = stage.welcomed()
    relay.settle(relay.propose(SessionSettled(SessionStatus.COMPLETED, "all done")))
    for role in ROLES[:-1]:
        relay.settle(relay.propose(RoleFinished(role, "")))
    assert stage.folded().ended_wall == 0.0
    relay.propose(RoleFinished(ROLES[-1], ""))
    wait_until(lambda: stage.folded().ended_wall > 0.0)
    assert stage.durable()[-1] == SessionEnded(SessionStatus.COMPLETED, "all done")
    assert kinds(stage.durable()).count("SessionEnded") == 1


# --- the fork server ----------------------------------------------------------------------------------------


@pytest.mark.row("F4")
def test_roles_die_with_the_fork_server_and_the_runner_goes_on(stage: Stage) -> None:
    role, runner = stage.welcomed(), stage.welcomed("runner", role=False)
    former = stage.hub.fork_server_pid
    os.kill(former, signal.SIGKILL)
    assert stage.wait_told(told.Exited, "task_executor").reason == Unknown("the fork server died")
    assert role.is_gone()
    assert runner.settle(runner.propose(grant(1)))[1] == ()
    assert not [one for one in stage.told if isinstance(one, told.Exited) and one.child == "runner"]
    second = stage.welcomed(incarnation=2)
    assert stage.hub.fork_server_pid not in {0, former}
    assert second.settle(second.propose(grant(2)))[1] == ()
    assert not stage.escalated()


@pytest.mark.row("F7")
def test_a_runner_that_ends_after_its_fork_server_is_noticed_all_the_same(stage: Stage) -> None:
    runner = stage.welcomed("runner", role=False)
    former = stage.hub.fork_server_pid
    os.kill(former, signal.SIGKILL)
    wait_until(lambda: stage.hub.fork_server_pid not in {0, former})
    runner.signal(signal.SIGKILL)
    assert stage.wait_told(told.Exited, "runner").reason == Unknown("the fork server died")


@pytest.mark.row("F7", "F30")
def test_what_a_runner_named_as_below_it_is_ended_when_it_dies_together_with_its_fork_server(stage: Stage) -> None:
    """However deep it is and whatever it has shed; not who has got the number of one of these since."""
    runner = stage.welcomed("runner", role=False)
    script = "setsid env -i sleep 600 & echo $!; wait"
    bare: dict[str, str] = {}
    with (
        subprocess.Popen(["/bin/sh", "-c", script], env=bare, stdout=subprocess.PIPE, start_new_session=True) as top,
        subprocess.Popen(["sleep", "600"], env=None, start_new_session=True) as another,
    ):
        assert top.stdout is not None
        below = int(top.stdout.readline())
        ticks = {one.pid: start_ticks(one.pid) or 0 for one in (top, another)}
        runner.say(Beat(1.0, ((top.pid, ticks[top.pid]), (another.pid, ticks[another.pid] - 1))))
        assert runner.settle(runner.propose(grant(1)))[1] == ()  # so it was heard
        for number in (signal.SIGSTOP, signal.SIGKILL):
            os.kill(stage.hub.fork_server_pid, number)
            runner.signal(number)
        assert stage.wait_told(told.Exited, "runner").reason == Unknown("the fork server died")
        assert not is_alive(top.pid)
        assert not is_alive(below)
        assert is_alive(another.pid)
        another.kill()


def test_a_runner_that_was_asked_to_end_after_its_fork_server_died_did_as_it_was_told(stage: Stage) -> None:
    runner = stage.welcomed("runner", role=False)
    former = stage.hub.fork_server_pid
    os.kill(former, signal.SIGKILL)
    wait_until(lambda: stage.hub.fork_server_pid not in {0, former})
    stage.hub.ask_to_stop(SESSION, "runner", 1, 1.0)
    runner.expect(Leave)
    runner.socket.close()
    assert stage.wait_told(told.Exited, "runner").reason == Shutdown()


@pytest.mark.row("F4")
def test_a_second_death_of_the_fork_server_within_the_period_escalates(stage: Stage) -> None:
    stage.welcomed()
    first = stage.hub.fork_server_pid
    os.kill(first, signal.SIGKILL)
    second = wait_until(lambda: stage.hub.fork_server_pid not in {0, first} and stage.hub.fork_server_pid)
    assert not stage.escalated()
    os.kill(second, signal.SIGKILL)
    (escalated,) = wait_until(stage.escalated)
    assert (escalated.reason, escalated.fatal) == ("the fork server died 2 times within 60 s", False)
    stage.welcomed(incarnation=2)


def test_a_stopped_fork_server_that_does_not_tell_of_an_end_is_replaced(stage: Stage) -> None:
    role, runner = stage.welcomed(), stage.welcomed("runner", role=False)
    stopped = stage.hub.fork_server_pid
    os.kill(stopped, signal.SIGSTOP)
    role.signal(signal.SIGKILL)
    asked = monotonic()
    wait_until(lambda: [one for one in stage.told if isinstance(one, told.Exited)], SILENT_SECONDS + 5.0, "it is told")
    assert monotonic() - asked >= SILENT_SECONDS - 1.0
    assert stage.wait_told(told.Exited, "task_executor").reason == Unknown("the fork server died")
    assert not is_alive(stopped)
    second = stage.welcomed(incarnation=2)
    assert second.settle(second.propose(grant(1)))[1] == ()
    assert runner.settle(runner.propose(grant(2)))[1] == ()
    assert not stage.escalated()


def test_a_stopped_fork_server_that_does_not_answer_a_launch_is_replaced(stage: Stage) -> None:
    stage.welcomed()
    os.kill(stage.hub.fork_server_pid, signal.SIGSTOP)
    stage.hub.spawn(SESSION, "runner", 1, f"{PUPPETS}:relay", {"control": stage._name}, role=False)
    wait_until(
        lambda: [one for one in stage.told if isinstance(one, told.SpawnFailed)], SILENT_SECONDS + 5.0, "it is told"
    )
    assert stage.wait_told(told.SpawnFailed, "runner").error == "the fork server is gone"
    stage.welcomed("runner", 2, role=False)


def test_a_fork_server_that_owes_nothing_may_be_as_silent_as_it_likes(stage: Stage) -> None:
    relay = stage.welcomed()
    server = stage.hub.fork_server_pid
    assert stage.hub._fleet.due == float("inf")
    relay.settle(relay.propose(grant(1)))
    assert stage.hub.fork_server_pid == server


def test_what_roles_had_said_when_the_fork_server_was_killed_is_journaled(stage: Stage) -> None:
    role = stage.welcomed()
    with stage.paused():
        role.propose(grant(1))
        wait_until(lambda: _arrived(stage, 1))
        os.kill(stage.hub.fork_server_pid, signal.SIGKILL)
        wait_until(role.is_gone)
    stage.wait_told(told.Exited, "task_executor")
    assert state_in(stage.relay(incarnation=2).hello()).live == {"t1.1": "t1"}


# --- the end ------------------------------------------------------------------------------------------------


def test_closing_ends_every_process_and_leaves_the_journal_whole(tmp_path: Path) -> None:
    with Stage(tmp_path) as stage:
        relays = [stage.welcomed(role) for role in ROLES]
        relays[0].settle(relays[0].propose(grant(1)))
        server = stage.hub.fork_server_pid
    assert not any(is_alive(relay.pid) for relay in relays)
    assert not is_alive(server)
    assert kinds(stage.durable()) == ["SessionStarted", "AttemptGranted"]
    stage.hub.close()
    stage.hub.state(SESSION, GitIdle("late"))


def test_a_hub_that_was_never_started_can_be_closed(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.__exit__(None, None, None)


def test_a_hub_whose_own_code_fails_says_so_and_leaves_no_process(tmp_path: Path) -> None:
    def fail() -> None:
        raise LookupError("lost the plot")

    with Stage(tmp_path) as stage:
        relay = stage.welcomed()
        stage.hub.call(fail)
        (escalated,) = wait_until(stage.escalated)
        assert escalated.reason == "broken invariant in the hub: LookupError: lost the plot"
        assert (escalated.fatal, escalated.broken) == (True, True)
        assert "lost the plot" in escalated.story
        wait_until(relay.is_gone)
        wait_until(lambda: not stage.hub.is_alive())


def test_a_hub_that_is_told_to_give_up_ends_everything_with_that_reason(tmp_path: Path) -> None:
    with Stage(tmp_path) as stage:
        relay = stage.welcomed()
        stage.hub.give_up("the supervisor is lost", "its story")
        (escalated,) = wait_until(stage.escalated)
        assert escalated == Escalated("the supervisor is lost", fatal=True, broken=True, story="its story")
        wait_until(relay.is_gone)
        wait_until(lambda: not stage.hub.is_alive())


def test_a_hub_that_failed_before_it_had_a_session_tells_the_one_that_comes(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    with no_more_descriptors():
        stage.hub.start()
        wait_until(lambda: not stage.hub.is_alive(), 60.0, "the hub has given up")
    stage.hub.open_session(stage.ledger, stage, stage.notices.append)
    (escalated,) = stage.escalated()
    assert escalated.reason.startswith(
        "the system refused what supervision needs: Too many open files: raise the limit"
    )
    assert (escalated.fatal, escalated.broken) == (True, False)
    stage.__exit__(None, None, None)


def test_a_session_that_is_to_begin_when_the_hub_fails_or_has_failed_is_told_why(tmp_path: Path) -> None:
    said: queue.SimpleQueue[object] = queue.SimpleQueue()
    failed = Escalated("nothing may go on", fatal=True)
    with Stage(tmp_path) as stage:
        with stage.paused():
            stage.hub.give_up("nothing may go on")
            stage.hub.begin_session(stage.ledger, (GitIdle("none"),), said.put)
        assert said.get(timeout=TIMEOUT) == failed
        wait_until(lambda: not stage.hub.is_alive())
        stage.hub.begin_session(stage.ledger, (GitIdle("none"),), said.put)
        assert said.get_nowait() == failed
    assert kinds(stage.durable()) == ["SessionStarted"]


def test_a_session_whose_beginning_is_what_the_hub_fails_with_is_told_why(tmp_path: Path) -> None:
    said: queue.SimpleQueue[object] = queue.SimpleQueue()
    with Stage(tmp_path) as stage:
        stage.hub.begin_session(None, (), said.put)  # type: ignore[arg-type]  # a defect
        failure = said.get(timeout=TIMEOUT)
        assert isinstance(failure, Escalated)
        assert failure.reason.startswith("broken invariant in the hub")


def test_a_moment_that_was_asked_for_comes_and_wakes_the_hub(stage: Stage) -> None:
    called: list[float] = []
    asked = monotonic()
    stage.hub.call_at(asked + 0.3, lambda: called.append(monotonic()))
    wait_until(lambda: called, 60.0)
    assert called[0] - asked >= 0.3


def test_calls_while_the_hub_closes_touch_nothing_of_anybody_else(tmp_path: Path) -> None:
    """The wake-up's number may be somebody else's the moment after: nothing may be written to it."""
    stage = Stage(tmp_path)
    stage.__enter__()
    over = threading.Event()
    failed: list[BaseException] = []

    def call() -> None:
        try:
            while not over.is_set():
                stage.hub.call(lambda: None)
        except BaseException as error:  # noqa: BLE001 - is what is looked for
            failed.append(error)

    threads = [threading.Thread(target=call) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        stage.__exit__(None, None, None)
        others = [os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK) for _ in range(20)]
    finally:
        over.set()
    for thread in threads:
        thread.join(60.0)
    for other in others:
        with pytest.raises(BlockingIOError):
            os.eventfd_read(other)
        os.close(other)
    assert not failed
