"""Plays the supervising process for a real runner: journals what it proposes, delivers, and never decides.

Owns one end of the link and the session's ledger. The runner at the other end is a process of its own,
started as ``python -c``, with this process as its parent where the product has the fork server.
"""

import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from time import monotonic
from typing import Final, TypeVar

from actors.events import (
    AttemptEnded,
    AttemptGranted,
    AttemptStarted,
    Event,
    GitIdle,
    GitReady,
    Record,
    SessionStarted,
    Settings,
    Step,
    encode_event,
)
from actors.frames import Beat, Deliver, Frame, FrameReader, Hello, Propose, Ready, Welcome, encode_frame
from actors.model import Isolation, Milestone, Task
from actors.state import encode_state
from supervisor import linux
from supervisor.environment import SESSION_MARK
from supervisor.ledger import Ledger
from tests.waiting import wait_until

# Of this process alone: a runner ends whatever has its session's mark, also of a test that runs beside this one.
SESSION: Final = f"exec-m-20260101_000000-{os.getpid():08x}"

_RUNNER: Final = """\
import json, socket, sys
from supervisor.runner import main
sys.exit(main(socket.socket(fileno=int(sys.argv[1])), json.loads(sys.argv[2])))
"""

T = TypeVar("T")


def sh(line: str, *, label: str = "run", stdin: str = "") -> Step:
    """Make a step of a shell line."""
    return Step(label, line, stdin)


class Stage:
    """A session whose only real child is the runner.

    Args:
        folder: Where project and logs are made.
        tasks: Ids of the milestone's tasks, all independent.
        settings: How to run; the default runs in place, so that no git role is needed.
    """

    def __init__(self, folder: Path, tasks: Iterable[str] = ("t",), settings: Settings | None = None) -> None:
        self.project = folder / "project"
        self.logs = folder / "logs"
        self.project.mkdir(exist_ok=True)
        self.settings = settings or Settings(isolation=Isolation.NONE, stop_grace=1.0)
        milestone = Milestone("m", "M", tasks=tuple(Task(id=task, title=task) for task in tasks))
        self.ledger = Ledger(SESSION)
        self.records: list[tuple[Record, Event]] = []
        self.frames: list[Frame] = []
        self.refusals: list[str] = []
        self.runner: subprocess.Popen[bytes] | None = None
        self.link: socket.socket | None = None
        self.extra: dict[str, object] = {}
        self._reader = FrameReader()
        self.journal(SessionStarted(milestone, "m.yaml", str(self.project), self.settings, "boot", os.getpid()))
        if self.settings.isolation is Isolation.NONE:
            self.journal(GitIdle("not wanted"))
        else:
            self.journal(GitReady("milestone/m", "0" * 40, created=True, uncommitted=0))

    # --- the runner -----------------------------------------------------------------------------------------

    def start(self, incarnation: int = 1, env: Mapping[str, str] | None = None) -> int:
        """Start a runner and wait until it is ready; return its pid."""
        ours, theirs = socket.socketpair()
        args = {
            "session": SESSION,
            "project": str(self.project),
            "logs": str(self.logs),
            "incarnation": incarnation,
            **self.extra,
        }
        self.runner = subprocess.Popen(
            [sys.executable, "-c", _RUNNER, str(theirs.fileno()), json.dumps(args)],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            env={**os.environ, **(env or {})},
            cwd=Path(__file__).parents[2],
        )
        theirs.close()
        ours.settimeout(0.0)
        self.link = ours
        self._reader = FrameReader()
        self.frames.clear()
        self.until(lambda: any(isinstance(frame, Ready) for frame in self.frames))
        return self.runner.pid

    def send(self, frame: Frame) -> None:
        """Send a frame to the runner."""
        assert self.link is not None
        left = memoryview(encode_frame(frame))
        while left:
            select.select([], [self.link], [], 60.0)
            left = left[self.link.send(left) :]

    def hang_up(self) -> None:
        """Let the link end, as the death of the supervising process does."""
        if self.link is not None:
            self.link.close()
            self.link = None

    def wait_for_exit(self, timeout: float = 60.0) -> int:
        """Wait until the runner has exited, answering it meanwhile; return its exit status."""
        assert self.runner is not None
        runner = self.runner
        self.until(lambda: runner.poll() is not None, timeout)
        return runner.wait()

    def kill_runner(self) -> None:
        """Kill the runner without a warning, and only it."""
        assert self.runner is not None
        self.runner.kill()
        self.runner.wait()
        self.hang_up()

    def close(self) -> None:
        """End everything, whatever state it is in."""
        self.hang_up()
        if self.runner is not None:
            try:
                self.runner.wait(60.0)
            except subprocess.TimeoutExpired:
                self.runner.kill()
                self.runner.wait()
                linux.kill_until_gone(self.marked, 30.0)
                raise

    # --- the journal ----------------------------------------------------------------------------------------

    def journal(self, *events: Event) -> tuple[str, ...]:
        """Journal facts and deliver them; return what was not admitted."""
        return self._journal([encode_event(event) for event in events], None)

    def _journal(self, facts: Iterable[object], ticket: int | None) -> tuple[str, ...]:
        seq = self.ledger.state.seq + 1
        judged = self.ledger.admit(facts, seq, monotonic(), monotonic())  # type: ignore[arg-type]
        records = [
            Record(seq + place, SESSION, 0.0, monotonic(), fact.kind, fact.body)
            for place, (fact, _) in enumerate(judged.admitted)
        ]
        self.records += zip(records, (event for _, event in judged.admitted), strict=True)
        if self.link is not None:
            tickets = () if ticket is None else (ticket,)
            self.send(Deliver(tuple(records), tickets, judged.refusals))
        return judged.refusals

    def grant(
        self,
        task: str,
        *steps: Step,
        number: int = 1,
        slot: int = 0,
        timeout: float | None = None,
        env: tuple[tuple[str, str], ...] = (),
    ) -> str:
        """Grant an attempt; return its id."""
        attempt = f"{task}.{number}"
        assert self.journal(AttemptGranted(attempt, task, number, slot, steps, env, timeout)) == ()
        return attempt

    def facts(self, kind: type[T]) -> list[T]:
        """Return the journaled facts of a kind."""
        return [event for _, event in self.records if isinstance(event, kind)]

    def ended(self, attempt: str, timeout: float = 60.0) -> AttemptEnded:
        """Wait until the attempt has ended."""
        return self.until(
            lambda: next((event for event in self.facts(AttemptEnded) if event.attempt == attempt), None),
            timeout,
        )

    def started(self, attempt: str) -> AttemptStarted:
        """Wait until the attempt has started."""
        return self.until(
            lambda: next((event for event in self.facts(AttemptStarted) if event.attempt == attempt), None)
        )

    def run(self, *steps: Step, timeout: float | None = None) -> AttemptEnded:
        """Grant the only task and wait for its end."""
        return self.ended(self.grant("t", *steps, timeout=timeout))

    def log(self, attempt: str = "t.1") -> bytes:
        """Read an attempt's log."""
        return (self.logs / "tasks" / f"{attempt}.log").read_bytes()

    # --- waiting --------------------------------------------------------------------------------------------

    def until(self, predicate: Callable[[], T | None], timeout: float = 60.0) -> T:
        """Play the hub until the predicate is true; return what it returned."""

        def pumped() -> T | None:
            self.pump()
            return predicate()

        try:
            value = wait_until(pumped, timeout)
        except AssertionError as error:
            error.add_note(f"journaled last: {[event for _, event in self.records[-5:]]!r}")
            error.add_note(f"frames of late: {self.frames[-5:]!r}")
            raise
        assert value is not None
        return value

    def pump(self, patience: float = 0.02) -> None:
        """Take what the runner sent and answer it."""
        if self.link is None or not select.select([self.link], [], [], patience)[0]:
            return
        try:
            data = self.link.recv(1 << 20)
        except ConnectionResetError:
            data = b""
        if not data:
            self.hang_up()
            return
        for frame in self._reader.feed(data):
            self.frames.append(frame)
            match frame:
                case Hello():
                    state = self.ledger.state
                    self.send(Welcome(SESSION, encode_state(state), state.seq, ()))
                case Propose(ticket=ticket, facts=facts):
                    self.refusals += self._journal(facts, ticket)
                case Ready() | Beat():
                    pass
                case _:
                    raise AssertionError(frame)

    def beats(self) -> int:
        """Count the signs of life since the runner started."""
        return sum(isinstance(frame, Beat) for frame in self.frames)

    # --- looking --------------------------------------------------------------------------------------------

    def marked(self) -> tuple[int, ...]:
        """Name the processes that carry the session's mark."""
        return linux.find_marked(SESSION_MARK, SESSION)

    def standing_here(self) -> list[int]:
        """Name the processes whose working folder is the project: what tasks leave, even without a mark."""
        found = []
        for pid in linux.all_pids():
            try:
                folder = Path("/proc", str(pid), "cwd").readlink()
            except OSError:
                continue
            if folder == self.project and linux.is_alive(pid):
                found.append(pid)
        return found

    def pid_in(self, name: str) -> int:
        """Wait until a task has written a pid into a file of the project; return it."""
        path = self.project / name
        return int(self.until(lambda: path.read_text(encoding="ascii").strip() if path.exists() else None))

    def signal_runner(self, number: signal.Signals) -> None:
        """Send a signal to the runner."""
        assert self.runner is not None
        self.runner.send_signal(number)
