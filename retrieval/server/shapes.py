"""What the API gives back: the models that its description is made from.

Annotations are no strings here, because FastAPI reads them.
"""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

Chance = Annotated[float, Field(ge=0, le=1, examples=[0.93])]
Id = Annotated[int, Field(description="Names the picture in every route.", examples=[7])]
Alt = Annotated[
    str | None,
    Field(
        description="What to say where it cannot be seen, if somebody has put it into words.",
        examples=["Two dogs run through the snow"],
    ),
]
FullPath = Annotated[str, Field(examples=["/home/ann/Pictures/beach.jpg"])]
RawPath = Annotated[
    str | None,
    Field(
        description="The bytes of the path in base64, where it is not UTF-8.",
        examples=["L2hvbWUvYW5uL/wuanBn"],
    ),
]
Taken = Annotated[str | None, Field(description="Local time, ISO 8601.", examples=["2019-05-12T17:03:00"])]
TakenSource = Annotated[str | None, Field(description="What tells that time.", examples=["exif-original"])]
Width = Annotated[int | None, Field(description="Pixels of the upright picture.", examples=[4032])]
Height = Annotated[int | None, Field(examples=[3024])]
Notes = Annotated[list[str], Field(description="What a person should know of how this came about.")]
Cursor = Annotated[
    str | None,
    Field(
        description="Where the next page begins, which may be empty; null at the end.",
        examples=["WzUwLCAiNmIyZTFmMDM5ZDRjNWE3OCJd"],
    ),
]


class Shape(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Hit(Shape):
    """A picture that was found."""

    rank: Annotated[int, Field(examples=[1])]
    image_id: Id
    path: FullPath
    path_b64: RawPath = None
    score: Annotated[float, Field(description="The model's own number, of use only for comparing.")]
    match: Annotated[Chance, Field(description="How likely it is what was asked for.")]
    taken_at: Taken = None
    taken_source: TakenSource = None
    width: Width = None
    height: Height = None
    alt: Alt = None
    rerank_score: float | None = None
    explain: Annotated[dict[str, float] | None, Field(description="What spoke for it, 0 to 1 each.")] = None


Near = Annotated[
    str | None,
    Field(
        description="Which place `near` was taken for.",
        examples=["Bergen, Norway (60.39, 5.32), within 25 km"],
    ),
]


class Found(Shape):
    """What a search found, best first."""

    query: Annotated[str, Field(examples=["two dogs in the snow"])]
    hits: list[Hit]
    closest: Annotated[list[Hit], Field(description="What is below the cut-off, best first.")]
    cutoff: Annotated[Chance, Field(description="From which match on a picture counts.")]
    next: Cursor
    notes: Notes
    near: Near = None
    seconds: float


class Picture(Shape):
    """What the catalog's row says of a picture."""

    image_id: Id
    path: FullPath
    path_b64: RawPath = None
    width: Annotated[int, Field(description="Pixels of the upright picture.", examples=[4032])]
    height: Annotated[int, Field(examples=[3024])]
    bytes: Annotated[int, Field(examples=[2_481_152])]
    format: Annotated[str, Field(examples=["JPEG"])]
    missing: Annotated[bool, Field(description="Its file is gone.")]
    taken_at: Taken = None
    taken_source: TakenSource = None
    camera: Annotated[str | None, Field(examples=["Canon EOS 80D"])] = None
    lens: Annotated[str | None, Field(examples=["EF-S18-135mm f/3.5-5.6 IS"])] = None
    latitude: Annotated[float | None, Field(examples=[38.7223])] = None
    longitude: Annotated[float | None, Field(examples=[-9.1393])] = None
    title: Annotated[str | None, Field(description="As the file says it.", examples=["Rex"])] = None
    description: Annotated[str | None, Field(description="As the file says it.")] = None
    keywords: Annotated[
        list[str], Field(description="As the file says them.", examples=[["dog", "lake"]])
    ] = []


class Listed(Picture):
    """A picture in a list of them."""

    alt: Alt = None


class Pictures(Shape):
    """A part of the library."""

    pictures: list[Listed]
    total: int
    next: Cursor
    near: Near = None


class Sure(Shape):
    """A word for what is in a picture, and how sure that is."""

    tag: Annotated[str, Field(examples=["dog"])]
    confidence: Chance


class Told(Shape):
    """A text of a picture, and where it comes from."""

    text: Annotated[str, Field(examples=["Rex at the lake"])]
    source: Annotated[str, Field(examples=["added"])]


class PictureDetails(Picture):
    """Everything that is known of a picture."""

    place: Annotated[str | None, Field(description="The nearest town.", examples=["Lisbon, Portugal"])] = None
    tags: list[Sure]
    texts: list[Told]
    alt: Annotated[str, Field(description="What to say where the picture cannot be seen.")]


class TextHit(Shape):
    """A text of the library that fits a picture."""

    rank: Annotated[int, Field(examples=[1])]
    text: Annotated[str, Field(examples=["Rex at the lake"])]
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
    notes: Annotated[list[str], Field(description="What should be known of how this came about.")] = []


class Explained(Shape):
    """Where in a picture a match comes from, and what spoke for it."""

    path: FullPath | None = None
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
    path: FullPath | None = None
    path_b64: RawPath = None
    caption: Annotated[str, Field(examples=["A brown dog at a lake"])]
    tags: list[Sure]
    captioner: Annotated[str, Field(examples=["describer"])]
    seen: Annotated[bool, Field(description="False where it goes by what is on record alone.")] = True
    note: str | None = None


class Cited(Shape):
    """The picture that [n] in an answer stands for."""

    n: Annotated[int, Field(examples=[1])]
    image_id: Id
    path: FullPath
    path_b64: RawPath = None
    sentence: str | None = None
    match: Chance | None = None
    support: Chance | None = None
    taken_at: Taken = None
    alt: Alt = None


class Answered(Shape):
    """An answer, and the pictures it rests on."""

    text: Annotated[str, Field(examples=["They run through the snow [1][2]."])]
    citations: list[Cited]
    confidence: Annotated[Chance, Field(description="0 where the library does not show it.")]
    steps: list[dict[str, Any]]
    question: Annotated[str, Field(examples=["What are the dogs doing?"])]
    answerer: Annotated[str, Field(examples=["rules"])]
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

    path: FullPath
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
