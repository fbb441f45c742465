"""What the documentation says is so: the tour runs as it is written, every command, option, key and field is there.

Owns the comparison of `README.md` and `docs/` with the program.
"""

import os
import re
import subprocess
import sys
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Any, Final

import click
import pykka
import pytest
import yaml

import supervisor
from actors.files import read_milestone_file
from actors.reader import read
from actors.state import ROLES
from supervisor.cli import COMMANDS, milestonectl
from supervisor.config import ConfigError, load_config
from supervisor.config_keys import known_keys
from supervisor.linux import is_alive
from tests.waiting import wait_until

CHECKOUT: Final = Path(__file__).parents[1]
README: Final = (CHECKOUT / "README.md").read_text(encoding="utf-8")
DOCS: Final = {path.name: path.read_text(encoding="utf-8") for path in sorted((CHECKOUT / "docs").glob("*.md"))}

INSTALLING: Final = ("python3 -m venv ", "export PATH=")
"""Beginnings of the tour's two lines that are replaced: a test installs nothing, so it uses the environment's own
`milestonectl` instead. Everything after them is executed as it is written."""


def fenced(text: str, language: str) -> list[str]:
    """Return the fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def tour() -> list[tuple[str, list[str]]]:
    """Return the commands of the sixty seconds, each with the lines that the README shows as its output."""
    section = README.split("## Sixty seconds")[1].split("\n## ")[0]
    steps: list[tuple[str, list[str]]] = []
    for line in "".join(fenced(section, "console")).splitlines():
        if line.startswith("$ "):
            steps.append((line.removeprefix("$ "), []))
        else:
            steps[-1][1].append(line)
    return steps


def test_the_readme_has_the_two_commands_and_make_has_them_too() -> None:
    block = fenced(README, "console")[0]
    assert block == "$ make demo\n$ make test\n"
    makefile = (CHECKOUT / "Makefile").read_text(encoding="utf-8")
    assert re.search(r"^demo:.*##", makefile, re.MULTILINE)
    assert re.search(r"^test:.*##", makefile, re.MULTILINE)


def test_the_tour_does_what_the_readme_says(tmp_path: Path) -> None:
    steps = tour()
    assert [command.startswith(INSTALLING) for command, _ in steps] == [True, True] + [False] * (len(steps) - 2)
    script = ["set -e"]
    for command, _ in steps[2:]:
        script += [command, "echo '--- next'"]
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "GIT_PAGER": "cat"}
    done = subprocess.run(
        ["bash", "-c", "\n".join(script)],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        timeout=100,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    outputs = done.stdout.split("--- next\n")
    for (command, shown), output in zip(steps[2:], outputs, strict=False):
        assert all(line in output.splitlines() for line in shown), f"{command} printed {output}"
    assert "Milestone execution time: " in done.stdout
    assert len(outputs[-2].splitlines()) == 17


def commands() -> dict[str, click.Command]:
    """Return every command by name."""
    context = click.Context(milestonectl)
    return {name: command for name in COMMANDS if (command := milestonectl.get_command(context, name)) is not None}


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_every_command_and_option_is_documented(name: str) -> None:
    page = DOCS["cli.md"]
    command = commands()[name] if name else milestonectl
    section = page.split(f"\n## {name}\n")[1].split("\n## ")[0] if name else page.split("\n## ")[0]
    assert command.help
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help or not name
            for option in (*parameter.opts, *parameter.secondary_opts):
                assert f"`{option}" in section, f"{name} {option}"


@pytest.mark.parametrize("name", COMMANDS)
def test_the_exit_codes_of_a_commands_help_stand_in_its_section(name: str) -> None:
    section = DOCS["cli.md"].split(f"\n## {name}\n")[1].split("\n## ")[0]
    said = re.search(r"Exit codes?: (.*?)\n\n", f"{commands()[name].help}\n\n", re.DOTALL)
    assert said is not None
    documented = section.split("Exit code")[1]
    for code in re.findall(r"\b\d{1,3}\b", said[1]):
        assert re.search(rf"\b{code}\b", documented), f"{name}: {code}"


def test_what_the_command_page_documents_exists() -> None:
    for name, section in re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", DOCS["cli.md"], re.DOTALL | re.MULTILINE):
        options = {
            option
            for parameter in commands()[name].params
            if isinstance(parameter, click.Option)
            for option in (*parameter.opts, *parameter.secondary_opts)
        }
        assert set(re.findall(r"^\| .*?`(--[a-z-]+)", section, re.MULTILINE)) <= options


def test_every_key_of_the_configuration_is_documented_with_its_default() -> None:
    defaults = yaml.safe_load((CHECKOUT / "configs" / "milestoned.yaml").read_text(encoding="utf-8"))
    rows = dict(re.findall(r"^\| `([a-z_.]+)` \| `(.*?)` \|", DOCS["configuration.md"], re.MULTILINE))
    assert rows.keys() == known_keys().keys()
    for key, shown in rows.items():
        value = defaults
        for part in key.split("."):
            value = value[part]
        assert yaml.safe_load(shown) == value, key


def test_what_the_configuration_page_shows_is_accepted(tmp_path: Path) -> None:
    path = tmp_path / "milestoned.yaml"
    path.write_text("\n".join(fenced(DOCS["configuration.md"], "yaml")))
    try:
        settings = load_config(tmp_path, {}, path).settings
    except ConfigError as error:
        pytest.fail(str(error))
    assert (settings.default_agent, settings.agents[0].timeout) == ("reviewer", 1800.0)
    assert settings.worktree_setup == ("npm ci --prefer-offline",)


def test_the_milestone_of_the_readme_is_valid_and_uses_every_executable_field() -> None:
    (block,) = fenced(README, "yaml")
    reading = read(block.encode(), "release-7.yaml")
    assert reading.problems == ()
    fields = ("run", "verify", "timeout", "retries", "retry_delay", "env", "files", "on_crash", "agent", "depends_on")
    for field in fields:
        assert re.search(rf"^    {field}: ?", block, re.MULTILINE), field
        assert f"`{field}`" in DOCS["milestone-files.md"], field


def test_what_is_claimed_of_the_example_is_so() -> None:
    path = CHECKOUT / "configs" / "examples" / "milestone-001.yaml"
    milestone = read_milestone_file(path).milestone
    assert milestone is not None
    assert f"milestone of {len(milestone.tasks)} tasks" in README


def test_links_between_the_pages_lead_somewhere() -> None:
    for folder, text in ((CHECKOUT, README), *((CHECKOUT / "docs", page) for page in DOCS.values())):
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", text):
            assert (folder / target).exists(), target


def test_every_test_that_a_page_names_is_there() -> None:
    named = {name: re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", text) for name, text in DOCS.items()}
    assert len(named["security.md"]) >= 40
    missing = [
        f"{page}: {path}::{test}"
        for page, found in named.items()
        for path, test in found
        if not (CHECKOUT / path).is_file() or f"def {test}(" not in (CHECKOUT / path).read_text(encoding="utf-8")
    ]
    assert missing == []


COMPLAINTS: Final = [
    "#1101",
    "#1396",
    "#865",
    "#595",
    "#199",
    "#1502",
    "#925",
    "#1444",
    "#892",
    "#1104",
    "#1670",
    "#1411",
    "#591",
    "#504",
    "#122",
    "#805",
    "#954",
    "#1336",
    "#520",
    "#487",
    "#323",
    "#1310",
    "#1528",
    "#1285",
    "#712",
    "#733",
    "#775",
    "#1062",
    "#1182",
    "#1373",
    "#1588",
    "#586",
    "#1223",
    "#1488",
    "#1274",
    "#1265",
    "#273",
    "#322",
    "#1090",
    "#402",
    "#1699",
    "#1683",
    "#1697",
    "#1702",
    "CVE-2019-12105",
]
"""What users of Supervisor complain about: issues of that project that stand for many."""


def complaints() -> dict[str, str]:
    """Return the rows of the page: complaint -> the cell that names tests."""
    rows = re.findall(r"^\| (.*?) \| .*? \| (.*?) \|$", DOCS["coming-from-supervisord.md"], re.MULTILINE)
    return {complaint: shown for complaint, shown in rows if complaint not in {"complaint", "---"}}


def test_every_complaint_is_answered() -> None:
    first = DOCS["coming-from-supervisord.md"].split("## Supervisor\n")[1].split("\n## ")[0]
    said = " ".join(complaint for complaint in complaints() if f"| {complaint} |" in first)
    assert [one for one in COMPLAINTS if not re.search(rf"{re.escape(one)}\b", said)] == []
    assert len(complaints()) == DOCS["coming-from-supervisord.md"].count("\n| ") - 2


@pytest.mark.parametrize("complaint", complaints())
def test_the_answer_to_a_complaint_is_shown_by_tests_that_exist(complaint: str) -> None:
    named = re.findall(r"\[([a-z0-9 ]+)\]\(\.\./(tests/\S+?\.py)\)", complaints()[complaint])
    assert named
    assert ", ".join(f"[{name}](../{path})" for name, path in named) == complaints()[complaint]
    for name, path in named:
        assert f"\ndef test_{name.replace(' ', '_')}(" in (CHECKOUT / path).read_text(encoding="utf-8"), name


COMPARISONS: Final = ("coming-from-erlang.md", "coming-from-circus-and-pm2.md")

OF_ACTORS: Final = {"on_event", "start_info", "last_exit"}
"""What an actor or a supervisor is given or gives by a name; docs/embedding.md says how."""


def names_of_the_library() -> dict[str, Any]:
    """Return what an expression of the pages may name: the library, and stand-ins for a reader's own values."""
    verbs = {
        name: partial(signature(method).bind, None)
        for name, method in vars(supervisor.Supervisor).items()
        if callable(method) and not name.startswith("_")
    }
    hooks = {name: getattr(pykka.ThreadingActor, name) for name in ("__init__", "on_start", "on_stop", "on_failure")}
    own = {"children": (), "flags": supervisor.SupervisorFlags(), "argv": ["true"], "spec": None, "child": "s/child"}
    told: dict[str, object] = {
        "args": {},
        "message": {},
        "on_receive": pykka.ThreadingActor.on_receive,
        **dict.fromkeys(OF_ACTORS),
    }
    public = {name: getattr(supervisor, name) for name in supervisor.__all__}
    return {**public, "load_specs": partial(signature(supervisor.load_specs).bind), **verbs, **hooks, **own, **told}


@pytest.mark.parametrize("page", COMPARISONS)
def test_what_a_comparison_says_is_there_is_there(page: str) -> None:
    names = names_of_the_library()
    assert [name for name in OF_ACTORS if name not in DOCS["embedding.md"]] == []
    cells = [line.split("|")[2] for line in DOCS[page].splitlines() if line.startswith("| ")]
    expressions = [expression for cell in cells for expression in re.findall(r"`([^`]+)`", cell)]
    assert len(expressions) >= 30
    for expression in expressions:
        try:
            eval(expression, dict(names))  # noqa: S307 - it stands in our own page, and is what a reader would type
        except Exception as error:  # noqa: BLE001 - whatever it is, the page is wrong
            pytest.fail(f"{page}: {expression}: {error!r}")


def test_the_keeper_of_services_on_the_page_ends_them_in_order(tmp_path: Path) -> None:
    text = DOCS["coming-from-circus-and-pm2.md"]
    (tmp_path / "keeper.py").write_text(fenced(text, "python")[0], encoding="utf-8")
    service = "[sh, -c, 'echo $$ > pid.new; mv pid.new pid; exec sleep 1000']"
    specs = fenced(text, "yaml")[0].replace('[sleep, "1000"]', service)
    (tmp_path / "supervisor.yaml").write_text(specs.replace("cwd: /", f"cwd: '{tmp_path}'"), encoding="utf-8")
    env = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    with subprocess.Popen([sys.executable, "keeper.py"], cwd=tmp_path, env=env) as keeper:
        try:
            wait_until((tmp_path / "pid").exists, 60.0, "the service runs")
            keeper.terminate()
            assert keeper.wait(60) == 0
        finally:
            keeper.kill()
    assert not is_alive(int((tmp_path / "pid").read_text(encoding="utf-8")))


def test_every_role_is_named_in_the_readme_and_every_source_that_the_tour_of_the_code_names_exists() -> None:
    assert all(role in README for role in ROLES)
    text = DOCS["architecture.md"]
    for path in re.findall(r"`((?:actors|supervisor)/[a-z_/]+\.py)`", text):
        assert (CHECKOUT / path).is_file(), path


def test_the_readme_says_that_the_supervisor_of_pypi_needs_another_environment() -> None:
    assert "PyPI's Supervisor" in README
