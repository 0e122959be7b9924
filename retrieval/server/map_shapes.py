"""What the API gives back of the map.

Annotations are no strings here, because FastAPI reads them.
"""

from typing import Annotated, Literal

from pydantic import Field

from retrieval.server.kept_shapes import Count
from retrieval.server.shapes import Id, Shape

SIDE = 65535
Coordinate = Annotated[int, Field(ge=0, le=SIDE, examples=[32768])]


class MapArea(Shape):
    """Pictures that lie together, and what most of them show."""

    name: Annotated[str, Field(examples=["dog, beach"])]
    level: Annotated[int, Field(ge=0, description="0 from afar; each further level has smaller areas.")]
    x: Coordinate
    y: Coordinate
    count: Annotated[
        int, Field(ge=1, description="Pictures that are nearer to it than to others.", examples=[12])
    ]


class LibraryMap(Shape):
    """The library on a plane: in `ids`, `x` and `y` the same place is the same picture's."""

    method: Annotated[
        Literal["directions", "neighbours"],
        Field(description="Along the main directions of the vectors, or laid out by neighbours."),
    ]
    encoder: Annotated[str, Field(description="Whose vectors they are; empty without any.")]
    total: Count
    side: Annotated[int, Field(description="From where to where `x` and `y` go: 0 to this.", examples=[SIDE])]
    ids: list[Id]
    x: list[Coordinate]
    y: list[Coordinate]
    areas: list[MapArea]
    passing: Annotated[
        list[Id] | None, Field(description="The pictures that pass the filters; null without any.")
    ]
    late: Annotated[int, Field(ge=0, description="Pictures that came since the map was made.")]
    outdated: Annotated[bool, Field(description="Whether it is worth being made, or made anew.")]
    can_make: Annotated[bool, Field(description="Whether this server may make it.")]
    job: Annotated[int | None, Field(description="The job that makes it now.", examples=[3])]
