"""What is counted for Prometheus, before anything has happened and after."""

from prometheus_client.parser import text_string_to_metric_families

from supervisor.conduct import ChildView
from supervisor.exits import KINDS, Crashed, kind_of
from supervisor.metrics import Metrics


def counted(metrics: Metrics) -> dict[tuple[str, ...], float]:
    """Return every counter and every number of observations, by name and labels."""
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(metrics.text().decode())
        for sample in family.samples
        if sample.name.startswith("milestoned") and sample.name.endswith(("_total", "_count"))
    }


def test_every_counter_of_a_project_is_there_before_it_counts() -> None:
    """Otherwise Prometheus' increase() and rate() are blind for the first restart, and the first task."""
    metrics = Metrics(lambda: (), "1")
    metrics.expect("/p")
    before = counted(metrics)
    assert set(before.values()) == {0.0}
    assert ("milestoned_tasks_total", "failed", "/p") in before
    assert ("milestoned_attempt_duration_seconds_count", "timeout", "/p") in before
    metrics.noticed("/p", "s", ChildView("git_integration", "STARTING", restarts=1, exit_kind="crashed"))
    after = counted(metrics)
    assert after.keys() == before.keys()
    assert {name: value for name, value in after.items() if value} == {
        ("milestoned_role_restarts_total", "/p", "crashed", "git_integration"): 1.0
    }


def test_every_reason_has_its_word() -> None:
    assert kind_of(Crashed(code=1)) in KINDS
    assert len(set(KINDS)) == len(KINDS) > 5
