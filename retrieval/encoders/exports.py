"""Names of open_clip models, and the folder that each exported one has in the cache.

    <model cache>/<slug of the spec>/
        manifest.json        everything about the model, and size and sha256 of every file
        image.onnx image.bin the image tower: uint8 pixels in, unit vectors out
        text.onnx text.bin   the text tower: token numbers in, unit vectors out
        merges.txt | tokenizer.json

A model that cannot be exported has a manifest alone, with `problem` saying why, so that it is
not tried again by every run. A whole folder appears by one rename; it can be deleted any time.
An int8 model has a folder of its own, made from the one of its original.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from retrieval import config, hub
from retrieval.encoders import known
from retrieval.encoders.artifacts import SEEN, agree, checksum_of
from retrieval.errors import UnknownModel
from retrieval.flushing import flush_file, flush_folder
from retrieval.regular_files import read_cached

if TYPE_CHECKING:
    from collections.abc import Iterator

FORMAT = 1
MANIFEST = "manifest.json"
CHECKSUM = "checksum"
CHECKPOINTS = (".pt", ".pth", ".bin", ".ckpt", ".safetensors", ".npz")
INT8 = "@int8"
"""How the spec of a model ends whose image tower counts in 8-bit numbers."""
STALE_SECONDS = 86_400
RENAMES = 100
# What systems say when a rename meets a folder with something in it.
_IN_THE_WAY = {errno.ENOTEMPTY, errno.EEXIST, errno.EACCES}


@dataclass(frozen=True, slots=True)
class ModelName:
    """A spec taken apart; `spec` is its one canonical form."""

    spec: str
    kind: Literal["tag", "file", "hub", "folder"]
    arch: str
    source: str
    int8: bool = False

    @property
    def original(self) -> ModelName:
        """The model that this one is made from: itself, unless it is an int8 one."""
        return replace(self, spec=self.spec.removesuffix(INT8), int8=False) if self.int8 else self

    @property
    def slug(self) -> str:
        """A folder name: readable, and unique through its last characters."""
        plain = re.sub(r"[^A-Za-z0-9.]+", "-", self.spec.partition(":")[2]).strip("-.")
        return f"{plain[-80:]}-{hashlib.sha256(os.fsencode(self.spec)).hexdigest()[:8]}"


def parse_spec(spec: str) -> ModelName:
    """Take a spec apart, with paths made absolute; says nothing about whether the model exists."""
    if spec.endswith(INT8) and not spec.removesuffix(INT8).endswith(INT8):
        original = parse_spec(spec.removesuffix(INT8))
        return replace(original, spec=f"{original.spec}{INT8}", int8=True)
    family, _, rest = spec.partition(":")
    if family == "hf-hub" and re.fullmatch(r"[\w.-]+/[\w.-]+", rest):
        return ModelName(spec, "hub", "", rest)
    if family == "local-dir" and rest:
        folder = _absolute(rest)
        return ModelName(f"local-dir:{folder}", "folder", "", folder)
    # An architecture may also be a path to its own configuration, which ends in .json.
    config_file, mark, tail = rest.partition(".json/")
    arch, _, source = (f"{_absolute(config_file)}.json", "", tail) if mark else rest.partition("/")
    if family != "open_clip" or not arch or not source:
        raise UnknownModel(
            f"'{spec}' does not name a model: say open_clip:ARCHITECTURE/TAG, open_clip:ARCHITECTURE/FILE, "
            "hf-hub:OWNER/NAME or local-dir:FOLDER. See what there is: search models"
        )
    if "/" in source or os.sep in source or source.lower().endswith(CHECKPOINTS):
        path = _absolute(source)
        return ModelName(f"open_clip:{arch}/{path}", "file", arch, path)
    # open_clip reads tags this way too: one model, one name.
    tag = source.lower().replace("-", "_")
    return ModelName(f"open_clip:{arch}/{tag}", "tag", arch, tag)


@dataclass(frozen=True)
class Export:
    """One folder of the cache, as its manifest describes it."""

    folder: Path
    manifest: dict[str, Any]

    @property
    def spec(self) -> str:
        return str(self.manifest["spec"])

    @cached_property
    def problem(self) -> str | None:
        """Why this model runs by torch only, if it does."""
        return self.manifest.get("problem")

    @property
    def weights(self) -> int:
        """Bytes of the image tower, which a runtime holds at least once."""
        files = self.manifest["files"]
        return sum(facts["size"] for name, facts in files.items() if name.startswith("image."))

    def whole(self) -> bool:
        """Whether every file is there at its full size."""
        try:
            return all(
                (self.folder / name).stat().st_size == facts["size"]
                for name, facts in self.manifest["files"].items()
            )
        except OSError:
            return False

    def sound(self) -> bool:
        """Whether every file has its checksum; one that had it, and was not touched since, is not read."""
        files = self.manifest["files"].items()
        return self.whole() and agree(self.folder, {name: facts["sha256"] for name, facts in files})

    def damages(self) -> list[str]:
        """The files that are not what was written, by checksum: reads all of them."""
        damaged = []
        for name, facts in self.manifest["files"].items():
            path = self.folder / name
            if not path.is_file() or sha256(path) != facts["sha256"]:
                damaged.append(name)
        return damaged


def export_folder(name: ModelName) -> Path:
    return config.model_cache() / name.slug


def read_export(folder: Path) -> Export | None:
    """What a folder holds, or None when that is not an export of this version."""
    data = read_cached(folder / MANIFEST)
    try:
        manifest = {} if data is None else json.loads(data)
        # Earlier versions wrote none.
        stated = manifest.pop(CHECKSUM, None)
        if stated is not None and stated != checksum_of(manifest):
            return None
        fits = manifest["format"] == FORMAT and {"spec", "id", "dim", "files", "source"} <= manifest.keys()
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return Export(folder, manifest) if fits else None


def find_export(name: ModelName) -> Export | None:
    """The export of exactly this model, if every byte is as written and its checkpoint has not changed."""
    export = read_export(export_folder(name))
    if export is None or export.spec != name.spec or not export.sound():
        return None
    return export if _same_source(export.manifest["source"]) else None


def verify_export(spec: str) -> list[str]:
    """The files of an export that are damaged or missing, by their checksums; none is a good sign."""
    export = read_export(export_folder(parse_spec(spec)))
    return [MANIFEST] if export is None else export.damages()


def list_exports() -> list[Export]:
    """Every whole export in the cache."""
    found = (read_export(path.parent) for path in sorted(config.model_cache().glob(f"*/{MANIFEST}")))
    return [export for export in found if export is not None and export.whole()]


def models_here() -> list[str]:
    """Specs of the models that this machine can use without a network, besides the built-in ones."""
    specs = [export.spec for export in list_exports()]
    specs += [known.spec_of_repo(repo) for repo in hub.cached_repos()]
    return list(dict.fromkeys(specs))


def describe_source(paths: list[Path]) -> list[dict[str, Any]]:
    """What identifies the files that weights came from."""
    return [
        {
            "path": str(path),
            "size": path.stat().st_size,
            "mtime_ns": path.stat().st_mtime_ns,
            "sha256": sha256(path),
        }
        for path in paths
    ]


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """A folder to fill, which takes the place of `target` by a rename when the block ends well.

    Two processes may do this at once: the later one wins, and readers of the other keep
    their open files.
    """
    import shutil
    import tempfile

    target.parent.mkdir(parents=True, exist_ok=True)
    _sweep(target.parent)
    partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=target.parent))
    try:
        yield partial
        partial.chmod(0o755)
        # A power cut must not leave the name of an export over files without their content.
        for file in partial.iterdir():
            flush_file(file)
        flush_folder(partial)
        # Each failure means that another process has just put its own folder there.
        for _ in range(RENAMES):
            try:
                partial.rename(target)
                break
            except OSError as error:
                if error.errno not in _IN_THE_WAY:
                    raise
                aside = Path(tempfile.mkdtemp(prefix=".partial-", dir=target.parent))
                try:
                    target.rename(aside / "old")
                except FileNotFoundError:
                    pass  # the other process has just moved it
                finally:
                    shutil.rmtree(aside, ignore_errors=True)
        else:
            raise OSError(f"{target} keeps being replaced by another process")
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    """Describe the files of `folder` and write its manifest, last."""
    files = {
        path.name: {"size": path.stat().st_size, "sha256": sha256(path)}
        for path in sorted(folder.iterdir())
        if path.name not in (MANIFEST, SEEN)
    }
    content = {"format": FORMAT, **manifest, "files": files}
    content[CHECKSUM] = checksum_of(content)
    partial = folder / f".{MANIFEST}"
    partial.write_text(json.dumps(content, indent=1, ensure_ascii=False), encoding="utf-8")
    partial.replace(folder / MANIFEST)


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _absolute(path: str) -> str:
    # Not resolved: a link stays the name that its owner gave it.
    return str(Path(os.path.normpath(Path(path).expanduser().absolute())))


def _same_source(source: dict[str, Any]) -> bool:
    """Whether the files that an export was made of are still the same.

    What came from a hub is not looked at: it is a cache too, and may be gone. A person's own
    checkpoint that is gone leaves the export as the only copy, which is then the right one.
    """
    if source["kind"] not in {"file", "folder"}:
        return True
    for facts in source["files"]:
        path = Path(facts["path"])
        try:
            found = path.stat()
        except OSError:
            continue
        if found.st_size != facts["size"]:
            return False
        if found.st_mtime_ns != facts["mtime_ns"] and sha256(path) != facts["sha256"]:
            return False
    return True


def _sweep(folder: Path) -> None:
    """Remove what an export that was killed left behind."""
    import shutil
    import time

    for left in folder.glob(".partial-*"):
        try:
            old = time.time() - left.stat().st_mtime > STALE_SECONDS
        except OSError:
            continue
        if old:
            shutil.rmtree(left, ignore_errors=True)
