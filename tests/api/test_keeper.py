"""The keeper by itself, without processes: what a supervisor's books and its own say of the same children."""

import selectors
from concurrent.futures import Future

from supervisor import ChildSpec, ProgramSpec, Restart, Strategy, SupervisorFlags
from supervisor.branch import SPARE, Branch, Place
from supervisor.core import Core
from supervisor.core_effects import Publish
from supervisor.core_events import Begin, Event, Exited, Ready, Spawned, StartInstance
from supervisor.exits import Normal
from supervisor.keeper import Keeper, Tree
from supervisor.kept_child import KeptChild
from supervisor.sequence import Phase


def unstarted(flags: SupervisorFlags, *specs: ChildSpec) -> Keeper:
    """Return a keeper without a thread; what is to be done in it is done by who tests."""
    return Keeper(Tree(flags, specs, (), None, lambda _: None, lambda: None, lambda *_: None))


def test_what_a_killed_supervisor_still_asks_for_is_not_done_to_who_has_its_place() -> None:
    flags = SupervisorFlags()
    keeper = unstarted(flags)
    former, present, below = (Branch(keeper, Place(), flags, (), {}) for _ in range(3))
    keeper._branches.update({"": present, "one": below})
    try:
        keeper.set_tick(present, 1.0)
        former.tick_at(2.0)
        former.kill("one", 1)
        former.ask_to_stop("one", 1)
        keeper._loop.run_calls()
        assert [mono for mono, _ in keeper._loop._alarms.values()] == [1.0]
        assert not below.dropped
        assert below.query(lambda core: core.phase).result(60.0) is Phase.NEW
    finally:
        for branch in (former, present, below):
            branch.drop("it is over")
        keeper.disband()


def test_of_an_incarnation_that_could_not_be_killed_nothing_is_held_once_another_has_its_place() -> None:
    flags, spec = SupervisorFlags(), ChildSpec("one", program=ProgramSpec(["true"], notify=True))
    keeper = unstarted(flags, spec)
    branch = keeper._branches[""] = Branch(keeper, Place(), flags, (spec,), {})
    before = len(keeper._loop.selector.get_map())
    try:
        former = keeper._kept["one"] = KeptChild(branch, spec, 1)
        former.prepare(None, lambda _: None)
        assert former.notify is not None
        keeper._loop.selector.register(former.notify, selectors.EVENT_READ, former.notify)
        question = former.asks[1] = Future[object]()
        keeper.spawn(branch, spec, 2, None)  # for which there is no fork server here
        assert (len(keeper._loop.selector.get_map()), former.notify.fileno()) == (before, -1)
        assert "left behind" in str(question.exception(0))
    finally:
        branch.drop("it is over")
        keeper.disband()


def test_of_children_that_are_no_more_nothing_is_kept() -> None:
    """A service that starts one for each request runs for years."""
    flags = SupervisorFlags(strategy=Strategy.SIMPLE_ONE_FOR_ONE)
    template = ChildSpec("job", "os:getpid", restart=Restart.TEMPORARY)
    keeper = unstarted(flags, template)
    branch = Branch(keeper, Place(), flags, (template,), {})
    keeper._branches[""] = branch
    core = Core(flags, (template,))

    def handle(event: Event) -> None:
        for effect in core.handle(event):
            if isinstance(effect, Publish):
                branch.published(effect.event, core)
        keeper._loop.run_calls()

    handle(Begin(0.0))
    try:
        for number in range(1, 10 * SPARE):
            name = f"job#{number}"
            keeper._numbers.setdefault("", {})[name] = 1
            keeper._numbers[f"{name}/below"] = {"one": 1}  # it might have been a supervisor
            handle(StartInstance(0.0, number))
            handle(Spawned(0.0, name, 1, number))
            handle(Ready(0.0, name, 1))
            if number > 2:  # the others go on
                handle(Exited(0.0, name, 1, Normal()))
        assert {"job#1", "job#2"} < keeper._numbers[""].keys()
        assert len(keeper._numbers[""]) <= 2 * 2 + SPARE + 1
        assert len(keeper._numbers) <= 2 * 2 + SPARE + 2
        keeper._forget_branch(branch)
        assert keeper._numbers == {"": {}}
    finally:
        branch.drop("it is over")
        keeper.disband()
