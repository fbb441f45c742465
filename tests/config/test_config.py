"""The configuration: who has the last word on a key, what each may hold, and that the defaults are true."""

import re
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path

import attrs
import pytest
import yaml

from actors.events import AgentRunner, Settings
from actors.limits import Limit, Limits
from actors.model import Containment, Isolation, Overflow
from supervisor.config import Config, ConfigError, load_config, merge_options
from supervisor.config_keys import LogLevel, known_keys

SHIPPED = Path(__file__).parents[2] / "configs" / "milestoned.yaml"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    path = tmp_path / "project"
    (path / ".milestones" / "config").mkdir(parents=True)
    return path


def load(project: Path, text: str = "", *, env: Mapping[str, str] | None = None, explicit: str = "") -> Config:
    """Load with this text as the project's own file and, where given, that of ``--config``."""
    (project / ".milestones" / "config" / "milestoned.yaml").write_text(text, encoding="utf-8")
    given = project / "given.yaml"
    given.write_text(explicit, encoding="utf-8")
    return load_config(project, env or {}, given if explicit else None, system=project / "system.yaml")


def refused(project: Path, text: str) -> list[str]:
    """Load, and return what is wrong, without the path."""
    with pytest.raises(ConfigError) as caught:
        load(project, text)
    prefix = f"{project}/.milestones/config/milestoned.yaml:"
    messages = [str(problem) for problem in caught.value.problems]
    assert all(message.startswith(prefix) for message in messages)
    assert str(caught.value) == "\n".join(messages)
    return [message.removeprefix(prefix) for message in messages]


# --- the documented defaults --------------------------------------------------------------------------------


def test_the_shipped_file_says_the_defaults(project: Path) -> None:
    config = load(project, SHIPPED.read_text(encoding="utf-8"))
    assert config.settings == Settings()
    assert config.log_level is Config().log_level


def test_without_any_file_the_defaults_count(project: Path) -> None:
    assert load_config(project, {}, system=project / "none.yaml") == Config()


def test_the_shipped_file_documents_every_key_and_no_other() -> None:
    def dotted(held: Mapping[str, object], prefix: str = "") -> Iterator[str]:
        for name, value in held.items():
            if isinstance(value, dict) and name not in {"runners", "limits"}:
                yield from dotted(value, f"{prefix}{name}.")
            else:
                yield prefix + name

    assert list(dotted(yaml.safe_load(SHIPPED.read_text(encoding="utf-8")))) == list(known_keys())


def test_every_key_of_the_shipped_file_has_a_comment_above_it() -> None:
    lines = SHIPPED.read_text(encoding="utf-8").splitlines()
    sections = {"git", "worktree", "progress", "blockers"}
    for number, line in enumerate(lines):
        found = re.match(r" *([a-z_]+):", line)
        if found and found.group(1) not in sections:
            assert lines[number - 1].strip().startswith("#"), line


def test_every_setting_can_be_configured_in_one_place() -> None:
    settings = [setting for setting in known_keys().values() if setting]
    assert sorted([*settings, "agents"]) == sorted(field.name for field in attrs.fields(Settings))


def test_the_defaults_are_shipped_with_the_package() -> None:
    shipped = files("supervisor.configs").joinpath("milestoned.yaml")
    assert shipped.read_text(encoding="utf-8") == SHIPPED.read_text(encoding="utf-8")


# --- values -------------------------------------------------------------------------------------------------


def test_every_key_reaches_its_setting(project: Path) -> None:
    config = load(
        project,
        """
max_parallel: 8
isolation: none
fail_fast: true
stop_grace: 1m30s
conflict_reruns: 0
limits:
  memory: {soft: 1536MiB, hard: 2GB}
  cpu: {soft: 380, for: 10m}
  threads: 500
roles: {limits: {descriptors: {hard: 1000}}}
secrets: [API_TOKEN, DB_PASSWORD]
output_limit: 500 MB
output_overflow: end
containment: sweep
log_level: debug
agents:
  default: reviewer
  runners:
    reviewer: {command: [my-agent, "{prompt}"], prompt: argument, timeout: 30m}
    piped: {command: "my-agent --stdin | tee log"}
git: {remote: origin, push_every: 5, uncommitted_interval: 30}
worktree:
  copy: [.env, "config/*.yaml"]
  setup: ["npm ci", [make, "a b"]]
  directory: ../slots
  keep_for: 30d
progress: {interval: 10s, stall_after: 2m}
blockers:
  no_progress_after: 1h
  pressure_percent: 75.5
  rules: .milestones/config/rules.yaml
  hook: {command: [notify, --now], url: "https://example.org/hook"}
""",
    )
    assert config.log_level is LogLevel.DEBUG
    assert config.settings == Settings(
        max_parallel=8,
        isolation=Isolation.NONE,
        fail_fast=True,
        agents=(
            AgentRunner("reviewer", ("my-agent", "{prompt}"), "argument", 1800.0),
            AgentRunner("piped", ("/bin/sh", "-c", "my-agent --stdin | tee log")),
        ),
        default_agent="reviewer",
        remote="origin",
        push_every=5,
        worktree_copy=(".env", "config/*.yaml"),
        worktree_setup=("npm ci", "make 'a b'"),
        slots_directory=str(project / "../slots"),
        keep_for=2592000.0,
        progress_interval=10.0,
        stall_after=120.0,
        no_progress_after=3600.0,
        pressure_percent=75.5,
        uncommitted_interval=30.0,
        rules=str(project / ".milestones/config/rules.yaml"),
        hook_command=("notify", "--now"),
        hook_url="https://example.org/hook",
        stop_grace=90.0,
        conflict_reruns=0,
        secrets=("API_TOKEN", "DB_PASSWORD"),
        output_limit=500_000_000,
        output_overflow=Overflow.END,
        containment=Containment.SWEEP,
        task_limits=Limits(
            memory=Limit(1.5 * 1024**3, 2e9), cpu=Limit(380.0, seconds=600.0), threads=Limit(hard=500.0)
        ),
        role_limits=Limits(descriptors=Limit(hard=1000.0)),
    )


@pytest.mark.parametrize(
    ("text", "size"), [("0", 0), ("4096", 4096), ("7b", 7), ("2KB", 2000), ("2kib", 2048), ("1GiB", 1 << 30)]
)
def test_sizes_are_bytes_or_have_a_unit(project: Path, text: str, size: int) -> None:
    assert load(project, f"output_limit: {text}\n").settings.output_limit == size


@pytest.mark.parametrize("text", ["much", "-1", "1.5GB", "1 GiBs", "12q", "9999999TiB", "[1]"])
def test_a_size_that_is_none_is_refused_with_its_place(project: Path, text: str) -> None:
    with pytest.raises(ConfigError, match=r"milestoned.yaml:1:\d+: 'output_limit' must be"):
        load(project, f"output_limit: {text}\n")


def test_an_empty_file_and_keys_without_values_change_nothing(project: Path) -> None:
    for text in ("", "# nothing\n", "max_parallel:\ngit:\n  remote: ~\nagents: null\n"):
        assert load(project, text).settings == Settings()


# --- precedence ---------------------------------------------------------------------------------------------


def test_a_key_is_taken_from_the_first_file_that_has_it(project: Path) -> None:
    (project / "system.yaml").write_text("max_parallel: 1\npush: 1\n".replace("push: 1", "git: {push_every: 11}"))
    named = project / "named.yaml"
    named.write_text("max_parallel: 3\nconflict_reruns: 33\nstop_grace: 30\n")
    env = {"MILESTONED_CONFIG": str(named)}
    own = "max_parallel: 2\nconflict_reruns: 22\nfail_fast: yes\n"
    config = load(project, own, env=env, explicit="max_parallel: 4\n")
    found = config.settings
    assert (found.max_parallel, found.conflict_reruns, found.fail_fast) == (4, 33, True)
    assert (found.stop_grace, found.push_every) == (30.0, 11)
    assert [path.name for path in config.sources] == [
        "given.yaml",
        "named.yaml",
        "milestoned.yaml",
        "system.yaml",
    ]


def test_an_empty_value_takes_back_what_a_later_file_says(project: Path) -> None:
    (project / "system.yaml").write_text("git: {remote: origin}\nsecrets: [TOKEN]\nblockers: {hook: {command: [x]}}\n")
    assert load(project).settings.remote == "origin"
    taken_back = load(project, 'git: {remote: ""}\nsecrets: []\nblockers: {hook: {command: []}}\n').settings
    assert (taken_back.remote, taken_back.secrets, taken_back.hook_command) == ("", (), ())


def test_agent_runners_are_merged_by_name(project: Path) -> None:
    (project / "system.yaml").write_text("agents: {runners: {a: {command: [one]}, b: {command: [two]}}}\n")
    runners = load(project, "agents: {default: a, runners: {b: {command: [three]}}}").settings.agents
    assert {runner.name: runner.command for runner in runners} == {"a": ("one",), "b": ("three",)}


@pytest.mark.parametrize(("by", "env"), [("--config", False), ("$MILESTONED_CONFIG", True)])
def test_a_file_that_was_asked_for_and_is_not_there_is_an_error(project: Path, by: str, *, env: bool) -> None:
    missing = project / "missing.yaml"
    with pytest.raises(ConfigError, match=re.escape(f"named by {by}): No such file")) as caught:
        load_config(project, {"MILESTONED_CONFIG": str(missing)} if env else {}, None if env else missing)
    assert caught.value.problems[0].path == str(missing)


# --- problems -----------------------------------------------------------------------------------------------


def test_all_problems_of_all_files_are_told_at_once_with_their_places(project: Path) -> None:
    (project / "system.yaml").write_text("max_paralel: 3\n")
    with pytest.raises(ConfigError) as caught:
        load(project, "max_parallel: many\ngit:\n  push_evry: 3\n  remote: -x\nstop_grace: soon\n")
    places = [(Path(one.path).name, one.line, one.column, one.suggestion) for one in caught.value.problems]
    assert places == [
        ("milestoned.yaml", 1, 15, ""),
        ("milestoned.yaml", 3, 3, "push_every"),
        ("milestoned.yaml", 4, 11, ""),
        ("milestoned.yaml", 5, 13, ""),
        ("system.yaml", 1, 1, "max_parallel"),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("max_paralell: 3", "1:1: unknown key 'max_paralell'; did you mean 'max_parallel'?"),
        ("zzz: 3", "1:1: unknown key 'zzz'; known: max_parallel, isolation"),
        ("git: {zzz: 3}", "1:7: unknown key 'zzz' in 'git'; known: remote, push_every, uncommitted_interval"),
        ("max_parallel: 0", "1:15: 'max_parallel' must be 1 to 1000, not 0"),
        ("isolation: worktrees", "1:12: 'isolation' must be one of worktree, none, not 'worktrees'"),
        ("fail_fast: maybe", "1:12: 'fail_fast' must be true or false, not 'maybe'"),
        ("stop_grace: 5 weeks", "1:13: 'stop_grace' must be seconds, or a text"),
        ("progress: {interval: 0}", "1:22: 'interval' must be more than 0"),
        ("blockers: {pressure_percent: 101}", "1:30: 'pressure_percent' must be more than 0 and at most 100"),
        ("blockers: {hook: {url: ftp://x}}", "1:24: 'url' must begin with http:// or https://"),
        ("blockers: {hook: {url: 'http://[x'}}", "1:24: 'url' must begin with http:// or https:// and name a host"),
        ("git: origin", "1:1: 'git' must be a map with the keys remote"),
        ("secrets: ['hunter2!']", "1:11: this entry of 'secrets' is no name of an environment variable"),
        ("worktree: {copy: [../x]}", "leads out of the project"),
        ("worktree: {copy: [a/../../x]}", "leads out of the project"),
        ("worktree: {copy: [/etc/passwd]}", "leads out of the project"),
        ("worktree: {copy: [~/x]}", "leads out of the project"),
        ("worktree: {directory: slots}", "1:23: 'directory' leads into the project itself"),
        ("log_level: loud", "1:12: 'log_level' must be one of trace, debug, info, warning, error"),
        ("agents: {default: nobody}", "1:19: there is no agent runner 'nobody' under agents.runners"),
        ("agents: {runners: [a]}", "'runners' must be a map of names to agent runners"),
        ("agents: {runners: {a: x}}", "the agent runner 'a' must be a map with a 'command'"),
        ("agents: {runners: {a: {}}}", "the agent runner 'a' has no 'command'"),
        ("agents: {runners: {a: {command: []}}}", "the agent runner 'a' has no 'command'"),
        ("agents: {runners: {'a b': {command: x}}}", "'a b' is no name for an agent runner"),
        ("agents: {runners: {a: {command: [x], prompt: argument}}}", "in which one word is {prompt}"),
        (
            "agents: {runners: {a: {command: 'x {prompt}', prompt: argument}}}",
            "never made part of a line for the",
        ),
        ("agents: {runners: {a: {command: [x, '{prompt}']}}}", "the prompt goes to its standard input"),
        (
            "agents: {runners: {a: {comand: [x]}}}",
            "unknown key 'comand' in 'agents.runners.a'; did you mean 'command'",
        ),
        ("- max_parallel", "1:1: a configuration is a map of keys"),
        ("max_parallel: 1\nmax_parallel: 2", "2:1: duplicate key 'max_parallel'"),
        ("secrets: &x [A]", "anchors are not allowed"),
        ("max_parallel: [1", "not YAML"),
    ],
)
def test_a_wrong_value_is_told_with_its_place_and_what_would_be_right(project: Path, text: str, message: str) -> None:
    assert any(message in told for told in refused(project, text)), refused(project, text)


def test_a_value_that_stands_where_names_belong_is_not_repeated(project: Path) -> None:
    assert "hunter2" not in "".join(refused(project, "secrets: ['hunter2!']"))


def test_a_file_that_is_no_text_is_told_to_be_so(project: Path) -> None:
    path = project / ".milestones" / "config" / "milestoned.yaml"
    path.write_bytes(b"max_parallel: \xff\n")
    with pytest.raises(ConfigError, match="is not UTF-8: byte 14"):
        load_config(project, {})
    path.write_bytes(b"#" * 2_000_000)
    with pytest.raises(ConfigError, match="is larger than 1,000,000 bytes"):
        load_config(project, {})
    path.unlink()
    path.mkdir()
    with pytest.raises(ConfigError, match="cannot be read: it is a directory"):
        load_config(project, {})


def test_a_byte_order_mark_is_no_part_of_the_first_key(project: Path) -> None:
    path = project / ".milestones" / "config" / "milestoned.yaml"
    path.write_bytes(b"\xef\xbb\xbfmax_parallel: 9\n")
    assert load_config(project, {}, system=project / "none").settings.max_parallel == 9


# --- the command line ---------------------------------------------------------------------------------------


def test_options_have_the_last_word_and_absent_ones_none() -> None:
    configured = Settings(max_parallel=2, remote="origin", fail_fast=True)
    merged = merge_options(configured, max_parallel=6, remote=None, fail_fast=False, isolation=Isolation.NONE)
    assert merged == attrs.evolve(configured, max_parallel=6, fail_fast=False, isolation=Isolation.NONE)
    assert merge_options(configured) == configured


def test_options_out_of_range_are_refused_in_words() -> None:
    with pytest.raises(ValueError, match="max_parallel must be 1 to 1000, not 0"):
        merge_options(Settings(), max_parallel=0)
    with pytest.raises(ValueError, match="push_every must be 1 or more"):
        merge_options(Settings(), push_every=0)
    with pytest.raises(ValueError, match="intervals must be more than 0"):
        merge_options(Settings(), progress_interval=0)
    with pytest.raises(ValueError, match="there is no agent runner 'x'; configured: a, b"):
        merge_options(Settings(agents=(AgentRunner("a", ("y",)), AgentRunner("b", ("y",)))), default_agent="x")


# --- limits -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("limits: 4GiB", "1:1: 'limits' must be a map of memory, cpu, descriptors, threads, such as"),
        ("limits: {memori: 4GiB}", "1:10: unknown key 'memori' in 'limits'; known: memory, cpu, descriptors, threads"),
        ("limits: {memory: much}", "1:18: 'memory' must be bytes, or a text such as 500MB or 1GiB, not 'much'"),
        ("limits: {memory: [1]}", "1:10: 'memory' must be a map of soft, hard, for, or the hard limit alone"),
        ("limits: {memory: {soft: 2GB, hard: 1GB}}", "1:36: 'hard' of 'memory' must be at least the soft limit"),
        ("limits: {threads: {soft: 0}}", "1:26: 'soft' of 'threads' must be a number, more than 0, or nothing"),
        ("limits: {threads: {most: 1}}", "1:20: unknown key 'most' in 'threads'; known: soft, hard, for"),
        ("limits: {cpu: {soft: 90, for: 0s}}", "1:10: 'for' must be more than 0: a moment's use of the processor"),
        ("roles: {limits: {cpu: {for: soon}}}", "1:29: 'for' must be seconds, or a text such as 90s"),
    ],
    ids=map(str, range(9)),
)
def test_a_limit_that_cannot_be_kept_is_refused_where_it_stands(project: Path, text: str, message: str) -> None:
    (found,) = refused(project, text)
    assert found.partition(": ")[0] == message.partition(": ")[0]
    assert message.partition(": ")[2] in found


def test_limits_of_another_file_can_be_taken_back(project: Path) -> None:
    limited = "limits: {memory: 1GB}"
    assert load(project, limited).settings.task_limits
    assert load(project, limited, explicit="limits: {}").settings.task_limits == Limits()
