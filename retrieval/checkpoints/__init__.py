"""Checkpoints as transformers keeps them: where one is on this machine, and what names its weights.

Nothing here imports torch or transformers. A checkpoint is always found or fetched first and
then loaded from a folder, so that loading itself never asks a network.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from retrieval import config, hub
from retrieval.errors import MissingDependency, ModelUnavailable, UnknownModel

if TYPE_CHECKING:
    from collections.abc import Iterator

CONFIG = "config.json"
SAFE = ("model.safetensors", "model.safetensors.index.json")
PICKLED = ("pytorch_model.bin", "pytorch_model.bin.index.json")
"""Read by torch as plain weights only, and only where there are no safetensors."""
DESCRIBING = ("*.json", "*.txt", "*.jinja", "*.model")

_REPO = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")


@dataclass(frozen=True, slots=True)
class Use:
    """What a checkpoint is wanted for, as the messages about it say."""

    instead: str
    """What does the job without it, in a sentence."""
    named: str
    """A command that names a folder: `search QUERY --rerank blip_itm:./FOLDER`."""
    example: str
    """A repository's name."""
    extra: str
    """The extra of the package that brings what it needs."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A folder that holds a model, and how to tell its weights from any others."""

    name: str
    folder: Path
    revision: str | None
    """The hub's commit for what came from there; None for a folder of a person's own."""

    @property
    def safe(self) -> bool:
        return _holds(self.folder, SAFE)

    def fingerprint(self) -> str:
        """Changes when any file does that the model is made of; reads a folder's weights whole."""
        if self.revision is not None:
            return self.revision[:12]
        digest = hashlib.sha256()
        for path in sorted(self.folder.iterdir()):
            kept = {".json", ".txt", ".jinja", ".model", ".safetensors" if self.safe else ".bin"}
            if path.suffix in kept and path.is_file():
                with path.open("rb") as file:
                    digest.update(f"{path.name} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
        return digest.hexdigest()[:12]


def find(name: str, use: Use) -> Checkpoint | None:
    """The checkpoint that a folder or a hub repository's name means; None for one not fetched whole yet."""
    if _is_path(name):
        folder = Path(os.path.abspath(os.path.expanduser(name)))
        if not (folder / CONFIG).is_file() or not _holds(folder, SAFE + PICKLED):
            raise ModelUnavailable(
                f"{folder} holds no checkpoint: that is a folder with {CONFIG} and {SAFE[0]}, as "
                f"transformers' save_pretrained writes it. {use.instead}"
            )
        if lost := _lost(folder):
            raise ModelUnavailable(f"{folder} lacks a part of its weights, {lost}. {use.instead}")
        return Checkpoint(folder.name, folder, None)
    if not _REPO.fullmatch(name):
        raise UnknownModel(
            f"'{name}' is neither a folder nor a repository's name (like {use.example}). "
            f"Name a folder with ./ in front: {use.named}"
        )
    weights = hub.cached_file(name, SAFE + PICKLED)
    if weights is None or not (weights.parent / CONFIG).is_file() or _lost(weights.parent):
        return None
    return Checkpoint(name, weights.parent, weights.parent.name)


def fetch(name: str, use: Use) -> Checkpoint:
    """The checkpoint, asked of the hub if it is not here and the hub may be and can be asked."""
    found = find(name, use)
    if found is not None:
        return found
    if config.offline():
        raise _unavailable(
            name, use, "asking the model hub is switched off (SEARCH_OFFLINE or HF_HUB_OFFLINE)"
        )
    if not hub.answers():
        raise _unavailable(name, use, "the model hub does not answer")
    _download(name, use)
    found = find(name, use)
    if found is None:
        raise ModelUnavailable(f"The repository {name} holds no weights for transformers. {use.instead}")
    return found


def model_type(found: Checkpoint) -> str:
    """What kind of model its settings say it is; empty where they cannot be read."""
    try:
        kind = json.loads((found.folder / CONFIG).read_text("utf-8"))["model_type"]
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    return kind if isinstance(kind, str) else ""


def _download(name: str, use: Use) -> None:
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise MissingDependency(
            f"Fetching {name} needs a package that is not installed: "
            f"pip install 'picture-search[{use.extra}]'"
        ) from error
    # The weights come last: where they are here whole, all that goes with them is here too.
    for patterns in ([*DESCRIBING], ["*.safetensors"], ["*.bin"]):
        try:
            with _without_bars():
                folder = Path(
                    snapshot_download(
                        name,
                        allow_patterns=patterns,
                        ignore_patterns=["*/*", "consolidated*"],
                        max_workers=2,
                    )
                )
        except Exception as error:  # the hub's library and the network each raise their own kinds
            told = " ".join(str(error).split())[:200] or type(error).__name__
            raise ModelUnavailable(f"{name} could not be fetched ({told}). {use.instead}") from error
        if _holds(folder, SAFE + PICKLED) and not _lost(folder):
            return


@contextmanager
def _without_bars() -> Iterator[None]:
    """Keep the hub's library from drawing on the terminal; nothing else of the process is touched."""
    from huggingface_hub.utils.tqdm import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    if are_progress_bars_disabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()


def _unavailable(name: str, use: Use, why: str) -> ModelUnavailable:
    return ModelUnavailable(
        f"The weights of {name} are not on this machine, and {why}. "
        f"Where the hub can be asked: hf download {name}. {use.instead}"
    )


def _is_path(name: str) -> bool:
    return name.startswith(("./", "../", "/", "~", ".\\", "..\\")) or Path(name).is_dir()


def _lost(folder: Path) -> str | None:
    """A file of weights that their index names and that is not here, as after a fetch that was cut off."""
    single, index = SAFE if _holds(folder, SAFE) else PICKLED
    if (folder / single).is_file():
        return None
    try:
        named = json.loads((folder / index).read_text("utf-8"))["weight_map"].values()
        parts = sorted({Path(name).name for name in named})
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None  # an index that cannot be read is told of where it is loaded
    return next((part for part in parts if not (folder / part).is_file()), None)


def _holds(folder: Path, names: tuple[str, ...]) -> bool:
    return any((folder / name).is_file() for name in names)
