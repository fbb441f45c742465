"""Plain values arrive as they were sent, and what would have turned into another one is named with its place."""

import datetime as dt
import decimal
import enum
import json
import re
import uuid
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import plain


class Word(enum.StrEnum):
    ONE = "one"


class Plain(enum.Enum):
    ONE = 1


@attrs.frozen
class Point:
    x: int = 1


SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
PLAIN = st.recursive(
    SCALARS | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
)


@given(PLAIN)
def test_a_plain_value_arrives_as_it_was_sent(value: object) -> None:
    assert json.loads(plain.encode(value)) == value


@pytest.mark.parametrize(
    ("value", "arrives"), [((1, (2,)), [1, [2]]), (Word.ONE, "one"), ({Word.ONE: 1}, {"one": 1}), (1 << 70, 1 << 70)]
)
def test_what_is_as_good_as_plain_is_sent(value: object, arrives: object) -> None:
    assert json.loads(plain.encode(value)) == arrives


LOOP: list[Any] = []
LOOP.append(LOOP)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (b"ab", "b'ab' is of type bytes"),
        ({"a": (1, {"b": b"x"})}, "['a'][1]['b']: b'x' is of type bytes"),
        ([float("nan")], "[0]: nan has no form in JSON"),
        (float("-inf"), "-inf has no form in JSON"),
        ({"x": {1: 2}}, "['x']: the key 1 is of type int, and keys must be texts"),
        ({None: 2}, "the key None is of type NoneType"),
        (dt.timedelta(1), "is of type timedelta"),
        (decimal.Decimal("1.5"), "is of type Decimal"),
        (uuid.UUID(int=0), "is of type UUID"),
        (Plain.ONE, "is of type Plain"),
        (Point(), "is of type Point"),
        ({1, 2}, "{1, 2} is of type set"),
        (object(), "is of type object"),
        ("\ud800", "surrogates not allowed"),
        (LOOP, "it holds itself, or is nested too deeply"),
    ],
)
def test_what_would_not_arrive_as_it_was_is_refused_with_its_place(value: object, why: str) -> None:
    with pytest.raises(plain.NotPlainError, match=re.escape(why)):
        plain.encode(value)
