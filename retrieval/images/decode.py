"""Picture files to pixels: what a file is, what decoding it will take, and the decoding.

Pillow's plugins are called by name, after a look at the content, instead of through
`Image.open`: a format that is not listed is never tried (PostScript never reaches
Ghostscript), an unknown content costs nothing, and neither Pillow's global pixel limit nor
its global list of plugins has to be changed in a host's process. The limit here is memory:
every decoder's need is known from the header, and asked for before the first pixel.
"""

from __future__ import annotations

import threading
import warnings
from contextlib import contextmanager
from importlib import import_module
from io import BytesIO
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, cast

from PIL import Image, ImageFile

from retrieval.errors import ImageError, ImageTooLarge, ImageUnreadable
from retrieval.images import RAW_EXTENSIONS, Permit, Wanted, blocks, costs, raw
from retrieval.images.blocks import Blocks, find_blocks
from retrieval.images.exif import Exif, read_exif
from retrieval.images.tones import to_rgb

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MAX_PIXELS = 1 << 30
"""Larger pictures are refused whatever the budget is."""

_PLUGINS = {
    "JPEG": "PIL.JpegImagePlugin:JpegImageFile",
    "PNG": "PIL.PngImagePlugin:PngImageFile",
    "GIF": "PIL.GifImagePlugin:GifImageFile",
    "WEBP": "PIL.WebPImagePlugin:WebPImageFile",
    "TIFF": "PIL.TiffImagePlugin:TiffImageFile",
    "BMP": "PIL.BmpImagePlugin:BmpImageFile",
    "PPM": "PIL.PpmImagePlugin:PpmImageFile",
    "JPEG2000": "PIL.Jpeg2KImagePlugin:Jpeg2KImageFile",
    "ICO": "PIL.IcoImagePlugin:IcoImageFile",
    "AVIF": "PIL.AvifImagePlugin:AvifImageFile",
    "HEIF": "pillow_heif.as_plugin:HeifImageFile",
}
_WEAK = frozenset({"BMP", "PPM", "ICO"})
"""Formats whose first bytes also begin many other files: a bad header means another format."""
_ORIENTED = frozenset({"JPEG", "PNG", "WEBP", "AVIF", "RAW"})
"""Formats whose EXIF orientation is left to us; TIFF and HEIF come upright from their decoders."""
_OPENED_LATE = frozenset({"WEBP", "ICO"})
"""Formats whose decoders take memory for the pixels as soon as they are opened."""

_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def sniff(data: bytes) -> str | None:
    """Pillow's name of the format that the content begins like, if it is one we read."""
    head = data[:32]
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "WEBP"
    if head.startswith((b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")):
        return "TIFF"
    if head.startswith((b"\xff\x4f\xff\x51", b"\x00\x00\x00\x0cjP  \r\n\x87\n")):
        return "JPEG2000"
    if head[4:8] == b"ftyp":
        return _sniff_brands(data)
    if head.startswith(b"BM"):
        return "BMP"
    if head[:1] == b"P" and head[1:2] in b"123456" and head[2:3] in (b" ", b"\t", b"\n", b"\r", b"#"):
        return "PPM"
    if head.startswith(b"\x00\x00\x01\x00"):
        return "ICO"
    return None


def _sniff_brands(data: bytes) -> str | None:
    size = min(int.from_bytes(data[:4], "big"), 512)
    brands = {data[8:12], *(data[at : at + 4] for at in range(16, size, 4))}
    if brands & {b"avif", b"avis"}:
        return "AVIF"
    if brands & {b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"hevm", b"hevs", b"mif1", b"msf1"}:
        return "HEIF"
    return None


def open_picture(data: bytes, name: str = "") -> Picture:
    if not data:
        raise ImageUnreadable("The file is empty", reason="empty")
    if PurePath(name).suffix.lower() in RAW_EXTENSIONS:
        with _translated("RAW", opening=True):
            preview, orientation = raw.preview(data)
        return Picture(preview, "RAW", data, orientation)
    kind = sniff(data)
    if kind is None:
        if data.count(0) == len(data):
            raise ImageUnreadable("The file holds nothing but zeros", reason="not-an-image")
        raise ImageUnreadable("The content is not a picture in a known format", reason="not-an-image")
    return Picture(data, kind, data, None)


class Picture:
    """A picture whose header was read and whose pixels were not."""

    def __init__(self, data: bytes, kind: str, file: bytes, turn: int | None) -> None:
        """`data` is what is decoded: the preview, where `file` is a RAW file."""
        self.format = kind
        self._kind = sniff(data) or kind
        self._data = blocks.png_without_notes(data) if self._kind == "PNG" else data
        self._copied = 0 if self._data is data else len(self._data)
        self._image: ImageFile.ImageFile | None = None
        with _translated(self._kind, opening=True):
            if self._kind in _OPENED_LATE:
                self._stored = costs.header_size(data, self._kind)
            else:
                self._image = self._open()
                self._stored = self._image.size
            _check_size(self._stored)
            self.blocks: Blocks = find_blocks(file, kind)
            if self._image is not None and kind in ("AVIF", "HEIF"):
                self.blocks.exif = _bytes(self._image.info.get("exif"))
                self.blocks.xmp = _bytes(self._image.info.get("xmp"))
            self.exif: Exif = read_exif(self.blocks.exif)
        own = self.exif.orientation if kind in _ORIENTED else 1
        self.orientation = own if turn is None else turn

    @property
    def size(self) -> tuple[int, int]:
        """The upright width and height."""
        return _swapped(self._stored) if self.orientation >= 5 else self._stored

    def decode(self, *, wanted: Wanted | None = None, permit: Permit | None = None) -> Image.Image:
        """The upright RGB picture; see `retrieval.images.load_image`."""
        late = self._kind in _OPENED_LATE
        if late and permit is not None:
            permit(costs.late_cost(self._stored, self._data, self._kind))
        least = wanted(*self.size) if wanted is not None and self._kind == "JPEG" else None
        with _translated(self._kind):
            image, self._image = self._image or self._open(), None
            reduced = self._reduce(image, least) if least is not None else 1
            turned = self.orientation != 1 or self.exif.orientation != 1
            needed = costs.decoding_cost(image, self._stored, self._data, self._kind, turned=turned)
        if not late and permit is not None:
            permit(needed + self._copied)
        with _translated(self._kind):
            if self._kind == "JPEG":
                # The whole file at once is no copy of it; the usual pieces are, and cost 2 % of the time.
                image.decodermaxblock = max(image.decodermaxblock, len(self._data))
            image.load()
            upright = to_rgb(image)
            del image
            if self.orientation in _TURNS:
                upright = upright.transpose(_TURNS[self.orientation])
        upright.info = {"full_size": self.size if reduced > 1 else upright.size, "reduced": reduced}
        return upright

    def _reduce(self, image: ImageFile.ImageFile, least: tuple[int, int]) -> int:
        """Let a JPEG be decoded at a fraction; `least` is upright, the file may not be."""
        width, height = _swapped(least) if self.orientation >= 5 else least
        image.draft(None, (max(1, width), max(1, height)))
        config: tuple[int, ...] = getattr(image, "decoderconfig", ())
        return config[0] if config else 1

    def _open(self) -> ImageFile.ImageFile:
        module, _, name = _PLUGINS[self._kind].partition(":")
        plugin = cast("Callable[[BytesIO], ImageFile.ImageFile]", getattr(import_module(module), name))
        return plugin(BytesIO(self._data))


def upright(image: Image.Image) -> Image.Image:
    """An upright RGB copy of a picture that somebody else has opened."""
    _check_size(image.size)
    with _translated(image.format or "open"):
        image.load()
        turn = image.getexif().get(_ORIENTATION, 1)
        plain = to_rgb(image)
        plain = plain.transpose(_TURNS[turn]) if turn in _TURNS else plain.copy()
    plain.info = {"full_size": plain.size, "reduced": 1}
    return plain


def _check_size(size: tuple[int, int]) -> None:
    width, height = size
    if width <= 0 or height <= 0:
        raise ImageUnreadable("The picture has no pixels", reason="damaged")
    if width * height > MAX_PIXELS:
        millions = MAX_PIXELS // 1_000_000
        raise ImageTooLarge(
            f"The picture has {width} × {height} pixels; at most {millions} million are decoded"
        )


def _swapped(size: tuple[int, int]) -> tuple[int, int]:
    return size[1], size[0]


def _bytes(value: Any) -> bytes:
    return bytes(value) if isinstance(value, bytes | bytearray) else b""


@contextmanager
def _translated(kind: str, *, opening: bool = False) -> Iterator[None]:
    """The one place where a decoder's exceptions become ours; no warning passes either."""
    try:
        with _quiet():
            yield
    except ImageError:
        raise
    except (MemoryError, Image.DecompressionBombError) as error:
        raise ImageTooLarge(f"There is not enough memory to decode this {kind} picture") from error
    except Exception as error:
        # Hostile data makes decoders raise nearly anything: OSError, SyntaxError, ValueError,
        # RuntimeError, struct.error, KeyError, zlib.error and more.
        weak = opening and kind in _WEAK
        said = " ".join(str(error).split())[:200] or type(error).__name__
        raise ImageUnreadable(
            f"The {kind} data cannot be read: {said}", reason="not-an-image" if weak else "damaged"
        ) from error


_quiet_lock = threading.Lock()
_quiet_depth = 0
_quiet_filters: warnings.catch_warnings[Any] | None = None


@contextmanager
def _quiet() -> Iterator[None]:
    """Pillow's warnings are ignored while any thread decodes.

    `catch_warnings` swaps a global list and is not made for threads, so only the first
    thread in and the last one out touch it.
    """
    global _quiet_depth, _quiet_filters
    with _quiet_lock:
        _quiet_depth += 1
        if _quiet_depth == 1:
            _quiet_filters = warnings.catch_warnings()
            _quiet_filters.__enter__()
            warnings.filterwarnings("ignore", module=r"(PIL|pillow_heif|rawpy)(\.|$)")
    try:
        yield
    finally:
        with _quiet_lock:
            _quiet_depth -= 1
            if _quiet_depth == 0 and _quiet_filters is not None:
                _quiet_filters.__exit__(None, None, None)
                _quiet_filters = None
