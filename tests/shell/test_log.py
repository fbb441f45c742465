"""The log of a process never gets in anybody's way: not on a full disk, and not by growing."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from actors.log import RETENTION, ROTATION, LogFile

SAY = """
import sys
from pathlib import Path
from actors.log import log, open_log
open_log(Path(sys.argv[1]))
for number in range(2):
    log().bind(number=number).warning("something")
"""


def said(path: Path) -> subprocess.CompletedProcess[str]:
    """Log two lines in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", SAY, str(path)], capture_output=True, text=True, check=True, timeout=60.0
    )


def test_lines_are_json_and_for_nobody_else(tmp_path: Path) -> None:
    path = tmp_path / "one.log"
    assert said(path).stderr == ""
    lines = [json.loads(line)["record"] for line in path.read_text(encoding="utf-8").splitlines()]
    assert [(line["message"], line["extra"]) for line in lines] == [("something", {"number": n}) for n in range(2)]
    assert path.stat().st_mode & 0o777 == 0o600


def test_on_a_full_disk_nothing_is_said_on_the_terminal() -> None:
    done = said(Path("/dev/full"))
    assert (done.stdout, done.stderr) == ("", "")


@pytest.mark.parametrize("kind", ["directory", "nowhere", "link"])
def test_a_place_that_cannot_be_written_is_nobody_s_trouble(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "one.log"
    if kind == "directory":
        path.mkdir()
    elif kind == "link":
        path.symlink_to(tmp_path / "elsewhere")
    else:
        path = tmp_path / "nowhere" / "one.log"
    assert said(path).stderr == ""
    assert not (tmp_path / "elsewhere").exists()


def test_without_a_descriptor_to_load_the_logger_with_a_line_is_left_out_and_the_next_one_is_not(
    tmp_path: Path,
) -> None:
    program = """
import resource, sys
from pathlib import Path
from actors.log import log, open_log_late
open_log_late(Path(sys.argv[1]))
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
log().bind(number=0).opt(exception=True).warning("left out")
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
log().bind(number=1).warning("something")
"""
    path = tmp_path / "one.log"
    subprocess.run([sys.executable, "-c", program, str(path)], check=True, timeout=60.0)
    (line,) = path.read_text(encoding="utf-8").splitlines()
    assert json.loads(line)["record"]["extra"] == {"number": 1}


def test_a_long_file_is_put_aside_and_only_so_many_are_kept(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "one.log")
    line = "x" * (ROTATION // 2) + "\n"
    for number in range(2 * RETENTION + 3):
        log.write(f"{number} {line}")
    log.stop()
    kept = {path.name: path.read_text(encoding="utf-8")[0] for path in tmp_path.iterdir()}
    assert kept == {"one.log": "8", "one.1.log": "7", "one.2.log": "6", "one.3.log": "5"}
