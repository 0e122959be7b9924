"""What a notebook shows of hits."""

from __future__ import annotations

import base64
import io
import pickle
import re
from pathlib import Path

import pytest
from PIL import Image

from retrieval import Answer, Catalog, Citation, Hit, Hits, Step
from retrieval.show.notebook import LONGEST_SAID, MOST, SIDE, answer_html, hits_html

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


def test_an_answer_shows_the_pictures_it_cites_and_how_it_came_about(catalog: Path) -> None:
    with Catalog(catalog) as opened:
        answer = opened.ask("Is there a red picture?", limit=3)
    page = answer._repr_html_()
    assert page is not None
    assert answer.citations
    assert len(pictures(page)) == len(answer.citations)
    assert f">{answer.text.partition('[')[0]}" in page
    assert all(f"[{citation.n}]" in page for citation in answer.citations)
    assert answer.notes[0][:40] in page
    assert all(f"<li>{step.name}: " in page for step in answer.steps)
    assert "<script" not in page
    assert "http" not in page


def test_an_answer_that_shows_nothing_has_no_pictures(catalog: Path) -> None:
    with Catalog(catalog) as opened:
        answer = opened.ask("Is there a picture from 1901?")
    assert not answer.citations
    page = answer._repr_html_()
    assert page is not None
    assert "display:flex" not in page
    assert answer.text in page


def test_what_an_answer_says_stays_text(tmp_path: Path) -> None:
    evil = '<img src=x onerror=alert(1)>"\u202e'
    path = tmp_path / "a.png"
    Image.new("RGB", (9, 9)).save(path)
    steps = (Step(evil, evil),)
    page = answer_html(Answer(evil, (Citation(1, path, 1, None, evil),), steps, 0.5, notes=(evil,)))
    assert "<img src=x" not in page
    assert "\u202e" not in page
    assert len(pictures(page)) == 1


def test_a_long_sentence_is_cut_below_its_picture_and_whole_above(tmp_path: Path) -> None:
    said = "The dogs run over the snow. " * 9
    page = answer_html(Answer(said, (Citation(1, tmp_path / "gone.png", 1, None, said),), (), 0.5))
    assert page.count(said) == 1
    assert page.count(f"[1] {said[: LONGEST_SAID - 5]}…") == 1
    assert "the file is gone" in page


def test_an_answer_survives_pickling_with_what_draws_it(catalog: Path) -> None:
    with Catalog(catalog) as opened:
        answer = opened.ask("Is there a red picture?")
    again = pickle.loads(pickle.dumps(answer))
    assert again == answer
    assert again._repr_html_() == answer._repr_html_()
    assert "html" not in repr(answer).split("notes=")[-1]
    assert "html" not in answer.as_dict()


def test_an_answer_made_by_hand_needs_no_page() -> None:
    assert Answer("", (), (), 0.0)._repr_html_() is None
