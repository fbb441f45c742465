"""`milestonectl doctor`: what it finds, what it says about it, and that it changes nothing."""

import json
import os
import socket
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from actors.model import Containment
from actors.paths import ProjectPaths
from supervisor.cli import machine_checks
from supervisor.cli.diagnosis import Level
from supervisor.cli.fitness import Machine
from supervisor.control_socket import bind_control
from supervisor.environment import PROJECT_MARK, SESSION_MARK
from supervisor.project import Project as HeldProject
from tests.cli.conftest import Ctl, Journalist
from tests.e2e.stage import Project

GOOD = Machine("Linux", "6.1.0", (3, 12), "2.39.5", None)


@pytest.fixture
def paths(project: Project, small: Path) -> ProjectPaths:
    """Return the paths of a project with a milestone, as `init` and a first run leave it."""
    del small
    found = ProjectPaths(project.path)
    found.milestones.chmod(0o755)
    return found


def findings(ctl: Ctl, code: int = 0) -> list[dict[str, Any]]:
    """Return what was found that is not ok; assert the exit code and that each has a cure."""
    done = ctl("doctor", "--json")
    document = json.loads(done.out)
    assert (done.code, document["exit_code"]) == (code, code), done.out
    bad = [one for one in document["findings"] if one["level"] != "ok"]
    assert all(one["cure"] for one in bad)
    # What this machine lacks is not what is tested here.
    return [one for one in bad if not one["what"].startswith(("containment", "only"))]


def snapshot(directory: Path) -> dict[str, tuple[int, bytes]]:
    """Return mode and content of each file below a directory, but of SQLite's shared memory and an empty log."""
    return {
        str(path): (path.lstat().st_mode, path.read_bytes() if path.is_file() else b"")
        for path in sorted(directory.rglob("*"))
        if path.suffix != ".db-shm" and (path.suffix != ".db-wal" or path.stat().st_size)
    }


def test_nothing_is_wrong_with_a_sound_project_and_nothing_is_changed(
    paths: ProjectPaths, journal: Journalist, ctl: Ctl
) -> None:
    journal("small")
    before = snapshot(paths.milestones)
    assert findings(ctl) == []
    assert snapshot(paths.milestones) == before
    text = ctl("doctor").out
    assert "ok       the journal is whole: 1 event of 1 session verified" in text
    assert "0 errors, " in text


def test_without_a_milestones_directory_the_machine_is_judged_and_the_next_step_is_named(
    project: Project, ctl: Ctl
) -> None:
    (one,) = findings(ctl)
    assert (one["level"], one["cure"]) == ("warning", "milestonectl init")
    assert not (project.path / ".milestones").exists()


def test_what_is_no_directory_cannot_be_looked_at(project: Project, ctl: Ctl) -> None:
    (project.path / ".milestones").write_text("")
    done = ctl("doctor")
    assert done.code == 78
    assert "is no directory" in done.err


def test_a_damaged_journal_is_an_error_with_its_event_and_stays_as_it_is(
    paths: ProjectPaths, journal: Journalist, ctl: Ctl
) -> None:
    journal("small")
    with sqlite3.connect(paths.state_db) as connection:
        connection.execute("UPDATE events SET wall = wall + 1")
    connection.close()
    before = paths.state_db.read_bytes()
    (one,) = [one for one in findings(ctl, 1) if one["level"] == "error"]
    assert one["what"].startswith("the journal is damaged at event 1")
    assert "milestonectl recover" in one["cure"]
    assert paths.state_db.read_bytes() == before


def test_a_projection_that_knows_more_than_the_journal_is_an_error(
    paths: ProjectPaths, journal: Journalist, ctl: Ctl
) -> None:
    session = journal("small")
    log = paths.jsonl(session, "task_executor")
    paths.prepare_session(session)
    log.write_text('{"seq": 7}\n')
    (one,) = findings(ctl, 1)
    assert one["what"] == "a projection knows more than the journal"
    assert "knows of event 7" in one["why"]


def test_a_stale_control_socket_is_a_warning(paths: ProjectPaths, ctl: Ctl) -> None:
    bind_control(paths.control).close()
    (one,) = findings(ctl)
    assert (one["level"], one["what"], one["where"]) == ("warning", "a stale control socket", str(paths.control))


@pytest.fixture
def deaf(paths: ProjectPaths, supervised: Callable[[], None]) -> Iterator[socket.socket]:
    """Hold the project and bind its socket, and never answer."""
    supervised()
    with bind_control(paths.control) as sock:
        yield sock


def test_a_supervising_process_that_does_not_listen_is_an_error(
    paths: ProjectPaths, supervised: Callable[[], None], ctl: Ctl
) -> None:
    del paths
    supervised()
    (one,) = findings(ctl, 1)
    assert one["what"] == "the supervising process does not listen"
    assert f"kill {os.getpid()}" in one["cure"]


def test_one_that_does_not_answer_is_an_error(deaf: socket.socket, ctl: Ctl, monkeypatch: pytest.MonkeyPatch) -> None:
    del deaf
    monkeypatch.setattr("supervisor.cli.project_checks.ANSWER_SECONDS", 0.2)
    (one,) = findings(ctl, 1)
    assert one["what"].startswith("the supervising process does not answer within 0.2 s")


def test_beside_a_live_writer_it_says_how_far_it_looked(paths: ProjectPaths, journal: Journalist, ctl: Ctl) -> None:
    journal("small")
    held = HeldProject.open(paths, "a test", lambda _: None)
    try:
        text = ctl("doctor").out
    finally:
        held.end(5.0)
        held.close()
    assert "the journal is whole: 1 event of 1 session verified; process " in text
    assert "what comes after that was not looked at" in text


def test_what_is_open_to_others_is_a_warning_with_the_command_that_closes_it(paths: ProjectPaths, ctl: Ctl) -> None:
    paths.all_logs.mkdir(mode=0o755)
    (one,) = findings(ctl)
    assert one["cure"] == f"chmod go-rwx {paths.all_logs}"


def test_a_link_in_the_place_of_our_own_file_is_an_error(paths: ProjectPaths, tmp_path: Path, ctl: Ctl) -> None:
    (tmp_path / "elsewhere").write_text("")
    paths.lock.symlink_to(tmp_path / "elsewhere")
    assert "this is no ordinary file" in {one["what"] for one in findings(ctl, 1)}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_what_belongs_to_another_user_is_an_error(paths: ProjectPaths, ctl: Ctl) -> None:
    paths.sessions.mkdir(mode=0o700)
    os.chown(paths.sessions, 12345, -1)
    (one,) = findings(ctl, 1)
    assert (one["what"], one["where"]) == ("it belongs to user 12345", str(paths.sessions))


def test_problems_of_configuration_and_rules_have_their_place(project: Project, paths: ProjectPaths, ctl: Ctl) -> None:
    project.configure("max_paralel: 3\n")
    (one,) = findings(ctl, 1)
    assert one["where"].endswith("milestoned.yaml:1:1")
    project.configure("blockers: {rules: nosuch.yaml}\n")
    (one,) = findings(ctl, 1)
    assert one["where"].startswith("nosuch.yaml:1:1")
    del paths


def test_leftover_processes_of_a_session_are_named(paths: ProjectPaths, journal: Journalist, ctl: Ctl) -> None:
    del paths
    session = journal("small")
    with subprocess.Popen(["sleep", "60"], env={**os.environ, SESSION_MARK: session}) as left:
        (one,) = findings(ctl)
        left.kill()
    assert (one["level"], one["what"]) == ("warning", f"processes of former sessions are left: {left.pid}")


def test_a_process_of_a_project_that_was_copied_is_not_named_as_left(
    paths: ProjectPaths, journal: Journalist, ctl: Ctl, tmp_path: Path
) -> None:
    """Whoever killed it as the cure says would end what another project does."""
    del paths
    session, copied = journal("small"), tmp_path / "copied"
    (copied / ".milestones").mkdir(parents=True)
    (copied / ".milestones" / "state.db").touch()
    marks = {SESSION_MARK: session, PROJECT_MARK: str(copied)}
    with subprocess.Popen(["sleep", "60"], env={**os.environ, **marks}) as others:
        assert findings(ctl) == []
        others.kill()


def test_a_clock_before_the_last_event_is_a_warning(
    paths: ProjectPaths, journal: Journalist, ctl: Ctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    del paths
    with monkeypatch.context() as later:
        now = time.time()  # noqa: TID251 - journaled below
        later.setattr(time, "time", lambda: now + 86_400)
        journal("small")
    (one,) = findings(ctl)
    assert one["what"] == "the clock stands before the last event"


@pytest.mark.parametrize(
    ("machine", "level", "word"),
    [
        (Machine("Linux", "5.4.0", (3, 12), "2.39.5", None), Level.ERROR, "Linux 5.4.0 is too old"),
        (Machine("Linux", "6.1", (3, 12), "2.20.1", None), Level.ERROR, "git 2.20.1 is too old"),
        (Machine("Linux", "6.1", (3, 12), None, None), Level.WARNING, "there is no git"),
        (Machine("Linux", "6.1", (3, 12), "2.39.5", "4.2.5"), Level.ERROR, "Supervisor 4.2.5 of PyPI"),
        (Machine("Linux", "6.1", (3, 9), "2.39.5", None), Level.ERROR, "Python 3.9 is too old"),
    ],
)
def test_what_is_wrong_with_a_machine_is_one_finding_beside_what_is_right(
    machine: Machine, level: Level, word: str
) -> None:
    bad = [one for one in machine_checks.check_machine(machine) if one.level is not Level.OK]
    assert [(one.level, one.what.startswith(word), bool(one.cure)) for one in bad] == [(level, True, True)]
    assert all(one.level is Level.OK for one in machine_checks.check_machine(GOOD))


def test_a_containment_that_was_asked_for_is_named_as_such() -> None:
    (one,) = machine_checks.check_containment(Containment.SWEEP)
    assert (one.level, one.what) == (Level.OK, "containment: sweep, as configured")


def test_the_disk_of_a_directory_that_is_not_there_yet_is_that_above_it(tmp_path: Path) -> None:
    (one,) = machine_checks.check_disk(tmp_path / "not" / "there", "worktrees")
    assert one.where == str(tmp_path)


def test_a_lock_file_that_was_removed_or_replaced_under_its_holder_is_an_error(
    paths: ProjectPaths, journal: Journalist, ctl: Ctl, supervised: Callable[[], None]
) -> None:
    journal("small")
    supervised()
    for _ in ("removed", "replaced"):
        if paths.lock.exists():
            paths.lock.unlink()
        found = [one["what"] for one in findings(ctl, 1)]
        assert "the lock file was removed or replaced" in found
        paths.lock.write_text("")


def test_worktrees_of_milestones_that_are_gone_are_named_with_the_cure(
    paths: ProjectPaths, tmp_path: Path, ctl: Ctl
) -> None:
    slots = tmp_path / "slots"
    for name in ("small-slot-0", "gone-slot-0", "gone-slot-1", "gone-kept-1", "gone-slot-x"):
        (slots / name).mkdir(parents=True)
    config = paths.milestones / "config" / "milestoned.yaml"
    config.parent.mkdir()
    config.write_text(f"worktree: {{directory: {slots}}}\n")
    (one,) = findings(ctl)
    assert one["what"] == "worktrees of milestone gone are left"
    assert one["where"] == f"{slots}/gone-slot-0 {slots}/gone-slot-1"
    assert f"git worktree remove --force {slots}/gone-slot-1" in one["cure"]


@pytest.mark.parametrize(
    ("version", "declared", "bad"),
    [
        ("8.1", "click>=8.1", False),
        ("8.10.0", "click>=8.9", False),
        ("8.0.4", "click>=8.1", True),
        ("9.0", "click>=8.1,<9", True),
        ("8.3.1rc1", "Click >=8.1, <9", False),
        ("8.2", "click!=8.2", True),
        ("8.2", "click", False),
        ("7", 'click>=8; extra == "dev"', False),
        ("7", 'click>=8; python_version >= "3.11"', True),
    ],
)
def test_libraries_outside_the_declared_versions_are_an_error(version: str, declared: str, *, bad: bool) -> None:
    (one,) = machine_checks.check_libraries({"click": version}, ["attrs>=25", declared])
    assert (one.level is Level.ERROR, f"click {version} " in one.what) == (bad, bad)


def test_a_library_that_is_missing_is_an_error() -> None:
    (one,) = machine_checks.check_libraries({"click": None, "attrs": "25"}, ["click>=8", "attrs>=25"])
    assert (one.level, one.what) == (Level.ERROR, "libraries are missing: click")


def test_the_libraries_here_are_within_what_is_declared(paths: ProjectPaths, ctl: Ctl) -> None:
    del paths
    assert "libraries are installed, in the declared versions" in ctl("doctor").out
