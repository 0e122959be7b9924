"""What the parts promise each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

    from retrieval.types import Answer, Description, Encoded, Hit, Prepared, Vectors

Pair = Literal["text-image", "image-image", "image-text", "text-text"]
"""What is compared, the query's kind first: cosines of each pair have a distribution of their own."""


class Preparer(Protocol):
    """Turns an open picture into an encoder's pixels; picklable, and needs no model.

    Loading processes hold one of these, so that decoding, resizing and cropping happen
    beside the encoder. `wanted` says how large a `width` × `height` picture has to be
    decoded at the least: a JPEG may then be decoded at a fraction of its size.
    """

    def wanted(self, width: int, height: int) -> tuple[int, int]: ...

    def __call__(self, image: Image.Image) -> Prepared:
        """Prepare an upright RGB picture, whatever size it was decoded at.

        `image.info["full_size"]`, where present, is the upright size before scaled decoding.
        """
        ...


@runtime_checkable
class Encoder(Protocol):
    """Puts pictures and texts into one space.

    Towers load late and apart: a text query never loads the image tower. Every method
    may be called from several threads at once.
    """

    @property
    def id(self) -> str:
        """Family, name, weights hash and preprocessing version: names the space for good."""
        ...

    @property
    def dim(self) -> int: ...

    @property
    def preparer(self) -> Preparer: ...

    @property
    def batch_size(self) -> int:
        """How many pictures one `encode_prepared` call should get."""
        ...

    @property
    def parallel(self) -> int:
        """How many `encode_prepared` calls should run at the same time."""
        ...

    @property
    def cutoff(self) -> float:
        """The match below which a hit is not shown unless asked for."""
        ...

    def encode_prepared(self, batch: Sequence[Prepared]) -> Encoded: ...

    def encode_images(self, images: Sequence[Image.Image]) -> Vectors: ...

    def encode_texts(self, texts: Sequence[str]) -> Vectors: ...

    def match(
        self, scores: NDArray[np.float32], sample: NDArray[np.float32], *, pair: Pair = "text-image"
    ) -> NDArray[np.float32]:
        """How likely each of `scores` is relevant, 0..1 and monotone in the score.

        `scores` and `sample` are raw cosines of one query; `sample` is the catalog's whole
        score distribution for it, or a fair draw from it.
        """
        ...


class Sample(NamedTuple):
    """A fair draw from the catalog, row for row: how a query does on the whole."""

    scores: NDArray[np.float32]
    aux: Sequence[bytes]


@runtime_checkable
class SecondStage(Protocol):
    """An encoder that can look again at candidates, from bytes kept with each vector."""

    def look_again(
        self,
        text: str,
        query: NDArray[np.float32],
        scores: NDArray[np.float32],
        aux: Sequence[bytes],
        sample: Sample,
    ) -> NDArray[np.float32]:
        """How likely each candidate of one text query is relevant, 0..1: it stands by itself.

        What one candidate gets does not depend on the other candidates, so that the order
        by it is the same however many are looked at.
        """
        ...


@runtime_checkable
class Regional(Protocol):
    """An encoder that can tell the parts of a picture apart, in the same space."""

    def encode_regions(self, image: Image.Image) -> NDArray[np.float32]:
        """Vectors [rows, columns, dim] of an even grid over the whole upright picture.

        Their products with a query are on the scale of whole pictures' scores. They are not of
        unit length: a place where little is to be recognised may have a short one. A place that
        the model never sees, as beyond a centre crop, has a vector of zeros.
        """
        ...


class Reranker(Protocol):
    """Looks at a picture and a query together, and says how well they fit.

    What costs most, the look at the picture, is apart from the judging, so that it is done
    once a picture and kept.
    """

    @property
    def id(self) -> str:
        """Names the reranker and its weights for good: what `look` gave is kept under it."""
        ...

    @property
    def batch_size(self) -> int: ...

    def look(self, images: Sequence[Image.Image]) -> list[NDArray[np.float16]]:
        """What of each picture the judging needs."""
        ...

    def judge(self, text: str, looks: Sequence[NDArray[np.float16]]) -> NDArray[np.float32]:
        """A score for each picture, higher is better; only their order counts."""
        ...


class Captioner(Protocol):
    """Puts pictures into words."""

    @property
    def id(self) -> str: ...

    def describe(self, images: Sequence[Image.Image]) -> list[Description]: ...


class Answerer(Protocol):
    """Answers a question from pictures that were found for it."""

    @property
    def id(self) -> str: ...

    def answer(self, question: str, hits: Sequence[Hit]) -> Answer: ...


class VectorStore(Protocol):
    """The vectors of one encoder, searchable by inner product."""

    @property
    def kind(self) -> str: ...

    @property
    def ids(self) -> NDArray[np.int64]:
        """Image ids, ascending."""
        ...

    def search(
        self, query: NDArray[np.float32], k: int, *, allowed: NDArray[np.bool_] | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Ids and scores of the best `k`, best first, ties by id; `allowed` is a mask over `ids`."""
        ...

    def sample(
        self, query: NDArray[np.float32], *, allowed: NDArray[np.bool_] | None = None
    ) -> NDArray[np.float32]:
        """Scores of rows drawn evenly from the catalog: how this query does on the whole."""
        ...

    def sampled(self, *, allowed: NDArray[np.bool_] | None = None) -> NDArray[np.int64]:
        """The ids of the rows that `sample` scores, in the same order."""
        ...

    def vectors(self, image_ids: NDArray[np.int64]) -> Vectors: ...

    def aux(self, image_ids: NDArray[np.int64]) -> list[bytes]:
        """The bytes an encoder keeps beside each vector for its second stage."""
        ...


Progress = Callable[[str, dict[str, Any]], None]
"""Told of each step of a long job: a name and figures. Never raises, never blocks for long."""
