"""Values from JSON that somebody wrote: checked, or told by place what is wrong with them."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")

LEAST_GRADE, MOST_GRADE = 0.01, 100


class WrongShape(Exception):
    """Something in the file is not what its format says; the text names the place."""


def called(value: object) -> str:
    """What JSON's readers call such a value."""
    kinds: tuple[tuple[type | tuple[type, ...], str], ...] = (
        (bool, "true or false"),
        (dict, "an object"),
        (list, "a list"),
        (str, "a text"),
        ((int, float), "a number"),
    )
    return next((name for kind, name in kinds if isinstance(value, kind)), "null")


def typed(value: Any, kind: type[T], where: str) -> T:
    if not isinstance(value, kind):
        wanted = called(kind())
        raise WrongShape(f"{where or 'the line'} is {called(value)}, not {wanted}")
    return value


def needed(entry: dict[str, Any], key: str, kind: type[T], where: str) -> T:
    if key not in entry:
        raise WrongShape(f'{where or "the line"} has no "{key}"')
    return typed(entry[key], kind, key if where in ("", "it") else f"{where}.{key}")


def optional(entry: dict[str, Any], key: str, kind: type[T], where: str) -> T | None:
    return None if entry.get(key) is None else needed(entry, key, kind, where)


def string(value: Any, where: str) -> str:
    text = typed(value, str, where)
    encodable(text, where, lambda text: text.encode("utf-8"))
    return text


def words(value: Any, where: str) -> str:
    text = string(value, where).strip()
    if not text:
        raise WrongShape(f"{where} is empty")
    return text


def file_name(value: Any, where: str) -> str:
    name = typed(value, str, where)
    encodable(name, where, os.fsencode)
    if not name or "\0" in name:
        raise WrongShape(f"{where} is no file name")
    return name


def encodable(text: str, where: str, encode: Callable[[str], bytes]) -> None:
    try:
        encode(text)
    except UnicodeEncodeError as error:
        raise WrongShape(f"{where} holds half of a character ({text[error.start]!a})") from error


def grade_of(value: Any, where: str) -> float:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not (value == 0 or LEAST_GRADE <= value <= MOST_GRADE):
        raise WrongShape(f"{where} is no grade: 0, or a number from {LEAST_GRADE} to {MOST_GRADE}")
    return float(value)


def reference(entry: dict[str, Any], key: str, where: str) -> int | str:
    value = needed(entry, key, object, where)
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise WrongShape(f"{where}.{key} is {called(value)}, not a number or a text")
    return value
