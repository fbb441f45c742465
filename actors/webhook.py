"""A program that posts a JSON object: what tells a URL of a blocker.

Run as ``python -I -S webhook.py`` with the URL as the first line of its standard input and the object behind
it. Ends with 0 when the answer is a 2xx, else with 1 and one line on standard error that has no part of the
URL but its host.

Owns one request. Refuses to import anything of ours: it runs without our packages on its path.
"""

import sys
import urllib.error
import urllib.request
from http.client import HTTPException
from typing import Final
from urllib.parse import urlsplit

SECONDS: Final = 20.0
"""Seconds without an answer after which it gives up."""

_SCHEMES: Final = frozenset({"http", "https"})


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Takes a redirect for the failure that it is: the object must not be sent to anybody else."""

    def redirect_request(self, *_: object) -> None:
        """Follow nothing."""


def post(url: str, body: bytes, seconds: float = SECONDS) -> str:
    """Post a JSON object.

    Args:
        url: An http or https URL.
        body: The object.
        seconds: How long to wait for the connection and for each piece of the answer.

    Returns:
        Why it was not taken, ``""`` when it was.
    """
    try:
        parts = urlsplit(url)
        host, scheme = parts.hostname, parts.scheme
    except ValueError:
        return "the URL cannot be read; write http://host/path or https://host/path"
    if scheme not in _SCHEMES or not host:
        return "the URL is neither http nor https; write http://host/path or https://host/path"
    try:
        headers = {"Content-Type": "application/json", "User-Agent": "milestoned"}
        request = urllib.request.Request(url, data=body, headers=headers, method="POST")  # noqa: S310 - checked above
        opener = urllib.request.build_opener(_NoRedirect)
        with opener.open(request, timeout=seconds):
            return ""
    except urllib.error.HTTPError as error:
        error.close()
        return f"{host} answered {error.code}"
    except urllib.error.URLError as error:
        return f"{host} cannot be reached: {error.reason}"
    except (OSError, HTTPException, ValueError) as error:
        return f"{host} did not answer as HTTP does: {type(error).__name__}"


def main() -> int:
    """Post what stands on standard input; return the exit code."""
    url, _, body = sys.stdin.buffer.read().partition(b"\n")
    problem = post(url.decode(errors="replace").strip(), body)
    if problem:
        sys.stderr.write(problem + "\n")
    return 1 if problem else 0


if __name__ == "__main__":
    sys.exit(main())
