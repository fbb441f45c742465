"""The bottom of a terminal: what a drawing takes away, and that nothing is wider or higher than the screen."""

import io
import re
from collections.abc import Callable

import pytest
from rich.console import Console
from rich.text import Text

from supervisor.cli.board import CLEAR_ROW_ABOVE, HIDE_CURSOR, SHOW_CURSOR, Board

_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Screen(Console):
    """A terminal of a size that a test changes, and what was written to it since the test looked last."""

    def __init__(self, width: int, height: int) -> None:
        self._written = io.StringIO()
        super().__init__(file=self._written, force_terminal=True, color_system="truecolor", width=width, height=height)

    def taken(self) -> str:
        """Return what was written since the last call."""
        text = self._written.getvalue()
        self._written.seek(0)
        self._written.truncate()
        return text


@pytest.fixture
def screen() -> Callable[[int, int], Screen]:
    """Return what makes a screen of so many columns and rows."""
    return Screen


def test_a_drawing_takes_away_as_many_rows_as_the_last_one_took(screen: Callable[[int, int], Screen]) -> None:
    console = screen(40, 20)
    board = Board(console)
    board.draw([], Text("one\ntwo\nthree"))
    assert console.taken().count(CLEAR_ROW_ABOVE) == 0
    board.draw([Text("a line")], Text("four"))
    written = console.taken()
    assert written.count(CLEAR_ROW_ABOVE) == 2
    assert _ESCAPES.sub("", written) == "\ra line\nfour"
    board.draw([], None)
    assert console.taken().count(CLEAR_ROW_ABOVE) == 0


def test_rows_that_a_narrower_terminal_folded_are_taken_away_whole(screen: Callable[[int, int], Screen]) -> None:
    console = screen(60, 20)
    board = Board(console)
    board.draw([], Text("x" * 59 + "\nshort\n" + "长" * 14))
    console.taken()
    console.width = 20
    board.draw([], Text("new"))
    # 59 cells fold into 3 rows of 20, 5 into 1, 28 into 2.
    assert console.taken().count(CLEAR_ROW_ABOVE) == 6 - 1


def test_a_board_is_never_higher_or_wider_than_the_terminal(screen: Callable[[int, int], Screen]) -> None:
    console = screen(30, 5)
    Board(console).draw([], Text("\n".join("y" * 80 for _ in range(50)), no_wrap=True, overflow="ellipsis"))
    rows = _ESCAPES.sub("", console.taken()).split("\n")
    assert len(rows) == 4
    assert {len(row) for row in rows} == {29}


def test_lines_stay_whole_for_the_terminal_to_fold(screen: Callable[[int, int], Screen]) -> None:
    console = screen(20, 10)
    path = "/a/very/long/path/that/somebody/copies/from/the/terminal"
    Board(console).draw([Text(f"Output of the tasks: {path}")], Text("board"))
    assert f"Output of the tasks: {path}\n" in _ESCAPES.sub("", console.taken())


def test_the_cursor_is_hidden_while_there_is_a_board_and_comes_back(screen: Callable[[int, int], Screen]) -> None:
    console = screen(20, 10)
    board = Board(console)
    for contents in (Text("a"), Text("b"), None, None):
        board.draw([], contents)
    written = console.taken()
    assert (written.count(HIDE_CURSOR), written.count(SHOW_CURSOR)) == (1, 1)
    assert written.index(HIDE_CURSOR) < written.index(SHOW_CURSOR)
