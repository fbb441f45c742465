"""What the embeddable API raises.

Owns the classes and their words. Refuses to know how anything is done.
"""

from supervisor.core_effects import FailedToStart, Refusal, Refused
from supervisor.exits import ExitReason, describe


class SupervisionError(Exception):
    """Base of everything that a :class:`~supervisor.embedding.Supervisor` raises, :class:`SpecError` aside."""


class StartError(SupervisionError):
    """The supervisor has not started, because a child did not; what had started was ended again.

    Attributes:
        child: Path of the child.
        reason: Why it did not start.
    """

    def __init__(self, failed: FailedToStart) -> None:
        super().__init__(str(failed))
        self.child = failed.child
        self.reason = failed.reason


class RefusedError(SupervisionError):
    """A request has not been fulfilled (OTP's error terms, reference 1.10).

    Attributes:
        why: The closed reason.
        child: Path of the child that it is about, ``""`` for none.
        pid: Of the child that runs already.
        reason: Of a start that failed.
    """

    def __init__(self, refused: Refused, child: str = "") -> None:
        about = child or refused.child or ""
        parts = [f"child {about!r}" if about else "", str(refused.why), refused.detail]
        super().__init__(": ".join(part for part in parts if part))
        self.why: Refusal = refused.why
        self.child = about
        self.pid = refused.pid
        self.reason: ExitReason | None = refused.reason


class NotRunningError(SupervisionError):
    """The supervisor does not run: not started, stopped, ended by itself, or failed."""


class RequestRefusedError(SupervisionError):
    """What was asked of a milestone that runs was not done.

    Attributes:
        lines: Why, a line for each fact that was not admitted.
    """

    def __init__(self, lines: tuple[str, ...]) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


class ChildUnavailableError(SupervisionError):
    """There is no actor to take the message: no such child, not ready, or not an actor.

    Attributes:
        child: Its path.
    """

    def __init__(self, child: str, why: str) -> None:
        super().__init__(f"child {child!r}: {why}")
        self.child = child


class MailboxFullError(ChildUnavailableError):
    """So much waits for the actor that nothing more is taken: it does not keep up with who sends, or hangs."""

    def __init__(self, child: str, most: int) -> None:
        super().__init__(child, f"{most >> 20} MiB of messages wait for it; send more when it has handled some")


class MessageError(SupervisionError, ValueError):
    """A message cannot be sent to another process: it is, or holds, what is no plain value, and the text names it."""


class AskError(SupervisionError):
    """A message was not answered.

    Attributes:
        child: Path of the child that was asked.
    """

    def __init__(self, child: str, why: str) -> None:
        super().__init__(f"child {child!r} {why}")
        self.child = child


class AskTimeoutError(AskError, TimeoutError):
    """No answer came in time; whether the message was handled, or will be, nobody knows.

    Attributes:
        timeout: Seconds that were waited.
    """

    def __init__(self, child: str, timeout: float) -> None:
        super().__init__(child, f"did not answer within {timeout:g} s")
        self.timeout = timeout


class ChildGoneError(AskError):
    """The child ended before it answered; whether it handled the message nobody knows.

    Attributes:
        reason: Why it ended; ``None`` when it was gone before the message reached its process.
    """

    def __init__(self, child: str, reason: ExitReason | None) -> None:
        before = "was gone before the message was sent"
        super().__init__(child, before if reason is None else f"ended before it answered: {describe(reason)}")
        self.reason = reason


class AnswerError(AskError):
    """The actor raised an exception instead of answering; it goes on.

    Attributes:
        kind: Name of the exception's class.
    """

    def __init__(self, child: str, kind: str, text: str) -> None:
        super().__init__(child, f"raised while it answered: {text}")
        self.kind = kind
