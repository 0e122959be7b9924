"""The words around pictures: kept up with the rows, found by full-text search, weighed as evidence."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from indexer import IndexReport
from retrieval.config import Location
from retrieval.db.full_text import _Fts5
from retrieval.db.queries import Batch, NewImage, Writer
from retrieval.db.reader import Reader, open_reader
from retrieval.db.wording import asked_words, place_words, spell
from retrieval.db.words import LONG, PARTIAL, TRUST, judged, nominated, said
from tests.conftest import ROOT, python

ROWS = {
    "norway/fjord.jpg": {"description": "A red boat on the fjord at sunset"},
    "norway/IMG_0001.jpg": {"keywords": ["boat", "harbour"]},
    "norway/IMG_0002.jpg": {"title": "Schöne Straße"},
    "beach/dogs.jpg": {},
    "beach/DSC00003.jpg": {"description": "two dogs play with a ball"},
    "beach/IMG_0004.jpg": {},
    "tokyo/IMG_0005.jpg": {"description": "東京の日落"},
    "tokyo/IMG_0006.jpg": {"title": "كلب على الشاطئ"},
}


def fill(place: Path, rows: dict[str, dict[str, object]]) -> None:
    """A catalog of rows without vectors: words need none."""
    with Writer(Location.parse(place)) as writer:
        writer.add_roots([b"/home/me/holidays"])
        encoder_id = writer.add_encoder(key="toy/colours/1", spec="toy", dim=32)
        writer.commit(
            Batch(added=[NewImage(row(path, values)) for path, values in rows.items()]), encoder_id=encoder_id
        )


def row(path: str, values: dict[str, object]) -> dict[str, object]:
    empty = dict.fromkeys(("title", "description"))
    plain = {"size": 1, "mtime_ns": 1, "content_hash": path.encode(), "indexed_at": 1.0, "format": "JPEG"}
    return {
        **empty, **plain, "width": 4, "height": 3, "keywords": [], "missing_at": None,
        "path": b"/home/me/holidays/" + path.encode(), **values,
    }  # fmt: skip


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    place = tmp_path_factory.mktemp("words") / "c"
    fill(place, ROWS)
    reader = open_reader(Location.parse(place))
    yield reader
    reader.close()


def found(reader: Reader, text: str, **options: object) -> list[str]:
    """Names of the pictures whose words answer, best first."""
    names = list(ROWS)
    answers = said(reader, text, **options)  # type: ignore[arg-type]
    return [names[key - 1] for key in sorted(answers, key=lambda key: (-answers[key].evidence, key))]


def test_other_forms_of_a_word_are_found(reader: Reader) -> None:
    assert found(reader, "boats") == ["norway/fjord.jpg", "norway/IMG_0001.jpg"]
    assert found(reader, "playing") == ["beach/DSC00003.jpg"]


def test_a_description_says_more_than_the_name_of_a_file_or_a_folder(reader: Reader) -> None:
    described, named, folder = (
        said(reader, "dog")[5].evidence, said(reader, "dog")[4].evidence, said(reader, "beach")[6].evidence,
    )  # fmt: skip
    assert described > max(named, folder) > 0.1
    assert TRUST["described"] > TRUST["name"] > TRUST["folder"] > TRUST["seen"]


def test_a_folder_is_found_by_its_name_though_many_pictures_are_in_it(tmp_path: Path) -> None:
    fill(
        tmp_path / "c",
        {f"{'lisbon' if number < 12 else 'misc'}/IMG_{number:04}.jpg": {} for number in range(60)},
    )
    reader = open_reader(Location.parse(tmp_path / "c"))
    assert min(answer.evidence for answer in said(reader, "lisbon").values()) > 0.5
    reader.close()


@pytest.mark.parametrize("asked", ["IMG_0001", "img_0001.jpg", " IMG_0001.JPG "])
def test_the_very_name_of_a_file_finds_it_whatever_a_camera_called_it(reader: Reader, asked: str) -> None:
    assert found(reader, asked) == ["norway/IMG_0001.jpg"]
    assert said(reader, asked)[2].evidence > 0.9
    assert nominated(reader, asked, limit=5, allowed=np.array([1, 3], np.int64)).tolist() == []


@pytest.mark.parametrize("asked", ["IMG", "0001", "norway/IMG_0001.jpg", "a photo IMG_0001"])
def test_a_part_of_a_file_name_or_more_than_one_is_no_name(reader: Reader, asked: str) -> None:
    assert not any(answer.evidence > 0.9 for answer in said(reader, asked).values())


def test_evidence_is_the_sum_of_its_fields(reader: Reader) -> None:
    answer = said(reader, "a fjord in norway with a boat")[1]
    assert set(answer.fields) == {"name", "described"}
    assert answer.evidence == pytest.approx(sum(answer.fields.values()))
    assert 0 < answer.evidence <= 0.95


def test_one_rare_word_of_five_is_weak_and_all_are_strong(reader: Reader) -> None:
    weak = said(reader, "harbour with mountains glacier waterfall and kayak")[2].evidence
    strong = said(reader, "red boat, fjord, sunset")[1].evidence
    assert weak < 0.15
    assert strong > 0.7


def test_the_documentation_has_the_figures_of_the_code() -> None:
    page = " ".join((ROOT / "docs" / "texts.md").read_text(encoding="utf-8").split())
    told, described, name, folder, seen = (f"{trust:g}"[1:] for trust in TRUST.values())
    assert (
        f"a caption {told}, a description {described}, a file's name {name}, "
        f"a folder {folder}, text in the picture {seen}; less in a text of more than {LONG} words"
    ) in page
    assert list(TRUST) == ["told", "described", "name", "folder", "seen"]
    assert "half of a question is less than a fifth" in page
    assert 1 / 6 < 0.5**PARTIAL < 1 / 5


def test_words_of_nearly_all_pictures_say_nothing(tmp_path: Path) -> None:
    fill(
        tmp_path / "c", {f"trip/{'cat' if number == 7 else 'x'}{number:03}y.jpg": {} for number in range(60)}
    )
    reader = open_reader(Location.parse(tmp_path / "c"))
    assert max(answer.evidence for answer in said(reader, "trip").values()) < 0.03
    assert [key for key, answer in said(reader, "cat trip").items() if answer.evidence > 0.1] == []
    reader.close()


def test_stop_words_alone_ask_nothing(reader: Reader) -> None:
    for text in ("", "the", "a photo of two", "it is in the", "?!", "\x00"):
        assert said(reader, text) == {}


def test_accents_and_case_do_not_matter(reader: Reader) -> None:
    assert found(reader, "schone strasse") == found(reader, "SCHÖNE STRASSE") == ["norway/IMG_0002.jpg"]


def test_scripts_without_spaces_are_found_by_part(reader: Reader) -> None:
    assert found(reader, "日落") == found(reader, "東京の日落") == ["tokyo/IMG_0005.jpg"]
    assert found(reader, "落日") == []  # the characters are there, in another order
    assert found(reader, "كلب") == ["tokyo/IMG_0006.jpg"]


def test_candidates_of_the_caller_are_weighed_however_few_are_asked_for(reader: Reader) -> None:
    whole = said(reader, "dogs on the beach")
    assert set(whole) == {4, 5, 6}
    among = said(reader, "dogs on the beach", limit=0, among=np.array([3, 6]))
    assert among == {6: whole[6]}
    best = said(reader, "dogs on the beach", limit=1)
    assert best == {key: whole[key] for key in best}
    assert len(best) == 1


def test_a_narrow_filter_still_finds_its_pictures(reader: Reader) -> None:
    assert set(said(reader, "boat", allowed=np.array([2, 3, 4]), limit=5)) == {2}
    assert said(reader, "boat", allowed=np.array([], np.int64)) == {}


def test_a_frequent_word_is_found_behind_a_filter_and_among_candidates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With far more pictures of a word than are looked up by it."""
    rows = {f"beach/a{number:04}b.jpg": {} for number in range(300)}
    rows |= {f"other/c{number:04}d.jpg": {} for number in range(300)}
    rows["beach/crab.jpg"] = {}
    fill(tmp_path / "c", rows)
    monkeypatch.setattr("retrieval.db.words.ENOUGH", 20)
    reader = open_reader(Location.parse(tmp_path / "c"))
    first = said(reader, "beach", limit=10)
    assert list(first) == list(range(1, 11))
    assert set(said(reader, "beach", limit=10, among=np.array([290, 291, 400]))) == {*first, 290, 291}
    allowed = np.arange(270, 500)
    assert set(said(reader, "beach", limit=10, allowed=allowed)) <= set(range(270, 301))
    assert len(said(reader, "beach", limit=10, allowed=allowed)) == 10
    both = said(reader, "crab beach", limit=3)
    assert max(both, key=lambda key: both[key].evidence) == 601
    reader.close()


def test_a_filter_scattered_over_the_ids_finds_a_word_that_more_have_than_are_looked_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path / "c", {f"{'beach' if n % 2 else 'town'}/a{n:04}b.jpg": {} for n in range(800)})
    monkeypatch.setattr("retrieval.db.words.ENOUGH", 20)
    reader = open_reader(Location.parse(tmp_path / "c"))
    # None of the first hundreds of the word pass; and 1 and 800 make the span as wide as it can be.
    allowed = np.array([1, *range(701, 721), 800])
    with_beach = [key for key in allowed.tolist() if key % 2 == 0]
    assert nominated(reader, "beach", limit=50, allowed=allowed).tolist() == with_beach
    assert nominated(reader, "beach", limit=3, allowed=allowed).tolist() == with_beach[:3]
    assert set(said(reader, "beach", limit=50, allowed=allowed)) == set(with_beach)
    with Writer(Location.parse(tmp_path / "c")) as writer:
        writer.hide(list(range(1, 781)))
    assert nominated(reader, "beach", limit=50, allowed=None).tolist() == list(range(782, 801, 2))
    reader.close()


def test_several_texts_are_judged_as_each_alone_and_the_words_of_a_picture_are_read_once(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = ["a red boat", "dogs on the beach", "the", "zeppelin", "日落"]
    ids = np.array([6, 1, 2, 4, 5, 6, 7])
    alone = [judged(reader, [text], ids)[0] for text in texts]
    assert [sorted(answers) for answers in alone] == [[1, 2], [4, 5, 6], [], [], [7]]
    fetched: list[list[int]] = []
    words = _Fts5.words
    monkeypatch.setattr(
        _Fts5, "words", lambda index, wanted: fetched.append(list(wanted)) or words(index, wanted)
    )
    assert judged(reader, texts, ids) == alone
    assert fetched == [[1, 2, 4, 5, 6, 7]]  # those that have any of the words
    assert judged(reader, ["zeppelin", "the"], ids) == [{}, {}]
    assert len(fetched) == 1
    assert judged(reader, texts, np.empty(0, np.int64)) == [{} for _ in texts]


def test_nominated_pictures_are_those_whose_words_weigh_most(reader: Reader) -> None:
    assert nominated(reader, "red boat", limit=1, allowed=None).tolist() == [1]
    assert nominated(reader, "red boat", limit=9, allowed=None).tolist() == [1, 2]
    assert nominated(reader, "boat", limit=9, allowed=np.array([2, 3])).tolist() == [2]
    for text, limit in (("", 9), ("zeppelin", 9), ("boat", 0)):
        assert nominated(reader, text, limit=limit, allowed=None).tolist() == []


def test_missing_pictures_are_not_found(tmp_path: Path) -> None:
    fill(tmp_path / "c", ROWS)
    with Writer(Location.parse(tmp_path / "c")) as writer:
        writer.hide([5])
    reader = open_reader(Location.parse(tmp_path / "c"))
    assert set(said(reader, "dogs")) == {4}
    reader.close()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(st.characters(exclude_categories=()), max_size=60))
def test_any_text_is_a_question(reader: Reader, text: str) -> None:
    for answer in said(reader, text, among=np.array([1, 5])).values():
        assert 0 < answer.evidence <= 0.95


@pytest.mark.parametrize(
    "text",
    [
        'boat" OR "dogs', "boat NOT dogs", "NEAR(boat dogs, 3)", "boat*", "^boat", "described : boat", "{name}: boat",
        "boat'; DROP TABLE images; --", "boat AND", "(boat", "-boat", "boat + dogs", "\x00boat", "boat\ud800",
    ],
)  # fmt: skip
def test_nothing_in_a_question_is_syntax(reader: Reader, text: str) -> None:
    assert "norway/fjord.jpg" in found(reader, text)


def test_endless_and_foreign_questions_are_answered(reader: Reader) -> None:
    assert said(reader, "boat " * 25_000) == said(reader, "boat")
    assert said(reader, "x" * 100_000) == {}
    assert said(reader, "雪" * 100_000) == {}
    assert said(reader, "😀🐕‍🦺" * 1000) == {}


@given(st.text(max_size=200))
def test_spelt_words_are_plain(text: str) -> None:
    words = spell(text).split(" ") if spell(text) else []
    assert all(word.isalnum() for word in words)
    assert all(token.isalnum() for asked in asked_words(text) for token in asked.tokens)


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("holidays/Norway 2019/redBoat_atSea2.jpg", "red boat at sea / norway 2019 / holidays"),
        ("holidays/IMG_1234.JPG", " / holidays"),
        ("holidays/DSC00012 dog.jpg", "dog / holidays"),
        ("holidays/100APPLE/P1010101.jpg", " / holidays"),
        ("holidays/IMG-20200101-WA0001.jpg", " / holidays"),
        ("holidays/3f2a9c1b-aa11-4c2d.jpg", " / holidays"),
        ("holidays/Screenshot 2020-01-02.png", " / holidays"),
        ("holidays/20190203_112233.jpg", " / holidays"),
        ("holidays/東京/雪の犬.jpg", "雪 の 犬 / 東 京 / holidays"),
    ],
)
def test_words_of_a_place(path: str, words: str) -> None:
    assert (
        place_words(f"/home/me/{path}".encode(), [b"/home/me/holidays", b"/home/me/holidays/Norway 2019"])
        == words
    )


def test_a_name_that_is_not_text_has_words_all_the_same() -> None:
    assert place_words(b"/home/me/p/dog-\xff\xfe-beach.jpg", [b"/home/me/p"]) == "dog beach"


def test_words_follow_a_move_and_a_change_and_go_with_their_picture(
    index: Callable[..., IndexReport], photos: Path, tmp_path: Path
) -> None:
    index(photos)
    reader = open_reader(Location.parse(tmp_path / "catalog"))

    def answered(text: str) -> int:
        return len(said(reader, text))

    assert (answered("yellow"), answered("canary"), answered("trip")) == (1, 0, 2)
    (photos / "yellow.png").rename(photos / "canary.png")
    (photos / "pond").mkdir()
    shutil.copy(photos / "trip" / "white.png", photos / "pond" / "swan.png")
    index(photos)
    assert (answered("yellow"), answered("canary"), answered("swan")) == (0, 1, 1)
    (photos / "canary.png").unlink()
    index(photos)
    assert answered("canary") == 0  # hidden
    with Writer(Location.parse(tmp_path / "catalog")) as writer:
        writer.collect()
        writer.forget(str(photos / "trip").encode())
    assert answered("trip") == 0
    kept = reader.rows("SELECT COUNT(*) FROM image_words")[0][0]
    assert kept == reader.rows("SELECT COUNT(*) FROM images")[0][0]
    reader.close()


def test_words_are_asked_without_what_takes_long_to_load(tmp_path: Path) -> None:
    fill(tmp_path / "c", ROWS)
    code = (
        "import re, sys; compiled = []; compile = re.compile\n"
        "re.compile = lambda pattern, flags=0: compiled.append(str(pattern)) or compile(pattern, flags)\n"
        "from retrieval.db.reader import open_reader; from retrieval.config import Location\n"
        "from retrieval.db.words import said; import numpy as np\n"
        "reader = open_reader(Location.parse(sys.argv[1]))\n"
        "assert said(reader, 'dogs on the beach', among=np.array([1, 5]), allowed=np.array([1, 4, 5, 8]))\n"
        "assert said(reader, 'dogs', limit=9)\n"
        "assert not {'sqlalchemy', 'alembic', 'numpy.ma'} & set(sys.modules)\n"
        "assert not [pattern for pattern in compiled if '\\u3041' in pattern]  # whole scripts\n"
        "assert said(reader, '日落') and [pattern for pattern in compiled if '\\u3041' in pattern]"
    )
    result = python(code, str(tmp_path / "c"))
    assert result.returncode == 0, result.stderr
