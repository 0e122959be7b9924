"""open_clip models run by ONNX Runtime, without torch: two exported towers, loaded late and apart."""

from __future__ import annotations

import threading
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from retrieval import config
from retrieval.encoders import calibration, exports
from retrieval.encoders.clip_tokens import load_tokenizer
from retrieval.encoders.geometry import ClipPreparer
from retrieval.encoders.regions import Box, slide
from retrieval.errors import CacheCorrupt, MissingDependency, ModelUnavailable
from retrieval.types import Encoded

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from PIL import Image

    from retrieval.encoders.clip_tokens import Tokenizer
    from retrieval.protocols import Encoder, Pair
    from retrieval.types import Prepared, Vectors

IMAGE_BATCH = 8
TEXT_BATCH = 64
# Initialisers above this many bytes go beside the graph, where the file can be mapped.
EXTERNAL_BYTES = 1024


def load_open_clip(spec: str) -> Encoder:
    """The model by ONNX Runtime where its export is in the cache, else by torch."""
    name = exports.parse_spec(spec)
    export = exports.find_export(name)
    if export is not None and export.problem is None:
        return OnnxEncoder(export)
    if name.int8:
        raise ModelUnavailable(
            f"{name.spec} is not used: {export.problem}"
            if export is not None and export.problem is not None
            else f"{name.spec} is not on this machine. Make it, measured on pictures of yours: "
            f"search models pull {name.spec} --photos FOLDER"
        )
    try:
        from retrieval.encoders.open_clip import OpenClipEncoder
    except ImportError as error:
        raise MissingDependency(
            f"{spec} needs packages that are not installed or do not fit together ({error}): "
            "pip install open_clip_torch torch"
        ) from error
    encoder = OpenClipEncoder(spec)
    if export is not None and export.problem is not None:
        encoder.note = export.problem
    return encoder


class OnnxEncoder:
    """An exported open_clip model: the same vectors, the same `id`, no torch.

    Each tower is a session of its own, made when it is first used.
    """

    cutoff = calibration.CUTOFF
    runtime = "onnx"

    def __init__(self, export: exports.Export) -> None:
        manifest = export.manifest
        self.export = export
        self.spec = export.spec
        self.note = ""
        self.id = str(manifest["id"])
        self.dim = int(manifest["dim"])
        self.family = str(manifest["family"])
        self.preparer = ClipPreparer.from_settings(manifest["preprocess"])
        self._lock = threading.Lock()

    @property
    def batch_size(self) -> int:
        return IMAGE_BATCH

    @property
    def parallel(self) -> int:
        # One thread a batch and as many batches as cores scales better than the other way round.
        return config.cores()

    def encode_prepared(self, batch: Sequence[Prepared]) -> Encoded:
        if not batch:
            return Encoded(np.zeros((0, self.dim), dtype=np.float32))
        return Encoded(self._look(np.concatenate([item.pixels for item in batch])))

    def encode_images(self, images: Sequence[Image.Image]) -> Vectors:
        parts = [np.zeros((0, self.dim), dtype=np.float32)]
        for start in range(0, len(images), IMAGE_BATCH):
            batch = [self.preparer(image) for image in images[start : start + IMAGE_BATCH]]
            parts.append(self.encode_prepared(batch).vectors)
        return np.concatenate(parts)

    def encode_regions(self, image: Image.Image) -> NDArray[np.float32]:
        # The exported tower gives one vector a picture and nothing of its patches.
        size = image.info.get("full_size", image.size)
        return slide(self.encode_images, image, Box(*self.preparer.covers(*size)))

    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        parts = [np.zeros((0, self.dim), dtype=np.float32)]
        if texts:
            with self._lock:
                session, tokenizer = self._text_session, self.tokenizer
        for start in range(0, len(texts), TEXT_BATCH):
            tokens = tokenizer(texts[start : start + TEXT_BATCH])
            parts.append(session.run(None, {"tokens": tokens})[0])
        return np.concatenate(parts)

    def match(
        self, scores: NDArray[np.float32], sample: NDArray[np.float32], *, pair: Pair = "text-image"
    ) -> NDArray[np.float32]:
        return calibration.match(scores, sample, self.family, pair=pair)

    def _look(self, pixels: NDArray[np.uint8]) -> Vectors:
        """What the image tower gives; another runtime takes its place here."""
        with self._lock:
            session = self._image_session
        return cast("Vectors", session.run(None, {"pixels": pixels})[0])

    @cached_property
    def tokenizer(self) -> Tokenizer:
        return load_tokenizer(self.export.folder, self.export.manifest["tokenizer"])

    @cached_property
    def _image_session(self) -> Any:
        # Packing the weights for this CPU costs a second once and pays over a folder of pictures.
        return self._session("image.onnx", threads=1, optimise=True)

    @cached_property
    def _text_session(self) -> Any:
        # A query encodes one text: the graph was optimised when it was exported, and copying the
        # weights into another order would cost more than it saves.
        return self._session("text.onnx", threads=min(4, config.cores()), optimise=False)

    def _session(self, filename: str, *, threads: int, optimise: bool) -> Any:
        path = self.export.folder / filename
        try:
            return _session(path, threads=threads, optimise=optimise)
        except Exception as error:  # onnxruntime raises one class an error code, below Exception
            raise CacheCorrupt(
                f"The exported model {path} cannot be loaded ({' '.join(str(error).split())[:160]}). "
                f"Make it anew: search models pull {self.spec}"
            ) from error


def optimise(plain: Path, target: Path) -> None:
    """Write an exported graph fused and folded, its weights in one file beside it.

    The level is the one whose result does not depend on the CPU, so that a cache on a shared
    disk serves every machine; what does depend on it is done when the image tower loads.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(target)
    options.log_severity_level = 3
    options.add_session_config_entry(
        "session.optimized_model_external_initializers_file_name", f"{target.stem}.bin"
    )
    options.add_session_config_entry(
        "session.optimized_model_external_initializers_min_size_in_bytes", str(EXTERNAL_BYTES)
    )
    options.add_session_config_entry("session.disable_prepacking", "1")
    onnxruntime.InferenceSession(str(plain), options, providers=["CPUExecutionProvider"])


def runtime_version() -> str:
    import onnxruntime

    return str(onnxruntime.__version__)


def _session(path: Path, *, threads: int, optimise: bool) -> Any:
    import onnxruntime

    levels = onnxruntime.GraphOptimizationLevel
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if optimise:
        options.graph_optimization_level = levels.ORT_ENABLE_ALL
    else:
        options.graph_optimization_level = levels.ORT_DISABLE_ALL
        options.add_session_config_entry("session.disable_prepacking", "1")
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
