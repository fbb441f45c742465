"""Output of any kind becomes lines, matches and evidence, in pieces of any size, without secrets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.builtin_rules import BUILTIN_RULES
from actors.outputs import MOST_CHARACTERS, MOST_EVIDENCE, MOST_MATCHES, Output, RuleBook, clean, telling_lines
from actors.veil import Veil

BOOK = RuleBook(BUILTIN_RULES)
NOTHING_HIDDEN = Veil()


def searched(data: bytes, size: int, veil: Veil = NOTHING_HIDDEN) -> list[tuple[str, int, str]]:
    output = Output("a.1", "a")
    for start in range(0, len(data), size):
        output.feed(data[start : start + size], BOOK, veil)
    output.feed(b"", BOOK, veil, is_last=True)
    assert output.offset == len(data)
    return [(match.rule.id, match.line, match.text) for match in output.matches]


@given(st.integers(1, 90))
def test_a_line_is_found_however_the_output_is_cut(size: int) -> None:
    data = b"one\ntwo \xff\xfe\n\x1b[1;31mcc: No space left on device\x1b[0m\nsh: foo: not found"
    assert searched(data, size) == [
        ("disk-full", 3, "cc: No space left on device"),
        ("command-not-found", 4, "sh: foo: not found"),
    ]


def test_a_rule_is_reported_once_for_an_attempt_and_only_so_many_rules() -> None:
    lines = ["permission denied", "permission denied", "not a git repository", "command not found", "Bus error"]
    found = searched("\n".join(lines).encode(), 1000)
    assert [rule for rule, _, _ in found] == ["permission-denied", "not-a-git-repository", "command-not-found"]
    assert len(found) == MOST_MATCHES


def test_the_command_that_the_runner_announces_is_not_taken_for_output() -> None:
    data = b"$ run: echo permission denied\n$ verify 12: false || echo error\nbus error\n"
    assert searched(data, 1000) == [("crash", 3, "bus error")]
    assert telling_lines(data, NOTHING_HIDDEN).lines == ("bus error",)


@pytest.mark.row("F20")
def test_a_line_without_end_is_searched_at_its_beginning_only_and_costs_no_memory() -> None:
    output = Output("a.1", "a")
    for _ in range(200):
        output.feed(b"x" * 65536, BOOK, NOTHING_HIDDEN)
    assert len(output._rest) <= MOST_CHARACTERS * 4
    output.feed(b"permission denied\nbus error\n", BOOK, NOTHING_HIDDEN)
    assert [(match.rule.id, match.line) for match in output.matches] == [("crash", 2)]


def test_after_skipping_output_lines_have_no_numbers() -> None:
    output = Output("a.1", "a")
    output.feed(b"first\nsecond", BOOK, NOTHING_HIDDEN)
    output.skip_to(10_000)
    output.feed(b"half of a line\nbus error\n", BOOK, NOTHING_HIDDEN)
    (match,) = output.matches
    assert match.line == 0
    assert str(match) == "crash: bus error (a.1.log; rule crash)"


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("10 %\r20 %\rdone", "done"),
        ("windows\r", "windows"),
        ("tab\tand bell\x07", "tab and bell"),
        ("\x1b]0;title\x07text", "text"),
        ("sep\u2028arated", "separated"),
    ],
)
def test_what_moves_a_cursor_does_not_become_evidence(line: str, shown: str) -> None:
    assert clean(line) == shown


def test_the_end_of_an_output_is_shown_by_the_lines_that_say_most() -> None:
    data = b"".join(b"step %d\n" % number for number in range(50))
    data = data.replace(b"step 20\n", b"fatal: it broke\n") + b"\n\ncleaning up\nbye\n"
    assert telling_lines(data, NOTHING_HIDDEN).lines == ("fatal: it broke", "step 48", "step 49", "cleaning up", "bye")
    assert telling_lines(b"", NOTHING_HIDDEN).lines == ()


def test_a_long_line_of_evidence_is_shortened() -> None:
    (line,) = telling_lines(b"error " + b"x" * 5000, NOTHING_HIDDEN).lines
    assert len(line) == MOST_EVIDENCE
    assert line.endswith("...")


def test_values_of_secrets_are_hidden_in_matches_and_in_tails() -> None:
    veil = Veil.over(["hunter2", "line one\nline two"])
    data = b"permission denied for hunter2\nerror: line two\n"
    assert searched(data, 7, veil)[0][2] == "permission denied for ***"
    assert telling_lines(data, veil).lines == ("permission denied for ***", "error: ***")


@given(st.integers(0, 40), st.text(alphabet="abc", min_size=8, max_size=30))
def test_no_beginning_of_a_secret_is_left_where_a_line_was_cut(before: int, secret: str) -> None:
    line = "x" * (MOST_CHARACTERS - before) + secret
    shown = Veil.over([secret]).hide(line[:MOST_CHARACTERS], was_cut=True)
    assert set(shown) <= {"x", "*"}


VALUE = "pässwörd-of-many-characters"


@pytest.mark.parametrize("at", range(1, len(VALUE.encode())))
def test_no_half_of_a_secret_is_left_where_bytes_were_cut(at: int) -> None:
    """Before a line is looked at, and where reading begins in the middle of an output."""
    veil, secret = Veil.over([VALUE]), VALUE.encode()
    colours = b"\x1b[m" * ((4 * MOST_CHARACTERS - len(b"error: ") - at) // 3)
    filled = b"error: " + colours + b"." * (4 * MOST_CHARACTERS - len(b"error: " + colours) - at) + secret
    skipped = Output("a.1", "a")
    skipped.skip_to(10_000)
    skipped.feed(secret[at:] + b" permission denied\n", BOOK, veil)
    tails = (telling_lines(filled, veil), telling_lines(secret[at:] + b" error\n", veil, is_cut=True))
    said = [line for tail in tails for line in (*tail.lines, tail.headline)] + [match.text for match in skipped.matches]
    pieces = {VALUE[begin : begin + 3] for begin in range(len(VALUE) - 2)}
    assert not [line for line in said if any(piece in line for piece in pieces)]
    assert any("error" in line for line in said)
