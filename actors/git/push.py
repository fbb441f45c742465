"""The branch, on its way to a remote.

Owns one push of one branch. Never forces: what a remote has and we have not is somebody's work.
"""

from __future__ import annotations

from typing import Final

import attrs

from actors.git.plumbing import complaint, git, shown
from actors.git.repository import Repository, read_tip
from actors.programs import Finished, Flow

_TIMEOUT: Final = 120.0


@attrs.frozen
class Pushed:
    """The remote's branch was moved to this commit."""

    sha: str


@attrs.frozen
class UpToDate:
    """The remote's branch was there already."""

    sha: str


@attrs.frozen
class PushRefused:
    """The remote's branch is where it was, and why."""

    reason: str


def push(repo: Repository, remote: str, *, timeout: float = _TIMEOUT) -> Flow[Pushed | PushRefused | UpToDate]:
    """Push the milestone branch, as far as it is now, to the branch of the same name.

    No question is ever asked: without usable credentials the push is refused. Repeating it is harmless.

    Args:
        repo: The repository.
        remote: Name or URL of the remote.
        timeout: Seconds for the whole exchange.
    """
    tip = yield from read_tip(repo)
    if tip is None:
        return PushRefused(f"there is no branch {repo.branch}")
    done = yield git(
        "push",
        "--porcelain",
        "--no-verify",
        "--no-follow-tags",
        "--no-signed",
        "--recurse-submodules=no",
        "--",
        remote,
        f"{tip.sha}:{repo.ref}",
        cwd=repo.top,  # a remote's path may be relative to the checkout
        timeout=timeout,
        talks=True,
    )
    return _outcome(done, tip.sha, repo.ref)


def _outcome(done: Finished, sha: str, ref: str) -> Pushed | PushRefused | UpToDate:
    """Read the line ``flag TAB from:to TAB summary`` that is about our ref."""
    for line in shown(done.stdout).splitlines():
        flag, _, rest = line.partition("\t")
        source, _, summary = rest.partition("\t")
        if source != f"{sha}:{ref}":
            continue
        if flag == "!":
            return PushRefused(f"{summary}; somebody else's commits are never overwritten")
        if done.ok:
            return UpToDate(sha) if flag == "=" else Pushed(sha)
    return PushRefused(complaint(done))
