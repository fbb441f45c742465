"""What ``module:name`` stands for, in the process that is to run it.

A target is ``package.module:Name`` or ``/absolute/path/of/a/script.py:Name``: a script that was started by its path has
no module name that another process could import. It is loaded under a name of its own, so that what stands below
``if __name__ == "__main__":`` does not run again.

Owns loading. Refuses to know what is done with the thing that was found.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Mapping
from importlib.machinery import SourceFileLoader
from types import ModuleType
from typing import Final

SCRIPT: Final = "__supervised_main__"
"""Beginning of the module name of a script; its path follows."""

_LOADING: Final[list[str]] = []


def is_script(module: str) -> bool:
    """Tell whether this is the path of a script, and no name of a module."""
    return module.startswith("/") or module.endswith(".py")


def load(module: str) -> ModuleType:
    """Import a module by its name, or a script by its path; in the fork server and in children, each in its one thread.

    Raises:
        ImportError: There is no such module or script.
        Exception: Whatever it raises while it loads.
    """
    _LOADING.append(module)
    try:
        return _load(module)
    finally:
        _LOADING.pop()


def loading() -> str:
    """Return the module or script that is being loaded for a child right now; ``""`` for none."""
    return _LOADING[-1] if _LOADING else ""


def _load(module: str) -> ModuleType:
    if not is_script(module):
        return importlib.import_module(module)
    name = f"{SCRIPT}{module}"
    if name in sys.modules:
        return sys.modules[name]
    loader = SourceFileLoader(name, module)  # named, for a command's file has any suffix, or none
    spec = importlib.util.spec_from_file_location(name, module, loader=loader)
    if spec is None:
        raise ImportError(f"{module} is no Python file", path=module)
    script = importlib.util.module_from_spec(spec)
    sys.modules[name] = script
    try:
        loader.exec_module(script)
    except BaseException:
        del sys.modules[name]
        raise
    return script


def fault_of(target: object) -> str:
    """Say why something cannot be run as a child, ``""`` where it can."""
    if isinstance(target, type):
        is_actor = any(base.__module__.partition(".")[0] == "pykka" for base in target.__mro__)
        if is_actor and inspect.iscoroutinefunction(getattr(target, "on_receive", None)):
            return "has an async on_receive, which nobody would await: make it a def that calls asyncio.run"
        return "" if is_actor else "is a class, and no pykka actor: derive it from pykka.ThreadingActor"
    if inspect.iscoroutinefunction(target):
        return "is an async def, which nobody would await: wrap it in a function that calls asyncio.run"
    return ""


def find(target: str) -> object:
    """Return what a target names.

    Raises:
        ImportError: There is no such module or script, or it has no such name.
        Exception: Whatever the module raises while it loads.
    """
    module, _, path = target.rpartition(":")
    found: object = load(module)
    for name in path.split("."):
        try:
            found = getattr(found, name)
        except AttributeError as error:
            raise ImportError(f"{module} has nothing named {path!r}", name=module) from error
    return found


def fill(
    function: Callable[..., object], args: Mapping[str, object], offered: Mapping[str, object]
) -> dict[str, object]:
    """Return keyword arguments: those given, and of those offered what the function declares by name.

    Args:
        function: A function, or a class.
        args: Given by who wrote the spec; they win.
        offered: What supervision knows, by the name of the parameter that takes it.
    """
    try:
        declared = inspect.signature(function).parameters
    except (TypeError, ValueError):  # one that is written in C and says nothing of its parameters
        return dict(args)
    return {**{name: value for name, value in offered.items() if name in declared}, **args}
