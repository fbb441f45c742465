"""A child of an embedded supervisor that uses too much is replaced, with the figures as its reason."""

import sys
from pathlib import Path

import pytest

from supervisor import (
    ChildExited,
    ChildSpec,
    Limit,
    Limits,
    OverLimit,
    ProgramSpec,
    SpecFileError,
    Supervisor,
    load_specs,
)
from tests.api.stage import MANY, expect, running

EAT = "import signal; held = b'x' * (80 << 20); signal.pause()"


def test_a_program_over_its_limit_is_replaced_alone_with_the_figures() -> None:
    limits = Limits(memory=Limit(hard=60 * 1024**2))
    eater = ChildSpec("eater", program=ProgramSpec((sys.executable, "-c", EAT)), limits=limits)
    other = ChildSpec("other", program=ProgramSpec((sys.executable, "-c", EAT)))
    with Supervisor([eater, other], MANY) as supervisor:
        kept = running(supervisor, "other", 1).pid
        reason = expect(supervisor, ChildExited).reason
        assert isinstance(reason, OverLimit)
        assert reason.what.startswith("used ")
        assert reason.what.endswith(" of memory, its limit is 60 MiB")
        running(supervisor, "eater", 2)
        rows = {row.id: row.pid for row in supervisor.which_children()}
        assert rows["other"] == kept


def test_limits_stand_in_a_file_of_specs_and_what_is_no_limit_is_refused_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "specs.yaml"
    text = "children:\n  - id: a\n    program: [sleep, '9']\n    limits: {memory: {hard: 5}, cpu: {soft: 90}}\n"
    path.write_text(text, encoding="utf-8")
    ((child,), _) = load_specs(path)
    assert child.limits == Limits(memory=Limit(hard=5), cpu=Limit(soft=90))
    path.write_text(text.replace("memory", "memroy").replace("soft", "sotf"), encoding="utf-8")
    with pytest.raises(SpecFileError, match="4:14: unknown key 'memroy' in 'limits'") as caught:
        load_specs(path)
    assert len(caught.value.problems) == 2
    path.write_text(text.replace("soft", "sotf"), encoding="utf-8")
    with pytest.raises(SpecFileError, match="4:39: unknown key 'sotf' in 'cpu'"):
        load_specs(path)
