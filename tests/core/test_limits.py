"""What is too much, for how long, and that it is said once: a judge that is fed with samples, in virtual time."""

from collections.abc import Callable

import attrs
import pytest

from actors.limits import Limit, LimitError, Limits
from supervisor.limits import Excess, Judge, Sample
from supervisor.spec import ChildSpec, parse_child
from supervisor.spec_checks import SpecError

MIB = 1024**2


def feed(judge: Judge, samples: list[tuple[float, Sample]]) -> list[tuple[float, Excess]]:
    """Judge samples; return what was said, and when."""
    said = [(at, judge.judge(sample, at)) for at, sample in samples]
    return [(at, excess) for at, excess in said if excess is not None]


def cpu(percent: float) -> Sample:
    return Sample(cpu_percent=percent)


def memory(mib: float) -> Sample:
    return Sample(rss_bytes=int(mib * MIB))


def test_the_first_sample_over_a_bound_counts_and_names_figure_and_limit() -> None:
    judge = Judge(Limits(memory=Limit(hard=4096 * MIB)))
    assert feed(judge, [(0.0, memory(4096)), (2.0, memory(5222.4))]) == [
        (2.0, Excess("used 5.1 GiB of memory, its limit is 4 GiB", hard=True))
    ]


SAID: dict[str, tuple[Limits, Sample, str]] = {
    "memory": (Limits(memory=Limit(soft=MIB)), memory(900), "used 900 MiB of memory, its soft limit is 1 MiB"),
    "nearly": (
        Limits(memory=Limit(hard=4096 * MIB)),
        memory(4096.1),
        "used a little more than 4 GiB of memory, its limit is 4 GiB",
    ),
    "descriptors": (
        Limits(descriptors=Limit(hard=1024)),
        Sample(descriptors=2000),
        "had 2,000 descriptors open, its limit is 1,024",
    ),
    "threads": (Limits(threads=Limit(soft=5)), Sample(threads=6), "ran 6 threads, its soft limit is 5"),
}


@pytest.mark.parametrize(("limits", "sample", "what"), SAID.values(), ids=SAID)
def test_each_quantity_is_named_as_people_would(limits: Limits, sample: Sample, what: str) -> None:
    (said,) = feed(Judge(limits), [(0.0, sample)])
    assert said[1].what == what


def test_the_processor_has_to_be_used_too_much_for_its_time() -> None:
    judge = Judge(Limits(cpu=Limit(soft=90.0, seconds=10.0)))
    said = feed(judge, [(float(at), cpu(99.0)) for at in range(0, 40, 2)])
    assert said == [(10.0, Excess("used 99 % of a core for 10 s, its soft limit is 90 %", hard=False))]


def test_without_a_time_of_its_own_the_processor_has_a_minute() -> None:
    judge = Judge(Limits(cpu=Limit(soft=90.0)))
    assert [at for at, _ in feed(judge, [(float(at), cpu(99.0)) for at in range(0, 200, 10)])] == [60.0]


def test_a_use_that_swings_around_the_bound_is_over_it() -> None:
    judge = Judge(Limits(cpu=Limit(soft=90.0, seconds=20.0)))
    swings = [(2.0 * number, cpu(95.0 if number % 2 == 0 else 87.0)) for number in range(20)]
    assert [at for at, _ in feed(judge, swings)] == [20.0]


def test_a_use_that_has_fallen_well_below_the_bound_begins_anew() -> None:
    judge = Judge(Limits(cpu=Limit(soft=90.0, seconds=10.0)))
    busy = [(float(at), cpu(99.0)) for at in range(0, 10, 2)]
    assert not feed(judge, [*busy, (10.0, cpu(50.0))])
    assert [at for at, _ in feed(judge, [(float(at), cpu(99.0)) for at in range(12, 40, 2)])] == [22.0]


def test_a_use_below_the_bound_convicts_nobody_even_when_its_time_is_over() -> None:
    judge = Judge(Limits(cpu=Limit(soft=90.0, seconds=10.0)))
    assert not feed(judge, [(0.0, cpu(99.0)), (8.0, cpu(89.0)), (16.0, cpu(89.0)), (24.0, cpu(89.0))])
    assert feed(judge, [(26.0, cpu(91.0))])


def test_one_long_gap_between_two_samples_convicts_nobody() -> None:
    """A sampler that was stopped has not seen what happened meanwhile."""
    judge = Judge(Limits(cpu=Limit(hard=90.0, seconds=10.0)))
    assert not feed(judge, [(0.0, cpu(99.0)), (3600.0, cpu(99.0))])
    assert feed(judge, [(3602.0, cpu(99.0)), (3604.0, cpu(99.0)), (3606.0, cpu(99.0))])


def test_it_is_said_once_and_a_hard_limit_may_follow_a_soft_one() -> None:
    judge = Judge(Limits(memory=Limit(soft=10 * MIB, hard=20 * MIB)))
    rising = [(float(number), memory(4 * number)) for number in range(10)]
    assert [(at, excess.hard) for at, excess in feed(judge, rising)] == [(3.0, False), (6.0, True)]


def test_a_hard_limit_is_said_instead_of_a_soft_one_that_is_exceeded_too() -> None:
    judge = Judge(Limits(memory=Limit(soft=10 * MIB), threads=Limit(hard=5)))
    samples = [(0.0, Sample(rss_bytes=50 * MIB, threads=9)), (2.0, Sample(rss_bytes=50 * MIB, threads=9))]
    assert [excess.what for _, excess in feed(judge, samples)] == ["ran 9 threads, its limit is 5"]


def test_what_is_not_known_is_not_held_against_anybody() -> None:
    judge = Judge(Limits(descriptors=Limit(hard=1)))
    assert judge.wants_descriptors
    assert not feed(judge, [(0.0, Sample(descriptors=None))])
    assert not Judge(Limits(memory=Limit(hard=1))).wants_descriptors


def test_without_bounds_nothing_is_too_much() -> None:
    assert not Limits()
    assert not Limits(memory=Limit())
    assert not feed(Judge(Limits()), [(0.0, Sample(1e9, 10**15, 10**9, 10**9))])


WRONG: dict[str, Callable[[], object]] = {
    "negative": lambda: Limit(soft=-1.0),
    "zero": lambda: Limit(hard=0),
    "no number": lambda: Limit(hard=True),
    "infinite": lambda: Limit(hard=float("inf")),
    "soft above hard": lambda: Limit(soft=2.0, hard=1.0),
    "no time": lambda: Limit(hard=1.0, seconds=-1.0),
    "a moment of the processor": lambda: Limits(cpu=Limit(hard=90.0, seconds=0.0)),
    "no limit": lambda: Limits(memory=5),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_a_bound_that_cannot_be_kept_is_refused(wrong: Callable[[], object]) -> None:
    with pytest.raises(LimitError, match="must be"):
        wrong()


def test_a_spec_takes_limits_from_plain_data() -> None:
    data = {"id": "c", "target": "m:f", "limits": {"memory": {"soft": 1, "hard": 2}, "cpu": {"hard": 50, "seconds": 5}}}
    assert parse_child(data).limits == Limits(memory=Limit(1, 2), cpu=Limit(hard=50, seconds=5))
    assert parse_child({"id": "c", "target": "m:f"}).limits is None


def test_wrong_limits_in_plain_data_are_named_with_child_and_field() -> None:
    def refused(limits: object) -> str:
        with pytest.raises(SpecError) as caught:
            parse_child({"id": "c", "target": "m:f", "limits": limits})
        return f"{caught.value.owner}|{caught.value.field}"

    assert refused({"memory": {"soft": -1}}) == "child 'c'|limits.memory.soft"
    assert refused({"cpu": {"soft": 1, "seconds": 0}}) == "child 'c'|limits.cpu.seconds"
    assert refused({"memory": 5}) == "child 'c': limits: memory|spec"
    assert refused("4GiB") == "child 'c': limits|spec"
    with pytest.raises(SpecError, match="must be Limits or nothing"):
        attrs.evolve(ChildSpec("c", "m:f"), limits=5)  # type: ignore[arg-type]
