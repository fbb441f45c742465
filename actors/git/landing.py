"""Landing: what a task changed becomes one commit at the tip of the milestone branch.

Owns the protocol below. Refuses to know slots, sessions' state and when to land what: the role lands one
capture at a time.

**The protocol.** Every step can be cut short by a kill or a power cut and be done again from the first:

1. Nobody may have the branch checked out: its files would seem changed by whoever sits there.
2. The commits that came onto the branch since the base are searched for our ``Task:`` and ``Session:``
   trailers. If one has them, an earlier try landed: nothing is to do. An attempt that is not the task's first is
   searched for before its base as well, since the session began: whatever made the first one count as failed, a
   task never gets two commits. If the base is no longer part of the branch, somebody took commits off it: that is
   for a person to judge.
3. Author, dates and message are arguments, and the parent is the tip, so a redo at the same tip makes the
   same commit. At a tip that moved on, the change is merged without a checkout: capture and tip against the
   capture's base.
4. The commit, what it needs and their folders are flushed.
5. The branch is moved from the tip that was read to the commit, or not at all. If it moved meanwhile, from 1.
6. The ref and its folders are flushed. Only then has it landed.

**From 5 on no failure is the task's.** What is refused from then on, and the search itself, can only be tried again:
every such refusal is a passing one. A flush that failed is not repeated, because the kernel tells of it once and
then says that all is well, whatever became of the data: what an earlier try landed is written anew (into a pack,
and the ref's file), then flushed. A disk that fails (:attr:`Refusal.is_broken`) is for a person to look at.

Programs are started where git's own knowledge is needed: for filters, merges, packs. Where the format is a
few lines (a loose object, a loose ref), the files are written here, with the same bytes and locks; whatever
is stored in another way is left to git (see :mod:`actors.git.objects` and :mod:`actors.git.refs`).

A git that was killed while it moved the branch leaves a lock, which stops every later one: see
:mod:`actors.git.reflock`.
"""

from __future__ import annotations

from typing import Final

import attrs

from actors.failpoints import at
from actors.git.capture import Captured, Lost, NothingToLand, capture, commit_tree, differences, needed
from actors.git.commit import CommitMessage
from actors.git.place import mark_landed
from actors.git.plumbing import Refusal, are_few, complaint, flush, git, not_written, ref_paths, shown, split
from actors.git.reflock import lock_path, look, ours_and_dead
from actors.git.refs import LogLine, move, write_again
from actors.git.repository import Identity, Repository, Tip, checked_out_elsewhere, read_tip, tip_with
from actors.programs import Flow, beside

_TRIES: Final = 8
_TIMEOUT: Final = 300.0


@attrs.frozen
class Landed:
    """The branch has the commit now, and the disk has it too.

    Attributes:
        sha: The commit.
        files: How many paths differ between it and its parent.
    """

    sha: str
    files: int = 0


@attrs.frozen
class AlreadyLanded:
    """An earlier try put this commit onto the branch.

    Attributes:
        sha: The commit.
        files: How many paths it changed.
        other: Whether it is another attempt's: what is in the slot is not what landed.
    """

    sha: str
    files: int = 0
    other: bool = False


@attrs.frozen
class Conflict:
    """The change does not merge with what landed since its base; these paths are why."""

    paths: tuple[str, ...]


LandOutcome = Landed | AlreadyLanded | NothingToLand | Conflict | Lost | Refusal


@attrs.frozen
class CommitSpec:
    """What a task's commit is to be.

    Attributes:
        message: Subject, body and trailers; ``Task`` and ``Session`` tell whether it landed before.
        when: Its date, in seconds of the epoch; part of what makes a redo the same commit.
        identity: Its author.
        since: The commit that the session began at, where another attempt may have landed; ``""`` where none can.
        after: The commit that landed last, which must still be part of the branch; ``""`` for none.
    """

    message: CommitMessage
    when: int
    identity: Identity
    since: str = ""
    after: str = ""


@attrs.frozen
class Landing:
    """One change on its way.

    Attributes:
        repo: The repository.
        captured: The change.
        base: The commit that it was made on.
        spec: What it is to become.
    """

    repo: Repository
    captured: Captured
    base: str
    spec: CommitSpec


def land(repo: Repository, captured: Captured, base: str, spec: CommitSpec) -> Flow[LandOutcome]:
    """Put what was captured onto the branch as one commit, exactly once.

    Args:
        repo: The repository.
        captured: What to land.
        base: The commit that it was captured against; part of the branch.
        spec: What it is to become.
    """
    landing = Landing(repo, captured, base, spec)
    for _ in range(_TRIES):
        outcome = yield from _try(landing)
        if outcome is not None:
            return outcome
    return Refusal(
        f"{repo.branch} moved {_TRIES} times while a commit was made for it",
        "find out what else commits to it",
    )


def capture_and_land(repo: Repository, slot: int, base: str, spec: CommitSpec) -> Flow[LandOutcome]:
    """Capture what an attempt left in its slot and land it. All of it can be repeated at any time.

    Args:
        repo: The repository.
        slot: Number of the slot; nothing writes in it any more.
        base: The commit that it was prepared at.
        spec: As for :func:`land`.

    Returns:
        As :func:`land`; or that the work is lost, or cannot be captured, and did not land before either.
    """
    captured = yield from capture(repo, slot, base)
    outcome: LandOutcome
    if isinstance(captured, Captured):
        outcome = yield from land(repo, captured, base, spec)
    elif isinstance(captured, NothingToLand) and not spec.since:
        outcome = captured
    else:
        tip = yield from read_tip(repo)
        landing = Landing(repo, Captured("", (), ()), base, spec)
        found = (yield from _search(landing, tip)) if tip is not None else None
        outcome = captured if found is None else found
    if isinstance(outcome, Landed | NothingToLand) or (isinstance(outcome, AlreadyLanded) and not outcome.other):
        mark_landed(repo, slot)
        at("git.slot.marked")
    return outcome


def _try(landing: Landing) -> Flow[LandOutcome | None]:
    """Land once; ``None`` when the branch moved meanwhile."""
    repo = landing.repo
    refusal = yield from checked_out_elsewhere(repo)
    if refusal:
        return refusal
    tip = yield from tip_with(repo, landing.spec.after)
    if isinstance(tip, Refusal):
        return tip
    found = yield from _search(landing, tip)
    if found is not None:
        return found
    change = yield from _change(landing, tip)
    if not isinstance(change, Captured):
        return change
    message = landing.spec.message.text
    sha = yield from commit_tree(
        repo, change.tree, tip.sha, message, when=landing.spec.when, identity=landing.spec.identity
    )
    if isinstance(sha, Refusal):
        return sha
    at("git.commit.made")
    needs = yield from needed(repo.common_dir, change, sha)
    moved = yield from _move(landing, tip.sha, sha, needs)
    if moved is not True:
        return moved or None
    at("git.branch.moved")
    unsafe = yield from flush(ref_paths(repo.common_dir, repo.ref))
    at("git.landed")
    return attrs.evolve(unsafe, passing=True) if unsafe else Landed(sha, len(change.changed))


def _search(landing: Landing, tip: Tip) -> Flow[AlreadyLanded | Refusal | None]:
    """Look for our trailers in what came onto the branch since the base, if that is still part of it.

    Where another attempt may have landed, it is looked for between the beginning of the session and the base.
    """
    if tip.sha != landing.base:
        commits = yield from _commits(landing, f"{landing.base}...{tip.sha}")
        if isinstance(commits, Refusal):
            return commits
        if any(side == "<" for side, *_ in commits):
            branch = landing.repo.branch
            return Refusal(
                f"somebody took commits off {branch}: {landing.base} is no longer part of it",
                f"put them back (git reflog {branch} names them), or cancel the session",
                passing=True,
            )
        if sha := _ours(landing, commits):
            return (yield from _already(landing, sha, other=False))
    if landing.spec.since not in {"", landing.base}:
        session = f"--grep=Session: {landing.spec.message.trailer('Session')}"
        commits = yield from _commits(landing, f"{landing.spec.since}..{landing.base}", "--fixed-strings", session)
        if isinstance(commits, Refusal):
            return commits
        if sha := _ours(landing, commits):
            return (yield from _already(landing, sha, other=True))
    return None


def _commits(landing: Landing, range_: str, *options: str) -> Flow[list[list[str]] | Refusal]:
    """Return side, name and our two trailers of each commit of a range; what is not known yet cannot be refused."""
    trailers = (f"%(trailers:key={key},valueonly,unfold,separator=%x1d)" for key in ("Task", "Session"))
    done = yield git(
        *("log", "-z", "--no-show-signature", "--no-color", "--left-right", *options),
        *(f"--format={'%x1f'.join(('%m', '%H', *trailers))}", range_, "--"),
        git_dir=landing.repo.common_dir,
        timeout=_TIMEOUT,
    )
    if not done.ok:
        return Refusal(f"git cannot list the commits {range_}: {complaint(done)}", passing=True)
    return [shown(entry).strip("\n").split("\x1f") for entry in split(done.stdout)]


def _ours(landing: Landing, commits: list[list[str]]) -> str:
    """Return the commit that has our trailers, ``""`` for none."""
    wanted = [landing.spec.message.trailer("Task"), landing.spec.message.trailer("Session")]
    return next((sha for _, sha, *values in commits if values == wanted), "")


def _already(landing: Landing, sha: str, *, other: bool) -> Flow[AlreadyLanded | Refusal]:
    """Secure what an earlier try landed: it may have ended before the flush, or the flush may have failed."""
    at("git.found.landed")
    unsafe = yield from _secured(landing, sha)
    at("git.secured")
    if unsafe:
        return attrs.evolve(unsafe, passing=True)
    made = yield from differences(landing.repo.common_dir, f"{sha}^", f"{sha}^{{tree}}")
    return AlreadyLanded(sha, len(made.changed) if isinstance(made, Captured) else 0, other)


def _change(landing: Landing, tip: Tip) -> Flow[Captured | NothingToLand | Conflict | Refusal]:
    """Return the tree for the commit at the tip: the capture itself, or the merge of it."""
    if tip.sha == landing.base:
        return landing.captured
    repo = landing.repo
    side = yield from commit_tree(
        repo,
        landing.captured.tree,
        landing.base,
        landing.spec.message.text,
        when=landing.spec.when,
        identity=landing.spec.identity,
    )
    if isinstance(side, Refusal):
        return side
    merged = yield git(
        *("merge-tree", "--write-tree", "-z", "--name-only", "--no-messages", tip.sha, side),
        git_dir=repo.common_dir,
        timeout=_TIMEOUT,
    )
    at("git.merged")
    fields = split(merged.stdout)
    if merged.code == 1 and fields:
        return Conflict(tuple(shown(path) for path in fields[1:] if path))
    if not merged.ok or not fields:
        return Refusal(f"git cannot merge into {repo.branch}: {complaint(merged)}")
    return (yield from differences(repo.common_dir, tip.sha, shown(fields[0])))


def _move(landing: Landing, old: str, new: str, needs: tuple[str, ...]) -> Flow[bool | Refusal]:
    """Flush what the commit needs and move the branch to it.

    ``False`` when it was not at `old` any more, or somebody was at it just now.
    """
    repo = landing.repo
    log = LogLine(landing.spec.identity, landing.spec.when, f"milestoned: {landing.spec.message.trailer('Task')}")
    before = look(repo)
    try:
        moved = (yield from beside(lambda: move(repo, old, new, log, needs))) if are_few(needs) else None
    except OSError as error:
        return not_written(str(error))
    if moved is not None:
        return moved
    unsafe = yield from flush(needs)
    if unsafe:
        return unsafe
    done = yield git("update-ref", "-m", log.note, repo.ref, new, old, git_dir=repo.common_dir)
    if done.ok:
        return True
    after = look(repo)
    tip = yield from read_tip(repo)
    locked_out = "File exists" in shown(done.stderr)
    if tip is None or tip.sha != old or (locked_out and (after is None or after != before)):
        return False
    if not locked_out or after is None:
        return Refusal(f"git cannot move {repo.branch}: {complaint(done)}")
    lock = lock_path(repo)
    if (yield from ours_and_dead(repo, landing.spec.message.trailer("Session"), before, after)):
        lock.unlink(missing_ok=True)
        return False
    return Refusal(
        f"another git holds {lock}, or left it when it was killed",
        f"when no git works in {repo.top}: rm {lock}",
    )


def _secured(landing: Landing, sha: str) -> Flow[Refusal | None]:
    """Write the commit, what it needs and the branch anew, and flush them, in this order."""
    repo = landing.repo
    packs = f"{repo.common_dir}/objects/pack"
    done = yield git(
        *("pack-objects", "--quiet", "--revs", f"{packs}/pack"),
        git_dir=repo.common_dir,
        stdin=f"{sha}\n^{sha}^\n".encode(),
        timeout=_TIMEOUT,
    )
    if not done.ok:
        return not_written(complaint(done))
    names = shown(done.stdout).split()
    unsafe = yield from flush((*(f"{packs}/pack-{name}.{kind}" for name in names for kind in ("pack", "idx")), packs))
    return unsafe or (yield from _branch_written_again(landing))


def _branch_written_again(landing: Landing) -> Flow[Refusal | None]:
    """Write the branch anew; a lock that one of us left, killed at just this, is removed first."""
    repo = landing.repo
    lock = lock_path(repo)
    for _ in range(2):
        before = look(repo)
        try:
            if (yield from beside(lambda: write_again(repo))):
                return None
        except OSError as error:
            return not_written(str(error))
        tip = yield from read_tip(repo)
        if tip is not None:  # this waits for the lock, a second at most, and changes nothing
            yield git("update-ref", repo.ref, tip.sha, tip.sha, git_dir=repo.common_dir)
        after = look(repo)
        if after and (yield from ours_and_dead(repo, landing.spec.message.trailer("Session"), before, after)):
            lock.unlink(missing_ok=True)
    return Refusal(f"another git holds {lock}, or left it when it was killed", f"when no git works: rm {lock}")
