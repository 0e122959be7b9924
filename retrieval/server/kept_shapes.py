"""What the API gives back of what is kept: tags, groups, what people said, runs of indexing.

Annotations are no strings here, because FastAPI reads them.
"""

from typing import Annotated, Any, Literal

from pydantic import Field

from retrieval.server.shapes import Cursor, Id, Picture, RawPath, Shape, Sure

Count = Annotated[int, Field(ge=0, examples=[12])]


class TagCount(Shape):
    """A tag, and how many pictures have it."""

    tag: Annotated[str, Field(examples=["dog"])]
    prompt: Annotated[str | None, Field(description="What is looked for; null for a tag of people's own.")]
    images: Count


class Tags(Shape):
    """Tags, the most frequent first."""

    tags: list[TagCount]


class TagsOfPicture(Shape):
    """The tags of a picture as they are now."""

    image_id: Id
    tags: list[Sure]


class Group(Shape):
    """Pictures that belong together, the most typical first."""

    name: Annotated[str, Field(examples=["beach, Lisbon"])]
    size: Count
    image_ids: list[Id]
    pictures: Annotated[list[Picture], Field(description="The most typical of them.")]


class Groups(Shape):
    """The library in groups by meaning, the largest first."""

    groups: list[Group]


class Duplicates(Shape):
    """Pictures that are the same, the best to keep first."""

    kind: Literal["same-file", "same-picture", "same-moment"]
    pictures: list[Picture]


class DuplicateSets(Shape):
    """A part of all sets of pictures that are the same."""

    sets: list[Duplicates]
    total: Count
    next: Cursor


class Pairs(Shape):
    """How many pairs of pictures were told apart, or are no longer."""

    pairs: Count


class Example(Shape):
    """A picture that shows a concept, or does not."""

    path: str
    path_b64: RawPath = None
    good: bool
    image_id: int | None = None
    rests: Annotated[str | None, Field(description="Why it is not used, if it is not.")] = None


class Concept(Shape):
    """A concept, and what taught it."""

    name: Annotated[str, Field(examples=["rex"])]
    good: Count
    bad: Count
    resting: Annotated[int, Field(ge=0, description="Examples that are not used now.")]
    created_at: Annotated[float, Field(description="Seconds since 1970.")]
    examples: list[Example]


class Concepts(Shape):
    """Everything that was taught by examples."""

    concepts: list[Concept]


class Said(Shape):
    """What was said of a picture as an answer to a query."""

    id: int
    query: str
    path: str
    path_b64: RawPath = None
    image_id: int | None = None
    good: bool
    said_at: str
    rests: Annotated[str | None, Field(description="Why it does not act now, if it does not.")] = None


class Feedback(Shape):
    """What was said of answers, in the order it was said."""

    feedback: list[Said]


class Text(Shape):
    """A text of the library."""

    text_id: Annotated[int, Field(examples=[3])]
    text: str
    source: Annotated[str, Field(examples=["added"])]
    image_id: int | None = None
    path: str | None = None
    path_b64: RawPath = None
    name: str | None = None


class TextList(Shape):
    """A part of the library's texts, by id."""

    texts: list[Text]
    next: Cursor


class TextAdded(Shape):
    """What came of adding a text."""

    added: Annotated[Literal[0, 1], Field(description="0 where it was there already.")]
    text: Annotated[Text | None, Field(description="As it is kept.")] = None


class Removed(Shape):
    """How much was removed."""

    removed: Count


class Failure(Shape):
    """A file that could not be indexed, and why."""

    path: str
    path_b64: RawPath = None
    reason: Annotated[str, Field(examples=["damaged"])]
    detail: str


class Failures(Shape):
    """A part of the files that could not be indexed, by path."""

    failures: list[Failure]
    total: Count
    next: Cursor


class Models(Shape):
    """The models that can be had."""

    models: list[dict[str, Any]]


class Report(Shape):
    """What a run of indexing did."""

    added: Count
    updated: Count
    unchanged: Count
    moved: Count
    missing: Count
    failed: Count
    seconds: float
    images_per_second: float
    encoder: str | None
    interrupted: bool


class Job(Shape):
    """A run of indexing: how far it is, and what came of it."""

    id: Annotated[int, Field(examples=[1])]
    state: Literal["running", "done", "cancelled", "failed"]
    paths: Annotated[list[str], Field(description="Empty: the folders that were indexed before.")]
    started_at: str
    ended_at: str | None
    step: Annotated[str | None, Field(examples=["advance"])]
    done: int | None
    total: int | None
    failed: int | None
    notes: list[str]
    report: Report | None
    error: str | None


class JobList(Shape):
    """The runs that are remembered, the newest first."""

    jobs: list[Job]
