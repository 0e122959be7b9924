"""Tiny CLIP models on disk, loaded by the same path as real ones; benchmarks use this too."""

from __future__ import annotations

import json
import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TINY: dict[str, Any] = {
    "embed_dim": 64,
    "vision_cfg": {"image_size": 64, "layers": 2, "width": 64, "head_width": 32, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2},
}
# As SigLIP models are built: a timm trunk with attention pooling, a bias on the logits, a
# bidirectional text tower that takes the last token, and a tokenizer of their own.
TINY_SIGLIP: dict[str, Any] = {
    "embed_dim": 64,
    "init_logit_bias": -10,
    "custom_text": True,
    "vision_cfg": {
        "image_size": 160,
        "timm_model_name": "test_vit",
        "timm_model_pretrained": False,
        "timm_pool": "map",
        "timm_proj": "none",
    },
    "text_cfg": {
        "context_length": 16,
        "vocab_size": 64,
        "hf_tokenizer_name": "tiny/siglip",
        "tokenizer_kwargs": {"clean": "canonicalize"},
        "width": 64,
        "heads": 2,
        "layers": 2,
        "no_causal_mask": True,
        "proj_bias": True,
        "pool_type": "last",
    },
}
SIGLIP_PREPROCESS = {
    "size": 160,
    "mode": "RGB",
    "mean": [0.5, 0.5, 0.5],
    "std": [0.5, 0.5, 0.5],
    "interpolation": "bicubic",
    "resize_mode": "squash",
    "fill_color": 0,
}


def tiny_spec(folder: Path, suffix: str = ".pt", *, seed: int = 0) -> str:
    """Write a configuration and a checkpoint into `folder`; gives the spec of both."""
    folder.mkdir(parents=True, exist_ok=True)
    configuration = folder / "tiny-test.json"
    configuration.write_text(json.dumps(TINY))
    checkpoint = folder / f"tiny-{seed}{suffix}"
    _save(_weights(TINY, seed), checkpoint)
    return f"open_clip:{configuration}/{checkpoint}"


def tiny_folder(folder: Path, *, siglip: bool = False, seed: int = 0) -> str:
    """Write a folder as open_clip's push_to_hf_hub does; gives its local-dir: spec."""
    folder.mkdir(parents=True, exist_ok=True)
    model_config = TINY_SIGLIP if siglip else TINY
    settings = SIGLIP_PREPROCESS if siglip else {**SIGLIP_PREPROCESS, "size": 64, "resize_mode": "shortest"}
    (folder / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": model_config, "preprocess_cfg": settings})
    )
    _save(_weights(model_config, seed), folder / "open_clip_model.safetensors")
    if siglip:
        _write_tokenizer(folder)
    return f"local-dir:{folder}"


def random_checkpoint(arch: str, path: Path) -> str:
    """A checkpoint of a real architecture with random weights: speed does not depend on them."""
    import open_clip
    import torch

    with _quiet_root():
        torch.manual_seed(0)
        _save(open_clip.create_model(arch).state_dict(), path)
    return f"open_clip:{arch}/{path}"


def _weights(model_config: dict[str, Any], seed: int) -> dict[str, Any]:
    import open_clip
    import torch

    arguments = json.loads(json.dumps(model_config))
    kind = open_clip.CustomTextCLIP if arguments.pop("custom_text", False) else open_clip.CLIP
    arguments["text_cfg"].pop("hf_tokenizer_name", None)
    with _quiet_root():
        torch.manual_seed(seed)
        weights: dict[str, Any] = kind(**arguments).state_dict()
    return weights


def _save(weights: dict[str, Any], path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    if path.suffix == ".safetensors":
        save_file({key: value.contiguous() for key, value in weights.items()}, str(path))
    else:
        torch.save(weights, path)


def _write_tokenizer(folder: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    vocabulary = {"<pad>": 0, "</s>": 1, "<unk>": 2}
    vocabulary |= {letter: at + 3 for at, letter in enumerate(letters)}
    tokenizer = Tokenizer(models.BPE(vocabulary, [], unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing("$A </s>", special_tokens=[("</s>", 1)])
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "pad_token": "<pad>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "padding_side": "right",
        "model_max_length": 16,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


@contextmanager
def _quiet_root() -> Iterator[None]:
    handler = logging.NullHandler()
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
