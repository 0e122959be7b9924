"""Find pictures with words: the library behind the `search` command.

    from indexer import index_folder
    from retrieval import Catalog

    with Catalog("~/photos.search", create=True) as catalog:
        report = index_folder(catalog, "~/Pictures")
        print(report.added, report.failures)
        for hit in catalog.search("two dogs in the snow", limit=5):
            print(f"{hit.score:.3f}  {hit.path}")

Names are imported when they are first used, so that `import retrieval` costs nothing.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

# ONNX Runtime reads it when it is imported: it would gather statistics for its makers, and nothing may
# leave this machine.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

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
    from retrieval.protocols import Answerer, Captioner, Encoder, Reranker, Speaker, VectorStore
    from retrieval.query.filters import Filter
    from retrieval.query.terms import Query, Term
    from retrieval.registry import load_encoder
    from retrieval.texts import Text, Texts, TextsReport
    from retrieval.types import (
        Answer,
        Citation,
        Cost,
        Description,
        Failure,
        Hit,
        Hits,
        Status,
        Step,
        Tag,
        TextHit,
        TextHits,
    )

__version__ = "0.1.0"

_HOMES = {
    "Answer": "types",
    "Answerer": "protocols",
    "Captioner": "protocols",
    "Catalog": "catalog",
    "CatalogError": "errors",
    "Citation": "types",
    "Cost": "types",
    "Description": "types",
    "Encoder": "protocols",
    "Failure": "types",
    "Filter": "query.filters",
    "Hit": "types",
    "Hits": "types",
    "ImageError": "errors",
    "ModelError": "errors",
    "ModelInfo": "models",
    "Query": "query.terms",
    "QueryError": "errors",
    "Reranker": "protocols",
    "RetrievalError": "errors",
    "Speaker": "protocols",
    "Status": "types",
    "Step": "types",
    "StoreError": "errors",
    "Tag": "types",
    "Term": "query.terms",
    "Text": "texts",
    "TextHit": "types",
    "TextHits": "types",
    "Texts": "texts",
    "TextsReport": "texts",
    "VectorStore": "protocols",
    "list_models": "models",
    "load_encoder": "registry",
}

__all__ = [
    "Answer",
    "Answerer",
    "Captioner",
    "Catalog",
    "CatalogError",
    "Citation",
    "Cost",
    "Description",
    "Encoder",
    "Failure",
    "Filter",
    "Hit",
    "Hits",
    "ImageError",
    "ModelError",
    "ModelInfo",
    "Query",
    "QueryError",
    "Reranker",
    "RetrievalError",
    "Speaker",
    "Status",
    "Step",
    "StoreError",
    "Tag",
    "Term",
    "Text",
    "TextHit",
    "TextHits",
    "Texts",
    "TextsReport",
    "VectorStore",
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
