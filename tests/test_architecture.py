"""Imports point one way, pure modules stay pure, and what this house does without stays out.

The sources are parsed, not imported: what stands inside a function counts as well, unless said otherwise.
"""

import ast
import io
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from attrs import frozen

import supervisor
from supervisor.conduct import PRELOAD
from tests.sources import CHECKOUT, MODULES, Module

# The layers of `supervisor`, lowest first. A module may import its own layer and those below. What is not
# named here is the shell, above them all: processes, files, sockets, the clock, the command line.
LAYERS: Final[dict[str, frozenset[str]]] = {
    "vocabulary": frozenset(
        {
            "supervisor.core_effects",
            "supervisor.core_events",
            "supervisor.exits",
            "supervisor.intensity",
            "supervisor.limits",
            "supervisor.program_spec",
            "supervisor.ready_line",
            "supervisor.spec",
            "supervisor.spec_checks",
            "supervisor.target_path",
        }
    ),
    "core": frozenset(
        {
            "supervisor.children",
            "supervisor.core",
            "supervisor.deadlines",
            "supervisor.invariants",
            "supervisor.lifecycle",
            "supervisor.roster",
            "supervisor.sequence",
            "supervisor.sequencer",
        }
    ),
}

# The modules of `actors` that do things: hold a mailbox, start a program, touch a file, ask the clock.
# Every other one decides only, and is checked to be pure.
DOING: Final = frozenset(
    {
        "actors.actor_host",
        "actors.blocker_detector",
        "actors.cast",
        "actors.child",
        "actors.dependency_validator",
        "actors.failpoints",
        "actors.files",
        "actors.git.archive",
        "actors.git.aside",
        "actors.git.capture",
        "actors.git.flows",
        "actors.git.index",
        "actors.git.landing",
        "actors.git.objects",
        "actors.git.place",
        "actors.git.plumbing",
        "actors.git.provision",
        "actors.git.push",
        "actors.git.reflock",
        "actors.git.refs",
        "actors.git.repository",
        "actors.git.retention",
        "actors.git.slots",
        "actors.git.trailers",
        "actors.git.watch",
        "actors.git_integration",
        "actors.host",
        "actors.log",
        "actors.machine",
        "actors.past_sessions",
        "actors.projection",
        "actors.surroundings",
        "actors.survey",
        "actors.targets",
        "actors.progress_monitor",
        "actors.role",
        "actors.rules_file",
        "actors.task_executor",
    }
)

# What a pure module must not import, anywhere in it. `PurePath` is a value and allowed; `Path` is not.
IMPURE: Final = frozenset(
    {
        "asyncio",
        "fcntl",
        "glob",
        "io",
        "loguru",
        "multiprocessing",
        "os",
        "psutil",
        "pykka",
        "random",
        "secrets",
        "select",
        "selectors",
        "shutil",
        "socket",
        "sqlite3",
        "subprocess",
        "tempfile",
        "threading",
        "time",
    }
)
# Names imported and functions called that make a module impure too. (`signal` itself has the signals' names.)
IMPURE_NAMES: Final = frozenset(
    {
        "datetime.datetime.now",
        "datetime.now",
        "input",
        "open",
        "pathlib.Path",
        "print",
        "signal.pidfd_send_signal",
        "signal.signal",
    }
)

# Slow to import, of use only to the command line: not loaded by a role process or by `import supervisor`.
HEAVY: Final = frozenset({"click", "prometheus_client", "rich", "watchfiles"})

# Large and needed seldom: imported by the first line that is logged, the first webhook, a
# long journal (OpenSSL, which `hashlib` loads, and what loads `hashlib`).
LARGE: Final = HEAVY | {
    *("asyncio", "gzip", "hashlib", "hmac", "http", "loguru", "lzma", "random", "secrets", "shutil", "ssl"),
    *("email", "importlib.metadata", "tempfile"),
}

NOT_FILE_NAMES: Final = frozenset(
    {"utils", "util", "helpers", "helper", "common", "misc", "manager", "handler", "handlers", "engine"}
)
NOT_CLASS_ENDINGS: Final = ("Manager", "Handler", "Engine", "Service", "Factory", "Helper", "Utils", "Util")

FORBIDDEN_IMPORTS: Final = frozenset({"pickle", "cPickle", "marshal", "shelve", "dill", "cloudpickle"})
# Lines of code: without docstrings, comments and empty lines.
LONGEST_FILE: Final = 400
LONGEST_FUNCTION: Final = 50
NOT_CODE: Final = frozenset(
    {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
)


@frozen
class Import:
    """One imported name, at a line: `a.b` for `import a.b` and for `from a import b`."""

    name: str
    line: int
    at_load: bool


# Modules that decide and never do: values in, values out. They read no clock, start nothing, open nothing.
PURE: Final = frozenset(
    {
        *(name for name in MODULES if name.startswith("actors.") and name not in DOING),
        *(name for layer in LAYERS.values() for name in layer),
    }
)


def _imports(module: Module) -> Iterator[Import]:
    for node, inside in _walk(module.tree, inside_function=False):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, node.lineno, not inside)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module.file}:{node.lineno}: a relative import"
            for alias in node.names:
                yield Import(f"{node.module}.{alias.name}", node.lineno, not inside)


def _walk(node: ast.AST, *, inside_function: bool) -> Iterator[tuple[ast.AST, bool]]:
    """Yield every node with whether it stands in a function; leave out what only a type checker reads."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            continue
        inside = inside_function or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        yield child, inside
        yield from _walk(child, inside_function=inside)


def _is_in(name: str, packages: frozenset[str]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def _own_module(name: str) -> str | None:
    """Return the module of ours that an imported name is, or is a part of."""
    while name and name not in MODULES:
        name = name.rpartition(".")[0]
    return name or None


def _layer(name: str) -> int:
    for height, members in enumerate(LAYERS.values()):
        if name in members:
            return height
    return len(LAYERS)


def _where(module: Module, line: int) -> str:
    return f"{module.path}:{line}"


def test_the_modules_named_here_exist() -> None:
    named = PURE | DOING
    assert sorted(named - set(MODULES)) == []


def test_actors_do_not_know_who_supervises_them() -> None:
    wrong = [
        f"{_where(module, one.line)}: imports {one.name}"
        for module in MODULES.values()
        if module.name.startswith("actors")
        for one in _imports(module)
        if _is_in(one.name, frozenset({"supervisor", "configs", "tests"}))
    ]
    assert not wrong, "\n".join(wrong)


def test_inside_supervisor_imports_point_from_the_shell_to_the_core_to_the_vocabulary() -> None:
    names = [*LAYERS, "shell"]
    wrong = []
    for module in MODULES.values():
        for one in _imports(module):
            target = _own_module(one.name)
            if target is None or not target.startswith("supervisor.") or not module.name.startswith("supervisor"):
                continue
            if _layer(target) > _layer(module.name):
                layers = f"{names[_layer(module.name)]} imports {target} of the {names[_layer(target)]}"
                wrong.append(f"{_where(module, one.line)}: {layers}")
    assert not wrong, "\n".join(wrong)


def test_modules_do_not_import_each_other_in_a_circle_when_they_load() -> None:
    edges = {
        module.name: {
            target
            for one in _imports(module)
            if one.at_load and (target := _own_module(one.name)) not in {None, module.name} and target is not None
        }
        for module in MODULES.values()
    }
    # Remove again and again what imports nothing that is left; what stays goes round in a circle.
    while free := [name for name, targets in edges.items() if not targets & edges.keys()]:
        for name in free:
            del edges[name]
    assert sorted(edges) == []


@pytest.mark.parametrize("name", sorted(PURE & set(MODULES)))
def test_a_pure_module_reads_no_clock_and_touches_no_system(name: str) -> None:
    module = MODULES[name]
    wrong = [
        f"{_where(module, one.line)}: imports {one.name}"
        for one in _imports(module)
        if _is_in(one.name, IMPURE) or one.name in IMPURE_NAMES
    ]
    wrong += [
        f"{_where(module, node.lineno)}: calls {called}"
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call) and (called := ast.unparse(node.func)) in IMPURE_NAMES
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("name", sorted(PURE & set(MODULES)))
def test_a_pure_module_imports_only_pure_modules_of_ours(name: str) -> None:
    targets = {_own_module(one.name) for one in _imports(MODULES[name])} - {None, "actors", "supervisor"}
    assert sorted(target for target in targets if target is not None and target not in PURE) == []


def test_actors_never_import_what_only_the_command_line_needs() -> None:
    wrong = [
        f"{_where(module, one.line)}: imports {one.name}"
        for module in MODULES.values()
        if module.name.startswith("actors")
        for one in _imports(module)
        if _is_in(one.name, HEAVY)
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("package", ["actors", "supervisor"])
def test_importing_a_package_loads_nothing_heavy(package: str) -> None:
    program = f"import sys, {package}; print(*sorted(name for name in sys.modules if '.' not in name))"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=CHECKOUT, capture_output=True, text=True, timeout=100, check=True
    )
    assert HEAVY & set(done.stdout.split()) == set()


@pytest.mark.parametrize(
    ("modules", "large"),
    [
        *((module, LARGE) for module in (*PRELOAD, "supervisor.sole_run", "supervisor.opening")),
        ("supervisor.daemon", LARGE - {"click"}),
    ],
)
def test_processes_that_live_long_load_nothing_large_that_they_may_never_need(
    modules: str, large: frozenset[str]
) -> None:
    program = f"import sys, {modules}; print(*sorted(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=CHECKOUT, capture_output=True, text=True, timeout=100, check=True
    )
    assert large & set(done.stdout.split()) == set()


def test_who_supervises_a_session_loads_of_git_only_what_looks_at_the_branch() -> None:
    program = "import sys, supervisor.sole_run, supervisor.daemon; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    loaded = {name.rpartition(".")[2] for name in done.stdout.split() if name.startswith("actors.git.")}
    assert loaded == {"plumbing", "reflock", "repository", "trailers", "watch"}


# What a program that embeds the supervision library must not have to load: milestones, git, the journal.
NOT_OF_THE_LIBRARY: Final = frozenset(
    {
        "actors.events",
        "actors.git",
        "actors.model",
        "actors.plan",
        "actors.reader",
        "actors.role",
        "actors.state",
        "loguru",
        "sqlite3",
        "supervisor.conduct",
        "supervisor.hub",
        "supervisor.journal",
        "supervisor.runner",
        "yaml",
    }
)


@pytest.mark.parametrize(
    "program",
    [
        pytest.param("import supervisor; supervisor.Supervisor, supervisor.AsyncSupervisor", id="the host"),
        pytest.param("import supervisor.forkserver, actors.child", id="the fork server"),
    ],
)
def test_the_supervision_library_works_without_milestones(program: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; {program}; print(*sys.modules)"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    assert "actors.dialogue" in done.stdout
    assert [name for name in done.stdout.split() if _is_in(name, NOT_OF_THE_LIBRARY | HEAVY)] == []


def test_every_name_of_the_library_can_be_loaded_and_importing_it_loads_none() -> None:
    program = "import sys, supervisor; print(*(name for name in sys.modules if name.startswith('supervisor.')))"
    done = subprocess.run([sys.executable, "-c", program], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
    for name in supervisor.__all__:
        assert getattr(supervisor, name) is not None
    assert set(supervisor.__all__) <= set(dir(supervisor))
    with pytest.raises(AttributeError, match="nothing"):
        supervisor.nothing  # type: ignore[attr-defined]  # noqa: B018 - the look is the test, and a checker sees it too


def test_a_program_with_a_module_of_the_same_name_is_told_which_one_hides_ours(tmp_path: Path) -> None:
    (tmp_path / "actors.py").touch()
    (tmp_path / "main.py").write_text("from supervisor import MilestoneRun\n", encoding="utf-8")
    words = [sys.executable, "-P", "-c", "import sys; sys.path.insert(0, sys.argv[1]); import main", str(tmp_path)]
    done = subprocess.run(words, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"milestoned's package 'actors' is hidden by {tmp_path / 'actors.py'}" in done.stderr


def test_nothing_is_pickled() -> None:
    wrong = [
        f"{_where(module, one.line)}: imports {one.name}"
        for module in MODULES.values()
        for one in _imports(module)
        if _is_in(one.name, FORBIDDEN_IMPORTS)
    ]
    assert not wrong, "\n".join(wrong)


def test_no_file_has_a_name_that_says_nothing() -> None:
    folders = ("actors", "supervisor", "tests", "bench", "examples")
    files = [file for folder in folders for file in (CHECKOUT / folder).rglob("*.py")]
    assert [str(file) for file in files if file.stem.removeprefix("_").removeprefix("test_") in NOT_FILE_NAMES] == []


def test_no_class_has_a_name_that_says_nothing() -> None:
    wrong = [
        f"{_where(module, node.lineno)}: class {node.name}"
        for module in MODULES.values()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ClassDef) and node.name.endswith(NOT_CLASS_ENDINGS)
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("name", sorted(MODULES))
def test_a_module_says_what_it_owns_and_stays_small(name: str) -> None:
    module = MODULES[name]
    assert ast.get_docstring(module.tree), f"{module.file}: no docstring"
    code = _code_lines(module)
    assert len(code) <= LONGEST_FILE, f"{module.file}: {len(code)} lines of code"
    too_long = [
        f"{_where(module, node.lineno)}: {node.name} has {lines} lines of code"
        for node in ast.walk(module.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if (lines := len(code & set(range(node.lineno, (node.end_lineno or node.lineno) + 1)))) > LONGEST_FUNCTION
    ]
    assert not too_long, "\n".join(too_long)


def _code_lines(module: Module) -> set[int]:
    """Return the numbers of the lines that are not empty, a comment or a docstring."""
    text = module.file.read_text(encoding="utf-8")
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in NOT_CODE:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(module.tree):
        match node:
            case ast.Expr(value=ast.Constant(value=str())):
                lines.difference_update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
            case _:
                pass
    return lines
