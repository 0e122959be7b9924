"""How sure something is, in words: stated, probable, or only possible."""

from __future__ import annotations

SURE, PROBABLE = 0.9, 0.7
"""From where on a tag is stated, and from where on it is probable; below it is said with "perhaps"."""
NAME_SURE, NAME_PROBABLE, NAME_LEAST = 0.8, 0.5, 0.3
"""The same for the names that a model has of its own, which are right more often for their figure,
and from where on one is said at all."""
HEDGES = ("", "probably ", "perhaps ")
POSSIBLE = len(HEDGES) - 1


def band(confidence: float, *, own: bool = False) -> int:
    """0 for what is stated, 1 for what is probable, 2 for what is only possible.

    `own` is for a name that a model has of its own.
    """
    sure, probable = (NAME_SURE, NAME_PROBABLE) if own else (SURE, PROBABLE)
    return 0 if confidence >= sure else 1 if confidence >= probable else POSSIBLE
