"""A bench for one role: a hub that journals, a host that starts programs, and time that is moved by hand.

The role's actor is constructed and spoken to directly, without a thread; everything else is real: files, its
log, the fold, the programs. A proposal is admitted by the same fold that the product uses, journaled with the
bench's wall time, and delivered back before the call that caused it returns.
"""

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from actors.events import (
    AttemptEnded,
    AttemptGranted,
    AttemptStarted,
    Event,
    Outcome,
    Record,
    SessionStarted,
    Settings,
    Step,
    encode_event,
)
from actors.frames import Deliver, Frame, Leave, Propose, Ready, Welcome
from actors.messages import ProgramEnded, RoleMessage, Tick
from actors.model import Milestone
from actors.programs import DONE, Finished, Program, Work
from actors.role import RoleActor, RoleContext
from actors.state import SessionState, encode_state
from supervisor.waited import run

if TYPE_CHECKING:
    from actors.host import Host

SESSION = "exec-m1-20260301_120000-0badcafe"
BEGIN_WALL = 1_772_366_400.0
LONGEST_WAKE = 1.0
LONGEST_TRIES = 5.0

E = TypeVar("E", bound=Event)


class BenchHost:
    """What the role takes for its host."""

    def __init__(self) -> None:
        self.sent: list[Frame] = []
        self.programs: dict[int, Program] = {}
        self.wake: float | None = None
        self.has_left = False

    def send(self, frame: Frame) -> None:
        self.sent.append(frame)

    def wake_at(self, mono: float) -> None:
        self.wake = mono if self.wake is None else min(mono, self.wake)

    def start(self, token: int, due: Program | Work) -> Finished | None:
        if isinstance(due, Work):
            due.do()
            return DONE
        self.programs[token] = due
        return None

    def end(self, token: int, grace: float) -> None:  # noqa: ARG002 - the host's signature
        self.programs[token] = Program(("/bin/sh", "-c", "kill -TERM $$"), "/")

    def leave(self) -> None:
        self.has_left = True

    def crash(self, error: BaseException) -> None:
        raise error


class RoleBench:
    """Plays everything around one role of one session.

    Args:
        role_class: The role.
        project: Project directory; `.milestones` is made in it.
        milestone: What the session executes.
        settings: How to run.
        path: The milestone file, relative to the project; written by the test where the role reads it.
    """

    def __init__(
        self,
        role_class: type[RoleActor],
        project: Path,
        milestone: Milestone,
        settings: Settings | None = None,
        *,
        path: str = "",
    ) -> None:
        self.project = project
        self.wall, self.mono = BEGIN_WALL, 1000.0
        self.records: list[Record] = []
        self.by_role: list[Event] = []
        self.refusals: list[str] = []
        self._hub = SessionState()
        self._role_class = role_class
        self._incarnation = 0
        self._settings = settings or Settings()
        self._milestone = milestone
        self._path = path or f".milestones/active/{milestone.id}.yaml"
        self.logs = project / ".milestones" / "logs" / SESSION
        (self.logs / "tasks").mkdir(parents=True)
        self.host = BenchHost()
        self.role: RoleActor | None = None

    def __enter__(self) -> Self:
        started = SessionStarted(self._milestone, self._path, str(self.project), self._settings, "boot", 1)
        self._journal([started])
        self.restart()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    # --- what a test does -----------------------------------------------------------------------------------

    def restart(self) -> None:
        """Put another incarnation of the role in the place of the one there is."""
        self._close()
        self._incarnation += 1
        self.host = BenchHost()
        context = RoleContext(self._role_class.role, self._incarnation, str(self.project), SESSION)
        self.role = _with_clock(self._role_class, self)(cast("Host", self.host), context)
        self._tell(Welcome(SESSION, encode_state(self._hub), self._hub.seq, tuple(self.records)))
        assert Ready() in self.host.sent

    def happen(self, *events: Event) -> None:
        """Journal facts of others, one after the other, and deliver them."""
        for event in events:
            assert not self._hub.admits(event), f"the fold does not admit {event}: {self._hub.admits(event)}"
            self._tell(Deliver(self._journal([event])))

    def grant(self, task: str, number: int = 1, *, output: str | bytes = b"") -> str:
        """Grant and start an attempt, with this output so far; return its id."""
        attempt = f"{task}.{number}"
        if output:
            self.write(attempt, output)
        taken = {self._hub.tasks[other].attempt for other in self._hub.live.values()}
        slots = {one.slot for one in taken if one is not None}
        slot = next(slot for slot in range(len(slots) + 1) if slot not in slots)
        self.happen(AttemptGranted(attempt, task, number, slot, (Step("run", "true"),)), AttemptStarted(attempt, 4711))
        return attempt

    def end(self, attempt: str, outcome: Outcome, detail: str = "", seconds: float = 1.0) -> None:
        """End an attempt."""
        self.happen(AttemptEnded(attempt, outcome, "run", 0 if outcome is Outcome.OK else 1, detail, seconds))

    def write(self, attempt: str, output: str | bytes) -> None:
        """Append to the output of an attempt."""
        with (self.logs / "tasks" / f"{attempt}.log").open("ab") as log:
            log.write(output.encode() if isinstance(output, str) else output)

    def pass_time(self, seconds: float, step: float = 1.0) -> None:
        """Let time pass, with a tick after each step (seconds)."""
        passed = 0.0
        while passed < seconds:
            passed += step
            self.wall += step
            self.mono += step
            self._tell(Tick(self.mono, beat=True))

    def run_programs(self) -> list[Program]:
        """Run the programs that the role started, really; return them.

        Until none is left, or the role has tried the same again and again for some seconds of the bench's time.
        """
        done = []
        until = self.mono + LONGEST_TRIES
        while self.host.programs and self.mono < until:
            token, program = self.host.programs.popitem()
            done.append(program)
            self._tell(ProgramEnded(token, run(program)))
        return done

    def step(self, *, told: bool = True) -> Program:
        """Run one program, the oldest that the role started; whether the role is told of its end is asked for.

        Raises:
            AssertionError: The role started none.
        """
        assert self.host.programs, "no program was started"
        token = min(self.host.programs)
        program = self.host.programs.pop(token)
        finished = run(program)
        if told:
            self._tell(ProgramEnded(token, finished))
        return program

    def of(self, kind: type[E]) -> list[E]:
        """Return the facts of one kind that the role stated, in all its incarnations."""
        return [event for event in self.by_role if isinstance(event, kind)]

    @property
    def state(self) -> SessionState:
        """The fold of all that is journaled."""
        return self._hub

    # --- the hub --------------------------------------------------------------------------------------------

    def _tell(self, message: RoleMessage) -> None:
        assert self.role is not None
        self.role.on_receive(message)
        while self._journal_proposals() or self._wake_up():
            pass

    def _journal_proposals(self) -> bool:
        proposals = [frame for frame in self.host.sent if isinstance(frame, Propose)]
        self.host.sent = [frame for frame in self.host.sent if not isinstance(frame, Propose)]
        for proposal in proposals:
            records: list[Record] = []
            refusals: list[str] = []
            # One after the other, as the product's ledger does: the second may follow from the first.
            for stated in proposal.facts:
                fact = Record(0, SESSION, 0.0, 0.0, stated.kind, stated.body).event()
                refusal = self._hub.admits(fact)
                if refusal:
                    refusals.append(refusal)
                else:
                    records += self._journal([fact])
                    self.by_role.append(fact)
            self.refusals += refusals
            assert self.role is not None
            self.role.on_receive(Deliver(tuple(records), (proposal.ticket,), tuple(refusals)))
        return bool(proposals)

    def _wake_up(self) -> bool:
        wake, self.host.wake = self.host.wake, None
        if wake is None:
            return False
        if wake > self.mono + LONGEST_WAKE:
            self.host.wake = wake
            return False
        # A role that asks for a moment soon, because it had much to do, gets it without a test having to say so.
        self.wall += max(0.0, wake - self.mono)
        self.mono = max(self.mono, wake)
        assert self.role is not None
        self.role.on_receive(Tick(self.mono, beat=False))
        return True

    def _journal(self, events: Sequence[Event]) -> tuple[Record, ...]:
        records = []
        for event in events:
            fact = encode_event(event)
            record = Record(len(self.records) + 1, SESSION, self.wall, self.mono, fact.kind, fact.body)
            self._hub.apply(record, event)
            self.records.append(record)
            records.append(record)
        return tuple(records)

    def _close(self) -> None:
        if self.role is not None:
            self.role.on_receive(Leave(0.0))
            self.role._jsonl.close()
            self.role = None


def _with_clock(role_class: type[RoleActor], bench: RoleBench) -> type[RoleActor]:
    """Return the role's class with the bench's clocks in the place of the machine's."""
    clocks: dict[str, Any] = {
        "wall": property(lambda _: bench.wall, lambda _, __: None),
        "mono": property(lambda _: bench.mono, lambda _, __: None),
    }
    return cast("type[RoleActor]", type(role_class.__name__, (role_class,), clocks))


def write_milestone(project: Path, name: str, text: str, folder: str = "active") -> Path:
    """Write `.milestones/<folder>/<name>.yaml` as an editor does: a new file in the place of the old one."""
    path = project / ".milestones" / folder / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
    return path
