"""Questions that the thread of the reports answers, and what is said where there is no thread."""

import queue
import threading
from pathlib import Path
from typing import Any, cast

from actors.events import SessionStatus
from actors.paths import ProjectPaths
from actors.plan import Plan
from actors.standing import TaskState
from actors.state import SessionState
from supervisor.control import Ticket
from supervisor.protocol import Describe
from supervisor.reports import MOST_KEPT, OVERHEAD, Kept, Reports
from supervisor.sessions import SessionView


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


def test_of_sessions_that_are_over_the_latest_are_kept_and_no_more_than_is_bounded() -> None:
    def view(tasks: int) -> SessionView:
        state = SessionState()
        state.tasks = dict.fromkeys(map(str, range(tasks)), cast("TaskState", None))
        plan = cast("Plan", None)
        return SessionView(state, SessionStatus.COMPLETED, lives=False, plan=plan, roles=(), unreachable=())

    kept = Kept()
    most = MOST_KEPT // (OVERHEAD + 3)
    for seq in range(2 * most):
        kept[str(seq), seq] = view(3)
    assert list(kept) == [(str(seq), seq) for seq in range(2 * most)][-most:]
    kept["0", 0] = view(3)  # somebody asks for all, the earliest first
    assert ("0", 0) not in kept
    assert len(kept) == most
    kept["large", 2 * most] = view(MOST_KEPT - OVERHEAD)
    assert list(kept) == [("large", 2 * most)]
    kept["large", 2 * most + 5] = view(1)
    assert list(kept) == [("large", 2 * most + 5)]
