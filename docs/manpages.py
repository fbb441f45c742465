"""The manual pages, made of what the programs say of themselves: `make man` writes `docs/man/`.

`milestonectl.1` and a page for each command come from the command tree, `milestoned.8` from the daemon's command line,
`milestoned.yaml.5` from the comments of `configs/milestoned.yaml`. The pages are kept beside their sources, because a
package is built without the program's dependencies; a test compares them with what is made anew. They hold no date, so
that the same sources give the same pages.

Owns the form of a page (man(7)). Refuses to know commands and keys.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from inspect import cleandoc
from pathlib import Path
from typing import Final

import click

from supervisor.cli import COMMANDS, milestonectl
from supervisor.daemon import milestoned

CHECKOUT: Final = Path(__file__).parents[1]
FOLDER: Final = CHECKOUT / "docs" / "man"
CONFIGURATION: Final = CHECKOUT / "configs" / "milestoned.yaml"

_EXIT: Final = re.compile(r"\AExit codes?: (?P<codes>.*)", re.DOTALL)
_CODE: Final = re.compile(r"(?P<code>\d+(?:, \d+)*(?: and \d+)?) (?P<means>.*)", re.DOTALL)
_KEY: Final = re.compile(r"(?P<indent> *)(?P<name>[a-z_]+):(?: (?P<value>.*))?")
_README_ROW: Final = re.compile(r"^\| (?P<codes>\d+(?:, \d+)*) \| (?P<means>.+) \|$", re.MULTILINE)
_ROW: Final = re.compile(r"(?P<word>\S+) {2,}(?P<means>.+)")
_SHELL: Final = (
    "Without a command there is a shell on a terminal, with history and completion: help lists what may be typed, exit "
    "ends it. Where standard input is a file or a pipe, its lines are executed, and the exit code is that of the last "
    "one that failed."
)
_FILES: Final = (
    (".milestones/", "of a project: milestone files, configuration, journal, logs; see milestonectl-init(1)"),
    ("/etc/milestoned/milestoned.yaml", "configuration of the machine"),
    ("~/.local/state/milestoned/history", "what was typed into the shell; below $XDG_STATE_HOME where that is set"),
)
_VARIABLES: Final = (
    ("MILESTONED_CONFIG", "a configuration file that comes before the project's own"),
    ("NO_COLOR", "no colours"),
    ("MILESTONED_TRACEBACK", "shows the traceback of a defect (exit code 70)"),
)


def pages() -> dict[str, str]:
    """Return every page: name of the file -> its text."""
    context = _context(milestonectl, "milestonectl")
    made = {"milestonectl.1": _page_of_commands(context)}
    for name, brief in COMMANDS.items():
        command = milestonectl.get_command(context, name)
        if command is not None:
            made[f"milestonectl-{name}.1"] = _page_of_command(_context(command, name, context), brief)
    made["milestoned.8"] = _page_of_daemon()
    made["milestoned.yaml.5"] = _page_of_configuration(CONFIGURATION.read_text(encoding="utf-8"))
    return made


def _context(command: click.Command, name: str, parent: click.Context | None = None) -> click.Context:
    return click.Context(command, parent, name, **command.context_settings)


def _page_of_commands(context: click.Context) -> str:
    described = [*_paragraphs(context.command)[:1], _SHELL]
    return _page(
        _title("milestonectl", 1),
        _name("milestonectl", "execute milestones: YAML files of tasks in a git repository, under supervision"),
        _synopsis("milestonectl", "[-C DIRECTORY] [COMMAND] [OPTIONS] [ARGUMENTS]"),
        _section("DESCRIPTION", _prose(described)),
        _section("OPTIONS", _options(context)),
        _section("COMMANDS", _list((f"milestonectl-{name}(1)", brief) for name, brief in COMMANDS.items())),
        _section("EXIT STATUS", _list(_exits((CHECKOUT / "README.md").read_text(encoding="utf-8")))),
        _section("ENVIRONMENT", _list(_VARIABLES)),
        _section("FILES", _list(_FILES)),
        _see("milestoned(8)", "milestoned.yaml(5)"),
    )


def _exits(readme: str) -> tuple[tuple[str, str], ...]:
    """Return the exit codes of all commands, as the table of the README has them."""
    return tuple((found["codes"], found["means"].replace("`", "")) for found in _README_ROW.finditer(readme))


def _page_of_command(context: click.Context, brief: str) -> str:
    name = f"milestonectl-{context.info_name}"
    return _page(
        _title(name, 1),
        _name(name, brief[0].lower() + brief[1:]),
        _synopsis(f"milestonectl {context.info_name}", *context.command.collect_usage_pieces(context)),
        *_told(context),
        _see("milestonectl(1)", "milestoned(8)", "milestoned.yaml(5)"),
    )


def _page_of_daemon() -> str:
    context = _context(milestoned, "milestoned")
    return _page(
        _title("milestoned", 8),
        _name("milestoned", "supervise the sessions of projects with milestones"),
        _synopsis("milestoned", *context.command.collect_usage_pieces(context)),
        *_told(context),
        _see("milestonectl(1)", "milestonectl-service(1)", "milestoned.yaml(5)"),
    )


def _told(context: click.Context) -> Iterator[str]:
    """Yield the sections that the help of a command holds."""
    paragraphs = _paragraphs(context.command)
    codes = [found["codes"] for text in paragraphs if (found := _EXIT.match(text))]
    yield _section("DESCRIPTION", _prose([text for text in paragraphs if not _EXIT.match(text)]))
    yield _section("OPTIONS", _options(context))
    if codes:
        yield _section("EXIT STATUS", _codes(codes[0]))
    example = (context.command.epilog or "").partition("Example: ")[2]
    if example:
        yield _section("EXAMPLE", _verbatim([example]))


def _page_of_configuration(text: str) -> str:
    head, _, rest = text.partition("\n\n")
    lines = [line.removeprefix("#").removeprefix(" ") for line in head.splitlines()]
    first = lines[0].partition(": ")[2]
    lines[0] = first[0].upper() + first[1:]
    return _page(
        _title("milestoned.yaml", 5),
        _name("milestoned.yaml", "configuration of milestoned and milestonectl"),
        _section("DESCRIPTION", _commented(lines)),
        _section("KEYS", "".join(_keys(rest))),
        _see("milestonectl-init(1)", "milestonectl-validate(1)", "milestoned(8)"),
    )


def _keys(text: str) -> Iterator[str]:
    """Yield the entries of the keys, by their whole names, each with its default and the comment before it."""
    comment: list[str] = []
    sections: list[tuple[int, str]] = []
    for line in text.splitlines():
        if line.lstrip().startswith("#"):
            comment.append(line.lstrip().removeprefix("#").removeprefix(" "))
        elif (found := _KEY.fullmatch(line)) is not None:
            indent = len(found["indent"])
            sections = [one for one in sections if one[0] < indent]
            name = ".".join([*(one for _, one in sections), found["name"]])
            value = found["value"] or ""
            if not value:
                sections.append((indent, found["name"]))
            shown = f".TP\n\\fB{_plain(name)}\\fR" + (f" (default: {_plain(value)})" if value else "")
            yield f"{shown}\n{_commented(comment, below=True) if comment else _text('The keys below it.')}"
            comment = []


def _commented(lines: list[str], *, below: bool = False) -> str:
    """Return a comment as text; lines that are set off in it stay as they are."""
    made: list[str] = []
    prose: list[str] = []
    kept: list[str] = []
    for line in [*lines, ""]:
        is_kept = line.startswith("  ")
        if not is_kept and kept:
            made.append(_set_off(kept, below=below))
            kept = []
        if prose and (is_kept or not line or line.startswith("Example:")):
            made.append(_text(" ".join(prose)))
            prose = []
        if is_kept:
            kept.append(line[2:])
        elif line:
            prose.append(line)
    apart = ".IP\n" if below else ".PP\n"
    return made[0] + "".join(one if one.startswith(".RS\n") else f"{apart}{one}" for one in made[1:])


# --- the form -------------------------------------------------------------------------------------------------------


def _page(*parts: str) -> str:
    return "".join(parts)


def _title(name: str, section: int) -> str:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    kind = {1: "User Commands", 5: "File Formats", 8: "System Administration"}[section]
    head = f'.\\" Made by docs/manpages.py (make man); do not edit.\n.TH {_plain(name.upper())} {section} ""'
    return f'{head} "milestoned {project["version"]}" "{kind}"\n.nh\n.ad l\n'


def _name(name: str, brief: str) -> str:
    return _section("NAME", f"{_plain(name)} \\- {_plain(brief)}\n")


def _synopsis(program: str, *pieces: str) -> str:
    return _section("SYNOPSIS", f"\\fB{_plain(program)}\\fR {_plain(' '.join(pieces))}\n")


def _see(*others: str) -> str:
    return _section("SEE ALSO", _text(", ".join(others)))


def _section(title: str, text: str) -> str:
    return f".SH {title}\n{text}"


def _prose(paragraphs: list[str]) -> str:
    return ".PP\n".join(_text(paragraph) for paragraph in paragraphs)


def _list(rows: Iterator[tuple[str, str]] | tuple[tuple[str, str], ...]) -> str:
    return "".join(f".TP\n\\fB{_plain(term)}\\fR\n{_text(text)}" for term, text in rows)


def _options(context: click.Context) -> str:
    """Return the list of options; in words of our own, which do not change with the version of click."""
    options = [one for one in context.command.get_params(context) if isinstance(one, click.Option)]
    return _list(tuple((_spelled(option), option.help or "") for option in options))


def _spelled(option: click.Option) -> str:
    names = ", ".join((*option.opts, *option.secondary_opts))
    if option.is_flag or option.count:
        return names
    kind = option.type
    value = "|".join(map(str, kind.choices)) if isinstance(kind, click.Choice) else kind.name.upper()
    return f"{names} {option.metavar or value}"


def _codes(text: str) -> str:
    """Return the list of exit codes; what is no code with its meaning stays prose."""
    first, _, more = text.partition(". ")
    rows: list[tuple[str, str]] = []
    for part in first.rstrip(".").split("; "):
        found = _CODE.fullmatch(part)
        rows.append((found["code"], found["means"]) if found else (part, "always"))
    return _list(tuple(rows)) + (f".PP\n{_text(more)}" if more else "")


def _set_off(lines: list[str], *, below: bool) -> str:
    """Return lines that are set off: as a list where each is a word, two blanks and what it means."""
    rows = [found for line in lines if (found := _ROW.fullmatch(line))]
    if len(rows) < len(lines):
        return _verbatim(lines, below=below)
    return f"{'.RS' if below else '.RS 4'}\n{_list(tuple((row['word'], row['means']) for row in rows))}.RE\n"


def _verbatim(lines: list[str], *, below: bool = False) -> str:
    shown = "".join(f"{_plain(line)}\n" for line in lines)
    indent = "" if below else ".RS 4\n"
    return f"{indent}.nf\n{shown}.fi\n{'' if below else '.RE' + chr(10)}"


def _text(text: str) -> str:
    return f"{_plain(' '.join(text.split()))}\n"


def _plain(text: str) -> str:
    """Return a text in which nothing is a request or an escape."""
    escaped = text.replace("\\", "\\(rs").replace("-", "\\-").replace("'", "\\(aq").replace("`", "\\(ga")
    return f"\\&{escaped}" if escaped.startswith(".") else escaped


def _paragraphs(command: click.Command) -> list[str]:
    return [" ".join(part.split()) for part in cleandoc(command.help or "").split("\n\n")]


def main() -> None:
    """Write the pages, and take away those that are no more."""
    FOLDER.mkdir(exist_ok=True)
    made = pages()
    for path in FOLDER.iterdir():
        if path.name not in made:
            path.unlink()
    for name, text in made.items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
