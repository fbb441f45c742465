"""What the interactive shell offers when Tab is pressed: what a shell's completion does, and its own words.

Owns the translation between readline and click. Refuses to know what is offered behind a verb
(:mod:`supervisor.cli.completing`).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from click.shell_completion import ShellComplete, split_arg_string

from supervisor.cli.interactive import OWN

if TYPE_CHECKING:
    import click

_PLAIN: Final = "plain"
_APART: Final = re.compile(r"""([\s'"\\])""")
"""What a word of a line has a backslash before."""


class Offering:
    """Answers readline, as its completer.

    Args:
        ctx: Of the program.
    """

    def __init__(self, ctx: click.Context) -> None:
        self._words = ["-C", ctx.obj] if ctx.obj else []
        self._answers = ShellComplete(ctx.find_root().command, {}, "milestonectl", "")
        self._found: list[str] = []

    def offer(self, text: str, state: int) -> str | None:
        """Return the offer of a number, from 0; ``None`` behind the last one."""
        import readline  # noqa: PLC0415

        if state == 0:
            self._found = self.offers(readline.get_line_buffer()[: readline.get_begidx()], text)
        return self._found[state] if state < len(self._found) else None

    def offers(self, before: str, text: str) -> list[str]:
        """Return what may stand at the end of a line; the only one with a space behind it.

        Args:
            before: The line up to its last blank.
            text: What is typed behind that.
        """
        words = split_arg_string(before)
        begun = words.pop() if before.endswith("\\ ") else ""  # that blank is one of a word
        word = begun + "".join(split_arg_string(text))
        if words[:1] == ["milestonectl"]:
            words = words[1:]
        option = word[: word.index("=") + 1] if word.startswith("-") and "=" in word else ""
        found: list[str] = []
        if not words:
            found += [own for own in OWN if own.startswith(word)]
        elif words[0] == "help":
            words = words[1:]
        try:
            for item in self._answers.get_completions([*self._words, *words], word):
                values = [item.value] if item.type == _PLAIN else _paths(word.removeprefix(option))
                found += [f"{option}{value}" for value in values]
        except Exception:  # noqa: BLE001 - whoever types wants no message in the line
            return found
        typed = len(_written(begun))
        offered = [_written(one)[typed:] for one in found]
        is_whole = len(found) == 1 and not found[0].endswith((":", "/"))
        return [f"{offered[0]} "] if is_whole else offered


def _written(word: str) -> str:
    """Return a word as it is typed."""
    return _APART.sub(r"\\\1", word)


def _paths(text: str) -> list[str]:
    """Return paths that begin so, directories with their slash."""
    folder, slash, begun = text.rpartition("/")
    place = Path(folder + slash or ".")
    found = sorted(path for path in place.iterdir() if path.name.startswith(begun))
    return [f"{folder}{slash}{path.name}{'/' * path.is_dir()}" for path in found]
