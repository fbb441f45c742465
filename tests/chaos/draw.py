"""What is done in a run of chaos: the same seed gives the same milestones and the same faults in the same order.

Owns the odds. Refuses to know how anything is done. The moments are those of a schedule; what the processes are at just
then is theirs, so a seed repeats a schedule and not a history: the history is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Final

import attrs

ROLES: Final = (
    "task_executor",
    "progress_monitor",
    "git_integration",
    "dependency_validator",
    "blocker_detector",
)

KINDS: Final = {
    "plain": 6,
    "shared": 4,
    "long": 3,
    "flaky": 3,
    "failing": 1,
    "daemonising": 2,
    "deaf": 1,
    "loud": 1,
    "endless": 0.5,
    "odd": 2,
    "unchanged": 2,
    "telling": 1,
}
"""What tasks do, and how often; the programs are in :mod:`tests.chaos.programs`."""

FAULTS: Final = {
    "kill role": 8,
    "kill runner": 2,
    "kill fork server": 2,
    "kill supervisor": 3,
    "kill several": 3,
    "kill everything": 2,
    "kill git": 2,
    "kill task": 1,
    "stop role": 2,
    "stop supervisor": 1,
    "disk": 1,
    "clock": 2,
    "edit": 2,
    "ref lock": 1,
    "index lock": 1,
    "slow client": 1,
    "hostile client": 2,
    "rival": 1,
    "verb": 7,
}
"""What is done to it, and how often."""

VERBS: Final = {
    "pause": 2,
    "resume": 2,
    "retry": 3,
    "skip": 1,
    "stop": 1,
    "restart": 1,
    "restart role": 3,
    "stop role": 1,
    "start role": 1,
    "update": 2,
    "reload": 1,
    "status": 1,
}
"""What operators ask for, and how often."""


@attrs.frozen
class Work:
    """A task: id, what it needs, what it does, and how often it is repeated."""

    id: str
    needs: tuple[str, ...]
    kind: str
    retries: int


@attrs.frozen
class Trouble:
    """Something that is done.

    Attributes:
        kind: One of :data:`FAULTS`.
        events: After how many more events of the journal...
        patience: ...or after how many seconds at the latest.
        who: Victims, where the kind does not say: role ids, ``runner``, ``fork_server``, ``supervisor``.
        verb: One of :data:`VERBS`.
        pick: A number that chooses: which task, which session.
        seconds: How long it lasts, or how far the clock jumps.
    """

    kind: str
    events: int
    patience: float
    who: tuple[str, ...] = ()
    verb: str = ""
    pick: int = 0
    seconds: float = 0.0


@attrs.frozen
class Round:
    """One round: milestones, who supervises them, and the trouble.

    Attributes:
        number: From 1.
        daemon: Whether a daemon supervises, else ``milestonectl run``.
        milestones: Id -> tasks.
        parallel: How many at once.
        troubles: In order.
    """

    number: int
    daemon: bool
    milestones: dict[str, tuple[Work, ...]]
    parallel: int
    troubles: tuple[Trouble, ...]


def _choose(random: Random, odds: Mapping[str, float]) -> str:
    return random.choices(list(odds), list(odds.values()))[0]


def _tasks(random: Random, kinds: Mapping[str, float]) -> tuple[Work, ...]:
    made: list[Work] = []
    for number in range(random.randint(4, 8)):
        wanted = min(len(made), random.choice([0, 1, 1, 2]))
        needs = tuple(sorted(random.sample([one.id for one in made], wanted)))
        # Most of it has to go well, or there is little to see: what needs a failed task never runs.
        kind = _choose(random, kinds)
        retries = {"flaky": 2, "failing": 1}.get(kind, random.choice([0, 1]))
        made.append(Work(f"t{number}", needs, kind, retries))
    return tuple(made)


def _trouble(random: Random, kind: str) -> Trouble:
    several = (*ROLES, "runner", "fork_server", "supervisor")
    who: tuple[str, ...] = ()
    match kind:
        case "kill role" | "stop role":
            who = (random.choice(ROLES),)
        case "kill runner":
            who = ("runner",)
        case "kill fork server":
            who = ("fork_server",)
        case "kill supervisor" | "stop supervisor":
            who = ("supervisor",)
        case "kill several":
            who = tuple(random.sample(several, random.randint(2, 4)))
        case "kill everything":
            who = several
        case _:
            pass
    seconds = {
        "clock": random.choice([-3600.0, -30.0, 45.0, 86400.0]),
        "disk": random.uniform(0.5, 2.0),
        "stop role": random.choice([0.3, 1.0, 7.0]),
        "stop supervisor": random.uniform(0.3, 2.0),
    }.get(kind, random.uniform(0.1, 1.0))
    return Trouble(
        kind=kind,
        events=random.choice([0, 1, 1, 2, 3, 5, 8]),
        patience=random.choice([0.2, 0.5, 1.0]),
        who=who,
        verb=_choose(random, VERBS) if kind == "verb" else "",
        pick=random.randrange(1 << 16),
        seconds=seconds,
    )


@attrs.frozen
class Odds:
    """How often what is drawn.

    Attributes:
        faults: What is done.
        kinds: What tasks do.
        troubles: How much is done in a round; 0 draws that too.
        spared: Whether a daemon supervises that is not killed, so that what it uses can be seen over many rounds.
    """

    faults: Mapping[str, float] = attrs.Factory(lambda: FAULTS)
    kinds: Mapping[str, float] = attrs.Factory(lambda: KINDS)
    troubles: int = 0
    spared: bool = False


def draw_round(seed: int, number: int, odds: Odds) -> Round:
    """Draw one round.

    Args:
        seed: Of the whole run.
        number: Which round, from 1.
        odds: How often what is drawn.
    """
    random = Random(f"{seed}/{number}")
    daemon = random.random() < 0.65 or odds.spared
    count = random.choice([1, 2, 2, 3]) if daemon else 1
    milestones = {f"c{number}-{letter}": _tasks(random, odds.kinds) for letter in "xyz"[:count]}
    parallel = random.choice([1, 2, 3, 4])
    wanted = odds.troubles or random.randint(6, 12) + 3 * count
    drawn = (_trouble(random, _choose(random, odds.faults)) for _ in range(wanted))
    return Round(number, daemon, milestones, parallel, tuple(_spare(one) if odds.spared else one for one in drawn))


def _spare(trouble: Trouble) -> Trouble:
    who = tuple(one for one in trouble.who if one != "supervisor") or ("runner",)
    return (
        attrs.evolve(trouble, who=who) if "supervisor" in trouble.who and trouble.kind.startswith("kill") else trouble
    )


def containment_of(seed: int) -> str:
    """Return the containment of a run: the strongest that there is, or the weakest."""
    return Random(f"{seed}/containment").choice(["auto", "sweep"])
