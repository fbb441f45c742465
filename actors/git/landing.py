"""Landing: what a task changed becomes one commit at the tip of the milestone branch.

Owns the protocol below. Refuses to know slots, sessions' state and when to land what: the role lands one
capture at a time.

**The protocol.** Every step can be cut short by a kill or a power cut and be done again from the first:

1. Nobody may have the branch checked out: its files would seem changed by whoever sits there.
2. The commits that came onto the branch since the base are searched for our ``Task:`` and ``Session:``
   trailers. If one has them, an earlier try landed: nothing is to do. No earlier attempt of the task can have
   landed before this one's base: an attempt is given up as lost only after the same search. If the base is no
   longer part of the branch, somebody took commits off it: that is for a person to judge.
3. Author, dates and message are arguments, and the parent is the tip, so a redo at the same tip makes the
   same commit. At a tip that moved on, the change is merged without a checkout: capture and tip against the
   capture's base.
4. The commit, what it needs and their folders are flushed.
5. The branch is moved from the tip that was read to the commit, or not at all. If it moved meanwhile, from 1.
6. The ref and its folders are flushed. Only then has it landed.

Programs are started where git's own knowledge is needed: for filters, merges, packs. Where the format is a
few lines (a loose object, a loose ref), the files are written here, with the same bytes and locks; whatever
is stored in another way is left to git (see :mod:`actors.git.objects` and :mod:`actors.git.refs`).

A git that was killed while it moved the branch leaves a lock, which stops every later one: see
:mod:`actors.git.reflock`.
"""

from __future__ import annotations

from typing import Final

import attrs

from actors.git.capture import Captured, Lost, NothingToLand, capture, commit_tree, differences, object_paths
from actors.git.commit import CommitMessage
from actors.git.place import mark_landed
from actors.git.plumbing import Refusal, are_few, complaint, flush, git, not_written, ref_paths, shown, split
from actors.git.reflock import lock_path, look, ours_and_dead
from actors.git.refs import LogLine, move
from actors.git.repository import Identity, Repository, Tip, checked_out_elsewhere, read_tip
from actors.programs import Flow

_TRIES: Final = 8
_TIMEOUT: Final = 300.0


@attrs.frozen
class Landed:
    """The branch has the commit now, and the disk has it too.

    Attributes:
        sha: The commit.
        tip_before: Its parent.
        files: How many paths differ between the two.
    """

    sha: str
    tip_before: str
    files: int = 0


@attrs.frozen
class AlreadyLanded:
    """An earlier try put this commit onto the branch, with so many changed paths."""

    sha: str
    files: int = 0


@attrs.frozen
class Conflict:
    """The change does not merge with what landed since its base; these paths are why."""

    paths: tuple[str, ...]


LandOutcome = Landed | AlreadyLanded | NothingToLand | Conflict | Lost | Refusal


@attrs.frozen
class Landing:
    """One change on its way.

    Attributes:
        repo: The repository.
        captured: The change.
        base: The commit that it was made on.
        message: What its commit says.
        when: Date of the commit, in seconds of the epoch.
        identity: Author of the commit.
    """

    repo: Repository
    captured: Captured
    base: str
    message: CommitMessage
    when: int
    identity: Identity


def land(
    repo: Repository,
    captured: Captured,
    base: str,
    *,
    message: CommitMessage,
    when: int,
    identity: Identity,
) -> Flow[LandOutcome]:
    """Put what was captured onto the branch as one commit, exactly once.

    Args:
        repo: The repository.
        captured: What to land.
        base: The commit that it was captured against; part of the branch.
        message: Subject, body and trailers; ``Task`` and ``Session`` tell whether it landed before.
        when: Date of the commit, in seconds of the epoch; part of what makes a redo the same commit.
        identity: Author of the commit.
    """
    landing = Landing(repo, captured, base, message, when, identity)
    for _ in range(_TRIES):
        outcome = yield from _try(landing)
        if outcome is not None:
            return outcome
    return Refusal(
        f"{repo.branch} moved {_TRIES} times while a commit was made for it",
        "find out what else commits to it",
    )


def capture_and_land(
    repo: Repository, slot: int, base: str, *, message: CommitMessage, when: int, identity: Identity
) -> Flow[LandOutcome]:
    """Capture what an attempt left in its slot and land it. All of it can be repeated at any time.

    Args:
        repo: The repository.
        slot: Number of the slot; nothing writes in it any more.
        base: The commit that it was prepared at.
        message: As for :func:`land`.
        when: As for :func:`land`.
        identity: As for :func:`land`.

    Returns:
        As :func:`land`; or that the work is lost and did not land before either.
    """
    captured = yield from capture(repo, slot, base)
    outcome: LandOutcome
    match captured:
        case Captured():
            outcome = yield from land(repo, captured, base, message=message, when=when, identity=identity)
        case Lost():
            landing = Landing(repo, Captured("", (), ()), base, message, when, identity)
            tip = yield from read_tip(repo)
            found = (yield from _search(landing, tip)) if tip is not None else None
            return captured if found is None else found
        case _:
            outcome = captured
    if isinstance(outcome, Landed | AlreadyLanded | NothingToLand):
        mark_landed(repo, slot)
    return outcome


def _try(landing: Landing) -> Flow[LandOutcome | None]:
    """Land once; ``None`` when the branch moved meanwhile."""
    repo = landing.repo
    refusal = yield from checked_out_elsewhere(repo)
    if refusal:
        return refusal
    tip = yield from read_tip(repo)
    if tip is None:
        return Refusal(f"the branch {repo.branch} is gone", f"restore it: git branch {repo.branch} COMMIT")
    if tip.sha != landing.base:
        found = yield from _search(landing, tip)
        if found is not None:
            return found
    change = yield from _change(landing, tip)
    if not isinstance(change, Captured):
        return change
    message = landing.message.text
    sha = yield from commit_tree(repo, change.tree, tip.sha, message, when=landing.when, identity=landing.identity)
    if isinstance(sha, Refusal):
        return sha
    moved = yield from _move(landing, tip.sha, sha, object_paths(repo.common_dir, change, sha))
    if moved is not True:
        return moved or None
    unsafe = yield from flush(ref_paths(repo.common_dir, repo.ref))
    return unsafe or Landed(sha, tip.sha, len(change.changed))


def _search(landing: Landing, tip: Tip) -> Flow[AlreadyLanded | Refusal | None]:
    """Look for our trailers in what came onto the branch since the base, if that is still part of it."""
    trailers = (f"%(trailers:key={key},valueonly,unfold,separator=%x1d)" for key in ("Task", "Session"))
    done = yield git(
        *("log", "-z", "--no-show-signature", "--no-color", "--left-right"),
        *(f"--format={'%x1f'.join(('%m', '%H', *trailers))}", f"{landing.base}...{tip.sha}", "--"),
        cwd=landing.repo.common_dir,
        timeout=_TIMEOUT,
    )
    if not done.ok:
        return Refusal(f"git cannot go from {landing.base} to {tip.sha}: {complaint(done)}")
    wanted = [landing.message.trailer("Task"), landing.message.trailer("Session")]
    commits = [shown(entry).strip("\n").split("\x1f") for entry in split(done.stdout)]
    if any(side == "<" for side, *_ in commits):
        branch = landing.repo.branch
        return Refusal(
            f"somebody took commits off {branch}: {landing.base} is no longer part of it",
            f"put them back (git reflog {branch} names them), or cancel the session",
        )
    for _, sha, *values in commits:
        if values == wanted:
            # The earlier try may have ended before the flush.
            made = yield from differences(landing.repo.common_dir, f"{sha}^", f"{sha}^{{tree}}")
            change = made if isinstance(made, Captured) else Captured("", (), ())
            unsafe = yield from _secured(landing.repo, sha, change)
            return unsafe or AlreadyLanded(sha, len(change.changed))
    return None


def _change(landing: Landing, tip: Tip) -> Flow[Captured | NothingToLand | Conflict | Refusal]:
    """Return the tree for the commit at the tip: the capture itself, or the merge of it."""
    if tip.sha == landing.base:
        return landing.captured
    repo = landing.repo
    side = yield from commit_tree(
        repo,
        landing.captured.tree,
        landing.base,
        landing.message.text,
        when=landing.when,
        identity=landing.identity,
    )
    if isinstance(side, Refusal):
        return side
    merged = yield git(
        *("merge-tree", "--write-tree", "-z", "--name-only", "--no-messages", tip.sha, side),
        cwd=repo.common_dir,
        timeout=_TIMEOUT,
    )
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
    log = LogLine(landing.identity, landing.when, f"milestoned: {landing.message.trailer('Task')}")
    before = look(repo)
    try:
        moved = move(repo, old, new, log, needs) if are_few(needs) else None
    except OSError as error:
        return not_written(str(error))
    if moved is not None:
        return moved
    unsafe = yield from flush(needs)
    if unsafe:
        return unsafe
    done = yield git("update-ref", "-m", log.note, repo.ref, new, old, cwd=repo.common_dir)
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
    if (yield from ours_and_dead(repo, landing.message.trailer("Session"), before, after)):
        lock.unlink(missing_ok=True)
        return False
    return Refusal(
        f"another git holds {lock}, or left it when it was killed",
        f"when no git works in {repo.top}: rm {lock}",
    )


def _secured(repo: Repository, sha: str, change: Captured) -> Flow[Refusal | None]:
    """Flush the commit, what it needs and the branch, in this order: it has landed only then."""
    objects = object_paths(repo.common_dir, change, sha)
    return (yield from flush((*objects, *ref_paths(repo.common_dir, repo.ref))))
