"""The metadata reader: from any block, only values that the library documents."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import datetime

from retrieval.errors import ImageError
from retrieval.images import open_image
from retrieval.images.blocks import Blocks, find_blocks
from retrieval.images.exif import Exif, read_exif
from retrieval.images.metadata import read_metadata, words
from retrieval.types import Metadata

KINDS = ("JPEG", "PNG", "WEBP", "TIFF", "RAW", "JPEG2000")
SOURCES = {
    *("exif-original", "exif-digitized", "exif-modified", "xmp-original", "xmp-created", "iptc", "gps"),
    "file-name",
}
XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" '
    b'xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:exif="http://ns.adobe.com/exif/1.0/" '
    b'xmlns:xmp="http://ns.adobe.com/xap/1.0/"><rdf:Description xmp:CreateDate="2021-05-04T10:11:12+02:00" '
    b'exif:GPSLatitude="48,8.4N" exif:GPSLongitude="11,34.8E"><dc:subject><rdf:Bag><rdf:li>dog</rdf:li>'
    b"</rdf:Bag></dc:subject></rdf:Description></rdf:RDF></x:xmpmeta>"
)
EXIF = bytes.fromhex(
    "49492a000800000004000f010200060000003e00000012010300010000000600000069870400010000004400000025880400"
    "010000006a00000000000000"
) + bytes.fromhex(
    "43616e6f6e0001000390020014000000560000000000323032313a30353a30342031303a31313a3132000400010002000200"
    "00004e000000020005000300000000000000030002000200000045000000040005000300000000000000"
)
SEEDS = (
    b"\0",
    b"\x01" + XMP,
    b"\x01" + XMP.replace(b"48,8.4N", b"99,8.4N"),
    b"\x02" + EXIF,
    b"\x03\x1c\x02\x37\x00\x0820210504\x1c\x02\x3c\x00\x0b101112+0200\x1c\x02\x19\x00\x03dog",
    b"\x04\xff\xd8\xff\xe1\x00\x0aExif\0\0II",
    b"\x0aIMG_20210504_101112.jpg",
    b"\x0aScreenshot 2021-05-04 at 9.41.00 PM.png",
)
WORDS = (
    *(
        b"rdf:Description",
        b"rdf:li",
        b"dc:title",
        b"dc:subject",
        b"xml:lang",
        b"<!DOCTYPE",
        b"<!ENTITY",
        b"&#0;",
    ),
    *(
        b"\x69\x87\x04\x00",
        b"\x25\x88\x04\x00",
        b"\x03\x90\x02\x00",
        b"\x12\x01\x03\x00",
        b"UNICODE\0",
        b"JIS",
    ),
    *(
        b"8BIM\x04\x04",
        b"Photoshop 3.0\0",
        b"http://ns.adobe.com/xap/1.0/\0",
        b"2021:05:04 10:11:12",
        b"+02:00",
    ),
)


@dataclass
class Opened:
    """What the reader asks of an opened picture."""

    format: str = "JPEG"
    size: tuple[int, int] = (1, 1)
    exif: Exif = field(default_factory=Exif)
    blocks: Blocks = field(default_factory=Blocks)


def one(data: bytes) -> None:
    which, body = (data[0], data[1:]) if data else (0, b"")
    found, name = Opened(), "x.jpg"
    if which == 0:
        try:
            picture = open_image(body)
        except ImageError:
            return
        check(read_metadata(picture, name))
        return
    if which == 1:
        found.blocks = Blocks(xmp=body)
    elif which == 2:
        found.exif = read_exif(body)
    elif which == 3:
        found.blocks = Blocks(iptc=body)
    elif which < 10:
        found.blocks = find_blocks(body, KINDS[which % len(KINDS)])
        found.exif = read_exif(found.blocks.exif)
    else:
        name = body.decode("utf-8", "surrogateescape")
    check(read_metadata(found, name))  # type: ignore[arg-type]


def check(found: Metadata) -> None:
    """Hold it against what `Metadata` says of each of its values."""
    if found.taken_at is None:
        assert found.taken_source is None
    else:
        assert datetime.fromisoformat(found.taken_at).isoformat() == found.taken_at
        assert 1826 <= int(found.taken_at[:4]) <= datetime.now().year + 2, found.taken_at
        assert found.taken_source in SOURCES, found.taken_source
    assert found.taken_offset is None or -720 <= found.taken_offset <= 840, found.taken_offset
    assert (found.latitude is None) == (found.longitude is None)
    if found.latitude is not None and found.longitude is not None:
        assert math.isfinite(found.latitude)
        assert abs(found.latitude) <= 90
        assert math.isfinite(found.longitude)
        assert abs(found.longitude) <= 180
    if found.altitude is not None:
        assert math.isfinite(found.altitude)
        assert -11_000 <= found.altitude <= 50_000
    texts = (found.camera_make, found.camera_model, found.lens, found.title, found.description)
    for text in (*texts, *found.keywords):
        if text is None:
            continue
        assert text.strip() == text, text
        assert 0 < len(text) <= words.MAX_TEXT
        assert all(letter.isprintable() or letter in "\n\t" or ord(letter) > 127 for letter in text), ascii(
            text
        )
        text.encode("utf-8")
    folded = [keyword.casefold() for keyword in found.keywords]
    assert len(set(folded)) == len(folded) <= words.MAX_KEYWORDS
