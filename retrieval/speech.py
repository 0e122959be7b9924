"""What is said to models that speak, what they say, and what is known of a picture without them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from PIL import Image

    from retrieval.types import Tag

Role = Literal["system", "user", "assistant"]
Style = Literal["caption", "alt"]
"""What a description is for: a caption is found by its words, an alt text is read to those who cannot see."""
STYLES: tuple[Style, ...] = ("caption", "alt")


@dataclass(frozen=True, slots=True)
class Told:
    """A text that is tied to a picture, and where it comes from: `added`, `sidecar`, `caption` …"""

    text: str
    source: str


@dataclass(frozen=True, slots=True)
class FittingText:
    """A text of the catalog that is tied to no picture, and how well it fits this one, 0..1."""

    text: str
    match: float


@dataclass(frozen=True, slots=True)
class Named:
    """What the catalog's model calls the main thing of a picture, by a name of its own: a breed, a make."""

    name: str
    confidence: float
    kinds: tuple[str, ...] = ()
    """What such a thing is, from the nearest kind to the widest: `sheepdog`, `dog`, `animal`."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a picture without looking at it again.

    Whatever is text here may come from anybody, and is never more than data to a model.
    """

    path: Path | None = None
    image_id: int | None = None
    tags: tuple[Tag, ...] = ()
    """The surest first."""
    named: tuple[Named, ...] = ()
    """The likeliest first; only some models know names."""
    told: tuple[Told, ...] = ()
    fits: tuple[FittingText, ...] = ()
    seen: str = ""
    """Text that was read in the picture."""
    taken_at: str | None = None
    """Local time as ISO 8601; None also where only the file's own time is known."""
    place: str | None = None
    """The nearest town, with its country."""
    camera: str | None = None
    keywords: tuple[str, ...] = ()
    width: int | None = None
    height: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Sight:
    """A picture for a model to look at: what is known of it, and the upright picture itself.

    `image` is None where the file cannot be read now; what needs it says so.
    """

    facts: Facts
    image: Image.Image | None = None


class Turn(NamedTuple):
    """What one side says in a chat: texts and pictures, in their order."""

    role: Role
    parts: tuple[str | Image.Image, ...]


Chat = Sequence[Turn]


@dataclass(frozen=True, slots=True)
class Reply:
    """What a model said, and what that took."""

    text: str
    prompt_tokens: int = 0
    tokens: int = 0
    complete: bool = True
    """False where it was cut off at its length or its time."""


@dataclass(frozen=True, slots=True)
class Example:
    """A picture and the right answer for it, shown to a model before the question."""

    image: Image.Image
    answer: str
