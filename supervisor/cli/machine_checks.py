"""What ``doctor`` looks at apart from the project: Python, kernel, git, libraries, disks, containment.

Owns these checks. Refuses to change anything, and to know milestones. A PID namespace is tried in an interpreter of its
own.
"""

from __future__ import annotations

import operator
import os
import re
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs

from actors.model import Containment
from supervisor import ladder
from supervisor.cgroups import delegated_group
from supervisor.cli import fitness
from supervisor.cli.diagnosis import Finding, error, ok, warning
from supervisor.cli.output import OLDEST_PYTHON
from supervisor.cli.version import LIBRARIES, installed
from supervisor.linux import can_administer

if TYPE_CHECKING:
    from collections.abc import Iterator

LITTLE_SPACE: Final = 1_000_000_000
TOO_LITTLE_SPACE: Final = 50_000_000
"""Bytes below which a disk is worth a warning, and an error."""

_FEW_INODES: Final = 1000

_REQUIREMENT: Final = re.compile(r"([A-Za-z0-9._-]+)\s*([<>=!~][^;]*)?(?:;(?!.*extra).*)?$")
_BOUND: Final = re.compile(r"(>=|<=|==|!=|<|>)\s*([0-9][0-9.]*)$")
_NUMBERS: Final = re.compile(r"\d+(?:\.\d+)*")
_COMPARISONS: Final = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
}
_PARTS: Final = 6
"""Numbers of a release that are compared; what is not said is 0."""

_GOOD: Final = fitness.Machine("Linux", "6.1", OLDEST_PYTHON, None, None)


def check_machine(machine: fitness.Machine) -> Iterator[Finding]:
    """Judge versions and the environment.

    Args:
        machine: As :func:`supervisor.cli.fitness.look` found it.
    """
    python = ".".join(map(str, machine.python))
    aspects = (
        (f"Python {python}", attrs.evolve(_GOOD, python=machine.python), "install milestoned with a newer Python"),
        (
            f"{machine.system} {machine.release}",
            attrs.evolve(_GOOD, system=machine.system, release=machine.release),
            "use a machine with a newer kernel",
        ),
        (f"git {machine.git}", attrs.evolve(_GOOD, git=machine.git), "install a newer git"),
        (
            "no other package is named 'supervisor'",
            attrs.evolve(_GOOD, rival=machine.rival),
            "pipx install milestoned, or a venv of its own; or here: pip uninstall supervisor",
        ),
    )
    for what, aspect, cure in aspects:
        bad = fitness.complaints(aspect, needs_git=True)
        if bad:
            yield from (error(one, "", "", cure) for one in bad)
        elif machine.git is not None or aspect is not aspects[2][1]:
            yield ok(what)
    if machine.git is None:
        why = "without it tasks run in place, one after another's leftovers, and nothing is committed"
        yield warning("there is no git on PATH", "", why, "install git 2.38 or later")
    yield from check_libraries({name: installed(name) for name in LIBRARIES}, metadata.requires("milestoned") or ())


def check_libraries(versions: Mapping[str, str | None], requirements: Sequence[str]) -> Iterator[Finding]:
    """Judge the libraries by what the distribution declares.

    Args:
        versions: By name; ``None`` of one that is missing.
        requirements: Of the distribution's metadata (``attrs>=25``); those of extras do not count.
    """
    cure = "install milestoned again: pip install --upgrade --force-reinstall milestoned"
    missing = [name for name, version in versions.items() if version is None]
    if missing:
        yield error(f"libraries are missing: {', '.join(missing)}", "", "", cure)
    declared = {match[1].lower(): match[2] or "" for one in requirements if (match := _REQUIREMENT.match(one))}
    bad = [
        f"{name} {version} (declared: {wanted})"
        for name, version in versions.items()
        if version is not None and not _fits(version, wanted := declared.get(name.lower(), ""))
    ]
    if bad:
        why = "the tests were never run with these"
        yield error(f"libraries are outside the declared versions: {', '.join(bad)}", "", why, cure)
    if not missing and not bad:
        yield ok(f"{len(versions)} libraries are installed, in the declared versions")


def _fits(version: str, wanted: str) -> bool:
    """Tell whether a version is within bounds such as ``>=8.1,<9``; only the numbers of a release count."""
    found = _release(version)
    for bound in filter(None, wanted.split(",")):
        match = _BOUND.match(bound.strip())
        if match is not None and not _COMPARISONS[match[1]](found, _release(match[2])):
            return False
    return True


def _release(version: str) -> tuple[int, ...]:
    numbers = [int(part) for part in (_NUMBERS.match(version) or [""])[0].split(".") if part]
    return tuple(numbers + [0] * (_PARTS - len(numbers)))


def check_disk(directory: Path, purpose: str) -> Iterator[Finding]:
    """Judge the file system of a directory, or of the nearest one above it that exists.

    Args:
        directory: Absolute path.
        purpose: What is written there.
    """
    there = next(one for one in (directory, *directory.parents) if one.is_dir())
    try:
        found = os.statvfs(there)
    except OSError as failure:
        yield error(f"the disk for {purpose} cannot be looked at", str(there), str(failure), "mount it again")
        return
    if found.f_flag & os.ST_RDONLY:
        cure = "mount it for writing, or work in a copy elsewhere"
        yield error(f"the file system for {purpose} is read-only", str(there), "nothing can be journaled", cure)
        return
    free = found.f_bavail * found.f_frsize
    told = f"{free / 1e9:.1f} GB are free for {purpose}"
    why = "a full disk pauses sessions, and fails tasks"
    if free < LITTLE_SPACE:
        level = error if free < TOO_LITTLE_SPACE else warning
        yield level(f"only {free // 10**6} MB are free for {purpose}", str(there), why, "free some space")
    elif found.f_files and found.f_favail < _FEW_INODES:
        cure = "remove files; df -i shows how many there are"
        yield warning(f"only {found.f_favail} more files can be made for {purpose}", str(there), why, cure)
    else:
        yield ok(told, str(there))


def check_containment(wish: Containment) -> Iterator[Finding]:
    """Say which rung a run would stand on, and why.

    Args:
        wish: As configured.
    """
    refused = ladder.refusal(wish)
    if refused:
        yield error(refused[0], "", "runs are refused (exit code 78)", "; ".join(refused[1:]))
        return
    group = delegated_group()
    reasons: list[str] = []
    if wish is Containment.AUTO:
        wish, reasons = _strongest(group)
    match wish:
        case Containment.CGROUP:
            yield ok("containment: cgroup", str(group or ""), "nothing of a task can leave its control group")
        case Containment.PID_NAMESPACE:
            yield ok("containment: pid_namespace", "", "tasks end with the task runner, at once")
        case Containment.SWEEP if not reasons:
            yield ok("containment: sweep, as configured")
        case _:
            cure = "it does for ordinary tasks; else: systemd-run --user --scope -p Delegate=yes milestonectl run ..."
            yield warning("containment: sweep", "", "; ".join(reasons), cure)


def _strongest(group: Path | None) -> tuple[Containment, list[str]]:
    """Return the rung that the machine gives, and why none above it."""
    if group is not None:
        return Containment.CGROUP, []
    reasons = ["no control group (v2) is delegated to this process"]
    if not can_administer():
        return Containment.SWEEP, [*reasons, "a PID namespace needs the capability CAP_SYS_ADMIN"]
    refused = ladder.refusal(Containment.PID_NAMESPACE)
    return (Containment.SWEEP, [*reasons, refused[0]]) if refused else (Containment.PID_NAMESPACE, [])
