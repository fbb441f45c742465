"""What the tests of the library share: specs of the cast, and waiting for events."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from supervisor import ChildRunning, ChildSpec, Supervisor, SupervisorFlags
from supervisor.event_log import PublicEvent
from tests.waiting import wait_until

CAST = "tests.api.cast"
TIMEOUT = 60.0
MANY = SupervisorFlags(intensity=10, period=60)

E = TypeVar("E")


def echo(name: str = "echo", **fields: Any) -> ChildSpec:  # noqa: ANN401 - fields of the spec
    """Return the spec of an echo."""
    return ChildSpec(name, f"{CAST}:Echo", args={"name": name, **fields.pop("args", {})}, **fields)


def expect(supervisor: Supervisor, kind: type[E], wanted: Callable[[E], bool] = lambda _: True) -> E:
    """Wait for an event, also among those that have been."""
    seen: list[PublicEvent] = []
    for event in supervisor.events(TIMEOUT):
        seen.append(event)
        if isinstance(event, kind) and wanted(event):
            return event
    raise AssertionError(f"no such {kind.__name__}; instead {seen}")


def running(supervisor: Supervisor, child: str, incarnation: int) -> ChildRunning:
    """Wait until an incarnation of a child runs."""
    return expect(supervisor, ChildRunning, lambda one: (one.child, one.incarnation) == (child, incarnation))


def who(supervisor: Supervisor, child: str = "echo") -> dict[str, Any]:
    """Ask an echo who it is."""
    answer = supervisor.ask(child, {"do": "who"}, timeout=TIMEOUT)
    assert isinstance(answer, dict)
    return answer


def wait_for_text(path: Path) -> str:
    """Wait until a file has a text."""
    return wait_until(lambda: path.read_text(encoding="utf-8") if path.exists() else "", TIMEOUT, f"{path} is written")
