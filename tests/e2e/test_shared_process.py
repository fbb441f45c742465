"""One process with two supervisors, a milestone, and actors and children of its own: nobody touches another."""

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import psutil
import pykka
import pytest

from actors.events import AttemptStarted
from supervisor import ChildReport, MilestoneRun, Supervisor
from tests.api.cast import Echo
from tests.api.stage import MANY, echo, running, who
from tests.api.test_hosts import state_of_the_host
from tests.e2e.stage import Project, assert_done_once, milestone_of, waits_for
from tests.waiting import wait_until

SECONDS: Final = 60.0
ROLE: Final = "progress_monitor"


def role(run: MilestoneRun) -> ChildReport:
    return next(one for one in run.status().roles if one.role == ROLE)


@pytest.fixture
def own_child() -> Iterator["subprocess.Popen[bytes]"]:
    """Start a process that is the host's alone."""
    with subprocess.Popen(["sleep", "1000"], stdin=subprocess.DEVNULL) as child:
        yield child
        child.kill()


def test_supervisors_a_milestone_and_actors_of_the_host_go_through_crash_restart_and_stop_untouched_by_each_other(
    project: Project, place: Path, own_child: "subprocess.Popen[bytes]"
) -> None:
    gate = place / "gate"
    project.write("m1", milestone_of({"id": "a", "run": f"{waits_for(gate)}; echo 1 > a.txt"}))
    before, threads = state_of_the_host(), set(threading.enumerate())
    own = Echo.start("of the host")
    one, other, run = Supervisor([echo("a")], MANY), Supervisor([echo("a")], MANY), MilestoneRun(project.path, "m1")
    with one, other, run:
        next(happened for happened in run.events() if isinstance(happened.event, AttemptStarted))
        assert pykka.ActorRegistry.get_all() == [own]

        one.tell("a", {"do": "raise", "text": "a child of the first"})
        running(one, "a", 2)
        assert (who(other, "a")["incarnation"], role(run).restarts) == (1, 0)

        former = role(run).pid
        assert former is not None
        os.kill(former, signal.SIGKILL)
        wait_until(lambda: role(run).pid not in {None, former}, SECONDS, "the role is there again")
        assert (who(one, "a")["incarnation"], who(other, "a")["incarnation"]) == (2, 1)

        pykka.ActorRegistry.stop_all()
        assert not own.is_alive()
        own = Echo.start("of the host, again")
        other.stop()
        assert (who(one, "a")["incarnation"], own.is_alive(), own_child.poll()) == (2, True, None)
        assert state_of_the_host() == before

        gate.touch()
        assert run.wait(SECONDS).is_completed
        assert who(one, "a")["incarnation"] == 2
    assert own.is_alive()
    own.stop()
    assert state_of_the_host() == before
    assert set(threading.enumerate()) == threads
    assert [each.pid for each in psutil.Process().children(recursive=True)] == [own_child.pid]
    assert_done_once(project, "m1", {"a": ()})
