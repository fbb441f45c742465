"""Specs from a file: the same words as in Python, and every problem with its place and what was probably meant."""

from pathlib import Path
from typing import Final

import attrs
import pytest

from supervisor import (
    BRUTAL_KILL,
    INFINITY,
    AutoShutdown,
    Backoff,
    ChildSpec,
    ChildType,
    Limit,
    Limits,
    ProgramSpec,
    Restart,
    SpecFileError,
    Strategy,
    Supervisor,
    SupervisorFlags,
    load_specs,
)
from tests.api import cast
from tests.api.stage import who

SHIPPED: Final = Path(__file__).parents[2] / "configs" / "supervisor.yaml"

RESTARTS: Final = "must be one of permanent, transient, temporary"
BELOW: Final = "it belongs below 'program', as in program: {argv: [...], ready_line: ...}"
FULL: Final = """
flags: {strategy: rest_for_one, intensity: 4, period: 2.5, auto_shutdown: any_significant, strict: true}
children:
  - id: one
    target: tests.api.cast:Echo
    args: {name: "1", note: "", nested: {yes: on, number: 1.10, version: 1.2.3, none: ~, list: [1, -2, true]}}
    restart: transient
    significant: true
    shutdown: brutal_kill
    start_timeout: 3
    heartbeat_timeout: 0.5
    limits: {memory: {soft: 1MB, hard: 2000000}, cpu: {hard: 50, for: 3s}, threads: 9}
    backoff: {initial: 1, maximum: 2, factor: 3, jitter: 0, healthy_after: 4}
  - {id: two, program: [sleep, 100], shutdown: infinity}
  - id: three
    program: {argv: [sleep, 1.10], cwd: /, env: {A: b, C: null}, output: out, success_codes: [0, 3], start_seconds: 1}
  - id: four
    type: supervisor
    flags: {intensity: 0}
    children:
      - {id: one, target: "tests.api.cast:Echo", quarantine: true}
"""


def problems_of(path: Path, text: str) -> list[str]:
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SpecFileError) as raised:
        load_specs(path)
    assert str(raised.value).splitlines() == [str(problem) for problem in raised.value.problems]
    return [str(problem).removeprefix(f"{path}:") for problem in raised.value.problems]


def test_a_file_says_the_same_as_python(tmp_path: Path) -> None:
    path = tmp_path / "specs.yaml"
    path.write_text(FULL, encoding="utf-8")
    children, flags = load_specs(path)
    nested = {"yes": "on", "number": 1.1, "version": "1.2.3", "none": None, "list": [1, -2, True]}
    program = ProgramSpec(
        ["sleep", "1.10"], cwd="/", env={"A": "b", "C": None}, output="out", success_codes=[0, 3], start_seconds=1
    )
    assert flags == SupervisorFlags(
        strategy=Strategy.REST_FOR_ONE,
        intensity=4,
        period=2.5,
        auto_shutdown=AutoShutdown.ANY_SIGNIFICANT,
        strict=True,
    )
    assert children == (
        ChildSpec(
            "one",
            "tests.api.cast:Echo",
            args={"name": "1", "note": "", "nested": nested},
            restart=Restart.TRANSIENT,
            significant=True,
            shutdown=BRUTAL_KILL,
            start_timeout=3,
            heartbeat_timeout=0.5,
            limits=Limits(Limit(1e6, 2e6), Limit(hard=50, seconds=3), threads=Limit(hard=9)),
            backoff=Backoff(initial=1, maximum=2, factor=3, jitter=0, healthy_after=4),
        ),
        ChildSpec("two", program=["sleep", "100"], shutdown=INFINITY),
        ChildSpec("three", program=program),
        ChildSpec(
            "four",
            type=ChildType.SUPERVISOR,
            flags=SupervisorFlags(intensity=0),
            children=[ChildSpec("one", "tests.api.cast:Echo", quarantine=True)],
        ),
    )


def test_the_children_of_a_file_are_started(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("from tests.api.cast import Echo\n", encoding="utf-8")
    path = tmp_path / "specs.yaml"
    path.write_text("children:\n- {id: echo, target: 'own.py:Echo', args: {name: x}}\n", encoding="utf-8")
    with Supervisor(*load_specs(path)) as supervisor:
        assert who(supervisor)["name"] == "x"


def test_the_shipped_example_has_every_field_and_can_be_loaded() -> None:
    children, flags = load_specs(SHIPPED)
    assert [child.id for child in children] == ["clock", "pinger", "counters"]
    assert flags == SupervisorFlags(intensity=3)
    text = SHIPPED.read_text(encoding="utf-8")
    kinds: list[type[attrs.AttrsInstance]] = [ChildSpec, SupervisorFlags, Backoff, ProgramSpec]
    missing = [field.name for kind in kinds for field in attrs.fields(kind) if f"{field.name}:" not in text]
    assert missing == []


def test_every_problem_is_reported_at_once_with_its_place_and_a_suggestion(tmp_path: Path) -> None:
    text = """
flags: {stragety: one_for_all, intensity: -1}
children:
  - id: one
    target: tests.api.cast:Ecoh
    restart: transiant
  - {id: two, taget: x, program: [a]}
  - just text
  - id: three
    program: {argv: [a], success_codes: [999]}
  - {id: four, target: "tests.api.cast:Echo", backoff: {initial: -1}}
top: 1
"""
    assert not hasattr(cast, "Ecoh")  # what is imported already is looked into
    found = problems_of(tmp_path / "specs.yaml", text)
    assert found == [
        "2:9: there is no field 'stragety' here; did you mean 'strategy'?",
        "2:43: supervisor flags: intensity = '-1': must be a whole number, 0 or more",
        "5:13: child 'one': target = 'tests.api.cast:Ecoh': module 'tests.api.cast' has nothing named 'Ecoh'",
        "6:14: child 'one': restart = 'transiant': " + RESTARTS + "; did you mean 'transient'?",
        "7:15: there is no field 'taget' here; did you mean 'target'?",
        "8:5: a child must be a map with 'id' and 'target' (or 'program', or 'children')",
        "10:41: program: success_codes = '[999]': must be numbers 0 to 255",
        "11:66: backoff: initial = '-1': must be a number, 0 or more",
        "12:1: there is no field 'top' here",
    ]


@pytest.mark.parametrize(
    ("child", "expected"),
    [
        (
            "{id: a, taget: 'tests.api.cast:Echo', restart: transiant, shutdown: -1, nosuch: 1}",
            [
                "1:20: there is no field 'taget' here; did you mean 'target'?",
                "1:59: child 'a': restart = 'transiant': " + RESTARTS + "; did you mean 'transient'?",
                "1:80: child 'a': shutdown = '-1': must be seconds (0 or more), brutal_kill or infinity",
                "1:84: there is no field 'nosuch' here",
            ],
        ),
        (
            "{id: a, taget: 'tests.api.stage:Ecoh', start_timeout: 0}",
            [
                "1:20: there is no field 'taget' here; did you mean 'target'?",
                "1:27: child 'a': target = 'tests.api.stage:Ecoh': module 'tests.api.stage' has nothing named 'Ecoh'",
                "1:66: child 'a': start_timeout = '0': must be seconds, more than 0, or nothing",
            ],
        ),
        # What rests on a field that is wrong is not judged: the second fault would be that of the first.
        (
            "{id: a, program: [b], restart: transiant, significant: true}",
            ["1:43: child 'a': restart = 'transiant': " + RESTARTS + "; did you mean 'transient'?"],
        ),
        (
            "{id: a, program: {argv: [], notify: true}, heartbeat_timeout: 1, shutdown: soon}",
            [
                "1:36: program: argv = '()': must be a list of texts, the program first",
                "1:87: child 'a': shutdown = 'soon': must be one of brutal_kill, infinity",
            ],
        ),
        (
            "{id: a, program: [b], ready_line: x, restart: no}",
            [
                f"1:34: there is no field 'ready_line' here: {BELOW}",
                "1:58: child 'a': restart = 'no': " + RESTARTS,
            ],
        ),
        ("{nosuch: 1}", ["1:13: there is no field 'nosuch' here", "1:12: child None: id: is missing"]),
    ],
)
def test_all_that_is_wrong_with_a_child_is_reported_at_once(tmp_path: Path, child: str, expected: list[str]) -> None:
    assert sorted(problems_of(tmp_path / "specs.yaml", f"children: [{child}]")) == sorted(expected)


def test_a_flag_that_stands_beside_the_flags_is_told_its_place(tmp_path: Path) -> None:
    found = problems_of(tmp_path / "specs.yaml", "strategy: one_for_one\nchildren: []\n")
    assert found[0] == "1:1: there is no field 'strategy' here: it belongs below 'flags'"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "1:1: the specs of a supervisor are a map with 'children', and 'flags' if need be"),
        ("[1]", "1:1: the specs of a supervisor are a map with 'children', and 'flags' if need be"),
        ("flags: {}", "1:1: 'children' is missing: the list of the supervisor's children"),
        ("children: 3", "1:11: 'children' must be a list of children"),
        ("children: [{id: a}]", "1:12: child 'a': target: is missing"),
        ("children: [{id: a, target: 'tests.api.stage:Ecoh'}]", "has nothing named 'Ecoh'"),
        ("children: [{id: a, program: x}]", "1:29: 'program' must be a list: the program and its arguments"),
        ("children: [{id: a, program: []}]", "argv = '()': must be a list of texts, the program first"),
        ("children: [{id: a, program: [b]}, {id: a, program: [c]}]", "1:40: child 'a': id = 'a': another child has"),
        ("children: [{id: a, program: [b], significant: true, restart: temporary}]", "needs auto_shutdown"),
        ("children: [{id: a, program: [b], shutdown: soon}]", "1:44: child 'a': shutdown = 'soon'"),
        ("children: [{id: a, program: [b], children: []}]\nx: &y 1", "2:4: anchors are not allowed"),
        ("children: [{id: a, program: [b], backoff: fast}]", "'backoff' must be a map of initial, maximum"),
        ("children: [{id: a, program: {argv: 5}}]", "1:36: program: argv = '5': must be a list of texts"),
        ("children: [{id: a, program: {cwd: /}}]", "1:29: has not the form of its fields"),
        ("children: [{id: a, type: supervisor, children: [{id: b}]}]", "1:49: child 'b': target: is missing"),
        ("children: [{id: a, program: [b], limits: {memroy: {}}}]", "1:43: unknown key 'memroy' in 'limits'"),
        ("children: [{id: a, program: [b], limits: {memory: {soft: 200e6}}}]", "1:58: 'soft' must be bytes, or"),
        ("children: [{id: a, program: [b], limits: {cpu: {seconds: 6}}}]", "1:49: 'seconds' is Python's word"),
        ("children: [{id: a, program: {argv: [b], ready_line: '('}}]", "1:53: program: ready_line = '(': is"),
        ("children: [{id: a, program: {argv: [b], ready_line: x, notify: true}}]", "so does notify: choose one"),
        ("children: [{id: a, program: [b], limits: {cpu: {hard: -5}}}]", "1:55: 'hard' must be a number"),
        ("children:\n  - id: [", "2:10: not YAML"),
    ],
)
def test_a_problem_is_reported_at_its_place(tmp_path: Path, text: str, problem: str) -> None:
    found = problems_of(tmp_path / "specs.yaml", text)
    assert any(problem in one for one in found), found


def test_a_file_that_cannot_be_read_is_a_problem_like_any_other(tmp_path: Path) -> None:
    with pytest.raises(SpecFileError, match="cannot be read: No such file or directory"):
        load_specs(tmp_path / "none.yaml")
    (tmp_path / "latin").write_bytes(b"a: \xe9")
    with pytest.raises(SpecFileError, match="is not UTF-8: byte 3"):
        load_specs(str(tmp_path / "latin"))
