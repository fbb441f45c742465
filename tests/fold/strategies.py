"""Values of the vocabulary's classes, made from their types.

Owns the way from a type to a strategy; a class that gets a field of a new type makes it fail. Left out are what JSON
has no form for: NaN, the infinities and lone surrogates.
"""

import enum
import types
from typing import Any, Union, get_args, get_origin, get_type_hints

import attrs
import msgspec
from hypothesis import strategies as st

from actors.limits import Limit, Limits

_TEXT = st.text(st.characters(codec="utf-8"), max_size=8)
_PLAIN: dict[object, st.SearchStrategy[Any]] = {
    str: _TEXT,
    int: st.integers(-(2**70), 2**70),
    float: st.floats(allow_nan=False, allow_infinity=False),
    bool: st.booleans(),
    type(None): st.none(),
}
_AMOUNTS = st.none() | st.floats(1e-3, 1e15)
_LIMIT = st.builds(Limit, soft=_AMOUNTS, seconds=_AMOUNTS) | st.builds(Limit, st.just(1e-3), _AMOUNTS)
# Not from the types of its fields: a limit refuses most of what these would let through.
_PLAIN[Limits] = st.builds(Limits, *[st.none() | _LIMIT] * 4)


def values_of(wanted: Any) -> st.SearchStrategy[Any]:  # noqa: ANN401 - any type of the vocabulary
    """Return a strategy for the values of a type."""
    if wanted in _PLAIN:
        return _PLAIN[wanted]
    if isinstance(wanted, type) and issubclass(wanted, enum.Enum):
        return st.sampled_from(wanted)
    if isinstance(wanted, type) and (attrs.has(wanted) or issubclass(wanted, msgspec.Struct)):
        hints = get_type_hints(wanted)
        return st.builds(wanted, **{name: values_of(hints[name]) for name in getattr(wanted, "__match_args__", ())})
    arguments = get_args(wanted)
    if get_origin(wanted) in {Union, types.UnionType}:
        return st.one_of([values_of(argument) for argument in arguments])
    if get_origin(wanted) is tuple and arguments[-1] is Ellipsis:
        return st.lists(values_of(arguments[0]), max_size=2).map(tuple)
    if get_origin(wanted) is tuple:
        return st.tuples(*(values_of(argument) for argument in arguments))
    raise TypeError(f"no strategy for {wanted}")
