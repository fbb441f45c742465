"""What holds for every command: help, JSON, exit codes, errors without tracebacks, colours, closed pipes."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from supervisor.cli import COMMANDS, ELSEWHERE, fitness, run_command
from supervisor.cli.fitness import Machine
from tests.cli.conftest import Ctl
from tests.e2e.stage import COMMAND, Project

GOOD = Machine("Linux", "6.1.0-18-amd64", (3, 11), "2.39.5", None)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_says_what_a_command_does_its_exit_codes_and_an_example(ctl: Ctl, name: str) -> None:
    done = ctl(name, "--help")
    assert (done.code, done.err) == (0, "")
    assert re.search(rf"Example: .*milestonectl {name}\b", done.out)
    assert "Exit code" in done.out
    assert "--json" in done.out
    assert ctl(name, "-h").out == done.out


def test_help_lists_every_command_and_no_arguments_show_it(ctl: Ctl) -> None:
    listed = ctl("--help").out
    assert all(f"  {name} " in listed for name in COMMANDS)
    assert ctl().code == 2


@pytest.mark.parametrize("name", ["validate", "plan", "run"])
def test_a_failure_is_json_when_json_was_asked_for(project: Project, ctl: Ctl, name: str) -> None:
    (project.path / ".milestones" / "active").mkdir(parents=True)
    done = ctl(name, "nosuch", "--json")
    error = json.loads(done.out)["error"]
    assert (done.code, error["code"]) == (1, 1)
    assert error["lines"][0].startswith("milestone not found: ")
    assert done.err.startswith("milestonectl: milestone not found: ")


@pytest.mark.parametrize("name", ["validate", "plan", "run"])
def test_outside_a_project_it_says_how_to_make_one(
    tmp_path: Path, ctl: Ctl, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = ctl(name, *(["m"] if name != "validate" else []))
    assert (done.code, done.out) == (1, "")
    assert "milestonectl init" in done.err


def test_what_was_probably_meant_is_named_for_commands_options_and_milestones(project: Project, ctl: Ctl) -> None:
    project.write("milestone-001", "id: milestone-001\ntitle: T\ntasks: []\n")
    assert "did you mean 'validate'?" in ctl("valdate").err
    assert "--max-parallel" in ctl("plan", "--max-paralel", "3", "m").err
    assert "did you mean 'milestone-001'?" in ctl("run", "milestone-1").err
    assert ctl("valdate").code == ctl("plan", "--nope").code == 2
    assert json.loads(ctl("valdate", "--json").out)["error"]["code"] == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--json", "status"), "--json stands behind the command: milestonectl status --json"),
        (("-f", "tail", "a"), "-f stands behind the command: milestonectl tail -f"),
        (("--json",), "--json stands behind the command: milestonectl COMMAND --json"),
        (("--jsn", "status"), "No such option '--jsn'"),
    ],
)
def test_an_option_of_a_command_that_stands_before_it_is_said_to_belong_behind_it(
    ctl: Ctl, words: tuple[str, ...], said: str
) -> None:
    done = ctl(*words)
    assert done.code == 2
    assert said in (json.loads(done.out)["error"]["lines"][0] if "--json" in words else done.err)


@pytest.mark.parametrize("verb", ELSEWHERE)
def test_a_verb_of_supervisorctl_that_is_none_here_is_answered_with_what_does_it(ctl: Ctl, verb: str) -> None:
    done = ctl(verb, "web")
    assert (done.code, f"there is no command '{verb}' as in supervisorctl: {ELSEWHERE[verb]}" in done.err) == (2, True)
    named = re.search(r"milestonectl (?:-C DIRECTORY|([a-z]+))", ELSEWHERE[verb])
    assert named is None or named[1] is None or named[1] in COMMANDS


def test_a_completed_milestone_is_not_run_again_by_accident(project: Project, ctl: Ctl) -> None:
    completed = project.path / ".milestones" / "completed"
    completed.mkdir(parents=True)
    (completed / "m.yaml").write_text("id: m\ntitle: T\ntasks: []\n")
    done = ctl("run", "m")
    assert done.code == 0
    assert done.err == ""
    assert "completed already: .milestones/completed/m.yaml" in done.out
    result = json.loads(ctl("run", "m", "--json").out)
    assert result.keys() == {"session", "status", "reason", "code"}
    assert (result["status"], result["code"]) == ("completed", 0)


def test_without_a_command_the_help_is_shown_once_and_as_no_error(ctl: Ctl) -> None:
    done = ctl()
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("Usage: milestonectl")
    assert done.err.count("Usage:") == 1
    assert "Error" not in done.err


@pytest.mark.parametrize("typed", ["small.yaml", ".milestones/active/small.yaml"])
def test_a_file_where_an_id_belongs_is_answered_with_the_id(project: Project, ctl: Ctl, typed: str) -> None:
    project.write("small", "id: small\ntitle: T\ntasks: []\n")
    assert "did you mean 'small'?" in ctl("run", typed).err
    assert "did you mean 'small'?" in ctl("plan", typed).err


def test_what_is_wrong_in_a_file_is_said_with_its_path_as_one_types_it(project: Project, ctl: Ctl) -> None:
    project.write("bad", "id: bad\ntitle: B\ntasks:\n  - {id: a, title: A, run: x, depends_on: [b]}\n")
    for verb in ("validate", "plan", "run"):
        done = ctl(verb, "bad")
        assert done.code == 2, verb
        said = done.out + done.err
        assert re.search(r"^\W*(?:milestonectl: )?\.milestones/active/bad\.yaml:4:\d+: ", said, re.MULTILINE)
        assert str(project.path) not in said


@pytest.mark.parametrize(
    ("module", "words"),
    [("supervisor.cli", ["version"]), ("supervisor.cli", []), ("supervisor.daemon", ["--version"])],
    ids=["command", "shell", "daemon"],
)
def test_garbage_is_collected_again_once_all_is_loaded_and_not_looked_for_in_what_was_loaded(
    module: str, words: list[str]
) -> None:
    program = (
        "import atexit, gc, sys\n"
        f"from {module} import main\n"
        "atexit.register(lambda: print(gc.isenabled(), gc.get_freeze_count() > 10_000))\n"
        "main()\n"
    )
    words = [sys.executable, "-c", program, *words]
    done = subprocess.run(words, input="", capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "True True"


def test_version_names_what_counts(ctl: Ctl) -> None:
    found = json.loads(ctl("version", "--json").out)
    assert found.keys() == {"milestoned", "python", "git", "kernel", "libraries", "complaints"}
    assert found["milestoned"] == version("milestoned")
    assert found["libraries"]["pykka"] == version("pykka")
    assert f"milestoned  {version('milestoned')}\n" in ctl("version").out
    assert version("milestoned") in ctl("--version").out


@pytest.mark.parametrize(
    ("machine", "words"),
    [
        (attrs.evolve(GOOD, system="Darwin"), ("Darwin", "only Linux")),
        (attrs.evolve(GOOD, release="5.10.0-30-amd64"), ("5.10.0", "5.14")),
        (attrs.evolve(GOOD, python=(3, 10)), ("3.10", "3.11")),
        (attrs.evolve(GOOD, git="2.30.2"), ("2.30.2", "2.38", "--isolation none")),
        (attrs.evolve(GOOD, rival="4.3.0"), ("Supervisor 4.3.0", "environment of its own")),
    ],
    ids=["system", "kernel", "python", "git", "supervisor"],
)
def test_a_machine_that_will_not_do_is_told_why(machine: Machine, words: tuple[str, ...]) -> None:
    (complaint,) = fitness.complaints(machine, needs_git=True)
    assert all(word in complaint for word in words)


def test_a_machine_that_will_do_is_not_complained_of_nor_is_git_where_none_is_needed() -> None:
    assert fitness.complaints(GOOD, needs_git=True) == ()
    assert fitness.complaints(attrs.evolve(GOOD, release="5.14.0"), needs_git=True) == ()
    assert fitness.complaints(attrs.evolve(GOOD, git=None), needs_git=True) == ()
    assert fitness.complaints(attrs.evolve(GOOD, git="2.30.2"), needs_git=False) == ()


@pytest.mark.usefixtures("small")
def test_run_refuses_an_environment_with_the_supervisor_of_pypi(project: Project, tmp_path: Path) -> None:
    info = tmp_path / "site" / "supervisor-4.3.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: supervisor\nVersion: 4.3.0\n")
    done = project.ctl("run", "small", env={"PYTHONPATH": str(info.parent)})
    assert (done.code, done.out) == (78, "")
    assert "Supervisor 4.3.0 of PyPI" in done.err
    assert "pipx" in done.err
    assert not (project.path / ".milestones" / "state.db").exists()


@pytest.mark.usefixtures("small")
def test_run_refuses_a_git_that_is_too_old(project: Project, tmp_path: Path) -> None:
    program = tmp_path / "old" / "git"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho git version 2.30.2\n")
    program.chmod(0o755)
    done = project.ctl("run", "small", env={"PATH": f"{program.parent}:{os.environ['PATH']}"})
    assert done.code == 78
    assert "git 2.30.2 is too old" in done.err


@pytest.mark.row("F26")
def test_a_removed_working_directory_is_an_error_with_a_cure(tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    script = 'cd "$1" && rmdir "$1" && shift && exec "$@" -m supervisor.cli status'
    done = subprocess.run(
        ["/bin/sh", "-c", script, "sh", str(folder), sys.executable], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "the current directory does not exist any more" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("words", [("plan", "small"), ("plan", "x", "--json"), ("status", "--json"), ("--help",)])
def test_a_reader_that_goes_away_is_no_error_message(project: Project, words: tuple[str, ...]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [*COMMAND, "-C", str(project.path), *words], stdout=writing, stderr=subprocess.PIPE, text=True, check=False
        )
    finally:
        os.close(writing)
    assert "Traceback" not in done.stderr
    assert done.returncode == 141


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("words", [("status", "--json"), ("run", "nosuch", "--json")])
def test_output_that_finds_no_room_is_exit_code_74_and_no_traceback(project: Project, words: tuple[str, ...]) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [*COMMAND, "-C", str(project.path), *words], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("milestonectl: ")
    assert done.returncode == (1 if "run" in words else 74)


STREAMS_CLOSED = 'exec "$@" <&- >&- 2>&-'


def without_streams(project: Project, *words: str) -> int:
    """Run `milestonectl` without standard input, output and error, as some service managers start programs."""
    command = ["sh", "-c", STREAMS_CLOSED, "sh", *COMMAND, "-C", str(project.path), *words]
    return subprocess.run(command, check=False, timeout=120).returncode


def test_a_run_without_standard_streams_does_its_work(project: Project) -> None:
    project.write("m1", "id: m1\ntitle: T\ntasks: [{id: a, title: A, run: echo done}]\n")
    assert without_streams(project, "run", "m1") == 0
    assert "done" in project.ctl("tail", "a").out


@pytest.mark.parametrize("words", [("tail", "a"), ("top",), ()])
def test_a_command_without_standard_streams_has_the_exit_code_that_it_has_with_them(
    project: Project, words: tuple[str, ...]
) -> None:
    assert without_streams(project, *words) == project.ctl(*words).code


@pytest.mark.usefixtures("small")
def test_a_run_whose_output_nobody_reads_ends_in_order_and_is_resumable(project: Project) -> None:
    project.write("slow", 'id: slow\ntitle: T\ntasks: [{id: a, title: A, run: "sleep 60"}]\n')
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [*COMMAND, "-C", str(project.path), "run", "slow"],
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=60,
        )
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")
    assert project.session_json()["status"] == "interrupted"


@pytest.mark.usefixtures("small")
def test_there_are_no_colours_in_a_pipe(project: Project) -> None:
    assert "\x1b" not in project.ctl("plan", "small").out


def test_an_encoding_without_the_characters_shows_others(project: Project) -> None:
    project.write("umlaut", "id: umlaut\ntitle: Łź 🎉\ntasks:\n  - {id: a, title: A, run: x}\n")
    env = {"PYTHONIOENCODING": "latin-1", "PYTHONUTF8": "0"}
    drawn = project.ctl("plan", "umlaut", env=env)
    assert (drawn.code, drawn.err) == (0, "")
    assert "?? ?" in drawn.out
    assert "####" in drawn.out
    document = json.loads(project.ctl("plan", "umlaut", "--json", env=env).out)
    assert document["title"] == "Łź 🎉"


TYPED = (
    "all small small:* : * ../x -- - --json --help -j 0 -1 3 --config --isolation none --max-parallel=9 --fail-fast "
    "-C / . \udcff \x1b[2J ü"
)
WORDS = st.sampled_from([*COMMANDS, "", *TYPED.split(" ")])


@pytest.mark.usefixtures("small")
def test_a_supervising_process_that_cannot_be_reached_is_named(ctl: Ctl, supervised: Callable[[], None]) -> None:
    assert "nobody supervises" in ctl("stop", "small").err
    supervised()
    done = ctl("stop", "small")
    assert done.code == 69
    assert f"process {os.getpid()} (a test)" in done.err
    assert "nobody listens at its control socket" in done.err
    assert f"look closer with: milestonectl doctor; to end it in order: kill {os.getpid()}" in done.err


@pytest.mark.parametrize("seconds", ["nan", "inf", "-1", "1e999", "1e10", "-inf", "x"])
@pytest.mark.parametrize("words", [("pause", "--timeout"), ("top", "--interval")])
def test_a_time_that_nobody_can_wait_for_is_wrong_usage(ctl: Ctl, words: tuple[str, ...], seconds: str) -> None:
    done = ctl(*words, seconds)
    assert done.code == 2
    assert "Invalid value for" in done.err


@settings(
    max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], database=None
)
@given(words=st.lists(WORDS | st.text(max_size=8), max_size=5))
def test_whatever_is_typed_no_traceback_is_the_answer(project: Project, ctl: Ctl, words: list[str]) -> None:
    (project.path / ".milestones" / "active").mkdir(parents=True, exist_ok=True)
    if "init" in words or "-C" in words:
        words = [word for word in words if word not in {"init", "-C"}]
    done = ctl(*words)
    assert done.code in {0, 1, 2, 4, 69, 78}
    assert "Traceback" not in done.out + done.err
    if "--json" in words and done.code == 1:
        json.loads(done.out)


@pytest.mark.row("F22")
@pytest.mark.parametrize("words", [("recover", "\udcff"), ("\udcff",), ("plan", "--\udcff"), ("run", "\udcff")])
def test_bytes_that_are_no_text_are_quoted_escaped(project: Project, ctl: Ctl, words: tuple[str, ...]) -> None:
    (project.path / ".milestones" / "active").mkdir(parents=True)
    done = ctl(*words)
    assert done.code in {1, 2}
    assert "udcff" in done.err


def test_a_defect_is_said_in_a_line_and_shows_its_traceback_when_asked(
    project: Project, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("told by a test")

    monkeypatch.setattr("supervisor.cli.init.find_project", fail)
    assert run_command(["-C", str(project.path), "init"]) == 70
    quiet = capsys.readouterr().err
    monkeypatch.setenv("MILESTONED_TRACEBACK", "1")
    run_command(["-C", str(project.path), "init"])
    assert "Traceback" not in quiet
    assert "RuntimeError: told by a test" in quiet
    assert "Traceback" in capsys.readouterr().err
