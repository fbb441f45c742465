"""Two actors of your own under a supervisor, in a plain script.

From the checkout, in an environment of your own:

    $ python -m pip install --quiet .
    $ python examples/embed_script.py

Each actor runs in a process of its own. One of them crashes; the supervisor starts it again, and the new incarnation is
told why the last one ended. Nothing of this program is touched: no signal handlers, no logging, no global state.
"""

import time

import pykka

from supervisor import ChildExited, ChildRunning, ChildSpec, Supervisor, SupervisorFlags, describe


class Counter(pykka.ThreadingActor):
    """Counts, and cannot take a text. `last_exit` is given to it because it declares it."""

    def __init__(self, last_exit: str = "") -> None:
        super().__init__()
        self.total = 0
        self.last_exit = last_exit

    def on_receive(self, message: dict[str, object]) -> object:
        """Handle one message; what is returned answers an `ask`."""
        match message:
            case {"add": int(number)}:
                self.total += number
            case {"say": "total"}:
                return self.total
            case {"say": "last_exit"}:
                return self.last_exit
            case _:
                raise ValueError(f"what is {message}?")
        return None


class Clock(pykka.ThreadingActor):
    """Tells the time since it was started."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.started = time.monotonic()

    def on_receive(self, message: object) -> str:
        """Answer whatever is asked."""
        return f"{self.name}: {time.monotonic() - self.started:.0f} s; you said {message!r}"


def main() -> None:
    """Start both, use them, see one of them crash and come back."""
    children = [ChildSpec("counter", Counter), ChildSpec("clock", Clock, args={"name": "clock"})]
    with Supervisor(children, SupervisorFlags(intensity=3, period=5)) as supervisor:
        supervisor.tell("counter", {"add": 2})
        supervisor.tell("counter", {"add": 3})
        print("total:", supervisor.ask("counter", {"say": "total"}, timeout=10))
        print(supervisor.ask("clock", "hello"))

        supervisor.tell("counter", {"add": "a text"})
        for event in supervisor.events():
            match event:
                case ChildExited(child=child, reason=reason):
                    print(f"{child} ended: {describe(reason).partition(' (/')[0]}")
                case ChildRunning(child=child, incarnation=2, took=took):
                    print(f"{child} runs again" + (", within a second" if took < 1 else ""))
                    break
                case _:
                    pass
        print("total:", supervisor.ask("counter", {"say": "total"}))
        print("it knows:", "ValueError" in str(supervisor.ask("counter", {"say": "last_exit"})))
    print("nothing is left")


if __name__ == "__main__":
    main()
