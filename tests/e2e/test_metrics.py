"""What a daemon tells Prometheus of a real session: the figures, their names, and the dashboard that shows them."""

import json
import re
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.stage import Project, milestone_of, ready_pid, waits_for
from tests.waiting import wait_until

DASHBOARD: Final = Path(__file__).parents[2] / "configs" / "grafana" / "milestoned.json"
UNITS: Final = ("seconds", "bytes", "ratio", "total", "info")
SECONDS: Final = 60.0


def scrape(path: Path) -> str:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(SECONDS)
        client.connect(str(path))
        client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        answer = b""
        while part := client.recv(1 << 16):
            answer += part
    assert answer.startswith(b"HTTP/1.0 200"), answer
    return answer.partition(b"\r\n\r\n")[2].decode()


def families(text: str) -> dict[str, Metric]:
    return {one.name: one for one in text_string_to_metric_families(text)}


def value(text: str, name: str, **labels: str) -> float:
    """Add up the samples of this name whose labels are these among others."""
    return sum(
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


@pytest.fixture(scope="module")
def told() -> dict[str, str]:
    """Hold the texts of the scrapes of the one session that all tests here look at."""
    return {}


@pytest.fixture
def texts(project: Project, place: Path, told: dict[str, str]) -> dict[str, str]:
    """Return what was told in the middle of a session, after a role was killed, and after its end."""
    if told:
        return told
    page = place / "metrics.sock"
    project.configure(f"max_parallel: 1\nmetrics: {{listen: '{page}'}}\n")
    project.write(
        "m1",
        milestone_of(
            {"id": "a", "run": "true"},
            {"id": "b", "run": waits_for(place / "gate"), "depends_on": ["a"]},
            {"id": "c", "run": "false", "depends_on": ["a"]},
        ),
    )
    running = project.daemon()
    wait_until(lambda: project.ctl("start", "m1").code == 0, SECONDS, "it is begun")
    ready_pid(project, "progress_monitor")
    assert project.ctl("signal", "KILL", "m1:progress_monitor").code == 0
    ready_pid(project, "progress_monitor", 2)

    def middle() -> str:
        text = scrape(page)
        settled = value(text, "milestoned_role_up") == 6 and value(text, "milestoned_role_restarts_total")
        running_one = value(text, "milestoned_session_tasks", state="running")
        looked_at = ("heartbeat_age_seconds", "resident_memory_bytes", "cpu_ratio")
        heard = all(families(text)[f"milestoned_role_{name}"].samples for name in looked_at)
        return text if settled and running_one and heard and value(text, "milestoned_tasks_total") else ""

    during = wait_until(middle, SECONDS, "all roles are up again and looked at, one task runs and one waits")
    (place / "gate").touch()
    wait_until(lambda: not value(scrape(page), "milestoned_sessions"), SECONDS, "the session is over")
    after = scrape(page)
    assert project.ctl("reload").code == 0
    project.configure("")
    assert "restart of the daemon" in project.ctl("reload").out
    assert project.ctl("shutdown").code == 0
    assert running.wait() == 0
    assert not page.exists()
    told.update(middle=during, end=after)  # whoever asks after a failure has it done again, and not half of it
    return told


def test_a_session_is_told_of_while_it_lives(texts: dict[str, str]) -> None:
    text = texts["middle"]
    tasks = {
        state: value(text, "milestoned_session_tasks", state=state) for state in ("completed", "failed", "pending")
    }
    assert value(text, "milestoned_sessions") == 1
    assert value(text, "milestoned_session_tasks") == 3
    assert tasks["completed"] == 1
    assert value(text, "milestoned_session_queued_tasks") == tasks["pending"]
    assert value(text, "milestoned_session_status", milestone="m1", status="running") == 1
    assert 0 < value(text, "milestoned_session_completion_ratio") < 1
    assert value(text, "milestoned_tasks_total", outcome="completed") == 1


def test_roles_are_told_of_with_their_restarts_by_reason(texts: dict[str, str]) -> None:
    text = texts["middle"]
    assert value(text, "milestoned_role_restarts_total", role="progress_monitor", reason="crashed") == 1
    assert value(text, "milestoned_role_restarts_total") == 1
    up = families(text)["milestoned_role_up"].samples
    assert {sample.labels["role"] for sample in up} >= {"task_executor", "git_integration", "runner"}
    ages = families(text)["milestoned_role_heartbeat_age_seconds"].samples
    assert ages
    assert all(0 <= sample.value < SECONDS for sample in ages)


def test_what_was_counted_stays_and_what_was_looked_at_goes_with_the_session(texts: dict[str, str]) -> None:
    text = texts["end"]
    assert value(text, "milestoned_tasks_total", outcome="completed") == 2
    assert value(text, "milestoned_tasks_total", outcome="failed") == 1
    assert value(text, "milestoned_attempt_duration_seconds_count", outcome="ok") == 2
    assert value(text, "milestoned_journal_commit_duration_seconds_count") > 5
    assert value(text, "milestoned_journal_events_total") > value(
        text, "milestoned_journal_commit_duration_seconds_count"
    )
    assert value(text, "milestoned_role_up") == 0
    assert "m1" not in text


def test_names_and_units_follow_the_conventions(texts: dict[str, str]) -> None:
    """What Prometheus' linter asks for, and promtool itself where it is installed."""
    text = texts["middle"]
    for name, family in families(text).items():
        assert re.fullmatch(r"[a-z][a-z0-9_]*", name), name
        assert family.documentation, name
        assert family.type != "unknown", name
        assert not re.search(r"_(milliseconds|ms|minutes|hours|kilobytes|megabytes|mb|percent|count|sum)$", name), name
        assert ("_total" in {sample.name[-6:] for sample in family.samples}) == (family.type == "counter"), name
        assert f"_{family.type}" not in name, name
        assert all("milestoned" in name or name.startswith(("process_", "python_")) for name in families(text))
        for sample in family.samples:
            assert all(re.fullmatch(r"[a-z][a-z0-9_]*", label) for label in sample.labels), name


def test_promtool_finds_nothing(texts: dict[str, str]) -> None:
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed")
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=texts["middle"], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_dashboard_shows_what_there_is(texts: dict[str, str]) -> None:
    dashboard: dict[str, Any] = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]
    named = {name for query in queries for name in re.findall(r"\b(?:milestoned|process)_[a-z_]+", query)}
    known = {sample.name for text in texts.values() for family in families(text).values() for sample in family.samples}
    assert len(queries) >= 10
    for panel in dashboard["panels"]:
        if panel["type"] != "timeseries":  # shows what is now, and not what was when a session that has ended lived
            assert all(target.get("instant") for target in panel["targets"]), panel["title"]
        if panel["type"] == "table":
            assert all(target["format"] == "table" for target in panel["targets"]), panel["title"]
    # Prometheus scrapes once a minute unless it is told otherwise: of a shorter time there are no two figures.
    windows = {window for query in queries for window in re.findall(r"\[(.*?)\]", query)}
    assert windows <= {"$__rate_interval", "5m", "10m", "30m"}
    assert named - known == set()
    assert {name for name in known if name.startswith("milestoned_role")} - named == set()
