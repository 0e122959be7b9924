"""Runs of indexing: begin one, follow it, stop it.

Which folders of a machine belong to the library is decided at that machine. Whoever may change
the library from elsewhere, with the token, can have its folders looked through again, and
those below them; for another one the request has to come from the machine itself, and not
through a proxy. Otherwise a token that was given to a friend would open every picture there is.
"""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from fastapi.sse import EventSourceResponse
from pydantic import Field

from retrieval.errors import QueryError
from retrieval.server import folders
from retrieval.server import kept_shapes as shapes
from retrieval.server.events import HEADERS, watched
from retrieval.server.given import Body, Sound
from retrieval.server.jobs import Job, Kind
from retrieval.server.settings import Changed, Indexing, Served

SECONDS = 30.0
MOST = 64
JobId = Annotated[int, Path(ge=1, le=2**63 - 1, description="The run's number.", examples=[1])]
Folder = Annotated[str, Field(min_length=1, max_length=4096), Sound]
STREAM: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Events `progress` as it goes on, and `end`; the data of each is a Job.",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    }
}
router = APIRouter(tags=["indexing"])


class NewJob(Body):
    """What to index, or that the map is to be made."""

    kind: Annotated[
        Kind, Field(description="`map` lays out the map of the library, and takes no folders.")
    ] = "index"
    paths: Annotated[
        tuple[Folder, ...],
        Field(
            max_length=MOST,
            description="Folders by their whole paths; none: those that were indexed before.",
            examples=[["/home/ann/Pictures"]],
        ),
    ] = ()
    retry: Annotated[bool, Field(description="Try files again that failed before.")] = False
    accept_missing: Annotated[
        bool,
        Field(description="Take missing pictures as gone for good, also where they are more than half."),
    ] = False


@router.post("/jobs", response_model=shapes.Job, status_code=202)
async def start_job(
    served: Changed, jobs: Indexing, request: Request, response: Response, new: NewJob | None = None
) -> dict[str, Any]:
    """Begin to index folders, or make the map, in a process of its own. One run of a kind goes on at a time.

    From another machine these are the library's own folders, or some below them.
    """
    asked = new or NewJob()
    if asked.kind == "map" and (asked.paths or asked.retry):
        raise QueryError("The map is made of the whole library. Leave the folders out.")
    near = folders.is_near(request.scope, served.hosts)

    def begun() -> Job:
        if not near:
            folders.check_known(served.catalog, asked.paths)
        return jobs.start(
            asked.paths, retry=asked.retry, accept_missing=asked.accept_missing, kind=asked.kind
        )

    job = await served.quick.run(begun, seconds=SECONDS)
    response.headers["Location"] = f"/api/v1/jobs/{job.number}"
    return job.row()


@router.get("/folders", response_model=shapes.Folders, response_model_exclude_unset=True)
async def all_folders(served: Served, request: Request) -> Any:
    """Where the pictures are. For those at the machine of the server, also where more may be."""
    readonly = served.readonly or served.catalog.readonly
    near = folders.is_near(request.scope, served.hosts) and not readonly

    def listed() -> dict[str, Any]:
        known = folders.indexed(served.catalog)
        return {"folders": known, "likely": folders.likely(served.catalog) if near else [], "open": near}

    return await served.quick.run(listed, seconds=SECONDS)


@router.get("/jobs", response_model=shapes.JobList)
async def all_jobs(jobs: Indexing) -> dict[str, Any]:
    """The runs since the server was started, the newest first."""
    return {"jobs": [job.row() for job in jobs.list()]}


@router.get("/jobs/{job_id}", response_model=shapes.Job)
async def one_job(jobs: Indexing, job_id: JobId) -> dict[str, Any]:
    """How far a run is, and what came of it."""
    return jobs.get(job_id).row()


@router.get("/jobs/{job_id}/events", response_class=Response, responses=STREAM)
async def job_events(served: Served, jobs: Indexing, job_id: JobId) -> Response:
    """The same as server-sent events, until it is over."""
    job = jobs.get(job_id)

    def look() -> tuple[dict[str, Any], bool]:
        over = not job.running
        return job.row(), over

    return EventSourceResponse(watched(served, look, ("progress", "end")), headers=HEADERS)


@router.delete("/jobs/{job_id}", response_model=shapes.Job, status_code=202)
async def cancel_job(served: Changed, jobs: Indexing, job_id: JobId) -> dict[str, Any]:  # noqa: ARG001
    """Stop a run. What it has done stays, and the next one goes on from there."""
    job = jobs.get(job_id)
    job.cancel()
    return job.row()
