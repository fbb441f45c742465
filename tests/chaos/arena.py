"""The place of a run of chaos: a project with a user's things in it, and whoever supervises it just now.

Owns the folder, starting and ending supervising processes, and what is noted about their lives. Refuses to know which
faults there are. Everything stands below one directory: home, caches, temporary files, the project, what tasks mark.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import attrs
import psutil
from msgspec.structs import replace

from actors.events import Record
from supervisor.client import AnswerTimeoutError, CallFailedError, Client, LostError, NoDaemonError
from supervisor.journal_errors import JournalError
from supervisor.journal_reader import JournalReader
from tests.chaos.history import KILLED_BY_US, Asked, Fault, Life, Look, Rival, Use
from tests.chaos.processes import look, now
from tests.chaos.programs import SECRET
from tests.repositories import git, make_repository
from tests.waiting import wait_until

SEAM: Final = Path(__file__).with_name("seam")
"""Folder of the module that moves the wall clock of processes of ours; see there."""

READY_SECONDS: Final = 60.0
"""When to give up waiting for a supervising process; how long it may take is judged by the checker."""

_HOOK: Final = "#!/bin/sh\necho \"$0 ran\" >> '{stray}'\n"


@attrs.define
class Arena:
    """One project under chaos.

    Attributes:
        base: Directory of everything.
        patched: Folder with a copy of the packages to run instead of these, ``None`` for these.
        lives: Of supervising processes, the present one last.
        faults: What was done.
        asked: What was asked for.
        looks: At the process table.
        rivals: That were started.
        uses: Of daemons, while nothing went on.
        killed: How many processes were killed.
        last_kill: When the last one was.
    """

    base: Path
    patched: Path | None = None
    lives: list[Life] = attrs.Factory(list)
    faults: list[Fault] = attrs.Factory(list)
    asked: list[Asked] = attrs.Factory(list)
    looks: list[Look] = attrs.Factory(list)
    rivals: list[Rival] = attrs.Factory(list)
    uses: list[Use] = attrs.Factory(list)
    killed: int = 0
    last_kill: float = 0.0
    secret: str = attrs.field(factory=lambda: f"canary-{secrets.token_hex(12)}")
    _process: subprocess.Popen[bytes] | None = None
    _output: Path | None = None

    # --- where things are ----------------------------------------------------------------------------------------

    @property
    def project(self) -> Path:
        """The project directory."""
        return self.base / "d" / "p"

    @property
    def marks(self) -> Path:
        """The file that tasks append to."""
        return self.base / "marks"

    @property
    def stray(self) -> Path:
        """The file that the user's hooks append to when they run, which they must not."""
        return self.base / "hooks-ran"

    @property
    def clock(self) -> Path:
        """The file that says by how many seconds the wall clock of our processes is wrong."""
        return self.base / "clock"

    @property
    def milestones(self) -> Path:
        """The directory ``.milestones``."""
        return self.project / ".milestones"

    def file(self, milestone: str) -> Path:
        """Return where a milestone file stands now."""
        active = self.milestones / "active" / f"{milestone}.yaml"
        return active if active.exists() else self.milestones / "completed" / f"{milestone}.yaml"

    def environment(self) -> dict[str, str]:
        """Return the environment of everything that is started here."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "XDG_"))}
        home = str(self.base / "home")
        places = {f"XDG_{name}_HOME": f"{home}/{name.lower()}" for name in ("CACHE", "CONFIG", "DATA", "STATE")}
        path = [str(SEAM), *([str(self.patched)] if self.patched else [])]
        return {
            **kept,
            **places,
            "HOME": home,
            "XDG_RUNTIME_DIR": f"{home}/run",
            "TMPDIR": str(self.base / "tmp"),
            "GIT_CONFIG_GLOBAL": f"{home}/.gitconfig",
            "GIT_CONFIG_NOSYSTEM": "1",
            "CHAOS_CLOCK": str(self.clock),
            "PYTHONPATH": os.pathsep.join(path),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            SECRET: self.secret,
        }

    # --- preparing -----------------------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Make the folder and, in it, a project in which a user is in the middle of something."""
        for name in ("home/cache", "home/config", "home/data", "home/state", "home/run", "tmp"):
            (self.base / name).mkdir(parents=True, mode=0o700)
        config = "[user]\n\tname = Somebody\n\temail = somebody@example.org\n[core]\n\teditor = false\n"
        (self.base / "home" / ".gitconfig").write_text(config, encoding="utf-8")
        self.clock.write_text("0", encoding="ascii")
        self.marks.touch()
        with _environment(self.environment()):
            if not self.project.exists():
                make_repository(
                    self.project, {"README.md": "A project.\n", "shared.txt": "begin\n", "src/a.txt": "a\n"}
                )
            self._occupy()

    def _occupy(self) -> None:
        """Leave the checkout as people do: a stash, another branch, something staged, something not, hooks."""
        git(self.project, "branch", "other")
        (self.project / "src" / "a.txt").write_text("stashed\n", encoding="utf-8")
        git(self.project, "stash", "push", "--quiet", "--message=later")
        (self.project / "src" / "a.txt").write_text("staged\n", encoding="utf-8")
        git(self.project, "add", "src/a.txt")
        (self.project / "README.md").write_text("A project, edited.\n", encoding="utf-8")
        (self.project / "draft.txt").write_text("untracked\n", encoding="utf-8")
        for name in ("pre-commit", "post-commit", "reference-transaction", "post-checkout", "update"):
            hook = self.project / ".git" / "hooks" / name
            hook.parent.mkdir(exist_ok=True)
            hook.write_text(_HOOK.format(stray=self.stray), encoding="utf-8")
            hook.chmod(0o755)

    # --- who supervises ------------------------------------------------------------------------------------------

    @property
    def supervisor(self) -> int:
        """Pid of the live supervising process, 0 for none."""
        self._note_end()
        return 0 if self._process is None else self._process.pid

    def command(self, *words: str) -> list[str]:
        """Return the command line of ``milestonectl`` for this project."""
        return [sys.executable, "-P", "-m", "supervisor.cli", "-C", str(self.project), *words]

    def start(self, kind: str, *words: str) -> None:
        """Start a supervising process and wait until it answers, or has ended.

        Args:
            kind: ``run`` or ``daemon``.
            words: After ``milestonectl run``.
        """
        if self.supervisor:
            raise AssertionError(f"there is a supervising process already: {self.lives[-1]}")
        daemon = [sys.executable, "-P", "-m", "supervisor.daemon", str(self.project)]
        command = daemon if kind == "daemon" else self.command("run", *words)
        self._output = self.base / f"output-{len(self.lives)}.txt"
        began = now()
        with self._output.open("wb") as sink:
            self._process = subprocess.Popen(
                command,
                cwd=self.project,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                start_new_session=True,
            )
        self.lives.append(Life(self._process.pid, kind, began))
        wait_until(lambda: self._answers() or not self.supervisor, READY_SECONDS, f"{kind} answers: {self.text()}")

    def _answers(self) -> bool:
        with contextlib.suppress(NoDaemonError, LostError, AnswerTimeoutError, OSError):
            with self.client(2.0) as client:
                pid = client.ask("status")["pid"]
            if self._process is not None and pid == self._process.pid and not self.lives[-1].ready:
                self.lives[-1] = replace(self.lives[-1], ready=now())
            return True
        return False

    def client(self, timeout: float = 60.0) -> Client:
        """Connect to who supervises.

        Raises:
            NoDaemonError: Nobody does.
        """
        return Client(self.milestones / "run" / "control.sock", timeout)

    def text(self) -> str:
        """Return the end of what the latest supervising process has printed."""
        return "" if self._output is None else self._output.read_text(encoding="utf-8", errors="replace")[-20_000:]

    def note(self, **changes: object) -> None:
        """Note something about the present life."""
        self.lives[-1] = replace(self.lives[-1], **changes)

    def _note_end(self) -> None:
        if self._process is not None and (code := self._process.poll()) is not None:
            self._process = None
            life = self.lives[-1]
            self.note(ended=life.ended or now(), code=code, text=self.text())

    def wait_for_end(self, timeout: float) -> bool:
        """Wait until the supervising process has ended; whether it has."""
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout)
        return not self.supervisor

    def stop(self) -> None:
        """Stop the supervising process in order, and note how long that takes."""
        if not self.supervisor or self._process is None:
            return
        self.note(how="asked", asked=now())
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(READY_SECONDS)
        self._note_end()

    def end(self) -> None:
        """Kill whatever belongs to the project; for who leaves in the middle of something."""
        if self._process is not None:
            self.note(how=KILLED_BY_US)
            self._process.kill()
            self._process.wait(READY_SECONDS)
        self._note_end()

        def left() -> list[psutil.Process]:
            return [psutil.Process(one.pid) for one in look(self.base, 0.0, ()).processes]

        def gone() -> bool:
            with contextlib.suppress(psutil.NoSuchProcess):
                for process in (found := left()):
                    process.kill()
                return not found
            return False

        wait_until(gone, READY_SECONDS, "nothing of the project lives")

    # --- what is seen --------------------------------------------------------------------------------------------

    def records(self, after: int = 0) -> list[Record]:
        """Read the journal; what cannot be read just now is not there."""
        database = self.milestones / "state.db"
        with contextlib.suppress(JournalError, OSError), JournalReader.open(database) as journal:
            return list(journal.records(after=after))
        return []

    def last_seq(self) -> int:
        """Return the seq of the last event; 0 when that cannot be told just now."""
        with contextlib.suppress(JournalError, OSError), JournalReader.open(self.milestones / "state.db") as journal:
            return journal.last_seq
        return 0

    def ask(self, verb: str, **args: object) -> tuple[bool | None, Any]:
        """Ask whoever supervises.

        Returns:
            Whether it was answered that it happened, ``None`` without an answer; and the result or the reason.
        """
        try:
            with self.client() as client:
                return True, client.ask(verb, **args)
        except CallFailedError as error:
            return False, str(error)
        except NoDaemonError as error:
            return False, str(error)
        except (LostError, AnswerTimeoutError, OSError) as error:
            return None, f"{type(error).__name__}: {error}"

    def live_sessions(self) -> list[dict[str, Any]]:
        """Return the reports of the sessions that live now; empty when nobody answers."""
        ok, result = self.ask("status")
        return list(result["sessions"]) if ok else []

    def look(self) -> Look:
        """Look at the process table, and keep what is seen."""
        supervisor = self.supervisor
        seen = look(self.base, self.last_kill, (supervisor,) if supervisor else ())
        self.looks.append(seen)
        return seen

    def measure(self) -> None:
        """Measure the supervising process; called while no session lives."""
        pid = self.supervisor
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            rss, descriptors, threads = process.memory_info().rss, process.num_fds(), process.num_threads()
            self.uses.append(Use(now(), pid, rss, descriptors, threads))

    def remove(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.base, ignore_errors=True)


@contextlib.contextmanager
def _environment(wanted: dict[str, str]) -> Iterator[None]:
    """Run something with another environment; used before anything else is started."""
    former = dict(os.environ)
    os.environ.clear()
    os.environ.update({**wanted, "PYTHONPATH": former.get("PYTHONPATH", "")})
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(former)
