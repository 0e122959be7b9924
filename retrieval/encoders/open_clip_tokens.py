"""The tokenizer that an open_clip configuration asks for, rebuilt from its tables.

Both runtimes use the result: what torch encodes and what ONNX Runtime encodes are the same tokens.
"""

from __future__ import annotations

import gzip
import json
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retrieval import hub
from retrieval.encoders.clip_tokens import TOKENIZER_FILE, ClipTokenizer, JsonTokenizer, Tokenizer
from retrieval.errors import ModelUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from retrieval.encoders.exports import ModelName

# The file ends with merges that the models do not have: their vocabulary has 49,408 tokens.
MERGES = slice(1, 49_152 - 256 - 2 + 1)
DEFAULT_CONTEXT = 77
HARMLESS = frozenset({"language", "use_fast"})
"""Options of tokenizers that a model's configuration may set."""


def read_tokenizer(
    name: ModelName, model_config: Mapping[str, Any], *, merges: Path, wrapper: Callable[..., Any]
) -> Tokenizer:
    """The tokenizer of a model; a hub may be asked for it unless that is forbidden at the moment.

    `merges` is open_clip's own vocabulary file, `wrapper` its class around transformers' tokenizers.
    """
    text = model_config["text_cfg"]
    context = int(text.get("context_length") or DEFAULT_CONTEXT)
    options = dict(text.get("tokenizer_kwargs") or {})
    source = text.get("hf_tokenizer_name")
    if source:
        if name.kind == "folder":
            source = name.source
        return _json_tokenizer(source, text, context, options, wrapper)
    clean = options.pop("clean", "lower")
    if options or (name.kind in {"tag", "file"} and "siglip" in name.arch.lower()):
        wants = ", ".join(options) or "a SentencePiece file of its own"
        raise ModelUnavailable(f"{name.spec} has a tokenizer that is not supported ({wants}).")
    lines = gzip.decompress(merges.read_bytes()).decode("utf-8").split("\n")
    return ClipTokenizer(lines[MERGES], context=context, clean=clean)


def _json_tokenizer(
    source: str,
    text: Mapping[str, Any],
    context: int,
    options: dict[str, Any],
    wrapper: Callable[..., Any],
) -> JsonTokenizer:
    clean = options.pop("clean", "whitespace")
    strip = options.pop("strip_sep_token", False)
    mode = text.get("tokenizer_mode")
    refused = sorted(set(options) - HARMLESS)
    if refused:
        # They go to transformers as they are, and one of them has it run code that lies beside the tokenizer.
        raise ModelUnavailable(
            f"The tokenizer {source} takes options that are not given to it: {', '.join(refused)}."
        )
    if find_spec("transformers"):
        table, marks, sides = _by_transformers(source, options, wrapper)
    elif options:
        raise ModelUnavailable(
            f"The tokenizer {source} takes options ({', '.join(options)}) that need a package: "
            "pip install transformers"
        )
    else:
        table, marks, sides = _by_files(source)
    return JsonTokenizer(
        table,
        context=context,
        clean=clean,
        pad_id=marks.get("pad", ("", 0))[1],
        pad_token=marks.get("pad", ("[PAD]", 0))[0],
        padding_side=sides[0],
        truncation_side=sides[1],
        strip_id=marks["sep"][1] if strip else None,
        clips={key: marks[key][1] for key in ("bos", "eos", "cls")} if mode == "clips" else None,
    )


_Parts = tuple[str, dict[str, tuple[str, int]], tuple[str, str]]


def _by_transformers(source: str, options: dict[str, Any], wrapper: Callable[..., Any]) -> _Parts:
    """As open_clip makes it: some tokenizers are changed by their class after loading."""
    try:
        wrapped = wrapper(source, **options, trust_remote_code=False).tokenizer
        table = wrapped.backend_tokenizer.to_str()
    except Exception as error:  # transformers raises whatever its many tokenizers raise
        raise _not_here(source) from error
    marks = {}
    for key in ("pad", "sep", "bos", "eos", "cls"):
        token = getattr(wrapped, f"{key}_token", None)
        if token is not None:
            marks[key] = (str(token), int(getattr(wrapped, f"{key}_token_id")))
    return table, marks, (wrapped.padding_side, wrapped.truncation_side)


def _by_files(source: str) -> _Parts:
    """From `tokenizer.json` and the settings beside it, without transformers."""
    from tokenizers import Tokenizer as FastTokenizer

    table = _text_of(source, TOKENIZER_FILE)
    if table is None:
        raise _not_here(source)
    settings: dict[str, Any] = {}
    for beside in ("special_tokens_map.json", "tokenizer_config.json"):
        settings |= json.loads(_text_of(source, beside) or "{}")
    fast = FastTokenizer.from_str(table)
    marks = {}
    for key in ("pad", "sep", "bos", "eos", "cls"):
        token = settings.get(f"{key}_token")
        token = token.get("content") if isinstance(token, dict) else token
        number = fast.token_to_id(token) if token else None
        if number is not None:
            marks[key] = (str(token), int(number))
    return table, marks, (settings.get("padding_side", "right"), settings.get("truncation_side", "right"))


def _text_of(source: str, filename: str) -> str | None:
    if Path(source).is_dir():
        path = Path(source) / filename
        return path.read_text(encoding="utf-8") if path.is_file() else None
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    path_here = hub.cached_file(source, [filename])
    try:
        path = path_here or Path(hf_hub_download(source, filename))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError):
        return None  # the repository has no such file, or it is not here and may not be asked for
    return path.read_text(encoding="utf-8")


def _not_here(source: str) -> ModelUnavailable:
    return ModelUnavailable(
        f"The model's tokenizer {source} is not here and could not be fetched, or needs a package: "
        "pip install transformers, and where there is a network: search models pull NAME"
    )
