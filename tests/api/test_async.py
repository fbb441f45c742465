"""The same library from an event loop: nothing blocks it, and whoever cancels leaves nothing behind."""

import asyncio
import contextlib
import gc
import threading
from collections.abc import Coroutine
from typing import Any

import pytest

from supervisor import (
    AnswerError,
    AskTimeoutError,
    AsyncSupervisor,
    ChildGoneError,
    ChildRunning,
    ChildSpec,
    EndCause,
    NotRunningError,
    RefusedError,
    StartError,
    SupervisionError,
    SupervisorFlags,
    SupervisorStarted,
    SupervisorStopped,
)
from supervisor.event_log import PublicEvent
from supervisor.linux import is_alive
from tests.api.stage import CAST, MANY, TIMEOUT, echo
from tests.api.test_children import nested


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine; nothing may be left for asyncio to complain of."""
    complaints: list[dict[str, Any]] = []

    async def listening() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
        await main
        gc.collect()

    asyncio.run(listening())
    gc.collect()
    assert complaints == []


async def next_running(supervisor: AsyncSupervisor, incarnation: int) -> ChildRunning:
    async for event in supervisor.events():
        if isinstance(event, ChildRunning) and event.incarnation == incarnation:
            return event
    raise AssertionError("it has ended")


def test_every_verb_can_be_awaited() -> None:
    async def main() -> None:
        async with AsyncSupervisor([echo(), nested("inner", echo())], MANY) as supervisor:
            assert await supervisor.ask("echo", {"x": 1}, timeout=TIMEOUT) == {"x": 1}
            supervisor.tell("echo", {"do": "raise", "text": "x"})
            assert (await asyncio.wait_for(next_running(supervisor, 2), TIMEOUT)).child == "echo"
            assert (await supervisor.start_child(echo("more"), under="inner")).child == "more"
            assert [row.id for row in await supervisor.which_children(under="inner")] == ["more", "echo"]
            await supervisor.terminate_child("inner/more")
            assert (await supervisor.restart_child("inner/more")).incarnation == 2
            await supervisor.terminate_child("inner/more")
            await supervisor.delete_child("inner/more")
            assert (await supervisor.count_children(under="inner")).specs == 1
            assert await supervisor.get_childspec("echo") == echo()
            await supervisor.change_specs([echo(shutdown=1.0)], MANY)
            with pytest.raises(RefusedError, match="no such child"):
                await supervisor.get_childspec("none")
            with pytest.raises(RefusedError, match="only possible under simple_one_for_one"):
                await supervisor.start_instance({})
        with pytest.raises(NotRunningError):
            await supervisor.which_children()
        assert (await supervisor.wait()).cause is EndCause.ASKED

    run(main())


def test_questions_fail_as_they_do_in_threads() -> None:
    async def main() -> None:
        async with AsyncSupervisor([echo(shutdown=0)], MANY) as supervisor:
            with pytest.raises(AnswerError, match="ValueError: no"):
                await supervisor.ask("echo", {"do": "raise", "text": "no"}, timeout=TIMEOUT)
            with pytest.raises(ChildGoneError, match="exit code 3"):
                await supervisor.ask("echo", {"do": "exit", "code": 3}, timeout=TIMEOUT)
            await next_running(supervisor, 2)
            supervisor.tell("echo", {"do": "hang"})
            with pytest.raises(AskTimeoutError, match=r"within 0\.05 s"):
                await supervisor.ask("echo", {}, timeout=0.05)

    run(main())


def test_the_loop_goes_on_while_a_supervisor_starts_and_stops() -> None:
    async def main() -> None:
        rounds = 0

        async def tick() -> None:
            nonlocal rounds
            while True:
                rounds += 1
                await asyncio.sleep(0)

        ticking = asyncio.create_task(tick())
        async with AsyncSupervisor([echo(), ChildSpec("stubborn", f"{CAST}:Stubborn", shutdown=0.1)]):
            at_start, rounds = rounds, 0
        at_stop = rounds
        ticking.cancel()
        assert at_start > 20
        assert at_stop > 20

    run(main())


def test_events_end_with_the_supervisor_and_an_iterator_can_be_left() -> None:
    async def main() -> None:
        seen: list[PublicEvent] = []

        async def read(supervisor: AsyncSupervisor) -> None:
            seen.extend([event async for event in supervisor.events()])

        async with AsyncSupervisor([echo()]) as supervisor:
            reading = asyncio.create_task(read(supervisor))
            async with contextlib.aclosing(supervisor.events()) as events:
                async for _ in events:
                    break
        await asyncio.wait_for(reading, TIMEOUT)
        assert isinstance(seen[-1], SupervisorStopped)

    run(main())


def test_a_start_that_fails_or_is_cancelled_leaves_nothing() -> None:
    async def main() -> None:
        with pytest.raises(StartError, match="no such table"):
            async with AsyncSupervisor([echo(), ChildSpec("failing", f"{CAST}:Failing")]):
                raise AssertionError("it has not started")
        slow = AsyncSupervisor([echo(), ChildSpec("slow", f"{CAST}:never_ready")])
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await slow.start()
        assert slow.fork_server_pid == 0

    run(main())


@pytest.mark.row("F29")
def test_a_cancelled_body_ends_its_children_and_a_second_cancellation_kills_them() -> None:
    async def main() -> None:
        pids: list[int] = []
        inside = asyncio.Event()

        async def body() -> None:
            async with AsyncSupervisor([ChildSpec("stubborn", f"{CAST}:Stubborn", shutdown=600.0)]) as supervisor:
                pids.append((await supervisor.ask("stubborn", {"do": "who"}, timeout=TIMEOUT))["pid"])
                inside.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(body())
        await inside.wait()
        task.cancel()
        done, _ = await asyncio.wait({task}, timeout=0.2)
        assert not done
        assert is_alive(pids[0])  # it is being stopped, in order
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, TIMEOUT)
        assert not is_alive(pids[0])

    run(main())


def test_who_cancels_a_request_cancels_only_the_wait() -> None:
    async def main() -> None:
        async with AsyncSupervisor(flags=SupervisorFlags(intensity=5)) as supervisor:
            starting = asyncio.create_task(supervisor.start_child(echo()))
            await asyncio.sleep(0)
            starting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await starting
            await asyncio.wait_for(next_running(supervisor, 1), TIMEOUT)
            asking = asyncio.create_task(supervisor.ask("echo", {"do": "hang"}))
            await asyncio.sleep(0)
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
            await supervisor.stop(timeout=0.1)

    run(main())


def test_a_callback_cannot_wait_for_the_end_of_its_supervisor() -> None:
    refused = threading.Semaphore(0)

    def use(event: object) -> None:
        if isinstance(event, SupervisorStarted):
            for call in (supervisor.stop, supervisor.wait):
                with pytest.raises(SupervisionError, match="cannot wait for the end"):
                    asyncio.run(call())
                refused.release()

    supervisor = AsyncSupervisor([echo()], on_event=use)

    async def main() -> None:
        async with supervisor:
            for _ in range(2):
                assert await asyncio.to_thread(refused.acquire, timeout=TIMEOUT)

    run(main())
