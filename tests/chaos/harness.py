"""Chaos: rounds of generated milestones under faults, then calm until everything has ended, then judgement.

    python -m tests.chaos.harness --seed 7 --rounds 40

Owns the order of things. Each round: milestones are written and supervised, the schedule's faults are done to them,
faults stop, whatever is unfinished is resumed until it ends. After the last round what was recorded is written down and
judged by the checker, which takes no part in the run.
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import attrs
from msgspec.structs import replace

from actors.events import SessionStatus
from tests.chaos import evidence
from tests.chaos.arena import Arena
from tests.chaos.checker import check
from tests.chaos.draw import ROLES, Odds, Round, containment_of, draw_round
from tests.chaos.history import Bounds, History, write_history
from tests.chaos.nemesis import Nemesis, pause
from tests.chaos.processes import now
from tests.chaos.programs import OUTPUT_LIMIT, SECRET, changes, configuration, milestone_text
from tests.chaos.story import Session, sessions_of
from tests.chaos.surroundings import check_secrets
from tests.chaos.violation import Violation
from tests.repositories import git
from tests.waiting import wait_until

CALM_SECONDS: Final = 180.0
"""As :attr:`Plan.calm`."""

LOG_SLACK: Final = 64 << 20
"""Bytes that a task may print beyond its limit before it is found: it is looked at now and then."""

OVER: Final = frozenset({SessionStatus.COMPLETED, SessionStatus.FAILED, SessionStatus.CANCELLED})
"""How a session may end for good; one that is blocked, by a full disk for instance, is begun again."""


def bounds_of(slack: float) -> Bounds:
    """Return what a run is held against on a machine that is so many times slower than an idle one."""
    promised = Bounds(log=OUTPUT_LIMIT + LOG_SLACK)
    return replace(promised, ready=promised.ready * slack, stop=promised.stop * slack)


@attrs.frozen
class Plan:
    """What a run of chaos does.

    Attributes:
        seed: Of everything.
        rounds: How many.
        odds: Of what is drawn.
        bounds: What the checker holds it against.
        spare: Whether the daemon is spared in the first half of the rounds, to see what it uses in a long life.
        containment: Of the tasks; ``""`` draws it.
        patched: Folder with a copy of the packages to run instead of these.
        calm: Seconds that everything may take to end once faults have stopped, before it is judged as it is.
    """

    seed: int
    rounds: int
    odds: Odds = Odds()
    bounds: Bounds = attrs.Factory(lambda: bounds_of(1.0))
    spare: bool = True
    containment: str = ""
    patched: Path | None = None
    calm: float = CALM_SECONDS


@attrs.frozen
class Result:
    """What a run came to."""

    history: History
    violations: tuple[Violation, ...]
    killed: int
    missed: dict[str, int]
    tasks: int
    containment: str
    seconds: float

    @property
    def figures(self) -> str:
        """The run in one line."""
        kinds = Counter(fault.kind for fault in self.history.faults)
        done = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
        return (
            f"{self.killed} processes killed; {len(self.history.faults)} faults ({done}); {self.tasks} tasks, "
            f"{len(self.history.commits)} commits, {len(self.history.records)} events, "
            f"{len(self.history.lives)} lives, {len(self.history.looks)} looks, "
            f"{len(self.history.seen)} events followed; {self.containment}; "
            f"{self.seconds:.0f} s"
        )


class Chaos:
    """One run.

    Args:
        plan: What to do.
        arena: Where; prepared, and left without any process of it.
        small: Whether its project stands on a file system that may be filled.
        tell: Is given a line for each thing that is done.
    """

    def __init__(self, plan: Plan, arena: Arena, *, small: bool, tell: Callable[[str], object] | None = None) -> None:
        self._plan = plan
        self._arena = arena
        self._containment = plan.containment or containment_of(plan.seed)
        self._nemesis = Nemesis(arena, self._containment, small)
        self._follower = evidence.Follower(arena)
        self._tell = tell or (lambda _: None)
        self._changing: list[str] = []
        self._stuck: dict[str, str] = {}

    def run(self) -> Result:
        """Do it all, and judge it."""
        began = now()
        arena = self._arena
        before = evidence.users_things(arena.project)
        offset = time.time() - time.monotonic()  # noqa: TID251 - compared with what records say
        base = git(arena.project, "rev-parse", "main")
        self._follower.begin()
        try:
            for number in range(1, self._plan.rounds + 1):
                spared = self._plan.spare and number <= self._plan.rounds // 2
                self._round(draw_round(self._plan.seed, number, attrs.evolve(self._plan.odds, spared=spared)))
            arena.stop()
            pause(max(0.0, min(arena.last_kill + self._plan.bounds.orphan - now() + 0.1, 30.0)))
            arena.look()
            self._tidy()
        finally:
            arena.end()
            self._follower.end()
        history = self._collect(before, offset, base)
        roots, theirs = evidence.places_of_ours(arena)
        violations = (*check(history), *check_secrets({SECRET: arena.secret}, roots, theirs))
        tasks = evidence.tasks_with_marks(history.marks)
        missed = self._nemesis.missed
        return Result(history, violations, arena.killed, missed, tasks, self._containment, now() - began)

    def _tidy(self) -> None:
        """Do what any next start would do about what cut-off sessions have left; the journal is whole, and stays."""
        arena = self._arena
        words = arena.command("recover")
        done = subprocess.run(
            words, cwd=arena.project, env=arena.environment(), capture_output=True, timeout=90, check=False
        )
        self._tell(f"recover: {done.returncode} {done.stdout.decode(errors='replace')}")

    # --- a round -------------------------------------------------------------------------------------------------

    def _round(self, chosen: Round) -> None:
        arena = self._arena
        config = arena.milestones / "config" / "milestoned.yaml"
        config.parent.mkdir(parents=True, exist_ok=True)
        config.write_text(configuration(self._containment, chosen.parallel), encoding="utf-8")
        for name, tasks in chosen.milestones.items():
            text = milestone_text(name, tasks, str(arena.marks))
            path = arena.milestones / "active" / f"{name}.yaml"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            self._nemesis.typed[name] = text
            self._changing += [f"{name}/{work.id}" for work in tasks if changes(work)]
        self._supervise(chosen)
        if chosen.daemon:
            for name in chosen.milestones:
                arena.ask("start", names=[name], wait=False)
        for trouble in chosen.troubles:
            if self._over(chosen):
                break
            self._moment(trouble.events, trouble.patience)
            self._supervise(chosen)
            self._wake(chosen)
            done = self._nemesis.do(trouble, chosen)
            self._tell(f"round {chosen.number}: {trouble.kind} {' '.join(trouble.who)} {trouble.verb}: {done}")
        self._nemesis.heal()
        self._calm(chosen)
        self._settle(chosen)

    def _supervise(self, chosen: Round) -> None:
        """See to it that there is a supervising process of the right kind, unless all has ended."""
        arena = self._arena
        kind = "daemon" if chosen.daemon else "run"
        if arena.supervisor and arena.lives[-1].kind != kind:
            arena.stop()
        if arena.supervisor or self._over(chosen):
            return
        arena.start(kind, *(() if chosen.daemon else (*chosen.milestones, "-j", str(chosen.parallel))))
        arena.last_kill = min(arena.last_kill, now())
        self._tell(f"round {chosen.number}: {arena.lives[-1]}")

    def _moment(self, events: int, patience: float) -> None:
        until, seq = now() + patience, self._arena.last_seq() + events
        wait_until(lambda: now() >= until or self._arena.last_seq() >= seq, 60.0, "a moment of the schedule")

    def _sessions(self, chosen: Round) -> dict[str, Session]:
        """Return the latest session of each milestone of the round, by the milestone."""
        found = sessions_of(self._arena.records()).values()
        return {one.milestone.id: one for one in found if one.milestone.id in chosen.milestones}

    def _over(self, chosen: Round) -> bool:
        sessions = self._sessions(chosen)
        return all(name in sessions and sessions[name].status in OVER for name in chosen.milestones)

    def _wake(self, chosen: Round) -> None:
        """See to it that there is something to do harm to: an operator starts again what had to give up."""
        if chosen.daemon and not self._arena.live_sessions():
            for name, session in self._sessions(chosen).items():
                if session.status not in OVER:
                    self._arena.ask("start", names=[name])

    def _calm(self, chosen: Round) -> None:
        """Resume whatever is unfinished until it ends."""
        until = now() + self._plan.calm
        while not self._over(chosen) and now() < until:
            self._supervise(chosen)
            sessions = self._sessions(chosen)
            live = {str(one["milestone_id"]): one for one in self._arena.live_sessions()}
            for name in chosen.milestones:
                if name not in sessions or sessions[name].status not in OVER:
                    self._urge(name, live.get(name), daemon=chosen.daemon)
            seq = self._arena.last_seq()
            deadline = now() + 1.0
            wait_until(
                lambda seq=seq, deadline=deadline: self._arena.last_seq() > seq or now() > deadline,  # type: ignore[misc]
                60.0,
                "something happens, or a second passes",
            )
        self._tell(f"round {chosen.number}: calm, {'over' if self._over(chosen) else 'NOT OVER'}")

    def _urge(self, name: str, live: dict[str, Any] | None, *, daemon: bool) -> None:
        """Do what an operator does with a session that does not go on."""
        if live is None:
            if daemon:
                ok, result = self._arena.ask("start", names=[name], wait=False)
                self._tell(f"start {name}: {ok} {result}")
            return
        session = str(live["id"])
        if live["status"] == "paused":
            self._arena.ask("resume", names=[session])
        # A role that an operator has stopped in a former life is not even in the report.
        if sum(role["state"] in {"STARTING", "RUNNING"} for role in live["roles"]) <= len(ROLES):
            self._arena.ask("start", names=[f"{session}:*"], wait=False)

    def _settle(self, chosen: Round) -> None:
        """Wait until nothing of the round lives, and see what is left."""
        arena = self._arena
        if chosen.daemon:
            with contextlib.suppress(AssertionError):
                wait_until(lambda: not arena.supervisor or not arena.live_sessions(), 60.0, "no session lives")
                arena.measure()
        elif not arena.wait_for_end(60.0):
            arena.stop()
        if chosen.number % 4 == 0:
            pause(max(0.0, min(arena.last_kill + self._plan.bounds.orphan - now() + 0.1, 30.0)))
        arena.look()
        for name, session in self._sessions(chosen).items():
            if session.failed:
                shown = subprocess.run(
                    arena.command("status", name),
                    cwd=arena.project,
                    env=arena.environment(),
                    capture_output=True,
                    timeout=90,
                    check=False,
                )
                self._stuck[session.id] = shown.stdout.decode(errors="replace")

    # --- the end -------------------------------------------------------------------------------------------------

    def _collect(self, before: dict[str, str], offset: float, base: str) -> History:
        arena, nemesis = self._arena, self._nemesis
        records, error = evidence.journal_of(arena)
        after = evidence.users_things(arena.project)
        after.update({f"a lock that a person held: {path}": "removed" for path in nemesis.lost})
        final = {}
        for name in nemesis.typed:
            path = arena.file(name)
            final[name] = path.read_text(encoding="utf-8") if path.exists() else ""
        faults = evidence.jumps_seen(arena.faults, records, offset)
        missed = Counter(fault.kind for fault in arena.faults) - Counter(fault.kind for fault in faults)
        nemesis.missed.update({kind: nemesis.missed.get(kind, 0) + count for kind, count in missed.items()})
        return History(
            seed=self._plan.seed,
            bounds=self._plan.bounds,
            records=records,
            journal_error=error,
            commits=evidence.commits_of(arena.project, base),
            marks=evidence.marks_of(arena.marks),
            seen=tuple(self._follower.seen),
            asked=tuple(arena.asked),
            faults=tuple(faults),
            looks=tuple(arena.looks),
            rivals=tuple(arena.rivals),
            lives=tuple(arena.lives),
            uses=tuple(arena.uses),
            before=before,
            after=after,
            typed=nemesis.typed,
            final=final,
            kept=evidence.kept_on_disk(arena),
            changing=tuple(self._changing),
            stuck=self._stuck,
        )


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """Mount a small file system at a folder where that can be done; yields whether it was."""
    words = ["mount", "-t", "tmpfs", "-o", "size=256m,mode=0700", "milestoned-chaos", str(folder)]
    mounted = subprocess.run(words, capture_output=True, check=False).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


def run_in(folder: Path, plan: Plan, *, small: bool, tell: Callable[[str], object] | None = None) -> Result:
    """Run chaos in a folder and write its history there, as ``history.json``."""
    arena = Arena(folder, plan.patched)
    (folder / "d").mkdir(parents=True, exist_ok=True)
    with small_disk(folder / "d") if small else contextlib.nullcontext(False) as mounted:  # noqa: FBT003
        arena.prepare()
        result = Chaos(plan, arena, small=bool(mounted), tell=tell).run()
        write_history(result.history, folder / "history.json")
        if result.violations and mounted:
            subprocess.run(["cp", "-a", str(arena.project), str(folder / "kept")], check=False)
    return result


def replay(plan: Plan) -> str:
    """Return the command line that does the same schedule again."""
    containment = f" --containment {plan.containment}" if plan.containment else ""
    return f"python -m tests.chaos.harness --seed {plan.seed} --rounds {plan.rounds}{containment}"


def main(arguments: list[str]) -> int:
    """Run chaos: 0 when every promise was kept, 1 when one was not."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.harness", description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--containment", choices=["", "auto", "sweep"], default="", help="default: drawn from the seed")
    parser.add_argument("--keep", type=Path, default=None, help="directory for the history (default: a temporary one)")
    parser.add_argument("--patched", type=Path, default=None, help="folder with packages to run instead of these")
    parser.add_argument("--verbose", action="store_true", help="a line for each thing that is done")
    parser.add_argument("--slack", type=float, default=1.0, help="times that a busy machine may take for L1 and L3")
    given = parser.parse_args(arguments)
    bounds = bounds_of(given.slack)
    plan = Plan(given.seed, given.rounds, bounds=bounds, containment=given.containment, patched=given.patched)
    folder = Path(tempfile.mkdtemp(prefix="chaos-", dir=given.keep))
    # Who ends this early leaves nothing behind, no process and no mounted disk.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    result = run_in(
        folder, plan, small=True, tell=(lambda line: sys.stdout.write(f"{line}\n")) if given.verbose else None
    )
    say = sys.stdout.write
    for violation in result.violations:
        say(f"{violation}\n")
    say(f"seed {plan.seed}, {plan.rounds} rounds: {result.figures}\n")
    say(f"missed: {result.missed}\n")
    say(f"{len(result.violations)} violations; history: {folder / 'history.json'}\n")
    if result.violations:
        say(f"again: {replay(plan)}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
