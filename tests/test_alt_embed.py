"""Alt texts inside pictures: whatever happens, the picture stays what it was."""

from __future__ import annotations

import dataclasses
import errno
import io
import os
import signal
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageSequence, PngImagePlugin

from retrieval.describing import replacing, xmp
from retrieval.describing.alt import AltReport, write_alt_texts
from retrieval.describing.carriers import CARRIERS, Carrier
from retrieval.images.blocks import find_blocks
from retrieval.images.decode import sniff
from tests.conftest import ROOT, draw
from tests.test_alt_text import DOGS, described, full_disk
from tests.test_xmp import read_alt


def noise(mode: str = "RGB") -> Image.Image:
    return Image.effect_noise((40, 30), 60).convert(mode)


def packet(inside: str = "<dc:title>Mine</dc:title>", *, padding: int = 0) -> bytes:
    return (
        f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f'<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/">{inside}</rdf:Description>'
        f"</rdf:RDF></x:xmpmeta>{' ' * padding}"
    ).encode()


def saved(form: str, image: Image.Image | None = None, **how: Any) -> bytes:
    stream = io.BytesIO()
    (image or noise()).save(stream, form, **how)
    return stream.getvalue()


def text_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def after_header(png: bytes, chunk: bytes) -> bytes:
    return png[:33] + chunk + png[33:]


def packed_png() -> bytes:
    info = PngImagePlugin.PngInfo()
    info.add_itxt("XML:com.adobe.xmp", packet().decode(), zip=True)
    return saved("PNG", pnginfo=info)


EXIF = Image.Exif()
EXIF[0x0112] = 6
EXIF[0x010F] = "Maker"
FRAMES = {"save_all": True, "append_images": [Image.new("RGB", (40, 30), "red")], "duration": 90}
WRITABLE: dict[str, Callable[[], bytes]] = {
    "jpeg": lambda: saved("JPEG"),
    "jpeg with everything": lambda: saved(
        "JPEG", exif=EXIF, xmp=packet(padding=2000), icc_profile=b"icc" * 50, comment=b"hello"
    ),
    "jpeg with exif": lambda: saved("JPEG", exif=EXIF),
    "progressive jpeg": lambda: saved("JPEG", progressive=True, quality=95),
    "jpeg with restarts": lambda: saved("JPEG", restart_marker_blocks=1),
    "cmyk jpeg": lambda: saved("JPEG", noise("CMYK")),
    "padded jpeg": lambda: saved("JPEG") + b"\0" * 100,
    "samsung jpeg": lambda: saved("JPEG") + b"anything at allSEFT",
    "motion photo": lambda: saved("JPEG") + b"\0\0\0\x18ftypmp42film",
    "jpeg with fill bytes": lambda: saved("JPEG").replace(b"\xff\xdb", b"\xff\xff\xff\xdb", 1),
    "png": lambda: saved("PNG"),
    "grey png with everything": lambda: saved("PNG", noise("LA"), exif=EXIF, icc_profile=b"icc" * 50),
    "palette png": lambda: saved("PNG", noise("P"), transparency=3),
    "png with packed xmp": packed_png,
    "png with xmp": lambda: after_header(
        saved("PNG"), text_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0en\0what\0" + packet())
    ),
    "animated png": lambda: saved("PNG", **FRAMES),
    "screenshot": lambda: after_header(saved("PNG"), text_chunk(b"iDOT", b"\0" * 28)),
    "webp": lambda: saved("WEBP"),
    "odd webp": lambda: saved("WEBP", Image.new("RGB", (1, 1), "red")),
    "lossless webp": lambda: saved("WEBP", lossless=True),
    "lossless webp with alpha": lambda: saved("WEBP", noise("RGBA"), lossless=True),
    "transparent lossless webp": lambda: saved(
        "WEBP",
        Image.linear_gradient("L").resize((9, 7)).convert("RGBA").point(lambda value: value // 2),
        lossless=True,
    ),
    "webp with alpha": lambda: saved("WEBP", Image.new("RGBA", (9, 7), (1, 2, 3, 90))),
    "webp with everything": lambda: saved("WEBP", exif=EXIF, xmp=packet(), icc_profile=b"icc" * 50),
    "webp with exif": lambda: saved("WEBP", exif=EXIF),
    "animated webp": lambda: saved("WEBP", **FRAMES),
}


def assert_same_bytes(old: bytes, new: bytes) -> None:
    """Compare files apart from their XMP, without the code under test."""
    if old.startswith(b"RIFF"):
        assert chunks(new) == chunks(old)
        return
    with Image.open(io.BytesIO(old)) as image:
        held = image.info.get("xmp", b"")
    packet = held if isinstance(held, bytes) else held.encode()
    if not packet:
        same = next((at for at in range(len(old)) if old[at] != new[at]), len(old))
        # By chance the packet may begin with the bytes that stand behind its place.
        assert any(new.endswith(old[at:]) for at in range(same - 2, same + 1))
        return
    start = old.index(packet) if packet in old else old.index(b"XML:com.adobe.xmp")
    end = start + len(packet) + 4
    if packet not in old:
        end = start + int.from_bytes(old[start - 8 : start - 4], "big") + 4
    # Before the packet stand its name and length, after it perhaps a checksum.
    assert new.startswith(old[: max(0, start - 60)])
    assert new.endswith(old[end:])


def chunks(webp: bytes) -> list[bytes]:
    found, at = [], 12
    while at < len(webp):
        size = int.from_bytes(webp[at + 4 : at + 8], "little")
        kind = webp[at : at + 4]
        if kind not in (b"XMP ", b"VP8X"):
            found.append(webp[at : at + 8 + size + size % 2])
        at += 8 + size + size % 2
    assert at == len(webp) == int.from_bytes(webp[4:8], "little") + 8
    return found


def frames(data: bytes) -> list[tuple[str, bytes]]:
    with Image.open(io.BytesIO(data)) as image:
        return [(frame.mode, frame.tobytes()) for frame in ImageSequence.Iterator(image)]


@pytest.mark.parametrize("kind", WRITABLE)
def test_alt_text_goes_into_a_picture_and_nothing_else_changes(tmp_path: Path, kind: str) -> None:
    old = WRITABLE[kind]()
    picture = tmp_path / "photo.dat"
    picture.write_bytes(old)
    os.utime(picture, ns=(10**18, 10**18 + 7))
    picture.chmod(0o604)
    assert write_alt_texts([described(picture)], "xmp", write=True) == AltReport(1, 0, (), "xmp")
    new = picture.read_bytes()
    form = str(sniff(new))
    with Image.open(io.BytesIO(old)) as before, Image.open(io.BytesIO(new)) as after:
        held = after.info["xmp"]
        assert read_alt(held if isinstance(held, bytes) else held.encode()) == DOGS
        assert (b"Mine" in held) == ("xmp" in before.info)
        for name in ("exif", "icc_profile", "comment", "duration", "loop", "background", "transparency"):
            assert after.info.get(name) == before.info.get(name)
        assert after.size == before.size
    assert frames(new) == frames(old)
    assert [find_blocks(data, form).exif for data in (old, new)] == [find_blocks(old, form).exif] * 2
    assert_same_bytes(old, new)
    status = picture.stat()
    assert (status.st_mode & 0o777, status.st_mtime_ns) == (0o604, 10**18 + 7)
    assert status.st_size > len(old)
    assert os.listdir(tmp_path) == ["photo.dat"]
    assert write_alt_texts([described(picture, "Other.")], "xmp", write=True).kept == 1
    assert picture.read_bytes() == new


def segment(marker: int, body: bytes) -> bytes:
    return bytes([0xFF, marker]) + (len(body) + 2).to_bytes(2, "big") + body


def jpeg_with(*segments: bytes) -> bytes:
    data = saved("JPEG")
    return data[:2] + b"".join(segments) + data[2:]


def webp_with(chunk: bytes, data: bytes | None = None) -> bytes:
    data = (data or saved("WEBP", exif=EXIF)) + chunk
    return data[:4] + (len(data) - 8).to_bytes(4, "little") + data[8:]


XMP_HEAD = b"http://ns.adobe.com/xap/1.0/\0"
PNG_HEAD = b"XML:com.adobe.xmp\0\0\0\0\0"
REFUSED: dict[str, Callable[[], bytes]] = {
    "gif": lambda: saved("GIF"),
    "tiff": lambda: saved("TIFF"),
    "text": lambda: b"not a picture",
    "empty": lambda: b"",
    "two packets": lambda: jpeg_with(segment(0xE1, XMP_HEAD + packet()), segment(0xE1, XMP_HEAD + packet())),
    "extended xmp": lambda: jpeg_with(
        segment(0xE1, XMP_HEAD + packet()),
        segment(0xE1, b"http://ns.adobe.com/xmp/extension/\0" + b"0" * 40 + packet()),
    ),
    "broken xmp": lambda: jpeg_with(segment(0xE1, XMP_HEAD + packet()[:-9])),
    "empty xmp": lambda: jpeg_with(segment(0xE1, XMP_HEAD)),
    "xmp with entities": lambda: jpeg_with(segment(0xE1, XMP_HEAD + b'<!DOCTYPE a [<!ENTITY b "c">]>' + packet())),
    "no room": lambda: jpeg_with(segment(0xE1, XMP_HEAD + packet(padding=65_000))),
    "several pictures": lambda: jpeg_with(segment(0xE2, b"MPF\0II*\0")),
    "signed jpeg": lambda: jpeg_with(segment(0xEB, b"JP\0\1\0\0\0\1")),
    "jpeg and more": lambda: saved("JPEG") + saved("JPEG"),
    "cut jpeg": lambda: saved("JPEG")[:-40],
    "jpeg without a scan": lambda: saved("JPEG")[:300],
    "jpeg of nothing": lambda: b"\xff\xd8\xff\xe0",
    "jpeg with a lying length": lambda: jpeg_with(b"\xff\xe1\xff\xff"),
    "jpeg with garbage inside": lambda: jpeg_with(b"garbage"),
    "jpeg that cannot be decoded": lambda: saved("JPEG").replace(b"\xff\xc0\x00\x11\x08", b"\xff\xc0\x00\x11\x63"),
    "two png packets": lambda: after_header(saved("PNG"), text_chunk(b"iTXt", PNG_HEAD + packet()) * 2),
    "raw profile": lambda: after_header(saved("PNG"), text_chunk(b"tEXt", b"Raw profile type xmp\0xmp")),
    "xmp as latin text": lambda: after_header(saved("PNG"), text_chunk(b"tEXt", b"XML:com.adobe.xmp\0" + packet())),
    "png bomb": lambda: after_header(
        saved("PNG"), text_chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(b" " * 50_000_000))
    ),
    "png with cut text": lambda: after_header(
        saved("PNG"), text_chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(packet())[:-9])
    ),
    "png with half a text": lambda: after_header(saved("PNG"), text_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0")),
    "signed png": lambda: after_header(saved("PNG"), text_chunk(b"caBX", b"x")),
    "wrong checksum": lambda: saved("PNG")[:-1] + b"x",
    "cut png": lambda: saved("PNG")[:-12],
    "png and more": lambda: saved("PNG") + b"more",
    "png without pixels": lambda: b"\x89PNG\r\n\x1a\n" + text_chunk(b"IHDR", b"\0" * 13) + text_chunk(b"IEND", b""),
    "screenshot with xmp behind": lambda: after_header(
        saved("PNG"), text_chunk(b"iDOT", b"\0" * 28) + text_chunk(b"iTXt", PNG_HEAD + packet())
    ),
    "xmp too large": lambda: after_header(saved("PNG"), text_chunk(b"iTXt", PNG_HEAD + packet(padding=1 << 20))),
    "two webp packets": lambda: webp_with(b"XMP \2\1\0\0" + b" " * 258, saved("WEBP", xmp=packet())),
    "signed webp": lambda: webp_with(b"C2PA\2\0\0\0ab"),
    "webp and more": lambda: saved("WEBP") + b"more",
    "webp and a chunk more": lambda: saved("WEBP", exif=EXIF) + b"ODD \2\0\0\0ab",
    "cut webp": lambda: saved("WEBP")[:-8],
    "webp with a lying chunk": lambda: webp_with(b"ODD \xff\xff\xff\x7fab"),
    "webp of nothing": lambda: b"RIFF\4\0\0\0WEBP",
    "simple webp with more": lambda: webp_with(b"ODD \2\0\0\0ab", saved("WEBP")),
}  # fmt: skip


def times(path: Path) -> tuple[int, ...]:
    status = path.stat()
    return status.st_ino, status.st_mode, status.st_mtime_ns, status.st_ctime_ns


@pytest.mark.parametrize("kind", REFUSED)
def test_picture_that_might_suffer_is_refused_and_left(tmp_path: Path, kind: str) -> None:
    content = REFUSED[kind]()
    picture = tmp_path / "photo.jpg"
    picture.write_bytes(content)
    before = times(picture)
    report = write_alt_texts([described(picture)], "xmp", write=True)
    assert (report.written, report.kept, len(report.failed)) == (0, 0, 1)
    assert report.failed[0][1].endswith(".")
    assert picture.read_bytes() == content
    assert times(picture) == before
    assert os.listdir(tmp_path) == ["photo.jpg"]


SAMPLES = [
    make()
    for kind, make in WRITABLE.items()
    if kind in ("jpeg with everything", "png with xmp", "webp with everything")
]


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(SAMPLES), st.data())
def test_any_damage_to_a_picture_is_refused_or_survives_as_it_is(sample: bytes, data: st.DataObject) -> None:
    """Whatever a file holds, the packet is the only thing that is another one afterwards."""
    from retrieval.describing.replacing import NotReplacedError

    broken = bytearray(sample)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(12, min(len(broken) - 1, 900)))
        broken[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
    old = bytes(broken)
    carrier = CARRIERS[str(sniff(old))]
    try:
        layout = carrier.read(old)
        added = xmp.with_alt(layout.packet, DOGS) if layout.packet else xmp.new_packet(DOGS)
        if added is None:
            return
        new = carrier.put(old, layout, added)
    except NotReplacedError:
        return
    assert carrier.read(new).rest == layout.rest
    assert carrier.read(new).packet == added
    if sniff(old) != "WEBP":
        assert (
            old[: layout.start] + old[layout.end :]
            == new.replace(added, b"", 1)[: layout.start] + old[layout.end :]
        )
        assert new.endswith(old[layout.end :])


def test_originals_are_never_touched_without_write(tmp_path: Path, photos: Path) -> None:
    pictures = [path for path in photos.rglob("*.*") if path.is_file()]
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_ino) for path in pictures}
    for place in ("xmp", tmp_path / "alt.json", tmp_path / "alt.csv"):
        write_alt_texts([described(path) for path in pictures], place)
    assert {
        path: (path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_ino) for path in pictures
    } == before


@pytest.mark.parametrize("name", ["alt.json", "alt.csv"])
def test_with_a_list_the_words_of_the_list_go_into_the_picture(tmp_path: Path, name: str) -> None:
    out = tmp_path / name
    pictures = [draw(out.parent / f"{name}.png", "red") for name in "abc"]
    write_alt_texts([described(path) for path in pictures], out)
    edited = out.read_text(encoding="utf-8").replace(DOGS, "My own words.", 1).replace(DOGS, "", 1)
    out.write_text(edited, encoding="utf-8")
    report = write_alt_texts([described(path, "New.") for path in pictures], out, write=True)
    assert report == AltReport(2, 1, (), str(out))
    held = [find_blocks(path.read_bytes(), "PNG").xmp for path in pictures]
    assert [read_alt(one) if one else None for one in held] == ["My own words.", None, "New."]


def test_alt_text_beside_the_picture_that_is_another_one_is_kept(tmp_path: Path) -> None:
    same, other = draw(tmp_path / "same.png", "red"), draw(tmp_path / "other.png", "red")
    write_alt_texts([described(same), described(other, "Mine.")], "xmp")
    before = other.read_bytes()
    assert write_alt_texts([described(same), described(other)], "xmp", write=True) == AltReport(
        1, 1, (), "xmp"
    )
    assert other.read_bytes() == before


def test_picture_behind_a_link_is_changed_where_it_is(tmp_path: Path) -> None:
    real, link = draw(tmp_path / "real" / "a.png", "red"), tmp_path / "link.png"
    link.symlink_to(real)
    assert write_alt_texts([described(link)], "xmp", write=True).written == 1
    assert link.is_symlink()
    assert read_alt(find_blocks(real.read_bytes(), "PNG").xmp) == DOGS


@pytest.mark.parametrize("protect", ["hard link", "read-only", "gone", "folder", "pipe", "dangling"])
def test_protected_picture_is_refused(tmp_path: Path, protect: str) -> None:
    picture = tmp_path / "a.png"
    if protect in ("hard link", "read-only"):
        draw(picture, "red")
        content = picture.read_bytes()
    if protect == "hard link":
        os.link(picture, tmp_path / "b.png")
    elif protect == "read-only":
        picture.chmod(0o444)
    elif protect == "folder":
        picture.mkdir()
    elif protect == "pipe":
        os.mkfifo(picture)
    elif protect == "dangling":
        picture.symlink_to(tmp_path / "gone.png")
    before = sorted(os.listdir(tmp_path))
    assert len(write_alt_texts([described(picture)], "xmp", write=True).failed) == 1
    assert sorted(os.listdir(tmp_path)) == before
    if protect in ("hard link", "read-only"):
        assert picture.read_bytes() == content


def test_attributes_of_a_file_go_with_it(tmp_path: Path) -> None:
    picture = draw(tmp_path / "a.png", "red")
    try:
        os.setxattr(picture, "user.xdg.tags", b"holiday")
    except OSError:
        pytest.skip("this file system keeps no extended attributes")
    assert write_alt_texts([described(picture)], "xmp", write=True).written == 1
    assert os.getxattr(picture, "user.xdg.tags") == b"holiday"


def test_attribute_that_cannot_be_kept_keeps_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = draw(tmp_path / "a.png", "red")
    content = picture.read_bytes()
    monkeypatch.setattr(os, "listxattr", lambda path: ["user.tags"] if path == picture else [])
    monkeypatch.setattr(os, "getxattr", lambda path, name: b"" if path == picture else _refused())
    monkeypatch.setattr(os, "setxattr", lambda *_: _refused())
    assert len(write_alt_texts([described(picture)], "xmp", write=True).failed) == 1
    assert picture.read_bytes() == content


def _refused() -> bytes:
    raise OSError(errno.ENODATA, "No data available")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has files of others to write to")
def test_owner_is_kept_or_the_file_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = [draw(tmp_path / name, "red") for name in ("a.png", "b.png")]
    for picture in pictures:
        os.chown(picture, 1234, 2345)
    assert write_alt_texts([described(pictures[0])], "xmp", write=True).written == 1
    status = pictures[0].stat()
    assert (status.st_uid, status.st_gid) == (1234, 2345)

    def refuse(descriptor: int, owner: int, group: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "fchown", refuse)
    content = pictures[1].read_bytes()
    assert len(write_alt_texts([described(pictures[1])], "xmp", write=True).failed) == 1
    assert pictures[1].read_bytes() == content


def test_picture_on_a_full_disk_stays_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = draw(tmp_path / "a.png", "red")
    content = picture.read_bytes()
    full_disk(monkeypatch)
    report = write_alt_texts([described(picture)], "xmp", write=True)
    assert "No space left" in report.failed[0][1]
    assert picture.read_bytes() == content
    assert os.listdir(tmp_path) == ["a.png"]


def test_picture_that_is_saved_by_another_program_meanwhile_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = draw(tmp_path / "a.png", "red")
    edited = draw(tmp_path / "edited" / "b.png", "blue").read_bytes()
    flush = os.fsync

    def late(descriptor: int) -> None:
        picture.write_bytes(edited)
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", late)
    assert "another program" in write_alt_texts([described(picture)], "xmp", write=True).failed[0][1]
    assert picture.read_bytes() == edited


def test_new_version_is_on_the_disk_before_it_takes_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = draw(tmp_path / "a.png", "red")
    steps: list[str] = []
    flush, put = os.fsync, os.replace

    def noted(descriptor: int) -> None:
        steps.append("flush " + os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}"))[:8])
        flush(descriptor)

    def replaced(source: Path, target: Path) -> None:
        steps.append("replace")
        put(source, target)

    monkeypatch.setattr(os, "fsync", noted)
    monkeypatch.setattr(os, "replace", replaced)
    write_alt_texts([described(picture)], "xmp", write=True)
    assert steps == ["flush .search-", "replace", f"flush {tmp_path.name[:8]}"]


@pytest.mark.parametrize("kind", ["jpeg with exif", "grey png with everything", "webp with exif", "webp"])
@pytest.mark.parametrize("harmed", [b"Maker", b"pixels"])
def test_picture_that_would_come_out_different_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, harmed: bytes
) -> None:
    """The check is worth something: a carrier that harms a picture, or only its EXIF, is found out."""
    content = WRITABLE[kind]()
    (tmp_path / "a.jpg").write_bytes(content)
    form = str(sniff(content))
    carrier = CARRIERS[form]

    def harmful(data: bytes, layout: Any, added: bytes) -> bytes:
        made = carrier.put(data, layout, added)
        at = made.find(harmed) if harmed in made else made.rfind(data[-30:-20])
        broken = made[:at] + bytes([made[at] ^ 1]) + made[at + 1 :]
        if form != "PNG":
            return broken
        whole, start = broken[:8], 8
        while start < len(broken):
            end = start + 12 + int.from_bytes(broken[start : start + 4], "big")
            body = broken[start + 4 : end - 4]
            whole += broken[start : start + 4] + body + zlib.crc32(body).to_bytes(4, "big")
            start = end
        return whole

    monkeypatch.setitem(CARRIERS, form, carrier._replace(put=harmful))
    assert len(write_alt_texts([described(tmp_path / "a.jpg")], "xmp", write=True).failed) == 1
    assert (tmp_path / "a.jpg").read_bytes() == content


def test_pixels_are_compared_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What decides is what a picture looks like, should the comparison of bytes miss something."""
    picture = draw(tmp_path / "a.webp", "red", lossless=True)
    content = picture.read_bytes()
    carrier = CARRIERS["WEBP"]
    other = draw(tmp_path / "b.webp", "blue", lossless=True).read_bytes()

    def blind(data: bytes) -> Any:
        return dataclasses.replace(carrier.read(data), rest=b"")

    def harmful(data: bytes, layout: Any, added: bytes) -> bytes:
        return carrier.put(other, carrier.read(other), added)

    monkeypatch.setitem(CARRIERS, "WEBP", Carrier(blind, harmful))
    assert len(write_alt_texts([described(picture)], "xmp", write=True).failed) == 1
    assert picture.read_bytes() == content


def test_xmp_stands_behind_the_headers_that_have_to_be_first(tmp_path: Path) -> None:
    picture = draw(tmp_path / "a.jpg", "red", exif=EXIF, comment=b"hello")
    write_alt_texts([described(picture)], "xmp", write=True)
    data = picture.read_bytes()
    places = [data.index(mark) for mark in (b"JFIF\0", b"Exif\0", XMP_HEAD, b"hello")]
    assert places == sorted(places)


def test_webp_says_that_it_has_xmp_and_alpha(tmp_path: Path) -> None:
    flags = []
    for kind in ("webp", "transparent lossless webp", "animated webp"):
        (tmp_path / "a.webp").write_bytes(WRITABLE[kind]())
        write_alt_texts([described(tmp_path / "a.webp")], "xmp", write=True)
        flags.append((tmp_path / "a.webp").read_bytes()[20])
    assert flags == [0x04, 0x14, 0x06]


@pytest.mark.parametrize("place", ["write", "xmp", "old.xmp", "alt.json", "old.csv"])
def test_at_every_step_there_is_the_old_file_or_the_new_one(tmp_path: Path, place: str) -> None:
    """What is on the disk at a line is what a kill at that line leaves."""
    picture = draw(tmp_path / "a.png", "red")
    target = {"write": picture, "xmp": tmp_path / "a.png.xmp", "old.xmp": tmp_path / "a.xmp"}.get(
        place, tmp_path / place
    )
    if place == "old.xmp":
        target.write_bytes(packet())
    elif place == "old.csv":
        target.write_bytes(b"path,alt,captioner\r\n/p/a.jpg,Mine,me\r\n")
    old = target.read_bytes() if target.exists() else None
    others = {path: path.read_bytes() for path in tmp_path.iterdir() if path != target}
    seen: list[bytes | None] = []

    def traced(frame: FrameType, event: str, argument: object) -> Any:
        if frame.f_code.co_filename != replacing.__file__:
            return None
        if event == "line":
            seen.append(target.read_bytes() if target.exists() else None)
            assert all(path.read_bytes() == content for path, content in others.items())
        return traced

    before = sys.gettrace()
    sys.settrace(traced)
    try:
        out = "xmp" if place in ("write", "xmp", "old.xmp") else target
        write_alt_texts([described(picture)], out, write=place == "write")
    finally:
        sys.settrace(before)
    new = target.read_bytes()
    assert new != old
    assert len(seen) > 40
    change = seen.index(new)
    assert set(seen[:change]) == {old}
    assert set(seen[change:]) == {new}


KILLED = """
import os, signal, sys
from pathlib import Path
from retrieval.describing.alt import write_alt_texts
from retrieval.types import Description

replace = os.replace
def kill(source, target):
    if sys.argv[2] == "after":
        replace(source, target)
    os.kill(os.getpid(), signal.SIGKILL)
os.replace = kill
write_alt_texts([Description(Path(sys.argv[1]), "A red field.", (), "m")], "xmp", write=True)
"""


@pytest.mark.parametrize("moment", ["before", "after"])
def test_run_that_was_killed_can_be_done_again(tmp_path: Path, moment: str) -> None:
    picture = draw(tmp_path / "a.png", "red")
    old = picture.read_bytes()
    run = subprocess.run([sys.executable, "-c", KILLED, str(picture), moment], cwd=ROOT, timeout=60)
    assert run.returncode == -signal.SIGKILL
    assert (picture.read_bytes() == old) == (moment == "before")
    assert picture.stat().st_mode == draw(tmp_path / "b.png", "red").stat().st_mode
    assert (write_alt_texts([described(picture)], "xmp", write=True).written == 1) == (moment == "before")
    assert frames(picture.read_bytes()) == frames(old)
