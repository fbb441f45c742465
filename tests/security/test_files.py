"""Files that a repository, or another user, put where milestoned reads and writes."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from actors.files import FileRefusedError, read_bytes, read_milestone_file, update_file
from actors.paths import ProjectPaths
from actors.rules_file import read_rules_file
from supervisor.config import ConfigError, load_config
from supervisor.lock import ProjectLock
from supervisor.projection import load_session_json
from tests.cli.conftest import Ctl
from tests.e2e.stage import Project, milestone_of, waits_for
from tests.waiting import wait_until

MILESTONE = milestone_of({"id": "a", "run": "true"}).encode()

PLACES = (
    "",
    "active",
    "completed",
    "config",
    "run",
    "sessions",
    "logs",
    ".gitignore",
    "lock",
    "state.db",
    "state.db-wal",
    "state.db-head",
    "state.reserve",
)


@pytest.fixture
def paths(tmp_path: Path) -> ProjectPaths:
    (tmp_path / "project").mkdir()
    return ProjectPaths(tmp_path / "project")


def _link(place: Path) -> None:
    target = place.parents[2] / "victim" if place.name == ".milestones" else place.parents[3] / "victim"
    place.symlink_to(target)


def _dangling(place: Path) -> None:
    place.symlink_to("nowhere")


@pytest.mark.parametrize("make", [_link, _dangling, os.mkfifo])
@pytest.mark.parametrize("name", PLACES)
def test_nothing_is_written_where_a_place_of_ours_is_something_else(
    tmp_path: Path, name: str, make: Callable[[Path], None]
) -> None:
    deep = ProjectPaths(tmp_path / "a" / "project")
    deep.project.mkdir(parents=True)
    victim = tmp_path / "victim"
    victim.mkdir()
    place = deep.milestones / name if name else deep.milestones
    place.parent.mkdir(exist_ok=True)
    make(place)
    with pytest.raises(OSError, match=r"milestoned writes there; make it a (directory|regular file), or remove it"):
        ProjectLock.acquire(deep, "test")
    assert list(victim.iterdir()) == []
    assert not place.is_dir() or place.is_symlink()
    assert [entry.name for entry in deep.milestones.iterdir()] == [name] if name else True


def test_a_link_that_a_repository_brought_along_is_not_written_through(
    project: Project, tmp_path: Path, ctl: Ctl
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious\n")
    project.write("m1", MILESTONE.decode())
    (project.path / ".milestones/.gitignore").symlink_to(victim)
    for words in (("run", "m1"), ("init",)):
        done = ctl(*words)
        assert done.code == 74
        assert ".milestones/.gitignore is a symbolic link" in done.err
    assert victim.read_text() == "precious\n"
    assert ctl("status").code in {0, 3}


def test_pipes_in_the_place_of_files_that_are_read_keep_nobody_waiting(paths: ProjectPaths, ctl: Ctl) -> None:
    paths.config.parent.mkdir(parents=True)
    os.mkfifo(paths.config)
    with pytest.raises(ConfigError, match="named pipe"):
        load_config(paths.project, {})
    named = paths.project / "named"
    os.mkfifo(named)
    with pytest.raises(ConfigError, match="named pipe"):
        load_config(paths.project, {"MILESTONED_CONFIG": str(named)})
    assert "named pipe" in str(read_rules_file(paths.project, "named").problems[0])
    assert load_session_json(named) is None
    done = ctl("-C", str(paths.project), "validate")
    assert done.code == 2
    assert "named pipe" in done.out + done.err


def test_a_device_in_the_place_of_the_configuration_is_not_read(paths: ProjectPaths) -> None:
    with pytest.raises(ConfigError, match="device"):
        load_config(paths.project, {"MILESTONED_CONFIG": "/dev/zero"})


def test_the_projects_configuration_is_no_link_and_one_that_a_person_named_may_be(paths: ProjectPaths) -> None:
    paths.config.parent.mkdir(parents=True)
    elsewhere = paths.project / "elsewhere.yaml"
    elsewhere.write_text("max_parallel: 7\n")
    paths.config.symlink_to(elsewhere)
    with pytest.raises(ConfigError, match="symbolic link"):
        load_config(paths.project, {})
    paths.config.unlink()
    link = paths.project / "link.yaml"
    link.symlink_to(elsewhere)
    assert load_config(paths.project, {"MILESTONED_CONFIG": str(link)}).settings.max_parallel == 7


def test_what_everybody_may_write_is_not_executed(tmp_path: Path) -> None:
    file = tmp_path / "m1.yaml"
    file.write_bytes(MILESTONE)
    file.chmod(0o666)
    (problem,) = read_milestone_file(file).problems
    assert "every user of the machine may write it" in problem.message
    assert "chmod o-w" in problem.message
    with pytest.raises(FileRefusedError):
        update_file(file, lambda data: data + b"\n")
    assert file.read_bytes() == MILESTONE
    file.chmod(0o664)
    assert read_milestone_file(file).milestone is not None
    config = tmp_path / "config.yaml"
    config.write_text("max_parallel: 2\n")
    config.chmod(0o646)
    with pytest.raises(ConfigError, match="every user of the machine"):
        load_config(tmp_path, {"MILESTONED_CONFIG": str(config)})


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_what_another_user_put_into_a_directory_is_not_executed(tmp_path: Path) -> None:
    file = tmp_path / "m1.yaml"
    file.write_bytes(MILESTONE)
    os.chown(file, 65534, 65534)
    with pytest.raises(FileRefusedError, match="belongs to user 65534, neither to you"):
        read_bytes(file)
    os.chown(tmp_path, 65534, 65534)
    assert read_bytes(file) == MILESTONE, "a directory that is handed over whole, as into a container"


def test_what_we_write_is_for_its_owner_alone_whatever_the_umask(project: Project, place: Path) -> None:
    gate = place / "gate"
    project.write(
        "m1", milestone_of({"id": "a", "run": f"{waits_for(gate)}; echo a > a"}, {"id": "b", "run": "exit 1"})
    )
    folder = project.path / ".milestones/run"
    socket = folder / "control.sock"
    before = os.umask(0)
    try:
        running = project.start("run", "m1")
        wait_until(lambda: socket.exists() and stat.S_IMODE(socket.stat().st_mode) == 0o600, 60.0, "it listens")
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        gate.touch()
        assert running.wait() == 1
    finally:
        os.umask(before)
    ours = project.path / ".milestones"
    theirs = {ours, ours / "active", ours / "completed", ours / ".gitignore", ours / "active/m1.yaml"}
    found = {path: stat.S_IMODE(path.lstat().st_mode) for path in ours.rglob("*") if path not in theirs}
    assert {"state.db", "lock", "session.json", "execution.jsonl", "a.1.log"} <= {path.name for path in found}
    assert {path: oct(mode) for path, mode in found.items() if mode & 0o077} == {}
    assert not [path for path in project.path.rglob("*") if path.suffix == ".tmp"]
