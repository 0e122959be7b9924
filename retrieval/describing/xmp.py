"""Adding an alt text to an XMP packet, without changing a byte of what is there.

The packet is read with defusedxml (no document types, no entities), and only to find where the
new description goes: before the end of `rdf:RDF`. Whatever other programs wrote stays as it
stands, comments, prefixes and padding too. What comes out is read again and compared.
"""

from __future__ import annotations

import re
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import ParseError, XMLParser

from retrieval.describing.replacing import NotReplacedError

MAX_PACKET = 8 << 20
MAX_ELEMENTS = 200_000
PROPERTY = "AltTextAccessibility"
ADDED = ("Description", PROPERTY, "Alt", "li")
"""The elements that an alt text is made of."""

_CORE = "http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/"
_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_ALT = f"{{{_CORE}}}{PROPERTY}"
_WHOLE = f"{{{_RDF}}}RDF"
_PART = f"{{{_RDF}}}Description"
_ROOTS = ("{adobe:ns:meta/}xmpmeta", "{adobe:ns:meta/}xapmeta")
_EXTENDED = "{http://ns.adobe.com/xmp/note/}HasExtendedXMP"

_DECLARED = re.compile(rb"""^\s*<\?xml[^>]*?\sencoding\s*=\s*["']([^"']*)["']""")
_EMPTY_TAG = re.compile(rb"""<([^\s/>]+)(?:"[^"]*"|'[^']*'|[^"'>])*?/>""")
_MARK = b"\xef\xbb\xbf"


class XmpError(NotReplacedError):
    """The packet cannot be added to."""


def new_packet(alt: str) -> bytes:
    """A packet with nothing but the alt text."""
    packet = (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/">\n'
        f'<rdf:RDF xmlns:rdf="{_RDF}">\n'
        "</rdf:RDF>\n"
        "</x:xmpmeta>\n"
        '<?xpacket end="w"?>'
    )
    return with_alt(packet.encode(), alt) or b""


def with_alt(packet: bytes, alt: str) -> bytes | None:
    """The packet with the alt text, None where it has one already; `XmpError` where it cannot be read.

    An alt text without words is one too: it says that the picture is only decoration.
    """
    # Some programs fill up the place of a packet with zeros.
    body = packet.rstrip(b"\0")
    seen = _read(body)
    if seen.has_alt:
        return None
    if seen.extended:
        raise XmpError("Its XMP is spread over several packets.")
    description = _description(alt, seen.about)
    made = _spliced(body, seen, description) + packet[len(body) :]
    _compare(seen, _read(made.rstrip(b"\0")), alt, description)
    return made


def alt_of(packet: bytes) -> str | None:
    """The alt text in a packet, None where it has none; `XmpError` where it cannot be read."""
    seen = _read(packet.rstrip(b"\0"))
    return " ".join("".join(seen.alt).split()) if seen.has_alt else None


def _description(alt: str, about: str) -> bytes:
    return (
        f'<rdf:Description rdf:about={quoteattr(about)} xmlns:rdf="{_RDF}" xmlns:Iptc4xmpCore="{_CORE}">'
        f"<Iptc4xmpCore:{PROPERTY}><rdf:Alt>"
        f'<rdf:li xml:lang="x-default">{escape(alt)}</rdf:li>'
        f"</rdf:Alt></Iptc4xmpCore:{PROPERTY}></rdf:Description>\n"
    ).encode()


def _spliced(body: bytes, seen: _Reader, description: bytes) -> bytes:
    """The packet with the description at the end of rdf:RDF, opened where it is one empty tag."""
    tag = _EMPTY_TAG.fullmatch(body, seen.begun, seen.end)
    if tag is None:
        return body[: seen.end] + description + body[seen.end :]
    opened = body[: seen.end - len(b"/>")] + b">"
    return opened + description + b"</" + tag[1] + b">" + body[seen.end :]


def _compare(old: _Reader, new: _Reader, alt: str, description: bytes) -> None:
    """Raise unless the new packet is the old one and the alt text."""
    # An empty tag is one character shorter as an opening one.
    same = (new.about, new.elements) == (old.about, old.elements + len(ADDED))
    grown = new.end - old.end in (len(description), len(description) - 1)
    if not (grown and same and new.has_alt and "".join(new.alt) == alt):
        raise XmpError("Its XMP could not be added to without changing something else.")


class _Reader:
    """Finds in a packet what has to be known to add to it."""

    def __init__(self) -> None:
        self._open: list[str] = []
        self._rdfs = 0
        self._described = False
        self.parser: Any = None
        self.elements = 0
        self.alt: list[str] = []
        """What the alt texts say, of all languages."""
        self.has_alt = False
        self.extended = False
        self.about = ""
        """What the packet says it is about: every description has to say the same."""
        self.begun = -1
        self.end = -1
        """Where the end tag of rdf:RDF begins; where it is one empty tag, where that ends."""

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self.elements += 1
        if self.elements > MAX_ELEMENTS:
            raise XmpError("Its XMP is too large to be added to.")
        if name == _WHOLE and self._at_top():
            self._rdfs += 1
            self.begun = int(self.parser.CurrentByteIndex)
        elif name == _PART and self._open[-1] == _WHOLE and not self._described:
            self._described = True
            self.about = attributes.get(f"{{{_RDF}}}about", attributes.get("about", ""))
        if _ALT in attributes:
            self.alt.append(attributes[_ALT])
        self.has_alt = self.has_alt or name == _ALT or _ALT in attributes
        self.extended = self.extended or name == _EXTENDED or _EXTENDED in attributes
        self._open.append(name)

    def finish(self, name: str) -> None:
        self._open.pop()
        if name == _WHOLE and self._at_top():
            self.end = int(self.parser.CurrentByteIndex)

    def data(self, text: str) -> None:
        if _ALT in self._open:
            self.alt.append(text)

    def close(self) -> None:
        if self._rdfs != 1 or self.end < self.begun:
            raise XmpError("It is no XMP.")

    def _at_top(self) -> bool:
        return not self._open or (len(self._open) == 1 and self._open[0] in _ROOTS)


class _Target:
    """The reader under the names that the parser calls."""

    def __init__(self, reader: _Reader) -> None:
        self.start = reader.start
        self.end = reader.finish
        self.data = reader.data
        self.close = reader.close


def _read(packet: bytes) -> _Reader:
    if len(packet) > MAX_PACKET:
        raise XmpError("Its XMP is too large to be added to.")
    declared = _DECLARED.match(packet.removeprefix(_MARK))
    if declared is not None and declared[1].lower() not in (b"utf-8", b"utf8"):
        raise XmpError("Its XMP is not UTF-8.")
    try:
        packet.decode("utf-8")
    except UnicodeDecodeError as error:
        raise XmpError("Its XMP is not UTF-8.") from error
    if b"\0" in packet:
        raise XmpError("Its XMP is not UTF-8.")
    reader = _Reader()
    try:
        parser = XMLParser(target=_Target(reader), forbid_dtd=True)
        reader.parser = parser.parser
        parser.feed(packet)
        parser.close()
    except (ParseError, DefusedXmlException) as error:
        raise XmpError("Its XMP is broken.") from error
    return reader
