"""The administration interface: reference 1.10 and 1.12."""

import attrs
import pytest

from supervisor.core_effects import ChildIgnored, ChildRunning, Done, EndCause, Ended, Refusal, Refused, Result, Started
from supervisor.core_events import (
    ChangeSpecs,
    DeleteChild,
    Mutation,
    Ready,
    RestartChild,
    StartChild,
    StartInstance,
    TerminateChild,
)
from supervisor.exits import ExitReason, Shutdown, SpawnFailed
from supervisor.spec import AutoShutdown, ChildSpec, ChildType, Restart, Strategy, SupervisorFlags
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


def start(world: World, spec: ChildSpec) -> Result | None:
    return world.ask(StartChild(world.now, world.request(), spec))


def terminate(world: World, name: str) -> Result | None:
    return world.ask(TerminateChild(world.now, world.request(), name))


def restart(world: World, name: str) -> Result | None:
    return world.ask(RestartChild(world.now, world.request(), name))


def delete(world: World, name: str) -> Result | None:
    return world.ask(DeleteChild(world.now, world.request(), name))


def why(result: Result | None) -> Refusal | None:
    return result.why if isinstance(result, Refused) else None


@pytest.mark.row("18")
def test_the_administration_of_one_child() -> None:
    """The full walk."""
    world = World(child("c")).begin()
    answer = start(world, child("c"))
    assert isinstance(answer, Refused)
    assert (answer.why, answer.pid) == (Refusal.ALREADY_STARTED, world.pid("c"))
    assert why(terminate(world, "nobody")) is Refusal.NOT_FOUND
    assert why(delete(world, "c")) is Refusal.RUNNING
    assert why(restart(world, "c")) is Refusal.RUNNING
    assert terminate(world, "c") == Done()
    assert world.core.desired("c") == "down"
    assert terminate(world, "c") == Done()
    assert why(start(world, child("c"))) is Refusal.ALREADY_PRESENT
    assert isinstance(restart(world, "c"), Started)
    assert world.core.desired("c") == "up"
    assert why(terminate(world, str(world.pid("c")))) is Refusal.NOT_FOUND
    assert terminate(world, "c") == Done()
    assert delete(world, "c") == Done()
    assert why(delete(world, "c")) is Refusal.NOT_FOUND
    assert why(restart(world, "c")) is Refusal.NOT_FOUND
    assert world.counts() == [0, 0, 0, 0]


def test_terminate_says_done_when_the_child_is_gone_not_before() -> None:
    """Design, section 7: the answer comes when the thing has happened."""
    world = World(child("c"), stubborn=["c"]).begin()
    request = TerminateChild(world.now, world.request(), "c")
    assert world.ask(request) is None
    world.pass_time(1.0)
    assert world.replies[request.request] == Done()


def test_a_terminated_child_is_not_restarted_and_costs_nothing() -> None:
    """Reference 1.4: manual actions never consume budget."""
    world = World(child("c"), intensity=0).begin()
    for _ in range(3):
        assert terminate(world, "c") == Done()
        assert isinstance(restart(world, "c"), Started)
    assert world.end() is None
    assert world.core.restarts("c") == 0


@pytest.mark.row("59")
def test_a_new_child_is_last_in_start_order() -> None:
    """Newest first in the listing."""
    world = World(child("b")).begin()
    start(world, child("a"))
    assert world.ids() == ["a", "b"]
    world.take_log()
    world.stop()
    assert world.take_log() == ["ask a", "gone a", "ask b", "gone b"]


@pytest.mark.row("3", "4")
def test_started_children_that_decline_are_kept_unless_temporary() -> None:
    world = World(starts={"c1": [IGNORE], "t": [IGNORE]}).begin()
    answer = start(world, child("c1"))
    assert answer == Started("c1", 1, None, running=False)
    start(world, child("c2"))
    assert isinstance(start(world, temporary("t")), Started)
    assert world.ids() == ["c2", "c1"]
    assert world.counts() == [2, 1, 0, 2]
    assert [event.child for event in world.seen(ChildIgnored)] == ["c1", "t"]


@pytest.mark.row("8")
@pytest.mark.parametrize(("word", "reason"), [(FAIL, DIE), (NO_SPAWN, SpawnFailed("no such program"))])
def test_a_child_that_cannot_be_started_is_not_kept(word: str, reason: ExitReason) -> None:
    world = World(starts={"c": [word]}).begin()
    answer = start(world, child("c"))
    assert isinstance(answer, Refused)
    assert (answer.why, answer.reason) == (Refusal.START_FAILED, reason)
    assert answer.detail
    assert world.counts() == [0, 0, 0, 0]


@pytest.mark.row("7")
def test_a_failed_restart_by_hand_is_answered_and_leaves_the_spec() -> None:
    world = World(child("c"), starts={"c": [READY, FAIL]}).begin()
    terminate(world, "c")
    assert why(restart(world, "c")) is Refusal.START_FAILED
    assert world.counts() == [1, 0, 0, 1]
    assert world.core.which_children()[0].pid is None
    assert world.end() is None


@pytest.mark.row("46")
def test_requests_to_a_child_that_cannot_start_are_answered_between_its_attempts() -> None:
    """Restarting shows; start, restart and delete refused; terminate ends the loop."""
    world = World(child("c"), child("d"), starts={"c": [READY, HANG]}, intensity=8).begin()
    kept = world.pid("d")
    world.die("c")
    requests: list[Mutation] = [
        StartChild(world.now, world.request(), child("c")),
        RestartChild(world.now, world.request(), "c"),
        DeleteChild(world.now, world.request(), "c"),
        TerminateChild(world.now, world.request(), "c"),
    ]
    world.tell(world.exit_of("c"), *requests)
    answers = [why(world.replies[request.request]) for request in requests[:3]]
    assert answers == [Refusal.ALREADY_PRESENT, Refusal.RESTARTING, Refusal.RESTARTING]
    assert world.replies[requests[3].request] == Done()
    assert world.core.state("c") == "STOPPED"
    assert world.pid("d") == kept
    assert world.log.count("spawn c") == 2


def test_terminating_a_child_that_is_being_started_for_somebody_answers_both() -> None:
    world = World(starts={"c": [HANG]}).begin()
    starting = StartChild(world.now, world.request(), child("c"))
    assert world.ask(starting) is None
    assert terminate(world, "c") == Done()
    assert why(world.replies[starting.request]) is Refusal.TERMINATED
    assert world.core.state("c") == "STOPPED"


def test_stop_refuses_those_who_wait() -> None:
    world = World(starts={"c": [HANG]}).begin()
    starting = StartChild(world.now, world.request(), child("c"))
    waiting = StartChild(world.now, world.request(), child("d"))
    world.tell(starting, waiting)
    world.stop()
    assert why(world.replies[starting.request]) is Refusal.SHUTTING_DOWN
    assert why(world.replies[waiting.request]) is Refusal.SHUTTING_DOWN
    assert world.end() == Ended(Shutdown(), EndCause.ASKED)


def test_requests_before_the_start_wait_for_it() -> None:
    world = World(child("a"))
    request = StartChild(world.now, world.request(), child("b"))
    assert world.ask(request) is None
    world.begin()
    assert isinstance(world.replies[request.request], Started)


@pytest.mark.row("41")
@pytest.mark.parametrize("strategy", [Strategy.ONE_FOR_ONE, Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE])
@pytest.mark.parametrize("restart_type", list(Restart))
@pytest.mark.parametrize("ending", ["kill", "normal", "abnormal", "by supervisor"])
def test_what_starting_the_same_id_again_says_after_each_ending(
    strategy: Strategy, restart_type: Restart, ending: str
) -> None:
    world = World(strategy=strategy).begin()
    spec = child("c", restart=restart_type)
    start(world, spec)
    if ending == "by supervisor":
        terminate(world, "c")
    else:
        world.die("c", STOP if ending == "normal" else DIE)
    restarted = {
        Restart.PERMANENT: ending != "by supervisor",
        Restart.TRANSIENT: ending in {"kill", "abnormal"},
        Restart.TEMPORARY: False,
    }[restart_type]
    answer = start(world, spec)
    if restart_type is Restart.TEMPORARY:
        assert isinstance(answer, Started)
    else:
        assert why(answer) is (Refusal.ALREADY_STARTED if restarted else Refusal.ALREADY_PRESENT)


@pytest.mark.row("9", "59")
def test_questions_find_specs_and_miss_strangers() -> None:
    world = World(child("c")).begin()
    assert world.core.get_childspec("c") == child("c")
    assert world.core.get_childspec("d") is None
    with pytest.raises(KeyError):
        world.core.state("d")


@pytest.mark.row("44")
def test_supervisors_and_workers_are_counted_apart() -> None:
    world = World(child("w"), transient("s", type=ChildType.SUPERVISOR), child("x")).begin()
    world.die("s", STOP)
    assert world.counts() == [3, 2, 1, 2]


def change(world: World, *specs: ChildSpec, flags: SupervisorFlags | None = None) -> Result | None:
    return world.ask(ChangeSpecs(world.now, world.request(), flags or world.core.flags, specs))


@pytest.mark.row("50")
def test_new_specs_keep_processes_record_additions_and_keep_removals_running() -> None:
    """Reference 1.12."""
    world = World(child("a"), child("b")).begin()
    pids = {name: world.pid(name) for name in ("a", "b")}
    assert change(world, child("a", shutdown=9.0), child("new")) == Done()
    assert {name: world.pid(name) for name in ("a", "b")} == pids
    assert world.core.get_childspec("a") == child("a", shutdown=9.0)
    assert world.core.state("new") == "STOPPED"
    assert world.ids() == ["b", "new", "a"]
    assert isinstance(restart(world, "new"), Started)


@pytest.mark.row("50")
def test_bad_specs_are_refused_and_change_nothing() -> None:
    world = World(child("a")).begin()
    answer = change(world, child("x"), child("x"))
    assert why(answer) is Refusal.INVALID
    assert isinstance(answer, Refused)
    assert "'x'" in answer.detail
    assert world.ids() == ["a"]
    simple = attrs.evolve(world.core.flags, strategy=Strategy.SIMPLE_ONE_FOR_ONE)
    assert why(change(world, child("a"), flags=simple)) is Refusal.INVALID


def test_new_flags_take_effect_at_once_and_do_not_clear_the_budget() -> None:
    """Reference 1.4, 1.12."""
    world = World(child("a"), child("b"), intensity=3).begin()
    world.die("a")
    kept = world.pid("b")
    flags = attrs.evolve(world.core.flags, strategy=Strategy.ONE_FOR_ALL, intensity=2)
    assert change(world, child("a"), child("b"), flags=flags) == Done()
    world.die("a")
    assert world.pid("b") != kept
    world.die("a")
    assert world.end() == Ended(Shutdown(), EndCause.INTENSITY)


@pytest.mark.row("20", "57")
def test_a_significant_child_is_refused_while_nothing_listens_to_it() -> None:
    """Never -> a later significant start is refused."""
    world = World(auto_shutdown=AutoShutdown.ANY_SIGNIFICANT).begin()
    assert isinstance(start(world, transient("one", significant=True)), Started)
    flags = attrs.evolve(world.core.flags, auto_shutdown=AutoShutdown.NEVER)
    assert change(world, flags=flags) == Done()
    assert why(start(world, transient("two", significant=True))) is Refusal.INVALID
    world.die("one", STOP)
    assert world.end() is None


def test_instances_need_a_template() -> None:
    world = World(child("c")).begin()
    assert why(world.ask(StartInstance(world.now, world.request()))) is Refusal.NOT_SIMPLE


@pytest.mark.row("17")
def test_what_a_child_says_with_its_readiness_is_passed_on_to_whoever_asked_for_the_start() -> None:
    world = World(starts={"c": [HANG]}).begin()
    started, restarted = (
        StartChild(world.now, world.request(), child("c")),
        RestartChild(world.now, world.request(), "c"),
    )
    world.tell(started)
    world.tell(Ready(world.now, "c", 1, info={"port": 8080}))
    assert world.replies[started.request] == Started("c", 1, world.pid("c"), running=True, info={"port": 8080})
    world.die("c")
    world.tell(Ready(world.now, "c", 2, info={"port": 8081}))
    assert world.core.state("c") == "RUNNING", "it is restarted as any other"
    terminate(world, "c")
    world.tell(restarted)
    world.tell(Ready(world.now, "c", 3, info="again"))
    answer = world.replies[restarted.request]
    assert isinstance(answer, Started)
    assert answer.info == "again"


@pytest.mark.row("17", "59")
def test_what_a_child_said_with_its_readiness_is_in_its_row_while_it_runs() -> None:
    world = World(child("c"), starts={"c": [HANG, HANG]}).begin()
    world.tell(Ready(world.now, "c", 1, info={"port": 8080}))
    row = world.core.which_child("c")
    assert row is not None
    assert row.info == {"port": 8080}
    assert [event.info for event in world.seen(ChildRunning)] == [{"port": 8080}]
    world.die("c")
    row = world.core.which_child("c")
    assert row is not None
    assert row.info is None


def test_who_asks_for_an_unknown_child_is_told_the_names_and_the_one_that_was_meant() -> None:
    world = World(child("database"), child("web")).begin()
    answer = terminate(world, "databse")
    assert isinstance(answer, Refused)
    assert answer.detail == "children: database, web; did you mean 'database'?"


@pytest.mark.row("42")
def test_a_child_that_has_cut_its_tie_cannot_hang_its_supervisor() -> None:
    """It reacts to nothing; questions and other requests are answered, and its end is seen from outside."""
    world = World(child("loose"), child("other"), stubborn=["loose"]).begin()
    request = TerminateChild(world.now, world.request(), "loose")
    assert world.ask(request) is None
    assert world.ids() == ["other", "loose"]
    world.pass_time(1.0)
    assert world.replies[request.request] == Done()
    assert terminate(world, "other") == Done()


@pytest.mark.row("58")
def test_a_child_whose_name_is_taken_elsewhere_fails_to_start_with_its_own_words() -> None:
    world = World(starts={"c": [HANG]}).begin()
    request = StartChild(world.now, world.request(), child("c"))
    world.tell(request)
    taken = SpawnFailed("already started: port 80 is held by pid 4711")
    world.fail_start("c", taken)
    answer = world.replies[request.request]
    assert isinstance(answer, Refused)
    assert (answer.why, answer.reason) == (Refusal.START_FAILED, taken)
    assert world.ids() == []


@pytest.mark.row("59")
def test_one_child_is_found_by_its_id_and_by_the_pid_of_its_process() -> None:
    world = World(child("a"), child("b")).begin()
    row = world.core.which_child("b")
    assert row is not None
    assert (row.id, row.state, row.pid) == ("b", "RUNNING", world.pid("b"))
    assert row == world.core.which_children()[0] == world.core.which_child(world.pid("b"))
    assert world.core.which_child("c") is None
    assert world.core.which_child(world.pid("a") + 1000) is None
    terminate(world, "a")
    stopped = world.core.which_child("a")
    assert stopped is not None
    assert stopped.pid is None


@pytest.mark.row("18")
@pytest.mark.parametrize("kind", [RestartChild, DeleteChild])
def test_a_child_whose_end_is_not_decided_about_yet_still_counts_as_running(
    kind: type[RestartChild] | type[DeleteChild],
) -> None:
    """In OTP its exit waits in the mailbox behind the request; the restart that follows costs its unit."""
    world = World(child("busy"), child("c"), starts={"busy": [READY, HANG]}).begin()
    world.die("busy")
    requests = [kind(world.now, world.request(), "c"), StartChild(world.now, world.request(), child("c"))]
    world.tell(*requests)
    world.die("c")
    world.ready("busy")
    assert [why(world.replies[one.request]) for one in requests] == [Refusal.RUNNING, Refusal.ALREADY_STARTED]
    assert world.core.state("c") == "RUNNING"
    assert world.core.restarts("c") == 1


@pytest.mark.parametrize("strategy", [Strategy.ONE_FOR_ONE, Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE])
def test_a_child_that_was_made_temporary_while_it_waited_for_its_retry_is_forgotten(strategy: Strategy) -> None:
    world = World(child("c"), child("d"), strategy=strategy, starts={"c": [READY, HANG]}).begin()
    world.die("c")
    changed = ChangeSpecs(world.now, world.request(), world.core.flags, (temporary("c"), child("d")))
    world.tell(world.exit_of("c"), changed)
    assert world.replies[changed.request] == Done()
    assert world.ids() == ["d"]
    assert world.end() is None
