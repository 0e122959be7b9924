"""What is kept of one moment of a catalog: which of its vectors may be found, and a draw from them."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from retrieval.protocols import VectorStore


@dataclass(frozen=True, slots=True)
class View:
    """One moment of the catalog: its vectors, which of them may be found, and which may be seen.

    A match is measured against all that can be seen, so that a filter does not change it.
    """

    store: VectorStore
    allowed: NDArray[np.bool_] | None
    visible: NDArray[np.bool_] | None
    drawn: Drawn
    """A fair draw from what can be seen."""


class Drawn:
    """A fair draw from a store, kept: every query is measured against it."""

    def __init__(self, store: VectorStore, visible: NDArray[np.bool_] | None = None) -> None:
        self.store = store
        self._visible = visible

    def scores(self, query: NDArray[np.float32]) -> NDArray[np.float32]:
        """How a query does on the whole: what `VectorStore.sample` says."""
        scores: NDArray[np.float32] = self._vectors @ query
        return scores

    @cached_property
    def ids(self) -> NDArray[np.int64]:
        return self.store.sampled(allowed=self._visible)

    @cached_property
    def _vectors(self) -> NDArray[np.float32]:
        return self.store.vectors(self.ids)

    @cached_property
    def aux(self) -> list[bytes]:
        """What is kept beside the vectors, in the order of the scores."""
        return self.store.aux(self.ids)


@dataclass(slots=True)
class Masks:
    """What filters left of one moment of the catalog, the last few of them."""

    store: VectorStore
    moment: int | None
    visible: NDArray[np.bool_] | None
    drawn: Drawn
    allowed: OrderedDict[str, NDArray[np.bool_]] = field(default_factory=OrderedDict)
