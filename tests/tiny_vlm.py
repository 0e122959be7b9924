"""Tiny image-text models on disk, of every kind we name, loaded by the same path as real ones.

Their weights are random, so that what they say depends on the picture and the question and
means nothing. One that is built with `says` answers with that sentence whatever it is shown:
its layers add nothing, and its last token alone picks the next.
"""

from __future__ import annotations

import inspect
import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PLAIN = ["<unk>", "<s>", "</s>", "<pad>"]
"""The special tokens of every tokenizer here, by their numbers 0 to 3."""
BOS, EOS, PAD = 1, 2, 3
CORPUS = ["what is in this picture ?", "a red car on the street", "User: Assistant: USER: ASSISTANT:"] * 4
HEAD = 16
SMALLEST = 4 * HEAD

ROLES = (
    "{% if m['role'] == 'user' %}USER: {% elif m['role'] == 'assistant' %}ASSISTANT: {% else %}{% endif %}"
)
CONTENT = (
    "{% for c in m['content'] %}{% if c['type'] == 'image' %}IMAGE{% else %}{{ c['text'] }}{% endif %}"
    "{% endfor %}"
)
VICUNA = (
    "{% for m in messages %}" + ROLES + CONTENT + "{% if m['role'] == 'assistant' %}</s>{% endif %} "
    "{% endfor %}{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)
"""As LLaVA 1.5 is asked, roles as plain words."""
MARKED = (
    "<s>{% for m in messages %}{{ m['role'] | capitalize }}: " + CONTENT + "</s>\n"
    "{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}"
)
"""As SmolVLM is asked: the beginning is in the template, and a mark ends every turn."""
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n" + CONTENT + "<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""As Qwen is asked, every role between tokens of its own."""


def build(kind: str, folder: Path, *, says: str | None = None, seed: int = 0) -> Path:
    """Write a tiny checkpoint of `kind` (one of `KINDS`, or `blip`) into `folder`; gives the folder."""
    import torch

    folder.mkdir(parents=True, exist_ok=True)
    pieces = _pieces(says) if says else []
    width = max(SMALLEST, -(-(len(pieces) + 2) // HEAD) * HEAD)
    with _quiet(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model, processor = _BUILDERS[kind](pieces, width)
        model.eval()
        _spread(model, seed)
        if pieces:
            chain = [processor.tokenizer.convert_tokens_to_ids(_stored(piece, kind)) for piece in pieces]
            _craft(model, chain, end=3 if kind == "blip" else EOS)
        model.save_pretrained(folder)
        processor.save_pretrained(folder)
    return folder


def build_llava(folder: Path, *, says: str = "a red car") -> Path:
    return build("llava", folder, says=says)


def _pieces(says: str) -> list[str]:
    """The sentence in pieces of a word or more, no two the same: each has to lead to the next."""
    pieces: list[str] = []
    piece = ""
    for number, word in enumerate(says.split(" ")):
        piece += word if number == 0 else f" {word}"
        if piece.strip() and piece.strip() not in [taken.strip() for taken in pieces]:
            pieces.append(piece)
            piece = ""
    if piece:
        pieces[-1:] = [pieces[-1] + piece]
    return pieces


def _stored(piece: str, kind: str) -> str:
    """How a vocabulary writes a piece: byte for byte, except BLIP's, which joins words by itself."""
    return piece.strip() if kind == "blip" else "".join(_BYTES[byte] for byte in piece.encode())


def _byte_letters() -> list[str]:
    """The letter that stands for each byte in a byte-level vocabulary."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [byte for byte in range(256) if byte not in shown]
    letters = {byte: chr(byte) for byte in shown}
    letters.update({byte: chr(256 + number) for number, byte in enumerate(rest)})
    return [letters[byte] for byte in range(256)]


_BYTES = _byte_letters()


def _tokenizer(
    special: list[str], pieces: list[str], *, eos: str = "</s>", bos: str | None = "<s>", **named: str
) -> Any:
    """A byte-level tokenizer; the pieces can be said, and are never what a text is read as."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    reader = Tokenizer(models.BPE())
    reader.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    reader.train_from_iterator(
        CORPUS,
        trainers.BpeTrainer(
            vocab_size=360,
            special_tokens=PLAIN,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    learnt = json.loads(reader.to_str())["model"]
    vocab = dict(learnt["vocab"])
    for piece in pieces:
        vocab.setdefault(_stored(piece, "byte-level"), len(vocab))
    merges = [tuple(pair) if isinstance(pair, list) else tuple(pair.split(" ")) for pair in learnt["merges"]]
    whole = Tokenizer(models.BPE(vocab=vocab, merges=merges))
    whole.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    whole.decoder = decoders.ByteLevel()
    whole.add_special_tokens([AddedToken(text, special=True) for text in [*PLAIN, *special]])
    return PreTrainedTokenizerFast(
        tokenizer_object=whole,
        unk_token="<unk>",
        bos_token=bos,
        eos_token=eos,
        pad_token="<pad>",
        extra_special_tokens=named,
    )


def _text(tokens: int, width: int) -> dict[str, Any]:
    return {
        "vocab_size": tokens,
        "hidden_size": width,
        "intermediate_size": 2 * width,
        "num_hidden_layers": 2,
        "num_attention_heads": width // HEAD,
        "num_key_value_heads": width // HEAD,
        "max_position_embeddings": 4096,
        "bos_token_id": BOS,
        "eos_token_id": EOS,
        "pad_token_id": PAD,
        "tie_word_embeddings": False,
    }


VISION = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 14,
}


def _llava(pieces: list[str], width: int) -> tuple[Any, Any]:
    from transformers import (
        CLIPImageProcessor,
        CLIPVisionConfig,
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaProcessor,
    )

    tokenizer = _tokenizer(["<image>"], pieces, image_token="<image>")
    settings = LlavaConfig(
        vision_config=CLIPVisionConfig(**VISION, projection_dim=16),
        text_config=LlamaConfig(**_text(len(tokenizer), width)),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        vision_feature_layer=-1,
        tie_word_embeddings=False,
    )
    pictures = CLIPImageProcessor(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28})
    processor = LlavaProcessor(
        pictures,
        tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=VICUNA.replace("IMAGE", "<image>\\n"),
    )
    return LlavaForConditionalGeneration(settings), processor


def _llava_next(pieces: list[str], width: int) -> tuple[Any, Any]:
    from transformers import (
        CLIPVisionConfig,
        LlamaConfig,
        LlavaNextConfig,
        LlavaNextForConditionalGeneration,
        LlavaNextImageProcessor,
        LlavaNextProcessor,
    )

    tokenizer = _tokenizer(["<image>"], pieces, image_token="<image>")
    grid = [[28, 56], [56, 28], [56, 56]]
    settings = LlavaNextConfig(
        vision_config=CLIPVisionConfig(**VISION, projection_dim=16),
        text_config=LlamaConfig(**_text(len(tokenizer), width)),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        vision_feature_layer=-1,
        image_grid_pinpoints=grid,
        tie_word_embeddings=False,
    )
    processor = LlavaNextProcessor(
        LlavaNextImageProcessor(
            size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28}, image_grid_pinpoints=grid
        ),
        tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=VICUNA.replace("IMAGE", "<image>\\n"),
    )
    return LlavaNextForConditionalGeneration(settings), processor


def _llava_onevision(pieces: list[str], width: int) -> tuple[Any, Any]:
    from transformers import (
        LlavaOnevisionConfig,
        LlavaOnevisionForConditionalGeneration,
        LlavaOnevisionImageProcessor,
        LlavaOnevisionProcessor,
        LlavaOnevisionVideoProcessor,
        Qwen2Config,
        SiglipVisionConfig,
    )

    special = ["<|im_start|>", "<|im_end|>", "<image>", "<video>"]
    tokenizer = _tokenizer(
        special, pieces, eos="</s>", bos=None, image_token="<image>", video_token="<video>"
    )
    grid = [[28, 56], [56, 28]]
    settings = LlavaOnevisionConfig(
        vision_config=SiglipVisionConfig(**VISION, vision_use_head=False),
        text_config=Qwen2Config(**_text(len(tokenizer), width)),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        video_token_index=tokenizer.convert_tokens_to_ids("<video>"),
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
        image_grid_pinpoints=grid,
        tie_word_embeddings=False,
    )
    size = {"height": 28, "width": 28}
    processor = LlavaOnevisionProcessor(
        LlavaOnevisionImageProcessor(size=size, image_grid_pinpoints=grid),
        tokenizer,
        LlavaOnevisionVideoProcessor(size=size),
        num_image_tokens=4,
        vision_feature_select_strategy="full",
        chat_template=CHATML.replace("IMAGE", "<image>\\n"),
    )
    return LlavaOnevisionForConditionalGeneration(settings), processor


def _idefics_tokenizer(pieces: list[str]) -> Any:
    tiles = [f"<row_{row}_col_{column}>" for row in range(1, 5) for column in range(1, 5)]
    names = {
        "image_token": "<image>",
        "fake_image_token": "<fake_token_around_image>",
        "global_image_token": "<global-img>",
        "end_of_utterance_token": "<end_of_utterance>",
    }
    return _tokenizer([*names.values(), *tiles], pieces, **names)


def _smolvlm(pieces: list[str], width: int) -> tuple[Any, Any]:
    from transformers import (
        SmolVLMConfig,
        SmolVLMForConditionalGeneration,
        SmolVLMImageProcessor,
        SmolVLMProcessor,
    )
    from transformers.models.smolvlm import SmolVLMVideoProcessor

    tokenizer = _idefics_tokenizer(pieces)
    settings = SmolVLMConfig(
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        scale_factor=2,
        pad_token_id=PAD,
        vision_config={**VISION, "image_size": 64, "patch_size": 16},
        text_config={"model_type": "llama", **_text(len(tokenizer), width)},
        tie_word_embeddings=False,
    )
    edge = {"longest_edge": 64}
    sampling = {"fps": 1, "max_frames": 4, "video_size": edge}
    processor = SmolVLMProcessor(
        SmolVLMImageProcessor(size={"longest_edge": 128}, max_image_size=edge),
        tokenizer,
        SmolVLMVideoProcessor(size=edge, max_image_size=edge, video_sampling=sampling),
        image_seq_len=4,
        chat_template=MARKED.replace("IMAGE", "<image>"),
    )
    return SmolVLMForConditionalGeneration(settings), processor


def _idefics3(pieces: list[str], width: int) -> tuple[Any, Any]:
    from transformers import (
        Idefics3Config,
        Idefics3ForConditionalGeneration,
        Idefics3ImageProcessor,
        Idefics3Processor,
    )

    tokenizer = _idefics_tokenizer(pieces)
    settings = Idefics3Config(
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        scale_factor=2,
        pad_token_id=PAD,
        vision_config={**VISION, "image_size": 64, "patch_size": 16},
        text_config={"model_type": "llama", **_text(len(tokenizer), width)},
        tie_word_embeddings=False,
    )
    processor = Idefics3Processor(
        Idefics3ImageProcessor(size={"longest_edge": 128}, max_image_size={"longest_edge": 64}),
        tokenizer,
        image_seq_len=4,
        chat_template=MARKED.replace("IMAGE", "<image>"),
    )
    return Idefics3ForConditionalGeneration(settings), processor


QWEN_TOKENS = ["<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>"]
QWEN_PADS = {"image_token": "<|image_pad|>", "video_token": "<|video_pad|>"}


def _qwen_numbers(tokenizer: Any) -> dict[str, Any]:
    names = {"image_token_id": "<|image_pad|>", "video_token_id": "<|video_pad|>"}
    names.update(vision_start_token_id="<|vision_start|>", vision_end_token_id="<|vision_end|>")
    return {name: tokenizer.convert_tokens_to_ids(token) for name, token in names.items()}


def _qwen_text(tokenizer: Any, width: int) -> dict[str, Any]:
    rope = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 3, 3]}
    return {**_text(len(tokenizer), width), "rope_parameters": rope}


def _qwen_template() -> str:
    return CHATML.replace("IMAGE", "<|vision_start|><|image_pad|><|vision_end|>")


def _qwen2_vl(pieces: list[str], width: int) -> tuple[Any, Any]:
    from transformers import (
        Qwen2VLConfig,
        Qwen2VLForConditionalGeneration,
        Qwen2VLImageProcessor,
        Qwen2VLProcessor,
        Qwen2VLVideoProcessor,
    )

    tokenizer = _tokenizer([*QWEN_TOKENS, *QWEN_PADS.values()], pieces, bos=None, **QWEN_PADS)
    vision = {"depth": 2, "embed_dim": 32, "hidden_size": width, "num_heads": 2, "mlp_ratio": 2}
    patches = {"patch_size": 14, "spatial_merge_size": 2, "temporal_patch_size": 2}
    settings = Qwen2VLConfig(
        **_qwen_numbers(tokenizer),
        vision_config={**vision, **patches},
        text_config=_qwen_text(tokenizer, width),
        tie_word_embeddings=False,
    )
    pictures = Qwen2VLImageProcessor(min_pixels=28 * 28 * 4, max_pixels=28 * 28 * 16)
    processor = Qwen2VLProcessor(pictures, tokenizer, Qwen2VLVideoProcessor(), chat_template=_qwen_template())
    return Qwen2VLForConditionalGeneration(settings), processor


def _qwen25_vl(pieces: list[str], width: int) -> tuple[Any, Any]:
    from transformers import (
        Qwen2_5_VLConfig,
        Qwen2_5_VLForConditionalGeneration,
        Qwen2_5_VLProcessor,
        Qwen2VLImageProcessor,
        Qwen2VLVideoProcessor,
    )

    tokenizer = _tokenizer([*QWEN_TOKENS, *QWEN_PADS.values()], pieces, bos=None, **QWEN_PADS)
    vision = {"depth": 2, "hidden_size": 32, "out_hidden_size": width, "num_heads": 2}
    patches = {"intermediate_size": 64, "patch_size": 14, "spatial_merge_size": 2, "window_size": 56}
    settings = Qwen2_5_VLConfig(
        **_qwen_numbers(tokenizer),
        vision_config={**vision, **patches, "fullatt_block_indexes": [1]},
        text_config=_qwen_text(tokenizer, width),
        tie_word_embeddings=False,
    )
    pictures = Qwen2VLImageProcessor(min_pixels=28 * 28 * 4, max_pixels=28 * 28 * 16)
    processor = Qwen2_5_VLProcessor(
        pictures, tokenizer, Qwen2VLVideoProcessor(), chat_template=_qwen_template()
    )
    return Qwen2_5_VLForConditionalGeneration(settings), processor


def _paligemma(pieces: list[str], width: int) -> tuple[Any, Any]:
    from transformers import (
        GemmaConfig,
        PaliGemmaConfig,
        PaliGemmaForConditionalGeneration,
        PaliGemmaProcessor,
        SiglipImageProcessor,
        SiglipVisionConfig,
    )

    pictures = SiglipImageProcessor(size={"height": 28, "width": 28})
    pictures.image_seq_length = 4
    tokenizer = _tokenizer(["<image>"], pieces, image_token="<image>")
    processor = PaliGemmaProcessor(pictures, tokenizer)
    settings = PaliGemmaConfig(
        vision_config=SiglipVisionConfig(**VISION, projection_dim=width, vision_use_head=False),
        text_config=GemmaConfig(**_text(len(tokenizer), width), head_dim=HEAD),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        projection_dim=width,
        hidden_size=width,
        tie_word_embeddings=False,
    )
    return PaliGemmaForConditionalGeneration(settings), processor


def _blip(pieces: list[str], width: int) -> tuple[Any, Any]:
    from transformers import (
        BertTokenizerFast,
        BlipConfig,
        BlipForConditionalGeneration,
        BlipImageProcessor,
        BlipProcessor,
    )

    letters = "abcdefghijklmnopqrstuvwxyz"
    words = [
        *["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"],
        *letters,
        *(f"##{letter}" for letter in letters),
    ]
    words += ["red", "green", "car", "dog", "on", "the", "street", "beach"]
    words += [piece for piece in map(str.strip, pieces) if piece not in words]
    vocab = {word: number for number, word in enumerate(words)}
    name = "vocab" if "vocab" in inspect.signature(BertTokenizerFast.__init__).parameters else "vocab_file"
    tokenizer = BertTokenizerFast(**{name: vocab})
    shape = {"num_hidden_layers": 2, "num_attention_heads": width // HEAD, "intermediate_size": 2 * width}
    settings = BlipConfig(
        text_config={
            **shape,
            "vocab_size": len(words),
            "hidden_size": width,
            "encoder_hidden_size": width,
            "projection_dim": 16,
            "max_position_embeddings": 64,
            "bos_token_id": 2,
            "eos_token_id": 3,
            "sep_token_id": 3,
            "pad_token_id": 0,
            "tie_word_embeddings": False,
        },
        vision_config={**shape, "hidden_size": width, "image_size": 48, "patch_size": 16},
        projection_dim=16,
        image_text_hidden_size=16,
        tie_word_embeddings=False,
    )
    pictures = BlipImageProcessor(size={"height": 48, "width": 48})
    return BlipForConditionalGeneration(settings), BlipProcessor(pictures, tokenizer)


_BUILDERS: dict[str, Callable[[list[str], int], tuple[Any, Any]]] = {
    "llava": _llava,
    "llava-next": _llava_next,
    "llava-onevision": _llava_onevision,
    "smolvlm": _smolvlm,
    "idefics3": _idefics3,
    "qwen2-vl": _qwen2_vl,
    "qwen2.5-vl": _qwen25_vl,
    "paligemma": _paligemma,
    "blip": _blip,
}
KINDS = tuple(kind for kind in _BUILDERS if kind != "blip")
"""The kinds that answer chats."""


def _spread(model: Any, seed: int) -> None:
    """Make what the model says depend on what it sees: usual random weights hardly tell things apart."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    for name, values in model.named_parameters():
        if values.ndim > 1:
            wide = 1.0 if "embed" in name else 0.25
            torch.nn.init.normal_(values, std=wide, generator=generator)


def _craft(model: Any, chain: list[int], *, end: int) -> None:
    """Set the weights so that each token of the chain leads to the next, and any other to the first."""
    import torch

    text = model.text_decoder if hasattr(model, "text_decoder") else model
    head = text.get_output_embeddings()
    table = text.get_input_embeddings()
    muted = ("o_proj.", "down_proj.", "output.dense.", "position_embeddings.", "predictions.bias")
    with torch.no_grad():
        for name, values in text.named_parameters():
            if "vision" not in name and any(part in name for part in muted):
                values.zero_()
            if "transform.dense.weight" in name:
                values.copy_(torch.eye(len(values)))
            elif "transform.dense.bias" in name:
                values.zero_()
        table.weight.zero_()
        table.weight[:, 0] = 1
        head.weight.zero_()
        if head.bias is not None:
            head.bias.zero_()
        head.weight[chain[0], 0] = 1
        for number, token in enumerate(chain, start=1):
            table.weight[token, 0] = 0
            table.weight[token, number] = 1
            head.weight[chain[number] if number < len(chain) else end, number] = 1
        head.weight.mul_(30)


@contextmanager
def _quiet() -> Iterator[None]:
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
