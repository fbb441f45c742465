"""Two actors of your own under a supervisor, in an asyncio program.

From the checkout, in an environment of your own:

    $ python -m pip install --quiet .
    $ python examples/embed_asyncio.py

The event loop is never blocked, and whoever cancels this program leaves nothing behind: `async with` ends the children
in reverse start order whatever happens.
"""

import asyncio

import pykka

from supervisor import AsyncSupervisor, ChildExited, ChildGoneError, ChildRunning, ChildSpec, SupervisorFlags


class Squares(pykka.ThreadingActor):
    """Squares numbers, in a process of its own: the event loop does not wait for it."""

    def on_receive(self, message: int) -> int:
        """Return the square."""
        return message**2


class Fragile(pykka.ThreadingActor):
    """Ends its process when it is asked for too much."""

    def on_receive(self, message: str) -> str:
        """Return the message in capitals."""
        if message == "too much":
            raise SystemExit(1)
        return message.upper()


async def watch(supervisor: AsyncSupervisor) -> None:
    """Print what happens to the children until the supervisor ends."""
    async for event in supervisor.events():
        match event:
            case ChildRunning(child=child, incarnation=incarnation):
                print(f"  {child} runs, incarnation {incarnation}")
            case ChildExited(child=child, expected=False):
                print(f"  {child} ended unexpectedly")
            case _:
                pass


async def running(supervisor: AsyncSupervisor, child: str, incarnation: int) -> None:
    """Wait until an incarnation of a child runs."""
    async for event in supervisor.events():
        match event:
            case ChildRunning() if (event.child, event.incarnation) == (child, incarnation):
                return
            case _:
                pass


async def main() -> None:
    """Start both, use them at once, see one of them end and come back."""
    children = [ChildSpec("squares", Squares), ChildSpec("fragile", Fragile)]
    async with AsyncSupervisor(children, SupervisorFlags(intensity=3, period=5)) as supervisor:
        watching = asyncio.create_task(watch(supervisor))
        squares = await asyncio.gather(*(supervisor.ask("squares", number) for number in range(5)))
        print("squares:", squares)
        try:
            await supervisor.ask("fragile", "too much")
        except ChildGoneError as error:
            print("no answer:", error)
        await running(supervisor, "fragile", 2)
        print("it works again:", await supervisor.ask("fragile", "good morning"))
    await watching
    print("nothing is left")


if __name__ == "__main__":
    asyncio.run(main())
