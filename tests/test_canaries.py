"""The search for canaries finds what it is to find, wherever and however it stands."""

import base64
import gzip
import json
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import canaries
from tests.canaries import Hit, find, find_in
from tests.repositories import MakeRepository, git

CANARY = 'c4n4ry-ü"\\/+= end'


def test_a_value_is_found_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep/er/a.log").write_bytes(b"x" * 17 + CANARY.encode())
    assert find([CANARY], [tmp_path]) == [Hit(CANARY, "raw", tmp_path / "deep/er/a.log", 17)]
    assert find([CANARY], [tmp_path], but=[tmp_path / "deep"]) == []
    assert find(["another-canary"], [tmp_path]) == []


@pytest.mark.parametrize(
    ("form", "written"),
    [
        ("json", json.dumps({"text": CANARY}).encode()),
        ("json", json.dumps({"text": CANARY}, ensure_ascii=False).encode()),
        ("percent", f"https://host/?q={quote(CANARY, safe='')}&x".encode()),
        ("hex", CANARY.encode().hex().encode()),
        ("base32", base64.b32encode(CANARY.encode())),
    ],
)
def test_a_value_is_found_in_another_form(tmp_path: Path, form: str, written: bytes) -> None:
    (tmp_path / "a").write_bytes(b"before " + written + b" after")
    assert form in {hit.form for hit in find([CANARY], [tmp_path])}


@given(st.binary(max_size=5), st.binary(min_size=6, max_size=40), st.binary(max_size=5), st.booleans())
def test_a_value_is_found_in_base64_wherever_it_begins(
    before: bytes, value: bytes, after: bytes, urlsafe: bool
) -> None:
    encode = base64.urlsafe_b64encode if urlsafe else base64.b64encode
    assert find_in([value], encode(before + value + after))


def test_a_value_is_found_across_the_border_of_two_pieces(tmp_path: Path) -> None:
    for before in (canaries.CHUNK - 1, canaries.CHUNK - len(CANARY.encode()) + 1, 2 * canaries.CHUNK - 3):
        (tmp_path / "a").write_bytes(b"x" * before + CANARY.encode())
        assert [hit.offset for hit in find([CANARY], [tmp_path]) if hit.form == "raw"] == [before]


def test_a_value_is_found_in_what_is_compressed(tmp_path: Path, git_repo: MakeRepository) -> None:
    with gzip.open(tmp_path / "a.log.gz", "wb") as packed:
        packed.write(CANARY.encode())
    assert [hit.form for hit in find([CANARY], [tmp_path])] == ["raw"]
    repository = git_repo(files={"a.txt": "a\n"})
    assert find([CANARY], [repository]) == []
    git(repository, "commit", "--quiet", "--allow-empty", "-m", f"with {CANARY}")
    assert {hit.path for hit in find([CANARY], [repository])} >= {repository / ".git"}
    git(repository, "gc", "--quiet", "--prune=now")
    (repository / ".git" / "COMMIT_EDITMSG").unlink(missing_ok=True)
    assert repository / ".git" in {hit.path for hit in find([CANARY], [repository])}


def test_a_value_that_would_be_found_by_chance_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="too short"):
        find(["abc"], [tmp_path])
