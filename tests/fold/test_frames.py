"""However a link cuts the stream, the same frames come out; what is no frame is told as that and nothing else."""

import struct
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.events import AttemptStarted, Fact, Record, RoleFinished, encode_event
from actors.frames import (
    FRAME_TYPES,
    FRAMING,
    MAX_FRAME,
    Beat,
    Deliver,
    Frame,
    FrameError,
    FrameReader,
    Hello,
    Leave,
    Propose,
    Ready,
    Welcome,
    encode_frame,
)
from actors.model import Milestone, Task
from actors.state import SessionState, decode_state, encode_state

TEXT = st.text(st.characters(codec="utf-8"), max_size=8)
NUMBERS = st.integers(0, 2**40)
FACTS = st.builds(lambda text: encode_event(RoleFinished("git_integration", text)), TEXT)
RECORDS = st.builds(lambda seq, fact: Record(seq, "s", 1.5, 2.5, fact.kind, fact.body), st.integers(1, 99), FACTS)
FRAMES: st.SearchStrategy[Frame] = st.one_of(
    st.builds(Hello, TEXT, NUMBERS, NUMBERS, NUMBERS),
    st.builds(Deliver, st.lists(RECORDS, max_size=3).map(tuple), st.lists(NUMBERS, max_size=3).map(tuple)),
    st.builds(Propose, NUMBERS, st.lists(FACTS, max_size=3).map(tuple)),
    st.builds(Welcome, TEXT, st.just(encode_state(SessionState())), NUMBERS, st.just(())),
    st.builds(Beat, st.floats(0, 1e9)),
    st.builds(Leave, st.floats(0, 1e9)),
    st.just(Ready()),
)


def as_bytes(frames: list[Frame]) -> list[bytes]:
    """Compare frames by what is written of them: raw JSON has no equality of its own."""
    return [encode_frame(frame) for frame in frames]


def test_the_table_of_kinds_is_closed_and_complete() -> None:
    assert set(FRAME_TYPES) == {"Hello", "Welcome", "Deliver", "Propose", "Ready", "Beat", "Leave"}


@settings(max_examples=60)
@given(st.lists(FRAMES, max_size=6), st.data())
def test_any_cut_of_the_stream_gives_the_same_frames(frames: list[Frame], data: st.DataObject) -> None:
    stream = b"".join(as_bytes(frames))
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=12).map(sorted))
    reader = FrameReader()
    read = [frame for start, end in pairwise([0, *cuts, len(stream)]) for frame in reader.feed(stream[start:end])]
    assert as_bytes(read) == as_bytes(frames)


def test_one_byte_at_a_time_each_frame_comes_with_its_last_byte() -> None:
    stream = encode_frame(Ready()) + encode_frame(Beat(1.0))
    reader = FrameReader()
    came = [len(reader.feed(stream[at : at + 1])) for at in range(len(stream))]
    assert [at + 1 for at, count in enumerate(came) if count] == [len(encode_frame(Ready())), len(stream)]


def test_a_frame_of_several_mebibytes_comes_through() -> None:
    fact = encode_event(RoleFinished("git_integration", "x" * (5 << 20)))
    (frame,) = FrameReader().feed(encode_frame(Propose(1, (fact,))))
    assert isinstance(frame, Propose)
    assert bytes(frame.facts[0].body) == bytes(fact.body)


@pytest.mark.parametrize("piece", [50_000, 65_540, 1 << 20])
def test_large_frames_and_small_ones_come_through_in_their_order_however_they_are_cut(piece: int) -> None:
    sizes = [10, 200_000, 0, 70_000, 65_536, 5]
    frames: list[Frame] = [
        Propose(number, (encode_event(RoleFinished("git_integration", "x" * size)),))
        for number, size in enumerate(sizes)
    ]
    stream = b"".join(map(encode_frame, frames))
    reader = FrameReader()
    found = [frame for start in range(0, len(stream), piece) for frame in reader.feed(stream[start : start + piece])]
    assert [encode_frame(frame) for frame in found] == [encode_frame(frame) for frame in frames]


def test_a_state_travels_in_a_welcome() -> None:
    state = SessionState(session="s", seq=7)
    frame = FRAMING.decode(encode_frame(Welcome("s", encode_state(state), 7, ()))[4:])
    assert isinstance(frame, Welcome)
    assert decode_state(frame.state) == state


def test_what_was_looked_up_in_a_state_does_not_travel_along() -> None:
    state = SessionState(session="s", milestone=Milestone("m", "M", tasks=(Task("a", "A"), Task("b", "B"))))
    plain = bytes(encode_state(state))
    assert state.milestone.by_id["a"].title == "A"
    assert bytes(encode_state(state)) == plain


def test_a_length_beyond_the_limit_is_refused_before_its_bytes_come() -> None:
    with pytest.raises(FrameError, match=f"{MAX_FRAME + 1} bytes is larger"):
        FrameReader().feed(struct.pack(">I", MAX_FRAME + 1))


NONSENSE = {
    "nothing": b"",
    "no json": b"hello, world",
    "no object": b"[1, 2]",
    "no kind": b'{"body":{}}',
    "no body": b'{"kind":"Ready"}',
    "unknown kind": b'{"kind":"Explode","body":{}}',
    "a kind that is no text": b'{"kind":["Ready"],"body":{}}',
    "a missing field": b'{"kind":"Beat","body":{}}',
    "another type": b'{"kind":"Beat","body":{"mono":"soon"}}',
    "not a number": b'{"kind":"Beat","body":{"mono":NaN}}',
    "infinity": b'{"kind":"Beat","body":{"mono":1e999}}',
    "half a surrogate pair": b'{"kind":"Hello","body":{"child":"\\ud800","incarnation":1,"pid":1,"since":0}}',
    "no utf-8": b'{"kind":"Hello","body":{"child":"\xff","incarnation":1,"pid":1,"since":0}}',
    "a kind that is no utf-8": b'{"kind":"\xff","body":{}}',
    "deep nesting": b'{"kind":"Ready","body":{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}}",
    "deep nesting where a fact should be": b'{"kind":"Propose","body":{"ticket":1,"facts":' + b"[" * 100_000,
    "an endless number": b'{"kind":"Propose","body":{"ticket":1' + b"0" * 10_000 + b',"facts":[]}}',
    "more after it": b'{"kind":"Ready","body":{}}{}',
}


@pytest.mark.parametrize("payload", NONSENSE.values(), ids=NONSENSE)
def test_nonsense_is_a_frame_error_and_nothing_else(payload: bytes) -> None:
    with pytest.raises(FrameError, match="not a frame"):
        FRAMING.decode(payload)
    with pytest.raises(FrameError):
        FrameReader().feed(struct.pack(">I", len(payload)) + payload)


@given(st.binary(max_size=200))
def test_no_bytes_make_the_reader_raise_anything_but_a_frame_error(data: bytes) -> None:
    try:
        frames = FrameReader().feed(data)
    except FrameError:
        return
    assert all(type(frame).__name__ in FRAME_TYPES for frame in frames)


def test_fields_of_a_newer_version_are_passed_over() -> None:
    frame = FRAMING.decode(b'{"newer":[{}],"kind":"Beat","body":{"mono":1.5,"load":0.25}}')
    assert frame == Beat(1.5)


def test_a_fact_travels_undecoded_whatever_it_claims_to_be() -> None:
    strange = Fact("Unheard", encode_event(AttemptStarted("a.1", 1)).body)
    frame = FRAMING.decode(encode_frame(Propose(3, (strange,)))[4:])
    assert isinstance(frame, Propose)
    assert (frame.facts[0].kind, bytes(frame.facts[0].body)) == ("Unheard", bytes(strange.body))
