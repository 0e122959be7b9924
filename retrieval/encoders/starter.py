"""The built-in encoder, made only of weights that pip-installed packages carry.

A picture becomes the chances of 1000 classes, and these become one vector in the space of
the text model, where each class has its place. It knows objects, animals, food, vehicles
and scenes, in English; it does not know people, actions, counting or negation.
"""

from __future__ import annotations

import math
import re
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from retrieval import config
from retrieval.encoders.classes import CLASSES, TOP, ClassStage, Posterior, chance, load_labels, pack
from retrieval.encoders.colour import COLOURS, colour_fractions
from retrieval.encoders.efficientnet import LITES, open_network
from retrieval.errors import UnknownModel
from retrieval.types import Encoded, Prepared

if TYPE_CHECKING:
    from collections.abc import Sequence

    import onnxruntime
    from numpy.typing import NDArray
    from PIL import Image

    from retrieval.encoders.minilm import TextTower
    from retrieval.protocols import Pair, Sample
    from retrieval.speech import Named
    from retrieval.types import Vectors

FAMILY = "starter"
VERSION = 1
"""Part of the id: raised when the same picture or text would get another vector."""

DEFAULT = "lite2-normal"
NAMES = {
    "lite2": "lite2-normal",
    "lite0": "lite0-normal",
    **{name: name for name in ("lite2-normal", "lite2-fast", "lite0-normal", "lite0-fast")},
}

CENTRE = 0.875
NEARLY_SQUARE = 1.15
DECODE_AT = 2
"""A picture is decoded at no less than this many times the size it is shrunk to."""

TEMPERATURE = 1.3
WINDOWS_SHARE = 0.4
HEADS_KEPT = 64
VIEWS_A_RUN = 4
"""More at once do not fit the processor's cache and take longer each."""

# How likely a score means a relevant picture, where a text meets vectors alone: a logistic curve on the
# score and on the mean score of the query over the catalog, for a query that fits everything a little has
# to be met better. The mean is drawn to its usual value in small catalogs, and held in the range seen in
# mixed ones, so that a folder of nothing but dogs still answers "a dog". All weights are printed by
# benchmarks/calibrate_starter.py.
MATCH_SCORE, MATCH_MEAN, MATCH_BIAS = 17.2, -8.4, -8.2
USUAL_MEAN, USUAL_COUNT = 0.26, 30
LOWEST_MEAN, HIGHEST_MEAN = 0.17, 0.34
# The other pairs, on the score alone, weight and bias: what a picture or a text fits does not depend on
# what else is there, and their means over a catalog told nothing more. Pictures are all closer to each
# other than to texts, for each is a mean of several classes; captions lie farther from a query than
# classes do, for they say other things too.
OTHER_PAIRS = {"image-image": (18.0, -14.7), "image-text": (17.1, -11.2), "text-text": (14.6, -7.2)}


class StarterEncoder:
    """`starter`, `starter:lite0`, `starter:lite2-fast` …; free to make, its towers load when needed."""

    dim = 384
    batch_size = 8
    cutoff = 0.5
    reads_only = "English"

    def __init__(self, spec: str = FAMILY) -> None:
        rest = spec.partition(":")[2] if ":" in spec else DEFAULT
        if rest not in NAMES:
            valid = ", ".join(f"{FAMILY}:{name}" for name in NAMES)
            raise UnknownModel(f"The starter has no variant '{rest}'. Name one of: {FAMILY}, {valid}")
        self.variant = NAMES[rest]
        self._lite, _, mode = self.variant.partition("-")
        self._whole = mode == "fast"
        self._stage = ClassStage()
        self._lock = threading.Lock()
        self._image: tuple[onnxruntime.InferenceSession, Vectors] | None = None
        self._text: TextTower | None = None
        self._heads: dict[str, NDArray[np.float32]] = {}

    @property
    def id(self) -> str:
        return f"{FAMILY}/{self.variant}/{LITES[self._lite].sha256[:12]}/{VERSION}"

    @property
    def parallel(self) -> int:
        return config.cores()

    @property
    def preparer(self) -> StarterPreparer:
        return StarterPreparer(LITES[self._lite].size, self._whole)

    def encode_prepared(self, batch: Sequence[Prepared]) -> Encoded:
        network, labels = self._image_tower()
        if not batch:
            return Encoded(np.zeros((0, self.dim), np.float32), [])
        counts = [len(item.pixels) for item in batch]
        views = np.concatenate([item.pixels for item in batch])
        runs = [
            network.run(None, {"pixels": views[start : start + VIEWS_A_RUN]})
            for start in range(0, len(views), VIEWS_A_RUN)
        ]
        whole = softmax(np.concatenate([logits for logits, _ in runs]))
        firsts = np.cumsum([0, *counts[:-1]])
        chances = (np.add.reduceat(whole, firsts) / np.array(counts)[:, None]).astype(np.float32)
        if self._whole:
            windows = softmax(np.concatenate([windows for _, windows in runs])).max(1)
            chances = (1 - WINDOWS_SHARE) * chances + WINDOWS_SHARE * spread(*best_classes(windows))
        classes, shares = best_classes(chances)
        # A sum over twenty rows each, not a product of matrices: the threads of a BLAS would go on
        # spinning after it and take the cores from the network (13 ms of 33 a picture, measured).
        vectors = np.einsum("nk,nkd->nd", shares.astype(np.float32), labels[classes])
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        colours = np.stack([_colours(item.extra) for item in batch])
        return Encoded(vectors, pack(Posterior(classes, shares.astype(np.float16), colours)))

    def encode_images(self, images: Sequence[Image.Image]) -> Vectors:
        prepare = self.preparer
        rows = [
            self.encode_prepared(
                [prepare(image) for image in images[start : start + self.batch_size]]
            ).vectors
            for start in range(0, len(images), self.batch_size)
        ]
        return np.concatenate(rows) if rows else np.zeros((0, self.dim), np.float32)

    def encode_regions(self, image: Image.Image) -> NDArray[np.float32]:
        from retrieval.encoders.starter_regions import encode_regions

        return encode_regions(self, image)

    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        return self._text_tower().encode([strip_request(text) for text in texts])

    def look_again(
        self,
        text: str,
        query: NDArray[np.float32],
        scores: NDArray[np.float32],
        aux: Sequence[bytes],
        sample: Sample,
    ) -> NDArray[np.float32]:
        return self._stage.look_again(strip_request(text), query, scores, aux, sample, self._head_vector)

    def names(self, aux: Sequence[bytes]) -> list[list[Named]]:
        from retrieval.encoders.starter_names import names

        return names(aux)

    def match(
        self, scores: NDArray[np.float32], sample: NDArray[np.float32], *, pair: Pair = "text-image"
    ) -> NDArray[np.float32]:
        if pair != "text-image":
            weight, bias = OTHER_PAIRS[pair]
            return chance(weight * scores + bias)
        known = float(sample.sum()) + USUAL_MEAN * USUAL_COUNT
        mean = min(max(known / (len(sample) + USUAL_COUNT), LOWEST_MEAN), HIGHEST_MEAN)
        return chance(MATCH_SCORE * scores + (MATCH_MEAN * mean + MATCH_BIAS))

    def _head_vector(self, head: str) -> NDArray[np.float32]:
        """Kept, for one query may be put to a catalog in many calls."""
        vector = self._heads.get(head)
        if vector is None:
            vector = self.encode_texts([head])[0]
            if len(self._heads) >= HEADS_KEPT:
                self._heads.clear()
            self._heads[head] = vector
        return vector

    def _image_tower(self) -> tuple[onnxruntime.InferenceSession, Vectors]:
        with self._lock:
            if self._image is None:
                self._image = open_network(self._lite), load_labels()
            return self._image

    def _text_tower(self) -> TextTower:
        with self._lock:
            if self._text is None:
                from retrieval.encoders.minilm import TextTower

                self._text = TextTower()
            return self._text


@dataclass(frozen=True, slots=True)
class StarterPreparer:
    """Cuts a picture into the views the network sees: `whole` is one, else two or three."""

    size: int
    whole: bool

    def wanted(self, width: int, height: int) -> tuple[int, int]:
        shrunk = min(width, height) * (1.0 if self.whole else CENTRE)
        scale = min(1.0, DECODE_AT * self.size / max(shrunk, 1.0))
        return math.ceil(width * scale), math.ceil(height * scale)

    def __call__(self, image: Image.Image) -> Prepared:
        from PIL.Image import Resampling

        if image.mode != "RGB":
            image = image.convert("RGB")
        width, height = image.info.get("full_size", image.size)
        if "reduced" in image.info:
            across = down = 1 / image.info["reduced"]
        else:
            across, down = image.width / width, image.height / height
        square = self.size, self.size
        views = []
        for left, top, right, bottom in self.boxes(width, height):
            # Division may round a box to a hair past the edge, which Pillow refuses.
            box = (
                left * across,
                top * down,
                min(right * across, image.width),
                min(bottom * down, image.height),
            )
            views.append(np.asarray(image.resize(square, Resampling.BICUBIC, box=box)))
        return Prepared(np.stack(views), colour_fractions(image).tobytes())

    def boxes(self, width: int, height: int) -> list[tuple[float, float, float, float]]:
        """The rectangles of the picture, in its own pixels, that the views are."""
        everything = (0.0, 0.0, float(width), float(height))
        if self.whole:
            return [everything]
        short = min(width, height)
        inner = short * CENTRE
        left, top = (width - inner) / 2, (height - inner) / 2
        centre = (left, top, left + inner, top + inner)
        if max(width, height) < NEARLY_SQUARE * short:
            return [centre, everything]
        ends = [(0.0, 0.0, short, short), (width - short, height - short, width, height)]
        return [centre, *ends]


_KIND = r"(?:photo(?:graph)?|picture|image|pic|snap(?:shot)?|shot)s?"
_ASKING = (
    r"(?:(?:please\s+)?(?:(?:can|could) you\s+)?(?:(?:show|give|get|find|bring)\s+(?:me|us)"
    r"|find|search\s+for|(?:i(?:'m|\s+am)\s+)?look(?:ing)?\s+for"
    r"|i\s+(?:want|need|would\s+like)(?:\s+to\s+see)?)\s+)"
)
_REQUEST = re.compile(
    rf"^\s*(?:{_ASKING}?(?:(?:all|any|some|every|the|an?|my|our|of|your)\s+)*{_KIND}\s+"
    rf"(?:of|with|showing|containing|where\s+there\s+(?:is|are))\s+|{_ASKING})",
    re.IGNORECASE,
)


def strip_request(text: str) -> str:
    """The thing itself, where a query asks for it in a sentence: "show me pictures of boats"."""
    return _REQUEST.sub("", text, count=1).strip() or text


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Chances along the last axis, a little flatter than the network was trained to give."""
    powers = np.exp((logits - logits.max(-1, keepdims=True)) / np.float32(TEMPERATURE))
    chances: NDArray[np.float32] = powers / powers.sum(-1, keepdims=True)
    return chances


def best_classes(chances: NDArray[np.float32]) -> tuple[NDArray[np.uint16], NDArray[np.float32]]:
    """The `TOP` likeliest classes of each row, likeliest first, and their shares of one."""
    near = np.argpartition(chances, -TOP, axis=1)[:, -TOP:]
    values = np.take_along_axis(chances, near, axis=1)
    order = np.argsort(-values, axis=1, kind="stable")
    values = np.take_along_axis(values, order, axis=1)
    classes = np.take_along_axis(near, order, axis=1).astype(np.uint16)
    return classes, values / values.sum(1, keepdims=True)


def spread(classes: NDArray[np.uint16], shares: NDArray[np.float32]) -> NDArray[np.float32]:
    """The reverse of `best_classes`: rows over all classes, zero outside the best."""
    rows = np.zeros((len(classes), CLASSES), np.float32)
    np.put_along_axis(rows, classes.astype(np.intp), shares, axis=1)
    return rows


def _colours(extra: bytes) -> NDArray[np.float16]:
    return np.frombuffer(extra, np.float16) if extra else np.zeros(len(COLOURS), np.float16)
