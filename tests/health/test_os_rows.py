"""Rows P1 to P16 of the conformance table: what operating-system processes add to OTP, with real ones.

Rows that other tests cover bear their mark there.
"""

import ast
import contextlib
import os
import signal
import statistics
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import pytest

from actors.limits import Limit, Limits
from supervisor.core_effects import (
    ChildBackoff,
    ChildRestarting,
    ChildStopping,
    ChildUnkillable,
    EndCause,
    FailedToStart,
)
from supervisor.exits import Crashed, OverLimit, Shutdown, Silent, Unkillable, Unready
from supervisor.linux import is_alive
from supervisor.printout import Printout
from supervisor.spec import Backoff, SupervisorFlags
from tests.families import members_of_group
from tests.health.trees import Tree, spec
from tests.sources import MODULES
from tests.test_architecture import LAYERS
from tests.waiting import wait_until

MIB = 1024**2


@pytest.mark.row("P1", "P2", "P10")
def test_a_dead_child_s_group_is_empty_before_its_replacement_starts(tmp_path: Path) -> None:
    """Deaf grandchildren in its group and in a session of their own, and one that holds its output."""
    note = tmp_path / "note"
    with Tree(tmp_path, spec("c", "litter", "live", args={"note": str(note)})) as tree:
        leader = tree.running("c")
        left = [int(pid) for pid in note.read_text(encoding="ascii").split()]
        assert all(map(is_alive, left))
        assert leader in members_of_group(leader)
        os.kill(leader, signal.SIGKILL)
        tree.running("c", 2)
        assert not any(map(is_alive, left))
        assert not members_of_group(leader)
        assert tree.reasons("c") == [Crashed(signal=signal.SIGKILL)]


@pytest.mark.row("P5", "F2")
def test_a_stopped_child_is_found_by_its_heartbeat_killed_and_counted(tmp_path: Path) -> None:
    with Tree(tmp_path, spec("a", heartbeat_timeout=2.5), spec("b", heartbeat_timeout=15.0)) as tree:
        tree.all_ready()
        kept = tree.running("b")
        os.kill(tree.running("a"), signal.SIGSTOP)
        tree.running("a", 2)
        assert tree.reasons("a") == [Silent(2.5)]
        assert tree.ask(lambda core: (core.restarts("a"), core.restarts("b"))) == (1, 0)
        assert tree.running("b") == kept


@pytest.mark.row("P5", "P6", "F2")
def test_a_child_whose_loop_hangs_is_found_though_a_thread_of_it_lives(tmp_path: Path) -> None:
    note = tmp_path / "note"
    with Tree(tmp_path, spec("c", "stuck", "live", heartbeat_timeout=2.0, args={"note": str(note)})) as tree:
        first = tree.running("c")
        wait_until(lambda: note.exists() and note.read_text(encoding="ascii").count("thread lives") > 1)
        assert is_alive(first)
        tree.running("c", 2)
        assert tree.reasons("c") == [Silent(2.0)]
        assert tree.ask(lambda core: core.restarts("c")) == 1


@pytest.mark.row("P7")
def test_a_child_over_its_soft_limit_of_memory_is_replaced_alone_and_in_order(tmp_path: Path) -> None:
    limits = Limits(memory=Limit(soft=90 * MIB))
    with Tree(tmp_path, spec("a", limits=limits), spec("b", "eat", "live", limits=limits), spec("c")) as tree:
        tree.running("b", 2)
        (reason,) = tree.reasons("b")
        assert isinstance(reason, OverLimit)
        assert reason.what.endswith("MiB of memory, its soft limit is 90 MiB")
        assert [tree.ask(lambda core, one=one: core.restarts(one)) for one in "abc"] == [0, 1, 0]
        assert [one.killed for one in tree.seen(ChildStopping)] == [False]
        wait_until(lambda: set(tree.samples) == {"a", "b", "c"})
        assert is_alive(tree.running("a"))
        assert is_alive(tree.running("c"))


@pytest.mark.row("P7")
def test_a_child_over_its_hard_limit_of_memory_is_killed_though_it_is_deaf(tmp_path: Path) -> None:
    limits = Limits(memory=Limit(hard=90 * MIB))
    with Tree(tmp_path, spec("c", "eat", "live", limits=limits, shutdown=60.0)) as tree:
        tree.running("c", 2)
        (reason,) = tree.reasons("c")
        assert isinstance(reason, OverLimit)
        assert reason.what.endswith("its limit is 90 MiB")
        assert [one.killed for one in tree.seen(ChildStopping)] == [True]


@pytest.mark.row("P9")
def test_a_start_that_never_gets_ready_is_killed_and_has_failed(tmp_path: Path) -> None:
    with Tree(tmp_path, spec("a"), spec("c", "mute", start_timeout=0.5)) as tree:
        end = tree.wait_end()
        assert (end.reason, end.cause) == (FailedToStart("c", Unready(0.5)), EndCause.START_FAILED)
        assert tree.reasons("c") == [Unready(0.5)]
        assert not any(is_alive(pid) for _, pid in tree.pids.values())


@pytest.mark.row("P9")
def test_a_restart_that_never_gets_ready_costs_a_unit_of_the_budget(tmp_path: Path) -> None:
    flags = SupervisorFlags(intensity=2, period=60.0)
    # The first child's start has waited for the fork server to load; the second's is short.
    with Tree(tmp_path, spec("a"), spec("c", "live", "mute", start_timeout=1.0), flags=flags) as tree:
        os.kill(tree.running("c"), signal.SIGKILL)
        end = tree.wait_end()
        assert end.cause is EndCause.INTENSITY
        assert tree.reasons("c") == [Crashed(signal=signal.SIGKILL), Unready(1.0), Unready(1.0)]


@pytest.mark.row("P13")
def test_questions_are_answered_while_a_child_is_restarted_again_and_again(tmp_path: Path) -> None:
    flags = SupervisorFlags(intensity=1_000_000, period=60.0)
    with Tree(tmp_path, spec("a"), spec("c", "live", "crash"), flags=flags) as tree:
        os.kill(tree.running("c"), signal.SIGKILL)
        wait_until(lambda: len(tree.seen(ChildRestarting)) > 20, 60.0)
        waits = []
        for _ in range(50):
            began = monotonic()
            assert len(tree.ask(lambda core: core.which_children())) == 2
            waits.append(monotonic() - began)
        so_far = len(tree.seen(ChildRestarting))
        assert statistics.median(waits) < 10.0
        wait_until(lambda: len(tree.seen(ChildRestarting)) > so_far, message="the storm goes on")


@pytest.mark.row("P14")
def test_a_stop_during_backoff_is_immediate(tmp_path: Path) -> None:
    hour = Backoff(initial=3600.0, maximum=3600.0, jitter=0.0)
    with Tree(tmp_path, spec("c", backoff=hour)) as tree:
        os.kill(tree.running("c"), signal.SIGKILL)
        os.kill(tree.running("c", 2), signal.SIGKILL)
        wait_until(lambda: tree.seen(ChildBackoff))
        began = monotonic()
        tree.stop()
        end = tree.wait_end()
        assert (end.reason, end.cause) == (Shutdown(), EndCause.ASKED)
        assert monotonic() - began < 60.0


def test_a_child_that_ignores_its_order_to_leave_is_killed_after_its_time(tmp_path: Path) -> None:
    with Tree(tmp_path, spec("a"), spec("c", "deaf", shutdown=0.3), spec("d")) as tree:
        tree.all_ready()
        tree.stop()
        tree.wait_end()
        assert [type(reason).__name__ for child in "acd" for reason in tree.reasons(child)] == [
            "Shutdown",
            "Killed",
            "Shutdown",
        ]


@pytest.mark.row("P11", "F20")
def test_a_flood_of_output_stays_within_its_bound_and_blocks_nobody(tmp_path: Path) -> None:
    path = tmp_path / "children.log"
    printout = Printout(path, 256 * 1024)
    with Tree(tmp_path, spec("c", "flood", heartbeat_timeout=15.0), output=printout.descriptor) as tree:
        tree.running("c")
        given_up = wait_until(printout.cut, 60.0, "a megabyte is too much")
        assert given_up > 700 * 1024
        assert path.stat().st_size < 256 * 1024
        written = path.stat().st_size
        wait_until(lambda: path.stat().st_size > written, 60.0, "the child goes on printing to what is left")
        assert path.read_bytes().startswith(b"milestoned: %d bytes were left out here\n" % given_up)
        assert not tree.reasons("c")
    printout.close()


def test_what_children_print_is_kept_whole_below_the_bound(tmp_path: Path) -> None:
    path = tmp_path / "children.log"
    printout = Printout(path)
    os.write(printout.descriptor, b"one\ntwo\n")
    assert printout.cut() == 0
    assert path.read_bytes() == b"one\ntwo\n"
    assert path.stat().st_mode & 0o777 == 0o600
    printout.close()


DECIDING = {
    *(f"supervisor.{name}" for name in ("supervisor_actor", "fleet", "deliveries", "launcher", "links")),
    *(f"supervisor.{name}" for name in ("forkserver", "offspring", "forked", "linux", "sampling", "usage")),
    *(f"supervisor.{name}" for name in ("runner", "attempts", "containment", "cgroups", "task_meters", "steps")),
    *(name for layer in LAYERS.values() for name in layer),
}
"""Modules that decide when a child or a task is started, silent, over a limit, killed or given up."""


@pytest.mark.row("P8", "F15")
@pytest.mark.parametrize("name", sorted(DECIDING))
def test_no_decision_about_a_process_reads_the_wall_clock(name: str) -> None:
    """A jump of an hour moves what these return, and nothing else: whoever does not read it does not notice."""
    wall = {"time.time", "time.time_ns", "time.localtime", "time.gmtime", "datetime.now", "datetime.datetime.now"}
    calls = [ast.unparse(node.func) for node in ast.walk(MODULES[name].tree) if isinstance(node, ast.Call)]
    assert not wall & set(calls)


FREEZER = Path("/sys/fs/cgroup/freezer")


@contextlib.contextmanager
def frozen(pid: int) -> Iterator[None]:
    """Put a process into uninterruptible sleep (state D) meanwhile: SIGKILL takes effect when it is thawed."""
    group = FREEZER / f"milestoned-test-{pid}"
    group.mkdir()
    try:
        (group / "cgroup.procs").write_text(str(pid), encoding="ascii")
        (group / "freezer.state").write_text("FROZEN", encoding="ascii")
        wait_until(lambda: (group / "freezer.state").read_text(encoding="ascii").strip() == "FROZEN")
        yield
    finally:
        (group / "freezer.state").write_text("THAWED", encoding="ascii")
        wait_until(lambda: not (group / "cgroup.procs").read_text(encoding="ascii").strip(), 60.0)
        group.rmdir()


@pytest.mark.row("P15")
@pytest.mark.skipif(
    not os.access(FREEZER, os.W_OK), reason="only the old freezer (cgroup v1, root) makes such a process"
)
def test_an_end_reports_a_child_in_uninterruptible_sleep_and_ends_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("lifecycle", "sequencer"):
        monkeypatch.setattr(f"supervisor.{module}.UNKILLABLE_SECONDS", 1.0)
    with Tree(tmp_path, spec("a"), spec("b", shutdown=0.3), spec("c")) as tree:
        tree.all_ready()
        stuck = tree.running("b")
        with frozen(stuck):
            tree.stop()
            assert tree.wait_end().cause is EndCause.ASKED
            assert [(one.child, one.pid) for one in tree.seen(ChildUnkillable)] == [("b", stuck)]
            assert [tree.reasons(child) for child in "abc"] == [[Shutdown()], [Unkillable(1.0)], [Shutdown()]]
            assert is_alive(stuck)
            assert not is_alive(tree.running("a"))
        wait_until(lambda: not is_alive(stuck), 60.0, "the kill takes effect once it is thawed")
