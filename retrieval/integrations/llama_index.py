"""A LlamaIndex retriever over a catalog; needs the extra `llama-index`.

from retrieval import Catalog
from retrieval.integrations.llama_index import CatalogRetriever

retriever = CatalogRetriever(Catalog("photos.search"), limit=5)
nodes = retriever.retrieve("two dogs in the snow")
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from retrieval.config import DEFAULT_LIMIT
from retrieval.errors import MissingDependency
from retrieval.integrations.documents import described

try:
    from llama_index.core.retrievers import BaseRetriever
    from llama_index.core.schema import ImageNode, NodeWithScore, QueryBundle
except ImportError as error:
    raise MissingDependency(
        f"The LlamaIndex retriever needs llama-index-core ({error}): "
        "pip install 'picture-search[llama-index]'"
    ) from error

if TYPE_CHECKING:
    from pathlib import Path

    from PIL import Image

    from retrieval.catalog import Catalog
    from retrieval.query.filters import Filter


class CatalogRetriever(BaseRetriever):
    """Finds pictures as image nodes, each with what is known of it in words.

    The score of a node is the hit's match: how likely it is relevant, 0 to 1. `limit`,
    `where`, `rerank` and `cutoff` are those of `Catalog.search`.
    """

    def __init__(
        self,
        catalog: Catalog,
        *,
        limit: int = DEFAULT_LIMIT,
        where: Filter | None = None,
        rerank: str | None = None,
        cutoff: bool = True,
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        self._catalog = catalog
        self._options: dict[str, Any] = {
            "limit": limit,
            "where": where,
            "rerank": rerank,
            "cutoff": cutoff,
        }

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return self._found(query_bundle.query_str)

    def retrieve_like(self, picture: int | Path | Image.Image) -> list[NodeWithScore]:
        """Pictures that look like one: of the catalog by its id or path, a file, or an open picture."""
        return self._found(picture)

    def _found(self, query: Any) -> list[NodeWithScore]:
        if isinstance(query, int):
            hits = self._catalog.similar(query, limit=self._options["limit"], where=self._options["where"])
        else:
            hits = self._catalog.search(query, **self._options)
        return [
            # A name that is not UTF-8 is no text: such a node has its exact path in `path_b64` only.
            NodeWithScore(
                node=ImageNode(
                    id_=str(hit.image_id),
                    text=words,
                    image_path=None if "path_b64" in known else str(hit.path),
                    metadata=known,
                ),
                score=hit.match,
            )
            for hit, words, known in described(self._catalog, hits)
        ]
