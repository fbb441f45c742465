"""Starting one step of an attempt: its program, its input, its log.

A step leads a session and a process group of its own, so that no terminal reaches it and its pid names its
group. Its standard input is empty, or a memory file with the text that the step brings. Its output goes
straight to the attempt's log file, without anybody between: nothing it writes can block it or fill our
memory, and what daemonised goes on writing there. In that file each step begins with a line ``$ <label>:
<command>`` of ours; a step that could not be started leaves a line ``milestoned: ...`` with the reason. All
else is the programs' own bytes.

Owns the spawn and the log. Refuses to know attempts, time and what becomes of the process.
"""

from __future__ import annotations

import errno
import os
import shlex
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs

from actors.veil import Veil
from supervisor.shortage import cure, refusal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from actors.events import Step

NOT_FOUND: Final = 127
"""Exit status of a step whose program does not exist, as shells have it."""

NOT_STARTED: Final = 126
"""Exit status of a step whose program exists and cannot be started, as shells have it."""

_PASSING: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.ETXTBSY, errno.EINTR})
"""Errors that another moment may mend; those of a shortage beside them (:mod:`supervisor.shortage`)."""

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
"""Those that last until somebody makes room."""

_LOG_FLAGS: Final = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
_HEADER_LENGTH: Final = 400


class CannotStartError(Exception):
    """A step could not be started.

    Attributes:
        code: The exit status that a shell would report, 126 or 127.
        reason: One line for people.
        passing: Whether trying again may help.
        short: Whether the system refused it processes, descriptors, memory or room on a disk: that is nothing about the
            step, and it can be started once the system has them again.
    """

    def __init__(self, code: int, reason: str, *, passing: bool = False, short: bool = False) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
        self.passing = passing
        self.short = short


@attrs.frozen
class Place:
    """What all steps of an attempt have in common.

    Attributes:
        directory: Absolute directory to run in.
        environment: Complete environment.
        log: Absolute path of the log file; its directory exists.
        veil: Hides what must not appear in what we write ourselves.
    """

    directory: str
    environment: Mapping[str, str] = attrs.field(repr=False)
    log: str
    veil: Veil = Veil()


def start_step(step: Step, place: Place, entry: Sequence[str] = ()) -> int:
    """Start the program of a step.

    Args:
        step: What to start.
        place: Where.
        entry: Words put before the program's own: a program that enters a container and then executes the
            rest.

    Returns:
        Its process id; the caller waits for it.

    Raises:
        CannotStartError: It did not start; nothing is left of it.
    """
    argv = ["/bin/sh", "-c", step.command] if isinstance(step.command, str) else list(step.command)
    try:
        if not argv or not argv[0]:
            raise CannotStartError(NOT_FOUND, "the command names no program")
        output = _open_log(place)
        try:
            _write_header(output, step, place)
            return _spawn([*entry, *argv], step.stdin, place, output)
        except OSError as error:
            raise _explained(error, argv[0], place.directory) from error
        finally:
            os.close(output)
    except ValueError as error:  # a NUL byte or a lone surrogate in an argument or in the environment
        raise CannotStartError(NOT_STARTED, f"{argv[0]!a} cannot be started: {error}") from error


def note_in_log(place: Place, line: str) -> None:
    """Add a line of ours to the log; a log that cannot be written is not worth failing for."""
    try:
        output = _open_log(place)
    except CannotStartError:
        return
    try:
        _write(output, f"milestoned: {place.veil.hide(line)}\n")
    finally:
        os.close(output)


def log_size(place: Place) -> int:
    """Return the bytes of the log, 0 when it is not there."""
    try:
        return Path(place.log).lstat().st_size
    except OSError:
        return 0


def _spawn(argv: list[str], text: str, place: Place, output: int) -> int:
    stdin = _input(text)
    try:
        process = subprocess.Popen(
            argv,
            cwd=place.directory,
            env=place.environment,
            stdin=stdin,
            stdout=output,
            stderr=output,
            close_fds=True,
            start_new_session=True,
        )
    finally:
        os.close(stdin)
    # The attempt waits for the process itself, for its rusage: nothing is left for Popen to look after.
    process.returncode = 0
    return process.pid


def _input(text: str) -> int:
    if not text:
        return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    descriptor = os.memfd_create("stdin", os.MFD_CLOEXEC)
    try:
        left = memoryview(text.encode("utf-8", "surrogateescape"))
        while left:
            left = left[os.write(descriptor, left) :]
        os.lseek(descriptor, 0, os.SEEK_SET)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _open_log(place: Place) -> int:
    try:
        try:
            return os.open(place.log, _LOG_FLAGS, 0o600)
        except FileNotFoundError:  # somebody has tidied up
            _make_directories(Path(place.log))
            return os.open(place.log, _LOG_FLAGS, 0o600)
    except OSError as error:
        reason = f"its log {place.log} cannot be opened: {refusal(error)}"
        passing, short = error.errno in _PASSING, error.errno in _FULL or bool(cure(error))
        raise CannotStartError(NOT_STARTED, reason, passing=passing, short=short) from error


def _make_directories(log: Path) -> None:
    """Make the directories of a log again, ``logs/<session>/tasks``, but not ``.milestones`` where that is gone."""
    for directory in reversed(tuple(log.parents)[:3]):
        directory.mkdir(mode=0o700, exist_ok=True)


def _write_header(output: int, step: Step, place: Place) -> None:
    command = step.command if isinstance(step.command, str) else shlex.join(step.command)
    lines = place.veil.hide(command).strip().splitlines() or [""]
    first = lines[0][:_HEADER_LENGTH]
    more = " ..." if len(lines) > 1 or len(first) < len(lines[0]) else ""
    size = os.fstat(output).st_size
    new_line = "\n" if size and os.pread(output, 1, size - 1) != b"\n" else ""
    _write(output, f"{new_line}$ {step.label}: {first}{more}\n")


def _write(output: int, text: str) -> None:
    try:
        os.write(output, text.encode("utf-8", "backslashreplace"))
    except OSError:
        return  # a full disk: the task finds out by itself, and may not even want to write


def _explained(error: OSError, program: str, directory: str) -> CannotStartError:
    reason = error.strerror or str(error)
    if cure(error):
        return CannotStartError(NOT_STARTED, f"{program} cannot be started: {refusal(error)}", short=True)
    passing = error.errno in _PASSING
    if error.filename == directory and not passing:
        return CannotStartError(NOT_STARTED, f"its directory {directory} cannot be entered: {reason}")
    code = NOT_FOUND if error.errno == errno.ENOENT else NOT_STARTED
    return CannotStartError(code, f"{program} cannot be started: {reason}", passing=passing)
