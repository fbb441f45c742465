"""What a service's own children must be, beyond what makes a spec valid: found, addressable, and fit to be sent.

Checked before anything is started. Owns these checks and the list of what to preload. Refuses to start anything.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType
from typing import Final

from actors import plain
from actors.targets import fault_of, is_script
from supervisor.fork_protocol import MAX_MESSAGE
from supervisor.launcher import import_path
from supervisor.spec import ChildSpec, ChildType, listed_specs
from supervisor.spec_checks import SpecError, require

_TARGET: Final = re.compile(r"[^:]+:[^\W\d]\w*(\.[^\W\d]\w*)*")
_ROOM: Final = 4096


def check_tree(specs: Iterable[ChildSpec], preload: Sequence[str] = ()) -> tuple[ChildSpec, ...]:
    """Check specs, and those of the supervisors among them.

    Args:
        specs: In start order.
        preload: What the fork server is told to load first: it may have others be found, so that who is not found here
            is given the benefit of the doubt.

    Raises:
        SpecError: An id has a slash, a target cannot be found, or arguments have no form in JSON.
    """
    listed = listed_specs(specs)
    for spec in listed:
        owner = f"child {spec.id!r}"
        why = "must have no '/': that stands between a supervisor and its child"
        require(owner, "id", spec.id, ok="/" not in spec.id, why=why)
        if spec.type is ChildType.SUPERVISOR:
            why = "a supervisor has children instead"
            require(owner, "target", spec.target, ok=not spec.target, why=why)
            check_tree(spec.children, preload)
        elif spec.program is None:
            _check_target(owner, spec.target, is_sure=not preload)
            check_args(owner, spec.args)
    return listed


def check_args(owner: str, args: object) -> None:
    """Refuse arguments that cannot be sent to another process.

    Raises:
        SpecError: They are no keyword arguments, have no form in JSON, or are too large.
    """
    require(owner, "args", args, ok=isinstance(args, Mapping), why="must be a dict: arguments by their names")
    try:
        size = len(plain.encode(args))
    except plain.NotPlainError as error:
        raise SpecError(owner, "args", args, f"must be plain values, for they are sent as JSON: {error}") from error
    most = MAX_MESSAGE - _ROOM
    require(owner, "args", f"{size} bytes", ok=size <= most, why=f"must be at most {most} bytes: tell what is large")


def check_path(field: str, path: object) -> None:
    """Refuse what is no path of a child, or of a supervisor, in a tree.

    Raises:
        SpecError: It is none.
    """
    require("request", field, path, ok=isinstance(path, str), why="must be a path, a text: 'child', 'supervisor/child'")


def preload_of(specs: Iterable[ChildSpec]) -> tuple[str, ...]:
    """List the modules and scripts in which the targets of a tree stand, each once."""
    return tuple(dict.fromkeys(_modules(specs)))


def _modules(specs: Iterable[ChildSpec]) -> Iterator[str]:
    for spec in specs:
        if spec.type is ChildType.SUPERVISOR:
            yield from _modules(spec.children)
        elif spec.program is None:
            yield spec.target.rpartition(":")[0]


def _check_target(owner: str, target: str, *, is_sure: bool) -> None:
    why = "must be 'package.module:Name' or '/path/of/a/script.py:Name'"
    require(owner, "target", target, ok=_TARGET.fullmatch(target) is not None, why=why)
    module, _, name = target.rpartition(":")
    if is_script(module):
        there = Path(module).is_absolute() and Path(module).is_file()
        require(owner, "target", target, ok=there, why="there is no script at this absolute path")
        return
    loaded = sys.modules.get(module)
    if loaded is not None:
        why = f"module {module!r} has nothing named {name.split('.')[0]!r}"
        require(owner, "target", target, ok=hasattr(loaded, name.split(".")[0]), why=why)
        fault = fault_of(getattr(loaded, name, None))  # of one inside a class, its process says it
        require(owner, "target", target, ok=not fault, why=fault)
    package = module.partition(".")[0]
    if not is_sure or _is_found(package):
        return
    if loaded is None:
        raise SpecError(owner, "target", target, f"there is no module {package!r} on sys.path")
    why = f"module {module!r} was imported here, but another process would not find it on sys.path"
    raise SpecError(owner, "target", target, f"{why}{_cure(module, loaded)}")


def _is_found(package: str) -> bool:
    """Tell whether another process would find a module, whatever has been imported here.

    A package alone: to look for what is in it, it would have to be imported. Finders other than the one that searches
    the path are taken to be there as well, as those of editable installations are.
    """
    path = import_path(relative=True)
    for finder in sys.meta_path:
        try:
            found = finder.find_spec(package, path if finder is PathFinder else None)
        except (ImportError, ValueError, AttributeError):
            continue
        if found is not None:
            return True
    return False


def _cure(module: str, loaded: ModuleType) -> str:
    file = getattr(loaded, "__file__", None)
    if not isinstance(file, str):
        return ""
    above = Path(file).absolute().parents
    depth = module.count(".") + (Path(file).name == "__init__.py")
    return f": sys.path.insert(0, {str(above[depth])!r}) before the start" if depth < len(above) else ""
