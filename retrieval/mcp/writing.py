"""The tools that change the catalog; no picture's file is ever touched."""

from __future__ import annotations

from typing import Annotated

from mcp_types import CallToolResult
from pydantic import Field

from retrieval.config import MAX_QUESTION
from retrieval.errors import QueryError
from retrieval.mcp import shapes
from retrieval.mcp.library import Library, Picture
from retrieval.mcp.reading import SECONDS
from retrieval.mcp.results import result

MAX_TEXT = 10_000
MAX_MARKS = 50
SOURCE = "assistant"
"""Where added texts say they come from: search texts list tells them from a person's own."""

Marks = Annotated[list[Picture], Field(max_length=MAX_MARKS)]


class Writing:
    """Tools that keep what is said of pictures. Everything can be taken back in a shell."""

    def __init__(self, library: Library) -> None:
        self._library = library

    async def tag_image(
        self,
        image: Picture,
        tag: Annotated[str, Field(min_length=1, max_length=100, description="A word or a few.")],
        has: Annotated[bool, Field(description="False: say that the picture does not have it.")] = True,
    ) -> Annotated[CallToolResult, shapes.TagSaid]:
        """Say that a picture has a tag, or does not have it. It stays until somebody says otherwise.

        Only on the person's word: what is said here counts more than what the model sees.
        """

        def decide() -> CallToolResult:
            image_id, _ = self._library.picture(image)
            tags = self._library.catalog.tags
            (tags.set if has else tags.unset)(image_id, tag)
            return result({"image_id": image_id, "tag": " ".join(tag.split()), "has": has})

        return await self._library.calls.run(decide, seconds=SECONDS)

    async def give_feedback(
        self,
        query: Annotated[
            str, Field(min_length=1, max_length=MAX_QUESTION, description="As it was searched for.")
        ],
        good: Annotated[Marks, Field(description="Right answers to it.")] = [],  # noqa: B006
        bad: Annotated[Marks, Field(description="Wrong answers to it.")] = [],  # noqa: B006
    ) -> Annotated[CallToolResult, shapes.FeedbackSaid]:
        """Keep which pictures are right and wrong answers to a query: its next ranking follows.

        The last word on a picture counts.
        """

        def keep() -> CallToolResult:
            if not good and not bad:
                raise QueryError("Name at least one picture that is a right or a wrong answer.")
            sides = [[self._library.picture(image)[0] for image in side] for side in (good, bad)]
            kept = self._library.catalog.feedback.add(query, good=sides[0], bad=sides[1])
            found = [(said.image_id, said.good) for said in kept if said.image_id is not None]
            return result(
                {
                    "query": query,
                    "good": [image_id for image_id, right in found if right],
                    "bad": [image_id for image_id, right in found if not right],
                }
            )

        return await self._library.calls.run(keep, seconds=SECONDS)

    async def add_text(
        self,
        text: Annotated[str, Field(min_length=1, max_length=MAX_TEXT, description="What to keep.")],
        image: Annotated[Picture | None, Field(description="The picture it is about, if it is.")] = None,
    ) -> Annotated[CallToolResult, shapes.TextAdded]:
        """Add a text to the library, of a picture or for itself: pictures are then found by it too."""

        def add() -> CallToolResult:
            tied = {} if image is None else {"image": self._library.picture(image)[0]}
            report = self._library.catalog.texts.add([{"text": text, **tied}], source=SOURCE)
            if report.broken:
                raise QueryError(f"The text cannot be added: {report.broken[0][1]}.")
            about = {"image_id": tied["image"]} if tied else {}
            return result({"added": report.added, **about})

        return await self._library.calls.run(add, seconds=SECONDS)
