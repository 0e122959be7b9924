"""Find pictures with words: the library behind the `search` command.

    from indexer import index_folder
    from retrieval import Catalog

    index_folder("photos", catalog="photos.catalog")
    with Catalog("photos.catalog") as catalog:
        for hit in catalog.search("two dogs in the snow"):
            print(hit.rank, hit.path, hit.match)

Names are imported when they are first used, so that `import retrieval` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from retrieval.catalog import Catalog
    from retrieval.errors import (
        CatalogError,
        ImageError,
        ModelError,
        QueryError,
        RetrievalError,
        StoreError,
    )
    from retrieval.models import ModelInfo, list_models
    from retrieval.protocols import Encoder
    from retrieval.registry import load_encoder
    from retrieval.types import Failure, Hit, Hits, Status

__version__ = "0.1.0"

_HOMES = {
    "Catalog": "catalog",
    "CatalogError": "errors",
    "Encoder": "protocols",
    "Failure": "types",
    "Hit": "types",
    "Hits": "types",
    "ImageError": "errors",
    "ModelError": "errors",
    "ModelInfo": "models",
    "QueryError": "errors",
    "RetrievalError": "errors",
    "Status": "types",
    "StoreError": "errors",
    "list_models": "models",
    "load_encoder": "registry",
}

__all__ = [
    "Catalog",
    "CatalogError",
    "Encoder",
    "Failure",
    "Hit",
    "Hits",
    "ImageError",
    "ModelError",
    "ModelInfo",
    "QueryError",
    "RetrievalError",
    "Status",
    "StoreError",
    "list_models",
    "load_encoder",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'retrieval' has no attribute {name!r}")
    value = getattr(import_module(f"retrieval.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
