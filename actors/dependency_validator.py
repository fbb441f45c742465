"""The Dependency Validator: pre-flight before anything is granted, alerts about milestone files after it.

What is said is decided by :mod:`actors.preflight`; this role supplies the files, as :mod:`actors.survey`
reads them, and what the machine offers. One file that cannot be read never keeps the others from being
judged.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import ClassVar, Final

from actors.events import DependencyAlert, Event, MilestoneUpdated, PreflightFailed, PreflightPassed, Record
from actors.machine import offer
from actors.preflight import alerts, judge
from actors.role import RoleActor
from actors.rules_file import read_rules_file
from actors.set_by_hand import CLAIM
from actors.survey import Survey
from actors.validation import Subject

POLL_SECONDS: Final = 2.0
"""Seconds between two looks at the files."""

POLL_SHARE: Final = 50.0
"""After reading and judging took t seconds the next look waits t times this: huge files are read less often."""

READ_SECONDS: Final = 0.2
"""Seconds that one message may spend reading."""


class DependencyValidator(RoleActor):
    """The fourth of the five roles."""

    role: ClassVar[str] = "dependency_validator"

    def rebuilt(self) -> None:
        """Know nothing of the files yet; they are read when the first message is handled."""
        self._survey = Survey(Path(self.context.project))
        self._next_poll = 0.0
        self._is_read = True
        self._is_judged = False

    def observe(self, record: Record, event: Event) -> None:  # noqa: ARG002 - the hook's signature
        """Judge again when the session takes in another snapshot."""
        if isinstance(event, MilestoneUpdated):
            self._is_judged = False

    def reconcile(self) -> None:
        """Look at the files when it is time, judge what changed, finish when the session is settled."""
        if self.state.started is None or self.context.role in self.state.finished:
            return
        if self.state.settled is not None:
            self.finish(self._summary())
            return
        began = time.monotonic()
        if self.mono >= self._next_poll:
            self._next_poll = self.mono + POLL_SECONDS
            if self._survey.look():
                self._is_read = self._is_judged = False
        if not self._is_read:
            self._is_read = self._survey.read_some(READ_SECONDS)
        if not self._is_read:
            self.host.wake_at(self.mono)
        elif self.state.preflight is None:
            self._preflight()
        elif not self._is_judged and self.state.preflight:
            self._is_judged = True
            self.propose(*self._alerts())
        self._next_poll = max(self._next_poll, self.mono + (time.monotonic() - began) * POLL_SHARE)

    def _own(self) -> Subject:
        """Return what the session executes, with the marks of its file where that can be read."""
        path = self.state.started.path if self.state.started is not None else ""
        reading = self._survey.surroundings().active.get(path)
        return Subject(self.state.milestone, path, None if reading is None else reading.marks)

    def _preflight(self) -> None:
        settings = self.state.settings
        directories = [self.context.project, *filter(None, (settings.slots_directory,))]
        offered = offer(self.state.milestone.requirements, directories)
        verdict = judge(self._own(), self._survey.surroundings(), offered)
        rules = read_rules_file(Path(self.context.project), settings.rules)
        problems = (*verdict.problems, *map(str, rules.problems))
        if problems:
            self.propose(PreflightFailed(problems))
        else:
            self.propose(PreflightPassed(verdict.warnings))

    def _alerts(self) -> tuple[Event, ...]:
        now = alerts(self._own(), self._survey.surroundings())
        # What a person has set in the file the Task Executor tells from what it writes there itself.
        known = {claim: detail for claim, detail in self.state.alerts.items() if not claim.startswith(CLAIM)}
        return (
            *(alert for claim, alert in now.items() if claim not in known),
            *(
                DependencyAlert(claim, "resolved", f"no longer so: {detail}")
                for claim, detail in known.items()
                if claim not in now
            ),
        )

    def _summary(self) -> str:
        if self.state.preflight is False:
            count = len(self.state.preflight_problems)
            return f"pre-flight found {count} problem{'s' * (count != 1)}"
        count = len(self.state.alerts)
        return f"pre-flight passed, {count or 'no'} alert{'s' * (count != 1)} at the end"
