"""rclip for benchmarks: in an environment of its own, with a model of random weights.

rclip is installed from PyPI, unchanged, into a folder that is kept beside the model cache. It looks
for its model in its data folder before it asks a hub, so the files are put there: the network that
the product's export was made of, as ONNX with the inputs and outputs that rclip expects. It ships
ViT-B/32 of 256 pixels, in fp32, one file a tower; so are these.

Importing this imports nothing heavy.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import machine

if TYPE_CHECKING:
    from numpy.typing import NDArray

RELEASE = "3.3.0"
ARCHITECTURE = "ViT-B-32-256"
SIDE = 256
MODEL, VISUAL, TEXTUAL = "ViT-B-32-256-datacomp_s34b_b86k", "visual.onnx", "textual.onnx"
"""Where rclip looks below its data folder; there it is this name, whatever the weights are."""
VOCABULARY = Path("tokenizer", "bpe_simple_vocab_16e6.txt.gz")
DATABASE = "db.sqlite3"
THERE = "deleted IS NULL AND indexing IS NULL"
INSTALL_SECONDS = 600
TINY: dict[str, Any] = {
    "embed_dim": 512,  # as many as rclip expects
    "vision_cfg": {"image_size": SIDE, "layers": 2, "width": 64, "head_width": 32, "patch_size": 32},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2},
}
VERSIONS = """
import json
from importlib.metadata import version
names = ("rclip", "onnxruntime", "pillow", "numpy")
print(json.dumps({name: version(name) for name in names}))
"""


@dataclass(frozen=True, slots=True)
class Rclip:
    """An installed rclip."""

    environment: Path

    @property
    def python(self) -> Path:
        return self.environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")

    @property
    def script(self) -> Path:
        return self.environment / ("Scripts/rclip.exe" if os.name == "nt" else "bin/rclip")

    def versions(self) -> dict[str, str]:
        found: dict[str, str] = json.loads(machine.run([str(self.python), "-c", VERSIONS])[1])
        return found

    def ask(self, query: str, *, indexing: bool, top: int = 10) -> list[str]:
        """The call that answers a query about the current folder, after bringing its index up to date."""
        more = [] if indexing else ["--no-indexing"]
        return [str(self.script), "--top", str(top), "--filepath-only", *more, query]


class InstallError(Exception):
    """rclip cannot be installed here; says why."""


def install() -> Rclip:
    """rclip in its own environment, made on first use; a half-made one is made anew."""
    from retrieval import config

    rclip = Rclip(config.model_cache().parent / "benchmarks" / f"rclip-{RELEASE}")
    done = rclip.environment / "complete"
    if done.is_file():
        return rclip
    machine.clear(rclip.environment)
    calls = (
        [sys.executable, "-m", "venv", str(rclip.environment)],
        [str(rclip.python), "-m", "pip", "install", "--quiet", f"rclip=={RELEASE}"],
    )
    for call in calls:
        try:
            subprocess.run(call, check=True, capture_output=True, text=True, timeout=INSTALL_SECONDS)
        except subprocess.CalledProcessError as error:
            told = (
                error.stderr.strip() or error.stdout.strip() or f"exit code {error.returncode}"
            ).splitlines()
            raise InstallError(f"rclip {RELEASE} cannot be installed here ({told[-1][:200]})") from error
        except (OSError, subprocess.TimeoutExpired) as error:
            raise InstallError(f"rclip {RELEASE} cannot be installed here ({error})") from error
    done.touch()
    return rclip


@contextlib.contextmanager
def at(folder: Path, data: Path) -> Iterator[None]:
    """Be in a folder, as rclip wants it, with its data folder named."""
    more = {"RCLIP_DATADIR": str(data), "RCLIP_USE_ONNX_ON_MACOS": "1"}
    before = {name: os.environ.get(name) for name in more}
    os.environ.update(more)
    try:
        with contextlib.chdir(folder):
            yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def data_folder(place: Path, models: Path) -> Path:
    """A data folder for rclip without a database, its models led to by links."""
    place.mkdir(parents=True)
    for name in (MODEL, VOCABULARY.parent):
        (place / name).symlink_to(models / name, target_is_directory=True)
    return place


def count(data: Path) -> int:
    """How many files rclip's database holds."""
    with contextlib.closing(sqlite3.connect(data / DATABASE)) as connection:
        return int(connection.execute(f"SELECT COUNT(*) FROM images WHERE {THERE}").fetchone()[0])


def rows(data: Path) -> tuple[list[str], NDArray[Any]]:
    """The files that rclip's database holds, in order of their paths, and their vectors."""
    import numpy as np

    with contextlib.closing(sqlite3.connect(data / DATABASE)) as connection:
        listed = connection.execute(
            f"SELECT filepath, vector FROM images WHERE {THERE} ORDER BY filepath"
        ).fetchall()
    vectors = [np.frombuffer(vector, np.float32) for _, vector in listed]
    return [path for path, _ in listed], np.stack(vectors) if vectors else np.zeros((0, 0), np.float32)


def tiny_model(folder: Path) -> str:
    """A model of a few layers that takes pictures as large as rclip hands them on, exported."""
    import open_clip

    from indexer.export import export
    from tests.tiny_clip import random_checkpoint

    folder.mkdir(parents=True)
    configuration, checkpoint = folder / "tiny-peer.json", folder / "tiny-peer.pt"
    configuration.write_text(json.dumps(TINY))
    open_clip.add_model_config(configuration)
    random_checkpoint(configuration.stem, checkpoint)
    spec = f"open_clip:{configuration}/{checkpoint}"
    export(spec)
    return spec


def models_for(spec: str, folder: Path) -> Path:
    """rclip's model files with the weights of a spec, made on first use; gives the folder of them."""
    from retrieval.encoders import exports

    name = exports.parse_spec(spec)
    # The checkpoint's time is in the name: another checkpoint needs other files.
    models = folder / f"rclip-{name.slug}-{os.stat(name.source).st_mtime_ns:x}"
    if not models.is_dir():
        partial = machine.clear(folder / f"partial-{name.slug}")
        (partial / MODEL).mkdir(parents=True)
        _write_towers(name.arch, name.source, partial)
        partial.replace(models)
    return models


def _write_towers(architecture: str, checkpoint: str, models: Path) -> None:
    import logging
    import warnings

    import open_clip
    import torch

    logging.getLogger().addHandler(logging.NullHandler())
    if architecture.endswith(".json"):
        open_clip.add_model_config(Path(architecture))
        architecture = Path(architecture).stem
    model = open_clip.create_model(architecture, pretrained=checkpoint).eval()

    class TextTower(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, tokens: torch.Tensor) -> Any:
            return self.model.encode_text(tokens)

    tokens = open_clip.tokenize(["a photo of a dog", "two cats"])
    towers: tuple[tuple[str, torch.nn.Module, torch.Tensor], ...] = (
        (VISUAL, model.visual, torch.zeros(2, 3, SIDE, SIDE)),
        (TEXTUAL, TextTower(), tokens),
    )
    for name, tower, example in towers:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                tower,
                (example,),
                str(models / MODEL / name),
                input_names=["input"],
                output_names=["output"],
                dynamic_shapes=({0: torch.export.Dim.DYNAMIC},),
                dynamo=True,
                external_data=False,
                verbose=False,
            )
    (models / VOCABULARY).parent.mkdir()
    shutil.copy(Path(open_clip.tokenizer.default_bpe()), models / VOCABULARY)
