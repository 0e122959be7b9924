"""From a checkpoint on disk to a model on a device that can be asked, or a sentence why not."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor, GenerationConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

from retrieval import checkpoints
from retrieval.captioners.known import KNOWN, LOCAL_USE
from retrieval.captioners.local.memory import choices, free_memory, lacking, weight_count
from retrieval.captioners.local.wording import Wording
from retrieval.checkpoints.loading import load_model, load_part, placed, refused
from retrieval.errors import MissingDependency, ModelUnavailable

if TYPE_CHECKING:
    from retrieval.checkpoints import Checkpoint

KIND = "a model that looks at pictures and speaks"
LONGEST = {"cpu": 512, "mps": 1024, "cuda": 1024}
"""The longer side at which pictures are shown: what a model makes of more costs far more than it tells."""

PICTURES = "the settings of how pictures are prepared (preprocessor_config.json)"
PREPARING = ("preprocessor_config.json", "processor_config.json")
WORDS = "the tokenizer (tokenizer.json)"
READING = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model", "tekken.json")


class Opened(NamedTuple):
    model: Any
    processor: Any
    wording: Wording
    device: torch.device
    dtype: torch.dtype
    longest: int
    ends: tuple[int, ...]
    """The tokens after which a reply is over."""
    reads: int | None
    """How many tokens it can have before it."""


def opened(found: Checkpoint, device: str) -> Opened:
    """A checkpoint's model and processor; refused where it is of another kind or does not fit."""
    _check_kind(found)
    _check_parts(found)
    processor = _part(found)
    if not getattr(processor, "image_processor", None) or not getattr(processor, "tokenizer", None):
        raise _lacks(found, PICTURES)
    device, dtype = _fitting(found, device)
    longest = LONGEST.get(device, LONGEST["cpu"])
    _show_at(processor.image_processor, longest)
    tokenizer = processor.tokenizer
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    # The reply is what comes after the prompt, so the prompts of a batch end together.
    tokenizer.padding_side = "left"
    wording = Wording(found, processor)
    model = load_model(AutoModelForImageTextToText, found, KIND, LOCAL_USE, dtype=dtype)
    ends = _ends(model, tokenizer, wording)
    # What a checkpoint says of sampling is not wanted: a reply is the same each time unless asked.
    model.generation_config = GenerationConfig()
    text = model.config.get_text_config()
    reads = getattr(text, "max_position_embeddings", None)
    model = placed(model, found, KIND, LOCAL_USE, device)
    return Opened(model, processor, wording, torch.device(device), dtype, longest, ends, reads)


def _check_kind(found: Checkpoint) -> None:
    kind = checkpoints.model_type(found)
    if not kind:
        raise refused(found, KIND, "its settings cannot be read", LOCAL_USE)
    if kind == "blip":
        raise refused(
            found,
            KIND,
            "it is BLIP, which captions and does not answer; as a captioner it is called blip:NAME",
            LOCAL_USE,
        )
    if kind in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES:
        settings = load_part(AutoConfig, found, KIND, LOCAL_USE)
        if settings.is_encoder_decoder:
            # What such a model says is no continuation of its prompt.
            why = f"it is a model of the kind '{kind}', which is not asked in chats"
            raise refused(found, KIND, why, LOCAL_USE)
        return
    if "auto_map" in json.loads((found.folder / checkpoints.CONFIG).read_text("utf-8")):
        why = f"it is of the kind '{kind}' and wants code of its own to be run, which is never done"
    else:
        why = f"it is a model of the kind '{kind}', which does not speak of pictures"
    raise refused(found, KIND, why, LOCAL_USE)


def _check_parts(found: Checkpoint) -> None:
    """Said here, because what transformers says of a missing file speaks of its hub, at length."""
    for what, names in ((PICTURES, PREPARING), (WORDS, READING)):
        if not any((found.folder / name).is_file() for name in names):
            raise _lacks(found, what)


def _lacks(found: Checkpoint, what: str) -> ModelUnavailable:
    return refused(found, KIND, f"its folder lacks {what}", LOCAL_USE)


def _part(found: Checkpoint) -> Any:
    try:
        return load_part(AutoProcessor, found, KIND, LOCAL_USE)
    except ModelUnavailable as error:
        if isinstance(error.__cause__, ImportError):
            raise MissingDependency(
                f"{found.name} needs a package that is not installed "
                f"({' '.join(str(error.__cause__).split())[:200]}): "
                f"pip install 'picture-search[{LOCAL_USE.extra}]'"
            ) from error
        raise


def _fitting(found: Checkpoint, device: str) -> tuple[str, torch.dtype]:
    """Where the weights go and in what numbers; refused where they surely fit nowhere."""
    room = _room(weight_count(found), device)
    if isinstance(room, str):
        raise refused(found, KIND, room, LOCAL_USE)
    return room


def check_room(name: str, device: str) -> None:
    """Refuse a model that surely fits nowhere before gigabytes of it are fetched, where its size is known."""
    count = next((known.weights for known in KNOWN if known.repo == name), None)
    room = _room(count, device)
    if isinstance(room, str):
        raise ModelUnavailable(f"{name} is not fetched: {room}. {LOCAL_USE.instead}")


def _room(count: int | None, device: str) -> tuple[str, torch.dtype] | str:
    """A place for so many weights, and the numbers that they get there; or why there is none."""
    for place in dict.fromkeys((device, "cpu")):
        dtypes, free = choices(place), free_memory(place)
        for dtype in dtypes:
            if count is None or free is None or count * dtype.itemsize <= free:
                return place, dtype
    assert count is not None
    assert free is not None
    return lacking(count, dtypes, free)


def _show_at(pictures: Any, longest: int) -> None:
    """Keep a processor from blowing a picture up before it cuts it into tiles."""
    size = getattr(pictures, "size", None)
    edge = size.get("longest_edge") if size is not None and hasattr(size, "get") else None
    if edge and getattr(pictures, "do_image_splitting", None) and edge > longest:
        pictures.size = {"longest_edge": longest}


def _ends(model: Any, tokenizer: Any, wording: Wording) -> tuple[int, ...]:
    named = [tokenizer.eos_token_id, wording.turn_end]
    for settings in (model.generation_config, model.config.get_text_config()):
        told = getattr(settings, "eos_token_id", None)
        named.extend(told if isinstance(told, (list, tuple)) else [told])
    return tuple(sorted({int(token) for token in named if token is not None}))
