"""What tasks see of the world around the runner."""

from pathlib import Path

from supervisor.environment import is_denied
from tests.runner.conftest import MakeStage
from tests.runner.harness import SESSION, Stage, sh

FROM_OUTSIDE = {
    "GIT_DIR": "/somewhere/.git",
    "GIT_INDEX_FILE": "/somewhere/index",
    "NOTIFY_SOCKET": "/run/notify",
    "LISTEN_FDS": "1",
    "LISTEN_PID": "1",
    "WATCHDOG_USEC": "1000000",
    "MILESTONED_SESSION": "another",
    "INVOCATION_ID": "abc",
    "OLDPWD": "/elsewhere",
    "KEPT": "as it is",
    "VIRTUAL_ENV": "/venv",
}


def environment(stage: Stage, *, env: tuple[tuple[str, str], ...] = ()) -> dict[str, str]:
    """Run a task that writes its environment down; return it."""
    stage.ended(stage.grant("t", sh("cat /proc/self/environ > seen"), env=env))
    seen = (stage.project / "seen").read_text(encoding="utf-8")
    return dict(entry.split("=", 1) for entry in seen.split("\0") if entry)


def test_variables_that_are_not_the_tasks_business_do_not_reach_it(make_stage: MakeStage) -> None:
    stage = make_stage()
    stage.start(env=FROM_OUTSIDE)
    seen = environment(stage)
    assert [name for name in seen if is_denied(name) and not name.startswith("MILESTONED_")] == []
    assert (seen["KEPT"], seen["VIRTUAL_ENV"]) == ("as it is", "/venv")


def test_a_task_knows_who_it_is(make_stage: MakeStage) -> None:
    stage = make_stage()
    stage.start(env=FROM_OUTSIDE)
    seen = environment(stage)
    assert {name: value for name, value in seen.items() if name.startswith("MILESTONED_")} == {
        "MILESTONED_SESSION": SESSION,
        "MILESTONED_ATTEMPT": "t.1",
        "MILESTONED_PROJECT": str(stage.project),
    }
    assert (seen["MILESTONE_ID"], seen["TASK_ID"], seen["TASK_ATTEMPT"]) == ("m", "t", "1")
    assert seen["PWD"] == str(stage.project)


def test_a_tasks_own_variables_win_except_over_the_marks(stage: Stage) -> None:
    own = (
        ("HOME", "/own"),
        ("GIT_AUTHOR_NAME", "Task"),
        ("MILESTONED_ATTEMPT", "forged"),
        ("TASK_ID", "forged"),
    )
    seen = environment(stage, env=own)
    assert (seen["HOME"], seen["GIT_AUTHOR_NAME"]) == ("/own", "Task")
    assert (seen["MILESTONED_ATTEMPT"], seen["TASK_ID"]) == ("t.1", "t")


def test_a_task_has_only_its_three_descriptors(stage: Stage) -> None:
    stage.run(sh("ls /proc/self/fd > descriptors"))
    # The fourth is that of the listing itself.
    assert (stage.project / "descriptors").read_text(encoding="ascii").split() == ["0", "1", "2", "3"]


def test_a_task_leads_a_session_of_its_own(stage: Stage) -> None:
    stage.run(sh("cut -d' ' -f5,6 /proc/$$/stat > ids; echo $$ >> ids"))
    group_session, pid = (stage.project / "ids").read_text(encoding="ascii").splitlines()
    assert group_session == f"{pid} {pid}"


def test_signals_are_neither_ignored_nor_blocked_in_a_task(stage: Stage) -> None:
    stage.run(sh("exec grep -E '^Sig(Blk|Ign):' /proc/self/status"))
    masks = [int(line.split()[1], 16) for line in stage.log().splitlines()[1:]]
    # 32 and 33 belong to the C library, which lets no program change what was inherited for them.
    reserved = 1 << 31 | 1 << 32
    assert [mask & ~reserved for mask in masks] == [0, 0]


def test_tasks_stand_in_the_project(stage: Stage) -> None:
    stage.run(sh("pwd -P"))
    assert Path(stage.log().splitlines()[1].decode()) == stage.project
