"""``milestonectl import``: a supervisord's configuration, or a Procfile, as a file of supervised children.

Owns reading and writing files, and the report. What the files mean is of the modules of their formats.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from actors.problems import Problem
from supervisor.cli.foreign import ForeignError
from supervisor.cli.output import FAILED, INVALID, CommandError, count, escaped, print_json, starting_directory
from supervisor.cli.spec_text import spec_text
from supervisor.cli.verbs import verb
from supervisor.finding import shown

if TYPE_CHECKING:
    from supervisor.cli.foreign import Foreign

_MOST_BYTES: Final = 1_000_000


@verb("import", "milestonectl import /etc/supervisor/supervisord.conf -o children.yaml")
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write to this file, for yourself alone (mode 0600), instead of to standard output.",
)
@click.option("--force", is_flag=True, help="Overwrite that file.")
def command(ctx: click.Context, file: Path, output: Path | None, *, force: bool, as_json: bool) -> int:
    """Turn a supervisord.conf or a Procfile into supervised children: YAML for load_specs of the library.

    What could not be carried over is told on standard error, and in comments, with its line and what to do.

    Exit codes: 0 written, whatever was lost; 1 no such file, or the output is there already; 2 FILE is invalid; 74 a
    file cannot be read, or written.
    """
    place = starting_directory(ctx)
    try:
        foreign = _read((place / file).absolute())
    except ForeignError as error:
        lines = (f"{shown(one.path)}:{one.line}: {one.message}" for one in error.problems)
        raise CommandError(INVALID, f"{shown(file)} cannot be imported:", *lines, as_json=as_json) from error
    except (FileNotFoundError, IsADirectoryError) as error:
        line = f"{shown(error.filename)}: {(error.strerror or '').lower()}"
        raise CommandError(FAILED, line, as_json=as_json) from error
    text = f"# Made by: milestonectl import {escaped(str(file))}\n#\n{spec_text(foreign)}"
    if output is not None:
        _write(place / output, text, force=force, as_json=as_json)
    _report(foreign, text, output, as_json=as_json)
    return 0


def _read(path: Path) -> Foreign:
    text = _text(path)
    if not any(line.startswith("[") for line in text.splitlines()):
        from supervisor.cli.procfile import read_procfile  # noqa: PLC0415

        return read_procfile(path, text, has_env=(path.parent / ".env").exists())
    from supervisor.cli.supervisord_conf import read_sections  # noqa: PLC0415
    from supervisor.cli.supervisord_programs import carry_over  # noqa: PLC0415

    expansions: dict[str, str] = {f"ENV_{name}": value for name, value in os.environ.items()}
    expansions["here"] = str(path.parent)
    return carry_over(read_sections(path, text, _text, expansions), path.parent, expansions)


def _text(path: Path) -> str:
    """Return the text of a file.

    Raises:
        ForeignError: It is not one of text.
        OSError: It cannot be read.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(_MOST_BYTES + 1)
    except OSError as error:
        error.filename = error.filename or str(path)  # where opening succeeded
        raise
    if len(data) > _MOST_BYTES:
        raise ForeignError([Problem(str(path), 1, 1, f"is larger than {_MOST_BYTES:,} bytes: is it the right file?")])
    if b"\0" in data:
        line = data.partition(b"\0")[0].count(b"\n") + 1
        raise ForeignError([Problem(str(path), line, 1, "has a NUL byte, so it is no text: is it the right file?")])
    try:
        return data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise ForeignError([Problem(str(path), line, 1, "is not UTF-8")]) from error


def _write(path: Path, text: str, *, force: bool, as_json: bool) -> None:
    """Write a file, whole or not at all.

    Raises:
        CommandError: It is there already.
        OSError: It cannot be written.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        aside.touch(0o600, exist_ok=False)
        aside.write_text(text, encoding="utf-8")
        if force:
            aside.replace(path)
        else:
            os.link(aside, path)
    except FileExistsError as error:
        line = f"{shown(path)} is there already, and stays as it is"
        raise CommandError(FAILED, line, "overwrite it with --force", as_json=as_json) from error
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        aside.unlink(missing_ok=True)


def _report(foreign: Foreign, text: str, output: Path | None, *, as_json: bool) -> None:
    losses = foreign.all_losses()
    children = sum(child.count() for child in foreign.children)
    if as_json:
        document = {
            "format": foreign.kind,
            "files": [str(path) for path in foreign.files],
            "output": None if output is None else str(output),
            "children": children,
            "specs": text,
            "lost": [
                {"path": one.path, "line": one.line, "child": one.child or None, "what": one.what, "cure": one.cure}
                for one in losses
            ],
        }
        print_json(document)
        return
    if output is None:
        click.echo(text, nl=False)
    for loss in losses:
        where = f"{shown(loss.path)}:{loss.line}: {loss.child + ': ' if loss.child else ''}"
        click.echo(escaped(f"{where}not carried over: {loss.what}: {loss.cure}"), err=True)
    into = "" if output is None else f", in {shown(output)}"
    told = f"{count(children, 'program')}{into}; {count(len(losses), 'thing')} could not be carried over"
    click.echo(escaped(told), err=True)
