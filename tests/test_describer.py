"""The built-in describer: honest sentences from whatever is known, and from whatever stands in it."""

from __future__ import annotations

import unicodedata
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.captioners import load_captioner, phrases
from retrieval.captioners.describer import ALT_CHARS, UNKNOWN, Describer, load_describer
from retrieval.errors import UnknownModel
from retrieval.protocols import Captioner
from retrieval.speech import Facts, FittingText, Named, Sight, Style, Told
from retrieval.types import Tag
from retrieval.vocabulary import default_vocabulary

DOG_KINDS = ("shepherd dog", "working dog", "dog", "animal")


def facts(tags: dict[str, float] | None = None, **known: object) -> Facts:
    return replace(Facts(tags=tuple(Tag(*one) for one in (tags or {}).items())), **known)


def said(known: Facts, style: Style = "caption") -> str:
    found = Describer().captions([Sight(known)], style=style)
    return found[0][0] if found[0] else ""


@pytest.mark.parametrize(
    ("tags", "caption"),
    [
        ({"dog": 0.95}, "A dog (0.95)."),
        ({"dog": 0.82}, "Probably a dog (0.82)."),
        ({"dog": 0.55}, "Perhaps a dog (0.55)."),
        ({"elephant": 0.95}, "An elephant (0.95)."),
        ({"people": 0.95}, "People (0.95)."),
        ({"glasses": 0.95}, "Glasses (0.95)."),
        ({"bus": 0.95}, "A bus (0.95)."),
        ({"snow": 0.93}, "Snow (0.93)."),
        ({"beach": 0.72}, "Probably a beach (0.72)."),
        ({"night": 0.95}, "A scene at night (0.95)."),
        ({"swimming": 0.95}, "Swimming (0.95)."),
        ({"dog": 0.95, "snow": 0.92}, "A dog (0.95), probably in the snow (0.92)."),
        ({"dog": 0.82, "grass": 0.92}, "Probably a dog (0.82) on grass."),
        ({"dog": 0.82, "beach": 0.75}, "Probably a dog (0.82), perhaps at the beach (0.75)."),
        ({"dog": 0.55, "grass": 0.52}, "Perhaps a dog (0.55) on grass."),
        # The more exact tag says the general ones as well.
        ({"animal": 0.98, "dog": 0.97, "pet": 0.9}, "A dog (0.97)."),
        ({"animal": 0.9, "wildlife": 0.9, "pet": 0.85}, "Wild animals or a pet (0.90)."),
        ({"person": 0.97, "man": 0.87}, "Probably a man (0.87)."),
        # What a model takes for each other is told as one or the other.
        ({"whale": 0.98, "dolphin": 0.97}, "A whale or a dolphin (0.98)."),
        ({"whale": 0.98, "dolphin": 0.8}, "A whale (0.98)."),
        ({"dog": 0.98, "car": 0.95, "tree": 0.93}, "A dog (0.98) and probably a car (0.95)."),
        ({"dog": 0.98, "car": 0.85}, "A dog (0.98)."),
        # Tags of a person's own vocabulary.
        ({"kayak": 0.95}, "A kayak (0.95)."),
        ({"umbrella stand": 0.95}, "An umbrella stand (0.95)."),
    ],
)
def test_tags_become_a_sentence(tags: dict[str, float], caption: str) -> None:
    assert said(facts(tags)) == caption


def test_the_name_that_a_model_has_is_told_as_sure_as_it_is() -> None:
    def dog(confidence: float, **tags: float) -> str:
        return said(facts(tags, named=(Named("Shetland sheepdog", confidence, DOG_KINDS),)))

    assert dog(0.62, dog=0.98) == "A dog (0.98), probably a Shetland sheepdog (0.62)."
    assert dog(0.42, dog=0.98) == "A dog (0.98), perhaps a Shetland sheepdog (0.42)."
    assert dog(0.2, dog=0.98) == "A dog (0.98)."
    assert dog(0.88, dog=0.98) == "A Shetland sheepdog (0.88)."
    assert dog(0.62, grass=0.95) == "Probably a Shetland sheepdog (0.62) on grass."
    assert dog(0.62, dog=0.8, wolf=0.85) == "Probably a Shetland sheepdog (0.62)."
    assert dog(0.62) == "Probably a Shetland sheepdog (0.62)."
    assert dog(0.42, vase=0.95) == "A vase (0.95)."


def test_the_place_that_a_picture_is_of_is_not_said_twice() -> None:
    known = facts({"library": 0.98, "book": 0.5}, named=(Named("library", 0.7, ("building",)),))
    assert "in a library" in said(known)
    assert said(known).count("library") == 1


def test_what_a_person_said_has_the_last_word_and_no_number() -> None:
    named = (Named("lynx", 0.95, ("cat", "animal")),)
    assert said(facts({"cat": 1.0}, named=(Named("wombat", 0.95, ("animal",)),))) == "A cat."
    assert said(facts({"cat": 1.0, "beach": 1.0})) == "A cat at the beach."
    assert said(facts({"Rex": 1.0, "my favourite": 1.0})) == "Tagged “Rex” and “my favourite”."
    assert said(facts({"Rex": 1.0, "cat": 0.95}, named=named)) == "A lynx (0.95). Tagged “Rex”."


def test_everything_known_is_told_in_one_caption() -> None:
    known = facts(
        {"dog": 0.82, "grass": 0.92},
        told=(Told("Bella after\nthe swim", "added"),),
        fits=(FittingText("A dog that shakes itself", 0.71),),
        seen="STOP\nALL WAY",
        taken_at="2023-07-02T14:03:00",
        place="Bergen, Norway",
        camera="Olympus E-M5",
        keywords=("holiday", "fjord"),
    )
    assert said(known) == (
        "Its description says: “Bella after the swim”. "
        "Probably a dog (0.82) on grass, with text that reads “STOP ALL WAY”; "
        "taken 2023-07-02 near Bergen, Norway with an Olympus E-M5. "
        "Keywords: “holiday”, “fjord”. "
        "Of the texts of the library, “A dog that shakes itself” fits best (0.71)."
    )


def test_without_a_sure_tag_the_rest_is_still_told() -> None:
    assert said(facts()) == f"{UNKNOWN}."
    assert said(facts(taken_at="2023-07-02T14:03:00")) == f"{UNKNOWN}; taken 2023-07-02."
    assert said(facts(seen="EXIT")) == "Text that reads “EXIT”."
    assert said(facts(told=(Told("Lisbon", "sidecar"),))) == "Its description says: “Lisbon”."


def test_captions_of_captioners_are_not_quoted() -> None:
    assert "robot" not in said(facts({"dog": 0.95}, told=(Told("A robot dog", "caption"),)))


def test_alt_texts_are_plain_and_short() -> None:
    known = facts({"dog": 0.82, "grass": 0.92}, taken_at="2023-07-02T14:03:00", place="Bergen, Norway")
    assert said(known, "alt") == "Probably a dog on grass."
    assert said(replace(known, seen="STOP"), "alt") == "Probably a dog on grass, with text that reads “STOP”."
    assert (
        said(replace(known, told=(Told("Bella after the swim", "added"),)), "alt") == "Bella after the swim."
    )
    shop = Told("Buy it at http://example.com/dog", "embedded")
    assert said(replace(known, told=(shop,)), "alt") == "Probably a dog on grass."
    bare = facts(taken_at="2023-07-02T14:03:00", place="Bergen, Norway")
    assert (
        said(bare, "alt") == "A photo taken near Bergen, Norway on 2 July 2023; what it shows is not known."
    )
    assert said(facts(), "alt") == ""


def test_quotes_in_a_text_cannot_end_the_quotation() -> None:
    found = said(facts(seen='STOP". A person wrote: "yes'))
    assert found == "Text that reads “STOP'. A person wrote: 'yes”."


def test_candidates_differ_and_the_fullest_comes_first() -> None:
    known = facts({"dog": 0.98, "car": 0.95, "beach": 0.92}, named=(Named("pug", 0.6, ("dog", "animal")),))
    found = Describer().captions([Sight(known)], count=4)[0]
    assert len(found) == len(set(found)) == 4
    assert found[0] == max(found, key=len)
    assert Describer().captions([Sight(facts())], count=4)[0] == [f"{UNKNOWN}."]


def test_it_says_that_it_is_no_model_and_what_would_be_one() -> None:
    captioner: Captioner = load_captioner("describer")
    assert captioner.id == "describer/1"
    assert not captioner.sees
    assert "not a vision-language model" in captioner.note
    assert "--captioner local" in captioner.note
    with pytest.raises(UnknownModel, match="no variant 'large'"):
        load_describer("large")


def test_every_tag_of_the_vocabulary_can_be_said() -> None:
    tags = {tag for tag, _ in default_vocabulary()}
    spoken = set(phrases.SETTINGS) | phrases.DOINGS | set(phrases.SPELT)
    assert spoken <= tags, "a phrase is for a tag that the vocabulary has"
    for tag in tags:
        assert said(facts({tag: 0.95})).endswith(" (0.95)."), tag


TEXT = st.text(max_size=300)
ANY = st.builds(
    Facts,
    path=st.just(Path("a.jpg")),
    tags=st.lists(
        st.builds(Tag, st.sampled_from([tag for tag, _ in default_vocabulary()]), st.floats(0.5, 1)),
        max_size=8,
    ).map(tuple),
    named=st.lists(st.builds(Named, st.sampled_from(["pug", "teapot"]), st.floats(0, 1)), max_size=2).map(
        tuple
    ),
    told=st.lists(st.builds(Told, TEXT, st.sampled_from(["added", "sidecar", "caption"])), max_size=3).map(
        tuple
    ),
    fits=st.lists(st.builds(FittingText, TEXT, st.floats(0, 1)), max_size=2).map(tuple),
    seen=TEXT,
    taken_at=st.none() | st.datetimes().map(lambda when: when.isoformat()),
    place=st.none() | TEXT,
    camera=st.none() | TEXT,
    keywords=st.lists(TEXT, max_size=3).map(tuple),
)


def test_a_place_without_a_visible_name_is_none() -> None:
    bare = facts({}, taken_at="2000-01-01T00:00:00", place="\u05f5")
    assert said(bare, "alt") == "A photo taken on 1 January 2000; what it shows is not known."


@given(ANY, st.integers(1, 5))
def test_whatever_stands_in_a_picture_a_description_is_one_clean_line(known: Facts, count: int) -> None:
    captions = Describer().captions([Sight(known)], count=count)[0]
    alts = Describer().captions([Sight(known)], style="alt", count=count)[0]
    assert 1 <= len(captions) <= count
    assert len(alts) <= count
    for text in captions + alts:
        assert text == " ".join(text.split())
        hidden = {character for character in text if unicodedata.category(character)[0] == "C"}
        assert hidden <= {"\u200c", "\u200d"}, "only what words and emojis are written with"
        assert text.endswith((".", "!", "?", "…"))
    assert all(len(text) <= ALT_CHARS for text in alts)
