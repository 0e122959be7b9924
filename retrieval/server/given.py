"""What requests may give: filters, pages, pictures.

Annotations are no strings here, because FastAPI reads them.
"""

import base64
import binascii
import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, BinaryIO, Literal

from fastapi import Depends, Path, Query, UploadFile
from PIL import Image
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from retrieval.errors import ImageTooLarge, QueryError
from retrieval.images import load_image, open_image
from retrieval.query.filters import MAX_TAGS, MAX_TEXT, Filter
from retrieval.query.terms import MAX_TEXT as MAX_WORDS

MAX_ID = 2**63 - 1
MAX_LIMIT = 500
MAX_OFFSET = 20_000
"""How far a search is paged through; a list of pictures goes on for ever."""
MAX_UPLOAD = 20_000_000
MAX_PIXELS = 50_000_000
MAX_PICTURES = 4
MAX_TOGETHER = 100_000_000
"""Pixels of all pictures of a request: decoded, a hundred million take 300 MB."""


def sound(text: str | None) -> str | None:
    """The text, if it has nothing in it that databases and file systems choke on."""
    if text is not None and "\0" in text:
        raise ValueError("There is a NUL in it.")
    return text


Sound = AfterValidator(sound)
NAME = Annotated[str | None, Query(min_length=1, max_length=MAX_TEXT), Sound]

PictureId = Annotated[int, Field(ge=1, le=MAX_ID)]
ImageId = Annotated[int, Path(ge=1, le=MAX_ID, description="The picture's id.", examples=[7])]
Words = Annotated[
    str,
    Query(
        min_length=1,
        max_length=MAX_WORDS,
        description="What the pictures show. Terms can be added and taken away with ' + ' and ' - '.",
        examples=["two dogs in the snow"],
    ),
    Sound,
]
Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT, description="At most so many.")]
Start = Annotated[str | None, Query(alias="cursor", max_length=512, description="`next` of the page before.")]

Folder = Annotated[
    str | None,
    Query(
        alias="in",
        min_length=1,
        max_length=4096,
        description="Below this folder.",
        examples=["/home/ann/Pictures"],
    ),
    Sound,
]
After = Annotated[
    str | None,
    Query(
        max_length=32, description="Taken then or later: 2023, 2023-07 or 2023-07-15.", examples=["2023-07"]
    ),
    Sound,
]
Before = Annotated[
    str | None, Query(max_length=32, description="Taken earlier than that.", examples=["2024"]), Sound
]
Tag = Annotated[str, Field(min_length=1, max_length=MAX_TEXT), Sound]
Tags = Annotated[
    list[Tag] | None, Query(max_length=MAX_TAGS, description="Has all of these tags.", examples=[["dog"]])
]
Orientation = Literal["landscape", "portrait", "square"]


async def _where(
    folder: Folder = None,
    after: After = None,
    before: Before = None,
    camera: Annotated[
        NAME, Query(description="Camera make or model contains this.", examples=["Canon"])
    ] = None,
    near: Annotated[NAME, Query(description="A town, a country, or LAT,LON,KM.", examples=["Lisbon"])] = None,
    orientation: Annotated[Orientation | None, Query(description="Which way it lies.")] = None,
    min_size: Annotated[
        NAME, Query(description="1000 (longer side), 1920x1080 or 12MP.", examples=["12MP"])
    ] = None,
    type: Annotated[
        NAME, Query(description="jpeg, png, heic, raw ...; several with commas.", examples=["jpeg,heic"])
    ] = None,
    tag: Tags = None,
) -> Filter:
    found = Filter(
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
    return _whole(found)


def _whole(where: Filter) -> Filter:
    """The filter, if its folder says by itself where it is: this process has a place of its own."""
    folder = where.folder
    if folder is not None and not os.path.isabs(os.path.expanduser(folder)):
        raise QueryError(f"The folder of a filter is given by its whole path, not as '{folder}'.")
    return where


Where = Annotated[Filter, Depends(_where)]


def told_place(where: Filter) -> dict[str, str]:
    """Which place a name was taken for: many share one."""
    return {} if where.place is None else {"near": str(where.area)}


class Body(BaseModel):
    """What comes as JSON; a name with a slip in it must not be passed over."""

    model_config = ConfigDict(extra="forbid")


class Conditions(Body):
    """The same in a body: which pictures may be found at all."""

    folder: Annotated[
        Annotated[str, Field(min_length=1, max_length=4096), Sound] | None,
        Field(alias="in", description="Below this folder."),
    ] = None
    after: Annotated[Annotated[str, Field(max_length=32), Sound] | None, Field(examples=["2023-07"])] = None
    before: Annotated[str, Field(max_length=32), Sound] | None = None
    camera: Tag | None = None
    near: Tag | None = None
    orientation: Orientation | None = None
    min_size: Tag | None = None
    type: Tag | None = None
    tag: Annotated[tuple[Tag, ...], Field(max_length=MAX_TAGS)] = ()

    @property
    def where(self) -> Filter:
        return _whole(
            Filter(
                folder=self.folder,
                after=self.after,
                before=self.before,
                camera=self.camera,
                near=self.near,
                orientation=self.orientation,
                min_size=self.min_size,
                type=self.type,
                tags=self.tag,
            )
        )


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


@dataclass(frozen=True, slots=True)
class Sent:
    """Pictures that came along. They stay in their files while they wait for who works on them."""

    files: tuple[BinaryIO, ...]

    def __len__(self) -> int:
        return len(self.files)

    def digests(self) -> tuple[str, ...]:
        """What tells these pictures from others."""
        return tuple(hashlib.sha256(_read(file)).hexdigest() for file in self.files)

    def pictures(self) -> list[Image.Image]:
        """Upright, and all of them in memory."""
        room = MAX_TOGETHER
        found = []
        for file in self.files:
            data = _read(file)
            width, height = open_image(data).size
            if width * height > MAX_PIXELS:
                raise ImageTooLarge(f"A picture has at most {MAX_PIXELS // 10**6} megapixels.")
            room -= width * height
            if room < 0:
                raise ImageTooLarge(f"All pictures have at most {MAX_TOGETHER // 10**6} megapixels together.")
            found.append(load_image(data))
        return found


def sent(files: Sequence[UploadFile], *, most: int = MAX_PICTURES) -> Sent:
    """The pictures of a request, if they are not too many or too large."""
    if len(files) > most:
        raise QueryError(
            "This takes one picture, no more." if most == 1 else f"At most {most} pictures are taken at once."
        )
    if any(file.size is None or file.size > MAX_UPLOAD for file in files):
        raise ImageTooLarge(f"A picture has at most {MAX_UPLOAD // 10**6} MB.")
    return Sent(tuple(file.file for file in files))


def _read(file: BinaryIO) -> bytes:
    file.seek(0)
    return file.read()
