"""How true the product's pixels are: against open_clip's own, by the vectors that a model gives for both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from retrieval.protocols import Encoder
    from retrieval.types import Prepared

SMALL = 100


def cosines(spec: str, photos: Path, large: Path, count: int) -> dict[str, tuple[int, float, float, float]]:
    """For small photos and large ones: how many, and the cosines with open_clip's own preprocessing.

    The mean, the least, and the least after the mean vector was taken from all: a network with
    random weights gives all pictures similar vectors, and what is common to all proves nothing.
    """
    import numpy as np
    from PIL import Image

    from indexer.export import encoder_for_indexing
    from retrieval.images import load_image
    from retrieval.types import Prepared

    encoder, transform = encoder_for_indexing(spec), theirs(spec)
    groups = {
        "small": sorted(photos.iterdir())[:SMALL],
        "12 megapixels, drawn": sorted(large.iterdir())[:count],
    }
    pairs = {}
    for label, paths in groups.items():
        ours, reference = [], []
        for path in paths:
            ours.append(encoder.preparer(load_image(path, wanted=encoder.preparer.wanted)))
            with Image.open(path) as image:
                reference.append(Prepared(transform(image)[None]))
        pairs[label] = (encode(encoder, ours), encode(encoder, reference))
    centre = np.concatenate([reference for _, reference in pairs.values()]).mean(0)
    found = {}
    for label, (mine, reference) in pairs.items():
        plain = (mine * reference).sum(1)
        apart = [rows - centre for rows in (mine, reference)]
        apart = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in apart]
        centred = (apart[0] * apart[1]).sum(1)
        found[label] = (len(plain), float(plain.mean()), float(plain.min()), float(centred.min()))
    return found


def encode(encoder: Encoder, pixels: Sequence[Prepared]) -> Any:
    import numpy as np

    parts = range(0, len(pixels), encoder.batch_size)
    return np.concatenate(
        [encoder.encode_prepared(pixels[start : start + encoder.batch_size]).vectors for start in parts]
    )


def theirs(spec: str) -> Callable[[Any], Any]:
    """open_clip's own transform of this model, up to where it normalises colours: the product's
    network does that itself, and undoing it gives back whole numbers exactly.
    """
    import numpy as np
    import open_clip

    from retrieval.encoders import exports

    name = exports.parse_spec(spec)
    if name.arch.endswith(".json"):
        open_clip.add_model_config(Path(name.arch))
    _, _, transform = open_clip.create_model_and_transforms(Path(name.arch).stem, pretrained=name.source)
    normalise = transform.transforms[-1]

    def pixels(image: Any) -> Any:
        values = transform(image).numpy()
        mean, deviation = (np.array(figure)[:, None, None] for figure in (normalise.mean, normalise.std))
        return np.rint((values * deviation + mean) * 255).astype(np.uint8).transpose(1, 2, 0).copy()

    return pixels
