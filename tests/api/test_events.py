"""Events: every reader sees all that is kept, in order, is told of what it has missed, and holds nobody up."""

import threading
from collections.abc import Callable

import pytest

from supervisor import (
    ChildRunning,
    ChildStarting,
    EndCause,
    EventsLost,
    SupervisionError,
    Supervisor,
    SupervisorStarted,
    SupervisorStopped,
)
from supervisor.event_log import EventLog, PublicEvent
from tests.api.stage import MANY, TIMEOUT, echo, expect, running
from tests.waiting import wait_until


def started(number: int) -> SupervisorStarted:
    return SupervisorStarted(float(number))


@pytest.mark.row("F21")
def test_a_reader_that_was_too_slow_is_told_how_many_events_it_has_missed() -> None:
    log = EventLog(3)
    for number in range(5):
        log.put(started(number))
    log.close()
    assert list(log.follow(None)) == [EventsLost(2), started(2), started(3), started(4)]


def test_a_reader_that_falls_behind_in_the_middle_is_told_so_there() -> None:
    log = EventLog(2)
    log.put(started(0))
    events = log.follow(None)
    assert next(events) == started(0)
    for number in range(1, 5):
        log.put(started(number))
    log.close()
    assert list(events) == [EventsLost(2), started(3), started(4)]


def test_a_reader_waits_for_what_comes_and_ends_after_its_time_or_with_the_log() -> None:
    log = EventLog()
    assert list(log.follow(0.01)) == []
    found: list[PublicEvent] = []
    reader = threading.Thread(target=lambda: found.extend(log.follow(None)))
    reader.start()
    log.put(started(1))
    log.close()
    reader.join(TIMEOUT)
    assert found == [started(1)]


def test_every_iterator_sees_the_whole_story_and_ends_with_the_supervisor() -> None:
    with Supervisor([echo()]) as supervisor:
        first = supervisor.events()
        assert isinstance(next(first), ChildStarting)
    story = [type(event) for event in supervisor.events()]
    assert story[:3] == [ChildStarting, ChildRunning, SupervisorStarted]
    assert story[-1] is SupervisorStopped
    assert [type(event) for event in first] == story[1:]


def test_a_callback_gets_every_event_in_order_and_may_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    got: list[object] = []
    failures: list[object] = []
    hook: Callable[[threading.ExceptHookArgs], None] = lambda args: failures.append(args.exc_value)  # noqa: E731
    monkeypatch.setattr(threading, "excepthook", hook)

    def note(event: object) -> None:
        got.append(event)
        if isinstance(event, ChildStarting) and event.incarnation == 1:
            raise ValueError("a bug of the host")

    with Supervisor([echo()], MANY, on_event=note) as supervisor:
        supervisor.tell("echo", {"do": "raise", "text": "x"})
        running(supervisor, "echo", 2)
        expect(supervisor, SupervisorStarted)
    assert got == list(supervisor.events())
    assert [str(one) for one in failures] == ["a bug of the host"]


@pytest.mark.parametrize(
    "raised", [SystemExit(3), KeyboardInterrupt(), GeneratorExit()], ids=lambda one: type(one).__name__
)
def test_a_callback_that_would_end_its_thread_is_called_with_what_comes_next(
    raised: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    got: list[object] = []
    failures: list[object] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: failures.append(args.exc_value))

    def note(event: object) -> None:
        got.append(event)
        raise raised

    with Supervisor(on_event=note) as supervisor:
        pass
    assert supervisor.wait(TIMEOUT).cause is EndCause.ASKED
    assert got == list(supervisor.events())
    assert failures == [raised] * len(got)


def test_a_hook_of_the_host_that_raises_itself_holds_nobody_up(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def hook(_: threading.ExceptHookArgs) -> None:
        raise LookupError("a bug of the hook")

    def note(_: object) -> None:
        raise ValueError("a bug of the callback")

    monkeypatch.setattr(threading, "excepthook", hook)
    with Supervisor(on_event=note) as supervisor:
        pass
    assert supervisor.wait(TIMEOUT).cause is EndCause.ASKED
    shown = capsys.readouterr().err
    assert shown.count("LookupError: a bug of the hook") == len(list(supervisor.events()))
    assert "ValueError: a bug of the callback" in shown


def test_a_callback_may_use_its_supervisor_but_not_wait_for_its_end() -> None:
    answers: list[object] = []

    def use(event: object) -> None:
        if isinstance(event, SupervisorStarted):
            answers.append(supervisor.ask("echo", "x", TIMEOUT))
            answers.append(supervisor.start_child(echo("more")).child)
            for call in (supervisor.stop, supervisor.wait):
                with pytest.raises(SupervisionError, match="cannot wait for the end"):
                    call()
            answers.append("told")

    supervisor = Supervisor([echo()], on_event=use)
    with supervisor:
        wait_until(lambda: len(answers) == 3, TIMEOUT, "everything was tried")
    assert answers == ["x", "more", "told"]
