"""What can be wrong with a journal, each with what a person can do about it.

Owns the errors of :mod:`supervisor.journal` and their wording. Refuses to know SQLite.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

RECOVER = (
    "nothing was changed; bring back a copy of .milestones, or run `milestonectl recover`, which keeps what "
    "is whole and puts the rest aside"
)
"""The cure where history is damaged or lost."""


class JournalError(Exception):
    """Something is wrong with a journal.

    Attributes:
        path: The file.
        what: What is wrong, one line.
        cure: What to do, one line.
    """

    def __init__(self, path: Path, what: str, cure: str) -> None:
        super().__init__(f"{path}: {what}; {cure}")
        self.path = path
        self.what = what
        self.cure = cure


class JournalMissingError(JournalError):
    """There is nothing to read: no session was ever started in this project."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "there is no journal here", "it is made by the first `milestonectl run`")


class JournalDamagedError(JournalError):
    """The file does not hold what was written.

    Attributes:
        seq: The first event that cannot be trusted; 0 when not even the file as a whole can be read.
    """

    def __init__(self, path: Path, seq: int, what: str, cure: str = RECOVER) -> None:
        super().__init__(path, f"the journal is damaged at event {seq}: {what}" if seq else what, cure)
        self.seq = seq


class JournalVersionError(JournalError):
    """The file was written by a version whose form this one cannot read.

    Attributes:
        found: Version of the form that was found.
        known: The newest that this version of milestoned knows.
    """

    def __init__(self, path: Path, found: int, known: int) -> None:
        newer = found > known
        word = "knows" if newer else "needs"
        what = f"the journal has form {found}, this version of milestoned {word} {known}"
        super().__init__(
            path,
            what,
            "install the version that wrote it, or a later one; where none ever ran, the first bytes of the file are "
            "damaged: bring back a copy of .milestones"
            if newer
            else "start or resume a session once, which brings it up to date",
        )
        self.found = found
        self.known = known


class LostHistoryError(JournalError):
    """Something knows of events that the journal does not have."""

    def __init__(self, path: Path, what: str, cure: str = RECOVER) -> None:
        super().__init__(path, what, cure)


class JournalFullError(JournalError):
    """There was no space; nothing of the write is in the journal, and it can be tried again."""

    def __init__(self, path: Path, what: str) -> None:
        super().__init__(path, f"no space for the journal ({what})", "free some space on this file system")


class JournalBrokenError(JournalError):
    """A read or write failed in a way that leaves open what is on the disk; nothing more is written."""

    def __init__(
        self,
        path: Path,
        what: str,
        cure: str = "check the disk, then start again: what was acknowledged is verified before anything goes on",
    ) -> None:
        super().__init__(path, f"the journal cannot be relied on any more ({what})", cure)


class JournalDeniedError(JournalBrokenError):
    """The journal is somebody else's, and only they may read it.

    Attributes:
        owner: The name of the user whose it is.
    """

    def __init__(self, path: Path, owner: str) -> None:
        what = f"this project is {owner}'s, who alone may read its journal"
        JournalError.__init__(self, path, what, f"run this as {owner}, or `milestonectl init` a project of your own")
        self.owner = owner


class JournalGoneError(JournalBrokenError):
    """Somebody removed or replaced the file while it was in use.

    Attributes:
        rescued: A copy of what it held; ``None`` when none could be made.
    """

    def __init__(self, path: Path, what: str, rescued: Path | None) -> None:
        cure = "see who does that, and run `milestonectl recover`"
        if rescued is not None:
            cure += f", which goes on with what it held: {rescued}"
        super().__init__(path, what, cure)
        self.rescued = rescued
