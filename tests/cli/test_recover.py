"""`milestonectl recover`, and what `status` says of a journal that lost its end."""

import json
import random
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest

from supervisor.journal import Journal
from supervisor.journal_file import Form
from tests.cli.conftest import Ctl
from tests.e2e.stage import Project
from tests.journal.test_golden import FORMS, put

SEED: Final = 20_261_123
MILESTONE = "id: m1\ntitle: One\ntasks:\n  - {id: t1, title: A, run: 'echo 1 > one'}\n"


def _damage(project: Project) -> None:
    """Change one byte of an event in the middle of the journal."""
    database = project.path / ".milestones" / "state.db"
    content = bytearray(database.read_bytes())
    place = content.index(b"PreflightPassed")
    content[place] ^= 1
    database.write_bytes(content)


def cut_from(project: Project, seq: int) -> None:
    """Damage the journal from an event on."""
    with closing(sqlite3.connect(project.path / ".milestones" / "state.db")) as database, database:
        database.execute("UPDATE events SET body = '{}' WHERE seq = ?", (seq,))


def unfinished(project: Project, session: str, testifies: str) -> None:
    """Let a session look as one that was killed, of which one file has its last word."""
    sheet = project.path / ".milestones" / "sessions" / session / "session.json"
    shown = {**json.loads(sheet.read_text(encoding="utf-8")), "status": "running"}
    if testifies != "session.json":
        shown["tasks"] = dict.fromkeys(shown["tasks"], "pending")
        shown["seq"] = 1
    sheet.write_text(json.dumps(shown), encoding="utf-8")
    if testifies != "execution.jsonl":
        (project.path / ".milestones" / "logs" / session / "execution.jsonl").unlink()


def test_a_damaged_journal_is_refused_and_repaired_and_the_rest_is_kept_aside(project: Project, ctl: Ctl) -> None:
    project.write("m1", MILESTONE)
    assert project.ctl("run", "m1").code == 0
    project.write("m1", MILESTONE)
    _damage(project)
    refused = project.ctl("run", "m1")
    assert refused.code == 78
    assert "milestonectl recover" in refused.err

    repaired = json.loads(ctl("recover", "--json").out)

    assert "the journal is damaged at event" in repaired["fault"]
    assert 0 < repaired["kept"] < repaired["known"]
    assert [(task["task"], task["was"], task["now"]) for task in repaired["tasks"]] == [("t1", "completed", "pending")]
    assert all((project.path / name).exists() for name in repaired["aside"])
    assert any("state.db.lost-1" in name for name in repaired["aside"])
    assert project.ctl("run", "m1").code == 0


def test_a_whole_journal_is_left_alone_and_one_that_never_was_is_not_made(project: Project, ctl: Ctl) -> None:
    project.write("m1", MILESTONE)
    found = ctl("recover")
    assert (found.code, found.out) == (0, "nothing to repair: there is no journal yet\n")
    assert not (project.path / ".milestones" / "state.db").exists()
    assert project.ctl("run", "m1").code == 0
    last = project.records()[-1][0].seq

    assert json.loads(ctl("recover", "--json").out) == {
        "fault": "",
        "kept": last,
        "known": last,
        "aside": [],
        "tasks": [],
        "marked": [],
        "tidied": [],
    }
    assert "nothing to repair" in ctl("recover").out

    assert not list((project.path / ".milestones").rglob("*.lost-*"))


def test_what_is_lost_is_said_by_event_and_by_task(project: Project, ctl: Ctl) -> None:
    project.write("m1", MILESTONE)
    assert project.ctl("run", "m1").code == 0
    last, session = project.last_seq(), project.session()
    _damage(project)

    said = ctl("recover").out.splitlines()

    assert "the journal is damaged at event" in said[0]
    kept = int(said[1].split()[1])
    assert said[1] == f"kept {kept} events; events {kept + 1} to {last} are lost"
    assert said[2] == f"  {session}: t1 was completed, is pending now"
    assert all(line.startswith("put aside: .milestones/") for line in said[3:])
    assert "nothing to repair" in ctl("recover").out


@pytest.mark.timeout(400)
def test_damage_anywhere_is_said_by_every_command_and_mended(project: Project) -> None:
    """A sample of what `make damage` does to the reading alone, through whole processes; never a traceback."""
    project.write("m1", MILESTONE.replace("echo 1 > one", "exit 1"))
    assert project.ctl("run", "m1").code == 1
    database = project.path / ".milestones" / "state.db"
    whole, chance, refused = database.read_bytes(), random.Random(SEED), 0
    for place in (0, 60, chance.randrange(len(whole) // 2, len(whole))):
        content = bytearray(whole)
        content[place] ^= 1 << chance.randrange(8)
        database.write_bytes(content)

        said = [project.ctl(*words) for words in (("status",), ("recover",))]

        assert all(done.code in {0, 3, 78} for done in said), (place, said)
        assert not any("Traceback" in done.out + done.err for done in said), (place, said)
        refused += said[0].code == 78
    assert refused > 1, f"seed {SEED}"
    database.write_bytes(whole[: len(whole) // 2])
    assert project.ctl("run", "m1").code == 78
    assert project.ctl("recover").code == 0
    project.write("m1", MILESTONE)
    assert project.ctl("run", "m1").code == 0


def test_a_session_whose_beginning_is_damaged_is_damage_and_no_defect(project: Project, ctl: Ctl) -> None:
    project.write("m1", MILESTONE)
    assert project.ctl("run", "m1").code == 0
    database = project.path / ".milestones" / "state.db"
    database.write_bytes(database.read_bytes().replace(b'{"milestone":', b'{"milestone";', 1))

    for command in (("status",), ("events",)):
        found = ctl(*command)

        assert found.code == 78, found.err
        assert "milestonectl recover" in found.err


@pytest.mark.parametrize(
    ("lost_from", "testifies"),
    [("TaskCompleted", "session.json"), ("AttemptEnded", "execution.jsonl"), ("SessionStarted", "session.json")],
)
def test_a_task_without_a_commit_that_was_completed_in_what_is_lost_is_not_executed_again(
    project: Project, ctl: Ctl, tmp_path: Path, lost_from: str, testifies: str
) -> None:
    """Whatever is left of it in the journal, and although somebody brought back an old milestone file."""
    counted, gate = tmp_path / "counted", tmp_path / "go"
    text = MILESTONE.replace("echo 1 > one", f"echo t1 >> {counted}")
    text += f"  - {{id: t2, title: B, depends_on: [t1], run: 'echo t2 >> {counted}; test -e {gate}'}}\n"
    file = project.write("m1", text)
    assert project.ctl("run", "m1").code == 1
    lost = next(record.seq for record, _ in project.records() if record.kind == lost_from)
    session = project.session()
    cut_from(project, lost)
    unfinished(project, session, testifies)
    file.write_text(text, encoding="utf-8")

    done = ctl("recover", "--json")

    assert (done.code, done.err) == (0, "")
    marked = json.loads(done.out)["marked"]
    # Of an attempt whose end is there the session knows itself that it is to be completed.
    expected = (
        [] if lost_from == "TaskCompleted" else [{"milestone": "m1", "task": "t1", "session": session, "sha": ""}]
    )
    assert marked == expected
    gate.touch()
    assert project.ctl("run", "m1").code == 0
    assert counted.read_text(encoding="utf-8").split() == ["t1", "t2", "t2"]


def test_a_deleted_journal_is_said_to_be_and_what_to_do(project: Project, ctl: Ctl) -> None:
    project.write("m1", MILESTONE)
    assert project.ctl("run", "m1").code == 0
    (project.path / ".milestones" / "state.db").unlink()

    found = ctl("status")

    assert found.code == 78
    assert "milestonectl recover" in found.err
    assert ctl("recover").code == 0
    assert ctl("status").code == 0


def test_a_journal_that_a_run_saved_is_named_by_every_reader_until_it_is_brought_back(
    project: Project, ctl: Ctl
) -> None:
    project.write("m1", MILESTONE)
    path = put(FORMS[-1], project.path / ".milestones")
    Journal.open(path).close()  # everything is in the one file
    path.rename(path.with_name("state.db.rescued"))

    for words in (("status",), ("events",), ("doctor",)):
        found = ctl(*words)

        assert found.code != 0
        assert "the file of the journal was taken away under a run, which saved what it held" in found.out + found.err
        assert "milestonectl recover" in found.out + found.err
    repaired = json.loads(ctl("recover", "--json").out)

    assert repaired["kept"] > 0
    assert ctl("events").code == 0


def test_recover_needs_the_project_for_itself_and_a_project(project: Project, ctl: Ctl) -> None:
    assert ctl("recover").code == 1
    waits = project.path / "waits"
    project.write("m1", f"id: m1\ntitle: One\ntasks:\n  - {{id: t1, title: A, run: 'touch {waits}; sleep 60'}}\n")
    running = project.start("run", "m1")
    running.wait_for_seq(5)

    refused = ctl("recover")

    assert refused.code == 75
    assert str(running.process.pid) in refused.err
    running.process.terminate()
    assert running.wait() == 143


def test_status_does_not_take_a_journal_without_its_end_for_the_whole(project: Project, ctl: Ctl) -> None:
    waits = project.path / "waits"
    project.write("m1", f"id: m1\ntitle: One\ntasks:\n  - {{id: t1, title: A, run: 'touch {waits}; sleep 60'}}\n")
    running = project.start("run", "m1")
    running.wait_for_seq(12)
    running.kill()
    log = project.path / ".milestones" / "state.db-wal"
    log.unlink()

    found = ctl("status")

    assert found.code == 78, found.out + found.err
    assert "milestonectl recover" in found.err


def test_a_journal_of_a_newer_form_is_refused_with_words_and_kept(project: Project, ctl: Ctl) -> None:
    file = project.write("m1", "id: m1\ntitle: One\ntasks:\n  - {id: t1, title: A, run: 'true'}\n")
    path = put(FORMS[-1], project.path / ".milestones")
    Journal.open(path, form=Form(2, {1: lambda fact: fact})).close()
    before = (path.read_bytes(), file.read_bytes())
    for words in (("status",), ("run", "m1"), ("recover",), ("events",)):
        found = ctl(*words)

        assert found.code == 78, (words, found)
        assert "the journal has form 2, this version of milestoned knows 1" in found.err
        assert "install the version that wrote it" in found.err
    assert (path.read_bytes(), file.read_bytes()) == before
