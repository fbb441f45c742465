"""The report of a session as one HTML page that needs no other file, no script and no network. Pure.

Owns the markup; everything that comes from files and programs is escaped. Refuses to know the journal.
"""

from __future__ import annotations

import html
from datetime import datetime
from typing import Any, Final

from actors.wording import duration_text
from supervisor.cli.report_words import facts_of, sections_of

_STYLE: Final = """\
:root { color-scheme: light dark; --good: #2b8a3e; --bad: #c92a2a; --else: #868e96; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; }
h1 { font-size: 1.4rem; margin: 0; } h2 { font-size: 1.05rem; margin: 2rem 0 .5rem; }
table { border-collapse: collapse; width: 100%; } td, th { padding: .2rem .6rem .2rem 0; text-align: left;
vertical-align: top; } th { font-weight: 600; white-space: nowrap; } .number { text-align: right; white-space: nowrap; }
code, .id { font-family: ui-monospace, monospace; font-size: .92em; } .row { background: #8882; height: .8rem;
position: relative; min-width: 12rem; } .row span { background: var(--else); height: 100%; min-width: 2px;
position: absolute; } .row .ok { background: var(--good); } .row .failed, .row .timeout { background: var(--bad); }
.failed, .blocked { color: var(--bad); } .completed { color: var(--good); } .chain { font-weight: 600; }
"""


def page(report: dict[str, Any]) -> str:
    """Return the page.

    Args:
        report: As :func:`supervisor.story.report_of` makes it.
    """
    title = f"{report['milestone_id']}: {report['title']}"
    facts = "".join(f"<tr><th>{_text(label)}</th><td>{_text(said)}</td></tr>\n" for label, said in facts_of(report))
    span = _span(report)
    tasks = "".join(_task(task, span, task["id"] in report["critical_path"]) for task in report["tasks"])
    others = "".join(
        f"<h2>{_text(name)}</h2>\n<ul>\n" + "".join(f"<li>{_text(line)}</li>\n" for line in lines) + "</ul>\n"
        for name, lines in sections_of(report)
    )
    status = _text(report["status"])
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{_text(title)}</title>\n<style>\n{_STYLE}</style>\n</head>\n<body>\n"
        f'<h1>{_text(title)} <span class="{status}">{status}</span></h1>\n<p class="id">{_text(report["id"])}</p>\n'
        f"<table>\n{facts}</table>\n<h2>Tasks</h2>\n<table>\n"
        "<tr><th>task</th><th>status</th><th class=number>took</th><th>commit</th><th>when</th></tr>\n"
        f"{tasks}</table>\n{others}</body>\n</html>\n"
    )


def _text(value: object) -> str:
    return html.escape(str(value))


def _wall(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()


def _span(report: dict[str, Any]) -> tuple[float, float]:
    """Return when the first attempt began, and the seconds from there to the end of the last one."""
    attempts = [one for task in report["tasks"] for one in task["attempts"] if one["started_at"] is not None]
    begin = min((_wall(one["started_at"]) for one in attempts), default=0.0)
    end = max((_wall(one["started_at"]) + one["seconds"] for one in attempts), default=0.0)
    return begin, max(0.001, end - begin)


def _task(task: dict[str, Any], span: tuple[float, float], is_critical: bool) -> str:  # noqa: FBT001 - one of a row
    seconds = "" if task["seconds"] is None else duration_text(task["seconds"])
    bars = "".join(_bar(one, span) for one in task["attempts"] if one["started_at"] is not None)
    reason = f"<br>{_text(task['reason'])}" if task["reason"] else ""
    name = f'<span class="id{" chain" if is_critical else ""}">{_text(task["id"])}</span>'
    return (
        f"<tr><td>{name}<br>{_text(task['title'])}</td>"
        f'<td class="{_text(task["status"])}">{_text(task["status"])}{reason}</td><td class=number>{seconds}</td>'
        f"<td><code>{_text((task['commit'] or '')[:10])}</code></td><td><div class=row>{bars}</div></td></tr>\n"
    )


def _bar(attempt: dict[str, Any], span: tuple[float, float]) -> str:
    begin, whole = span
    left = 100 * (_wall(attempt["started_at"]) - begin) / whole
    width = 100 * attempt["seconds"] / whole
    said = f"{attempt['id']} {attempt['outcome']} after {duration_text(attempt['seconds'])}"
    style = f"left:{left:.2f}%;width:{min(width, 100 - left):.2f}%"
    return f'<span class="{_text(attempt["outcome"])}" style="{style}" title="{_text(said)}"></span>'
