"""Keeping the log of an attempt within its bounds without anybody noticing who writes to it.

A log is written by the programs themselves, appending, so nothing can be taken out of it and no writer be stopped. But
the file system can be told to forget the blocks of its middle: the file keeps its length, so that who writes at its end
and who follows it go on, and what is forgotten takes no space and reads as NUL bytes. The beginning and the end stay.

Owns that. Refuses to know attempts, and when to look.
"""

import os
from typing import Final

from supervisor.linux import forget_bytes

HEAD_SHARE: Final = 4
"""A log that is cut keeps a quarter of its limit at its beginning,"""

TAIL_SHARE: Final = 2
"""and half of it at its end: so a quarter more is written before it is cut again."""

NOTE: Final = b"\nmilestoned: what follows is left out, the output is larger than output_limit\n"
"""Stands before the gap."""

_BLOCK: Final = 512


def trim(path: str, limit: int) -> bool:
    """Have the middle of a file forgotten if it takes more space than it may.

    Args:
        path: The file; one that is not there, or no file, is left alone.
        limit: Bytes, 1 or more.

    Returns:
        Whether it took more.

    Raises:
        OSError: The file system cannot forget a part of a file.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        stat = os.fstat(descriptor)
        if stat.st_blocks * _BLOCK <= limit:
            return False
        block = max(stat.st_blksize, _BLOCK)
        begin = limit // HEAD_SHARE // block * block
        end = (stat.st_size - limit // TAIL_SHARE) // block * block
        if end > begin:
            forget_bytes(descriptor, begin, end - begin)
            if begin >= len(NOTE):
                os.pwrite(descriptor, NOTE, begin - len(NOTE))
    finally:
        os.close(descriptor)
    return True
