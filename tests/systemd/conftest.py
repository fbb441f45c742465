"""A booted machine for the tests of this folder, and projects with their services on it."""

import functools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from attrs import frozen

from actors.events import AttemptStarted, TaskCompleted
from supervisor.client import Client
from supervisor.units import Wanted, escape_path, unit_files
from tests.e2e.stage import Project, facts, milestone_of, waits_for
from tests.systemd.machine import BUILDER, Machine, NotBootedError, why_not
from tests.waiting import wait_until

SOON: Final = "[Service]\nRestartSec=20ms\nWatchdogSec={watchdog}\n"

REMOVE: Final = """
systemctl kill --signal=KILL "$0"; systemctl stop "$0" "$1"; systemctl reset-failed "$0" "$1"
cd /etc/systemd/system; rm -rf "$0.d" "$1.d" milestoned* *.wants/milestoned* "/run/systemd/system/$0.d"
systemctl daemon-reload
"""

_why_not = functools.cache(why_not)


@pytest.fixture(scope="session")
def booted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """Boot a machine, once for all tests of this process."""
    if reason := _why_not():
        pytest.skip(f"no systemd can be booted here: {reason}")
    try:
        machine = Machine.boot(tmp_path_factory.mktemp("machine"))
    except NotBootedError as error:
        pytest.skip(f"no systemd boots here: {error}")
    yield machine
    machine.close()


@frozen
class Place:
    """A project of the builder's on the machine, and its service.

    Attributes:
        machine: Where it is.
        inside: The project's directory there.
    """

    machine: Machine
    inside: Path

    @property
    def project(self) -> Project:
        """The project as the tests see it."""
        return Project(self.machine.srv / self.inside.relative_to("/srv"))

    @property
    def path(self) -> Path:
        """Its directory as the tests see it."""
        return self.project.path

    @property
    def control(self) -> Path:
        return self.path / ".milestones" / "run" / "control.sock"

    @property
    def unit(self) -> str:
        return f"milestoned@{escape_path(self.inside)}.service"

    @property
    def socket_unit(self) -> str:
        return f"milestoned@{escape_path(self.inside)}.socket"

    def install(self, watchdog: str, *, hardened: bool) -> None:
        """Write the units as `milestonectl service install` does, with a restart that does not wait."""
        wanted = Wanted(
            Path("/opt/milestoned/bin/milestoned"),
            (self.inside,),
            owner="builder",
            group="builder",
            hardened=hardened,
            writable=(self.inside,),
        )
        staged = self.machine.srv / ".units"
        for one in unit_files(wanted):
            (staged / one.name).parent.mkdir(parents=True, exist_ok=True)
            (staged / one.name).write_text(one.text)
        self.machine.run("sh", "-ec", "cp -r /srv/.units/. /etc/systemd/system; rm -r /srv/.units")
        self.control.parent.mkdir(mode=0o700)
        os.chown(self.control.parent, BUILDER, BUILDER)
        self.drop_in(SOON.format(watchdog=watchdog))

    def service(self, action: str, *words: str) -> str:
        """Run `milestonectl service` as root."""
        return self.machine.run("milestonectl", "service", action, str(self.inside), *words).stdout

    def ctl(self, *words: str) -> str:
        """Run `milestonectl` as the builder, in the project."""
        return self.machine.run("milestonectl", "-C", str(self.inside), *words, user="builder").stdout

    def drop_in(self, text: str, name: str = "90-test.conf") -> None:
        """Add a drop-in of this boot, and have it read."""
        folder = f"/run/systemd/system/{self.unit}.d"
        self.machine.run("sh", "-c", 'mkdir -p "$0" && printf %s "$1" >"$0/$2"', folder, text, name)
        self.systemctl("daemon-reload")

    def systemctl(self, *words: str, check: bool = True) -> tuple[int, str]:
        done = self.machine.run("systemctl", *words, check=check)
        return done.returncode, done.stdout + done.stderr

    def start(self) -> None:
        self.systemctl("start", self.unit)

    def has(self, name: str) -> str:
        """Return a property of the service."""
        return self.machine.property(self.unit, name)

    @property
    def pid(self) -> str:
        """The main process' id, on the machine."""
        return self.has("MainPID")

    def outer_pid(self) -> int:
        """Return the same as the tests see it."""
        group = self.machine.group / self.has("ControlGroup").lstrip("/")
        for pid in (group / "cgroup.procs").read_text().split():
            numbers = next(line for line in Path("/proc", pid, "status").read_text().splitlines() if "NSpid" in line)
            if numbers.split()[-1] == self.pid:
                return int(pid)
        raise AssertionError("the main process is not in its group")

    def signal(self, name: str) -> None:
        """Signal the main process alone."""
        self.systemctl("kill", "--kill-who=main", f"--signal={name}", self.unit)

    def wait_for(self, name: str, value: str, timeout: float = 60.0) -> None:
        """Wait until a property has a value."""
        wait_until(lambda: self.has(name) == value, timeout, f"{name}={value}")

    def is_back(self) -> None:
        """Wait until the service was restarted once."""
        wait_until(lambda: (self.has("NRestarts"), self.has("ActiveState")) == ("1", "active"), 60.0, "it is back")

    def answer(self) -> dict[str, Any]:
        """Return what the daemon says of itself through its control socket."""
        client = Client(self.control, 60.0)
        try:
            found: dict[str, Any] = client.ask("status")
        finally:
            client.close()
        return found

    def write(self, name: str, *tasks: dict[str, object]) -> None:
        """Write a milestone, as the builder's."""
        path = self.project.write(name, milestone_of(*tasks).replace("id: m1", f"id: {name}", 1))
        os.chown(path, BUILDER, BUILDER)

    def begin(self) -> None:
        """Start the service, and a session whose only task waits for the file `gate`; return when it runs."""
        self.write("m1", {"id": "a", "run": waits_for(self.inside / "gate")})
        self.start()
        self.ctl("start", "m1")
        wait_until(lambda: self.attempts() == 1, 60.0, "the task runs")

    def attempts(self) -> int:
        return len(facts(self.project, AttemptStarted))

    def finish(self) -> None:
        """Let the task of :meth:`begin` go on, and wait until it is completed."""
        (self.path / "gate").touch()
        wait_until(lambda: facts(self.project, TaskCompleted), 60.0, "the task is completed")


MakePlace = Callable[..., Place]


@pytest.fixture
def place(booted: Machine, request: pytest.FixtureRequest) -> Iterator[MakePlace]:
    """Return a function that makes a project and installs its service; nothing of them is left."""
    made: list[Place] = []

    def make(name: str = "", *, watchdog: str = "30", hardened: bool = False, install: bool = True) -> Place:
        found = Place(booted, Path("/srv") / (name or request.node.name.removeprefix("test_")[:40]))
        (found.path / ".milestones" / "active").mkdir(parents=True)
        (found.path / ".milestones" / "config").mkdir()
        for path in (found.path, *found.path.rglob("*")):
            os.chown(path, BUILDER, BUILDER)
        made.append(found)
        if install:
            found.install(watchdog, hardened=hardened)
        return found

    yield make
    for one in made:
        booted.run("sh", "-c", REMOVE, one.unit, one.socket_unit)
