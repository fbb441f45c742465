"""Specs and flags: defaults, and every refusal with its field and value. Exit reasons as a table."""

import math
from contextlib import nullcontext
from itertools import product

import pytest

from supervisor import exits
from supervisor.core import Core
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
    Unknown,
    Unready,
)
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
    check_specs,
    parse_child,
    parse_flags,
)
from supervisor.spec_checks import SpecError

MINIMAL = {"id": "c", "target": "package.module:Role"}


@pytest.mark.row("9")
def test_a_minimal_spec_has_the_defaults_of_otp() -> None:
    worker = parse_child(MINIMAL)
    assert worker == ChildSpec("c", "package.module:Role")
    assert (worker.restart, worker.shutdown, worker.type) == (Restart.PERMANENT, 5.0, ChildType.WORKER)
    assert not worker.significant
    assert parse_child({**MINIMAL, "type": "supervisor"}).shutdown is INFINITY


@pytest.mark.row("21")
def test_minimal_flags_have_the_defaults_of_otp() -> None:
    flags = parse_flags({"unknown": 1})
    assert flags == SupervisorFlags()
    assert (flags.strategy, flags.intensity, flags.period) == (Strategy.ONE_FOR_ONE, 1, 5.0)
    assert flags.auto_shutdown is AutoShutdown.NEVER


@pytest.mark.row("10")
@pytest.mark.parametrize(
    ("data", "field"),
    [
        ({"target": "x"}, "id"),
        ({"id": "c"}, "target"),
        (["c"], "spec"),
        (None, "spec"),
    ],
)
def test_what_is_missing_in_a_spec_is_named(data: object, field: str) -> None:
    with pytest.raises(SpecError) as refusal:
        parse_child(data)
    assert refusal.value.field == field


@pytest.mark.row("10")
def test_an_unknown_key_is_ignored() -> None:
    """Reference 1.1."""
    assert parse_child({**MINIMAL, "colour": "red"}) == parse_child(MINIMAL)


@pytest.mark.row("20")
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", ""),
        ("id", 7),
        ("target", "  "),
        ("args", [1]),
        ("restart", "always"),
        ("shutdown", -10),
        ("shutdown", "soon"),
        ("shutdown", math.inf),
        ("shutdown", math.nan),
        ("shutdown", True),
        ("type", "task"),
        ("significant", "yes"),
        ("start_timeout", 0),
        ("heartbeat_timeout", -1.0),
        ("backoff", 3),
        ("quarantine", 1),
    ],
)
def test_a_bad_value_in_a_spec_is_refused_with_field_and_value(field: str, value: object) -> None:
    """An exact error per field."""
    with pytest.raises(SpecError) as refusal:
        parse_child({**MINIMAL, field: value})
    assert refusal.value.field == field
    assert refusal.value.value is value
    assert field in str(refusal.value)
    assert repr(value) in str(refusal.value)


@pytest.mark.row("21")
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("strategy", "all_for_one"),
        ("intensity", -1),
        ("intensity", math.inf),
        ("intensity", 1.5),
        ("intensity", True),
        ("period", 0),
        ("period", math.inf),
        ("period", "5"),
        ("auto_shutdown", "sometimes"),
        ("strict", 1),
    ],
)
def test_a_bad_flag_is_refused_with_field_and_value(field: str, value: object) -> None:
    """One named error each."""
    with pytest.raises(SpecError) as refusal:
        parse_flags({field: value})
    assert (refusal.value.field, refusal.value.value) == (field, value)
    with pytest.raises(SpecError):
        parse_flags([field])


@pytest.mark.parametrize(
    ("field", "value"),
    [("initial", -1.0), ("maximum", 0.1), ("factor", 0.5), ("jitter", 1.5), ("healthy_after", math.nan)],
)
def test_a_bad_backoff_is_refused_with_field_and_value(field: str, value: float) -> None:
    with pytest.raises(SpecError) as refusal:
        parse_child({**MINIMAL, "backoff": {field: value}})
    assert refusal.value.field == field


def test_a_spec_is_read_with_all_its_words() -> None:
    spec = parse_child(
        {
            **MINIMAL,
            "args": {"a": 1},
            "restart": "transient",
            "shutdown": "brutal_kill",
            "significant": True,
            "backoff": {"initial": 1, "maximum": 2, "future": 3},
        }
    )
    assert spec.shutdown is BRUTAL_KILL
    assert spec.backoff == Backoff(initial=1, maximum=2)
    assert (spec.restart, spec.significant, spec.args) == (Restart.TRANSIENT, True, {"a": 1})


def test_a_spec_does_not_share_the_arguments_it_was_made_from() -> None:
    args = {"a": 1}
    spec = ChildSpec("c", "x", args=args)
    args["a"] = 2
    assert spec.args == {"a": 1}


@pytest.mark.row("20")
@pytest.mark.parametrize("restart", list(Restart))
@pytest.mark.parametrize("significant", [True, False])
@pytest.mark.parametrize("mode", list(AutoShutdown))
def test_significance_needs_a_child_that_can_end_and_a_supervisor_that_listens(
    restart: Restart, significant: bool, mode: AutoShutdown
) -> None:
    """Significant+permanent and significant+never are refused, all else is taken."""

    def check() -> None:
        spec = ChildSpec("c", "x", restart=restart, significant=significant)
        check_specs(SupervisorFlags(auto_shutdown=mode), [spec])

    if significant and (restart is Restart.PERMANENT or mode is AutoShutdown.NEVER):
        with pytest.raises(SpecError) as refusal:
            check()
        assert refusal.value.field == "significant"
    else:
        check()


def test_significant_and_quarantine_exclude_each_other() -> None:
    with pytest.raises(SpecError) as refusal:
        ChildSpec("c", "x", restart=Restart.TRANSIENT, significant=True, quarantine=True)
    assert refusal.value.field == "quarantine"


@pytest.mark.row("20")
def test_duplicate_ids_are_refused() -> None:
    with pytest.raises(SpecError) as refusal:
        check_specs(SupervisorFlags(), [ChildSpec("c", "x"), ChildSpec("d", "x"), ChildSpec("c", "y")])
    assert (refusal.value.field, refusal.value.value) == ("id", "c")


@pytest.mark.row("20")
@pytest.mark.parametrize("count", [0, 2])
def test_simple_one_for_one_needs_exactly_one_template(count: int) -> None:
    flags = SupervisorFlags(strategy=Strategy.SIMPLE_ONE_FOR_ONE)
    with pytest.raises(SpecError, match="exactly one template"):
        check_specs(flags, [ChildSpec(f"c{number}", "x") for number in range(count)])


@pytest.mark.row("56")
@pytest.mark.parametrize("mode", list(AutoShutdown))
def test_simple_one_for_one_refuses_auto_shutdown(mode: AutoShutdown) -> None:
    """`bad_combination`; never is fine."""
    data = {"strategy": "simple_one_for_one", "auto_shutdown": mode.value}
    if mode is AutoShutdown.NEVER:
        parse_flags(data)
    else:
        with pytest.raises(SpecError) as refusal:
            parse_flags(data)
        assert refusal.value.field == "auto_shutdown"


CLEAN: list[ExitReason] = [Normal(), Normal(3), Shutdown(), ShutdownTerm("done")]
FAILED: list[ExitReason] = [
    Killed(),
    Crashed(code=1),
    Crashed(signal=11),
    Unready(1.0),
    Silent(2.0),
    OverLimit("rss"),
    SpawnFailed("no such file"),
    Unknown("its parent died"),
]


@pytest.mark.parametrize("reason", CLEAN + FAILED, ids=repr)
def test_the_table_of_restart_types_and_reasons(reason: ExitReason) -> None:
    """Reference 1.3 and 1.13."""
    assert exits.is_clean(reason) == (reason in CLEAN)
    assert exits.calls_for_restart(Restart.PERMANENT, reason)
    assert exits.calls_for_restart(Restart.TRANSIENT, reason) == (reason in FAILED)
    assert not exits.calls_for_restart(Restart.TEMPORARY, reason)


@pytest.mark.parametrize("reason", CLEAN + FAILED, ids=repr)
def test_every_reason_is_described_in_one_line(reason: ExitReason) -> None:
    told = exits.describe(reason)
    assert told
    assert "\n" not in told


def test_descriptions_say_what_matters() -> None:
    assert exits.describe(Crashed(signal=11)) == "crashed (SIGSEGV)"
    assert exits.describe(Crashed(signal=250)) == "crashed (signal 250)"
    assert exits.describe(Crashed(code=7)) == "crashed (exit code 7)"
    assert exits.describe(Unready(2.5)) == "not ready within 2.5 s"


def test_a_crash_has_one_cause() -> None:
    for code, signal in ((None, None), (1, 9)):
        with pytest.raises(ValueError, match="a code or a signal"):
            Crashed(code=code, signal=signal)


@pytest.mark.parametrize(
    ("raw", "killed", "named"),
    [
        (Normal(), False, Shutdown()),
        (Crashed(signal=15), False, Shutdown()),
        (Crashed(signal=15), True, Shutdown()),
        (Crashed(signal=9), True, Killed()),
        (Crashed(signal=9), False, Crashed(signal=9)),
        (Crashed(code=1), False, Crashed(code=1)),
        (ShutdownTerm("x"), False, ShutdownTerm("x")),
    ],
    ids=repr,
)
def test_the_end_of_a_child_that_was_being_stopped_is_named_after_what_was_done_to_it(
    raw: ExitReason, killed: bool, named: ExitReason
) -> None:
    """Reference 1.8, 1.13."""
    assert exits.after_stop(raw, killed=killed) == named


@pytest.mark.parametrize("restart", list(Restart))
def test_which_endings_of_a_stopped_child_are_reported(restart: Restart) -> None:
    """Reference 1.8."""
    lenient = restart is not Restart.PERMANENT

    def expected(reason: ExitReason, *, brutal: bool = False) -> bool:
        return exits.is_expected_after_stop(reason, restart, brutal=brutal)

    assert expected(Shutdown())
    assert expected(ShutdownTerm("x")) == lenient
    assert expected(Normal()) == lenient
    assert expected(Killed(), brutal=True)
    assert not expected(Killed())
    assert not expected(Crashed(code=1), brutal=True)


def test_a_wait_status_is_mapped_to_a_reason() -> None:
    """Reference 1.13."""
    assert exits.from_wait(0, None) == Normal(0)
    assert exits.from_wait(1, None) == Crashed(code=1)
    assert exits.from_wait(3, None, frozenset({0, 3})) == Normal(3)
    assert exits.from_wait(None, 9) == Crashed(signal=9)
    assert isinstance(exits.from_wait(None, None), Unknown)


@pytest.mark.row("6")
@pytest.mark.parametrize(
    "junk", [None, 7, "one_for_one", [], {"strategy": "one_for_one", "intensity": "many"}], ids=repr
)
def test_a_supervisor_cannot_be_made_from_junk_and_nothing_was_started(junk: object) -> None:
    with pytest.raises(SpecError) as refusal:
        Core(parse_flags(junk), [parse_child(MINIMAL)])
    assert "supervisor flags: " in str(refusal.value)
    with pytest.raises(SpecError):
        Core(SupervisorFlags(), [parse_child(MINIMAL), parse_child(junk)])


@pytest.mark.row("20")
def test_every_combination_of_fields_is_taken_or_refused_as_the_rules_say() -> None:
    taken = 0
    shutdowns = (0, 5.0, -1, "brutal_kill", "infinity", None)
    restarts = ("permanent", "transient", "temporary", "always")
    for restart, significant, shutdown, kind, strategy, mode in product(
        restarts, (True, False), shutdowns, ("worker", "supervisor"), Strategy, AutoShutdown
    ):
        simple = strategy is Strategy.SIMPLE_ONE_FOR_ONE
        valid = restart != "always" and shutdown not in (-1, None)
        valid &= not (simple and mode is not AutoShutdown.NEVER)
        valid &= not (significant and (restart == "permanent" or mode is AutoShutdown.NEVER))
        data = {**MINIMAL, "restart": restart, "significant": significant, "shutdown": shutdown, "type": kind}
        with nullcontext() if valid else pytest.raises(SpecError):
            check_specs(parse_flags({"strategy": strategy, "auto_shutdown": mode}), [parse_child(data)])
            taken += 1
    assert taken == 2 * 4 * (3 * 3 * 3 + 3 + 2 * 3 * 2)


def test_a_word_in_the_place_of_an_enum_is_answered_with_what_to_write() -> None:
    with pytest.raises(SpecError, match=r"'one_for_all': must be one of Strategy\.ONE_FOR_ONE, Strategy\."):
        SupervisorFlags(strategy="one_for_all")  # type: ignore[arg-type]
