"""The protocols by which shells ask for completions: click's own, with scripts of our own on the shells' side.

Click's scripts take a word for what it says as a whole. In bash a colon parts words, and everywhere the value of an
option may be typed behind an equals sign (``--session=``): what stands before it is no part of the value, and has to be
left out (bash, zsh) or put before each offer (fish).

An answer that cannot be given is no answer: nothing is printed over a line that somebody types. Refuses to know
commands, and what is offered behind them (:mod:`supervisor.cli.completing`).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, ClassVar, Final

from click.shell_completion import (
    BashComplete,
    FishComplete,
    ZshComplete,
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
    local line word option cut type value
    line="${COMP_LINE:0:COMP_POINT}"
    word="${line##*[[:space:]]}"
    option="" cut=""
    if [[ "$word" == --*=* ]]; then
        [[ "$COMP_WORDBREAKS" == *=* ]] || option="${word%%%%=*}="
        word="${word#*=}"
    fi
    if [[ "$word" == *:* && "$COMP_WORDBREAKS" == *:* ]]; then
        option="" cut="${word%%"${word##*:}"}"
    fi
    COMPREPLY=()
    while IFS=, read -r type value; do
        case "$type" in
            dir) compopt -o dirnames 2>/dev/null ;;
            file) compopt -o default 2>/dev/null ;;
            plain) COMPREPLY+=("$option${value#"$cut"}") ;;
        esac
    done < <(COMP_LINE="$line" %(complete_var)s=bash_complete "$1" 2>/dev/null)
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""

_ZSH: Final = """\
#compdef %(prog_name)s

%(complete_func)s() {
    local type key help
    local -a response offered described
    (( $+commands[%(prog_name)s] )) || return 1
    response=("${(@f)$(COMP_WORDS="${words[*]}" COMP_CWORD=$((CURRENT-1)) \\
        %(complete_var)s=zsh_complete %(prog_name)s 2>/dev/null)}")
    [[ "$PREFIX" == --*=* ]] && compset -P 1 '*='
    for type key help in "${(@)response}"; do
        case "$type" in
            dir) _path_files -/ ;;
            file) _path_files -f ;;
            plain) if [[ "$help" == _ ]]; then offered+=("$key"); else described+=("$key:$help"); fi ;;
        esac
    done
    (( $#described )) && _describe -V unsorted described
    (( $#offered )) && compadd -V unsorted -a offered
}

if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    %(complete_func)s "$@"
else
    compdef %(complete_func)s %(prog_name)s
fi
"""
_FISH: Final = """\
function %(complete_func)s
    set -l line (commandline -cp)
    set -l token (commandline -ct)
    set -l option (string match -r -- '^--[^=]+=' $token)
    set -l typed (string replace -r -- '^--[^=]+=' '' $token)
    for answer in (env %(complete_var)s=fish_complete COMP_WORDS="$line" COMP_CWORD="$token" %(prog_name)s 2>/dev/null)
        set -l offer (string split -m 1 , -- $answer)
        switch $offer[1]
            case dir
                string replace -r -- '^' "$option" (__fish_complete_directories $typed)
            case file
                string replace -r -- '^' "$option" (__fish_complete_path $typed)
            case plain
                echo -- "$option$offer[2]"
        end
    end
end

complete --no-files --command %(prog_name)s --arguments "(%(complete_func)s)"
"""


class _Zsh(ZshComplete):
    source_template: ClassVar[str] = _ZSH


class _Fish(FishComplete):
    source_template: ClassVar[str] = _FISH


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
    _add_ours()
    found = get_completion_class(shell)
    assert found is not None  # noqa: S101 - each of SHELLS has one
    return found(program, {}, PROGRAM, variable).source()


def answer(program: click.Command, variable: str) -> int:
    """Answer a shell's question on standard output; return the exit code.

    Args:
        program: Whose words are completed.
        variable: Environment variable that holds the question.
    """
    _add_ours()
    try:
        return shell_complete(program, {}, PROGRAM, variable, os.environ[variable])
    except Exception:  # noqa: BLE001 - whoever types wants no message in the line
        return 1


def _add_ours() -> None:
    for name, ours in (("bash", _Bash), ("zsh", _Zsh), ("fish", _Fish)):
        add_completion_class(ours, name)
