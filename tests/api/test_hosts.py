"""The program around a supervisor: it stays as it is, may use pykka itself, may fork, may end without a word."""

import contextlib
import importlib.util
import logging
import os
import re
import signal
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import psutil
import pykka
import pytest

from supervisor import (
    ChildSpec,
    NotRunningError,
    SpecError,
    StartError,
    Supervisor,
    SupervisorFailed,
    SupervisorFlags,
)
from supervisor.linux import is_alive
from supervisor.supervisor_actor import SupervisorActor
from tests.api.cast import Echo
from tests.api.stage import CAST, MANY, TIMEOUT, echo, expect, running, who
from tests.waiting import wait_until

CHECKOUT: Final = Path(__file__).parents[2]


def state_of_the_host() -> dict[str, object]:
    """Look at everything that a library must leave alone."""
    umask = os.umask(0o77)
    os.umask(umask)
    loggers = {name: (logger.level, list(logger.handlers)) for name, logger in named_loggers() if "pykka" not in name}
    return {
        "signals": {number: signal.getsignal(number) for number in signal.valid_signals()},
        "mask": signal.pthread_sigmask(signal.SIG_BLOCK, ()),
        "wakeup": signal.set_wakeup_fd(-1),
        "loggers": loggers,
        "root": (logging.root.level, list(logging.root.handlers)),
        "folder": Path.cwd(),
        "umask": umask,
        "environment": dict(os.environ),
        "hooks": (sys.excepthook, threading.excepthook, sys.unraisablehook),
    }


def named_loggers() -> Iterator[tuple[str, logging.Logger]]:
    for name, logger in logging.Logger.manager.loggerDict.items():
        if isinstance(logger, logging.Logger):
            yield name, logger


@pytest.mark.row("F29")
def test_the_host_is_the_same_before_meanwhile_and_after() -> None:
    before = state_of_the_host()
    threads, children = set(threading.enumerate()), set(psutil.Process().children(recursive=True))
    with Supervisor([echo()], MANY) as supervisor:
        supervisor.tell("echo", {"do": "raise", "text": "x"})
        running(supervisor, "echo", 2)
        assert state_of_the_host() == before
    assert state_of_the_host() == before
    assert set(threading.enumerate()) == threads
    assert set(psutil.Process().children(recursive=True)) == children


def test_supervisors_and_actors_of_the_host_do_not_touch_each_other() -> None:
    own = Echo.start("of the host")
    with Supervisor([echo("a")], MANY) as one, Supervisor([echo("a")], MANY) as other:
        assert pykka.ActorRegistry.get_all() == [own]
        one.tell("a", {"do": "raise", "text": "x"})
        running(one, "a", 2)
        assert who(other, "a")["incarnation"] == 1
        pykka.ActorRegistry.stop_all()
        assert not own.is_alive()
        one.tell("a", {"do": "raise", "text": "x"})
        running(one, "a", 3)
        other.stop()
        assert who(one, "a")["incarnation"] == 3


class _Nowhere:
    """A port and listener of a supervisor that never gets so far as to use them."""

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever it is
        raise AssertionError(name)


def test_a_supervisor_that_is_refused_a_thread_is_no_actor_of_the_host() -> None:
    nowhere: Any = _Nowhere()
    before = threading.stack_size(1 << 47)  # as large as all addresses together
    try:
        with pytest.raises(RuntimeError, match="can't start new thread"):
            SupervisorActor.start(SupervisorFlags(), (), nowhere, nowhere)
    finally:
        threading.stack_size(before)
    assert pykka.ActorRegistry.get_all() == []


def test_a_supervisor_whose_actor_is_stopped_by_somebody_else_ends_everything_and_says_so() -> None:
    with Supervisor([echo()], MANY) as supervisor:
        pid = who(supervisor)["pid"]
        root = supervisor._tree._branch("")
        root._actor.stop()
        assert "stopped from outside" in expect(supervisor, SupervisorFailed).reason
        with pytest.raises(NotRunningError, match="stopped from outside"):
            supervisor.wait(TIMEOUT)
        with pytest.raises(NotRunningError, match="stopped from outside"):
            supervisor.ask("echo", {})
    assert not is_alive(pid)


@pytest.mark.row("F29")
def test_the_thread_that_started_a_supervisor_may_end() -> None:
    supervisor = Supervisor([echo()], MANY)
    thread = threading.Thread(target=supervisor.start)
    thread.start()
    thread.join()
    assert who(supervisor)["incarnation"] == 1
    supervisor.stop()
    supervisor.stop()


def test_a_supervisor_that_was_never_started_can_be_stopped() -> None:
    supervisor = Supervisor([echo()])
    supervisor.stop()
    with pytest.raises(NotRunningError, match="not started"):
        supervisor.tell("echo", {})
    with pytest.raises(NotRunningError, match="not started"):  # instead of waiting for ever
        supervisor.wait()


# --- programs of a user --------------------------------------------------------------------------------------------

SCRIPT: Final = """
import os, signal, sys, threading
import pykka
from supervisor import ChildSpec, NotRunningError, Supervisor

class Own(pykka.ThreadingActor):
    def on_receive(self, message):
        return [type(self).__module__, os.getpid()]

if __name__ == "__main__":
    supervisor = Supervisor([ChildSpec("own", Own), ChildSpec("program", program=["sleep", "1000"])])
    supervisor.start()
    module, pid = supervisor.ask("own", {}, 60.0)
    print(module, pid, supervisor.fork_server_pid, supervisor.which_children()[0].pid, flush=True)
"""


@contextlib.contextmanager
def script(folder: Path, rest: str, *words: str) -> Iterator[subprocess.Popen[str]]:
    """Run a script in which an actor class stands beside the code that starts it."""
    file = folder / "service.py"
    file.write_text(SCRIPT + "".join(f"    {line}\n" for line in rest.splitlines()), encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    with subprocess.Popen(
        [sys.executable, *(words or (str(file),))],
        cwd=folder,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def first_line(process: subprocess.Popen[str]) -> tuple[str, list[int]]:
    """Read which module the actor is of, and the processes that are supervised."""
    assert process.stdout is not None
    module, *pids = process.stdout.readline().split()
    return module, [int(pid) for pid in pids]


def assert_gone(pids: list[int]) -> None:
    for pid in pids:
        wait_until(lambda pid=pid: not is_alive(pid), 60.0, f"process {pid} is gone")  # type: ignore[misc]


@pytest.mark.row("F29")
def test_a_class_of_the_script_itself_can_be_a_child_and_leaving_without_a_word_leaves_nothing(tmp_path: Path) -> None:
    with script(tmp_path, "") as process:
        module, pids = first_line(process)
        assert process.wait(TIMEOUT) == 0
    assert module == f"__supervised_main__{tmp_path}/service.py"
    assert_gone(pids)


def test_a_class_of_a_module_that_was_run_as_one_is_found_by_its_name(tmp_path: Path) -> None:
    with script(tmp_path, "supervisor.stop()", "-m", "service") as process:
        module, pids = first_line(process)
        assert process.wait(TIMEOUT) == 0
    assert module == "service"
    assert_gone(pids)


@pytest.mark.row("F29")
def test_a_host_that_is_killed_leaves_nothing(tmp_path: Path) -> None:
    with script(tmp_path, "threading.Event().wait()") as process:
        _, pids = first_line(process)
        process.kill()
    assert_gone(pids)


FORKING: Final = r"""
if os.fork() == 0:
    try:
        supervisor.which_children()
    except NotRunningError as error:
        os.write(1, f"child: {error}\n".encode())
    supervisor.stop()
    sys.stdin.read()
    os._exit(0)
os.write(1, f"parent: {supervisor.ask('own', {})[0] != ''}\n".encode())
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.row("F29")
def test_what_a_host_has_forked_cannot_reach_its_supervisor_nor_keep_it_alive(tmp_path: Path) -> None:
    with script(tmp_path, FORKING) as process:
        _, pids = first_line(process)
        assert process.stdout is not None
        lines = sorted([process.stdout.readline(), process.stdout.readline()])
        assert lines[0] == f"child: this supervisor belongs to process {process.pid}, from which this one was forked\n"
        assert lines[1] == "parent: True\n"
        assert process.wait(TIMEOUT) == -signal.SIGKILL
        assert_gone(pids)  # although the forked process, which had a copy of every descriptor, still lives
        assert process.stdin is not None
        process.stdin.close()


# --- what cannot be a child ------------------------------------------------------------------------------------------


def test_what_another_process_could_not_import_is_refused_before_anything_starts() -> None:
    class Inner(pykka.ThreadingActor):
        pass

    with pytest.raises(SpecError, match=r"'.*Inner': stands inside a function"):
        ChildSpec("inner", Inner)
    with pytest.raises(SpecError, match="stands inside a function"):
        ChildSpec("lambda", lambda: None)
    hidden: Any = type("Hidden", (pykka.ThreadingActor,), {"__module__": __name__})
    with pytest.raises(SpecError, match=r"'Hidden': is not what module 'tests\.api\.test_hosts' has by this name"):
        ChildSpec("hidden", hidden)
    with pytest.raises(SpecError, match="must be an import path, a class or a function"):
        ChildSpec("number", 5)  # type: ignore[arg-type]
    assert ChildSpec("echo", Echo).target == f"{CAST}:Echo"


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ("no.such.package:Actor", "there is no module 'no' on sys.path"),
        ("tests.api.cast:Ecoh", "has nothing named 'Ecoh'"),
        ("tests.api.cast", "must be 'package.module:Name'"),
        ("/no/such/script.py:Actor", "there is no script at this absolute path"),
    ],
)
def test_a_path_that_leads_nowhere_is_refused_before_anything_starts(target: str, why: str) -> None:
    with pytest.raises(SpecError, match=why):
        Supervisor([ChildSpec("child", target)])


def test_ids_and_arguments_that_cannot_be_used_are_refused_before_anything_starts() -> None:
    with pytest.raises(SpecError, match="must have no '/'"):
        Supervisor([echo("a/b")])
    with pytest.raises(SpecError, match="sent as JSON"):
        Supervisor([echo(args={"lock": threading.Lock()})])
    with pytest.raises(SpecError, match="at most"):
        Supervisor([echo(args={"text": "x" * 200_000})])


def test_a_class_of_an_interactive_session_is_refused(tmp_path: Path) -> None:
    program = "import pykka; from supervisor import ChildSpec\nclass A(pykka.ThreadingActor): pass\nChildSpec('a', A)"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "was defined in an interactive session; put it into a module" in done.stderr


# --- what another process finds ------------------------------------------------------------------------------------

OWN: Final = """
import os, pykka

class Own(pykka.ThreadingActor):
    def on_receive(self, message):
        return [os.getcwd(), os.environ.get("SAID")]
"""

ASKING: Final = """
from supervisor import ChildSpec, Supervisor
import {module}
with Supervisor([ChildSpec("own", {module}.Own)]) as supervisor:
    print(supervisor.ask("own", {{}}, 60.0)[0])
"""


def run_python(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run an interpreter that finds this library."""
    return subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def test_an_interactive_session_finds_the_modules_of_its_folder(tmp_path: Path) -> None:
    (tmp_path / "own_of_the_folder.py").write_text(OWN, encoding="utf-8")
    done = run_python(tmp_path, "-c", ASKING.format(module="own_of_the_folder"))
    assert (done.stdout, done.stderr) == (f"{tmp_path}\n", "")


def test_a_relative_entry_of_the_path_is_taken_from_the_folder_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "own_of_the_lib.py").write_text(OWN, encoding="utf-8")
    program = "import sys; sys.path.insert(0, 'lib')" + ASKING.format(module="own_of_the_lib")
    done = run_python(tmp_path, "-c", program)
    assert (done.stdout, done.stderr) == (f"{tmp_path}\n", "")


def test_a_new_fork_server_is_given_the_environment_and_the_folder_of_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    (tmp_path / "own_of_a_while.py").write_text(OWN, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("SAID", "at the start")
    monkeypatch.chdir(first)
    with Supervisor([ChildSpec("own", "own_of_a_while:Own")], MANY) as supervisor:
        monkeypatch.setenv("SAID", "later")
        monkeypatch.chdir(second)
        for incarnation in (2, 3):
            assert supervisor.ask("own", {}, TIMEOUT) == [str(first), "at the start"]
            if incarnation == 2:
                os.kill(supervisor.fork_server_pid, signal.SIGKILL)
                running(supervisor, "own", incarnation)


def test_a_class_of_a_command_whose_file_has_no_suffix_can_be_a_child(tmp_path: Path) -> None:
    command = tmp_path / "service"
    rest = "if __name__ == '__main__':\n    with Supervisor([ChildSpec('own', Own)]) as supervisor:\n"
    rest += "        print(supervisor.ask('own', {}, 60.0)[0])\n"
    command.write_text("from supervisor import ChildSpec, Supervisor\n" + OWN + rest, encoding="utf-8")
    done = run_python(tmp_path, str(command))
    assert (done.stdout, done.stderr) == (f"{tmp_path}\n", "")


def test_a_module_that_no_other_process_would_find_is_refused_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "own_of_nowhere.py"
    file.write_text(OWN, encoding="utf-8")
    spec = importlib.util.spec_from_file_location("own_of_nowhere", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "own_of_nowhere", module)
    spec.loader.exec_module(module)
    child = ChildSpec("own", module.Own)
    why = f"another process would not find it on sys.path: sys.path.insert(0, '{tmp_path}') before the start"
    with pytest.raises(SpecError, match=re.escape(why)):
        Supervisor([child])
    Supervisor([child], preload=["tests.api.cast"])  # which may have it be found
    monkeypatch.syspath_prepend(tmp_path)
    with Supervisor([child]) as supervisor:
        assert supervisor.ask("own", {}, TIMEOUT)[0] == str(Path.cwd())


@pytest.mark.parametrize("more", ["", ", preload=[]"])
def test_a_script_that_starts_a_supervisor_while_it_is_loaded_is_told_what_to_do(tmp_path: Path, more: str) -> None:
    script = tmp_path / "unguarded.py"
    start = f"Supervisor([ChildSpec('own', Own)]{more}).start()\n"
    script.write_text(f"from supervisor import ChildSpec, Supervisor\n{OWN}{start}", encoding="utf-8")
    done = run_python(tmp_path, str(script))
    why = "the script starts a supervisor while it is being loaded: put that under `if __name__"
    assert why in done.stderr.splitlines()[-1]
    assert f"({script}:{len(script.read_text().splitlines())})" in done.stderr.splitlines()[-1]


def test_a_module_that_starts_a_supervisor_while_it_is_loaded_does_not_start_one_after_the_other(
    tmp_path: Path,
) -> None:
    start = "Supervisor([ChildSpec('own', Own)]).start()\n"
    text = f"from supervisor import ChildSpec, Supervisor\n{OWN}{start}"
    (tmp_path / "unguarded.py").write_text(text, encoding="utf-8")
    done = run_python(tmp_path, "-m", "unguarded")
    assert "the module starts a supervisor while it is being loaded" in done.stderr.splitlines()[-1]


def test_specs_of_a_script_may_stand_at_its_top(tmp_path: Path) -> None:
    script = tmp_path / "service.py"
    text = "from supervisor import ChildSpec, Supervisor\n" + OWN + "SUPERVISOR = Supervisor([ChildSpec('own', Own)])\n"
    text += "if __name__ == '__main__':\n    with SUPERVISOR: print(SUPERVISOR.ask('own', {}, 60.0)[0])\n"
    script.write_text(text, encoding="utf-8")
    done = run_python(tmp_path, str(script))
    assert (done.stdout, done.stderr) == (f"{tmp_path}\n", "")


def test_a_class_of_an_archive_that_is_run_is_refused(tmp_path: Path) -> None:
    archive = tmp_path / "app.pyz"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("__main__.py", "from supervisor import ChildSpec\n" + OWN + "ChildSpec('own', Own)\n")
    done = run_python(tmp_path, str(archive))
    assert "was defined in the __main__ of an archive; put it into a module" in done.stderr


# --- what the fork server loads ------------------------------------------------------------------------------------

THREADED: Final = """
import threading
import pykka
threading.Thread(target=threading.Event().wait, daemon=True).start()

class Own(pykka.ThreadingActor):
    def on_receive(self, message):
        return message
"""


def test_a_module_that_starts_a_thread_is_named_and_can_be_left_to_the_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "threaded_by_import.py").write_text(THREADED, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    spec = ChildSpec("own", "threaded_by_import:Own")
    with pytest.raises(StartError, match=r"preloading left 1 thread\(s\) running"):
        Supervisor([spec]).start()
    with Supervisor([spec], preload=[]) as supervisor:
        assert supervisor.ask("own", 1, timeout=TIMEOUT) == 1


def test_a_child_without_a_name_is_told_what_comes_first() -> None:
    unnamed: Any = lambda: None  # noqa: E731 - that is what is given by mistake
    with pytest.raises(SpecError, match=r"^child: id = <function .*must be the name of the child, .* comes after it$"):
        ChildSpec(unnamed)
