"""What writes an alt text into a picture: the same picture and its text, or a refusal that changes nothing."""

from __future__ import annotations

from retrieval.describing import xmp
from retrieval.describing.carriers import CARRIERS
from retrieval.describing.replacing import NotReplacedError
from tests.fuzz import told
from tests.fuzz.metadata import XMP

ALT = 'A dog & a "cat" <on> snow'
FORMATS = tuple(CARRIERS)
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108020000009077"
    "53de0000000c49444154789c63606060000000040001f61738550000000049454e44ae426082"
)
SEEDS = (
    b"\3" + XMP,
    b"\3" + xmp.new_packet("a"),
    b"\1" + PNG,
    b"\0\xff\xd8\xff\xe0\0\4ab\xff\xda\0\4ab\1\2\xff\xd9",
    b"\2RIFF\x12\0\0\0WEBPVP8L\5\0\0\0\x2f\0\0\0\0\0",
)
WORDS = (
    b"<rdf:RDF",
    b"</rdf:RDF>",
    b"rdf:about",
    b"<?xpacket",
    b"xmlns:rdf=",
    b"/>",
    b"<![CDATA[",
    b"iTXt",
    b"XMP ",
)


def one(data: bytes) -> None:
    which, body = (data[0], data[1:]) if data else (3, b"")
    if which >= len(FORMATS):
        try:
            made = xmp.with_alt(body, ALT)
            assert made is None or xmp.alt_of(made) == ALT
        except NotReplacedError as error:
            told(error)
        return
    carrier = CARRIERS[FORMATS[which]]
    try:
        layout = carrier.read(body)
        packet = xmp.new_packet(ALT) if layout.packet is None else xmp.with_alt(layout.packet, ALT)
        if packet is None:
            return
        written = carrier.put(body, layout, packet)
    except NotReplacedError:
        return
    again = carrier.read(written)
    assert again.packet == packet
    assert again.rest == layout.rest
    assert carrier.read(body) == layout
