from __future__ import annotations

import io
import subprocess
import sys
import warnings

import numpy as np
import pillow_heif
import pytest
from PIL import Image, ImageCms

from retrieval import images
from retrieval.errors import FAILURE_REASONS, ImageTooLarge, ImageUnreadable
from retrieval.images import encode_jpeg, load_image, open_image, thumbnail
from retrieval.images.decode import sniff

RED, GREEN, BLUE, GREY = (200, 30, 40), (20, 180, 60), (30, 60, 210), (128, 128, 128)


def encoded(image, kind, **options):
    buffer = io.BytesIO()
    if kind == "HEIF":
        heif = pillow_heif.from_pillow(image)
        heif.save(buffer, quality=95, **options)
    else:
        image.save(buffer, kind, **options)
    return buffer.getvalue()


def corners(width=48, height=32):
    """Four colours, one a quarter: tells every turn and mirroring apart."""
    image = Image.new("RGB", (width, height), GREY)
    for place, colour in (((0, 0), RED), ((width // 2, 0), GREEN), ((0, height // 2), BLUE)):
        image.paste(colour, (*place, place[0] + width // 2, place[1] + height // 2))
    return image


def assert_looks_like(image, expected, tolerance=12):
    assert image.mode == "RGB"
    assert image.size == expected.size
    difference = np.abs(np.asarray(image, np.int16) - np.asarray(expected.convert("RGB"), np.int16))
    # Lossy codecs smear the borders between colours; the middles of the quarters must agree.
    width, height = image.size
    for x in (width // 4, 3 * width // 4):
        for y in (height // 4, 3 * height // 4):
            assert difference[y, x].max() <= tolerance, (x, y, image.getpixel((x, y)))


FORMATS = {
    "JPEG": {"quality": 95},
    "PNG": {},
    "WEBP": {"quality": 95},
    "GIF": {},
    "TIFF": {},
    "BMP": {},
    "JPEG2000": {},
    "PPM": {},
    "AVIF": {"quality": 95, "speed": 10},
    "HEIF": {},
}


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_gives_the_same_picture(kind):
    data = encoded(corners(), kind, **FORMATS[kind])
    picture = open_image(data)
    assert (picture.format, picture.size) == (kind, (48, 32))
    image = load_image(data)
    assert_looks_like(image, corners())
    assert image.info == {"full_size": (48, 32), "reduced": 1}


BACK = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
"""How a camera would have stored the upright picture for each orientation."""


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF"])
def test_every_orientation_gives_the_same_upright_picture(kind, orientation):
    turn = BACK[orientation]
    stored = corners() if turn is None else corners().transpose(turn)
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(stored, kind, **FORMATS[kind], exif=exif.tobytes())
    assert open_image(data).size == (48, 32)
    image = load_image(data)
    assert_looks_like(image, corners())
    assert image.info["full_size"] == (48, 32)


def test_a_nonsense_orientation_is_upright():
    exif = Image.Exif()
    exif[0x0112] = 77
    assert load_image(encoded(corners(), "JPEG", exif=exif.tobytes())).size == (48, 32)


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_jpeg_is_decoded_smaller_when_that_is_enough(orientation):
    upright = corners(400, 200)
    turn = BACK[orientation]
    stored = upright if turn is None else upright.transpose(turn)
    exif = Image.Exif()
    exif[0x0112] = orientation
    asked = []

    def wanted(width, height):
        asked.append((width, height))
        return 90, 50

    image = load_image(encoded(stored, "JPEG", quality=95, exif=exif.tobytes()), wanted=wanted)
    assert asked == [(400, 200)]
    assert image.info == {"full_size": (400, 200), "reduced": 4}
    assert_looks_like(image, corners(100, 50))


def test_scaled_decoding_never_goes_below_what_is_wanted():
    data = encoded(corners(401, 203), "JPEG")
    assert load_image(data, wanted=lambda width, height: (101, 50)).info["reduced"] == 2
    assert load_image(data, wanted=lambda width, height: (4000, 4000)).info["reduced"] == 1
    assert load_image(data, wanted=lambda width, height: (1, 1)).size == (51, 26)


def flat(mode, value):
    return Image.new(mode, (16, 16), value)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(encoded(flat("1", 1), "PNG"), (255, 255, 255), id="one bit"),
        pytest.param(encoded(flat("L", 77), "PNG"), (77, 77, 77), id="grey"),
        pytest.param(encoded(flat("LA", (0, 128)), "PNG"), (127, 127, 127), id="grey and alpha"),
        pytest.param(encoded(flat("RGBA", (255, 0, 0, 0)), "PNG"), (255, 255, 255), id="transparent"),
        pytest.param(encoded(flat("RGBA", (255, 0, 0, 128)), "PNG"), (255, 127, 127), id="half transparent"),
        pytest.param(encoded(flat("RGBA", (*RED, 255)), "PNG"), RED, id="opaque alpha"),
        pytest.param(encoded(flat("RGB", RED).quantize(4), "PNG"), RED, id="palette"),
        pytest.param(
            encoded(flat("RGB", RED).quantize(4), "PNG", transparency=0), (255, 255, 255), id="clear palette"
        ),
        pytest.param(encoded(flat("RGB", RED), "PNG", transparency=RED), (255, 255, 255), id="clear colour"),
        pytest.param(encoded(flat("P", 3), "GIF", transparency=3), (255, 255, 255), id="clear gif"),
        pytest.param(encoded(flat("I;16", 0x8080), "PNG"), (128, 128, 128), id="16-bit png"),
        pytest.param(encoded(flat("I;16", 0x4040), "TIFF"), (64, 64, 64), id="16-bit tiff"),
        pytest.param(encoded(flat("I", 65535), "TIFF"), (255, 255, 255), id="32-bit integers"),
        pytest.param(encoded(flat("F", 0.5), "TIFF"), (128, 128, 128), id="float 0..1"),
        pytest.param(encoded(flat("F", 51.0), "TIFF"), (51, 51, 51), id="float 0..255"),
        pytest.param(encoded(flat("CMYK", (0, 255, 255, 0)), "TIFF"), (255, 0, 0), id="cmyk tiff"),
        pytest.param(encoded(flat("CMYK", (0, 255, 255, 0)), "JPEG"), (254, 0, 0), id="adobe cmyk jpeg"),
        pytest.param(encoded(flat("YCbCr", (128, 128, 128)), "TIFF"), (128, 128, 128), id="ycbcr tiff"),
        pytest.param(encoded(flat("LAB", (255, 128, 128)), "TIFF"), None, id="lab tiff"),
        pytest.param(b"P2 2 2 65535\n65535 65535 65535 65535\n", (255, 255, 255), id="16-bit pgm"),
        pytest.param(b"P1 2 2\n1 1 1 1\n", (0, 0, 0), id="ascii bitmap"),
        pytest.param(b"P6 1 1 255\n\x01\x02\x03", (1, 2, 3), id="ppm"),
    ],
)
def test_every_mode_becomes_the_right_rgb(data, expected):
    image = load_image(data)
    assert image.mode == "RGB"
    if expected is not None:
        got = image.getpixel((0, 0))
        assert max(abs(a - b) for a, b in zip(got, expected, strict=True)) <= 2, got


def test_floats_of_any_range_are_shown_over_their_own():
    values = np.linspace(-1000, 9000, 256, dtype=np.float32).reshape(16, 16)
    values[3, 3] = np.nan
    image = load_image(encoded(Image.fromarray(values), "TIFF"))
    assert image.getpixel((0, 0)) == (0, 0, 0)
    assert image.getpixel((15, 15)) == (255, 255, 255)


def test_a_lab_tiff_keeps_its_colours():
    to_lab = ImageCms.buildTransform(
        ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB"
    )
    lab = ImageCms.applyTransform(corners(), to_lab)
    assert_looks_like(load_image(encoded(lab, "TIFF")), corners())


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF", "AVIF"])
def test_the_first_frame_is_the_picture(kind):
    others = [Image.new("RGB", (48, 32), BLUE)] * 3
    data = encoded(corners(), kind, save_all=True, append_images=others, **FORMATS[kind])
    assert_looks_like(load_image(data), corners(), tolerance=40)


def test_the_first_picture_of_an_mpo_is_taken():
    data = encoded(corners(), "MPO", save_all=True, append_images=[Image.new("RGB", (48, 32), BLUE)])
    assert open_image(data).format == "JPEG"
    assert_looks_like(load_image(data), corners(), tolerance=40)


def test_the_largest_icon_is_taken():
    data = encoded(corners(64, 64), "ICO", sizes=[(16, 16), (64, 64), (32, 32)])
    assert open_image(data).size == (64, 64)
    assert_looks_like(load_image(data), corners(64, 64))


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_deflate", "packbits", "jpeg", "zstd"])
def test_tiff_compressions_and_strips(compression):
    data = encoded(corners(96, 64), "TIFF", compression=compression, strip_size=1024)
    assert_looks_like(load_image(data), corners(96, 64), tolerance=30)


def test_progressive_jpegs_are_asked_for_with_their_coefficients():
    def cost(**options):
        asked = []
        load_image(
            encoded(corners(800, 600), "JPEG", **options), wanted=lambda w, h: (100, 75), permit=asked.append
        )
        return asked[0]

    assert cost(progressive=True, subsampling=0) - cost(subsampling=0) >= 6 * 800 * 600


def test_decoding_waits_for_its_permit_and_honours_a_refusal():
    def refuse(needed):
        assert needed > 48 * 32 * 4
        raise ImageTooLarge("no")

    for kind in FORMATS:
        with pytest.raises(ImageTooLarge):
            load_image(encoded(corners(), kind), permit=refuse)


def test_an_error_of_the_permit_itself_is_not_mistaken_for_a_bad_picture():
    def fail(needed):
        raise KeyError("a bug")

    with pytest.raises(KeyError):
        load_image(encoded(corners(), "PNG"), permit=fail)


def test_a_picture_over_pillows_own_limit_loads_and_the_limit_stays(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    before = list(warnings.filters)
    for kind in ("JPEG", "PNG", "AVIF", "HEIF", "BMP", "PPM"):
        assert load_image(encoded(corners(), kind)).size == (48, 32)
    assert Image.MAX_IMAGE_PIXELS == 100
    assert list(warnings.filters) == before


def test_a_second_decode_gives_the_same_picture():
    picture = open_image(encoded(corners(), "PNG"))
    assert picture.decode().tobytes() == picture.decode().tobytes()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"\x00" * 500, "not-an-image"),
        (b"Dear diary, today I renamed a letter to .jpg\n" * 9, "not-an-image"),
        (b"BMW is a maker of cars", "not-an-image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n", "not-an-image"),
        (b"%PDF-1.7\n", "not-an-image"),
        (b"\x00\x00\x00\x18ftypmp42" + b"\x00" * 64, "not-an-image"),
        (encoded(corners(), "JPEG")[:300], "damaged"),
        (encoded(corners(), "PNG")[:60], "damaged"),
    ],
)
def test_what_is_no_picture_says_why(data, reason):
    with pytest.raises(ImageUnreadable) as caught:
        load_image(data, name="letter.jpg")
    assert caught.value.reason == reason
    assert reason in FAILURE_REASONS


def test_a_missing_file_is_unreadable(tmp_path):
    with pytest.raises(ImageUnreadable) as caught:
        load_image(tmp_path / "gone.jpg")
    assert caught.value.reason == "unreadable"


def test_without_the_extra_a_raw_file_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "rawpy", None)
    with pytest.raises(ImageUnreadable, match=r"picture-search\[raw\]"):
        load_image(b"II*\x00" + b"\x00" * 100, name="shot.NEF")


def test_a_broken_raw_file_is_damaged():
    pytest.importorskip("rawpy")
    with pytest.raises(ImageUnreadable) as caught:
        load_image(b"II*\x00" + b"\x00" * 100, name="shot.NEF")
    assert caught.value.reason == "damaged"


def test_the_preview_of_a_raw_file_is_turned_as_the_raw_says(monkeypatch):
    rawpy = pytest.importorskip("rawpy")

    class Sizes:
        flip = 6

    class Thumb:
        format = rawpy.ThumbFormat.JPEG
        data = encoded(corners().transpose(BACK[6]), "JPEG", quality=95)

    class Raw:
        sizes = Sizes()

        def __enter__(self):
            return self

        def __exit__(self, *error):
            return None

        def extract_thumb(self):
            return Thumb

    monkeypatch.setattr(rawpy, "imread", lambda file: Raw())
    picture = open_image(b"II*\x00" + b"\x00" * 60, name="shot.dng")
    assert (picture.format, picture.size) == ("RAW", (48, 32))
    assert_looks_like(picture.decode(), corners())


def test_a_thumbnail_is_bounded_and_never_enlarged():
    assert thumbnail(corners(480, 320), 120).size == (120, 80)
    assert thumbnail(corners(), 500).size == (48, 32)
    assert thumbnail(Image.new("RGB", (5000, 1)), 100).size == (100, 1)


def test_an_encoded_jpeg_carries_no_metadata():
    image = corners()
    image.info["exif"] = b"Exif\x00\x00secret place"
    data = encode_jpeg(image)
    assert sniff(data) == "JPEG"
    assert b"secret" not in data


def test_the_door_itself_imports_no_picture_library():
    code = "import sys, retrieval.images; assert not {'PIL', 'numpy', 'rawpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_extensions_are_lower_case_and_apart():
    assert not images.EXTENSIONS & images.RAW_EXTENSIONS
    for extension in images.EXTENSIONS | images.RAW_EXTENSIONS:
        assert extension.startswith(".")
        assert extension == extension.lower()
