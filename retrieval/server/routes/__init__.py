"""One file a capability, each with its router."""

from retrieval.server.routes import about, describing, pictures, searching

ROUTERS = (searching.router, pictures.router, describing.router, about.router)
