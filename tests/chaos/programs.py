"""What the tasks of a run of chaos execute: shell programs that write down what they do, independently of the journal.

Owns the programs and the text of the milestone files. Refuses to know what becomes of them.

Each appends lines to one file: when it begins, while it works, when it ends, with the ids in its environment. A line
is one write to a file opened for appending, so none is torn and their order is the order in which they were written.
"""

from __future__ import annotations

import json
from typing import Final

from tests.chaos.draw import Work

SECRET: Final = "CHAOS_TOKEN"  # noqa: S105  the name of a variable
"""Variable whose value is a secret: tasks use it, and nothing of ours may write it down."""

OUTPUT_LIMIT: Final = 2 << 20
"""The configured ``output_limit``."""

_HEAD: Final = """\
unset PYTHONPATH
m() {{
  read -r up rest < /proc/uptime
  printf '%s %s %s %s %s\\n' "$up" "$1" "$MILESTONED_SESSION" "$MILESTONED_ATTEMPT" "$$" >> '{marks}'
}}
work() {{ for i in $(seq "$1"); do sleep 0.05; m beat; done; }}
m start
mkdir -p work
"""

_FIRST: Final = 'printf \'%s\\n\' "$MILESTONED_ATTEMPT" > "work/$TASK_ID.first"\n'
_LAST: Final = 'printf \'%s\\n\' "$MILESTONED_ATTEMPT" > "work/$TASK_ID.last"\nm end\n'

_BODIES: Final = {
    "plain": "work 4\n",
    "shared": "printf '%s\\n' \"$TASK_ID\" >> shared.txt\nwork 6\n",
    "long": "work 30\n",
    "flaky": 'work 2\ntest "$TASK_ATTEMPT" -ge 2 || exit 4\n',
    "failing": "work 2\necho 'error: this never works' >&2\nexit 3\n",
    "daemonising": (
        "setsid sh -c 'trap \"\" TERM HUP; while :; do sleep 0.1; done' &\n"
        "( while :; do m beat; sleep 0.1; done ) &\nwork 4\n"
    ),
    "deaf": "trap '' TERM INT HUP\nwork 24\n",
    "loud": "head -c 1000000 /dev/zero | tr '\\0' x\nwork 4\n",
    "endless": "while :; do head -c 100000 /dev/zero | tr '\\0' y; sleep 0.02; m beat; done\n",
    "odd": (
        "printf 'a\\000b\\377\\033[31m\\n%s\\n' '{\"x\": '\n"
        'printf x > "$(printf \'work/odd-%s-\\303\\251 \\\\\' "$TASK_ID")"\nwork 4\n'
    ),
    "unchanged": "work 4\n",
    "telling": (
        f'test -n "${SECRET}" || exit 9\nwork 2\necho "fatal: token ${SECRET} refused" >&2\n'
        'test "$TASK_ATTEMPT" -ge 2 || exit 5\n'
    ),
}


def program(work: Work, marks: str) -> str:
    """Return the shell program of a task.

    Args:
        work: What it is to do.
        marks: Path of the file that it appends its marks to.
    """
    head = _HEAD.format(marks=marks)
    if work.kind == "unchanged":
        return f"{head}rmdir work 2>/dev/null || :\n{_BODIES[work.kind]}m end\n"
    return f"{head}{_FIRST}{_BODIES[work.kind]}{_LAST}"


def changes(work: Work) -> bool:
    """Whether the task leaves something to commit when it goes well."""
    return work.kind != "unchanged"


def milestone_text(milestone: str, tasks: tuple[Work, ...], marks: str) -> str:
    """Return the text of a milestone file, with comments, odd quoting and keys of its own."""
    lines = [
        f"id: {milestone}   # generated",
        f"title: 'Chaos: {milestone}'",
        "status: planned",
        "x-mine: [1, 2]",
        "requirements: {disk_space_mb: 1}",
        "tasks:",
    ]
    for work in tasks:
        lines += [
            f"  - id: {work.id}  # {work.kind}",
            f'    title: "Do {work.kind}"',
            "    status: pending   # mine",
            f"    depends_on: [{', '.join(work.needs)}]",
            f"    retries: {work.retries}",
            "    retry_delay: 0.1",
            "    on_crash: rerun",
            f"    run: {json.dumps(program(work, marks))}",
        ]
        if changes(work) and int(work.id[1:]) % 2:
            lines.append(f'    verify: ["test -f work/{work.id}.last"]')
    return "\n".join(lines) + "\n"


def configuration(containment: str, parallel: int) -> str:
    """Return the project's configuration."""
    return (
        f"max_parallel: {parallel}\nstop_grace: 1s\ncontainment: {containment}\n"
        f"output_limit: {OUTPUT_LIMIT}\noutput_overflow: end\n"  # what prints without end ends in no other way
        f"secrets: [{SECRET}]\nprogress: {{interval: 2, stall_after: 2}}\nblockers: {{no_progress_after: 5}}\n"
        "git: {uncommitted_interval: 1}\n"
    )
