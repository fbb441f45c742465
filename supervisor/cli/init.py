"""``milestonectl init``: make the ``.milestones`` directory of a project.

Owns what stands in it at the beginning. Overwrites nothing: what is there already is named and left as it is.
"""

from __future__ import annotations

import errno
import re
from importlib import resources
from pathlib import Path
from typing import Final

import click

from actors.paths import ProjectPaths
from supervisor.cli.output import FAILED, CommandError, find_project, print_json, starting_directory
from supervisor.cli.verbs import verb
from supervisor.finding import shown
from supervisor.premises import refuse_odd_places

EXAMPLE: Final = "milestone-001"
"""Id of the milestone that ``--example`` adds."""

_KEY: Final = re.compile(r"^(?=\s*[^\s#])", re.MULTILINE)

_HOW: Final = """\
# Here every key is commented out. To set one, take away the '#' at the very beginning of its line, and of the line of
# the section that it stands in.

"""


@verb("init", "milestonectl init --example")
@click.option("--example", is_flag=True, help=f"Add an example milestone, {EXAMPLE}, that can be run at once.")
def command(ctx: click.Context, *, example: bool, as_json: bool) -> None:
    """Make a .milestones directory: for milestone files, and a configuration that changes nothing yet.

    In a git repository it is made at the top of the repository, else in the current directory. What is there already
    stays as it is.

    Exit codes: 0 done, or there already; 1 something else is in the way; 74 it cannot be written.
    """
    paths = ProjectPaths(_place(ctx, as_json=as_json))
    _refuse_other_things(paths.milestones, as_json=as_json)
    refuse_odd_places(paths)
    made: list[Path] = []
    present: list[Path] = []
    for folder in (paths.milestones, paths.active, paths.completed, paths.config.parent):
        (present if folder.is_dir() else made).append(folder)
        folder.mkdir(exist_ok=True)
    had_gitignore = paths.gitignore.exists()
    (made if paths.write_gitignore() and not had_gitignore else present).append(paths.gitignore)
    files = {paths.config: commented_config()}
    if example:
        files[paths.file(EXAMPLE)] = _shipped("examples", f"{EXAMPLE}.yaml")
    for path, text in files.items():
        # A completed example is not started all over again.
        there = paths.completed_file(EXAMPLE) if path.parent == paths.active else path
        if there.exists() or not _write_new(path, text):
            present.append(there if there.exists() else path)
        else:
            made.append(path)
    _report(paths, made, present, as_json=as_json)


def commented_config() -> str:
    """Return the configuration that comes with milestoned, with every key commented out."""
    head, _, rest = _shipped("milestoned.yaml").partition("\n\n")
    return f"{head}\n#\n{_HOW}{_KEY.sub('#', rest)}"


def _shipped(*names: str) -> str:
    return resources.files("supervisor.configs").joinpath(*names).read_text(encoding="utf-8")


def _place(ctx: click.Context, *, as_json: bool) -> Path:
    found = find_project(ctx)
    if (found / ".milestones").is_dir():
        return found
    start = starting_directory(ctx)
    for folder in (start, *start.parents):
        if (folder / ".git").exists():
            break
        if _is_git_directory(folder):
            line = f"{folder} is the inside of a git repository, without the files that tasks work with"
            cure = "clone it (git clone, or git worktree add), then: milestonectl -C DIRECTORY init"
            raise CommandError(FAILED, line, cure, as_json=as_json)
    return next((folder for folder in (start, *start.parents) if (folder / ".git").exists()), start)


def _is_git_directory(folder: Path) -> bool:
    """Tell a bare repository, or a ``.git``, by what git itself looks for."""
    return (folder / "HEAD").is_file() and (folder / "objects").is_dir() and (folder / "refs").is_dir()


def _refuse_other_things(path: Path, *, as_json: bool) -> None:
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        line = f"{shown(path)} is there and is no directory: move it away, then try again"
        raise CommandError(FAILED, line, as_json=as_json)


def _write_new(path: Path, text: str) -> bool:
    """Write a file that is not there yet; return whether it was not."""
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        return False
    except OSError as error:
        # Half a file would be taken for the user's own by the next try.
        if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EIO}:
            path.unlink(missing_ok=True)
        raise
    return True


def _report(paths: ProjectPaths, made: list[Path], present: list[Path], *, as_json: bool) -> None:
    in_git = any((folder / ".git").exists() for folder in (paths.project, *paths.project.parents))
    has_example = paths.file(EXAMPLE).exists()
    following = [f"milestonectl plan {EXAMPLE}", f"milestonectl run {EXAMPLE}"] if has_example else []
    following = ["milestonectl validate", *following]
    if as_json:
        print_json(
            {
                "project": str(paths.project),
                "created": [str(path.relative_to(paths.project)) for path in made],
                "present": [str(path.relative_to(paths.project)) for path in present],
                "git": in_git,
                "next": following,
            }
        )
        return
    for path in made:
        click.echo(f"made      {shown(path)}{'/' if path.is_dir() else ''}")
    for path in present:
        click.echo(f"is there  {shown(path)}{'/' if path.is_dir() else ''}")
    if not made:
        click.echo("Everything was there already, and stays as it is.")
    if not in_git:
        click.echo("This is no git repository: tasks run in place, and nothing is committed (git init changes that).")
    elif not (paths.project / ".git").exists():
        click.echo("The project is a directory of a repository: tasks run in it, and see what is committed there.")
    if not has_example:
        click.echo(f"Write a milestone into {shown(paths.active)}/, or add the example: milestonectl init --example")
    click.echo(f"Next: {', '.join(following)}")
