"""Named secrets stay where they belong: in the environment of tasks, and in their own raw output."""

from pathlib import Path
from typing import Final

import pytest

from actors.events import AttemptStarted, BlockerRaised, HookRan, PushRefused, SessionStarted, TaskCompleted, TaskFailed
from supervisor.cli import run_command
from supervisor.environment import SESSION_MARK
from supervisor.linux import find_marked
from tests.canaries import find, find_in
from tests.e2e.stage import Project, Running, facts, milestone_of, waits_for
from tests.isolation import World
from tests.repositories import git
from tests.waiting import wait_until

CANARY: Final = 'c4n4ry-t0k3n"\\ü'
LINES: Final = ("-----c4n4ry begin-----", "c4n4rysecondline1234=")
CANARIES: Final = (CANARY, *LINES)

CONFIGURATION: Final = """\
secrets: [TOKEN, CERTIFICATE]
git: {{remote: origin, push_every: 1}}
agents:
  default: talker
  runners:
    talker:
      command: [sh, -c, 'cat > /dev/null; echo "error: the agent has $TOKEN" >&2; exit 1']
blockers:
  hook:
    command: [sh, -c, 'cat > {place}/told; echo "hook: $TOKEN" >&2; exit 1']
"""


@pytest.fixture
def armed(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Return a project whose processes have the secrets in their environment."""
    monkeypatch.setenv("TOKEN", CANARY)
    monkeypatch.setenv("CERTIFICATE", "\n".join(LINES))
    return project


def _refusing_remote(project: Project, place: Path) -> None:
    """Make a remote that refuses every push and says why, with a secret in the reason."""
    git(place, "init", "--quiet", "--bare", str(place / "remote.git"))
    hook = place / "remote.git/hooks/pre-receive"
    hook.write_text('#!/bin/sh\necho "error: no push with $TOKEN" >&2\nexit 1\n')
    hook.chmod(0o755)
    git(project.path, "remote", "add", "origin", str(place / "remote.git"))


def _words_of(pids: list[int]) -> bytes:
    """Return what anybody on the machine can see of processes: their arguments and their names."""
    seen = b""
    for pid in pids:
        for name in ("cmdline", "comm"):
            try:
                seen += Path(f"/proc/{pid}/{name}").read_bytes() + b"\n"
            except OSError:
                continue
    return seen


def test_what_tasks_hooks_agents_and_remotes_tell_of_secrets_is_in_nothing_that_we_write(
    armed: Project, place: Path, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    _refusing_remote(armed, place)
    armed.configure(CONFIGURATION.format(place=place))
    talk = 'echo "$TOKEN"; echo "$CERTIFICATE" >&2; '
    armed.write(
        "m1",
        milestone_of(
            {"id": "talks", "run": f"{talk}echo done > done.txt"},
            {"id": "fails", "run": f'{talk}echo "cp: No space left on device: $TOKEN" >&2; exit 3'},
            {"id": "lacks", "run": 'exec "./$TOKEN"'},
            {"id": "agent", "title": "For the agent"},
            {"id": "waits", "run": f"{talk}{waits_for(place / 'go')}; echo waited > waited.txt"},
        ),
    )
    running = armed.start("run", "m1")
    _wait(armed, running, TaskCompleted, 1)
    _wait(armed, running, TaskFailed, 3)
    _wait(armed, running, HookRan, 1)
    _wait(armed, running, PushRefused, 1)
    visible = _words_of([running.process.pid, *find_marked(SESSION_MARK, armed.session())])
    assert b"supervisor.cli" in visible
    (place / "go").touch()
    assert running.wait() == 1
    for words in (("status",), ("report",), ("blockers",), ("events",), ("doctor",), ("validate",), ("plan", "m1")):
        for more in ((), ("--json",)):
            run_command(["-C", str(armed.path), *words, *more])
    shown = capsys.readouterr()
    (place / "shown").write_text(shown.out + shown.err, encoding="utf-8")

    tasks = armed.path / ".milestones/logs" / armed.session() / "tasks"
    assert len({hit.path.name for hit in find(CANARIES, [tasks])}) == 5, "every task told one"
    assert facts(armed, BlockerRaised)
    assert "***" in facts(armed, HookRan)[0].detail
    assert any("***" in failed.reason for failed in facts(armed, TaskFailed)) or any(
        "***" in raised.evidence for raised in facts(armed, BlockerRaised)
    )
    assert (place / "told").stat().st_size > 0
    assert "***" in (place / "shown").read_text(encoding="utf-8")
    assert (
        find(CANARIES, [armed.path, place, running.output, world.home], but=[tasks, place / "remote.git/hooks"]) == []
    )
    assert find_in(CANARIES, visible) == []


def _wait(project: Project, running: Running, kind: type[object], count: int) -> None:
    def there() -> bool:
        assert running.process.poll() is None, running.text()
        return len(facts(project, kind)) >= count

    wait_until(there, 60.0, f"{count} {kind.__name__}")


@pytest.mark.parametrize(
    ("task", "configuration", "told"),
    [
        ({"id": "a", "run": f"curl -H '{CANARY}'"}, "", "the run of task a"),
        ({"id": "a", "run": "true", "description": f"Use {LINES[1]}."}, "", "the description of task a"),
        ({"id": "a", "run": "true", "env": {"OTHER": CANARY}}, "", "the env of task a"),
        ({"id": "a", "run": "true"}, f"worktree: {{setup: ['echo {LINES[1]}']}}\n", "worktree.setup"),
        ({"id": "a", "run": "true"}, f"blockers: {{hook: {{url: 'https://host/{LINES[1]}'}}}}\n", "blockers.hook.url"),
    ],
)
def test_a_secret_that_would_be_journaled_as_it_stands_is_refused_before_it_is(
    armed: Project, task: dict[str, object], configuration: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    armed.configure(f"secrets: [TOKEN, CERTIFICATE]\n{configuration}")
    armed.write("m1", milestone_of(task))
    assert run_command(["-C", str(armed.path), "run", "m1"]) == 2
    shown = capsys.readouterr()
    assert told in shown.err
    assert "take the name out of secrets" in shown.err
    assert find_in(CANARIES, (shown.out + shown.err).encode()) == []
    ours = armed.path / ".milestones"
    assert find(CANARIES, [armed.path], but=[ours / "active", ours / "config"]) == []
    assert facts(armed, SessionStarted) == []


def test_an_edit_that_brings_a_secret_in_is_not_taken_in(armed: Project, place: Path) -> None:
    armed.configure("secrets: [TOKEN]\n")
    first = {"id": "a", "run": waits_for(place / "go")}
    armed.write("m1", milestone_of(first))
    running = armed.start("run", "m1")
    _wait(armed, running, AttemptStarted, 1)
    armed.write("m1", milestone_of(first, {"id": "b", "run": f"echo {CANARY}"}))
    refused = armed.ctl("update", "m1", "--apply")
    assert refused.code == 2
    assert "the run of task b" in refused.err
    (place / "go").touch()
    assert running.wait() == 0
    but = [armed.path / ".milestones/active", armed.path / ".milestones/completed"]
    assert find(CANARIES, [armed.path, running.output], but=but) == []
