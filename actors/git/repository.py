"""The repository that a session works in, and its milestone branch.

Owns finding the repository, refusing those that worktree slots cannot serve, and creating the branch. Refuses
to know slots, tasks and commits.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

import attrs

from actors.failpoints import at
from actors.git.plumbing import (
    Refusal,
    complaint,
    flush,
    git,
    line_of,
    ref_paths,
    shown,
)
from actors.git.reflock import abandoned, lock_path, look
from actors.git.trailers import task_commits
from actors.git.watch import uncommitted
from actors.programs import NOT_STARTED, Finished, Flow
from actors.surroundings import OLDEST_GIT

_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_VERSION: Final = re.compile(rb"git version (\d+)\.(\d+)")
_OBJECT_NAME: Final = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")

_TWIN_DEPTH: Final = 5_000
"""So many commits of a branch are searched for one that was made anew by a rebase."""

_IN_PLACE: Final = "or run the tasks in place with --isolation none"

_IN_PROGRESS: Final = (
    ("MERGE_HEAD", "a merge", "git merge --continue, or git merge --abort"),
    ("rebase-merge", "a rebase", "git rebase --continue, or git rebase --abort"),
    ("rebase-apply", "a rebase or git am", "git rebase --continue or git am --continue, or their --abort"),
    ("CHERRY_PICK_HEAD", "a cherry-pick", "git cherry-pick --continue, or git cherry-pick --abort"),
    ("REVERT_HEAD", "a revert", "git revert --continue, or git revert --abort"),
    ("BISECT_LOG", "a bisection", "git bisect reset"),
)


@attrs.frozen
class Repository:
    """A repository that a session can work in.

    Attributes:
        top: Top directory of the user's checkout, absolute.
        git_dir: Its git directory, absolute.
        common_dir: The git directory that all worktrees share, absolute.
        branch: ``milestone/<id>``.
        cache: Directory for the slots, absolute, outside the checkout; need not exist.
        inside: The project's directory, relative to the top; ``""`` when it is the top.
    """

    top: str
    git_dir: str
    common_dir: str
    branch: str
    cache: str
    inside: str = ""

    @property
    def ref(self) -> str:
        """The branch's full name."""
        return f"refs/heads/{self.branch}"

    @property
    def milestone_id(self) -> str:
        """The milestone whose branch it is."""
        return self.branch.removeprefix("milestone/")


@attrs.frozen
class NotARepository:
    """There is no git repository, and why that is so; tasks can run in place."""

    reason: str


@attrs.frozen
class Identity:
    """Who the commits are by."""

    name: str
    email: str


FALLBACK_IDENTITY: Final = Identity("milestoned", "milestoned@localhost")
"""Who commits are by when git knows nobody."""


@attrs.frozen
class Started:
    """The branch exists.

    Attributes:
        base_sha: Its tip, from which the session goes on.
        branch: ``milestone/<id>``.
        created: Whether it was created now.
        uncommitted: How many uncommitted files of the checkout tasks will not see.
        identity: The author of the commits to come.
        warning: What the user should know about the identity, ``""`` for nothing.
    """

    base_sha: str
    branch: str
    created: bool
    uncommitted: int
    identity: Identity
    warning: str = ""


@attrs.frozen
class Tip:
    """What the branch points to."""

    sha: str


def inspect(path: str, milestone_id: str, cache: str) -> Flow[Repository | NotARepository | Refusal]:
    """Find the repository that a directory belongs to and look whether a session can work in it.

    Args:
        path: The project's directory, anywhere in the user's checkout.
        milestone_id: The milestone; becomes part of a branch's name.
        cache: Directory for the worktree slots.

    Returns:
        The repository; or that there is none; or what stands in the way and how to mend it.
    """
    if not _ID.fullmatch(milestone_id) or ".." in milestone_id or milestone_id.endswith((".", ".lock")):
        return Refusal(f"milestone id {milestone_id!r} cannot be part of a branch's name", "give it another id")
    version = yield git("version", cwd=path)
    if version.code == NOT_STARTED or not version.ok:
        return _without_git(path, version)
    if refusal := _too_old(version):
        return refusal
    kind = yield git("rev-parse", "--is-bare-repository", "--is-inside-work-tree", cwd=path)
    if not kind.ok:
        return no_repository(path, kind)
    bare, in_checkout = kind.stdout.split()
    if bare == b"true" or in_checkout == b"false":
        what = "a bare repository" if bare == b"true" else "inside a git directory"
        return Refusal(f"{path} is {what}: there is no checkout", f"run in a checkout of it, {_IN_PLACE}")
    places = yield from _places(path)
    if isinstance(places, Refusal):
        return places
    top, git_dir, common_dir, inside = places
    branch = f"milestone/{milestone_id}"
    found = Repository(top, git_dir, common_dir, branch, os.path.realpath(cache), inside.rstrip("/"))
    return (yield from _hindrance(found)) or found


def start(repo: Repository, needed: str = "") -> Flow[Started | Refusal]:
    """Create the milestone branch at HEAD, or go on from its tip, and say what the session starts from.

    Args:
        repo: The repository.
        needed: Commit that a branch begun anew must contain, because it holds what is completed; ``""`` for none.
    """
    refusal = yield from checked_out_elsewhere(repo)
    if refusal:
        return refusal
    tip: Tip | Refusal | None = yield from read_tip(repo)
    created = tip is None
    if tip is None:
        tip = (yield from _lost(repo, needed)) or (yield from _create_branch(repo))
    else:
        tip = yield from tip_with(repo, needed)
    if isinstance(tip, Refusal):
        return tip
    changes = yield from uncommitted(repo.top, repo.inside)
    if isinstance(changes, Refusal):
        return changes
    identity, warning = yield from _identity(repo)
    return Started(tip.sha, repo.branch, created, changes.count, identity, warning)


def _lost(repo: Repository, needed: str) -> Flow[Refusal | None]:
    """Refuse to begin the branch anew where that would leave out the work of completed tasks."""
    if not needed:
        return None
    merged = yield git("merge-base", "--is-ancestor", needed, "HEAD", cwd=repo.top)
    if merged.ok:
        return None
    return Refusal(
        f"the branch {repo.branch} is gone, and HEAD does not contain what its completed tasks made",
        f"bring it back: git branch {repo.branch} {needed}; or set the status of these tasks to pending, "
        "and they are executed again",
    )


def tip_with(repo: Repository, needed: str) -> Flow[Tip | Refusal]:
    """Return what the branch points to, if that is still built on what landed before.

    A branch that was rebased has the same work in other commits, with the same trailers.

    Args:
        repo: The repository.
        needed: The last commit that landed; ``""`` for none.

    Returns:
        The tip; or, where the branch is gone or was set back, a passing obstacle: the commits can be put back.
    """
    tip = yield from read_tip(repo)
    if tip is None:
        cure = f"restore it: git branch {repo.branch} {needed or 'COMMIT'}"
        return Refusal(f"the branch {repo.branch} is gone", cure, passing=True)
    if needed in {"", tip.sha}:
        return tip
    merged = yield git("merge-base", "--is-ancestor", needed, tip.sha, git_dir=repo.common_dir)
    if merged.ok or (yield from _has_twin(repo, tip, needed)):
        return tip
    return Refusal(
        f"somebody took commits off {repo.branch}: {needed} is no longer part of it",
        f"put them back: git branch --force {repo.branch} {needed}; or cancel the session",
        passing=True,
    )


def _has_twin(repo: Repository, tip: Tip, needed: str) -> Flow[bool]:
    """Tell whether a branch has another commit of the same task and session, made anew by a rebase."""
    wanted = yield from task_commits(repo.top, "-1", needed)
    if isinstance(wanted, Finished) or not wanted:
        return False
    listed = yield from task_commits(repo.top, f"--max-count={_TWIN_DEPTH}", tip.sha)
    names = {attrs.evolve(one, sha="") for one in (() if isinstance(listed, Finished) else listed)}
    return attrs.evolve(wanted[0], sha="") in names


def is_there(repo: Repository) -> bool:
    """Tell whether the repository is still where it was found."""
    return Path(repo.common_dir, "HEAD").exists()


def read_tip(repo: Repository) -> Flow[Tip | None]:
    """Return what the branch points to, or ``None`` when there is no such branch.

    Reads the loose ref when there is one: a program takes longer than all else that is done before landing.
    """
    try:
        loose = Path(repo.common_dir, repo.ref).read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        loose = ""
    if _OBJECT_NAME.fullmatch(loose):
        return Tip(loose)
    done = yield git("rev-parse", "--verify", "--quiet", f"{repo.ref}^{{commit}}", git_dir=repo.common_dir)
    return Tip(line_of(done)) if done.ok else None


def checked_out_elsewhere(repo: Repository) -> Flow[Refusal | None]:
    """Refuse while a worktree other than our slots has the branch checked out, or rebases or bisects it.

    Reads the HEAD of each worktree, as git does before it lets a branch be checked out; where HEAD is no file
    that tells it (reftable), git is asked.
    """
    if Path(repo.common_dir, "reftable").is_dir():
        asked = yield git("for-each-ref", "--format=%(worktreepath)", repo.ref, git_dir=repo.common_dir)
        place = line_of(asked)
        ours = not place or place.startswith(repo.cache + os.sep)
        return None if ours else _in_use(repo, place)
    try:
        others = sorted(Path(repo.common_dir, "worktrees").iterdir())
    except (FileNotFoundError, NotADirectoryError):  # git removes it with the last worktree, at any moment
        others = []
    for admin in (Path(repo.common_dir), *others):
        place = _worktree_of(repo, admin)
        if not place.startswith(repo.cache + os.sep) and _uses_branch(admin, repo):
            return _in_use(repo, place)
    return None


def _in_use(repo: Repository, place: str) -> Refusal:
    cure = f"switch it to another branch (git -C {place} switch -), or, if it is gone, run git worktree prune"
    return Refusal(f"{repo.branch} is checked out in {place}", cure, passing=True)


def _worktree_of(repo: Repository, admin: Path) -> str:
    if admin == Path(repo.common_dir):
        return repo.top if repo.git_dir == repo.common_dir else str(admin.parent)
    try:
        return str(Path((admin / "gitdir").read_text(encoding="utf-8", errors="surrogateescape").strip()).parent)
    except OSError:
        return str(admin)


def _uses_branch(admin: Path, repo: Repository) -> bool:
    claims = {
        "HEAD": f"ref: {repo.ref}",
        "BISECT_START": repo.branch,
        "rebase-merge/head-name": repo.ref,
        "rebase-apply/head-name": repo.ref,
    }
    for name, claim in claims.items():
        try:
            content = (admin / name).read_bytes()
        except OSError:
            continue
        if content.strip() == claim.encode():
            return True
    return False


def _without_git(path: str, version: Finished) -> NotARepository | Refusal:
    if not _git_directory(path):
        return NotARepository(f"{path} is in no git repository, and git does not run: {complaint(version)}")
    return Refusal(
        f"git does not run: {complaint(version)}",
        f"install git {_dotted(OLDEST_GIT)} or later, {_IN_PLACE}",
    )


def _git_directory(path: str) -> str:
    """Return the ``.git`` that a directory belongs to, whole or damaged; ``""`` where there is none.

    An empty directory of that name is none for git either, which goes on looking above it.
    """
    for folder in (Path(path).absolute(), *Path(path).absolute().parents):
        found = folder / ".git"
        if found.is_file() or any((found / name).exists() for name in ("HEAD", "config", "objects")):
            return str(found)
    return ""


def _too_old(version: Finished) -> Refusal | None:
    number = _VERSION.match(version.stdout)
    if number is None:
        return Refusal(f"git names no version: {line_of(version)!r}", f"install git {_dotted(OLDEST_GIT)} or later")
    found = (int(number[1]), int(number[2]))
    if found < OLDEST_GIT:
        reason = f"git {_dotted(found)} is too old: merging without a checkout needs {_dotted(OLDEST_GIT)}"
        return Refusal(reason, f"install a later git, {_IN_PLACE}")
    return None


def _dotted(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"


def no_repository(path: str, done: Finished) -> NotARepository | Refusal:
    """Say what there is where git has found no repository that it reads.

    Args:
        path: Where it was asked.
        done: How it ended.
    """
    said = complaint(done)
    if "dubious ownership" in said:
        cure = f"if you trust it: git config --global --add safe.directory {Path(path).absolute()}"
        return Refusal(f"the repository at {path} belongs to another user", cure)
    if "not a git repository" in said:
        # Tasks that ran in place here would change files that somebody takes for versioned.
        if damaged := _git_directory(path):
            return Refusal(f"git does not take {damaged} for a repository: {said}", f"mend it, {_IN_PLACE}")
        return NotARepository(f"{path} is in no git repository")
    return Refusal(f"git cannot read the repository at {path}: {said}", f"mend it, {_IN_PLACE}")


def _places(path: str) -> Flow[tuple[str, str, str, str] | Refusal]:
    """Ask for each path by itself: a path may have a newline in it."""
    found: list[str] = []
    for question in ("--show-toplevel", "--absolute-git-dir", "--git-common-dir", "--show-prefix"):
        done = yield git("rev-parse", "--path-format=absolute", question, cwd=path)
        if not done.ok:
            return Refusal(f"git cannot say where the repository at {path} is: {complaint(done)}")
        try:
            found.append(done.stdout.removesuffix(b"\n").decode("utf-8"))
        except UnicodeDecodeError:
            return Refusal(f"the path of the repository is not UTF-8: {line_of(done)!r}", "move it elsewhere")
    top, git_dir, common_dir, inside = found
    return top, git_dir, common_dir, inside


def _hindrance(repo: Repository) -> Flow[Refusal | None]:
    """Look for states that slots cannot serve, and for those in which a person is at work."""
    if Path(repo.cache).is_relative_to(Path(repo.top).resolve()):
        return Refusal(
            f"the slots directory {repo.cache} is inside the checkout {repo.top}",
            "set worktree.directory in .milestones/config/milestoned.yaml to a directory outside of it",
        )
    head = yield git("rev-parse", "--verify", "--quiet", "HEAD^{commit}", cwd=repo.top)
    if not head.ok:
        return Refusal("the current branch has no commit yet", f"make a first commit, {_IN_PLACE}")
    for name, what, cure in _IN_PROGRESS:
        if Path(repo.git_dir, name).exists():
            return Refusal(f"{what} is in progress in {repo.top}", f"end it first: {cure}")
    sparse = yield git("config", "--type=bool", "--get", "core.sparseCheckout", cwd=repo.top)
    if sparse.stdout.strip() == b"true":
        return Refusal("the checkout is sparse: slots would be too", f"git sparse-checkout disable, {_IN_PLACE}")
    modules = yield git("rev-parse", "--verify", "--quiet", "HEAD:.gitmodules", cwd=repo.top)
    if modules.ok:
        return Refusal("the repository has submodules, which would be empty in slots", _IN_PLACE.removeprefix("or "))
    return (yield from _nothing_to_capture(repo)) if repo.inside else None


def _nothing_to_capture(repo: Repository) -> Flow[Refusal | None]:
    """Look for a project whose directory no commit can have: every task would fail by itself, or its work be lost."""
    kind = yield git("cat-file", "-t", f"HEAD:{repo.inside}", cwd=repo.top)
    if kind.ok:
        if kind.stdout.strip() == b"tree":
            return None
        cure = f"commit a directory there, {_IN_PLACE}"
        return Refusal(f"the current commit has {repo.inside} as a link or a file, not as a directory", cure)
    ignored = yield git("check-ignore", "--quiet", "--no-index", "--", f"{repo.inside}/", cwd=repo.top)
    if ignored.ok:
        return Refusal(
            f"git ignores {repo.top}/{repo.inside}: what tasks make there would never be committed",
            f"take it out of .gitignore, {_IN_PLACE}",
        )
    return None


def _create_branch(repo: Repository) -> Flow[Tip | Refusal]:
    head = yield git("rev-parse", "--verify", "HEAD^{commit}", cwd=repo.top)
    if not head.ok:
        return Refusal(f"HEAD names no commit: {complaint(head)}", "make a first commit")
    sha = line_of(head)
    # An empty old value: only if there is none. Loses against whoever creates it at the same moment.
    create = git("update-ref", "--create-reflog", "-m", "milestoned: start", repo.ref, sha, "", git_dir=repo.common_dir)
    before = look(repo)
    made = yield create
    if not made.ok and abandoned(repo, before, look(repo)):
        # A git of ours was killed at just this; nothing but its lock is left of it.
        lock_path(repo).unlink(missing_ok=True)
        made = yield create
    if made.ok:
        at("git.branch.made")
        unsafe = yield from flush(ref_paths(repo.common_dir, repo.ref))
        return unsafe or Tip(sha)
    meanwhile = yield from read_tip(repo)
    if meanwhile is not None:
        return meanwhile
    said = complaint(made)
    if Path(repo.common_dir, "refs/heads/milestone").is_file() or "refs/heads/milestone' exists" in said:
        return Refusal(
            f"the branch {repo.branch} cannot be made beside a branch named milestone",
            "rename that one: git branch -m milestone another-name",
        )
    return Refusal(f"git cannot create the branch {repo.branch}: {said}")


def _identity(repo: Repository) -> Flow[tuple[Identity, str]]:
    """Read whom commits are by; git's guess from the machine's names does not count."""
    done = yield git("-c", "user.useConfigOnly=true", "var", "GIT_AUTHOR_IDENT", cwd=repo.top)
    parts = re.fullmatch(r"(.*) <(.*)> \d+ [+-]\d{4}", shown(done.stdout).strip())
    if done.ok and parts:
        return Identity(parts[1], parts[2]), ""
    known = FALLBACK_IDENTITY
    warning = (
        f"git knows no author ({complaint(done)}): commits will be by {known.name} <{known.email}>; "
        "set user.name and user.email with git config"
    )
    return known, warning
