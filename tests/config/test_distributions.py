"""Which distribution is installed is told by its metadata folder, as the standard library tells it."""

from importlib import metadata
from pathlib import Path

import pytest

from supervisor.distributions import installed, own_version


def test_versions_are_those_that_the_standard_library_finds() -> None:
    for name in ("milestoned", "attrs", "click", "pykka"):
        assert installed(name) == metadata.version(name)
    assert own_version() == metadata.version("milestoned")


@pytest.mark.parametrize(
    ("folder", "file"),
    [
        ("supervisor-4.3.0.dist-info", "METADATA"),
        ("Supervisor-4.3.0.dist-info", "METADATA"),
        ("supervisor-4.3.0-py3.11.egg-info", "PKG-INFO"),
        ("supervisor.egg-info", "PKG-INFO"),
    ],
)
def test_a_distribution_is_found_however_it_was_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str, file: str
) -> None:
    (tmp_path / folder).mkdir()
    (tmp_path / folder / file).write_text("Metadata-Version: 2.1\nName: supervisor\nVersion: 4.3.0\n")
    monkeypatch.setattr("sys.path", [str(tmp_path / "missing"), str(tmp_path)])
    assert installed("supervisor") == "4.3.0"


@pytest.mark.parametrize("other", ["supervisor_wildcards-1.0.dist-info", "mysupervisor-1.0.dist-info", "supervisor"])
def test_a_folder_of_another_name_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other: str) -> None:
    (tmp_path / other).mkdir()
    monkeypatch.setattr("sys.path", [str(tmp_path)])
    assert installed("supervisor") is None
