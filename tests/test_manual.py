"""The manual pages say what the programs say, and every tool for such pages reads them without a complaint."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

from docs.manpages import FOLDER, pages
from supervisor.cli import COMMANDS
from supervisor.config_keys import known_keys

PAGES: Final = sorted(FOLDER.iterdir())


def test_the_pages_are_what_is_made_of_the_programs_now() -> None:
    kept = {path.name: path.read_text(encoding="utf-8") for path in PAGES}
    made = pages()
    stale = [name for name in sorted(kept.keys() | made.keys()) if kept.get(name) != made.get(name)]
    assert stale == [], "make man"


def test_there_is_a_page_for_every_command_and_the_first_one_names_them_all() -> None:
    names = {path.name for path in PAGES}
    assert names == {
        "milestonectl.1",
        "milestoned.8",
        "milestoned.yaml.5",
        *(f"milestonectl-{name}.1" for name in COMMANDS),
    }
    first = (FOLDER / "milestonectl.1").read_text(encoding="utf-8")
    assert all(f"milestonectl\\-{name}(1)" in first for name in COMMANDS)


def test_the_first_page_has_the_exit_codes_of_all_commands() -> None:
    text = (FOLDER / "milestonectl.1").read_text(encoding="utf-8")
    codes = re.findall(r"\d+", " ".join(re.findall(r"^\\fB([0-9, ]+)\\fR$", text, re.MULTILINE)))
    told = {code for page in PAGES for code in re.findall(r"^\\fB(\d+)\\fR$", page.read_text(), re.MULTILINE)}
    assert told <= set(codes)


def test_the_page_of_the_configuration_has_every_key() -> None:
    text = (FOLDER / "milestoned.yaml.5").read_text(encoding="utf-8")
    keys = set(re.findall(r"^\\fB(?:\\&)?([a-z_.]+)\\fR", text, re.MULTILINE))
    assert set(known_keys()) <= keys


@pytest.mark.skipif(shutil.which("man") is None, reason="there is no man")
def test_man_shows_every_page_without_a_warning_within_the_width_of_a_terminal() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in PAGES)
    command = ["man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-"]
    env = {**os.environ, "MANWIDTH": "80", "MANPAGER": "cat", "PAGER": "cat"}
    done = subprocess.run(command, input=text, env=env, capture_output=True, text=True, check=False, timeout=100)
    assert (done.returncode, done.stderr) == (0, "")
    shown = re.sub(r"\x1b\[[0-9;]*m|.\x08", "", done.stdout)
    assert "milestonectl tail -f task-003" in shown
    assert "--max-parallel" in shown
    assert [line for line in shown.splitlines() if len(line) > 80] == []


@pytest.mark.skipif(shutil.which("mandoc") is None, reason="there is no mandoc")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_mandoc_finds_nothing_wrong_with_a_page(page: Path) -> None:
    done = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", page], capture_output=True, text=True, check=False)
    complaints = [line for line in done.stdout.splitlines() if "missing date" not in line]
    assert complaints == []
