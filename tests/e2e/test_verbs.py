"""Every verb of `milestonectl`: it does what it is for, it fails in order, and it says so when nobody is there.

The verbs come out of the command tree, so none can be forgotten; what each prints with `--json` is compared with its
schema in `supervisor/cli/schemas.json`. They are called in this process, beside a daemon and a session in others.
"""

import json
import signal
import time
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path
from typing import Any, Final

import click
import pytest
from attrs import field, frozen
from jsonschema import Draft202012Validator

from actors.events import AttemptStarted, TaskFailed
from supervisor.cli import COMMANDS, milestonectl
from supervisor.cli.journaled import describe_journaled
from supervisor.cli.status_text import status_lines
from tests.cli.conftest import Ctl, ctl
from tests.e2e.stage import Done, Project, Running, facts, milestone_of, waits_for
from tests.waiting import wait_until

__all__ = ["ctl"]

SCHEMAS: Final[dict[str, Any]] = json.loads(
    resources.files("supervisor.cli").joinpath("schemas.json").read_text(encoding="utf-8")
)
NOBODY: Final = 69

Row = tuple[int, tuple[str, ...]]
"""An exit code, and the words that lead to it."""


@frozen
class Case:
    """What is asked of a verb.

    Attributes:
        good: Beside a live session `m1`, with the task `wait` that runs, `bad` that has failed, `after` that waits.
        bad: Beside the same.
        away: With nobody who supervises the project, and a session that was stopped.
        lines: Whether `--json` prints an object for each line.
    """

    good: tuple[Row, ...]
    bad: tuple[Row, ...]
    away: Row
    lines: bool = field(default=False, kw_only=True)


def case(good: Row, bad: Row, away: Row, *, lines: bool = False) -> Case:
    return Case((good,), (bad,), away, lines=lines)


CASES: Final = {
    "init": case((0, ()), (2, ("--nosuch",)), (0, ())),
    "validate": case((0, ("m1",)), (1, ("nosuch",)), (0, ())),
    "plan": case((0, ("m1",)), (1, ("nosuch",)), (0, ("m1",))),
    "run": case((75, ("m1",)), (1, ("nosuch",)), (1, ("nosuch",)), lines=True),
    "start": case((0, ("m1",)), (1, ("nosuch",)), (NOBODY, ("m1",))),
    "status": Case(
        ((0, ()), (0, ("m1",)), (0, ("m1:runner",))), ((4, ("nosuch",)), (4, ("m1:runer", "nosuch:*"))), (3, ())
    ),
    "sessions": case((0, ()), (1, ("nosuch",)), (0, ("m1",))),
    "blockers": case((3, ()), (4, ("nosuch",)), (3, ())),
    "top": case((0, ()), (4, ("nosuch",)), (NOBODY, ())),
    "report": case((0, ("m1",)), (1, ("nosuch",)), (0, ())),
    "pid": Case(((0, ()), (0, ("m1:*",))), ((1, ("nosuch",)),), (NOBODY, ())),
    "pause": case((0, ("m1",)), (1, ("nosuch",)), (NOBODY, ())),
    "resume": case((0, ("m1",)), (1, ("nosuch",)), (NOBODY, ())),
    "signal": case((0, ("CONT", "m1:*")), (1, ("NOSUCH", "m1")), (NOBODY, ("HUP", "m1"))),
    "skip": case((0, ("after", "--session", "m1")), (1, ("wait", "--session", "m1")), (NOBODY, ("after",))),
    "retry": case((0, ("after", "--session", "m1")), (1, ("wait", "--session", "m1")), (NOBODY, ())),
    "update": case((0, ("m1",)), (1, ("nosuch",)), (NOBODY, ("m1",))),
    "tail": case((0, ("bad",)), (1, ("nosuch",)), (0, ("bad.1",)), lines=True),
    "events": case((0, ()), (1, ("--session", "nosuch")), (NOBODY, ("--follow",)), lines=True),
    "reload": case((0, ()), (2, ("--nosuch",)), (NOBODY, ())),
    "restart": case((0, ("m1:progress_monitor",)), (1, ("nosuch",)), (NOBODY, ("m1",))),
    "recover": case((75, ()), (2, ("--nosuch",)), (0, ())),
    "service": case((4, ("status",)), (2, ("nosuch",)), (4, ("status",))),
    "import": case((0, ("Procfile",)), (1, ("nosuch",)), (0, ("Procfile",))),
    "doctor": case((0, ()), (2, ("--nosuch",)), (0, ())),
    "completion": case((0, ("bash",)), (2, ("csh",)), (0, ("fish",))),
    "version": case((0, ()), (2, ("--nosuch",)), (0, ())),
    "cancel": case((0, ("m2",)), (1, ("nosuch",)), (NOBODY, ("m2",))),
    "stop": case((0, ("m1",)), (1, ("nosuch",)), (NOBODY, ())),
    "shutdown": case((0, ()), (2, ("--nosuch",)), (NOBODY, ())),
}
"""Every verb, in an order in which none takes away what a later one needs."""


def test_every_verb_has_a_case_and_a_schema() -> None:
    context = click.Context(milestonectl)
    assert set(milestonectl.list_commands(context)) == set(COMMANDS) == set(CASES)
    assert set(CASES) <= SCHEMAS["$defs"].keys()


def closed(schema: Any) -> Any:  # noqa: ANN401 - a JSON document
    """Return a schema that allows no field which it does not name."""
    match schema:
        case dict():
            more = {"additionalProperties": False} if "properties" in schema else {}
            return {**{key: closed(value) for key, value in schema.items()}, **more}
        case list():
            return [closed(one) for one in schema]
        case _:
            return schema


CLOSED: Final = closed(SCHEMAS["$defs"])


def complaints(done: Done, verb: str, *, lines: bool) -> Iterator[str]:
    """Say what of the JSON that a verb printed is not as its schema has it."""
    texts = done.out.splitlines() if lines else [done.out]
    for text in texts:
        document = json.loads(text)
        name = "error" if isinstance(document, dict) and "error" in document else verb
        validator = Draft202012Validator({"$ref": f"#/$defs/{name}", "$defs": CLOSED})
        yield from (f"{verb}: {one.json_path}: {one.message}" for one in validator.iter_errors(document))
    if not texts:
        yield f"{verb}: nothing was printed"


def check(ctl: Ctl, verb: str, row: Row, *, lines: bool, repeat: bool = True) -> list[str]:
    """Call a verb for people and for programs; return what is not as it should be."""
    code, words = row
    wrong = []
    for done in (ctl(verb, *words), ctl(verb, *words, "--json")) if repeat else (ctl(verb, *words, "--json"),):
        if done.code != code:
            wrong.append(f"{verb} {' '.join(words)}: exit code {done.code}, not {code}: {done.out}{done.err}")
        if "Traceback" in done.err:
            wrong.append(f"{verb}: {done.err}")
    return [*wrong, *complaints(done, verb, lines=lines)]


@pytest.fixture
def daemon(folder: Project, place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    """Start a daemon with the sessions `m1` and `m2`, of which tasks run that wait for a gate."""
    tasks = (
        {"id": "wait", "run": waits_for(place / "gate")},
        {"id": "bad", "run": "echo no >&2; exit 3"},
        {"id": "after", "run": "true", "depends_on": ["wait"]},
    )
    folder.write("m1", milestone_of(*tasks))
    (folder.path / "Procfile").write_text("web: serve\n")
    folder.write("m2", milestone_of(tasks[0]).replace("id: m1", "id: m2", 1))
    monkeypatch.chdir(folder.path)
    running = folder.daemon()
    wait_until(lambda: " ready " in running.text(), 60.0, "the daemon is ready")
    assert folder.ctl("start", "m1", "m2").code == 0
    wait_until(lambda: facts(folder, TaskFailed), 60.0, "bad has failed")
    wait_until(lambda: len(facts(folder, AttemptStarted)) >= 3, 60.0, "two tasks wait")
    yield running
    running.process.send_signal(signal.SIGTERM)
    running.wait()


def test_every_verb_succeeds_and_fails_as_documented_beside_a_daemon_and_with_nobody_there(
    daemon: Running, ctl: Ctl
) -> None:
    wait_until(lambda: ctl("blockers", "m1").code == 3, 60.0, "the failure of bad is a blocker")
    wrong = []
    once = {"cancel", "stop", "shutdown", "skip", "retry"}
    for verb, one in CASES.items():
        for row in one.bad:
            wrong += check(ctl, verb, row, lines=one.lines)
        for row in one.good:
            wrong += check(ctl, verb, row, lines=one.lines, repeat=verb not in once)
    assert daemon.wait() == 0
    for verb, one in CASES.items():
        wrong += check(ctl, verb, one.away, lines=one.lines)
    assert not wrong, "\n".join(wrong)


def masked(value: Any) -> Any:  # noqa: ANN401 - a JSON document
    """Leave out of a document what depends on the moment: times that go on, and samples."""
    moving = {"uptime_seconds", "description", "active_seconds", "eta_seconds", "age_seconds", "cpu_percent"}
    moving |= {"rss_bytes", "seconds"}
    match value:
        case dict():
            return {key: masked(one) for key, one in value.items() if key not in moving}
        case list():
            return [masked(one) for one in value]
        case _:
            return value


def test_status_says_the_same_whether_somebody_answers_or_the_journal_is_read(
    daemon: Running, folder: Project, ctl: Ctl
) -> None:
    def ask(*words: str) -> Done:
        return ctl("status", *words)

    wait_until(lambda: json.loads(ask("m1", "--json").out)["sessions"][0]["blockers"], 60.0, "a blocker stands")
    for names in ((), ("m1",), ("m1:*", "m2:runner"), ("nosuch", "m2")):
        answered, read = both(folder, ask, names)
        assert masked(answered) == masked(read)
        assert len(list(status_lines(answered))) == len(list(status_lines(read))) > 1
    for _ in range(5):  # what was answered is seen
        assert ctl("pause", "m2").code == 0
        assert "paused by a person" in ask("m2").out
        assert ctl("resume", "m2").code == 0
        assert "paused" not in ask("m2").out
    assert ctl("stop", "m2").code == 0
    for _ in range(2):  # what has ended is kept, and not kept for what it is when it was taken up again
        assert "m2  interrupted" in ask("m2").out
    assert ctl("start", "m2").code == 0
    assert "m2  running" in ask("m2").out
    assert daemon.process.poll() is None


def both(folder: Project, ask: Callable[..., Done], names: tuple[str, ...]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the two documents, taken while nothing was journaled."""
    deadline = time.monotonic() + 60.0
    while True:
        before = folder.last_seq()
        answered = json.loads(ask(*names, "--json").out)
        read = json.loads(json.dumps(describe_journaled(folder.path, names, everything=False, as_json=False)))
        if folder.last_seq() == before or time.monotonic() > deadline:
            return answered, read
