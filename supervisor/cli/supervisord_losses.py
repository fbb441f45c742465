"""What of a supervisord's configuration has no word here, and what to do about it.

Owns the list. Refuses to know what becomes of the rest.
"""

from __future__ import annotations

import signal
from pathlib import PurePath
from typing import TYPE_CHECKING, Final

from actors.problems import closest
from supervisor.cli.foreign import Loss
from supervisor.cli.supervisord_options import DEFAULT, FALSE, NOWHERE, STREAMS, Options

if TYPE_CHECKING:
    from collections.abc import Iterator

    from supervisor.cli.supervisord_conf import Section, Sections, Value

_CARRIED: Final = frozenset(
    {
        "command",
        "process_name",
        "numprocs",
        "numprocs_start",
        "priority",
        "autostart",
        "autorestart",
        "startsecs",
        "startretries",
        "exitcodes",
        "stopsignal",
        "stopwaitsecs",
        "stopasgroup",
        "killasgroup",
        "user",
        "redirect_stderr",
        "stdout_logfile",
        "stderr_logfile",
        "environment",
        "directory",
        "umask",
        "stdout_logfile_maxbytes",
        "stdout_logfile_backups",
        "stderr_logfile_maxbytes",
        "stderr_logfile_backups",
        "serverurl",
    }
)
_LOST: Final = {
    "stdout_capture_maxbytes": "read what it prints where it goes, or have it send events itself",
    "stderr_capture_maxbytes": "read what it prints where it goes, or have it send events itself",
    "stdout_events_enabled": "read what it prints where it goes",
    "stderr_events_enabled": "read what it prints where it goes",
    "stdout_syslog": "pipe it through logger(1) in 'argv'",
    "stderr_syslog": "pipe it through logger(1) in 'argv'",
}
_OTHERS: Final = {
    "fcgi-program": "let the program, or systemd's socket activation, make the socket",
    "eventlistener": "listen to Supervisor(on_event=...) in a program of yours",
    "inet_http_server": "there is no port: use the methods of Supervisor",
    "rpcinterface": "use the methods of Supervisor",
}
_OWN: Final = frozenset({"supervisord", "supervisorctl", "unix_http_server", "include", "program", "group"})
_OF_THE_DAEMON: Final = {
    "user": "run the supervising process as that user",
    "minfds": "give the supervising process its limit: LimitNOFILE= of systemd, or ulimit -n",
    "minprocs": "give the supervising process its limit: LimitNPROC= of systemd, or ulimit -u",
}


def losses_of_sections(read: Sections) -> Iterator[Loss]:
    """Yield what is lost of a configuration beside its programs and groups.

    Args:
        read: All sections.
    """
    for value in read.unmatched:
        what = f"[include] files = {value.text} is no file at present"
        yield Loss(value.path, value.line, "", what, "import again when it is")
    for name, section in read.sections.items():
        kind = name.partition(":")[0]
        if kind in _OTHERS:
            yield Loss(section.path, section.line, "", f"[{name}]", _OTHERS[kind])
        elif kind == "include":
            cure = "supervisord passes it over too: name its files in the first one"
            yield Loss(section.path, section.line, "", "[include] of a file that is included", cure)
        elif kind not in _OWN:
            guess = closest(kind, ("program", "group", "include"))
            cure = "supervisord passes it over too" + (f"; did you mean {guess!r}?" if guess else "")
            yield Loss(section.path, section.line, "", f"[{name}] is no section of supervisord", cure)
        if kind == "supervisord":
            yield from _of_the_daemon(section)


def _of_the_daemon(section: Section) -> Iterator[Loss]:
    for key, cure in _OF_THE_DAEMON.items():
        if (value := section.values.get(key)) is not None:
            yield Loss(value.path, value.line, "", f"{key} = {value.text}", cure)
    for key in ("environment", "directory"):
        if (value := section.values.get(key)) is not None:
            yield from _of_variables("", key, value)


def _of_variables(name: str, key: str, value: Value, known: frozenset[str] = frozenset()) -> Iterator[Loss]:
    """Yield the variables whose values were written as they are now."""
    named = dict.fromkeys(word.partition(")")[0] for word in value.text.split("%(ENV_")[1:])
    for variable in (one for one in named if one not in known):
        cure = "the value of now was written; change it where another is meant"
        yield Loss(value.path, value.line, name, f"{key}: %(ENV_{variable})s", cure)


def losses_of_program(name: str, options: Options, known: frozenset[str], *, is_placed: bool) -> Iterator[Loss]:
    """Yield what is lost of a program.

    Args:
        name: Of the program.
        options: Of its section, for its first process.
        known: Variables that the configuration itself sets.
        is_placed: Whether it is known where relative paths begin.
    """
    for key, value in options.section.values.items():
        why = _lost(key, value, options)
        if why is not None:
            yield Loss(value.path, value.line, name, *why)
        yield from _of_variables(name, key, value, known)
        if not is_placed and _is_relative(key, options):
            cure = (
                "it begins where supervisord was started: write the whole path, or start the supervising process there"
            )
            yield Loss(value.path, value.line, name, f"the place of {key} = {value.text}", cure)


def _is_relative(key: str, options: Options) -> bool:
    """Tell whether an option names a path that begins where supervisord runs."""
    match key:
        case "directory":
            path = options.text(key)
        case "stdout_logfile":
            path = options.file(key, None) or ""
        case "command" if not options.text("directory"):
            word = options.text(key).partition(" ")[0]
            path = word if "/" in word else ""
        case _:
            return False
    return bool(path) and not PurePath(path).is_absolute()


def _lost(key: str, value: Value, options: Options) -> tuple[str, str] | None:
    """Return what is lost of an option, and what to do; ``None`` for nothing."""
    shown = f"{key} = {value.text}"
    if key in _LOST:
        return None if value.text.lower() in FALSE else (shown, _LOST[key])
    match key:
        case "autostart" if not options.flag(key, yes=True):
            return shown, "it stands here as a comment; start it with start_child"
        case "stopsignal" if options.signal() not in {signal.SIGTERM, signal.SIGKILL}:
            return shown, "it is asked to end with TERM: have it take that, or wrap it in a script that passes it on"
        case "user":
            cure = "run the supervising process as that user, or put setpriv(1) or runuser(1) before 'argv'"
            return shown, f"it runs as who supervises: {cure}"
        case "killasgroup" if not options.flag(key, yes=False):
            return shown, "what it has started always ends with it; nothing to do unless something is to stay"
        case "startretries" if options.whole(key, 3) < 1:
            return shown, "one restart is allowed within the period; set intensity: 0 where none is"
        case "serverurl" if value.text.upper() != "AUTO":
            return shown, "there is no such server"
        case "stderr_logfile" if not options.flag("redirect_stderr", yes=False):
            file = options.text(key)
            is_same = file.lower() in DEFAULT or file == options.text("stdout_logfile")
            return None if is_same else (shown, "errors go where 'output' goes")
        case "stdout_logfile":
            return _lost_of_file(shown, options)
        case _ if key not in _CARRIED:
            guess = closest(key, sorted(_CARRIED))
            cure = "supervisord passes it over too" + (f"; did you mean {guess!r}?" if guess else "")
            return f"{key} is no option of a program", cure
        case _:
            pass
    return None


def _lost_of_file(shown: str, options: Options) -> tuple[str, str] | None:
    """Return what is lost of the file for what a program prints."""
    file = options.text("stdout_logfile")
    if file.lower() in NOWHERE | DEFAULT or file == "/dev/null":
        return None
    if file.lower() == "syslog":
        return shown, _LOST["stdout_syslog"]
    if file in STREAMS:
        return shown, "what it prints goes to standard error of the supervising process"
    if options.text("stdout_logfile_maxbytes", "50MB") != "0":
        return "the rotation of stdout_logfile", "have logrotate(8) do it, with copytruncate"
    return None
