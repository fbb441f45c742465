"""The watch goes on whatever happens to it, and says once what did."""

import json
import queue
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from actors.paths import ProjectPaths
from supervisor.conduct import ChildView
from supervisor.core_events import Beat
from supervisor.limits import Sample
from supervisor.notices import Troubled
from supervisor.watch import Sampled, Watch
from tests.shell.hosting import SESSION
from tests.shell.hubs import Stage
from tests.waiting import wait_until


@pytest.fixture
def told() -> queue.SimpleQueue[Any]:
    return queue.SimpleQueue()


@pytest.fixture
def watch(tmp_path: Path, told: queue.SimpleQueue[Any]) -> Iterator[Watch]:
    stage = Stage(tmp_path)
    paths = ProjectPaths(tmp_path)
    paths.prepare_session(SESSION)
    watch = Watch(paths, SESSION, stage.ledger.state, told.put)
    stage.__exit__(None, None, None)
    watch.start()
    yield watch
    watch.stop()
    assert not watch.is_alive()


def test_what_the_watch_cannot_understand_is_told_once_and_it_goes_on(
    watch: Watch, told: queue.SimpleQueue[Any], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for _ in range(3):
        watch.recorded("nonsense")  # type: ignore[arg-type]
    watch.shown(ChildView("task_executor", "RUNNING"))
    sheet = ProjectPaths(tmp_path).agent_json(SESSION, "task_executor")
    wait_until(sheet.exists, 60.0, "what came after it is written")
    watch.stop()
    heard = []
    while not told.empty():
        heard.append(told.get())
    (trouble,) = (one for one in heard if isinstance(one, Troubled))
    assert trouble.reason.startswith("what is shown may be behind: AssertionError: ")
    assert "Traceback" in trouble.story
    assert capfd.readouterr().err == ""
    assert ProjectPaths(tmp_path).session_json(SESSION).exists()


def test_the_first_sample_and_the_first_heartbeat_are_in_the_sheet_at_once(watch: Watch, tmp_path: Path) -> None:
    path = ProjectPaths(tmp_path).agent_json(SESSION, "task_executor")

    def known() -> set[str]:
        sheet = json.loads(path.read_bytes()) if path.exists() else {}
        return {name for name in ("rss_bytes", "last_heartbeat") if sheet.get(name)}

    watch.shown(ChildView("task_executor", "RUNNING", pid=1))
    for megabytes in (1, 2):
        watch.sampled(Sampled({"task_executor": Sample(0.5, megabytes << 20)}))
    wait_until(lambda: known() == {"rss_bytes"}, 60.0, "a sample is shown")
    watch.beaten(Beat(1.0, "task_executor", 1))
    watch.sampled(Sampled({"task_executor": Sample(0.5, 3 << 20)}))
    wait_until(lambda: "last_heartbeat" in known(), 60.0, "the heartbeat is shown")
