"""What a run writes into its own log: its children once they ended, refusals, escalations and its end.

The journal has what happened to the milestone; this is for who looks after milestoned itself. That a child came up as
it should is no line: the first one loads what writes them, which takes megabytes of a process at rest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from actors.log import log
from supervisor.conduct import ChildView
from supervisor.notices import Escalated, FactRefused, Troubled
from supervisor.session_run import Over

if TYPE_CHECKING:
    from supervisor.session_run import RunNotice


def log_notice(notice: RunNotice) -> None:
    """Log a notice, if it is one for the log."""
    match notice:
        case ChildView(child=child, state=state, pid=pid, restarts=restarts, last_exit=last_exit) if last_exit:
            bound = log().bind(child=child, state=state, pid=pid, restarts=restarts, last_exit=last_exit)
            bound.info("child changed")
        case FactRefused(session=session, child=child, reason=reason):
            log().bind(session=session, child=child, reason=reason).warning("fact refused")
        case Troubled(reason=reason, story=story):
            log().bind(reason=reason, story=story).warning("trouble")
        case Escalated(reason=reason, fatal=fatal, story=story):
            log().bind(reason=reason, fatal=fatal, story=story).error("escalated")
        case Over(status=status, reason=reason, code=code):
            log().bind(status=status.value, reason=reason, code=code).info("run over")
        case _:
            pass
