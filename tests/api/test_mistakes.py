"""What is called with a wrong type is told so, with what would be right, before anything has changed."""

import asyncio
import contextlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pykka
import pytest

from supervisor import (
    BRUTAL_KILL,
    AnswerError,
    AsyncSupervisor,
    ChildExited,
    ChildSpec,
    ChildType,
    Crashed,
    EndCause,
    MessageError,
    MilestoneRun,
    NotRunningError,
    ProgramSpec,
    RefusedError,
    Restart,
    SpecError,
    Strategy,
    SupervisionError,
    Supervisor,
    SupervisorFailed,
    SupervisorFlags,
)
from tests.api import cast
from tests.api.cast import Echo, Misreading, finish, give_up, misread
from tests.api.stage import CAST, MANY, TIMEOUT, echo, expect, who
from tests.api.test_children import nested
from tests.waiting import wait_until

POOL = SupervisorFlags(strategy=Strategy.SIMPLE_ONE_FOR_ONE, intensity=10)

REQUESTS: list[tuple[str, tuple[Any, ...], dict[str, Any], str]] = [
    ("start_instance", (3,), {"under": "pool"}, "instance: args = 3: must be a dict: arguments by their names"),
    ("start_instance", ("x",), {"under": "pool"}, "args = 'x': must be a dict"),
    ("start_instance", ([],), {"under": "pool"}, r"args = \[\]: must be a dict"),
    ("start_instance", (None,), {"under": "pool"}, "args = None: must be a dict"),
    ("change_specs", ([], {"intensity": 3}), {}, r"flags = \{'intensity': 3\}: must be SupervisorFlags, as in"),
    ("change_specs", (ChildSpec("a", Echo), MANY), {}, "children = ChildSpec.*: must be a list of ChildSpec"),
    ("change_specs", ([("a", Echo)], MANY), {}, r"children\[0\] = \('a', .*: must be a ChildSpec, as in"),
    ("start_child", (Echo,), {}, "start_child: spec = <class .*: must be a ChildSpec, as in"),
    ("start_child", (echo("b"),), {"under": 3}, "under = 3: must be a path"),
    ("terminate_child", (3,), {}, "child = 3: must be a path"),
    ("restart_child", (None,), {}, "child = None: must be a path"),
    ("delete_child", (b"echo",), {}, "child = b'echo': must be a path"),
    ("which_child", (3,), {}, "child = 3: must be a path"),
    ("get_childspec", ([],), {}, r"child = \[\]: must be a path"),
    ("which_children", (), {"under": None}, "under = None: must be a path"),
    ("count_children", (), {"under": 3}, "under = 3: must be a path"),
    ("ask", (3, "x"), {}, "child = 3: must be a path"),
]


def test_a_request_of_a_wrong_type_is_refused_and_changes_nothing() -> None:
    tree = [echo(), nested("pool", echo(), flags=POOL)]
    with Supervisor(tree, MANY) as supervisor:
        before = who(supervisor)["pid"]
        for verb, args, more, why in REQUESTS:
            with pytest.raises(SpecError, match=why):
                getattr(supervisor, verb)(*args, **more)
        with pytest.raises(SpecError, match="child = 3: must be a path"):
            supervisor.tell(3, "x")  # type: ignore[arg-type]
        assert who(supervisor)["pid"] == before
        assert supervisor.start_instance({"name": "one"}, under="pool").running
    assert not any(isinstance(event, SupervisorFailed) for event in supervisor.events())


def test_a_request_of_a_wrong_type_is_refused_from_asyncio_too() -> None:
    async def main() -> None:
        async with AsyncSupervisor([echo(), nested("pool", echo(), flags=POOL)], MANY) as supervisor:
            for verb, args, more, why in REQUESTS:
                with pytest.raises(SpecError, match=why):
                    await getattr(supervisor, verb)(*args, **more)
            assert await supervisor.ask("echo", "x", timeout=TIMEOUT) == "x"

    asyncio.run(main())


@pytest.mark.parametrize(
    ("children", "flags", "why"),
    [
        ([echo()], {"intensity": 3}, r"supervisor: flags = \{'intensity': 3\}: must be SupervisorFlags, as in"),
        ([Echo], MANY, r"supervisor: children\[0\] = <class .*: must be a ChildSpec, as in"),
        ([("a", Echo)], MANY, r"children\[0\] = \('a', .*: must be a ChildSpec, as in"),
        (echo(), MANY, r"children = ChildSpec.*: must be a list of ChildSpec"),
        ({"a": Echo}, MANY, r"children = \{'a': .*: must be a list of ChildSpec"),
        (3, MANY, "children = 3: must be a list of ChildSpec"),
    ],
)
def test_a_supervisor_of_what_are_no_specs_or_no_flags_is_refused(children: Any, flags: Any, why: str) -> None:  # noqa: ANN401 - whatever it is
    with pytest.raises(SpecError, match=why):
        Supervisor(children, flags)


def test_while_a_supervisor_ends_of_itself_nothing_else_is_said_of_its_children() -> None:
    said: set[str] = set()

    def is_over(supervisor: Supervisor) -> bool:
        for call in (lambda: supervisor.ask("echo", "x", TIMEOUT), lambda: supervisor.which_child("echo")):
            try:
                call()
            except NotRunningError:
                return True
            except SupervisionError as error:
                said.add(str(error))
        return False

    with Supervisor([echo()], SupervisorFlags(intensity=0)) as supervisor:
        supervisor.tell("echo", {"do": "exit", "code": 3})
        wait_until(lambda: is_over(supervisor), TIMEOUT, "it has ended")
    unfit = [one for one in said if "no actor" in one or "''" in one or "no supervisor" in one]
    assert unfit == []


@pytest.mark.parametrize(
    ("target", "error", "shown"),
    [
        (Misreading, "JSONDecodeError: Expecting property name", "in misread"),
        (misread, "JSONDecodeError: Expecting property name", "in misread"),
        (give_up, "SystemExit: bad config", "bad config"),
    ],
)
def test_a_crash_is_told_with_the_users_own_line_and_shown_with_its_traceback(
    target: Callable[[], None], error: str, shown: str, tmp_path: Path
) -> None:
    with (tmp_path / "output").open("wb") as output, Supervisor(output=output.fileno()) as supervisor:
        with contextlib.suppress(RefusedError):
            supervisor.start_child(ChildSpec("child", target, restart=Restart.TEMPORARY))
        reason = expect(supervisor, ChildExited).reason
    assert isinstance(reason, Crashed)
    assert reason.error.startswith(error)
    assert f"({cast.__file__}:" in reason.error
    printed = (tmp_path / "output").read_text(encoding="utf-8")
    assert shown in printed
    assert "actors/" not in printed


def test_what_is_no_plain_value_is_refused_on_every_way_with_its_place() -> None:
    with pytest.raises(SpecError, match=r"'echo': args = .*: \['note'\]\[0\]: nan has no form in JSON$"):
        Supervisor([echo(args={"note": [float("nan")]})])
    with Supervisor([echo()]) as supervisor:
        with pytest.raises(MessageError, match=r"\['x'\]: b'ab' is of type bytes"):
            supervisor.ask("echo", {"x": b"ab"})
        with pytest.raises(MessageError, match="the key 1 is of type int"):
            supervisor.tell("echo", {1: 2})
        with pytest.raises(AnswerError, match=r"answered .* with what is no plain value: .*is of type .*lock"):
            supervisor.ask("echo", {"do": "unsendable"}, TIMEOUT)


def test_a_spent_budget_is_told_with_the_child_and_why_it_ended_last() -> None:
    once = SupervisorFlags(intensity=0)
    with Supervisor([nested("inner", echo(), flags=once)], once) as supervisor:
        supervisor.tell("inner/echo", {"do": "exit", "code": 3})
        end = supervisor.wait(TIMEOUT)
    assert end.cause is EndCause.INTENSITY
    assert end.detail == "child 'inner': child 'inner/echo': crashed (exit code 3)"
    with pytest.raises(NotRunningError, match=re.escape(f"has ended: restart budget exceeded: {end.detail}")):
        supervisor.ask("inner/echo", "x")


def wrong(value: object) -> Any:  # noqa: ANN401 - whatever it is
    """Return what a type checker would have refused."""
    return value


async def waits(_: object = None) -> None:
    """Be awaited by nobody."""


class NoActor:
    """Is no actor."""


class Awaited(pykka.ThreadingActor):
    """Would have to be awaited."""

    async def on_receive(self, message: object) -> object:
        return message


LAMBDA: Any = lambda: None  # noqa: E731 - which has no name that another process could import


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: Supervisor(output=wrong("/dev/null")), "output = '/dev/null': must be the number of a descriptor"),
        (lambda: Supervisor(preload="json"), "preload = 'json': must be a list of names of modules"),
        (lambda: Supervisor(preload=wrong([cast])), "preload = .*: must be a list of names of modules"),
        (lambda: Supervisor(on_event=wrong(3)), "on_event = 3: must be a function, or None"),
        (lambda: Supervisor(on_event=waits), "on_event = .*: must be no async def"),
        (
            lambda: Supervisor([ChildSpec("a", waits)]),
            "child 'a': target = .* is an async def, which nobody",
        ),
        (lambda: Supervisor([ChildSpec("a", NoActor)]), "child 'a': target = .* is a class, and no pykka actor"),
        (lambda: Supervisor([ChildSpec("a", Awaited)]), "child 'a': target = .* has an async on_receive, which nobody"),
        (lambda: MilestoneRun(".", "m").retry(wrong(3)), "milestone run: task = 3: must be the id of a task"),
        (lambda: MilestoneRun(".", "m").skip(wrong(None)), "milestone run: task = None: must be the id of a task"),
        (lambda: ChildSpec("a", Echo, args=wrong([1])), r"child 'a': args = \[1\]: must be a dict"),
        (
            lambda: ChildSpec("s", children=[echo()]),
            "child 's': target = '': is needed, .* type=ChildType.SUP",
        ),
        (
            lambda: ChildSpec("s", type=ChildType.SUPERVISOR, flags=wrong({})),
            "child 's': flags = {}: must be SupervisorFlags",
        ),
        (
            lambda: ChildSpec("s", type=ChildType.SUPERVISOR, children=wrong(3)),
            "child 's': children = 3: must be a list",
        ),
        (lambda: ChildSpec("a", LAMBDA), "child 'a': target = '<lambda>'"),
        (lambda: ChildSpec("a", program=[]), r"child 'a': argv = \(\): must be a list of texts"),
        (lambda: ChildSpec("a", program={"argv": ["x"], "cwd": 3}), "child 'a': cwd = 3: must be a path"),
        (
            lambda: ChildSpec("a", program={"argv": ["x"], "redy_line": "up"}),
            "child 'a': program = .*: there is no field 'redy_line'; there are: argv, .*ready_line",
        ),
        (lambda: ChildSpec("a", program=wrong({"argv": ["x"], 3: 4})), "child 'a': program = .*: there is no field 3;"),
        (lambda: ProgramSpec(wrong(3)), "program: argv = 3: must be a list of texts"),
        (lambda: ProgramSpec(["x"], env=wrong(["A"])), "env = .*: must be a dict"),
        (lambda: ProgramSpec(["x"], success_codes=wrong(3)), "success_codes = 3: must be a list of numbers"),
        (lambda: Supervisor().wait(wrong("3")), "request: timeout = '3': must be seconds, or None"),
        (lambda: Supervisor().stop(float("inf")), "timeout = inf: must be seconds, or None"),
        (
            lambda: MilestoneRun(".", "m", max_parallel=wrong("4")),
            "milestone run: max_parallel = '4': must be a number",
        ),
        (lambda: MilestoneRun(".", wrong(3)), "milestone = 3: must be the id of a milestone, a text"),
        (lambda: MilestoneRun(".", "m", config=wrong(3)), "config = 3: must be the path of a configuration file"),
        (lambda: MilestoneRun("a\0b", "m"), "project = .*: must be the path of the directory"),
        (lambda: MilestoneRun(wrong(3), "m"), "project = 3: must be the path of the directory"),
        (lambda: MilestoneRun(".", "m", fail_fast=wrong("yes")), "fail_fast = 'yes': must be true or false"),
        (lambda: MilestoneRun(".", "m", on_event=wrong(3)), "milestone run: on_event = 3: must be a function"),
    ],
)
def test_an_argument_of_a_wrong_type_is_named_with_what_it_must_be(make: Callable[[], Any], why: str) -> None:
    with pytest.raises(SpecError, match=why):
        make()


def test_a_path_may_be_one() -> None:
    program = ProgramSpec([Path("/bin/true")], cwd=Path("/tmp"), output=Path("/dev/null"))
    assert (program.argv, program.cwd, program.output) == (("/bin/true",), "/tmp", "/dev/null")


@pytest.mark.parametrize("returned", ["oops", 300, True])
def test_a_function_that_returns_no_exit_status_has_crashed(returned: Any) -> None:  # noqa: ANN401 - whatever it is
    spec = ChildSpec("child", finish, args={"status": returned}, restart=Restart.TEMPORARY)
    with Supervisor([spec]) as supervisor:
        reason = expect(supervisor, ChildExited).reason
    assert isinstance(reason, Crashed)
    assert f"finish returned {returned!r}: must be None, or an exit status, 0 to 255" in reason.error


def test_who_waits_too_short_is_told_for_what() -> None:
    with Supervisor() as supervisor:
        with pytest.raises(TimeoutError, match=r"^the supervisor still runs after 0\.01 s$"):
            supervisor.wait(0.01)
        slow = ChildSpec("slow", f"{CAST}:never_ready", shutdown=BRUTAL_KILL)
        with pytest.raises(TimeoutError, match=r"^no answer to start_child after 0\.01 s$"):
            supervisor.start_child(slow, timeout=0.01)
