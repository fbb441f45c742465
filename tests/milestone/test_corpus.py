"""Files that people wrote: the flat ones validate, every other one is refused with its place.

They are not part of the project. The tests run where a copy lies beside the checkout, or where
MILESTONED_CORPUS names one.
"""

import os
import re
from pathlib import Path

import pytest

from actors.editor import set_statuses
from actors.files import read_milestone_file
from actors.model import FileStatus

_CHECKOUT = Path(__file__).resolve().parent.parent.parent
CORPUS = Path(os.environ.get("MILESTONED_CORPUS") or _CHECKOUT.parent / "shared" / "corpus")

pytestmark = pytest.mark.skipif(
    not CORPUS.is_dir(), reason="no corpus of real files: set MILESTONED_CORPUS to its folder"
)

VALID = {"milestone-001.yaml": 5, "test-kiro-milestone.yaml": 3, "completed-milestone.yaml": 2}


def corpus_files() -> list[Path]:
    """Return the files of the corpus, those in hidden folders too."""
    return sorted(path for path in CORPUS.rglob("*") if path.is_file())


def of_the_convention(name: str) -> Path:
    """Return one of the convention's own files."""
    (found,) = (path for path in corpus_files() if path.name == name)
    return found


@pytest.mark.parametrize("name", list(VALID))
def test_a_flat_file_that_somebody_wrote_validates_without_a_problem(name: str) -> None:
    reading = read_milestone_file(of_the_convention(name))

    assert not reading.problems
    assert reading.milestone is not None
    assert reading.milestone.id == Path(name).stem
    assert len(reading.milestone.tasks) == VALID[name]


def test_every_other_file_is_refused_with_one_located_problem_that_names_its_shape() -> None:
    others = [path for path in corpus_files() if path.name not in VALID]

    assert others
    for path in others:
        reading = read_milestone_file(path)
        assert reading.milestone is None, path
        assert len(reading.problems) == 1, reading.problems
        line = str(reading.problems[0])
        assert re.match(rf"{re.escape(str(path))}:\d+:\d+: this is (a|an|no) ", line), line


def test_the_pending_task_of_a_real_file_is_completed_by_changing_one_word() -> None:
    data = of_the_convention("milestone-001.yaml").read_bytes()

    edited = set_statuses(data, milestone="completed", tasks={"task-005": "completed"})

    assert edited == data.replace(b'status: "pending"', b'status: "completed"').replace(
        b'\nstatus: "in_progress"', b'\nstatus: "completed"'
    )
    reading = read_milestone_file(of_the_convention("milestone-001.yaml"))
    assert reading.milestone is not None
    assert [task.status for task in reading.milestone.tasks].count(FileStatus.PENDING) == 1
