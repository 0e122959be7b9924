"""What the API gives back: the models that its description is made from.

Annotations are no strings here, because FastAPI reads them.
"""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

Chance = Annotated[float, Field(ge=0, le=1)]
Id = Annotated[int, Field(description="Names the picture in every route.", examples=[7])]
Alt = Annotated[
    str | None, Field(description="What to say where it cannot be seen, if somebody has put it into words.")
]
RawPath = Annotated[str | None, Field(description="The bytes of the path in base64, where it is not UTF-8.")]
Notes = Annotated[list[str], Field(description="What a person should know of how this came about.")]
Cursor = Annotated[
    str | None, Field(description="Where the next page begins, which may be empty; null at the end.")
]


class Shape(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Hit(Shape):
    """A picture that was found."""

    rank: int
    image_id: Id
    path: Annotated[str, Field(examples=["/home/ann/Pictures/beach.jpg"])]
    path_b64: RawPath = None
    score: Annotated[float, Field(description="The model's own number, of use only for comparing.")]
    match: Annotated[Chance, Field(description="How likely it is what was asked for.", examples=[0.93])]
    taken_at: Annotated[str | None, Field(description="Local time, ISO 8601.")] = None
    taken_source: str | None = None
    width: int | None = None
    height: int | None = None
    alt: Alt = None
    rerank_score: float | None = None
    explain: Annotated[dict[str, float] | None, Field(description="What spoke for it, 0 to 1 each.")] = None


class Found(Shape):
    """What a search found, best first."""

    query: str
    hits: list[Hit]
    closest: Annotated[list[Hit], Field(description="What is below the cut-off, best first.")]
    cutoff: Annotated[Chance, Field(description="From which match on a picture counts.")]
    next: Cursor
    notes: Notes
    seconds: float


class Picture(Shape):
    """What the catalog's row says of a picture."""

    image_id: Id
    path: str
    path_b64: RawPath = None
    width: int
    height: int
    bytes: int
    format: Annotated[str, Field(examples=["JPEG"])]
    missing: Annotated[bool, Field(description="Its file is gone.")]
    taken_at: str | None = None
    taken_source: str | None = None
    camera: str | None = None
    lens: str | None = None
    latitude: float | None = None
    longitude: float | None = None
    title: str | None = None
    description: str | None = None
    keywords: list[str] = []


class Listed(Picture):
    """A picture in a list of them."""

    alt: Alt = None


class Pictures(Shape):
    """A part of the library."""

    pictures: list[Listed]
    total: int
    next: Cursor


class Sure(Shape):
    """A word for what is in a picture, and how sure that is."""

    tag: str
    confidence: Chance


class Told(Shape):
    """A text of a picture, and where it comes from."""

    text: str
    source: str


class PictureDetails(Picture):
    """Everything that is known of a picture."""

    place: Annotated[str | None, Field(description="The nearest town.")] = None
    tags: list[Sure]
    texts: list[Told]
    alt: Annotated[str, Field(description="What to say where the picture cannot be seen.")]


class TextHit(Shape):
    """A text of the library that fits a picture."""

    rank: int
    text: str
    score: float
    match: Chance
    text_id: int
    source: Annotated[str, Field(description="Where it comes from.", examples=["added"])]
    image_id: int | None = None


class Texts(Shape):
    """The texts that fit a picture best."""

    texts: list[TextHit]
    closest: Annotated[list[TextHit], Field(description="What is below the cut-off, best first.")]
    cutoff: Chance


class Explained(Shape):
    """Where in a picture a match comes from, and what spoke for it."""

    path: str | None = None
    path_b64: RawPath = None
    image_id: int | None = None
    score: float
    match: Chance
    signals: dict[str, float]
    heat: Annotated[
        list[list[float | None]], Field(description="Rows over the upright picture; null is not seen.")
    ]


class Described(Shape):
    """A picture in words."""

    image_id: int | None = None
    path: str | None = None
    path_b64: RawPath = None
    caption: str
    tags: list[Sure]
    captioner: str
    seen: Annotated[bool, Field(description="False where it goes by what is on record alone.")] = True
    note: str | None = None


class Cited(Shape):
    """The picture that [n] in an answer stands for."""

    n: int
    image_id: Id
    path: str
    path_b64: RawPath = None
    sentence: str | None = None
    match: Chance | None = None
    support: Chance | None = None
    taken_at: str | None = None
    alt: Alt = None


class Answered(Shape):
    """An answer, and the pictures it rests on."""

    text: str
    citations: list[Cited]
    confidence: Annotated[Chance, Field(description="0 where the library does not show it.")]
    steps: list[dict[str, Any]]
    question: str
    answerer: str
    cost: dict[str, float]
    notes: Notes = []
    closest: Annotated[
        list[Hit], Field(description="Where the library does not show it: what came nearest, no answer.")
    ] = []
    turn: Annotated[
        str | None, Field(description="Names this answer to the next question, for as long as it is kept.")
    ] = None


class Root(Shape):
    """A folder that is indexed."""

    path: str
    path_b64: RawPath = None
    online: bool
    images: int


class State(Shape):
    """What the library holds."""

    catalog: str
    images: int
    missing: int
    failures: int
    texts: int
    encoder: str | None
    encoders: list[dict[str, Any]]
    roots: list[Root]
    store: str
    cache_fresh: bool
    db_bytes: int
    readonly: bool
    version: str


class ProblemDetails(BaseModel):
    """What went wrong (RFC 9457)."""

    type: Annotated[str, Field(examples=["about:blank"])]
    title: Annotated[str, Field(examples=["Not Found"])]
    status: Annotated[int, Field(examples=[404])]
    detail: Annotated[
        str,
        Field(
            description="What is the matter, and what helps.",
            examples=["The catalog has no picture 7. It may have been forgotten since."],
        ),
    ]
    kind: Annotated[str | None, Field(description="The library's name for it.", examples=["QueryError"])] = (
        None
    )
    reason: Annotated[str | None, Field(description="Of a picture that cannot be used: why.")] = None
    query: Annotated[str | None, Field(description="What was asked, where a place in it is wrong.")] = None
    at: Annotated[int | None, Field(description="That place, in characters from the start.")] = None
    errors: Annotated[
        list[dict[str, str]] | None, Field(description="Which parts of the request are wrong.")
    ] = None
