"""Too much, and of the wrong kind: readers that do not read, floods of output, bytes that are no text."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

from actors.events import AttemptOverLimit, ChildGone, TaskCompleted, TaskFailed
from supervisor.linux import is_alive
from tests.e2e.stage import COMMAND, Project, facts, log_of, milestone_of, waits_for
from tests.waiting import wait_until

ODD: Final = b"\xff\xfe\x00 \xed\xa0\x80 \x1b]0;owned\x07\x1b[2J\x1b[31mred \xc3\xa9 \xe2\x80\xae\r\x08 end"
"""Invalid UTF-8, a NUL, a lone surrogate, a terminal's title, its screen, a colour, a direction, a return."""


@pytest.mark.row("F21")
def test_a_run_whose_output_nobody_reads_does_its_work_all_the_same(project: Project) -> None:
    """The pipe is full long before the end; what is shown waits, what is supervised does not."""
    tasks = {f"t{number:03}": () for number in range(40)}
    project.write("m1", milestone_of(*({"id": task, "run": "true"} for task in tasks)))
    process = subprocess.Popen(
        [*COMMAND, "-C", str(project.path), "run", "m1", "--json", "--isolation", "none"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        pipesize=4096,
    )
    try:
        wait_until(lambda: len(facts(project, TaskCompleted)) == len(tasks), 60.0, "all are completed")
        assert process.poll() is None, "it fitted into the pipe after all"
        out, _ = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0
    lines = [json.loads(line) for line in out.splitlines()]
    assert sum(len(line) for line in out.splitlines()) > 4096
    assert sum(line.get("event") == "TaskCompleted" for line in lines) == len(tasks)
    assert lines[-1]["status"] == "completed"


@pytest.mark.row("F20")
def test_a_task_that_floods_its_log_completes_beside_others_and_a_warning_names_the_log(folder: Project) -> None:
    folder.configure("output_limit: 4MiB\n")
    size = 64 << 20
    folder.write("m1", milestone_of({"id": "loud", "run": f"yes | head -c {size}"}, {"id": "quiet", "run": "true"}))

    done = folder.ctl("run", "m1", "--plain")

    assert done.code == 0, done.out + done.err
    log = log_of(folder, "loud.1")
    assert log.stat().st_size > size, "nothing flooded the log"
    assert facts(folder, ChildGone) == []
    # The last of it may have been written after the last look.
    if over := facts(folder, AttemptOverLimit):
        assert str(log) in over[0].what
        assert log.stat().st_blocks * 512 < size


def _odd_milestone(place: Path) -> str:
    odd = place / "odd"
    odd.write_bytes(ODD * 3 + b"\n" + ODD)
    return milestone_of(
        {"id": "t1", "title": "T\u00e9 \ufdfa", "run": f"cat {odd}; touch \"$(printf 'a\\377b')\"; exit 3"},
        {"id": "t2", "run": f"{waits_for(place / 'go')}; printf 'n\\377\\033[2J' > $(printf 'odd\\377\\033name')"},
    )


def _parsed(out: bytes) -> list[Any]:
    text = out.decode("utf-8")  # or it is no JSON
    found: list[Any]
    try:
        found = [json.loads(text)]
    except json.JSONDecodeError:
        found = [json.loads(line) for line in text.splitlines()]
    json.dumps(found).encode("utf-8")
    return found


@pytest.mark.row("F22")
def test_bytes_that_are_no_text_go_through_a_whole_run_and_every_command_that_shows_it(
    project: Project, place: Path
) -> None:
    """Kept as they are in the log, escaped or taken out where they are shown; JSON is JSON."""
    project.write("m1", _odd_milestone(place))
    (place / "go").touch()
    run = subprocess.run(
        [*COMMAND, "-C", str(project.path), "run", "m1", "--plain"], capture_output=True, check=False, timeout=60
    )

    assert run.returncode == 1, run.stdout + run.stderr
    assert [fact.task for fact in facts(project, TaskFailed)] == ["t1"]
    assert ODD in log_of(project, "t1.1").read_bytes(), "the bytes never came"
    shown = [run.stdout]
    for words in ("status m1", "status m1 --json", "events --json", "tail t1 --json"):
        done = subprocess.run(
            [*COMMAND, "-C", str(project.path), *words.split()],
            capture_output=True,
            check=False,
            timeout=60,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "NO_COLOR": "1"},
        )
        assert b"No such command" not in done.stderr
        assert b"Traceback" not in done.stderr, done.stderr
        shown.append(done.stdout)
        assert not words.endswith("--json") or _parsed(done.stdout), words
    assert not any(b"\x1b]0;" in one or b"\x1b[2J" in one or b"\x00" in one for one in shown)
    for name in ("execution", "blockers", "git", "progress", "dependencies"):
        assert project.lines(name)


# --- a host that stops its own loop --------------------------------------------------------------------------------

HOST: Final = """
import asyncio, sys
import pykka
from supervisor import AsyncSupervisor, ChildSpec

class Own(pykka.ThreadingActor):
    def on_receive(self, message):
        import os
        return os.getpid()

async def main():
    supervisor = AsyncSupervisor([ChildSpec("own", Own), ChildSpec("program", program=["sleep", "1000"])])
    await supervisor.start()
    children = await supervisor.which_children()
    print(await supervisor.ask("own", {}), supervisor.fork_server_pid, *(row.pid for row in children), flush=True)
    asyncio.get_running_loop().stop()
    await asyncio.Event().wait()

if __name__ == "__main__":
    try:
        asyncio.run(main())
    except RuntimeError as error:
        print(error, flush=True)
"""


@pytest.mark.row("F29")
def test_a_host_that_stops_its_own_loop_and_ends_leaves_nothing(tmp_path: Path) -> None:
    script = tmp_path / "service.py"
    script.write_text(HOST, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    lines = done.stdout.splitlines()
    assert lines[1:] == ["Event loop stopped before Future completed."], done.stderr
    pids = [int(pid) for pid in lines[0].split()]
    assert len(pids) == 4
    wait_until(lambda: not any(map(is_alive, pids)), 60.0, "nothing of it lives")
