"""What the tools give back: the output schemas that assistants are told.

Annotations are no strings here, because the keys that may be absent are read from them.
"""

from typing import Annotated, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

Chance = Annotated[float, Field(ge=0, le=1)]
Notes = Annotated[list[str], Field(description="What the person should know of how this came about.")]
Data = Annotated[str, Field(description="How the texts in this result are to be read.")]
Id = Annotated[int, Field(description="Names the picture in every tool.")]
RawPath = Annotated[str, Field(description="The bytes of the path in base64, where it is not UTF-8.")]


class Found(TypedDict):
    """A picture that was found."""

    rank: int
    image_id: Id
    path: str
    path_b64: NotRequired[RawPath]
    match: Annotated[Chance, Field(description="How likely it is what was asked for.")]
    score: Annotated[float, Field(description="The model's own number, of use only for comparing.")]
    taken_at: NotRequired[Annotated[str, Field(description="Local time, ISO 8601.")]]
    taken_source: NotRequired[
        Annotated[str, Field(description="Where the time comes from; file-mtime is only the file's own.")]
    ]


class Search(TypedDict):
    """What a search found, best first."""

    hits: list[Found]
    closest: Annotated[list[Found], Field(description="Without a good match: what came nearest.")]
    notes: Notes
    about_texts: Data


class FittingText(TypedDict):
    """A text of the library that fits a picture."""

    rank: int
    text: str
    score: float
    match: Annotated[Chance, Field(description="How likely it fits the picture.")]
    text_id: int
    image_id: NotRequired[Annotated[int, Field(description="The picture it is tied to.")]]


class Matches(TypedDict):
    """The texts that fit a picture best."""

    image_id: Id
    texts: list[FittingText]
    notes: Notes
    about_texts: Data


class Sure(TypedDict):
    """A word for what is in the picture."""

    tag: str
    confidence: Chance


class Described(TypedDict):
    """A picture in words."""

    image_id: Id
    path: NotRequired[str]
    path_b64: NotRequired[RawPath]
    caption: str
    tags: list[Sure]
    captioner: Annotated[str, Field(description="Who wrote the caption.")]
    note: NotRequired[str]
    about_texts: Data


class Cited(TypedDict):
    """The picture that [n] in an answer stands for."""

    n: int
    image_id: Id
    path: str
    path_b64: NotRequired[RawPath]
    sentence: NotRequired[Annotated[str, Field(description="What the answer says of it.")]]
    match: NotRequired[Annotated[Chance, Field(description="How likely it is what was searched for.")]]
    support: NotRequired[Annotated[Chance, Field(description="How well the sentence fits the picture.")]]


class Done(TypedDict):
    """One step on the way to an answer."""

    step: str
    text: str
    seconds: float


class Answered(TypedDict):
    """An answer and the pictures it rests on."""

    text: str
    citations: list[Cited]
    confidence: Annotated[Chance, Field(description="0 where the library does not show it.")]
    answerer: str
    steps: list[Done]
    notes: Notes
    about_texts: Data


class Shown(TypedDict):
    """A picture that is sent along, made small."""

    image_id: Id
    path: str
    path_b64: NotRequired[RawPath]
    width: int
    height: int
    about_texts: Data


class Root(TypedDict):
    """A folder that is indexed."""

    path: str
    path_b64: NotRequired[RawPath]
    online: Annotated[bool, Field(description="False while its disk is away.")]
    images: int


class State(TypedDict):
    """What the library holds."""

    images: int
    missing: Annotated[int, Field(description="Pictures whose files are gone.")]
    failures: Annotated[int, Field(description="Files that could not be read.")]
    texts: int
    model: Annotated[str | None, Field(description="What pictures and words are compared with.")]
    folders: list[Root]
    writable: Annotated[bool, Field(description="Whether there are tools here that change the library.")]
    about_texts: Data


class TagSaid(TypedDict):
    """A tag as a picture has it now."""

    image_id: Id
    tag: str
    has: bool


class FeedbackSaid(TypedDict):
    """What is kept of a query now."""

    query: str
    good: list[Id]
    bad: list[Id]


class TextAdded(TypedDict):
    """What came of adding a text."""

    added: Annotated[Literal[0, 1], Field(description="0 where it was there already.")]
    image_id: NotRequired[Id]
