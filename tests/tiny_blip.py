"""A tiny BLIP image-text matching checkpoint on disk, loaded by the same path as a real one.

Its towers are random. Its head is fitted to what they give, so that the order of its scores
means something: a picture of a colour that the text names comes before one of another colour.
"""

from __future__ import annotations

import inspect
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from PIL import Image

from retrieval.encoders.toy import COLOURS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAMES = ("red", "green", "blue", "yellow")
LONGEST = 24
SIDE = 48
WIDTH = 64
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


def tiny_blip(folder: Path, *, seed: int = 0, safe: bool = True) -> Path:
    """Write a checkpoint with its processor and tokenizer into `folder`; gives the folder."""
    import torch
    from transformers import BlipConfig, BlipForImageTextRetrieval, BlipImageProcessor, BlipProcessor

    folder.mkdir(parents=True, exist_ok=True)
    with _quiet():
        tokenizer = _tokenizer(folder)
        attention = {"num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 2 * WIDTH}
        reading = {"hidden_size": WIDTH, "encoder_hidden_size": WIDTH, "projection_dim": 16}
        numbers = {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3, "sep_token_id": 3}
        size = {"vocab_size": len(tokenizer), "max_position_embeddings": LONGEST}
        settings = BlipConfig(
            text_config={**attention, **reading, **numbers, **size},
            vision_config={**attention, "hidden_size": WIDTH, "image_size": SIDE, "patch_size": 16},
            projection_dim=16,
            image_text_hidden_size=16,
        )
        generator = torch.Generator().manual_seed(seed)
        model = BlipForImageTextRetrieval(settings).eval()
        for name, values in model.named_parameters():
            # Usual random weights are so small that a tower hardly tells its inputs apart.
            if values.ndim > 1 and "embeddings" not in name:
                torch.nn.init.normal_(values, std=0.25, generator=generator)
            elif values.ndim > 1:
                torch.nn.init.normal_(values, std=1.0, generator=generator)
        processor = BlipProcessor(BlipImageProcessor(size={"height": SIDE, "width": SIDE}), tokenizer)
        _fit_head(model, processor)
        model.save_pretrained(folder)
        processor.save_pretrained(folder)
    if not safe:
        torch.save(model.state_dict(), folder / "pytorch_model.bin")
        (folder / "model.safetensors").unlink()
    return folder


def base_sized(folder: Path) -> Path:
    """A checkpoint as large as the usual one, random throughout: for measuring what it costs."""
    from transformers import BlipConfig, BlipForImageTextRetrieval, BlipImageProcessor, BlipProcessor

    folder.mkdir(parents=True, exist_ok=True)
    with _quiet():
        tokenizer = _tokenizer(folder)
        usual = {"hidden_size": 768, "encoder_hidden_size": 768, "num_attention_heads": 12}
        settings = BlipConfig(text_config=usual, vision_config={"image_size": 384})
        BlipForImageTextRetrieval(settings).eval().save_pretrained(folder)
        BlipProcessor(BlipImageProcessor(), tokenizer).save_pretrained(folder)
    return folder


def picture(colour: str, mark: int = 0) -> Image.Image:
    """A picture of one colour; `mark` puts a gray corner of so many pixels into it."""
    image = Image.new("RGB", (64, 48), COLOURS[colour])
    image.paste((128, 128, 128), (0, 0, mark, mark))
    return image


def _fit_head(model: Any, processor: Any) -> None:
    """Set the head by least squares: +4 for a text that names the picture's colour, else -4."""
    import torch

    features, wanted = [], []
    with torch.inference_mode():
        for mark in (0, 5, 10):
            images = [picture(name, mark) for name in NAMES]
            for text in NAMES:
                inputs = processor(images=images, text=[f"a {text} wall"] * len(images), return_tensors="pt")
                features.append(model(**inputs, use_itm_head=True).question_embeds[:, 0])
                wanted.extend(4.0 if name == text else -4.0 for name in NAMES)
    rows = torch.cat(features)
    rows = torch.cat([rows, torch.ones(len(rows), 1)], dim=1).double()
    ridge = 1e-3 * torch.eye(rows.shape[1], dtype=torch.float64)
    solved = torch.linalg.solve(rows.T @ rows + ridge, rows.T @ torch.tensor(wanted, dtype=torch.float64))
    with torch.no_grad():
        model.itm_head.weight[1], model.itm_head.bias[1] = solved[:-1].float() / 2, solved[-1].float() / 2
        model.itm_head.weight[0], model.itm_head.bias[0] = -solved[:-1].float() / 2, -solved[-1].float() / 2


def _tokenizer(folder: Path) -> Any:
    from transformers import BertTokenizerFast

    pieces = [*_LETTERS, *(f"##{letter}" for letter in _LETTERS), *NAMES, "wall", "dog"]
    path = folder / "vocab.txt"
    path.write_text("\n".join([*_SPECIAL, *pieces]) + "\n", encoding="utf-8")
    name = "vocab" if "vocab" in inspect.signature(BertTokenizerFast.__init__).parameters else "vocab_file"
    return BertTokenizerFast(**{name: str(path)})


@contextmanager
def _quiet() -> Iterator[None]:
    from transformers.utils import logging

    bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if bars:
            logging.enable_progress_bar()
