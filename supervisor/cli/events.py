"""``milestonectl events``: what the journal holds, as it happens."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from actors.log_lines import timestamp
from actors.paths import ProjectPaths
from actors.problems import closest, did_you_mean
from supervisor.cli import completing
from supervisor.cli.output import CommandError, escaped, require_project
from supervisor.cli.reaching import follow as follow_live
from supervisor.cli.verbs import OBJECT_PER_EVENT, verb

if TYPE_CHECKING:
    from collections.abc import Iterator

_SHOWN = 160


@verb("events", "milestonectl events --follow --json", json=OBJECT_PER_EVENT)
@click.option("-f", "--follow", is_flag=True, help="Go on with what happens from now on, until the session ends.")
@click.option("--since", type=click.IntRange(min=0), default=0, metavar="SEQ", help="Only events after this number.")
@click.option(
    "--session",
    default="",
    shell_complete=completing.sessions,
    metavar="ID",
    help="Only those of this session or milestone.",
)
def command(ctx: click.Context, *, follow: bool, since: int, session: str, as_json: bool) -> int:
    """Print the journal's events, each exactly once and in order.

    A program that comes again with --since and the last `seq` that it saw misses nothing and sees nothing twice.
    Without --follow nobody needs to supervise the project.

    Exit codes: 0 done; 1 no such session; 69 nobody supervises this project (with --follow); 78 the journal cannot be
    read.
    """
    if follow:
        found = follow_live(ctx, "events", as_json=as_json, session=session, since=since, follow=True)
    else:
        found = _journaled(ProjectPaths(require_project(ctx, as_json=as_json)), session, since, as_json=as_json)
    for record in found:
        click.echo(_as_json(record) if as_json else escaped(_as_text(record)))
    return 0


def _journaled(paths: ProjectPaths, session: str, since: int, *, as_json: bool) -> Iterator[dict[str, Any]]:
    import msgspec  # noqa: PLC0415

    from supervisor.cli.journaled import open_sessions  # noqa: PLC0415

    with open_sessions(paths, as_json=as_json) as sessions:
        known = sessions.by_name()
        if session and session not in known:
            line = f"there is no session {session!r} here{did_you_mean(closest(session, known))}"
            raise CommandError(1, line, "all there are: milestonectl sessions", as_json=as_json)
        for record in sessions.records(known.get(session), since):
            yield msgspec.json.decode(msgspec.json.encode(record))


def _as_json(record: dict[str, Any]) -> str:
    document = {
        "seq": record["seq"],
        "timestamp": timestamp(record["wall"]),
        "session_id": record["session"],
        "kind": record["kind"],
        "body": record["body"],
    }
    return json.dumps(document)


def _as_text(record: dict[str, Any]) -> str:
    body = json.dumps(record["body"], ensure_ascii=False)
    shown = body if len(body) <= _SHOWN else body[: _SHOWN - 3] + "..."
    return f"{record['seq']:>6}  {timestamp(record['wall'])}  {record['kind']}  {shown}"
