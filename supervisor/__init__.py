"""What owns and watches processes: specs, the pure core, the fork server, the task runner, the journal.

Imports point one way, `supervisor -> actors`, and inside this package from the shell to the core to the
vocabulary; a test walks them and enforces it. Importing this package starts nothing and loads nothing: the names of the
embeddable API, below, are loaded when they are first used, and bring neither milestones nor git nor a journal.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from actors.actor_host import Ignore
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
        Strategy,
        SupervisorFlags,
    )
    from supervisor.spec_checks import SpecError
    from supervisor.spec_file import SpecFileError, Specs, load_specs

_HOMES = {
    "actors.actor_host": ("Ignore",),
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
        "Strategy",
        "SupervisorFlags",
    ),
    "supervisor.spec_checks": ("SpecError",),
    "supervisor.spec_file": ("SpecFileError", "Specs", "load_specs"),
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
    "EndCause",
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
    "OverLimit",
    "ProgramSpec",
    "PublicEvent",
    "Refusal",
    "RefusedError",
    "RequestRefusedError",
    "Restart",
    "RunRefusedError",
    "SessionReport",
    "Shutdown",
    "ShutdownTerm",
    "Silent",
    "SpawnFailed",
    "SpecError",
    "SpecFileError",
    "Specs",
    "StandbyEnded",
    "StandbyWaiting",
    "StartError",
    "Started",
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


def __getattr__(name: str) -> object:
    """Load a name of the API when it is first used."""
    for home, names in _HOMES.items():
        if name in names:
            value: object = getattr(import_module(home), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module 'supervisor' has no attribute {name!r}")


def __dir__() -> list[str]:
    """List what is there and what can be loaded."""
    return sorted({*globals(), *__all__})
