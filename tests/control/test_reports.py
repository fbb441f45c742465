"""Questions that the thread of the reports answers, and what is said where there is no thread."""

import queue
import threading
from pathlib import Path
from typing import Any

from actors.paths import ProjectPaths
from supervisor.control import Ticket
from supervisor.protocol import Describe
from supervisor.reports import Reports


def test_a_question_for_which_there_is_no_thread_is_refused_and_the_next_one_answered(tmp_path: Path) -> None:
    replies: queue.SimpleQueue[Any] = queue.SimpleQueue()
    paths = ProjectPaths(tmp_path)
    paths.active.mkdir(parents=True)
    reports = Reports(paths, lambda: ())
    before = threading.stack_size(1 << 47)  # as large as all addresses together
    try:
        reports.describe(Describe(), Ticket(1, replies.put))
    finally:
        threading.stack_size(before)
    refused = replies.get(timeout=60)
    assert (refused.ok, refused.code, "no thread can be started" in refused.lines[0]) == (False, 75, True)
    reports.describe(Describe(), Ticket(2, replies.put))
    answered = replies.get(timeout=60)
    assert (answered.id, answered.ok) == (2, True)
    reports.close()
