"""A web service that starts milestones and streams their events, with FastAPI.

From the checkout, in an environment of your own:

    $ python -m pip install --quiet '.[examples]'
    $ git init --quiet scratch && git -C scratch commit --quiet --allow-empty --message Begin
    $ milestonectl -C scratch init --example
    $ python examples/embed_fastapi.py scratch --port 8000

and beside it, where `Last-Event-ID` is the `id` of the last event that was seen, as a browser's `EventSource` sends it:

    $ curl --silent --request POST http://127.0.0.1:8000/runs/milestone-001
    $ curl --silent --no-buffer http://127.0.0.1:8000/runs/milestone-001/events
    $ curl --silent --no-buffer --header 'Last-Event-ID: 20' http://127.0.0.1:8000/runs/milestone-001/events
    $ curl --silent http://127.0.0.1:8000/runs/milestone-001
    $ curl --silent --request DELETE http://127.0.0.1:8000/runs/milestone-001

Whoever reaches the port can start what the milestones say, as you: leave it on loopback, or put a login before it.
"""

import argparse
import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import attrs
import msgspec
import uvicorn
from fastapi import Depends, FastAPI, Header, HTTPException
from fastapi.responses import StreamingResponse
from starlette.middleware.trustedhost import TrustedHostMiddleware

from supervisor import AsyncMilestoneRun, MilestoneOutcome, NotRunningError, RunRefusedError


def service(project: str) -> FastAPI:
    """Return the service of a project.

    Args:
        project: Directory that holds `.milestones`.
    """
    runs: dict[str, AsyncMilestoneRun] = {}

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        """End what runs with the service; its sessions are taken up by the next POST."""
        yield
        await asyncio.gather(*(run.stop() for run in runs.values()))

    def found(milestone: str) -> AsyncMilestoneRun:
        if milestone not in runs:
            raise HTTPException(404, f"{milestone} was not started here: POST /runs/{milestone}")
        return runs[milestone]

    app = FastAPI(title=f"Milestones of {project}", lifespan=lifespan)
    # A page of another site whose name was made to mean 127.0.0.1 is sent away.
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"])

    @app.post("/runs/{milestone}", status_code=202)
    async def begin(milestone: str) -> dict[str, str]:
        """Start a milestone, or go on with its unfinished session."""
        run = AsyncMilestoneRun(project, milestone)
        try:
            await run.start()
        except RunRefusedError as error:
            raise HTTPException(409, list(error.lines)) from error
        runs[milestone] = run
        return {"events": f"/runs/{milestone}/events"}

    @app.get("/runs/{milestone}/events")
    async def events(
        run: Annotated[AsyncMilestoneRun, Depends(found)], last_event_id: Annotated[int, Header(ge=0)] = 0
    ) -> StreamingResponse:
        """Stream the events of its session, those that have been first; the last one is called `end`."""
        return StreamingResponse(stream(run, last_event_id), media_type="text/event-stream")

    @app.get("/runs/{milestone}")
    async def status(run: Annotated[AsyncMilestoneRun, Depends(found)]) -> dict[str, Any]:
        """Say how far it is."""
        try:
            return attrs.asdict(run.status())
        except NotRunningError as error:  # completed before, so that there was nothing to begin
            raise HTTPException(404, str(error)) from error

    @app.delete("/runs/{milestone}")
    async def stop(run: Annotated[AsyncMilestoneRun, Depends(found)]) -> dict[str, Any]:
        """End it in order; what runs too long is killed."""
        outcome = await run.stop(timeout=30)
        return shown(outcome) if outcome is not None else {}

    return app


async def stream(run: AsyncMilestoneRun, after: int) -> AsyncIterator[bytes]:
    """Yield events as server-sent ones; it is cancelled when its reader goes away."""
    async for happened in run.events(after=after):
        name = type(happened.event).__name__
        yield f"id: {happened.seq}\nevent: {name}\ndata: ".encode() + msgspec.json.encode(happened.event) + b"\n\n"
        await asyncio.sleep(0)  # events come by the page: the loop has to see between them that a reader has gone
    yield b"event: end\ndata: " + msgspec.json.encode(shown(await run.wait())) + b"\n\n"


def shown(outcome: MilestoneOutcome) -> dict[str, Any]:
    """Return an outcome as plain values."""
    return {"session": outcome.session, "status": outcome.status, "reason": outcome.reason}


def main() -> None:
    """Serve on loopback until SIGTERM or Ctrl-C."""
    arguments = argparse.ArgumentParser(description="Start milestones and stream their events.")
    arguments.add_argument("project", help="directory that holds .milestones")
    arguments.add_argument("--port", type=int, default=8000, help="0: a free one")
    given = arguments.parse_args()
    # Streams that are open when it is to end are cut after these seconds; their readers come again.
    uvicorn.run(service(given.project), host="127.0.0.1", port=given.port, timeout_graceful_shutdown=3)


if __name__ == "__main__":
    main()
