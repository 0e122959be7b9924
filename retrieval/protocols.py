"""What the parts promise each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

    from retrieval.types import Answer, Description, Encoded, Hit, Prepared, Vectors


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

    def match(self, scores: NDArray[np.float32], sample: NDArray[np.float32]) -> NDArray[np.float32]:
        """How likely each of `scores` is relevant, 0..1 and monotone in the score.

        `scores` and `sample` are raw cosines of one text query; `sample` is the catalog's
        whole score distribution for it, or a fair draw from it.
        """
        ...


@runtime_checkable
class SecondStage(Protocol):
    """An encoder that can look again at its best candidates, from bytes kept with each vector."""

    def rescore(
        self, text: str, query: NDArray[np.float32], scores: NDArray[np.float32], aux: Sequence[bytes]
    ) -> NDArray[np.float32]:
        """New scores, higher is better, for candidates given best first; only their order counts."""
        ...


class Reranker(Protocol):
    """Looks at candidates and the query together, and says how well each fits."""

    @property
    def id(self) -> str: ...

    def rerank(self, text: str, images: Sequence[Image.Image]) -> NDArray[np.float32]:
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

    def vectors(self, image_ids: NDArray[np.int64]) -> Vectors: ...

    def aux(self, image_ids: NDArray[np.int64]) -> list[bytes]:
        """The bytes an encoder keeps beside each vector for its second stage."""
        ...


Progress = Callable[[str, dict[str, Any]], None]
"""Told of each step of a long job: a name and figures. Never raises, never blocks for long."""
