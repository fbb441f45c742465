"""Containment by control groups, where this machine lets us have one."""

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.events import Outcome
from supervisor import linux
from supervisor.cgroups import CgroupTrees, delegated_group, group_of
from supervisor.ladder import choose
from tests.runner.conftest import MakeStage
from tests.runner.harness import SESSION, Stage, sh
from tests.runner.programs import DAEMON, RUNAWAY, program
from tests.waiting import wait_until

# Doubles itself six times; then each of the 64 forks and leaves its parent, for at most a minute.
BOMB = """\
import os, time
end = time.monotonic() + 60.0
for _ in range(6):
    if os.fork() == 0:
        os.setsid()
while time.monotonic() < end:
    if os.fork():
        os._exit(0)
    time.sleep(0.05)
"""


@pytest.fixture
def group() -> Iterator[Path]:
    """Make a control group and remove it; skip where that cannot be done."""
    for mount in (Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup")):
        made = mount / f"milestoned-test-{uuid.uuid4().hex[:8]}"
        try:
            made.mkdir()
        except OSError:
            continue
        if (made / "cgroup.kill").exists():
            break
        made.rmdir()
    else:
        pytest.skip("no writable control group of version 2 with cgroup.kill here")
    yield made
    for left in sorted(made.rglob("*/"), reverse=True):
        left.rmdir()
    made.rmdir()


@pytest.fixture
def grouped(group: Path, make_stage: MakeStage) -> Stage:
    """Return a session of tasks a, b and t whose runner uses control groups; it ends before they go."""
    stage = make_stage(tasks=("t", "a", "b"))
    stage.extra = {"cgroup": str(group)}
    stage.start()
    return stage


def test_a_task_runs_in_the_group_of_its_slot(grouped: Stage, group: Path) -> None:
    ended = grouped.ended(grouped.grant("t", sh("cat /proc/self/cgroup; sleep 60 &"), slot=3))
    assert ended.outcome is Outcome.OK
    assert f"/{group.name}/milestoned-{SESSION}/slot-3\n".encode() in grouped.log()
    assert grouped.standing_here() == []


def test_exit_statuses_and_input_come_through_the_entry(grouped: Stage) -> None:
    ended = grouped.run(sh("read word; exit ${#word}", stdin="seven77\n"))
    assert (ended.outcome, ended.code) == (Outcome.FAILED, 7)


@pytest.mark.row("F23")
def test_a_forker_that_doubles_itself_is_ended(grouped: Stage) -> None:
    ended = grouped.run(sh(program(BOMB)), timeout=0.5)
    assert ended.outcome in {Outcome.TIMEOUT, Outcome.OK}
    assert grouped.standing_here() == []
    assert ended.seconds < 30.0


def test_one_without_any_mark_is_known_by_its_group(grouped: Stage) -> None:
    other = grouped.grant("b", sh("sleep 60"), slot=1)
    line = program(DAEMON, "daemon", env="env -i") + "; while ! test -s daemon; do :; done"
    assert grouped.ended(grouped.grant("a", sh(line), slot=0)).outcome is Outcome.OK
    assert not linux.is_alive(grouped.pid_in("daemon"))
    assert linux.is_alive(grouped.started(other).pid)


def test_the_groups_are_gone_when_the_runner_is(grouped: Stage, group: Path) -> None:
    grouped.run(sh(program(RUNAWAY, "0.001")))
    grouped.hang_up()
    assert grouped.runner is not None
    assert grouped.runner.wait(60.0) == 0
    assert [path for path in group.iterdir() if path.is_dir()] == []


@pytest.mark.row("F30")
def test_the_next_incarnation_ends_even_what_has_no_mark(grouped: Stage) -> None:
    attempt = grouped.grant("t", sh(program(DAEMON, "daemon", env="env -i") + "; sleep 60"))
    daemon = grouped.pid_in("daemon")
    grouped.kill_runner()
    assert linux.is_alive(daemon)
    grouped.start(incarnation=2)
    wait_until(lambda: not linux.is_alive(daemon))
    assert grouped.ended(attempt).outcome is Outcome.INTERRUPTED
    grouped.hang_up()


def test_a_group_that_cannot_be_used_leaves_the_subreaper(tmp_path: Path) -> None:
    chosen = choose("s", {"cgroup": str(tmp_path)})
    chosen.trees.close()
    assert chosen.fact.name == "sweep"
    assert f"{tmp_path} cannot be used: " in chosen.fact.detail
    assert list(tmp_path.iterdir()) == []


def test_a_process_whose_group_cannot_be_told_is_no_attempts(tmp_path: Path) -> None:
    root = tmp_path / "milestoned-s"
    root.mkdir()
    (root / "cgroup.kill").touch()
    (root / "cgroup.events").write_text("populated 0\n", encoding="ascii")
    trees = CgroupTrees("s", tmp_path)
    trees.enter("a.1", 0)
    assert trees.owner_of(0) == ""
    trees.close()


def test_a_group_that_nobody_handed_to_us_is_not_used(group: Path) -> None:
    own = group_of(os.getpid())
    (group / "cgroup.procs").write_text(str(os.getpid()), encoding="ascii")
    try:
        assert delegated_group() is None
        try:
            os.setxattr(group, "user.delegate", b"1")
        except OSError:
            os.setxattr(group, "trusted.delegate", b"1")
        assert delegated_group() == group
        trees = choose("s", {}).trees
        assert isinstance(trees, CgroupTrees)
        trees.close()
    finally:
        (group.parent / own.lstrip("/") / "cgroup.procs").write_text(str(os.getpid()), encoding="ascii")
