"""A thread's loop: calls, alarms and descriptors each have their turn, whoever asks how often."""

import math
import signal
import threading
from time import monotonic

import pytest

from supervisor.loop import Loop


def test_a_call_that_asks_for_another_leaves_the_others_their_turn() -> None:
    loop = Loop()
    ran: list[int] = []

    def again() -> None:
        ran.append(len(ran))
        loop.call(again)

    loop.call(again)
    for turn in range(1, 4):
        assert loop.wait(math.inf) == []
        loop.run_calls()
        assert len(ran) == turn
    loop.close()


def test_calls_behind_one_that_fails_have_their_turn_without_a_wait() -> None:
    loop = Loop()
    ran: list[int] = []

    def fail() -> None:
        raise LookupError("a defect")

    loop.call(fail)
    loop.call(lambda: ran.append(1))
    loop.wait(math.inf)
    with pytest.raises(LookupError):
        loop.run_calls()
    due = monotonic() + 30.0
    loop.wait(due)
    assert monotonic() < due
    loop.run_calls()
    assert ran == [1]
    loop.close()


def test_a_signal_that_meets_another_thread_ends_the_wait_of_the_main_one() -> None:
    """The system gives the second of two signals at once to whichever thread it likes; handlers run in the main one."""
    loop = Loop()
    heard: list[int] = []
    waits = threading.Event()

    def take_it() -> None:
        waits.wait(60.0)
        signal.pthread_kill(threading.get_ident(), signal.SIGUSR2)

    former = signal.signal(signal.SIGUSR2, lambda number, _: heard.append(number))
    loop.heed_signals()
    other = threading.Thread(target=take_it)
    other.start()
    due = monotonic() + 30.0
    try:
        loop.call(waits.set)
        while not heard and monotonic() < due:
            assert loop.wait(due) == []
            loop.run_calls()
        assert heard == [signal.SIGUSR2]
        assert monotonic() < due
    finally:
        loop.close()
        other.join()
        signal.signal(signal.SIGUSR2, former)


def test_a_signal_handler_may_call_while_its_thread_is_calling() -> None:
    """It interrupts at any instruction, so also where the lock is held."""
    loop = Loop()
    with loop._lock:
        assert loop.call(lambda: None)
    loop.close()


def test_what_is_called_together_runs_in_one_turn_though_the_loop_woke_up_for_its_beginning() -> None:
    loop = Loop()
    ran: list[str] = []
    turn = threading.Thread(target=loop.run_calls)
    with loop.together():
        loop.call(lambda: ran.append("first"))
        assert loop.wait(math.inf) == []
        turn.start()
        loop.call(lambda: ran.append("second"))
    turn.join()
    loop.close()
    assert ran == ["first", "second"]
