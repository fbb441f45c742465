"""On what kind of file system a path is.

The journal needs locks that the kernel frees when their holder dies, memory that processes share, and flushes that
mean what they say. On a file system that another machine serves none of the three is certain: two supervising
processes on two machines would both hold the project's lock.

Owns reading the kernel's table of mounts. Refuses to know what is to be stored.
"""

import os
import re
from pathlib import Path
from typing import Final

TABLE: Final = Path("/proc/self/mountinfo")

NETWORK: Final = frozenset(
    {
        *("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "coda", "glusterfs", "lustre", "beegfs", "gpfs"),
        *(
            "fuse.sshfs",
            "fuse.glusterfs",
            "fuse.ceph-fuse",
            "fuse.s3fs",
            "fuse.rclone",
            "fuse.gcsfuse",
            "fuse.smbnetfs",
        ),
        *("davfs", "fuse.davfs2", "ncpfs", "orangefs", "pvfs2", "vboxsf", "fuse.vmhgfs-fuse", "drvfs"),
    }
)
"""Kinds of file systems that another machine, or a host outside this kernel, serves."""

_ESCAPED: Final = re.compile(r"\\([0-7]{3})")
_POINT: Final = 4


def network_file_system(path: Path, table: Path = TABLE) -> str:
    """Return the kind of the network file system that a path is on, ``""`` when it is on none, or cannot be told.

    Args:
        path: Need not exist; links are followed.
        table: The kernel's mounts of this process.
    """
    try:
        text = table.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return ""
    wanted = os.path.realpath(path)
    longest, kind = "", ""
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        fields = before.split(" ")
        if len(fields) <= _POINT or not after:
            continue
        point = _ESCAPED.sub(lambda found: chr(int(found[1], 8)), fields[_POINT])
        inside = wanted == point or wanted.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(longest):  # of two at the same place the later one hides the other
            longest, kind = point, after.split(" ", 1)[0]
    return kind if kind in NETWORK else ""
