"""The pictures of a catalog: lists, files, small versions."""

from __future__ import annotations

import os
import threading
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import pytest
from PIL import Image

from retrieval import Catalog
from retrieval.errors import QueryError
from retrieval.pictures import NoSuchPicture, Picture, PictureGone, Pictures
from retrieval.query.filters import Filter
from tests.conftest import draw


def names(pictures: list) -> list[str]:  # type: ignore[type-arg]
    return [one.path.name for one in pictures]


def test_pictures_come_in_the_order_that_was_asked_for(catalog: Path, photos: Path) -> None:
    with Catalog(catalog) as opened:
        by_name = opened.pictures.list(order="name")
        paths = [str(one.path) for one in by_name]
        assert (len(paths), sorted(paths)) == (6, paths)
        oldest = opened.pictures.list(order="oldest")
        assert sorted(one.taken_at or "" for one in oldest) == [one.taken_at for one in oldest]
        few = opened.pictures.list(order="name", limit=2, offset=5, where=Filter())
        assert (names(few), few.total) == (["yellow.png"], 6)
        trip = opened.pictures.list(where=Filter(folder=photos / "trip"), order="name")
        assert (names(trip), trip.total) == (["red-again.jpg", "white.png"], 2)
        for wrong in ({"order": "size"}, {"limit": 0}, {"offset": -1}):
            with pytest.raises(QueryError):
                opened.pictures.list(**wrong)  # type: ignore[arg-type]


def test_a_list_follows_what_is_indexed_meanwhile(catalog: Path, photos: Path, index) -> None:  # type: ignore[no-untyped-def]
    with Catalog(catalog) as opened:
        assert opened.pictures.list().total == 6
        draw(photos / "new.png", "red", mark=8)
        (photos / "blue.png").unlink()
        index(photos)
        found = opened.pictures.list(order="name")
        assert (found.total, "new.png" in names(found), "blue.png" in names(found)) == (6, True, False)


def test_a_picture_that_is_not_there_is_an_error_of_its_own(catalog: Path) -> None:
    with Catalog(catalog) as opened, pytest.raises(NoSuchPicture, match="no picture 99"):
        opened.pictures.get(99)


def test_only_files_of_the_indexed_folders_are_opened(catalog: Path, photos: Path, tmp_path: Path) -> None:
    outside = draw(tmp_path / "outside.png", "blue", mark=4)
    with Catalog(catalog) as opened:
        by_name = {one.path.name: one for one in opened.pictures.list()}
        with opened.pictures.open_file(by_name["red.png"]) as file:
            assert file.read() == (photos / "red.png").read_bytes()
        (photos / "red.png").unlink()
        (photos / "red.png").symlink_to(outside)
        (photos / "green.png").unlink()
        os.mkfifo(photos / "green.png")
        (photos / "blue.png").unlink()
        draw(photos / "yellow.png", "blue", mark=2)
        for name in ("red.png", "green.png", "blue.png"):
            with pytest.raises(PictureGone):
                opened.pictures.open_file(by_name[name])
        with opened.pictures.open_file(by_name["yellow.png"]) as file:  # changed, and in its folder
            assert file.read() == (photos / "yellow.png").read_bytes()


def test_a_folder_beside_with_a_longer_name_is_not_inside(catalog: Path, photos: Path) -> None:
    beside = draw(photos.with_name("photos-private") / "secret.png", "blue", mark=4)
    with Catalog(catalog) as opened:
        red = next(one for one in opened.pictures.list() if one.path.name == "red.png")
        (photos / "red.png").unlink()
        (photos / "red.png").symlink_to(beside)
        with pytest.raises(PictureGone):
            opened.pictures.open_file(red)


def test_a_thumbnail_is_made_once_and_comes_from_the_cache(catalog: Path, photos: Path) -> None:
    with Catalog(catalog) as opened:
        red = next(one for one in opened.pictures.list() if one.path.name == "red.png")
        first = opened.thumbnail(red.image_id, 160)
        (photos / "red.png").unlink()
        assert opened.thumbnail(red.image_id, 160) == first
        with pytest.raises(PictureGone):
            opened.thumbnail(red.image_id, 320)
        for kept in (catalog / "cache" / "thumbnails").rglob("*.jpg"):
            kept.write_bytes(first[:20])  # cut off by a full disk
        with pytest.raises(PictureGone):
            opened.thumbnail(red.image_id, 160)


def test_a_changed_picture_is_shown_as_it_is_and_not_kept(catalog: Path, photos: Path) -> None:
    with Catalog(catalog) as opened:
        red = next(one for one in opened.pictures.list() if one.path.name == "red.png")
        draw(photos / "red.png", "blue", size=(30, 20))
        with Image.open(BytesIO(opened.thumbnail(red.image_id, 160))) as image:
            assert image.size == (30, 20)
        assert not list((catalog / "cache" / "thumbnails").rglob("*.jpg"))


def test_small_pictures_of_what_is_gone_for_good_go_with_it(catalog: Path, photos: Path) -> None:
    folder = catalog / "cache" / "thumbnails"
    with Catalog(catalog) as opened:
        red, *others = opened.pictures.list(order="name", limit=3)
        for one in (red, *others):
            opened.thumbnail(one.image_id, 160)
        assert len(list(folder.rglob("*.jpg"))) == 3
        opened.forget(red.path)
        freed = opened.gc()["bytes"]
        kept = {place.name.partition("-")[0] for place in folder.rglob("*.jpg")}
        assert kept == {one.content_hash for one in others}
        assert freed > 0


def test_a_small_picture_is_of_the_file_that_was_looked_at(
    catalog: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look and the drawing somebody puts a link in the place of the file."""
    secret = draw(tmp_path / "elsewhere" / "secret.png", "blue", size=(30, 20))
    original = Pictures.open_file

    def swapping(self: Pictures, picture: Picture) -> BinaryIO:
        file = original(self, picture)
        picture.path.unlink()
        picture.path.symlink_to(secret)
        return file

    monkeypatch.setattr(Pictures, "open_file", swapping)
    with Catalog(catalog) as opened:
        red = next(one for one in opened.pictures.list() if one.path.name == "red.png")
        with Image.open(BytesIO(opened.thumbnail(red.image_id, 160))) as image:
            assert image.size == (red.width, red.height)


def test_a_catalog_for_reading_only_keeps_no_thumbnails(catalog: Path) -> None:
    with Catalog(catalog, readonly=True) as opened:
        assert opened.thumbnail(1, 160)[:2] == b"\xff\xd8"
    assert not (catalog / "cache" / "thumbnails").exists()


def test_the_same_thumbnail_from_many_threads_is_the_same(catalog: Path) -> None:
    with Catalog(catalog) as opened:
        made: list[bytes] = []
        threads = [threading.Thread(target=lambda: made.append(opened.thumbnail(1, 160))) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(made) == 4
    assert len(set(made)) == 1
