"""BLIP's image-text matching, run by torch through transformers.

The vision tower looks at a picture once, and what it saw is what is kept. A query then reads
it through the text tower's cross attention, and a head of two outputs says "no match" or
"match": the score is the second minus the first, the log-odds of a match as the head sees it.
This is the only module of the rerankers that imports torch and transformers.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from transformers import BlipForImageTextRetrieval, BlipProcessor

from retrieval import checkpoints
from retrieval.checkpoints.loading import (
    best_device,
    load_model,
    load_part,
    placed,
    refused,
)
from retrieval.rerankers import BLIP, BLIP_USE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from PIL import Image

    from retrieval.protocols import Encoder

KIND = "a BLIP image-text matching model"
VERSION = 1
"""Part of the id: raised when the same picture would get another look."""

# Small on a CPU, for the time budget is kept to within one batch.
CPU_BATCH = 4
GPU_BATCH = 32
DECODE_MARGIN = 2
"""A picture is decoded at no less than this many times the size the model sees."""


def load_blip_itm(rest: str, encoder: Encoder) -> BlipItm:  # noqa: ARG001
    return BlipItm(rest or BLIP)


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

    log_odds = True
    """What `judge` gives says by itself whether picture and text agree, beside the order."""

    def __init__(self, name: str = BLIP, *, device: str | None = None) -> None:
        self._name = name
        self._device = torch.device(device or best_device())
        self._dtype = torch.float16 if self._device.type == "cuda" else torch.float32
        self._lock = threading.RLock()
        self._checkpoint = checkpoints.find(name, BLIP_USE)
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
            self._checkpoint = checkpoints.fetch(self._name, BLIP_USE)
        return self._checkpoint

    def _parts(self) -> _Parts:
        with self._lock:
            if self._loaded is None:
                self._loaded = self._load(self._fetched())
            return self._loaded

    def _load(self, found: checkpoints.Checkpoint) -> _Parts:
        kind = checkpoints.model_type(found)
        if kind != "blip":
            why = f"it is a model of the kind '{kind}', not BLIP" if kind else "its settings cannot be read"
            raise refused(found, KIND, why, BLIP_USE)
        model = load_model(BlipForImageTextRetrieval, found, KIND, BLIP_USE)
        processor = load_part(BlipProcessor, found, KIND, BLIP_USE)
        model = placed(model, found, KIND, BLIP_USE, self._device, self._dtype)
        tokenizer = processor.tokenizer
        longest = min(tokenizer.model_max_length, model.config.text_config.max_position_embeddings)
        return _Parts(model, tokenizer, processor.image_processor, longest)
