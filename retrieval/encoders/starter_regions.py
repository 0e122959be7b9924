"""Which class each place of a picture looks like to the starter, as vectors in the space of its texts.

The classifier is linear, so it can be asked about the features around one place instead of
the mean over all of them. These features come from a network of their own in the cache: the
one for whole pictures would get a tenth slower if it gave them too.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from retrieval.encoders.classes import CLASSES, load_labels
from retrieval.encoders.efficientnet import open_network
from retrieval.encoders.regions import Box, Look, grid_of, lay
from retrieval.encoders.starter import best_classes, softmax

if TYPE_CHECKING:
    import onnxruntime
    from numpy.typing import NDArray
    from PIL import Image

    from retrieval.encoders.starter import StarterEncoder


def encode_regions(encoder: StarterEncoder, image: Image.Image) -> NDArray[np.float32]:
    """Vectors of an even grid over the picture, from the same views that its own vector is made of.

    They are the shorter the less there is to be recognised at their place.
    """
    width, height = image.info.get("full_size", image.size)
    preparer = encoder.preparer
    network, labels = _tower(encoder.variant.partition("-")[0])
    looks = []
    for pixels, box in zip(preparer(image).pixels, preparer.boxes(width, height), strict=True):
        (logits,) = network.run(None, {"pixels": pixels[None]})
        side = round(logits.shape[1] ** 0.5)
        chances = softmax(logits.reshape(-1, CLASSES))
        classes, shares = best_classes(chances)
        vectors = np.einsum("nk,nkd->nd", shares, labels[classes])
        # A place that could be anything is a little like everything, most of all like a dog, of which
        # there are 118 classes. How much of the chances the best have says whether it is something; its
        # root leaves more of what is small or unclear (the best of five powers tried on collages).
        sure = np.take_along_axis(chances, classes.astype(np.intp), axis=1).sum(1, keepdims=True)
        vectors *= np.sqrt(sure) / np.linalg.norm(vectors, axis=1, keepdims=True)
        left, top, right, bottom = box
        place = Box(left / width, top / height, right / width, bottom / height)
        looks.append(Look(vectors.reshape(side, side, -1), place))
    return lay(looks, *grid_of(width, height))


@cache
def _tower(name: str) -> tuple[onnxruntime.InferenceSession, NDArray[np.float32]]:
    return open_network(name, cells=True), load_labels()
