"""Whoever is killed, whenever: the same run ends the same way (design, section 3, "who dies, and what happens").

Each case kills one process once, by SIGKILL, at a moment of the journal that a seeded random number names. The seed
is printed; `MILESTONED_TEST_SEED` repeats a run.
"""

import os
import random
import signal
import subprocess
from typing import Final

import pytest

from actors.events import ChildGone, ChildReady, TaskCompleted
from actors.state import ROLES
from tests.e2e.stage import (
    Project,
    Running,
    assert_done_once,
    assert_files_written,
    assert_nothing_lives,
    contents_of,
    facts,
    fork_server_of,
    log_of,
    pids_of_children,
)
from tests.repositories import git
from tests.waiting import wait_until

SEED: Final = int(os.environ.get("MILESTONED_TEST_SEED") or random.SystemRandom().randrange(2**32))

TASKS: Final = {
    "lay-out": (),
    "numbers": ("lay-out",),
    "letters": ("lay-out",),
    "words": ("lay-out",),
    "sum": ("numbers",),
    "upper": ("letters",),
    "sorted": ("words",),
    "zipped": ("numbers", "letters"),
    "table": ("sum", "upper"),
    "digest": ("sorted", "zipped"),
    "index": ("table", "digest"),
    "notes": ("index",),
}
"""Twelve tasks and what each depends on."""

COMMANDS: Final = {
    "lay-out": "mkdir -p out && echo begin > out/begin",
    "numbers": "python3 -c 'print(*range(200), sep=chr(10))' > out/numbers && sleep 0.1",
    "letters": "python3 -c 'import string; print(*string.ascii_lowercase, sep=chr(10))' > out/letters && sleep 0.1",
    "words": "python3 -c 'import keyword; print(*keyword.kwlist, sep=chr(10))' > out/words && sleep 0.1",
    "sum": "awk '{s += $1} END {print s}' out/numbers > out/sum && sleep 0.1",
    "upper": "tr a-z A-Z < out/letters > out/upper",
    "sorted": "sort -r out/words > out/sorted && sleep 0.1",
    "zipped": "paste out/numbers out/letters > out/zipped",
    "table": "cat out/sum out/upper > out/table && sleep 0.1",
    "digest": "sha256sum out/sorted out/zipped > out/digest",
    "index": "ls out > out/index && sleep 0.1",
    "notes": "git log --format=%s > out/notes",
}

MILESTONE: Final = "id: m1\ntitle: Twelve\ntasks:\n" + "".join(
    f"  - id: {task}\n    title: Make {task}\n    depends_on: [{', '.join(needed)}]\n"
    f"    run: |\n      echo making {task}\n      {COMMANDS[task]}\n"
    for task, needed in TASKS.items()
)


def _moment(victim: str) -> int:
    """Return a seq from the very first moments of the run, when not all children have come up, until near its end."""
    chance = random.Random(f"{SEED}/{victim}")
    moment = chance.randint(2, 55)
    print(f"seed {SEED}: {victim} is killed once the journal has {moment} events")  # noqa: T201 - repeats a failure
    return moment


def _victim(running: Running, name: str) -> int:
    return fork_server_of(running.process.pid) if name == "fork_server" else _child(running, name)


def _child(running: Running, name: str) -> int:
    return wait_until(
        lambda: pids_of_children(running.project.records()).get(name, 0),
        60.0,
        f"{name} is ready for the first time",
    )


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Return what the tasks make, path -> content: their commands, one after the other, with nothing of ours around."""
    folder = tmp_path_factory.mktemp("by-hand")
    for task in TASKS:
        if task != "notes":
            subprocess.run(["/bin/sh", "-c", COMMANDS[task]], cwd=folder, check=True, stdin=subprocess.DEVNULL)
    return {f"out/{file.name}": file.read_bytes() for file in (folder / "out").iterdir()}


def _assert_changed_as(project: Project, expected: dict[str, bytes]) -> None:
    """Assert that the branch has what the tasks make, byte by byte, and nothing else.

    Only the order of the commits is free, which the last task writes down as it found it.
    """
    found = contents_of(project, "milestone/m1")
    notes = found.pop("out/notes").decode().splitlines()
    begin = contents_of(project, "main")
    assert found == {**begin, **expected}
    assert notes == git(project.path, "log", "--format=%s", "milestone/m1").splitlines()[1:]
    assert {name: project.path.joinpath(name).read_bytes() for name in begin} == begin


def _assert_logged(project: Project) -> None:
    """Assert that each task's last attempt, the one that completed it, has its whole output in its own file."""
    completed = {event.task: event.attempt for event in facts(project, TaskCompleted)}
    for task, attempt in completed.items():
        said, *output = log_of(project, attempt).read_text(encoding="utf-8").splitlines()
        assert said.startswith(f"$ run: echo making {task}")
        assert output == [f"making {task}"]


def _assert_ended_well(project: Project, pids: list[int], expected: dict[str, bytes]) -> None:
    assert_done_once(project, "m1", TASKS)
    _assert_changed_as(project, expected)
    _assert_logged(project)
    assert_files_written(project)
    assert project.session_json()["status"] == "completed"
    assert_nothing_lives(project, pids)


@pytest.mark.row("F1", "F4", "F30")
@pytest.mark.parametrize("victim", [*ROLES, "runner", "fork_server"])
def test_the_run_goes_on_when_one_process_is_killed(project: Project, victim: str, expected: dict[str, bytes]) -> None:
    """Failed roles are recovered; the runner's attempts are interrupted and run again; nothing is done twice."""
    project.write("m1", MILESTONE)
    running = project.start("run", "m1", "-j", "3")
    running.wait_for_seq(_moment(victim))
    pid = _victim(running, victim)
    known = list(pids_of_children(project.records()).values())

    os.kill(pid, signal.SIGKILL)

    assert running.wait() == 0, running.text()
    gone = facts(project, ChildGone)
    children = [fact.child for fact in gone]
    if victim == "fork_server":
        # All its roles; fewer when it died before they had come up, and whoever was just being started beside them.
        assert children, running.text()
    else:
        assert children == [victim], running.text()
    assert len(set(children)) == len(children)
    last = {fact.child: fact.incarnation for fact in facts(project, ChildReady)}
    assert all(last[fact.child] > fact.incarnation for fact in gone)
    assert last.keys() == {*ROLES, "runner"}
    _assert_ended_well(project, known, expected)


@pytest.mark.row("P4", "F5")
def test_the_run_itself_is_killed_and_started_again(project: Project, expected: dict[str, bytes]) -> None:
    """The runner ends the tasks and the roles go; the next run takes the session up and finishes it."""
    project.write("m1", MILESTONE)
    running = project.start("run", "m1", "-j", "3")
    running.wait_for_seq(_moment("run"))
    known = [*pids_of_children(project.records()).values(), fork_server_of(running.process.pid)]

    running.kill()

    assert_nothing_lives(project, known)
    session = project.session()
    done = project.ctl("run", "m1", "-j", "3")
    assert done.code == 0, running.text() + done.out + done.err
    assert project.session() == session
    _assert_ended_well(project, known, expected)


@pytest.mark.row("P5", "F2")
def test_a_stopped_role_is_found_silent_and_replaced(project: Project, expected: dict[str, bytes]) -> None:
    """A process that lives but does not answer is killed by its heartbeat deadline."""
    project.write("m1", MILESTONE)
    running = project.start("run", "m1", "-j", "3")
    running.wait_for_seq(14)
    pid = _child(running, "git_integration")

    os.kill(pid, signal.SIGSTOP)

    assert running.wait() == 0, running.text()
    assert "Git Integration ended: no heartbeat for 5 s" in running.text()
    _assert_ended_well(project, [pid], expected)
