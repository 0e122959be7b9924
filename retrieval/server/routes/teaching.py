"""What people say: concepts by examples, and which answers are right."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import Field

from retrieval.concepts import MAX_NAME, Concept, checked_name
from retrieval.query.terms import MAX_TEXT
from retrieval.server import kept_shapes as shapes
from retrieval.server.given import Body, PictureId, Sound
from retrieval.server.problems import NotHere
from retrieval.server.settings import Changed, Served

SECONDS = 60.0
MOST = 500
Name = Annotated[
    str,
    Path(min_length=1, max_length=MAX_NAME + 1, description="The concept's name.", examples=["rex"]),
    Sound,
]
Marked = Annotated[tuple[PictureId, ...], Field(max_length=MOST, examples=[[7]])]
Question = Annotated[str, Field(min_length=1, max_length=MAX_TEXT, examples=["a dog"]), Sound]
router = APIRouter(tags=["teaching"])


class Examples(Body):
    """Pictures that show a concept, and pictures that do not."""

    good: Marked = ()
    bad: Marked = ()


class Marks(Examples):
    """Pictures that are right and wrong answers to a query."""

    q: Question


def _concept(one: Concept) -> dict[str, Any]:
    return {**one.as_dict(), "examples": [example.as_dict() for example in one.examples]}


@router.get("/concepts", response_model=shapes.Concepts, response_model_exclude_unset=True)
async def concepts(served: Served) -> Any:
    """Everything that was taught by examples. A query names it with an @: `@rex + beach`."""
    return await served.quick.run(
        lambda: {"concepts": [_concept(one) for one in served.catalog.concepts.list()]}, seconds=SECONDS
    )


@router.put("/concepts/{name}", response_model=shapes.Concept, response_model_exclude_unset=True)
async def teach(served: Changed, name: Name, examples: Examples) -> Any:
    """Teach a concept. Examples add up; the last word on a picture counts."""
    return await served.writing.run(
        lambda: _concept(served.catalog.concepts.add(name, examples.good, examples.bad)), seconds=SECONDS
    )


@router.delete("/concepts/{name}", response_model=shapes.Removed)
async def unlearn(served: Changed, name: Name) -> Any:
    """Forget a concept and its examples."""

    def remove() -> dict[str, int]:
        kept = served.catalog.concepts
        if checked_name(name) not in {one.name for one in kept.list()}:
            raise NotHere(f"There is no concept @{checked_name(name)}.")
        return {"removed": kept.remove(name)}

    return await served.writing.run(remove, seconds=SECONDS)


@router.get("/feedback", response_model=shapes.Feedback, response_model_exclude_unset=True)
async def feedback(
    served: Served,
    q: Annotated[
        str | None, Query(min_length=1, max_length=MAX_TEXT, description="Of this query only."), Sound
    ] = None,
) -> Any:
    """What was said of answers, to one query or to all."""
    return await served.quick.run(
        lambda: {"feedback": [said.as_dict() for said in served.catalog.feedback.list(q)]}, seconds=SECONDS
    )


@router.post("/feedback", response_model=shapes.Feedback, response_model_exclude_unset=True)
async def mark(served: Changed, marks: Marks) -> Any:
    """Keep which pictures are right and wrong answers to a query: its next ranking follows."""
    return await served.writing.run(
        lambda: {
            "feedback": [
                said.as_dict()
                for said in served.catalog.feedback.add(marks.q, good=marks.good, bad=marks.bad)
            ]
        },
        seconds=SECONDS,
    )


@router.delete("/feedback", response_model=shapes.Removed)
async def unmark_query(
    served: Changed,
    q: Annotated[
        str, Query(min_length=1, max_length=MAX_TEXT, description="The query.", examples=["a dog"]), Sound
    ],
) -> Any:
    """Take back all that was said of one query's answers."""
    return await served.writing.run(
        lambda: {"removed": served.catalog.feedback.remove(query=q)}, seconds=SECONDS
    )


@router.delete("/feedback/{feedback_id}", response_model=shapes.Removed)
async def unmark(
    served: Changed,
    feedback_id: Annotated[int, Path(ge=1, le=2**63 - 1, description="Its id.", examples=[1])],
) -> Any:
    """Take back one thing that was said."""

    def remove() -> dict[str, int]:
        kept = served.catalog.feedback
        if feedback_id not in {said.id for said in kept.list()}:
            raise NotHere(f"No feedback has the id {feedback_id}.")
        return {"removed": kept.remove(feedback_id)}

    return await served.writing.run(remove, seconds=SECONDS)
