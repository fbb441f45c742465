"""The house keeps its own promises: leaks fail a test, waiting ends, and make says what a machine lacks."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.isolation import World
from tests.repositories import MakeRepository, git
from tests.waiting import wait_until

CHECKOUT = Path(__file__).parents[1]

_CONFTEST = """
import tests.leaks
from tests.conftest import *
tests.leaks.GRACE = 0.2
"""

_LEAKING = """
import os, socket, subprocess, sys, tempfile, threading
import pykka, pytest

kept = []

def test_a_clean_test(tmp_path):
    (tmp_path / "file").write_text("")
    subprocess.run(["true"], check=True)

def test_a_process():
    kept.append(subprocess.Popen(["sleep", "600"], stdin=subprocess.DEVNULL))

def test_a_zombie():
    kept.append(subprocess.Popen(["true"]))

def test_an_orphan_that_shed_its_environment(tmp_path):
    program = ("import subprocess; subprocess.Popen(['sleep', '601'], env={}, start_new_session=True,"
               "stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=%r)" % str(tmp_path))
    subprocess.run([sys.executable, "-c", program], check=True)

def test_an_orphan_that_went_elsewhere():
    program = ("import subprocess; subprocess.Popen(['sleep', '602'], start_new_session=True,"
               "stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd='/')")
    subprocess.run([sys.executable, "-c", program], check=True)

def test_a_thread():
    threading.Thread(target=threading.Event().wait, name="left", daemon=True).start()

def test_an_actor():
    class Left(pykka.ThreadingActor):
        use_daemon_thread = True
    Left.start()

def test_a_descriptor():
    kept.extend(socket.socketpair())

def test_a_file_in_the_checkout(pytestconfig):
    (pytestconfig.rootpath / "stray").write_text("")

def test_a_file_in_milestones(pytestconfig):
    (pytestconfig.rootpath / ".milestones").mkdir()

def test_a_temporary_file():
    os.close(tempfile.mkstemp(prefix="stray")[0])

def test_another_clean_test():
    pass
"""


@pytest.fixture(scope="module")
def report_of_leaks(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return what pytest says about tests that leave things behind."""
    folder = tmp_path_factory.mktemp("leaking")
    (folder / "conftest.py").write_text(_CONFTEST)
    (folder / "test_leaking.py").write_text(_LEAKING)
    (folder / "pytest.ini").write_text("[pytest]\n")
    environment = {
        **os.environ,
        "PYTHONPATH": str(CHECKOUT),
        "PYTHONDONTWRITEBYTECODE": "1",
        "COLUMNS": "300",
    }
    environment.pop("COVERAGE_PROCESS_START", None)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-rEp", "-q", "-p", "no:cacheprovider"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("test", "found"),
    [
        ("test_a_process", "process "),
        ("test_a_zombie", "zombie "),
        ("test_an_orphan_that_shed_its_environment", "[sleep 601]"),
        ("test_an_orphan_that_went_elsewhere", "[sleep 602]"),
        ("test_a_thread", "thread 'left'"),
        ("test_an_actor", "actor Left"),
        ("test_a_descriptor", "-> socket:["),
        ("test_a_file_in_the_checkout", "/stray"),
        ("test_a_file_in_milestones", "/.milestones"),
        ("test_a_temporary_file", "/tmp/stray"),
    ],
)
def test_a_test_that_leaves_something_behind_fails(report_of_leaks: str, test: str, found: str) -> None:
    line = next(line for line in report_of_leaks.splitlines() if line.startswith("ERROR") and f"{test} -" in line)
    assert "the test left behind: " in line
    assert found in line


def test_a_test_that_leaves_nothing_behind_passes_beside_those_that_do(report_of_leaks: str) -> None:
    assert "12 passed, 10 errors" in report_of_leaks


def test_each_test_has_a_home_and_an_empty_temporary_folder(world: World) -> None:
    assert Path.home() == world.home
    assert os.environ["XDG_CACHE_HOME"].startswith(str(world.home))
    assert list(world.scratch.iterdir()) == []


def test_a_scratch_repository_has_one_commit_on_main(git_repo: MakeRepository) -> None:
    repository = git_repo(files={"src/one.txt": "1\n"})
    assert git(repository, "rev-list", "--count", "main") == "1"
    assert git(repository, "ls-files") == "src/one.txt"
    assert git(repository, "status", "--porcelain") == ""
    assert git(repository, "log", "-1", "--format=%ae") == "author@example.org"


def test_waiting_returns_what_the_predicate_returned() -> None:
    answers = iter([0, None, "here"])
    assert wait_until(lambda: next(answers)) == "here"


def test_waiting_in_vain_fails_with_what_was_waited_for() -> None:
    began = time.monotonic()
    with pytest.raises(AssertionError, match=r"not so after 0\.05 s: the moon is full \(last value: False\)"):
        wait_until(lambda: False, timeout=0.05, message="the moon is full")
    assert time.monotonic() - began < 60


def _make(folder: Path, *arguments: str, path: str) -> subprocess.CompletedProcess[str]:
    shutil.copy(CHECKOUT / "Makefile", folder)
    make = shutil.which("make")
    assert make is not None
    return subprocess.run(
        [make, "--no-print-directory", *arguments],
        cwd=folder,
        env={"PATH": path},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def _tools(folder: Path, *names: str) -> str:
    """Make a folder that has these tools only, and return it as a PATH."""
    folder.mkdir()
    for name in names:
        tool = shutil.which(name)
        assert tool is not None
        (folder / name).symlink_to(tool)
    return str(folder)


def _python(file: Path, body: str) -> None:
    file.write_text(f"#!/bin/sh\n{body}\nexec '{sys.executable}' \"$@\"\n")
    file.chmod(0o755)


def test_make_says_that_git_and_python_are_missing_and_how_to_install_them(tmp_path: Path) -> None:
    done = _make(tmp_path, "check-tools", path=_tools(tmp_path / "bin", "sh", "grep"))
    assert done.returncode == 2
    assert "missing on this machine: git python3>=3.11" in done.stderr
    assert "sudo apt-get install git python3 python3-venv" in done.stderr


def test_make_says_that_the_venv_module_is_missing(tmp_path: Path) -> None:
    path = _tools(tmp_path / "bin", "sh", "grep", "git")
    _python(tmp_path / "bin" / "python3", 'case "$*" in *ensurepip*) exit 1;; esac')
    done = _make(tmp_path, "test", path=path)
    assert done.returncode == 2
    assert "venv/ensurepip(of-python3)" in done.stderr
    assert "sudo apt-get install python3-venv" in done.stderr
    assert not (tmp_path / ".venv").exists()


def test_make_says_that_python_is_too_old(tmp_path: Path) -> None:
    path = _tools(tmp_path / "bin", "sh", "grep", "git")
    _python(tmp_path / "bin" / "python3", 'case "$*" in *print*) echo 3.9; exit;; *exit*) exit 1;; esac')
    done = _make(tmp_path, "check-tools", path=path)
    assert done.returncode == 2
    assert "Python 3.11 or later is needed, but python3 is 3.9." in done.stderr


def test_make_takes_the_python_that_it_is_given_or_says_that_it_does_not_run(tmp_path: Path) -> None:
    path = _tools(tmp_path / "bin", "sh", "grep", "git")
    assert _make(tmp_path, "check-tools", f"PYTHON={sys.executable}", path=path).returncode == 0
    done = _make(tmp_path, "check-tools", "PYTHON=/nowhere/python", path=path)
    assert done.returncode == 2
    assert "PYTHON='/nowhere/python' does not run" in done.stderr


def test_make_without_a_target_lists_the_targets(tmp_path: Path) -> None:
    done = _make(tmp_path, path=os.environ["PATH"])
    assert done.returncode == 0
    assert "make demo" in done.stdout
    assert "make test" in done.stdout
