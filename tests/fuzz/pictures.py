"""The image door: whatever the bytes, a picture within the budget or a refusal with its reason."""

from __future__ import annotations

from retrieval.errors import FAILURE_REASONS, ImageError
from retrieval.images import check_memory, load_image, thumbnail
from tests.fuzz import told

BUDGET = 48 << 20
SEEDS = (b"", b"P6 2 1 255\nabcdef", b"P2 1 1 255 7", b"BM", b"\0\0\1\0\1\0")
WORDS = (b"IHDR", b"IDAT", b"PLTE", b"tRNS", b"acTL", b"VP8X", b"ANMF", b"ftypavif", b"JFIF", b"II*\0", b"P3")
MOST = 2048


def one(data: bytes) -> None:
    asked: list[int] = []

    def permit(needed: int) -> None:
        asked.append(needed)
        check_memory(needed, BUDGET)

    small = len(data) % 2 == 1
    try:
        picture = load_image(data, permit=permit, wanted=(lambda width, height: (32, 32)) if small else None)
    except ImageError as error:
        told(error)
        if error.reason not in FAILURE_REASONS:
            raise
        return
    width, height = picture.size
    assert picture.mode == "RGB"
    assert width > 0
    assert height > 0
    assert asked, "it was decoded without asking"
    assert 3 * width * height <= asked[-1] <= BUDGET, "it asked for less than the pixels take"
    assert max(thumbnail(picture, 24).size) <= max(24, 1)
