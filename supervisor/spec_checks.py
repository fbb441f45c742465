"""How a spec or a flag is refused: the error, and the few checks that all of them share.

Owns naming the field, the value and what is allowed. Refuses to know any spec.
"""

from enum import Enum
from math import isfinite
from reprlib import Repr
from typing import Final

# A refused value may be as large as its sender likes; what is said of it may not (OTP row 60).
_SHORT: Final = Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 80


class SpecError(ValueError):
    """A spec or a flag that no supervisor can keep.

    Attributes:
        owner: what the field belongs to, as a person would call it (`child 'git'`, `supervisor flags`).
        field: name of the offending field.
        value: the value that was refused.
        why: what is wrong with it, and what is allowed.
    """

    def __init__(self, owner: str, field: str, value: object, why: str) -> None:
        """Remember the parts, so that a reader of a file can point at the place."""
        super().__init__(f"{owner}: {field} = {_SHORT.repr(value)}: {why}")
        self.owner = owner
        self.field = field
        self.value = value
        self.why = why


def is_number(value: object) -> bool:
    """Tell whether `value` is a finite int or float; a bool is not a number here."""
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


def require(owner: str, field: str, value: object, *, ok: bool, why: str) -> None:
    """Refuse a value that is not ok.

    Raises:
        SpecError: it is not.
    """
    if not ok:
        raise SpecError(owner, field, value, why)


def require_choice(owner: str, field: str, value: object, choices: type[Enum]) -> None:
    """Refuse a value that is none of an enum's.

    Raises:
        SpecError: it is not.
    """
    allowed = ", ".join(f"{choices.__name__}.{choice.name}" for choice in choices)
    require(owner, field, value, ok=isinstance(value, choices), why=f"must be one of {allowed}")
