"""What a fresh slot gets beside its commit: copies of ignored files, and what set-up commands make.

Owns both, and the list of what the latter leave that git does not ignore. Refuses to know how a slot is brought to
its commit and what becomes of its content.

**What was set up is nobody's work.** After the commands have run, everything is added to an index as a capture will
do it, and what differs from the base is listed, as ``git diff-index --raw`` prints it: path, modes and contents
before and after. The capture makes the same list of what it finds. An entry that stands in both was not changed
since: the commit gets for it what the base has. Any other is the task's, as a whole file. The list is a file beside
the slot, so a capture that is repeated comes to the same tree.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from actors.digests import sha256
from actors.git.place import Record, Slot, copy_index, overwrite
from actors.git.plumbing import OUR_FILES, Refusal, complaint, git, joined, our_files, split, without
from actors.git.repository import Repository
from actors.programs import Finished, Flow, Program, beside

_SETUP_TIMEOUT: Final = 900.0
_TIMEOUT: Final = 600.0
_COPIED_AT_ONCE: Final = 500
_OURS: Final = re.compile(rb"%b(/|\Z)" % re.escape(OUR_FILES.encode()))
_IGNORED: Final = b"The following paths are ignored by"

Environment = tuple[tuple[str, str], ...]
"""Variables that name git directory, worktree and index."""


def copy_ignored(place: Slot, globs: tuple[str, ...]) -> Flow[tuple[str, ...] | Refusal]:
    """Copy the ignored files of the user's project that match; a wholly ignored folder is copied as one.

    Args:
        place: The slot.
        globs: Patterns, from the project's directory.

    Returns:
        What was copied, relative to the top.
    """
    if not globs:
        return ()
    repo, project = place.repo, _project(place.repo)
    listed = yield _listed(repo, globs)
    if not listed.ok:
        return Refusal(f"git cannot list the ignored files of {project}: {complaint(listed)}", "check worktree.copy")
    names = tuple(os.fsdecode(name) for name in split(listed.stdout) if not _OURS.match(name))
    for batch in _batches(names):
        program = ("cp", "-a", "--parents", "-t", place.project, "--", *batch)
        done = yield Program(program, project, (("LC_ALL", "C"),), timeout=_SETUP_TIMEOUT)
        if not done.ok:
            return Refusal(f"the files of worktree.copy cannot be copied: {complaint(done)}", "check worktree.copy")
    return tuple(f"{repo.inside}/{name}" for name in names) if repo.inside else names


def unmatched_copies(repo: Repository, globs: tuple[str, ...]) -> Flow[tuple[str, ...]]:
    """Return the patterns that no ignored file of the user's project matches."""
    found: list[str] = []
    for pattern in globs:
        listed = yield _listed(repo, (pattern,))
        if listed.ok and not listed.stdout:
            found.append(pattern)
    return tuple(found)


def set_up(
    place: Slot, admin: str, base: str, commands: tuple[str, ...], copied: tuple[str, ...]
) -> Flow[str | Refusal]:
    """Run the set-up commands in the project's directory of a slot, and list what they left.

    Args:
        place: The slot; shows the base.
        admin: Its git directory.
        base: The commit.
        commands: For the shell, one after the other.
        copied: What was copied into it, relative to the top.

    Returns:
        The SHA-256 of the list, ``""`` when it is empty.

    Raises:
        OSError: The list cannot be written.
    """
    for command in commands:
        done: Finished = yield Program(("/bin/sh", "-c", command), place.project, timeout=_SETUP_TIMEOUT)
        if not done.ok:
            said = (done.stderr.strip() or done.stdout.strip() or b"no output").splitlines()[-1]
            reason = f"{command!r} failed with {done.code}: {said.decode('utf-8', 'backslashreplace')}"
            return Refusal(reason, "mend worktree.setup")
    if not commands:
        return ""
    copy_index(place.index, place.scratch)
    environment = place.environment(admin, place.scratch)
    refusal = yield from add_all(place, environment, copied)
    if refusal:
        return refusal
    listed = yield _changed(place, environment, base)
    if not listed.ok:
        return Refusal(f"git cannot list what was set up in {place.path}: {complaint(listed)}")
    if not listed.stdout:
        return ""
    overwrite(place.setup, listed.stdout)
    return _digest(listed.stdout)


def add_all(
    place: Slot, environment: Environment, copied: tuple[str, ...], forced: tuple[str, ...] = ()
) -> Flow[Refusal | None]:
    """Add what is in a slot to an index, but for what is ignored, ours, or was copied in.

    Args:
        place: The slot.
        environment: Names the index.
        copied: What was copied in, relative to the top.
        forced: Pathspecs of files to add although they are ignored.
    """
    everything = joined(":(top)", *without((*our_files(place.repo.inside), *copied)))
    batches = [(("add", "--all"), everything), (("add", "--force"), joined(*forced))]
    for arguments, pathspecs in batches:
        if not pathspecs:
            continue
        options = ("--pathspec-from-file=-", "--pathspec-file-nul")
        added = yield git(*arguments, *options, cwd=place.path, env=environment, stdin=pathspecs, timeout=_TIMEOUT)
        # git adds everything, and complains all the same (status 1, not 128) that an excluded path is an ignored one.
        if not (added.ok or (added.code == 1 and added.stderr.startswith(_IGNORED))):
            return Refusal(f"git cannot add what is in {place.path}: {complaint(added)}")
    return None


def untouched_since_setup(place: Slot, environment: Environment, record: Record) -> Flow[bytes | Refusal | None]:
    """Return what ``git update-index -z --index-info`` needs to undo what only set-up commands did.

    Args:
        place: The slot.
        environment: Names the index to which all that is in the slot was added.
        record: Of the slot.

    Returns:
        The input, removals first; or ``None`` when the list of what was set up is not what was written.
    """
    try:
        known = Path(place.setup).read_bytes()
    except OSError:
        return None
    if _digest(known) != record.setup:
        return None
    listed = yield _changed(place, environment, record.base)
    if not listed.ok:
        return Refusal(f"git cannot list what changed in {place.path}: {complaint(listed)}")
    return (yield from beside(lambda: _undoing(known, listed.stdout)))


def _undoing(known: bytes, found: bytes) -> bytes:
    """Return the orders that give what stands in both lists its content before."""
    was_set_up = frozenset(_entries(known))
    untouched = [(meta.split(b" "), path) for meta, path in _entries(found) if (meta, path) in was_set_up]
    before = sorted((meta[0].removeprefix(b":"), meta[2], path) for meta, path in untouched)
    # git reads the mode as a number: all zeros, which sort first, remove the path.
    return b"".join(b"%b %b\t%b\0" % entry for entry in before)


def _project(repo: Repository) -> str:
    return f"{repo.top}/{repo.inside}" if repo.inside else repo.top


def _listed(repo: Repository, globs: tuple[str, ...]) -> Program:
    options = ("-z", "--others", "--ignored", "--exclude-standard", "--directory", "--")
    pathspecs = (f":(glob){pattern}" for pattern in globs)
    return git("--no-optional-locks", "ls-files", *options, *pathspecs, cwd=_project(repo), timeout=_TIMEOUT)


def _changed(place: Slot, environment: Environment, base: str) -> Program:
    options = ("--cached", "--raw", "-z", "--no-renames", "--no-abbrev")
    return git("diff-index", *options, base, "--", cwd=place.path, env=environment, timeout=_TIMEOUT)


def _entries(raw: bytes) -> Iterator[tuple[bytes, bytes]]:
    fields = split(raw)
    return zip(fields[::2], fields[1::2], strict=True)


def _digest(listed: bytes) -> str:
    return sha256(listed).hexdigest()


def _batches(names: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    for first in range(0, len(names), _COPIED_AT_ONCE):
        yield names[first : first + _COPIED_AT_ONCE]
