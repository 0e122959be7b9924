from __future__ import annotations

import io
import struct
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

from retrieval.images import open_image
from retrieval.images.exif import read_exif
from retrieval.images.metadata import read_metadata, with_file_time, words
from retrieval.images.metadata import taken as dates
from retrieval.types import Metadata, clamped_ns

XMP = """<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/"
 xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/"
 xmlns:exif="http://ns.adobe.com/exif/1.0/" {attributes}>{body}</rdf:Description></rdf:RDF></x:xmpmeta>
<?xpacket end="w"?>"""
WORDS = """<dc:description><rdf:Alt><rdf:li xml:lang="de">Zwei Hunde</rdf:li>
<rdf:li xml:lang="x-default">Two dogs</rdf:li></rdf:Alt></dc:description>
<dc:title><rdf:Alt><rdf:li xml:lang="x-default">Winter</rdf:li></rdf:Alt></dc:title>
<dc:subject><rdf:Bag><rdf:li>snow</rdf:li><rdf:li>Dogs</rdf:li><rdf:li>dogs</rdf:li></rdf:Bag></dc:subject>"""


def xmp(body="", attributes=""):
    return XMP.format(body=body, attributes=attributes).encode()


def file(main=None, photo=None, gps=None, *, kind="JPEG", size=(40, 30), packet=None, resources=None):
    """A picture file with these tags, written by Pillow."""
    exif = Image.Exif()
    exif.update(main or {})
    exif.get_ifd(0x8769).update(photo or {})
    exif.get_ifd(0x8825).update(gps or {})
    options = {"exif": exif.tobytes()} if main or photo or gps else {}
    if packet is not None:
        options["xmp"] = packet
    buffer = io.BytesIO()
    Image.new("RGB", size).save(buffer, kind, **options)
    data = buffer.getvalue()
    if resources is not None:
        body = b"Photoshop 3.0\x00" + resources
        data = data[:2] + b"\xff\xed" + struct.pack(">H", len(body) + 2) + body + data[2:]
    return data


def iptc(*fields, utf8=False):
    records = b"\x1c\x01\x5a\x00\x03\x1b%G" if utf8 else b""
    for number, body in fields:
        records += struct.pack(">BBBH", 0x1C, 2, number, len(body)) + body
    return b"8BIM\x04\x04\x00\x00" + struct.pack(">I", len(records)) + records


def read(data, name="photo.jpg"):
    return read_metadata(open_image(data, name=name), name)


def taken(data, name="photo.jpg"):
    found = read(data, name)
    return found.taken_at, found.taken_offset, found.taken_source


def test_format_and_size_are_those_of_the_upright_picture():
    found = read(file({0x0112: 6}))
    assert (found.format, found.width, found.height) == ("JPEG", 30, 40)


ALL_TIMES = {
    "photo": {0x9003: "2023:07:02 15:30:12", 0x9011: "+02:00", 0x9004: "2023:07:03 10:00:00"},
    "main": {0x0132: "2024:01:01 09:00:00"},
    "gps": {0x1D: "2023:07:02", 0x07: (13.0, 30.0, 12.0)},
}


def test_the_original_time_comes_first_with_its_offset():
    assert taken(file(**ALL_TIMES)) == ("2023-07-02T15:30:12", 120, "exif-original")


@pytest.mark.parametrize(
    "nonsense",
    [
        "0000:00:00 00:00:00",
        "0001:01:01 00:00:00",
        "2106:02:07 06:28:15",
        "2023:13:01 00:00:00",
        "2023:02:30 10:00:00",
        "2023:07:02 25:00:00",
        "1970:01:01 00:00:00",
        "    :  :     :  :  ",
        "yesterday",
        "",
    ],
)
def test_a_nonsense_time_gives_way_to_the_next_field(nonsense):
    photo = {**ALL_TIMES["photo"], 0x9003: nonsense}
    assert taken(file(photo=photo)) == ("2023-07-03T10:00:00", None, "exif-digitized")


def test_the_order_of_the_later_fields():
    original = xmp(attributes='exif:DateTimeOriginal="2021-05-06T07:08:09.5-03:30"')
    created = xmp(attributes='xmp:CreateDate="2021-05-06T07:08:09Z"')
    main, gps = ALL_TIMES["main"], ALL_TIMES["gps"]
    resources = iptc((55, b"20190304"), (60, b"101112+0100"))
    assert taken(file(main, gps=gps, packet=original)) == ("2021-05-06T07:08:09", -210, "xmp-original")
    assert taken(file(main, gps=gps, packet=created)) == ("2021-05-06T07:08:09", 0, "xmp-created")
    assert taken(file(main, gps=gps, resources=resources)) == ("2019-03-04T10:11:12", 60, "iptc")
    assert taken(file(main, gps=gps)) == ("2023-07-02T13:30:12", 0, "gps")
    assert taken(file(main), "IMG_20200101_010203.jpg") == ("2024-01-01T09:00:00", None, "exif-modified")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("IMG_20230702_153012.jpg", "2023-07-02T15:30:12"),
        ("20230702_153012.jpg", "2023-07-02T15:30:12"),
        ("20230702_153012(0).jpg", "2023-07-02T15:30:12"),
        ("IMG_20230702_153012345_HDR.jpg", "2023-07-02T15:30:12"),
        ("Screenshot_20230702-153012.png", "2023-07-02T15:30:12"),
        ("IMG-20230702-WA0001.jpg", "2023-07-02T00:00:00"),
        ("Screenshot 2023-07-02 at 15.30.12.png", "2023-07-02T15:30:12"),
        ("Screenshot 2023-07-02 at 3.30.12\u202fPM.png", "2023-07-02T15:30:12"),
        ("Screenshot 2023-07-02 at 12.05.00 AM.png", "2023-07-02T00:05:00"),
        ("Bildschirmfoto 2023-07-02 um 15.30.12.png", "2023-07-02T15:30:12"),
        ("WhatsApp Image 2023-07-02 at 15.30.12.jpeg", "2023-07-02T15:30:12"),
        ("signal-2023-07-02-153012.jpg", "2023-07-02T15:30:12"),
        ("2023-07-02 15.30.12.jpg", "2023-07-02T15:30:12"),
        ("2023-07-02 beach.jpg", "2023-07-02T00:00:00"),
        ("DSC01234.jpg", None),
        ("IMG_1234.jpg", None),
        ("20231302_153012.jpg", None),
        ("9920230702_153012.jpg", None),
        ("1688304612345.jpg", None),
        ("invoice 20230702.png", None),
    ],
)
def test_times_in_file_names(name, expected):
    found = dates.read_name(name)
    assert (found.at if found else None) == expected
    assert found is None or (found.source, found.offset) == ("file-name", None)


def test_the_file_names_of_pixel_phones_are_utc():
    assert dates.read_name("PXL_20230702_133012345.jpg") == dates.Taken("2023-07-02T13:30:12", 0, "file-name")


def test_the_file_time_is_only_the_last_resort():
    moment = datetime(2022, 3, 4, 5, 6, 7)
    found = with_file_time(Metadata(), int(moment.timestamp()) * 10**9 + 999)
    assert (found.taken_at, found.taken_source) == ("2022-03-04T05:06:07", "file-mtime")
    assert found.taken_offset is not None
    known = Metadata(taken_at="2001-01-01T00:00:00", taken_source="gps")
    assert with_file_time(known, 10**18) is known
    assert with_file_time(Metadata(), 10**40).taken_at is None
    for outside in (10**19, -(10**19), 2**63, -(2**63)):
        assert with_file_time(Metadata(), clamped_ns(outside)).taken_at is None
        assert dates.read_file_time(outside) is None


@pytest.mark.parametrize(
    ("make", "model", "expected"),
    [
        ("NIKON CORPORATION", "NIKON D90", ("Nikon", "D90")),
        ("Canon", "Canon EOS 5D Mark IV", ("Canon", "EOS 5D Mark IV")),
        ("Apple\x00\x00junk", "iPhone 14 Pro\x00", ("Apple", "iPhone 14 Pro")),
        ("OLYMPUS IMAGING CORP.  ", "E-M1", ("Olympus", "E-M1")),
        ("samsung", "SM-G998B", ("Samsung", "SM-G998B")),
        ("LG Electronics", "LG-H870", ("LG", "LG-H870")),
        ("HTC", "HTC", ("HTC", "HTC")),
        ("  \x00", "\x01\x02", (None, None)),
    ],
)
def test_camera_names_are_tidied(make, model, expected):
    found = read(file({0x010F: make, 0x0110: model}))
    assert (found.camera_make, found.camera_model) == expected


def test_the_lens_is_read_and_dashes_are_not_one():
    assert read(file(photo={0xA434: "EF 50mm f/1.8 STM"})).lens == "EF 50mm f/1.8 STM"
    assert read(file(photo={0xA434: "----"})).lens is None


def place(latitude=(48.0, 51.0, 29.5), longitude=(2.0, 17.0, 40.0), refs=("N", "E"), **more):
    return file(gps={1: refs[0], 2: latitude, 3: refs[1], 4: longitude, **more.get("extra", {})})


def test_a_position_with_its_altitude():
    found = read(place(extra={5: b"\x00", 6: 35.5}))
    assert (round(found.latitude, 5), round(found.longitude, 5)) == (48.85819, 2.29444)
    assert found.altitude == 35.5


def test_south_west_and_below_the_sea_are_negative():
    found = read(place(refs=("S", "W"), extra={5: b"\x01", 6: 400.0}))
    assert found.latitude < 0
    assert found.longitude < 0
    assert found.altitude == -400


@pytest.mark.parametrize(
    "data",
    [
        place((91.0, 0.0, 0.0)),
        place(longitude=(181.0, 0.0, 0.0)),
        place((0.0, 0.0, 0.0), (0.0, 0.0, 0.0)),
        place((48.0, 75.0, 0.0)),
        place((IFDRational(48, 0), 0.0, 0.0)),
        place(refs=("X", "E")),
        file(gps={1: "N", 2: (48.0, 51.0, 29.5)}),
        file(gps={2: (48.0, 51.0, 29.5), 4: (2.0, 17.0, 40.0)}),
    ],
)
def test_half_or_impossible_positions_are_none(data):
    found = read(data)
    assert (found.latitude, found.longitude, found.altitude) == (None, None, None)


def test_a_position_in_xmp_counts_where_exif_has_none():
    packet = xmp(attributes='exif:GPSLatitude="48,51.4917N" exif:GPSLongitude="2,17,40W"')
    found = read(file(packet=packet))
    assert (round(found.latitude, 4), round(found.longitude, 4)) == (48.8582, -2.2944)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF"])
def test_words_of_xmp_are_read_from_every_container(kind):
    if kind in ("HEIF", "PNG", "TIFF"):
        data = container(kind, xmp(WORDS))
    else:
        data = file(kind=kind, packet=xmp(WORDS))
    found = read(data)
    assert (found.title, found.description) == ("Winter", "Two dogs")
    assert found.keywords == ("snow", "Dogs")


def container(kind, packet):
    image, buffer = Image.new("RGB", (40, 30)), io.BytesIO()
    if kind == "PNG":
        from PIL.PngImagePlugin import PngInfo

        notes = PngInfo()
        notes.add_itxt("XML:com.adobe.xmp", packet.decode(), zip=True)
        image.save(buffer, "PNG", pnginfo=notes)
    elif kind == "TIFF":
        image.save(buffer, "TIFF", tiffinfo={700: packet})
    else:
        import pillow_heif

        heif = pillow_heif.from_pillow(image)
        heif.save(buffer, xmp=packet)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_exif_is_read_from_every_container(kind):
    found = read(file({0x010F: "Leica", 0x0110: "Q2"}, ALL_TIMES["photo"], kind=kind))
    assert (found.camera_make, found.camera_model) == ("Leica", "Q2")
    assert found.taken_source == "exif-original"


def test_the_words_of_a_part_are_not_those_of_the_picture():
    part = """<c:Steps xmlns:c="urn:c"><rdf:Seq><rdf:li><rdf:Description><dc:title>A step</dc:title>
    </rdf:Description></rdf:li></rdf:Seq></c:Steps>"""
    assert read(file(packet=xmp(part))).title is None
    assert read(file(packet=xmp(part + WORDS))).title == "Winter"


def test_iptc_in_its_declared_character_set():
    caption, town = "Zwei Hunde im Süden", "Köln"
    wide = file(resources=iptc((120, caption.encode()), (25, town.encode()), (5, b"Titel"), utf8=True))
    narrow = file(resources=iptc((120, caption.encode("latin-1")), (25, town.encode("latin-1"))))
    assert (read(wide).description, read(wide).keywords, read(wide).title) == (caption, (town,), "Titel")
    assert (read(narrow).description, read(narrow).keywords) == (caption, (town,))


@pytest.mark.parametrize(
    "raw",
    [
        b"ASCII\x00\x00\x00Two dogs\x00\x00",
        b"UNICODE\x00" + "Two dogs".encode("utf-16-le"),
        b"UNICODE\x00" + "Two dogs".encode("utf-16-be"),
        b"\x00" * 8 + b"Two dogs",
        b"Two dogs, and no prefix"[:8],
    ],
)
def test_a_user_comment_is_read_by_its_prefix(raw):
    assert read(file(photo={0x9286: raw})).description == "Two dogs"


def test_the_utf16_tags_of_windows():
    def wide(text):
        return (text + "\x00").encode("utf-16-le")

    main = {0x9C9B: wide("Titel"), 0x9C9C: wide("Grüße"), 0x9C9E: wide("a; b ;a")}
    found = read(file(main))
    assert (found.title, found.description, found.keywords) == ("Titel", "Grüße", ("a", "b"))


@pytest.mark.parametrize(
    "text",
    [
        "OLYMPUS DIGITAL CAMERA         ",
        "KONICA MINOLTA DIGITAL CAMERA",
        "SONY DSC",
        "Created with GIMP",
        "Exif_JPEG_PICTURE",
        "DCIM\x00",
        "default",
        "___",
        "charset=Ascii",
    ],
)
def test_what_cameras_write_on_every_picture_is_no_description(text):
    assert read(file({0x010E: text})).description is None


def test_a_real_description_is_kept_and_bounded():
    assert read(file({0x010E: "A picture of our camera"})).description == "A picture of our camera"
    assert words.tidy_description(" a\x07\u202eb\r\nc\x00 ") == "ab\nc"
    assert len(read(file({0x010E: "x" * 30_000})).description) == words.MAX_TEXT


def test_keywords_are_bounded():
    body = "<dc:subject><rdf:Bag>" + "".join(f"<rdf:li>k{n}</rdf:li>" for n in range(999))
    found = read(file(packet=xmp(body + "</rdf:Bag></dc:subject>")))
    assert len(found.keywords) == words.MAX_KEYWORDS


def test_png_texts():
    from PIL.PngImagePlugin import PngInfo

    notes, buffer = PngInfo(), io.BytesIO()
    notes.add_text("Title", "Winter")
    notes.add_text("Description", "Zwei Hunde im Süden", zip=True)
    Image.new("RGB", (4, 4)).save(buffer, "PNG", pnginfo=notes)
    assert (read(buffer.getvalue()).title, read(buffer.getvalue()).description) == (
        "Winter",
        "Zwei Hunde im Süden",
    )


def test_a_broken_block_leaves_the_others_alone():
    data = file({0x010E: "Two dogs"}, packet=b"<broken", resources=iptc((25, b"snow")) + b"8BIM\x04\x04\x00")
    found = read(data)
    assert (found.description, found.keywords) == ("Two dogs", ("snow",))


@given(st.binary(max_size=300))
def test_no_bytes_break_the_readers(raw):
    for order in (b"II*\x00\x08\x00\x00\x00", b"MM\x00*\x00\x00\x00\x08", b""):
        read_exif(order + raw)
    words.read_xmp(raw)
    words.read_iptc(b"\x1c\x02" + raw)
    words.decode_comment(raw)
    words.decode_wide(raw)


@given(st.text(max_size=60))
def test_no_text_breaks_the_readers(text):
    dates.read_stamp(text, "exif-original", text)
    dates.read_name(text)
    tidied = words.tidy_description(text)
    assert tidied is None or tidied == tidied.strip() != ""
