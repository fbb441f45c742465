"""What processes use is read as it is, what is below them counted in, and nobody else's taken for it."""

import os
import subprocess
import sys

import psutil
import pytest

from supervisor.linux import start_ticks
from supervisor.usage import Meter
from tests.health.programs import glutton
from tests.waiting import wait_until

MIB = 1024**2


def test_a_process_s_figures_are_those_that_psutil_has() -> None:
    with glutton() as one:
        one.tell(f"memory {30 * MIB}")
        one.tell("threads 3")
        sample = Meter(descriptors=True).measure([one.pid], 0.0)
        seen = psutil.Process(one.pid)
        assert sample is not None
        assert sample.threads == seen.num_threads() == 4
        assert sample.descriptors == seen.num_fds()
        assert sample.rss_bytes == pytest.approx(seen.memory_info().rss, abs=2 * MIB)
        assert sample.processes == 1


def test_what_is_below_a_process_counts_as_its_own() -> None:
    with glutton() as one:
        alone = Meter(descriptors=True).measure([one.pid], 0.0)
        one.tell("child")
        one.tell(f"tell memory {40 * MIB}")
        one.tell("tell files 50")
        one.tell("tell threads 2")
        whole = Meter(descriptors=True).measure([one.pid], 0.0)
        assert alone is not None
        assert whole is not None
        assert whole.processes == 2
        assert whole.rss_bytes - alone.rss_bytes > 40 * MIB
        assert whole.threads - alone.threads == 3
        assert (whole.descriptors or 0) - (alone.descriptors or 0) >= 50
        itself = Meter(below=False).measure([one.pid], 0.0)
        assert itself is not None
        assert (itself.processes, itself.descriptors) == (1, None)
        assert itself.rss_bytes < 40 * MIB
        one.tell("reap")


def test_the_processor_s_time_is_counted_from_sample_to_sample() -> None:
    with glutton() as one:
        meter = Meter()
        first = meter.measure([one.pid], 100.0)
        one.tell("ticks 20")
        second = meter.measure([one.pid], 101.0)
        assert first is not None
        assert second is not None
        assert first.cpu_percent == 0.0
        assert 19.0 <= second.cpu_percent < 60.0


def test_the_time_of_children_that_were_waited_for_is_not_lost() -> None:
    with glutton() as one:
        one.tell("child")
        meter = Meter()
        meter.measure([one.pid], 100.0)
        one.tell("tell ticks 20")
        one.tell("reap")
        after = meter.measure([one.pid], 101.0)
        assert after is not None
        assert 19.0 <= after.cpu_percent < 60.0


def test_a_process_that_has_ended_has_no_sample_although_nobody_has_waited_for_it() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        wait_until(lambda: psutil.Process(process.pid).status() == psutil.STATUS_ZOMBIE)
        assert Meter().measure([process.pid], 0.0) is None
    assert Meter().measure([process.pid], 0.0) is None


@pytest.mark.row("P3")
def test_who_has_got_the_number_of_a_process_that_ended_is_not_measured_in_its_place() -> None:
    began = start_ticks(os.getpid())
    assert began is not None
    assert Meter().measure([os.getpid()], 0.0, began) is not None
    assert Meter().measure([os.getpid()], 0.0, began - 1) is None
