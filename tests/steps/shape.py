"""The milestone that is killed at every step: two waves, a conflict, a failure, a failing verify, a remote.

Small, and still through every step: ``left`` and ``right`` write the same file, so one of them is executed again;
``again`` fails until work of it that did not land was archived; the first work of ``nested`` cannot be archived, so
its worktree is set aside. Owns the shape and the invariants of what comes of it.
"""

from pathlib import Path
from typing import Final

from attrs import frozen

from actors.events import (
    AttemptEnded,
    AttemptGranted,
    AttemptStarted,
    LandConflicted,
    Landed,
    LandFailed,
    Outcome,
    SlotFailed,
    TaskCompleted,
    task_of,
)
from actors.failpoints import VARIABLE
from actors.paths import ProjectPaths
from supervisor.environment import SESSION_MARK
from supervisor.journal import Journal
from supervisor.linux import find_marked
from supervisor.projection import seen_by
from tests.e2e.stage import Project, assert_files_written, contents_of, facts, slots_of, worktrees
from tests.repositories import git
from tests.waiting import wait_until

TASKS: Final = {
    "left": (),
    "right": (),
    "again": ("left",),
    "nested": ("right",),
    "last": ("again", "nested"),
}
"""Tasks and what each depends on."""

GONE_SECONDS: Final = 60.0
"""Longest wait for what has to go by itself; how soon it goes is measured elsewhere."""

_MILESTONE: Final = """\
# A person's own words stay as they are.
id: {id}
title:   "Every step"   # odd spaces as well
status: pending
tasks:
  - {{id: left, title: Left, status: pending, run: "echo left >> shared.txt; env > '{place}/task.env'"}}
  - {{id: right, title: Right, status: pending, run: "echo right >> shared.txt"}}
  - id: again
    title: Again
    status: pending   # fails until its first work is archived
    depends_on: [left]
    retries: 40
    retry_delay: 0.05
    run: |
      echo again > again.txt
      git for-each-ref "refs/milestone-archive/$MILESTONED_SESSION/again.*" | grep -q . || exit 1
  - id: nested
    title: Nested
    status: pending
    depends_on: [right]
    retries: 40
    retry_delay: 0.05
    run: |
      ls -d ../{id}-kept-* && touch '{place}/{id}-kept'
      test -e '{place}/{id}-kept' || {{ git init -q inner && cp ../owner inner/ && git -C inner add . \
&& git -C inner -c user.name=A -c user.email=a@b.c commit -q -m inner; }}
      echo nested > nested.txt
    verify: ["test -e '{place}/{id}-kept'"]
  - {{id: last, title: Last, status: pending, depends_on: [again, nested], run: "ls > listing.txt"}}
"""

_CONFIGURATION: Final = """\
max_parallel: 2
git: {{remote: origin}}
worktree:
  copy: [private.env]
  setup: ["echo made > set-up.txt; env > '{place}/set-up.env'"]
  keep_for: 1ms
"""


@frozen
class Checkout:
    """What belongs to the user, byte by byte: files, index, branches, stash, hooks and configuration."""

    files: dict[str, bytes]
    refs: str

    @classmethod
    def of(cls, project: Project) -> "Checkout":
        """Read what belongs to the user of a project."""
        top = project.path
        own = (path for path in top.rglob("*") if path.is_file() and not path.is_relative_to(top / ".git"))
        files = [path for path in own if not path.is_relative_to(top / ".milestones")]
        files += [top / ".git" / name for name in ("HEAD", "index", "config", "refs/stash", "logs/refs/stash")]
        files += (top / ".git" / "hooks").iterdir()
        every = git(top, "for-each-ref", "refs/heads", "refs/tags", "refs/stash")
        refs = "\n".join(line for line in every.splitlines() if "refs/heads/milestone/" not in line)
        return cls({str(path.relative_to(top)): path.read_bytes() for path in files}, refs)


def furnish(project: Project, place: Path) -> Checkout:
    """Give a project a remote, a stash, edits of a person and the configuration; return what must stay."""
    top = project.path
    git(place, "init", "--quiet", "--bare", "remote.git")
    git(top, "remote", "add", "origin", str(place / "remote.git"))
    (top / ".gitignore").write_text("private.env\n", encoding="utf-8")
    (top / "private.env").write_text("KEY=1\n", encoding="utf-8")
    git(top, "add", ".gitignore")
    git(top, "commit", "--quiet", "--message=Ignore")
    (top / "README.md").write_text("Stashed.\n", encoding="utf-8")
    git(top, "stash", "--quiet")
    (top / "staged.txt").write_text("Staged.\n", encoding="utf-8")
    git(top, "add", "staged.txt")
    (top / "README.md").write_text("Typed and not saved to git.\n", encoding="utf-8")
    (top / ".git" / "hooks" / "post-commit").write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    (top / ".git" / "hooks" / "post-commit").chmod(0o755)
    project.configure(_CONFIGURATION.format(place=place))
    return Checkout.of(project)


def begin(project: Project, milestone: str, place: Path) -> None:
    """Write the milestone file."""
    project.write(milestone, _MILESTONE.format(id=milestone, place=place))


def assert_invariants(project: Project, milestone: str, place: Path, checkout: Checkout) -> None:
    """Assert what holds of a completed milestone however often it was killed: I1 to I4, I6 and I8."""
    wait_until(lambda: not find_marked(SESSION_MARK, project.session()), GONE_SECONDS, "no task of the session lives")
    assert Checkout.of(project) == checkout
    active, completed = (project.path / ".milestones" / name / f"{milestone}.yaml" for name in ("active", "completed"))
    assert not active.exists()
    written = _MILESTONE.format(id=milestone, place=place)
    assert completed.read_text(encoding="utf-8") == written.replace("status: pending", "status: completed")
    _assert_told_once(project)
    _assert_committed_once(project, milestone)
    _assert_no_rests(project, milestone)
    assert_files_written(project)
    sheet = project.session_json()
    assert (sheet["status"], sheet["tasks"]) == ("completed", dict.fromkeys(TASKS, "completed"))
    with Journal.open(project.path / ".milestones" / "state.db", seen=seen_by(ProjectPaths(project.path))):
        pass  # the whole chain is verified, and nothing knows of more than it has
    for environment in (place / "set-up.env", place / "task.env"):  # of ours, neither sees that it is tested
        assert VARIABLE not in environment.read_text(encoding="utf-8", errors="replace")
    tip = git(project.path, "rev-parse", f"milestone/{milestone}")
    assert git(place / "remote.git", "rev-parse", f"refs/heads/milestone/{milestone}") == tip


def _assert_told_once(project: Project) -> None:
    """Assert of the journal: completed once, never started after that, nor before what it needs, nor twice at once."""
    session = project.session()
    completed: set[str] = set()
    live: dict[str, str] = {}
    started: set[str] = set()
    for record, event in project.records():
        match event:
            case _ if record.session != session:
                pass
            case AttemptGranted(attempt=attempt, task=task):
                assert task not in completed, f"{attempt} was granted after {task} was completed"
                assert set(TASKS[task]) <= completed, f"{attempt} was granted before {TASKS[task]}"
                assert task not in live, f"{attempt} was granted beside {live[task]}"
                live[task] = attempt
            case AttemptStarted(attempt=attempt):
                assert attempt not in started, f"{attempt} was started twice"
                assert live[task_of(attempt)] == attempt
                started.add(attempt)
            case AttemptEnded(attempt=attempt, outcome=outcome) if outcome is not Outcome.OK:
                assert live.pop(task_of(attempt)) == attempt
            case LandConflicted(attempt=attempt) | LandFailed(attempt=attempt) | SlotFailed(attempt=attempt):
                assert live.pop(task_of(attempt)) == attempt
            case TaskCompleted(task=task, attempt=attempt):
                assert task not in completed, f"{task} was completed twice"
                assert live.pop(task) == attempt
                completed.add(task)
            case _:
                pass
    assert completed == set(TASKS)


def _assert_committed_once(project: Project, milestone: str) -> None:
    """Assert one whole commit for each task and no other, in an order that respects what they depend on."""
    commits = project.commits(f"milestone/{milestone}")
    landed = [commit["Task"] for commit in commits]
    assert sorted(landed) == sorted(TASKS)
    assert {(commit["Milestone"], commit["Session"]) for commit in commits} == {(milestone, project.session())}
    for task, needed in TASKS.items():
        assert all(landed.index(before) < landed.index(task) for before in needed), landed
    known = {event.attempt.partition(".")[0]: event.sha for event in facts(project, Landed) if event.sha}
    assert {commit["Task"]: commit["sha"] for commit in commits} == known
    made = contents_of(project, f"milestone/{milestone}")
    assert sorted(made.pop("shared.txt").split()) == [b"left", b"right"]
    listing = made.pop("listing.txt").split()
    assert set(listing) == {
        b"README.md",
        b"again.txt",
        b"listing.txt",
        b"nested.txt",
        b"private.env",
        b"set-up.txt",
        b"shared.txt",
    }
    assert made == {**contents_of(project, "main"), "again.txt": b"again\n", "nested.txt": b"nested\n"}
    assert git(project.path, "fsck", "--no-dangling", "--no-progress") == ""


def _assert_no_rests(project: Project, milestone: str) -> None:
    """Assert that no worktree, lock or temporary file of ours is left."""
    slots = slots_of(project)
    assert not [path for path in worktrees(project) if path.is_relative_to(slots)]
    assert not list(slots.glob(f"{milestone}-slot-*"))
    folder = project.path / ".milestones"
    assert not [*folder.rglob(".*.tmp"), *project.path.glob(".git/**/milestone/*.lock")]
