"""BLIP's image-text matching, run by torch through transformers.

The vision tower looks at a picture once, and what it saw is what is kept. A query then reads
it through the text tower's cross attention, and a head of two outputs says "no match" or
"match": the score is the second minus the first, the log-odds of a match as the head sees it.
This is the only module of the rerankers that imports torch and transformers.
"""

from __future__ import annotations

import json
import threading
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
import transformers
from transformers import BlipForImageTextRetrieval, BlipProcessor

from retrieval.errors import ModelUnavailable
from retrieval.rerankers import checkpoints

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray
    from PIL import Image

    from retrieval.protocols import Encoder

VERSION = 1
"""Part of the id: raised when the same picture would get another look."""

# Small on a CPU, for the time budget is kept to within one batch.
CPU_BATCH = 4
GPU_BATCH = 32
DECODE_MARGIN = 2
"""A picture is decoded at no less than this many times the size the model sees."""


def load_blip_itm(rest: str, encoder: Encoder) -> BlipItm:  # noqa: ARG001
    return BlipItm(rest or checkpoints.BLIP)


class _Parts(NamedTuple):
    model: Any
    tokenizer: Any
    pictures: Any
    longest: int


class BlipItm:
    """`Salesforce/blip-itm-base-coco`, any repository like it, or a folder with such a checkpoint.

    Weights load when they are first needed, on the GPU (in half precision on CUDA) where there
    is one. A checkpoint that lacks any weight of the model is refused: transformers would fill
    it with random numbers and go on.
    """

    def __init__(self, name: str = checkpoints.BLIP, *, device: str | None = None) -> None:
        self._name = name
        self._device = torch.device(device or best_device())
        self._dtype = torch.float16 if self._device.type == "cuda" else torch.float32
        self._lock = threading.RLock()
        self._checkpoint = checkpoints.find(name)
        self._id: str | None = None
        self._loaded: _Parts | None = None

    @property
    def id(self) -> str:
        with self._lock:
            if self._id is None:
                found = self._fetched()
                self._id = f"blip_itm/{found.name}/{found.fingerprint()}/{VERSION}"
            return self._id

    @property
    def batch_size(self) -> int:
        return CPU_BATCH if self._device.type == "cpu" else GPU_BATCH

    def wanted(self, width: int, height: int) -> tuple[int, int]:
        """Twice what the model sees of either side: it squashes every picture to a square."""
        side = DECODE_MARGIN * self._parts().model.config.vision_config.image_size
        return min(width, side), min(height, side)

    def look(self, images: Sequence[Image.Image]) -> list[NDArray[np.float16]]:
        looks: list[NDArray[np.float16]] = []
        for start in range(0, len(images), self.batch_size):
            parts = self._parts()
            batch = [image.convert("RGB") for image in images[start : start + self.batch_size]]
            pixels = parts.pictures(images=batch, return_tensors="pt")["pixel_values"]
            with torch.inference_mode():
                seen = parts.model.vision_model(pixel_values=pixels.to(self._device, self._dtype))
            looks.extend(seen.last_hidden_state.to(torch.float16).cpu().numpy())
        return looks

    def judge(self, text: str, looks: Sequence[NDArray[np.float16]]) -> NDArray[np.float32]:
        if not looks:
            return np.zeros(0, np.float32)
        parts = self._parts()
        # Half a surrogate pair is no text to a tokenizer.
        plain = text.encode("utf-8", "replace").decode("utf-8")
        tokens = parts.tokenizer(plain, truncation=True, max_length=parts.longest, return_tensors="pt")
        tokens = tokens["input_ids"].to(self._device)
        scores = [np.zeros(0, np.float32)]
        for start in range(0, len(looks), self.batch_size):
            seen = torch.from_numpy(np.stack(looks[start : start + self.batch_size]))
            # One text for the whole batch: every row has the same tokens, so nothing is padded.
            with torch.inference_mode():
                read = parts.model.text_encoder(
                    input_ids=tokens.expand(len(seen), -1),
                    attention_mask=torch.ones_like(tokens).expand(len(seen), -1),
                    encoder_hidden_states=seen.to(self._device, self._dtype),
                )
                answers = parts.model.itm_head(read.last_hidden_state[:, 0]).float().cpu()
            scores.append((answers[:, 1] - answers[:, 0]).numpy())
        return np.concatenate(scores)

    def _fetched(self) -> checkpoints.Checkpoint:
        if self._checkpoint is None:
            with _quiet():
                self._checkpoint = checkpoints.fetch(self._name)
        return self._checkpoint

    def _parts(self) -> _Parts:
        with self._lock:
            if self._loaded is None:
                self._loaded = self._load(self._fetched())
            return self._loaded

    def _load(self, found: checkpoints.Checkpoint) -> _Parts:
        kind = _model_type(found)
        if kind != "blip":
            raise _refused(found, f"it is a model of the kind '{kind}', not BLIP")
        try:
            with _quiet():
                model, info = BlipForImageTextRetrieval.from_pretrained(
                    found.folder,
                    local_files_only=True,
                    use_safetensors=found.safe,
                    weights_only=True,
                    output_loading_info=True,
                )
                processor = BlipProcessor.from_pretrained(found.folder, local_files_only=True)
        except Exception as error:  # transformers, torch and safetensors each raise their own kinds
            told = " ".join(str(error).split())[:200] or type(error).__name__
            raise _refused(found, told.rstrip(".")) from error
        missing = sorted(info["missing_keys"])
        if missing:
            raise _refused(found, f"{len(missing)} of its weights are missing ({missing[0]} …)")
        model = model.to(self._device, self._dtype).eval()
        tokenizer = processor.tokenizer
        longest = min(tokenizer.model_max_length, model.config.text_config.max_position_embeddings)
        return _Parts(model, tokenizer, processor.image_processor, longest)


def best_device() -> str:
    """`cuda`, `mps` or `cpu`, the first that this machine has."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _model_type(found: checkpoints.Checkpoint) -> str:
    try:
        settings = json.loads((found.folder / checkpoints.CONFIG).read_text("utf-8"))
        return str(settings["model_type"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _refused(found, f"its {checkpoints.CONFIG} cannot be read") from error


def _refused(found: checkpoints.Checkpoint, why: str) -> ModelUnavailable:
    return ModelUnavailable(
        f"{found.name} cannot be loaded as a BLIP image-text matching model: {why}. {checkpoints.INSTEAD}"
    )


_SILENCE = threading.RLock()


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what transformers draws, logs and warns about away from the person's terminal."""
    told = transformers.logging
    with _SILENCE, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        level, bars = told.get_verbosity(), told.is_progress_bar_enabled()
        told.set_verbosity_error()
        told.disable_progress_bar()
        try:
            yield
        finally:
            told.set_verbosity(level)
            if bars:
                told.enable_progress_bar()
