"""The tools that only read."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from mcp.server.mcpserver import Context
from mcp_types import CallToolResult
from pydantic import Field

from retrieval.config import ASK_LIMIT, ASK_SECONDS, DEFAULT_LIMIT, MAX_QUESTION
from retrieval.errors import QueryError
from retrieval.mcp import shapes
from retrieval.mcp.library import Library, Limits, Picture, limits, named
from retrieval.mcp.results import MAX_SIDE, plain, result
from retrieval.types import Hits

if TYPE_CHECKING:
    from retrieval.protocols import Progress

SECONDS = 120.0
"""How long a call may take; a question brings its own time."""
SLOW_SECONDS = 300.0
"""How long a description may take, which may have to load a model."""
GRACE = 30.0
"""Beyond its own time, for an answer to be written down from what was found by then."""
CLOSEST = 3
MAX_HITS = 50
MAX_PICTURES = 8

Limit = Annotated[int, Field(ge=1, le=MAX_HITS, description="At most so many.")]
Along = Annotated[
    int, Field(ge=0, le=MAX_PICTURES, description="Send small pictures of the best so many along.")
]
Everything = Annotated[bool, Field(description="Also what is no good match.")]


class Reading:
    """Tools that find, show and describe, and change nothing."""

    def __init__(self, library: Library) -> None:
        self._library = library

    async def search_images(
        self,
        query: Annotated[
            str,
            Field(
                min_length=1,
                max_length=MAX_QUESTION,
                description="What the pictures show, in words. Terms can be added and taken away with "
                "' + ' and ' - ': 'beach + sunset - people'. '@name' is something the person taught.",
            ),
        ],
        limit: Limit = DEFAULT_LIMIT,
        where: Limits = None,
        sort: Annotated[
            Literal["relevance", "date"],
            Field(description="Best first, or of the good ones the newest first."),
        ] = "relevance",
        everything: Everything = False,
        pictures: Along = 4,
    ) -> Annotated[CallToolResult, shapes.Search]:
        """Find pictures in the person's library by what they show.

        Each hit has an image_id for the other tools and says how likely it is what was asked
        for. Few or no hits are an honest answer: then the library has nothing that fits well.
        """

        def search() -> CallToolResult:
            only, notes = limits(where)
            hits = self._library.catalog.search(
                query, limit=limit, where=only, sort=sort, cutoff=not everything
            )
            return self._found(hits, notes, pictures)

        return await self._library.calls.run(search, seconds=SECONDS)

    async def similar_images(
        self,
        image: Picture,
        limit: Limit = DEFAULT_LIMIT,
        where: Limits = None,
        pictures: Along = 4,
    ) -> Annotated[CallToolResult, shapes.Search]:
        """Find pictures that look like one of the library: the nearest, however far they are.

        The match says how alike they are.
        """

        def similar() -> CallToolResult:
            only, notes = limits(where)
            image_id, _ = self._library.picture(image)
            return self._found(
                self._library.catalog.similar(image_id, limit=limit, where=only), notes, pictures
            )

        return await self._library.calls.run(similar, seconds=SECONDS)

    async def match_texts(
        self, image: Picture, limit: Limit = DEFAULT_LIMIT, everything: Everything = False
    ) -> Annotated[CallToolResult, shapes.Matches]:
        """Find the texts of the library (captions, notes, words read in pictures) that fit a picture."""

        def match() -> CallToolResult:
            image_id, _ = self._library.picture(image)
            hits = self._library.catalog.match(image_id, limit=limit, cutoff=not everything)
            notes = []
            if not hits:
                notes.append(
                    "No text of the library fits well; with everything=true the closest are given."
                    if hits.closest
                    else "The library holds no texts."
                )
            return result({"image_id": image_id, "texts": [hit.as_dict() for hit in hits], "notes": notes})

        return await self._library.calls.run(match, seconds=SECONDS)

    async def describe_image(
        self,
        image: Picture,
        style: Annotated[
            Literal["caption", "alt"],
            Field(description="A caption, or an alternative text for people who cannot see the picture."),
        ] = "caption",
    ) -> Annotated[CallToolResult, shapes.Described]:
        """Put a picture of the library into words, with tags and how sure each of them is.

        The note says who speaks: not every captioner looks at the picture itself.
        """

        def describe() -> CallToolResult:
            image_id, path = self._library.picture(image)
            said = self._library.catalog.describe(image_id, captioner=self._library.captioner, style=style)
            return result({**named(image_id, path), **said.as_dict()})

        return await self._library.calls.run(describe, seconds=SLOW_SECONDS)

    async def ask_library(
        self,
        context: Context[Any, Any],
        question: Annotated[
            str,
            Field(
                min_length=1,
                max_length=MAX_QUESTION,
                description="A whole question, such as: What did we eat in Lisbon? How many pictures of dogs "
                "are there? When were we last in Bergen?",
            ),
        ],
        limit: Annotated[int, Field(ge=1, le=20, description="How many pictures it looks at.")] = ASK_LIMIT,
        where: Limits = None,
        seconds: Annotated[
            float, Field(ge=5, le=600, description="How long it may take; then it answers from what it has.")
        ] = ASK_SECONDS,
        pictures: Along = 4,
    ) -> Annotated[CallToolResult, shapes.Answered]:
        """Answer a question from the pictures of the library.

        The answer cites pictures as [1], [2]; a confidence of 0 says that the library does not
        show it. Counts, dates and places come from the catalog's rows. Every question stands
        for itself: say in it what it is about.
        """

        told_on = _steps_told(context)

        def ask() -> CallToolResult:
            only, notes = limits(where)
            answer = self._library.catalog.ask(
                question,
                limit=limit,
                answerer=self._library.answerer,
                where=only,
                keep=False,
                seconds=seconds,
                progress=told_on,
            )
            told = answer.as_dict()
            steps = [{name: step[name] for name in ("step", "text", "seconds")} for step in told["steps"]]
            notes += answer.notes
            cited = {one.image_id: one.path for one in answer.citations}
            along = self._library.jpegs(list(cited.items())[:pictures], notes)
            return result({**told, "steps": steps, "notes": notes}, along)

        return await self._library.calls.run(ask, seconds=seconds + GRACE)

    async def image_thumbnail(
        self,
        image: Picture,
        size: Annotated[
            int, Field(ge=32, le=MAX_SIDE, description="Pixels of the longer side, at most.")
        ] = MAX_SIDE,
    ) -> Annotated[CallToolResult, shapes.Shown]:
        """Look at a picture of the library: a small JPEG of it, upright and without metadata."""

        def show() -> CallToolResult:
            image_id, path = self._library.picture(image)
            jpeg, (width, height) = self._library.jpeg(image_id, path, size)
            return result({**named(image_id, path), "width": width, "height": height}, [(image_id, jpeg)])

        return await self._library.calls.run(show, seconds=SECONDS)

    async def library_status(self) -> Annotated[CallToolResult, shapes.State]:
        """Say what the library holds: how many pictures and texts, in which folders."""

        def status() -> CallToolResult:
            found = self._library.catalog.status()
            return result(
                {
                    "images": found.images,
                    "missing": found.missing,
                    "failures": found.failures,
                    "texts": found.texts,
                    "model": found.encoder,
                    "folders": list(found.roots),
                    "writable": not self._library.catalog.readonly,
                }
            )

        return await self._library.calls.run(status, seconds=SECONDS)

    async def resource(self, image_id: str) -> bytes:
        """A picture of the library by its image_id: a small JPEG."""

        def show() -> bytes:
            if not image_id.isdecimal():
                raise QueryError(f"'{image_id}' is not the image_id of a picture.")
            return self._library.jpeg(*self._library.picture(image_id), MAX_SIDE)[0]

        return await self._library.calls.run(show, seconds=SECONDS)

    def _found(self, hits: Hits, notes: Sequence[str], pictures: int) -> CallToolResult:
        notes = [*notes, *hits.notes]
        closest = [] if hits else hits.closest[:CLOSEST]
        if not hits:
            notes.append(
                "No picture of the library is a good match; the closest are no more than that."
                if closest
                else "No picture was found: none passes the limits, or the library is empty."
            )
        along = self._library.jpegs([(hit.image_id, hit.path) for hit in hits[:pictures]], notes)
        return result(
            {
                "hits": [hit.as_dict() for hit in hits],
                "closest": [hit.as_dict() for hit in closest],
                "notes": notes,
            },
            along,
        )


def _steps_told(context: Context[Any, Any]) -> Progress:
    """Tells whoever waits for an answer, if it asked to be told, of each step on the way to it."""
    loop, numbers = asyncio.get_running_loop(), itertools.count(1)

    def tell(name: str, figures: dict[str, Any]) -> None:
        if name == "step" and not loop.is_closed():
            said = context.report_progress(
                next(numbers), None, plain(f"{figures['step']}: {figures['text']}")
            )
            asyncio.run_coroutine_threadsafe(said, loop)

    return tell
