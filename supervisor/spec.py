"""What a supervisor is asked to keep: child specs and supervisor flags, as frozen data.

This module owns the words of supervision (restart, strategy, shutdown, backoff), their defaults and
what makes a spec invalid. It refuses to know how a child is started, watched or ended, and where a
spec was read from. Everything is validated at construction, before anything is started; the error
names the field and the value (OTP `check_childspecs`, reference rows 9, 10, 20, 21).
"""

from collections.abc import Callable, Iterable, Mapping
from enum import Enum, StrEnum, unique
from typing import Any, Final, TypeVar, cast

import attrs

from actors.limits import QUANTITIES, Limit, LimitError, Limits
from supervisor.program_spec import ProgramSpec, as_program
from supervisor.spec_checks import SpecError, is_number, require, require_choice
from supervisor.target_path import Target, path_of


@unique
class Restart(StrEnum):
    """When a child that ended is started again."""

    PERMANENT = "permanent"
    TRANSIENT = "transient"
    TEMPORARY = "temporary"


@unique
class Strategy(StrEnum):
    """Whom a restart touches beside the child that ended."""

    ONE_FOR_ONE = "one_for_one"
    ONE_FOR_ALL = "one_for_all"
    REST_FOR_ONE = "rest_for_one"
    SIMPLE_ONE_FOR_ONE = "simple_one_for_one"


@unique
class AutoShutdown(StrEnum):
    """When the end of significant children ends their supervisor."""

    NEVER = "never"
    ANY_SIGNIFICANT = "any_significant"
    ALL_SIGNIFICANT = "all_significant"


@unique
class ChildType(StrEnum):
    """Whether a child is itself a supervisor."""

    WORKER = "worker"
    SUPERVISOR = "supervisor"


@unique
class Unbounded(Enum):
    """The two shutdown values that are not a number of seconds."""

    BRUTAL_KILL = "brutal_kill"
    INFINITY = "infinity"


BRUTAL_KILL: Final = Unbounded.BRUTAL_KILL
"""For `shutdown`: it is not asked to stop, but killed at once."""

INFINITY: Final = Unbounded.INFINITY
"""For `shutdown`: it is asked to stop, and waited for as long as it takes."""

ShutdownTime = float | Unbounded
"""Seconds between the polite request and the kill, or kill at once, or wait for ever."""

DEFAULT_SHUTDOWN: Final = 5.0

MOST_STANDBYS: Final = 100
"""Of one child: each is a process."""


@attrs.frozen(kw_only=True)
class Backoff:
    """How long to wait before the next start of a child that keeps failing.

    The first failure in a row is answered at once, as OTP answers every one; the second waits
    `initial`, each further one `factor` times longer. Not in OTP; off in strict mode.

    Args:
        initial: seconds before the restart that follows the second failure in a row.
        maximum: cap in seconds. Jitter stays inside it (Pekko's does not, reference 1.14).
        factor: growth per failure, at least 1.
        jitter: share of the delay, 0 to 1, that is drawn at random: the delay lies between
            `(1 - jitter) * d` and `d`.
        healthy_after: seconds of running after which earlier failures are forgotten.

    Raises:
        SpecError: a value is out of its range.
    """

    initial: float = 0.5
    maximum: float = 30.0
    factor: float = 2.0
    jitter: float = 0.1
    healthy_after: float = 10.0

    def __attrs_post_init__(self) -> None:
        """Refuse what cannot be computed with."""
        owner = "backoff"
        for field in ("initial", "maximum", "factor", "jitter", "healthy_after"):
            value = getattr(self, field)
            require(owner, field, value, ok=is_number(value) and value >= 0, why="must be a number, 0 or more")
        require(owner, "factor", self.factor, ok=self.factor >= 1, why="must be at least 1")
        require(owner, "jitter", self.jitter, ok=self.jitter <= 1, why="must be between 0 and 1")
        longer = self.maximum >= self.initial
        require(owner, "maximum", self.maximum, ok=longer, why=f"must be at least initial ({self.initial})")

    def delay(self, failures: int, unit: float) -> float:
        """Return the seconds to wait after this many failures in a row.

        Args:
            failures: failures in a row, the present one included; the first waits 0 s.
            unit: a number in [0, 1) drawn by the caller; the same number gives the same delay.
        """
        if failures <= 1:
            return 0.0
        try:
            grown = self.initial * self.factor ** (failures - 2)
        except OverflowError:
            grown = self.maximum
        return min(grown, self.maximum) * (1.0 - self.jitter * unit)


def _own(args: Mapping[str, object]) -> Mapping[str, object]:
    """Copy the arguments: whoever built the spec may go on with its dict."""
    return dict(args) if isinstance(args, Mapping) else args  # which is refused later


def _later(convert: Callable[[Any], object], value: object) -> Any:  # noqa: ANN401 - or the error, for a moment
    """Convert a value; what cannot be is refused later, with the child's name."""
    try:
        return convert(value)
    except SpecError as error:
        return error


def _as_target(value: Target) -> str:
    return cast("str", _later(path_of, value))


def _as_children(value: Iterable["ChildSpec"]) -> tuple["ChildSpec", ...]:
    return cast("tuple[ChildSpec, ...]", _later(listed_specs, value))


def _as_program(value: ProgramSpec | Iterable[str] | Mapping[str, Any] | None) -> ProgramSpec | None:
    return cast("ProgramSpec | None", _later(as_program, value))


def _as_count(value: object) -> Any:  # noqa: ANN401 - what is no number is refused later
    return int(value) if isinstance(value, bool) else value


def _default_shutdown(spec: "ChildSpec") -> ShutdownTime:
    return INFINITY if spec.type is ChildType.SUPERVISOR else DEFAULT_SHUTDOWN


@attrs.frozen
class ChildSpec:
    """The immutable wish for one child.

    Args:
        id: name of the slot, unique within its supervisor.
        target: what to start, opaque to the supervisor: an import path (`package.module:Name`), or the
            class or function itself, whose path is then taken. Nothing for a program and for a supervisor.
        args: keyword arguments for the target.
        restart: when to start it again.
        significant: its end may end the supervisor (reference 1.11).
        type: worker or supervisor.
        shutdown: seconds from the polite request to the kill, `BRUTAL_KILL` or `INFINITY`.
            Defaults to 5 for workers and `INFINITY` for supervisors (OTP row 9).
        start_timeout: seconds from spawn to ready, after which the start has failed; None: no limit.
        heartbeat_timeout: seconds without a beat after which a running child is called silent and
            killed; None: never.
        backoff: delays between failing restarts; None: none, as OTP.
        quarantine: beyond the restart budget this child alone is set FATAL and the supervisor goes
            on. Such a child has a budget of its own, of the same intensity and period, so that it
            never spends that of its siblings.
        program: a program instead of a target: a ProgramSpec, or its argv list.
        flags: of a supervisor: how it treats its children; the defaults when not given.
        children: of a supervisor: its children, in start order.
        limits: what its processes may use; None: anything. Over a soft limit it is replaced alone and
            politely, over a hard one it is killed.
        standby: how many processes wait in advance, with its module loaded, to become its next
            incarnation; True is one. For actors and functions. Not in OTP; off in strict mode.

    Raises:
        SpecError: a value is not allowed; OTP's error terms are in reference row 20.
    """

    id: str
    target: str = attrs.field(default="", converter=_as_target)
    args: Mapping[str, object] = attrs.field(factory=dict, converter=_own, hash=False, kw_only=True)
    restart: Restart = attrs.field(default=Restart.PERMANENT, kw_only=True)
    significant: bool = attrs.field(default=False, kw_only=True)
    type: ChildType = attrs.field(default=ChildType.WORKER, kw_only=True)
    shutdown: ShutdownTime = attrs.field(default=attrs.Factory(_default_shutdown, takes_self=True), kw_only=True)
    start_timeout: float | None = attrs.field(default=None, kw_only=True)
    heartbeat_timeout: float | None = attrs.field(default=None, kw_only=True)
    backoff: Backoff | None = attrs.field(default=None, kw_only=True)
    quarantine: bool = attrs.field(default=False, kw_only=True)
    program: ProgramSpec | None = attrs.field(default=None, converter=_as_program, kw_only=True)
    flags: "SupervisorFlags | None" = attrs.field(default=None, kw_only=True)
    children: tuple["ChildSpec", ...] = attrs.field(default=(), converter=_as_children, kw_only=True)
    limits: Limits | None = attrs.field(default=None, kw_only=True)
    standby: int = attrs.field(default=0, converter=_as_count, kw_only=True)

    def __attrs_post_init__(self) -> None:
        """Check every field, then the pairs that exclude each other."""
        named = isinstance(self.id, str) and bool(self.id.strip())
        why = "must be the name of the child, a text that is not empty; the target comes after it"
        require("child", "id", self.id, ok=named, why=why)
        owner = f"child {self.id!r}"
        for value in (self.target, self.program, self.children):
            if isinstance(value, SpecError):
                raise SpecError(owner, value.field, value.value, value.why)
        if not self._needs_no_target():
            named = isinstance(self.target, str) and bool(self.target.strip())
            why = "must be a text that is not empty"
            if self.children or self.flags is not None:
                why = "is needed, but for a supervisor: with children and flags, set type=ChildType.SUPERVISOR"
            require(owner, "target", self.target, ok=named, why=why)
        why = "must be a dict: arguments by their names"
        require(owner, "args", self.args, ok=isinstance(self.args, Mapping), why=why)
        require_choice(owner, "restart", self.restart, Restart)
        require_choice(owner, "type", self.type, ChildType)
        for field in ("significant", "quarantine"):
            value = getattr(self, field)
            require(owner, field, value, ok=isinstance(value, bool), why="must be true or false")
        _check_times(owner, self)
        backed = self.backoff is None or isinstance(self.backoff, Backoff)
        require(owner, "backoff", self.backoff, ok=backed, why="must be a Backoff or nothing")
        limited = self.limits is None or isinstance(self.limits, Limits)
        require(owner, "limits", self.limits, ok=limited, why="must be Limits or nothing")
        counted = type(self.standby) is int and 0 <= self.standby <= MOST_STANDBYS
        why = f"must be true, false, or a number up to {MOST_STANDBYS}"
        require(owner, "standby", self.standby, ok=counted, why=why)
        self._check_pairs(owner)

    def _needs_no_target(self) -> bool:
        return not self.target and (self.program is not None or self.type is ChildType.SUPERVISOR)

    def _check_pairs(self, owner: str) -> None:
        alone = self.program is None or (not self.target and self.type is ChildType.WORKER)
        require(owner, "program", self.program, ok=alone, why="stands instead of a target, and is no supervisor")
        beating = self.heartbeat_timeout is None or self.program is None or self.program.notify
        why = "a program beats by notify alone: set that in its ProgramSpec, or leave this out"
        require(owner, "heartbeat_timeout", self.heartbeat_timeout, ok=beating, why=why)
        nested = self.type is ChildType.SUPERVISOR
        waiting = not self.standby or (self.program is None and not nested)
        why = "only an actor or a function can wait in advance, no program and no supervisor"
        require(owner, "standby", self.standby, ok=waiting, why=why)
        require(owner, "children", self.children, ok=nested or not self.children, why="needs the type supervisor")
        require(owner, "flags", self.flags, ok=nested or self.flags is None, why="needs the type supervisor")
        if self.flags is not None:
            check_flags(self.flags, owner)
        if self.children:
            check_specs(self.flags or SupervisorFlags(), self.children)
        if not self.significant:
            return
        permanent = self.restart is Restart.PERMANENT
        require(owner, "significant", value=True, ok=not permanent, why="a permanent child cannot be significant")
        quarantined = "significant ends the supervisor with the child, quarantine goes on without it: choose one"
        require(owner, "quarantine", self.quarantine, ok=not self.quarantine, why=quarantined)


def _check_times(owner: str, spec: ChildSpec) -> None:
    stop = spec.shutdown
    stoppable = isinstance(stop, Unbounded) or (is_number(stop) and stop >= 0)
    require(owner, "shutdown", stop, ok=stoppable, why="must be seconds (0 or more), brutal_kill or infinity")
    for field in ("start_timeout", "heartbeat_timeout"):
        value = getattr(spec, field)
        timed = value is None or (is_number(value) and value > 0)
        require(owner, field, value, ok=timed, why="must be seconds, more than 0, or nothing")


@attrs.frozen(kw_only=True)
class SupervisorFlags:
    """How a supervisor treats its children as a group.

    Args:
        strategy: whom a restart touches.
        intensity: restart attempts that are allowed within `period`; 0: the first one gives up.
        period: seconds, more than 0.
        auto_shutdown: when the end of significant children ends the supervisor.
        strict: OTP and nothing else: no backoff, start timeout, heartbeat, limit, quarantine or standby.

    Raises:
        SpecError: a value is not allowed (OTP `supervisor_data`, reference row 21).
    """

    strategy: Strategy = Strategy.ONE_FOR_ONE
    intensity: int = 1
    period: float = 5.0
    auto_shutdown: AutoShutdown = AutoShutdown.NEVER
    strict: bool = False

    def __attrs_post_init__(self) -> None:
        """Check every field, then the pair that OTP calls `bad_combination`."""
        owner = "supervisor flags"
        require_choice(owner, "strategy", self.strategy, Strategy)
        require_choice(owner, "auto_shutdown", self.auto_shutdown, AutoShutdown)
        whole = isinstance(self.intensity, int) and not isinstance(self.intensity, bool) and self.intensity >= 0
        require(owner, "intensity", self.intensity, ok=whole, why="must be a whole number, 0 or more")
        timed = is_number(self.period) and self.period > 0
        require(owner, "period", self.period, ok=timed, why="must be seconds, more than 0")
        require(owner, "strict", self.strict, ok=isinstance(self.strict, bool), why="must be true or false")
        simple = self.strategy is Strategy.SIMPLE_ONE_FOR_ONE
        combined = simple and self.auto_shutdown is not AutoShutdown.NEVER
        why = "must be never with simple_one_for_one"
        require(owner, "auto_shutdown", self.auto_shutdown, ok=not combined, why=why)


def check_specs(flags: SupervisorFlags, specs: Iterable[ChildSpec]) -> tuple[ChildSpec, ...]:
    """Check specs against each other and against the flags that they will live under.

    Raises:
        SpecError: a duplicate id, a significant child that no auto_shutdown listens to, a
            simple_one_for_one supervisor without exactly one template, or something that is no spec, or no flags.
    """
    listed = listed_specs(specs)
    check_flags(flags)
    seen: set[str] = set()
    for spec in listed:
        require(f"child {spec.id!r}", "id", spec.id, ok=spec.id not in seen, why="another child has this id")
        seen.add(spec.id)
        check_significance(flags, spec)
    if flags.strategy is Strategy.SIMPLE_ONE_FOR_ONE:
        why = f"simple_one_for_one needs exactly one template, not {len(listed)}"
        ids = [spec.id for spec in listed]
        require("supervisor flags", "strategy", ids, ok=len(listed) == 1, why=why)
    return listed


def listed_specs(specs: Iterable[ChildSpec], owner: str = "supervisor") -> tuple[ChildSpec, ...]:
    """List what should be specs, whatever it is.

    Raises:
        SpecError: It is no list, or something in it is no spec.
    """
    why = "must be a list of ChildSpec"
    require(owner, "children", specs, ok=isinstance(specs, Iterable) and not isinstance(specs, str | Mapping), why=why)
    listed = tuple(specs)
    for number, spec in enumerate(listed):
        why = "must be a ChildSpec, as in ChildSpec('name', Target)"
        require(owner, f"children[{number}]", spec, ok=isinstance(spec, ChildSpec), why=why)
    return listed


def check_flags(flags: SupervisorFlags, owner: str = "supervisor") -> None:
    """Refuse what are no flags.

    Raises:
        SpecError: They are none.
    """
    why = "must be SupervisorFlags, as in SupervisorFlags(intensity=3)"
    require(owner, "flags", flags, ok=isinstance(flags, SupervisorFlags), why=why)


def check_significance(flags: SupervisorFlags, spec: ChildSpec) -> None:
    """Refuse a significant child under auto_shutdown=never (OTP row 20)."""
    heard = not spec.significant or flags.auto_shutdown is not AutoShutdown.NEVER
    why = "a significant child needs auto_shutdown any_significant or all_significant"
    require(f"child {spec.id!r}", "significant", spec.significant, ok=heard, why=why)


_E = TypeVar("_E", bound=Enum)


def _choice(owner: str, field: str, value: object, choices: type[_E]) -> _E:
    for choice in choices:
        if value is choice or value == choice.value:
            return choice
    allowed = ", ".join(str(choice.value) for choice in choices)
    raise SpecError(owner, field, value, f"must be one of {allowed}")


def _known(owner: str, data: object, wanted: type[attrs.AttrsInstance]) -> dict[str, Any]:
    """Keep the keys that `wanted` has; OTP ignores the others (reference 1.1)."""
    if not isinstance(data, Mapping):
        raise SpecError(owner, "spec", data, "must be a mapping of field names to values")
    return {field.name: data[field.name] for field in attrs.fields(wanted) if field.name in data}


def parse_child(data: object) -> ChildSpec:
    """Build a spec from plain data, with the enums by name. Unknown keys are ignored (OTP row 10).

    Raises:
        SpecError: not a mapping, `id` or `target` missing, or a value that is not allowed.
    """
    known = _known("child", data, ChildSpec)
    owner = f"child {known.get('id')!r}"
    optional = known.get("program") or known.get("type") in (ChildType.SUPERVISOR, ChildType.SUPERVISOR.value)
    for field in ("id",) if optional else ("id", "target"):
        require(owner, field, None, ok=field in known, why="is missing")
    if "restart" in known:
        known["restart"] = _choice(owner, "restart", known["restart"], Restart)
    if "type" in known:
        known["type"] = _choice(owner, "type", known["type"], ChildType)
    if isinstance(known.get("shutdown"), str):
        known["shutdown"] = _choice(owner, "shutdown", known["shutdown"], Unbounded)
    if not isinstance(known.get("args", {}), Mapping):
        raise SpecError(owner, "args", known["args"], "must be a mapping of names to values")
    if isinstance(known.get("backoff"), Mapping):
        known["backoff"] = Backoff(**_known(f"{owner}: backoff", known["backoff"], Backoff))
    if isinstance(known.get("flags"), Mapping):
        known["flags"] = parse_flags(known["flags"])
    if "children" in known:
        known["children"] = tuple(
            child if isinstance(child, ChildSpec) else parse_child(child) for child in known["children"]
        )
    if known.get("limits") is not None:
        known["limits"] = _parse_limits(owner, known["limits"])
    return ChildSpec(**known)


def _parse_limits(owner: str, data: object) -> Limits:
    if isinstance(data, Limits):
        return data
    known = _known(f"{owner}: limits", data, Limits)
    for quantity in QUANTITIES:
        held = known.get(quantity)
        if held is None or isinstance(held, Limit):
            continue
        try:
            known[quantity] = Limit(**_known(f"{owner}: limits: {quantity}", held, Limit))
        except LimitError as error:
            raise SpecError(owner, f"limits.{quantity}.{error.field}", error.value, error.why) from error
    try:
        return Limits(**known)
    except LimitError as error:
        raise SpecError(owner, f"limits.{error.field}", error.value, error.why) from error


def parse_flags(data: object) -> SupervisorFlags:
    """Build flags from plain data, with the enums by name. Unknown keys are ignored (OTP row 21).

    Raises:
        SpecError: not a mapping, or a value that is not allowed.
    """
    owner = "supervisor flags"
    known = _known(owner, data, SupervisorFlags)
    if "strategy" in known:
        known["strategy"] = _choice(owner, "strategy", known["strategy"], Strategy)
    if "auto_shutdown" in known:
        known["auto_shutdown"] = _choice(owner, "auto_shutdown", known["auto_shutdown"], AutoShutdown)
    return SupervisorFlags(**known)
