"""The shipped units, by what systemd's own tools say of them; rendering, escaping and quoting."""

import functools
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.units import (
    SAMPLE_CLIENT,
    SAMPLE_PROGRAM,
    SAMPLE_PROJECT,
    Wanted,
    escape_path,
    is_ours,
    is_unedited,
    marked,
    quoted,
    shipped,
    unit_files,
)

UNITS: Final = Path(__file__).parents[2] / "configs" / "systemd"
NAMES: Final = sorted(str(path.relative_to(UNITS)) for path in UNITS.rglob("*.*") if path.suffix != ".conf")
SERVICES: Final = [name for name in NAMES if name.endswith(".service")]

needs_analyze = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed (apt-get install systemd)"
)
needs_escape = pytest.mark.skipif(
    shutil.which("systemd-escape") is None, reason="systemd-escape is not installed (apt-get install systemd)"
)


def settings(text: str) -> dict[str, list[str]]:
    """Return the settings of a unit: the values of each key, in order."""
    found: dict[str, list[str]] = {}
    for key, value in re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE):
        found.setdefault(key, []).append(value)
    return found


Render = Callable[..., Path]


@pytest.fixture
def render(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Render:
    """Return a function that writes the units of a service, and returns the path of the service's unit."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("run")))  # short: units name sockets there
    program = tmp_path / "my tools" / "milestoned"
    program.parent.mkdir()
    for name in ("milestoned", "milestonectl"):
        program.with_name(name).symlink_to(sys.executable)

    def written(*projects: str, **options: bool) -> Path:
        wanted = Wanted(
            program,
            tuple(map(Path, projects)),
            owner="daemon",
            group="daemon",
            writable=tuple(map(Path, projects)),
            **options,
        )
        for one in unit_files(wanted):
            (tmp_path / one.name).parent.mkdir(exist_ok=True)
            (tmp_path / one.name).write_text(one.text)
        for kind in ("service", "socket"):
            if wanted.base.startswith("milestoned@"):
                (tmp_path / f"{wanted.base}.{kind}").symlink_to(f"milestoned@.{kind}")
        return tmp_path / wanted.service

    return written


@functools.cache
def complaint(manager: str) -> str:
    """Return what `systemd-analyze verify` has to say here about a unit that does nothing: that is of the machine."""
    with tempfile.TemporaryDirectory() as folder:
        unit = Path(folder, "nothing.service")
        unit.write_text("[Service]\nExecStart=/bin/true\n")
        done = analyze("verify", manager, "--man=no", str(unit))
    return done.stdout + done.stderr


def analyze(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemd-analyze", *words], capture_output=True, text=True, timeout=60, check=False)


@needs_analyze
@pytest.mark.parametrize("hardened", [False, True], ids=["plain", "hardened"])
@pytest.mark.parametrize(
    ("projects", "together"),
    [(("/srv/project",), False), (("/srv/a project's 100%/x-y",), False), (("/srv/one", "/srv/a b"), True)],
    ids=["instance", "odd-instance", "together"],
)
@pytest.mark.parametrize("is_user", [False, True], ids=["system", "user"])
def test_systemd_finds_nothing_to_say_about_a_unit(
    render: Render, projects: tuple[str, ...], *, hardened: bool, together: bool, is_user: bool
) -> None:
    if hardened and is_user:
        return
    manager = "--user" if is_user else "--system"
    service = render(*projects, hardened=hardened, together=together, is_user=is_user)
    if said := complaint(manager):
        pytest.skip(f"systemd-analyze verify cannot be used here: {said.strip()}")
    for path in (service, service.with_suffix(".socket")):
        done = analyze("verify", manager, "--man=no", str(path))
        assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)


@needs_analyze
def test_systemd_does_say_something_about_an_unknown_key(render: Render) -> None:
    service = render("/srv/project", together=True)
    service.write_text(service.read_text() + "\n[Service]\nNoSuchKey=1\n")
    assert "NoSuchKey" in analyze("verify", "--system", "--man=no", str(service)).stderr


@needs_analyze
@pytest.mark.parametrize("together", [False, True], ids=["instance", "together"])
def test_the_exposure_of_the_sandbox_is_two_or_better(render: Render, *, together: bool) -> None:
    service = render("/srv/project", hardened=True, together=together)
    done = analyze("security", "--offline=true", "--no-pager", "--threshold=20", str(service))
    assert done.returncode == 0, done.stdout
    exposure = re.search(r"Overall exposure level for .*: ([\d.]+) ", done.stdout)
    assert exposure is not None
    assert float(exposure[1]) <= 2.0
    plain = analyze("security", "--offline=true", "--no-pager", "--threshold=20", str(UNITS / "milestoned.service"))
    assert plain.returncode != 0, "the threshold is heeded"


@needs_analyze
def test_every_opening_of_the_sandbox_is_explained(render: Render) -> None:
    service = render("/srv/project", hardened=True)
    done = analyze("security", "--offline=true", "--no-pager", str(service))
    opened = set(re.findall(r"^✗ (\w+)=", done.stdout, re.MULTILINE))
    unexplained = {key for key in opened if key not in shipped("hardened.conf") + shipped("milestoned@.service")}
    assert unexplained == set()


def test_every_unit_is_covered_by_what_is_installed() -> None:
    rendered = {
        ("user/" if is_user and one.name.endswith(".service") else "") + one.name
        for is_user in (False, True)
        for together in (False, True)
        for one in unit_files(Wanted(Path("/m"), (Path("/p"),), together=together, is_user=is_user))
        if "/" not in one.name
    }
    assert rendered == set(NAMES)


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_promises_what_the_design_of_recovery_needs(name: str) -> None:
    found = settings(shipped(*name.split("/")))
    expected = {
        "Type": "notify",
        "NotifyAccess": "main",
        "WatchdogSec": "30",
        "Restart": "on-failure",
        "RestartPreventExitStatus": "1 2 75 78",
        "KillMode": "mixed",
        "Delegate": "yes",
        "OOMPolicy": "continue",
        "UMask": "0077",
    }
    assert {key: found.get(key) for key in expected} == {key: [value] for key, value in expected.items()}


def test_services_differ_in_nothing_but_what_sets_them_apart() -> None:
    apart = {"Description", "RequiresMountsFor", "ExecStart", "ExecReload", "WorkingDirectory", "WantedBy", "After"}
    every = [
        {key: value for key, value in settings(shipped(*name.split("/"))).items() if key not in apart}
        for name in SERVICES
    ]
    assert len(every) == 4
    assert all(one == every[0] for one in every)


def test_the_sandbox_leaves_jits_and_delegation_alone() -> None:
    found = settings(shipped("hardened.conf"))
    assert "MemoryDenyWriteExecute" not in found
    assert "ProtectControlGroups" not in found


def test_the_program_and_the_projects_take_the_place_of_the_samples() -> None:
    wanted = Wanted(Path("/opt/my tools/milestoned"), (Path("/srv/a b"), Path("/srv/50%")), together=True)
    service, socket, *_ = unit_files(wanted)
    assert settings(service.text)["ExecStart"] == [':"/opt/my tools/milestoned" "/srv/a b" "/srv/50%%"']
    assert settings(service.text)["RequiresMountsFor"] == ['"/srv/a b" "/srv/50%%"']
    streams = ["/srv/a b/.milestones/run/control.sock", "/srv/50%%/.milestones/run/control.sock"]
    assert settings(socket.text)["ListenStream"] == streams
    assert settings(service.text)["ExecReload"] == [':"/opt/my tools/milestonectl" -C "/srv/a b" reload']
    assert not any(sample in service.text for sample in (SAMPLE_PROGRAM, SAMPLE_CLIENT, SAMPLE_PROJECT))


@needs_escape
@given(st.lists(st.text(st.characters(exclude_characters="\0/"), min_size=1, max_size=12), max_size=4))
def test_a_path_is_escaped_as_systemd_escapes_it(parts: list[str]) -> None:
    path = "/" + "/".join(part for part in parts if part not in {".", ".."})
    try:
        path.encode()
    except UnicodeEncodeError:
        return
    done = subprocess.run(["systemd-escape", "--path", "--", path], capture_output=True, text=True, check=True)
    assert escape_path(Path(path)) == done.stdout.rstrip("\n")


def test_a_word_that_needs_no_quotes_has_none() -> None:
    assert quoted(Path("/srv/project-1.2_x")) == "/srv/project-1.2_x"
    assert quoted(Path('/srv/a "b" %h \\x')) == '"/srv/a \\"b\\" %%h \\\\x"'


def test_a_unit_is_known_to_be_ours_and_unedited_by_its_first_line() -> None:
    text = marked("[Unit]\nDescription=x\n")
    assert is_ours(text)
    assert is_unedited(text)
    edited = text.replace("=x", "=y")
    assert is_ours(edited)
    assert not is_unedited(edited)
    assert not is_ours("[Unit]\nDescription=x\n")
