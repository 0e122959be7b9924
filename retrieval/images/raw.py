"""The previews inside camera RAW files, through rawpy (the extra `raw`)."""

from __future__ import annotations

from io import BytesIO

from retrieval.errors import ImageUnreadable
from retrieval.images.blocks import find_blocks
from retrieval.images.exif import read_exif

_FLIPS = {0: 1, 3: 3, 5: 8, 6: 6}
"""LibRaw's way to say how the camera was held, as an EXIF orientation."""


def preview(data: bytes) -> tuple[bytes, int]:
    """A picture file with the preview, and the EXIF orientation to apply to it."""
    try:
        import rawpy
    except ImportError as error:
        raise ImageUnreadable(
            "RAW files need rawpy: pip install 'picture-search[raw]'", reason="unreadable"
        ) from error
    with rawpy.imread(BytesIO(data)) as raw:
        orientation = _FLIPS.get(raw.sizes.flip, 1)
        thumb = raw.extract_thumb()
        if isinstance(thumb.data, bytes):
            jpeg = thumb.data
            # A preview with its own orientation tag is stored as the tag says, others as the RAW says.
            own = read_exif(find_blocks(jpeg, "JPEG").exif).orientation
            return jpeg, own if own != 1 else orientation
        height, width = thumb.data.shape[:2]
        # A bitmap preview becomes a PNM file, so that every preview takes the same way.
        return b"P6 %d %d 255\n" % (width, height) + thumb.data.tobytes(), orientation
