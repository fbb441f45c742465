"""The tables of rows are what rows and tests make of them, and no row is without a test or a reason."""

from pathlib import Path

import pytest

from tests import fault_table
from tests.conformance import PAGE, read_table, render
from tests.fault_table import put_into, read_faults
from tests.rows import RowError, collect, problems, strangers


def test_the_conformance_page_is_the_one_that_would_be_made_now() -> None:
    made = render(read_table(), collect())
    assert PAGE.read_text(encoding="utf-8") == made, "run: python -m tests.conformance --write"


def test_every_row_of_the_suite_and_of_the_processes_is_there_and_has_a_test_or_a_reason() -> None:
    table = read_table()
    expected = [str(number) for number in range(1, 62)] + [f"P{number}" for number in range(1, 17)]
    assert sorted(table.rows) == sorted(expected)
    assert problems(table.reasons, collect()) == []


def test_the_table_of_faults_is_the_one_that_would_be_made_now() -> None:
    text = fault_table.PAGE.read_text(encoding="utf-8")
    assert text == put_into(text, fault_table.render(read_faults(), collect())), (
        "run: python -m tests.conformance --write"
    )


def test_every_fault_of_the_model_and_the_runner_s_is_there_and_none_is_open() -> None:
    faults = read_faults()
    assert list(faults) == [f"F{number}" for number in range(1, 31)]
    assert problems({number: fault.reason for number, fault in faults.items()}, collect()) == []
    assert not any(fault.open for fault in faults.values())


def test_no_test_names_a_row_that_no_table_has() -> None:
    assert strangers({*read_table().rows, *read_faults()}, collect()) == []


def test_a_page_without_the_place_of_the_table_is_refused() -> None:
    with pytest.raises(RowError, match="faults:begin"):
        put_into("# Reliability\n", "x")


def test_no_row_of_otp_itself_is_open() -> None:
    tests = collect()
    rows = {number: row for number, row in read_table().rows.items() if not number.startswith("P")}
    assert [number for number, row in rows.items() if not row.absent and number not in tests] == []
    assert not any(row.open for row in rows.values())


def write_test(folder: Path, text: str) -> Path:
    (folder / "tests").mkdir()
    (folder / "tests" / "test_sample.py").write_text(text)
    return folder


def test_a_row_without_test_and_reason_and_a_test_without_row_are_found(tmp_path: Path) -> None:
    table = read_table()
    tests = collect(write_test(tmp_path, '@pytest.mark.row("1", "99")\ndef test_it() -> None: ...\n'))
    assert [test.name for test in tests["1"]] == ["test_it"]
    found = problems(table.reasons, tests)
    assert "row 2 has neither a test nor a reason for having none" in found
    assert strangers(set(table.rows), tests) == ["tests/test_sample.py: test_it: there is no row 99"]
    assert not any(line.startswith(("row 1 ", "row 61 ")) for line in found)
    with pytest.raises(RowError, match="row 2 has neither"):
        render(table, tests)


@pytest.mark.parametrize(
    "text", ["@pytest.mark.row(7)\ndef test_it() -> None: ...\n", '@pytest.mark.row("7")\ndef fixture() -> None: ...\n']
)
def test_a_marker_that_cannot_be_read_is_refused_with_its_place(tmp_path: Path, text: str) -> None:
    with pytest.raises(RowError, match=r"tests/test_sample\.py:1: "):
        collect(write_test(tmp_path, text))


def test_an_open_row_is_shown_as_such_until_a_test_names_it(tmp_path: Path) -> None:
    page = render(read_table(), {**collect(), "P15": []})
    assert "*open: needs real processes*" in page
    named = {**collect(), "P15": collect(write_test(tmp_path, '@pytest.mark.row("P15")\ndef test_it(): ...\n'))["P15"]}
    line = next(line for line in render(read_table(), named).splitlines() if line.startswith("| P15 "))
    assert "[it](../tests/test_sample.py)" in line
