"""A role's log: the line's exact shape, every kind of fact in a file, none twice, no torn line, no secret."""

import errno
import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.events import (
    EVENT_TYPES,
    BlockerRaised,
    DependencyAlert,
    Event,
    GitReady,
    Landed,
    ProgressReported,
    Record,
    RoleFinished,
    Severity,
    TaskCompleted,
    encode_event,
)
from actors.log_lines import FILES, KINDS, holds, line_for, lines_of, task_about, timestamp
from actors.projection import Jsonl, last_seq_in
from actors.state import ROLES
from tests.journal.samples import SESSION, STARTED, granted

KEYS = ["timestamp", "event_type", "milestone_id", "session_id", "agent_id", "seq", "details"]


def record(event: Event, seq: int = 7) -> Record:
    fact = encode_event(event)
    return Record(seq, SESSION, 1_795_000_000.25, 3.0, fact.kind, fact.body)


def line(event: Event, role: str) -> dict[str, object]:
    text = line_for(record(event), event, "m1", role)
    assert text.endswith(b"}\n")
    decoded = json.loads(text)
    assert isinstance(decoded, dict)
    return decoded


def test_a_line_has_the_one_shape() -> None:
    found = line(TaskCompleted("build", "build.2"), "task_executor")
    assert list(found) == [*KEYS[:5], "task_id", *KEYS[5:]]
    assert found == {
        "timestamp": "2026-11-18T11:06:40.250000Z",
        "event_type": "task_completed",
        "milestone_id": "m1",
        "session_id": SESSION,
        "agent_id": "task_executor",
        "task_id": "build",
        "seq": 7,
        "details": {"attempt": "build.2"},
    }


def test_a_line_about_no_task_has_no_task_id() -> None:
    assert list(line(STARTED, "task_executor")) == KEYS
    raised = BlockerRaised("c", "push", Severity.WARNING, "", "evidence", "proposal")
    assert list(line(raised, "blocker_detector")) == KEYS


@pytest.mark.parametrize(
    ("event", "role", "name"),
    [
        (GitReady("milestone/m1", "c0", created=True, uncommitted=0), "git_integration", "branch_created"),
        (GitReady("milestone/m1", "c0", created=False, uncommitted=0), "git_integration", "branch_ready"),
        (Landed("a.1", "c0ffee", 2), "git_integration", "task_committed"),
        (Landed("a.1", ""), "git_integration", "task_unchanged"),
        (TaskCompleted("a", "a.1"), "task_executor", "task_completed"),
        (TaskCompleted("a", "a.1"), "dependency_validator", "dependency_resolved"),
        (DependencyAlert("k", "edited", "x"), "dependency_validator", "milestone_modified"),
        (DependencyAlert("k", "cycle", "x"), "dependency_validator", "dependency_blocker"),
    ],
)
def test_events_have_the_names_of_the_convention(event: Event, role: str, name: str) -> None:
    assert line(event, role)["event_type"] == name


def test_progress_and_blockers_have_the_details_of_the_convention() -> None:
    report = ProgressReported(40, 30, 2, 5, 1, 0, 60.0, 1.0, "#")
    details = line(report, "progress_monitor")["details"]
    assert isinstance(details, dict)
    assert details["progress_percentage"] == 40
    raised = BlockerRaised("c", "timeout", Severity.CRITICAL, "a", "evidence", "proposal")
    blocker = line(raised, "blocker_detector")
    assert blocker["task_id"] == "a"
    assert blocker["details"] == {
        "type": "timeout",
        "claim": "c",
        "severity": "critical",
        "headline": "evidence",
        "evidence": "evidence",
        "proposal": "proposal",
    }


def test_prompts_environments_and_whole_milestones_stay_out_of_the_log() -> None:
    text = line_for(record(granted("a")), granted("a"), "m1", "task_executor")
    assert b"s3cr3t" not in text
    assert b"TOKEN" not in text
    details = line(STARTED, "task_executor")["details"]
    assert isinstance(details, dict)
    assert details["tasks"] == 2
    assert details["title"] == "One"


def test_every_kind_of_fact_has_a_place_in_a_file() -> None:
    assert set(FILES) == set(KINDS) == set(ROLES)
    assert set().union(*KINDS.values()) == set(EVENT_TYPES)


def test_a_finished_role_stands_in_its_own_file_only() -> None:
    finished = RoleFinished("git_integration", "12 commits")
    assert [role for role in ROLES if holds(role, finished)] == ["git_integration"]


def test_a_role_gets_lines_for_its_own_facts_only() -> None:
    events: list[Event] = [STARTED, granted("a"), Landed("a.1", "c0"), TaskCompleted("a", "a.1")]
    pairs = [(record(event, seq), event) for seq, event in enumerate(events, 1)]
    assert [seq for seq, _ in lines_of(pairs, "m1", "task_executor")] == [1, 2, 4]
    assert [seq for seq, _ in lines_of(pairs, "m1", "git_integration")] == [3]
    assert [seq for seq, _ in lines_of(pairs, "m1", "progress_monitor")] == []


def test_the_task_of_an_attempt_may_have_dots_in_its_id() -> None:
    assert task_about(Landed("build.v1.2.3", "")) == "build.v1.2"


@pytest.mark.parametrize(("wall", "text"), [(0.0, "1970-01-01T00:00:00.000000Z"), (1.5, "1970-01-01T00:00:01.500000Z")])
def test_moments_are_iso_8601_in_utc(wall: float, text: str) -> None:
    assert timestamp(wall) == text


# --- the file -----------------------------------------------------------------------------------------------


def row(seq: int, size: int = 10) -> tuple[int, bytes]:
    return seq, json.dumps({"details": "x" * size, "seq": seq}).encode() + b"\n"


def test_lines_are_written_once_whatever_is_repeated(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "git.jsonl"
    log = Jsonl(path)
    assert log.append([row(2), row(5)]) == 2
    assert log.append([row(2), row(5), row(6)]) == 1
    log.close()
    log = Jsonl(path)
    assert log.last_seq() == 6
    assert log.append([row(5), row(6), row(9)]) == 1
    log.close()
    log.close()
    assert [json.loads(text)["seq"] for text in path.read_bytes().splitlines()] == [2, 5, 6, 9]
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_file_torn_anywhere_is_cut_to_its_last_whole_line_and_completed(tmp_path: Path) -> None:
    whole = b"".join(row(seq)[1] for seq in (1, 2, 3))
    path = tmp_path / "git.jsonl"
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        kept = whole[:cut].count(b"\n")
        assert last_seq_in(path) == kept
        log = Jsonl(path)
        assert log.last_seq() == kept
        log.append(row(seq) for seq in (1, 2, 3))
        log.close()
        assert path.read_bytes() == whole


@given(st.lists(st.integers(0, 200_000), min_size=1, max_size=4), st.integers(0, 70_000))
def test_the_last_line_is_found_however_long_the_lines_are(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], torn: int
) -> None:
    path = tmp_path_factory.mktemp("long") / "git.jsonl"
    content = b"".join(row(seq, size)[1] for seq, size in enumerate(sizes, 1))
    path.write_bytes(content + b"x" * torn)
    log = Jsonl(path)
    assert log.last_seq() == len(sizes)
    log.close()
    assert path.read_bytes() == content


def test_lines_that_a_person_added_do_not_hide_how_far_the_file_came(tmp_path: Path) -> None:
    path = tmp_path / "git.jsonl"
    path.write_bytes(row(4)[1] + b"# a remark\n{}\n\n")
    log = Jsonl(path)
    assert log.last_seq() == 4
    log.close()


def test_a_file_that_is_missing_or_empty_begins_at_zero(tmp_path: Path) -> None:
    assert last_seq_in(tmp_path / "none.jsonl") == 0
    log = Jsonl(tmp_path / "git.jsonl")
    assert log.last_seq() == 0
    log.close()


LIMITED = """
import resource, signal, sys
from pathlib import Path
from actors.projection import Jsonl

log = Jsonl(Path(sys.argv[1]))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
most = Path(sys.argv[1]).stat().st_size + 40
resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
try:
    log.append([(2, b'{"seq":2,"details":"' + b"x" * 100 + b'"}' + bytes([10]))])
except OSError as error:
    print(type(error).__name__, error.errno, log.last_seq())
"""


def test_lines_that_do_not_fit_leave_no_torn_line_behind(tmp_path: Path) -> None:
    path = tmp_path / "git.jsonl"
    path.write_bytes(row(1)[1])
    # A limit on the size of files cuts a write short and refuses the rest, as a full disk does.
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(path)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.stdout == f"OSError {errno.EFBIG} 1\n"
    assert path.read_bytes() == row(1)[1]
