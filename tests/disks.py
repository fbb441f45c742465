"""Small file systems for one test each, and filling them.

Owns mounting and unmounting, and the skip where that cannot be done. Refuses to know what is written there.
"""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


@contextlib.contextmanager
def small_disk(folder: Path, options: str) -> Iterator[Path]:
    """Make a folder with a file system of its own; skip the test where that cannot be done.

    Args:
        folder: To be made.
        options: What tmpfs is to be limited to: ``size=2m``, ``nr_inodes=2``.
    """
    if os.geteuid() != 0:
        pytest.skip("a file system of its own can be mounted by root only")
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", f"{options},mode=0700", "milestoned-test", str(folder)]
    mounted = subprocess.run(words, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Take every byte that is left, and return the file to be removed for having them again."""
    ballast = folder / "ballast"
    with ballast.open("ab", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1):
            with contextlib.suppress(OSError):
                while True:
                    file.write(b"x" * size)
    return ballast
