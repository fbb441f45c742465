"""Builds a scratch git repository and executes the example milestone in it, with the live view.

``make demo`` calls this with the Python of its environment. Nothing but the package and its command is used: what
happens here a person can type.
"""

import os
import subprocess
import sys
from datetime import datetime
from importlib import resources
from pathlib import Path
from typing import Final

MILESTONE: Final = "milestone-001"
CHECKOUT: Final = Path(__file__).resolve().parents[1]
IDENTITY: Final = {"NAME": "milestoned demo", "EMAIL": "demo@localhost"}
README: Final = "A scratch repository of `make demo`: look around, then delete it.\n"


def new_repository(below: Path) -> Path:
    """Make a git repository with one commit and the example milestone in a new directory, and return it.

    Args:
        below: Where; the directory is named by date and time.

    Raises:
        subprocess.CalledProcessError: git failed; it has said why.
    """
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")  # noqa: DTZ005 - local time, for people
    repository = below / stamp
    number = 1
    while repository.exists():
        number += 1
        repository = below / f"{stamp}-{number}"
    active = repository / ".milestones" / "active"
    active.mkdir(parents=True)
    example = resources.files("supervisor.configs").joinpath("examples", f"{MILESTONE}.yaml")
    (active / f"{MILESTONE}.yaml").write_text(example.read_text(encoding="utf-8"), encoding="utf-8")
    (repository / "README.md").write_text(README, encoding="utf-8")
    git(repository, "init", "--quiet", "--initial-branch=main")
    for key, value in IDENTITY.items():
        # Of this repository alone, so that the demo works where no identity is configured.
        git(repository, "config", f"user.{key.lower()}", value)
    git(repository, "add", "--all")
    git(repository, "-c", "commit.gpgSign=false", "commit", "--quiet", "--message", "Begin")
    return repository


def git(repository: Path, *words: str) -> None:
    """Run git in a repository, and not in the one that the environment names."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    subprocess.run(["git", *words], cwd=repository, env=env, check=True, stdin=subprocess.DEVNULL)


def main() -> int:
    """Make the repository, run the milestone, say how to look at it; return the exit code of the run."""
    try:
        repository = new_repository(Path(os.environ.get("MILESTONED_DEMO") or CHECKOUT / "demo"))
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"demo: the scratch repository could not be made: {error}", file=sys.stderr)
        return 1
    print(f"A scratch repository: {repository}", flush=True)
    # Ctrl-C reaches the run as well: it ends its tasks in order, and we wait for that.
    run = subprocess.Popen([sys.executable, "-m", "supervisor.cli", "-C", repository, "run", MILESTONE])
    while True:
        try:
            code = run.wait()
            break
        except KeyboardInterrupt:
            continue
    here = os.path.relpath(repository)
    place = here if len(here) < len(str(repository)) else repository
    program = Path(sys.executable).parent / "milestonectl"
    print("\nThe repository is left there to look at:")
    print(f"  git -C {place} log --stat milestone/{MILESTONE}")
    print(f"  {program if program.exists() else 'milestonectl'} -C {place} status {MILESTONE}")
    print(f"  ls {place}/.milestones/logs/*/", flush=True)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main())
