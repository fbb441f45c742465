"""A project with milestones, and `milestonectl` in processes of its own, for end-to-end tests.

Owns starting, watching and reading; refuses to look inside the product: what it asserts is what a user can see, or
what the journal says.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

from attrs import field, frozen

from actors.events import AttemptStarted, ChildReady, Event, Record, SessionResumed, TaskCompleted
from actors.state import ROLES, SessionState
from actors.surroundings import slots_directory
from supervisor.environment import SESSION_MARK
from supervisor.journal_reader import JournalReader
from supervisor.linux import find_marked, is_alive
from tests.repositories import git
from tests.waiting import wait_until

COMMAND: Final = (sys.executable, "-m", "supervisor.cli")

T = TypeVar("T")

GONE_SECONDS: Final = 30.0
"""Seconds after which nothing of a session may live once its supervising process is gone."""


@frozen
class Done:
    """A command that has ended."""

    code: int
    out: str
    err: str


@frozen
class Project:
    """A project directory.

    Attributes:
        path: The directory.
        started: What :meth:`start` started, for who cleans up.
    """

    path: Path
    started: "list[Running]" = field(factory=list, repr=False)

    def write(self, milestone_id: str, text: str) -> Path:
        """Write an active milestone file."""
        target = self.path / ".milestones" / "active" / f"{milestone_id}.yaml"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
        return target

    def configure(self, text: str) -> None:
        """Write the project's configuration."""
        target = self.path / ".milestones" / "config" / "milestoned.yaml"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")

    def ctl(self, *words: str, timeout: float = 180.0, env: Mapping[str, str] | None = None) -> Done:
        """Run `milestonectl` to its end."""
        done = subprocess.run(
            [*COMMAND, "-C", str(self.path), *words],
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            stdin=subprocess.DEVNULL,
            env=None if env is None else {**os.environ, **env},
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def daemon(self, *words: str, env: Mapping[str, str] | None = None) -> "Running":
        """Start `milestoned` for this project and go on; it listens when its control socket is there."""
        command = [sys.executable, "-m", "supervisor.daemon", str(self.path), *words]
        return self._spawn(command, env={**os.environ, **(env or {})})

    def start(self, *words: str, terminal: int | None = None, stdout: int | None = None) -> "Running":
        """Start `milestonectl` and go on.

        Args:
            words: What follows the command's name.
            terminal: Descriptor of a terminal, to be its controlling one and all three of its streams.
            stdout: Descriptor for its standard output, instead of the file.
        """
        return self._spawn([*COMMAND, "-C", str(self.path), *words], terminal, stdout)

    def _spawn(
        self,
        command: list[str],
        terminal: int | None = None,
        stdout: int | None = None,
        env: Mapping[str, str] | None = None,
    ) -> "Running":
        output = self.path.parent / f"output-{len(list(self.path.parent.glob('output-*')))}.txt"
        if terminal is not None:
            command = ["setsid", "--ctty", *command]
        with output.open("wb") as sink:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL if terminal is None else terminal,
                stdout=next(stream for stream in (terminal, stdout, sink) if stream is not None),
                stderr=sink if terminal is None else terminal,
                start_new_session=terminal is None,
                env=env,
            )
        running = Running(self, process, output)
        self.started.append(running)
        return running

    def end_all(self) -> None:
        """Kill what a failed test left running, and wait for it."""
        for running in self.started:
            if running.process.poll() is None:
                running.kill()

    def records(self) -> list[tuple[Record, Event]]:
        """Read the journal; empty before there is one."""
        database = self.path / ".milestones" / "state.db"
        if not database.exists():
            return []
        with JournalReader.open(database) as journal:
            return [(record, record.event()) for record in journal.records()]

    def last_seq(self) -> int:
        """Return the journal's last seq, 0 before there is one."""
        database = self.path / ".milestones" / "state.db"
        if not database.exists():
            return 0
        with JournalReader.open(database) as journal:
            return journal.last_seq

    def fold(self) -> SessionState:
        """Fold the latest session."""
        records = self.records()
        state = SessionState()
        for record, event in records:
            if record.session == records[-1][0].session:
                state.apply(record, event)
        return state

    def session(self) -> str:
        """Return the id of the latest session."""
        return self.records()[-1][0].session

    def session_json(self) -> dict[str, Any]:
        """Read the latest session's `session.json`."""
        path = self.path / ".milestones" / "sessions" / self.session() / "session.json"
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return content

    def lines(self, name: str) -> list[dict[str, Any]]:
        """Read one of the latest session's JSONL files."""
        path = self.path / ".milestones" / "logs" / self.session() / f"{name}.jsonl"
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]

    def commits(self, branch: str, base: str = "main") -> list[dict[str, str]]:
        """Return subject and trailers of the commits of a branch, oldest first."""
        keys = ("Milestone", "Task", "Session")
        trailers = "%x1f".join(f"%(trailers:key={key},valueonly,separator=%x2c)" for key in keys)
        text = git(self.path, "log", "--reverse", f"--format=%H%x1f%s%x1f{trailers}%x1e", f"{base}..{branch}")
        entries = [entry.strip("\n").split("\x1f") for entry in text.split("\x1e") if entry.strip("\n")]
        return [dict(zip(("sha", "subject", *keys), entry, strict=True)) for entry in entries]


@frozen
class Running:
    """A `milestonectl` that runs."""

    project: Project
    process: subprocess.Popen[bytes]
    output: Path

    def text(self) -> str:
        """Return what it has printed so far."""
        return self.output.read_text(encoding="utf-8", errors="replace")

    def wait(self, timeout: float = 180.0) -> int:
        """Wait for its end and return its exit code."""
        return self.process.wait(timeout)

    def wait_for_seq(self, seq: int) -> None:
        """Wait until the journal has come so far, or the process has ended."""
        wait_until(
            lambda: self.project.last_seq() >= seq or self.process.poll() is not None,
            60.0,
            f"journal at {seq}",
        )

    @contextlib.contextmanager
    def standing_still(self) -> Iterator[None]:
        """Have the process stand still: whatever is done to its files meanwhile is done at once, as far as it sees."""
        self.process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)  # with all its threads
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """Kill the process itself, nothing else."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(60.0)


def pids_of_children(records: list[tuple[Record, Event]]) -> dict[str, int]:
    """Return the latest pid of each child by id."""
    return {event.child: event.pid for _, event in records if type(event).__name__ == "ChildReady"}  # type: ignore[union-attr]


def fork_server_of(pid: int) -> int:
    """Return the fork server below a supervising process, its only child, once there is one."""

    def find() -> int:
        for task in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError):  # the thread has ended meanwhile
                for child in (task / "children").read_text(encoding="ascii").split():
                    return int(child)
        return 0

    return wait_until(find, 60.0, f"process {pid} has a child")


def assert_nothing_lives(project: Project, pids: Iterator[int] | list[int]) -> None:
    """Assert that, in time, no process of the session's tasks and none of these lives."""
    session = project.session()
    known = list(pids)
    wait_until(
        lambda: not find_marked(SESSION_MARK, session) and not any(is_alive(pid) for pid in known),
        GONE_SECONDS,
        "nothing of the session lives",
    )


def assert_done_once(project: Project, milestone_id: str, tasks: Mapping[str, tuple[str, ...]]) -> None:
    """Assert what holds of every completed run, however it went.

    One commit for each task and no other, with the three trailers, in an order that respects the dependencies; each
    task reported completed once and never started again after that; nothing started before what it depends on; the
    output of each attempt that completed kept; no worktree left.

    Args:
        project: The project.
        milestone_id: The milestone.
        tasks: What each task depends on.
    """
    commits = project.commits(f"milestone/{milestone_id}")
    assert Counter(commit["Task"] for commit in commits) == Counter(list(tasks))
    assert {commit["Milestone"] for commit in commits} == {milestone_id}
    assert {commit["Session"] for commit in commits} == {project.session()}
    landed = [commit["Task"] for commit in commits]
    for task, needed in tasks.items():
        assert all(landed.index(before) < landed.index(task) for before in needed), (task, landed)
    completed: dict[str, str] = {}
    for _, event in project.records():
        match event:
            case AttemptStarted(attempt=attempt):
                task = attempt.rpartition(".")[0]
                assert task not in completed, f"{task} was started after it was completed"
                assert set(tasks[task]) <= completed.keys(), f"{task} was started before {tasks[task]}"
            case TaskCompleted(task=task, attempt=attempt):
                assert task not in completed, f"{task} was completed twice"
                completed[task] = attempt
            case _:
                pass
    assert completed.keys() == set(tasks)
    assert all(log_of(project, attempt).is_file() for attempt in completed.values())
    assert_no_slots(project, milestone_id)


def log_of(project: Project, attempt: str) -> Path:
    """Return where the output of an attempt of the latest session is."""
    return project.path / ".milestones" / "logs" / project.session() / "tasks" / f"{attempt}.log"


def slots_of(project: Project) -> Path:
    """Return the directory that has the worktree slots of a project."""
    return Path(slots_directory(str(project.path), project.fold().settings.slots_directory)).resolve()


def worktrees(project: Project) -> list[Path]:
    """Return all worktrees that git knows of, the user's own first."""
    lines = git(project.path, "worktree", "list", "--porcelain").splitlines()
    return [Path(line.removeprefix("worktree ")) for line in lines if line.startswith("worktree ")]


def assert_no_slots(project: Project, milestone_id: str) -> None:
    """Assert that git knows of no worktree but the user's and that the cache directory has nothing of the milestone."""
    cache = slots_of(project)
    assert not [path for path in worktrees(project) if path.is_relative_to(cache)]
    assert not [path.name for path in cache.glob(f"{milestone_id}-*")]


def contents_of(project: Project, branch: str) -> dict[str, bytes]:
    """Return the files of a branch: path -> content."""
    names = git(project.path, "ls-tree", "-r", "--name-only", branch).splitlines()
    show = ["git", "-C", str(project.path), "cat-file", "blob"]
    return {name: subprocess.run([*show, f"{branch}:{name}"], capture_output=True, check=True).stdout for name in names}


def assert_files_written(project: Project) -> None:
    """Assert that the latest session left its five JSONL files, with each seq once and in order."""
    for name in ("execution", "progress", "git", "dependencies", "blockers"):
        lines = project.lines(name)
        seqs = [line["seq"] for line in lines]
        assert seqs == sorted(set(seqs)), name
        assert all(line["session_id"] == project.session() for line in lines)
    agents = project.path / ".milestones" / "sessions" / project.session() / "agents"
    # What a killed writer has left under a temporary name is written over by the next.
    assert {path.stem for path in agents.iterdir() if not path.name.startswith(".")} == set(ROLES)


STUBBORN: Final = """\
setsid sh -c 'trap "" TERM; echo $$ > "$0/daemon"; while :; do sleep 1; done' '{place}' &
sh -c 'echo $$ > "$0/stopped"; kill -STOP $$; sleep 60' '{place}' &
trap "" TERM
echo $$ > '{place}/leader'
while :; do sleep 1; done
"""
"""Shell lines whose processes are hard to end: a daemon of its own session, a stopped one, all deaf to TERM."""

STUBBORN_NAMES: Final = ("daemon", "stopped", "leader")
"""Files that :data:`STUBBORN` writes its pids to."""

COUNT_LIVING: Final = """\
for file in '{place}'/daemon '{place}'/stopped '{place}'/leader; do
  grep -qs '^State:.[^ZX]' "/proc/$(cat "$file")/status" && echo "$file" >> '{place}/living'
done
"""
"""Shell lines that write down which of these processes live."""


def milestone_of(*tasks: Mapping[str, object], **keys: object) -> str:
    """Return the text of milestone ``m1``; tasks without a title get their id for one."""
    entries = "".join(f"  - {json.dumps({'title': task['id'], **task})}\n" for task in tasks)
    more = "".join(f"{key}: {json.dumps(value)}\n" for key, value in keys.items())
    return f"id: m1\ntitle: One\n{more}tasks:\n{entries}"


def pid_in(path: Path) -> int:
    """Return the pid that a task writes to a file, once it has."""
    return wait_until(lambda: int(path.read_text() or 0) if path.exists() else 0, 60.0, f"a pid in {path.name}")


def ready_pid(project: Project, child: str, incarnation: int = 1) -> int:
    """Return the pid of an incarnation of a child, once it is ready."""

    def find() -> int:
        return next(
            (
                event.pid
                for _, event in project.records()
                if isinstance(event, ChildReady) and (event.child, event.incarnation) == (child, incarnation)
            ),
            0,
        )

    return wait_until(find, 60.0, f"{child} is ready for the {incarnation}. time")


def waits_for(gate: Path) -> str:
    """Return a shell line that ends when the file is there."""
    return f"until test -e '{gate}'; do sleep 0.02; done"


def start_waiting(project: Project, gate: Path) -> Running:
    """Start a run of `m1`, whose only task `t1` waits for the gate, then writes the file `one`."""
    project.write("m1", milestone_of({"id": "t1", "run": f"{waits_for(gate)}; echo 1 > one"}))
    return project.start("run", "m1")


def stubborn_task(place: Path) -> str:
    """Return a task's script: hard to end at first; quick once `go` is there, and then it notes who lives."""
    place.mkdir(exist_ok=True)
    count = COUNT_LIVING.format(place=place)
    again = f"if test -e '{place}/go'; then\n{count}echo done > {place.name}.txt\nexit 0\nfi\n"
    return again + STUBBORN.format(place=place)


def stubborn_pids(place: Path) -> list[int]:
    """Return the pids of a stubborn task, once it has started them all."""
    return [pid_in(place / name) for name in STUBBORN_NAMES]


def assert_resumes(project: Project, gate: Path, tasks: Mapping[str, tuple[str, ...]]) -> None:
    """Open the gate and assert that the next run takes the same session up and completes it."""
    session = project.session()
    gate.touch()
    done = project.ctl("run", "m1")
    assert done.code == 0, done.out + done.err
    assert project.session() == session
    assert len(facts(project, SessionResumed)) == 1
    assert_done_once(project, "m1", tasks)
    assert_files_written(project)


def facts(project: Project, kind: type[T]) -> list[T]:
    """Return the facts of one kind in the journal, in order."""
    return [event for _, event in project.records() if isinstance(event, kind)]
