"""What was kept of work that did not land is not kept for ever.

Owns which archives and which directories that were set aside are removed. Refuses to know when a milestone was
completed: that is asked.

Removed is only what is provably ours and old: a ref below ``refs/milestone-archive/`` that still names what was
looked at, of a milestone that was completed before the moment; a directory beside our slots that has our name and our
note, in which nothing is newer than the moment.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import attrs

from actors.failpoints import at
from actors.git.plumbing import Refusal, complaint, git, shown
from actors.git.repository import Repository
from actors.git.slots import claim_cache, remove_tree
from actors.programs import Flow, Program

ARCHIVES: Final = "refs/milestone-archive"

_TWO_DOTS: Final = re.compile(r"\.(?=\.)")
"""Where work that did not land is kept, as ``<session>/<attempt>``."""

_ASIDE: Final = re.compile(r"[A-Za-z0-9._-]+-kept-\d+")
_TIMEOUT: Final = 600.0


@attrs.frozen
class Expired:
    """What was removed, and what could not be.

    Attributes:
        archives: Full names of refs, and the commits that they named.
        folders: Absolute paths.
        refusals: What stood in the way.
    """

    archives: tuple[tuple[str, str], ...] = ()
    folders: tuple[str, ...] = ()
    refusals: tuple[Refusal, ...] = ()


def expire(repo: Repository, before: float, is_over: Callable[[str], bool]) -> Flow[Expired]:
    """Remove what was kept and is old.

    Args:
        repo: The repository.
        before: Seconds of the epoch; what is younger stays.
        is_over: Tells of a session whether its milestone was completed before that.
    """
    refusals: list[Refusal] = []
    archives = yield from _archives(repo, before, is_over)
    if isinstance(archives, Refusal):
        refusals.append(archives)
        archives = ()
    folders: list[str] = []
    for path in _old(repo, before):
        newer = yield Program(
            ("find", path, "-newermt", f"@{before:.0f}", "-print", "-quit"),
            "/",
            (("LC_ALL", "C"),),
            timeout=_TIMEOUT,
        )
        if not newer.ok or newer.stdout:
            continue
        refusal = yield from remove_tree(path, repo.cache)
        at("git.expiry.folder")
        if refusal is None:
            Path(f"{path}.txt").unlink(missing_ok=True)
            folders.append(path)
        else:
            refusals.append(refusal)
    return Expired(archives, tuple(folders), tuple(refusals))


def archive_ref(owner: str) -> str:
    """Return the ref under which an attempt's work is kept.

    A task's id may have two dots in a row, and so may an attempt of one that ends with a dot; a ref may not
    (git-check-ref-format(1)). No id has a ``%``, so two attempts never get one ref.

    Args:
        owner: ``<session>/<attempt>``.
    """
    return f"{ARCHIVES}/{_TWO_DOTS.sub('%2e', owner)}"


def _archives(
    repo: Repository, before: float, is_over: Callable[[str], bool]
) -> Flow[tuple[tuple[str, str], ...] | Refusal]:
    format_ = "--format=%(refname) %(objectname) %(committerdate:unix)"
    listed = yield git("for-each-ref", format_, f"{ARCHIVES}/", git_dir=repo.common_dir)
    if not listed.ok:
        return Refusal(f"git cannot list {ARCHIVES}: {complaint(listed)}")
    old: list[tuple[str, str]] = []
    for line in shown(listed.stdout).splitlines():
        name, sha, date = line.rsplit(" ", 2)
        session, _, attempt = name.removeprefix(f"{ARCHIVES}/").partition("/")
        if attempt and date.isdigit() and int(date) < before and is_over(session):
            old.append((name, sha))
    if not old:
        return ()
    at("git.expiry.listed")
    orders = "".join(f"delete {name} {sha}\n" for name, sha in old).encode()
    done = yield git("update-ref", "--stdin", git_dir=repo.common_dir, stdin=orders)
    if not done.ok:
        return Refusal(f"git cannot remove old archives: {complaint(done)}")
    at("git.expiry.archives")
    return tuple(old)


def _old(repo: Repository, before: float) -> Iterator[str]:
    """List what was set aside before a moment, absolute, in order: directories that have our note."""
    if not Path(repo.cache).is_dir() or claim_cache(repo):
        return
    for folder in sorted(Path(repo.cache).iterdir()):
        note = folder.with_name(f"{folder.name}.txt")
        if not _ASIDE.fullmatch(folder.name):
            continue
        try:
            found, said = folder.lstat(), note.lstat()
            whole = stat.S_ISDIR(found.st_mode) and stat.S_ISREG(said.st_mode)
            if whole and said.st_mtime < before and note.read_bytes().startswith(f"{folder}\n".encode()):
                yield str(folder)
        except OSError:
            continue
