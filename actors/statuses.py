"""The status words that people write, folded to the convention's five.

Owns the table (words seen in real files, reference: the milestone convention and its relatives). Refuses to
know YAML and sessions.
"""

from __future__ import annotations

from typing import Final

from actors.model import FileStatus

_WORDS: Final = {
    FileStatus.COMPLETED: "completed complete done closed deployed finished archived [x]",
    FileStatus.IN_PROGRESS: "in_progress inprogress active started dispatched hooked partial",
    FileStatus.PENDING: (
        "pending planned planning todo to_do not_started open backlog draft drafted contexted ready "
        "ready_for_dev new queued optional [_]"
    ),
    # These wait for a person: executing such a task unasked would undo somebody's decision.
    FileStatus.BLOCKED: (
        "blocked review in_review waiting_approval on_hold paused deferred on_ice parked failed waiting"
    ),
    FileStatus.CANCELLED: "cancelled canceled moved superseded dropped skipped wont_do [~]",
}
_FOLDED: Final = {word: status for status, words in _WORDS.items() for word in words.split()}
WORDS: Final = tuple(_FOLDED)
"""The words that are understood, for suggestions."""


def fold(word: str) -> FileStatus | None:
    """Return the convention's status for a word of a file, or ``None`` for a word that nobody uses.

    Case, spaces, ``-`` and ``_`` make no difference.
    """
    return _FOLDED.get(word) or _FOLDED.get(word.strip().lower().replace("-", "_").replace(" ", "_"))
