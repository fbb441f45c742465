"""Hashes without OpenSSL are those of everybody else, whatever the interpreter was built with."""

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from actors import digests


@given(st.binary(max_size=300))
def test_hashes_are_those_of_hashlib(data: bytes) -> None:
    assert digests.sha1(data).hexdigest() == hashlib.sha1(data, usedforsecurity=False).hexdigest()
    assert digests.sha256(data).digest() == hashlib.sha256(data).digest()
