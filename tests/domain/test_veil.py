"""Values of secrets are hidden in what is written for people, and found in what must not hold them."""

import json

from hypothesis import given
from hypothesis import strategies as st

from actors.events import AttemptEnded, Outcome, UncommittedSeen, encode_event
from actors.veil import SHORTEST, Veil

VALUE = 'p4ss"wörd\\'


def test_a_value_is_hidden_and_each_of_its_lines_the_longest_first() -> None:
    veil = Veil.of({"A": "first line\nsecond", "B": "first", "C": "not asked for"}, ["A", "B", "MISSING"])
    assert veil.hide("<first line\nsecond> <first line> <second> <first> not asked for") == (
        "<***> <***> <***> <***> not asked for"
    )


def test_what_is_short_or_blank_is_not_hidden_for_it_would_be_in_everything() -> None:
    assert Veil.over(["", "x" * (SHORTEST - 1), " " * 9, "{\n  longer\n}"]).values == ("{\n  longer\n}", "  longer")


def test_nobody_sees_the_values_by_looking_at_the_veil() -> None:
    assert VALUE not in repr(Veil.over([VALUE]))


@given(st.text(alphabet='abc"\\\nü ', min_size=SHORTEST, max_size=12))
def test_nothing_of_a_value_is_left_in_a_text_or_in_a_json_text(value: str) -> None:
    veil = Veil.over([value])
    for escaping in (True, False):
        text = json.dumps({"said": f"x{value}y"}, ensure_ascii=escaping)
        shown = veil.hide_anywhere(text)
        assert len(value.strip()) < SHORTEST or value not in json.loads(shown)["said"]


def test_of_a_fact_the_texts_are_rewritten_and_names_and_numbers_are_not() -> None:
    veil = Veil.over([VALUE, "task-one"])
    ended = AttemptEnded("task-one.1", Outcome.FAILED, detail=f"no entry with {VALUE}")
    hidden = veil.hide_in(ended)
    assert (hidden.attempt, hidden.outcome, hidden.detail) == ("task-one.1", Outcome.FAILED, "no entry with ***")
    seen = veil.hide_in(UncommittedSeen(paths=(f"{VALUE}.txt", "b"), count=2))
    assert seen.paths == ("***.txt", "b")
    assert b"***" in bytes(encode_event(seen).body)
    nothing = AttemptEnded("a.1", Outcome.FAILED)
    assert veil.hide_in(nothing) is nothing


def test_a_value_is_found_wherever_it_stands_in_what_is_built_of_plain_values() -> None:
    veil = Veil.over([VALUE])
    assert veil.covers({"a": [1, None, ("x", f"-{VALUE}-")]})
    assert veil.covers({VALUE: 1})
    assert not veil.covers({"a": [1, None, ("x", VALUE[1:])]})
