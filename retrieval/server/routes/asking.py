"""Questions, answered from the pictures."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from fastapi.sse import EventSourceResponse
from pydantic import Field

from retrieval.config import ASK_SECONDS, MAX_QUESTION
from retrieval.server import shapes
from retrieval.server.events import Told, streamed
from retrieval.server.given import Conditions, Sound
from retrieval.server.problems import WritesRefused
from retrieval.server.settings import Conversing, Served, Speaking
from retrieval.types import Answer

MORE_SECONDS = 60.0
"""Beyond the time of an answer, which is not held to the second."""
STREAM: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The answer; with `Accept: text/event-stream` the events `step`, `text` "
        "(a draft, unchecked), `answer` and `problem`.",
        "content": {EventSourceResponse.media_type: {"schema": {"type": "string"}}},
    }
}
router = APIRouter(tags=["asking"])


class Inquiry(Conditions):
    """A question, and which pictures it is about."""

    question: Annotated[
        str, Field(min_length=1, max_length=MAX_QUESTION, examples=["What are the dogs doing?"]), Sound
    ]
    limit: Annotated[int, Field(ge=1, le=50, description="Look at the best so many pictures.")] = 8
    answerer: Annotated[
        Literal["rules"] | None, Field(description="Go by the rules, not by the server's model.")
    ] = None
    turn: Annotated[
        str | None,
        Field(
            max_length=64,
            pattern=r"^[\w-]+$",
            description="Go on from this answer, by its `turn`; 404 where that is kept no more.",
        ),
    ] = None
    conversation: Annotated[
        bool,
        Field(description="Go on from the last question that was kept in the catalog, whoever asked it."),
    ] = False
    keep: Annotated[bool, Field(description="Keep the question, so that the next can go on from it.")] = False
    check: Annotated[bool, Field(description="Leave out what nothing bears out.")] = True
    seconds: Annotated[float, Field(gt=0, le=600, allow_inf_nan=False)] = ASK_SECONDS


@router.post("/ask", response_model=shapes.Answered, response_model_exclude_unset=True, responses=STREAM)
async def ask(
    served: Served, speaking: Speaking, conversing: Conversing, request: Request, inquiry: Inquiry
) -> Any:
    """Answer a question from the pictures, and cite them as [1], [2]."""
    if inquiry.keep and (served.readonly or served.catalog.readonly):
        raise WritesRefused("This server only reads, and keeps no questions.")
    where = inquiry.where
    after = None if inquiry.turn is None else conversing.of(inquiry.turn)
    await served.quick.run(where.sql, seconds=MORE_SECONDS)  # what is wrong in it is told before all else
    most = inquiry.seconds + MORE_SECONDS

    def answer(told: Told | None = None) -> dict[str, Any]:
        def step(name: str, figures: dict[str, Any]) -> None:
            if told is not None and name in ("step", "note"):
                told.tell(name, figures)

        def text(more: str) -> None:
            if told is not None:
                told.tell("text", {"delta": more})

        found: Answer = served.catalog.ask(
            inquiry.question,
            limit=inquiry.limit,
            answerer=inquiry.answerer or speaking.answerer(),
            where=where,
            follow_up=inquiry.conversation,
            after=after,
            keep=inquiry.keep,
            seconds=inquiry.seconds,
            check=inquiry.check,
            progress=step,
            on_text=None if told is None else text,
        )
        row = found.as_dict()
        rows = [*row["citations"], *row.get("closest", ())]
        alts = served.catalog.pictures.alts([one["image_id"] for one in rows])
        for one in rows:
            if one["image_id"] in alts:
                one["alt"] = alts[one["image_id"]]
        return {**row, "turn": conversing.keep(found)}

    if EventSourceResponse.media_type in request.headers.get("accept", ""):
        return await streamed(
            lambda told: served.speaking.run(lambda: answer(told), seconds=most),
            "answer",
            path=request.url.path,
        )
    return await served.speaking.run(answer, seconds=most)
