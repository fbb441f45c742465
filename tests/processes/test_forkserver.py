"""The fork server keeps its promises: real forks, real kills, and nothing left behind."""

import os
import signal
import subprocess
import sys
from time import monotonic
from typing import Final

import pytest

from supervisor import linux
from supervisor.fork_protocol import ChildExited
from supervisor.launcher import ServerGone
from tests.processes.stage import PUPPETS, TIMEOUT, Stage, read_line
from tests.waiting import wait_until


def gone(*pids: int) -> bool:
    return not any(linux.is_alive(pid) for pid in pids)


def test_a_launched_child_says_ready_over_its_link_and_its_pidfd_is_quiet() -> None:
    with Stage() as stage:
        puppet = stage.launch(args={"role": "any", "number": 7})
        assert puppet.ask("show args") == {"role": "any", "number": 7}
        assert not puppet.is_over(timeout=0)
        assert linux.children_of(stage.launcher.pid) == (puppet.pid,)


@pytest.mark.row("F1")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGSEGV])
def test_a_killed_child_is_reported_with_the_signal_after_its_pidfd_told_of_it(
    number: signal.Signals,
) -> None:
    with Stage() as stage:
        puppet = stage.launch()
        signal.pidfd_send_signal(puppet.pidfd, number)
        assert puppet.is_over()
        exited = stage.wait_for(ChildExited)
        assert (exited.child, exited.incarnation, exited.pid) == ("one", 1, puppet.pid)
        assert exited.status == -number
        assert exited.left == ()


@pytest.mark.row("F1")
@pytest.mark.parametrize(
    ("line", "status"),
    [("exit 0", 0), ("exit 3", 3), ("exit 255", 255), ("raise it broke", 70), ("leave now", 1)],
)
def test_the_exit_status_is_what_the_entry_ended_with(line: str, status: int) -> None:
    with Stage() as stage:
        stage.launch().tell(line)
        assert stage.wait_for(ChildExited).status == status


def test_an_entry_that_returns_nothing_ends_with_status_0() -> None:
    with Stage() as stage:
        stage.ask_for(f"{PUPPETS}:returns_nothing")
        assert stage.wait_for(ChildExited).status == 0


def test_the_end_of_the_link_ends_a_child_and_so_does_that_of_the_supervising_process() -> None:
    with Stage() as stage:
        puppet = stage.launch()
        puppet.link.close()
        assert stage.wait_for(ChildExited).status == 0


def test_what_a_child_used_is_reported() -> None:
    with Stage() as stage:
        stage.launch().tell("exit 0")
        exited = stage.wait_for(ChildExited)
        assert 0 < exited.cpu_seconds < 60
        assert 1 << 20 < exited.max_rss < 1 << 30


def test_an_entry_that_raises_is_told_in_one_line_that_names_the_place(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with Stage() as stage:
        stage.launch("git_integration", 4).tell("raise two words")
        stage.wait_for(ChildExited)
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("git_integration, started for the 4. time, crashed: RuntimeError: two words (")
    assert "puppets.py:" in lines[0]


@pytest.mark.parametrize("entry", ["tests.processes.nowhere:main", f"{PUPPETS}:nothing", "no module"])
def test_an_entry_that_is_not_there_is_a_crash_told_in_one_line(entry: str, capfd: pytest.CaptureFixture[str]) -> None:
    with Stage() as stage:
        link = stage.ask_for(entry)
        assert stage.wait_for(ChildExited).status == 70
        assert read_line(link) == ""
    assert len(capfd.readouterr().err.splitlines()) == 1


def test_a_child_owns_its_session_and_group_and_begins_with_default_signals() -> None:
    with Stage() as stage:
        puppet = stage.launch()
        assert puppet.ask("show session") == [puppet.pid, puppet.pid]
        assert puppet.ask("show default") is True
        assert puppet.ask("show blocked") == []
        assert puppet.ask("show name") == "one"


def test_a_child_holds_only_its_link_and_the_standard_descriptors() -> None:
    with Stage() as stage:
        stage.launch("other")
        puppet = stage.launch("one")
        shown = puppet.ask("show descriptors")
        assert isinstance(shown, dict)
        assert shown.pop("0") == "/dev/null"
        del shown["1"], shown["2"]
        assert [target.partition(":")[0] for target in shown.values()] == ["socket"]


def test_two_children_do_not_draw_the_same_random_numbers() -> None:
    with Stage() as stage:
        drawn = {stage.launch(str(number)).ask("show random") for number in range(3)}
        assert len(drawn) == 3


def test_the_death_signal_is_armed_only_where_it_was_asked_for() -> None:
    with Stage() as stage:
        assert stage.launch("role").ask("show death signal") == signal.SIGKILL
        assert stage.launch("runner", dies_with_server=False).ask("show death signal") == 0


def test_preloaded_modules_are_there_in_the_child_and_warm_ups_were_called() -> None:
    with Stage(preload=(PUPPETS, "wave"), warm_up=(f"{PUPPETS}:warm",)) as stage:
        modules = stage.launch().ask("show modules")
        assert isinstance(modules, list)
        assert {"wave", "warmed_up"} <= set(modules)
        assert "wave" not in sys.modules


# --- what a dead child leaves behind ---------------------------------------------------------------------


@pytest.mark.row("P1", "P2")
@pytest.mark.parametrize("how", ["group", "session", "bare"])
@pytest.mark.parametrize("verb", ["spawn", "forget"])
def test_what_a_dead_child_left_behind_is_gone_before_its_end_is_reported(verb: str, how: str) -> None:
    with Stage() as stage:
        puppet = stage.launch()
        left = puppet.ask_pid(f"{verb} {how}")
        assert linux.is_alive(left)
        os.kill(puppet.pid, signal.SIGKILL)
        exited = stage.wait_for(ChildExited)
        assert gone(left)
        assert exited.left == ()
        assert linux.children_of(stage.launcher.pid) == ()


def test_what_an_orderly_child_left_behind_is_gone_too() -> None:
    with Stage() as stage:
        puppet = stage.launch()
        left = puppet.ask_pid("spawn session")
        puppet.tell("exit 0")
        assert stage.wait_for(ChildExited).status == 0
        assert gone(left)


@pytest.mark.row("P2", "F30")
def test_the_trees_of_a_dead_runner_are_emptied_however_deep_they_are() -> None:
    with Stage() as stage:
        runner = stage.launch("runner", entry="subreaper", dies_with_server=False)
        tasks = [runner.ask_pid(line) for line in ("spawn session", "spawn bare", "forget session", "spawn group")]
        os.kill(runner.pid, signal.SIGKILL)
        assert stage.wait_for(ChildExited).left == ()
        assert gone(*tasks)


@pytest.mark.row("P2", "F23")
def test_a_program_that_forks_for_ever_does_not_get_away() -> None:
    with Stage() as stage:
        runner = stage.launch("runner", entry="subreaper", dies_with_server=False)
        first = runner.ask_pid("run")
        wait_until(lambda: gone(first), message="the program is in its next generation")
        os.kill(runner.pid, signal.SIGKILL)
        assert stage.wait_for(ChildExited).left == ()
        assert linux.children_of(stage.launcher.pid) == ()


@pytest.mark.parametrize("how", ["group", "session", "fork"])
def test_an_orphan_of_a_living_child_is_spared_when_another_dies(how: str) -> None:
    with Stage() as stage:
        living, dying = stage.launch("living"), stage.launch("dying")
        orphan = living.ask_pid(f"forget {how}")
        assert orphan in linux.children_of(stage.launcher.pid)
        os.kill(dying.pid, signal.SIGKILL)
        stage.wait_for(ChildExited, "dying")
        assert linux.is_alive(orphan)
        os.kill(living.pid, signal.SIGKILL)
        stage.wait_for(ChildExited, "living")
        assert gone(orphan)


def test_an_orphan_that_ends_is_waited_for_though_nobody_asks() -> None:
    with Stage() as stage:
        puppet = stage.launch()
        orphan = puppet.ask_pid("forget session")
        os.kill(orphan, signal.SIGKILL)
        wait_until(lambda: linux.stat_of(orphan) is None, message="no zombie is left")
        assert puppet.ask("show random")


def test_every_program_of_a_child_can_be_found_by_its_mark() -> None:
    with Stage() as stage:
        puppet = stage.launch("role", 5)
        mark = puppet.mark
        assert mark.endswith(":role:5")
        assert puppet.ask("show mark") == mark
        program = puppet.ask_pid("spawn session")
        assert linux.find_marked("MILESTONED_CHILD", mark) == (program,)


# --- who dies, and what happens --------------------------------------------------------------------------


@pytest.mark.row("F4")
def test_children_die_with_the_fork_server_and_the_runner_goes_on() -> None:
    with Stage() as stage:
        roles = [stage.launch(f"role {number}") for number in range(3)]
        stubborn = stage.launch("stubborn", entry="stubborn")
        runner = stage.launch("runner", entry="subreaper", dies_with_server=False)
        os.kill(stage.launcher.pid, signal.SIGKILL)
        assert stage.wait_for(ServerGone).status == -signal.SIGKILL
        assert all(role.is_over() for role in (*roles, stubborn))
        assert runner.ask("show session") == [runner.pid, runner.pid]
        with Stage() as another:
            assert another.launch().ask("show name") == "one"
        assert runner.ask("show name") == "runner"
        runner.tell("exit 0")
        assert runner.is_over()


def test_the_end_of_the_launcher_ends_the_server_and_its_children_and_what_they_started() -> None:
    with Stage() as stage:
        children = [
            stage.launch("role"),
            stage.launch("stubborn", entry="stubborn"),
            stage.launch("runner", entry="subreaper", dies_with_server=False),
        ]
        programs = [children[0].ask_pid("spawn session"), children[2].ask_pid("forget bare")]
        server = linux.pidfd_open(stage.launcher.pid)
        assert server is not None
        stage.close_links()
        stage.launcher.stop()
        os.close(server)
        assert gone(stage.launcher.pid, *(child.pid for child in children), *programs)


@pytest.mark.row("F5")
def test_even_a_runner_that_clings_to_life_ends_within_five_seconds_of_the_launcher() -> None:
    with Stage() as stage:
        runner = stage.launch("runner", entry="stubborn", dies_with_server=False)
        begin = monotonic()
        stage.launcher.stop()
        assert gone(runner.pid, stage.launcher.pid)
        assert 1 < monotonic() - begin < 5 + TIMEOUT / 4


def test_a_hundred_launches_leave_no_descriptor_in_the_fork_server() -> None:
    def count() -> int:
        with os.scandir(f"/proc/{stage.launcher.pid}/fd") as listing:
            return sum(1 for _ in listing)

    with Stage() as stage:
        stage.launch("first").tell("exit 0")
        stage.wait_for(ChildExited, "first")
        before = count()
        for incarnation in range(1, 101):
            stage.launch("one", incarnation).tell("exit 0")
            assert stage.wait_for(ChildExited, "one", incarnation).status == 0
            stage.close_links()
        assert count() == before
        assert linux.children_of(stage.launcher.pid) == ()


def test_a_stopped_child_is_killed_like_any_other() -> None:
    with Stage() as stage:
        puppet = stage.launch()
        program = puppet.ask_pid("spawn session")
        for pid in (puppet.pid, program):
            os.kill(pid, signal.SIGSTOP)
        os.kill(puppet.pid, signal.SIGKILL)
        assert stage.wait_for(ChildExited).status == -signal.SIGKILL
        assert gone(program)


_FOREIGN: Final = """\
import os, selectors, subprocess
import msgspec
from actors.dialogue import DIALOGUE
from supervisor.fleet import Child as Watched, Fleet
from supervisor.fork_protocol import Launch
from supervisor.offspring import Child, Offspring
# No group of its own, as a child that was forked this moment; and of another user, whom nobody may signal.
sleeper = subprocess.Popen(["sleep", "600"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
offspring = Offspring(lambda pid: False)
child = Child(Launch("one", 1, "a:b", msgspec.Raw(b"{}"), True), sleeper.pid, "mark")
offspring.add(child)
with selectors.DefaultSelector() as selector:
    fleet = Fleet(selector, DIALOGUE, (), None)
    watched = Watched("/one", "", "one", 1, None, 1, sleeper.pid, os.pidfd_open(sleeper.pid))
    os.setresuid(65534, 65534, 0)
    offspring.terminate("one", 1)
    offspring.kill(child)
    offspring.disown(sleeper.pid)
    fleet.kill(watched)
    os.setresuid(-1, 0, -1)
    os.setresuid(0, 0, 0)
assert sleeper.poll() is None
sleeper.kill()
sleeper.wait()
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has processes of two users")
def test_a_child_that_changed_its_user_ends_neither_the_fork_server_nor_who_would_kill_it() -> None:
    done = subprocess.run([sys.executable, "-c", _FOREIGN], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
