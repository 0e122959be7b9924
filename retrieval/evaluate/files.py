"""What an evaluation file asks: four formats, told apart by their content.

- Karpathy's: `{"images": [{"filename", "filepath"?, "split"?, "sentences": [{"raw"}]}]}`
- COCO captions: `{"images": [{"id", "file_name"}], "annotations": [{"image_id", "caption"}]}`
- graded queries: `{"images_dir"?, "queries": [{"query", "relevant", "kind"?}], "absent"?: [query]}`
- jsonl, an object a line: `{"image", "texts": [...]}` or `{"query", "relevant", "kind"?}`

`relevant` is a list of names, or an object of names and grades; empty, it says that
nothing should be found. A text that is written more than once is one question, and all of
its pictures are relevant to it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from retrieval.english.nouns import counted
from retrieval.errors import QueryError
from retrieval.evaluate.shapes import (
    WrongShape,
    file_name,
    grade_of,
    needed,
    optional,
    reference,
    string,
    typed,
    words,
)
from retrieval.regular_files import read_regular

Name = tuple[str, ...]
"""The spellings of a picture's name, the most exact one first."""

DEFAULT_SPLIT = "test"
ALL_SPLITS = "all"
FORMS = "Karpathy-style JSON, COCO captions, graded queries, or jsonl; see: search eval --help"


@dataclass(frozen=True, slots=True)
class Question:
    """A query, and the grades of the pictures that fit it; without any, nothing should be found.

    What is `typed` is asked as a person would type it, sums and all; a caption is plain words.
    """

    text: str
    grades: Mapping[Name, float]
    kind: str | None
    typed: bool


@dataclass(frozen=True, slots=True)
class Asked:
    """Everything a file asks."""

    format: str
    split: str | None
    folders: tuple[Path, ...]
    """Where names of pictures may start from."""
    questions: tuple[Question, ...]
    captions: Mapping[Name, tuple[str, ...]]
    """The texts of each picture."""
    broken: tuple[tuple[int, str], ...] = ()
    """Lines of a jsonl that were left out, and why."""
    notes: tuple[str, ...] = ()


@dataclass(slots=True)
class _Collected:
    grades: dict[str, dict[Name, float]] = field(default_factory=dict)
    kinds: dict[str, str | None] = field(default_factory=dict)
    captions: dict[Name, dict[str, None]] = field(default_factory=dict)
    typed: set[str] = field(default_factory=set)
    absent: set[str] = field(default_factory=set)
    empty: int = 0

    def query(self, text: str, grades: Mapping[Name, float], kind: str | None = None) -> None:
        self.typed.add(text)
        self._relevant(text, grades)
        if not grades:
            self.absent.add(text)
        if self.kinds.get(text) is None:
            self.kinds[text] = kind

    def caption(self, name: Name, texts: Iterable[str]) -> None:
        own = self.captions.setdefault(name, {})
        for text in texts:
            stripped = text.strip()
            if not stripped:
                self.empty += 1
                continue
            own[stripped] = None
            self._relevant(stripped, {name: 1.0})

    def questions(self) -> tuple[Question, ...]:
        return tuple(
            Question(text, grades, self.kinds.get(text), text in self.typed)
            for text, grades in self.grades.items()
        )

    def notes(self) -> tuple[str, ...]:
        torn = [text for text in self.absent if self.grades[text]]
        shared = sum(len(grades) > 1 for text, grades in self.grades.items() if self._is_caption(text))
        return tuple(
            note
            for count, note in (
                (
                    self.empty,
                    f"{self.empty} empty {'text was' if self.empty == 1 else 'texts were'} left out.",
                ),
                (shared, f"{shared} texts belong to several pictures; each of these counts as relevant."),
                (
                    len(torn),
                    f"{len(torn)} queries have relevant pictures in one place and none in another; "
                    "those that are named count.",
                ),
            )
            if count
        )

    def _relevant(self, text: str, grades: Mapping[Name, float]) -> None:
        known = self.grades.setdefault(text, {})
        for name, grade in grades.items():
            known[name] = max(grade, known.get(name, 0.0))

    def _is_caption(self, text: str) -> bool:
        return any(text in self.captions.get(name, ()) for name in self.grades[text])


def read(path: Path, *, images: Path | None = None, split: str | None = None) -> Asked:
    """What `path` asks; `images` is where the names of its pictures start from, instead of its folder."""
    text = _text(path)
    base = [images] if images is not None else [path.parent]
    data: Any = None
    reason: Exception | None = None
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        reason = error
    if reason is not None or _is_line(data):
        if split is not None:
            raise _no_splits(path)
        return _lines(path, text, base, reason)
    try:
        return _whole(path, data, base, images, split)
    except WrongShape as error:
        raise QueryError(f"{path} cannot be used for an evaluation: {error}. It has to be {FORMS}") from error


def _text(path: Path) -> str:
    content = read_regular(path)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise QueryError(
            f"{path} is not UTF-8: byte {error.start} is {content[error.start]:#04x}. Save it as UTF-8."
        ) from error
    if not text.strip():
        raise QueryError(f"{path} is empty. It has to be {FORMS}")
    return text


def _whole(path: Path, data: Any, base: list[Path], images: Path | None, split: str | None) -> Asked:
    document = typed(data, dict, "it")
    collected = _Collected()
    if "queries" in document:
        form = "graded"
        folder = optional(document, "images_dir", str, "it")
        if folder is not None and images is None:
            base = [path.parent / folder, *base]
        for number, item in enumerate(needed(document, "queries", list, "it")):
            _query(collected, item, f"queries[{number}]")
    elif "annotations" in document:
        form = "coco"
        unlisted = _coco(collected, document)
    elif "images" in document:
        form = "karpathy"
        split = split or DEFAULT_SPLIT
        _karpathy(collected, document, split)
    else:
        raise WrongShape('it has neither "images" nor "queries"')
    for number, item in enumerate(optional(document, "absent", list, "it") or ()):
        collected.query(words(item, f"absent[{number}]"), {})
    if split is not None and form != "karpathy":
        raise _no_splits(path)
    notes = collected.notes()
    if form == "coco" and unlisted:
        captions = counted(unlisted, "caption")
        were = "was" if unlisted == 1 else "were"
        notes += (f"{captions} of pictures that the file does not list {were} left out.",)
    return Asked(
        format=form,
        split=split,
        folders=tuple(base),
        questions=collected.questions(),
        captions=_plain(collected.captions),
        notes=notes,
    )


def _lines(path: Path, text: str, base: list[Path], reason: Exception | None) -> Asked:
    collected = _Collected()
    broken: list[tuple[int, str]] = []
    taken = 0
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            _line(collected, line)
            taken += 1
        except WrongShape as error:
            broken.append((number, str(error)))
    if not taken:
        why = f"line {broken[0][0]}: {broken[0][1]}" if reason is None or len(broken) == 1 else str(reason)
        raise QueryError(f"{path} cannot be used for an evaluation: {why}. It has to be {FORMS}")
    return Asked(
        format="jsonl",
        split=None,
        folders=tuple(base),
        questions=collected.questions(),
        captions=_plain(collected.captions),
        broken=tuple(broken),
        notes=collected.notes(),
    )


def _is_line(data: Any) -> bool:
    """Whether a whole JSON document is a jsonl of one line."""
    return isinstance(data, dict) and ("image" in data or "query" in data)


def _line(collected: _Collected, line: str) -> None:
    try:
        item = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise WrongShape(f"not JSON ({error})") from error
    if not _is_line(item):
        raise WrongShape('no object with "image" or "query"')
    if "query" in item:
        if "image" in item:
            raise WrongShape('both "image" and "query"')
        _query(collected, item, "")
        return
    name = file_name(item["image"], "image")
    texts = needed(item, "texts", list, "")
    collected.caption((name,), [string(text, f"texts[{n}]") for n, text in enumerate(texts)])


def _query(collected: _Collected, item: Any, where: str) -> None:
    entry = typed(item, dict, where)
    text = words(needed(entry, "query", object, where), f"{where}.query".lstrip("."))
    kind = optional(entry, "kind", str, where)
    relevant = needed(entry, "relevant", object, where)
    place = f"{where}.relevant".lstrip(".")
    if isinstance(relevant, dict):
        graded = {
            file_name(name, place): grade_of(grade, f"{place}[{name!r}]") for name, grade in relevant.items()
        }
    else:
        graded = {file_name(name, place): 1.0 for name in typed(relevant, list, place)}
    collected.query(text, {(name,): grade for name, grade in graded.items() if grade}, kind)


def _karpathy(collected: _Collected, document: dict[str, Any], split: str) -> None:
    seen: set[str] = set()
    for number, item in enumerate(needed(document, "images", list, "it")):
        where = f"images[{number}]"
        entry = typed(item, dict, where)
        own = optional(entry, "split", str, where)
        seen.add(own or "")
        filename = file_name(needed(entry, "filename", object, where), f"{where}.filename")
        folder = optional(entry, "filepath", str, where)
        texts = [
            string(
                needed(typed(sentence, dict, f"{where}.sentences[{n}]"), "raw", object, where),
                f"{where}.sentences[{n}].raw",
            )
            for n, sentence in enumerate(needed(entry, "sentences", list, where))
        ]
        if own is None or split in (own, ALL_SPLITS):
            name = (os.path.join(folder, filename), filename) if folder else (filename,)
            collected.caption(name, texts)
    if seen and not collected.captions:
        there = ", ".join(sorted(seen - {""}))
        raise QueryError(f"No picture is in the split '{split}'. There are: {there}, or {ALL_SPLITS}.")


def _coco(collected: _Collected, document: dict[str, Any]) -> int:
    names: dict[int | str, Name] = {}
    for number, item in enumerate(needed(document, "images", list, "it")):
        where = f"images[{number}]"
        entry = typed(item, dict, where)
        own_name = file_name(needed(entry, "file_name", object, where), f"{where}.file_name")
        names[reference(entry, "id", where)] = (own_name,)
    unlisted = 0
    for number, item in enumerate(needed(document, "annotations", list, "it")):
        where = f"annotations[{number}]"
        entry = typed(item, dict, where)
        caption = string(needed(entry, "caption", object, where), f"{where}.caption")
        name = names.get(reference(entry, "image_id", where))
        if name is None:
            unlisted += 1
        else:
            collected.caption(name, [caption])
    return unlisted


def _plain(captions: dict[Name, dict[str, None]]) -> dict[Name, tuple[str, ...]]:
    return {name: tuple(texts) for name, texts in captions.items() if texts}


def _no_splits(path: Path) -> QueryError:
    return QueryError(f"Only Karpathy-style files have splits, and {path} is none. Leave out --split.")
