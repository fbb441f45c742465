"""The protocols by which shells ask for completions: click's own, but for bash, where a colon parts words.

An answer that cannot be given is no answer: nothing is printed over a line that somebody types. Refuses to know
commands, and what is offered behind them (:mod:`supervisor.cli.completing`).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, ClassVar, Final

from click.shell_completion import (
    BashComplete,
    add_completion_class,
    get_completion_class,
    shell_complete,
    split_arg_string,
)

if TYPE_CHECKING:
    import click

PROGRAM: Final = "milestonectl"
SHELLS: Final = ("bash", "zsh", "fish")
# As click's, but for colons: bash takes them as borders of words, so the line itself is sent, and what stands before
# the last colon is left out of the answer. Read line by line, so that no asterisk is taken as a pattern.
_BASH: Final = """\
%(complete_func)s() {
    local line word cut type value
    line="${COMP_LINE:0:COMP_POINT}"
    word="${line##*[[:space:]]}"
    cut=""
    if [[ "$word" == *:* && "$COMP_WORDBREAKS" == *:* ]]; then
        cut="${word%%"${word##*:}"}"
    fi
    COMPREPLY=()
    while IFS=, read -r type value; do
        case "$type" in
            dir) compopt -o dirnames 2>/dev/null ;;
            file) compopt -o default 2>/dev/null ;;
            plain) COMPREPLY+=("${value#"$cut"}") ;;
        esac
    done < <(COMP_LINE="$line" %(complete_var)s=bash_complete "$1" 2>/dev/null)
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""


class _Bash(BashComplete):
    source_template: ClassVar[str] = _BASH

    def get_completion_args(self) -> tuple[list[str], str]:
        """Part the line; the last word is what is completed, unless a space follows it."""
        line = os.environ["COMP_LINE"]
        words = split_arg_string(line)[1:]
        if not words or line[-1:].isspace():
            return words, ""
        return words[:-1], words[-1]


def script(program: click.Command, shell: str, variable: str) -> str:
    """Return what a shell has to read to complete the words of a program.

    Args:
        program: The program.
        shell: One of :data:`SHELLS`.
        variable: Environment variable by which the script asks.
    """
    add_completion_class(_Bash, "bash")
    found = get_completion_class(shell)
    assert found is not None  # noqa: S101 - each of SHELLS has one
    return found(program, {}, PROGRAM, variable).source()


def answer(program: click.Command, variable: str) -> int:
    """Answer a shell's question on standard output; return the exit code.

    Args:
        program: Whose words are completed.
        variable: Environment variable that holds the question.
    """
    add_completion_class(_Bash, "bash")
    try:
        return shell_complete(program, {}, PROGRAM, variable, os.environ[variable])
    except Exception:  # noqa: BLE001 - whoever types wants no message in the line
        return 1
