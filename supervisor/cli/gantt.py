"""A predicted schedule as a picture: one row per task, a bar where it runs.

Pure: a plan, its schedule and a width go in, lines come out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from actors.wording import duration_text

if TYPE_CHECKING:
    from actors.plan import Plan, Schedule

MOST_ROWS: Final = 40
"""Rows that are drawn at the most; a picture of more tells less than the waves do."""

_LEAST_BAR: Final = 10
_MOST_NAME: Final = 24

BLOCKS: Final = ("█", "▒")
"""Of a bar on the critical path, and of any other."""

PLAIN_BLOCKS: Final = ("#", "=")
"""The same for a terminal that has no blocks."""


def gantt(plan: Plan, schedule: Schedule, width: int, blocks: tuple[str, str] = BLOCKS) -> list[str]:
    """Draw a schedule.

    Args:
        plan: What was planned.
        schedule: When each task is predicted to run.
        width: Columns that a line may take, 40 or more; with fewer the lines are longer than asked.
        blocks: What bars are made of: on the critical path, elsewhere.

    Returns:
        Lines: first the scale, then a row for each task by its start, at most :data:`MOST_ROWS`.
    """
    shown = schedule.tasks[:MOST_ROWS]
    if not shown:
        return []
    name_width = min(_MOST_NAME, max(len(one.task) for one in shown))
    times = {one.task: duration_text(one.end - one.start) for one in shown}
    time_width = max(len(text) for text in times.values())
    bar_width = max(_LEAST_BAR, width - name_width - time_width - 4)
    critical = set(plan.critical_path)
    total = schedule.total or 1.0
    end = duration_text(schedule.total)
    rows = [f"{'':{name_width}}  0s{end:>{bar_width - 2}}"]
    for one in shown:
        first = min(bar_width - 1, int(one.start / total * bar_width))
        length = max(1, round(one.end / total * bar_width) - first)
        bar = " " * first + blocks[one.task not in critical] * length
        rows.append(f"{_cut(one.task, name_width):{name_width}}  {bar[:bar_width]:{bar_width}}  {times[one.task]}")
    hidden = len(schedule.tasks) - len(shown)
    return [*rows, f"and {hidden:,} more tasks after these"] if hidden else rows


def _cut(name: str, width: int) -> str:
    return name if len(name) <= width else name[: width - 1] + "~"
