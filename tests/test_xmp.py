"""Alt texts in XMP packets and in the sidecars of pictures."""

from __future__ import annotations

import os
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.describing import xmp
from retrieval.describing.alt import AltReport, write_alt_texts
from retrieval.types import Description
from tests.conftest import draw

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
CORE = "http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/"
DARKTABLE = f"""<?xml version="1.0" encoding="UTF-8"?>
<!-- somebody's comment -->
<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="XMP Core 4.4.0-Exiv2">
 <rdf:RDF xmlns:rdf="{RDF}">
  <rdf:Description rdf:about="uuid:7"
    xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:dc="http://purl.org/dc/elements/1.1/"
    xmp:Rating="5">
   <dc:subject><rdf:Bag><rdf:li>Grömitz &amp; sea</rdf:li></rdf:Bag></dc:subject>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
"""


def described(path: Path, alt: str = "Two dogs run in the snow.") -> Description:
    return Description(path, alt, (), "model/1")


def beside(*paths: Path) -> AltReport:
    return write_alt_texts([described(path) for path in paths], "xmp")


def read_alt(packet: bytes) -> str | None:
    """The alt text as any reader of XMP finds it, written without the code under test."""
    root = ET.fromstring(packet.rstrip(b"\0"))
    texts = [
        "".join(li.itertext())
        for description in root.iter(f"{{{RDF}}}Description")
        for alt in description.findall(f"{{{CORE}}}AltTextAccessibility")
        for li in alt.findall(f"{{{RDF}}}Alt/{{{RDF}}}li")
        if li.get("{http://www.w3.org/XML/1998/namespace}lang") == "x-default"
    ]
    assert len(texts) < 2
    return texts[0] if texts else None


def without_alt(packet: bytes) -> str:
    """The packet in canonical form, comments too, less the description that holds an alt text."""
    builder = ET.TreeBuilder(insert_comments=True, insert_pis=True)
    root = ET.fromstring(packet.rstrip(b"\0"), ET.XMLParser(target=builder))
    for rdf in root.iter(f"{{{RDF}}}RDF"):
        for before, one in zip([None, *rdf], list(rdf), strict=False):
            if one.find(f"{{{CORE}}}AltTextAccessibility") is not None:
                rdf.remove(one)
                assert before is not None or rdf.text is None or not rdf.text.strip()
    return ET.canonicalize(ET.tostring(root, encoding="unicode"), with_comments=True, strip_text=True)


def test_new_sidecar_holds_the_alt_text_under_the_full_name(tmp_path: Path) -> None:
    picture = draw(tmp_path / "photo.jpg", "red")
    content = picture.read_bytes()
    assert beside(picture) == AltReport(1, 0, (), "xmp")
    assert read_alt((tmp_path / "photo.jpg.xmp").read_bytes()) == "Two dogs run in the snow."
    assert sorted(os.listdir(tmp_path)) == ["photo.jpg", "photo.jpg.xmp"]
    assert picture.read_bytes() == content


@pytest.mark.parametrize("name", ["photo.jpg.xmp", "photo.xmp", "photo.XMP", "photo.jpg.XMP"])
def test_sidecar_that_is_there_is_extended_and_keeps_everything_else(tmp_path: Path, name: str) -> None:
    picture, sidecar = draw(tmp_path / "photo.jpg", "red"), tmp_path / name
    sidecar.write_text(DARKTABLE, encoding="utf-8")
    sidecar.chmod(0o640)
    assert beside(picture).written == 1
    made = sidecar.read_bytes()
    assert read_alt(made) == "Two dogs run in the snow."
    assert without_alt(made) == without_alt(DARKTABLE.encode())
    start = made.index(b"<rdf:Description rdf:about=", made.index(b"</rdf:Description>"))
    end = made.index(b"</rdf:RDF>")
    assert made[:start] + made[end:] == DARKTABLE.encode()
    assert b'rdf:about="uuid:7"' in made[start:end]
    assert sidecar.stat().st_mode & 0o777 == 0o640
    assert sorted(os.listdir(tmp_path)) == sorted(["photo.jpg", name])


HAS_ALT = [
    '<i:AltTextAccessibility><rdf:Alt><rdf:li xml:lang="x-default">Mine</rdf:li></rdf:Alt></i:AltTextAccessibility>',
    '<i:AltTextAccessibility><rdf:Alt><rdf:li xml:lang="de">Meins</rdf:li></rdf:Alt></i:AltTextAccessibility>',
    "<i:AltTextAccessibility><rdf:Alt/></i:AltTextAccessibility>",
    "<i:AltTextAccessibility/>",
]


@pytest.mark.parametrize("given", HAS_ALT)
@pytest.mark.parametrize("name", ["photo.jpg.xmp", "photo.xmp"])
def test_alt_text_that_is_there_is_never_overwritten(tmp_path: Path, name: str, given: str) -> None:
    picture, sidecar = draw(tmp_path / "photo.jpg", "red"), tmp_path / name
    sidecar.write_text(
        f'<rdf:RDF xmlns:rdf="{RDF}"><rdf:Description rdf:about="" xmlns:i="{CORE}">{given}</rdf:Description></rdf:RDF>'
    )
    before = sidecar.read_bytes()
    assert beside(picture) == AltReport(0, 1, (), "xmp")
    assert sidecar.read_bytes() == before
    assert len(os.listdir(tmp_path)) == 2


def test_alt_text_as_an_attribute_counts(tmp_path: Path) -> None:
    packet = f'<rdf:RDF xmlns:rdf="{RDF}"><rdf:Description xmlns:i="{CORE}" i:AltTextAccessibility="Mine"/></rdf:RDF>'
    assert xmp.with_alt(packet.encode(), "Other") is None
    assert xmp.alt_of(packet.encode()) == "Mine"


def test_second_run_keeps_what_the_first_wrote(tmp_path: Path) -> None:
    picture = draw(tmp_path / "photo.jpg", "red")
    beside(picture)
    before = (tmp_path / "photo.jpg.xmp").read_bytes()
    assert write_alt_texts([described(picture, "Another one.")], "xmp") == AltReport(0, 1, (), "xmp")
    assert (tmp_path / "photo.jpg.xmp").read_bytes() == before


@pytest.mark.parametrize("other", ["photo.nef", "photo.PNG", "photo.heic"])
def test_sidecar_of_two_pictures_is_left_alone(tmp_path: Path, other: str) -> None:
    picture = draw(tmp_path / "photo.jpg", "red")
    (tmp_path / other).write_bytes(b"raw")
    (tmp_path / "photo.xmp").write_text(DARKTABLE, encoding="utf-8")
    assert beside(picture).written == 1
    assert (tmp_path / "photo.xmp").read_text(encoding="utf-8") == DARKTABLE
    assert (tmp_path / "photo.jpg.xmp").is_file()


def test_sidecar_of_another_picture_with_a_longer_name_is_left_alone(tmp_path: Path) -> None:
    longer = draw(tmp_path / "photo.jpg.png", "red")
    (tmp_path / "photo.jpg.xmp").write_text(DARKTABLE, encoding="utf-8")
    assert beside(longer).written == 1
    assert (tmp_path / "photo.jpg.xmp").read_text(encoding="utf-8") == DARKTABLE
    assert (tmp_path / "photo.jpg.png.xmp").is_file()


def test_alt_text_in_either_of_two_sidecars_counts(tmp_path: Path) -> None:
    picture = draw(tmp_path / "photo.jpg", "red")
    (tmp_path / "photo.jpg.xmp").write_text(DARKTABLE, encoding="utf-8")
    (tmp_path / "photo.xmp").write_bytes(xmp.new_packet("Mine"))
    assert beside(picture) == AltReport(0, 1, (), "xmp")
    assert (tmp_path / "photo.jpg.xmp").read_text(encoding="utf-8") == DARKTABLE


BROKEN: dict[str, bytes] = {
    "cut off": DARKTABLE.encode()[:-20],
    "not XML": b"Rating: 5",
    "spaces only": b"   ",
    "other XML": b"<html><body>x</body></html>",
    "SVG with RDF": f'<svg><rdf:RDF xmlns:rdf="{RDF}"/></svg>'.encode(),
    "no RDF": b'<x:xmpmeta xmlns:x="adobe:ns:meta/"/>',
    "two RDFs": f'<x:xmpmeta xmlns:x="adobe:ns:meta/" xmlns:rdf="{RDF}"><rdf:RDF/><rdf:RDF/></x:xmpmeta>'.encode(),
    "UTF-16": DARKTABLE.replace("UTF-8", "UTF-16").encode("utf-16"),
    "UTF-16 without mark": DARKTABLE.replace('encoding="UTF-8"', "").encode("utf-16-le"),
    "Latin-1": DARKTABLE.replace("UTF-8", "ISO-8859-1").encode("latin-1"),
    "ASCII called Latin-1": b'<?xml version="1.0" encoding="latin-1"?>' + f'<rdf:RDF xmlns:rdf="{RDF}"/>'.encode(),
    "bytes that are no UTF-8": DARKTABLE.encode().replace(b"sea", b"s\xffa"),
    "document type": b"<!DOCTYPE x>\n" + f'<rdf:RDF xmlns:rdf="{RDF}"/>'.encode(),
    "entities": b'<!DOCTYPE x [<!ENTITY a "b"><!ENTITY c "&a;&a;">]>'
    + f'<rdf:RDF xmlns:rdf="{RDF}">&c;</rdf:RDF>'.encode(),
    "outside entity": b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>'
    + f'<rdf:RDF xmlns:rdf="{RDF}">&a;</rdf:RDF>'.encode(),
    "extended": (
        f'<rdf:RDF xmlns:rdf="{RDF}"><rdf:Description xmlns:n="http://ns.adobe.com/xmp/note/" '
        'n:HasExtendedXMP="0123"/></rdf:RDF>'
    ).encode(),
    "endless depth": f'<rdf:RDF xmlns:rdf="{RDF}">'.encode() + b"<a>" * 100_000,
    "endless width": f'<rdf:RDF xmlns:rdf="{RDF}">'.encode() + b"<a/>" * 210_000 + b"</rdf:RDF>",
    "huge": f'<rdf:RDF xmlns:rdf="{RDF}">'.encode() + b" " * xmp.MAX_PACKET + b"</rdf:RDF>",
}  # fmt: skip


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
def test_sidecar_that_cannot_be_read_is_left_alone_and_told(tmp_path: Path, content: bytes) -> None:
    broken, fine = draw(tmp_path / "broken.jpg", "red"), draw(tmp_path / "fine.jpg", "blue")
    sidecar = tmp_path / "broken.jpg.xmp"
    sidecar.write_bytes(content)
    report = beside(broken, fine)
    assert report.written == 1
    assert report.failed[0][0] == broken
    assert report.failed[0][1].startswith("broken.jpg.xmp beside it was left as it is: ")
    assert sidecar.read_bytes() == content
    assert sorted(os.listdir(tmp_path)) == ["broken.jpg", "broken.jpg.xmp", "fine.jpg", "fine.jpg.xmp"]


def test_empty_sidecar_is_filled(tmp_path: Path) -> None:
    picture = draw(tmp_path / "photo.jpg", "red")
    (tmp_path / "photo.jpg.xmp").touch()
    assert beside(picture).written == 1
    assert read_alt((tmp_path / "photo.jpg.xmp").read_bytes()) == "Two dogs run in the snow."


def test_what_is_no_file_is_never_taken_for_a_sidecar(tmp_path: Path) -> None:
    pictures = [draw(tmp_path / f"{name}.jpg", "red") for name in ("folder", "pipe", "nowhere")]
    (tmp_path / "folder.jpg.xmp").mkdir()
    os.mkfifo(tmp_path / "pipe.jpg.xmp")
    (tmp_path / "nowhere.jpg.xmp").symlink_to(tmp_path / "gone")
    report = beside(*pictures)
    assert (report.written, [path for path, _ in report.failed]) == (0, pictures)
    assert not (tmp_path / "gone").exists()


def test_sidecar_behind_a_link_is_changed_where_it_is(tmp_path: Path) -> None:
    picture, real = draw(tmp_path / "photo.jpg", "red"), tmp_path / "elsewhere" / "real.xmp"
    real.parent.mkdir()
    real.write_text(DARKTABLE, encoding="utf-8")
    (tmp_path / "photo.jpg.xmp").symlink_to(real)
    assert beside(picture).written == 1
    assert (tmp_path / "photo.jpg.xmp").is_symlink()
    assert read_alt(real.read_bytes()) == "Two dogs run in the snow."


@pytest.mark.parametrize("protect", ["chmod", "link"])
def test_protected_sidecar_is_left_alone(tmp_path: Path, protect: str) -> None:
    picture, sidecar = draw(tmp_path / "photo.jpg", "red"), tmp_path / "photo.jpg.xmp"
    sidecar.write_text(DARKTABLE, encoding="utf-8")
    if protect == "chmod":
        sidecar.chmod(0o444)
    else:
        os.link(sidecar, tmp_path / "backup.xmp")
    assert len(beside(picture).failed) == 1
    assert sidecar.read_text(encoding="utf-8") == DARKTABLE


def test_picture_that_is_gone_gets_no_sidecar(tmp_path: Path) -> None:
    report = beside(tmp_path / "gone.jpg", tmp_path / "nul\0.jpg", tmp_path)
    assert report.written == 0
    assert len(report.failed) == 3
    assert os.listdir(tmp_path) == []


def test_picture_with_an_alt_text_inside_gets_no_sidecar(tmp_path: Path) -> None:
    packet = xmp.new_packet("Mine")
    pictures = [draw(tmp_path / name, "red", xmp=packet) for name in ("a.jpg", "a.webp")]
    pictures.append(draw(tmp_path / "a.tif", "red", tiffinfo={700: packet}))
    from PIL import PngImagePlugin

    packed = PngImagePlugin.PngInfo()
    packed.add_itxt("XML:com.adobe.xmp", packet.decode(), zip=True)
    pictures.append(draw(tmp_path / "a.png", "red", pnginfo=packed))
    assert beside(*pictures) == AltReport(0, 4, (), "xmp")
    assert len(os.listdir(tmp_path)) == 4


def test_name_that_is_no_utf8_gets_its_sidecar(tmp_path: Path) -> None:
    picture = Path(os.fsdecode(os.fsencode(tmp_path) + b"/f\xffo.jpg"))
    picture.write_bytes(draw(tmp_path / "a.jpg", "red").read_bytes())
    assert beside(picture).written == 1
    assert b"f\xffo.jpg.xmp" in os.listdir(os.fsencode(tmp_path))


def test_sidecar_that_appears_meanwhile_is_not_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture, sidecar = draw(tmp_path / "photo.jpg", "red"), tmp_path / "photo.jpg.xmp"
    link = os.link

    def late(source: Path, target: Path) -> None:
        sidecar.write_text(DARKTABLE, encoding="utf-8")
        link(source, target)

    monkeypatch.setattr(os, "link", late)
    assert len(beside(picture).failed) == 1
    assert sidecar.read_text(encoding="utf-8") == DARKTABLE
    assert len(os.listdir(tmp_path)) == 2


def test_sidecar_is_made_on_a_file_system_without_hard_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(source: Path, target: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    picture = draw(tmp_path / "photo.jpg", "red")
    assert beside(picture).written == 1
    assert sorted(os.listdir(tmp_path)) == ["photo.jpg", "photo.jpg.xmp"]


@pytest.mark.parametrize(
    "packet",
    [
        f'<r:RDF xmlns:r="{RDF}" a="x>/>"/>',
        f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><r:RDF xmlns:r="{RDF}" /></x:xmpmeta>',
        f'<RDF xmlns="{RDF}"></RDF\n>',
        f"\ufeff<?xpacket begin='' id='x'?><RDF xmlns='{RDF}'><Description about='é\"&lt;&#10;'/></RDF><?xpacket end='r'?>",
        f'<RDF xmlns="{RDF}"><!-- </RDF> --><Description><![CDATA[</RDF>]]></Description></RDF>\0\0\0',
    ],
)  # fmt: skip
def test_odd_packets_are_extended_byte_for_byte(packet: str) -> None:
    old = packet.encode()
    made = xmp.with_alt(old, "Ünder <&> \"'")
    assert made is not None
    assert read_alt(made) == xmp.alt_of(made) == "Ünder <&> \"'"
    assert without_alt(made) == without_alt(old)
    assert len(made) - len(made.rstrip(b"\0")) == len(old) - len(old.rstrip(b"\0"))


names = st.from_regex(r"[a-zA-Z_][a-zA-Z0-9_.-]{0,8}", fullmatch=True).filter(
    lambda name: "xml" not in name.lower()
)
words = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Cn"], exclude_characters="\ufffe\uffff"),
    max_size=20,
)


def element(name: str, attributes: dict[str, str], inside: str) -> str:
    said = "".join(f" p:{key}={quoteattr(value)}" for key, value in attributes.items())
    return f"<p:{name}{said}>{inside}</p:{name}>"


trees = st.recursive(
    st.one_of(
        words.map(escape),
        words.map(lambda text: f"<!--{text.replace('-', '')}-->"),
        words.map(lambda text: f"<![CDATA[{text.replace(']', '')}]]>"),
        words.map(lambda text: f"<?note {text.replace('?', '')}?>"),
    ),
    lambda inner: st.builds(
        element, names, st.dictionaries(names, words, max_size=3), st.lists(inner, max_size=3).map("".join)
    ),
    max_leaves=12,
)


@settings(max_examples=80, deadline=None)
@given(st.lists(trees, max_size=4), words, words, st.sampled_from(["", "\ufeff"]))
def test_any_other_xmp_survives(parts: list[str], about: str, alt: str, mark: str) -> None:
    described = "".join(element("x", {}, part) for part in parts)
    packet = (
        f'{mark}<x:xmpmeta xmlns:x="adobe:ns:meta/"><r:RDF xmlns:r="{RDF}">'
        f'<r:Description r:about={quoteattr(about)} xmlns:p="urn:p">{described}</r:Description>\n</r:RDF></x:xmpmeta>'
    ).encode()
    made = xmp.with_alt(packet, alt)
    assert made is not None
    assert read_alt(made) == alt
    assert without_alt(made) == without_alt(packet)
    assert xmp.with_alt(made, "another") is None


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_any_damage_to_a_packet_is_refused_or_harmless(data: st.DataObject) -> None:
    packet = bytearray(DARKTABLE.encode())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(packet) - 1))
        packet[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    try:
        made = xmp.with_alt(bytes(packet), "Snow.")
    except xmp.XmpError:
        return
    if made is not None:
        assert read_alt(made) == "Snow."
        assert without_alt(made) == without_alt(bytes(packet))


def test_command_needs_no_folder_that_can_be_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: Callable[..., int] = os.open

    def refuse(path: object, flags: int, *rest: int) -> int:
        if path == tmp_path:
            raise PermissionError(13, "Permission denied")
        return opened(path, flags, *rest)

    monkeypatch.setattr(os, "open", refuse)
    assert beside(draw(tmp_path / "photo.jpg", "red")).written == 1
