"""One run that meets everything once, told as data: what the tests of the duties look at.

Owns the run: a quiet task, a full disk, a merge conflict, a milestone that wants the same, uncommitted files, a remote
and a hook, with intervals short enough to see them all within seconds. Refuses to judge what came of it.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

from attrs import frozen

from actors.events import (
    AttemptStarted,
    BlockerRaised,
    DependencyAlert,
    Event,
    HookRan,
    ProgressReported,
    Record,
    TaskCompleted,
    TaskStalled,
    UncommittedSeen,
)
from tests.e2e.stage import Project, facts, milestone_of, waits_for
from tests.repositories import git
from tests.waiting import wait_until

T = TypeVar("T")

TASKS: Final = {
    "build": (),
    "left": ("build",),
    "right": ("build",),
    "full": ("build",),
    "quiet": ("build",),
    "last": ("left", "right", "full", "quiet"),
}

CONFIGURATION: Final = """\
max_parallel: 4
git: {{remote: origin, uncommitted_interval: 0.2}}
progress: {{interval: 0.5, stall_after: 1}}
blockers:
  no_progress_after: 1.5
  hook:
    command: [sh, -c, "cat > {place}/told"]
"""


@frozen
class Story:
    """What the one run left.

    Attributes:
        records: The journal.
        text: What it printed.
        lines: The five JSONL files by name.
        commits: Of the branch, oldest first.
        during: The milestone file while a task ran.
        after: The archived milestone file.
        agents: The roles' sheets while it ran.
        told: What the command hook got.
        remote_tip: The branch in the remote.
        changed: Path -> content of the branch's files.
    """

    records: tuple[tuple[Record, Event], ...]
    text: str
    lines: dict[str, list[dict[str, Any]]]
    commits: list[dict[str, str]]
    during: str
    after: str
    agents: dict[str, dict[str, Any]]
    told: dict[str, Any]
    remote_tip: str
    changed: dict[str, str]

    def of(self, kind: type[T]) -> list[T]:
        """Return the facts of one kind."""
        return [event for _, event in self.records if isinstance(event, kind)]

    def walls(self, kind: type[Event]) -> list[float]:
        """Return when facts of one kind were journaled."""
        return [record.wall for record, event in self.records if isinstance(event, kind)]

    def seq(self, kind: type[Event], /, **fields: object) -> int:
        """Return the seq of the first fact of a kind with these fields."""
        return next(
            record.seq
            for record, event in self.records
            if isinstance(event, kind) and all(getattr(event, name) == value for name, value in fields.items())
        )


def _prepare(project: Project, place: Path) -> None:
    """Write the milestone, what it requires, what it conflicts with, a remote and a configuration."""
    remote = place / "remote.git"
    git(place, "init", "--quiet", "--bare", str(remote))
    git(project.path, "remote", "add", "origin", str(remote))
    project.configure(CONFIGURATION.format(place=place))
    both = f"touch {place}/$TASK_ID; {waits_for(place / 'left')}; {waits_for(place / 'right')}"
    both += "; echo $TASK_ID >> README.md"
    scripts = {
        "build": "echo built > build",
        "left": both,
        "right": both,
        "full": f"echo 'cp: No space left on device'; {waits_for(place / 'told')}; echo full > full",
        "quiet": f"{waits_for(place / 'go')}; echo quiet > quiet",
        "last": "ls > last",
    }
    tasks = [
        {"id": task, "status": "pending", "depends_on": list(needs), "run": scripts[task], "verify": ["true"]}
        for task, needs in TASKS.items()
    ]
    done = {"id": "done", "status": "completed", "run": "exit 1"}
    text = milestone_of(done, *tasks, dependencies={"requires": ["m0"]}, shared_resources=["database"])
    project.write("m1", text.replace("title: One\n", "title: One\nstatus: planned\n", 1))
    project.write("m2", "id: m2\ntitle: Two\nstatus: planned\nshared_resources: [database]\ntasks: []\n")
    completed = project.path / ".milestones" / "completed" / "m0.yaml"
    completed.parent.mkdir()
    completed.write_text("id: m0\ntitle: Nought\nstatus: completed\ntasks: []\n", encoding="utf-8")


def _with_four_completed(path: Path) -> str:
    """Return the milestone file, once its statuses have followed the facts; the first task was completed before."""
    text = path.read_text(encoding="utf-8")
    return text if text.count('"status": "completed"') >= 5 and '"status": "in_progress"' in text else ""


def _with_heartbeats(agents: Path) -> dict[str, dict[str, Any]]:
    """Return the roles' sheets, once each has a heartbeat."""
    paths = [path for path in agents.iterdir() if not path.name.startswith(".")]  # those are about to be put in place
    sheets = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in paths}
    return sheets if all(sheet["last_heartbeat"] for sheet in sheets.values()) else {}


def tell(project: Project) -> Story:
    """Run the milestone to its end and return what it left."""
    place = project.path.parent
    _prepare(project, place)
    running = project.start("run", "m1")
    active = project.path / ".milestones" / "active"

    def seen(what: type[T], holds: Callable[[T], bool] = lambda _: True, count: int = 1) -> None:
        def look() -> bool:
            if running.process.poll() is not None:
                raise AssertionError(running.text())
            return sum(map(holds, facts(project, what))) >= count

        wait_until(look, 60.0, f"{what.__name__} {count} times")

    seen(AttemptStarted, lambda fact: fact.attempt == "quiet.1")
    (project.path / "draft").write_text("uncommitted\n", encoding="utf-8")
    (active / "m2.yaml").write_text(
        "id: m2\ntitle: Two\nstatus: in_progress\nshared_resources: [database]\ntasks: []\n", encoding="utf-8"
    )
    seen(UncommittedSeen, lambda fact: "draft" in fact.paths)
    seen(TaskCompleted, count=4)
    seen(TaskStalled, lambda fact: fact.task == "quiet")
    # On a slow machine nothing may have happened for so long before the attempt was started, too.
    seen(BlockerRaised, lambda fact: fact.claim == "stall" and "quiet.1" in fact.evidence)
    seen(DependencyAlert, lambda fact: fact.kind == "conflict")
    seen(HookRan)
    seen(ProgressReported, count=len(facts(project, ProgressReported)) + 3)
    during = wait_until(lambda: _with_four_completed(active / "m1.yaml"), 60.0, "the file says what is completed")
    agents = project.path / ".milestones" / "sessions" / project.session() / "agents"
    sheets = wait_until(lambda: _with_heartbeats(agents), 60.0, "all sheets have a heartbeat")
    (place / "go").touch()
    assert running.wait() == 0, running.text()
    tree = git(project.path, "ls-tree", "-r", "--name-only", "milestone/m1").splitlines()
    return Story(
        records=tuple(project.records()),
        text=running.text(),
        lines={n: project.lines(n) for n in ("execution", "progress", "git", "dependencies", "blockers")},
        commits=project.commits("milestone/m1"),
        during=during,
        after=(project.path / ".milestones" / "completed" / "m1.yaml").read_text(encoding="utf-8"),
        agents=sheets,
        told=json.loads((place / "told").read_text(encoding="utf-8")),
        remote_tip=git(place / "remote.git", "rev-parse", "milestone/m1"),
        changed={path: git(project.path, "show", f"milestone/m1:{path}") for path in tree},
    )
