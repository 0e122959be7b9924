"""What every tool needs of the library: which picture is meant, how it looks, what may be found."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from retrieval.calls import Calls
from retrieval.catalog import Catalog
from retrieval.db import reads
from retrieval.errors import ImageUnreadable, QueryError
from retrieval.mcp.results import small_jpeg
from retrieval.query.filters import MAX_TAGS, MAX_TEXT, Filter
from retrieval.types import Failure, path_fields

if TYPE_CHECKING:
    from retrieval.protocols import Answerer, Captioner

MAX_ID = 2**63 - 1
MAX_PATH = 4096
SIDE = 256
"""Pixels of the longer side of a picture that goes along with a list of them."""

PictureId = Annotated[int, Field(ge=1, le=MAX_ID)]
Picture = Annotated[
    PictureId | Annotated[str, Field(min_length=1, max_length=MAX_PATH)],
    Field(description="A picture of the library: its image_id, or its whole path."),
]
Date = Annotated[str, Field(max_length=32)]
Name = Annotated[str, Field(min_length=1, max_length=MAX_TEXT)]


class Where(BaseModel):
    """Which pictures may be found at all; what is left out allows every picture."""

    model_config = ConfigDict(extra="forbid")

    folder: Annotated[
        str | None, Field(max_length=MAX_PATH, description="Below this folder; its whole path.")
    ] = None
    after: Annotated[Date | None, Field(description="Taken then or later: 2023, 2023-07 or 2023-07-15.")] = (
        None
    )
    before: Annotated[Date | None, Field(description="Taken earlier than that; for all of 2023: 2024.")] = (
        None
    )
    camera: Annotated[Name | None, Field(description="Camera make or model contains this.")] = None
    near: Annotated[
        Name | None,
        Field(
            description='Taken near a town or in a country ("Bergen", "Bergen, Norway, 30"), or LAT,LON,KM.'
        ),
    ] = None
    orientation: Annotated[
        Literal["landscape", "portrait", "square"] | None, Field(description="Which way the picture lies.")
    ] = None
    min_size: Annotated[
        Name | None, Field(description="At least this large: 1000 (longer side), 1920x1080 or 12MP.")
    ] = None
    type: Annotated[
        Name | None, Field(description="Kind of file: jpeg, png, heic, raw ...; several with commas.")
    ] = None
    tags: Annotated[list[Name], Field(max_length=MAX_TAGS, description="Has all of these tags.")] = []

    def filter(self) -> Filter:
        given = self.model_dump()
        return Filter(**{**given, "tags": tuple(given["tags"])})


Limits = Annotated[Where | None, Field(description="Which pictures may be found at all.")]


@dataclass(frozen=True, slots=True)
class Library:
    """An open catalog, and how it is used by those who call."""

    catalog: Catalog
    answerer: Answerer
    captioner: Captioner
    calls: Calls = field(default_factory=Calls)

    def picture(self, image: int | str) -> tuple[int, Path]:
        """The picture that is meant, by id or path, and where its file is.

        Only rows are looked at: what else is on the disk cannot be found out with it.
        """
        named = int(image) if isinstance(image, int) or (image.isdecimal() and len(image) < 19) else image
        with self.catalog.state.snapshot() as reader:
            if isinstance(named, int):
                image_id: int | None = named
            else:
                # Paths of the catalog are whole ones: a part of one is none of them.
                path = os.path.normpath(os.path.expanduser(named))
                try:
                    row = reads.file_at(reader, os.fsencode(path))
                except UnicodeEncodeError:
                    row = None
                image_id = None if row is None else row.id
            shown = {} if image_id is None else reads.shown(reader, [image_id])
        if image_id is None or image_id not in shown:
            raise QueryError(
                f"The library has no picture '{image}'. Give an image_id that search_images found, "
                "or the whole path of an indexed picture."
            )
        return image_id, Path(os.fsdecode(shown[image_id].path))

    def jpeg(self, image_id: int, path: Path, side: int) -> tuple[bytes, tuple[int, int]]:
        """The picture made small; raises where its file cannot be shown."""
        small = small_jpeg(path, side)
        if isinstance(small, Failure):
            raise ImageUnreadable(
                f"Picture {image_id} cannot be shown: {small.detail}. What the library knows of it can "
                "still be asked for: describe_image",
                reason=small.reason,
            )
        return small

    def jpegs(self, pictures: Sequence[tuple[int, Path]], notes: list[str]) -> list[tuple[int, bytes]]:
        """Pictures to go along with a list; of one that cannot be shown, a note says so."""
        found = []
        for image_id, path in pictures:
            small = small_jpeg(path, SIDE)
            if isinstance(small, Failure):
                notes.append(f"Picture {image_id} cannot be shown: {small.detail}.")
            else:
                found.append((image_id, small[0]))
        return found


def limits(where: Where | None) -> tuple[Filter, list[str]]:
    """The filter, and a note on which of the places of a name it is about."""
    found = Filter() if where is None else where.filter()
    return found, [] if found.place is None else [f"Near {found.area}."]


def named(image_id: int, path: Path) -> dict[str, object]:
    return {"image_id": image_id, **path_fields(path)}
