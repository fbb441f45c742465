"""What a former life has left is judged by its marks: session, project, and who forked it in which boot."""

import itertools
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from actors.failpoints import VARIABLE
from supervisor import linux
from supervisor.environment import PROJECT_MARK, SESSION_MARK
from supervisor.forked import MARK
from supervisor.leases import left_behind
from tests.e2e.stage import Project, fork_server_of, milestone_of, pid_in
from tests.isolation import World
from tests.steps.stops import Stops
from tests.waiting import wait_until

SESSION = "exec-m1-20260101_000000-00000001"
OTHER = "exec-m1-20260101_000000-00000002"


@pytest.fixture
def living() -> Iterator[ExitStack]:
    """End what a test has started."""
    with ExitStack() as stack:
        yield stack


def _process(living: ExitStack, **variables: str) -> int:
    process = subprocess.Popen(["sleep", "600"], env={**os.environ, **variables})
    living.callback(process.wait)
    living.callback(process.kill)
    return process.pid


def _forked_by(pid: int, *, later: int = 0) -> str:
    ticks = linux.start_ticks(pid)
    assert ticks is not None
    return f"{pid}.{ticks + later}"


def test_a_process_of_a_task_is_left_behind_unless_it_is_of_a_project_that_was_copied(
    tmp_path: Path, living: ExitStack
) -> None:
    here, copied = tmp_path / "here", tmp_path / "copied"
    (copied / ".milestones").mkdir(parents=True)
    (copied / ".milestones" / "state.db").touch()
    ours = _process(living, **{SESSION_MARK: SESSION, PROJECT_MARK: str(here)})
    moved = _process(living, **{SESSION_MARK: SESSION, PROJECT_MARK: str(tmp_path / "former-place")})
    _process(living, **{SESSION_MARK: SESSION, PROJECT_MARK: str(copied)})
    _process(living, **{SESSION_MARK: OTHER, PROJECT_MARK: str(here)})
    wait_until(lambda: set(left_behind({SESSION}, str(here))) == {ours, moved}, 60.0, "these two are left behind")


def test_a_program_of_a_role_is_left_behind_when_its_fork_server_is_gone_whoever_has_its_number_now(
    tmp_path: Path, living: ExitStack
) -> None:
    role = f"{SESSION}/git_integration:3"
    server = _process(living)
    _process(living, **{MARK: f"{_forked_by(server)}:{role}"})
    reused = _process(living, **{MARK: f"{_forked_by(server, later=-1)}:{role}"})
    gone = _process(living, **{MARK: f"{2**22 + 1}.5:{role}"})
    _process(living, **{MARK: f"{2**22 + 1}.5:{OTHER}/git_integration:3"})
    wait_until(lambda: set(left_behind({SESSION}, str(tmp_path))) == {reused, gone}, 60.0, "these two are left behind")


SETTING_UP = """\
worktree: {{setup: ["echo $$ > '{place}/set-up.new' && mv '{place}/set-up.new' '{place}/set-up';
  test -e '{place}/go' || sleep 600"]}}
"""


def _setting_up(project: Project, place: Path) -> int:
    """Begin a run whose set-up command does not end; return that one's process id."""
    project.configure(SETTING_UP.format(place=place))
    project.write("m1", milestone_of({"id": "one", "run": "echo one > one.txt"}))
    project.start("run", "m1")
    return pid_in(place / "set-up")


def test_a_set_up_command_of_a_life_that_was_killed_is_ended_before_another_begins(
    project: Project, place: Path, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would go on writing into the worktree of the next attempt."""
    with Stops(world.home / "stops") as stops:
        monkeypatch.setenv(VARIABLE, str(stops.place))
        left = _setting_up(project, place)
        for number, pid in itertools.product((signal.SIGSTOP, signal.SIGKILL), stops.ours()):
            os.kill(pid, number)  # stopped first, so that none of them sees another one's end
        wait_until(lambda: not stops.ours(), 60.0, "nothing of ours lives")
        assert linux.is_alive(left)
        (place / "go").touch()
        done = project.ctl("run", "m1")
    assert done.code == 0, done.out + done.err
    assert not linux.is_alive(left)


def test_a_set_up_command_of_a_role_that_died_with_the_fork_server_is_ended_before_it_is_replaced(
    project: Project, place: Path
) -> None:
    left = _setting_up(project, place)
    (place / "go").touch()
    os.kill(fork_server_of(project.started[0].process.pid), signal.SIGKILL)
    assert project.started[0].wait() == 0, project.started[0].text()
    assert not linux.is_alive(left)
