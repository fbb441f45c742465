"""Paths of a project: where things stand, which names are refused, and what git is told to ignore."""

import stat
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from actors.paths import IGNORED, ProjectPaths, new_session_id
from tests.repositories import MakeRepository, git

PATHS = ProjectPaths(Path("/project"))


def test_everything_stands_below_the_milestones_directory() -> None:
    session = "exec-m1-20261122_101500-0badcafe"
    found = {
        str(path.relative_to("/project/.milestones"))
        for path in (
            PATHS.file("m1"),
            PATHS.completed_file("m1"),
            PATHS.state_db,
            PATHS.lock,
            PATHS.config,
            PATHS.session_json(session),
            PATHS.agent_json(session, "git_integration"),
            PATHS.jsonl(session, "task_executor"),
            PATHS.task_log(session, "build.2"),
        )
    }
    assert found == {
        "active/m1.yaml",
        "completed/m1.yaml",
        "state.db",
        "lock",
        "config/milestoned.yaml",
        f"sessions/{session}/session.json",
        f"sessions/{session}/agents/git_integration.json",
        f"logs/{session}/execution.jsonl",
        f"logs/{session}/tasks/build.2.log",
    }


@pytest.mark.parametrize(
    "name", ["", "..", "../x", "a/b", "/etc/passwd", ".hidden", "-rf", "a\n", "a\0", "ä", "x" * 129]
)
def test_a_name_that_could_lead_elsewhere_is_refused(name: str) -> None:
    for join in (PATHS.file, PATHS.completed_file, PATHS.session_dir, PATHS.logs):
        with pytest.raises(ValueError, match="is no plain name"):
            join(name)
    with pytest.raises(ValueError, match="is no plain name"):
        PATHS.task_log("s", name)


def test_a_session_is_named_after_its_milestone_and_its_beginning() -> None:
    now = datetime(2025, 8, 10, 14, 30, 22, tzinfo=UTC)
    name = new_session_id("milestone-001", now, "a1b2c3d4ffff")
    assert name == "exec-milestone-001-20250810_143022-a1b2c3d4"


def test_the_directories_of_a_session_are_closed_to_others(tmp_path: Path) -> None:
    paths = ProjectPaths(tmp_path)
    paths.milestones.mkdir(mode=0o755)
    for _ in range(2):
        paths.prepare_session("s1")
    for directory in (paths.sessions, paths.session_dir("s1"), paths.all_logs, paths.logs("s1")):
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert stat.S_IMODE(paths.milestones.stat().st_mode) == 0o755
    assert paths.task_log("s1", "a.1").parent.is_dir()
    assert paths.agent_json("s1", "git_integration").parent.is_dir()


def test_git_ignores_our_records_and_nothing_of_the_user(git_repo: MakeRepository) -> None:
    repository = git_repo()
    paths = ProjectPaths(repository)
    paths.milestones.mkdir()
    assert paths.write_gitignore()
    paths.prepare_session("s1")
    ours = [paths.state_db, paths.lock, paths.session_json("s1"), paths.task_log("s1", "a.1")]
    ours += [paths.milestones / name for name in ("state.db-wal", "state.db-head", "state.reserve")]
    theirs = [paths.file("m1"), paths.completed_file("m0"), paths.config, paths.milestones / "notes" / "lock"]
    for path in ours + theirs:
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_bytes(b"x")
    seen = git(repository, "status", "--porcelain", "--untracked-files=all").splitlines()
    expected = {*(str(path.relative_to(repository)) for path in theirs), ".milestones/.gitignore"}
    assert {line[3:] for line in seen} == expected


def test_what_the_user_wrote_into_gitignore_stays(tmp_path: Path) -> None:
    paths = ProjectPaths(tmp_path)
    paths.milestones.mkdir()
    paths.gitignore.write_bytes(b"# mine\r\n*.tmp\nlogs/\n!/sessions/")
    assert paths.write_gitignore()
    content = paths.gitignore.read_bytes()
    assert content.startswith(b"# mine\r\n*.tmp\nlogs/\n!/sessions/\n")
    added = content.decode().splitlines()[-4:]
    assert added == ["/state.db*", "/state.reserve", "/lock", "/run/"]
    assert not paths.write_gitignore()
    assert paths.gitignore.read_bytes() == content


def test_a_directory_that_is_ignored_as_a_whole_stays_so(tmp_path: Path) -> None:
    paths = ProjectPaths(tmp_path)
    paths.milestones.mkdir()
    paths.gitignore.write_bytes(b"*\n")
    assert not paths.write_gitignore()
    assert paths.gitignore.read_bytes() == b"*\n"


def test_every_ignored_line_is_one_that_git_understands(git_repo: MakeRepository) -> None:
    repository = git_repo()
    (repository / ".gitignore").write_text("\n".join(IGNORED))
    done = subprocess.run(
        ["git", "check-ignore", "state.db", "state.db-wal", "state.reserve", "lock", "sessions/x", "logs/x"],
        cwd=repository,
        capture_output=True,
        text=True,
        check=True,
    )
    assert len(done.stdout.splitlines()) == 6
