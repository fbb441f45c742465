"""How a class or a function is named so that another process finds it.

Owns turning an object into `module:Name`, or into `/path/of/script.py:Name` when it stands in the script that was
started: that has no module name elsewhere (where it is loaded, it is called by its path, with a word before it). It
refuses to know what is done with the name; `actors.targets` reads it.
"""

import sys
from collections.abc import Callable
from types import ModuleType
from zipimport import zipimporter

from supervisor.spec_checks import SpecError

Target = str | type | Callable[..., object]
"""What a child spec takes as its target."""


def path_of(value: Target) -> str:
    """Return the path of a class or function; a text is returned as it is, whatever it says.

    Args:
        value: a class, a function, or a path.

    Raises:
        SpecError: another process could not import it.
    """
    if isinstance(value, str):
        return value
    owner = "child"
    name = getattr(value, "__qualname__", None)
    module = getattr(value, "__module__", None)
    if not (callable(value) and isinstance(name, str) and isinstance(module, str)):
        raise SpecError(owner, "target", value, "must be an import path, a class or a function")
    if "<" in name:
        why = "stands inside a function; a process of its own can only import what stands at the top of a module"
        raise SpecError(owner, "target", name, why)
    if _found_in(sys.modules.get(module), name) is not value:
        why = f"is not what module {module!r} has by this name, so that no other process could import it"
        raise SpecError(owner, "target", name, why)
    place = _main_place(owner, name) if module == "__main__" else module[max(0, module.find("/")) :]
    return f"{place}:{name}"


def _found_in(module: ModuleType | None, path: str) -> object:
    found: object = module
    for name in path.split("."):
        found = getattr(found, name, None)
    return found


def _main_place(owner: str, name: str) -> str:
    """Name the module that was started: as a module, or as a script."""
    main = sys.modules["__main__"]
    spec = getattr(main, "__spec__", None)
    if spec is not None and spec.name != "__main__":
        return str(spec.name)
    file = getattr(main, "__file__", None)
    if isinstance(file, str) and file.startswith("/") and not isinstance(getattr(spec, "loader", None), zipimporter):
        return file
    where = "an interactive session" if spec is None else "the __main__ of an archive"
    why = f"was defined in {where}; put it into a module, so that a process of its own can import it"
    raise SpecError(owner, "target", name, why)
