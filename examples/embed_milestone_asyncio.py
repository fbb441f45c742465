"""An asyncio program that executes milestones, all at once, and prints what happens.

From the checkout, in an environment of your own:

    $ python -m pip install --quiet .
    $ git init --quiet scratch && git -C scratch commit --quiet --allow-empty --message Begin
    $ milestonectl -C scratch init --example
    $ python examples/embed_milestone_asyncio.py scratch milestone-001

The event loop is never blocked. Whatever cancels this program, Ctrl-C for one, ends the running tasks in order; the
next run goes on with the sessions.
"""

import asyncio
import sys

from actors.events import TaskCompleted
from supervisor import AsyncMilestoneRun, RunRefusedError


async def execute(project: str, milestone: str) -> int:
    """Execute one milestone and print each task that is done; return the exit code that the command line would give."""
    try:
        async with AsyncMilestoneRun(project, milestone) as run:
            async for happened in run.events():
                match happened.event:
                    case TaskCompleted(task=task):
                        print(f"{milestone}: completed: {task}")
                    case _:
                        pass
            outcome = await run.wait()
    except RunRefusedError as error:
        print(f"{milestone} cannot begin:", *error.lines, sep="\n  ", file=sys.stderr)
        return error.code
    print(f"{milestone}: {outcome.status.value}", outcome.reason)
    return outcome.code


async def main(project: str, *milestones: str) -> int:
    """Execute all of them at once; return the worst exit code."""
    return max(await asyncio.gather(*(execute(project, one) for one in milestones)))


if __name__ == "__main__":
    if len(sys.argv) < 3:  # noqa: PLR2004 - the script, the project and a milestone
        sys.exit("usage: python examples/embed_milestone_asyncio.py PROJECT MILESTONE...")
    try:
        sys.exit(asyncio.run(main(*sys.argv[1:])))
    except KeyboardInterrupt:
        sys.exit(130)
