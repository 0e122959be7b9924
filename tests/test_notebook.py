"""What a notebook shows of hits."""

from __future__ import annotations

import base64
import io
import pickle
import re
from pathlib import Path

import pytest
from PIL import Image

from retrieval import Catalog, Hit, Hits
from retrieval.show.notebook import MOST, SIDE, hits_html

PICTURE = re.compile(r'src="data:image/jpeg;base64,([^"]+)"')


def pictures(page: str) -> list[Image.Image]:
    return [Image.open(io.BytesIO(base64.b64decode(data))) for data in PICTURE.findall(page)]


def test_hits_show_small_pictures_with_rank_match_and_name(catalog: Path) -> None:
    with Catalog(catalog) as opened:
        hits = opened.search("red", limit=2)
        page = hits._repr_html_()
    assert page is not None
    shown = pictures(page)
    assert len(shown) == 2
    assert all(max(image.size) <= SIDE for image in shown)
    assert "red.png" in page
    assert f"1 · {round(100 * hits[0].match)}%" in page
    assert "<script" not in page
    assert "http" not in page


def test_a_part_of_the_hits_is_shown_the_same_way(catalog: Path) -> None:
    with Catalog(catalog) as opened:
        hits = opened.search("red", limit=4, cutoff=False)
    part = hits[:2]
    assert isinstance(part, Hits)
    assert isinstance(hits[0], Hit)
    assert list(part) == list(hits)[:2]
    page = part._repr_html_()
    assert page is not None
    assert len(pictures(page)) == 2


def test_pictures_found_by_a_picture_are_shown_too(catalog: Path, photos: Path) -> None:
    with Catalog(catalog) as opened:
        page = opened.similar(photos / "red.png", limit=3)._repr_html_()
    assert page is not None
    assert len(pictures(page)) == 3


def test_nothing_found_says_what_came_nearest(catalog: Path) -> None:
    with Catalog(catalog) as opened:
        hits = opened.search("red", limit=3, min_match=1.0)
        assert len(hits) == 0
        page = hits._repr_html_()
    assert page is not None
    assert page.startswith("<p>No good match. Closest: ")
    assert "red" in page


def test_a_hostile_name_stays_text(tmp_path: Path) -> None:
    path = tmp_path / '<img src=x onerror=alert(1)>"\u202egnp.png'
    Image.new("RGB", (9, 9)).save(path, format="PNG")
    page = hits_html(Hits([Hit(1, path, 0.5, 0.5, 1)]))
    assert "<img src=x" not in page
    assert "\u202e" not in page
    assert len(pictures(page)) == 1


def test_a_file_that_is_gone_says_so_in_its_place(tmp_path: Path) -> None:
    page = hits_html(Hits([Hit(1, tmp_path / "gone.png", 0.5, 0.5, 1)]))
    assert "the file is gone" in page
    assert not pictures(page)


def test_a_long_list_is_cut_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.new("RGB", (4, 4)).save(path)
    page = hits_html(Hits([Hit(number, path, 0.5, 0.5, number) for number in range(1, MOST + 8)]))
    assert len(PICTURE.findall(page)) == MOST
    assert "and 7 more" in page


@pytest.mark.parametrize("protocol", [2, pickle.HIGHEST_PROTOCOL])
def test_hits_survive_pickling(catalog: Path, protocol: int) -> None:
    with Catalog(catalog) as opened:
        hits = opened.search("red", limit=3)
    again = pickle.loads(pickle.dumps(hits, protocol))
    assert list(again) == list(hits)
    assert again._repr_html_() == hits._repr_html_()


def test_a_list_of_hits_made_by_hand_needs_no_page() -> None:
    assert Hits()._repr_html_() is None
