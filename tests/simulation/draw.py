"""Random histories: the same seed gives the same one.

Owns the odds. Trouble comes in bursts, so that requests, deaths and restarts meet; between them lie hours in which
nothing happens, because that is where deadlines and budgets go wrong.
"""

from random import Random
from typing import Any, Final

import attrs

from supervisor.spec import AutoShutdown, Restart, Strategy
from tests.simulation.history import TOP, Data, Family, History, Life, Request, Start

NAMES: Final = "abcdef"
STARTS: Final[tuple[Start, ...]] = ("fail", "fail", "ignore", "hang", "no spawn")
ENDINGS: Final = ("crash", "crash", "signal", "normal", "shutdown", "word")
TERMS: Final = ("obey", "obey", "normal", "fail", "ignore")
LISTED: Final = (Strategy.ONE_FOR_ONE, Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE)


class Draw:
    """One history in the making."""

    def __init__(self, seed: int) -> None:
        """Draw when there is trouble."""
        self._random = Random(seed)
        self._seed = seed
        self._hours = self._random.choice([2.0, 10.0, 40.0])
        self._bursts = sorted(self._random.uniform(0.0, self._hours * 3600.0) for _ in range(3))
        self._families: dict[str, Family] = {}

    def history(self) -> History:
        """Draw it."""
        random = self._random
        family = self._family(TOP, depth=random.choice([1, 2, 2, 3]))
        scripts: dict[str, list[Life]] = {}
        for path, below in self._families.items():
            for spec in below.specs:
                scripts[f"{path}/{spec['id']}"] = self._script()
            for number in range(1, 5) if below.flags["strategy"] is Strategy.SIMPLE_ONE_FOR_ONE else ():
                scripts[f"{path}/{below.specs[0]['id']}#{number}"] = self._script()
        requests = [self._request() for _ in range(random.choice([0, 6, 14, 30]))]
        requests.sort(key=lambda request: request.at)
        return History(seed=self._seed, hours=self._hours, family=family, scripts=scripts, requests=requests)

    # --- supervisors -------------------------------------------------------------------------------

    def _family(self, path: str, depth: int) -> Family:
        random = self._random
        simple = random.random() < 0.15 and path != TOP
        flags = self._flags(simple=simple)
        count = 1 if simple else random.randint(1, 4)
        specs: list[Data] = []
        below: dict[str, Family] = {}
        for name in NAMES[:count]:
            nested = depth > 1 and not simple and random.random() < 0.45
            specs.append(self._spec(name, flags, nested=nested))
            if nested:
                below[name] = self._family(f"{path}/{name}", depth - 1)
        family = self._families[path] = Family(flags=flags, specs=specs, below=below)
        return family

    def _flags(self, *, simple: bool) -> Data:
        random = self._random
        mode = random.choice([AutoShutdown.NEVER, AutoShutdown.NEVER, *AutoShutdown])
        return {
            "strategy": Strategy.SIMPLE_ONE_FOR_ONE if simple else random.choice(LISTED),
            "intensity": random.choice([0, 1, 2, 3, 5, 10, 30]),
            "period": random.choice([1.0, 5.0, 60.0, 3600.0]),
            "auto_shutdown": AutoShutdown.NEVER if simple else mode,
            "strict": random.random() < 0.25,
        }

    def _spec(self, name: str, flags: Data, *, nested: bool) -> Data:
        random = self._random
        restart = random.choice([*Restart, Restart.PERMANENT, Restart.PERMANENT])
        heard = restart is not Restart.PERMANENT and flags["auto_shutdown"] is not AutoShutdown.NEVER
        significant = heard and random.random() < 0.5
        spec: Data = {"id": name, "target": "simulated", "restart": restart, "significant": significant}
        if nested:
            stop = random.choice(["infinity", "infinity", "brutal_kill", 30.0])
            return {**spec, "type": "supervisor", "shutdown": stop}
        return {
            **spec,
            "shutdown": random.choice([0, 1.0, 5.0, 5.0, "brutal_kill", "infinity"]),
            "start_timeout": random.choice([None, 3.0, 30.0]),
            "heartbeat_timeout": random.choice([None, None, None, 1200.0, 7200.0]),
            "backoff": random.choice([None, {"initial": 0.5, "maximum": 8.0, "healthy_after": 60.0}]),
            "quarantine": not significant and random.random() < 0.2,
        }

    # --- children ----------------------------------------------------------------------------------

    def _script(self) -> list[Life]:
        random = self._random
        if random.random() < 0.3:  # a storm: it crashes at a bad time, and then again and again
            crash = Life(end="crash", end_after=random.choice([0.0, 0.0, 0.3]))
            return [attrs.evolve(crash, end_after=random.choice(self._bursts)), *[crash] * random.randint(1, 12)]
        return [self._life(first=number == 0) for number in range(random.choice([0, 1, 2, 4, 12, 40]))]

    def _life(self, *, first: bool) -> Life:
        random = self._random
        start: Start = random.choice(STARTS) if random.random() < (0.03 if first else 0.25) else "ready"
        soon = random.choice([0.0, 0.001, 0.4, 1.0, 4.0, 20.0, 600.0])
        end_after = random.choice([*self._bursts, *self._bursts, soon, random.uniform(0.0, 9000.0)]) if first else soon
        return Life(
            start=start,
            start_after=random.choice([0.0, 0.0, 0.01, 0.7, 2.0]),
            end=random.choice(ENDINGS) if random.random() < 0.8 else "",
            end_after=end_after,
            term=random.choice(TERMS),
            term_after=random.choice([0.0, 0.0, 0.1, 0.9, 2.0]),
            told_after=random.choice([0.0, 0.0, 0.0, 0.05, 1.5]),
            silent_after=random.choice(self._bursts) if random.random() < 0.1 else None,
            over_after=random.choice([*self._bursts, soon]) if random.random() < 0.1 else None,
            over_hard=random.random() < 0.5,
        )

    # --- operators ---------------------------------------------------------------------------------

    def _request(self) -> Request:
        random = self._random
        at = random.choice(self._bursts) + random.choice([0.0, 0.0, 0.001, 0.4, 1.0, 1.5, 4.0, random.uniform(0, 30)])
        where = random.choice(list(self._families))
        family = self._families[where]
        simple = family.flags["strategy"] is Strategy.SIMPLE_ONE_FOR_ONE
        odd = random.random()
        kinds = ["terminate", "terminate", "restart", "restart", "delete", "change", "instance" if simple else "start"]
        do = random.choice(kinds) if odd > 0.1 else random.choice(["stall", "stall", "instance", "start", "stop"])
        names = ["a#1", "a#2", "a#3"] if simple and odd > 0.2 else [*NAMES[: len(family.specs) + 1]]
        child = random.choice(names)
        request: dict[str, Any] = {"at": at, "do": do, "where": where}
        match do:
            case "start":
                return Request(**request, spec=self._spec(child.replace("#", "x"), family.flags, nested=False))
            case "change":
                flags, specs = self._changed(family)
                return Request(**request, flags=flags, specs=specs)
            case "stall":
                return Request(**request, seconds=random.choice([0.3, 2.0, 40.0, 900.0]))
            case _:
                return Request(**request, child=child)

    def _changed(self, family: Family) -> tuple[Data, list[Data]]:
        random = self._random
        flags = self._flags(simple=family.flags["strategy"] is Strategy.SIMPLE_ONE_FOR_ONE)
        specs = []
        for spec in family.specs:
            nested = spec["id"] in family.below
            changed = self._spec(spec["id"], flags, nested=nested) if random.random() < 0.5 else dict(spec)
            changed["significant"] = changed["significant"] and flags["auto_shutdown"] is not AutoShutdown.NEVER
            specs.append(changed)
        if len(specs) > 1 and random.random() < 0.3:
            specs.pop(random.randrange(len(specs)))
        return flags, specs


def draw(seed: int) -> History:
    """Draw the history of a seed."""
    return Draw(seed).history()
