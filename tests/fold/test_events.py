"""Every kind of fact comes back from its JSON as it was written; what is no fact is refused as such."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.events import (
    EVENT_TYPES,
    AttemptEnded,
    AttemptStarted,
    Event,
    Outcome,
    Record,
    UnknownKindError,
    decode_event,
    encode_event,
)
from actors.wording import signal_name
from tests.fold.strategies import values_of


@pytest.mark.parametrize("kind", EVENT_TYPES)
@settings(max_examples=12)
@given(data=st.data())
def test_every_kind_of_fact_comes_back_as_it_was_written(kind: str, data: st.DataObject) -> None:
    event: Event = data.draw(values_of(EVENT_TYPES[kind]))
    fact = encode_event(event)
    assert fact.kind == kind
    assert decode_event(fact.kind, fact.body) == event
    assert Record(1, "s", 0.0, 0.0, fact.kind, fact.body).event() == event
    assert encode_event(decode_event(kind, bytes(fact.body))) == fact


def test_an_unknown_kind_is_refused_with_its_name() -> None:
    with pytest.raises(UnknownKindError, match="'TaskTeleported': written by a newer version") as raised:
        decode_event("TaskTeleported", b"{}")
    assert raised.value.kind == "TaskTeleported"


WRONG = {
    "nothing": b"",
    "no object": b"[]",
    "cut off": b'{"attempt":"a.1"',
    "a missing field": b'{"attempt":"a.1"}',
    "another type": b'{"attempt":1,"pid":2}',
    "a number as text": b'{"attempt":"a.1","pid":"2"}',
    "null": b'{"attempt":null,"pid":2}',
    "not a number": b'{"attempt":"a.1","pid":NaN}',
    "half a surrogate pair": b'{"attempt":"\\ud800","pid":2}',
    "no utf-8": b'{"attempt":"\xff","pid":2}',
    "a key that is no utf-8": b'{"attempt":"a.1","pid":2,"\xff":NaN}',
    "deep nesting": b'{"attempt":"a.1","pid":2,"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "more after it": b'{"attempt":"a.1","pid":2} {}',
}


@pytest.mark.parametrize("body", WRONG.values(), ids=WRONG)
def test_a_body_that_does_not_fit_its_kind_is_refused_as_such(body: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_event(AttemptStarted.__name__, body)


@given(st.binary(max_size=64), st.sampled_from(sorted(EVENT_TYPES)))
def test_no_bytes_make_the_decoder_raise_anything_else(body: bytes, kind: str) -> None:
    try:
        event = decode_event(kind, body)
    except msgspec.DecodeError:
        return
    assert type(event).__name__ == kind


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"outcome": Outcome.OK}, ""),
        ({"outcome": Outcome.INTERRUPTED, "code": -15}, ""),
        ({"outcome": Outcome.FAILED, "step": "verify 2", "code": 3}, "verify 2 exited with 3"),
        ({"outcome": Outcome.FAILED, "step": "run", "code": -9}, "run was killed by SIGKILL"),
        ({"outcome": Outcome.FAILED, "code": 1}, "it exited with 1"),
        ({"outcome": Outcome.TIMEOUT, "step": "run", "detail": "not done after 2 s"}, "not done after 2 s"),
    ],
)
def test_an_end_is_explained_in_one_line(fields: dict[str, Any], text: str) -> None:
    assert AttemptEnded("a.1", **fields).explanation == text


def test_a_signal_without_a_name_is_shown_by_its_number() -> None:
    assert (signal_name(9), signal_name(200)) == ("SIGKILL", "signal 200")
