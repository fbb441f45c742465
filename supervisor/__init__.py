"""What owns and watches processes: specs, the pure core, the fork server, the task runner, the journal.

Imports point one way, `supervisor -> actors`, and inside this package from the shell to the core to the
vocabulary; a test walks them and enforces it. Importing this package starts nothing and loads nothing: the names of the
embeddable API, below, are loaded when they are first used, and bring neither milestones nor git nor a journal.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from actors.actor_host import Ignore
    from actors.events import SessionStatus
    from actors.limits import Limit, LimitError, Limits
    from supervisor.api_errors import (
        AnswerError,
        AskError,
        AskTimeoutError,
        ChildGoneError,
        ChildUnavailableError,
        MailboxFullError,
        MessageError,
        NotRunningError,
        RefusedError,
        RequestRefusedError,
        StartError,
        SupervisionError,
    )
    from supervisor.beginning import RunRefusedError
    from supervisor.children import Desired, StateName
    from supervisor.core_effects import (
        ChildBackoff,
        ChildExited,
        ChildFatal,
        ChildIgnored,
        ChildRestarting,
        ChildRunning,
        ChildStarting,
        ChildStopped,
        ChildStopping,
        ChildUnkillable,
        EndCause,
        Ended,
        EndReason,
        FailedToStart,
        IntensityExceeded,
        Refusal,
        Started,
        SupervisorEvent,
        SupervisorStarted,
        SupervisorStopped,
    )
    from supervisor.embedding import Supervisor
    from supervisor.embedding_async import AsyncSupervisor
    from supervisor.event_log import (
        EventsLost,
        PublicEvent,
        StandbyEnded,
        StandbyWaiting,
        SupervisorFailed,
        SupervisorTroubled,
    )
    from supervisor.execution import MilestoneEvent, MilestoneOutcome
    from supervisor.exits import (
        Crashed,
        ExitReason,
        Killed,
        Normal,
        OverLimit,
        Shutdown,
        ShutdownTerm,
        Silent,
        SpawnFailed,
        Unkillable,
        Unknown,
        Unready,
        describe,
    )
    from supervisor.milestone_run import MilestoneRun
    from supervisor.milestone_run_async import AsyncMilestoneRun
    from supervisor.program_spec import ProgramSpec
    from supervisor.roster import ChildRow, Counts
    from supervisor.session_report import ChildReport, SessionReport, Tally
    from supervisor.spec import (
        BRUTAL_KILL,
        INFINITY,
        AutoShutdown,
        Backoff,
        ChildSpec,
        ChildType,
        Restart,
        ShutdownTime,
        Strategy,
        SupervisorFlags,
    )
    from supervisor.spec_checks import SpecError
    from supervisor.spec_file import SpecFileError, Specs, load_specs
    from supervisor.supervision import OnEvent

_HOMES = {
    "actors.actor_host": ("Ignore",),
    "actors.events": ("SessionStatus",),
    "actors.limits": ("Limit", "LimitError", "Limits"),
    "supervisor.api_errors": (
        "AnswerError",
        "AskError",
        "AskTimeoutError",
        "ChildGoneError",
        "ChildUnavailableError",
        "MailboxFullError",
        "MessageError",
        "NotRunningError",
        "RefusedError",
        "RequestRefusedError",
        "StartError",
        "SupervisionError",
    ),
    "supervisor.beginning": ("RunRefusedError",),
    "supervisor.children": ("Desired", "StateName"),
    "supervisor.core_effects": (
        "ChildBackoff",
        "ChildExited",
        "ChildFatal",
        "ChildIgnored",
        "ChildRestarting",
        "ChildRunning",
        "ChildStarting",
        "ChildStopped",
        "ChildStopping",
        "ChildUnkillable",
        "EndCause",
        "EndReason",
        "Ended",
        "FailedToStart",
        "IntensityExceeded",
        "Refusal",
        "Started",
        "SupervisorEvent",
        "SupervisorStarted",
        "SupervisorStopped",
    ),
    "supervisor.embedding": ("Supervisor",),
    "supervisor.embedding_async": ("AsyncSupervisor",),
    "supervisor.event_log": (
        "EventsLost",
        "PublicEvent",
        "StandbyEnded",
        "StandbyWaiting",
        "SupervisorFailed",
        "SupervisorTroubled",
    ),
    "supervisor.exits": (
        "Crashed",
        "ExitReason",
        "Killed",
        "Normal",
        "OverLimit",
        "Shutdown",
        "ShutdownTerm",
        "Silent",
        "SpawnFailed",
        "Unkillable",
        "Unknown",
        "Unready",
        "describe",
    ),
    "supervisor.execution": ("MilestoneEvent", "MilestoneOutcome"),
    "supervisor.milestone_run": ("MilestoneRun",),
    "supervisor.milestone_run_async": ("AsyncMilestoneRun",),
    "supervisor.program_spec": ("ProgramSpec",),
    "supervisor.roster": ("ChildRow", "Counts"),
    "supervisor.session_report": ("ChildReport", "SessionReport", "Tally"),
    "supervisor.spec": (
        "BRUTAL_KILL",
        "INFINITY",
        "AutoShutdown",
        "Backoff",
        "ChildSpec",
        "ChildType",
        "Restart",
        "ShutdownTime",
        "Strategy",
        "SupervisorFlags",
    ),
    "supervisor.spec_checks": ("SpecError",),
    "supervisor.spec_file": ("SpecFileError", "Specs", "load_specs"),
    "supervisor.supervision": ("OnEvent",),
}

__all__ = [
    "BRUTAL_KILL",
    "INFINITY",
    "AnswerError",
    "AskError",
    "AskTimeoutError",
    "AsyncMilestoneRun",
    "AsyncSupervisor",
    "AutoShutdown",
    "Backoff",
    "ChildBackoff",
    "ChildExited",
    "ChildFatal",
    "ChildGoneError",
    "ChildIgnored",
    "ChildReport",
    "ChildRestarting",
    "ChildRow",
    "ChildRunning",
    "ChildSpec",
    "ChildStarting",
    "ChildStopped",
    "ChildStopping",
    "ChildType",
    "ChildUnavailableError",
    "ChildUnkillable",
    "Counts",
    "Crashed",
    "Desired",
    "EndCause",
    "EndReason",
    "Ended",
    "EventsLost",
    "ExitReason",
    "FailedToStart",
    "Ignore",
    "IntensityExceeded",
    "Killed",
    "Limit",
    "LimitError",
    "Limits",
    "MailboxFullError",
    "MessageError",
    "MilestoneEvent",
    "MilestoneOutcome",
    "MilestoneRun",
    "Normal",
    "NotRunningError",
    "OnEvent",
    "OverLimit",
    "ProgramSpec",
    "PublicEvent",
    "Refusal",
    "RefusedError",
    "RequestRefusedError",
    "Restart",
    "RunRefusedError",
    "SessionReport",
    "SessionStatus",
    "Shutdown",
    "ShutdownTerm",
    "ShutdownTime",
    "Silent",
    "SpawnFailed",
    "SpecError",
    "SpecFileError",
    "Specs",
    "StandbyEnded",
    "StandbyWaiting",
    "StartError",
    "Started",
    "StateName",
    "Strategy",
    "SupervisionError",
    "Supervisor",
    "SupervisorEvent",
    "SupervisorFailed",
    "SupervisorFlags",
    "SupervisorStarted",
    "SupervisorStopped",
    "SupervisorTroubled",
    "Tally",
    "Unkillable",
    "Unknown",
    "Unready",
    "describe",
    "load_specs",
]


if not TYPE_CHECKING:  # a checker would take every name for one that is there

    def __getattr__(name: str) -> object:
        """Load a name of the API when it is first used."""
        for home, names in _HOMES.items():
            if name in names:
                value: object = getattr(_loaded(home), name)
                globals()[name] = value
                return value
        raise AttributeError(f"module 'supervisor' has no attribute {name!r}")


def __dir__() -> list[str]:
    """List what is there and what can be loaded."""
    return sorted({*globals(), *__all__})


def _loaded(home: str) -> ModuleType:
    """Import a module of ours; say who stands in the way where that is another package named ``actors``."""
    try:
        return import_module(home)
    except ModuleNotFoundError as error:
        rival = sys.modules.get("actors")
        if rival is None or not (error.name or "").startswith("actors."):
            raise
        place = rival.__file__ or ", ".join(rival.__path__)
        text = (
            f"milestoned's package 'actors' is hidden by {place}, which Python finds first: milestoned installs the "
            "packages 'supervisor' and 'actors', so a program that uses it cannot have one of these names; rename it"
        )
        raise ModuleNotFoundError(text, name="actors", path=place) from error
