"""Files made to break decoders: each has to end as one clean failure, soon and in little memory."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tracemalloc
import zlib
from pathlib import Path

import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))

from indexer.loader import Loader
from retrieval import images
from retrieval.errors import FAILURE_REASONS, ImageError, ImageTooLarge, ImageUnreadable
from retrieval.images import check_memory, load_image, open_image
from retrieval.images.blocks import find_blocks
from retrieval.images.exif import read_exif
from retrieval.images.metadata import read_metadata, words
from tests import preparers
from tests.browsing import ROOT
from tests.hostile_pictures import (
    BOMBS,
    MAGICS,
    SAMPLES,
    chunk,
    encoded,
    exif_block,
    icon,
    jpeg_with_xmp,
    noise,
    overlapping_exif,
    png,
)
from tests.preparers import make_task

LIMIT = 200 << 20


def refusal(data, name="bomb"):
    with pytest.raises(ImageError) as caught:
        load_image(data, name=name, permit=lambda needed: check_memory(needed, LIMIT))
    assert caught.value.reason in FAILURE_REASONS
    return caught.value


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_before_it_is_decoded(name):
    error = refusal(BOMBS[name])
    assert isinstance(error, ImageTooLarge) or name == "webp canvas of 2^48"


def test_bombs_stay_within_the_budget_in_the_loading_processes(tmp_path):
    """The truth is in the kernel's books: what the process held at its peak."""
    bystander = tmp_path / "fine.png"
    bystander.write_bytes(png())
    paths = []
    for number, data in enumerate(BOMBS.values()):
        path = tmp_path / f"{number}.jpg"
        path.write_bytes(data)
        paths += [path, bystander]
    largest = tmp_path / "largest.png"
    largest.write_bytes(encoded(Image.new("RGB", (5000, 5000)), "PNG"))
    with Loader(preparers.Plain(), workers=1, memory=LIMIT) as pool:
        results = list(pool.load(make_task(path) for path in (bystander, *paths, largest)))
    at_start, at_end = (int(results[place].prepared.extra.split()[1]) for place in (0, -1))
    assert [result.reason for result in results[2::2]] == [None] * len(BOMBS)
    assert {result.reason for result in results[1:-1:2]} <= {"too-large", "damaged"}
    assert at_end - at_start <= LIMIT


def outcome(data):
    """The reason of the failure, or `None` when the picture loads."""
    try:
        picture = open_image(data)
        read_metadata(picture, "IMG_1.jpg")
        picture.decode(permit=lambda needed: check_memory(needed, LIMIT))
    except ImageError as error:
        return error.reason
    return None


@pytest.mark.parametrize("kind", SAMPLES)
def test_a_file_cut_off_anywhere_fails_cleanly(kind):
    data = encoded(noise(), kind, **SAMPLES[kind])
    step = max(1, len(data) // 60)
    cuts = sorted({*range(min(len(data), 64)), *range(0, len(data), step)})
    reasons = [outcome(data[:cut]) for cut in cuts]
    assert set(reasons) <= {None, *FAILURE_REASONS}
    # A cut behind the last pixel, in a trailer, may go unnoticed.
    assert reasons.count(None) <= len(cuts) * 0.1


@pytest.mark.parametrize("kind", SAMPLES)
def test_a_file_with_damaged_bytes_fails_cleanly_or_loads(kind):
    data = encoded(noise(), kind, **SAMPLES[kind])
    dice = random.Random(len(data))
    for _ in range(60):
        broken = bytearray(data)
        for _ in range(dice.randint(1, 8)):
            # The header is where the interesting lies are.
            broken[dice.randrange(min(len(broken), dice.choice((64, 400, len(broken)))))] = dice.randrange(
                256
            )
        assert outcome(bytes(broken)) in {None, *FAILURE_REASONS}


@pytest.mark.parametrize("magic", MAGICS)
def test_random_bytes_after_a_magic_number_are_no_picture(magic):
    dice = random.Random(magic)
    for size in (0, 1, 7, 30, 300, 3000):
        for name in ("x.jpg", "x.tif"):
            assert isinstance(refusal(magic + dice.randbytes(size), name), ImageUnreadable | ImageTooLarge)


@pytest.mark.parametrize(
    "block",
    [
        exif_block([(0x8769, 4, 1, 8)]),
        exif_block([(0x010E, 2, 0xFFFFFFFF, 8), (0x0112, 3, 0xFFFFFFFF, 8)]),
        exif_block([(0x8769, 4, 1, 0xFFFFFFF0), (0x8825, 4, 1, 0)]),
        exif_block([(tag, 5, 0x10000000, 20) for tag in range(5000)], tail=b"\x00" * 100),
        b"II*\x00\xff\xff\xff\xff",
        b"II*\x00\x08\x00\x00\x00\xff\xff",
        b"MM\x00*",
        b"Exif\x00\x00",
    ],
)
def test_a_broken_exif_block_leaves_the_picture_alone(block):
    read_exif(block)
    picture = open_image(png(4, 4, chunk(b"eXIf", block)))
    metadata = read_metadata(picture, "IMG_20230702_153012.png")
    assert metadata.taken_at == "2023-07-02T15:30:12"
    assert picture.decode().size == (4, 4)


@pytest.mark.parametrize(
    "packet",
    [
        b"<a>" * 20_000,
        b"<a>" * 8_000 + b"</a>" * 8_000,
        b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]><x>&b;</x>',
        b'<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/passwd">]><x>&f;</x>',
        b'<?xml version="1.0" encoding="no-such-thing"?><x/>',
        b"\xff\xfe<\x00",
        b"",
    ],
)
def test_a_hostile_xmp_packet_is_passed_over(packet):
    picture = open_image(jpeg_with_xmp(packet))
    assert read_metadata(picture, "x.jpg").description is None
    assert picture.decode().size == (16, 16)


@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt"])
def test_text_that_inflates_without_end_takes_little_memory_and_no_picture(kind):
    packed = zlib.compress(b"a" * (80 << 20), 9)
    if kind == b"zTXt":
        body = b"Description\x00\x00" + packed
    else:
        body = b"Description\x00\x01\x00\x00\x00" + packed
    data = png(4, 4, *[chunk(kind, body)] * 3)
    metadata = read_metadata(open_image(data), "x.png")
    assert len(metadata.description) <= 4000
    assert load_image(data).size == (4, 4)


def peak(work):
    """The most bytes that Python held at once meanwhile."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_tags_that_all_point_at_the_same_bytes_are_not_copied(kind):
    block = overlapping_exif()
    if kind == "TIFF":
        assert peak(lambda: find_blocks(block, kind)) < 4 << 20
        return
    data = png(4, 4, chunk(b"eXIf", block))
    read_metadata(open_image(png()), "x.png")
    assert peak(lambda: read_metadata(open_image(data), "x.png")) < 8 << 20


def test_hundreds_of_packed_texts_are_not_all_unpacked():
    packed = zlib.compress("aä".encode() * (1 << 19), 9)
    texts = [chunk(b"zTXt", b"Text%d\x00\x00" % number + packed) for number in range(150)]
    read = [chunk(b"iTXt", key + b"\x00\x01\x00\x00\x00" + packed) for key in (b"Title", b"Comment")]
    data = png(4, 4, *texts, *read)
    assert peak(lambda: find_blocks(data, "PNG")) < 8 << 20
    assert set(find_blocks(data, "PNG").texts) == {"Title", "Comment"}


@pytest.mark.parametrize("keyword", [b"Comment", b"XML:com.adobe.xmp"])
@pytest.mark.parametrize("packed", [zlib.compress(b"a"), zlib.compress(b"a" * 100)[:-20] + b"no zlib"])
def test_the_same_text_again_and_again_is_unpacked_a_bounded_number_of_times(monkeypatch, keyword, packed):
    unpacked = []
    real = zlib.decompressobj

    def counted():
        unpacked.append(1)
        return real()

    data = png(4, 4, *[chunk(b"iTXt", keyword + b"\x00\x01\x00\x00\x00" + packed)] * 3000)
    monkeypatch.setattr("retrieval.images.blocks.zlib.decompressobj", counted)
    find_blocks(data, "PNG")
    assert 1 <= len(unpacked) <= 200


def test_nested_descriptions_are_not_read_once_a_level():
    depth = 2000
    packet = (
        b'<x xmlns:r="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns:c="urn:c">'
        + b"<r:Description><c:a>" * depth
        + b"<r:li>x</r:li>" * depth
        + b"</c:a></r:Description>" * depth
        + b"</x>"
    )
    assert words.read_xmp(packet) == {"urn:ca": ["x"] * depth}


def test_a_million_tiny_metadata_segments_take_no_time():
    segment = b"\xff\xe1\x00\x02"
    find_blocks(b"\xff\xd8" + segment * 1_000_000, "JPEG")
    find_blocks(b"\x89PNG\r\n\x1a\n" + chunk(b"tEXt", b"a\x00b") * 300_000, "PNG")


def test_thousands_of_frames_cost_no_more_than_the_first():
    frames = [Image.new("L", (8, 8), number % 256) for number in range(3000)]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    asked = []
    assert load_image(data, permit=asked.append).size == (8, 8)
    assert asked[0] < 5 << 20


class GrowingFile:
    """Stands in for `os.read`, and lets the file grow after the first piece."""

    def __init__(self, path):
        self._path = path
        self._read = os.read
        self._grown = False

    def __call__(self, descriptor, size):
        if not self._grown:
            self._grown = True
            with open(self._path, "ab") as file:
                file.write(b"more")
        return self._read(descriptor, size)


def test_a_file_that_changes_while_it_is_read_says_so(tmp_path, monkeypatch):
    path = tmp_path / "growing.png"
    path.write_bytes(png())
    monkeypatch.setattr(images.os, "read", GrowingFile(path))
    with pytest.raises(ImageUnreadable) as caught:
        load_image(path)
    assert caught.value.reason == "changed"


def test_a_file_that_may_not_be_read_says_so(tmp_path, monkeypatch):
    path = tmp_path / "secret.png"
    path.write_bytes(png())

    def refuse(*args, **options):
        raise PermissionError(13, "Permission denied")

    # The tests may run as root, whom no permission stops.
    monkeypatch.setattr(images.os, "open", refuse)
    with pytest.raises(ImageUnreadable, match="Permission denied") as caught:
        load_image(path)
    assert caught.value.reason == "unreadable"


def test_a_pipe_or_a_folder_never_blocks(tmp_path):
    pipe = tmp_path / "pipe.jpg"
    os.mkfifo(pipe)
    for path in (pipe, tmp_path):
        with pytest.raises(ImageUnreadable) as caught:
            load_image(path)
        assert caught.value.reason == "unreadable"


def test_a_file_over_the_size_limit_is_not_read(tmp_path, monkeypatch):
    path = tmp_path / "long.png"
    path.write_bytes(png())
    monkeypatch.setattr("retrieval.config.MAX_FILE_BYTES", 10)
    with pytest.raises(ImageTooLarge):
        load_image(path)


MEASURE = """
import sys
sys.path[:] = {path!r}
from indexer.loader.worker import _settle
from retrieval.images import open_image
import retrieval.images.tones
def kernel(name):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) << 10 for line in status if line.startswith(name))
_settle(8 << 30)
for name in sys.argv[1:]:
    with open(name, "rb") as file:
        data = file.read()
    open_image(data)
    with open("/proc/self/clear_refs", "w") as reset:
        reset.write("5")
    before, asked = kernel("VmRSS"), []
    open_image(data).decode(wanted=lambda w, h: (w // 2, h // 2), permit=asked.append)
    print(name, kernel("VmHWM") - before, asked[0])
    del data
"""


def can_reset_the_peak():
    return Path("/proc/self/clear_refs").exists() and os.access("/proc/self/clear_refs", os.W_OK)


@pytest.mark.skipif(not can_reset_the_peak(), reason="the kernel's memory books are out of reach")
def test_no_decoder_takes_more_memory_than_was_asked_for(tmp_path):
    picture = noise(80).resize((1200, 900))
    clear = picture.convert("RGBA")
    clear.putalpha(picture.convert("L"))
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = {"exif": exif.tobytes()}
    files = {
        "plain.jpg": encoded(picture, "JPEG", **turned),
        "progressive.jpg": encoded(picture, "JPEG", progressive=True, subsampling=0, **turned),
        "cmyk.jpg": encoded(picture.convert("CMYK"), "JPEG", progressive=True),
        "clear.png": encoded(clear, "PNG", compress_level=1, **turned),
        "deep.png": encoded(picture.convert("L").convert("I;16"), "PNG", compress_level=1),
        "palette.png": encoded(picture.quantize(32), "PNG", transparency=3, compress_level=1),
        "lossy.webp": encoded(clear, "WEBP", method=0, **turned),
        "lossless.webp": encoded(picture, "WEBP", method=0, lossless=True, quality=0),
        "strip.tif": encoded(clear, "TIFF", compression="tiff_lzw", strip_size=1 << 30, **turned),
        "float.tif": encoded(picture.convert("F"), "TIFF"),
        "one.jp2": encoded(picture, "JPEG2000", irreversible=True, quality_layers=[40]),
        "clear.avif": encoded(clear, "AVIF", speed=10, subsampling="4:4:4", **turned),
        "one.heic": encoded(picture, "HEIF"),
        "one.gif": encoded(picture.quantize(32), "GIF", transparency=3),
        "one.ico": icon(encoded(clear, "PNG", compress_level=1)),
        "text.ppm": b"P3 700 700 255\n" + b"120 " * (3 * 700 * 700),
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    code = MEASURE.format(path=[str(Path(entry).absolute()) for entry in sys.path])
    names = [str(tmp_path / name) for name in files]
    answer = subprocess.run([sys.executable, "-c", code, *names], check=True, capture_output=True, text=True)
    rows = [line.split() for line in answer.stdout.splitlines()]
    assert len(rows) == len(files)
    assert [row for row in rows if int(row[1]) > int(row[2])] == []
    # And the bounds are worth something: nothing asks for many times what it takes.
    assert [row for row in rows if int(row[2]) > 4 * int(row[1]) + (48 << 20)] == []


def test_a_bad_decoder_costs_one_file_whatever_it_does(tmp_path):
    """A crash, a hang that holds the interpreter, the end of the process, all of its memory, its pipes."""
    paths = []
    for name, colour in preparers.DEEDS.items():
        for stem, shade in ((name, colour), (f"after {name}", (9, 9, 9))):
            Image.new("RGB", (40, 40), shade).save(tmp_path / f"{stem}.png")
            paths.append(tmp_path / f"{stem}.png")
    with Loader(preparers.Wicked(), workers=2, memory=64 << 20, file_seconds=1.0) as pool:
        reasons = {Path(os.fsdecode(one.path)).stem: one.reason for one in pool.load(map(make_task, paths))}
    assert {name: reason for name, reason in reasons.items() if name.startswith("after")} == {
        f"after {name}": None for name in preparers.DEEDS
    }
    assert {name: reasons[name] for name in preparers.DEEDS} == {
        **dict.fromkeys(preparers.DEEDS, "crashed"),
        "hangs": "timeout",
        "spins": "timeout",
        "says": None,
        # Which of its limits these meet first is a matter of luck.
        "devours": reasons["devours"],
        "recurses": reasons["recurses"],
    }
    assert {reasons["devours"], reasons["recurses"]} <= {"too-large", "timeout", "crashed"}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the kernel's limit on data is Linux's")
def test_a_decoder_gets_no_more_memory_than_was_granted_and_a_little(tmp_path):
    Image.new("RGB", (40, 40), preparers.DEEDS["devours"]).save(tmp_path / "devours.png")
    code = (
        "import resource, sys\nfrom indexer.loader import Loader\nfrom tests import preparers\n"
        "with Loader(preparers.Wicked(), workers=1, memory=1 << 30) as pool:\n"
        "    (one,) = pool.load([preparers.make_task(sys.argv[1])])\n"
        "print(one.reason, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "devours.png")]
    ran = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    reason, peak = ran.stdout.split()
    assert (reason, int(peak) << 10 < 450 << 20) == ("too-large", True)


def test_what_a_file_says_of_itself_buys_it_no_second_time(monkeypatch):
    """Its time begins once it is read, and only the memory that it needs lengthens it."""
    from indexer.loader import lane, pipe
    from indexer.loader.budget import Budget

    told = iter([pipe.Read(b"hash", 9, 0), pipe.Need(100 << 20), pipe.Done(None, None, 0)])
    tested = lane.Lane(lane.Terms(b"", 1 << 30, frozenset(), 8.0), Budget(1 << 30))
    clock, allowed = [0.0], []
    monkeypatch.setattr(lane.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(tested, "_tell", lambda message: clock.__setitem__(0, clock[0] + 3))
    monkeypatch.setattr(tested, "_hear", lambda: next(told))
    monkeypatch.setattr(tested, "_retire_if_large", lambda resident: None)
    set_deadline = tested._set_deadline
    monkeypatch.setattr(
        tested, "_set_deadline", lambda seconds: (allowed.append(clock[0] + seconds), set_deadline(seconds))
    )
    tested._serve(lane.Outcome())
    read, need = allowed
    assert (read, need) == (8.0, pytest.approx(8.0 + 1.05, abs=0.01))
