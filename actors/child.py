"""The entries that a service's own children are forked for: an actor, a function, or a program.

Run in a process forked from the fork server, in its main thread. Owns telling the three apart, and the last word of
one that could not be started. Refuses to know who supervises it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import traceback
from collections.abc import Callable, Mapping
from reprlib import Repr
from typing import TYPE_CHECKING, Final, cast

import pykka

from actors import plain
from actors.actor_host import run_actor
from actors.dialogue import DIALOGUE, Broken, Declined, Pulse, Up
from actors.programs import OF_THE_MANAGER
from actors.targets import fault_of, fill, find
from actors.wording import one_line, own_trace

if TYPE_CHECKING:
    import socket

    from actors.dialogue import Word

NOT_FOUND: Final = 127
"""Exit status of a program that could not be executed, as shells have it."""

PRINTING: Final = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
"""How the file is opened that a program prints to."""

_SHORT: Final = Repr()
_SHORT.maxstring = _SHORT.maxother = 40

_MOST_STATUS: Final = 255
_STDOUT: Final = 1
_STDERR: Final = 2


def main(link: socket.socket, args: Mapping[str, object]) -> int:
    """Run an actor or a function.

    Args:
        link: The child's end of the link.
        args: ``target`` (see :mod:`actors.targets`), ``args`` (its keyword arguments), ``incarnation`` (int),
            ``last_exit`` (why the former incarnation ended, ``""`` for none) and ``beat_seconds`` (or ``None``).

    Returns:
        The exit status of the process.
    """
    given = cast("Mapping[str, object]", args["args"])
    offered = {"incarnation": args["incarnation"], "last_exit": args["last_exit"]}
    beat = cast("float | None", args["beat_seconds"])
    try:
        target = find(str(args["target"]))
        _check(target)
        if isinstance(target, type) and issubclass(target, pykka.Actor):
            return run_actor(link, target, fill(target, given, offered), beat)
        return _run_function(link, _callable(target), given, offered)
    except SystemExit as error:
        if error.code is not None and not isinstance(error.code, int):
            _say(link, Broken(one_line(error)))
        raise
    except BaseException as error:
        _say(link, Broken(one_line(error)))
        traceback.print_exception(type(error), error, own_trace(error))
        raise


def _check(target: object) -> None:
    if fault := fault_of(target):
        raise TypeError(f"{target!r} {fault}")


def _callable(target: object) -> Callable[..., object]:
    if not callable(target):
        raise TypeError(f"{target!r} is neither an actor class nor a function")
    return target


def _run_function(
    link: socket.socket, function: Callable[..., object], given: Mapping[str, object], offered: Mapping[str, object]
) -> int:
    """Call a function; it is ready at once, or when it says so, with what it says, if it declares that it will."""

    def ready(info: object = None) -> None:
        plain.encode(info)
        _say(link, Up(mailbox=False, info=info))

    tools = {**offered, "ready": ready, "beat": lambda: _say(link, Pulse())}
    call = fill(function, given, tools)
    if call.get("ready") is not tools["ready"]:
        _say(link, Up(mailbox=False))
    from actors.actor_host import Ignore  # noqa: PLC0415

    try:
        status = function(**call)
    except Ignore:
        _say(link, Declined())
        return 0
    if status is None:
        return 0
    if type(status) is not int or not 0 <= status <= _MOST_STATUS:
        name = getattr(function, "__qualname__", "the function")
        raise TypeError(f"{name} returned {_SHORT.repr(status)}: must be None, or an exit status, 0 to {_MOST_STATUS}")
    return status


def _say(link: socket.socket, word: Word) -> None:
    with contextlib.suppress(OSError):  # nobody listens any more, and our end comes from elsewhere
        link.sendall(DIALOGUE.encode(word))


def execute(link: socket.socket, args: Mapping[str, object]) -> int:
    """Become a program; the link closes when that has succeeded.

    Args:
        link: The child's end of the link.
        args: ``argv`` (list), ``cwd`` (or ``None``), ``env`` (variables to set, ``None`` to unset) and ``output`` (file
            to append to, ``None`` to inherit); ``prints_to`` instead of the last, where there is one: a descriptor.

    Returns:
        The exit status, when the program could not be executed.
    """
    argv = cast("list[str]", args["argv"])
    environment = {name: value for name, value in os.environ.items() if name not in OF_THE_MANAGER}
    for name, value in cast("Mapping[str, str | None]", args["env"]).items():
        if value is None:
            environment.pop(name, None)
        else:
            environment[name] = value
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, and that would outlive exec
        signal.signal(number, signal.SIG_DFL)
    try:
        descriptor = cast("int | None", args.get("prints_to"))
        if descriptor is None and args["output"] is not None:
            descriptor = os.open(str(args["output"]), PRINTING, 0o600)
        if descriptor is not None:
            os.dup2(descriptor, _STDOUT)
            os.dup2(descriptor, _STDERR)
        if args["cwd"] is not None:
            os.chdir(str(args["cwd"]))
        link.set_inheritable(False)
        os.execvpe(argv[0], argv, environment)  # noqa: S606 - a shell has no look at it
    except (OSError, ValueError) as error:
        named = getattr(error, "filename", None)
        what = named if isinstance(named, str) else argv[0]  # execvpe names its last attempt, as bytes
        _say(link, Broken(f"{what}: {getattr(error, 'strerror', None) or error}"))
    return NOT_FOUND
