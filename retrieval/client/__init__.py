"""A typed client of the server, which gives the library's own types.

    from retrieval.client import Client

    client = Client("http://127.0.0.1:7788", token=None)
    for hit in client.search("two dogs in the snow", limit=5):
        print(f"{hit.score:.3f}  {hit.path}")

It asks, and changes nothing but the conversation that `ask(keep=True)` keeps. Whatever changes a
library, its lists, groups, duplicates and pictures themselves have no method here: they are asked
for over HTTP, as docs/server.md tells.

Nothing but the standard library is imported, and that only when a question is asked; a map has
numpy's arrays.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from retrieval.client import told
from retrieval.client.asked import Unsendable, filters, ranking, written
from retrieval.client.connection import Connection, ServerUnavailable, events
from retrieval.config import ASK_LIMIT, ASK_SECONDS, DEFAULT_LIMIT
from retrieval.errors import RetrievalError

if TYPE_CHECKING:
    from retrieval.atlas import Map
    from retrieval.client.asked import Params
    from retrieval.config import Location
    from retrieval.query.filters import Filter
    from retrieval.query.terms import Query
    from retrieval.types import Answer, Description, Hits, Status, TextHits, Timeline, Unit

    Picture = int | str | os.PathLike[str]
    """A picture of the catalog by its id, or a file by its path."""

__all__ = ["Client", "ServerUnavailable", "Unsendable"]

SECONDS = 300.0
QUICK_SECONDS = 2.0
MOST_PICTURES = 4


class Client:
    """Asks a server as one asks a `Catalog`. Safe to use from several threads."""

    def __init__(self, url: str, *, token: str | None = None, seconds: float = SECONDS) -> None:
        self._server = Connection(url, token=token, seconds=seconds)

    @classmethod
    def of(cls, location: Location, *, answering: str | None = None) -> Client | None:
        """A client of the local server of a catalog, if one runs that is of this very version.

        With `answering`, only one where the same answers questions.
        """
        import retrieval
        from retrieval.running import find

        found = find(location, version=retrieval.__version__)
        if found is None or (answering is not None and found.answering != answering):
            return None
        from urllib.parse import urlsplit

        from retrieval.access import is_loopback

        if not is_loopback(urlsplit(found.url).hostname or ""):
            return None
        client = cls(found.url, token=found.token)
        return client if client._proves(found.key) else None

    def search(
        self,
        query: str | Query,
        *,
        limit: int = DEFAULT_LIMIT,
        where: Filter | None = None,
        rerank: str | None = None,
        cutoff: bool = True,
        min_match: float | None = None,
        sort: Literal["relevance", "date"] = "relevance",
    ) -> Hits:
        """Find pictures by words, or by a sum of words and learnt concepts."""
        params = ranking(limit, where, cutoff=cutoff, min_match=min_match, sort=sort)
        params += [("q", written(query)), *([("rerank", rerank)] if rerank is not None else [])]
        return told.hits(self._server.get("/search", params))

    def similar(
        self,
        image: Picture | Sequence[Picture],
        *,
        limit: int = DEFAULT_LIMIT,
        where: Filter | None = None,
        cutoff: bool = False,
        min_match: float | None = None,
        sort: Literal["relevance", "date"] = "relevance",
    ) -> Hits:
        """Find pictures that look like one of the catalog, or like up to four files."""
        params = ranking(limit, where, cutoff=cutoff, min_match=min_match, sort=sort)
        if isinstance(image, int):
            return told.hits(self._server.get(f"/images/{image}/similar", params))
        several = [image] if isinstance(image, str | os.PathLike) else list(image)
        if not all(isinstance(one, str | os.PathLike) for one in several) or len(several) > MOST_PICTURES:
            raise Unsendable(f"A server is asked with one id, or with up to {MOST_PICTURES} files.")
        return told.hits(self._server.send("/similar", params, [Path(one) for one in several]))  # type: ignore[arg-type]

    def match(
        self,
        image: Picture,
        *,
        limit: int = DEFAULT_LIMIT,
        cutoff: bool = False,
        min_match: float | None = None,
    ) -> TextHits:
        """The texts of the catalog that fit a picture best."""
        params = ranking(limit, None, cutoff=cutoff, min_match=min_match)
        if isinstance(image, int):
            row = self._server.get(f"/images/{image}/texts", params)
        else:
            row = self._server.send("/match", params, [Path(image)])
        return told.text_hits(row)

    def ask(
        self,
        question: str,
        *,
        limit: int = ASK_LIMIT,
        where: Filter | None = None,
        follow_up: bool = False,
        after: Answer | None = None,
        keep: bool = False,
        seconds: float = ASK_SECONDS,
        check: bool = True,
        rules: bool = False,
        progress: Callable[[str, dict[str, Any]], None] | None = None,
        on_text: Callable[[str], None] | None = None,
    ) -> Answer:
        """Answer a question from the pictures; `rules` has no model asked.

        `follow_up` goes on from what was kept in the catalog, `after` from an answer of this server.
        `progress` gets each step as it is done, and `on_text` a model's draft as it comes.
        """
        body: dict[str, Any] = {
            "question": question,
            "limit": limit,
            "conversation": follow_up,
            "keep": keep,
            "seconds": seconds,
            "check": check,
            **({"answerer": "rules"} if rules else {}),
            **({} if after is None else {"turn": told.turn(after)}),
        }
        for name, value in filters(where):
            if name == "tag":
                body.setdefault("tag", []).append(value)
            else:
                body[name] = value
        data = json.dumps(body).encode("ascii")
        headers = {"Content-Type": "application/json"}
        if progress is None and on_text is None:
            return told.answer(self._server.request("POST", "/ask", data, headers))
        headers["Accept"] = "text/event-stream"
        with self._server.open("POST", "/ask", data, headers) as answer:
            for name, row in events(answer):
                if name == "text" and on_text is not None:
                    on_text(row["delta"])
                elif name in ("step", "note") and progress is not None:
                    progress(name, row)
                elif name == "answer":
                    return told.answer(row)
                elif name == "problem":
                    raise told.error_of(row)
        raise self._server.unavailable("broke off in the middle of an answer")

    def describe(self, image: Picture, *, style: Literal["caption", "alt"] = "caption") -> Description:
        """A picture in words."""
        params: Params = [("style", style)]
        if isinstance(image, int):
            return told.description(self._server.get(f"/images/{image}/description", params))
        return told.description(self._server.send("/describe", params, [Path(image)]))

    def timeline(
        self,
        by: Unit = "month",
        *,
        where: Filter | None = None,
        query: str | Query | None = None,
        like: int | None = None,
    ) -> Timeline:
        """How many pictures are from each year, month or day.

        With `query`, of those that it finds; with `like`, of those that look like a picture of the catalog.
        """
        params: Params = [("by", by), *filters(where)]
        if query is not None:
            params.append(("q", written(query)))
        if like is not None:
            params.append(("like", str(like)))
        return told.timeline(self._server.get("/timeline", params))

    def map(self, *, where: Filter | None = None) -> Map:
        """Every picture's place on a plane, alike ones together; `where` marks those that pass."""
        return told.library_map(self._server.get("/map", filters(where)))

    def status(self) -> Status:
        """What the catalog holds."""
        return told.status(self._server.get("/status", []))

    def _proves(self, key: str) -> bool:
        """Whether who listens there is the server that left word: nobody else is told the token."""
        import hmac

        nonce = secrets.token_hex(16)
        wanted = hmac.new(key.encode("utf-8"), nonce.encode("ascii"), "sha256").hexdigest()
        plain = Connection(self._server.url, token=None, seconds=QUICK_SECONDS)
        try:
            row = plain.request("GET", f"/healthz?proof={nonce}", None, {}, prefix="")
        except RetrievalError:
            return False
        return hmac.compare_digest(str(row.get("proof", "")).encode("utf-8"), wanted.encode("ascii"))
