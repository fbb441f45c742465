"""The runner below the real fork server, as the product starts it."""

import os
from collections.abc import Iterator

import pytest

from actors.events import Outcome
from actors.frames import Ready
from supervisor import linux
from supervisor.fork_protocol import ChildExited
from supervisor.launcher import Launched, Launcher
from tests.runner.conftest import MakeStage
from tests.runner.harness import SESSION, Stage, sh
from tests.runner.programs import DAEMON, program
from tests.waiting import wait_until


@pytest.fixture
def launcher() -> Iterator[Launcher]:
    """Start a fork server with the runner preloaded."""
    made = Launcher.start(("supervisor.runner",))
    yield made
    made.stop()


def launch(launcher: Launcher, stage: Stage, incarnation: int) -> Launched:
    """Have the stage's runner forked; return it when it is ready."""
    args = {
        "session": SESSION,
        "project": str(stage.project),
        "logs": str(stage.logs),
        "incarnation": incarnation,
    }
    stage.link = launcher.launch("runner", incarnation, "supervisor.runner:main", args, dies_with_server=False)
    launched = wait_until(lambda: next((one for one in launcher.read() if isinstance(one, Launched)), None))
    assert launched is not None
    if launched.pidfd is not None:
        os.close(launched.pidfd)
    stage.frames.clear()
    stage.until(lambda: any(isinstance(frame, Ready) for frame in stage.frames) or None)
    return launched


def wait_for_exit(launcher: Launcher) -> ChildExited:
    """Wait until the fork server tells of an end."""
    exited = wait_until(lambda: next((one for one in launcher.read() if isinstance(one, ChildExited)), None))
    assert exited is not None
    return exited


def test_tasks_carry_the_mark_of_the_runner_that_the_fork_server_knows(
    launcher: Launcher, make_stage: MakeStage
) -> None:
    stage = make_stage()
    launched = launch(launcher, stage, 1)
    stage.run(sh('echo "$MILESTONED_CHILD"; ls /proc/self/fd | wc -l'))
    assert stage.log().splitlines()[1:] == [launched.mark.encode(), b"4"]
    stage.hang_up()
    exited = wait_for_exit(launcher)
    assert (exited.status, exited.left) == (0, ())


@pytest.mark.row("F30")
def test_the_fork_server_ends_what_a_killed_runner_leaves_and_the_next_one_calls_it_interrupted(
    launcher: Launcher, make_stage: MakeStage
) -> None:
    stage = make_stage()
    launched = launch(launcher, stage, 1)
    attempt = stage.grant("t", sh(program(DAEMON, "daemon", env="env -i") + "; sleep 60"))
    left = [stage.started(attempt).pid, stage.pid_in("daemon")]
    assert linux.kill_by_pidfd(launched.pid, linux.start_ticks(launched.pid) or 0, 9)
    stage.hang_up()
    assert wait_for_exit(launcher).status == -9
    assert not any(linux.is_alive(pid) for pid in left)
    launch(launcher, stage, 2)
    assert stage.ended(attempt).outcome is Outcome.INTERRUPTED
    assert stage.ended(stage.grant("t", sh("true"), number=2)).outcome is Outcome.OK
    stage.hang_up()
    assert wait_for_exit(launcher).status == 0
