"""Messages between the host's threads and the actors that its children are.

Each goes over the child's link as JSON, at most once: who is asked and ends before it has answered fails the question.
What waits for an actor is bounded (:mod:`supervisor.mailboxes`).

Belongs to the keeper's thread, but for what its first section says. Refuses to know supervisors, and what the messages
mean.
"""

from __future__ import annotations

from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

import msgspec

from actors.dialogue import Ask, Tell
from supervisor.api_errors import AnswerError, ChildGoneError, ChildUnavailableError, MailboxFullError
from supervisor.branch import settle
from supervisor.mailboxes import MAILBOX_BYTES, Mailbox
from supervisor.question import Question

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from actors.dialogue import Word
    from supervisor.fleet import Fleet
    from supervisor.kept_child import KeptChild
    from supervisor.links import Link


class Correspondence:
    """The messages of a tree.

    Args:
        call: Has a function run in the keeper's thread, soon; tells whether it will be.
        fleet: Sends.
        kept: The children that have a process, or are to have one, by path.
        why_unavailable: Says of a path why nobody there takes a message; called in any thread.
    """

    def __init__(
        self,
        call: Callable[[Callable[[], None]], bool],
        fleet: Fleet[Word],
        kept: Mapping[str, KeptChild],
        why_unavailable: Callable[[str], str],
    ) -> None:
        self._call = call
        self._fleet = fleet
        self._kept = kept
        self._why_unavailable = why_unavailable
        self._mailboxes: dict[str, Mailbox] = {}
        self._tickets = 0

    # --- from other threads --------------------------------------------------------------------------------------

    def tell(self, child: str, body: bytes) -> None:
        """Send a message to an actor; at most once, and it is not answered.

        Raises:
            ChildUnavailableError: There is no actor to take it.
            MailboxFullError: So much waits for it already.
        """
        mailbox = self._mailbox(child, len(body))

        def send() -> None:
            mailbox.took(len(body))
            self.send(child, mailbox.incarnation, Tell(msgspec.Raw(body)))

        self._call(send)

    def ask(self, child: str, body: bytes) -> Future[Any]:
        """Send a message to an actor, and return its answer, or why there is none.

        Raises:
            ChildUnavailableError: There is no actor to take it.
            MailboxFullError: So much waits for it already.
        """
        mailbox = self._mailbox(child, len(body))

        def ask(answer: Future[Any]) -> None:
            mailbox.took(len(body))
            self._ask(child, mailbox.incarnation, body, answer)

        question = Question(ask, child)
        if not self._call(question):
            question.refuse()
        return question.answer

    def _mailbox(self, child: str, size: int) -> Mailbox:
        mailbox = self._mailboxes.get(child)
        if mailbox is None:
            raise ChildUnavailableError(child, self._why_unavailable(child))
        if not mailbox.has_room(size):
            raise MailboxFullError(child, MAILBOX_BYTES)
        return mailbox

    # --- in the keeper's thread ----------------------------------------------------------------------------------

    def open(self, child: str, incarnation: int, link: Link[Word]) -> None:
        """Take messages for an incarnation of an actor from now on."""
        self._mailboxes[child] = Mailbox(incarnation, link)

    def is_open(self, child: str, incarnation: int) -> bool:
        """Tell whether messages are taken for this incarnation."""
        mailbox = self._mailboxes.get(child)
        return mailbox is not None and mailbox.incarnation == incarnation

    def close(self, child: str) -> None:
        """Take no messages any more for an actor that has ended."""
        self._mailboxes.pop(child, None)

    def close_all(self) -> None:
        """Take no messages any more."""
        self._mailboxes.clear()

    def send(self, path: str, incarnation: int, word: Word) -> bool:
        """Say something to an incarnation, whether or not it is an actor; return whether it can still hear."""
        kept = self._kept.get(path)
        if kept is None or kept.incarnation != incarnation:
            return False
        process = self._fleet.find(kept.branch.path, kept.spec.id, incarnation)
        if process is None or process.link is None:
            return False
        self._fleet.send(process, word)
        return True

    def answered(self, kept: KeptChild, ticket: int, body: msgspec.Raw) -> None:
        """Take in what an actor answered; kill one whose answer cannot be read: it does not speak our protocol."""
        try:
            answer = msgspec.json.decode(body)
        # A frame's body is only passed over: in it may be a number too large, what is no UTF-8, or nested too deep.
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            self._fleet.kill(self._fleet.find(kept.branch.path, kept.spec.id, kept.incarnation))
            return  # who asked is told of its end
        if (future := kept.asks.pop(ticket, None)) is not None:
            settle(future, answer)

    def failed(self, kept: KeptChild, ticket: int, kind: str, text: str) -> None:
        """Take in that an actor raised something instead of answering."""
        if (future := kept.asks.pop(ticket, None)) is not None:
            settle(future, error=AnswerError(kept.path, kind, text))

    def _ask(self, path: str, incarnation: int, body: bytes, future: Future[Any]) -> None:
        self._tickets += 1
        if not self.send(path, incarnation, Ask(self._tickets, msgspec.Raw(body))):
            settle(future, error=ChildGoneError(path, None))
            return
        asks = self._kept[path].asks
        for ticket in [ticket for ticket, one in asks.items() if one.cancelled()]:
            del asks[ticket]
        asks[self._tickets] = future
