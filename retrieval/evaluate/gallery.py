"""What an evaluation needs of a catalog besides its public search."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from retrieval.db import reads
from retrieval.query.filters import Filter

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from retrieval.catalog import Catalog
    from retrieval.protocols import Encoder, VectorStore


@dataclass(frozen=True, slots=True)
class Gallery:
    """One moment of the catalog: the pictures that can be found, their vectors, and the model."""

    encoder: Encoder
    model: str
    store: VectorStore
    visible: NDArray[np.bool_] | None
    paths: Mapping[bytes, int]

    @classmethod
    def of(cls, catalog: Catalog) -> Gallery:
        state = catalog.state
        info = state.active()
        encoder = state.encoder(info)
        with state.snapshot() as reader:
            view = state.view(state.still(info), Filter())
            ids = view.store.ids if view.visible is None else view.store.ids[view.visible]
            shown = reads.shown(reader, ids.tolist())
        paths = {row.path: image_id for image_id, row in shown.items()}
        return cls(encoder, info.spec, view.store, view.visible, paths)
