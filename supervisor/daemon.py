"""``milestoned``: a process in the foreground that supervises the sessions of one or more projects.

The main thread does what signals, clients and sessions ask for, one thing after the other; all of it is posted to its
queue. TERM and INT end the sessions in order and then the process, a second one at once; the next daemon takes the
sessions up. Where the main thread could not heed the second one (while projects are opened or given back), and at the
third, nobody is waited for: the kernel gives everything back, and the next start goes on as after a kill. HUP reads the
configuration again. USR1 writes the stacks of all threads to standard error.

A service manager is told (:mod:`supervisor.notify`) that the daemon is ready once every project is open and what a
former daemon left is taken up; that it lives after each round through all loops that supervise
(:mod:`supervisor.pulse`); that it needs more time while it opens projects and while tasks end; and why it does not
start, or had to end.

Owns signals, exit codes and the order of start and end. Refuses to know sessions (:mod:`supervisor.hosted`).
"""

from __future__ import annotations

import faulthandler
import functools
import gc
import math
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from actors.log import log
from actors.paths import ProjectPaths
from supervisor.activation import Activated, ActivationError, listener_for, take_listeners
from supervisor.addressees import NOT_RUNNING
from supervisor.beginning import BROKEN, CONFIGURATION, FAILED, IO_ERROR, RunRefusedError
from supervisor.cli import TRACEBACK_VARIABLE
from supervisor.cli.fitness import complaints, look
from supervisor.cli.output import escaped
from supervisor.config import Config, ConfigError, load_config
from supervisor.control_socket import DAEMON
from supervisor.distributions import own_version
from supervisor.finding import shown
from supervisor.hosted import HostedProject
from supervisor.log_sinks import open_sinks
from supervisor.loop import Loop
from supervisor.metrics_address import parse_address
from supervisor.notify import Notifier
from supervisor.protocol import Named
from supervisor.pulse import Pulse
from supervisor.shortage import refusal, starting_threads
from supervisor.standard_streams import open_closed_streams

if TYPE_CHECKING:
    import socket
    from types import FrameType

    from supervisor.control import Ticket
    from supervisor.metrics import Metrics
    from supervisor.metrics_server import MetricsServer

LAST_RESORT_SECONDS: Final = 5.0
"""Seconds after the second signal at which nobody is waited for any more."""

CLOSE_SECONDS: Final = 15.0
"""Seconds that a project's threads have to end."""

HURRIED_SECONDS: Final = 2.0
"""The same, after a second signal."""

OPEN_SECONDS: Final = 90.0
"""Seconds that a project may take to be opened: its journal is verified as a whole."""

CHECK_SECONDS: Final = 5.0
"""Longest time between two checks that everything answers, where a service manager listens."""

QUIET_CHECK_SECONDS: Final = 30.0
"""The same where none does: what hangs or has ended is named in the log then."""

EXTEND_SECONDS: Final = 30.0
"""Seconds by which the time to stop is extended at each check, as long as everything answers."""

ENDED_BY: Final = 128
"""Exit code of a daemon that waited for nothing: this, and the number of the signal."""

_ENDING: Final = frozenset({signal.SIGTERM, signal.SIGINT})

_HEEDED: Final = 2
"""How many signals to end are heeded; one more, and nobody is waited for."""


class Daemon:
    """The main thread's work; the :class:`supervisor.hosted.Main` of its projects.

    Args:
        load: Reads the configuration of a project anew; raises :class:`ConfigError`.
        notifier: Tells the service manager.
    """

    def __init__(self, load: Callable[[Path], Config], notifier: Notifier) -> None:
        self._load = load
        self._notifier = notifier
        self._pulse = Pulse(self.post, self._all_answered)
        self._status = ""
        self._why = ""
        self._next_check = time.monotonic()
        self._loop = Loop()
        self._projects: list[HostedProject] = []
        self._metrics: Metrics | None = None
        self._scraped: MetricsServer | None = None
        self._listen = ""
        self._is_stopping = False
        self._is_heeding = False  # whether this thread takes what is posted
        self._signals = 0
        self._give_up_at = math.inf
        self._code = 0

    # --- from any thread, and from signal handlers ---------------------------------------------------------------

    def post(self, call: Callable[[], None]) -> None:
        """Have a function called in the main thread, soon; never blocks."""
        self._loop.call(call)

    def reload(self, ticket: Ticket | None) -> None:
        """Read the configuration of all projects again, and answer with what came of it."""
        self.post(functools.partial(self._reload, ticket))

    def shut_down(self, reason: str) -> None:
        """End in order."""
        self.post(functools.partial(self._stop, reason))

    def fail(self, code: int, reason: str) -> None:
        """End because a project cannot go on."""
        self.post(functools.partial(self._failed, code, reason))

    def take_signals(self) -> None:
        """Heed signals from here on; in the main thread of the process."""
        for number in (*_ENDING, signal.SIGHUP):
            signal.signal(number, self._signalled)
        self._loop.heed_signals()

    # --- in the main thread --------------------------------------------------------------------------------------

    def measure(self, listen: str) -> None:
        """Count for Prometheus; to be called before the first project is opened.

        Args:
            listen: Where :meth:`serve_figures` answers, see :func:`parse_address`.
        """
        # Imported by those alone who want it: half a megabyte, and some milliseconds at each start.
        from supervisor.metrics import Metrics  # noqa: PLC0415

        self._listen = listen
        self._metrics = Metrics(lambda: tuple(self._projects), own_version())

    def serve_figures(self) -> None:
        """Answer Prometheus, where that is wanted.

        To be called when all projects are opened: the address is taken as well where another daemon supervises one of
        them, and then that is what has to be said.

        Raises:
            RunRefusedError: The socket cannot be made.
        """
        if self._metrics is None:
            return
        from supervisor.metrics_server import MetricsServer  # noqa: PLC0415 - as above

        listen = self._listen
        try:
            self._scraped = MetricsServer(parse_address(listen), self._metrics.text)
        except OSError as error:
            line = f"no metrics: nobody can listen on {listen}: {refusal(error)}"
            raise RunRefusedError(IO_ERROR, line, "choose another for metrics.listen") from error

    def start_figures(self) -> None:
        """Start the thread that answers, where there is one.

        Raises:
            OSError: The system lets no more threads be started.
        """
        if self._scraped is not None:
            with starting_threads():
                self._scraped.start()

    def open(self, directory: Path, config: Config, listener: socket.socket | None = None) -> None:
        """Take a project.

        Args:
            directory: Of the project.
            config: Its configuration.
            listener: Its control socket, where a service manager has made it.

        Raises:
            RunRefusedError: It cannot be had.
        """
        if self._signals:  # it is to end already: nothing more is begun
            return
        self._notifier.extend(OPEN_SECONDS)
        paths = ProjectPaths(directory)
        project = HostedProject(paths, config, self, own_version(), listener=listener, metrics=self._metrics)
        self._projects.append(project)

    def run(self) -> int:
        """Supervise until told to end, and return the exit code.

        Raises:
            OSError: The system lets no more threads be started.
        """
        for project in self._projects:
            if not self._signals:
                self._notifier.extend(OPEN_SECONDS)
                project.start()
        self.start_figures()
        if not self._signals:
            log().bind(pid=os.getpid(), projects=[str(one.paths.project) for one in self._projects]).info("ready")
            self._notifier.ready(self._summary())
        self._is_heeding = True
        while not self._is_over():
            self._check()
            self._loop.wait(min(self._give_up_at, self._next_check))
            self._loop.run_calls()
        self._is_heeding = False
        return self._code

    def _check(self) -> None:
        """Begin a round through all loops, once in a while."""
        now = time.monotonic()
        if now < self._next_check:
            return
        heard = min(CHECK_SECONDS, self._notifier.watchdog / 4 or CHECK_SECONDS)
        self._next_check = now + (heard if self._notifier.is_heard else QUIET_CHECK_SECONDS)
        for project in self._projects:
            ended = project.ended_threads()
            if ended and not self._is_stopping:
                self._failed(BROKEN, f"{project.paths.project}: a thread has ended: {', '.join(ended)}")
        self._look_to_figures()
        silent = self._pulse.begin({name: loop for one in self._projects for name, loop in one.loops().items()})
        if silent:
            log().bind(silent=sorted(silent)).warning("did not answer")

    def _look_to_figures(self) -> None:
        """Have another thread answer Prometheus where one has ended: a defect, and no reason to end sessions."""
        if self._scraped is None or self._scraped.is_alive() or self._is_stopping:
            return
        log().error("the thread that answers Prometheus has ended: another one takes its place")
        self._scraped.close()
        try:
            self.serve_figures()
            self.start_figures()
        except (RunRefusedError, OSError) as error:  # tried again at the next check
            log().bind(error=str(error)).error("nobody answers Prometheus")

    def _all_answered(self) -> None:
        self._notifier.beat()
        if self._is_stopping:
            self._notifier.extend(EXTEND_SECONDS)
        status = self._summary()
        if status != self._status:
            self._status = status
            self._notifier.status(status)

    def _summary(self) -> str:
        ids = [run.milestone.id for project in self._projects for run in project.live()]
        running = f"{len(ids)} session{'' if len(ids) == 1 else 's'}: {', '.join(ids)}" if ids else "no session"
        why = f": {self._why}" if self._why else ""
        return f"ending{why}, {running}" if self._is_stopping else running

    def close(self) -> None:
        """Give everything back; in the order in which it was taken."""
        if self._scraped is not None:
            self._scraped.close()
        for project in self._projects:
            self._notifier.extend(EXTEND_SECONDS)
            if not project.close(CLOSE_SECONDS if self._give_up_at == math.inf else HURRIED_SECONDS):
                log().bind(project=str(project.paths.project)).error("a thread hangs, the project stays locked")
        self._projects.clear()
        if self._why:
            self._notifier.status(f"ended: {self._why}")
        self._loop.close()

    def _is_over(self) -> bool:
        if time.monotonic() >= self._give_up_at:
            return True
        return self._is_stopping and not any(project.live() for project in self._projects)

    def _signalled(self, number: int, _: FrameType | None) -> None:
        if number not in _ENDING:
            self.post(lambda: self._reload(None))
            return
        self._signals += 1
        if self._signals > _HEEDED or (self._signals == _HEEDED and not self._is_heeding):
            os.write(2, f"{DAEMON}: ended without waiting for anything\n".encode())
            os._exit(self._code or ENDED_BY + number)
        self.post(functools.partial(self._ask_to_end, signal.Signals(number).name, self._signals))

    def _ask_to_end(self, name: str, count: int) -> None:
        if count < _HEEDED:
            self._stop(f"{name} received; running tasks are ended")
            return
        log().bind(signal=name).warning("everything is ended at once")
        self._is_stopping = True
        self._give_up_at = min(self._give_up_at, time.monotonic() + LAST_RESORT_SECONDS)
        for project in self._projects:
            project.kill()

    def _stop(self, reason: str) -> None:
        if not self._is_stopping:
            self._is_stopping = True
            log().bind(reason=reason).info("ending")
            self._notifier.stopping(self._summary())
            self._next_check = time.monotonic()  # the end may have little time without asking for more
            for project in self._projects:
                project.stop(reason)

    def _failed(self, code: int, reason: str) -> None:
        log().bind(code=code, reason=reason).error("failed")
        self._code = self._code or code
        self._why = self._why or reason
        self._stop(f"another project failed: {reason}")

    def _reload(self, ticket: Ticket | None) -> None:
        """Read all configurations, and use them if none is wrong."""
        if self._is_stopping:  # and nothing may be said of readiness any more
            log().info("not reloaded: ending")
            if ticket is not None:
                ticket.failed(NOT_RUNNING, "the daemon is ending")
            return
        self._notifier.reloading()
        self._read_again(ticket)
        self._notifier.ready(self._summary())

    def _read_again(self, ticket: Ticket | None) -> None:
        directories = [project.paths.project for project in self._projects]
        try:
            configs = {directory: self._load(directory) for directory in directories}
            open_log(configs[directories[0]])
        except (ConfigError, OSError) as error:
            lines = tuple(str(one) for one in error.problems) if isinstance(error, ConfigError) else (refusal(error),)
            log().bind(problems=list(lines)).error("not reloaded")
            if ticket is not None:
                ticket.failed(CONFIGURATION, "nothing was reloaded:", *lines)
            return
        results = [result for project in self._projects for result in project.use(configs[project.paths.project])]
        if configs[directories[0]].metrics != self._listen:
            results.append(Named("metrics.listen", 0, "is changed by a restart of the daemon alone"))
        for result in results:
            log().bind(name=result.name, what=result.text).info("reloaded")
        if ticket is not None:
            ticket.done(results)


def open_log(config: Config) -> None:
    """Send this process's log where the configuration says.

    Raises:
        OSError: Its file cannot be made.
    """
    open_sinks(config.log, config.log_level.value.upper(), os.environ)


def _say(*lines: str) -> None:
    for number, line in enumerate(map(escaped, lines)):
        click.echo(f"{DAEMON}: {line}" if number == 0 else f"  {line}", err=True)


@click.command(
    DAEMON,
    epilog="Example: milestoned --config /etc/milestoned/milestoned.yaml /srv/project",
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.argument("projects", metavar="[PROJECT]...", nargs=-1, type=click.Path(exists=True, file_okay=False))
@click.option("--config", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Configuration file.")
@click.version_option(package_name="milestoned", prog_name=DAEMON)
def milestoned(projects: tuple[str, ...], config: Path | None) -> int:
    """Supervise the sessions of each PROJECT, a directory with `.milestones`; without one those of the current one.

    Stays in the foreground. Sessions are begun and ended with `milestonectl`. Those that ran when a former daemon ended
    are taken up again; what an operator stopped, cancelled or paused stays so.

    Signals: TERM and INT end everything in order, a second one at once, and a third waits for nothing; HUP reads the
    configuration again; USR1 writes the stacks of all threads to standard error.

    Exit codes: 0 ended as told; 1 a PROJECT has no `.milestones`; 2 usage, such as a PROJECT that is no directory; 70 a
    defect; 74 reading or writing failed; 75 another process supervises a project; 78 configuration, journal or machine;
    130 and 143 a signal more by INT or TERM, after which nothing was waited for.
    """
    notifier = Notifier.from_environment(os.environ)  # before anything is started that would inherit its variables
    try:
        return _begin(notifier, projects, config)
    except _RefusedError as error:
        _say(*error.lines)
        notifier.status(f"refused: {'; '.join(error.lines)}".replace(":;", ":"))
        return error.code
    finally:
        notifier.close()


class _RefusedError(Exception):
    """The daemon does not start, or had to end: the exit code, and why, for people and for the service manager."""

    def __init__(self, code: int, *lines: str) -> None:
        super().__init__("\n".join(lines))
        self.code = code
        self.lines = lines


def _begin(notifier: Notifier, projects: tuple[str, ...], config: Path | None) -> int:
    """Look at machine, projects and configuration, and supervise.

    Raises:
        _RefusedError: Something of it will not do.
    """
    found = complaints(look(), needs_git=True)
    if found:
        raise _RefusedError(CONFIGURATION, "cannot run here", *found)
    directories = tuple(dict.fromkeys(Path(one).resolve() for one in projects or (".",)))
    for one in directories:
        try:
            is_project = (one / ".milestones").is_dir()
        except OSError as error:
            raise _RefusedError(IO_ERROR, f"{one} cannot be looked at: {error.strerror}") from error
        if not is_project:
            cure = f"make one with: milestonectl -C {one} init"
            raise _RefusedError(FAILED, f"there is no .milestones directory in {one}", cure)
    try:
        configs = {one: load_config(one, os.environ, config) for one in directories}
    except ConfigError as error:
        places = (f"{shown(one.path)}:{one.line}:{one.column}: {one.message}" for one in error.problems)
        raise _RefusedError(CONFIGURATION, "the configuration cannot be used:", *places) from error
    faulthandler.register(signal.SIGUSR1, file=sys.stderr, all_threads=True)
    return _supervise(Daemon(lambda one: load_config(one, os.environ, config), notifier), configs)


def _supervise(daemon: Daemon, configs: dict[Path, Config]) -> int:
    daemon.take_signals()
    lent: tuple[Activated, ...] = ()
    try:
        open_log(next(iter(configs.values())))
        lent = take_listeners(os.environ)
        listen = next(iter(configs.values())).metrics
        if listen:
            daemon.measure(listen)
        for directory, config in configs.items():
            found = listener_for(ProjectPaths(directory).control, lent)
            daemon.open(directory, config, None if found is None else found.sock)
        daemon.serve_figures()
        return daemon.run()
    except ActivationError as error:
        raise _RefusedError(CONFIGURATION, str(error)) from error
    except RunRefusedError as error:
        raise _RefusedError(error.code, *error.lines) from error
    except OSError as error:
        raise _RefusedError(IO_ERROR, refusal(error)) from error
    finally:
        daemon.close()
        for one in lent:
            one.sock.close()


def run_daemon(arguments: Sequence[str] | None = None) -> int:
    """Run the daemon and return its exit code; whatever happens, it has been said.

    Args:
        arguments: The words after the program's name; ``None`` takes those of this process.
    """
    try:
        code = milestoned.main(arguments, prog_name=DAEMON, standalone_mode=False)
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except Exception as error:  # noqa: BLE001 - the last place before the user
        if os.environ.get(TRACEBACK_VARIABLE):
            traceback.print_exception(error)
        _say(
            f"a defect of milestoned: {type(error).__name__}: {error}",
            f"please report it with the output of {TRACEBACK_VARIABLE}=1",
        )
        return BROKEN
    return code if isinstance(code, int) else 0


def main() -> None:
    """Run the daemon and end the process with its exit code."""
    gc.freeze()  # what has been imported by now never becomes garbage: nobody has to look
    open_closed_streams()
    sys.exit(run_daemon())


if __name__ == "__main__":
    main()
