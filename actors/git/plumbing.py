"""How git is called: the environment, the argument lists, and the reading of what it prints.

Owns every option that keeps our git programs quiet, unattended, repeatable and power-safe. Refuses to know
what they are called for.

Our programs run no hook, no monitor, no signing, no maintenance and no prompt, whatever the repository's
configuration says, and talk to nobody: in a partial clone git would fetch a missing object in a way that the
repository chooses, by any program. A push alone talks, as the user has configured it. What remains the repository's
own are filters and merge drivers: whoever can configure those is trusted.
"""

from __future__ import annotations

import os
import re
from typing import Final

import attrs

from actors.programs import Finished, Flow, Program, beside

_NO_SPACE: Final = (
    *("No space left on device", "Disk quota exceeded"),
    # git, of an index: what it could not write all of, and what it could not close.
    *("Out of diskspace", "unable to write new index file"),
)
"""What programs say, in the language that ours are run in, and Python's errors, when a disk is full."""

_SHORT: Final = ("Resource temporarily unavailable", "Cannot allocate memory", "Too many open files")
"""The same, when the system has no more processes, threads, memory or descriptors for them."""

_BROKEN: Final = ("Input/output error", "Read-only file system", "Structure needs cleaning")
"""The same, of a disk that fails, and of a file system that gave up because of it."""

_GONE: Final = "No such file or directory"
"""The same, of what is not there."""

_FLUSHED_HERE: Final = 64
"""So many files and folders at most are flushed without a program: some milliseconds of a disk."""

_FLUSHED_AT_ONCE: Final = 500
"""So many at most are named to one program: a path is 4 KB long at most, the arguments of a program 2 MB."""

_OVERRIDES: Final = (
    ("core.hooksPath", "/dev/null"),
    ("core.fsmonitor", "false"),
    ("core.untrackedCache", "false"),
    ("core.splitIndex", "false"),
    # Or a file that was changed and given its old time back would count as unchanged.
    ("core.trustctime", "true"),
    ("core.checkStat", "default"),
    # Or, in a repository that was copied from a Mac, a new file whose name differs in case alone would be left out.
    ("core.ignoreCase", "false"),
    # git writes and renames; these make it flush before it renames. The folders are flushed by `landing`.
    ("core.fsync", "loose-object,pack,pack-metadata,reference"),
    ("core.fsyncMethod", "fsync"),
    # Someone else's git holds a ref lock for milliseconds; see `landing` for locks that stay.
    ("core.filesRefLockTimeout", "1000"),
    # Or a file that cannot be read would be left out of a commit in silence.
    ("add.ignoreErrors", "false"),
    ("advice.detachedHead", "false"),
    ("commit.gpgSign", "false"),
    ("gc.auto", "0"),
    ("i18n.commitEncoding", "UTF-8"),
    ("maintenance.auto", "false"),
    ("protocol.ext.allow", "never"),
    ("submodule.recurse", "false"),
)

ENVIRONMENT: Final[tuple[tuple[str, str | None], ...]] = (
    ("GIT_CONFIG_COUNT", str(len(_OVERRIDES))),
    *((f"GIT_CONFIG_KEY_{number}", name) for number, (name, _) in enumerate(_OVERRIDES)),
    *((f"GIT_CONFIG_VALUE_{number}", value) for number, (_, value) in enumerate(_OVERRIDES)),
    ("GIT_ASKPASS", "false"),
    ("GIT_EDITOR", "false"),
    ("GIT_SEQUENCE_EDITOR", "false"),
    ("GIT_PAGER", "cat"),
    ("GIT_TERMINAL_PROMPT", "0"),
    # ssh asks on the terminal of the process group, whatever its standard input is; this makes it ask a
    # program.
    ("SSH_ASKPASS", "false"),
    ("SSH_ASKPASS_REQUIRE", "force"),
    ("LC_ALL", "C"),
)
"""Changes to the environment for every git program."""

SILENT: Final[tuple[tuple[str, str | None], ...]] = (
    # No protocol at all; git from 2.45 on knows by the second that it need not try.
    ("GIT_ALLOW_PROTOCOL", ""),
    ("GIT_NO_LAZY_FETCH", "1"),
)
"""The same for those that need nobody: all but a push."""

_MISSING: Final = re.compile(
    r"transport '.*' not allowed|lazy fetching disabled|could not fetch \S+ from promisor remote"
)


@attrs.frozen
class Refusal:
    """Something that we will not do, or that git would not.

    Attributes:
        reason: What is wrong, for people.
        cure: What to do about it, for people; ``""`` when the reason says it.
        passing: Whether the same may be possible later without anything being done again.
    """

    reason: str
    cure: str = ""
    passing: bool = False

    @property
    def is_passing(self) -> bool:
        """Whether it is worth trying again later: an obstacle that passes, a full disk, a shortage."""
        return not self.is_broken and (self.passing or any(text in self.reason for text in (*_NO_SPACE, *_SHORT)))

    @property
    def is_broken(self) -> bool:
        """Whether a disk failed. Trying again proves nothing: the kernel tells of a failed flush only once."""
        return any(text in self.reason for text in _BROKEN)


def git(
    *arguments: str,
    cwd: str = "",
    git_dir: str = "",
    env: tuple[tuple[str, str], ...] = (),
    stdin: bytes = b"",
    timeout: float = 60.0,
    talks: bool = False,
) -> Program:
    """Return the program for one git command.

    Args:
        arguments: What follows ``git``.
        cwd: Directory to run in; git looks from there for its repository.
        git_dir: The repository's own directory, instead of ``cwd``, when git has said where it is: git does not ask
            again whose it is, which it would ask of another directory than before, and be answered otherwise.
        env: Variables beside those of :data:`ENVIRONMENT`.
        stdin: Bytes for its standard input.
        timeout: Seconds after which it is killed.
        talks: Whether it may talk to a remote.
    """
    if git_dir:
        env = (("GIT_DIR", git_dir), *env)
    names = {name for name, _ in env}
    usual = ENVIRONMENT if talks else (*ENVIRONMENT, *SILENT)
    return Program(
        ("git", *arguments), cwd or git_dir, (*(pair for pair in usual if pair[0] not in names), *env), stdin, timeout
    )


def complaint(done: Finished) -> str:
    """Return what a failed program said, as one line: git's first error, else its first line."""
    said = shown(done.stderr)
    if _MISSING.search(said):
        return "objects are missing in this partial clone; bring them here: git fetch --refetch --no-filter"
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    for line in lines:
        if line.startswith(("error: ", "fatal: ")):
            return line.partition(": ")[2]
    return lines[0] if lines else f"ended with exit code {done.code}"


def shown(raw: bytes) -> str:
    """Return bytes as text for people and the journal; what is not UTF-8 is written out in hexadecimal."""
    return raw.decode("utf-8", "backslashreplace")


def line_of(done: Finished) -> str:
    """Return standard output as a path or name: without the end of its last line, any bytes kept."""
    return os.fsdecode(done.stdout.removesuffix(b"\n"))


def split(raw: bytes) -> list[bytes]:
    """Return the fields of output that ends each with a NUL."""
    return raw.removesuffix(b"\0").split(b"\0") if raw else []


def joined(*pathspecs: str) -> bytes:
    """Return pathspecs as ``--pathspec-from-file=- --pathspec-file-nul`` reads them."""
    return b"".join(os.fsencode(pathspec) + b"\0" for pathspec in pathspecs)


def flush(paths: tuple[str, ...]) -> Flow[Refusal | None]:
    """Bring files and folders to the disk, in this order; refuse when it does not take them.

    git (2.39) flushes what it writes but not the folders that it renames it into, so that after a power cut
    the names of objects and refs may be gone. A few are flushed here, in less time than a program starts.
    For many there is ``sync``, which is told what to flush: without a list it would wait for all that other
    programs write. Its working directory is the root, because the paths are absolute.
    """
    if are_few(paths):
        try:
            yield from beside(lambda: flush_few(paths))
        except OSError as error:
            return not_written(str(error))
        return None
    for first in range(0, len(paths), _FLUSHED_AT_ONCE):
        some = paths[first : first + _FLUSHED_AT_ONCE]
        done = yield Program(("sync", "--", *some), "/", (("LC_ALL", "C"),), timeout=300.0)
        if not done.ok:
            return not_written(complaint(done))
    return None


def are_few(paths: tuple[str, ...]) -> bool:
    """Whether so many files and folders may be flushed without a program."""
    return len(paths) <= _FLUSHED_HERE


def flush_few(paths: tuple[str, ...]) -> None:
    """Bring a few files and folders to the disk, in this order.

    Raises:
        OSError: The disk did not take them.
    """
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def not_written(reason: str) -> Refusal:
    """Return the refusal for what is not on the disk: what it was for must not be reported as done.

    What is not there at all was taken away, by a git that removes what no branch names yet, however new: it passes, and
    is written again.
    """
    if _GONE in reason:
        cure = "`git gc --prune=now` and `git prune` take away what is about to be committed: run them later"
        return Refusal(f"what git had just written was removed: {reason}", cure, passing=True)
    return Refusal(f"the disk did not take it: {reason}", "check the disk")


def ref_paths(common_dir: str, ref: str) -> tuple[str, ...]:
    """Return what to flush so that a ref survives a power cut: its file and the folders that hold its name."""
    paths = [f"{common_dir}/{ref}"]
    while "/" in ref:
        ref = ref.rpartition("/")[0]
        paths.append(f"{common_dir}/{ref}")
    return tuple(path for path in paths if os.path.lexists(path))


OUR_FILES: Final = ".milestones"
"""Folder of the supervising process in a project: never captured, never counted as uncommitted."""


def our_files(inside: str) -> tuple[str, ...]:
    """Return the folders of the supervising process in a repository, relative to its top.

    Args:
        inside: The project's directory, relative to the top; ``""`` when it is the top.
    """
    return (OUR_FILES, f"{inside}/{OUR_FILES}") if inside else (OUR_FILES,)


def without(paths: tuple[str, ...]) -> tuple[str, ...]:
    """Return the pathspecs that leave out these paths, relative to the top, and what is below them."""
    return tuple(f":(top,exclude,literal){path.rstrip('/')}" for path in paths)
