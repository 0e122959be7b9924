"""The map of the library."""

import gzip
import hashlib
import json
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Query, Request, Response

from retrieval.server import map_shapes as shapes
from retrieval.server.given import Where
from retrieval.server.headers import unchanged
from retrieval.server.settings import Indexing, Served

SECONDS = 60.0
SMALL = 1024
"""Bytes that are sent as they are."""
PACKED = 3
"""How hard gzip tries: more costs time, and gives little with numbers."""
router = APIRouter(tags=["arranging"])


@router.get(
    "/map",
    response_model=shapes.LibraryMap,
    responses={304: {"description": "It is the one that `If-None-Match` names."}},
)
async def library_map(
    served: Served,
    jobs: Indexing,
    request: Request,
    where: Where,
    places: Annotated[bool, Query(description="Without them only what passes the filters is told.")] = True,
) -> Any:
    """Every picture and its place on a plane, alike ones together. Filters leave none out, they mark.

    A map by neighbours is made by a job of the kind `map`; until then, and where nothing may be
    written, places come from the main directions of the vectors.
    """
    job = jobs.running("map")
    readonly = served.readonly or served.catalog.readonly
    # What a browser says it can read; a weight of nothing is a no.
    packs = any(
        one.strip().split(";")[0] == "gzip" and not one.replace(" ", "").endswith(("q=0", "q=0.0"))
        for one in request.headers.get("accept-encoding", "").split(",")
    )

    def told() -> tuple[bytes, str, bool]:
        found = served.catalog.atlas.map(where=where)
        rows = np.rint(found.places * shapes.SIDE).clip(0, shapes.SIDE).astype(int)
        passing = None if found.passing is None else found.image_ids[found.passing].tolist()
        body = json.dumps(
            {
                "method": found.method,
                "encoder": found.encoder,
                "total": len(found),
                "side": shapes.SIDE,
                "ids": found.image_ids.tolist() if places else [],
                "x": rows[:, 0].tolist() if places else [],
                "y": rows[:, 1].tolist() if places else [],
                "areas": [
                    {
                        "name": one.name,
                        "level": one.level,
                        "x": _at(one.x),
                        "y": _at(one.y),
                        "count": one.count,
                    }
                    for one in (found.areas if places else ())
                ],
                "passing": passing,
                "late": found.late,
                "outdated": found.outdated,
                "can_make": not readonly,
                "job": None if job is None else job.number,
            },
            separators=(",", ":"),
        ).encode("ascii")
        etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
        if packs and len(body) > SMALL:
            return gzip.compress(body, PACKED, mtime=0), etag, True
        return body, etag, False

    body, etag, packed = await served.work.run(told, seconds=SECONDS)
    headers = {"ETag": f"W/{etag}", "Cache-Control": "private, no-cache", "Vary": "Accept-Encoding"}
    if unchanged(request.headers.get("if-none-match"), etag):
        return Response(status_code=304, headers=headers)
    if packed:
        headers["Content-Encoding"] = "gzip"
    return Response(body, media_type="application/json", headers=headers)


def _at(share: float) -> int:
    return min(shapes.SIDE, max(0, round(share * shapes.SIDE)))
