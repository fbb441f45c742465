"""`milestonectl import`: what supervisord and foreman were told, as children, and what is lost with its place."""

import json
import os
import re
import signal
import socket
import stat
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from supervisor import BRUTAL_KILL, ChildSpec, ProgramSpec, Restart, Specs, Supervisor, load_specs
from supervisor.cli.procfile import argv_of
from supervisor.linux import is_alive
from tests.cli.conftest import Ctl
from tests.e2e.stage import pid_in
from tests.waiting import wait_until

CONF: Final = """\
; a comment
[supervisord]
environment=SHARED="a,b",N=1   ; another
umask=027

[inet_http_server]
port=*:9001

[program:web]
command=serve --name "my app" %(ENV_WHERE)s 50%% -n %(process_num)d
process_name=%(program_name)s_%(process_num)02d
numprocs=2
numprocs_start=7
directory=%(here)s
environment=KEY="v;a l",ZERO=1e5,
    MORE='on'
autorestart=true
exitcodes=0,3
stopsignal=QUIT
stopwaitsecs=3
user=www-data
stdout_logfile=/var/log/%(program_name)s-%(process_num)s.log
startretries=5

[group:back]
programs=queue, cache
priority=5

[program:queue]
command=/usr/bin/queue
stopsignal=SIGKILL
priority=10

[program:cache]
command=cache
priority=1
autorestart=false

[program:late]
command=late
autostart=false
comand=typed
stdout_logfile=/dev/stdout

[include]
files=conf.d/*.conf
"""


def specs_of(tmp_path: Path, text: str) -> Specs:
    """Return the specs that a text holds."""
    path = tmp_path / "specs.yaml"
    path.write_text(text, encoding="utf-8")
    return load_specs(path)


@pytest.fixture
def conf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write a supervisord.conf, and a file that it includes; the test stands beside it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WHERE", "/srv")
    path = tmp_path / "supervisord.conf"
    path.write_text(CONF)
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "a.conf").write_text("[program:more]\ncommand=more\npriority=2000\n")
    return path


def test_programs_groups_and_includes_of_a_supervisord_become_children(ctl: Ctl, conf: Path, tmp_path: Path) -> None:
    done = ctl("import", str(conf))
    assert done.code == 0
    children, flags = specs_of(tmp_path, done.out)
    assert [child.id for child in children] == ["back", "web", "more"]
    back, web, more = children
    assert [child.id for child in back.children] == ["cache", "queue"]
    assert [child.restart for child in back.children] == [Restart.TEMPORARY, Restart.TRANSIENT]
    assert [child.shutdown for child in back.children] == [10, BRUTAL_KILL]
    assert [child.id for child in web.children] == ["web_07", "web_08"]
    assert (web.flags and web.flags.intensity, flags.intensity) == (5, 5)
    first = web.children[0]
    assert (first.restart, first.shutdown, first.quarantine) == (Restart.PERMANENT, 3, True)
    assert first.program is not None
    words = ("serve", "--name", "my app", "/srv", "50%", "-n", "7")
    assert first.program.argv == ("/bin/sh", "-c", 'umask 027; exec "$@"', "sh", *words)
    assert first.program.env == {"SHARED": "a,b", "N": "1", "KEY": "v;a l", "ZERO": "1e5", "MORE": "on"}
    assert (first.program.cwd, first.program.output) == (str(tmp_path), "/var/log/web-7.log")
    assert first.program.success_codes == {0, 3}
    assert more.program is not None
    assert more.program.argv[-1] == "more"
    assert "# - id: late" in done.out


def test_each_thing_that_is_lost_has_its_line_and_what_to_do_on_standard_error_in_comments_and_as_json(
    ctl: Ctl, conf: Path
) -> None:
    done = ctl("import", str(conf))
    lines = CONF.splitlines()
    document = json.loads(ctl("import", str(conf), "--json").out)
    assert document["format"] == "supervisord"
    assert (document["children"], document["output"], document["specs"]) == (6, None, done.out)
    assert document["files"] == [str(conf), str(conf.parent / "conf.d" / "a.conf")]
    lost = [(lines[one["line"] - 1], one["child"], one["what"]) for one in document["lost"]]
    assert lost == [
        ("[inet_http_server]", None, "[inet_http_server]"),
        ("autostart=false", "late", "autostart = false"),
        ("comand=typed", "late", "comand is no option of a program"),
        ("stdout_logfile=/dev/stdout", "late", "stdout_logfile = /dev/stdout"),
        (lines[9], "web", "command: %(ENV_WHERE)s"),
        ("stopsignal=QUIT", "web", "stopsignal = QUIT"),
        ("user=www-data", "web", "user = www-data"),
        (lines[21], "web", "the rotation of stdout_logfile"),
    ]
    assert "did you mean 'command'?" in done.err
    for one in document["lost"]:
        assert f"supervisord.conf:{one['line']}: " in done.err
        assert f"{one['what']}: {one['cure']}" in done.err
        assert f"{one['what']}: {one['cure']}" in done.out
    assert done.err.endswith("6 programs; 8 things could not be carried over\n")


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("[program:a]\ncommand=x %(nosuch)s\n", 2, "no such name"),
        ("[program:a]\ncommand=x %(ENV_NOSUCH)s\n", 2, "has no NOSUCH"),
        ("[program:a]\ncommand=x 50%\n", 2, "written %%"),
        ('[program:a]\ncommand=x "y\n', 2, "parted into words"),
        ("[program:a]\n", 1, "command is missing"),
        ("[program:a]\ncommand=x\nnumprocs=2\n", 1, "process_name must hold"),
        ("[program:a]\ncommand=x\nnumprocs=many\n", 3, "whole number"),
        ("[program:a]\ncommand=x\n\nautostart=perhaps\n", 4, "true or false"),
        ("[program:a]\ncommand=x\nstopsignal=NOSUCH\n", 3, "no signal"),
        ("[program:a]\ncommand=x\nexitcodes=0,300\n", 3, "0 to 255"),
        ("[program:a]\ncommand=x\numask=9\n", 3, "octal"),
        ("[program:a]\ncommand=x\nenvironment=A\n", 3, 'must be NAME="value"'),
        ("[program:a]\ncommand=x\n[group:g]\nprograms=b\n", 4, "there is no [program:b]"),
        ("[program:a]\ncommand=x\n[group:g]\n", 3, "has no 'programs'"),
        (
            "[program:a]\ncommand=x\nprocess_name=p\n[program:b]\ncommand=x\nprocess_name=p\n[group:g]\nprograms=a,b\n",
            7,
            "another child has this id",
        ),
        ("[program:a b]\ncommand=x\n", 1, "no blank, colon or slash"),
        ("[program:a]\ncommand=x\nprocess_name=b/c\n", 1, "no blank, colon or slash"),
        ("[program:a]\ncommand=x\nstartretries=9999999999999999\n", 3, "at most"),
        ("[program:a]\ncommand=x\nenvironment=A=C:\\x\n", 3, 'must be NAME="value"'),
        ("[program:a]\ncommand=x\nnonsense\n", 3, "must be a [section]"),
        ("[supervisord]\n", 1, "there is no [program:...]"),
        ("[include\n", 1, "before the first [section]"),
        ("[supervisord]\nenvironment=A=%(x)s\n[program:a]\ncommand=x\n", 2, "no such name"),
        ("web: x\nweb: y\n", 2, "already, in line 1"),
        ("# nothing\n", 1, "there is no process"),
        ("web: x\nnonsense\n", 2, "must be 'name: command'"),
        ("web: x\nweb.1: x\n", 2, "letters, digits, '-' and '_'"),
        ("web: x\nb: x\0\n", 2, "NUL byte"),
        ("command=x\n[program:a]\n", 1, "before the first [section]"),
    ],
)
def test_an_error_of_the_input_is_located(ctl: Ctl, tmp_path: Path, text: str, line: int, said: str) -> None:
    path = tmp_path / "input"
    path.write_text(text)
    done = ctl("import", str(path))
    assert (done.code, done.out) == (2, "")
    assert f"input:{line}: " in done.err
    assert said in done.err
    assert json.loads(ctl("import", str(path), "--json").out)["error"]["code"] == 2


def test_a_file_that_is_missing_no_text_or_too_large_is_said_to_be(ctl: Ctl, tmp_path: Path) -> None:
    path = tmp_path / "x"
    assert ctl("import", str(path)).code == ctl("import", str(tmp_path)).code == 1
    path.write_bytes(b"[program:a]\ncommand=\xff\n")
    assert "x:2: is not UTF-8" in ctl("import", str(path)).err
    path.write_bytes(b"#" * 1_000_001)
    assert "is larger than" in ctl("import", str(path)).err


@pytest.mark.parametrize("pattern", ["/", "..", "nosuch/*", "conf.d", "/nosuch/*/[x", "%(here)s/none"])
def test_a_pattern_of_an_include_that_is_no_file_is_told(ctl: Ctl, conf: Path, pattern: str) -> None:
    conf.write_text(f"[include]\nfiles={pattern} conf.d/*\n")
    done = ctl("import", str(conf))
    assert done.code == 0
    assert "- id: more" in done.out
    assert "supervisord.conf:2: not carried over: [include] files = " in done.err


def test_a_file_is_written_for_oneself_alone_and_none_is_overwritten_without_force(
    ctl: Ctl, conf: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out" / "specs.yaml"
    homeless = ctl("import", str(conf), "-o", str(output))
    assert homeless.code == 74
    assert f"{output.name}: No such file or directory" in homeless.err
    assert f".{output.name}" not in homeless.err
    output.parent.mkdir()
    done = ctl("import", str(conf), "-o", str(output))
    assert (done.code, done.out) == (0, "")
    assert stat.S_IMODE(output.stat().st_mode) == 0o600
    text = output.read_text()
    output.write_text("mine")
    refused = ctl("import", str(conf), "-o", str(output))
    assert (refused.code, output.read_text()) == (1, "mine")
    assert "--force" in refused.err
    assert ctl("import", str(conf), "-o", str(output), "--force").code == 0
    assert output.read_text() == text
    assert list(output.parent.iterdir()) == [output]


def test_what_can_be_read_only_once_is_imported(ctl: Ctl, tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.write(writer, b"[program:a]\ncommand=x\n")
    os.close(writer)
    try:
        done = ctl("import", f"/dev/fd/{reader}")
    finally:
        os.close(reader)
    assert (done.code, [child.id for child in specs_of(tmp_path, done.out).children]) == (0, ["a"])


def test_a_file_that_cannot_be_read_is_named(ctl: Ctl) -> None:
    done = ctl("import", "/proc/self/mem")
    assert done.code == 74
    assert "/proc/self/mem: " in done.err


def test_a_procfile_becomes_children_with_the_ports_of_foreman(
    ctl: Ctl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "Procfile").write_text("# c\nweb: bundle exec 'my app'\n\nwork:  rake $QUEUE && echo\n")
    (tmp_path / ".env").write_text("SECRET=1\n")
    done = ctl("import", "Procfile")
    children, _ = specs_of(tmp_path, done.out)
    programs = [child.program for child in children if child.program is not None]
    assert [child.id for child in children] == ["web", "work"]
    assert [one.argv for one in programs] == [
        ("bundle", "exec", "my app"),
        ("/bin/sh", "-c", "rake $QUEUE && echo"),
    ]
    assert [one.env for one in programs] == [{"PORT": "5000"}, {"PORT": "5100"}]
    assert {one.cwd for one in programs} == {str(tmp_path)}
    assert ".env:1: not carried over: foreman reads .env" in done.err


@pytest.mark.parametrize("command", ["A=1 x", "cd x", "x | y", "x > y", "it's", "exec x", "x *"])
def test_what_a_shell_would_take_for_more_than_words_is_left_to_one(command: str) -> None:
    assert argv_of(command) == ["/bin/sh", "-c", command]


TEXTS: Final = st.text(
    st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"], exclude_characters="'\"\\"), max_size=12
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], database=None)
@given(words=st.lists(TEXTS, min_size=1, max_size=4), value=TEXTS)
def test_whatever_words_a_command_has_they_come_back_from_the_file(
    ctl: Ctl, tmp_path: Path, words: list[str], value: str
) -> None:
    words = [f"x{words[0]}", *words[1:]]
    quoted = " ".join(f"'{word}'" for word in words)
    assume(not re.search(r"\s[;#]", quoted + value))  # a comment, also between quotes
    path = tmp_path / "s.conf"
    text = f'[program:a]\ncommand={quoted}\nenvironment=A="x{value}x"\n'
    path.write_text(text.replace("%", "%%"), encoding="utf-8")
    done = ctl("import", str(path))
    assert done.code == 0, done.err
    (child,) = specs_of(tmp_path, done.out).children
    assert child.program is not None
    assert child.program.argv == tuple(words)
    assert child.program.env == {"A": f"x{value}x"}


def test_what_was_imported_runs(ctl: Ctl, tmp_path: Path) -> None:
    path = tmp_path / "supervisord.conf"
    path.write_text(
        "[program:one]\n"
        "command=sh -c 'echo $$ > \"$PLACE/$NAME\"; exec sleep 1000'\n"
        'environment=PLACE="%(here)s",NAME="%(process_num)s"\n'
        "numprocs=2\nprocess_name=%(program_name)s-%(process_num)d\nstopwaitsecs=5\n"
        "[program:never]\ncommand=touch %(here)s/never\nautostart=false\n"
    )
    specs = tmp_path / "specs.yaml"
    assert ctl("import", str(path), "-o", str(specs)).code == 0
    with Supervisor(*load_specs(specs)):
        pids = [pid_in(tmp_path / name) for name in "01"]
        os.kill(pids[0], signal.SIGKILL)
        again = wait_until(lambda: (pid := pid_in(tmp_path / "0")) != pids[0] and pid, 60.0, "it is started again")
        assert is_alive(again)
    assert not any(is_alive(pid) for pid in (again, pids[1]))
    assert not (tmp_path / "never").exists()


def test_every_name_that_supervisord_expands_is_expanded(ctl: Ctl, tmp_path: Path) -> None:
    path = tmp_path / "supervisord.conf"
    names = "%(program_name)s %(group_name)s %(host_node_name)s %(numprocs)d %(process_num)d %(here)s"
    path.write_text(f"[program:a]\ncommand=echo {names}\n")
    loaded: dict[str, Any] = yaml.safe_load(ctl("import", str(path)).out)
    assert loaded["children"][0]["program"]["argv"] == [
        *("echo", "a", "a", socket.gethostname()),
        *("1", "0", str(tmp_path)),
    ]


def programs_of(ctl: Ctl, tmp_path: Path, text: str) -> dict[str, ProgramSpec]:
    """Import a supervisord.conf, and return its programs by name."""
    path = tmp_path / "supervisord.conf"
    path.write_text(text)
    done = ctl("import", str(path))
    assert done.code == 0, done.err
    programs: dict[str, ProgramSpec] = {}
    waiting = list(specs_of(tmp_path, done.out).children)
    while waiting:
        child = waiting.pop(0)
        waiting += child.children
        if child.program is not None:
            programs[child.id] = child.program
    return programs


def test_variables_that_the_configuration_sets_are_expanded_in_what_comes_after_them(ctl: Ctl, tmp_path: Path) -> None:
    text = (
        '[supervisord]\nenvironment=BASE="/srv"\n'
        "[program:a]\ncommand=%(ENV_BASE)s/%(ENV_NAME)s\n"
        'environment=NAME="a%(process_num)d",PLACE="%(ENV_BASE)s/x"\n'
        "stdout_logfile=/%(ENV_NAME)s.log\nstdout_logfile_maxbytes=0\n"
    )
    program = programs_of(ctl, tmp_path, text)["a"]
    assert program.argv == ("/srv/a0",)
    assert program.env == {"BASE": "/srv", "NAME": "a0", "PLACE": "/srv/x"}
    assert program.output == "/a0.log"
    assert "0 things could not" in ctl("import", str(tmp_path / "supervisord.conf")).err


def test_the_directory_of_a_file_that_is_included_is_its_own(ctl: Ctl, tmp_path: Path) -> None:
    (tmp_path / "50%").mkdir()
    (tmp_path / "50%" / "x.conf").write_text("[program:b]\ncommand=%(here)s/b\n")
    programs = programs_of(ctl, tmp_path, "[include]\nfiles=50%%/*.conf\n[program:a]\ncommand=%(here)s/a\n")
    assert programs["a"].argv == (str(tmp_path / "a"),)
    assert programs["b"].argv == (str(tmp_path / "50%" / "b"),)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (r'A="^\\d+$"', r"^\\d+$"),
        (r'A="C:\x"', r"C:\x"),
        ("A=\"'x'\"", "x"),
        ("A='say \"x\" so'", 'say "x" so'),
        ('A=""', ""),
        ('A=say"x"', 'say"x'),
        ('A="a#b"', "a#b"),
    ],
)
def test_a_variable_has_the_value_that_supervisord_gives_it(ctl: Ctl, tmp_path: Path, written: str, read: str) -> None:
    text = f"[program:a]\ncommand=x\nenvironment={written},B=1\n"
    assert programs_of(ctl, tmp_path, text)["a"].env == {"A": read, "B": "1"}


def test_variables_are_parted_by_whatever_parts_them_to_supervisord(ctl: Ctl, tmp_path: Path) -> None:
    text = '[program:a]\ncommand=x\nenvironment=A="1";B=2,\n'
    assert programs_of(ctl, tmp_path, text)["a"].env == {"A": "1", "B": "2"}


def test_what_is_said_in_default_holds_for_programs_of_every_file(ctl: Ctl, tmp_path: Path) -> None:
    (tmp_path / "more.conf").write_text("[program:b]\ncommand=b\n[program:c]\ncommand=c\ndirectory=/c\n")
    text = "[DEFAULT]\ndirectory=%(here)s\n[program:a]\ncommand=a\n[include]\nfiles=more.conf\n"
    programs = programs_of(ctl, tmp_path, text)
    assert {name: one.cwd for name, one in programs.items()} == {"a": str(tmp_path), "b": str(tmp_path), "c": "/c"}


def test_programs_start_where_a_supervisord_that_daemonizes_stands(
    ctl: Ctl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    programs = (
        "[program:a]\ncommand=a\nstdout_logfile=a.log\n[program:b]\ncommand=b\ndirectory=sub\nstdout_logfile=~/b.log\n"
    )
    there = programs_of(ctl, tmp_path, f"[supervisord]\ndirectory=/srv\n{programs}")
    assert (there["a"].cwd, there["a"].output) == ("/srv", "/srv/a.log")
    assert (there["b"].cwd, there["b"].output) == ("/srv/sub", "/home/ann/b.log")
    here = programs_of(ctl, tmp_path, f"[supervisord]\ndirectory=/srv\nnodaemon=true\n{programs}")
    assert (here["a"].cwd, here["a"].output) == (None, "a.log")


def test_what_supervisord_takes_is_taken(ctl: Ctl, tmp_path: Path) -> None:
    text = (
        '[supervisord]\nminfds=65536\nenvironment=PATH="/x:%(ENV_PATH)s"\n'
        "[program:none]\ncommand=x\nnumprocs=0\n"
        "[program: a ]\ncommand=x\nexitcodes=\nstdout_logfile=off\n"
        "[fcgi-program:php]\ncommand=php\nsocket=tcp://127.0.0.1:9000\n"
        "[group:g]\nprograms=b,php\n[group:h]\nprograms=b\n[group:none]\nprograms=php\n"
        "[program:b]\ncommand=x\nstartretries=999999999\n"
        "[include]\nfiles=more.conf\n"
    )
    (tmp_path / "more.conf").write_text("[include]\nfiles=most.conf\n")
    path = tmp_path / "supervisord.conf"
    path.write_text(text)
    done = ctl("import", str(path))
    children, flags = specs_of(tmp_path, done.out)
    assert [(child.id, [one.id for one in child.children]) for child in children] == [
        ("a", []),
        ("g", ["b"]),
        ("h", ["b"]),
    ]
    program = children[0].program
    assert program is not None
    assert (program.success_codes, program.output) == (frozenset(), os.devnull)
    assert flags.intensity == 999_999_999
    assert program.env["PATH"] == f"/x:{os.environ['PATH']}"
    for lost in (
        "minfds = 65536",
        "environment: %(ENV_PATH)s",
        "none: not carried over: numprocs = 0",
        "[fcgi-program:php]",
        "[include] of a file",
    ):
        assert lost in done.err


def test_programs_that_come_at_once_come_in_the_order_of_their_names(ctl: Ctl, tmp_path: Path) -> None:
    programs = "".join(f"[program:{name}]\ncommand=x\npriority={1 + (name != 'd')}\n" for name in "cadb")
    assert list(programs_of(ctl, tmp_path, programs)) == ["d", "a", "b", "c"]


def test_each_problem_is_told_once(ctl: Ctl, tmp_path: Path) -> None:
    path = tmp_path / "supervisord.conf"
    path.write_text("[program:a]\ncommand=x\nnumprocs=x\n[group:g]\nprograms=a\n[group:h]\nprograms=a\n")
    assert ctl("import", str(path)).err.count("whole number") == 1


RELATIVE: Final = """\
[program:web]
command=bin/serve --now
stdout_logfile=logs/web.log

[program:worker]
command=./job
directory=jobs
stdout_logfile=~/job.log
"""


def test_relative_paths_are_those_of_the_directory_that_supervisord_runs_in(ctl: Ctl, tmp_path: Path) -> None:
    conf = tmp_path / "s.conf"
    conf.write_text(f"[supervisord]\ndirectory=%(here)s/run\n{RELATIVE}", encoding="utf-8")
    document = json.loads(ctl("import", str(conf), "--json").out)
    web, job = (child["program"] for child in yaml.safe_load(document["specs"])["children"])
    assert (web["argv"], web["cwd"]) == (["bin/serve", "--now"], f"{tmp_path}/run")
    assert web["output"] == f"{tmp_path}/run/logs/web.log"
    assert job["argv"] == ["./job"]  # which is found from the directory of its own
    assert (job["cwd"], job["output"]) == (f"{tmp_path}/run/jobs", str(Path.home() / "job.log"))
    assert "the place of" not in str(document["lost"])


def test_the_page_for_who_comes_from_supervisord_shows_what_the_command_makes(
    ctl: Ctl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (Path(__file__).parents[2] / "docs" / "coming-from-supervisord.md").read_text(encoding="utf-8")
    conf, console, made = (
        re.findall(rf"```{kind}\n(.*?)```", page, re.DOTALL)[0] for kind in ("ini", "console", "yaml")
    )
    monkeypatch.chdir(tmp_path)
    (tmp_path / "supervisord.conf").write_text(conf, encoding="utf-8")
    typed, _, said = console.partition("\n")
    done = ctl(*typed.removeprefix("$ milestonectl ").split())
    assert (done.code, done.out + done.err) == (0, said)
    written = (tmp_path / "children.yaml").read_text(encoding="utf-8")
    assert yaml.safe_load(written) == yaml.safe_load(made)
    assert all(line in written.splitlines() for line in made.splitlines())


@pytest.mark.parametrize("head", ["", "[supervisord]\n", "[supervisord]\ndirectory=/srv\nnodaemon=true\n"])
def test_a_relative_path_of_which_nobody_knows_the_directory_is_told(ctl: Ctl, tmp_path: Path, head: str) -> None:
    conf = tmp_path / "s.conf"
    conf.write_text(head + RELATIVE, encoding="utf-8")
    document = json.loads(ctl("import", str(conf), "--json").out)
    lines = head.count("\n")
    told = [(one["line"] - lines, one["child"], one["what"]) for one in document["lost"] if "place" in one["what"]]
    assert told == [
        (2, "web", "the place of command = bin/serve --now"),
        (3, "web", "the place of stdout_logfile = logs/web.log"),
        (7, "worker", "the place of directory = jobs"),
    ]
    assert yaml.safe_load(document["specs"])["children"][1]["program"]["cwd"] == "jobs"


def test_a_child_is_what_it_would_be_in_python(ctl: Ctl, tmp_path: Path) -> None:
    path = tmp_path / "s.conf"
    path.write_text("[program:a]\ncommand=a\n")
    (child,) = specs_of(tmp_path, ctl("import", str(path)).out).children
    expected = ChildSpec(
        "a",
        restart=Restart.TRANSIENT,
        shutdown=10,
        quarantine=True,
        backoff=child.backoff,
        program=["a"],
    )
    assert child == expected
