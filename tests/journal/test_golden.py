"""Journals of every form that there has been: today's version reads them, takes them up, and brings them up to date."""

import shutil
from pathlib import Path
from typing import Final

import msgspec
import pytest

from actors.events import EVENT_TYPES, Fact, Record
from actors.state import SessionState
from supervisor.journal import Journal, JournalReader, JournalVersionError
from supervisor.journal_file import Form
from tests.journal.make_golden import FILES, GOLDEN
from tests.journal.samples import SESSION

FORMS: Final = sorted(path.name for path in GOLDEN.iterdir())

FIRST_KINDS: Final = 47
"""So many kinds of facts the first form had."""


def put(name: str, directory: Path) -> Path:
    """Lay a golden journal out; return its database."""
    for file in FILES:
        shutil.copy(GOLDEN / name / file, directory / file)
    return directory / "state.db"


def expected(name: str) -> list[Record]:
    """Return the events of a golden journal, from its text."""
    lines = (GOLDEN / name / "events.jsonl").read_bytes().splitlines()
    return [msgspec.json.decode(line, type=Record) for line in lines]


@pytest.mark.parametrize("name", FORMS)
def test_an_old_journal_is_read_and_taken_up_with_every_event(name: str, tmp_path: Path) -> None:
    path = put(name, tmp_path)
    with JournalReader.open(path) as reader:
        assert list(reader.records()) == expected(name)
    with Journal.open(path) as journal:
        assert list(journal.records()) == expected(name)
        journal.append([(SESSION, Fact(expected(name)[0].kind, expected(name)[0].body))], 1.0, 2.0)


@pytest.mark.parametrize("name", FORMS)
def test_every_fact_of_an_old_journal_can_still_be_understood(name: str) -> None:
    state = SessionState()
    for record in expected(name):
        event = state.apply(record)
        known = msgspec.json.decode(record.body)
        now = msgspec.json.decode(msgspec.json.encode(event))
        assert without_news(now, known) == known, record.kind
    assert state.seq == expected(name)[-1].seq


def without_news(now: object, known: object) -> object:
    """Return what is there now, but for the keys of maps that were not known then."""
    if isinstance(now, dict) and isinstance(known, dict):
        return {key: without_news(now[key], value) for key, value in known.items() if key in now}
    if isinstance(now, list) and isinstance(known, list) and len(now) == len(known):
        return [without_news(one, other) for one, other in zip(now, known, strict=True)]
    return now


def test_no_kind_of_fact_is_ever_given_up() -> None:
    kinds = {record.kind for name in FORMS for record in expected(name)}
    assert len(kinds) >= FIRST_KINDS
    assert kinds <= set(EVENT_TYPES)


@pytest.mark.parametrize("name", FORMS)
def test_an_old_journal_is_rewritten_in_a_newer_form_and_kept(name: str, tmp_path: Path) -> None:
    path = put(name, tmp_path)
    newer = Form(2, {1: lambda fact: Fact(fact.kind, msgspec.Raw(bytes(fact.body).replace(b'"x"', b'"y"')))})
    with Journal.open(path, form=newer) as journal:
        assert [(one.seq, one.kind, one.wall) for one in journal.records()] == [
            (one.seq, one.kind, one.wall) for one in expected(name)
        ]
        assert any(b'"y"' in bytes(one.body) for one in journal.records())
    with Journal.open(path.with_name("state.db.v1")) as journal:
        assert list(journal.records()) == expected(name)
    with pytest.raises(JournalVersionError):
        Journal.open(path)
