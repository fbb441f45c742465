"""Doing what the schedule says, to a project that is alive, and making sure that it really happened.

Owns the faults. Each returns a :class:`Fault` only when it took effect: when the process that was killed had lived
until then, when the disk really had no space, when the client really was connected. What found no victim is not
counted.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

import attrs

from tests.chaos.arena import Arena
from tests.chaos.draw import ROLES, Round, Trouble
from tests.chaos.history import KILLED_BY_US, Asked, Fault, Rival
from tests.chaos.processes import kill, now, programs_of, stopped, victims
from tests.waiting import wait_until

_ALL: Final = frozenset({"supervisor", "fork_server", "runner"})
"""Who has to die at once for nobody to be left who ends the tasks (where only the sweep holds them)."""

RIVAL_SECONDS: Final = 30.0
"""After which a second supervising process counts as let in."""

_LENGTH: Final = struct.Struct(">I")

_HOSTILE: Final = (
    b"",
    b"\x00",
    _LENGTH.pack(0),
    _LENGTH.pack(0xFFFFFFFF) + b"x",
    _LENGTH.pack(10) + b"half",
    _LENGTH.pack(4) + b"\xff\xfe\x00\x01",
    _LENGTH.pack(200_000) + b"[" * 200_000,
    _LENGTH.pack(2) + b"{}",
    b"GET / HTTP/1.1\r\n\r\n",
    *(
        _LENGTH.pack(len(text)) + text
        for text in (
            b'{"protocol":1,"id":1,"verb":"__class__","args":{}}',
            b'{"protocol":1,"id":1,"verb":"pause.__init__","args":{}}',
            b'{"protocol":1,"id":1,"verb":"stop","args":{"names":[1,null,{"a":[]}]}}',
            b'{"protocol":9,"id":1,"verb":"shutdown","args":{}}',
            b'{"protocol":1,"id":NaN,"verb":"status"}',
            b'{"protocol":1,"id":1,"verb":"retry","args":{"tasks":["../../etc/passwd","\\ud800"],"session":"\\u0000"}}',
        )
    ),
)


def pause(seconds: float) -> None:
    """Let time pass: what is waited for is a moment of the schedule."""
    until = now() + seconds
    wait_until(lambda: now() >= until, seconds + 60.0, "a moment of the schedule")


@attrs.define
class Nemesis:
    """Does harm to an arena.

    Attributes:
        arena: To which.
        containment: What holds its tasks, as it was configured.
        small: Whether the project's file system is one of its own, which may be filled.
        typed: Milestone files as somebody has saved them, statuses aside.
        missed: Faults that found no victim, by kind.
        lost: What a person had put somewhere and somebody took away.
    """

    arena: Arena
    containment: str
    small: bool = False
    typed: dict[str, str] = attrs.Factory(dict)
    missed: dict[str, int] = attrs.Factory(dict)
    lost: list[str] = attrs.Factory(list)
    _sockets: list[socket.socket] = attrs.Factory(list)
    _locks: list[tuple[Path, bool]] = attrs.Factory(list)
    _ballast: Path | None = None
    _notes: int = 0

    def do(self, trouble: Trouble, chosen: Round) -> Fault | None:
        """Do what a schedule says; ``None`` when it could not happen."""
        detail = self._act(trouble, chosen)
        if detail is None:
            self.missed[trouble.kind] = self.missed.get(trouble.kind, 0) + 1
            return None
        kind, who, what = detail
        at = self.arena.last_kill if kind == "kill" else now()
        fault = Fault(at, kind, who, what)
        self.arena.faults.append(fault)
        return fault

    def _act(self, trouble: Trouble, chosen: Round) -> tuple[str, tuple[str, ...], str] | None:
        match trouble.kind:
            case (
                "kill role"
                | "kill runner"
                | "kill fork server"
                | "kill supervisor"
                | "kill several"
                | "kill everything"
            ):
                return self._kill(trouble.who, trouble.patience)
            case "kill git":
                return self._kill_programs("git_integration", "git", trouble.patience)
            case "kill task":
                return self._kill_programs("runner", "task", trouble.patience)
            case "stop role" | "stop supervisor":
                return self._stop(trouble)
            case "disk":
                return self._fill(trouble.seconds)
            case "clock":
                return self._jump(trouble.seconds)
            case "edit":
                return self._edit(trouble, chosen)
            case "ref lock":
                name = _pick(list(chosen.milestones), trouble.pick)
                return self._lock(f".git/refs/heads/milestone/{name}.lock", ours=False)
            case "index lock":
                return self._lock(".git/index.lock", ours=True)
            case "slow client":
                return self._connect(_call("events", {"since": 0, "follow": True}), "reads nothing")
            case "hostile client":
                return self._connect(_pick(list(_HOSTILE), trouble.pick), "sends what it should not")
            case "rival":
                return self._rival(trouble, chosen)
            case _:
                return self._verb(trouble, chosen)

    # --- killing and stopping ------------------------------------------------------------------------------------

    def _kill(self, who: tuple[str, ...], patience: float) -> tuple[str, tuple[str, ...], str] | None:
        arena = self.arena
        until = now() + 2 * patience
        wait_until(lambda: all(victims(arena.supervisor, name) for name in who) or now() > until, 60.0)
        supervisor = arena.supervisor
        if not supervisor:
            return None
        chosen = {name: victims(supervisor, name) for name in who}
        if "supervisor" in who:
            arena.note(how=KILLED_BY_US)
        hit = kill([pid for pids in chosen.values() for pid in pids])
        names = tuple(name for name, pids in chosen.items() if set(pids) & set(hit))
        if "supervisor" in who:
            wait_until(lambda: not arena.supervisor, 60.0, "the supervising process was waited for")
        if not hit:
            return None
        arena.killed += len(hit)
        arena.last_kill = now()
        if set(names) >= _ALL and self.containment == "sweep":
            # Nobody is left to end the tasks: the next start does, before it answers.
            arena.last_kill = float("inf")
            return "kill all", names, f"{len(hit)} processes"
        return "kill", names, f"{len(hit)} processes"

    def _kill_programs(self, of: str, what: str, patience: float) -> tuple[str, tuple[str, ...], str] | None:
        until = now() + 2 * patience

        def found() -> list[int]:
            supervisor = self.arena.supervisor
            return programs_of(supervisor, of)[:1] if supervisor else []

        wait_until(lambda: found() or now() > until, 60.0)
        hit = kill(found())
        if not hit:
            return None
        self.arena.killed += len(hit)
        self.arena.last_kill = now()
        return "kill", (what,), f"{len(hit)} processes"

    def _stop(self, trouble: Trouble) -> tuple[str, tuple[str, ...], str] | None:
        supervisor = self.arena.supervisor
        pids = victims(supervisor, trouble.who[0])[:1] if supervisor else []
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
                wait_until(lambda pid=pid: stopped(pid) or not Path(f"/proc/{pid}").exists(), 60.0)  # type: ignore[misc]
                if stopped(pid):
                    pause(trouble.seconds)
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGCONT)
                    return "stop", trouble.who, f"{trouble.seconds:.1f} s"
        return None

    # --- disk and clock ------------------------------------------------------------------------------------------

    def _fill(self, seconds: float) -> tuple[str, tuple[str, ...], str] | None:
        if not self.small:
            return None
        self._ballast = self.arena.project.parent / "ballast"
        full = False
        with self._ballast.open("wb", buffering=0) as file:
            for size in (1 << 20, 1 << 12, 1):
                try:
                    while True:
                        file.write(b"x" * size)
                except OSError:
                    full = size == 1
        pause(seconds)
        self._ballast.unlink()
        return ("disk", (), f"no space for {seconds:.1f} s") if full else None

    def _jump(self, seconds: float) -> tuple[str, tuple[str, ...], str]:
        fresh = self.arena.clock.with_suffix(".new")
        fresh.write_text(str(seconds), encoding="ascii")
        fresh.replace(self.arena.clock)
        return "clock", (), f"{seconds:+.0f} at {time.monotonic():.3f}"

    # --- what people do ------------------------------------------------------------------------------------------

    def _edit(self, trouble: Trouble, chosen: Round) -> tuple[str, tuple[str, ...], str] | None:
        name = _pick(list(chosen.milestones), trouble.pick)
        path = self.arena.milestones / "active" / f"{name}.yaml"
        self._notes += 1
        try:
            text = path.read_text(encoding="utf-8")
            fresh = f"{text}# note {self._notes}: typed meanwhile\n"
            if trouble.pick % 3 == 0:
                fresh = re.sub(r"^title: .*$", f"title: 'Chaos, edited {self._notes}'", fresh, flags=re.MULTILINE)
            beside = path.with_name(f"{name}.yaml~")
            beside.write_text(fresh, encoding="utf-8")
            if path.read_text(encoding="utf-8") != text or not path.exists():
                beside.unlink()
                return None
            beside.replace(path)
        except OSError:
            return None
        self.typed[name] = fresh
        return "edit", (), f"{name}: note {self._notes}"

    def _lock(self, where: str, *, ours: bool) -> tuple[str, tuple[str, ...], str] | None:
        path = self.arena.project / where
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        except OSError:
            return None
        self._locks.append((path, ours))
        return "lock", (), where

    def _connect(self, data: bytes, what: str) -> tuple[str, tuple[str, ...], str] | None:
        path = self.arena.milestones / "run" / "control.sock"
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        client.settimeout(10.0)
        try:
            client.connect(str(path))
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                client.sendall(data)
        except OSError:
            client.close()
            return None
        self._sockets.append(client)
        return "client", (), f"{what}: {data[:60]!r}"

    def _rival(self, trouble: Trouble, chosen: Round) -> tuple[str, tuple[str, ...], str] | None:
        arena = self.arena
        holder = arena.supervisor
        if not holder:
            return None
        name = next(iter(chosen.milestones))
        daemon = [sys.executable, "-P", "-m", "supervisor.daemon", str(arena.project)]
        command = daemon if trouble.pick % 2 else arena.command("run", name)
        code, text = self._wait_for_rival(command)
        # Who went meanwhile holds nothing; and what is completed is so whoever supervises.
        if arena.supervisor != holder or "completed already" in text:
            return None
        arena.rivals.append(Rival(now(), holder, code, text[-2000:]))
        return "rival", (), command[-1]

    def _wait_for_rival(self, command: list[str]) -> tuple[int, str]:
        rival = subprocess.Popen(
            command,
            cwd=self.arena.project,
            env=self.arena.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        try:
            said, _ = rival.communicate(timeout=RIVAL_SECONDS)
        except subprocess.TimeoutExpired:  # it was let in
            rival.kill()
            said, _ = rival.communicate()
        return rival.returncode, said.decode(errors="replace")

    # --- verbs ---------------------------------------------------------------------------------------------------

    def _verb(self, trouble: Trouble, chosen: Round) -> tuple[str, tuple[str, ...], str] | None:
        live = self.arena.live_sessions()
        if not live:
            return None
        session = str(_pick(live, trouble.pick)["id"])
        milestone = str(_pick(live, trouble.pick)["milestone_id"])
        role = _pick(list(ROLES), trouble.pick)
        task = _pick(chosen.milestones.get(milestone, ()) or (None,), trouble.pick)
        task_id = "" if task is None else task.id
        verb = trouble.verb
        match verb:
            case "pause" | "resume":
                self.ask(verb, session, "", names=[session])
            case "retry" | "skip":
                self.ask(verb, session, task_id, tasks=[task_id], session=session)
            case "stop" | "restart":
                if verb == "stop" and not chosen.daemon:
                    self.arena.note(how="asked", asked=now())
                self.ask(verb, session, "", names=[session], wait=False)
            case "restart role" | "stop role" | "start role":
                self.ask(verb.split()[0], session, "", names=[f"{session}:{role}"], wait=False)
            case "update":
                self.ask(verb, session, "", session=session, apply=True)
            case _:
                self.ask(verb, session, "")
        return "verb", (), f"{verb} {session} {task_id}"

    def ask(self, verb: str, concerning: str, task: str, /, **args: object) -> None:
        """Send a verb and note what was answered."""
        at = now()
        ok, result = self.arena.ask(verb, **args)
        text = str(result)
        if ok and isinstance(result, list) and result:
            ok, text = result[0]["code"] == 0, result[0]["text"]
        self.arena.asked.append(Asked(at, verb, concerning, task, ok, text[:300]))

    # --- afterwards ----------------------------------------------------------------------------------------------

    def heal(self) -> None:
        """Stop all faults: nothing stands still, there is space, the clock is right, nobody holds a lock."""
        self._jump(0.0)
        for client in self._sockets:
            client.close()
        self._sockets.clear()
        for path, ours in self._locks:
            if path.exists():
                path.unlink()
            elif ours:
                self.lost.append(str(path))
        self._locks.clear()


def _pick(choices: Any, number: int) -> Any:  # noqa: ANN401 - an element of whatever sequence it is
    return choices[number % len(choices)]


def _call(verb: str, args: dict[str, object]) -> bytes:
    payload = json.dumps({"protocol": 1, "id": 1, "verb": verb, "args": args}).encode()
    return _LENGTH.pack(len(payload)) + payload
