"""Sentences about what happened."""

import pytest

from supervisor.cli.narration import refusal_text


@pytest.mark.parametrize(
    ("child", "who"), [("task_executor", "Task Executor"), ("runner", "Task Runner"), ("", "Super")]
)
def test_a_fact_that_was_not_journaled_is_said_with_what_it_means_and_what_to_do(child: str, who: str) -> None:
    text = refusal_text(child, "AttemptGranted: the session is paused")
    assert text.startswith(who)
    assert "was left out (AttemptGranted: the session is paused). The session goes on" in text
    assert text.endswith("report it with the session's supervisor.log")
