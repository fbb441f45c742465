"""A child in a PID namespace of its own: what it starts dies with it, and only it is inside."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from actors.model import Containment
from supervisor import ladder, linux
from supervisor.fork_protocol import ChildExited, Namespace
from tests.containments import members_of, namespace_of, require_namespaces
from tests.processes.stage import Stage
from tests.waiting import wait_until

# A mount over a part of /proc, as container engines make, and a user namespace from which it cannot be lifted.
_MASKED = 'mount -t tmpfs none /proc/fs && exec unshare --user --map-root-user --pid --fork "$@"'

_LAUNCH = """\
import json, sys
from supervisor.fork_protocol import LaunchFailed, Namespace
from tests.processes.stage import PUPPETS, Stage
with Stage() as stage:
    if sys.argv[1] == "required":
        link = stage.launcher.launch("one", 1, f"{PUPPETS}:puppet", {}, namespace=Namespace.REQUIRED)
        print(stage.wait_for(LaunchFailed).error)
        link.close()
    else:
        link = stage.launcher.launch("one", 1, f"{PUPPETS}:puppet", {}, namespace=Namespace.WANTED)
        with link:
            link.settimeout(20.0)
            stream = link.makefile("rw")
            stream.readline()
            print("show args", file=stream, flush=True)
            print(stream.readline())
"""


@pytest.fixture
def stage() -> Stage:
    """Return a fork server where PID namespaces can be made."""
    require_namespaces()
    return Stage()


def test_the_child_is_the_first_process_and_known_outside_by_its_own_number(stage: Stage) -> None:
    with stage:
        puppet = stage.launch(namespace=Namespace.REQUIRED, dies_with_server=False)
        assert puppet.ask("show pids") == [1]
        args = puppet.ask("show args")
        assert isinstance(args, dict)
        assert args["namespace"]["refused"] == ""
        assert linux.children_of(stage.launcher.pid) == (puppet.pid,)
        assert psutil.Process(puppet.pid).memory_info().rss > 1 << 20
        signal.pidfd_send_signal(puppet.pidfd, signal.SIGKILL)
        assert stage.wait_for(ChildExited).status == -signal.SIGKILL


def test_it_holds_only_its_link_and_a_look_outside(stage: Stage) -> None:
    with stage:
        shown = stage.launch(namespace=Namespace.WANTED, dies_with_server=False).ask("show descriptors")
        assert isinstance(shown, dict)
        del shown["0"], shown["1"], shown["2"]
        assert sorted(target.partition(":")[0] for target in shown.values()) == ["/proc", "socket"]


@pytest.mark.parametrize("how", ["session", "bare", "fork"])
def test_whatever_it_started_dies_with_it_at_once(stage: Stage, how: str) -> None:
    with stage:
        puppet = stage.launch(namespace=Namespace.REQUIRED, dies_with_server=False)
        inner = puppet.ask_pid(f"forget {how}")
        (left,) = linux.children_of(puppet.pid)
        assert inner != left
        signal.pidfd_send_signal(puppet.pidfd, signal.SIGKILL)
        assert puppet.is_over()
        assert not linux.is_alive(left)
        assert stage.wait_for(ChildExited).left == ()


@pytest.mark.row("F7")
def test_everything_killed_at_once_leaves_nothing(stage: Stage) -> None:
    with stage:
        puppet = stage.launch(namespace=Namespace.REQUIRED, dies_with_server=False)
        puppet.ask_pid("run")
        puppet.ask_pid("forget bare")
        namespace = namespace_of(puppet.pid)
        assert len(members_of(namespace)) > 1
        for pid in (stage.launcher.pid, puppet.pid):
            os.kill(pid, signal.SIGKILL)
        # Nobody of ours looks after them any more: the kernel does.
        wait_until(lambda: not members_of(namespace), 60.0)


def test_children_forked_later_are_outside(stage: Stage) -> None:
    with stage:
        inside = stage.launch(namespace=Namespace.REQUIRED, dies_with_server=False)
        beside = stage.launch("two")
        assert inside.ask("show pids") == [1]
        assert beside.ask("show session") == [beside.pid, beside.pid]
        again = stage.launch("three", namespace=Namespace.REQUIRED, dies_with_server=False)
        assert again.ask("show pids") == [1]


def test_nothing_is_mounted_outside(stage: Stage) -> None:
    before = Path("/proc/self/mountinfo").read_text(encoding="utf-8")
    with stage:
        stage.launch(namespace=Namespace.REQUIRED, dies_with_server=False)
        assert Path("/proc/self/mountinfo").read_text(encoding="utf-8") == before


def _run(*words: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    if "unshare:" in done.stderr or "mount:" in done.stderr:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stderr
    return done.stdout


def _launch_where_forbidden(wish: str) -> str:
    # Root of a user namespace has the capability there, but not in the one that our PID namespace belongs to.
    return _run("unshare", "--user", "--map-root-user", sys.executable, "-c", _LAUNCH, wish)


def test_where_the_kernel_refuses_a_wish_the_child_runs_without_and_knows_why() -> None:
    assert '"refused": "setns(0x20000000): Operation not permitted"' in _launch_where_forbidden("wanted")


def test_where_the_kernel_refuses_what_is_required_nothing_is_started() -> None:
    said = _launch_where_forbidden("required")
    assert said == "no PID namespace can be made: setns(0x20000000): Operation not permitted\n"


def test_where_proc_cannot_be_mounted_there_is_none() -> None:
    words = [sys.executable, "-m", "supervisor.namespaces"]
    assert _run("unshare", "--mount", "sh", "-c", _MASKED, "sh", *words) == "mount(/proc): Operation not permitted\n"


def test_a_namespace_inside_a_namespace_can_be_made(stage: Stage) -> None:
    stage.launcher.stop()
    done = subprocess.run(
        ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-m", "supervisor.namespaces"],
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    assert done.stdout == "\n"


def test_without_the_capability_one_that_was_asked_for_is_refused_with_the_reason_and_a_cure() -> None:
    code = "from supervisor.ladder import *; print(*refusal(Containment.PID_NAMESPACE), sep=chr(10))"
    words = [sys.executable, "-c", code]
    if linux.can_administer():
        words = ["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin", *words]
    done = subprocess.run(words, capture_output=True, text=True, timeout=100, check=True)
    first, *cures = done.stdout.splitlines()
    assert first == "containment: pid_namespace cannot be had: the capability CAP_SYS_ADMIN is missing"
    assert any("root" in cure for cure in cures)
    assert any("containment: auto" in cure for cure in cures)


def test_what_can_be_had_is_not_refused() -> None:
    assert ladder.refusal(Containment.AUTO) == ()
    assert ladder.refusal(Containment.SWEEP) == ()


def test_a_trial_that_ends_without_a_word_is_a_reason_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    assert "ended with status 1, without a word" in ladder.refusal(Containment.PID_NAMESPACE)[0]
