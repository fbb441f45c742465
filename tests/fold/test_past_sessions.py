"""Whether a milestone is over is read from what its latest session says of itself."""

from pathlib import Path

import pytest

from actors.past_sessions import PastSessions

OLD = "exec-m-1-20250101_000000-0badcafe"
NEW = "exec-m-1-20250201_000000-00000000"
MARCH = 1_740_787_200.0


def _say(project: Path, session: str, status: str, ended: str | None, milestone: str = "m-1") -> None:
    folder = project / ".milestones/sessions" / session
    folder.mkdir(parents=True)
    word = "null" if ended is None else f'"{ended}"'
    text = f'{{"milestone_id": "{milestone}", "status": "{status}", "ended_at": {word}, "more": 1}}'
    (folder / "session.json").write_text(text)


@pytest.mark.parametrize(
    ("status", "ended", "over"),
    [
        ("completed", "2025-02-28T23:59:59.000000Z", True),
        ("completed", "2025-03-01T00:00:01.000000Z", False),
        ("completed", None, False),
        ("cancelled", "2025-02-02T00:00:00.000000Z", False),
        ("running", None, False),
    ],
)
def test_the_latest_session_counts_for_all_of_its_milestone(
    tmp_path: Path, status: str, ended: str | None, over: bool
) -> None:
    _say(tmp_path, OLD, "failed", "2025-01-02T00:00:00.000000Z")
    _say(tmp_path, NEW, status, ended)
    past = PastSessions(str(tmp_path))
    assert past.completed_before(OLD, MARCH) is over
    assert past.completed_before(NEW, MARCH) is over


@pytest.mark.parametrize(
    "session", ["unknown", "exec-m-2-20250101_000000-0badcafe", OLD, "exec-../..-20250101_000000-0badcafe"]
)
def test_what_cannot_be_read_proves_nothing(tmp_path: Path, session: str) -> None:
    folder = tmp_path / ".milestones/sessions" / OLD
    folder.mkdir(parents=True)
    (folder / "session.json").write_text('{"milestone_id": 7}')
    assert not PastSessions(str(tmp_path)).completed_before(session, MARCH)
    assert not PastSessions(str(tmp_path / "nowhere")).completed_before(session, MARCH)


def test_a_session_of_a_milestone_with_a_similar_name_does_not_count(tmp_path: Path) -> None:
    _say(tmp_path, OLD, "completed", "2025-01-02T00:00:00.000000Z", milestone="m")
    assert not PastSessions(str(tmp_path)).completed_before(OLD, MARCH)
