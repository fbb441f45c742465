"""A storm of kills and stops over twenty children: all come back, each loss is counted once, and nothing is left."""

from pathlib import Path

import pytest

from tests.health.storm import rage_in

SEED = 20261122


@pytest.mark.row("P1", "P5", "P13", "F1", "F2")
def test_sixty_random_kills_and_stops_are_each_counted_once_and_leave_nothing(tmp_path: Path) -> None:
    """The seed is in the failure's report; `make storm KILLS=1000 SEED=...` is the same with more."""
    mistakes, struck = rage_in(tmp_path, 60, SEED)
    assert mistakes == [], f"seed {SEED}"
    assert sum(struck.values()) == 60
    assert min(struck["SIGKILL"], struck["SIGSTOP"]) > 0
