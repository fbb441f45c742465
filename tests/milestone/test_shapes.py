"""Files of other shapes: one refusal each, which names the shape."""

import pytest

from tests.milestone.texts import lines, reading, refusal

OTHERS = {
    "list": (
        "\n- title: v1\n  state: closed\n",
        "2:1",
        "a list of milestones or tasks without a milestone around it",
    ),
    "beads list": ("- {id: b-1, issue_type: task}\n", "1:1", "a list of beads issues"),
    "text": ("just a sentence\n", "1:1", "plain text"),
    "M": (
        "metadata:\n  milestone_id: m1\n  name: ${NAME}\nprogress: {percentage: 0}\n",
        "1:1",
        "a milestone with a metadata block (shape M)",
    ),
    "T": ("milestone_template:\n  metadata: {}\n", "1:1", "a milestone template (shape T)"),
    "P": ("milestone_progress:\n  id: m1\n  tasks: {completed: [a]}\n", "1:1", "a progress view (shape P)"),
    "C": (
        "# now\nmilestone_id: m1\ntitle: T\ntotal_tasks: 4\n",
        "2:1",
        "a pointer to the current milestone (shape C)",
    ),
    "A": ("completed_milestones:\n  - milestone_id: m1\n", "1:1", "an archive index (shape A)"),
    "D map": (
        "m1: {depends_on: []}\nm2: {depends_on: [m1], enables: []}\n",
        "1:1",
        "a dependency file (shape D)",
    ),
    "D list": (
        "milestones:\n  - {id: m1, depends_on: [], enables: []}\ncritical_path: [m1]\n",
        "1:1",
        "a dependency file (shape D)",
    ),
    "D matrix": ("dependency_matrix: {m1: {depends_on: []}}\n", "1:1", "a dependency file (shape D)"),
    "S": (
        '{"metadata": {"id": "m1"}, "phases": {}, "progress": {}}',
        "1:2",
        "a coordinator's state (shape S)",
    ),
    "task master": (
        '{"master": {"tasks": [{"id": 1}]}}',
        "1:2",
        "a Task Master file (task lists under tags)",
    ),
    "old task master": ('{"tasks": [{"id": 1}], "metadata": {}}', "1:2", "a Task Master file"),
    "ACP": (
        "project: {name: x}\nmilestones: [{id: M1}]\ntasks: {milestone_1: [{id: t}]}\n",
        "2:1",
        "a project file of the agent context protocol (ACP)",
    ),
    "several": ("milestones:\n  - {id: m1, title: T}\n", "1:1", "a list of several milestones"),
    "map of several": ("m1: {title: T}\nm2: {title: U}\n", "1:1", "a map of several milestones"),
    "task file": (
        "milestone: m0\nname: x\ntasks:\n  - id: a\n",
        "1:1",
        "a task file of a milestone that stands",
    ),
    "checks": ("name: M1\ncommands: [{cmd: make}]\n", "2:1", "a list of checks (commands and artifacts)"),
    "session": ("session: {id: exec-m1, milestone_id: m1}\n", "1:1", "a session file"),
    "session json": ('{"session_id": "x", "milestone_id": "m1"}', "1:2", "a session file"),
    "approval": ("approval_request: {id: a}\n", "1:1", "an approval request"),
    "sprint": ("development_status: {epic-1: done}\n", "1:1", "a sprint status file"),
    "event": ('{"timestamp": "x", "event_type": "task_completed"}', "1:20", "an event"),
    "beads lines": (
        '{"id": "b-1", "issue_type": "task"}\n{"id": "b-2"}\n',
        "1:1",
        "a beads issue list (JSON Lines)",
    ),
    "other lines": ('{"event": 1}\n\n{"event": 2}\n', "1:1", "a JSON Lines file"),
    "front matter": (
        "---\nid: M11\ntitle: T\n---\n\n# M11: T\n",
        "4:1",
        "a Markdown file with YAML front matter",
    ),
    "markdown": ("# A milestone\n\nSome prose, it explains.\nMore.\n", "1:1", "a Markdown document"),
    "unknown": (
        "host: localhost\nport: 80\n",
        "1:1",
        "no milestone file (its top-level keys: 'host', 'port')",
    ),
    "empty map": ("{}\n", "1:1", "an empty map"),
}


@pytest.mark.parametrize("name", list(OTHERS))
def test_another_shape_is_refused_by_its_name_where_it_shows(name: str) -> None:
    text, place, shape = OTHERS[name]

    message = refusal(text)

    assert message.startswith(f"m1.yaml:{place}: this is {shape}"), message
    assert "milestoned reads" in message


def test_a_comment_that_looks_like_a_heading_is_a_comment() -> None:
    for text in ("# Title\n\nid: m1\n", "# Title\n## More\n\n- a\n", "# A b\nsome key: x\n"):
        assert all("Markdown" not in line for line in lines(reading(text)))
