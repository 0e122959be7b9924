"""The words that pictures are tagged with: the list this program brings, and lists that people write."""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from retrieval.errors import QueryError
from retrieval.regular_files import read_regular

Vocabulary = Sequence[tuple[str, str]]
"""Tags, each with its prompt: what is looked for."""
MAX_TAG, MAX_PROMPT = 100, 1000
NO_STARTS = ("#", "- ", "@")
"""A remark, an item of a list, a named concept: what a line with such a beginning may be meant as."""


def default_vocabulary() -> list[tuple[str, str]]:
    """The vocabulary that this program brings."""
    text = files("retrieval").joinpath("vocabulary/default.txt").read_text(encoding="utf-8")
    return parse_vocabulary(text, "the default vocabulary")


def read_vocabulary(path: str | os.PathLike[str]) -> list[tuple[str, str]]:
    """A vocabulary from a text file: `tag` or `tag: what to look for` a line, `#` before remarks."""
    place = Path(os.path.expanduser(path))
    try:
        text = read_regular(place).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise QueryError(f"{place} is not a text in UTF-8. Save it as such, one tag a line.") from error
    return parse_vocabulary(text, str(place))


def parse_vocabulary(text: str, name: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        tag, _, prompt = line.partition(":")
        try:
            found.append(entry(tag, prompt if prompt.strip() else tag))
        except QueryError as error:
            raise QueryError(f"{name}, line {number}: {error}") from None
    return found


def entry(tag: str, prompt: str) -> tuple[str, str]:
    """A tag and its prompt as a vocabulary takes them: such that a line of a file can hold both."""
    name = checked(tag)
    start = next((start for start in NO_STARTS if name.startswith(start)), None)
    if start is not None:
        raise QueryError(f"The tag '{name}' begins with '{start.strip()}'. Choose a name that does not.")
    if ":" in name:
        raise QueryError(
            f"The tag '{name}' has a colon in it, which parts a tag from what to look for. "
            "Choose a name without one."
        )
    if not prompt.strip():
        raise QueryError(f"The prompt of '{name}' is empty. Say what to look for, or give no prompt.")
    return name, checked(prompt, MAX_PROMPT)


def checked(text: str, most: int = MAX_TAG) -> str:
    """The text with single spaces between its words."""
    plain = " ".join(text.split())
    if not plain:
        raise QueryError("A tag needs a name of at least one letter.")
    if len(plain) > most:
        raise QueryError(f"'{plain[:30]}…' has {len(plain)} characters; at most {most} are taken.")
    if not plain.isprintable():
        raise QueryError("A tag's name has characters in it that cannot be shown.")
    return plain
