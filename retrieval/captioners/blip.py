"""BLIP's captioning model, run by torch through transformers: a plain sentence a picture.

The best caption is found by a beam search, further ones by drawing from what is likely, each
with a seed of its own, so that the same picture gets the same captions alone and among others.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import torch
from transformers import BlipForConditionalGeneration, BlipProcessor

from retrieval import checkpoints
from retrieval.captioners.known import BLIP, BLIP_USE
from retrieval.captioners.local.saying import drawing
from retrieval.captioners.speaking import finished
from retrieval.checkpoints.loading import (
    best_device,
    is_full,
    load_model,
    load_part,
    placed,
    quiet,
    refused,
)
from retrieval.errors import ImageUnreadable, ModelError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from PIL import Image

    from retrieval.speech import Sight, Style

KIND = "a BLIP captioning model"
VERSION = 1
"""Part of the id: raised when the same picture would get another caption."""
CPU_BATCH = 4
GPU_BATCH = 32
BEAMS = 3
MAX_TOKENS = 30
TEMPERATURE = 1.0
DRAWS = 2
"""So many draws are made for each caption wanted, since two may be the same."""


def load_blip(rest: str) -> BlipCaptioner:
    """The captioner of a repository's name or a folder; BLIP's base model without any."""
    return BlipCaptioner(rest or BLIP)


class BlipCaptioner:
    """Loads when it first looks; it goes by the picture alone and reads nothing that is known of it."""

    note = ""
    sees = True

    def __init__(self, name: str, *, device: str | None = None) -> None:
        self._name = name
        self._device = torch.device(device or best_device())
        self._dtype = torch.float16 if self._device.type == "cuda" else torch.float32
        self._size = CPU_BATCH if self._device.type == "cpu" else GPU_BATCH
        self._lock = threading.RLock()
        self._checkpoint = checkpoints.find(name, BLIP_USE)
        self._id: str | None = None
        self._loaded: tuple[Any, Any] | None = None

    @property
    def id(self) -> str:
        with self._lock:
            if self._id is None:
                found = self._fetched()
                self._id = f"blip/{found.name}/{found.fingerprint()}/{VERSION}"
            return self._id

    @property
    def batch_size(self) -> int:
        return self._size

    def captions(
        self, sights: Sequence[Sight], *, style: Style = "caption", count: int = 1
    ) -> list[list[str]]:
        for sight in sights:
            if sight.image is None:
                name = sight.facts.path or "The picture"
                raise ImageUnreadable(
                    f"{name} cannot be read now, and BLIP goes by the picture itself. {BLIP_USE.instead}",
                    reason="unreadable",
                )
        images = [sight.image for sight in sights if sight.image is not None]
        given: list[list[str]] = []
        with self._lock:
            size = self._size
            while len(given) < len(images):
                made = self._batch(images[len(given) : len(given) + size], style, count, last=size == 1)
                if made is None:
                    size = self._size = size // 2
                else:
                    given.extend(made)
        return given

    def _batch(
        self, images: Sequence[Image.Image], style: Style, count: int, *, last: bool
    ) -> list[list[str]] | None:
        """Captions of a batch; None where it did not fit into memory and a smaller one may."""
        model, processor = self._parts()
        given: list[list[str]] = [[] for _ in images]
        try:
            with quiet():
                pixels = processor.image_processor(
                    images=[image.convert("RGB") for image in images], return_tensors="pt"
                )
            pixels = pixels["pixel_values"].to(self._device, self._dtype)
            for said in self._said(model, pixels, DRAWS * count if count > 1 else 0):
                texts = processor.tokenizer.batch_decode(said, skip_special_tokens=True)
                for captions, text in zip(given, texts, strict=True):
                    caption = finished(text, style)
                    new = caption.casefold() not in {other.casefold() for other in captions}
                    if caption and new and len(captions) < count:
                        captions.append(caption)
                if all(len(captions) >= count for captions in given):
                    break
        except (RuntimeError, MemoryError, ValueError, IndexError) as error:
            if is_full(error) and not last:
                return None
            why = " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__
            raise ModelError(f"{self._name} failed at captioning: {why}. {BLIP_USE.instead}") from error
        return given

    def _said(self, model: Any, pixels: torch.Tensor, draws: int) -> Iterator[Any]:
        """The best captions of a batch as tokens, then those of each draw."""
        with torch.inference_mode():
            yield model.generate(
                pixels,
                max_new_tokens=MAX_TOKENS,
                num_beams=BEAMS,
                do_sample=False,
                logits_processor=drawing(0, 0),
            )
        for seed in range(draws):
            with torch.inference_mode():
                yield model.generate(
                    pixels,
                    max_new_tokens=MAX_TOKENS,
                    num_beams=1,
                    do_sample=False,
                    logits_processor=drawing(TEMPERATURE, seed),
                )

    def _fetched(self) -> checkpoints.Checkpoint:
        if self._checkpoint is None:
            self._checkpoint = checkpoints.fetch(self._name, BLIP_USE)
        return self._checkpoint

    def _parts(self) -> tuple[Any, Any]:
        if self._loaded is None:
            found = self._fetched()
            kind = checkpoints.model_type(found)
            if kind != "blip":
                why = (
                    f"it is a model of the kind '{kind}', not BLIP" if kind else "its settings cannot be read"
                )
                raise refused(found, KIND, why, BLIP_USE)
            model = load_model(BlipForConditionalGeneration, found, KIND, BLIP_USE)
            processor = load_part(BlipProcessor, found, KIND, BLIP_USE)
            self._loaded = placed(model, found, KIND, BLIP_USE, self._device, self._dtype), processor
        return self._loaded
