"""The restart budget: how many restart attempts fit into a sliding period.

Owns OTP's intensity arithmetic (reference 1.4) and nothing else: it does not know who restarts what.

An attempt counts while its age is at most `period`, *inclusive*. OTP truncates to whole seconds, so
that attempts between `period` and `period + 1` seconds apart count together or not by phase; here
time is a float and they do not. Nothing clears the record: not success, not a manual restart, not
a change of specs; only a new supervisor starts with an empty one.
"""

import attrs


@attrs.frozen
class RestartRecord:
    """The attempts that still count, oldest first, in monotonic seconds."""

    attempts: tuple[float, ...] = ()

    def add(self, at: float, period: float) -> "RestartRecord":
        """Return the record with an attempt at `at`, and without those older than `period` seconds."""
        recent = tuple(attempt for attempt in self.attempts if at - attempt <= period)
        return RestartRecord((*recent, at))

    def exceeds(self, intensity: int) -> bool:
        """Tell whether the newest attempt is one too many."""
        return len(self.attempts) > intensity
