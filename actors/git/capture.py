"""What a task left in its slot, as a tree.

Owns turning the content of a slot into git objects. Refuses to know branches.

A capture looks at the files alone, against our own index of the slot: commits that a task made, branches that
it checked out and what it staged change nothing about it, except that files which it committed although they
are ignored are taken as well. ``.milestones`` stays as it is in the base, and files that were copied in from
the user's checkout are never taken, whatever ``.gitignore`` says by then. What set-up commands left is taken
where it was changed afterwards: see :mod:`actors.git.provision`.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

import attrs

from actors.failpoints import at
from actors.git.index import trees_of
from actors.git.objects import (
    FOLDER,
    GITLINK,
    Change,
    commit_content,
    is_sha1,
    is_stored,
    loose_object,
    tree_changes,
    write_objects,
)
from actors.git.place import Record, Slot, copy_index
from actors.git.plumbing import (
    Refusal,
    complaint,
    git,
    line_of,
    not_written,
    our_files,
    shown,
    split,
)
from actors.git.provision import add_all, untouched_since_setup
from actors.git.repository import Identity, Repository
from actors.programs import Flow, beside

_TIMEOUT: Final = 600.0
_MANY: Final = 1000
_NO_OBJECT: Final = re.compile(rb"0+")


@attrs.frozen
class Captured:
    """What the slot holds that differs from its base.

    Attributes:
        tree: The whole content as a tree.
        changed: Paths that differ, in git's order.
        objects: Names of all objects that the base did not have.
        written: Those of them that we wrote ourselves: their content is on the disk.
    """

    tree: str
    changed: tuple[str, ...]
    objects: tuple[str, ...]
    written: tuple[str, ...] = attrs.field(default=(), eq=False)


@attrs.frozen
class NothingToLand:
    """The slot holds what its base holds, or the branch has the same change already."""


@attrs.frozen
class Lost:
    """What was in the slot is gone or cannot be trusted; only another run of the task can bring it back."""

    reason: str


def capture(repo: Repository, slot: int, base: str) -> Flow[Captured | NothingToLand | Lost | Refusal]:
    """Make a tree of what is in a slot. Changes nothing in it; repeating it gives the same tree.

    Args:
        repo: The repository.
        slot: Number of the slot; nothing writes in it any more.
        base: The commit that it was prepared at.
    """
    place = Slot(repo, slot)
    record, admin = place.record(), place.admin()
    if record is None:
        return Lost(f"{place.path} is not what was handed out, or the machine was restarted since")
    if record.base != base:
        return Lost(f"{place.path} was prepared at {record.base}, not at {base}")
    if admin is None:
        return Lost(f"{place.path} is no worktree of {repo.common_dir} any more")
    try:
        copy_index(place.index, place.scratch)
        Path(f"{place.scratch}.lock").unlink(missing_ok=True)
        at("git.capture.begun")
        return (yield from _captured(place, admin, record))
    except OSError as error:
        if not Path(place.index).is_file():
            return Lost(f"our index of {place.path} is gone")
        return Refusal(f"what is in {place.path} cannot be looked at: {error}", "check the slots directory")


def commit_tree(
    repo: Repository, tree: str, parent: str, message: str, *, when: int, identity: Identity
) -> Flow[str | Refusal]:
    """Make a commit object. The same arguments give the same name, whoever makes it: git or we."""
    name, email = identity.name, identity.email
    content = commit_content(tree, parent, message, when=when, name=name, email=email)
    if content is not None:
        try:
            sha, whole = loose_object("commit", content)
            yield from beside(lambda: write_objects(repo.common_dir, ((sha, whole),)))
        except OSError as error:
            return not_written(str(error))
        return sha
    date = f"{when} +0000"
    author = (("NAME", identity.name), ("EMAIL", identity.email), ("DATE", date))
    env = tuple((f"GIT_{who}_{name}", value) for who in ("AUTHOR", "COMMITTER") for name, value in author)
    done = yield git(
        "commit-tree", "-p", parent, "-F", "-", tree, git_dir=repo.common_dir, env=env, stdin=message.encode()
    )
    return line_of(done) if done.ok else Refusal(f"git cannot make a commit: {complaint(done)}")


def differences(common_dir: str, before: str, after: str) -> Flow[Captured | NothingToLand | Refusal]:
    """Compare the commit or tree `before` with the tree `after`."""
    changes: tuple[Change, ...] | Refusal | None = tree_changes(common_dir, before, after)
    if changes is None:
        changes = yield from _listed_by_git(common_dir, before, after)
    if isinstance(changes, Refusal):
        return changes
    found = changes
    return (yield from beside(lambda: _summary(after, found))) if len(found) > _MANY else _summary(after, found)


def _summary(after: str, changes: tuple[Change, ...]) -> Captured | NothingToLand | Refusal:
    """Say what differs, or what of it a commit cannot hold."""
    changed, objects = [], {after}
    for change in changes:
        if change.new_mode == GITLINK != change.old_mode:
            return Refusal(
                f"{shown(change.path)} is a git repository of its own, which a commit cannot hold",
                "let the task remove its .git, or ignore the folder in .gitignore",
            )
        if FOLDER not in {change.old_mode, change.new_mode}:
            changed.append(shown(change.path))
        if change.name:
            objects.add(change.name)
    return Captured(after, tuple(changed), tuple(sorted(objects))) if changed else NothingToLand()


def _listed_by_git(common_dir: str, before: str, after: str) -> Flow[tuple[Change, ...] | Refusal]:
    listed = yield git(
        "diff-tree", "-r", "-t", "-z", "--no-renames", before, after, git_dir=common_dir, timeout=_TIMEOUT
    )
    if not listed.ok:
        return Refusal(f"git cannot compare {before} with {after}: {complaint(listed)}")
    return (yield from beside(lambda: _changes(listed.stdout)))


def _changes(raw: bytes) -> tuple[Change, ...]:
    """Read what ``git diff-tree -r -t -z`` printed."""
    fields = split(raw)
    return tuple(
        Change(old_mode, new_mode, "" if _NO_OBJECT.fullmatch(name) else name.decode(), path)
        for (old_mode, new_mode, _, name, _), path in zip(
            (entry.removeprefix(b":").split(b" ") for entry in fields[::2]), fields[1::2], strict=True
        )
    )


def needed(common_dir: str, work: Captured, commit: str) -> Flow[tuple[str, ...]]:
    """Return what :func:`object_paths` does; where it takes long, it is found beside the loop."""
    if len(work.objects) > _MANY:
        return (yield from beside(lambda: object_paths(common_dir, work, commit)))
    return object_paths(common_dir, work, commit)


def object_paths(common_dir: str, work: Captured, commit: str) -> tuple[str, ...]:
    """Return what to flush so that a commit of the work survives a power cut: files, then their folders.

    The files as well: an object that a task's own git wrote before us was not flushed, and ours then trusts
    it. What is not loose is in a pack, which git flushes when it makes it.
    """
    root = f"{common_dir}/objects"
    files = {name: f"{root}/{name[:2]}/{name[2:]}" for name in (*work.objects, commit)}
    loose = {name: file for name, file in files.items() if os.path.lexists(file)}
    unsure = [file for name, file in loose.items() if name != commit and name not in work.written]
    folders = sorted({file.rpartition("/")[0] for file in loose.values()})
    packs = (f"{root}/pack",) if len(loose) < len(files) else ()
    return (*unsure, *folders, root, *packs)


def _captured(place: Slot, admin: str, record: Record) -> Flow[Captured | NothingToLand | Lost | Refusal]:
    environment = place.environment(admin, place.scratch)
    head = yield from _leave_branch(admin, record.base)
    forced = () if head == record.base else (yield from _committed_although_ignored(place, environment, record, head))
    refusal = yield from add_all(place, environment, record.copied, forced)
    if refusal:
        return refusal
    at("git.capture.added")
    if record.setup:
        undone = yield from _without_setup(place, environment, record)
        if undone is not None:
            return undone
    return (yield from _written(place, environment, record.base))


def _written(
    place: Slot, environment: tuple[tuple[str, str], ...], base: str
) -> Flow[Captured | NothingToLand | Refusal]:
    """Write the trees of the index that the capture worked on, and compare."""
    common_dir = place.repo.common_dir
    trees = trees_of(place.scratch) if is_sha1(base) else None
    if trees is None:
        done = yield git("write-tree", cwd=place.path, env=environment, timeout=_TIMEOUT)
        if not done.ok:
            return Refusal(f"git cannot write what is in {place.path}: {complaint(done)}")
        return (yield from differences(common_dir, base, line_of(done)))
    try:
        written = yield from beside(lambda: _store(common_dir, trees.made))
    except OSError as error:
        return not_written(str(error))
    at("git.capture.stored")
    work = yield from differences(common_dir, base, trees.top)
    if not isinstance(work, Captured):
        return work
    return attrs.evolve(work, written=written)


def _store(common_dir: str, trees: tuple[tuple[str, bytes], ...]) -> tuple[str, ...]:
    """Write the trees that are not there yet and return their names.

    Raises:
        OSError: The disk did not take them.
    """
    missing = [tree for tree in trees if not is_stored(common_dir, *tree)]
    write_objects(common_dir, missing)
    return tuple(name for name, _ in missing)


def _without_setup(
    place: Slot, environment: tuple[tuple[str, str], ...], record: Record
) -> Flow[Lost | Refusal | None]:
    """Give the paths that only set-up commands changed what the base has for them."""
    undone = yield from untouched_since_setup(place, environment, record)
    if undone is None:
        return Lost(f"what was set up in {place.path} is not known any more")
    if isinstance(undone, Refusal) or not undone:
        return undone or None
    options = ("update-index", "-z", "--index-info")
    done = yield git(*options, cwd=place.path, env=environment, stdin=undone, timeout=_TIMEOUT)
    return None if done.ok else Refusal(f"git cannot leave out what was set up in {place.path}: {complaint(done)}")


def _leave_branch(admin: str, base: str) -> Flow[str]:
    """Return what the slot's HEAD is; detach it when a task has a branch checked out in it."""
    head = Path(admin, "HEAD").read_text(encoding="utf-8", errors="replace").strip()
    if head == base:
        return base
    asked = yield git("rev-parse", "--verify", "--quiet", "HEAD^{commit}", git_dir=admin)
    sha = line_of(asked) if asked.ok else base
    if head.startswith("ref: "):
        yield git("update-ref", "--no-deref", "HEAD", sha, git_dir=admin)
    return sha


def _committed_although_ignored(
    place: Slot, environment: tuple[tuple[str, str], ...], record: Record, head: str
) -> Flow[tuple[str, ...]]:
    """Return the pathspecs of files that a commit of the task has and that are still there."""
    names = ("diff-tree", "-r", "-z", "--name-only", "--no-renames", "--diff-filter=AM", record.base, head)
    listed = yield git(*names, cwd=place.path, env=environment, timeout=_TIMEOUT)
    private = (*our_files(place.repo.inside), *record.copied)
    return tuple(
        f":(top,literal){path}"
        for path in map(os.fsdecode, split(listed.stdout))
        if os.path.lexists(f"{place.path}/{path}")
        and not any(path == top.rstrip("/") or path.startswith(f"{top.rstrip('/')}/") for top in private)
    )
