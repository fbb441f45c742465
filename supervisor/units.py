"""Units for systemd: what the shipped ones become on a machine, and whether one that stands there is still ours.

The shipped units name a program and a project as they may be; here they get those of the machine. The first line of
what is written says so and carries a digest of the rest: a unit that somebody edited is known by it, and never
overwritten or removed unasked.

Owns names, quoting and text. Refuses to know where units stand and whether a systemd runs.
"""

from __future__ import annotations

import hashlib
import re
from importlib import resources
from pathlib import Path
from typing import Final

import attrs

SAMPLE_PROGRAM: Final = "/usr/local/bin/milestoned"
"""The program of the shipped units."""

SAMPLE_CLIENT: Final = "/usr/local/bin/milestonectl"
"""The client of the shipped units."""

SAMPLE_PROJECT: Final = "/srv/project"
"""The project of those shipped units that name one."""

LONGEST_NAME: Final = 255
"""Characters of a unit's name (systemd.unit(5))."""

LONGEST_SOCKET: Final = 107
"""Bytes of a Unix socket's path (unix(7))."""

TEMPLATE: Final = "milestoned@"
TOGETHER: Final = "milestoned"

_MARK: Final = "# Written by: milestonectl service install; content sha256:"
_PLAIN: Final = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:_.")
_C_ESCAPES: Final = {"\\": "\\\\", '"': '\\"', "'": "\\'", "%": "%%", "\n": "\\n", "\t": "\\t", "\r": "\\r"}
_BARE: Final = re.compile(r"[A-Za-z0-9/._+@:,=~-]+")


@attrs.frozen
class Wanted:
    """A service to be installed.

    Attributes:
        program: Absolute path of milestoned.
        projects: Absolute paths of the project directories; one, unless ``together``.
        together: One process for all of them instead of an instance of the template for each.
        is_user: For a user's own systemd.
        owner: Name or number of the user whom a system's service runs as; not used for a user's.
        group: Of that user.
        hardened: With the sandbox.
        writable: What the sandbox lets be written.
    """

    program: Path
    projects: tuple[Path, ...]
    together: bool = False
    is_user: bool = False
    owner: str = ""
    group: str = ""
    hardened: bool = False
    writable: tuple[Path, ...] = ()

    @property
    def base(self) -> str:
        """The unit's name without its type: ``milestoned``, or the template's name with the instance."""
        return TOGETHER if self.together else f"{TEMPLATE}{escape_path(self.projects[0])}"

    @property
    def service(self) -> str:
        """Name of the service."""
        return f"{self.base}.service"


@attrs.frozen
class UnitFile:
    """A file for systemd.

    Attributes:
        name: Path below the directory of units.
        text: Its content, with our mark.
    """

    name: str
    text: str


def unit_files(wanted: Wanted) -> tuple[UnitFile, ...]:
    """Return the files of a service: unit, socket unit, and for a system's service the drop-ins of this one."""
    stem = TOGETHER if wanted.together else TEMPLATE
    folder = ("user",) if wanted.is_user else ()
    projects = " ".join(map(quoted, wanted.projects))
    service = shipped(*folder, f"{stem}.service").replace(SAMPLE_PROGRAM, quoted(wanted.program))
    service = service.replace(SAMPLE_CLIENT, quoted(wanted.program.with_name("milestonectl")))
    # Any of the projects' sockets leads to the one process; it reads all of their configurations.
    service = service.replace(f"-C {SAMPLE_PROJECT} ", f"-C {quoted(wanted.projects[0])} ")
    control = "".join(f"ListenStream={_specified(one)}/.milestones/run/control.sock\n" for one in wanted.projects)
    socket = shipped(f"{stem}.socket").replace(f"ListenStream={SAMPLE_PROJECT}/.milestones/run/control.sock\n", control)
    found = {f"{stem}.service": service.replace(SAMPLE_PROJECT, projects), f"{stem}.socket": socket}
    if not wanted.is_user:
        found[f"{wanted.base}.service.d/10-owner.conf"] = f"[Service]\nUser={wanted.owner}\nGroup={wanted.group}\n"
        found[f"{wanted.base}.socket.d/10-owner.conf"] = (
            f"[Socket]\nSocketUser={wanted.owner}\nSocketGroup={wanted.group}\n"
        )
    if wanted.hardened:
        writable = " ".join(map(quoted, wanted.writable))
        found[f"{wanted.base}.service.d/50-hardened.conf"] = shipped("hardened.conf").replace(SAMPLE_PROJECT, writable)
    return tuple(UnitFile(name, marked(text)) for name, text in found.items())


def shipped(*names: str) -> str:
    """Return the text of a unit as it is shipped."""
    return resources.files("supervisor.configs").joinpath("systemd", *names).read_text(encoding="utf-8")


def marked(text: str) -> str:
    """Return a text below a first line by which it is known to be ours and as we wrote it."""
    return f"{_MARK}{_digest(text)}\n{text}"


def is_ours(text: str) -> bool:
    """Tell whether a unit was written here, edited since or not."""
    return text.startswith(_MARK)


def is_unedited(text: str) -> bool:
    """Tell whether a unit is as it was written here."""
    first, _, rest = text.partition("\n")
    return first == f"{_MARK}{_digest(rest)}"


def escape_path(path: Path) -> str:
    """Return a path as the instance of a template, as ``systemd-escape --path`` does (systemd.unit(5))."""
    raw = b"/".join(part for part in bytes(path).split(b"/") if part)
    if not raw:
        return "-"
    escaped = []
    for place, byte in enumerate(raw):
        if byte == ord("/"):
            escaped.append("-")
        elif byte in _PLAIN and not (place == 0 and byte == ord(".")):
            escaped.append(chr(byte))
        else:
            escaped.append(f"\\x{byte:02x}")
    return "".join(escaped)


def quoted(path: Path) -> str:
    """Return a path as one word of a unit's line, with nothing in it to be expanded but what ``$`` would be."""
    text = str(path)
    return text if _BARE.fullmatch(text) else '"' + "".join(_C_ESCAPES.get(one, one) for one in text) + '"'


def _specified(path: Path) -> str:
    """Return a path as a value that is taken as it is, specifiers apart."""
    return str(path).replace("%", "%%")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
