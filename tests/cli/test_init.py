"""`milestonectl init`."""

import json
import re
from pathlib import Path

import pytest
import yaml

from actors.files import read_milestone_file
from supervisor.cli.init import commented_config
from supervisor.config import load_config
from tests.cli.conftest import Ctl
from tests.e2e.stage import Project
from tests.repositories import git

CONFIG = Path(__file__).parents[2] / "configs" / "milestoned.yaml"


def test_it_makes_the_folders_the_configuration_and_the_gitignore(project: Project, ctl: Ctl) -> None:
    done = ctl("init")
    assert done.code == 0
    made = project.path / ".milestones"
    assert sorted(path.name for path in made.iterdir()) == [".gitignore", "active", "completed", "config"]
    assert "/state.db*" in (made / ".gitignore").read_text().splitlines()
    assert "milestonectl init --example" in done.out


def test_the_configuration_that_it_writes_changes_nothing(project: Project, ctl: Ctl) -> None:
    ctl("init")
    path = project.path / ".milestones" / "config" / "milestoned.yaml"
    assert yaml.safe_load(path.read_text()) is None
    without_file = load_config(project.path.parent, {}).settings
    assert load_config(project.path, {}).settings == without_file


def test_taking_the_first_sign_of_its_lines_away_gives_the_shipped_configuration() -> None:
    text = re.sub(r"(?m)^#(?=(  +)?[a-z_]+:)", "", commented_config())
    assert yaml.safe_load(text) == yaml.safe_load(CONFIG.read_text())


def test_the_example_is_valid_and_has_sixteen_tasks(project: Project, ctl: Ctl) -> None:
    ctl("init", "--example")
    reading = read_milestone_file(project.path / ".milestones" / "active" / "milestone-001.yaml")
    assert reading.problems == ()
    assert reading.milestone is not None
    assert len(reading.milestone.tasks) == 16


def test_a_second_time_nothing_is_overwritten_and_everything_is_named(project: Project, ctl: Ctl) -> None:
    ctl("init", "--example")
    changed = [
        project.path / ".milestones" / name
        for name in ("config/milestoned.yaml", "active/milestone-001.yaml", ".gitignore")
    ]
    for path in changed:
        path.write_text(path.read_text() + "# mine\n")
    again = json.loads(ctl("init", "--example", "--json").out)
    assert again["created"] == []
    assert set(again["present"]) >= {".milestones/config/milestoned.yaml", ".milestones/active/milestone-001.yaml"}
    assert all(path.read_text().endswith("# mine\n") for path in changed)


def test_a_completed_example_is_not_started_all_over_again(project: Project, ctl: Ctl) -> None:
    ctl("init", "--example")
    active = project.path / ".milestones" / "active" / "milestone-001.yaml"
    active.rename(project.path / ".milestones" / "completed" / active.name)
    assert json.loads(ctl("init", "--example", "--json").out)["created"] == []
    assert not active.exists()


def test_below_the_top_of_a_repository_it_works_at_the_top(
    project: Project, ctl: Ctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project.path / "src" / "deep").mkdir(parents=True)
    monkeypatch.chdir(project.path / "src" / "deep")
    assert json.loads(ctl("init", "--json").out)["project"] == str(project.path)
    assert ctl("init").out.startswith("is there  ../../.milestones/")


def test_a_repository_inside_a_project_is_a_project_of_its_own(
    project: Project, ctl: Ctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    ctl("init")
    inner = project.path / "vendor"
    inner.mkdir()
    git(inner, "init", "--quiet")
    monkeypatch.chdir(inner)
    assert json.loads(ctl("init", "--json").out)["project"] == str(inner)


def test_outside_a_repository_it_says_that_nothing_will_be_committed(
    tmp_path: Path, ctl: Ctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = ctl("init")
    assert done.code == 0
    assert "no git repository" in done.out


def test_a_file_in_its_place_is_refused(project: Project, ctl: Ctl) -> None:
    (project.path / ".milestones").write_text("")
    done = ctl("init", "--json")
    assert done.code == 1
    assert "no directory" in json.loads(done.out)["error"]["lines"][0]


def test_a_folder_that_cannot_be_written_is_an_io_error(ctl: Ctl) -> None:
    done = ctl("-C", "/proc", "init", "--json")
    assert (done.code, json.loads(done.out)["error"]["code"]) == (74, 74)
    assert "/proc/.milestones" in done.err


@pytest.mark.usefixtures("project")
def test_a_second_time_without_anything_to_do_says_so(ctl: Ctl) -> None:
    assert "Everything was there already" not in ctl("init").out
    assert "Everything was there already, and stays as it is.\n" in ctl("init").out


@pytest.mark.parametrize("place", [".", "refs"])
def test_the_inside_of_a_repository_is_no_place_for_a_project(
    tmp_path: Path, ctl: Ctl, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    git(tmp_path, "init", "--quiet", "--bare", "bare")
    monkeypatch.chdir(tmp_path / "bare" / place)
    done = ctl("init")
    assert done.code == 1
    assert f"{tmp_path / 'bare'} is the inside of a git repository" in done.err
    assert "clone it" in done.err
    assert not (tmp_path / "bare" / ".milestones").exists()


def test_a_project_below_the_top_of_a_repository_is_told_what_tasks_see(
    project: Project, ctl: Ctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    below = project.path / "below"
    (below / ".milestones").mkdir(parents=True)
    monkeypatch.chdir(below)
    assert "tasks run in it, and see what is committed there" in ctl("init").out
