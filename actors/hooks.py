"""How the user's hooks are told of a blocker: the JSON, the programs, and the answer.

Each hook is a program that reads one JSON object from its standard input: the configured command, or for a
URL ``webhook.py`` beside this module, which posts it. A blocker is told once; after a crash in the middle it
may be told once more, so the object has ``session`` and ``claim`` to recognise it by.

Owns that object and those programs. Refuses to run them and to know when.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import PurePath
from typing import Final
from urllib.parse import urlsplit

import attrs
import msgspec

from actors.events import HookRan
from actors.outputs import clean, shorten
from actors.programs import Finished, Flow, Program
from actors.state import Blocker, SessionState

HOOK_SECONDS: Final = 30.0
"""Seconds that a hook may take before it is killed."""

WEBHOOK: Final = str(PurePath(__file__).with_name("webhook.py"))
"""The program that posts."""


@attrs.frozen
class Hook:
    """One hook.

    Attributes:
        target: What people know it by: the program, or the host of the URL (its path may be a secret).
        program: What to run.
    """

    target: str
    program: Program


def payload(state: SessionState, blocker: Blocker) -> bytes:
    """Return what a hook is told, as one JSON object and a line break."""
    raised = blocker.raised
    told = {
        "event": "blocker",
        "session": state.session,
        "milestone": state.milestone.id,
        "title": state.milestone.title,
        "claim": raised.claim,
        "category": raised.category,
        "severity": raised.severity.value,
        "task": raised.task or None,
        "headline": raised.shown,
        "evidence": raised.evidence.split("\n"),
        "proposal": raised.proposal,
        "since": blocker.since_wall,
        "level": blocker.level,
    }
    return msgspec.json.encode(told) + b"\n"


def hooks(state: SessionState, blocker: Blocker, project: str) -> Iterator[Hook]:
    """Yield the configured hooks, ready to be told of a blocker.

    Args:
        state: The fold.
        blocker: The blocker.
        project: Absolute directory to run them in.
    """
    body = payload(state, blocker)
    settings = state.settings
    if settings.hook_command:
        program = Program(settings.hook_command, project, stdin=body, timeout=HOOK_SECONDS)
        yield Hook(settings.hook_command[0], program)
    if settings.hook_url:
        # On standard input and not among the arguments: those can be read by every user of the machine.
        told = f"{settings.hook_url}\n".encode() + body
        argv = (sys.executable, "-I", "-S", WEBHOOK)
        yield Hook(_host_of(settings.hook_url), Program(argv, project, stdin=told, timeout=HOOK_SECONDS))


def _host_of(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:  # as "http://[": the program that posts says what is wrong with it
        return "the configured URL"
    return f"{parts.scheme}://{parts.hostname or ''}"


def tell(state: SessionState, blocker: Blocker, project: str) -> Flow[tuple[HookRan, ...]]:
    """Tell all hooks of a blocker, one after the other; return what became of it."""
    answers = []
    for hook in tuple(hooks(state, blocker, project)):
        finished = yield hook.program
        answers.append(HookRan(blocker.raised.claim, hook.target, finished.ok, _detail(finished)))
    return tuple(answers)


def _detail(finished: Finished) -> str:
    if finished.ok:
        return ""
    said = (finished.stderr.strip() or finished.stdout.strip()).decode(errors="backslashreplace").splitlines()
    how = f"ended with {finished.code}" if finished.code >= 0 else f"killed by signal {-finished.code}"
    return shorten(f"{how}: {clean(said[-1])}" if said else how)
