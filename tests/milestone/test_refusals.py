"""What no milestone file may hold, and how it is said."""

import itertools
import tracemalloc
from time import perf_counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.reader import read
from actors.scan import MOST_DEPTH
from tests.milestone.texts import HEAD, lines, reading, refusal, with_task


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id: &x m1\ntitle: T\n", "m1.yaml:1:5: anchors are not allowed (&x)"),
        ("id: m1\ntitle: T\nnotes: *x\n", "m1.yaml:3:8: aliases are not allowed (*x)"),
        ("id: m1\ntitle: !!str T\n", "m1.yaml:2:8: tags are not allowed ('tag:yaml.org,2002:str')"),
        ("id: m1\ntitle: T\nnotes: !important\n", "m1.yaml:3:8: tags are not allowed ('!important')"),
        ("id: m1\ntitle: T\n<<: {a: b}\n", "m1.yaml:3:1: merge keys ('<<') are not allowed"),
        ("id: m1\ntitle: T\nid: m2\n", "m1.yaml:3:1: duplicate key 'id' (first given in line 1)"),
        (
            "id: m1\ntitle: T\nx: {a: {b: 1, b: 2}}\n",
            "m1.yaml:3:15: duplicate key 'b' (first given in line 3)",
        ),
        ("id: m1\ntitle: T\n? [a]\n: b\n", "m1.yaml:3:3: a key must be plain text, not a list, a map"),
        (
            "id: m1\ntitle: {{ title }}\n",
            "m1.yaml:2:9: a key must be plain text, not a list, a map or an alias; put",
        ),
        ("id: m1\n---\nid: m2\n", "m1.yaml:2:1: a second YAML document begins here"),
    ],
)
def test_what_yaml_allows_and_a_milestone_does_not_is_refused_where_it_stands(text: str, message: str) -> None:
    assert any(line.startswith(message) for line in lines(reading(text))), lines(reading(text))
    assert reading(text).milestone is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id: m1\n\ttitle: T\n", "m1.yaml:2:1: not YAML: a tab indents this line"),
        ("id: m1\ntitle: a: b\n", "m1.yaml:2:9: not YAML: ': ' stands in a text without quotes"),
        (
            "id: m1\nThis is prose\ntitle: T\n",
            "m1.yaml:2:1: not YAML: 'This is prose' is neither 'key: value' nor",
        ),
        ("id: m1\ntitle: 'it's'\n", "m1.yaml:2:12: not YAML: text follows a closing quote"),
        ('id: m1\ntitle: "T\n', "m1.yaml:2:8: not YAML: the quote '\"' that opens here is never closed"),
        ("id: m1\nx: [a, b\ntitle: T\n", "m1.yaml:3:6: not YAML: a ',' or the ']' of a list or map"),
        ("id: m1\nrun: `ls`\n", "m1.yaml:2:6: not YAML: '`' cannot begin a value"),
        ("id: m1\ntasks:\n  - a\n  b: c\n", "m1.yaml:4:3: not YAML: a list item or a change of indentation"),
        (
            "id: m1\nx:\n  a: 1\n b: 2\n",
            "m1.yaml:4:2: not YAML: the indentation of this line fits no line above",
        ),
        ("id: m1\nrun: | make\n", "m1.yaml:2:8: not YAML: text follows '|' or '>'"),
        ('id: m1\nx: "\\d"\n', "m1.yaml:2:5: not YAML: found unknown escape character in double quotes"),
        ("id: m1\nx: &&a\n", "m1.yaml:2:5: not YAML: '&' and '*' begin anchors and aliases"),
    ],
)
def test_a_syntax_error_names_its_likely_cause(text: str, message: str) -> None:
    assert refusal(text).startswith(message), refusal(text)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "m1.yaml:1:1: the file is empty"),
        (b"\n# nothing\n", "m1.yaml:1:1: the file is empty"),
        (b"---\n", "m1.yaml:1:1: the file holds no values"),
        (b"id: m1\ntitle: caf\xe9\n", "m1.yaml:2:11: the byte 0xe9 is not UTF-8"),
        (b"id: m1\ntitle: a\0b\n", "m1.yaml:2:9: the character U+0000 may not stand in a YAML file"),
        (b"id: m1\ntitle: a\x1b[2Jb\n", "m1.yaml:2:9: the character U+001B may not stand"),
        ("id: m1\n".encode("utf-16"), "m1.yaml:1:1: the file is UTF-16"),
        (b"\xed\xa0\x80: x\n", "m1.yaml:1:1: the byte 0xed is not UTF-8"),
    ],
)
def test_bytes_that_are_no_text_are_refused_where_they_stand(data: bytes, message: str) -> None:
    found = read(data, "m1.yaml")

    assert found.milestone is None
    assert len(found.problems) == 1
    assert str(found.problems[0]).startswith(message)


@pytest.mark.parametrize(
    "text",
    ["[" * 1_000_000, "- " * 1_000_000, "{a: " * 1_000_000, HEAD + "x: " + "[" * 60_000],
    ids=["lists", "items", "maps", "value"],
)
def test_deep_nesting_is_refused_before_it_can_overflow_anything(text: str) -> None:
    started = perf_counter()
    message = refusal(text)

    assert f"nested deeper than {MOST_DEPTH} levels" in message
    assert perf_counter() - started < 20


def test_deep_nesting_of_keys_is_refused_too() -> None:
    found = reading("? " * 1_000_000)

    assert len(found.problems) == MOST_DEPTH + 1
    assert "nested deeper" in lines(found)[-1]


def test_nesting_up_to_the_limit_is_read() -> None:
    inside = MOST_DEPTH - 1

    assert reading(f"{HEAD}x: {'[' * inside}{']' * inside}\n").milestone is not None
    assert "nested deeper" in refusal(f"{HEAD}x: {'[' * (inside + 1)}{']' * (inside + 1)}\n")


def test_a_file_of_too_many_values_is_refused() -> None:
    assert "more than 500,000 values" in refusal(HEAD + "x: [" + "a," * 600_000 + "]\n")


def test_bombs_of_aliases_and_merge_keys_are_refused_before_they_unfold() -> None:
    aliases = "a: &a [x, x]\n" + "".join(f"{b}: &{b} [*{a}, *{a}, *{a}]\n" for a, b in itertools.pairwise("abcdefghi"))
    merges = "a0: &a0 {x: 1}\n" + "".join(f"a{n + 1}: &a{n + 1} {{<<: [*a{n}, *a{n}]}}\n" for n in range(24))
    for bomb in (aliases, merges, "a: &a [*a]\n"):
        tracemalloc.start()
        started = perf_counter()
        found = reading(bomb)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert found.milestone is None
        assert perf_counter() - started < 20
        assert peak < 1_000_000


def test_a_file_full_of_unknown_words_costs_no_more_than_a_moment() -> None:
    tasks = "".join(
        f"  - {{id: t{n}, title: T, status: word{n}, depends_on: [other-{n}], key_{n}: x}}\n" for n in range(5_000)
    )
    started = perf_counter()
    found = reading(f"{HEAD}tasks:\n{tasks}")

    assert len(found.problems) == 10_000
    assert perf_counter() - started < 60


def test_a_lone_equals_sign_and_huge_numbers_are_just_text() -> None:
    assert reading(with_task("note: =", f"estimate: {'9' * 5000}")).problems == ()
    assert "'retries' must be a whole number" in refusal(with_task(f"retries: {'9' * 5000}"))
    assert "'timeout' must be seconds" in refusal(with_task(f"timeout: {'9' * 5000}"))


def test_all_problems_of_a_file_come_at_once_in_its_order() -> None:
    found = reading(
        "id: m1\n"
        "tasks:\n"
        "  - id: task-09\n"
        "    title: A\n"
        "    retries: many\n"
        "    on_crash: aks\n"
        "  - id: task-3\n"
        "    title: B\n"
        "    depends_on: [task-9]\n"
        "    verfiy: make check\n"
        "    timeout: 1:30\n"
    )

    assert found.milestone is None
    assert lines(found) == [
        "m1.yaml:1:1: the milestone has no title; write one line that says what it is for",
        "m1.yaml:5:14: 'retries' must be a whole number, 0 or more, not 'many'",
        "m1.yaml:6:15: 'on_crash' must be one of rerun, ask, fail, not 'aks'; did you mean 'ask'?",
        "m1.yaml:9:18: unknown task 'task-9' in depends_on of 'task-3'; did you mean 'task-09'?",
        "m1.yaml:10:5: unknown key 'verfiy' of a task, which is ignored; did you mean 'verify'?",
        "m1.yaml:11:14: 'timeout' must be seconds, or a text such as 90s, 5m or 1h30m, not '1:30'",
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("run: []", "10: 'run' holds a list that names no program"),
        ("run: ''", "10: 'run' holds an empty command"),
        ("run: {sh: make}", "10: 'run' must be a command line or a list of arguments, not a map"),
        ("run: [make, [a]]", "17: an argument in 'run' must be text, not a list"),
        ('run: "a\\0b"', "10: a NUL character cannot be handed to a program"),
        ("verify: [make, ~]", "20: 'verify' holds an empty command"),
        ("timeout: 0", "14: 'timeout' must be more than 0"),
        ("timeout: -5", "14: 'timeout' must be seconds"),
        ("timeout: 1e400", "14: 'timeout' must be seconds"),
        ("timeout: 999999999d", "14: 'timeout' must be more than 0 and at most 366 days"),
        ("timeout: [5]", "5: 'timeout' must be text, not a list"),
        ("retries: -1", "14: 'retries' must be a whole number"),
        ("retries: 014", "14: 'retries' must be a whole number, 0 or more, not '014'"),
        ("retry_delay: soon", "18: 'retry_delay' must be seconds"),
        ("env: [A=1]", "5: 'env' must be a map of names to texts, not a list"),
        ("env: {A-B: 1}", "11: 'A-B' is no name of a variable"),
        ("env: {A: }", "11: the variable 'A' must be text, not nothing"),
        ("env: {A: [1]}", "11: the variable 'A' must be text, not a list"),
        ("files: /etc/passwd", "12: '/etc/passwd' leads out of the project"),
        ("files: [src, ../x]", "18: '../x' leads out of the project"),
        ("weight: heavy", "13: 'weight' must be a number"),
        ("depends_on: [[a]]", "18: an entry of 'depends_on' must be a name, not a list"),
        ("depends_on: a", "17: task 'a' depends on itself"),
        ("status: finised", "13: unknown status 'finised' of a task"),
    ],
)
def test_a_wrong_value_of_a_task_is_refused_where_it_stands(line: str, message: str) -> None:
    assert refusal(with_task(line)).startswith(f"m1.yaml:6:{message}")


def test_an_unknown_status_comes_with_the_word_that_was_meant() -> None:
    assert refusal(with_task("status: finised")).endswith("; did you mean 'finished'?")
    assert refusal(HEAD + "status: complted\ntasks: [{id: a, title: A}]\n").endswith("; did you mean 'completed'?")


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ("  - just text\n", "4:5: a task must be a map with id and title, not text"),
        ("  - [a]\n", "4:5: a task must be a map with id and title, not a list"),
        ("  - title: A\n", "4:5: a task has no id"),
        ("  - id:\n    title: A\n", "4:5: the id of a task must be text"),
        ("  - id: [a]\n", "4:5: the id of a task must be text"),
        ("  - id: a b\n", "4:9: 'a b' is no id: letters, digits"),
        ("  - id: -a\n", "4:9: '-a' is no id"),
        ("  - id: ../a\n", "4:9: '../a' is no id"),
        (f"  - id: {'a' * 65}\n", "4:9: 'aaaa"),
        ("  - id: |-\n      a\n", "4:9: 'a' is no id"),
        ("  - id: 12:30\n", "4:9: '12:30' is no id"),
        ("  - id: ${TASK_ID}\n", "4:9: '${TASK_ID}' is a placeholder that nothing has filled in"),
        ('  - id: a\n    title: "a\\eb"\n', "5:12: 'title' holds a control character"),
    ],
)
def test_a_task_that_cannot_be_named_is_refused(task: str, message: str) -> None:
    found = reading(f"{HEAD}tasks:\n{task}")

    assert found.milestone is None
    assert any(line.startswith(f"m1.yaml:{message}") for line in lines(found)), lines(found)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("title: T\ntasks: []\n", "m1.yaml:1:1: the milestone has no id"),
        ("id: m1\ntitle: T\ntasks: {a: {title: A}}\n", "m1.yaml:3:1: 'tasks' must be a list of maps"),
        ("id: m1\ntitle: T\ntasks: later\n", "m1.yaml:3:1: 'tasks' must be a list of maps"),
        (
            "id: m1\ntitle: T\ndepends_on: [m1]\ntasks: [{id: a, title: A}]\n",
            "m1.yaml:3:14: milestone 'm1' requires",
        ),
        (
            "id: m1\ntitle: T\ndepends_on: [a/b]\ntasks: [{id: a, title: A}]\n",
            "m1.yaml:3:14: 'a/b' is no id of a",
        ),
        (
            "id: m1\nmilestone: {id: m1, title: T}\n",
            "m1.yaml:2:13: 'id' stands both inside 'milestone' and beside",
        ),
    ],
)
def test_a_wrong_milestone_is_refused_where_it_stands(text: str, message: str) -> None:
    found = reading(text)

    assert found.milestone is None
    assert any(line.startswith(message) for line in lines(found)), lines(found)


@given(st.binary(max_size=200))
def test_no_bytes_make_the_reader_raise(data: bytes) -> None:
    found = read(data, "m1.yaml")

    assert found.milestone is not None or found.errors


@given(st.text(alphabet="ab:-[]{},'\"|>&*!#? \n\t%@`~=<_1", max_size=80))
def test_no_text_makes_the_reader_raise(text: str) -> None:
    for whole in (text, f"{HEAD}{text}", f"{HEAD}tasks:\n  - id: a\n    title: T\n    {text}"):
        found = reading(whole)
        assert found.milestone is not None or found.errors
        assert (found.milestone is None) == (found.marks is None)
