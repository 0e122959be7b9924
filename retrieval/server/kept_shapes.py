"""What the API gives back of what is kept: tags, groups, what people said, runs of indexing.

Annotations are no strings here, because FastAPI reads them.
"""

from typing import Annotated, Any, Literal

from pydantic import Field

from retrieval.server.shapes import Cursor, FullPath, Id, Notes, Picture, RawPath, Shape, Sure

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


class Span(Shape):
    """A stretch of time, and how many pictures are from it."""

    span: Annotated[str, Field(description="A year, month or day.", examples=["2019-05"])]
    images: Count
    by_file: Annotated[int, Field(ge=0, description="Of these, by nothing but their file's own time.")]


class Timeline(Shape):
    """Pictures over time, the oldest first; spans without any are left out."""

    by: Literal["year", "month", "day"]
    spans: list[Span]
    undated: Annotated[int, Field(ge=0, description="Of these nothing tells a time.")]
    notes: Notes


class Duplicates(Shape):
    """Pictures that are the same, the best to keep first."""

    kind: Literal["same-file", "same-picture", "same-moment"]
    reason: Annotated[
        Literal["pixels", "bytes", "age", "none"],
        Field(description="Why the first is the best: more pixels, a larger file, an older one, or nothing."),
    ]
    pictures: list[Picture]


class DuplicateSets(Shape):
    """A part of all sets of pictures that are the same."""

    sets: list[Duplicates]
    counts: Annotated[
        dict[str, int],
        Field(
            description="How many sets of each kind there are.",
            examples=[{"same-file": 2, "same-picture": 9, "same-moment": 4}],
        ),
    ]
    total: Count
    next: Cursor


class Pairs(Shape):
    """How many pairs of pictures were told apart, or are no longer."""

    pairs: Count


class Example(Shape):
    """A picture that shows a concept, or does not."""

    path: FullPath
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
    path: FullPath
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
    path: FullPath | None = None
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

    path: FullPath
    path_b64: RawPath = None
    reason: Annotated[str, Field(examples=["damaged"])]
    detail: str


class Reason(Shape):
    """Why files could not be indexed, and how many of them there are."""

    reason: Annotated[str, Field(examples=["damaged"])]
    means: Annotated[str, Field(examples=["the picture is cut off or its data is broken"])]
    files: Count


class Failures(Shape):
    """A part of the files that could not be indexed, by path."""

    reasons: Annotated[list[Reason], Field(description="All there are, the most frequent first.")]
    failures: list[Failure]
    total: Count
    next: Cursor


class IndexedFolder(Shape):
    """A folder that was indexed, and what the library has of it."""

    path: FullPath
    path_b64: RawPath = None
    online: Annotated[bool, Field(description="Whether it is within reach now.")]
    images: Count
    last_at: Annotated[str | None, Field(description="When a picture of it was last added or updated.")]


class LikelyFolder(Shape):
    """A folder of the server's machine that may well hold pictures."""

    path: FullPath
    path_b64: RawPath = None
    pictures: Count
    more: Annotated[bool, Field(description="Whether there are more than were counted.")]


class Folders(Shape):
    """Where the pictures are, and where more may be."""

    folders: list[IndexedFolder]
    likely: list[LikelyFolder]
    open: Annotated[bool, Field(description="Whether whoever asks may add other folders.")]


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


class MapMade(Shape):
    """What came of making the map."""

    images: Count
    areas: Count
    seconds: float
    interrupted: bool


class Job(Shape):
    """A run of indexing, or of making the map: how far it is, and what came of it."""

    id: Annotated[int, Field(examples=[1])]
    kind: Literal["index", "map"]
    state: Literal["running", "done", "cancelled", "failed"]
    paths: Annotated[list[str], Field(description="Empty: the folders that were indexed before.")]
    started_at: str
    ended_at: str | None
    step: Annotated[str | None, Field(examples=["advance"])]
    done: int | None
    total: int | None
    failed: int | None
    reading: Annotated[str | None, Field(description="The file or folder that was come to last.")]
    images_per_second: Annotated[float | None, Field(description="Null until it can be told.")]
    seconds_left: float | None
    notes: list[str]
    report: Report | MapMade | None
    error: str | None


class JobList(Shape):
    """The runs that are remembered, the newest first."""

    jobs: list[Job]
