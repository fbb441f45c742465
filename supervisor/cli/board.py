"""What stays at the bottom of a terminal while lines scroll by above it.

Each drawing is one write: what stood there is taken away, the new lines are printed for good, and the board is drawn
below them. So nothing flickers, however many lines come, and lines are left whole for the terminal to fold, which
keeps paths and commands in them fit for copying.

A terminal that became narrower has folded the rows of the board; how many rows they take then follows from their
widths, so no part of an old board is left behind. Owns the escape sequences. Refuses to know what is shown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.cells import cell_len
from rich.segment import Segments

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console, RenderableType
    from rich.text import Text

HIDE_CURSOR: Final = "\x1b[?25l"
SHOW_CURSOR: Final = "\x1b[?25h"
BEGIN_FRAME: Final = "\x1b[?2026h"
END_FRAME: Final = "\x1b[?2026l"
"""Terminals that know these two show a frame only when it is complete; others ignore them."""

CLEAR_ROW: Final = "\x1b[2K"
CLEAR_ROW_ABOVE: Final = "\x1b[1A\x1b[2K"
"""Row by row: what is cleared all at once from the top of the screen, some terminals keep in their history."""


class Board:
    """The bottom of a terminal.

    Args:
        console: The terminal.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._widths: list[int] = []

    def draw(self, lines: Sequence[Text], board: RenderableType | None) -> None:
        """Print lines for good, and put a board below them.

        Args:
            lines: What scrolls by.
            board: It must not be higher than the terminal, rows beyond that are left out; ``None`` for no board any
                more.
        """
        if not (lines or board or self._widths):
            return  # also nothing for a terminal that is another's
        width, height = self._console.size
        with self._console.capture() as printed:
            for line in lines:
                self._console.print(line, soft_wrap=True)
        rows = [] if board is None else self._rows(board, width, height)
        drawn = "\n".join(text for text, _ in rows)
        cursor = HIDE_CURSOR if rows and not self._widths else SHOW_CURSOR if self._widths and not rows else ""
        frame = f"{BEGIN_FRAME}{cursor}{self._taken_away(width)}{printed.get()}{drawn}{END_FRAME}"
        self._widths = [cells for _, cells in rows]
        self._console.file.write(frame)
        self._console.file.flush()

    def _rows(self, board: RenderableType, width: int, height: int) -> list[tuple[str, int]]:
        """Render a board: each row with the cells that it takes."""
        # The last column stays free: a terminal that folds there would make two rows of one.
        options = self._console.options.update(width=max(1, width - 1), height=None)
        rows: list[tuple[str, int]] = []
        for row in self._console.render_lines(board, options, pad=False)[: max(1, height - 1)]:
            with self._console.capture() as captured:
                self._console.print(Segments(row), end="", soft_wrap=True)
            rows.append((captured.get().rstrip(" "), cell_len("".join(one.text for one in row).rstrip(" "))))
        return rows

    def _taken_away(self, width: int) -> str:
        if not self._widths:
            return ""
        taken = sum(max(1, -(-cells // width)) for cells in self._widths)
        return f"\r{CLEAR_ROW}{CLEAR_ROW_ABOVE * (taken - 1)}"
