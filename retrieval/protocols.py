"""What the parts promise each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

    from retrieval.answers.shapes import Finding, Inquiry, Plan
    from retrieval.speech import Chat, Named, Reply, Sight, Style
    from retrieval.types import Encoded, Prepared, Vectors

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


@runtime_checkable
class Naming(Protocol):
    """An encoder that has names of its own for some things, from bytes kept with each vector."""

    def names(self, aux: Sequence[bytes]) -> list[list[Named]]:
        """What the main thing of each picture may be, the likeliest first; chances add up to 1 at most."""
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


class Speaker(Protocol):
    """A model that sees pictures and speaks: what captioners and answerers are made of.

    It loads when it is first asked, and may be asked from several threads at once.
    """

    @property
    def id(self) -> str:
        """Names the model and its weights for good, as far as they can be told: see `Settling`."""
        ...

    @property
    def batch_size(self) -> int:
        """How many chats one `reply` call should get."""
        ...

    @property
    def note(self) -> str:
        """What a person should know about where pictures go, in a sentence; often empty."""
        ...

    def reply(
        self,
        chats: Sequence[Chat],
        *,
        max_tokens: int = 256,
        seconds: float | None = None,
        temperature: float = 0.0,
        seed: int = 0,
        on_text: Callable[[str], None] | None = None,
    ) -> list[Reply]:
        """What the model says next in each chat.

        It is done within about `seconds`, and then gives what it has; where no chat got a single
        word by then, that is a `ModelError`. At temperature 0 the
        same chat gets the same reply; else `seed` decides. Text in a chat is only ever
        text: what a model's own marks look like in it has no effect. `on_text` gets the
        reply to a single chat piece by piece, where the model can do that.
        """
        ...


class Captioner(Protocol):
    """Puts pictures into words."""

    @property
    def id(self) -> str:
        """Names the captioner, its model and the version of its prompts: captions are kept under it."""
        ...

    @property
    def batch_size(self) -> int: ...

    @property
    def sees(self) -> bool:
        """Whether it looks at the picture itself; one that does not goes by what is known of it."""
        ...

    @property
    def note(self) -> str:
        """What a person should know about it, in a sentence; often empty."""
        ...

    def captions(
        self, sights: Sequence[Sight], *, style: Style = "caption", count: int = 1
    ) -> list[list[str]]:
        """Up to `count` different captions of each picture, the best first; none where it has no words."""
        ...


@runtime_checkable
class Settling(Protocol):
    """A speaker or captioner whose `id` names no model before one was asked, or settled on by this.

    What keeps something under the id settles it first.
    """

    def settle(self, seconds: float | None = None) -> None:
        """Find out which model it is, within a few seconds at the most; a `ModelError` where that fails."""
        ...


class Answerer(Protocol):
    """What thinks in the steps of an answer; the steps themselves are plain code around it.

    It may be asked about several questions at once, and so keeps nothing of a question itself: each
    comes with its time (`Inquiry.seconds`), and what was asked of a model for it is written
    into its `Inquiry.ledger`.
    """

    @property
    def id(self) -> str: ...

    @property
    def note(self) -> str:
        """What a person should know about it, in a sentence; often empty."""
        ...

    @property
    def batch_size(self) -> int:
        """How many pictures one `look` call should get."""
        ...

    @property
    def sees(self) -> bool:
        """Whether it looks at the pictures themselves; one that does not goes by what is known of them."""
        ...

    def plan(self, inquiry: Inquiry) -> Plan:
        """What to search for, and what kind of answer is wanted."""
        ...

    def look(self, inquiry: Inquiry, plan: Plan, sights: Sequence[Sight]) -> list[Finding]:
        """What each picture says to the question."""
        ...

    def draft(self, inquiry: Inquiry, plan: Plan, findings: Sequence[Finding]) -> str:
        """An answer in sentences that cite pictures as [1], [2], in the order of the findings."""
        ...

    def check(self, inquiry: Inquiry, claims: Sequence[tuple[str, Sight]]) -> list[float | None]:
        """How far each picture bears out what is said of it, 0..1; None where it cannot tell."""
        ...


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
