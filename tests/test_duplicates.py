"""Which pictures are the same: the file, the picture, the moment, and what a person says."""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result
from PIL import Image, ImageDraw, ImageEnhance, ImageFont

from retrieval.duplicates import Duplicates, Kind, duplicates, not_duplicates
from retrieval.duplicates.components import Components, apart
from retrieval.errors import CatalogError, QueryError
from retrieval.images.near import FARTHEST, near_pairs
from retrieval.images.phash import read_signatures, signature
from retrieval.query.filters import Filter
from retrieval.state import State
from tests.conftest import json_lines


def scene(seed: int, size: tuple[int, int] = (480, 360)) -> Image.Image:
    """A picture of overlapping shapes, unlike any of another seed."""
    chance = random.Random(seed)
    image = Image.new("RGB", size, tuple(chance.randrange(256) for _ in range(3)))
    draw = ImageDraw.Draw(image)
    for _ in range(40):
        x, y = chance.randrange(size[0]), chance.randrange(size[1])
        box = (x, y, x + chance.randrange(20, 160), y + chance.randrange(20, 160))
        shape = chance.choice((draw.ellipse, draw.rectangle))
        shape(box, fill=tuple(chance.randrange(256) for _ in range(3)))
    return image


def invoice(number: int) -> Image.Image:
    """A page that differs from another of its kind in a few figures."""
    page = Image.new("RGB", (620, 877), "white")
    draw = ImageDraw.Draw(page)
    draw.text((60, 50), "INVOICE", fill="black", font=ImageFont.load_default(32))
    for line in range(20):
        draw.text(
            (60, 140 + 30 * line), f"Item {line} of the list", fill="black", font=ImageFont.load_default(16)
        )
        draw.text(
            (460, 140 + 30 * line),
            f"{number * (line + 7) % 997}.00",
            fill="black",
            font=ImageFont.load_default(16),
        )
    return page


def save(
    image: Image.Image, path: Path, *, taken: str | None = None, camera: str = "X100", **options: Any
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    if taken is not None:
        exif[0x0110] = camera
        exif.get_ifd(0x8769)[0x9003] = taken
    image.save(path, exif=exif, **options)
    return path


@pytest.fixture
def library(tmp_path: Path) -> Path:
    return tmp_path / "library"


@pytest.fixture
def found(tmp_path: Path, library: Path, index: Callable[..., Any]) -> Callable[..., list[Duplicates]]:
    """Index the library, and ask for one kind of duplicates."""

    def ask(kind: Kind, **options: Any) -> list[Duplicates]:
        index(library)
        state = State(tmp_path / "catalog")
        try:
            return duplicates(state, [kind], **options)
        finally:
            state.close()

    return ask


def names(groups: list[Duplicates]) -> list[list[str]]:
    return sorted(sorted(path.name for path in group.paths) for group in groups)


def test_copies_are_the_same_file_and_not_the_same_picture(
    library: Path, found: Callable[..., list[Duplicates]]
) -> None:
    save(scene(1), library / "a.png")
    shutil.copy(library / "a.png", library / "b.png")
    save(scene(2), library / "c.png")
    assert names(found("same-file")) == [["a.png", "b.png"]]
    assert found("same-picture") == []


def test_changed_copies_are_the_same_picture(library: Path, found: Callable[..., list[Duplicates]]) -> None:
    for seed in range(12):
        save(scene(seed), library / f"other-{seed}.jpg", quality=92)
    image = scene(100)
    width, height = image.size
    save(image, library / "original.png")
    save(image, library / "low.jpg", quality=30)
    save(image, library / "web.webp", quality=70)
    save(image.resize((width // 4, height // 4)), library / "small.jpg", quality=88)
    save(image.crop((0, 0, round(width * 0.97), height)), library / "cut.jpg", quality=90)
    save(ImageEnhance.Brightness(image).enhance(0.9), library / "dark.jpg", quality=90)
    groups = found("same-picture")
    assert names(groups) == [["cut.jpg", "dark.jpg", "low.jpg", "original.png", "small.jpg", "web.webp"]]
    sizes = [(copy.width * copy.height, copy.size) for copy in groups[0].copies]
    assert sizes == sorted(sizes, reverse=True), "the best comes first"


def test_a_picture_that_is_turned_by_its_orientation_is_the_same_picture(
    library: Path, found: Callable[..., list[Duplicates]]
) -> None:
    image = scene(5)
    save(image, library / "upright.jpg", quality=92)
    exif = Image.Exif()
    exif[0x0112] = 6
    image.transpose(Image.Transpose.ROTATE_90).save(library / "turned.jpg", quality=92, exif=exif)
    assert names(found("same-picture")) == [["turned.jpg", "upright.jpg"]]


def test_pages_and_empty_pictures_that_only_resemble_each_other_are_different(
    library: Path, found: Callable[..., list[Duplicates]]
) -> None:
    for number in range(1, 6):
        save(invoice(number), library / f"invoice-{number}.jpg", quality=90)
    save(invoice(1), library / "invoice-1-again.jpg", quality=60)
    for number in range(3):
        noise = np.random.default_rng(number).normal((90, 150, 220), 2, (240, 320, 3))
        save(Image.fromarray(noise.astype(np.uint8)), library / f"sky-{number}.png")
    assert names(found("same-picture")) == [["invoice-1-again.jpg", "invoice-1.jpg"]]


def test_shots_of_a_burst_are_one_moment_and_not_one_picture(
    library: Path, found: Callable[..., list[Duplicates]]
) -> None:
    image = scene(7)
    for second in range(3):
        shot = image.copy()
        ImageDraw.Draw(shot).rectangle((200 + second, 100, 215 + second, 115), fill="white")
        save(shot, library / f"burst-{second}.jpg", taken=f"2023:07:01 10:00:0{2 * second}", quality=92)
    shutil.copy(library / "burst-0.jpg", library / "copy.jpg")
    save(image, library / "later.jpg", taken="2023:07:01 10:01:00", quality=92)
    save(image, library / "other-camera.jpg", taken="2023:07:01 10:00:01", camera="Z9", quality=92)
    moments = found("same-moment")
    assert len(moments) == 1
    assert len(moments[0].paths) == 3, "a copy is no further shot"
    assert {path.name for path in moments[0].paths} <= {
        "burst-0.jpg",
        "burst-1.jpg",
        "burst-2.jpg",
        "copy.jpg",
    }
    assert not any({"burst-0.jpg", "burst-1.jpg"} <= set(group) for group in names(found("same-picture")))


def test_a_copy_without_a_date_does_not_join_two_shots(
    library: Path, found: Callable[..., list[Duplicates]]
) -> None:
    image = scene(7)
    for second in (0, 2):
        save(image, library / f"shot-{second}.jpg", taken=f"2023:07:01 10:00:0{second}", quality=90 + second)
    save(image, library / "undated.jpg", quality=70)
    assert not any({"shot-0.jpg", "shot-2.jpg"} <= set(group) for group in names(found("same-picture")))
    assert any("undated.jpg" in group for group in names(found("same-picture")))


def test_what_is_said_to_differ_stays_apart_until_it_is_taken_back(
    tmp_path: Path, library: Path, found: Callable[..., list[Duplicates]]
) -> None:
    image = scene(3)
    first = save(image, library / "a.png")
    second = save(image, library / "b.jpg", quality=90)
    save(image, library / "c.jpg", quality=50)
    assert names(found("same-picture")) == [["a.png", "b.jpg", "c.jpg"]]
    state = State(tmp_path / "catalog")
    assert not_duplicates(state, [first, second]) == 1
    assert not_duplicates(state, [second, first]) == 0
    groups = names(found("same-picture"))
    assert len(groups) == 1
    assert len(groups[0]) == 2
    assert groups[0] != ["a.png", "b.jpg"]
    assert not_duplicates(state, [first, second], undo=True) == 1
    assert names(found("same-picture")) == [["a.png", "b.jpg", "c.jpg"]]
    state.close()


def test_copies_of_a_file_can_be_kept_apart_too(
    tmp_path: Path, library: Path, found: Callable[..., list[Duplicates]]
) -> None:
    first = save(scene(1), library / "a.png")
    second = library / "b.png"
    shutil.copy(first, second)
    assert names(found("same-file")) == [["a.png", "b.png"]]
    state = State(tmp_path / "catalog")
    not_duplicates(state, [first, second])
    state.close()
    assert found("same-file") == []


def test_a_filter_limits_what_is_compared(library: Path, found: Callable[..., list[Duplicates]]) -> None:
    save(scene(1), library / "one" / "a.png")
    save(scene(1), library / "one" / "b.jpg", quality=80)
    save(scene(1), library / "two" / "c.jpg", quality=70)
    assert names(found("same-picture", where=Filter(folder=library / "one"))) == [["a.png", "b.jpg"]]
    assert found("same-picture", where=Filter(folder=library / "two")) == []


def test_pictures_indexed_without_a_signature_get_one(
    tmp_path: Path, library: Path, found: Callable[..., list[Duplicates]]
) -> None:
    save(scene(1), library / "a.png")
    save(scene(1), library / "b.jpg", quality=80)
    gone = save(scene(1), library / "gone.jpg", quality=70)
    found("same-file")
    with sqlite3.connect(tmp_path / "catalog" / "catalog.db") as connection:
        kept = connection.execute("SELECT phash FROM images ORDER BY id").fetchall()
        connection.execute("UPDATE images SET phash = NULL")
    connection.close()
    gone.unlink()
    readonly = State(tmp_path / "catalog", readonly=True)
    assert names(duplicates(readonly, ["same-picture"])) == [["a.png", "b.jpg"]]
    readonly.close()
    state = State(tmp_path / "catalog")
    with state.snapshot() as reader:
        assert reader.rows("SELECT COUNT(phash) FROM images") == [(0,)], "reading only writes nothing"
    assert names(duplicates(state, ["same-picture"])) == [["a.png", "b.jpg"]]
    with state.snapshot() as reader:
        made = reader.rows("SELECT phash FROM images ORDER BY id")
    state.close()
    assert made[:2] == kept[:2]
    assert made[2] == (None,)


def test_where_nothing_can_be_written_duplicates_are_found_all_the_same(
    tmp_path: Path, library: Path, found: Callable[..., list[Duplicates]]
) -> None:
    save(scene(1), library / "a.png")
    save(scene(1), library / "b.jpg", quality=80)
    found("same-file")
    with sqlite3.connect(tmp_path / "catalog" / "catalog.db") as connection:
        connection.execute("UPDATE images SET phash = NULL")
    connection.close()
    (tmp_path / "catalog" / "write.lock").unlink(missing_ok=True)
    (tmp_path / "catalog" / "write.lock").mkdir()  # what cannot be opened for writing, even by root
    state = State(tmp_path / "catalog")
    assert names(duplicates(state, ["same-picture"])) == [["a.png", "b.jpg"]]
    with state.snapshot() as reader:
        assert reader.rows("SELECT COUNT(phash) FROM images") == [(0,)]
    state.close()


def test_every_close_pair_of_hashes_is_found_once_or_more() -> None:
    chance = np.random.default_rng(4)
    hashes = chance.integers(0, 2**64, 400, dtype=np.uint64)
    for row in range(200, 400):
        flips = chance.choice(64, chance.integers(0, 16), replace=False)
        for bit in flips:
            hashes[row] = (
                hashes[row - 200] ^ np.uint64(1 << int(bit))
                if bit == flips[0]
                else hashes[row] ^ np.uint64(1 << int(bit))
            )
    pairs = {
        pair
        for first, second in near_pairs(hashes)
        for pair in zip(first.tolist(), second.tolist(), strict=True)
    }
    bits = np.bitwise_count(hashes[:, None] ^ hashes[None])
    expected = set(zip(*(part.tolist() for part in np.nonzero(np.triu(bits <= FARTHEST, 1))), strict=True))
    assert pairs == expected
    assert len(expected) > 100


def test_a_signature_survives_its_bytes() -> None:
    made = signature(scene(1))
    looks = read_signatures([made, signature(Image.new("RGB", (50, 50), "red"))])
    assert looks.hashes.shape == (2,)
    assert looks.contrast[0] > 10
    assert looks.contrast[1] == 0
    assert looks.flatness[1] == 255
    assert looks.colours[1, :3].tolist() == [255, 0, 0]


def test_components_join_and_marked_pairs_part() -> None:
    joined = Components(6)
    joined.join(np.array([0, 3, 1]), np.array([1, 4, 2]))
    joined.join(np.array([4]), np.array([5]))
    assert joined.groups() == [[0, 1, 2], [3, 4, 5]]
    assert apart([1, 2, 3], [(1, 2), (2, 3)], [(1, 3)]) == [[1, 2]]
    assert apart([1, 2, 3, 4], [(1, 2), (3, 4), (2, 3)], [(1, 4)]) == [[1, 2], [3, 4]]


def test_mistakes_are_named(tmp_path: Path, library: Path, found: Callable[..., list[Duplicates]]) -> None:
    only = save(scene(1), library / "a.png")
    found("same-file")
    state = State(tmp_path / "catalog")
    with pytest.raises(QueryError, match="at least two different"):
        not_duplicates(state, [only, only])
    with pytest.raises(QueryError, match="has no picture"):
        not_duplicates(state, [only, tmp_path / "nowhere.png"])
    with pytest.raises(QueryError, match="No kind of duplicates"):
        duplicates(state, ["same-name"])  # type: ignore[list-item]
    state.close()
    readonly = State(tmp_path / "catalog", readonly=True)
    with pytest.raises(CatalogError, match="reading only"):
        not_duplicates(readonly, [1, 2])
    readonly.close()


def test_the_command_line_says_marks_and_shows(
    tmp_path: Path, library: Path, index: Callable[..., Any], search: Callable[..., Result]
) -> None:
    first = save(scene(1), library / "a.png")
    second = save(scene(1), library / "b.jpg", quality=80)
    odd = library / "odd\udcff.png"
    shutil.copy(first, odd)
    index(library)
    catalog = ("--catalog", tmp_path / "catalog")
    rows = json_lines(search("dupes", *catalog, "--json").stdout)
    assert [row["kind"] for row in rows] == ["same-file", "same-picture"]
    assert set(rows[0]) == {"kind", "paths", "paths_b64", "image_ids"}
    assert len(rows[1]["paths"]) == 3
    page = tmp_path / "review.html"
    said = search("dupes", *catalog, "--html", page)
    assert "Written to" in said.stderr
    text = page.read_text("utf-8")
    assert text.count("<img ") == 5
    assert "480 × 360" in text
    assert all(path.exists() for path in (first, second, odd))
    assert "2 pictures" in search("dupes", *catalog, "--kind", "same-file").stdout
    assert search("dupes", *catalog, "--not", first, second, odd).stdout.startswith("3 pairs")
    assert search("dupes", *catalog, "--json").stdout == ""
    assert search("dupes", *catalog, first).exit_code == 2
    for undo in ((), ("--undo",)):
        said = search("dupes", *catalog, "--not", first, second, odd, *undo, "--json").stdout
        assert set(json_lines(said)[0]) == {"pairs"}
    assert search("dupes", *catalog, "--not", first).exit_code == 2
