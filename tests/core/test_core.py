"""Start, stop, termination and restart of single children, as reference section 2 has it."""

import pytest

from supervisor.core import Core
from supervisor.core_effects import (
    AskToStop,
    ChildExited,
    ChildFatal,
    EndCause,
    Ended,
    FailedToStart,
    IntensityExceeded,
    Refusal,
    Refused,
    Spawn,
    SupervisorStarted,
    SupervisorStopped,
)
from supervisor.core_events import Begin, Exited, Ignored, Ready, RestartChild, Spawned, StartChild, Stop
from supervisor.exits import (
    Crashed,
    ExitReason,
    Killed,
    Normal,
    Shutdown,
    ShutdownTerm,
    SpawnFailed,
)
from supervisor.sequence import Phase
from supervisor.spec import BRUTAL_KILL, INFINITY, ChildType, Restart, Strategy, SupervisorFlags
from tests.core.puppets import (
    DIE,
    FAIL,
    HANG,
    IGNORE,
    NO_SPAWN,
    READY,
    STOP,
    World,
    child,
    temporary,
    transient,
)

ENDINGS: list[ExitReason] = [STOP, Shutdown(), ShutdownTerm("done"), DIE]


@pytest.mark.row("1")
def test_a_supervisor_without_children_starts_and_stops() -> None:
    world = World().begin()
    assert world.core.phase is Phase.UP
    assert len(world.seen(SupervisorStarted)) == 1
    world.stop()
    assert world.end() == Ended(Shutdown(), EndCause.ASKED)
    assert world.seen(SupervisorStopped)[0].reason == Shutdown()


def test_children_start_from_left_to_right_each_when_the_one_before_is_ready() -> None:
    """Reference 1.2: start is synchronous and ordered."""
    world = World(child("a"), child("b"), starts={"a": [HANG]}).begin()
    assert world.take_log() == ["spawn a"]
    assert world.core.phase.value == "starting"
    world.ready("a")
    assert world.take_log() == ["spawn b"]
    assert world.core.phase is Phase.UP


def test_spawned_is_not_ready() -> None:
    """Reference 1.13: ok(pid) is READY, not a successful fork."""
    core = Core(SupervisorFlags(), [child("a")])
    (_, spawn) = core.handle(Begin(0.0))
    assert spawn == Spawn(child("a"), 1, None)
    core.handle(Spawned(1.0, "a", 1, 77))
    assert core.state("a") == "STARTING"
    assert core.which_children()[0].pid == 77
    core.handle(Ready(2.0, "a", 1))
    assert core.state("a") == "RUNNING"


@pytest.mark.row("26")
@pytest.mark.parametrize("how", [FAIL, NO_SPAWN])
def test_the_first_failing_child_of_the_initial_start_ends_the_supervisor_without_a_retry(how: str) -> None:
    """Reference 1.2: the cause is carried up, those before it are ended in reverse."""
    world = World(child("a"), child("b"), child("c"), child("d"), starts={"c": [how]}).begin()
    reason = DIE if how == FAIL else SpawnFailed("no such program")
    assert world.end() == Ended(FailedToStart("c", reason), EndCause.START_FAILED)
    log = [line for line in world.log if line != "gone c"]
    assert log == ["spawn a", "spawn b", "spawn c", "ask b", "gone b", "ask a", "gone a"]
    assert not world.seen(IntensityExceeded)
    assert str(FailedToStart("c", reason)).startswith("child 'c' failed to start: ")


@pytest.mark.row("3")
def test_a_child_that_declines_to_run_counts_as_started_and_keeps_its_spec() -> None:
    world = World(child("c1"), child("c2"), starts={"c1": [IGNORE]}).begin()
    assert world.ids() == ["c2", "c1"]
    assert world.counts() == [2, 1, 0, 2]
    assert world.core.which_children()[1].pid is None


@pytest.mark.row("4")
def test_a_temporary_child_that_declines_to_run_is_forgotten() -> None:
    world = World(temporary("c1"), temporary("c2"), starts={"c1": [IGNORE]}).begin()
    assert world.ids() == ["c2"]
    assert world.counts() == [1, 1, 0, 1]


def test_children_stop_in_reverse_order_one_after_the_other() -> None:
    """Reference 1.9."""
    world = World(child("a"), child("b"), child("c")).begin()
    world.take_log()
    world.stop()
    assert world.take_log() == ["ask c", "gone c", "ask b", "gone b", "ask a", "gone a"]
    assert [event.reason for event in world.seen(ChildExited)] == [Shutdown()] * 3
    assert all(event.expected for event in world.seen(ChildExited))


@pytest.mark.row("11")
def test_shutdown_infinity_waits_for_ever() -> None:
    specs = [child("w", shutdown=INFINITY), child("s", shutdown=INFINITY, type=ChildType.SUPERVISOR)]
    world = World(*specs, stubborn=["s"]).begin()
    world.stop()
    assert world.core.next_deadline is None
    world.pass_time(1e6)
    assert world.end() is None
    world.die("s", Crashed(signal=15))
    assert world.end() is not None
    assert [event.reason for event in world.seen(ChildExited)] == [Shutdown(), Shutdown()]


@pytest.mark.row("12")
def test_a_child_that_does_not_stop_in_time_is_killed() -> None:
    world = World(child("c1"), child("c2"), stubborn=["c2"]).begin()
    world.stop()
    world.pass_time(0.999)
    assert world.end() is None
    assert world.core.state("c2") == "STOPPING"
    world.pass_time(0.002)
    assert [(event.child, event.reason, event.expected) for event in world.seen(ChildExited)] == [
        ("c2", Killed(), False),
        ("c1", Shutdown(), True),
    ]
    assert world.end() == Ended(Shutdown(), EndCause.ASKED)


def test_a_shutdown_time_of_zero_asks_and_kills_at_once() -> None:
    """Reference 1.8: T = 0 is allowed."""
    world = World(child("c", shutdown=0), stubborn=["c"]).begin()
    world.take_log()
    world.stop()
    assert world.take_log() == ["ask c", "kill c", "gone c"]


@pytest.mark.row("14")
def test_brutal_kill_kills_without_asking_and_is_no_news() -> None:
    world = World(child("c1"), child("c2", shutdown=BRUTAL_KILL)).begin()
    world.take_log()
    world.stop()
    assert world.take_log() == ["kill c2", "gone c2", "ask c1", "gone c1"]
    killed, asked = world.seen(ChildExited)
    assert (killed.reason, killed.expected) == (Killed(), True)
    assert (asked.reason, asked.expected) == (Shutdown(), True)


@pytest.mark.row("15")
@pytest.mark.parametrize("restart", list(Restart))
@pytest.mark.parametrize("own", [*ENDINGS, Crashed(signal=11)], ids=repr)
def test_a_child_that_dies_by_itself_while_another_is_being_stopped_has_its_own_reason(
    restart: Restart, own: ExitReason
) -> None:
    """The supervisor completes its stop."""
    world = World(child("racer", restart=restart), child("slow"), stubborn=["slow"]).begin()
    world.stop()
    world.die("racer", own)
    assert world.end() is None
    world.pass_time(1.0)
    assert world.seen(ChildExited)[0].reason == own
    assert world.end() == Ended(Shutdown(), EndCause.ASKED)
    assert "ask racer" not in world.log


@pytest.mark.row("16")
@pytest.mark.parametrize("parting", ENDINGS, ids=repr)
def test_the_way_in_which_children_end_does_not_keep_the_supervisor_from_stopping(
    parting: ExitReason,
) -> None:
    """For static children; anything unexpected is reported."""
    world = World(child("a"), child("b"), parting={"a": parting, "b": parting}).begin()
    world.stop()
    assert world.end() == Ended(Shutdown(), EndCause.ASKED)
    reported = not world.seen(ChildExited)[0].expected
    assert reported == (parting not in (STOP, Shutdown()))


@pytest.mark.row("22")
@pytest.mark.parametrize("ending", ENDINGS, ids=repr)
def test_a_permanent_child_is_restarted_whatever_its_reason(ending: ExitReason) -> None:
    world = World(child("c")).begin()
    before = world.pid("c")
    world.die("c", ending)
    assert world.pid("c") != before
    assert world.counts() == [1, 1, 0, 1]
    assert world.core.restarts("c") == 1


@pytest.mark.row("23")
@pytest.mark.parametrize("ending", ENDINGS[:3], ids=repr)
def test_a_transient_child_that_ends_cleanly_is_not_restarted_and_keeps_its_spec(ending: ExitReason) -> None:
    world = World(transient("c")).begin()
    world.die("c", ending)
    assert world.counts() == [1, 0, 0, 1]
    assert world.core.state("c") == "EXITED"
    assert world.end() is None
    world.ask(RestartChild(world.now, world.request(), "c"))
    assert world.counts() == [1, 1, 0, 1]


@pytest.mark.row("24")
def test_a_transient_child_that_crashes_is_restarted() -> None:
    world = World(transient("c")).begin()
    world.die("c")
    assert world.counts() == [1, 1, 0, 1]


@pytest.mark.row("25")
@pytest.mark.parametrize("ending", ENDINGS, ids=repr)
def test_a_temporary_child_is_never_restarted_and_its_spec_is_gone(ending: ExitReason) -> None:
    """The same id can be started again."""
    world = World(temporary("c")).begin()
    world.die("c", ending)
    assert world.counts() == [0, 0, 0, 0]
    world.ask(StartChild(world.now, world.request(), temporary("c")))
    assert world.counts() == [1, 1, 0, 1]


def test_the_next_incarnation_is_told_why_the_last_one_ended() -> None:
    """Design, section 4: the cause of the last exit is handed on."""
    world = World(child("c")).begin()
    world.die("c", Crashed(signal=11))
    assert [(spawn.incarnation, spawn.last_exit) for spawn in world.spawns] == [
        (1, None),
        (2, Crashed(signal=11)),
    ]


@pytest.mark.row("29")
def test_the_death_of_one_child_leaves_the_others_alone_and_the_third_ends_the_supervisor() -> None:
    world = World(child("c1"), child("c2")).begin()
    kept = world.pid("c2")
    world.die("c1")
    assert world.pid("c2") == kept
    world.die("c2")
    assert world.end() is None
    world.die("c1")
    assert world.end() == Ended(Shutdown(), EndCause.INTENSITY)
    assert not world.alive


@pytest.mark.row("30")
def test_a_child_that_cannot_be_restarted_uses_up_the_budget() -> None:
    """Failed starts cost one unit each; the sibling is terminated."""
    world = World(child("c1"), child("c2"), starts={"c1": [READY, FAIL]}, intensity=4).begin()
    world.take_log()
    world.die("c1")
    assert world.take_log().count("spawn c1") == 4
    assert world.end() == Ended(Shutdown(), EndCause.INTENSITY)
    assert world.seen(ChildExited)[-1].child == "c2"
    assert world.seen(IntensityExceeded)[0].attempts == 5


@pytest.mark.row("46")
def test_a_failed_restart_lets_everything_that_arrived_meanwhile_go_first() -> None:
    """Reference 1.6: no hanging restart loop; stopping completes promptly."""
    world = World(child("c1"), child("c2"), starts={"c1": [READY, HANG]}, intensity=8).begin()
    world.die("c1")
    stop = Stop(world.now, world.request())
    world.take_log()
    world.tell(world.exit_of("c1"), stop)
    assert world.end() == Ended(Shutdown(), EndCause.ASKED)
    assert world.take_log() == ["gone c1", "ask c2", "gone c2"]


@pytest.mark.row("46")
def test_stop_does_not_wait_for_a_start_that_hangs() -> None:
    """Shutdown pre-empts, even the initial start."""
    world = World(child("a"), child("b"), child("c"), starts={"b": [HANG]}).begin()
    world.take_log()
    world.stop()
    assert world.take_log() == ["ask b", "gone b", "ask a", "gone a"]
    assert world.end() == Ended(Shutdown(), EndCause.ASKED)


@pytest.mark.parametrize("word", [READY, IGNORE, FAIL])
def test_a_child_whose_start_is_overtaken_by_the_end_may_still_come_up_decline_or_fail(word: str) -> None:
    world = World(child("a"), child("b"), starts={"a": [READY, HANG]}, stubborn=["b"]).begin()
    world.die("a")
    world.stop()
    assert world.core.state("a") == "STARTING"
    world.take_log()
    if word == READY:
        world.ready("a")
        assert world.core.state("a") == "RUNNING"
    elif word == IGNORE:
        del world.alive["a"]
        world.tell(Ignored(world.now, "a", 2))
        assert world.core.state("a") == "STOPPED"
    else:
        world.fail_start("a")
        assert world.core.state("a") == "EXITED"
    world.pass_time(1.0)
    assert world.end() == Ended(Shutdown(), EndCause.ASKED)
    assert [line for line in world.log if line.startswith(("kill", "ask"))] == ["kill b"] + ["ask a"] * (word == READY)


def test_stop_before_begin_ends_at_once() -> None:
    world = World(child("a"))
    world.stop()
    assert world.end() == Ended(Shutdown(), EndCause.ASKED)
    assert not world.log


def test_every_stop_is_answered_when_all_is_over() -> None:
    world = World(child("a"), stubborn=["a"]).begin()
    first, second = world.stop(), world.stop()
    assert not world.replies
    world.pass_time(1.0)
    assert set(world.replies) == {first, second}
    third = world.stop()
    assert third in world.replies


def test_requests_are_refused_while_the_supervisor_ends_and_afterwards() -> None:
    world = World(child("a"), stubborn=["a"]).begin()
    world.stop()
    for _ in range(2):
        refused = world.ask(StartChild(world.now, world.request(), child("b")))
        assert refused == Refused(Refusal.SHUTTING_DOWN)
        world.pass_time(1.0)


def test_events_of_an_earlier_incarnation_are_ignored() -> None:
    """Reference 1.3: unknown pids are ignored."""
    world = World(child("c")).begin()
    world.die("c")
    pid = world.pid("c")
    world.tell(Exited(world.now, "c", 1, DIE), Exited(world.now, "stranger", 1, DIE))
    assert world.pid("c") == pid
    assert world.core.restarts("c") == 1


def test_deaths_at_the_same_moment_are_decided_in_order_of_arrival() -> None:
    """Design, section 4: other exits queue while a restart runs."""
    world = World(child("a"), child("b"), starts={"a": [READY, HANG]}).begin()
    world.die("a")
    world.die("b")
    assert world.core.state("b") == "EXITED"
    assert world.core.which_children()[0].restarting
    world.take_log()
    world.ready("a")
    assert world.take_log() == ["spawn b"]


def test_a_transient_supervisor_that_gave_up_is_not_restarted_by_its_parent() -> None:
    """Reference 1.7: `shutdown` counts as normal; a permanent one is restarted."""
    specs = [
        transient("quiet", type=ChildType.SUPERVISOR),
        child("loud", type=ChildType.SUPERVISOR),
    ]
    parent = World(*specs).begin()
    parent.die("quiet", Shutdown())
    parent.die("loud", Shutdown())
    assert parent.core.state("quiet") == "EXITED"
    assert parent.core.state("loud") == "RUNNING"


@pytest.mark.row("P16")
def test_a_child_held_by_its_operator_is_not_started_by_begin() -> None:
    """What an operator stopped stays stopped."""
    world = World(child("a"), child("b"), held=["a"]).begin()
    assert world.core.state("a") == "STOPPED"
    assert world.core.desired("a") == "down"
    assert world.core.state("b") == "RUNNING"


def test_a_stop_that_meets_a_spawn_in_flight_is_sent_all_the_same() -> None:
    core = Core(SupervisorFlags(), [child("a")])
    core.handle(Begin(0.0))
    effects = core.handle(Stop(0.1, 1))
    assert AskToStop("a", 1) in effects
    effects = core.handle(Exited(0.2, "a", 1, Normal()))
    assert effects[-1] == Ended(Shutdown(), EndCause.ASKED)


def test_a_story_tells_the_last_transitions_and_stays_bounded() -> None:
    world = World(child("c"), intensity=1000).begin()
    for _ in range(50):
        world.die("c")
    story = world.core.story("c")
    assert len(story) == 32
    assert str(story[-1]).endswith(f"-> {story[-1].after!r}")
    assert not world.seen(ChildFatal)


def test_a_child_is_expected_as_long_as_it_runs_or_will_be_started_again() -> None:
    starts = {"a": [READY, HANG]}
    world = World(child("a"), transient("t"), child("h"), held=["h"], starts=starts, strategy=Strategy.ONE_FOR_ALL)
    world.begin()
    expected = [name for name in ("a", "t", "h", "nobody") if world.core.expects(name)]
    assert expected == ["a", "t"]
    world.die("t", STOP)
    assert not world.core.expects("t"), "it has ended normally"
    world.die("a")
    assert world.core.state("t") == "EXITED"
    assert all(world.core.expects(name) for name in "ath"), "they are started together"
    world.tell(Stop(world.now, 0))
    assert not world.core.expects("a"), "everything ends"
