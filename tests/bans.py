"""What the product does not do, found in its parsed sources: executing what it reads, and taking names out of strings.

Owns the rules. Refuses to know which files they are applied to.
"""

import ast
import re
from collections.abc import Iterator
from typing import Final

CALLS: Final = frozenset(
    {
        *("yaml.load", "yaml.load_all", "yaml.full_load", "yaml.full_load_all", "yaml.unsafe_load"),
        *("yaml.unsafe_load_all", "pickle.load", "pickle.loads", "marshal.loads", "shelve.open"),
        *("os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput"),
        *("tempfile.mktemp", "eval", "exec", "compile", "__import__", "re.match"),
    }
)
"""Calls that are never made."""

LOADERS: Final = frozenset({"Loader", "FullLoader", "UnsafeLoader", "CLoader", "CFullLoader", "CUnsafeLoader"})
"""Loaders of PyYAML that make objects of tags."""

_ID_PATTERN: Final = re.compile(r"(?:\w*_)?(?:ID|NAME|NAMES|REF|MARK)")
"""Names of patterns that tell whether a text is a name: half of it is not enough."""


def violations(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield line and description of everything in a module that this house does without.

    Args:
        tree: The parsed module.
    """
    imported = _imported(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield from _of_call(node, imported)
        elif isinstance(node, ast.Attribute) and node.attr in LOADERS and _dotted(node.value) == "yaml":
            yield node.lineno, f"yaml.{node.attr} executes what it reads"


def looked_up(tree: ast.AST) -> Iterator[int]:
    """Yield the lines in which an attribute is looked up by a name that is not written there."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _dotted(node.func).rpartition(".")[2] in {
            "getattr",
            "setattr",
            "import_module",
        }:
            name = node.args[1] if len(node.args) > 1 else node.args[0]
            if not isinstance(name, ast.Constant):
                yield node.lineno


def _of_call(node: ast.Call, imported: dict[str, str]) -> Iterator[tuple[int, str]]:
    first, _, rest = _dotted(node.func).partition(".")
    called = imported.get(first, first) + (f".{rest}" if rest else "")
    if called in CALLS:
        yield node.lineno, f"{called} is never called"
    if isinstance(node.func, ast.Attribute) and node.func.attr in {"match", "search"}:
        owner = _dotted(node.func.value).rpartition(".")[2]
        if _ID_PATTERN.fullmatch(owner):
            yield node.lineno, f"{owner}.{node.func.attr} lets more than a name pass: fullmatch"
    for keyword in node.keywords:
        if keyword.arg == "shell" and not (isinstance(keyword.value, ast.Constant) and keyword.value.value is False):
            yield node.lineno, "a string is handed to a shell by subprocess"


def _dotted(node: ast.AST) -> str:
    """Return the name that an expression is, with dots; ``""`` for one that is more than a name."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    return ""


def _imported(tree: ast.AST) -> dict[str, str]:
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            names |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.asname: alias.name for alias in node.names if alias.asname}
    return names
