"""The milestone files of a project, read again when they changed, a bounded piece of work at a time.

Changes are found by ``stat``: two contents of a path differ in modification time, length or inode. Files are
read one by one and only until a budget of time is used up, so that the loop of the role that asks goes on
answering.

Owns finding, reading and remembering the files. Refuses to judge what they say.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

from actors import statuses
from actors.files import read_bytes
from actors.machine import signature
from actors.model import FileStatus
from actors.preflight import Surroundings
from actors.problems import Problem
from actors.reader import Reading, read
from actors.validation import subject_of
from actors.wording import in_utf8

_SUFFIXES: Final = (".yaml", ".yml")
_DEFINITION: Final = "definition.yaml"

Signature = tuple[int, int, int] | None


class Survey:
    """What stands in ``active/`` and ``completed/``.

    Args:
        project: The project directory.
    """

    def __init__(self, project: Path) -> None:
        self._project: Final = project
        self._milestones: Final = project / ".milestones"
        self._signatures: dict[str, Signature] = {}
        self._readings: dict[str, Reading] = {}
        self._unread: list[str] = []
        self._active: tuple[str, ...] = ()
        self._completed: dict[str, str] = {}

    def look(self) -> bool:
        """Find out by ``stat`` what is there; return whether anything differs from the last look."""
        active = self._files(self._milestones / "active", also_odd=True)
        completed = {in_utf8(self._id(path)): path for path in self._completed_files()}
        now = {path: signature(self._project / path) for path in (*active, *completed.values())}
        if now == self._signatures:
            return False
        changed = [path for path, seen in now.items() if seen != self._signatures.get(path) or path in self._unread]
        self._readings = {path: known for path, known in self._readings.items() if path in now}
        self._signatures, self._active, self._completed, self._unread = now, tuple(active), completed, changed
        return True

    def read_some(self, seconds: float) -> bool:
        """Read files that changed, at least one, until the time is used up; return whether all were read."""
        give_up_at = time.monotonic() + seconds
        while self._unread:
            path = self._unread.pop()
            self._readings[path] = self._read(path)
            if time.monotonic() >= give_up_at:
                break
        return not self._unread

    def surroundings(self) -> Surroundings:
        """Return what was read."""
        active = {in_utf8(path): self._readings[path] for path in self._active if path in self._readings}
        done = {
            reading.milestone.id
            for reading in active.values()
            if reading.milestone is not None and statuses.fold(reading.milestone.status) is FileStatus.COMPLETED
        }
        subjects = (subject_of(self._readings[path]) for path in self._completed.values() if path in self._readings)
        return Surroundings(
            active,
            tuple(subject for subject in subjects if subject is not None),
            done | self._completed.keys(),
        )

    def _completed_files(self) -> list[str]:
        folder = self._milestones / "completed"
        try:
            folders = sorted(entry.name for entry in folder.iterdir() if entry.is_dir())
        except OSError:
            return []
        inner = [name for name in folders if (folder / name / _DEFINITION).is_file()]
        return [f".milestones/completed/{name}/{_DEFINITION}" for name in inner] + self._files(folder, also_odd=False)

    def _files(self, folder: Path, *, also_odd: bool) -> list[str]:
        """List what is named like a milestone file; with ``also_odd`` also what cannot be one, to be said so."""
        try:
            names = sorted(entry.name for entry in folder.iterdir() if also_odd or entry.is_file())
        except OSError:
            return []
        kept = (name for name in names if name.endswith(_SUFFIXES) and not name.startswith("."))
        return [f".milestones/{folder.name}/{name}" for name in kept]

    @staticmethod
    def _id(path: str) -> str:
        parts = path.split("/")
        return parts[-2] if parts[-1] == _DEFINITION and len(parts) > 3 else parts[-1].rpartition(".")[0]  # noqa: PLR2004

    def _read(self, path: str) -> Reading:
        shown = in_utf8(path)  # facts name it
        try:
            return read(read_bytes(self._project / path), shown)
        except OSError as error:
            problem = Problem(shown, 1, 1, f"cannot be read: {error.strerror or error}")
            return Reading(None, (problem,), None, shown)
