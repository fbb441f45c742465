"""What OTP does not have: timeouts, heartbeats, limits, backoff, quarantine. All of it off when strict."""

import attrs
import pytest

from supervisor.core_effects import (
    ChildBackoff,
    ChildExited,
    ChildFatal,
    ChildRunning,
    ChildUnkillable,
    Done,
    EndCause,
    Ended,
    FailedToStart,
    Refusal,
    Refused,
    Started,
)
from supervisor.core_events import ChangeSpecs, RestartChild, TerminateChild, Tick
from supervisor.exits import OverLimit, Shutdown, Silent, Unkillable, Unready
from supervisor.spec import BRUTAL_KILL, Backoff, Strategy
from tests.core.puppets import DIE, FAIL, HANG, READY, World, child, temporary, transient

STEADY = Backoff(initial=1.0, maximum=8.0, factor=2.0, jitter=0.0, healthy_after=10.0)


def reasons(world: World) -> list[object]:
    return [event.reason for event in world.seen(ChildExited)]


# --- start timeout -----------------------------------------------------------------------------------


@pytest.mark.row("P9")
def test_a_child_that_is_not_ready_in_time_is_killed_and_its_start_has_failed() -> None:
    world = World(child("c", start_timeout=3.0), starts={"c": [HANG]}).begin()
    world.pass_time(2.9)
    assert world.end() is None
    world.pass_time(0.2)
    assert world.end() == Ended(FailedToStart("c", Unready(3.0)), EndCause.START_FAILED)
    assert world.log == ["spawn c", "kill c", "gone c"]


@pytest.mark.row("P9")
def test_a_restart_that_is_not_ready_in_time_is_retried_and_costs_a_unit_each() -> None:
    """It counts as a failed start."""
    world = World(child("c", start_timeout=3.0), starts={"c": [READY, HANG]}, intensity=2).begin()
    world.die("c")
    world.pass_time(10.0)
    assert world.end() == Ended(Shutdown(), EndCause.INTENSITY)
    assert reasons(world) == [DIE, Unready(3.0), Unready(3.0)]


def test_a_termination_meets_a_start_that_is_being_killed() -> None:
    """The kill for lateness is under way; the request is answered when the process is gone."""
    world = World(child("c", start_timeout=3.0, shutdown=60.0), starts={"c": [HANG]}, stubborn=["c"]).begin()
    request = TerminateChild(world.now, world.request(), "c")
    assert world.ask(request) is None
    world.pass_time(59.0)
    assert not world.replies
    world.pass_time(2.0)
    assert world.replies[request.request] == Done()
    assert world.end() is None


# --- heartbeats --------------------------------------------------------------------------------------


@pytest.mark.row("P5", "P6", "F2")
def test_a_silent_child_is_killed_and_restarted() -> None:
    world = World(child("c", heartbeat_timeout=4.0)).begin()
    world.pass_time(3.9)
    assert not reasons(world)
    world.pass_time(0.2)
    assert reasons(world) == [Silent(4.0)]
    assert not world.seen(ChildExited)[0].expected
    assert world.core.state("c") == "RUNNING"
    assert world.core.restarts("c") == 1


@pytest.mark.row("F2")
def test_a_child_that_beats_is_left_alone() -> None:
    world = World(child("c", heartbeat_timeout=4.0)).begin()
    for _ in range(20):
        world.pass_time(3.0)
        world.beat("c")
    assert not reasons(world)


@pytest.mark.row("F15")
def test_time_in_which_the_supervisor_did_not_run_is_not_held_against_a_child() -> None:
    """A stopped supervisor finds its children silent; what they said is still on its way."""
    world = World(child("c", heartbeat_timeout=4.0, start_timeout=4.0)).begin()
    world.pass_time(1.0)
    world.now += 60.0
    world.tell(Tick(world.now))
    assert not reasons(world)
    world.beat("c")
    world.pass_time(3.9)
    assert not reasons(world)


@pytest.mark.row("F15")
def test_a_child_that_stays_silent_after_the_supervisor_was_stopped_is_killed_then() -> None:
    world = World(child("c", heartbeat_timeout=4.0)).begin()
    world.now += 60.0
    world.tell(Tick(world.now))
    world.pass_time(4.1)
    assert reasons(world) == [Silent(4.0)]


def test_a_start_that_met_a_stopped_supervisor_is_given_time() -> None:
    world = World(child("c", start_timeout=4.0), starts={"c": [HANG]}).begin()
    world.now += 60.0
    world.tell(Tick(world.now))
    assert world.core.state("c") == "STARTING"
    world.pass_time(0.9)
    world.ready("c")
    assert world.core.state("c") == "RUNNING"


def test_heartbeats_can_be_asked_for_while_a_child_runs() -> None:
    """Reference 1.12: a new spec holds for the process that is there."""
    world = World(child("c")).begin()
    world.pass_time(100.0)
    specs = (child("c", heartbeat_timeout=2.0),)
    world.ask(ChangeSpecs(world.now, world.request(), world.core.flags, specs))
    world.pass_time(1.9)
    assert not reasons(world)
    world.pass_time(0.2)
    assert reasons(world) == [Silent(2.0)]


# --- unkillable --------------------------------------------------------------------------------------


def test_in_strict_mode_a_child_that_is_killed_after_its_shutdown_time_is_not_left_behind() -> None:
    """The kill after the shutdown time and the word that it did not help are two things."""
    world = World(child("c", shutdown=1.0), strict=True, stubborn=["c"]).begin()
    world.undying.add("c")
    world.stop()
    world.pass_time(1000.0)
    assert world.log[-1] == "kill c"
    assert (world.end(), world.core.state("c")) == (None, "STOPPING")


@pytest.mark.row("P15")
def test_an_end_goes_on_without_a_child_that_cannot_be_killed_and_says_so() -> None:
    world = World(child("a"), child("b", shutdown=1.0), child("c"), stubborn=["b"]).begin()
    world.undying.add("b")
    pid = world.pid("b")
    request = world.stop()
    world.pass_time(10.9)
    assert (world.end(), world.log[-3:]) == (None, ["gone c", "ask b", "kill b"])
    world.pass_time(0.2)
    assert world.seen(ChildUnkillable) == [ChildUnkillable(1011.0, "b", 1, pid, 10.0)]
    assert reasons(world) == [Shutdown(), Unkillable(10.0), Shutdown()]
    assert world.end() == Ended(Shutdown(), EndCause.ASKED)
    assert world.replies[request] == Done()
    world.die("b")


def test_no_second_copy_of_a_child_that_cannot_be_killed_is_started() -> None:
    world = World(child("c", heartbeat_timeout=4.0)).begin()
    world.undying.add("c")
    world.pass_time(1000.0)
    assert len(world.seen(ChildUnkillable)) == 1
    assert (len(world.spawns), world.core.state("c")) == (1, "STOPPING")
    world.die("c")
    assert (reasons(world), world.core.state("c")) == ([Silent(4.0)], "RUNNING")


def test_an_end_that_comes_after_the_word_gives_the_child_the_same_time_again() -> None:
    world = World(child("c", heartbeat_timeout=4.0)).begin()
    world.undying.add("c")
    world.pass_time(60.0)
    world.stop()
    world.pass_time(9.9)
    assert world.end() is None
    world.pass_time(0.2)
    assert world.end() == Ended(Shutdown(), EndCause.ASKED)


def test_strict_mode_waits_for_a_killed_child_for_ever() -> None:
    world = World(child("c", shutdown=BRUTAL_KILL), strict=True).begin()
    world.undying.add("c")
    world.stop()
    assert world.core.next_deadline is None
    world.pass_time(1000.0)
    assert world.end() is None


# --- limits ------------------------------------------------------------------------------------------


@pytest.mark.row("P7")
def test_a_soft_limit_replaces_that_child_alone_and_politely() -> None:
    """The role, not the group."""
    world = World(child("a"), child("b"), strategy=Strategy.ONE_FOR_ALL).begin()
    kept = world.pid("b")
    world.take_log()
    world.over_limit("a", "rss 900 MiB > 512 MiB", hard=False)
    assert world.take_log() == ["ask a", "gone a", "spawn a"]
    assert world.pid("b") == kept
    assert reasons(world) == [OverLimit("rss 900 MiB > 512 MiB")]
    world.die("a")
    assert world.pid("b") != kept, "the next death is an ordinary one"


def test_a_hard_limit_kills_and_is_a_crash_like_any_other() -> None:
    world = World(child("a"), child("b"), strategy=Strategy.ONE_FOR_ALL).begin()
    kept = world.pid("b")
    world.take_log()
    world.over_limit("a", "rss", hard=True)
    assert world.take_log()[0] == "kill a"
    assert world.pid("b") != kept


def test_a_temporary_child_over_its_limit_is_not_replaced() -> None:
    world = World(temporary("t")).begin()
    world.over_limit("t", "fds", hard=False)
    assert world.ids() == []


def test_a_replacement_can_be_overtaken_by_a_termination() -> None:
    world = World(child("a"), stubborn=["a"]).begin()
    world.over_limit("a", "rss", hard=False)
    request = TerminateChild(world.now, world.request(), "a")
    assert world.ask(request) is None
    world.pass_time(1.0)
    assert world.replies[request.request] == Done()
    assert world.core.state("a") == "STOPPED"
    assert world.log.count("ask a") == 1


def test_a_hard_limit_does_not_wait_for_a_child_that_takes_its_time_to_leave() -> None:
    world = World(child("a", shutdown=60.0), stubborn=["a"]).begin()
    world.over_limit("a", "rss, soft", hard=False)
    world.over_limit("a", "rss, hard", hard=True)
    assert world.log[-3:] == ["kill a", "gone a", "spawn a"]
    assert reasons(world) == [OverLimit("rss, soft")]


def test_a_hard_limit_holds_while_a_child_starts_and_a_soft_one_does_not() -> None:
    world = World(child("a"), starts={"a": [HANG]}).begin()
    world.over_limit("a", "rss", hard=False)
    assert world.log == ["spawn a"]
    world.over_limit("a", "rss", hard=True)
    assert world.end() == Ended(FailedToStart("a", OverLimit("rss")), EndCause.START_FAILED)


# --- backoff -----------------------------------------------------------------------------------------


def test_the_first_failure_is_answered_at_once_and_the_next_ones_wait_longer_and_longer() -> None:
    """Reference 1.14."""
    world = World(child("c", backoff=STEADY), intensity=100).begin()
    for _ in range(6):
        if world.core.state("c") == "BACKOFF":
            world.pass_time(world.seen(ChildBackoff)[-1].until - world.now)
        world.die("c")
    waits = [event.until - event.at for event in world.seen(ChildBackoff)]
    assert waits == [1.0, 2.0, 4.0, 8.0, 8.0]
    assert world.core.which_children()[0].restarting


def test_failures_are_forgotten_after_a_healthy_time() -> None:
    world = World(child("c", backoff=STEADY), intensity=100).begin()
    world.die("c")
    world.die("c")
    assert world.core.state("c") == "BACKOFF"
    world.pass_time(1.0)
    world.pass_time(10.0)
    world.die("c")
    assert world.core.state("c") == "RUNNING"


@pytest.mark.row("P13", "F3")
def test_failed_starts_back_off_too() -> None:
    """No hot loop."""
    world = World(child("c", backoff=STEADY), starts={"c": [READY, FAIL]}, intensity=100).begin()
    world.die("c")
    assert world.log.count("spawn c") == 2
    world.pass_time(1.0 + 2.0 + 4.0)
    assert world.log.count("spawn c") == 5


@pytest.mark.row("P14")
def test_stop_during_backoff_is_immediate() -> None:
    world = World(child("c", backoff=STEADY)).begin()
    world.die("c")
    world.die("c")
    assert world.core.state("c") == "BACKOFF"
    world.stop()
    assert world.end() == Ended(Shutdown(), EndCause.ASKED)


def test_a_backoff_can_be_cancelled() -> None:
    """Reference 1.6: terminate on a restarting child leaves nothing to do."""
    world = World(child("c", backoff=STEADY)).begin()
    world.die("c")
    world.die("c")
    assert world.ask(TerminateChild(world.now, world.request(), "c")) == Done()
    assert world.core.next_deadline is None
    world.pass_time(100.0)
    assert world.core.state("c") == "STOPPED"
    answer = world.ask(RestartChild(world.now, world.request(), "c"))
    assert isinstance(answer, Started)


def test_siblings_go_on_while_a_child_of_a_group_backs_off() -> None:
    world = World(child("a", backoff=STEADY), child("b"), strategy=Strategy.ONE_FOR_ALL, intensity=9).begin()
    world.die("a")
    kept = world.pid("b")
    world.die("a")
    assert world.pid("b") == kept
    world.pass_time(1.0)
    assert world.pid("b") != kept
    assert world.core.state("a") == "RUNNING"


def test_a_group_restart_does_not_wait_for_a_backoff() -> None:
    world = World(child("a", backoff=STEADY), child("b"), strategy=Strategy.ONE_FOR_ALL, intensity=9).begin()
    world.die("a")
    world.die("a")
    world.die("b")
    assert world.counts() == [2, 2, 0, 2]
    spawned = len(world.spawns)
    world.pass_time(100.0)
    assert len(world.spawns) == spawned


def test_jitter_stays_inside_the_cap_and_repeats_itself() -> None:
    """Reference 1.14: Pekko's does neither."""
    backoff = Backoff(initial=1.0, maximum=4.0, factor=2.0, jitter=0.5, healthy_after=1.0)
    for failures in range(2, 60):
        full = min(2.0 ** (failures - 2), 4.0)
        for unit in (0.0, 0.3, 0.999):
            assert full * 0.5 <= backoff.delay(failures, unit) <= full <= 4.0
    assert backoff.delay(5000, 0.0) == 4.0
    assert backoff.delay(1, 0.5) == 0.0

    def waits() -> list[float]:
        world = World(child("c", backoff=attrs.evolve(backoff, healthy_after=99.0)), intensity=100).begin()
        for _ in range(5):
            world.pass_time(5.0)
            world.die("c")
        return [event.until - event.at for event in world.seen(ChildBackoff)]

    assert waits() == waits()
    assert len(set(waits())) == 4


# --- quarantine --------------------------------------------------------------------------------------


@pytest.mark.row("F3")
def test_a_quarantined_child_beyond_its_budget_is_fatal_and_the_supervisor_goes_on() -> None:
    """Design, section 4."""
    world = World(child("q", quarantine=True), child("c"), intensity=2).begin()
    kept = world.pid("c")
    for _ in range(3):
        world.die("q")
    assert world.core.state("q") == "FATAL"
    assert [event.reason for event in world.seen(ChildFatal)] == [DIE]
    assert world.end() is None
    assert world.pid("c") == kept


def test_a_quarantined_child_does_not_spend_the_budget_of_the_others() -> None:
    world = World(child("q", quarantine=True), child("c"), intensity=2).begin()
    for _ in range(3):
        world.die("q")
    world.die("c")
    world.die("c")
    assert world.end() is None
    world.die("c")
    assert world.end() == Ended(Shutdown(), EndCause.INTENSITY)


@pytest.mark.parametrize("strategy", [Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE])
def test_only_an_operator_starts_a_fatal_child(strategy: Strategy) -> None:
    world = World(child("c"), child("q", quarantine=True), strategy=strategy, intensity=1).begin()
    world.die("q")
    world.die("q")
    world.die("c")
    assert world.core.state("q") == "FATAL"
    assert world.core.state("c") == "RUNNING"
    answer = world.ask(RestartChild(world.now, world.request(), "q"))
    assert isinstance(answer, Started)
    assert world.core.state("q") == "RUNNING"


@pytest.mark.parametrize("strategy", [Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE])
def test_a_group_whose_member_fails_to_restart_and_is_quarantined_goes_on_without_it(strategy: Strategy) -> None:
    specs = [child("a"), child("q", quarantine=True), child("b"), temporary("t"), child("c")]
    world = World(*specs, strategy=strategy, starts={"q": [READY, FAIL]}, intensity=1).begin()
    world.die("a")
    assert world.core.state("q") == "FATAL"
    assert world.end() is None
    assert {name: world.core.state(name) for name in ("a", "b", "c")} == dict.fromkeys("abc", "RUNNING")
    assert world.log[-2:] == ["spawn b", "spawn c"]
    assert world.ids() == ["c", "b", "q", "a"]


def test_an_operator_gives_a_fatal_child_its_budget_back() -> None:
    """The way out of quarantine; the reason it was given up for stays on record until then."""
    world = World(child("q", quarantine=True), child("c"), intensity=1, period=3600.0).begin()
    world.die("q")
    world.die("q")
    assert world.core.last_exit("q") == DIE
    assert isinstance(world.ask(RestartChild(world.now, world.request(), "q")), Started)
    world.die("q")
    assert world.core.state("q") == "RUNNING"
    world.die("q")
    assert world.core.state("q") == "FATAL"
    assert len(world.seen(ChildFatal)) == 2


def test_a_fatal_child_can_be_terminated_and_stopped_with_the_rest() -> None:
    world = World(child("q", quarantine=True), intensity=0).begin()
    world.die("q")
    assert world.core.state("q") == "FATAL"
    assert world.ask(TerminateChild(world.now, world.request(), "q")) == Done()
    assert world.core.state("q") == "STOPPED"
    world.stop()
    assert world.end() is not None


# --- strict ------------------------------------------------------------------------------------------


def test_strict_mode_is_otp_and_nothing_else() -> None:
    """Design, section 4: each addition is off in strict mode."""
    spec = child("c", start_timeout=1.0, heartbeat_timeout=1.0, backoff=STEADY, quarantine=True)
    world = World(spec, transient("t"), strict=True, intensity=2).begin()
    assert world.core.next_deadline is None
    world.over_limit("c", "rss", hard=True)
    assert not reasons(world)
    world.die("c")
    world.die("c")
    assert not world.seen(ChildBackoff)
    assert len(world.seen(ChildRunning)) == 4
    world.die("c")
    assert world.end() == Ended(Shutdown(), EndCause.INTENSITY)


def test_nobody_answers_for_a_restart_by_hand_during_backoff() -> None:
    """Reference 1.10: `restarting`, as in OTP."""
    world = World(child("c", backoff=STEADY)).begin()
    world.die("c")
    world.die("c")
    answer = world.ask(RestartChild(world.now, world.request(), "c"))
    assert isinstance(answer, Refused)
    assert answer.why is Refusal.RESTARTING
