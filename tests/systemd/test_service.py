"""`milestonectl service`: what it writes, leaves alone, takes away and says."""

import json
import os
import stat
from pathlib import Path
from typing import Any, Final

import pytest
from click.testing import CliRunner, Result

from supervisor.cli import milestonectl
from supervisor.cli.output import CommandError
from supervisor.units import escape_path, is_unedited
from tests.repositories import MakeRepository, git

SYSTEM: Final = Path("etc/systemd/system")


@pytest.fixture(autouse=True)
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a milestoned beside the interpreter, as an installation does."""
    place = tmp_path / "env" / "bin"
    place.mkdir(parents=True)
    (place / "milestoned").write_text("#!/bin/sh\n")
    (place / "milestoned").chmod(0o755)
    monkeypatch.setattr("sys.executable", str(place / "python"))
    return place / "milestoned"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "project" / ".milestones").mkdir(parents=True)
    return tmp_path / "project"


def service(*words: object) -> Result:
    return CliRunner().invoke(milestonectl, ["service", *map(str, words)], standalone_mode=False)


def ok(*words: object) -> str:
    done = service(*words)
    assert done.exception is None, done.exception
    assert done.return_value in {0, None}
    return done.output


def failure(*words: object) -> CommandError:
    done = service(*words)
    assert isinstance(done.exception, CommandError), (done.exception, done.output)
    return done.exception


def answer(*words: object) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(ok(*words, "--json"))
    return found


def test_install_writes_the_template_with_its_owner_and_says_what_to_type(
    root: Path, project: Path, program: Path
) -> None:
    said = ok("install", project, "--root", root)
    unit = f"milestoned@{escape_path(project)}.service"
    text = (root / SYSTEM / "milestoned@.service").read_text()
    assert f"\nExecStart=:{program} %f\n" in text
    assert is_unedited(text)
    assert stat.S_IMODE((root / SYSTEM / "milestoned@.service").stat().st_mode) == 0o644
    owner = (root / SYSTEM / f"{unit}.d" / "10-owner.conf").read_text()
    assert f"User={project.owner()}\n" in owner
    assert said.count("wrote ") == 4
    assert "systemctl daemon-reload" in said
    assert f"systemctl enable --now '{unit}'" in said
    assert stat.S_IMODE((project / ".milestones" / "run").stat().st_mode) == 0o700


@pytest.mark.usefixtures("program")
@pytest.mark.parametrize("together", [(), ("--together",)])
def test_the_name_of_a_directory_adds_no_line_to_a_unit(root: Path, tmp_path: Path, together: tuple[str, ...]) -> None:
    evil = tmp_path / "x\nExecStartPre=+sh -c 'id'\n"
    (evil / ".milestones").mkdir(parents=True)
    refused = failure("install", evil, *together, "--root", root)
    assert refused.code == 2
    assert "control character" in refused.lines[0]
    assert not root.exists() or not any(path.is_file() for path in root.rglob("*"))


def test_install_again_changes_nothing_and_says_so(root: Path, project: Path) -> None:
    ok("install", project, "--root", root)
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*") if path.is_file()}
    assert ok("install", project, "--root", root).count("is there ") == len(before)
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*") if path.is_file()} == before


def test_a_unit_of_an_older_version_is_updated_unasked(
    root: Path, project: Path, program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ok("install", project, "--root", root)
    elsewhere = program.parent.parent.parent / "new"
    elsewhere.mkdir()
    program.rename(elsewhere / "milestoned")
    monkeypatch.setattr("sys.executable", str(elsewhere / "python"))
    files = answer("install", project, "--root", root)["files"]
    assert [one["was"] for one in files] == ["older", "same", "same", "same"]
    assert str(elsewhere / "milestoned") in (root / SYSTEM / "milestoned@.service").read_text()


@pytest.mark.parametrize("foreign", [False, True], ids=["edited", "foreign"])
def test_an_edited_or_foreign_unit_is_shown_and_left_until_forced(root: Path, project: Path, *, foreign: bool) -> None:
    unit = root / SYSTEM / "milestoned@.service"
    ok("install", project, "--root", root)
    unit.write_text("[Service]\nExecStart=/bin/true\n" if foreign else unit.read_text().replace("Sec=30", "Sec=99"))
    mine = unit.read_text()
    error = failure("install", project, "--root", root, "--hardened")
    assert error.code == 1
    assert str(unit) in error.lines[0]
    assert any(line.startswith("-") and ("99" in line or "/bin/true" in line) for line in error.lines)
    assert any(line.startswith("+WatchdogSec=30") for line in error.lines)
    assert "--force" in error.lines[-1]
    assert unit.read_text() == mine
    assert not list(root.rglob("50-hardened.conf")), "all or nothing"
    assert "overwrote " in ok("install", project, "--root", root, "--force")
    assert is_unedited(unit.read_text())


def test_the_sandbox_may_write_the_project_and_what_its_repository_has_elsewhere(
    root: Path, git_repo: MakeRepository, tmp_path: Path
) -> None:
    repository = git_repo()
    linked = tmp_path / "linked"
    git(repository, "worktree", "add", "-q", str(linked))
    project = linked / "part"
    (project / ".milestones").mkdir(parents=True)
    ok("install", project, "--root", root, "--hardened")
    (drop_in,) = root.rglob("50-hardened.conf")
    assert f"\nReadWritePaths={project} {linked} {repository / '.git'}\n" in drop_in.read_text()


def test_together_one_service_serves_several_projects(root: Path, project: Path, tmp_path: Path) -> None:
    other = tmp_path / "other one"
    (other / ".milestones").mkdir(parents=True)
    ok("install", project, other, "--together", "--root", root)
    assert f'milestoned {project} "{other}"\n' in (root / SYSTEM / "milestoned.service").read_text()
    assert (root / SYSTEM / "milestoned.service.d" / "10-owner.conf").exists()
    ok("uninstall", project, other, "--together", "--root", root)
    assert [path for path in root.rglob("*") if path.is_file()] == []


def test_a_users_unit_stands_in_the_users_directory_without_an_owner(world: Any, project: Path) -> None:  # noqa: ANN401
    said = ok("install", project, "--user")
    folder = world.home / "config" / "systemd" / "user"
    assert sorted(path.name for path in folder.iterdir()) == ["milestoned@.service", "milestoned@.socket"]
    assert "WantedBy=default.target" in (folder / "milestoned@.service").read_text()
    assert "systemctl --user enable --now" in said
    assert "enable-linger" in said
    ok("uninstall", project, "--user")
    assert list(folder.iterdir()) == []


def test_uninstall_removes_what_is_ours_and_unedited_and_names_the_rest(root: Path, project: Path) -> None:
    ok("install", project, "--root", root)
    socket = root / SYSTEM / "milestoned@.socket"
    socket.write_text(socket.read_text() + "# mine\n")
    mine = root / SYSTEM / f"milestoned@{escape_path(project)}.service.d" / "override.conf"
    mine.write_text("[Service]\n")
    found = answer("uninstall", project, "--root", root)
    assert found["kept"] == [str(socket)]
    assert sorted(path for path in root.rglob("*") if path.is_file()) == sorted([mine, socket])
    ok("uninstall", project, "--root", root, "--force")
    assert [path for path in root.rglob("*") if path.is_file()] == [mine]


def test_a_foreign_unit_is_not_removed_by_force_either(root: Path, project: Path) -> None:
    unit = root / SYSTEM / "milestoned@.service"
    unit.parent.mkdir(parents=True)
    unit.write_text("[Service]\nExecStart=/bin/true\n")
    ok("uninstall", project, "--root", root, "--force")
    assert unit.exists()


def test_the_template_stays_while_another_project_uses_it(root: Path, project: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    (other / ".milestones").mkdir(parents=True)
    ok("install", project, "--root", root)
    ok("install", other, "--root", root)
    wants = root / SYSTEM / "multi-user.target.wants"
    wants.mkdir()
    for one in (project, other):
        (wants / f"milestoned@{escape_path(one)}.service").symlink_to("../milestoned@.service")
    assert f"stays for milestoned@{escape_path(other)}" in ok("uninstall", project, "--root", root)
    assert [link.name for link in wants.iterdir()] == [f"milestoned@{escape_path(other)}.service"]
    assert (root / SYSTEM / "milestoned@.service").exists()
    ok("uninstall", other, "--root", root)
    assert [path for path in root.rglob("*") if path.is_file() or path.is_symlink()] == []


def test_uninstall_of_what_is_not_installed_fails(root: Path, project: Path) -> None:
    error = failure("uninstall", project, "--root", root)
    assert (error.code, "is not installed" in error.lines[0]) == (1, True)


def test_status_says_whether_it_is_installed_and_unedited(root: Path, project: Path) -> None:
    missing = service("status", project, "--root", root, "--json")
    assert missing.return_value == 4
    assert json.loads(missing.output)["file"] == "missing"
    ok("install", project, "--root", root)
    assert answer("status", project, "--root", root)["file"] == "same"
    unit = root / SYSTEM / "milestoned@.service"
    unit.write_text(unit.read_text() + "#\n")
    assert "(edited)" in ok("status", project, "--root", root)


@pytest.mark.parametrize(
    ("words", "code", "part"),
    [
        (["install", "{project}", "{other}"], 2, "--together"),
        (["install", "{project}", "--user", "--hardened"], 2, "--hardened is for the machine's"),
        (["status", "{project}", "--now"], 2, "--now belongs to: install"),
        (["uninstall", "{project}", "--hardened"], 2, "--hardened belongs to: install"),
        (["install", "{bare}"], 1, "there is no .milestones directory"),
        (["install", "{project}", "--now"], 1, "--now needs a systemd that runs"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_is_written(
    root: Path, project: Path, tmp_path: Path, words: list[str], code: int, part: str
) -> None:
    for name in ("other/.milestones", "bare"):
        (tmp_path / name).mkdir(parents=True)
    places = {"project": project, "other": tmp_path / "other", "bare": tmp_path / "bare"}
    error = failure(*(word.format(**places) for word in words), "--root", root)
    assert error.code == code
    assert part in error.lines[0]
    assert list(root.rglob("*")) == []


def test_projects_of_different_users_are_not_served_together(root: Path, project: Path, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a directory away")
    other = tmp_path / "other"
    (other / ".milestones").mkdir(parents=True)
    os.chown(other, 1500, 1500)
    assert "different users" in failure("install", project, other, "--together", "--root", root).lines[0]


def test_a_milestoned_that_cannot_be_executed_is_named(root: Path, project: Path, program: Path) -> None:
    program.chmod(0o644)
    assert str(program) in failure("install", project, "--root", root).lines[0]


def test_a_directory_whose_name_would_be_too_long_for_a_unit_is_refused(root: Path, tmp_path: Path) -> None:
    deep = tmp_path / ("-" * 80)
    (deep / ".milestones").mkdir(parents=True)
    assert "characters" in failure("install", deep, "--root", root).lines[0]


def test_a_project_whose_socket_path_is_too_long_is_told_to_use_the_service(root: Path, tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 100)
    (deep / ".milestones").mkdir(parents=True)
    assert answer("install", deep, "--root", root)["socket_path_too_long"] is True
