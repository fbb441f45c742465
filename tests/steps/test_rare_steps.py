"""The named steps that no ordinary run goes through: a journal of an older form, and completions that are made up."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from actors.events import SessionEnded, SessionPaused, SessionStatus, encode_event
from actors.failpoints import VARIABLE
from supervisor import journal_file
from supervisor.journal import Journal
from supervisor.journal_file import Form
from tests.e2e.stage import Project, facts, milestone_of, waits_for
from tests.isolation import World
from tests.journal.samples import SESSION, STARTED
from tests.steps.stops import Stops, Target

_NEWER = Form(2, {1: lambda fact: fact})
_MIGRATE = """\
import sys
from pathlib import Path
from supervisor.journal import Journal
from supervisor.journal_file import Form
Journal.open(Path(sys.argv[1]), form=Form(2, {1: lambda fact: fact})).close()
"""


@pytest.mark.parametrize(
    "step", ["journal.migrate.kept", "journal.migrate.unwitnessed", "journal.create.filled", "journal.create.renamed"]
)
def test_a_migration_that_was_killed_is_done_again_from_the_old_journal(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    path = tmp_path / "state.db"
    begin = [(SESSION, 1.0, 1.0, encode_event(event)) for event in (STARTED, SessionPaused("tea"))]
    journal_file.create(path, Form(1), begin)
    with Stops(world.home / "stops", [Target(step)]) as stops:
        monkeypatch.setenv(VARIABLE, str(stops.place))
        done = subprocess.run([sys.executable, "-c", _MIGRATE, str(path)], check=False)
        assert done.returncode < 0
    assert [target.step for target, _ in stops.killed] == [step]
    with Journal.open(path, form=_NEWER) as journal:
        assert [record.kind for record in journal.records()] == ["SessionStarted", "SessionPaused"]


@pytest.mark.parametrize("everything", [False, True])
def test_completions_that_are_made_up_are_made_up_again_after_a_kill(
    project: Project, world: World, monkeypatch: pytest.MonkeyPatch, everything: bool
) -> None:
    """The file could not be written when the session ended; what it is told later is told whole."""
    away = "mv active/m1.yaml kept.yaml && ln -s kept.yaml active/m1.yaml"
    file = project.write("m1", milestone_of({"id": "one", "run": f"cd '{project.path}/.milestones' && {away}"}))
    assert project.ctl("run", "m1").code == 0
    (file.parent.parent / "kept.yaml").replace(file)
    with Stops(world.home / "stops", [Target("session.made_up", everything=everything)]) as stops:
        monkeypatch.setenv(VARIABLE, str(stops.place))
        assert project.ctl("run", "m1").code < 0
        done = project.ctl("run", "m1")
    assert [target.step for target, _ in stops.killed] == ["session.made_up"]
    assert (done.code, "completed already" in done.out) == (0, True), done
    assert not file.exists()
    completed = file.parent.parent / "completed" / "m1.yaml"
    assert completed.read_text(encoding="utf-8").count("completed") == 2
    assert len(facts(project, type(STARTED))) == 1


@pytest.mark.parametrize(
    ("step", "number"),
    [("lock.taken", signal.SIGINT), ("session.begun", signal.SIGTERM), ("session.begun", signal.SIGHUP)],
)
def test_a_run_that_is_told_to_end_before_it_has_begun_anything_ends_in_order(
    project: Project,
    world: World,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    number: signal.Signals,
) -> None:
    """What is journaled as begun is journaled as interrupted; before that nothing is begun."""
    project.write("m1", milestone_of({"id": "one", "run": waits_for(tmp_path / "gate")}))
    with Stops(world.home / "stops", [Target(step, number=number)]) as stops:
        monkeypatch.setenv(VARIABLE, str(stops.place))
        done = project.ctl("run", "m1")
    assert [target.step for target, _ in stops.killed] == [step]
    assert done.code == 128 + number, done.out + done.err
    assert number.name in done.out + done.err
    begun = step == "session.begun"
    assert [end.status for end in facts(project, SessionEnded)] == [SessionStatus.INTERRUPTED] * begun
    assert len(facts(project, type(STARTED))) == begun
