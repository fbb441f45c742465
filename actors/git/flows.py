"""The names of this package that others use, in one place.

Apart from the package itself, so that who needs one module of it (the supervising process, for a look at the branch)
does not load all of them.
"""

from actors.git.archive import Archived, archive, remove_slots, vacate
from actors.git.aside import SetAside, kept
from actors.git.capture import Captured, Lost, NothingToLand, capture
from actors.git.commit import CommitMessage, commit_message
from actors.git.landing import AlreadyLanded, CommitSpec, Conflict, Landed, LandOutcome, capture_and_land, land
from actors.git.plumbing import Refusal
from actors.git.provision import unmatched_copies
from actors.git.push import Pushed, PushRefused, UpToDate, push
from actors.git.repository import Identity, NotARepository, Repository, Started, inspect, start
from actors.git.retention import Expired, expire
from actors.git.slots import SlotReady, claim_cache, prepare_slot, remove_slot, slots
from actors.git.watch import Uncommitted, uncommitted

__all__ = [
    "AlreadyLanded",
    "Archived",
    "Captured",
    "CommitMessage",
    "CommitSpec",
    "Conflict",
    "Expired",
    "Identity",
    "LandOutcome",
    "Landed",
    "Lost",
    "NotARepository",
    "NothingToLand",
    "PushRefused",
    "Pushed",
    "Refusal",
    "Repository",
    "SetAside",
    "SlotReady",
    "Started",
    "Uncommitted",
    "UpToDate",
    "archive",
    "capture",
    "capture_and_land",
    "claim_cache",
    "commit_message",
    "expire",
    "inspect",
    "kept",
    "land",
    "prepare_slot",
    "push",
    "remove_slot",
    "remove_slots",
    "slots",
    "start",
    "uncommitted",
    "unmatched_copies",
    "vacate",
]
