"""The English of sentences made in code: articles, plurals, lists, quotes, and which things are of which kind."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.captioners.describer import Describer
from retrieval.english.certainty import HEDGES, band
from retrieval.english.file_names import said_by
from retrieval.english.nouns import article_for, counted, listed, many, single, with_article
from retrieval.english.quoting import cut, quoted, visible
from retrieval.english.things import ALIKE, KINDS, NO_TAGS, alike, exacter, is_a, kind_of, members
from retrieval.speech import Facts, Sight
from retrieval.types import Tag
from retrieval.vocabulary import default_vocabulary

TAGS = {tag for tag, _ in default_vocabulary()}


@pytest.mark.parametrize(
    "phrase",
    [
        "an hourglass", "a unicycle", "a one-piece bathing suit", "an ATM", "a CD player", "a T-shirt", "an iPod",
        "a hippopotamus", "an ox", "an MRI scan", "a URL", "an SUV", "a ukulele", "a UFO", "an X-ray", "an x-ray",
        "a USB stick", "an LED lamp", "a NASA rocket", "a NIKON D90", "a LEGO brick", "a RAW file", "an HDMI cable",
        "an F1 car", "an umbrella", "an urn", "an unidentified object", "a unicorn", "a user", "an usher", "a Utah",
        "a European bee", "a ewe", "an honest man", "an heirloom", "a house", "a U-turn",
        "an 8-ball", "an 11th hour", "an 18th birthday", "a 1st prize", "a 100 m race", "an 1800s house", "a 110 film",
        "an école", "an Apple iPhone", "an Olympus E-M5", "a uniform", "an onion", "a euro",
        "a yacht", "an aircraft", "a sheep", "an FBI agent", "a one-way street", "an oil lamp", "a ute", "an ugly duck",
    ],
)  # fmt: skip
def test_articles_follow_how_a_word_is_spoken(phrase: str) -> None:
    article, _, noun = phrase.partition(" ")
    assert article_for(noun) == article


def test_a_noun_is_named_with_an_article_where_it_takes_one() -> None:
    for noun, named in (
        ("jeans", "jeans"), ("red wine", "red wine"), ("grass", "grass"), ("people", "people"), ("gas", "a gas"),
        ("lens", "a lens"), ("bus", "a bus"), ("ice cream", "ice cream"), ("fire truck", "a fire truck"),
        ("playing cards", "playing cards"), ("tomato", "a tomato"), ("geese", "geese"), ("goose", "a goose"),
        ("family", "a family"),
    ):  # fmt: skip
        assert with_article(noun) == named
    for one, several in (("lens", "lenses"), ("bus", "buses"), ("tomato", "tomatoes"), ("sheep", "sheep")):
        assert many(one) == several
        assert single(several) == one
    assert counted(1204, "picture") == "1,204 pictures"
    assert (many("text"), counted(1, "text"), counted(2, "text")) == ("text", "1 text", "2 texts")
    assert (listed(["a"]), listed(["a", "b", "c"]), listed([])) == ("a", "a, b and c", "")


def test_how_sure_something_is_has_one_measure() -> None:
    assert [HEDGES[band(sure)] for sure in (0.9, 0.89, 0.7, 0.69)] == [
        "",
        "probably ",
        "probably ",
        "perhaps ",
    ]
    assert [band(sure, own=True) for sure in (0.8, 0.5, 0.49)] == [0, 1, 2]


def test_a_quote_is_cut_between_words_and_cannot_be_closed_from_inside() -> None:
    assert quoted('a “b” "c"\nd', 80) == "“a 'b' 'c' d”"
    assert cut("one two three four", 12) == "one two…"
    assert visible("a\u202eb\u200d \u200c c") == "ab c"
    family = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
    assert visible(family) == family


@given(st.text(max_size=200), st.integers(2, 60))
def test_a_quote_is_one_line_of_limited_length(text: str, most: int) -> None:
    found = quoted(text, most)
    assert len(found) <= most + 2
    assert not set(found[1:-1]) & set('"“”')
    assert not any(unicodedata.category(one) in ("Cc", "Zl", "Zp", "Cs") for one in found)


# Kinds of things


def test_there_is_one_table_of_kinds_and_it_is_made_of_tags() -> None:
    below = {name for said in KINDS.values() for name in said.split(", ") if name}
    assert below <= TAGS | NO_TAGS
    assert set(KINDS) <= TAGS | NO_TAGS
    assert not NO_TAGS & TAGS
    for name in KINDS:
        assert name not in members(name), "nothing is a kind of itself"


def test_tags_that_are_taken_for_each_other_are_in_one_group_each() -> None:
    groups = {tag: alike(tag) for tag in TAGS if alike(tag) in ALIKE}
    for said in ALIKE.values():
        for name in said.split(", "):
            bare = name.strip("-@")
            assert bare in TAGS or bare in KINDS, name
    assert groups["tomato"] == "fruit"
    assert groups["lion"] == groups["cat"] == "mammal"
    assert groups["ambulance"] == groups["car"] == "vehicle"
    assert groups["rocket"] == "aircraft"
    assert alike("mammal") == "mammal", "what is no tag is taken for nothing"


def test_what_is_more_exact_says_the_general_tag_as_well() -> None:
    for general in TAGS:
        assert exacter(general) <= TAGS
        for other in exacter(general):
            assert general not in exacter(other), "two tags that give way to each other would both be lost"
    assert exacter("bear") == {"polar bear"}
    assert exacter("cat") == frozenset(), "nobody calls a lion a cat"
    assert {"dog", "pet", "swan"} <= exacter("animal")
    assert "coffee" not in exacter("food")
    assert {"ambulance", "fire truck"} <= exacter("car")


def test_one_thing_is_of_the_same_kind_wherever_it_is_asked_for() -> None:
    for tag, kind, true in (
        ("tomato", "vegetable", True), ("tomato", "fruit", False), ("pumpkin", "vegetables", True),
        ("ambulance", "car", True), ("ambulance", "vehicle", True), ("laptop", "computer", True),
        ("keyboard", "computer", False), ("keyboard", "device", True), ("traffic light", "sign", False),
        ("rescue dog", "dog", True), ("hot dog stand", "dog", False), ("Pizza", "food", True), ("sea", "animal", False),
        ("swan", "animal", True),
    ):  # fmt: skip
        assert is_a(tag, kind) is true, (tag, kind)
    for subject, kind in (
        ("animals", "animal"), ("wild animals", "wild animal"), ("dinner", "food"), ("small boats", "boat"),
        ("people", "person"), ("bugs", "insect"), ("harbour lights", None), ("", None),
    ):  # fmt: skip
        assert kind_of(subject) == kind, subject


def test_names_of_files_are_told_from_those_that_cameras_give() -> None:
    for stem, said in (
        ("ice cream", "ice cream"), ("dinner at Anna's", "dinner at Anna's"), ("beach_day-2", "beach day 2"),
        ("Minka", "Minka"), ("IMG_2041", ""), ("IMG_2041 (copy)", ""), ("PXL_20220204_1", ""), ("P1010023", ""),
        ("Screenshot_20230101", ""), ("WhatsApp Image 2023-01-01 at 10.00.00", ""), ("DSC00012", ""),
        ("2023-01-05 12.30.11", ""), ("0a1b2c3d4e5f60718293", ""), ("Untitled", ""), ("a", ""), ("", ""),
    ):  # fmt: skip
        assert said_by(stem) == said, stem


def test_a_keyword_that_was_kept_twice_is_told_once_and_a_files_name_where_it_says_something() -> None:
    long = "Soldier military army recruit enlisted war fatigues uniform front view contemporary"
    facts = Facts(path=Path("ice cream.jpg"), keywords=(long, long[:64]))
    ((caption,),) = Describer().captions([Sight(facts)])
    assert caption.count("Soldier military") == 1
    assert caption.endswith("Its file is called “ice cream”.")
    ((other,),) = Describer().captions([Sight(Facts(path=Path("IMG_2041.jpg"), keywords=("soldier",)))])
    assert "file" not in other
    ((alt,),) = Describer().captions(
        [Sight(Facts(path=Path("ice cream.jpg"), tags=(Tag("cake", 0.95),)))], style="alt"
    )
    assert "ice cream" not in alt
