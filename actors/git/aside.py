"""Work that git cannot hold is kept as files.

Owns the directories ``<milestone>-kept-<n>`` in the cache directory, each a former slot with a note beside it that
says what it is. They are for people; what becomes of them is :mod:`actors.git.retention`'s. Refuses to know why git
cannot hold something.
"""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Final

import attrs

from actors.failpoints import at
from actors.git.place import Slot
from actors.git.plumbing import Refusal
from actors.git.repository import Repository
from actors.git.slots import claim_cache, remove_slot
from actors.programs import Flow

_NOTE: Final = """\
{path}
is what {owner} left in its worktree.
It could not be kept in the repository: {reason}

It was made from commit {base} of {top}, and is no worktree any more.
Delete it, and this note, when you have what you want of it; a later session does when it has grown old.
"""


@attrs.frozen
class SetAside:
    """The slot is this directory now."""

    path: str


def set_aside(repo: Repository, slot: int, reason: str) -> Flow[SetAside | Refusal]:
    """Move a slot out of the way, with a note; its number is free then.

    Args:
        repo: The repository.
        slot: Number of the slot; nothing writes in it any more.
        reason: Why its content cannot be archived.
    """
    place, record = Slot(repo, slot), Slot(repo, slot).record()
    refusal = claim_cache(repo)
    if refusal:
        return refusal
    path = next(name for name in _names(repo) if not Path(name).exists())
    owner, base = (record.owner, record.base) if record is not None else ("", "")
    note = _NOTE.format(path=path, owner=owner or "an attempt", base=base, reason=reason, top=repo.top)
    try:
        Path(f"{path}.txt").write_text(note, encoding="utf-8", errors="backslashreplace")
        at("git.aside.noted")
        Path(place.path).rename(path)
        at("git.aside.moved")
    except OSError as error:
        return Refusal(f"{place.path} cannot be set aside: {error}", "move it elsewhere by hand")
    refusal = yield from remove_slot(repo, slot)
    return refusal or SetAside(path)


def kept(repo: Repository) -> tuple[str, ...]:
    """Return the directories of this milestone that were set aside and are still there, absolute, in order."""
    pattern = re.compile(rf"{re.escape(repo.milestone_id)}-kept-\d+")
    cache = Path(repo.cache)
    if not cache.is_dir() or claim_cache(repo):
        return ()
    return tuple(sorted(str(entry) for entry in cache.iterdir() if pattern.fullmatch(entry.name)))


def _names(repo: Repository) -> map[str]:
    return map(f"{repo.cache}/{repo.milestone_id}-kept-{{}}".format, itertools.count(1))
