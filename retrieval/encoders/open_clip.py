"""Any model that open_clip can build, run by torch.

This is the only module that imports torch and open_clip. It loads a model with weights that
are certain to be the right ones, encodes with it, and can write its towers as ONNX.
"""

from __future__ import annotations

import copy
import difflib
import hashlib
import json
import logging
import os
import threading
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import open_clip
import torch

from retrieval import config, hub
from retrieval.encoders import calibration, exports, refusals
from retrieval.encoders.geometry import ClipPreparer
from retrieval.encoders.open_clip_patches import has_patches, patch_box, patch_vectors
from retrieval.encoders.open_clip_tokens import read_tokenizer
from retrieval.encoders.regions import Box, Look, grid_of, lay, slide
from retrieval.errors import ModelUnavailable, UnknownModel
from retrieval.types import Encoded

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray
    from PIL import Image

    from retrieval.encoders.clip_tokens import Tokenizer
    from retrieval.protocols import Pair
    from retrieval.types import Prepared, Vectors

PREPROCESSING = 1
TEXT_BATCH = 64
GPU_BATCH = 64
CPU_BATCH = 8


class ImageTower(torch.nn.Module):
    """uint8 [n, height, width, 3] to unit vectors; normalising the colours is part of it."""

    def __init__(self, model: Any, settings: dict[str, Any]) -> None:
        super().__init__()
        self.model = model
        mean, deviation = (
            torch.tensor(value if isinstance(value, (tuple, list)) else (value,) * 3, dtype=torch.float32)
            for value in (settings["mean"], settings["std"])
        )
        self.register_buffer("offset", (mean * 255).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("factor", (1 / (deviation * 255)).view(1, 3, 1, 1), persistent=False)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return _unit(self.model.encode_image(self.planes(pixels)))

    def planes(self, pixels: torch.Tensor) -> torch.Tensor:
        """float32 [n, 3, height, width], the colours as the model was trained on them."""
        offset, factor = cast("torch.Tensor", self.offset), cast("torch.Tensor", self.factor)
        return (pixels.permute(0, 3, 1, 2).float() - offset) * factor


class TextTower(torch.nn.Module):
    """int64 [n, context] to unit vectors."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return _unit(self.model.encode_text(tokens))


class OpenClipEncoder:
    """An open_clip model on the GPU where there is one, else on the CPU.

    Construction loads the weights, or says why it cannot. `note` is one line about why torch
    runs this model and not ONNX Runtime, when somebody decided that.
    """

    cutoff = calibration.CUTOFF
    runtime = "torch"

    def __init__(self, spec: str, *, device: str | None = None) -> None:
        self.name = exports.parse_spec(spec)
        self.spec = self.name.spec
        self.note = ""
        self._device = torch.device(device or best_device())
        model, model_config, self.tokenizer, self.sources = _load(self.name)
        self.settings: dict[str, Any] = json.loads(json.dumps(model.visual.preprocess_cfg))
        self.family = "siglip" if getattr(model, "logit_bias", None) is not None else "clip"
        self.dim = int(model_config["embed_dim"])
        self.id = _encoder_id(self.name, model, self.settings, self.tokenizer)
        self.preparer = ClipPreparer.from_settings(self.settings)
        model = model.to(self._device)
        self._image_tower = ImageTower(model, self.settings).to(self._device).eval()
        self._text_tower = TextTower(model).eval()

    @property
    def batch_size(self) -> int:
        return CPU_BATCH if self._device.type == "cpu" else GPU_BATCH

    @property
    def parallel(self) -> int:
        # torch spreads one batch over the cores by itself. A GPU takes one after the other, but the next
        # one can be put together and copied meanwhile.
        return 2 if self._device.type == "cuda" else 1

    @property
    def device(self) -> str:
        return self._device.type

    def encode_prepared(self, batch: Sequence[Prepared]) -> Encoded:
        if not batch:
            return Encoded(np.zeros((0, self.dim), dtype=np.float32))
        return Encoded(self._run(self._image_tower, np.concatenate([item.pixels for item in batch])))

    def encode_images(self, images: Sequence[Image.Image]) -> Vectors:
        parts = [np.zeros((0, self.dim), dtype=np.float32)]
        for start in range(0, len(images), self.batch_size):
            batch = [self.preparer(image) for image in images[start : start + self.batch_size]]
            parts.append(self.encode_prepared(batch).vectors)
        return np.concatenate(parts)

    def encode_regions(self, image: Image.Image) -> NDArray[np.float32]:
        size = image.info.get("full_size", image.size)
        covers = self.preparer.covers(*size)
        visual = self._image_tower.model.visual
        if not has_patches(visual):
            return slide(self.encode_images, image, Box(*covers))
        with torch.inference_mode():
            pixels = torch.tensor(self.preparer(image).pixels, device=self._device)
            planes = self._image_tower.planes(pixels)
            patches = patch_vectors(visual, planes)
            vectors = _unit(patches).float().cpu().numpy()
            # Patches score on a scale of their own; moved around the picture's vector, on that of pictures.
            whole = _unit(visual(planes)).float().cpu().numpy()
            vectors += whole[0] - vectors.mean((0, 1))
        box = patch_box(visual, covers)
        # As fine as the patches are, so that no cell is made of much more or less than one.
        short = min(
            round(cells / (high - low))
            for cells, low, high in zip(
                vectors.shape[:2], (box.top, box.left), (box.bottom, box.right), strict=True
            )
        )
        return lay([Look(vectors, box)], *grid_of(size[0], size[1], max(1, short)))

    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        parts = [np.zeros((0, self.dim), dtype=np.float32)]
        for start in range(0, len(texts), TEXT_BATCH):
            parts.append(self._run(self._text_tower, self.tokenizer(texts[start : start + TEXT_BATCH])))
        return np.concatenate(parts)

    def match(
        self, scores: NDArray[np.float32], sample: NDArray[np.float32], *, pair: Pair = "text-image"
    ) -> NDArray[np.float32]:
        return calibration.match(scores, sample, self.family, pair=pair)

    def write_onnx(self, folder: Path) -> None:
        """Write both towers as `image.onnx` and `text.onnx`, unoptimised; raises what torch raises."""
        size = (
            (self.settings["size"],) * 2 if isinstance(self.settings["size"], int) else self.settings["size"]
        )
        # Two rows, because an axis of one would be taken for a constant.
        pixels = torch.zeros((2, *((size, size) if isinstance(size, int) else size), 3), dtype=torch.uint8)
        tokens = torch.from_numpy(self.tokenizer(["a photo of a dog", "two cats"]))
        for stem, tower, example, axis in (
            ("image", self._image_tower, pixels, "pixels"),
            ("text", self._text_tower, tokens, "tokens"),
        ):
            if self._device.type != "cpu":
                tower = copy.deepcopy(tower).cpu()
            with _quiet(), torch.no_grad():
                torch.onnx.export(
                    tower,
                    (example,),
                    str(folder / f"{stem}.onnx"),
                    input_names=[axis],
                    output_names=["vectors"],
                    dynamic_shapes=({0: torch.export.Dim.DYNAMIC},),
                    dynamo=True,
                    external_data=True,
                    verbose=False,
                )

    def _run(self, tower: torch.nn.Module, rows: NDArray[Any]) -> Vectors:
        on_gpu = self._device.type == "cuda"
        with torch.inference_mode():
            # Only from pinned memory does a copy run beside the batch that is computed.
            here = torch.from_numpy(rows).pin_memory() if on_gpu else torch.from_numpy(rows)
            vectors = tower(here.to(self._device, non_blocking=on_gpu))
        return cast("Vectors", vectors.float().cpu().numpy())


def best_device() -> str:
    """`cuda`, `mps` or `cpu`, the first that this machine has."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def versions() -> dict[str, str]:
    """The versions that a model was loaded and exported with."""
    return {"torch": str(torch.__version__), "open_clip": str(open_clip.__version__)}


def _unit(vectors: torch.Tensor) -> torch.Tensor:
    return torch.div(vectors, vectors.norm(dim=-1, keepdim=True).clamp_min(1e-12))


def _load(name: exports.ModelName) -> tuple[Any, dict[str, Any], Tokenizer, list[Path]]:
    """The model with its weights, its configuration, its tokenizer and the files it came from."""
    arguments, offline = _find(name)
    # open_clip tries again without `weights_only` where torch stumbles, and then this variable would count.
    os.environ.pop("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", None)
    with _quiet(), hub.offline_hub(offline):
        try:
            model = open_clip.create_model_from_pretrained(
                **arguments, device="cpu", precision="fp32", return_transform=False, weights_only=True
            )
            model_config = open_clip.get_model_config(arguments["model_name"])
            sources = _source_files(name)
        except Exception as error:  # open_clip, torch, safetensors and the hub each raise their own kinds
            raise refusals.refusal(name, error, readable=_readable(name)) from error
        tokenizer = read_tokenizer(
            name,
            model_config,
            merges=Path(open_clip.tokenizer.default_bpe()),
            wrapper=open_clip.tokenizer.HFTokenizer,
        )
    return model.eval(), model_config, tokenizer, sources


def _find(name: exports.ModelName) -> tuple[dict[str, Any], bool]:
    """What to ask of open_clip, and whether it has to do without the network."""
    if name.kind == "folder":
        if not Path(name.source, hub.CONFIG).is_file():
            raise ModelUnavailable(
                f"There is no open_clip_config.json in {name.source}: local-dir: wants a folder with that "
                "file and the weights, as open_clip's push_to_hf_hub writes it. "
                "See what there is: search models"
            )
        return {"model_name": f"local-dir:{name.source}"}, config.offline()
    if name.kind == "hub":
        cached = all(hub.cached_file(name.source, names) for names in (hub.WEIGHTS, [hub.CONFIG]))
        return {"model_name": f"hf-hub:{name.source}"}, refusals.stays_offline(name, cached=cached)
    arch = _architecture(name.arch)
    if name.kind == "file":
        if not Path(name.source).is_file():
            raise ModelUnavailable(
                f"There is no checkpoint file {name.source}. See what there is: search models"
            )
        return {"model_name": arch, "pretrained": name.source}, config.offline()
    facts = open_clip.get_pretrained_cfg(arch, name.source)
    if not facts:
        tags = open_clip.list_pretrained_tags_by_model(arch)
        near = difflib.get_close_matches(name.source, tags, n=3, cutoff=0.4) or tags[:3]
        raise refusals.unknown(
            f"open_clip has no weights called '{name.source}' for {arch}.",
            [f"open_clip:{arch}/{tag}" for tag in near],
        )
    arguments: dict[str, Any] = {"model_name": arch, "pretrained": name.source}
    # Weights trained with QuickGELU are silently wrong under the plain architecture, which
    # open_clip only warns about.
    if facts.get("quick_gelu") and not open_clip.get_model_config(arch).get("quick_gelu"):
        arguments["force_quick_gelu"] = True
    cached, url = _tag_cached(facts)
    return arguments, refusals.stays_offline(name, cached=cached, url=url)


def _architecture(arch: str) -> str:
    if arch.endswith(".json"):
        path = Path(arch)
        try:
            wanted = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UnknownModel(f"{arch} is not a model configuration that can be read: {error}") from error
        if not (isinstance(wanted, dict) and {"embed_dim", "vision_cfg", "text_cfg"} <= wanted.keys()):
            raise UnknownModel(
                f"{arch} is not an open_clip configuration: it needs embed_dim, vision_cfg, text_cfg"
            )
        if open_clip.get_model_config(path.stem) not in (None, wanted):
            raise UnknownModel(f"open_clip already has an architecture called '{path.stem}': rename {arch}")
        open_clip.add_model_config(path)
        return path.stem
    if open_clip.get_model_config(arch) is None:
        names = open_clip.list_models()
        folded = {name.lower().replace("_", "-"): name for name in names}
        near = difflib.get_close_matches(arch.lower().replace("_", "-"), folded, n=3, cutoff=0.5)
        raise refusals.unknown(f"open_clip has no architecture '{arch}'.", [folded[match] for match in near])
    return arch


def _tag_cached(facts: dict[str, Any]) -> tuple[bool, str | None]:
    """Whether a tag's weights are here, and the address to ask for them when that is not the hub."""
    if facts.get("hf_hub"):
        repo, _, filename = facts["hf_hub"].rpartition("/")
        names = [f"{Path(filename).stem}.safetensors", filename] if filename else hub.WEIGHTS
        return hub.cached_file(repo, names) is not None, None
    url = facts.get("url", "")
    return Path("~/.cache/clip", url.rpartition("/")[2]).expanduser().is_file(), url


def _source_files(name: exports.ModelName) -> list[Path]:
    if name.kind == "file":
        return [Path(name.source), *([Path(name.arch)] if name.arch.endswith(".json") else [])]
    if name.kind == "folder":
        suffixes = {".safetensors", ".bin", ".pth", ".json"}
        return sorted(path for path in Path(name.source).iterdir() if path.suffix in suffixes)
    return []


def _readable(name: exports.ModelName) -> bool:
    """Whether a checkpoint that could not be loaded into its model holds plain weights at all."""
    if name.kind != "file":
        return False
    try:
        open_clip.factory.load_state_dict(name.source, weights_only=True)
    except Exception:  # whichever of its many kinds: the answer is no
        return False
    return True


def _encoder_id(name: exports.ModelName, model: Any, settings: dict[str, Any], tokenizer: Tokenizer) -> str:
    digest = hashlib.sha256()
    for key, tensor in sorted(model.state_dict().items()):
        digest.update(f"{key} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    middle = {
        "tag": f"{name.arch}/{name.source}",
        "file": f"{Path(name.arch).name.removesuffix('.json')}/{Path(name.source).stem}",
        "hub": f"hf-hub/{name.source}",
        "folder": f"local-dir/{Path(name.source).name}",
    }[name.kind]
    version = hashlib.sha256(json.dumps([settings, tokenizer.context], sort_keys=True).encode()).hexdigest()[
        :6
    ]
    return f"open_clip/{middle}/{digest.hexdigest()[:12]}/p{PREPROCESSING}-{version}"


_SILENCE = threading.RLock()


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what open_clip and torch log and warn about away from the person's terminal.

    `logging.info` on the root logger, which open_clip uses, installs a handler for the whole
    process unless there is one.
    """
    handler = logging.NullHandler()
    root = logging.getLogger()
    with _SILENCE, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        root.addHandler(handler)
        try:
            yield
        finally:
            root.removeHandler(handler)
