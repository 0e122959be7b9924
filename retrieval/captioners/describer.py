"""The built-in describer: sentences from what is known of a picture, without a model that speaks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from retrieval.captioners.scenes import Part, Scene, read_scene
from retrieval.english.certainty import HEDGES
from retrieval.english.days import day_of, day_words
from retrieval.english.file_names import said_by
from retrieval.english.nouns import article_for, capital, listed
from retrieval.english.quoting import cut, quoted, visible
from retrieval.errors import UnknownModel

if TYPE_CHECKING:
    from retrieval.speech import Facts, Sight, Style

ID = "describer/1"
NOTE = (
    "Written by the built-in describer from tags, texts and metadata; it is not a vision-language model. "
    "To have one look at the picture: search describe IMAGE --captioner local"
)
UNKNOWN = "What it shows is not known: no tag is sure enough"
ALT_CHARS = 150
QUOTE_CHARS, SEEN_CHARS, WORD_CHARS = 200, 80, 60
MOST_QUOTES, MOST_KEYWORDS = 2, 6
NO_ALT = ("://", "www.")
"""A text with an address in it comes from a shop or an archive, and is not to be read out."""
CAPTION = "caption"
"""The source of what captioners said: none is to quote another, or itself."""


class Describer:
    """Puts into words what tags, texts and metadata say of a picture."""

    id = ID
    # Tags that are not stored are made for a whole batch at a price that hardly depends on its size.
    batch_size = 256
    sees = False
    note = NOTE

    def captions(
        self, sights: Sequence[Sight], *, style: Style = "caption", count: int = 1
    ) -> list[list[str]]:
        """Different choices of what to name, the fullest first."""
        return [list(_distinct(sight.facts, style, count)) for sight in sights]


def load_describer(rest: str = "") -> Describer:
    if rest:
        raise UnknownModel(f"The describer has no variant '{rest}'. Use it as: --captioner describer")
    return Describer()


def _distinct(facts: Facts, style: Style, count: int) -> Iterator[str]:
    compose = _alt if style == "alt" else _caption
    said: set[str] = set()
    for scene in _variants(read_scene(facts)):
        if len(said) >= count:
            return
        text = compose(facts, scene)
        if text and text not in said:
            said.add(text)
            yield text


def _variants(scene: Scene) -> Iterator[Scene]:
    """The whole, then parts of it: where a matcher does not agree with all, it may with some."""
    yield scene
    yield replace(scene, setting=None)
    yield replace(scene, named=None)
    for thing in scene.things:
        for part in thing:
            yield replace(scene, things=((part,),), named=None)
            yield replace(scene, things=((part,),), named=None, setting=None)


def _caption(facts: Facts, scene: Scene) -> str:
    """All that is known, what people said of the picture first."""
    sentences = [f"Its description says: {quoted(text, QUOTE_CHARS)}." for text in _told(facts)[:MOST_QUOTES]]
    shown = _shown(scene, _seen(facts), numbers=True) or ("" if sentences or scene.tagged else UNKNOWN)
    around = _around(facts)
    if shown or around:
        sentences.append(_sentence("; ".join(part for part in (shown, around) if part)))
    if scene.tagged:
        sentences.append(f"Tagged {listed([quoted(tag, WORD_CHARS) for tag in scene.tagged])}.")
    if words := _keywords(facts):
        sentences.append(f"Keywords: {', '.join(words)}.")
    called = "" if facts.path is None else said_by(visible(facts.path.stem))
    if called:
        sentences.append(f"Its file is called {quoted(called, WORD_CHARS)}.")
    if facts.fits:
        best = facts.fits[0]
        sentences.append(
            f"Of the texts of the library, {quoted(best.text, QUOTE_CHARS)} fits best ({best.match:.2f})."
        )
    return " ".join(sentences)


def _alt(facts: Facts, scene: Scene) -> str:
    """One short sentence: a person's own words where there are any, else the least that tells most."""
    told = [text for text in _told(facts) if not any(mark in text for mark in NO_ALT)]
    if told:
        return cut(_sentence(told[0]), ALT_CHARS)
    seen = _seen(facts)
    bare = replace(scene, setting=None)
    single = replace(bare, things=scene.things[:1], named=None)
    for fewer, text in ((scene, seen), (bare, seen), (scene, ""), (bare, ""), (single, "")):
        shown = _sentence(_shown(fewer, text, numbers=False))
        if shown and len(shown) <= ALT_CHARS:
            return shown
    if scene.tagged:
        return cut(f"Tagged {listed([quoted(tag, WORD_CHARS) for tag in scene.tagged])}.", ALT_CHARS)
    taken = day_of(facts.taken_at or "")
    day = f" on {day_words(taken)}" if taken is not None else ""
    where = _near(facts)
    where = f" {where}" if where else ""
    return f"A photo taken{where}{day}; what it shows is not known." if day or where else ""


def _shown(scene: Scene, seen: str, *, numbers: bool) -> str:
    """What the picture shows, as the beginning of a sentence; empty where nothing tells it."""
    text = f"text that reads {quoted(seen, SEEN_CHARS)}" if seen else ""
    if not scene.things:
        alone = "" if scene.alone is None else _said(scene.alone, numbers)
        return ", with ".join(part for part in (alone, text) if part)
    first, *others = scene.things
    said = _either(first, numbers)
    if scene.named is not None:
        said += f", {_said(scene.named, numbers)}"
    for thing in others:
        joint = ", and " if scene.named is not None or len(first) > 1 else " and "
        said += joint + _either(thing, numbers)
    if scene.setting is not None:
        # What is as sure as the thing needs no words of its own: one "probably" goes for both.
        worse = scene.setting.band > first[0].band
        comma = "," if worse or scene.named is not None or len(scene.things) > 1 else ""
        said += f"{comma} {_said(scene.setting, numbers) if worse else scene.setting.words}"
    return f"{said}, with {text}" if text else said


def _either(parts: Sequence[Part], numbers: bool) -> str:
    """A thing, or what it may be instead."""
    words = " or ".join(part.words for part in parts)
    return _said(replace(parts[0], words=words), numbers)


def _said(part: Part, numbers: bool) -> str:
    # What a person said is no estimate.
    number = f" ({min(part.confidence, 0.99):.2f})" if numbers and part.confidence < 1 else ""
    return f"{HEDGES[part.band]}{part.words}{number}"


def _around(facts: Facts) -> str:
    """When, where and with what it was taken."""
    parts = []
    if facts.taken_at:
        parts.append(facts.taken_at[:10])
    if where := _near(facts):
        parts.append(where)
    if facts.camera and visible(facts.camera):
        camera = cut(visible(facts.camera), WORD_CHARS)
        parts.append(f"with {article_for(camera)} {camera}")
    return f"taken {' '.join(parts)}" if parts else ""


def _near(facts: Facts) -> str:
    """Where it was taken; nothing where its name has nothing that can be seen."""
    place = visible(facts.place or "")
    return f"near {cut(place, WORD_CHARS)}" if place else ""


def _told(facts: Facts) -> list[str]:
    """What people said of the picture, each text once."""
    texts = (visible(told.text) for told in facts.told if told.source != CAPTION)
    return list(dict.fromkeys(text for text in texts if text))


def _keywords(facts: Facts) -> list[str]:
    """Keywords as they are told, each once: some programs keep a long one a second time, cut short."""
    words = [quoted(word, WORD_CHARS) for word in facts.keywords if visible(word)]
    return list(dict.fromkeys(words))[:MOST_KEYWORDS]


def _seen(facts: Facts) -> str:
    return visible(facts.seen)


def _sentence(text: str) -> str:
    if not text:
        return ""
    return capital(text) + ("" if text.endswith((".", "!", "?", "…")) else ".")
