"""The runner as the first process of a PID namespace, forked by the real fork server."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from actors.events import ContainmentChosen, Outcome, Settings, StopRequested
from actors.frames import Ready
from actors.model import Isolation
from supervisor import linux
from supervisor.fork_protocol import ChildExited, Namespace
from supervisor.launcher import Launched, Launcher
from tests.containments import members_of, namespace_of, require_namespaces
from tests.runner.conftest import MakeStage
from tests.runner.harness import SESSION, Stage, sh
from tests.runner.programs import DAEMON, RUNAWAY, STUBBORN, program
from tests.waiting import wait_until


@pytest.fixture
def launcher() -> Iterator[Launcher]:
    """Start a fork server with the runner preloaded, where PID namespaces can be made."""
    require_namespaces()
    made = Launcher.start(("supervisor.runner",))
    yield made
    made.stop()


@pytest.fixture
def stage(launcher: Launcher, make_stage: MakeStage) -> Stage:
    """Return a session of tasks a, b and t whose runner is ready, in a namespace."""
    made = make_stage(tasks=("t", "a", "b"), settings=Settings(isolation=Isolation.NONE, stop_grace=0.5))
    launch(launcher, made, 1)
    return made


def launch(launcher: Launcher, stage: Stage, incarnation: int) -> int:
    """Have the stage's runner forked; return its pid when it is ready."""
    args = {"session": SESSION, "project": str(stage.project), "logs": str(stage.logs), "incarnation": incarnation}
    entry = "supervisor.runner:main"
    stage.link = launcher.launch(
        "runner", incarnation, entry, args, dies_with_server=False, namespace=Namespace.REQUIRED
    )
    launched = wait_until(lambda: next((one for one in launcher.read() if isinstance(one, Launched)), None))
    assert launched is not None
    assert launched.pidfd is not None
    os.close(launched.pidfd)
    stage.frames.clear()
    stage.until(lambda: any(isinstance(frame, Ready) for frame in stage.frames) or None)
    return launched.pid


def wait_for_exit(launcher: Launcher) -> ChildExited:
    """Wait until the fork server tells of an end."""
    exited = wait_until(lambda: next((one for one in launcher.read() if isinstance(one, ChildExited)), None))
    assert exited is not None
    return exited


def runner_of(launcher: Launcher) -> int:
    """Return the runner's pid."""
    (pid,) = linux.children_of(launcher.pid)
    return pid


def test_the_runner_says_what_holds_and_facts_have_the_numbers_that_people_see(
    launcher: Launcher, stage: Stage
) -> None:
    (chosen,) = stage.facts(ContainmentChosen)
    assert chosen.name == "pid_namespace"
    assert "the kernel kills them" in chosen.detail
    pid = stage.started(stage.grant("t", sh("echo $$ > inner; sleep 60"))).pid
    assert psutil.Process(pid).ppid() == runner_of(launcher)
    wait_until(lambda: psutil.Process(pid).cmdline()[:2] == ["/bin/sh", "-c"])
    assert stage.pid_in("inner") != pid
    stage.hang_up()
    assert wait_for_exit(launcher).status == 0


def test_programs_find_themselves_in_proc(stage: Stage) -> None:
    ended = stage.run(sh('read line < /proc/$$/stat; echo "$line"; test -e /proc/self/exe && ! test -e /proc/2000000'))
    assert ended.outcome is Outcome.OK
    pid, name, *_ = stage.log().splitlines()[1].split()
    assert (int(pid) > 1, name) == (True, b"(sh)")


@pytest.mark.parametrize("line", ["kill -9 $PPID", "kill -9 -1", "kill -STOP $PPID"])
def test_a_task_cannot_kill_the_runner(launcher: Launcher, stage: Stage, line: str) -> None:
    pid = runner_of(launcher)
    only_inside = f"test $PPID = 1 && grep -q forkserver /proc/1/cmdline && {{ {line}; true; }}"
    assert stage.ended(stage.grant("a", sh(only_inside), slot=0)).outcome is Outcome.OK
    assert stage.ended(stage.grant("b", sh("true"), slot=1)).outcome is Outcome.OK
    assert linux.is_alive(pid)


@pytest.mark.parametrize(
    "line",
    [
        "exec " + program(STUBBORN, "pid"),
        program(STUBBORN, "pid") + " & " + program(DAEMON, "daemon", env="env -i") + "; wait",
        program(RUNAWAY, "0.005") + "; sleep 60",
    ],
    ids=["stubborn", "unmarked", "runaway"],
)
def test_trees_are_ended_and_reaped_inside_as_outside(launcher: Launcher, stage: Stage, line: str) -> None:
    attempt = stage.grant("t", sh(line))
    stage.started(attempt)
    if "pid" in line:
        stage.pid_in("pid")
    stage.journal(StopRequested("enough"))
    assert stage.ended(attempt).outcome is Outcome.INTERRUPTED
    assert stage.standing_here() == []
    assert linux.children_of(runner_of(launcher)) == ()


@pytest.mark.row("F30")
def test_a_killed_runner_takes_everything_with_it(launcher: Launcher, stage: Stage) -> None:
    stage.grant("a", sh(program(DAEMON, "daemon", env="env -i") + "; " + program(RUNAWAY, "0.001") + "; sleep 60"))
    stage.pid_in("daemon")
    pid = runner_of(launcher)
    namespace = namespace_of(pid)
    assert namespace != namespace_of(os.getpid())
    os.kill(pid, signal.SIGKILL)
    stage.hang_up()
    assert (exited := wait_for_exit(launcher)).status == -signal.SIGKILL
    assert exited.left == ()
    assert members_of(namespace) == []
    launch(launcher, stage, 2)
    ended = stage.ended("a.1")
    assert (ended.outcome, ended.detail) == (Outcome.INTERRUPTED, "the runner died")
    assert len(stage.facts(ContainmentChosen)) == 1  # nothing else holds than before
    assert stage.ended(stage.grant("a", sh("true"), number=2)).outcome is Outcome.OK


def test_a_runner_that_is_alone_ends_its_tasks_and_itself(launcher: Launcher, stage: Stage) -> None:
    stage.grant("a", sh("trap 'echo asked > asked; exit' TERM; touch ready; while :; do sleep 0.01; done"))
    wait_until((stage.project / "ready").exists)
    stage.hang_up()
    assert wait_for_exit(launcher).status == 0
    assert Path(stage.project / "asked").exists()
    assert stage.standing_here() == []
