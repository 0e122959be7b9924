"""Every error that this package raises on purpose.

    RetrievalError
    ├ CatalogError: CatalogNotFound, SchemaOutdated, SchemaTooNew, CatalogBusy, CatalogUnwritable,
    │               EncoderMismatch
    ├ ModelError:   UnknownModel, ModelUnavailable, MissingDependency
    ├ QueryError
    ├ ImageError:   ImageUnreadable, ImageTooLarge
    └ StoreError:   CacheCorrupt

A message states the fact, then the command that helps. Library code raises
these and never prints and never exits.
"""

from __future__ import annotations

import unicodedata
from functools import partial


class RetrievalError(Exception):
    """Base of every error of this package; `str()` of it is fit to show to a person."""


class CatalogError(RetrievalError):
    """The catalog cannot be used as asked."""


class CatalogNotFound(CatalogError):
    """There is no catalog at the place that was named."""


class SchemaOutdated(CatalogError):
    """The catalog was written by an older version and has to be upgraded first."""


class SchemaTooNew(CatalogError):
    """The catalog was written by a newer version than this one."""


class CatalogBusy(CatalogError):
    """Another process is writing to the catalog."""


class CatalogUnwritable(CatalogError):
    """Nothing can be written where the catalog lies: no permission, a read-only or full disk."""


class EncoderMismatch(CatalogError):
    """The vectors of the catalog belong to another encoder than the one at hand."""


class ModelError(RetrievalError):
    """A model cannot be had."""


class UnknownModel(ModelError):
    """No model goes by that name."""


class ModelUnavailable(ModelError):
    """The model is known, but its weights are neither here nor reachable."""


class MissingDependency(ModelError):
    """The model needs a package that is not installed."""


class QueryError(RetrievalError):
    """The query cannot be understood. `query` and `at` tell the place, where there is one."""

    def __init__(self, message: str, *, query: str | None = None, at: int = 0) -> None:
        super().__init__(message)
        self.query = query
        self.at = at

    def __str__(self) -> str:
        message = super().__str__()
        return message if self.query is None else "\n".join([message, *pointed(self.query, self.at)])

    def __reduce__(self) -> tuple[object, ...]:
        return partial(type(self), query=self.query, at=self.at), self.args


def pointed(text: str, at: int, *, around: int = 30) -> list[str]:
    """The text in a line, cut to the part that matters, and a caret below one of its characters."""
    start, end = max(0, at - around), min(len(text), at + around)
    shown = "".join(character if character.isprintable() else " " for character in text[start:end])
    before = ("…" if start else "") + shown[: at - start]
    wide = sum(1 + (unicodedata.east_asian_width(character) in "WF") for character in before)
    narrow = sum(1 for character in before if unicodedata.combining(character))
    line = ("…" if start else "") + shown + ("…" if end < len(text) else "")
    return [f"  {line}", "  " + " " * (wide - narrow) + "^"]


class ImageError(RetrievalError):
    """A picture cannot be used; `reason` is one word of `FAILURE_REASONS`."""

    reason = "damaged"

    def __init__(self, message: str, *, reason: str | None = None) -> None:
        super().__init__(message)
        if reason is not None:
            self.reason = reason

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild_image_error, (type(self), str(self), self.reason))


def _rebuild_image_error(kind: type[ImageError], message: str, reason: str) -> ImageError:
    return kind(message, reason=reason)


class ImageUnreadable(ImageError):
    """The file is not a picture that can be decoded."""


class ImageTooLarge(ImageError):
    """Decoding the picture would take more memory than the budget allows."""

    reason = "too-large"


class StoreError(RetrievalError):
    """A cache of vectors cannot be used."""


class CacheCorrupt(StoreError):
    """A cache file does not hold what its manifest says."""


FAILURE_REASONS: dict[str, str] = {
    "empty": "the file has no content",
    "not-an-image": "the content is not a picture, whatever the name says",
    "damaged": "the picture is cut off or its data is broken",
    "too-large": "decoding would take more memory than the budget allows; with more: "
    "search index --retry --memory 4G",
    "unreadable": "the file could not be read (permissions, or the disk)",
    "changed": "the file was being written while it was read",
    "timeout": "decoding took too long and was stopped",
    "crashed": "a native decoder crashed on this file",
}
"""The whole set of reasons a failure can have, with what each means."""

TRANSIENT_REASONS = ("changed", "unreadable")
"""Reasons that may have passed by the next run; other failures stand until the file changes."""
