"""A full disk pauses the session and loses nothing; a broken journal ends it at once, with nothing acknowledged."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.events import (
    AttemptEnded,
    AttemptGranted,
    AttemptStarted,
    ChildGone,
    ChildReady,
    Event,
    Outcome,
    SessionPaused,
    SessionUnpaused,
    Step,
    StopRequested,
    UncommittedSeen,
)
from actors.frames import Beat, Deliver
from actors.standstill import DISK_FULL
from tests.disks import fill, small_disk
from tests.shell.hosting import SESSION
from tests.shell.hubs import Stage
from tests.waiting import wait_until

PAUSED, UNPAUSED = SessionPaused(DISK_FULL), SessionUnpaused()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a file system of 1 MB."""
    with small_disk(tmp_path / "disk", "size=1m") as made:
        yield made


@pytest.fixture
def stage(disk: Path) -> Iterator[Stage]:
    with Stage(disk) as stage:
        yield stage


def grant(number: int) -> AttemptGranted:
    return AttemptGranted(f"t{number}.1", f"t{number}", 1, number, (Step("run", "true"),))


def large(number: int) -> UncommittedSeen:
    return UncommittedSeen(number, ("x" * 60_000,))


def shown(stage: Stage, *events: Event) -> None:
    wait_until(lambda: set(events) <= set(stage.recorded()), 60.0, f"{events} were journaled")


@pytest.mark.row("F11")
def test_on_a_full_disk_the_session_is_paused_nothing_is_acknowledged_and_it_goes_on_with_space(
    stage: Stage, disk: Path
) -> None:
    relay = stage.welcomed()
    relay.settle(relay.propose(grant(1)))
    ballast = fill(disk)
    result = relay.propose(AttemptStarted("t1.1", 7), large(1))
    shown(stage, PAUSED)
    waiting = relay.propose(grant(2))
    assert relay.expect(Deliver).tickets == ()
    assert stage.durable()[1:] == [grant(1), PAUSED]
    assert stage.folded().paused == DISK_FULL
    assert not (disk / "state.reserve").exists()

    ballast.unlink()
    shown(stage, UNPAUSED)
    tickets: list[int] = []
    while waiting not in tickets:
        deliver = relay.expect(Deliver)
        assert deliver.refusals == ()
        tickets += deliver.tickets
    assert tickets == [result, waiting]
    assert stage.durable()[3:] == [UNPAUSED, AttemptStarted("t1.1", 7), large(1), grant(2)]
    assert (disk / "state.reserve").exists()


def test_what_the_reserve_gives_back_is_no_reason_to_go_on(stage: Stage, disk: Path) -> None:
    relay = stage.welcomed()
    fill(disk)
    relay.propose(large(1))
    shown(stage, PAUSED)
    ticks = []
    for _ in range(25):
        relay.read(0.1)
        ticks.append(UNPAUSED in stage.recorded())
    assert not any(ticks)
    assert stage.recorded().count(PAUSED) == 1
    assert not [frame for frame in relay.frames if isinstance(frame, Deliver) and frame.tickets]


def test_the_supervising_process_can_still_end_the_session(stage: Stage, disk: Path) -> None:
    relay = stage.welcomed()
    fill(disk)
    relay.propose(large(1))
    shown(stage, PAUSED)
    stage.hub.state(SESSION, StopRequested("by the user"))
    shown(stage, StopRequested("by the user"))
    assert stage.durable()[-1] == StopRequested("by the user")
    assert [record.kind for record in relay.expect(Deliver, lambda one: len(one.records) > 0).records] == [
        "SessionPaused"
    ]


def test_facts_of_the_supervising_process_that_find_no_room_are_not_tried_at_every_turn(
    stage: Stage, disk: Path
) -> None:
    """Each try folds the whole journal again."""
    relay = stage.welcomed()
    fill(disk)
    relay.propose(large(1))
    shown(stage, PAUSED)
    ballast = fill(disk)
    tries: list[str] = []

    def note(statement: str) -> None:
        if statement.startswith("BEGIN"):
            tries.append(statement)

    stage.journal._connection.set_trace_callback(note)
    own = [large(number) for number in range(2, 8)]  # more than what may be left of the log's last page
    stage.hub.state(SESSION, *own)
    wait_until(lambda: tries, 60.0, "it is tried")
    assert stage.hub.is_full
    for number in range(60):
        relay.say(Beat(float(number)))
        relay.read(0.05)
    assert 2 <= len(tries) <= 10
    ballast.unlink()
    wait_until(lambda: {UNPAUSED, *own} <= set(stage.recorded()), 60.0, "it goes on")
    assert not stage.hub.is_full


def test_that_not_even_the_pause_finds_room_is_told(stage: Stage, disk: Path) -> None:
    relay = stage.welcomed()
    (disk / "state.reserve").unlink()
    ballast = fill(disk)
    ticket = relay.propose(large(1))
    (trouble,) = wait_until(stage.troubled, 60.0, "it is told")
    assert trouble.reason == "the disk is full: not even the pause can be journaled"
    ballast.unlink()
    assert relay.settle(ticket)[1] == ()


def test_a_disk_that_fills_up_again_pauses_again(stage: Stage, disk: Path) -> None:
    relay = stage.welcomed()
    for count in (1, 2):
        ballast = fill(disk)
        ticket = relay.propose(large(count))
        wait_until(lambda count=count: stage.recorded().count(PAUSED) == count, 60.0, "paused")  # type: ignore[misc]
        ballast.unlink()
        relay.settle(ticket)
    assert stage.durable()[1:] == [PAUSED, UNPAUSED, large(1), PAUSED, UNPAUSED, large(2)]


def test_a_pause_of_the_user_s_outlasts_a_full_disk(stage: Stage, disk: Path) -> None:
    relay = stage.welcomed()
    stage.hub.state(SESSION, SessionPaused("by the user"))
    shown(stage, SessionPaused("by the user"))
    ballast = fill(disk)
    ticket = relay.propose(large(1))
    wait_until(lambda: not (disk / "state.reserve").exists())
    ballast.unlink()
    relay.settle(ticket)
    assert stage.folded().paused == "by the user"
    assert not {PAUSED, UNPAUSED} & set(stage.recorded())


def test_a_child_that_comes_in_the_pause_is_welcomed_with_what_is_durable(stage: Stage, disk: Path) -> None:
    relay = stage.welcomed()
    ballast = fill(disk)
    relay.propose(grant(1), large(1))
    shown(stage, PAUSED)
    welcome = stage.relay("runner").hello()
    assert welcome.seq == 2
    ballast.unlink()
    shown(stage, grant(1))
    assert stage.folded().live == {"t1.1": "t1"}


def test_that_a_child_is_ready_does_not_overtake_what_it_said_before_while_the_disk_is_full(
    stage: Stage, disk: Path
) -> None:
    """Or a runner that says what its predecessor's death ended would be taken for one that is about to go itself."""
    executor = stage.welcomed()
    stage.hub.state(SESSION, ChildReady("runner", 7, 1, 0))
    executor.settle(executor.propose(grant(1)))
    stage.hub.state(SESSION, ChildGone("runner", 1, "killed by SIGKILL"))
    runner = stage.welcomed("runner", 2, role=False)
    ballast = fill(disk)
    ended = AttemptEnded("t1.1", Outcome.INTERRUPTED, detail="the runner died", runner_died=True)
    ticket = runner.propose(ended, large(1))
    shown(stage, PAUSED)

    ready, other = ChildReady("runner", 8, 2, 1), ChildReady("progress_monitor", 9, 1, 0)
    stage.hub.state(SESSION, ready)
    stage.hub.state(SESSION, other)

    shown(stage, other)  # of whom nothing waits
    assert ready not in stage.recorded()
    ballast.unlink()
    assert runner.settle(ticket)[1] == ()
    shown(stage, ready)
    assert stage.folded().children["runner"].ready
    assert [one for one in stage.durable() if one in {ended, ready}] == [ended, ready]


@pytest.mark.row("F12")
def test_a_journal_that_can_no_longer_be_written_ends_everything_and_acknowledges_nothing(tmp_path: Path) -> None:
    with Stage(tmp_path) as stage:
        relay = stage.welcomed()
        runner = stage.welcomed("runner", role=False)
        relay.settle(relay.propose(grant(1)))
        with stage.paused():
            _break_writing(tmp_path / "state.db-wal")
        ticket = relay.propose(grant(2))
        (escalated,) = wait_until(stage.escalated)
        assert (escalated.fatal, escalated.broken) == (True, False)
        assert escalated.reason.startswith("the journal cannot be written: ")
        wait_until(lambda: not stage.hub.is_alive())
        wait_until(lambda: relay.is_gone() and runner.is_gone())
        assert not [one for one in relay.frames if isinstance(one, Deliver) and ticket in one.tickets]
        assert stage.recorded() == [grant(1)]
        stage.hub.state(SESSION, StopRequested("too late"))
    assert stage.durable()[1:] == [grant(1)]


def _break_writing(log: Path) -> None:
    """Make the kernel refuse every write to the log, as a device that failed does: by the descriptor beneath it."""
    (descriptor,) = (
        int(link.name)
        for link in Path("/proc/self/fd").iterdir()
        if link.is_symlink() and str(link.readlink()) == str(log)
    )
    without_write = os.open(log, os.O_RDONLY | os.O_CLOEXEC)
    os.dup2(without_write, descriptor, inheritable=False)
    os.close(without_write)
