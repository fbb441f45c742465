"""The rules file: what it may hold, what is wrong with it and where, and the built-in rules beside their page."""

from pathlib import Path
from time import monotonic

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.blockers import STRATEGIES
from actors.builtin_rules import BUILTIN_RULES
from actors.events import Severity
from actors.outputs import MOST_CHARACTERS, RuleBook
from actors.patterns import needles, unfit
from actors.rules import Rule, Where, compiled, read_rules

CHECKOUT = Path(__file__).parents[2]

LINES = {
    "disk-full": "cp: error writing 'x': No space left on device",
    "disk-quota": "write: Disk quota exceeded",
    "out-of-memory": "Out of memory: Killed process 4711 (cc1plus)",
    "read-only-file-system": "touch: cannot touch 'x': Read-only file system",
    "input-output-error": "cat: x: Input/output error",
    "too-many-open-files": "OSError: [Errno 24] Too many open files",
    "too-many-processes": "sh: 1: Cannot fork",
    "merge-conflict": "CONFLICT (content): Merge conflict in a.txt",
    "git-lock": "fatal: Unable to create '/p/.git/index.lock': File exists.",
    "not-a-git-repository": "fatal: not a git repository (or any of the parent directories): .git",
    "authentication": "remote: Invalid username or password.",
    "forbidden": "error: server returned 403 Forbidden",
    "permission-denied": "sh: 1: ./run.sh: Permission denied",
    "certificate": "SSL: CERTIFICATE_VERIFY_FAILED certificate verify failed",
    "name-resolution": "curl: (6) Could not resolve host: example.invalid",
    "port-in-use": "OSError: [Errno 98] Address already in use",
    "connection": "dial tcp 127.0.0.1:5432: connect: connection refused",
    "rate-limit": "HTTP error 429 while asking",
    "server-error": "received 503 Service Unavailable",
    "python-module": "ModuleNotFoundError: No module named 'requests'",
    "node-module": "Error: Cannot find module 'left-pad'",
    "package-not-found": "E: Unable to locate package frobnicate",
    "header-or-library": "main.c:1:10: fatal error: zlib.h: No such file or directory",
    "command-not-found": "sh: 1: cargo: not found",
    "file-not-found": "cat: missing.txt: No such file or directory",
    "version-too-old": "ERROR: Package 'x' requires Python >=3.14",
    "crash": "Segmentation fault (core dumped)",
    "out-of-date-lockfile": "the lockfile is not up to date with package.json",
    "test-failure": "=========== 2 failed, 40 passed in 3.21s ===========",
    "syntax-error": "SyntaxError: invalid syntax",
    "compile-error": "main.c:3:5: error: expected ';'",
    "missing-variable": "sh: 3: TOKEN: parameter not set",
    "make-no-rule": "make: *** No rule to make target 'all'.  Stop.",
}

INNOCENT = """\
Compiling 214 modules
ok 3 - reads the file
120 passed in 3.2s
Requirement already satisfied: attrs
[main 3f2a1b9] Begin
 1 file changed, 1 insertion(+)
0 errors, 0 warnings
Downloading index (1.2 MB)
Build succeeded in 42 s
"""


def read(text: str, builtin: tuple[Rule, ...] = BUILTIN_RULES) -> tuple[tuple[Rule, ...], list[str]]:
    reading = read_rules(text.encode(), "rules.yaml", builtin)
    return reading.rules, [str(problem) for problem in reading.problems]


@pytest.mark.parametrize("rule", BUILTIN_RULES, ids=lambda rule: rule.id)
def test_each_built_in_rule_explains_the_line_that_it_was_made_for(rule: Rule) -> None:
    ((_, found),) = RuleBook(BUILTIN_RULES).explain([LINES[rule.id]])
    assert found.id == rule.id


@pytest.mark.parametrize("rule", BUILTIN_RULES, ids=lambda rule: rule.id)
def test_each_built_in_rule_can_be_searched_safely_and_proposes_one_of_the_strategies(rule: Rule) -> None:
    assert unfit(rule.pattern) is None
    assert rule.proposal.partition(": ")[0] in STRATEGIES


def test_there_are_at_least_twenty_built_in_rules_with_different_ids() -> None:
    assert len({rule.id for rule in BUILTIN_RULES}) == len(BUILTIN_RULES) >= 20


def test_only_what_no_retry_outlives_is_looked_for_in_running_attempts() -> None:
    assert {rule.severity for rule in BUILTIN_RULES if rule.where is Where.ANY} == {Severity.CRITICAL}


@pytest.mark.parametrize(
    ("program", "rule"),
    [("cargo", "command-not-found"), ("./gen.sh", "file-not-found"), ("a/gen.sh", "file-not-found")],
)
def test_a_program_that_a_list_names_is_a_command_by_its_name_and_a_file_by_its_path(program: str, rule: str) -> None:
    line = f"milestoned: {program} cannot be started: No such file or directory"
    ((_, found),) = RuleBook(BUILTIN_RULES).explain([line])
    assert found.id == rule


def test_ordinary_output_is_explained_by_no_rule() -> None:
    assert RuleBook(BUILTIN_RULES).explain(INNOCENT.splitlines()) == []


def test_the_page_of_the_built_in_rules_says_what_they_are() -> None:
    page = (CHECKOUT / "configs" / "blocker_rules.yaml").read_bytes()
    reading = read_rules(page, "blocker_rules.yaml", ())
    assert reading.problems == ()
    assert reading.rules == BUILTIN_RULES
    assert read_rules(page, "blocker_rules.yaml", BUILTIN_RULES).rules == BUILTIN_RULES


def test_a_new_rule_is_tried_before_the_built_in_ones() -> None:
    rules, problems = read(
        "rules:\n- {id: ours, pattern: 'licence server', severity: critical, where: any, proposal: 'retry: wait'}\n"
    )
    assert problems == []
    assert rules == (
        Rule("ours", "custom", "licence server", Severity.CRITICAL, "retry: wait", Where.ANY),
        *BUILTIN_RULES,
    )


def test_an_entry_with_the_id_of_a_built_in_rule_changes_what_it_names_only() -> None:
    rules, problems = read("rules:\n  - id: rate-limit\n    severity: critical\n")
    assert problems == []
    before = {rule.id: rule for rule in BUILTIN_RULES}["rate-limit"]
    after = {rule.id: rule for rule in rules}["rate-limit"]
    assert after.severity is Severity.CRITICAL
    assert (after.pattern, after.proposal) == (before.pattern, before.proposal)
    assert [rule.id for rule in rules] == [rule.id for rule in BUILTIN_RULES]


def test_a_rule_that_is_not_enabled_is_gone() -> None:
    rules, problems = read("rules:\n  - id: crash\n    enabled: false\n")
    assert problems == []
    assert [rule.id for rule in rules] == [rule.id for rule in BUILTIN_RULES if rule.id != "crash"]


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "rules:\n", "rules: []\n"])
def test_a_file_without_rules_changes_nothing(text: str) -> None:
    assert read(text) == (BUILTIN_RULES, [])


def test_every_problem_of_a_rules_file_is_located_and_none_of_it_is_used() -> None:
    rules, problems = read(
        "rules:\n"
        "  - id: one\n"
        "    pattern: 'a('\n"
        "    severity: fatal\n"
        "    proposal: x\n"
        "  - id: Two\n"
        "  - id: three\n"
        "    patern: x\n"
        "  - id: crash\n"
        "    enabled: maybe\n"
        "  - id: crash\n"
    )
    assert rules == BUILTIN_RULES
    assert [problem.split(": ")[0] for problem in problems] == [
        "rules.yaml:3:16",
        "rules.yaml:4:15",
        "rules.yaml:6:9",
        "rules.yaml:7:5",
        "rules.yaml:7:5",
        "rules.yaml:8:5",
        "rules.yaml:10:14",
        "rules.yaml:11:5",
    ]
    assert "did you mean 'pattern'?" in problems[5]
    assert "missing ), unterminated subpattern" in problems[0]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("- id: x\n", "a rules file is a map with a list"),
        ("rules: all\n", "'rules' must be a list"),
        ("rule: []\n", "a rules file is a map with a list"),
        ("rules: []\nmore: 1\n", "unknown key 'more'"),
        ("rules: [", "not YAML"),
        ("rules: &a []\n", "anchors are not allowed"),
        ("rules:\n- nothing\n", "a rule is a map"),
    ],
)
def test_another_file_is_refused_with_a_place(text: str, what: str) -> None:
    rules, problems = read(text)
    assert rules == BUILTIN_RULES
    assert any(what in problem for problem in problems), problems
    assert all(problem.startswith("rules.yaml:") for problem in problems)


def test_a_file_that_is_not_utf8_is_refused_with_a_place() -> None:
    reading = read_rules(b"rules:\n- id: \xff\n", "rules.yaml", BUILTIN_RULES)
    assert [str(problem).split(": ")[0] for problem in reading.problems] == ["rules.yaml:2:7"]


@pytest.mark.parametrize(
    ("pattern", "index"),
    [
        ("(a+)+b", 4),
        ("(a|a)*b", 5),
        ("((a|b))*c", 7),
        ("(?:a?){30}b", 6),
        ("(a{1,3}){2}b", 8),
        ("x.*y.*z.*", 8),
        (r"(x)\1", 3),
        ("(?P<n>x)(?P=n)", 8),
        ("a{1,2000}", 1),
        ("x*", 0),
        ("", 0),
        ("a|", 0),
        ("(", 0),
        ("(?x) a b", 0),
        ("b?b?b?b?b?b?b?c", 13),
        ("x" * 501, 0),
    ],
)
def test_a_pattern_that_could_take_for_ever_or_matches_everything_is_refused(pattern: str, index: int) -> None:
    found = unfit(pattern)
    assert found is not None
    assert found.index == index


@pytest.mark.parametrize(
    "pattern",
    ["(?:ab)+c", r"[+*(|]{3}x", r"\(\(.*\)", "error.*code \\d+", "a++b", "(one|two) of", "(?i)x", "x(?=y)", "[]a]b"],
)
def test_an_ordinary_pattern_is_taken(pattern: str) -> None:
    assert unfit(pattern) is None


@given(st.text(alphabet="ab(|)*+?{1,3}.[]^$\\d", min_size=1, max_size=14))
def test_whatever_pattern_is_taken_is_searched_in_the_worst_line_within_a_second(pattern: str) -> None:
    if unfit(pattern) is not None:
        return
    for line in ("a" * MOST_CHARACTERS, "ab" * (MOST_CHARACTERS // 2), "a1" * 100 + "!"):
        began = monotonic()
        compiled(pattern).search(line)
        assert monotonic() - began < 10


@given(
    st.text(alphabet="abAB(|)*+?{1,2}.[]^$\\d:", min_size=1, max_size=14),
    st.text(alphabet="abAB1:.(", max_size=12),
)
def test_the_needles_of_a_pattern_never_hide_a_line_that_it_matches(pattern: str, line: str) -> None:
    if unfit(pattern) is None and compiled(pattern).search(line):
        texts = needles(pattern)
        assert not texts or any(text in line.lower() for text in texts)
