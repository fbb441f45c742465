"""Ten thousand hours of supervisors in random trouble, and nobody does what OTP would never do."""

from pathlib import Path

import attrs
import pytest

from tests.simulation.draw import draw
from tests.simulation.history import Family, History, Life, from_json, to_json
from tests.simulation.replay import main as replay
from tests.simulation.simulate import report, shrink, simulate
from tests.simulation.soak import main as soak

PARTS = 8
HOURS = 10_000.0
"""Hours of supervisors in one ordinary run of the tests; each part has its share, from seeds of its own."""


@pytest.mark.parametrize("part", range(PARTS))
def test_whatever_happens_in_a_tree_no_supervisor_does_what_otp_would_never_do(part: int, tmp_path: Path) -> None:
    hours, seed = 0.0, part
    while hours < HOURS / PARTS:
        history = draw(seed)
        outcome = simulate(history)
        if outcome.failure:
            shorter = shrink(history)
            pytest.fail(report(shorter, simulate(shorter), tmp_path))
        hours += outcome.hours
        seed += PARTS


def test_the_same_seed_gives_the_same_history_and_the_same_outcome() -> None:
    assert draw(7) == draw(7) != draw(8)
    assert simulate(draw(7)) == simulate(draw(7))


def test_a_history_survives_being_written_and_read() -> None:
    for seed in range(5):
        history = draw(seed)
        copy = from_json(to_json(history))
        assert simulate(copy) == simulate(history)


def test_a_history_is_replayed_from_its_file_line_by_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "history.json"
    spec = {"id": "a", "target": "x"}
    family = Family(flags={"intensity": 1}, specs=[spec])
    history = History(seed=0, hours=1.0, family=family, scripts={"top/a": [Life(end="crash", end_after=5.0)]})
    file.write_text(to_json(history))
    assert replay([str(file)]) == 0
    told = capsys.readouterr().out
    assert "       5.000 top <- Exited(" in told
    assert "nothing is wrong" in told
    assert replay(["--seed", "3"]) == 0


@pytest.mark.parametrize("arguments", [[], ["nowhere.json"], ["--seed", "x"]])
def test_a_replay_without_a_history_says_what_it_wants(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert replay(arguments) == 2
    assert "python -m tests.simulation.replay FILE" in capsys.readouterr().err


def test_a_file_that_holds_no_history_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "wrong.json"
    for text in ("{", "{}", to_json(attrs.evolve(draw(1), family=Family(flags={"intensity": -1}, specs=[])))):
        file.write_text(text)
        assert replay([str(file)]) == 2
        assert "replay: " in capsys.readouterr().err


def test_a_soak_says_how_much_was_simulated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert soak(["--minutes", "0.001", "--seed", "5", "--keep", str(tmp_path)]) == 0
    told = capsys.readouterr().out
    assert "histories from seed 5" in told
    assert "0 went wrong" in told
