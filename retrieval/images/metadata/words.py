"""What people and programs wrote about a picture: XMP, IPTC and EXIF texts, tidied."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from xml.etree.ElementTree import Element

MAX_TEXT = 4000
MAX_KEYWORDS = 200
MAX_PACKET = 1 << 20
MAX_RECORDS = 2000

DC = "http://purl.org/dc/elements/1.1/"
XMP = "http://ns.adobe.com/xap/1.0/"
EXIF = "http://ns.adobe.com/exif/1.0/"
AUX = "http://ns.adobe.com/exif/1.0/aux/"
EXIF_EX = "http://cipa.jp/exif/1.0/"
PHOTOSHOP = "http://ns.adobe.com/photoshop/1.0/"
_RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
_LANG = "{http://www.w3.org/XML/1998/namespace}lang"

_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
_MAKERS = (
    "olympus|minolta|konica|kodak|pentax|samsung|casio|nikon|fuji(?:film)?|sanyo|hp|sony|ricoh|panasonic"
)
_PLACEHOLDER = re.compile(
    "|".join(
        (
            rf"(?:{_MAKERS})?[ \w-]{{0,12}}digital (?:still )?camera",
            r"sony dsc|dsc|dcim|dscn?\d+|img_?\d+|exif_jpeg_picture|binary comment|mtk|cof|edf|hdr|dav",
            r"default|untitled|screenshot|picture|image|jpeg|nothing|null|none|ascii|unicode|jis|qrcode",
            r"oplus_\d+|hdrpl|rhdr|beauty|bty|oznorco?|fotorcreated|vsco|charset=.*|maker:.*",
            r"created (?:with|by) (?:the )?(?:gimp|paint|fotor)\b.*|optimized by .*|lead technologies inc.*",
            r"file written by adobe photoshop.*|intel\(r\) jpeg library.*|creat?tor: gd-jpeg.*",
            r"[\W_]+",
        )
    ),
    re.IGNORECASE | re.DOTALL,
)

Properties = dict[str, list[str]]


def tidy(text: str | None) -> str | None:
    """Trimmed, without control characters, and of bounded length; `None` when nothing is left."""
    if text is None:
        return None
    cleaned = _CONTROLS.sub("", text[: 2 * MAX_TEXT].replace("\r\n", "\n").replace("\r", "\n"))
    return cleaned.strip()[:MAX_TEXT].strip() or None


def tidy_description(text: str | None) -> str | None:
    """Like `tidy`, and without what cameras and programs write on every picture."""
    cleaned = tidy(text)
    if cleaned is None or _PLACEHOLDER.fullmatch(cleaned[:300]):
        return None
    return cleaned


def tidy_keywords(keywords: Iterable[str]) -> tuple[str, ...]:
    """Each keyword once, whatever its case, in the order of the file."""
    kept: dict[str, str] = {}
    for keyword in keywords:
        cleaned = tidy(keyword[:MAX_TEXT])
        if cleaned:
            kept.setdefault(cleaned.casefold(), cleaned)
        if len(kept) >= MAX_KEYWORDS:
            break
    return tuple(kept.values())


def decode(raw: bytes) -> str:
    """Text of a field that is declared ASCII and in truth anything."""
    raw = raw[: 4 * MAX_TEXT].split(b"\x00", 1)[0]
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("cp1252", "replace")


def decode_wide(raw: bytes) -> str:
    """The UTF-16 of Windows' own tags."""
    return raw[: 4 * MAX_TEXT].decode("utf-16-le", "replace").split("\x00", 1)[0]


def decode_comment(raw: bytes) -> str:
    """A user comment: eight bytes that name its character set, then the text."""
    charset, body = raw[:8], raw[8 : 8 + 4 * MAX_TEXT]
    if charset.startswith(b"UNICODE"):
        # The byte order is not written down: in most scripts one half of the bytes is small.
        big = sum(body[0:200:2]) < sum(body[1:200:2])
        return body.decode("utf-16-be" if big else "utf-16-le", "replace").split("\x00", 1)[0]
    if charset.startswith(b"JIS"):
        return body.decode("iso2022_jp", "replace")
    return decode(body if charset.startswith(b"ASCII") or not charset.strip(b"\x00 ") else raw)


def read_xmp(packet: bytes) -> Properties:
    """The properties of an XMP packet by `namespace` + `name`; a broken packet has none."""
    packet = packet.strip(b"\x00 \r\n\t")
    if not packet or len(packet) > MAX_PACKET:
        return {}
    from xml.etree.ElementTree import ParseError

    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import fromstring

    found: Properties = {}
    try:
        tree = fromstring(packet, forbid_dtd=True)
        for node in _descriptions(tree):
            for name, value in node.attrib.items():
                found.setdefault(_plain(name), []).append(value)
            for child in node:
                values = [item for item in child.iter(_RDF + "li") if item.text]
                # The default language comes first, whatever the order in the file.
                values.sort(key=lambda item: item.get(_LANG, "x-default") != "x-default")
                texts = [item.text or "" for item in values] or [child.text or ""]
                found.setdefault(_plain(child.tag), []).extend(text for text in texts if text.strip())
    except (ParseError, DefusedXmlException, ValueError, LookupError, UnicodeError):
        return found
    return found


def _descriptions(tree: Element) -> Iterator[Element]:
    """Those that speak of the picture: one inside another speaks of a part, such as a step of its history.

    Each part of the tree is so looked at once, however deep a hostile packet nests them.
    """
    pending = [tree]
    while pending:
        node = pending.pop()
        if node.tag == _RDF + "Description":
            yield node
        else:
            pending.extend(reversed(node))


def _plain(name: str) -> str:
    return name.replace("{", "", 1).replace("}", "", 1)


def read_iptc(block: bytes) -> dict[int, list[str]]:
    """The application record's fields by number, decoded as the block declares."""
    raw: dict[int, list[bytes]] = {}
    utf8 = False
    at = 0
    for _ in range(MAX_RECORDS):
        if at + 5 > len(block) or block[at] != 0x1C:
            break
        record, number = block[at + 1], block[at + 2]
        size = int.from_bytes(block[at + 3 : at + 5], "big")
        if size & 0x8000:
            # Fields of more than 32 KB say how long their length is; nothing we read is that long.
            break
        body = block[at + 5 : at + 5 + size]
        if (record, number) == (1, 90):
            utf8 = body == b"\x1b%G"
        elif record == 2:
            raw.setdefault(number, []).append(body)
        at += 5 + size
    return {
        number: [body.decode("utf-8", "replace") if utf8 else decode(body) for body in bodies]
        for number, bodies in raw.items()
    }
