"""What a person would write: open_clip over a folder, eight pictures at a time.

    python benchmarks/plain_loop.py FOLDER ARCHITECTURE CHECKPOINT [--vectors FILE]

Prints one JSON object: how many pictures, the seconds of the loop alone, and the seconds of loading.
`peers.py` measures the product against it.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

BATCH = 8


def main() -> None:
    began = time.perf_counter()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "architecture", help="a name that open_clip knows, or a file of its own ending in .json"
    )
    parser.add_argument("checkpoint")
    parser.add_argument("--vectors", type=Path, help="keep the vectors here, as .npy")
    options = parser.parse_args()

    import numpy as np
    import open_clip
    import torch
    from PIL import Image

    architecture = options.architecture
    if architecture.endswith(".json"):
        open_clip.add_model_config(Path(architecture))
        architecture = Path(architecture).stem
    model, _, preprocess = open_clip.create_model_and_transforms(architecture, pretrained=options.checkpoint)
    model.eval()
    paths = sorted(options.folder.rglob("*.jpg"))
    loaded = time.perf_counter()
    vectors = []
    with torch.inference_mode():
        for start in range(0, len(paths), BATCH):
            batch = torch.stack([preprocess(Image.open(path)) for path in paths[start : start + BATCH]])
            rows = model.encode_image(batch)
            vectors.append((rows / rows.norm(dim=-1, keepdim=True)).numpy())
    ended = time.perf_counter()
    if options.vectors:
        np.save(options.vectors, np.concatenate(vectors))
    print(json.dumps({"pictures": len(paths), "seconds": ended - loaded, "loading": loaded - began}))


if __name__ == "__main__":
    main()
