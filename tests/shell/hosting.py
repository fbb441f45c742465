"""A role process and the supervising process's side of its link, played by the test.

Owns the process (forked by a real fork server), the frames and a little journal. Refuses to admit or refuse facts.
"""

import contextlib
import json
import os
import select
import socket
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import msgspec

from actors.events import Event, Record, RoleFinished, SessionPaused, SessionStarted, Settings, encode_event
from actors.frames import Beat, Deliver, Frame, FrameReader, Hello, Propose, Ready, Welcome, encode_frame
from actors.model import Milestone, Task
from actors.programs import Program
from actors.state import SessionState, encode_state
from supervisor.fork_protocol import ChildExited
from supervisor.launcher import Launched, Launcher

TIMEOUT: Final = 60.0
SESSION: Final = f"exec-m1-20260301_120000-{os.getpid():08x}"
"""Of this process alone: what belongs to a session is found by its name, and tests run beside each other."""

ROLE: Final = "progress_monitor"
MILESTONE: Final = Milestone("m1", "One", tasks=(Task("a", "A", run="true"),))

F = TypeVar("F", Hello, Ready, Beat, Propose)


class Hosted:
    """A role process that was forked a moment ago; nothing was said to it yet.

    Args:
        project: Project directory; `.milestones` is made in it.
        entry: ``module:function`` to fork.
    """

    def __init__(self, project: Path, entry: str = "tests.shell.puppets:puppet_host") -> None:
        self.project = project
        self._stdout = (project / "output").open("wb")
        self.launcher = Launcher.start(("tests.shell.puppets",), output=self._stdout.fileno())
        args = {"role": ROLE, "incarnation": 1, "project": str(project), "session": SESSION}
        self.link = self.launcher.launch(ROLE, 1, entry, args)
        self.link.settimeout(TIMEOUT)
        self.pid = 0
        self.status: int | None = None
        self._pidfds: list[int] = []
        self._reader = FrameReader()
        self._frames: list[Frame] = []
        self._seq = 0
        self.state = SessionState()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.link.close()
        self.launcher.stop()
        self._stdout.close()
        for descriptor in self._pidfds:
            os.close(descriptor)

    def output(self) -> str:
        """Return what fork server and role have printed."""
        return (self.project / "output").read_text(encoding="utf-8")

    # --- saying --------------------------------------------------------------------------------------------------

    def welcome(self, settings: Settings | None = None) -> Self:
        """Let the role rebuild its state and become ready."""
        self.expect(Hello)
        path = ".milestones/active/m1.yaml"
        self.record(SessionStarted(MILESTONE, path, str(self.project), settings or Settings(), "boot", 1))
        self.say(Welcome(SESSION, encode_state(self.state), self._seq, ()))
        self.expect(Ready)
        return self

    def record(self, *events: Event) -> tuple[Record, ...]:
        """Journal facts."""
        records = []
        for event in events:
            self._seq += 1
            fact = encode_event(event)
            records.append(Record(self._seq, SESSION, 1e9 + self._seq, 0.0, fact.kind, fact.body))
            self.state.apply(records[-1], event)
        return tuple(records)

    def say(self, frame: Frame) -> None:
        """Send a frame."""
        self.link.sendall(encode_frame(frame))

    def order(self, **order: object) -> None:
        """Tell the puppet what to do."""
        self.say(Deliver(self.record(SessionPaused(json.dumps(order)))))

    def run(self, *programs: Program) -> None:
        """Have the puppet run programs one after the other."""
        self.order(do="run", programs=[msgspec.to_builtins(program) for program in programs])

    # --- hearing -------------------------------------------------------------------------------------------------

    def expect(self, kind: type[F], timeout: float = TIMEOUT) -> F:
        """Return the next frame of a kind; others that came before stay."""
        give_up_at = monotonic() + timeout
        while not (found := [frame for frame in self._frames if isinstance(frame, kind)]):
            assert self._read(give_up_at), f"no {kind.__name__}, but {self._frames}; printed: {self.output()}"
        self._frames.remove(found[0])
        return found[0]

    def answer(self) -> Any:  # noqa: ANN401 - whatever the puppet says
        """Return what the puppet answers, and acknowledge it."""
        proposal = self.expect(Propose)
        (fact,) = proposal.facts
        event = Record(0, "", 0.0, 0.0, fact.kind, fact.body).event()
        assert isinstance(event, RoleFinished)
        self.say(Deliver(self.record(event), (proposal.ticket,)))
        return json.loads(event.summary)

    def expect_beat_after(self, seconds: float) -> None:
        """Wait for a heartbeat that was sent at least so much later than now; all before are left out."""
        moment = monotonic() + seconds
        while self.expect(Beat).mono < moment:
            pass

    def beats_within(self, seconds: float) -> int:
        """Count the heartbeats that come within a time."""
        give_up_at = monotonic() + seconds
        while self._read(give_up_at):
            pass
        beats = [frame for frame in self._frames if isinstance(frame, Beat)]
        self._frames = [frame for frame in self._frames if not isinstance(frame, Beat)]
        return len(beats)

    def wait_for_end(self) -> int:
        """Return the role's exit status, negative for a signal."""
        give_up_at = monotonic() + TIMEOUT
        while self.status is None:
            readable, _, _ = select.select([self.launcher], [], [], max(0.0, give_up_at - monotonic()))
            assert readable, f"the role did not end; printed: {self.output()}"
            self._hear_launcher()
        return self.status

    def process(self) -> int:
        """Return the role's process id."""
        while not self.pid:
            select.select([self.launcher], [], [], TIMEOUT)
            self._hear_launcher()
        return self.pid

    def _hear_launcher(self) -> None:
        for report in self.launcher.read():
            if isinstance(report, Launched):
                self.pid = report.pid
                self._pidfds += [] if report.pidfd is None else [report.pidfd]
            elif isinstance(report, ChildExited):
                self.status = report.status

    def _read(self, give_up_at: float) -> bool:
        left = give_up_at - monotonic()
        if left <= 0 or not select.select([self.link], [], [], left)[0]:
            return False
        with contextlib.suppress(ConnectionError):
            data = self.link.recv(1 << 20)
            self._frames += self._reader.feed(data)
            return bool(data)
        return False


def abstract_listener(name: str) -> socket.socket:
    """Listen on a name of the abstract namespace, which leaves no file."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(f"\0{name}")
    listener.listen(64)
    listener.settimeout(TIMEOUT)
    return listener
