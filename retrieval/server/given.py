"""What requests may give: filters, pages, pictures.

Annotations are no strings here, because FastAPI reads them.
"""

import base64
import binascii
import hashlib
import json
from typing import Annotated, Literal

from fastapi import Depends, Path, Query, UploadFile
from PIL import Image

from retrieval.errors import ImageTooLarge, QueryError
from retrieval.images import load_image, open_image
from retrieval.query.filters import MAX_TAGS, MAX_TEXT, Filter
from retrieval.query.terms import MAX_TEXT as MAX_WORDS

MAX_ID = 2**63 - 1
MAX_LIMIT = 500
MAX_OFFSET = 20_000
"""How far a search is paged through; a list of pictures goes on for ever."""
MAX_UPLOAD = 20 << 20
MAX_PIXELS = 50_000_000
MAX_PICTURES = 4
NAME = Annotated[str | None, Query(min_length=1, max_length=MAX_TEXT)]

ImageId = Annotated[int, Path(ge=1, le=MAX_ID, description="The picture's id.", examples=[7])]
Words = Annotated[
    str,
    Query(
        min_length=1,
        max_length=MAX_WORDS,
        description="What the pictures show. Terms can be added and taken away with ' + ' and ' - '.",
        examples=["two dogs in the snow"],
    ),
]
Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT, description="At most so many.")]
Start = Annotated[str | None, Query(max_length=512, description="`next` of the page before.")]


Folder = Annotated[
    str | None, Query(alias="in", min_length=1, max_length=4096, description="Below this folder.")
]
After = Annotated[
    str | None, Query(max_length=32, description="Taken then or later: 2023, 2023-07 or 2023-07-15.")
]
Before = Annotated[str | None, Query(max_length=32, description="Taken earlier than that.")]
Tags = Annotated[list[str] | None, Query(max_length=MAX_TAGS, description="Has all of these tags.")]


def _where(
    folder: Folder = None,
    after: After = None,
    before: Before = None,
    camera: Annotated[NAME, Query(description="Camera make or model contains this.")] = None,
    near: Annotated[NAME, Query(description="A town, a country, or LAT,LON,KM.")] = None,
    orientation: Annotated[Literal["landscape", "portrait", "square"] | None, Query()] = None,
    min_size: Annotated[NAME, Query(description="1000 (longer side), 1920x1080 or 12MP.")] = None,
    type: Annotated[NAME, Query(description="jpeg, png, heic, raw ...; several with commas.")] = None,
    tag: Tags = None,
) -> Filter:
    if any(len(name) > MAX_TEXT for name in tag or ()):
        raise QueryError(f"A tag has at most {MAX_TEXT} characters.")
    return Filter(
        folder=folder,
        after=after,
        before=before,
        camera=camera,
        near=near,
        orientation=orientation,
        min_size=min_size,
        type=type,
        tags=tuple(tag or ()),
    )


Where = Annotated[Filter, Depends(_where)]


def cursor(offset: int, *about: object) -> str:
    """Where the next page of this very question begins."""
    return base64.urlsafe_b64encode(json.dumps([offset, _digest(about)]).encode()).decode("ascii")


def offset_of(given: str | None, *about: object) -> int:
    """What a `cursor` says; one of another question is refused."""
    if given is None:
        return 0
    try:
        offset, digest = json.loads(base64.urlsafe_b64decode(given.encode("ascii")))
        right = type(offset) is int and 0 <= offset <= MAX_ID and digest == _digest(about)
    except (ValueError, TypeError, UnicodeEncodeError, binascii.Error, RecursionError):
        right = False
    if not right:
        raise QueryError("The cursor is none of this question. Leave it out to begin anew.")
    return int(offset)


def _digest(about: tuple[object, ...]) -> str:
    return hashlib.sha256(repr(about).encode("utf-8", "surrogatepass")).hexdigest()[:16]


async def opened(files: list[UploadFile]) -> list[bytes]:
    """The bytes of pictures that came along."""
    if len(files) > MAX_PICTURES:
        raise QueryError(f"At most {MAX_PICTURES} pictures are taken at once.")
    found = []
    for file in files:
        data = await file.read(MAX_UPLOAD + 1)
        if len(data) > MAX_UPLOAD:
            raise ImageTooLarge(f"A picture has at most {MAX_UPLOAD >> 20} MB.")
        found.append(data)
    return found


def picture(data: bytes) -> Image.Image:
    """A picture that came along, upright."""
    width, height = open_image(data).size
    if width * height > MAX_PIXELS:
        raise ImageTooLarge(f"A picture has at most {MAX_PIXELS // 10**6} megapixels.")
    return load_image(data)
