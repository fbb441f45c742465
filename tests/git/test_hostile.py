"""A repository whose configuration means harm: nothing that it names is executed by our own git programs.

Every program that git knows to start is a canary: a script that writes its name down. Filters and merge drivers alone
are the repository's to choose, and a push talks to the remote in the way that the user configured.
"""

import os
import subprocess
from pathlib import Path
from typing import Final

import pytest

from actors.git.flows import (
    Landed,
    NothingToLand,
    Pushed,
    PushRefused,
    Refusal,
    Repository,
    Started,
    Uncommitted,
    archive,
    inspect,
    prepare_slot,
    push,
    remove_slots,
    start,
    uncommitted,
    unmatched_copies,
)
from actors.git.plumbing import git as git_program
from actors.programs import Program, environment_of
from tests.git.driver import drive
from tests.git.project import Project, begin, write
from tests.repositories import MakeRepository, git

HOOKS: Final = (
    "applypatch-msg",
    "commit-msg",
    "fsmonitor-watchman",
    "p4-changelist",
    "post-applypatch",
    "post-checkout",
    "post-commit",
    "post-index-change",
    "post-merge",
    "post-rewrite",
    "pre-applypatch",
    "pre-auto-gc",
    "pre-commit",
    "pre-merge-commit",
    "pre-push",
    "pre-rebase",
    "prepare-commit-msg",
    "push-to-checkout",
    "reference-transaction",
    "sendemail-validate",
)

PROGRAMS: Final = (
    "alias.add",
    "alias.read-tree",
    "browser.x.cmd",
    "core.alternateRefsCommand",
    "core.askPass",
    "core.editor",
    "core.fsmonitor",
    "core.gitProxy",
    "core.pager",
    "core.sshCommand",
    "credential.helper",
    "diff.external",
    "diff.hostile.command",
    "diff.hostile.textconv",
    "difftool.x.cmd",
    "gpg.program",
    "gpg.ssh.program",
    "gpg.ssh.defaultKeyCommand",
    "gpg.x509.program",
    "interactive.diffFilter",
    "man.x.cmd",
    "mergetool.x.cmd",
    "pager.diff-index",
    "pager.diff-tree",
    "pager.ls-files",
    "sequence.editor",
    "trailer.x.cmd",
    "trailer.x.command",
    "uploadpack.packObjectsHook",
)
"""Keys of git-config(1) that name a program."""

HABITS: Final = (
    ("commit.gpgSign", "true"),
    ("tag.gpgSign", "true"),
    ("push.gpgSign", "if-asked"),
    ("gpg.format", "ssh"),
    ("core.fsmonitorHookVersion", "2"),
    ("core.untrackedCache", "true"),
    ("core.splitIndex", "true"),
    ("protocol.ext.allow", "always"),
    ("protocol.allow", "always"),
    ("submodule.recurse", "true"),
    ("gc.auto", "1"),
    ("gc.autoDetach", "false"),
    ("maintenance.auto", "true"),
    ("merge.verifySignatures", "true"),
    ("log.showSignature", "true"),
    ("diff.submodule", "diff"),
    ("fetch.recurseSubmodules", "true"),
    ("push.recurseSubmodules", "on-demand"),
    ("core.hooksPath", ""),
)
"""Settings that make git use them."""


class Canaries:
    """Scripts that say that they ran.

    Args:
        place: Folder to write them to.
    """

    def __init__(self, place: Path) -> None:
        self._place = place
        self._log = place / "sang"

    def script(self, name: str, then: str = "exit 0") -> str:
        """Return the path of a script that writes its name down."""
        path = self._place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\necho '{name}' >> '{self._log}'\n{then}\n")
        path.chmod(0o755)
        return str(path)

    def sang(self) -> list[str]:
        """Return which ones ran, each once, and forget it."""
        found = sorted(set(self._log.read_text().split())) if self._log.exists() else []
        self._log.unlink(missing_ok=True)
        return found


@pytest.fixture
def canaries(tmp_path: Path) -> Canaries:
    return Canaries(tmp_path / "canaries")


def _arm(folder: Path, canaries: Canaries) -> None:
    """Have a repository's configuration, and a file that it includes, name canaries for everything."""
    hooks = [canaries.script(f"hooks/{name}") for name in HOOKS]
    directory = str(Path(hooks[0]).parent)
    included = folder / ".git" / "more"
    for key in PROGRAMS:
        git(folder, "config", "--file", str(included), key, canaries.script(key))
    for key, value in HABITS:
        git(folder, "config", "--file", str(included), key, value or directory)
    for name in HOOKS:  # where no configuration says anything about them
        target = folder / ".git" / "hooks" / name
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(Path(directory, name).read_bytes())
        target.chmod(0o755)
    git(folder, "config", "includeIf.gitdir:/.path", str(included))
    write(folder, ".gitattributes", "* diff=hostile\n")


def _whole_cycle(folder: Path, cache: Path) -> Project:
    """Do everything that a session does with git but pushing: start, work, land, merge, archive, look, clean."""
    project = begin(folder, cache)
    for number in (0, 1):
        slot = project.slot(number, project.base, attempt=f"task-{number}.1")
        write(slot.path, f"made/{number}.txt", "made\n")
        write(slot.path, "src/one.txt", "changed\n" if number else "1\n")
    for number in (0, 1):
        assert isinstance(project.land(f"task-{number}", number, base=project.base), Landed)
    slot = project.slot(0)
    assert project.land("task-2", 0, base=slot.base) == NothingToLand()
    write(slot.path, "lost.txt", "lost\n")
    drive(archive(project.repo, 0))
    write(folder, "draft.txt", "uncommitted\n")
    assert isinstance(drive(uncommitted(str(folder))), Uncommitted)
    drive(unmatched_copies(project.repo, ("*.env",)))
    drive(remove_slots(project.repo))
    again = drive(inspect(str(folder), "milestone-001", str(cache)))
    assert isinstance(again, Repository)
    drive(start(again))
    return project


def test_no_hook_monitor_editor_pager_signer_or_diff_program_of_a_repository_is_run(
    git_repo: MakeRepository, tmp_path: Path, canaries: Canaries
) -> None:
    folder = git_repo(files={"README.md": "Read.\n", "src/one.txt": "1\n"})
    _arm(folder, canaries)
    subprocess.run(["git", "status"], cwd=folder, capture_output=True, check=False)
    subprocess.run(["git", "update-ref", "refs/heads/other", "HEAD"], cwd=folder, capture_output=True, check=False)
    assert {"core.fsmonitor", "hooks/reference-transaction"} <= set(canaries.sang()), "the canaries can sing"
    project = _whole_cycle(folder, tmp_path / "cache")
    assert project.commits() == ["task-0", "task-1"]
    assert canaries.sang() == []


def test_programs_that_the_environment_names_are_not_run_either(
    git_repo: MakeRepository, tmp_path: Path, canaries: Canaries, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = git_repo(files={"README.md": "Read.\n", "src/one.txt": "1\n"})
    for name in (
        *("GIT_ASKPASS", "GIT_EDITOR", "GIT_EXTERNAL_DIFF", "GIT_PAGER", "GIT_SEQUENCE_EDITOR", "GIT_PROXY_COMMAND"),
        *("EDITOR", "PAGER", "SSH_ASKPASS", "VISUAL"),
    ):
        monkeypatch.setenv(name, canaries.script(name))
    monkeypatch.setenv("GIT_CONFIG_PARAMETERS", f"'core.fsmonitor'='{canaries.script('parameters')}'")
    _whole_cycle(folder, tmp_path / "cache")
    assert canaries.sang() == []


FOREIGN: Final = (
    *("GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_CEILING_DIRECTORIES", "GIT_COMMON_DIR", "GIT_CONFIG", "GIT_DIR"),
    *("GIT_CONFIG_PARAMETERS", "GIT_INDEX_FILE", "GIT_NAMESPACE", "GIT_OBJECT_DIRECTORY", "GIT_PREFIX"),
    *("GIT_QUARANTINE_PATH", "GIT_REDIRECT_STDERR", "GIT_SHALLOW_FILE", "GIT_TEMPLATE_DIR", "GIT_TRACE"),
    *("GIT_TRACE2_EVENT", "GIT_TRACE_CURL", "GIT_WORK_TREE", "GIT_WHATEVER_COMES_NEXT"),
    *("LISTEN_FDS", "LISTEN_PID", "NOTIFY_SOCKET", "WATCHDOG_USEC"),
)


def test_a_program_gets_nothing_that_was_meant_for_who_called_us(tmp_path: Path) -> None:
    base = dict.fromkeys(FOREIGN, "hostile") | {"PATH": "/bin", "GIT_SSH_COMMAND": "ssh -i key", "GIT_AUTHOR_NAME": "A"}
    seen = environment_of(git_program("version", cwd=str(tmp_path)), base)
    assert "hostile" not in seen.values()
    assert (seen["PATH"], seen["GIT_SSH_COMMAND"], seen["GIT_AUTHOR_NAME"]) == ("/bin", "ssh -i key", "A")
    assert seen["GIT_CONFIG_COUNT"] == str(sum(name.startswith("GIT_CONFIG_KEY_") for name in seen))
    setup = environment_of(Program(("true",), "/"), {**base, "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "hostile"})
    assert set(setup) == {"PATH", "GIT_SSH_COMMAND", "GIT_AUTHOR_NAME"}


def _lose(folder: Path, url: str, *settings: tuple[str, str]) -> None:
    """Take an object away that every checkout needs, and say that a remote has it."""
    blob = git(folder, "rev-parse", "HEAD:src/one.txt")
    (folder / ".git/objects" / blob[:2] / blob[2:]).unlink()
    promised = (
        ("core.repositoryFormatVersion", "1"),
        ("extensions.partialClone", "origin"),
        ("remote.origin.url", url),
        ("remote.origin.promisor", "true"),
    )
    for key, value in (*promised, *settings):
        git(folder, "config", key, value)


@pytest.mark.parametrize("how", ["ext", "ssh", "helper", "uploadpack", "proxy"])
def test_an_object_that_is_missing_makes_no_program_of_a_remote(
    git_repo: MakeRepository, tmp_path: Path, canaries: Canaries, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    folder = git_repo(files={"README.md": "Read.\n", "src/one.txt": "1\n"})
    script = canaries.script("git-remote-canary")
    monkeypatch.setenv("PATH", f"{Path(script).parent}:{os.environ['PATH']}")
    settings: dict[str, tuple[str, tuple[tuple[str, str], ...]]] = {
        "ext": (f"ext::{script}", (("protocol.ext.allow", "always"),)),
        "ssh": ("ssh://nowhere.invalid/x", (("core.sshCommand", script),)),
        "helper": ("canary::x", (("protocol.canary.allow", "always"),)),
        "uploadpack": (f"file://{tmp_path}", (("remote.origin.uploadpack", script),)),
        "proxy": ("git://nowhere.invalid/x", (("core.gitProxy", script),)),
    }
    url, more = settings[how]
    _lose(folder, url, *more)
    subprocess.run(["git", "cat-file", "-p", "HEAD:src/one.txt"], cwd=folder, capture_output=True, check=False)
    assert canaries.sang() == ["git-remote-canary"], "the canary can sing"
    repo = drive(inspect(str(folder), "milestone-001", str(tmp_path / "cache")))
    assert isinstance(repo, Repository)
    started = drive(start(repo))
    assert isinstance(started, Started)
    refused = drive(prepare_slot(repo, 0, started.base_sha, owner="s/t.1"))
    assert isinstance(refused, Refusal)
    assert "git fetch --refetch" in refused.reason
    assert canaries.sang() == []


def test_a_push_goes_the_way_that_the_user_configured_without_hooks_and_never_by_a_shell_in_a_url(
    git_repo: MakeRepository, tmp_path: Path, canaries: Canaries
) -> None:
    folder = git_repo(files={"README.md": "Read.\n", "src/one.txt": "1\n"})
    project = begin(folder, tmp_path / "cache")
    _arm(folder, canaries)
    git(tmp_path, "init", "--quiet", "--bare", str(tmp_path / "remote.git"))
    canaries.sang()
    assert isinstance(drive(push(project.repo, str(tmp_path / "remote.git"))), Pushed)
    assert isinstance(drive(push(project.repo, f"ext::{canaries.script('ext')} x")), PushRefused)
    assert canaries.sang() == []
    refused = drive(push(project.repo, "ssh://nowhere.invalid/x"))
    assert isinstance(refused, PushRefused)
    assert canaries.sang() == ["core.sshCommand"]


def test_filters_and_merge_drivers_are_the_repositorys_to_choose(
    git_repo: MakeRepository, tmp_path: Path, canaries: Canaries
) -> None:
    """What is not defended, and said so: without them what is committed would not be what git commits anywhere else."""
    folder = git_repo(files={"README.md": "Read.\n", "src/one.txt": "1\n", ".gitattributes": "* filter=theirs\n"})
    git(folder, "config", "filter.theirs.clean", canaries.script("clean", "cat"))
    git(folder, "config", "filter.theirs.smudge", canaries.script("smudge", "cat"))
    _whole_cycle(folder, tmp_path / "cache")
    assert canaries.sang() == ["clean", "smudge"]
