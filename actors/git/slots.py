"""Worktree slots: one directory per attempt that runs at the same time, used again and again.

Owns the slots of one milestone in the cache directory: making them, bringing them to a commit, removing them.
Refuses to know what tasks do there and how their work lands.

**The protocol.** Beside a slot ``<milestone>-slot-<n>`` lie files that tasks have no reason to know (see
:mod:`actors.git.place`):

- ``.index``: our own index of it, at the state in which the slot was handed out. A task may do to the
  worktree's index what it likes; whatever file it touches differs from *ours*, so the next reset writes it
  anew and the capture looks at it. The capture works on a copy (``.capture``).
- ``.setup``: what set-up commands left in it that git does not ignore (see :mod:`actors.git.provision`).
- ``.record``: written last, emptied first: base, boot and owner of what is in the slot. Without it, or after
  a reboot (files that were never flushed may have lost their content), what is in the slot proves nothing: it
  is made again, and work in it counts as lost.

A reset is ``read-tree --reset -u`` with the git directory and the worktree named, never searched for: with
its ``.git`` file gone, a slot would belong to whatever repository lies around it. All that is in the index is
in the slot then; so whether there is anything else is seen by counting (:class:`_Seen`), and only then
``clean -ffdx`` is run. A slot that was tampered with in a way that a reset does not cover (see :func:`_sound`)
is removed and made again.

Nothing is removed but in a directory whose ``owner`` file names this repository.
"""

from __future__ import annotations

import os
import re
import stat
from functools import partial
from pathlib import Path
from typing import Final

import attrs

from actors.failpoints import at
from actors.git.index import count_entries
from actors.git.place import Record, Slot, copy_index, forget, write_record
from actors.git.plumbing import Refusal, complaint, git
from actors.git.provision import copy_ignored, set_up
from actors.git.repository import Repository
from actors.programs import Flow, Program, beside
from actors.surroundings import boot_id

OWNER_FILE: Final = "owner"
_ANOTHER: Final = (
    "set worktree.directory in .milestones/config/milestoned.yaml to a directory outside the checkout that you can"
    " write to and that nothing else uses"
)
_RESET_TIMEOUT: Final = 600.0
_MANY: Final = 2000
_DETACHED: Final = re.compile(rb"[0-9a-f]{40}(?:[0-9a-f]{24})?\n")

# What a worktree's git directory holds when nothing is going on in it. Anything else (a lock, a merge, a
# bisection, a configuration of its own) was left by a task.
_AT_REST: Final = frozenset(
    ("HEAD", "ORIG_HEAD", "FETCH_HEAD", "COMMIT_EDITMSG", "commondir", "gitdir", "index", "logs", "refs")
)
_OWNED_BY: Final = "worktree slots of milestoned for "


@attrs.frozen
class SlotReady:
    """The slot shows the base commit and nothing else.

    Attributes:
        path: The project's directory in it, absolute.
        base: The commit.
    """

    path: str
    base: str


def prepare_slot(
    repo: Repository,
    slot: int,
    base: str,
    *,
    owner: str = "",
    copy: tuple[str, ...] = (),
    setup: tuple[str, ...] = (),
) -> Flow[SlotReady | Refusal]:
    """Bring a slot to a commit: tracked files exact, nothing else in it.

    It is made when it is not there or not sound. What was in it is lost: archive it before if it is wanted.

    Args:
        repo: The repository.
        slot: Number of the slot; no program of ours or of a task works in it now.
        base: The commit.
        owner: ``<session>/<attempt>`` that gets it; names the archive of what it leaves.
        copy: Globs, from the project's directory, of ignored files that are copied into it; never part of a capture.
        setup: Shell commands that are run in the project's directory of it then; what they leave is part of a
            capture only where it was changed afterwards.
    """
    place = Slot(repo, slot)
    try:
        return (yield from _prepared(place, base, owner, copy, setup))
    except OSError as error:
        return Refusal(f"{place.path} cannot be prepared: {error}", "check the slots directory")


def _prepared(
    place: Slot, base: str, owner: str, copy: tuple[str, ...], setup: tuple[str, ...]
) -> Flow[SlotReady | Refusal]:
    """Do it.

    Raises:
        OSError: One of our own files cannot be read or written.
    """
    refusal = claim_cache(place.repo)
    if refusal:
        return refusal
    admin = place.admin() if _sound(place) else None
    forget(place)
    at("git.slot.forgotten")
    if admin is None or (yield from _reset(place, admin, base)) is not None:
        made = yield from _make_again(place, base)
        if isinstance(made, Refusal):
            return made
        admin = made
    refusal = _enterable(place)
    if refusal:
        return refusal
    at("git.slot.filled")
    copied = yield from copy_ignored(place, copy)
    if isinstance(copied, Refusal):
        return copied
    at("git.slot.copied")
    left = yield from set_up(place, admin, base, setup, copied)
    if isinstance(left, Refusal):
        return left
    at("git.slot.set_up")
    if setup:
        refusal = yield from _detach(admin, base)
        if refusal:
            return refusal
    record = Record(base, boot_id(), owner, copied, setup=left)
    _hand_out(place, admin, record)
    at("git.slot.recorded")
    return SlotReady(place.project, base)


def remove_slot(repo: Repository, slot: int) -> Flow[Refusal | None]:
    """Remove a slot with all that belongs to it. What is in it is lost."""
    place = Slot(repo, slot)
    if not Path(repo.cache).exists():
        return None
    refusal = claim_cache(repo)
    if refusal:
        return refusal
    try:
        return (yield from _removed(place))
    except OSError as error:  # as where a directory stands in the place of a file of ours
        return Refusal(f"what belongs to {place.path} cannot be removed: {error}", "remove it by hand")


def _removed(place: Slot) -> Flow[Refusal | None]:
    """Do it.

    Raises:
        OSError: One of our own files cannot be removed.
    """
    place.record_file.unlink(missing_ok=True)
    at("git.slot.unrecorded")
    refusal = yield from remove_tree(place.path, place.repo.cache)
    if refusal:
        return refusal
    at("git.slot.emptied")
    if _registered(place):
        done = yield git("worktree", "remove", "--force", "--force", "--", place.path, git_dir=place.repo.common_dir)
        if not done.ok:
            return Refusal(f"git keeps the worktree {place.path}: {complaint(done)}", "git worktree prune")
    at("git.slot.unregistered")
    for leftover in (place.index, place.scratch, place.setup):
        Path(leftover).unlink(missing_ok=True)
        Path(f"{leftover}.lock").unlink(missing_ok=True)
    at("git.slot.removed")
    return None


def slots(repo: Repository) -> tuple[int, ...]:
    """Return the numbers of this milestone's slots of which anything is there, in order."""
    if not Path(repo.cache).is_dir() or claim_cache(repo):
        return ()
    pattern = re.compile(rf"{re.escape(repo.milestone_id)}-slot-(\d+)(?:\.(?:index|capture|record|setup)(?:\.lock)?)?")
    names = (pattern.fullmatch(entry.name) for entry in Path(repo.cache).iterdir())
    return tuple(sorted({int(name[1]) for name in names if name}))


def _was_of_nobody_left(marker: Path) -> bool:
    """Whether the mark is our own and names a repository that is no directory any more."""
    said = marker.read_text(encoding="utf-8")
    return said.startswith(_OWNED_BY) and not Path(said.removeprefix(_OWNED_BY).removesuffix("\n")).is_dir()


def claim_cache(repo: Repository) -> Refusal | None:
    """Make the slots directory and mark it as this repository's; refuse one that is somebody else's."""
    marker = Path(repo.cache, OWNER_FILE)
    owner = f"{_OWNED_BY}{repo.common_dir}\n"
    try:
        Path(repo.cache).mkdir(mode=0o700, parents=True, exist_ok=True)
        unmarked = not marker.exists() or marker.stat().st_size == 0
        if (unmarked or _was_of_nobody_left(marker)) and {entry.name for entry in Path(repo.cache).iterdir()} <= {
            OWNER_FILE
        }:
            at("git.cache.made")
            marker.write_text(owner, encoding="utf-8")
            at("git.cache.claimed")
        if not os.access(repo.cache, os.W_OK | os.X_OK):
            return Refusal(f"the slots directory {repo.cache} cannot be written to", _ANOTHER)
        if marker.is_file() and marker.read_text(encoding="utf-8") == owner:
            return None
    except OSError as error:
        return Refusal(f"the slots directory {repo.cache} cannot be made or used: {error.strerror or error}", _ANOTHER)
    except ValueError as error:
        return Refusal(f"the slots directory {repo.cache} cannot be used: {error}", _ANOTHER)
    return Refusal(f"{repo.cache} holds files and is not marked as the slots directory of {repo.common_dir}", _ANOTHER)


def _sound(place: Slot) -> bool:
    """Whether a reset can mend whatever a task did to the slot."""
    admin = place.admin()
    if admin is None or place.record() is None or not Path(place.index).is_file():
        return False
    return {entry.name for entry in Path(admin).iterdir()} <= _AT_REST


def _reset(place: Slot, admin: str, base: str) -> Flow[Refusal | None]:
    """Make the worktree show the commit and nothing else; ``None`` when it does."""
    Path(f"{place.index}.lock").unlink(missing_ok=True)
    environment = place.environment(admin, place.index)
    for arguments in (("read-tree", "--reset", "-u", base), ("clean", "-ffdxq")):
        done = yield git(*arguments, cwd=place.path, env=environment, timeout=_RESET_TIMEOUT)
        if not done.ok:
            return Refusal(f"git {arguments[0]} failed in {place.path}: {complaint(done)}")
        try:
            most = (count_entries(place.index) or 0) + len((".git",))
            look = partial(_look_through, place.path, most)
            seen = look() if most < _MANY else (yield from beside(look))
        except OSError as error:
            return Refusal(f"{place.path} cannot be looked through: {error}")
        if seen.closed:
            return Refusal(f"a folder in {place.path} cannot be written")
        if not seen.empty and seen.files == most:
            break
    return (yield from _detach(admin, base))


def _detached_in_place(head: str, line: bytes) -> bool:
    """Write the line over one of the same kind: one sector, which no power cut leaves half written."""
    try:
        descriptor = os.open(head, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        found = os.fstat(descriptor)
        own = stat.S_ISREG(found.st_mode) and found.st_nlink == 1
        if not own or not _DETACHED.fullmatch(os.pread(descriptor, len(line) + 1, 0)):
            return False
        return os.pwrite(descriptor, line, 0) == len(line)
    except OSError:
        return False
    finally:
        os.close(descriptor)


def _detach(admin: str, base: str) -> Flow[Refusal | None]:
    """Let the worktree's HEAD name the commit, and no branch."""
    if _detached_in_place(f"{admin}/HEAD", f"{base}\n".encode()):
        return None
    done = yield git("update-ref", "--no-deref", "HEAD", base, git_dir=admin)
    return None if done.ok else Refusal(f"git cannot set HEAD in {admin}: {complaint(done)}")


@attrs.frozen
class _Seen:
    """What is below a folder.

    Attributes:
        files: How many entries that are no folders, as far as they were counted.
        empty: Whether a folder is empty, which git would not see.
        closed: Whether a folder does not let its owner read, write and enter; a reset changes no folder's mode.
    """

    files: int = 0
    empty: bool = False
    closed: bool = False


def _look_through(top: str, most: int) -> _Seen:
    """Count what is below a folder, as far as it matters: an empty folder, or more files than that, ends it.

    Raises:
        OSError: It cannot be read, or something in it goes away meanwhile.
    """
    files, folders = 0, [top]
    while folders:
        folder = folders.pop()
        if os.lstat(folder).st_mode & stat.S_IRWXU != stat.S_IRWXU:
            return _Seen(closed=True)
        before = files + len(folders)
        with os.scandir(folder) as inside:
            for entry in inside:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                else:
                    files += 1
                if files > most:
                    return _Seen(files)
        if files + len(folders) == before:
            return _Seen(files, empty=True)
    return _Seen(files)


def _make_again(place: Slot, base: str) -> Flow[str | Refusal]:
    """Remove whatever is at the slot's place and add a worktree there; return its git directory."""
    refusal = yield from remove_slot(place.repo, place.number)
    if refusal:
        return refusal
    # Forced twice: over the registration of a worktree that is gone, locked or not.
    added = yield git(
        *("worktree", "add", "--quiet", "--force", "--force", "--detach", "--", place.path, base),
        git_dir=place.repo.common_dir,
        timeout=_RESET_TIMEOUT,
    )
    admin = place.admin()
    if not added.ok or admin is None:
        return Refusal(f"git cannot make the worktree {place.path}: {complaint(added)}")
    at("git.slot.added")
    copy_index(f"{admin}/index", place.index)
    return admin


def remove_tree(path: str, cache: str) -> Flow[Refusal | None]:
    """Remove whatever is at a path; a link, not what it names.

    Args:
        path: Absolute.
        cache: The slots directory; exists.
    """
    found = Path(path)
    if found.is_symlink():
        found.unlink()
        return None
    if not found.exists():
        return None
    done = yield _remove(path)
    if not done.ok:
        # Folders without write permission keep their entries.
        yield Program(("chmod", "-R", "u+rwX", "--", path), cache, timeout=_RESET_TIMEOUT)
        done = yield _remove(path)
    return None if done.ok else Refusal(f"{path} cannot be removed: {complaint(done)}", "remove it by hand")


def _remove(path: str) -> Program:
    return Program(("rm", "-rf", "--", path), "/", (("LC_ALL", "C"),), timeout=_RESET_TIMEOUT)


def _registered(place: Slot) -> bool:
    """Whether git has a worktree at the slot's place."""
    for pointer in Path(place.repo.common_dir, "worktrees").glob("*/gitdir"):
        try:
            if pointer.read_text(encoding="utf-8").rstrip("\n") == f"{place.path}/.git":
                return True
        except (OSError, ValueError):
            continue
    return False


def _enterable(place: Slot) -> Refusal | None:
    """Make the project's directory where the commit has nothing in it.

    Raises:
        OSError: It cannot be made.
    """
    Path(place.project).mkdir(parents=True, exist_ok=True)
    if Path(place.project).resolve().is_relative_to(Path(place.path).resolve()):
        return None
    return Refusal(f"{place.project} leads out of the worktree", "commit a directory there, not a link")


def _hand_out(place: Slot, admin: str, record: Record) -> None:
    """Give the worktree an index with which a task's git finds it clean, and record the content."""
    copy_index(place.index, f"{admin}/index")
    at("git.slot.indexed")
    write_record(place, record)
