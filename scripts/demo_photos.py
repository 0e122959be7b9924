"""Gather a small folder of real photographs: those that scikit-image ships inside its wheel."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

# What a camera, a telescope or a microscope saw; the package's drawings and test patterns stay out.
PHOTOS = (
    "astronaut.png", "brick.png", "camera.png", "cell.png", "chelsea.png", "clock_motion.png",
    "coffee.png", "coins.png", "grass.png", "gravel.png", "hubble_deep_field.jpg", "ihc.png", "moon.png",
    "motorcycle_left.png", "motorcycle_right.png", "page.png", "retina.jpg", "rocket.jpg", "text.png",
)  # fmt: skip


def gather(target: Path) -> int:
    import skimage

    source = Path(skimage.__file__).parent / "data"
    target.mkdir(parents=True, exist_ok=True)
    found = [source / name for name in PHOTOS if (source / name).is_file()]
    for path in found:
        shutil.copyfile(path, target / path.name)
    return len(found)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    print(f"{gather(folder)} photographs gathered in {folder}/")
