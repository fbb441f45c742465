"""Where a daemon answers Prometheus: an address of this machine. Refuses to know sockets."""

from __future__ import annotations

from pathlib import Path
from typing import Final

_MOST_PORT: Final = 65_535


def parse_address(text: str) -> tuple[str, int] | Path:
    """Return where to listen.

    Args:
        text: ``127.0.0.1:9464``, ``[::1]:9464``, ``localhost:9464``, or the absolute path of a Unix socket.

    Raises:
        ValueError: It is none of these, or reaches beyond this machine; the message is for people.
    """
    import ipaddress  # noqa: PLC0415 - read by every command, wanted by few

    if text.startswith("/"):
        return Path(text)
    host, colon, number = text.rpartition(":")
    host = "127.0.0.1" if host == "localhost" else host.removeprefix("[").removesuffix("]")
    try:
        is_local = ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_local = False
    if not colon or not is_local or not number.isascii() or not number.isdigit() or not 0 < int(number) <= _MOST_PORT:
        raise ValueError(
            f"{text!r} is no address to listen on: 127.0.0.1:9464, [::1]:9464, or the absolute path of a socket;"
            " other machines are not served"
        )
    return host, int(number)
