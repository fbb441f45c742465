"""A plain script that executes a milestone and prints what happens.

From the checkout, in an environment of your own:

    $ python -m pip install --quiet .
    $ git init --quiet scratch && git -C scratch commit --quiet --allow-empty --message Begin
    $ milestonectl -C scratch init --example
    $ python examples/embed_milestone.py scratch milestone-001

Ctrl-C ends the running tasks in order; the next run goes on with the session. Said once more when all is done, the last
line has nothing to do, and says so.
"""

import sys

from actors.events import SessionEnded, TaskCompleted
from supervisor import MilestoneRun, RunRefusedError


def main(project: str, milestone: str) -> int:
    """Execute it; return the exit code that the command line would give."""
    try:
        with MilestoneRun(project, milestone, max_parallel=4) as run:
            for happened in run.events():
                match happened.event:
                    case TaskCompleted(task=task):
                        print(f"completed: {task}")
                    case SessionEnded(status=status):
                        print(f"the session is {status.value}")
                    case _:
                        pass
            outcome = run.wait()
    except RunRefusedError as error:
        print("it cannot begin:", *error.lines, sep="\n  ", file=sys.stderr)
        return error.code
    except KeyboardInterrupt:
        print("interrupted: the next run goes on", file=sys.stderr)
        return 130
    print(f"{milestone}: {outcome.status.value}", outcome.reason)
    return outcome.code


if __name__ == "__main__":
    if len(sys.argv) != 3:  # noqa: PLR2004 - the script, the project and the milestone
        sys.exit("usage: python examples/embed_milestone.py PROJECT MILESTONE")
    sys.exit(main(*sys.argv[1:]))
