"""Why a child ended: OTP's exit reasons, mapped to operating-system processes.

This module owns the closed set of reasons, what each means for a restart, and one line of text for
people. It refuses to know how a reason was learned (wait status, pidfd, message) and what is done
about it. The mapping is the table of reference 1.13:

    OTP               here                               the process ...
    normal            Normal                             ended with a success code, unasked
    shutdown          Shutdown                           ended after it was asked to, or said it is done
    {shutdown, Term}  ShutdownTerm                       the same, with a final word
    killed            Killed                             was killed because it did not stop in time
    anything else     Crashed, Unready, Silent,          failed
                      OverLimit, SpawnFailed, Unknown
    (waits for ever)  Unkillable                         did not end by SIGKILL, and is not waited for any more
"""

import re
import signal as signals
from typing import Final, assert_never, get_args

import attrs

from actors.wording import signal_name
from supervisor.spec import Restart

LONGEST_TEXT: Final = 300
"""Characters of a reason's own words that are kept; what is longer is cut in the middle (OTP row 60)."""

_CAPITAL: Final = re.compile(r"(?<!^)[A-Z]")


def bounded(text: str) -> str:
    """Return a text as one line of at most `LONGEST_TEXT` characters: beginning and end, control characters escaped.

    A reason travels far (events, stories, replies, the journal, the reasons of the supervisors above), so that it is
    cut where it is made.
    """
    if len(text) > 4 * LONGEST_TEXT:  # before it is looked at character by character
        text = f"{text[: 2 * LONGEST_TEXT]} ... {text[-2 * LONGEST_TEXT :]}"
    line = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)
    if len(line) <= LONGEST_TEXT:
        return line
    half = (LONGEST_TEXT - 5) // 2
    return f"{line[:half]} ... {line[-half:]}"


@attrs.frozen
class Normal:
    """Ended by itself with a success code (0, or a listed one).

    Attributes:
        code: Its exit code.
        error: What was missing all the same, one line: that it said that it is ready, say; empty when nothing was.
    """

    code: int = 0
    error: str = attrs.field(default="", converter=bounded)


@attrs.frozen
class Shutdown:
    """Ended because it was asked to, or said "I am done, do not restart me"."""


@attrs.frozen
class ShutdownTerm:
    """As `Shutdown`, with a final word: a reserved exit code or a last status message.

    Attributes:
        detail: That word, one line.
    """

    detail: str = attrs.field(converter=bounded)


@attrs.frozen
class Killed:
    """Ended by the supervisor's SIGKILL, after the shutdown time or at once by spec.

    Somebody else's SIGKILL is ``Crashed(signal=9)``.
    """


@attrs.frozen
class Crashed:
    """Ended by itself with a failure code, or by a signal that the supervisor did not send.

    Exactly one of `code` and `signal` is set.

    Attributes:
        code: Its exit code; ``None`` when a signal ended it.
        signal: The number of that signal; ``None`` when it exited.
        error: What it had to say, one line: an exception and the last line of the user's own code that it passed
            through, as a rule; empty when it said nothing.
    """

    code: int | None = None
    signal: int | None = None
    error: str = attrs.field(default="", converter=bounded)

    def __attrs_post_init__(self) -> None:
        """Refuse a crash without a cause, or with two."""
        if (self.code is None) == (self.signal is None):
            message = f"a crash has a code or a signal, not both: code={self.code!r}, signal={self.signal!r}"
            raise ValueError(message)


@attrs.frozen
class Unready:
    """Did not say that it is ready within `after` seconds.

    Attributes:
        after: Its ``start_timeout``, seconds.
    """

    after: float


@attrs.frozen
class Silent:
    """Running, but sent no heartbeat for `after` seconds.

    Attributes:
        after: Its ``heartbeat_timeout``, seconds.
    """

    after: float


@attrs.frozen
class OverLimit:
    """Used more than it may; `what` says of what, with the figures.

    Attributes:
        what: Of what, with the figures, one line.
    """

    what: str = attrs.field(converter=bounded)


@attrs.frozen
class SpawnFailed:
    """Could not be spawned at all; `error` says why.

    Attributes:
        error: Why, one line.
    """

    error: str = attrs.field(converter=bounded)


@attrs.frozen
class Unkillable:
    """Still there `after` seconds after its SIGKILL (it waits for a device that does not answer, say).

    Attributes:
        after: Seconds since its SIGKILL.
    """

    after: float


@attrs.frozen
class Unknown:
    """Gone, and nobody can say why (its parent died first, say).

    Attributes:
        why: What is known, one line.
    """

    why: str = attrs.field(converter=bounded)


ExitReason = (
    Normal
    | Shutdown
    | ShutdownTerm
    | Killed
    | Crashed
    | Unready
    | Silent
    | OverLimit
    | SpawnFailed
    | Unkillable
    | Unknown
)
"""Why a child ended."""


def from_wait(code: int | None, signal: int | None, success: frozenset[int] = frozenset({0})) -> ExitReason:
    """Map what the kernel reports of an ended process to a reason.

    Args:
        code: exit code, None if a signal ended it.
        signal: number of the ending signal, None if it exited.
        success: exit codes that count as a normal end.
    """
    if signal is not None:
        return Crashed(signal=signal)
    if code is None:
        return Unknown("no exit status was reported")
    return Normal(code) if code in success else Crashed(code=code)


def is_clean(reason: ExitReason) -> bool:
    """Tell whether OTP would call it normal, shutdown or {shutdown, Term}: no crash to report."""
    return isinstance(reason, Normal | Shutdown | ShutdownTerm)


def calls_for_restart(restart: Restart, reason: ExitReason) -> bool:
    """Apply the table of reference 1.3: restart type against reason."""
    match restart:
        case Restart.PERMANENT:
            return True
        case Restart.TRANSIENT:
            return not is_clean(reason)
        case Restart.TEMPORARY:
            return False
        case _:
            assert_never(restart)


def after_stop(reason: ExitReason, *, killed: bool) -> ExitReason:
    """Reinterpret the end of a child that the supervisor was stopping (reference 1.8, 1.13).

    An end with success or by the SIGTERM that we sent is a shutdown; one by the SIGKILL that we
    sent is killed. Anything else is the child's own reason and stays (`sup_stop_race`, row 15).

    Args:
        reason: what was reported.
        killed: the kill was already sent.
    """
    match reason:
        case Normal() | Crashed(signal=signals.SIGTERM):
            return Shutdown()
        case Crashed(signal=signals.SIGKILL) if killed:
            return Killed()
        case _:
            return reason


def is_expected_after_stop(reason: ExitReason, restart: Restart, *, brutal: bool) -> bool:
    """Tell whether this end of a child that was being stopped needs no report (reference 1.8).

    Args:
        reason: what `after_stop` made of it.
        restart: of a permanent child OTP reports a final word as well.
        brutal: the spec says brutal_kill, so that a kill is what was asked for.
    """
    match reason:
        case Shutdown():
            return True
        case Normal() | ShutdownTerm():
            return restart is not Restart.PERMANENT
        case Killed():
            return brutal
        case _:
            return False


def describe(reason: ExitReason) -> str:
    """Say in one line, for people, why a child ended.

    Args:
        reason: Why it ended.
    """
    match reason:
        case Normal(code, error):
            return f"ended (exit code {code}): {error}" if error else f"ended normally (exit code {code})"
        case Shutdown():
            return "shut down"
        case ShutdownTerm(detail):
            return f"shut down: {detail}"
        case Killed():
            return "killed by the supervisor"
        case Crashed(code, signal, error):
            how = f"exit code {code}" if signal is None else signal_name(signal)
            return f"crashed ({how}): {error}" if error else f"crashed ({how})"
        case Unready(after):
            return f"not ready within {after:g} s"
        case Silent(after):
            return f"no heartbeat for {after:g} s"
        case OverLimit(what):
            return f"over its limit: {what}"
        case SpawnFailed(error):
            return f"could not be spawned: {error}"
        case Unkillable(after):
            return f"still there {after:g} s after it was killed, and left behind"
        case Unknown(why):
            return f"ended for an unknown reason: {why}"
        case _:
            assert_never(reason)


def kind_of(reason: ExitReason) -> str:
    """Return in one word why a child ended: the name of its class, as in ``over_limit``."""
    return _word(type(reason))


def _word(kind: type) -> str:
    return _CAPITAL.sub(lambda found: "_" + found[0], kind.__name__).lower()


KINDS: Final = tuple(map(_word, get_args(ExitReason)))
"""Every word that :func:`kind_of` has."""
