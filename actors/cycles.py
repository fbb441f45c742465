"""Circles in a graph of names.

Owns one depth-first walk without recursion, for tasks and for milestones. Refuses to know what waits for
what.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import attrs

_LONGEST_SHOWN: Final = 12


@attrs.frozen
class Cycle:
    """One edge that closes a circle, with the circle.

    Attributes:
        source: Where the closing edge begins.
        target: Where it ends: the first name of the circle on the way.
        text: The circle for people, ``a -> b -> a``; a long one without its middle.
    """

    source: str
    target: str
    text: str


def cycles(edges: Mapping[str, Sequence[str]]) -> Iterator[Cycle]:
    """Yield a circle for every edge that leads back to a name on the way to it, in linear time.

    Breaking the circles that are found breaks all that there are. Edges from a name to itself, and to names
    that have no entry, are left to the caller.

    Args:
        edges: For each name the names that it waits for.
    """
    on_path: dict[str, int] = {}
    path: list[str] = []
    finished: set[str] = set()
    for root in edges:
        walk = [] if root in finished else [(root, iter(edges[root]))]
        if walk:
            on_path[root] = 0
            path.append(root)
        while walk:
            current, following = walk[-1]
            for name in following:
                if name == current or name in finished or name not in edges:
                    continue
                if name in on_path:
                    yield Cycle(current, name, _shown(path, on_path[name]))
                    continue
                walk.append((name, iter(edges[name])))
                on_path[name] = len(path)
                path.append(name)
                break
            else:
                walk.pop()
                path.pop()
                del on_path[current]
                finished.add(current)


def _shown(path: Sequence[str], begin: int) -> str:
    length = len(path) - begin
    if length <= _LONGEST_SHOWN:
        names = [*path[begin:], path[begin]]
    else:
        half = _LONGEST_SHOWN // 2
        names = [*path[begin : begin + half], f"({length - 2 * half} more)", *path[-half:], path[begin]]
    return " -> ".join(names)
