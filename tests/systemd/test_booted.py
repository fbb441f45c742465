"""The units under a really booted systemd: what it starts, watches, restarts, gives up, contains and ends."""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.events import ContainmentChosen, SessionEnded, SessionResumed, SessionStarted, TaskCompleted, TaskFailed
from supervisor.units import escape_path
from tests.e2e.stage import facts
from tests.systemd.conftest import MakePlace
from tests.systemd.machine import BUILDER, CHECKOUT, Machine
from tests.systemd.threads import hanging, loops_of
from tests.waiting import wait_until

# --- start -----------------------------------------------------------------------------------------------------


def test_a_start_returns_when_the_daemon_is_ready_and_answers(place: MakePlace) -> None:
    there = place()
    there.start()
    assert (there.has("ActiveState"), there.has("StatusText")) == ("active", "no session")
    assert there.answer()["what"] == "milestoned"


def test_a_program_that_never_says_that_it_is_ready_is_ended(place: MakePlace) -> None:
    there = place()
    there.drop_in("[Service]\nExecStart=\nExecStart=/bin/sleep 60\nTimeoutStartSec=200ms\nRestart=no\n", "91.conf")
    assert there.systemctl("start", there.unit, check=False)[0] != 0
    assert (there.has("Result"), there.machine.members(there.unit)) == ("timeout", [])


def test_readiness_is_not_taken_from_a_child(place: MakePlace) -> None:
    there = place()
    child = "[Service]\nExecStart=\nExecStart=/bin/sh -c 'systemd-notify --ready; exec sleep 60'\n"
    there.drop_in(child + "TimeoutStartSec=500ms\nRestart=no\n", "91.conf")
    assert there.systemctl("start", there.unit, check=False)[0] != 0
    assert there.has("Result") == "timeout"


def test_the_service_runs_as_the_owner_of_a_project_with_an_odd_name(place: MakePlace) -> None:
    there = place("odd - 100% 'name' $HOME")
    there.start()
    status = there.machine.run("cat", f"/proc/{there.pid}/status").stdout
    assert re.search(rf"^Uid:\t{BUILDER}\t", status, re.MULTILINE)
    assert there.answer()["project"] == str(there.inside)


def test_one_process_serves_several_projects(place: MakePlace) -> None:
    one, two = place("one", install=False), place("other two", install=False)
    words = ("milestonectl", "service")
    projects = (str(one.inside), str(two.inside), "--together")
    one.machine.run(*words, "install", *projects, "--now")
    assert one.answer()["pid"] == two.answer()["pid"] == int(one.machine.property("milestoned.service", "MainPID"))
    one.machine.run(*words, "uninstall", *projects)
    assert one.machine.members("milestoned.service") == []


def test_a_client_starts_the_daemon_through_its_socket_and_is_answered(place: MakePlace) -> None:
    there = place()
    there.systemctl("start", there.socket_unit)
    found = there.control.stat()
    assert there.has("ActiveState") == "inactive"
    assert (found.st_mode & 0o777, found.st_uid, there.control.parent.stat().st_uid) == (0o600, BUILDER, BUILDER)
    assert there.answer()["what"] == "milestoned"
    there.wait_for("ActiveState", "active")
    there.systemctl("stop", there.unit)
    assert there.answer()["what"] == "milestoned", "the socket outlives the daemon"


def test_a_run_by_hand_does_not_take_the_place_of_an_active_socket_unit(place: MakePlace) -> None:
    there = place()
    there.write("m1", {"id": "a", "run": "true"})
    there.systemctl("start", there.socket_unit)
    run = ["milestonectl", "-C", str(there.inside), "run", "m1"]
    refused = there.machine.run(*run, user="builder", check=False)
    assert (refused.returncode, "milestonectl start" in refused.stderr) == (75, True)
    assert there.has("ActiveState") == "inactive", "nobody was woken by looking"
    assert there.answer()["what"] == "milestoned", "the socket unit still stands in its place"


# --- death, hanging, giving up ---------------------------------------------------------------------------------


@pytest.mark.row("F5")
def test_a_killed_daemon_comes_back_with_its_session(place: MakePlace) -> None:
    there = place()
    there.begin()
    there.signal("KILL")
    there.is_back()
    wait_until(lambda: there.attempts() == 2, 60.0, "the task runs again")
    there.finish()
    assert len(facts(there.project, SessionStarted)) == len(facts(there.project, SessionResumed)) == 1


@pytest.mark.row("F6")
def test_a_stopped_daemon_is_ended_by_the_watchdog_and_comes_back_with_its_session(place: MakePlace) -> None:
    there = place(watchdog="3s")
    there.begin()
    first = there.pid
    there.signal("STOP")
    there.is_back()
    assert there.pid != first
    assert "Watchdog timeout" in there.machine.log(there.unit)
    there.finish()


@pytest.mark.row("F6")
@pytest.mark.parametrize("what", ["main", "loops"])
def test_a_daemon_with_a_hanging_thread_is_ended_by_the_watchdog_and_comes_back(place: MakePlace, what: str) -> None:
    there = place(f"hanging-{what}", watchdog="3s")
    there.begin()
    pid = there.outer_pid()
    with hanging([pid] if what == "main" else loops_of(pid)):
        wait_until(lambda: there.has("ActiveState") != "active", 60.0, "it is being ended")
    there.is_back()
    there.finish()


@pytest.mark.row("F6")
def test_a_daemon_that_works_is_left_alone_by_the_watchdog(place: MakePlace) -> None:
    there = place(watchdog="2s")
    there.begin()
    first = there.pid
    petted = int(there.has("WatchdogTimestampMonotonic"))
    wait_until(lambda: int(there.has("WatchdogTimestampMonotonic")) > petted + 3_000_000, 60.0, "petted all the time")
    assert (there.pid, there.has("NRestarts")) == (first, "0")
    there.finish()


@pytest.mark.row("F3")
def test_a_daemon_that_keeps_dying_is_given_up(place: MakePlace) -> None:
    there = place()
    there.drop_in("[Unit]\nStartLimitIntervalSec=1h\n", "91.conf")  # five starts may take more than a minute here
    there.systemctl("reset-failed", there.unit, check=False)
    there.start()
    for number in range(5):
        there.wait_for("NRestarts", str(number))
        there.wait_for("ActiveState", "active")
        there.signal("KILL")
    there.wait_for("ActiveState", "failed")
    assert "Start request repeated too quickly" in there.machine.log(there.unit)


def test_a_wrong_configuration_is_not_tried_again(place: MakePlace) -> None:
    there = place()
    there.project.configure("max_parallel: many\n")
    assert there.systemctl("start", there.unit, check=False)[0] != 0
    assert (there.has("ActiveState"), there.has("ExecMainStatus"), there.has("NRestarts")) == ("failed", "78", "0")
    assert "milestoned.yaml:1:" in there.machine.log(there.unit)
    assert there.has("StatusText").startswith("refused: the configuration cannot be used: ")


def test_a_project_that_another_process_holds_is_not_tried_again_and_the_holder_is_named(place: MakePlace) -> None:
    there = place()
    holder = ["systemd-run", "--unit=holder", "--property=User=builder", "--property=Type=notify"]
    there.machine.run(*holder, "/opt/milestoned/bin/milestoned", str(there.inside))
    assert there.systemctl("start", there.unit, check=False)[0] != 0
    assert (there.has("ExecMainStatus"), there.has("NRestarts")) == ("75", "0")
    pid = there.machine.property("holder", "MainPID")
    assert f"process {pid} (milestoned)" in there.machine.log(there.unit)
    assert f"held by process {pid} (milestoned)" in there.has("StatusText")
    there.machine.run("systemctl", "stop", "holder")


# --- reload ----------------------------------------------------------------------------------------------------


def test_a_reload_reads_the_configuration_anew_in_the_same_process_or_fails(place: MakePlace) -> None:
    there = place()
    there.start()
    first = there.pid
    there.project.configure("max_parallel: many\n")
    assert there.systemctl("reload", there.unit, check=False)[0] != 0
    assert "milestoned.yaml:1:" in there.machine.log(there.unit)
    there.project.configure("max_parallel: 7\n")
    there.systemctl("reload", there.unit)
    assert (there.pid, there.has("ActiveState")) == (first, "active")
    there.begin()
    assert there.project.fold().settings.max_parallel == 7


@pytest.mark.row("F27")
def test_a_reexecuted_systemd_is_told_as_before(place: MakePlace) -> None:
    there = place(watchdog="5s")
    there.start()
    first = there.pid
    there.systemctl("daemon-reexec")
    wait_until(lambda: there.systemctl("is-active", there.unit, check=False)[0] == 0, 60.0, "systemd is back")
    there.begin()
    there.wait_for("StatusText", "1 session: m1")
    assert (there.pid, there.has("NRestarts")) == (first, "0")


# --- stop ------------------------------------------------------------------------------------------------------


def test_a_stop_is_no_failure_leaves_nothing_and_the_next_start_goes_on(place: MakePlace) -> None:
    there = place()
    there.begin()
    there.systemctl("stop", there.unit)
    assert (there.has("ActiveState"), there.has("Result")) == ("inactive", "success")
    assert there.machine.members(there.unit) == []
    there.start()
    there.finish()


def test_a_stop_waits_for_a_task_that_ignores_term_beyond_its_own_timeout(place: MakePlace) -> None:
    there = place()
    there.drop_in("[Service]\nTimeoutStopSec=1s\n", "91.conf")
    there.project.configure("stop_grace: 3s\n")
    there.write("m1", {"id": "a", "run": "trap '' TERM; while :; do sleep 0.1; done"})
    there.start()
    there.ctl("start", "m1")
    wait_until(lambda: there.attempts() == 1, 60.0, "the task runs")
    began = time.monotonic()
    there.systemctl("stop", there.unit)
    assert time.monotonic() - began >= 2.5, "the task had its grace"
    assert (there.has("Result"), there.machine.members(there.unit)) == ("success", [])
    assert len(facts(there.project, SessionEnded)) == 1


def test_a_stop_of_a_daemon_that_hangs_leaves_nothing_either(place: MakePlace) -> None:
    there = place()
    there.drop_in("[Service]\nTimeoutStopSec=300ms\n", "91.conf")
    there.begin()
    with hanging([there.outer_pid()]):
        there.systemctl("stop", "--no-block", there.unit)
    there.wait_for("ActiveState", "failed")
    assert (there.has("Result"), there.machine.members(there.unit)) == ("timeout", [])


def test_what_an_operator_stopped_stays_stopped_over_a_restart(place: MakePlace) -> None:
    there = place()
    there.begin()
    there.ctl("stop", "m1")
    there.systemctl("restart", there.unit)
    assert there.has("StatusText") == "no session"
    assert len(facts(there.project, SessionResumed)) == 0


# --- containment, sandbox --------------------------------------------------------------------------------------


@pytest.mark.row("F7")
def test_tasks_are_contained_in_groups_that_systemd_hands_over(place: MakePlace) -> None:
    there = place()
    there.begin()
    assert [fact.name for fact in facts(there.project, ContainmentChosen)] == ["cgroup"]
    group = there.machine.group / there.has("ControlGroup").lstrip("/")
    (slot,) = [file.parent for file in group.rglob("slot-*/cgroup.procs") if file.read_text()]
    assert group in slot.parents


def test_a_task_sees_nothing_of_what_systemd_gives_to_the_daemon(place: MakePlace) -> None:
    there = place()
    there.write("m1", {"id": "a", "run": f"env >{there.inside}/variables"})
    there.systemctl("start", there.socket_unit)
    there.start()
    there.ctl("start", "m1")
    wait_until(lambda: facts(there.project, TaskCompleted), 60.0, "the task is completed")
    names = {line.partition("=")[0] for line in (there.path / "variables").read_text().splitlines()}
    denied = {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "INVOCATION_ID"}
    assert names & denied == set()
    assert "HOME" in names


def test_in_the_sandbox_a_task_works_with_git_and_reaches_nothing_else(place: MakePlace) -> None:
    there = place(hardened=True)
    git = "git -c user.name=T -c user.email=t@example.org"
    script = f"cd '{there.inside}' && git init -qb main && {git} commit -q --allow-empty -m first"
    there.machine.run("sh", "-c", script, user="builder")
    there.write(
        "m1",
        {"id": "a", "run": f"git log --oneline | grep first && {git} stash list && seq 3 >made && git add made"},
        {"id": "b", "run": "echo x >/etc/x || echo x >/srv/home/x || echo x >/srv/x"},
        {"id": "c", "run": "unshare --user true"},
    )
    (there.machine.srv / "home" / ".gitconfig").write_text("[user]\nname = B\nemail = b@example.org\n")
    there.start()
    there.ctl("start", "m1")
    wait_until(lambda: len(facts(there.project, SessionEnded)) == 1, 60.0, "the session has ended")
    assert [fact.task for fact in facts(there.project, TaskCompleted)] == ["a"]
    assert sorted({fact.task for fact in facts(there.project, TaskFailed)}) == ["b", "c"]
    landed = there.machine.run("git", "-C", str(there.inside), "show", "milestone/m1:made", user="builder").stdout
    assert landed == "1\n2\n3\n"


def test_the_exposure_of_the_sandbox_is_two_or_better_where_it_runs(place: MakePlace) -> None:
    there = place(hardened=True)
    there.start()
    there.machine.run("systemd-analyze", "security", "--no-pager", "--threshold=20", there.unit)
    status = there.machine.run("cat", f"/proc/{there.pid}/status").stdout
    assert "\nSeccomp:\t2\n" in status
    assert "\nNoNewPrivs:\t1\n" in status
    assert "\nCapBnd:\t0000000000000000\n" in status


# --- installing ------------------------------------------------------------------------------------------------


def test_install_now_starts_the_service_and_uninstall_ends_it(place: MakePlace) -> None:
    there = place("to-install", install=False)
    said = json.loads(there.service("install", "--now", "--json"))
    assert (said["unit"], said["started"]) == (there.unit, True)
    found = json.loads(there.service("status", "--json"))
    assert (found["systemd"]["ActiveState"], found["systemd"]["UnitFileState"]) == ("active", "enabled")
    there.service("uninstall")
    assert there.machine.members(there.unit) == []
    assert there.machine.run("milestonectl", "service", "status", str(there.inside), check=False).returncode == 4
    assert there.machine.run("find", "/etc/systemd/system", "-name", f"{there.unit}*").stdout == ""


def test_install_now_says_why_a_service_does_not_start(place: MakePlace) -> None:
    there = place("to-fail", install=False)
    there.project.configure("max_parallel: many\n")
    done = there.machine.run("milestonectl", "service", "install", str(there.inside), "--now", check=False)
    assert (done.returncode, "journalctl" in done.stderr) == (1, True)
    status = there.machine.run("milestonectl", "service", "status", str(there.inside), check=False)
    assert (status.returncode, "exit-code" in status.stdout) == (3, True)


def test_a_new_version_in_its_place_takes_the_session_over(place: MakePlace) -> None:
    there = place()
    there.begin()
    before = there.answer()["version"]
    upgrade = (
        "cp -a /opt/milestoned /opt/new; cd /opt/new/lib/python3*/site-packages; mkdir milestoned-99.dist-info;"
        " printf 'Metadata-Version: 2.1\\nName: milestoned\\nVersion: 99\\n' >milestoned-99.dist-info/METADATA;"
        " cd /opt; mv milestoned old; mv new milestoned"
    )
    there.machine.run("sh", "-ec", upgrade)
    try:
        assert there.answer()["version"] == before, "the old one goes on meanwhile"
        there.systemctl("restart", there.unit)
        assert there.answer()["version"] == "99"
        there.finish()
    finally:
        there.machine.run("sh", "-ec", "cd /opt; rm -rf milestoned; mv old milestoned")


@pytest.fixture
def of_builder(booted: Machine) -> Iterator[dict[str, str]]:
    """Start the builder's own systemd; yield the variables to reach it."""
    booted.run("install", "-d", "-o", "builder", "-m", "700", "/run/user/1500")
    variables = {"XDG_RUNTIME_DIR": "/run/user/1500", "HOME": "/srv/home"}
    settings = [f"--setenv={name}={value}" for name, value in variables.items()]
    properties = ["--property=User=builder", "--property=Delegate=yes", "--property=Type=notify"]
    booted.run("systemd-run", "--unit=of-builder", *properties, *settings, "/lib/systemd/systemd", "--user")
    yield variables
    booted.run("systemctl", "stop", "of-builder")
    booted.run("rm", "-rf", "/run/user/1500", "/srv/home/.config")


def test_a_users_service_runs_under_the_users_own_systemd(
    place: MakePlace, booted: Machine, of_builder: dict[str, str]
) -> None:
    there = place("of-a-user", install=False)

    def run(*command: str) -> str:
        return booted.run(*command, user="builder", env=of_builder).stdout

    said = run("milestonectl", "service", "install", "--user", "--now", str(there.inside))
    assert f"{there.unit} is enabled and runs." in said
    assert there.answer()["what"] == "milestoned"
    assert "active (running), enabled" in run("milestonectl", "service", "status", "--user", str(there.inside))
    run("milestonectl", "service", "uninstall", "--user", str(there.inside))
    assert booted.run("find", "/srv/home/.config/systemd", "-name", "milestoned*").stdout == ""


def test_a_new_user_gets_from_nothing_to_a_finished_milestone_with_the_commands_of_the_page(
    booted: Machine, of_builder: dict[str, str]
) -> None:
    page = (CHECKOUT / "docs" / "systemd.md").read_text(encoding="utf-8")
    commands = re.findall(r"^\$ (.*)$", page.split("```console\n")[1].split("```")[0], re.MULTILINE)
    assert len(commands) <= 6
    assert ["pip install ~/src/milestoned" in commands[0], "export PATH=" in commands[1]] == [True, True]
    repository = "mkdir /srv/home/new; cd /srv/home/new; git init -qb main; git config user.name N"
    commit = "git config user.email n@example.org; git commit -q --allow-empty -m first"
    unit = f"milestoned@{escape_path(Path('/srv/home/new'))}.service"
    try:
        said = booted.run(
            "bash", "-euc", "\n".join((repository, commit, *commands[2:])), user="builder", env=of_builder
        )
        assert 'SessionEnded  {"status": "completed"' in said.stdout
        log = booted.run("git", "-C", "/srv/home/new", "log", "--oneline", "milestone/milestone-001", user="builder")
        assert len(log.stdout.splitlines()) == 17
    finally:
        booted.run("systemctl", "--user", "disable", "--now", unit, user="builder", env=of_builder, check=False)
        booted.run("rm", "-rf", "/srv/home/new", "/srv/home/.cache")
