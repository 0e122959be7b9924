"""The labels of an evaluation file for pictures in folders, which no catalog has to hold."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from retrieval.errors import QueryError
from retrieval.evaluate import files, names


@dataclass(frozen=True, slots=True)
class Labels:
    """Pictures, and texts with the grades of pictures by their place among these."""

    file: Path
    pictures: Sequence[Path]
    questions: Sequence[tuple[str, Mapping[int, float]]]


def read_labels(
    file: str | os.PathLike[str],
    pictures_below: Callable[[Path], Sequence[Path]],
    *,
    photos: str | os.PathLike[str] | None = None,
) -> Labels:
    """What `file` says of the pictures beside it, or in the folder `photos`.

    A text is taken as it stands. What has no picture there is left out, and so is what
    asks for nothing.
    """
    path = Path(os.path.abspath(os.path.expanduser(file)))
    asked = files.read(path, images=None if photos is None else Path(photos).expanduser())
    graded = [one for one in asked.questions if one.grades]
    every = dict.fromkeys(
        picture for folder in asked.folders if folder.is_dir() for picture in pictures_below(folder)
    )
    places = {os.fsencode(picture): place for place, picture in enumerate(every)}
    found = names.find([name for one in graded for name in one.grades], places, asked.folders)
    questions = [
        (one.text, {found.ids[name]: grade for name, grade in one.grades.items() if name in found.ids})
        for one in graded
    ]
    questions = [(text, grades) for text, grades in questions if grades]
    if not questions:
        raise QueryError(
            f"None of the pictures that {path} names was found. Say where they are: --photos FOLDER"
        )
    return Labels(path, tuple(every), questions)
