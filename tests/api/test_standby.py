"""Processes that wait in advance: used at once, replaced in time, gone when nobody needs them, and never counted."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from supervisor import (
    ChildExited,
    ChildRestarting,
    ChildRunning,
    ChildSpec,
    ChildType,
    SpecError,
    StandbyEnded,
    StandbyWaiting,
    Strategy,
    Supervisor,
    SupervisorFlags,
    load_specs,
)
from supervisor.exits import Crashed
from supervisor.linux import children_of, is_alive
from tests.api.stage import CAST, MANY, TIMEOUT, echo, expect, running, who
from tests.api.test_children import nested
from tests.waiting import wait_until


def waiting(supervisor: Supervisor, child: str = "echo", number: int = 1) -> int:
    """Wait until so many processes have waited for a child; return the last one."""
    seen: list[int] = []

    def enough(event: StandbyWaiting) -> bool:
        seen.extend([event.pid] if event.child == child else [])
        return len(seen) == number

    return expect(supervisor, StandbyWaiting, enough).pid


def kill(supervisor: Supervisor, child: str = "echo", number: int = signal.SIGKILL) -> None:
    os.kill(supervisor.which_child(child).pid or 0, number)


def only_child(supervisor: Supervisor) -> bool:
    """Tell whether the fork server has no process but the echo's."""
    return children_of(supervisor.fork_server_pid) == (supervisor.which_child("echo").pid,)


def test_a_crashed_child_is_replaced_by_the_process_that_waited_and_another_one_waits_then() -> None:
    with Supervisor([echo(standby=True), echo("other")], MANY) as supervisor:
        ready = waiting(supervisor)
        assert supervisor.count_children().active == 2
        kill(supervisor)
        assert running(supervisor, "echo", 2).pid == ready
        answer = who(supervisor)
        assert (answer["pid"], answer["incarnation"], answer["name"]) == (ready, 2, "echo")
        assert answer["last_exit"] == "crashed (SIGKILL)"
        following = waiting(supervisor, number=2)
        supervisor.tell("echo", {"do": "raise", "text": "x"})
        assert running(supervisor, "echo", 3).pid == following
        assert [event.attempts for event in supervisor.events(0.0) if isinstance(event, ChildRestarting)] == [1, 2]


def test_the_death_of_one_that_waits_is_told_and_counts_for_nothing() -> None:
    with Supervisor([echo(standby=1)], SupervisorFlags(intensity=0)) as supervisor:
        first = waiting(supervisor)
        os.kill(first, signal.SIGKILL)
        ended = expect(supervisor, StandbyEnded)
        assert (ended.child, ended.pid, ended.reason) == ("echo", first, Crashed(signal=signal.SIGKILL))
        second = waiting(supervisor, number=2)
        assert second != first
        assert who(supervisor)["incarnation"] == 1
        assert not [event for event in supervisor.events(0.0) if isinstance(event, ChildExited | ChildRestarting)]


def test_one_that_was_stopped_is_passed_over_and_replaced() -> None:
    with Supervisor([echo(standby=1)], MANY) as supervisor:
        stopped = waiting(supervisor)
        os.kill(stopped, signal.SIGSTOP)
        wait_until(lambda: "T" in Path(f"/proc/{stopped}/stat").read_text(encoding="ascii").split()[2], TIMEOUT)
        kill(supervisor)
        assert running(supervisor, "echo", 2).pid != stopped
        wait_until(lambda: not is_alive(stopped), TIMEOUT, "it is killed")
        following = waiting(supervisor, number=2)
        kill(supervisor)
        assert running(supervisor, "echo", 3).pid == following


def test_nobody_waits_for_a_child_that_was_stopped_by_hand_until_it_runs_again() -> None:
    with Supervisor([echo(standby=1)], MANY) as supervisor:
        first = waiting(supervisor)
        supervisor.terminate_child("echo")
        wait_until(lambda: not is_alive(first), TIMEOUT, "nobody waits")
        assert supervisor.restart_child("echo").pid != first
        second = waiting(supervisor, number=2)
    assert not is_alive(second)
    assert not [event for event in supervisor.events() if isinstance(event, StandbyEnded)]


def test_who_waits_below_a_supervisor_ends_with_it() -> None:
    with Supervisor([nested("inner", echo(standby=1))], MANY) as supervisor:
        first = waiting(supervisor, "inner/echo")
        supervisor.terminate_child("inner")
        wait_until(lambda: not is_alive(first), TIMEOUT, "nobody waits")


def test_a_group_is_restarted_with_those_who_wait() -> None:
    flags = SupervisorFlags(strategy=Strategy.ONE_FOR_ALL, intensity=5, period=60)
    with Supervisor([echo("a", standby=1), echo("b", standby=1)], flags) as supervisor:
        ready = {child: waiting(supervisor, child) for child in "ab"}
        kill(supervisor, "b")
        assert {child: running(supervisor, child, 2).pid for child in "ab"} == ready


def test_instances_of_a_template_begin_in_those_who_wait_for_it() -> None:
    flags = SupervisorFlags(strategy=Strategy.SIMPLE_ONE_FOR_ONE, intensity=5)
    with Supervisor([nested("pool", echo(standby=2), flags=flags)], MANY) as supervisor:
        pids = {waiting(supervisor, "pool/echo", number) for number in (1, 2)}
        started = [supervisor.start_instance({"name": name}, under="pool") for name in ("one", "two")]
        assert {one.pid for one in started} == pids
        assert who(supervisor, f"pool/{started[1].child}")["name"] == "two"


def test_specs_that_change_and_a_fork_server_that_dies_are_followed() -> None:
    with Supervisor([echo()], MANY) as supervisor:
        supervisor.change_specs([echo(standby=1)], MANY)
        first = waiting(supervisor)
        os.kill(supervisor.fork_server_pid, signal.SIGKILL)
        running(supervisor, "echo", 2)
        assert not is_alive(first)
        second = waiting(supervisor, number=2)
        supervisor.change_specs([echo()], MANY)
        wait_until(lambda: only_child(supervisor), TIMEOUT, "nobody waits")
        assert not is_alive(second)


def test_a_standby_loads_the_module_that_the_server_has_not_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    note = tmp_path / "note"
    text = f"import os, pathlib, pykka\nwith pathlib.Path({str(note)!r}).open('a') as f: print(os.getpid(), file=f)\n"
    (tmp_path / "slow_to_load.py").write_text(
        text + "class Own(pykka.ThreadingActor):\n  def on_receive(self, message): return os.getpid()\n", "utf-8"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with Supervisor([ChildSpec("own", "slow_to_load:Own", standby=1)], MANY, preload=[]) as supervisor:
        ready = waiting(supervisor, "own")
        assert str(ready) in note.read_text(encoding="utf-8").split()
        kill(supervisor, "own")
        running(supervisor, "own", 2)
        assert supervisor.ask("own", {}, timeout=TIMEOUT) == ready


def test_in_strict_mode_nobody_waits() -> None:
    with Supervisor([echo(standby=1)], SupervisorFlags(strict=True, intensity=5)) as supervisor:
        kill(supervisor)
        running(supervisor, "echo", 2)
        wait_until(lambda: only_child(supervisor), TIMEOUT, "nobody waits")


@pytest.mark.parametrize("value", [-1, 1.5, "two", 101, None])
def test_a_number_that_is_none_is_refused(value: Any) -> None:  # noqa: ANN401 - that is the point
    with pytest.raises(SpecError, match=r"standby = .*must be true, false, or a number up to 100"):
        echo(standby=value)


def test_only_actors_and_functions_can_be_ready_in_advance(tmp_path: Path) -> None:
    for fields in ({"program": ["true"]}, {"type": ChildType.SUPERVISOR}):
        with pytest.raises(SpecError, match="only an actor or a function can wait in advance"):
            ChildSpec("child", standby=1, **fields)
    path = tmp_path / "specs.yaml"
    path.write_text(f"children: [{{id: a, target: '{CAST}:Echo', standby: true}}]\n", encoding="utf-8")
    assert load_specs(path).children == (ChildSpec("a", f"{CAST}:Echo", standby=1),)


def test_a_function_can_wait_in_advance_too(tmp_path: Path) -> None:
    spec = ChildSpec("work", f"{CAST}:work", args={"path": str(tmp_path / "work")}, standby=1)
    with Supervisor([spec], MANY) as supervisor:
        ready = waiting(supervisor, "work")
        kill(supervisor, "work")
        assert expect(supervisor, ChildRunning, lambda one: one.incarnation == 2).pid == ready
        wait_until(lambda: (tmp_path / "work").read_text(encoding="utf-8") == "2", TIMEOUT, "it works")
