"""Who is on the books of a supervisor: flags, children and template, and what requests may change.

Owns the admission of requests (OTP's administration API, reference rows of 1.10 and 1.12): each is
answered at once, or becomes a sequence. Owns the answers to questions. It refuses to know how a
sequence is run.
"""

from collections.abc import Iterable, Mapping
from typing import Final, assert_never

import attrs

from actors.problems import closest, did_you_mean
from supervisor.children import NO_ARGS, Backoff, Child, Children, Desired, Fatal, Gone, Running, StateName, Stopping
from supervisor.core_effects import Done, Refusal, Refused, Result
from supervisor.core_events import (
    ChangeSpecs,
    DeleteChild,
    Mutation,
    RestartChild,
    StartChild,
    StartInstance,
    TerminateChild,
)
from supervisor.sequence import RequestedStart, RequestedStop, Sequence, StartStep, StopStep
from supervisor.spec import (
    ChildSpec,
    ChildType,
    Strategy,
    SupervisorFlags,
    check_significance,
    check_specs,
)
from supervisor.spec_checks import SpecError

MOST_NAMES: Final = 20
"""Names of children that are listed in a line of text."""


@attrs.frozen
class ChildRow:
    """One line of `which_children`.

    Attributes:
        id: Its id, without the path of its supervisor.
        pid: Its process; ``None`` without one, and for a supervisor.
        restarting: Whether it has no process now, but one is to come.
        type: Worker or supervisor.
        state: What is true of it.
        desired: What is wanted of it.
        incarnation: Which start of it is the latest, counting from 1; 0 before the first.
        info: What the incarnation that runs said with its readiness; ``None`` when it said nothing.
    """

    id: str
    pid: int | None
    restarting: bool
    type: ChildType
    state: StateName
    desired: Desired
    incarnation: int
    info: object = None


@attrs.frozen
class Counts:
    """OTP's `count_children`: all specs, children that run, and both types regardless of that.

    Attributes:
        specs: All children, whether they run or not.
        active: Children that run, or are being stopped.
        supervisors: Children of type supervisor, whether they run or not.
        workers: The others, whether they run or not.
    """

    specs: int
    active: int
    supervisors: int
    workers: int


def _row(child: Child) -> ChildRow:
    return ChildRow(
        id=child.id,
        pid=child.pid,
        restarting=isinstance(child.state, Backoff | Gone),
        type=child.spec.type,
        state=child.name,
        desired=child.desired,
        incarnation=child.incarnation,
        info=child.state.info if isinstance(child.state, Running) else None,
    )


def _seems_to_run(child: Child) -> bool:
    """Tell whether OTP would hold the child to be running: also while its exit waits to be decided about."""
    return child.is_alive or isinstance(child.state, Gone)


def _instance_spec(template: ChildSpec, instance: str, own_args: Mapping[str, object]) -> ChildSpec:
    """Make an instance's spec: the template with the instance's own arguments laid over its."""
    return attrs.evolve(template, id=instance, args={**template.args, **own_args})


class Roster:
    """The flags, the children and, for simple_one_for_one, the template."""

    def __init__(self, flags: SupervisorFlags, specs: Iterable[ChildSpec], held: frozenset[str]) -> None:
        """Take the books over.

        Raises:
            SpecError: the specs do not go together (`check_specs`).
        """
        checked = check_specs(flags, specs)
        self.flags = flags
        self.template = checked[0] if self.is_simple else None
        self.children = Children(() if self.is_simple else checked, held)
        self._issued = 0

    @property
    def is_simple(self) -> bool:
        """Whether children are made from one template."""
        return self.flags.strategy is Strategy.SIMPLE_ONE_FOR_ONE

    def forget_if_done(self, child: Child) -> bool:
        """Forget a child that will not be started again by anybody: temporary, or an instance."""
        if child.is_temporary or self.is_simple:
            self.children.remove(child.id)
            return True
        return False

    def admit(self, request: Mutation) -> Result | Sequence:
        """Answer a request, or say what has to be done for it."""
        match request:
            case StartChild():
                return self._admit_start(request)
            case StartInstance():
                return self._admit_instance(request)
            case TerminateChild():
                return self._admit_terminate(request)
            case RestartChild():
                return self._admit_restart(request)
            case DeleteChild():
                return self._delete(request)
            case ChangeSpecs():
                return self._change(request)
            case _:
                assert_never(request)

    def _admit_start(self, request: StartChild) -> Result | Sequence:
        spec = request.spec
        if self.is_simple:
            return Refused(Refusal.SIMPLE_ONE_FOR_ONE, spec.id, "its children come from the template alone")
        known = self.children.get(spec.id)
        if known is not None:
            why = Refusal.ALREADY_STARTED if _seems_to_run(known) else Refusal.ALREADY_PRESENT
            return Refused(why, spec.id, f"state {known.name}", pid=known.pid)
        try:
            check_significance(self.flags, spec)
        except SpecError as error:
            return Refused(Refusal.INVALID, spec.id, str(error))
        return self._start_new(request.request, spec)

    def _admit_instance(self, request: StartInstance) -> Result | Sequence:
        if self.template is None:
            return Refused(Refusal.NOT_SIMPLE, detail="give a spec of its own to the new child")
        self._issued += 1
        instance = f"{self.template.id}#{self._issued}"
        spec = _instance_spec(self.template, instance, request.args)
        return self._start_new(request.request, spec, request.args)

    def _start_new(self, request: int, spec: ChildSpec, own_args: Mapping[str, object] = NO_ARGS) -> Sequence:
        child = Child(spec, Desired.UP)
        child.own_args = own_args
        self.children.add(child)
        return Sequence(RequestedStart(request, spec.id, added=True), (StartStep(spec.id),))

    def _admit_terminate(self, request: TerminateChild) -> Result | Sequence:
        child = self.children.get(request.child)
        if child is not None:
            child.desired = Desired.DOWN
            purpose = RequestedStop(request.request, child.id)
            return Sequence(purpose, (StopStep((child.id,), forget_temporary=True),))
        if self.template is not None and request.child == self.template.id:
            return Refused(Refusal.SIMPLE_ONE_FOR_ONE, request.child, "name one instance, not the template")
        if self._was_issued(request.child):
            return Done()
        return self.unknown(request.child)

    def _was_issued(self, child: str) -> bool:
        """Tell whether this was the id of an instance: to end it again is no error (OTP row 19)."""
        if self.template is None:
            return False
        number = child.removeprefix(f"{self.template.id}#")
        return number != child and number.isascii() and number.isdigit() and 0 < int(number) <= self._issued

    def unknown(self, child: str) -> Refused:
        """Say that there is no child of this name, and which there are."""
        names = sorted(other.id for other in self.children)
        known = (
            f"children: {', '.join(names) or 'none'}"
            if len(names) <= MOST_NAMES
            else f"{len(names)} children have other names"
        )
        return Refused(Refusal.NOT_FOUND, child, known + did_you_mean(closest(child, names)))

    def _idle(self, child: str) -> Child | Refused:
        """Return a child that has no process and will get none by itself, or why it is not one."""
        if self.is_simple:
            return Refused(Refusal.SIMPLE_ONE_FOR_ONE, child, "start another instance, or end this one")
        known = self.children.get(child)
        if known is None:
            return self.unknown(child)
        if _seems_to_run(known):
            return Refused(Refusal.RUNNING, child, f"state {known.name}", pid=known.pid)
        if isinstance(known.state, Backoff):
            return Refused(Refusal.RESTARTING, child, f"state {known.name}; terminate it first")
        return known

    def _admit_restart(self, request: RestartChild) -> Result | Sequence:
        found = self._idle(request.child)
        if isinstance(found, Refused):
            return found
        if isinstance(found.state, Fatal):
            found.pardon()
        purpose = RequestedStart(request.request, found.id, added=False)
        return Sequence(purpose, (StartStep(found.id),))

    def _delete(self, request: DeleteChild) -> Result:
        found = self._idle(request.child)
        if isinstance(found, Refused):
            return found
        self.children.remove(found.id)
        return Done()

    def _change(self, request: ChangeSpecs) -> Result:
        """Take new flags and specs, or refuse them and leave everything as it is."""
        try:
            specs = check_specs(request.flags, request.specs)
        except SpecError as error:
            return Refused(Refusal.INVALID, detail=str(error))
        simple = request.flags.strategy is Strategy.SIMPLE_ONE_FOR_ONE
        if simple is not self.is_simple:
            detail = "simple_one_for_one cannot be taken on or given up at run time"
            return Refused(Refusal.INVALID, detail=detail)
        self.flags = request.flags
        if simple:
            self.template = specs[0]
            for child in self.children:
                child.spec = _instance_spec(specs[0], child.id, child.own_args)
        else:
            self.children.take_specs(specs)
        return Done()

    def which_children(self) -> tuple[ChildRow, ...]:
        """List all children, the newest started first (OTP row 59)."""
        return tuple(_row(child) for child in reversed(self.children))

    def which_child(self, child: str | int) -> ChildRow | None:
        """Return the line of one child, by its id or the pid of its process; None: there is no such child."""
        if isinstance(child, str):
            known = self.children.get(child)
        else:
            known = next((other for other in self.children if other.pid == child), None)
        return None if known is None else _row(known)

    def count_children(self) -> Counts:
        """Count as OTP does: a simple_one_for_one supervisor has one spec, its template."""
        supervisors = sum(child.spec.type is ChildType.SUPERVISOR for child in self.children)
        return Counts(
            specs=1 if self.is_simple else len(self.children),
            active=sum(isinstance(child.state, Running | Stopping) for child in self.children),
            supervisors=supervisors,
            workers=len(self.children) - supervisors,
        )

    def get_childspec(self, child: str) -> ChildSpec | None:
        """Return the spec of a child, or the template by its id; None: there is no such child."""
        if self.template is not None and child == self.template.id:
            return self.template
        known = self.children.get(child)
        return known.spec if known is not None else None
