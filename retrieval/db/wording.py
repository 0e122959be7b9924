"""Words as full-text search sees them: of a text, of a file's place, of a question.

What is stored for a picture and what is looked for go through the same `spell`, so that
databases which know nothing of accents, camel case or scripts without spaces all find
the same. Nothing that comes out of here is syntax in any of them.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

from retrieval.db.texts import EMBEDDED, OCR

MAX_CHARS = 2000
"""What is searched of each kind of words around a picture; a longer text is kept whole elsewhere."""
MAX_QUESTION = 2000
MAX_TOKEN = 40
KINDS = ("name", "described", "told", "seen")
"""The kinds of words around a picture: columns of `image_words`."""
BORDER = " / "
"""Stands between a file's name and each of its folders."""

_TOKEN = r"[^\W_]+"
_APOSTROPHE = r"(?<=[^\W\d_])['’ʼ](?=[^\W\d_])"
_CAMEL = r"(?<=[^\W\d_A-Z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])"
_NUMBER = r"\d+"
_YEAR = r"(?:19|20)\d\d"
_CODE = r"(?i:(?=.*\d)[0-9a-f]{8,}(?:[-_][0-9a-f]+)*)"
_CAMERA_FOLDER = r"\d{3}[A-Z0-9_]{5}"

_HAN = "\u2e80-\u2fdf\u3005-\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_HIRAGANA = "\u3041-\u309f"
_KATAKANA = "\u30a0-\u30ff\u31f0-\u31ff"
_HANGUL = "\u1100-\u11ff\u3130-\u318f\ua960-\ua97f\uac00-\ud7ff"
_SOUTH_EAST = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"
_UNSPACED = f"[{_HAN}{_HIRAGANA}{_KATAKANA}{_HANGUL}{_SOUTH_EAST}]"
"""Scripts whose words are not set apart, or carry their particles: searched by single characters."""
_RUNS = (
    f"[{_HAN}]+|[{_HIRAGANA}]+|[{_KATAKANA}]+|[{_HANGUL}]+|[{_SOUTH_EAST}]+"
    f"|[^\\W_{_HAN}{_HIRAGANA}{_KATAKANA}{_HANGUL}{_SOUTH_EAST}]+"
)
_HIRAGANA_RUN = f"[{_HIRAGANA}]+"
_PARTICLES = "[的了在和是与與]"
_VOICED = "\u3099\u309a"

_MADE = (
    "img image images pic picture pictures photo photos foto fotos dsc dscn dscf dcim pxl mvimg mvi vid "
    "mov video wp gopr gopro dji imgp cimg sam sany hpim pano burst screenshot screenshots "
    "bildschirmfoto whatsapp signal telegram snapchat facebook received resized edited copy kopie scn "
    "untitled unnamed unknown file tmp thumb jpg jpeg png heic raw cr nef hdr avif webp export exports "
    "original originals masters wa camera roll"
)
MACHINE = frozenset(_MADE.split())
"""What cameras and programs call a picture: nothing about what is on it."""
_ANYWHERE = (
    "a an the and or of in on at to from for with without by as is are was were be been being am it its "
    "this that these those there here i me my we us our you your he him his she her they them their who "
    "whom whose which what where when why how do does did done has have had having can could will would "
    "shall should may might must not no nor so than then too very just some any each every all both few "
    "more most other such only own same into onto over under up down out off above below near next "
    "behind between through during about against while if because until again further once also im ive "
    "id one two three four five six seven eight nine ten several many much lot lots photo photos "
    "photograph photographs picture pictures image images pic pics shot snapshot show find showing der "
    "die das den dem des ein eine einen einem einer und im mit auf von zu vom zum zur bei aus fur uber "
    "le la les un une et dans sur avec du au aux par pour en el los las una y con de del al por para "
    "una il lo gli e di da nel della het een van op met uit o os as um uma na nos nas do dos com"
)
STOP = frozenset(_ANYWHERE.split())
"""Words that stand in any question and any caption, in the languages met most."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One word of a question: a token, or several that have to follow each other."""

    tokens: tuple[str, ...]

    def __str__(self) -> str:
        return " ".join(self.tokens)


@cache
def _pattern(pattern: str) -> re.Pattern[str]:
    """Compiled when it is first needed: those of whole scripts take milliseconds."""
    return re.compile(pattern)


def fold(text: str) -> str:
    """The text without case, accents and the like."""
    if not text.isascii():
        apart = unicodedata.normalize("NFKD", text)
        kept = (
            letter
            for letter in apart
            if letter in _VOICED or unicodedata.category(letter) not in ("Mn", "Mc", "Me")
        )
        text = unicodedata.normalize("NFC", "".join(kept))
    if "'" in text or not text.isascii():
        text = _pattern(_APOSTROPHE).sub("", text)
    return text.casefold()


def spell(text: str, *, limit: int = MAX_CHARS) -> str:
    """The words of a text, one space between them; characters stand alone where a script has no spaces."""
    # Folding can lengthen what is cut off afterwards, never shorten it by much.
    spaced = fold(text[: 2 * limit])
    if not spaced.isascii():
        spaced = _pattern(_UNSPACED).sub(r" \g<0> ", spaced)
    words = " ".join(token[:MAX_TOKEN] for token in _pattern(_TOKEN).findall(spaced))
    return words if len(words) <= limit else words[:limit].rpartition(" ")[0]


def words_of(
    image: Mapping[str, Any], texts: Sequence[tuple[str, str]], roots: Sequence[bytes]
) -> dict[str, str]:
    """The words around a picture from its row and from its texts, each text with its source."""
    described = [image["title"], image["description"], *(image["keywords"] or ())]
    told = [text for source, text in texts if source not in (EMBEDDED, OCR)]
    seen = [text for source, text in texts if source == OCR]
    return {
        "name": place_words(bytes(image["path"]), roots),
        **{
            kind: spell(" ".join(part for part in parts if part))
            for kind, parts in (("described", described), ("told", told), ("seen", seen))
        },
    }


def embedded_text(title: str | None, description: str | None) -> str:
    """What a picture carries of words in itself, as one text."""
    title, description = (title or "").strip(), (description or "").strip()
    if not title or title.casefold() in description.casefold():
        return description
    return f"{title}\n{description}".strip()


def place_words(path: bytes, roots: Iterable[bytes]) -> str:
    """The words of a file's name, and of its folders from the indexed one on, nearest first."""
    separator = os.fsencode(os.sep)
    above = [root for root in roots if path.startswith(root.rstrip(separator) + separator)]
    root = min(above, key=len, default=os.path.dirname(path))
    inner = path[len(os.path.dirname(root.rstrip(separator))) :].strip(separator)
    *folders, name = os.fsdecode(inner).split(os.sep)
    parts = [_named(os.path.splitext(name)[0], years=False)]
    parts += [_named(folder, years=True) for folder in reversed(folders)]
    whole = BORDER.join([parts[0], *(part for part in parts[1:] if part)])
    return whole[:MAX_CHARS] if parts[0] or len(parts) > 1 else ""


@lru_cache(1024)
def _named(name: str, *, years: bool) -> str:
    """The words of one name; codes, counters and what machines call a picture are none."""
    if _pattern(_CODE).fullmatch(name) or _pattern(_CAMERA_FOLDER).fullmatch(name):
        return ""
    found: list[str] = []
    for chunk in re.split(r"[\W_]+", name):
        changes = len(re.findall(r"\d(?=[^\W\d_])|[^\W\d_](?=\d)", chunk))
        if changes > 1:
            continue
        if years and _pattern(_YEAR).fullmatch(chunk):
            found.append(chunk)
            continue
        words = spell(_pattern(_NUMBER).sub(" ", _pattern(_CAMEL).sub(" ", chunk))).split()
        found += [
            word
            for word in words
            if word not in MACHINE and (len(word) > 1 or _pattern(_UNSPACED).match(word))
        ]
    return " ".join(found)


def asked_words(text: str) -> list[Asked]:
    """The words of a question that say something, each once, in its order."""
    folded = fold(text[:MAX_QUESTION])
    if folded.isascii():
        return list(dict.fromkeys(word for run in _pattern(_TOKEN).findall(folded) for word in _asked(run)))
    parts = ("".join(filter(str.isalnum, part)) for part in _pattern(_RUNS).findall(folded))
    runs = [run for part in parts for run in _pattern(_PARTICLES).split(part) if run]
    content = [run for run in runs if not (_pattern(_HIRAGANA_RUN).fullmatch(run) and len(run) <= 2)]
    return list(dict.fromkeys(word for run in content or runs for word in _asked(run)))


def _asked(run: str) -> Iterator[Asked]:
    if not run.isascii() and _pattern(_UNSPACED).match(run):
        # A longer run is any number of words; two characters are about one.
        starts = range(max(1, len(run) - 1))
        yield from (Asked(tuple(run[start : start + 2])) for start in starts)
    elif len(run) > 1 and run not in STOP:
        yield Asked((run[:MAX_TOKEN],))
