"""Where units stand, and the systemd that reads them.

Owns writing, comparing and removing files of :mod:`supervisor.units`, and asking ``systemctl``. Refuses to know what a
unit holds. A file that was edited, or that we did not write, is overwritten or removed only when told so.
"""

from __future__ import annotations

import contextlib
import difflib
import grp
import os
import pwd
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from enum import Enum
from pathlib import Path
from typing import Final, Self

import attrs

from supervisor.units import TEMPLATE, UnitFile, is_ours, is_unedited

SYSTEM: Final = Path("etc/systemd/system")

_SECONDS: Final = 180.0


class Fate(Enum):
    """What stands where a file is to be written."""

    MISSING = "missing"
    SAME = "same"
    OLDER = "older"
    EDITED = "edited"


@attrs.frozen
class UnitDirectory:
    """A directory of units.

    Attributes:
        path: Absolute.
        is_elsewhere: Whether it is below another root than this machine's.
    """

    path: Path
    is_elsewhere: bool = False

    @classmethod
    def of(cls, *, is_user: bool, root: Path | None) -> Self:
        """Return the directory that an administrator, or a user, puts units into.

        Args:
            is_user: For a user's own systemd.
            root: Another root; ``None`` for this machine's.
        """
        if not is_user:
            return cls((root or Path("/")).resolve() / SYSTEM, root is not None)
        config = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config").absolute()
        below = root.resolve() / config.relative_to("/") if root is not None else config
        return cls(below / "systemd" / "user", root is not None)

    def fate(self, file: UnitFile) -> Fate:
        """Say what stands where a file is to be written."""
        found = self._read(file.name)
        if found is None:
            return Fate.MISSING
        if found == file.text:
            return Fate.SAME
        return Fate.OLDER if is_unedited(found) else Fate.EDITED

    def difference(self, file: UnitFile) -> list[str]:
        """Return the lines in which what stands there and what would be written differ."""
        lines = (self._read(file.name) or "").splitlines(), file.text.splitlines()
        return list(difflib.unified_diff(*lines, str(self.path / file.name), "would be written", lineterm="", n=1))

    def write(self, file: UnitFile) -> None:
        """Write a file, whole or not at all.

        Raises:
            OSError: It cannot be written.
        """
        path = self.path / file.name
        if self._read(file.name) == file.text:
            return
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        number, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(number, "w", encoding="utf-8") as stream:
                stream.write(file.text)
                os.fchmod(number, 0o644)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise

    def names_of(self, base: str) -> list[str]:
        """Name all files that a service may have here, its template's included."""
        stem = TEMPLATE if base.startswith(TEMPLATE) else base
        drop_ins = [
            f"{base}.{kind}.d/{name}"
            for kind in ("service", "socket")
            for name in ("10-owner.conf", "50-hardened.conf")
            if (self.path / f"{base}.{kind}.d" / name).exists()
        ]
        return [*drop_ins, f"{stem}.service", f"{stem}.socket"]

    def remove(self, name: str, *, force: bool) -> bool:
        """Remove a file of ours, and its directory if that is empty then; return whether it is gone."""
        found = self._read(name)
        if found is not None and not is_unedited(found) and not (force and is_ours(found)):
            return False
        path = self.path / name
        path.unlink(missing_ok=True)
        if "/" in name:
            with contextlib.suppress(OSError):  # something of the user's is in it
                path.parent.rmdir()
        return True

    def unlink_wants(self, base: str) -> None:
        """Remove the links by which the service is enabled; systemctl did, where it was asked."""
        for link in self._links():
            if link.name in {f"{base}.service", f"{base}.socket"}:
                link.unlink()

    def is_instance(self, base: str) -> bool:
        """Tell whether an instance of the template is installed here: the user's are when the template is."""
        return base in self._instances() or self.path.name == "user"

    def other_instances(self, base: str) -> list[str]:
        """Name the instances of the template that have something here, beside this one."""
        return sorted(self._instances() - {base})

    def _instances(self) -> set[str]:
        found = {link.name.rpartition(".")[0] for link in self._links()}
        found |= {path.name.removesuffix(".d").rpartition(".")[0] for path in self.path.glob(f"{TEMPLATE}*.d")}
        return {name for name in found if name.startswith(TEMPLATE) and name != TEMPLATE}

    def _links(self) -> Iterator[Path]:
        return (path for path in self.path.glob("*.wants/*") if path.is_symlink())

    def _read(self, name: str) -> str | None:
        try:
            return (self.path / name).read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return None


@attrs.frozen
class Systemd:
    """A systemd that runs.

    Attributes:
        is_user: Whether it is the user's own.
    """

    is_user: bool

    @classmethod
    def running(cls, *, is_user: bool) -> Self | None:
        """Return the systemd of this machine or user, ``None`` when it does not run (sd_booted(3))."""
        runtime = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
        place = Path(runtime, "systemd", "private") if is_user else Path("/run/systemd/system")
        return cls(is_user) if place.exists() else None

    def systemctl(self, *words: str) -> list[str] | None:
        """Have something done; return what systemctl said if it failed, ``None`` if it did not."""
        try:
            done = self._call(words)
        except subprocess.TimeoutExpired:
            return [f"no answer within {_SECONDS:.0f} s"]
        return (done.stderr.strip() or f"exit code {done.returncode}").splitlines() if done.returncode else None

    def properties(self, unit: str, names: Sequence[str]) -> dict[str, str]:
        """Return properties of a unit, those that systemd knows."""
        lines = self._call(("show", f"--property={','.join(names)}", unit)).stdout.splitlines()
        return {name: value for name, _, value in (line.partition("=") for line in lines)}

    def _call(self, words: Sequence[str]) -> subprocess.CompletedProcess[str]:
        command = ["systemctl", *(["--user"] if self.is_user else []), "--no-pager", *words]
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            stdin=subprocess.DEVNULL,
            timeout=_SECONDS,
        )


def names_of(uid: int, gid: int) -> tuple[str, str]:
    """Return the names of a user and a group, their numbers where they have none."""
    owner, group = str(uid), str(gid)
    with contextlib.suppress(KeyError):
        owner = pwd.getpwuid(uid).pw_name
    with contextlib.suppress(KeyError):
        group = grp.getgrgid(gid).gr_name
    return owner, group


def git_directories(project: Path) -> tuple[Path, ...]:
    """Return what of a project's repository stands outside the project: git's own program may not be asked as root.

    That is the repository's top above a project in a subdirectory, and the directory that a linked worktree shares.
    """
    top = next((one for one in (project, *project.parents) if (one / ".git").exists()), None)
    if top is None:
        return ()
    found = [] if top == project else [top]
    with contextlib.suppress(OSError):
        if (top / ".git").is_file():
            git = top / (top / ".git").read_text(encoding="utf-8").removeprefix("gitdir:").strip()
            found.append((git / (git / "commondir").read_text(encoding="utf-8").strip()).resolve())
    return tuple(found)
