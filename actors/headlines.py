"""Which line of a failed program's output says most about why it failed.

Tools end on lines that only repeat that they failed (``make: *** [x] Error 1``); the reason stands somewhere above. It
is found by how lines look, in the order of :data:`_TELLING`: what a test run says it amounts to, then errors with a
place, then what ended a program, then any line that speaks of an error.

Owns those looks. Refuses to know where lines come from, and rules (a line that a rule explains needs no guess).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

SPEAKING: Final = re.compile(
    r"error|fail|fatal|exception|panic|denied|cannot|unable|refused|killed|abort|not found|no such|no rule",
    re.IGNORECASE,
)
"""What a line that speaks of an error has in it."""

_FIRST, _LAST = 0, -1

_EXCEPTION: Final = re.compile(
    r"^(?:[\s|]*\| )?(?:Uncaught )?(?:[A-Za-z_]\w*\.)*"
    r"(?:[A-Z]\w*(?:Error|Exception|Exit|Interrupt|ExceptionGroup|StopIteration)|Error)(?:$|:|\s\[|\s\()"
    r"|^[a-z_]\w*(?:\.\w+)*\.[A-Z]\w*: "
)
"""The line that names an exception; what stands behind a traceback is one without looking like it."""

_TELLING: Final[tuple[tuple[re.Pattern[str], int], ...]] = tuple(
    (re.compile(pattern), which)
    for pattern, which in (
        # A test that failed, by its name: pytest, unittest, go test, cargo test, jest.
        (r"^(?:FAILED|ERROR) \S+(?:::| - |$)|^(?:FAIL|ERROR): \w+ \(|^\s*--- FAIL: |^test \S.* \.\.\. FAILED$", _FIRST),
        (r"^\s*● (?!Console)\S.* \u203a ", _FIRST),
        # How many tests failed: pytest, cargo test, jest, unittest.
        (r"\b\d+ (?:failed|errors?)\b.* in [\d.:]+s\b|^test result: FAILED|^Tests:\s+.*\bfailed\b", _LAST),
        (r"^FAILED \((?:failures|errors)=", _LAST),
        # An error of a compiler, linker or checker, with its place. The first causes the others.
        (r"^[^\s:][^:]*:\d+(?::\d+)?: (?:fatal )?error\b|\berror TS\d+: |^error(?:\[E\d+\])?: ", _FIRST),
        (r"^[^\s:][^:]*\.\w+:\d+:\d+: (?!warning|note|remark|info)|: undefined reference to ", _FIRST),
        # What ended a program: the last line of a traceback, a panic.
        (_EXCEPTION, _LAST),
        (r"^panic: |^thread '.*' (?:\(\d+\) )?panicked at |^Exception in thread |^Caused by: |^E {3,}\S", _FIRST),
        # A package manager, a build tool, a shell.
        (r"^npm (?:ERR!|error) \S", _FIRST),
        (r"^\S*make(?:\[\d+\])?: ", _FIRST),
        (r"^[^\s:]+: (?:line )?\d+: \S", _LAST),
        (SPEAKING, _LAST),
    )
)
"""What telling lines look like, what says most first; and which of several such lines to take."""

_HOLLOW: Final = tuple(
    re.compile(pattern)
    for pattern in (
        r"^[\W_]*$",
        r"^\s*\d*\s*\|[\s^~|-]*$",
        r"^([=_!-])\1{2,} (?!.*\d+ (?:failed|error)).*\1{3}$",
        r"^\s*File \".*\", line \d+|^\s*at \S|^(?:Exception Group )?Traceback \(|^Node\.js v",
        r"^During handling of the above|^The above exception was",
        r"^\S*make(?:\[\d+\])?: (?:\*\*\* \[|\*\*\* Waiting|Entering |Leaving |Target .* not remade)",
        r"^npm (?:ERR!|error) (?:code|errno|syscall|path|command|workspace|location|signal|node|npm|cwd|argv)\b",
        r"^npm (?:ERR!|error) (?:Lifecycle script|Exit status|Failed at the|This is probably not|A complete log)",
        r"^npm (?:ERR!|error) (?:Test failed|To see|\S+@\S+ \S+: |\s)|^error Command failed with|^info Visit ",
        r"^error: (?:could not compile|aborting due to|test failed, to rerun|build failed|recipe .* failed|Recipe )",
        r"^(?:warning: build failed|For more information about|Some errors have detailed|note: )",
        r"^collect2: error: ld returned|^compilation terminated|^ninja: build stopped|^\d+ errors? generated",
        r"^FAIL(?:\t.*)?$|^exit status \d+$|^ok {2}|^PASS$|^Found \d+ errors?\b",
    )
)
"""Lines that say nothing, or only that something failed."""


def is_hollow(line: str) -> bool:
    """Tell whether a line says nothing about why something failed."""
    return any(pattern.search(line) for pattern in _HOLLOW)


def headline(lines: Sequence[str]) -> int | None:
    """Return the index of the line that says most about why a program failed, ``None`` without lines.

    Args:
        lines: The end of what it printed, without control characters, with its indentation.
    """
    solid = [index for index, line in enumerate(lines) if not is_hollow(line)]
    for pattern, which in _TELLING:
        found = [index for index in solid if pattern.search(lines[index])]
        if pattern is _EXCEPTION:
            found = sorted({*found, *_ends_of_tracebacks(lines)})
        if found:
            return found[which]
    if solid:
        return solid[_LAST]
    return len(lines) - 1 if lines else None


def _ends_of_tracebacks(lines: Sequence[str]) -> list[int]:
    """Return the indices of the lines that name the exception: the first after a traceback that is not indented."""
    found = []
    inside = False
    for index, line in enumerate(lines):
        if line.startswith("Traceback (most recent call last)"):
            inside = True
        elif inside and line[:1].strip():
            found.append(index)
            inside = False
    return found
