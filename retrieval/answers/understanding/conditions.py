"""What a question asks for besides words: places, cameras, shapes, kinds of files and tags."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass, field
from typing import Any

from retrieval.answers.understanding.named_places import find_places
from retrieval.answers.understanding.times import Span, find_times
from retrieval.query.filters import Filter

_MAKERS = (
    "nikon canon sony fujifilm olympus panasonic leica pentax hasselblad gopro dji iphone ipad pixel "
    "samsung galaxy huawei xiaomi oneplus motorola nokia ricoh kodak polaroid minolta casio sigma apple "
    "google oppo htc blackberry zeiss"
)
CAMERAS = {name: name for name in _MAKERS.split()} | {"fuji": "fujifilm", "lumix": "panasonic"}
"""What people call a camera -> what it calls itself, as far as that is known."""
_MAKES = "|".join(sorted(CAMERAS, key=len, reverse=True))
_MODEL = (
    r"(?:\s+(?:eos|powershot|coolpix|alpha|cyber-?shot|hero|mavic|mini|pro|max|plus|ultra|mark|mk|ii|iii|iv|se"
    r"|(?=[\w-]{0,9}\d)[a-z\d][\w-]{0,11}(?![\w-])))"
)
_DEVICE = rf"({_MAKES})\b((?:(?!\s+(?:19|20)\d\d\b){_MODEL}){{0,4}})(?:\s+(?:camera|phone|smartphone)s?\b)?"
_PHOTOS = r"(?:photo(?:graph)?s?|pictures?|pics?|images?|shots?|snapshots?|files?)"
_CAMERA = re.compile(
    rf"(?<!\w)(?:(?:taken|shot|made|captured|snapped|photographed)\s+(?:with|on|by|using|from)\s+(?:(?:my|our|the|a|an)\s+)?"
    rf"|(?:with|on|by|using|from)\s+(?:my|our|the)\s+(?:old\s+|new\s+)?|using\s+(?:an?\s+)?"
    rf"|(?:(?<=photos )|(?<=pictures )|(?<=images )|(?<=shots ))with\s+an?\s+(?!apple))"
    rf"{_DEVICE}(?!\s+in\s+(?:his|her|their)\b)",
    re.IGNORECASE,
)
_CAMERA_OF = re.compile(rf"(?<!\w){_DEVICE}(?=\s+{_PHOTOS}\b)", re.IGNORECASE)
_PHONE = re.compile(
    r"\b(?:with|on|by|using|from)\s+(?:my|our|the)\s+(?:old\s+|new\s+)?(?:cell\s*|mobile\s+|smart\s*)?(?:phone|camera)\b",
    re.IGNORECASE,
)

_SHAPES = (
    (r"(?:upright|vertical|portrait[\s-]+(?:orient(?:ation|ed)|format|mode))", "portrait"),
    (r"(?:horizontal|landscape[\s-]+(?:orient(?:ation|ed)|format|mode))", "landscape"),
    (r"square(?:[\s-]+format)?", "square"),
)
_SHAPE = [
    (
        re.compile(
            rf"\b{pattern}(?=\s+{_PHOTOS}\b)|\b(?:in\s+)?{pattern}(?:\s+{_PHOTOS})?\s*[?.!]*\s*$", re.I
        ),
        name,
    )
    for pattern, name in _SHAPES
] + [
    (
        re.compile(
            rf"\bin\s+{name}\s*[?.!]*\s*$|\b(?:in\s+)?{name}[\s-]+(?:orientation|format|mode)\b", re.I
        ),
        name,
    )
    for name in ("portrait", "landscape")
]

_KINDS = r"jpe?g|png|gif|heic|heif|tiff?|webp|avif|bmp"
_TYPE = re.compile(
    rf"(?<![\w.])({_KINDS})s?\b(?:\s+(?:format\s+)?{_PHOTOS}\b)?|\b(raw)s?\s+(?:format\s+)?{_PHOTOS}\b|\b((?-i:RAW))s?\b",
    re.I,
)
_TAGGED = re.compile(
    r"\b(?:tagged(?:\s+(?:as|with))?|with\s+(?:the\s+)?tags?)\s+(?:\"([^\"]{1,100})\"|'([^']{1,100})'|([\w-]{1,100}))",
    re.IGNORECASE,
)

_FOLDER = re.compile(
    r"\b(?:in|from|inside|of|within)\s+(?:the\s+|my\s+|our\s+)?(?:folder|directory|album)\s+(?:called\s+|named\s+)?"
    r"(?:[\"“]([^\"“”/]{1,100})[\"”]|((?:(?!\s(?:taken|with|that|which|and|from|since|before)\b)[^?!,;/\"]){1,100}))"
    r"|\b(?:in|from|inside|within)\s+(?:the\s+|my\s+|our\s+)(?:[\"“]([^\"“”/]{1,100})[\"”]|([\w.-]{1,100}))"
    r"\s+(?:folder|directory)\b",
    re.IGNORECASE,
)
_LARGER = (
    r"(?:bigger|larger|greater|wider|higher|more|not (?:smaller|less))\s+than|at\s+least|over|above"
    r"|min(?:imum|\.)?(?:\s+of)?"
)
_SMALLER = r"smaller\s+than|less\s+than|fewer\s+than|lower\s+than|under|below|at\s+most|up\s+to|max(?:imum)?"
_SIZED = re.compile(
    rf"(?:\b(?:that|which)\s+)?(?:\b(?:are|is|have|has|with)\s+)?\b"
    rf"(?:(?P<larger>{_LARGER})|(?P<smaller>{_SMALLER}))\s+"
    r"(?:(?P<mega>\d{1,4}(?:\.\d{1,2})?)\s*(?:mp|mpx|mpix|mega\s?pixels?)"
    r"|(?P<sides>\d{2,5}\s*(?:x|×|by)\s*\d{2,5})(?:\s*(?:px|pixels?))?"
    r"|(?P<side>\d{2,6})\s*(?:px|pixels?)(?:\s+(?:wide|across|on the longer side))?)"
    r"(?:\s+(?:in size|large|big))?\b",
    re.IGNORECASE,
)
NO_SIZE = "Only a least size can be asked for, such as “larger than 12 MP”."

MOST_SEARCHES, MOST_TAGS = 4, 8
BREAK = " ; "
"""Stands where something was taken out, so that what was apart stays apart."""


@dataclass(frozen=True, slots=True)
class Conditions:
    """What is asked for besides words, and the question without it."""

    rest: str
    fields: dict[str, Any] = field(default_factory=dict)
    """As a filter takes them; times and places aside."""
    times: tuple[Span, ...] = ()
    places: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    beyond: str = ""
    """What is asked for that no filter can say, as a sentence."""
    told: bool = False
    """Whether a place is what is asked about, and so may be the name of something else: "about Florence"."""

    @property
    def wheres(self) -> list[Filter]:
        """A filter for each place and time; one that allows everything where nothing is asked for."""
        times: list[dict[str, Any]] = [span.limits for span in self.times] or [{}]
        places: list[dict[str, Any]] = [{"near": place} for place in self.places] or [{}]
        pairs = [{**self.fields, **time, **place} for place in places for time in times]
        return [Filter(**pair) for pair in pairs[:MOST_SEARCHES]]


def find_conditions(text: str, today: dt.date) -> Conditions:
    """What a question asks for besides words; where words of it can be a condition, they are one."""
    fields: dict[str, Any] = {}
    notes: list[str] = []
    found = _TAGGED.findall(text)
    tags = tuple(tag for groups in found if (tag := "".join(groups).strip()))
    if tags:
        fields["tags"] = tuple(dict.fromkeys(tags))[:MOST_TAGS]
        text = _TAGGED.sub(BREAK, text)
    for pattern in (_CAMERA, _CAMERA_OF):
        camera = pattern.search(text)
        if camera and "camera" not in fields:
            fields["camera"] = _camera(camera[1], camera[2])
            text = text[: camera.start()] + BREAK + text[camera.end() :]
    folder = _FOLDER.search(text)
    if folder and (name := next(group for group in folder.groups() if group).strip(" .'")):
        fields["folder"] = name
        text = text[: folder.start()] + BREAK + text[folder.end() :]
    sized = _SIZED.search(text)
    beyond = ""
    if sized and sized["smaller"]:
        beyond = NO_SIZE
    elif sized:
        fields["min_size"] = _size(sized)
    if sized:
        text = text[: sized.start()] + BREAK + text[sized.end() :]
    if "camera" not in fields and _PHONE.search(text):
        text = _PHONE.sub(BREAK, text)
        notes.append("Which camera is meant was left open: name its maker or its model.")
    times = find_times(text, today)
    text = times.rest
    for shape, name in _SHAPE:
        if "orientation" not in fields and shape.search(text):
            fields["orientation"] = name
            text = shape.sub(BREAK, text, count=1)
    kind = _TYPE.search(text)
    if kind:
        fields["type"] = next(group for group in kind.groups() if group).lower().replace("jpg", "jpeg")
        text = text[: kind.start()] + BREAK + text[kind.end() :]
    places = find_places(text)
    notes += [*times.notes, *places.notes]
    return Conditions(places.rest, fields, times.spans, places.names, tuple(notes), beyond, places.told)


def _size(found: re.Match[str]) -> str:
    """As a filter takes it."""
    if found["mega"]:
        return f"{found['mega']}MP"
    return found["side"] or "x".join(re.findall(r"\d+", found["sides"]))


def _camera(make: str, model: str | None) -> str:
    """As the catalog has it, where a maker writes itself otherwise than people do."""
    itself = CAMERAS[make.lower()]
    named = make if itself == make.lower() else itself.capitalize()
    return " ".join(f"{named}{model or ''}".split())
