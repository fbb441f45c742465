"""The wheel has what the checkout has: every module, the types' mark, the shipped defaults; and nothing else.

It is built once, from a copy of the checkout, so that nothing is left there and nothing stale gets in.
"""

import ast
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from configparser import ConfigParser
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import pytest
from attrs import frozen

CHECKOUT: Final = Path(__file__).parents[1]
SHIPPED: Final = {"actors": "actors", "supervisor": "supervisor", "configs": "supervisor/configs"}
NEVER_COPIED: Final = shutil.ignore_patterns(
    ".git", ".venv", ".milestones", "__pycache__", "*.egg-info", "build", "dist", ".*_cache", ".hypothesis"
)


@frozen
class Built:
    """The wheel's file, and the copy of the checkout that it was built from."""

    wheel: Path
    source: Path


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Build the wheel with the setuptools of this environment."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    shutil.copytree(CHECKOUT, source, ignore=NEVER_COPIED, symlinks=True)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps"]
    done = subprocess.run(
        [*command, "--no-build-isolation", "--no-index", "--wheel-dir", str(folder), str(source)],
        env={**os.environ, "TMPDIR": str(folder)},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = folder.glob("*.whl")
    return Built(wheel, source)


@pytest.fixture(scope="session")
def unpacked(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder that has the wheel's content."""
    folder = tmp_path_factory.mktemp("unpacked")
    with zipfile.ZipFile(built.wheel) as archive:
        archive.extractall(folder)
    return folder


def _shipped_files(checkout: Path) -> set[str]:
    """List what the wheel must have, as paths in it."""
    return {
        f"{target}/{file.relative_to(checkout / folder)}"
        for folder, target in SHIPPED.items()
        for file in (checkout / folder).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }


def _project() -> dict[str, Any]:
    return tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))


def test_the_wheel_has_exactly_the_files_of_the_packages_and_the_defaults(built: Built) -> None:
    with zipfile.ZipFile(built.wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name and ".data/" not in name}
    assert names == _shipped_files(built.source)


def test_the_wheel_installs_the_manual_pages_where_man_looks_for_them(built: Built) -> None:
    with zipfile.ZipFile(built.wheel) as archive:
        names = {name.partition(".data/")[2] for name in archive.namelist() if ".data/" in name}
    made = {path.name for path in (CHECKOUT / "docs" / "man").iterdir()}
    assert names == {f"data/share/man/man{name[-1]}/{name}" for name in made}
    assert names >= {"data/share/man/man1/milestonectl-run.1", "data/share/man/man8/milestoned.8"}


def test_the_wheel_says_that_it_is_typed(unpacked: Path) -> None:
    assert (unpacked / "actors" / "py.typed").is_file()
    assert (unpacked / "supervisor" / "py.typed").is_file()


def test_the_wheel_has_the_license_and_the_command(unpacked: Path) -> None:
    (metadata,) = unpacked.glob("milestoned-*.dist-info")
    assert (metadata / "licenses" / "LICENSE").read_bytes() == (CHECKOUT / "LICENSE").read_bytes()
    assert "milestoned = supervisor.daemon:main" in (metadata / "entry_points.txt").read_text(encoding="utf-8")
    assert "milestonectl = supervisor.cli:main" in (metadata / "entry_points.txt").read_text(encoding="utf-8")


def test_the_page_of_the_package_is_the_readme() -> None:
    assert _project()["project"].get("readme") == "README.md"
    assert (CHECKOUT / "README.md").is_file()


def test_the_defaults_are_found_as_a_package_when_the_wheel_is_installed(unpacked: Path, tmp_path: Path) -> None:
    program = (
        "import supervisor, importlib.resources as r; print(supervisor.__file__);"
        "print(*sorted(file.name for file in r.files('supervisor.configs').iterdir()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(unpacked), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    place, names = done.stdout.splitlines()
    assert place == str(unpacked / "supervisor" / "__init__.py")
    assert set(names.split()) >= {file.name for file in (CHECKOUT / "configs").iterdir() if file.is_file()}


def test_the_defaults_are_found_as_a_package_in_the_checkout() -> None:
    assert Path(str(files("supervisor.configs"))).samefile(CHECKOUT / "configs")


def test_every_dependency_is_used_and_every_import_is_declared() -> None:
    distributions = {
        "attrs": "attrs",
        "click": "click",
        "loguru": "loguru",
        "msgspec": "msgspec",
        "prometheus-client": "prometheus_client",
        "psutil": "psutil",
        "pykka": "pykka",
        "pyyaml": "yaml",
        "rich": "rich",
        "watchfiles": "watchfiles",
    }
    declared = {distributions[line.split(">=")[0]] for line in _project()["project"]["dependencies"]}
    known = declared | {"actors", "supervisor", "attr"} | sys.stdlib_module_names
    used = {
        name
        for source in ("actors", "supervisor", "configs")
        for file in (CHECKOUT / source).rglob("*.py")
        for name in _imported(file)
    }
    assert sorted(used - known) == []
    assert sorted(declared - used) == []


def _imported(file: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        match node:
            case ast.Import(names=aliases):
                names |= {alias.name.partition(".")[0] for alias in aliases}
            case ast.ImportFrom(module=str(module)):
                names.add(module.partition(".")[0])
            case _:
                pass
    return names


def test_no_setting_stands_in_both_files() -> None:
    setup = ConfigParser()
    setup.read(CHECKOUT / "setup.cfg")
    tools = _project()["tool"]
    assert {"metadata", "options"} & set(setup.sections()) == set()
    assert set(tools) & {section.partition(":")[0] for section in setup.sections()} == set()
    assert "distutils" not in tools
