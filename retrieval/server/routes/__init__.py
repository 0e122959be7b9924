"""One file a capability, each with its router."""

from retrieval.server.routes import (
    about,
    arranging,
    asking,
    atlas,
    describing,
    indexing,
    pictures,
    searching,
    tags,
    teaching,
    texts,
)

ROUTERS = (
    searching.router,
    pictures.router,
    describing.router,
    asking.router,
    arranging.router,
    atlas.router,
    tags.router,
    teaching.router,
    texts.router,
    indexing.router,
    about.router,
)
