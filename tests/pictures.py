"""The picture in the README, made of a real run: `make pictures` writes `docs/pictures/run.svg`.

A terminal of tmux executes the example milestone in a scratch repository; half-way a role is killed, and the screen is
taken when its replacement is at work. Needs tmux, which nothing else here needs; hence made by hand, when the view has
changed, and not by a test.

Owns the picture. Refuses to know how the view is made: it is read off a screen.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

from tests.waiting import wait_until

FOLDER: Final = Path(__file__).parents[1] / "docs" / "pictures"
WIDTH: Final = 96
HEIGHT: Final = 34
PATIENCE: Final = 60.0  # seconds for each thing that is waited for
MILESTONE: Final = "milestone-001"
VICTIM: Final = "progress_monitor"

# Rich's own form asks a server for its font; a picture in a repository asks nobody.
FORM: Final = """\
<svg viewBox="0 0 {terminal_width} {terminal_height}" xmlns="http://www.w3.org/2000/svg" role="img">
<title>milestonectl run</title>
<style>
.{unique_id}-matrix {{ font-family: ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace;
  font-size: {char_height}px; line-height: {line_height}px; white-space: pre; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal"><rect width="{terminal_width}" height="{terminal_height}" /></clipPath>
{lines}
</defs>
<rect fill="#0c0c0c" width="{terminal_width}" height="{terminal_height}" rx="6" />
<g transform="translate(8, 4)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


class Screen:
    """A terminal that nobody looks at, in a tmux server of its own.

    Args:
        folder: where its shell stands.
    """

    def __init__(self, folder: Path) -> None:
        self._socket = folder / "tmux.sock"
        environment = os.environ | {"TERM": "screen-256color"}
        self._tmux(
            "new-session", "-d", "-x", str(WIDTH), "-y", str(HEIGHT), "-c", str(folder), "sh", environment=environment
        )

    def type(self, line: str) -> None:
        """Type a line."""
        self._tmux("send-keys", line, "Enter")

    def text(self) -> str:
        """Return what stands on the screen, with its colours as escape sequences."""
        return self._tmux("capture-pane", "-p", "-e")

    def close(self) -> None:
        """End the terminal and whatever runs in it."""
        self._tmux("kill-server")

    def _tmux(self, *words: str, environment: dict[str, str] | None = None) -> str:
        command = ["tmux", "-S", str(self._socket), "-f", "/dev/null", *words]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout


def main() -> None:
    """Execute the example milestone, take the picture and write it."""
    if shutil.which("tmux") is None:
        sys.exit("tmux is not installed: it is the terminal that the picture is taken of")
    with tempfile.TemporaryDirectory(prefix="milestoned-picture-") as folder:
        project = Path(folder) / "scratch"
        _prepare(project)
        screen = Screen(project)
        try:
            taken = _take(screen, project)
        finally:
            screen.close()
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / "run.svg").write_text(_drawn(taken), encoding="utf-8")


def _prepare(project: Path) -> None:
    author = ["-c", "user.name=Author", "-c", "user.email=author@localhost"]
    for command in (
        ["git", "init", "--quiet", str(project)],
        ["git", "-C", str(project), *author, "commit", "--quiet", "--allow-empty", "--message", "Begin"],
        [*_milestonectl(), "-C", str(project), "init", "--example"],
    ):
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def _take(screen: Screen, project: Path) -> str:
    """Return the screen on which the replacement of a killed role is at work and tasks are running."""
    screen.type(f"PS1='$ '; PATH={Path(sys.executable).parent}:$PATH; clear")
    wait_until(lambda: "PATH" not in screen.text(), PATIENCE, "a shell")
    screen.type(f"milestonectl run {MILESTONE}")
    wait_until(lambda: re.search(r"Committed task-001", screen.text()), PATIENCE, "the first commit")
    kill = [*_milestonectl(), "-C", str(project), "signal", "KILL", f"{MILESTONE}:{VICTIM}"]
    subprocess.run(kill, check=True, stdout=subprocess.DEVNULL)
    return wait_until(lambda: _shown(screen.text()), PATIENCE, "the replacement of a role, beside running tasks")


def _shown(text: str) -> str:
    plain = Text.from_ansi(text).plain
    restarted = re.search(r"Progress Monitor +RUNNING +\d+ .* 1$", plain, re.MULTILINE)
    return text if restarted and plain.count("> task-") > 1 and "Committed" in plain else ""


def _drawn(taken: str) -> str:
    lines = Text.from_ansi(taken.rstrip())
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    console.print(lines, end="\n\n")
    title = f"milestonectl run {MILESTONE}"
    return console.export_svg(title=title, theme=MONOKAI, code_format=FORM, unique_id="run", font_aspect_ratio=0.6)


def _milestonectl() -> list[str]:
    return [str(Path(sys.executable).with_name("milestonectl"))]


if __name__ == "__main__":
    main()
