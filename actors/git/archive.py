"""Work that did not land is kept before its slot goes.

Owns ``refs/milestone-archive/<session>/<attempt>``, the vacating and the removal of slots. Refuses to know why
work did not land.
"""

from __future__ import annotations

import attrs

from actors.failpoints import at
from actors.git.aside import SetAside, set_aside
from actors.git.capture import Captured, Lost, NothingToLand, capture, commit_tree, needed
from actors.git.place import Slot
from actors.git.plumbing import Refusal, complaint, flush, git, ref_paths, shown
from actors.git.repository import FALLBACK_IDENTITY, Repository
from actors.git.retention import archive_ref
from actors.git.slots import remove_slot, slots
from actors.programs import Flow


@attrs.frozen
class Archived:
    """The work is kept under this name."""

    ref: str
    sha: str


def archive(repo: Repository, slot: int) -> Flow[Archived | NothingToLand | Lost | Refusal]:
    """Keep what is in a slot, unless it landed, under ``refs/milestone-archive/<session>/<attempt>``.

    Name and date come from the slot's record: to whom and when it was handed out. Work archived under that
    name before is kept beside it; the same work is not archived twice.

    Args:
        repo: The repository.
        slot: Number of the slot; nothing writes in it any more.
    """
    place = Slot(repo, slot)
    record = place.record()
    if record is None or record.landed:
        return NothingToLand()
    work = yield from capture(repo, slot, record.base)
    if not isinstance(work, Captured):
        return work
    owner = record.owner or f"unknown/{repo.milestone_id}-slot-{slot}"
    sha = yield from commit_tree(
        repo,
        work.tree,
        record.base,
        f"Archive of {owner}: it did not land\n",
        when=int(place.record_file.stat().st_mtime),
        identity=FALLBACK_IDENTITY,
    )
    if isinstance(sha, Refusal):
        return sha
    at("git.archive.made")
    return (yield from _keep(repo, archive_ref(owner), sha, work))


def vacate(repo: Repository, slot: int) -> Flow[Archived | SetAside | NothingToLand | Lost | Refusal]:
    """Archive what is in a slot or, where git cannot hold that, set the slot aside.

    Either way it may be made again then: no task can make a slot unusable by what it leaves there.

    Args:
        repo: The repository.
        slot: Number of the slot; nothing writes in it any more.

    Returns:
        Where it is now; or that there was nothing to keep; or, as a refusal, a disk that is full or fails, which is
        no fault of what is in the slot.
    """
    left: Archived | NothingToLand | Lost | Refusal
    try:
        left = yield from archive(repo, slot)
    except OSError as error:
        left = Refusal(f"what is known of {Slot(repo, slot).path} cannot be read: {error}")
    if not isinstance(left, Refusal) or left.is_passing or left.is_broken:
        return left
    return (yield from set_aside(repo, slot, left.reason))


def remove_slots(repo: Repository) -> Flow[tuple[Archived | SetAside | Refusal, ...]]:
    """Remove all slots of the milestone, after keeping what did not land.

    A slot that cannot be vacated stays.

    Returns:
        What was kept, and what could not be kept or removed.
    """
    results: list[Archived | SetAside | Refusal] = []
    for number in slots(repo):
        left = yield from vacate(repo, number)
        at("git.slot.vacated")
        if isinstance(left, Archived | SetAside | Refusal):
            results.append(left)
        refusal = None if isinstance(left, Refusal) else (yield from remove_slot(repo, number))
        if refusal is not None:
            results.append(refusal)
    return tuple(results)


def _keep(repo: Repository, ref: str, sha: str, work: Captured) -> Flow[Archived | Refusal]:
    format_ = "--format=%(refname) %(objectname)"
    listed = yield git("for-each-ref", format_, f"{ref}*", git_dir=repo.common_dir)
    lines = (line.rpartition(" ") for line in shown(listed.stdout).splitlines())
    held = {name: target for name, _, target in lines}
    names = (ref, *(f"{ref}-{number}" for number in range(2, len(held) + 3)))
    name = next(name for name in names if held.get(name, sha) == sha)
    if name not in held:
        moving = ("update-ref", "-m", "milestoned: archive", name, sha, "")
        kept = yield git(*moving, git_dir=repo.common_dir)
        if not kept.ok:
            return Refusal(f"git cannot keep {name}: {complaint(kept)}")
        at("git.archive.kept")
    needs = yield from needed(repo.common_dir, work, sha)
    unsafe = yield from flush((*needs, *ref_paths(repo.common_dir, name)))
    return unsafe or Archived(name, sha)
