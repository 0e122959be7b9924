"""Image towers in 8-bit numbers, made from exported ones by ONNX Runtime's own quantisation.

Weights are stored in 8 bits, a scale for each output; what flows between the layers is brought
to 8 bits as it comes, with a scale for each batch. So the vector of a picture depends a little
on its batch (a cosine of about 0.9999), which no fp32 runtime does.

The weights keep to 7 of their 8 bits. Processors without VNNI add two products up in 16 bits,
and full ones would overflow there: the same files would give other vectors on another machine.
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from retrieval.encoders.onnx import optimise

if TYPE_CHECKING:
    from collections.abc import Iterator

    from retrieval.encoders.exports import Export

VERSION = 1
"""Part of the id: raised when the same weights would be made into something else."""
MEMORY = 5
"""How many times the size of the tower its quantisation takes at its peak, about."""
QUANTISED = ["MatMul", "Gemm"]
"""Convolutions in int8 were slower than in fp32 wherever they were tried."""


def encoder_id(original: str) -> str:
    return f"{original}/int8-{VERSION}"


def quantise(original: Export, folder: Path) -> None:
    """Fill `folder` with the towers of an int8 model; its text tower is the original's own."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with tempfile.TemporaryDirectory(prefix=".partial-int8-", dir=folder.parent) as place:
        plain = Path(place) / "image.onnx"
        with _quiet():
            quantize_dynamic(
                original.folder / "image.onnx",
                plain,
                op_types_to_quantize=QUANTISED,
                per_channel=True,
                reduce_range=True,
                weight_type=QuantType.QInt8,
                use_external_data_format=True,
                extra_options={"MatMulConstBOnly": True},
            )
        # Fused already, and once more: the new operations have fused forms of their own.
        optimise(plain, folder / "image.onnx")
    for name in original.manifest["files"]:
        if not name.startswith("image."):
            _share(original.folder / name, folder / name)


def _share(source: Path, target: Path) -> None:
    """One file under two names where the file system can do that: either may be deleted."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep advice to programmers off the person's terminal; the root logger would print it."""
    root = logging.getLogger()
    handler, level = logging.NullHandler(), root.level
    root.addHandler(handler)
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(level)
        root.removeHandler(handler)
