"""The user's blocker rules on the disk: read with care, problems like those of any other file.

Owns the limit of size and what is said when the file cannot be read. Refuses to know what rules are for.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from actors.builtin_rules import BUILTIN_RULES
from actors.files import read_bytes
from actors.problems import Problem
from actors.rules import RulesReading, read_rules

MOST_BYTES: Final = 256 * 1024
"""Most bytes of a rules file: two hundred rules take less than a tenth of it."""


def read_rules_file(project: Path, name: str) -> RulesReading:
    """Read the user's rules over the built-in ones; what keeps the file from being read is a problem like any other.

    Args:
        project: Absolute path of the project directory.
        name: The file as configured, absolute or below the project; ``""`` for none.
    """
    if not name:
        return RulesReading(BUILTIN_RULES)
    try:
        data = read_bytes(project / name, MOST_BYTES)
    except FileNotFoundError:
        reason = "there is no such file; create it, or take blockers.rules out of the configuration"
    except OSError as error:
        reason = f"cannot be read: {error.strerror or error}"
    else:
        return read_rules(data, name, BUILTIN_RULES)
    return RulesReading(BUILTIN_RULES, (Problem(name, 1, 1, reason),))
