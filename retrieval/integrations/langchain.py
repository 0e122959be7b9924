"""A LangChain retriever over a catalog; needs the extra `langchain`.

from retrieval import Catalog
from retrieval.integrations.langchain import CatalogRetriever

retriever = CatalogRetriever(catalog=Catalog("photos.search"), limit=5)
documents = retriever.invoke("two dogs in the snow")
"""

from __future__ import annotations

from typing import Any

from retrieval.catalog import Catalog
from retrieval.config import DEFAULT_LIMIT
from retrieval.errors import MissingDependency
from retrieval.integrations.documents import described
from retrieval.query.filters import Filter

try:
    from langchain_core.callbacks import CallbackManagerForRetrieverRun
    from langchain_core.documents import Document
    from langchain_core.retrievers import BaseRetriever
except ImportError as error:
    raise MissingDependency(
        f"The LangChain retriever needs langchain-core ({error}): pip install 'picture-search[langchain]'"
    ) from error


class CatalogRetriever(BaseRetriever):
    """Finds pictures as documents: what is known of a picture in words, and its path beside it.

    `limit`, `where`, `rerank` and `cutoff` are those of `Catalog.search`; `limit`, `where` and
    `cutoff` can also be given to `invoke`. A catalog may be used by several threads.
    """

    catalog: Catalog
    limit: int = DEFAULT_LIMIT
    where: Filter | None = None
    rerank: str | None = None
    cutoff: bool = True

    def _get_relevant_documents(
        self,
        query: str,
        *,
        run_manager: CallbackManagerForRetrieverRun,  # noqa: ARG002
        **asked: Any,
    ) -> list[Document]:
        options = {"limit": self.limit, "where": self.where, "rerank": self.rerank, "cutoff": self.cutoff}
        hits = self.catalog.search(query, **{**options, **asked})
        return [
            Document(id=str(hit.image_id), page_content=words, metadata=known)
            for hit, words, known in described(self.catalog, hits)
        ]
