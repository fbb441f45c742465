"""What else can be a child: functions, programs, and supervisors with children of their own."""

import os
import resource
import signal
import sys
from pathlib import Path

import pytest

from supervisor import (
    BRUTAL_KILL,
    AutoShutdown,
    ChildExited,
    ChildRunning,
    ChildSpec,
    ChildStarting,
    ChildType,
    Crashed,
    EndCause,
    Killed,
    Limit,
    Limits,
    Normal,
    OverLimit,
    ProgramSpec,
    Refusal,
    RefusedError,
    Restart,
    Shutdown,
    Silent,
    SpecError,
    StartError,
    Strategy,
    Supervisor,
    SupervisorFlags,
    SupervisorStopped,
)
from supervisor.linux import is_alive
from tests.api.stage import CAST, MANY, TIMEOUT, echo, expect, running, wait_for_text, who


def nested(name: str, *children: ChildSpec, flags: SupervisorFlags = MANY, **fields: object) -> ChildSpec:
    return ChildSpec(name, type=ChildType.SUPERVISOR, flags=flags, children=children, **fields)  # type: ignore[arg-type]


# --- functions -----------------------------------------------------------------------------------------------------


def test_a_function_runs_in_the_main_thread_until_it_is_ended(tmp_path: Path) -> None:
    path = tmp_path / "work"
    spec = ChildSpec("work", f"{CAST}:work", args={"path": str(path)})
    with Supervisor([spec], MANY) as supervisor:
        first = running(supervisor, "work", 1).pid
        assert wait_for_text(path) == "1"
        os.kill(first or 0, signal.SIGKILL)
        running(supervisor, "work", 2)
        supervisor.terminate_child("work")
        assert expect(supervisor, ChildExited, lambda one: one.incarnation == 2).reason == Shutdown()


@pytest.mark.parametrize(("status", "reason"), [(0, Normal(0)), (9, Crashed(code=9))])
def test_what_a_function_returns_is_its_exit_status(status: int, reason: object) -> None:
    spec = ChildSpec("finish", f"{CAST}:finish", args={"status": status}, restart=Restart.TEMPORARY)
    with Supervisor([spec]) as supervisor:
        assert expect(supervisor, ChildExited).reason == reason


def test_what_a_function_raises_is_the_reason_of_its_end() -> None:
    with Supervisor([ChildSpec("fail", f"{CAST}:fail", restart=Restart.TEMPORARY)]) as supervisor:
        reason = expect(supervisor, ChildExited).reason
        assert isinstance(reason, Crashed)
        assert "ZeroDivisionError: nothing to divide by" in reason.error


def test_a_function_that_declares_it_says_itself_when_it_is_ready_and_alive(tmp_path: Path) -> None:
    path = tmp_path / "prepare"
    spec = ChildSpec("prepare", f"{CAST}:prepare", args={"path": str(path)}, heartbeat_timeout=0.3)
    with Supervisor([spec], MANY) as supervisor:
        assert path.read_text(encoding="utf-8") == "prepared"
        assert expect(supervisor, ChildExited).reason == Silent(0.3)


# --- programs ------------------------------------------------------------------------------------------------------


def test_a_program_is_executed_in_a_session_of_its_own_with_its_output_in_a_file(tmp_path: Path) -> None:
    output = tmp_path / "out"
    session = "cut -d ' ' -f 6 /proc/$$/stat"
    argv = ["sh", "-c", f'echo "$PWD $COLOUR ${{LANG-none}} $({session})"; exec sleep 1000']
    env = {"COLOUR": "red", "LANG": None}
    program = ProgramSpec(argv, cwd=str(tmp_path), env=env, output=str(output))
    with Supervisor([ChildSpec("program", program=program)]) as supervisor:
        pid = supervisor.which_children()[0].pid
        assert wait_for_text(output).split() == [str(tmp_path), "red", "none", str(pid)]
    assert not is_alive(pid or 0)
    assert expect(supervisor, ChildExited).reason == Shutdown()
    assert output.stat().st_mode & 0o777 == 0o600


def test_the_exit_codes_of_success_are_the_programs_own() -> None:
    program = ProgramSpec(["sh", "-c", "exit 3"], success_codes={3})
    with Supervisor([ChildSpec("program", program=program, restart=Restart.TRANSIENT)]) as supervisor:
        assert expect(supervisor, ChildExited).reason == Normal(3)
        assert supervisor.which_children()[0].pid is None
    spec = ChildSpec("program", program=ProgramSpec(["true"], success_codes={3}), restart=Restart.TEMPORARY)
    with Supervisor([spec]) as supervisor:
        assert expect(supervisor, ChildExited).reason == Crashed(code=0)


def test_a_program_that_is_not_there_is_named_at_the_start() -> None:
    with pytest.raises(StartError, match="no-such-program: No such file or directory"):
        Supervisor([ChildSpec("program", program=["no-such-program"])]).start()


def test_a_program_that_ends_before_it_counts_as_started_has_not_started() -> None:
    program = ProgramSpec(["sh", "-c", "exit 5"], start_seconds=30.0)
    with pytest.raises(StartError, match="exit code 5"):
        Supervisor([ChildSpec("program", program=program)]).start()
    with Supervisor([ChildSpec("program", program=ProgramSpec(["sleep", "100"], start_seconds=0.05))]) as supervisor:
        assert expect(supervisor, ChildRunning).took >= 0.05


@pytest.mark.row("F10")
def test_a_program_for_which_no_descriptor_is_left_is_refused_and_the_others_go_on() -> None:
    program = ProgramSpec(["sleep", "1000"], notify=True)
    with Supervisor([echo()]) as supervisor:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        lowest = os.open(os.devnull, os.O_RDONLY)
        os.close(lowest)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
        try:
            with pytest.raises(RefusedError, match="Too many open files"):
                supervisor.start_child(ChildSpec("program", program=program))
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert who(supervisor)["incarnation"] == 1


def test_what_a_program_leaves_behind_ends_with_it(tmp_path: Path) -> None:
    output = tmp_path / "out"
    program = ProgramSpec(["sh", "-c", "setsid sleep 1000 & echo $!; wait"], output=str(output))
    with Supervisor([ChildSpec("program", program=program)]):
        left = int(wait_for_text(output))
        assert is_alive(left)
    assert not is_alive(left)


# --- supervisors ---------------------------------------------------------------------------------------------------


def test_supervisors_stand_in_supervisors_and_are_reached_by_path() -> None:
    tree = nested("outer", echo("a"), nested("inner", echo("b"), echo("c")))
    with Supervisor([tree], MANY) as supervisor:
        assert who(supervisor, "outer/inner/b")["name"] == "b"
        assert [row.id for row in supervisor.which_children(under="outer/inner")] == ["c", "b"]
        assert supervisor.count_children(under="outer").supervisors == 1
        assert supervisor.get_childspec("outer/inner") == tree.children[1]
        supervisor.start_child(echo("d"), under="outer/inner")
        assert who(supervisor, "outer/inner/d")["name"] == "d"
        supervisor.tell("outer/inner/b", {"do": "raise", "text": "x"})
        running(supervisor, "outer/inner/b", 2)
    started = [event.child for event in supervisor.events() if isinstance(event, ChildStarting)]
    assert started[:5] == ["outer", "outer/a", "outer/inner", "outer/inner/b", "outer/inner/c"]
    stopped = [event.supervisor for event in supervisor.events() if isinstance(event, SupervisorStopped)]
    assert stopped == ["outer/inner", "outer", ""]


@pytest.mark.row("30")
def test_a_supervisor_beyond_its_budget_is_started_again_by_the_one_above_with_its_static_children() -> None:
    tree = nested("inner", echo("b"), flags=SupervisorFlags(intensity=0))
    with Supervisor([tree], MANY) as supervisor:
        supervisor.start_child(echo("dynamic"), under="inner")
        supervisor.tell("inner/b", {"do": "raise", "text": "x"})
        ended = expect(supervisor, ChildExited, lambda one: one.child == "inner")
        assert ended.reason == Shutdown()
        running(supervisor, "inner", 2)
        assert [row.id for row in supervisor.which_children(under="inner")] == ["b"]
        assert who(supervisor, "inner/b")["incarnation"] == 2


def test_a_transient_supervisor_beyond_its_budget_is_not_started_again() -> None:
    tree = nested("inner", echo("b"), flags=SupervisorFlags(intensity=0), restart=Restart.TRANSIENT)
    with Supervisor([tree, echo("a")], MANY) as supervisor:
        supervisor.tell("inner/b", {"do": "raise", "text": "x"})
        expect(supervisor, ChildExited, lambda one: one.child == "inner")
        assert who(supervisor, "a")["incarnation"] == 1
        (_, row) = supervisor.which_children()
        assert (row.id, row.restarting) == ("inner", False)
        with pytest.raises(RefusedError, match="no supervisor that runs"):
            supervisor.which_children(under="inner")


def test_a_significant_supervisor_ends_the_one_above() -> None:
    inner = SupervisorFlags(intensity=0)
    tree = nested("inner", echo("b"), flags=inner, restart=Restart.TRANSIENT, significant=True)
    with Supervisor([tree, echo("a")], SupervisorFlags(auto_shutdown=AutoShutdown.ANY_SIGNIFICANT)) as supervisor:
        supervisor.tell("inner/b", {"do": "raise", "text": "x"})
        assert supervisor.wait(TIMEOUT).cause is EndCause.AUTO_SHUTDOWN


def test_a_start_that_fails_below_is_named_above_with_its_cause() -> None:
    tree = nested("inner", echo("b"), ChildSpec("failing", f"{CAST}:Failing"))
    with pytest.raises(StartError, match=r"'inner' failed to start.*'failing' failed.*no such table"):
        Supervisor([tree]).start()


def test_a_killed_supervisor_takes_its_processes_along_and_comes_back() -> None:
    stubborn = ChildSpec("stubborn", f"{CAST}:Stubborn", shutdown=600.0)
    tree = nested("outer", nested("inner", stubborn), shutdown=BRUTAL_KILL)
    with Supervisor([echo("a"), tree], MANY) as supervisor:
        pid = who(supervisor, "outer/inner/stubborn")["pid"]
        supervisor.terminate_child("outer")
        assert not is_alive(pid)
        assert expect(supervisor, ChildExited, lambda one: one.child == "outer").reason == Killed()
        supervisor.restart_child("outer")
        assert who(supervisor, "outer/inner/stubborn")["incarnation"] == 2


def test_instances_are_made_from_a_template() -> None:
    flags = SupervisorFlags(strategy=Strategy.SIMPLE_ONE_FOR_ONE, intensity=10)
    with Supervisor([nested("pool", echo(), flags=flags)], MANY) as supervisor:
        first = supervisor.start_instance({"name": "one"}, under="pool")
        second = supervisor.start_instance({"name": "two"}, under="pool")
        assert first.child != second.child
        assert who(supervisor, f"pool/{second.child}")["name"] == "two"
        supervisor.tell(f"pool/{first.child}", {"do": "raise", "text": "x"})
        running(supervisor, f"pool/{first.child}", 2)
        assert who(supervisor, f"pool/{first.child}")["name"] == "one"
        supervisor.terminate_child(f"pool/{second.child}")
        assert supervisor.count_children(under="pool").active == 1
        with pytest.raises(RefusedError) as refused:
            supervisor.start_instance({})
        assert refused.value.why is Refusal.NOT_SIMPLE
        with pytest.raises(SpecError, match="JSON"):
            supervisor.start_instance({"name": object()}, under="pool")


@pytest.mark.parametrize("strategy", [Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE])
def test_a_group_is_restarted_together(strategy: Strategy) -> None:
    flags = SupervisorFlags(strategy=strategy, intensity=10)
    with Supervisor([echo("a"), echo("b"), echo("c")], flags) as supervisor:
        supervisor.tell("b", {"do": "raise", "text": "x"})
        running(supervisor, "c", 2)
        now = [who(supervisor, name)["incarnation"] for name in "abc"]
        assert now == ([2, 2, 2] if strategy is Strategy.ONE_FOR_ALL else [1, 2, 2])


def test_a_strict_supervisor_is_otp_and_nothing_else() -> None:
    flags = SupervisorFlags(intensity=10, strict=True)
    with Supervisor([echo(heartbeat_timeout=0.05, shutdown=0.1)], flags) as supervisor:
        supervisor.tell("echo", {"do": "hang"})
        assert not [event for event in supervisor.events(0.5) if isinstance(event, ChildExited)]


def test_a_restart_that_fails_is_tried_again_until_the_budget_is_spent() -> None:
    with Supervisor([ChildSpec("flaky", f"{CAST}:Flaky")], SupervisorFlags(intensity=2)) as supervisor:
        os.kill(supervisor.which_children()[0].pid or 0, signal.SIGKILL)
        assert supervisor.wait(TIMEOUT).cause is EndCause.INTENSITY
    exits = [event.reason for event in supervisor.events() if isinstance(event, ChildExited)]
    assert exits[0] == Crashed(signal=9)
    assert len(exits) == 3
    assert all(isinstance(reason, Crashed) and "the table is gone" in reason.error for reason in exits[1:])


def test_a_program_and_its_group_are_asked_to_end_before_they_are_killed(tmp_path: Path) -> None:
    output = tmp_path / "out"
    member = "trap 'echo member; exit 0' TERM; echo up; while :; do sleep 0.01; done"
    script = f'trap "echo leader; wait; exit 0" TERM; sh -c "{member}" & wait'
    with Supervisor([ChildSpec("program", program=ProgramSpec(["sh", "-c", script], output=str(output)))]):
        wait_for_text(output)
    assert {"leader", "member"} <= set(output.read_text(encoding="utf-8").split())


def test_a_stopped_program_can_end_in_order(tmp_path: Path) -> None:
    output = tmp_path / "out"
    script = "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.01; done"
    with Supervisor(
        [ChildSpec("program", program=ProgramSpec(["sh", "-c", script], output=str(output)))]
    ) as supervisor:
        wait_for_text(output)
        os.kill(supervisor.which_children()[0].pid or 0, signal.SIGSTOP)
    assert output.read_text(encoding="utf-8").split()[-1] == "bye"


def test_a_heartbeat_that_is_asked_for_at_run_time_is_kept_at_once() -> None:
    with Supervisor([echo()], MANY) as supervisor:
        supervisor.change_specs([echo(heartbeat_timeout=0.3)], MANY)
        assert not [event for event in supervisor.events(0.7) if isinstance(event, ChildExited)]
        supervisor.tell("echo", {"do": "hang"})
        assert expect(supervisor, ChildExited).reason == Silent(0.3)


NOTIFYING = """
import os, signal, socket, sys
address = os.environ["NOTIFY_SOCKET"].replace("@", "\\0", 1)
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
    for line in sys.argv[1:]:
        notify.sendto(line.encode(), address)
print(os.environ.get("WATCHDOG_USEC"), flush=True)
signal.pause()
"""


def notifying(output: Path, *lines: str) -> ProgramSpec:
    return ProgramSpec([sys.executable, "-c", NOTIFYING, *lines], notify=True, output=str(output))


def test_a_program_says_itself_that_it_is_ready_and_alive(tmp_path: Path) -> None:
    output = tmp_path / "out"
    program = notifying(output, "STATUS=loading", "READY=1\nSTATUS=ready", "WATCHDOG=1")
    with Supervisor([ChildSpec("program", program=program, heartbeat_timeout=0.5)], MANY) as supervisor:
        assert wait_for_text(output) == "500000\n"
        assert expect(supervisor, ChildExited).reason == Silent(0.5)
        running(supervisor, "program", 2)


def test_a_program_that_does_not_say_that_it_is_ready_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/the-hosts-own")
    spec = ChildSpec("program", program=notifying(tmp_path / "out", "STATUS=loading"), start_timeout=0.5)
    with pytest.raises(StartError, match=r"not ready within 0\.5 s"):
        Supervisor([spec]).start()
    output = tmp_path / "other"
    program = ProgramSpec(["sh", "-c", "echo ${NOTIFY_SOCKET-none}; exec sleep 100"], output=str(output))
    with Supervisor([ChildSpec("program", program=program)]):
        assert wait_for_text(output) == "none\n"
    with pytest.raises(SpecError, match="beats by notify alone"):
        ChildSpec("program", program=program, heartbeat_timeout=1.0)


def test_what_uses_too_much_is_ended_for_that_and_comes_back_alone() -> None:
    limits = Limits(memory=Limit(hard=300e6))
    with Supervisor([echo("a", limits=limits), echo("b")], MANY) as supervisor:
        supervisor.tell("a", {"do": "grow", "bytes": 400_000_000})
        reason = expect(supervisor, ChildExited).reason
        assert isinstance(reason, OverLimit)
        assert "memory" in reason.what
        running(supervisor, "a", 2)
        assert who(supervisor, "b")["incarnation"] == 1
