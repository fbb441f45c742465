"""Reads the files of a supervisord: its sections with what they include, each value with its line, and expansions.

The dialect is that of supervisord 4: :mod:`configparser`, comments behind `` ;`` and `` #``, later values win, and
``%(name)s`` is expanded. Which line a value stands in, configparser does not say: that is looked up in the text.

Owns the format. Refuses to know what a section means.
"""

from __future__ import annotations

import configparser
import glob
import re
import shlex
from typing import TYPE_CHECKING, Final

import attrs

from actors.problems import Problem
from supervisor.cli.foreign import ForeignError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

_SECTION: Final = re.compile(r"\[(?P<name>[^\]]+)\]")
_OPTION: Final = re.compile(r"(?P<name>[^\s#;:=\[][^:=]*?)\s*[:=]")
_HERE: Final = "%(here)s"
_DEFAULT: Final = "DEFAULT"
"""The section whose values those sections have that do not say otherwise, of every file."""

_MOST_FILES: Final = 1000


@attrs.frozen
class Value:
    """A value as it is written, and where."""

    text: str
    path: str
    line: int


@attrs.frozen
class Section:
    """A section: where it begins, and its values by name."""

    name: str
    path: str
    line: int
    values: Mapping[str, Value]


@attrs.frozen
class Sections:
    """All sections, in the order of the files.

    Attributes:
        files: What was read.
        sections: By name; one that stands there twice has the later values.
        unmatched: Patterns of ``[include]`` that no file has.
    """

    files: tuple[Path, ...]
    sections: Mapping[str, Section]
    unmatched: tuple[Value, ...]


def read_sections(path: Path, text: str, read: Callable[[Path], str], expansions: Mapping[str, str]) -> Sections:
    """Read a file, and those that it includes.

    Args:
        path: Of the file, absolute.
        text: What it holds.
        read: Returns the text of another one; raises :class:`ForeignError`.
        expansions: What may stand in the patterns of an include.

    Raises:
        ForeignError: A file cannot be read, or is none of supervisord's.
    """
    sections = _parse(path, text)
    include = sections.pop("include", None)
    files, unmatched = [path], []
    if include is not None and (patterns := include.values.get("files")) is not None:
        for pattern in expanded(patterns, expansions).split():
            # An absolute pattern stands for itself.
            matches = glob.glob(str(path.parent / pattern))  # noqa: PTH207 - a Path's takes no absolute pattern
            found = [file for file in sorted(map(type(path), matches)) if not file.is_dir()]
            if not found:
                unmatched.append(attrs.evolve(patterns, text=pattern))
            files += found
        if len(files) > _MOST_FILES:
            message = f"[include] files: {len(files) - 1:,} files: at most {_MOST_FILES:,} are read"
            raise ForeignError([Problem(patterns.path, patterns.line, 1, message)])
        for file in files[1:]:
            for name, section in _parse(file, read(file), here=str(file.parent).replace("%", "%%")).items():
                former = sections[name].values if name in sections else {}
                sections[name] = attrs.evolve(section, values={**former, **section.values})
    if (default := sections.pop(_DEFAULT, None)) is not None:
        sections = {name: attrs.evolve(one, values={**default.values, **one.values}) for name, one in sections.items()}
    return Sections(tuple(files), sections, tuple(unmatched))


def _parse(path: Path, text: str, *, here: str = _HERE) -> dict[str, Section]:
    """Return the sections of a file; ``%(here)s`` in them becomes the directory of a file that is included."""
    # To the parser [DEFAULT] is a section as any other: its values are those of other files' sections too.
    parser = configparser.RawConfigParser(inline_comment_prefixes=(";", "#"), strict=False, default_section="")
    try:
        parser.read_string(text, str(path))
    except configparser.MissingSectionHeaderError as error:
        message = "stands before the first [section]: is it a file of supervisord?"
        raise ForeignError([Problem(str(path), error.lineno, 1, message)]) from error
    except configparser.ParsingError as error:
        message = "must be a [section], 'name = value', or an indented line that continues a value"
        raise ForeignError([Problem(str(path), number, 1, message) for number, _ in error.errors]) from error
    except configparser.Error as error:
        raise ForeignError([Problem(str(path), 1, 1, error.message)]) from error
    lines = _lines(text)
    return {
        name: Section(
            name,
            str(path),
            lines.get((name, ""), 1),
            {
                key: Value(value.replace(_HERE, here), str(path), lines.get((name, key), lines.get((name, ""), 1)))
                for key, value in parser.items(name)
            },
        )
        for name in parser.sections()
    }


def _lines(text: str) -> dict[tuple[str, str], int]:
    """Return where each section and option stands, the last one where there are several."""
    found: dict[tuple[str, str], int] = {}
    section = ""
    for number, line in enumerate(text.split("\n"), 1):
        if (head := _SECTION.match(line)) is not None:
            section = head["name"]
            found[section, ""] = number
        elif (option := _OPTION.match(line)) is not None:
            found[section, option["name"].strip().lower()] = number
    return found


def expanded(value: Value, expansions: Mapping[str, object]) -> str:
    """Return a value with its ``%(name)s`` replaced.

    Raises:
        ForeignError: A name has no value, or the form is wrong.
    """
    if "%" not in value.text:
        return value.text
    try:
        return value.text % expansions
    except KeyError as error:
        name = str(error.args[0])
        variable = name.removeprefix("ENV_")
        message = (
            f"%({name})s: the environment of this command has no {variable}: set it as supervisord gets it"
            if name != variable
            else f"%({name})s: there is no such name: must be one of {', '.join(_named(expansions))}, or ENV_X"
        )
    except (TypeError, ValueError) as error:
        message = f"{value.text!r} cannot be expanded: {error}; a percent sign of its own is written %%"
    raise ForeignError([Problem(value.path, value.line, 1, message)])


def _named(expansions: Iterable[str]) -> list[str]:
    return [name for name in expansions if not name.startswith("ENV_")]


def pairs(value: Value, text: str) -> dict[str, str]:
    """Return what a list ``NAME="value",OTHER=value`` holds.

    Args:
        value: Where it stands.
        text: The list, expanded.

    Raises:
        ForeignError: It is none.
    """
    # As supervisord has it: quotes are a part of a word, a backslash is one, and any word parts two variables.
    lexer = shlex.shlex(text)
    lexer.wordchars += "/.+-():@~%"
    found: dict[str, str] = {}
    try:
        words = list(lexer)
    except ValueError as error:
        raise ForeignError([Problem(value.path, value.line, 1, f"has an open quote: {text!r}")]) from error
    for start in range(0, len(words), 4):
        match words[start : start + 4]:
            case [name, "=", one, *_]:
                found[name] = one.strip("'\"")
            case _:
                message = f'must be NAME="value", parted by commas: wrong near {" ".join(words[start : start + 4])!r}'
                raise ForeignError([Problem(value.path, value.line, 1, message)])
    return found
