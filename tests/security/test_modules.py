"""Python files that a repository brought along are files, and never modules of ours."""

import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.e2e.stage import Project, milestone_of

HOSTILE: Final = (
    "actors",
    "attrs",
    "click",
    "msgspec",
    "pykka",
    "sitecustomize",
    "supervisor",
    "usercustomize",
    "yaml",
)


def test_a_run_imports_nothing_from_the_directory_that_it_stands_in(project: Project, place: Path) -> None:
    for name in HOSTILE:
        (project.path / f"{name}.py").write_text(f"open({str(place / 'imported')!r}, 'a').write({name!r})\n")
    project.write("m1", milestone_of({"id": "a", "run": "echo a > a"}, {"id": "b", "run": "exit 1"}))
    program = Path(sys.executable).with_name("milestonectl")
    for words in (("run", "m1"), ("status",), ("doctor",)):
        done = subprocess.run([program, *words], cwd=project.path, capture_output=True, check=False, timeout=90)
        assert done.returncode in {0, 1, 3}, done.stderr
        assert b"Traceback" not in done.stderr
    assert not (place / "imported").exists()
