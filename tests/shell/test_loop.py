"""A thread's loop: calls, alarms and descriptors each have their turn, whoever asks how often."""

import math

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
