"""The hash chain: no two events look the same, and none can be changed, moved or left out unnoticed."""

from hypothesis import given
from hypothesis import strategies as st

from supervisor import chain

TEXTS = st.binary(max_size=20)
EVENTS = st.tuples(
    st.integers(1, 2**63 - 1),
    TEXTS,
    st.floats(allow_nan=False),
    st.floats(allow_nan=False),
    TEXTS,
    TEXTS,
)


@given(EVENTS, EVENTS)
def test_different_events_have_different_forms(
    one: tuple[int, bytes, float, float, bytes, bytes], other: tuple[int, bytes, float, float, bytes, bytes]
) -> None:
    # Zero and minus zero are equal and have two forms: the journal writes the first of them only.
    if chain.canonical(*one) == chain.canonical(*other):
        assert one == other


def test_text_cannot_move_from_one_field_into_the_next() -> None:
    assert chain.canonical(1, b"ab", 0.0, 0.0, b"c", b"") != chain.canonical(1, b"a", 0.0, 0.0, b"bc", b"")
    assert chain.canonical(1, b"", 0.0, 0.0, b"ab", b"c") != chain.canonical(1, b"", 0.0, 0.0, b"a", b"bc")


def test_the_chain_of_known_events_never_changes() -> None:
    form = chain.canonical(1, b"s", 1.5, 2.5, b"Kind", b"{}")
    head = chain.link(chain.genesis(b"id"), form)
    assert form.hex() == (
        "00000000000000013ff8000000000000400400000000000000000001000000040000000000000002734b696e647b7d"
    )
    assert chain.crc(form) == 3330384430
    assert head.hex() == "02fc58383ea01cf1745b0ddfd6d2e432ed4ad387b7e36444f2c4565617780a31"


def test_an_event_has_another_hash_behind_another_event() -> None:
    form = chain.canonical(2, b"s", 0.0, 0.0, b"K", b"{}")
    assert chain.link(chain.genesis(b"one"), form) != chain.link(chain.genesis(b"two"), form)


@given(st.integers(0, 2**63), st.binary(min_size=32, max_size=32))
def test_a_witness_reads_back(seq: int, head: bytes) -> None:
    assert chain.unpack_witness(chain.pack_witness(seq, head)) == (seq, head)


def test_a_torn_or_damaged_witness_says_nothing() -> None:
    whole = chain.pack_witness(7, bytes(range(32)))
    for cut in range(len(whole)):
        assert chain.unpack_witness(whole[:cut]) is None
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 0x10
        assert chain.unpack_witness(bytes(damaged)) is None


@given(st.binary(min_size=32, max_size=32), TEXTS)
def test_a_long_journal_is_hashed_as_a_short_one(previous: bytes, form: bytes) -> None:
    assert chain.linker(10**6)(previous, form) == chain.linker(1)(previous, form) == chain.link(previous, form)
