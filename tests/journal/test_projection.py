"""session.json and agents/<role>.json: exact keys, honest words, never half a file."""

import json
from pathlib import Path

import attrs
import pytest

from actors.events import (
    AttemptEnded,
    AttemptStarted,
    ContainmentChosen,
    GitReady,
    Outcome,
    SessionEnded,
    SessionStatus,
    TaskFailed,
)
from actors.paths import ProjectPaths
from actors.projection import Jsonl
from actors.state import ROLES
from supervisor.journal import Seen
from supervisor.projection import (
    AgentSheet,
    agent_json,
    load_session_json,
    replace_file,
    seen_by,
    session_json,
    sheet_of,
    status_now,
)
from tests.journal.samples import SESSION, STARTED, folded, granted, life_of

READY = GitReady("milestone/m1", "c0ffee", created=True, uncommitted=0)


def test_session_json_has_exactly_its_keys() -> None:
    state = folded(STARTED, READY)
    assert json.loads(session_json(state)) == {
        "id": SESSION,
        "milestone_id": "m1",
        "status": "running",
        "branch": "milestone/m1",
        "base": "c0ffee",
        "pid": 4711,
        "started_at": "2026-11-18T11:06:41.000000Z",
        "ended_at": None,
        "tasks": {"a": "pending", "b": "pending"},
        "seq": 2,
        "unreachable": [],
        "containment": None,
    }


def test_session_json_says_what_makes_sure_that_nothing_of_a_task_is_left() -> None:
    state = folded(STARTED, ContainmentChosen("sweep", "the next run ends what is left"))
    shown = json.loads(session_json(state))["containment"]
    assert shown == {"name": "sweep", "detail": "the next run ends what is left"}
    state = folded(STARTED, ContainmentChosen("sweep", "weak"), ContainmentChosen("cgroup", "strong"))
    assert sheet_of(state).containment == ContainmentChosen("cgroup", "strong")


def test_session_json_says_where_each_task_is() -> None:
    state = folded(STARTED, *life_of("a"), granted("b"), AttemptStarted("b.1", 1))
    assert sheet_of(state).tasks == {"a": "completed", "b": "running"}


@pytest.mark.parametrize("outcome", [Outcome.INTERRUPTED, Outcome.CANCELLED])
def test_a_task_that_was_cut_short_is_called_interrupted_until_it_runs_again(outcome: Outcome) -> None:
    cut = (STARTED, granted("a"), AttemptStarted("a.1", 1), AttemptEnded("a.1", outcome))
    assert sheet_of(folded(*cut)).tasks["a"] == "interrupted"
    assert sheet_of(folded(*cut, granted("a", 2))).tasks["a"] == "preparing"
    assert sheet_of(folded(*cut, TaskFailed("a", "a.1", "asked"))).tasks["a"] == "failed"


def test_a_failed_attempt_is_not_called_interrupted() -> None:
    failed = (STARTED, granted("a"), AttemptStarted("a.1", 1), AttemptEnded("a.1", Outcome.FAILED, code=1))
    assert sheet_of(folded(*failed)).tasks["a"] == "pending"


def test_an_ended_session_says_when_and_what_is_out_of_reach(tmp_path: Path) -> None:
    state = folded(STARTED, TaskFailed("a", "", "no"), SessionEnded(SessionStatus.FAILED))
    path = tmp_path / "session.json"
    replace_file(path, session_json(state, ["b"]))
    sheet = load_session_json(path)
    assert sheet == sheet_of(state, ["b"])
    assert sheet is not None
    assert (sheet.status, sheet.ended_at) == (SessionStatus.FAILED, "2026-11-18T11:06:43.000000Z")
    assert sheet.unreachable == ("b",)


def test_a_running_session_whose_process_is_dead_reads_as_interrupted() -> None:
    assert status_now(SessionStatus.RUNNING, 7, lambda pid: pid != 7) is SessionStatus.INTERRUPTED
    assert status_now(SessionStatus.RUNNING, 7, lambda pid: pid == 7) is SessionStatus.RUNNING
    for status in set(SessionStatus) - {SessionStatus.RUNNING}:
        assert status_now(status, 7, lambda _: False) is status


def test_agent_json_has_exactly_its_keys() -> None:
    agent = AgentSheet("git_integration", 12, "RUNNING", 3, "killed by SIGKILL", 1.795e9, 1.795e9 + 0.5, 1.5, 4096)
    assert json.loads(agent_json(agent)) == {
        "role": "git_integration",
        "pid": 12,
        "state": "RUNNING",
        "restarts": 3,
        "last_exit": "killed by SIGKILL",
        "started_at": "2026-11-18T11:06:40.000000Z",
        "last_heartbeat": "2026-11-18T11:06:40.500000Z",
        "cpu_percent": 1.5,
        "rss_bytes": 4096,
    }
    quiet = json.loads(agent_json(attrs.evolve(agent, pid=None, last_heartbeat=None, started_at=None)))
    assert (quiet["pid"], quiet["started_at"], quiet["last_heartbeat"]) == (None, None, None)


def test_every_torn_session_json_reads_as_none(tmp_path: Path) -> None:
    path = tmp_path / "session.json"
    assert load_session_json(path) is None
    content = session_json(folded(STARTED, READY))
    for cut in range(0, len(content) - 2, 7):
        path.write_bytes(content[:cut])
        assert load_session_json(path) is None
    path.write_bytes(b"\xff\xfe")
    assert load_session_json(path) is None


def test_replacing_a_file_leaves_the_old_one_to_who_has_it_open_and_no_other_file(tmp_path: Path) -> None:
    path = tmp_path / "session.json"
    replace_file(path, b"old")
    with path.open("rb") as reader:
        replace_file(path, b"new content")
        assert reader.read() == b"old"
    assert path.read_bytes() == b"new content"
    assert list(tmp_path.iterdir()) == [path]
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_file_that_cannot_be_replaced_stays_and_the_reason_is_told(tmp_path: Path) -> None:
    path = tmp_path / "session.json"
    path.mkdir()
    with pytest.raises(IsADirectoryError):
        replace_file(path, b"new")
    assert list(tmp_path.iterdir()) == [path]


def test_projections_tell_what_they_know_of_events(tmp_path: Path) -> None:
    paths = ProjectPaths(tmp_path)
    assert seen_by(paths) == ()
    paths.prepare_session(SESSION)
    replace_file(paths.session_json(SESSION), session_json(folded(STARTED, READY)))
    log = Jsonl.of_role(str(tmp_path), SESSION, ROLES[0])
    log.append([(5, b'{"seq":5}\n')])
    log.close()
    paths.prepare_session("torn")
    paths.session_json("torn").write_bytes(b"{")
    besides = Seen("commit c0ffee", SESSION, 3)
    assert set(seen_by(paths, [besides])) == {
        Seen(str(paths.session_json(SESSION)), SESSION, 2),
        Seen(str(paths.session_json("torn")), "torn", 0),
        Seen(str(paths.jsonl(SESSION, ROLES[0])), SESSION, 5),
        besides,
    }
