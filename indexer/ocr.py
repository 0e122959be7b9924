"""Reading the text in pictures, with RapidOCR: the extra `ocr`."""

from __future__ import annotations

import importlib.util
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from indexer.loader import Loader, Task
from retrieval import config
from retrieval.db import reads
from retrieval.errors import MissingDependency
from retrieval.types import Prepared

if TYPE_CHECKING:
    from PIL import Image

    from indexer.loader import Loaded
    from retrieval.db.queries import Writer
    from retrieval.db.reader import Reader
    from retrieval.protocols import Progress
    from retrieval.types import Pixels

SIDE = 1600
"""Longer side in pixels at which pictures are read: print on a sign in a photo is still clear."""
LEAST_SCORE = 0.7
LEAST_LETTERS = 3
"""A line of fewer letters and digits is more often a pattern than writing."""
COMMIT_PICTURES = 16
LOOK_AHEAD = 8
MODELS = {"Det": "*det*.onnx", "Rec": "*rec*.onnx", "Cls": "*cls*.onnx"}
INSTALL = "Install it: pip install 'picture-search[ocr]'"


class TextReader(Protocol):
    """Finds the writing in a picture."""

    def __call__(self, pixels: Pixels) -> str: ...


@dataclass(frozen=True, slots=True)
class OcrPreparer:
    """Shrinks a picture to what is read of it."""

    def wanted(self, width: int, height: int) -> tuple[int, int]:
        scale = min(1.0, SIDE / max(width, height))
        return max(1, round(width * scale)), max(1, round(height * scale))

    def __call__(self, image: Image.Image) -> Prepared:
        import numpy as np

        from retrieval.images import thumbnail

        return Prepared(np.asarray(thumbnail(image, SIDE), np.uint8)[None])


@dataclass(slots=True)
class Reading:
    """What a run of reading did."""

    read: int = 0
    with_text: int = 0
    interrupted: bool = False


def ocr_version() -> str:
    """What reads, and in which version: pictures read by another are read again."""
    try:
        return f"rapidocr/{version('rapidocr')}"
    except PackageNotFoundError as error:
        raise MissingDependency(f"Reading the text in pictures needs RapidOCR. {INSTALL}") from error


def read_pictures(
    reader: Reader,
    writer: Writer,
    read_by: str,
    *,
    workers: int,
    memory: int,
    progress: Progress,
    stopped: Callable[[], bool],
) -> Reading:
    """Read the text in every picture that was not read yet; what is read is kept when this is stopped."""
    standing = reads.standing_failures(reader)
    tasks = [
        Task(row.path, row.size, row.mtime_ns, row)
        for row in reads.unread(reader, read_by)
        if row.path not in standing and os.path.lexists(row.path)
    ]
    return _Run(writer, read_by, progress, stopped).through(tasks, workers, memory)


@dataclass(slots=True)
class _Run:
    writer: Writer
    read_by: str
    progress: Progress
    stopped: Callable[[], bool]

    def through(self, tasks: Sequence[Task], workers: int, memory: int) -> Reading:
        done = Reading()
        if not tasks:
            return done
        self.progress("note", {"text": f"Reading the text in {len(tasks)} pictures ..."})
        read = text_reader()
        batch: list[tuple[int, bytes, str]] = []
        committed = time.monotonic()
        self.progress("encode", {"total": len(tasks), "done": 0})
        # Pictures are decoded in processes of their own: one that crashes a decoder costs only itself.
        with Loader(OcrPreparer(), workers=workers, memory=memory, look_ahead=LOOK_AHEAD) as loader:
            try:
                for number, item in enumerate(loader.load(tasks), 1):
                    text = self._text(read, item)
                    if text is not None:
                        batch.append((item.key.id, item.key.content_hash, text))
                        done.read += 1
                        done.with_text += bool(text)
                    late = time.monotonic() - committed > config.COMMIT_SECONDS
                    if len(batch) >= COMMIT_PICTURES or (batch and late):
                        self._commit(batch)
                        committed = time.monotonic()
                    self.progress("advance", {"total": len(tasks), "done": number, "failed": 0})
                    if self.stopped() and number < len(tasks):
                        done.interrupted = True
                        break
            except KeyboardInterrupt:
                done.interrupted = True
            finally:
                self._commit(batch)
        return done

    def _text(self, read: TextReader, item: Loaded) -> str | None:
        """The text in a picture; None for one that is not what was indexed, or cannot be decoded now."""
        if item.prepared is None or item.content_hash != item.key.content_hash:
            return None
        try:
            return read(item.prepared.pixels[0])
        except Exception as error:
            # Whatever a model stumbles over in one odd picture must not keep the others from being read.
            name = os.fsdecode(item.path)
            what = f"{type(error).__name__}: {error}"[:200]
            self.progress("note", {"text": f"{name} is passed over, reading its text failed ({what})."})
            return ""

    def _commit(self, batch: list[tuple[int, bytes, str]]) -> None:
        from retrieval.db.texts_writes import put_seen

        if batch:
            put_seen(self.writer, self.read_by, batch)
            batch.clear()


@lru_cache(1)
def text_reader() -> TextReader:
    """RapidOCR with the models of its own package: nothing is fetched, and nothing is logged."""
    found = importlib.util.find_spec("rapidocr")
    if found is None or found.origin is None:
        raise MissingDependency(f"Reading the text in pictures needs RapidOCR. {INSTALL}")
    folder = Path(found.origin).parent / "models"
    parameters: dict[str, Any] = {
        "Global.log_level": "critical",
        "EngineConfig.onnxruntime.intra_op_num_threads": config.cores(),
    }
    for part, pattern in MODELS.items():
        models = sorted(folder.glob(pattern))
        if not models:
            # Named explicitly, since the package would ask the network for what it does not have.
            raise MissingDependency(f"The installed RapidOCR carries no models ({pattern}). {INSTALL}")
        parameters[f"{part}.model_path"] = str(models[-1])
    from rapidocr import RapidOCR

    engine: Any = RapidOCR(params=parameters)

    def read(pixels: Pixels) -> str:
        import numpy as np

        result = engine(np.ascontiguousarray(pixels[:, :, ::-1]))
        lines = zip(result.txts or (), result.scores or (), strict=True)
        return "\n".join(text.strip() for text, score in lines if score >= LEAST_SCORE and _says(text))

    return read


def _says(line: str) -> bool:
    # A character of a script without spaces is worth several letters.
    return sum(1 if letter.isascii() else 2 for letter in line if letter.isalnum()) >= LEAST_LETTERS
